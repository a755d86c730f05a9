"""Vectors of tokens and of pairs of neighbours, for texts whose words have about two tokens."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from kerasllm.common import whole_number


@keras.saving.register_keras_serializable(package="kerasllm")
class PairEmbedding(keras.layers.Layer):
    """At each position the vector of the token plus the vector of the pair that ends there.

    One table holds all vectors: row ``i`` is the token with id ``i``, the rows from
    ``vocabulary_size`` on are the pairs in the order of their ids, and the last row stands for every
    pair that is not listed. The first position has no token before it and counts as such a pair.

    Args:
        vocabulary_size: number of token ids; at most 46,340, so that a pair fits in 32 bits.
        pairs: int array (pairs, 2) of ids, the left token and the right one. Give those that occur
            some times in the training texts: a vector that is seen once is learned by heart.
        output_dim: size of a vector.
        embeddings_initializer: how the table starts, as in `keras.layers.Embedding`.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids.

    Returns:
        Float tensor (batch, time, output_dim). It has no mask: the layer after it needs to be told.

    Raises:
        ValueError: if a size is not positive, the vocabulary is too large, `pairs` has another
            shape, or an id in it is not one of the vocabulary.

    Example:
        >>> layer = PairEmbedding(5, [[1, 2], [2, 4]], output_dim=3)
        >>> [int(row) for row in layer.pair_rows([[1, 2, 4, 4]])[0]]
        [7, 5, 6, 7]

    Reference: the sum of a unit's vector and those of its n-grams is that of Bojanowski et al.
    (2017), "Enriching Word Vectors with Subword Information", section 3.2; here nothing is hashed.
    """

    def __init__(self, vocabulary_size: int, pairs, output_dim: int, embeddings_initializer="uniform", **kwargs):
        super().__init__(**kwargs)
        # A pair of ids has 32 bits.
        self.vocabulary_size = whole_number("vocabulary_size", vocabulary_size, most=46_340)
        self.output_dim = whole_number("output_dim", output_dim)
        pairs = np.asarray(pairs)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in "iu":
            raise ValueError(
                f"pairs must be whole numbers of shape (at least one, 2), not {pairs.dtype} {pairs.shape}."
            )
        low, high = pairs.min(), pairs.max()
        if low < 0 or high >= vocabulary_size:
            raise ValueError(f"pairs has ids from {low} to {high}; the vocabulary has 0 to {vocabulary_size - 1}.")
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self._codes = np.unique(pairs.astype("int32") @ np.array([self.vocabulary_size, 1], "int32"))

    @property
    def pairs(self) -> np.ndarray:
        """The pairs that have a row of their own, in the order of the rows: int32 array (pairs, 2)."""
        return np.stack([self._codes // self.vocabulary_size, self._codes % self.vocabulary_size], axis=1)

    def build(self, input_shape):
        rows = self.vocabulary_size + len(self._codes) + 1
        self.embeddings = self.add_weight((rows, self.output_dim), self.embeddings_initializer, name="embeddings")

    def pair_rows(self, inputs):
        """The row of the pair that ends at each position: int tensor of the shape of `inputs`."""
        ids = ops.cast(ops.convert_to_tensor(inputs), "int32")  # (batch, time)
        other = self.vocabulary_size + len(self._codes)
        codes = ops.convert_to_tensor(self._codes)
        # An id before the first position that no token has: its code is below every pair's.
        before = ops.pad(ids[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
        pair = before * self.vocabulary_size + ids
        place = ops.reshape(ops.searchsorted(codes, ops.reshape(pair, (-1,))), ops.shape(pair))
        place = ops.minimum(place, len(self._codes) - 1)
        return ops.where(ops.take(codes, place) == pair, place + self.vocabulary_size, other)

    def call(self, inputs):
        ids = ops.cast(inputs, "int32")
        vectors = ops.take(self.embeddings, ids, axis=0) + ops.take(self.embeddings, self.pair_rows(ids), axis=0)
        return ops.cast(vectors, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.output_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "pairs": self.pairs.tolist(),
            "output_dim": self.output_dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }
