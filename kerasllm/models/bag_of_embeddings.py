"""The simplest classifier with embeddings: their mean, then one dense layer."""

import keras
from keras import layers, ops

from kerasllm.layers import MaskedMean
from kerasllm.models.text_classifier import TextClassifier


def bag_of_embeddings(
    tokenizer,
    labels,
    embedding_dim=64,
    *,
    token_dropout=0.0,
    dropout=0.0,
    embeddings=None,
    train_embeddings=True,
    max_length=None,
    name="bag_of_embeddings",
):
    """A classifier on the mean of a text's embeddings. The order of the tokens plays no role.

    Args:
        tokenizer: the `kerasllm.text.Tokenizer` that makes the ids.
        labels: names of the classes, in the order of their numbers.
        embedding_dim: size of an embedding.
        token_dropout: share of the tokens that is left out while training.
        dropout: share of the mean's dimensions that is set to 0 while training.
        embeddings: matrix (vocabulary size, embedding_dim) to start from, such as GloVe vectors.
        train_embeddings: False keeps the embeddings as they are.
        max_length: texts are cut to this many tokens by `classify`; None leaves them whole.
        name: name of the model.

    Returns:
        A `TextClassifier`, not compiled.

    Raises:
        ValueError: if `embeddings` has another shape, or a label stands twice.

    Reference: Iyyer et al. (2015), "Deep Unordered Composition Rivals Syntactic Methods for Text
    Classification", section 2; the fastText classifier (Joulin et al. 2016) without its n-grams.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")  # (batch, time)
    mask = ops.not_equal(ids, tokenizer.pad_id)  # (batch, time)
    vectors = embedding(tokenizer, embedding_dim, embeddings, train_embeddings)(ids)  # (batch, time, embedding_dim)
    # One random number a token, not one a dimension: the whole vector goes.
    vectors = layers.Dropout(token_dropout, noise_shape=(None, None, 1), name="token_dropout")(vectors)
    mean = MaskedMean(name="pool")(vectors, mask=mask)  # (batch, embedding_dim)
    mean = layers.Dropout(dropout, name="dropout")(mean)
    logits = layers.Dense(len(labels), dtype="float32", name="logits")(mean)  # (batch, labels)
    return TextClassifier(keras.Model(ids, logits, name="body"), tokenizer, labels, max_length, name=name)


def embedding(tokenizer, embedding_dim, matrix=None, trainable=True):
    """The layer `keras.layers.Embedding` of a classifier, from a matrix where one is given."""
    shape = (tokenizer.vocabulary_size, embedding_dim)
    if matrix is not None and tuple(matrix.shape) != shape:
        raise ValueError(f"The embeddings have the shape {tuple(matrix.shape)}, not (vocabulary, dim) = {shape}.")
    return layers.Embedding(*shape, weights=matrix, trainable=trainable, name="embedding")
