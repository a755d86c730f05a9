"""Batches of pairs of texts, for models that read one text and write another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from kerasllm.batches.pipeline import Spec, checked_pad, dataset
from kerasllm.batches.rows import Order, RowBatches, checked_rows, filled, real_places
from kerasllm.common import whole_number

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def paired(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    *,
    start_id: int,
    end_id: int,
    max_length: int | None = None,
    pad_id: int = 0,
    **order: Unpack[Order],
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of a text and the text that is to be written from it, with teacher forcing.

    The decoder is given the right words so far, whatever it would have written: its inputs are ``start_id`` and the
    target, and what it learns to give at each place is the next one, at last ``end_id``.

    Buckets are made by the longer text of a pair. In each bucket a side is as long as its longest text there; if you
    name the buckets, or ``max_length`` without them, both sides have the length you name.

    Args:
        sources: for each pair the ids that are read.
        targets: for each pair the ids that are written, without start and end.
        start_id: what the decoder begins with: `bos_id` of the tokenizer (T5 takes its `pad_id`).
        end_id: what it ends with: `eos_id` of the tokenizer.
        max_length: longer sources, and longer targets with their end, are cut at the end.
        pad_id: see `padded`.
        order: ``batch_size`` and, if wanted, ``buckets``, ``shuffle``, ``seed``, ``epochs``, ``start_epoch``,
            ``start_step``, ``drop_remainder``, ``shard``: see `padded`.

    Returns:
        A feed, as of `padded`. Its elements are (inputs, labels, weights). Inputs are a dictionary: "source_ids" and
        "source_mask" (batch, source time), "target_ids" and "target_mask" (batch, target time), with True at what is
        not padding. Labels and weights are (batch, target time), with weight 0 at padding.

    Raises:
        ValueError: if there are not as many sources as targets, or for a reason of `padded`.

    Example:
        >>> feed = paired([[5, 6, 7]], [[8, 9]], start_id=1, end_id=2, batch_size=1)
        >>> inputs, labels, weights = next(iter(feed.as_numpy_iterator()))
        >>> inputs["source_ids"].tolist(), inputs["target_ids"].tolist(), labels.tolist()
        ([[5, 6, 7]], [[1, 8, 9]], [[8, 9, 2]])

    Reference:
        Williams and Zipser (1989), A learning algorithm for continually running fully recurrent neural networks,
        section 3 ("teacher-forced").
    """
    pairs = Paired(sources, targets, start_id=start_id, end_id=end_id, max_length=max_length, pad_id=pad_id, **order)
    return dataset(pairs)


class Paired(RowBatches):
    """The batches of `paired` as NumPy arrays: a function of the batch's number."""

    def __init__(
        self,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
        *,
        start_id: int,
        end_id: int,
        max_length: int | None = None,
        pad_id: int = 0,
        **order: Unpack[Order],
    ):
        self.pad_id = checked_pad("pad_id", pad_id)
        start_id, end_id = _role("start_id", start_id), _role("end_id", end_id)
        self.sources = checked_rows("sources", sources, max_length)
        # One row holds both: its inputs are all but the last id, its labels all but the first.
        both = [np.r_[start_id, row, end_id].astype("int32") for row in checked_rows("targets", targets)]
        self.targets = [row[: max_length and max_length + 1] for row in both]
        if len(self.sources) != len(self.targets):
            raise ValueError(f"There are {len(self.sources)} sources and {len(self.targets)} targets. Give one each.")
        sides = np.array([[len(row) for row in self.sources], [len(row) - 1 for row in self.targets]])  # (2, pairs)
        super().__init__(sides.max(0), max_length, **order)
        self.sources.append(self.sources[0][:0])
        self.targets.append(self.targets[0][:1])
        if isinstance(order.get("buckets"), Iterable) or (order.get("buckets") is None and max_length):
            self.sides = [(bucket, bucket) for bucket in self.buckets]
        else:
            # A bucket takes what is left of those before it, so it is at least as long as they are.
            within = [np.maximum(sides[:, sides.max(0) <= bucket].max(1), 1) for bucket in self.buckets]
            self.sides = [tuple(side.tolist()) for side in within]

    def batch(self, step: int):
        chosen, bucket = self.chosen(step)
        chosen, (source_time, target_time) = self.own(chosen), self.sides[bucket]
        sources, targets = [self.sources[row] for row in chosen], [self.targets[row] for row in chosen]
        real = real_places([len(row) - 1 for row in targets], target_time)
        inputs = {
            "source_ids": filled(sources, source_time, self.pad_id),
            "source_mask": real_places([len(row) for row in sources], source_time),
            "target_ids": filled([row[:-1] for row in targets], target_time, self.pad_id),
            "target_mask": real,
        }
        return inputs, filled([row[1:] for row in targets], target_time, self.pad_id), real.astype("float32")

    @property
    def spec(self):
        source, target = ((self.batch_rows, *time) for time in zip(*self._times(), strict=True))
        inputs = {
            "source_ids": Spec(source, "int32"),
            "source_mask": Spec(source, "bool"),
            "target_ids": Spec(target, "int32"),
            "target_mask": Spec(target, "bool"),
        }
        return inputs, Spec(target, "int32"), Spec(target, "float32")

    def _times(self) -> list[tuple[int | None, int | None]]:
        return self.sides if len(self.sides) == 1 else [(None, None)]


def _role(name: str, value) -> int:
    if value is None:
        raise ValueError(
            f"{name} is None: the tokenizer has no token for it. Train one with bos=True and eos=True, or give another "
            f"special token, such as {name}=tokenizer.pad_id."
        )
    return whole_number(name, value, least=0)
