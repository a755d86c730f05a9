"""An encoder that goes from texts to vectors, near each other where texts mean the same, and is saved as one file."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from kerasllm.common import choice, whole_number
from kerasllm.layers import MaskedMax, MaskedMean
from kerasllm.layers.masks import as_mask
from kerasllm.tasks.task import Task, ends_of
from kerasllm.tasks.texts import batches_by_length, checked_texts, padded
from kerasllm.text import Tokenizer

POOLINGS = {"mean": MaskedMean, "max": MaskedMax, "first": None}


@keras.saving.register_keras_serializable(package="kerasllm")
class SentenceEncoder(Task):
    """A network from token ids to vectors that also knows its tokenizer: one vector a text.

    `model.save("name.keras")` stores weights, tokenizer and settings in one file; `keras.saving.load_model` after
    ``import kerasllm.tasks`` brings all of it back. `kerasllm.weights.sentence_encoder` brings trained ones.

    Args:
        network: a model whose features are pooled, such as `kerasllm.models.BERT`.
        tokenizer: the `kerasllm.text.Tokenizer` of the network, or its JSON text. Its tokens for the beginning and the
            end of a text, where there are any, are put around each text ([CLS] and [SEP] of BERT).
        pooling: how the vectors of a text's tokens become one: their "mean", their "max" in each dimension, or the
            "first" one. A network gives good vectors with the one it was trained with.
        normalize: whether vectors are divided by their length, so that a dot product is a cosine.
        prefix: stands in front of each text. E5 for example was trained with "query: " and "passage: ".
        max_length: texts are cut to this many tokens, those around them included; the network's context when None.
        **kwargs: arguments of `keras.Model`, such as `name`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids, as `encode` makes them: padded on the right with the
            tokenizer's ``pad_id``. For texts there is `embed`.
        mask: bool tensor (batch, time), True at real tokens; those other than padding when None.
        training: whether dropout is active.

    Returns:
        Float32 tensor (batch, dim): a vector for each text; zeros for one without a token.

    Raises:
        ValueError: if `pooling` is unknown, `max_length` has no room for a token or is more than the network reads, or
            the network knows fewer tokens than the tokenizer has.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_words(["a good film", "a bad film"], vocabulary_size=20)
        >>> settings = models.BERTSettings(tokenizer.vocabulary_size, embedding_dim=8, num_layers=1, num_heads=2)
        >>> model = SentenceEncoder(models.BERT(settings), tokenizer)
        >>> model.embed(["good", "a bad film"]).shape
        (2, 8)

    Reference: Reimers and Gurevych (2019), "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", section 3.
    """

    answers = "embed(texts)"

    def __init__(
        self,
        network: keras.Model,
        tokenizer: Tokenizer | str,
        pooling: str = "mean",
        normalize: bool = True,
        prefix: str = "",
        max_length: int | None = None,
        **kwargs,
    ):
        super().__init__(network, tokenizer, **kwargs)
        self.pooling = choice("pooling", pooling, POOLINGS)
        self.normalize, self.prefix = bool(normalize), str(prefix)
        self._ends = ends_of(self.tokenizer)
        context = network.context_length
        self.max_length = whole_number(
            "max_length", context if max_length is None else max_length, 1 + sum(map(len, self._ends)), context
        )
        if network.vocabulary_size < self.tokenizer.vocabulary_size:
            raise ValueError(
                f"The network knows {network.vocabulary_size} tokens, the tokenizer has "
                f"{self.tokenizer.vocabulary_size}."
            )
        self.pool = POOLINGS[pooling] and POOLINGS[pooling](dtype="float32", name="pool")
        self.build((None, None))

    def call(self, inputs, mask=None, training=None):
        mask = ops.not_equal(inputs, self.tokenizer.pad_id) if mask is None else as_mask(mask, inputs.shape)
        features = self.network(inputs, mask=mask, return_features=True, training=training)
        features = ops.cast(features, "float32")  # (batch, time, dim)
        first = ops.where(mask[:, :1], features[:, 0], 0.0)  # as the others: zeros for a text without a token
        vectors = first if self.pool is None else self.pool(features, mask=mask)  # (batch, dim)
        return ops.normalize(vectors) if self.normalize else vectors

    def encode(self, texts: Sequence[str], prefix: str | None = None) -> np.ndarray:
        """The ids of some texts as one array, with the tokens around them, cut and padded on the right.

        Args:
            texts: a list, column or array of strings.
            prefix: stands in front of each text, in place of the model's own.

        Returns:
            int32 array (texts, time); time is at least 1.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
        """
        ids = self._ids(checked_texts(texts, "encode"), prefix)
        return padded(ids, max(map(len, ids), default=0) or 1, self.tokenizer.pad_id)

    def embed(self, texts: Sequence[str], prefix: str | None = None, batch_size: int = 64) -> np.ndarray:
        """A vector for each text. Texts of similar length are computed together.

        Args:
            texts: a list, column or array of strings.
            prefix: stands in front of each text, in place of the model's own: ``embed(documents, "passage: ")``.
            batch_size: how many texts are computed at a time; fewer when they are long.

        Returns:
            Float32 array (texts, dim).

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
            ValueError: if `batch_size` is not positive.
        """
        ids = self._ids(checked_texts(texts, "embed"), prefix)
        vectors = np.zeros((len(ids), self.compute_output_shape((None, None))[-1]), "float32")
        for rows, time in batches_by_length([len(one) for one in ids], whole_number("batch_size", batch_size)):
            batch = padded([ids[row] for row in rows], min(time, self.max_length), self.tokenizer.pad_id)
            found = self.predict_on_batch(batch)
            vectors[rows] = ops.convert_to_numpy(found)
        return vectors

    @staticmethod
    def similarity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The cosine of each vector of `left` (n, dim) with each of `right` (m, dim): float array (n, m).

        Example:
            >>> SentenceEncoder.similarity(np.array([[2.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 3.0]])).tolist()
            [[1.0, 0.0]]
        """
        left, right = (one / np.maximum(np.linalg.norm(one, axis=-1, keepdims=True), 1e-12) for one in (left, right))
        return left @ right.T

    def _ids(self, texts: list[str], prefix: str | None) -> list[list[int]]:
        begin, end = self._ends
        prefix = self.prefix if prefix is None else prefix
        room = self.max_length - len(begin) - len(end)
        return [begin + one[:room] + end for one in self.tokenizer.encode_batch([prefix + text for text in texts])]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.network.settings.embedding_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "normalize": self.normalize,
            "prefix": self.prefix,
            "max_length": self.max_length,
        }
