"""A classifier of texts or of tokens that reads a text in both directions."""

from __future__ import annotations

import keras
from keras import ops

from kerasllm.common import choice, share, whole_number
from kerasllm.layers.composite import CompositeModel
from kerasllm.layers.pooling import MaskedMax, MaskedMean
from kerasllm.models.bag_of_embeddings import embedding, token_drop

POOLINGS = {"max": [MaskedMax], "mean": [MaskedMean], "max_mean": [MaskedMax, MaskedMean], None: []}


@keras.saving.register_keras_serializable(package="kerasllm")
class BiLSTM(CompositeModel):
    """Classifies a text by embeddings, one or more bidirectional LSTM layers, pooling and a dense layer.

    `kerasllm.tasks.TextClassifier` joins it with a tokenizer and the names of the classes.

    To train with frozen vectors first and tune them later, start with ``train_embeddings=False``, then set
    ``model.embed.trainable = True`` and compile again.

    Args:
        vocabulary_size: number of tokens.
        num_classes: number of classes, one logit each.
        embedding_dim: size of an embedding.
        units: size of the LSTM's state in each direction.
        depth: number of bidirectional layers.
        pooling: "max" or "mean" over the real tokens, or "max_mean", both side by side; None gives logits for each
            token, for `kerasllm.tasks.TokenTagger`.
        pad_id: the id of padding. Positions that hold it never matter.
        token_dropout: share of the tokens whose whole vector is set to 0 while training.
        dropout: share of the numbers set to 0 while training: in the embeddings, between the
            layers, and before the dense layer.
        embeddings: matrix (vocabulary_size, embedding_dim) to start from, such as GloVe vectors. It is a start, no
            setting: a saved model keeps what training made of it.
        train_embeddings: False keeps the embeddings as they are.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids, padded on the right with `pad_id`.
        training: whether dropout is active.

    Returns:
        Float32 tensor (batch, num_classes): logits; (batch, time, num_classes) without pooling.

    Raises:
        ValueError: if a size is not positive, a dropout is no share, `pooling` is unknown, or `embeddings` has another
            shape.

    Example:
        >>> import numpy as np
        >>> model = BiLSTM(vocabulary_size=50, num_classes=2, embedding_dim=8, units=4)
        >>> tuple(model(np.array([[4, 7, 0], [5, 0, 0]])).shape)
        (2, 2)

    Reference: Hochreiter and Schmidhuber (1997), "Long Short-Term Memory"; Graves and Schmidhuber (2005) for both
    directions; Conneau et al. (2017), section 3.2.3, for max pooling over a BiLSTM.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_classes: int,
        embedding_dim: int = 64,
        units: int = 64,
        depth: int = 1,
        pooling: str | None = "max",
        pad_id: int = 0,
        token_dropout: float = 0.0,
        dropout: float = 0.0,
        embeddings=None,
        train_embeddings: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = whole_number("vocabulary_size", vocabulary_size)
        self.num_classes = whole_number("num_classes", num_classes)
        self.embedding_dim = whole_number("embedding_dim", embedding_dim)
        self.units = whole_number("units", units)
        self.depth = whole_number("depth", depth)
        self.pooling = choice("pooling", pooling, POOLINGS)
        self.pad_id = whole_number("pad_id", pad_id, 0)
        self.token_dropout = share("token_dropout", token_dropout)
        self.dropout = share("dropout", dropout)
        self.train_embeddings = bool(train_embeddings)
        policy = self.dtype_policy
        self.embed = embedding((self.vocabulary_size, self.embedding_dim), embeddings, self.train_embeddings, policy)
        self.drop_tokens = token_drop(self.token_dropout, policy)
        self.drops = [keras.layers.Dropout(self.dropout, dtype=policy) for _ in range(self.depth + 1)]
        self.bilstms = [
            keras.layers.Bidirectional(
                keras.layers.LSTM(self.units, return_sequences=True, dtype=policy, name="lstm"),
                dtype=policy,
                name=f"bilstm_{i}",
            )
            for i in range(1, self.depth + 1)
        ]
        self.pools = [pool(dtype=policy) for pool in POOLINGS[self.pooling]]
        self.logits = keras.layers.Dense(self.num_classes, dtype="float32", name="logits")

    def build(self, input_shape):
        if self.built:
            return
        if not self.embed.built:  # it is, when it started from a matrix
            self.embed.build(input_shape)
        for i, bilstm in enumerate(self.bilstms):
            bilstm.build((*input_shape, 2 * self.units if i else self.embedding_dim))
        self.logits.build((input_shape[0], 2 * self.units * max(1, len(self.pools))))
        self.restore_parts()

    def call(self, inputs, training=None):
        mask = ops.not_equal(inputs, self.pad_id)  # (batch, time)
        hidden = self.features(inputs, training)  # (batch, time, 2 * units)
        if self.pools:
            pooled = [pool(hidden, mask=mask) for pool in self.pools]  # (batch, 2 * units) each
            hidden = ops.concatenate(pooled, axis=-1)
        return self.logits(self.drops[-1](hidden, training=training))  # (batch, num_classes), or with a time axis

    def features(self, inputs, training=None):
        """What is pooled: the states of both directions, float tensor (batch, time, 2 * units)."""
        mask = ops.not_equal(inputs, self.pad_id)  # (batch, time)
        # cuDNN refuses a text without a real token. Its first position may count here: pooling leaves it out again.
        mask = ops.logical_or(mask, ops.arange(ops.shape(inputs)[1]) == 0)
        hidden = self.drop_tokens(self.embed(inputs), training=training)  # (batch, time, embedding_dim)
        for drop, bilstm in zip(self.drops, self.bilstms, strict=False):  # the last one is for the pooled vector
            hidden = bilstm(drop(hidden, training=training), mask=mask, training=training)  # (batch, time, 2 * units)
        return hidden

    def compute_output_shape(self, input_shape):
        return (*(input_shape if self.pooling is None else input_shape[:1]), self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "num_classes": self.num_classes,
            "embedding_dim": self.embedding_dim,
            "units": self.units,
            "depth": self.depth,
            "pooling": self.pooling,
            "pad_id": self.pad_id,
            "token_dropout": self.token_dropout,
            "dropout": self.dropout,
            "train_embeddings": self.train_embeddings,
        }
