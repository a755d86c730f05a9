"""Batches of questions with a passage each, in which the answer stands somewhere or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from kerasllm.batches.pad import Padded
from kerasllm.batches.pipeline import Spec, dataset
from kerasllm.batches.rows import Order, filled

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def spans(
    ids: Sequence[Sequence[int]],
    passages: Sequence[int],
    answers: Sequence[tuple[int, int]],
    *,
    pad_id: int = 0,
    **order: Unpack[Order],
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of rows "[CLS] question [SEP] passage [SEP]" and of the place in each where the answer stands.

    `kerasllm.tasks.SpanFinder.examples` makes the three lists from texts.

    Args:
        ids: for each row its ids, special tokens included.
        passages: for each row the place of the passage's first token.
        answers: for each row the places of the answer's first and last token; (0, 0), the row's first token, says that
            the passage does not hold the answer.
        pad_id: see `padded`.
        order: ``batch_size`` and, if wanted, ``buckets``, ``shuffle``, ``seed``, ``epochs``, ``start_epoch``,
            ``start_step``, ``drop_remainder``, ``shard``: see `padded`.

    Returns:
        A feed, as of `padded`. Its elements are (inputs, answers). Inputs are the dictionary of `span_inputs`, answers
        int32 (batch, 2).

    Raises:
        ValueError: if the lists differ in length, an answer stands outside of its passage, or for a reason of `padded`.

    Example:
        >>> feed = spans([[1, 5, 2, 6, 7, 8, 2]], [3], [(4, 5)], batch_size=1)
        >>> inputs, answers = next(iter(feed.as_numpy_iterator()))
        >>> inputs["type_ids"].tolist(), inputs["places"].astype(int).tolist(), answers.tolist()
        ([[0, 0, 0, 1, 1, 1, 1]], [[1, 0, 0, 1, 1, 1, 0]], [[4, 5]])

    Reference:
        Devlin et al. (2019), BERT: Pre-training of deep bidirectional transformers for language understanding,
        sections 4.2 and 4.3.
    """
    return dataset(Spans(ids, passages, answers, pad_id=pad_id, **order))


def span_inputs(
    rows: Sequence[Sequence[int]], passages: Sequence[int], length: int, pad_id: int
) -> dict[str, np.ndarray]:
    """What a finder of spans reads: rows filled up on the right, all arrays (rows, length).

    Args:
        rows: for each row its ids, special tokens included.
        passages: for each row the place of the passage's first token.
        length: of the arrays.
        pad_id: what to fill up with.

    Returns:
        A dictionary: "ids", int32; "mask", True at what is not padding; "type_ids", int32, 1 from the passage to its
        [SEP] and 0 elsewhere; "places", True where an answer may begin or end: at the first token and in the passage.
    """
    ids = filled([np.asarray(row, "int32") for row in rows], length, pad_id)
    lengths, begins = (np.asarray(one, "int64").reshape(-1, 1) for one in ([len(row) for row in rows], passages))
    place = np.arange(length)
    mask, behind = place < lengths, place >= begins
    return {
        "ids": ids,
        "mask": mask,
        "type_ids": (mask & behind).astype("int32"),
        "places": (behind & (place < lengths - 1)) | ((place == 0) & mask),
    }


class Spans(Padded):
    """The batches of `spans` as NumPy arrays: a function of the batch's number."""

    def __init__(self, ids, passages, answers, *, pad_id: int = 0, **order: Unpack[Order]):
        super().__init__(ids, np.asarray(answers, "int32").reshape(-1, 2), pad_id=pad_id, **order)
        passages = np.asarray(passages, "int64")
        if passages.shape != (self.count,):
            raise ValueError(
                f"There are {self.count} rows and passages of shape {passages.shape}. Give one place a row."
            )
        for place, (begin, (first, last)) in enumerate(zip(passages, self.labels.tolist(), strict=True)):
            inside = begin <= first <= last < self.lengths[place] - 1
            if not inside and (first, last) != (0, 0):
                raise ValueError(
                    f"The answer of row {place} stands at {first} to {last}, and its passage at {begin} to "
                    f"{self.lengths[place] - 2}. Give (0, 0) where the passage does not hold it."
                )
        self.passages = np.append(passages, 0)

    def inputs(self, chosen: np.ndarray, length: int) -> dict[str, np.ndarray]:
        return span_inputs([self.rows[row] for row in chosen], self.passages[chosen], length, self.pad_id)

    @property
    def spec(self):
        shape = (self.batch_rows, self.time)
        types = {"ids": "int32", "mask": "bool", "type_ids": "int32", "places": "bool"}
        return {name: Spec(shape, dtype) for name, dtype in types.items()}, Spec((self.batch_rows, 2), "int32")
