"""A classifier that reads a text in both directions."""

import keras
from keras import layers, ops

from kerasllm.layers import MaskedMax, MaskedMean
from kerasllm.models.bag_of_embeddings import embedding
from kerasllm.models.text_classifier import TextClassifier

POOLINGS = {"max": [MaskedMax], "mean": [MaskedMean], "max_mean": [MaskedMax, MaskedMean]}


def bilstm(
    tokenizer,
    labels,
    embedding_dim=64,
    units=64,
    *,
    depth=1,
    pooling="max",
    token_dropout=0.0,
    dropout=0.0,
    embeddings=None,
    train_embeddings=True,
    max_length=None,
    name="bilstm",
):
    """A classifier of embeddings, one or more bidirectional LSTM layers, pooling and a dense layer.

    The layers are those of Keras; what is added is that every layer gets the mask as an argument.
    To train with frozen vectors first and tune them later, start with ``train_embeddings=False``,
    then set ``model.body.get_layer("embedding").trainable = True`` and compile again.

    Args:
        tokenizer: the `kerasllm.text.Tokenizer` that makes the ids.
        labels: names of the classes, in the order of their numbers.
        embedding_dim: size of an embedding.
        units: size of the LSTM's state in each direction.
        depth: number of bidirectional layers.
        pooling: "max" or "mean" over the real tokens, or "max_mean", both side by side.
        token_dropout: share of the tokens whose whole vector is set to 0 while training.
        dropout: share of the numbers set to 0 while training: in the embeddings, between the
            layers, and before the dense layer.
        embeddings: matrix (vocabulary size, embedding_dim) to start from, such as GloVe vectors.
        train_embeddings: False keeps the embeddings as they are.
        max_length: texts are cut to this many tokens by `classify`; None leaves them whole.
        name: name of the model.

    Returns:
        A `TextClassifier`, not compiled.

    Raises:
        ValueError: if `pooling` or `depth` is unknown, or `embeddings` has another shape.

    Reference: Hochreiter and Schmidhuber (1997), "Long Short-Term Memory"; Graves and Schmidhuber (2005) for both
    directions; Conneau et al. (2017), section 3.2.3, for max pooling over a BiLSTM.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, not {pooling!r}.")
    if not isinstance(depth, int) or depth < 1:
        raise ValueError(f"depth must be a whole number from 1 up, not {depth!r}.")
    ids = keras.Input((None,), dtype="int32", name="ids")  # (batch, time)
    mask = ops.not_equal(ids, tokenizer.pad_id)  # (batch, time)
    hidden = embedding(tokenizer, embedding_dim, embeddings, train_embeddings)(ids)  # (batch, time, embedding_dim)
    # One random number a token, not one a dimension: the whole vector goes.
    hidden = layers.Dropout(token_dropout, noise_shape=(None, None, 1), name="token_dropout")(hidden)
    for i in range(1, depth + 1):
        hidden = layers.Dropout(dropout, name=f"dropout_{i}")(hidden)
        lstm = layers.LSTM(units, return_sequences=True, name="lstm")
        hidden = layers.Bidirectional(lstm, name=f"bilstm_{i}")(hidden, mask=mask)  # (batch, time, 2 * units)
    pooled = [pool()(hidden, mask=mask) for pool in POOLINGS[pooling]]  # (batch, 2 * units) each
    pooled = ops.concatenate(pooled, axis=-1)  # (batch, 2 * units), or 4 * units for both
    pooled = layers.Dropout(dropout, name="dropout")(pooled)
    logits = layers.Dense(len(labels), dtype="float32", name="logits")(pooled)  # (batch, labels)
    return TextClassifier(keras.Model(ids, logits, name="body"), tokenizer, labels, max_length, name=name)
