"""Batches of windows that hold several documents each."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from kerasllm.batches.pad import spec_of_inputs
from kerasllm.batches.pipeline import Spec, checked_pad, dataset
from kerasllm.batches.rows import Order, RowBatches, checked_rows
from kerasllm.common import whole_number

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def packed(
    documents: Sequence[Sequence[int]],
    *,
    context: int,
    pad_id: int = 0,
    **order: Unpack[Order],
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of windows in which documents stand one after the other, with little padding.

    The documents of a window are kept apart by ``segment_ids`` and ``positions``: a model that is given them reads
    each document as if it were alone. Nothing is predicted across a border: the targets are the next ids of the same
    document, and its last id has no target.

    Documents are packed once, by best fit, the longest first: each goes where the least room is left that holds it.
    With ``shuffle`` the windows come in another order each epoch. A document longer than ``context`` is cut into
    pieces, which are packed like documents; the last id of a piece does have its target. A document of one id has no
    target and is left out.

    Args:
        documents: for each document its ids; end them with `eos_id` if the model is to learn where a text ends.
        context: ids of a window.
        pad_id: see `padded`.
        order: ``batch_size`` (windows) and, if wanted, ``shuffle``, ``seed``, ``epochs``, ``start_epoch``,
            ``start_step``, ``drop_remainder``, ``shard``: see `padded`.

    Returns:
        A feed, as of `padded`. Its elements are (inputs, targets, weights). Inputs are a dictionary of (batch,
        context): "ids"; "segment_ids", 1 for the first document of a window, 2 for the second, 0 at padding;
        "positions", counted from 0 in each document; "mask", False at padding. Weights are 0 at the last id of a
        document and at padding.

    Raises:
        ValueError: if no document has two ids, or for a reason of `padded`.

    Example:
        >>> feed = packed([[5, 6, 7], [8, 9]], context=6, batch_size=1)
        >>> inputs, targets, weights = next(iter(feed.as_numpy_iterator()))
        >>> inputs["ids"].tolist(), inputs["segment_ids"].tolist(), inputs["positions"].tolist()
        ([[5, 6, 7, 8, 9, 0]], [[1, 1, 1, 2, 2, 0]], [[0, 1, 2, 0, 1, 0]])
        >>> targets.tolist(), weights.tolist()
        ([[6, 7, 0, 9, 0, 0]], [[1.0, 1.0, 0.0, 1.0, 0.0, 0.0]])

    Reference:
        Krell et al. (2021), Efficient sequence packing without cross-contamination, sections 3 and 4.
    """
    return dataset(Packed(documents, context=context, pad_id=pad_id, **order))


class Windows(RowBatches):
    """Rows of several pieces that do not see each other: what `Packed` and `Conversations` are.

    Attributes:
        windows: for each row the numbers of its pieces.
    """

    pad_id: int
    windows: list[list[int]]

    def piece(self, number: int):
        """Of a piece its inputs, its targets, which may be fewer, and what each target weighs."""
        raise NotImplementedError

    def batch(self, step: int):
        chosen, bucket = self.chosen(step)
        shape = (len(chosen) // self.shard[1], self.buckets[bucket])
        ids, targets = np.full((2, *shape), self.pad_id, "int32")
        segments, positions = np.zeros((2, *shape), "int32")
        weights = np.zeros(shape, "float32")
        for row, window in enumerate(self.own(chosen)):
            start = 0
            for segment, number in enumerate(self.windows[window], 1):
                text, following, learned = self.piece(number)
                here, before = slice(start, start + len(text)), slice(start, start + len(following))
                ids[row, here], segments[row, here], positions[row, here] = text, segment, np.arange(len(text))
                targets[row, before], weights[row, before] = following, learned
                start = here.stop
        inputs = {"ids": ids, "mask": segments > 0, "segment_ids": segments, "positions": positions}
        return inputs, targets, weights

    @property
    def spec(self):
        shape = (self.batch_rows, self.time)
        return spec_of_inputs(self), Spec(shape, "int32"), Spec(shape, "float32")


class Packed(Windows):
    """The batches of `packed` as NumPy arrays: a function of the batch's number.

    Attributes:
        windows: for each window its pieces.
        pieces: for each piece its document, and its first and last place in it: int64 (pieces, 3).
    """

    what = "windows"

    def __init__(self, documents: Sequence[Sequence[int]], *, context: int, pad_id: int = 0, **order: Unpack[Order]):
        context = whole_number("context", context, least=2)
        self.pad_id = checked_pad("pad_id", pad_id)
        self.documents = checked_rows("documents", documents)
        self.pieces = np.array(
            [
                (document, start, min(start + context, len(ids)))
                for document, ids in enumerate(self.documents)
                # The last id alone has no target.
                for start in range(0, len(ids) - 1, context)
            ],
            "int64",
        ).reshape(-1, 3)
        if not len(self.pieces):
            raise ValueError("There is nothing to learn from: no document has two ids.")
        self.windows = fitted(self.pieces[:, 2] - self.pieces[:, 1], context)
        super().__init__([context] * len(self.windows), **order)
        self.windows.append([])

    def piece(self, number: int) -> tuple[np.ndarray, np.ndarray, int]:
        document, start, stop = self.pieces[number]
        text = self.documents[document]
        return text[start:stop], text[start + 1 : stop + 1], 1


def fitted(lengths: np.ndarray, room: int) -> list[list[int]]:
    """Which pieces go together into windows of this room: best fit, the longest first.

    Example:
        >>> fitted(np.array([2, 4, 3, 1]), 5)
        [[0, 2], [1, 3]]
    """
    windows: list[list[int]] = []
    left_in: dict[int, list[int]] = {}  # for each amount of room left, the windows that have it
    rooms: list[int] = []  # the keys of `left_in`, sorted
    for piece in np.argsort(-lengths, kind="stable").tolist():
        place = bisect_left(rooms, int(lengths[piece]))
        if place == len(rooms):
            left, window = room, len(windows)
            windows.append([])
        else:
            left = rooms[place]
            window = left_in[left].pop()
            if not left_in[left]:
                del left_in[left], rooms[place]
        windows[window].append(piece)
        left -= int(lengths[piece])
        if left:
            if left not in left_in:
                left_in[left] = []
                insort(rooms, left)
            left_in[left].append(window)
    return sorted(sorted(pieces) for pieces in windows)
