"""The simplest classifier with embeddings: their mean, then one dense layer."""

from __future__ import annotations

import keras
from keras import ops

from kerasllm.common import share, whole_number
from kerasllm.layers.composite import CompositeModel
from kerasllm.layers.pooling import MaskedMean


@keras.saving.register_keras_serializable(package="kerasllm")
class BagOfEmbeddings(CompositeModel):
    """Classifies a text by the mean of its tokens' embeddings. The order of the tokens plays no role.

    `kerasllm.tasks.TextClassifier` joins it with a tokenizer and the names of the classes.

    Args:
        vocabulary_size: number of tokens.
        num_classes: number of classes, one logit each.
        embedding_dim: size of an embedding.
        pad_id: the id of padding. Positions that hold it never matter.
        token_dropout: share of the tokens whose whole vector is set to 0 while training.
        dropout: share of the mean's dimensions that is set to 0 while training.
        embeddings: matrix (vocabulary_size, embedding_dim) to start from, such as GloVe vectors. It is a start, no
            setting: a saved model keeps what training made of it.
        train_embeddings: False keeps the embeddings as they are.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids, with `pad_id` where a text has ended.
        training: whether dropout is active.

    Returns:
        Float32 tensor (batch, num_classes): logits.

    Raises:
        ValueError: if a size is not positive, a dropout is no share, or `embeddings` has another shape.

    Example:
        >>> import numpy as np
        >>> model = BagOfEmbeddings(vocabulary_size=50, num_classes=2, embedding_dim=8)
        >>> tuple(model(np.array([[4, 7, 0], [5, 0, 0]])).shape)
        (2, 2)

    Reference: Iyyer et al. (2015), "Deep Unordered Composition Rivals Syntactic Methods for Text
    Classification", section 2; the fastText classifier (Joulin et al. 2016) without its n-grams.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_classes: int,
        embedding_dim: int = 64,
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
        self.pad_id = whole_number("pad_id", pad_id, 0)
        self.token_dropout = share("token_dropout", token_dropout)
        self.dropout = share("dropout", dropout)
        self.train_embeddings = bool(train_embeddings)
        policy = self.dtype_policy
        self.embed = embedding((self.vocabulary_size, self.embedding_dim), embeddings, self.train_embeddings, policy)
        self.drop_tokens = token_drop(self.token_dropout, policy)
        self.pool = MaskedMean(dtype=policy, name="pool")
        self.drop = keras.layers.Dropout(self.dropout, dtype=policy, name="dropout")
        self.logits = keras.layers.Dense(self.num_classes, dtype="float32", name="logits")

    def build(self, input_shape):
        if self.built:
            return
        if not self.embed.built:  # it is, when it started from a matrix
            self.embed.build(input_shape)
        self.logits.build((input_shape[0], self.embedding_dim))
        self.restore_parts()

    def call(self, inputs, training=None):
        mask = ops.not_equal(inputs, self.pad_id)  # (batch, time)
        vectors = self.drop_tokens(self.embed(inputs), training=training)  # (batch, time, embedding_dim)
        mean = self.pool(vectors, mask=mask)  # (batch, embedding_dim)
        return self.logits(self.drop(mean, training=training))  # (batch, num_classes)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "num_classes": self.num_classes,
            "embedding_dim": self.embedding_dim,
            "pad_id": self.pad_id,
            "token_dropout": self.token_dropout,
            "dropout": self.dropout,
            "train_embeddings": self.train_embeddings,
        }


def embedding(shape: tuple[int, int], matrix, trainable: bool, policy) -> keras.layers.Embedding:
    """The layer `keras.layers.Embedding` of a classifier, from a matrix where one is given."""
    if matrix is not None and tuple(matrix.shape) != shape:
        raise ValueError(f"embeddings has the shape {tuple(matrix.shape)}, not (vocabulary, dim) = {shape}.")
    return keras.layers.Embedding(*shape, weights=matrix, trainable=trainable, dtype=policy, name="embedding")


def token_drop(rate: float, policy) -> keras.layers.Dropout:
    """Dropout of whole vectors: one random number a token, not one a dimension."""
    return keras.layers.Dropout(rate, noise_shape=(None, None, 1), dtype=policy, name="token_dropout")
