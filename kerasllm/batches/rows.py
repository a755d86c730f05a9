"""Rows of different lengths, put together into batches: what the feeds of separate texts share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np

from kerasllm.batches.pipeline import Batches, checked_batch, checked_shard
from kerasllm.common import whole_number


class Order(TypedDict, total=False):
    """How rows become batches: the arguments that `padded` explains and every feed of separate rows takes."""

    batch_size: int
    buckets: int | Sequence[int] | None
    shuffle: bool
    seed: int
    epochs: int | None
    start_epoch: int
    start_step: int
    drop_remainder: bool
    shard: tuple[int, int] | None


class RowBatches(Batches):
    """Which rows stand in batch k, and how long they are made.

    Batch k is batch ``k % steps_per_epoch`` of epoch ``k // steps_per_epoch``.

    Args:
        lengths: the length of each row. What the rows are made of needs one more at its end, which is empty.
        max_length: without `buckets`, the length of every batch.
        order: see `Order`.

    Attributes:
        count: how many rows there are.
        lengths: their lengths, and that of the empty row, 0.
        buckets: the lengths that batches may have.
        batch_rows: rows of a batch on this host, None when one is smaller.
        time: the length of every batch, None when they differ.
    """

    what = "texts"  # what the rows are, for messages
    weighted = True  # whether a batch has weights, so that hosts can fill it up with empty rows

    def __init__(
        self,
        lengths: Sequence[int],
        max_length: int | None = None,
        *,
        batch_size: int,
        buckets: int | Sequence[int] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        epochs: int | None = None,
        start_epoch: int = 0,
        start_step: int = 0,
        drop_remainder: bool = False,
        shard: tuple[int, int] | None = None,
    ):
        self.count = len(lengths)
        if not self.count:
            raise ValueError("There is no text to make batches of: ids is empty.")
        self.batch_size = whole_number("batch_size", batch_size)
        self.seed = whole_number("seed", seed, least=0)
        self.shuffle = shuffle
        self.shard = checked_shard(shard, self.batch_size)
        self.buckets = _buckets(buckets, np.asarray(lengths), max_length)
        self.lengths = np.append(lengths, 0).astype("int64")  # number -1 is an empty row
        checked_batch(self.what, self.batch_size, self.count, self.buckets[-1], full=False)
        full, rest = divmod(self.count, self.batch_size)
        self.steps_per_epoch = full + bool(rest and not drop_remainder)
        if not self.steps_per_epoch:
            raise ValueError(
                f"{self.count} {self.what} fill no batch of {self.batch_size}, and drop_remainder leaves the "
                f"rest out. Take batch_size={self.count} or less."
            )
        self._check_rest(0 if drop_remainder else rest)
        self._set_reading(epochs, start_epoch, start_step)
        self.batch_rows = None if self.steps_per_epoch > full else self.batch_size // self.shard[1]
        self.time = self.buckets[0] if len(self.buckets) == 1 else None
        self._plans = {}

    def _check_rest(self, rest: int) -> None:
        if rest % self.shard[1] and not self.weighted:
            raise ValueError(
                f"The last batch has {rest} {self.what}, which {self.shard[1]} hosts cannot share equally. Leave it "
                f"out with drop_remainder=True, or give a number of {self.what} that the hosts can share."
            )

    def _set_reading(self, epochs, start_epoch, start_step) -> None:
        epochs = whole_number("epochs", epochs, optional=True)
        start = whole_number("start_epoch", start_epoch, least=0)
        if self.shuffle and epochs is None:
            raise ValueError(
                "shuffle=True needs epochs: each epoch has another order, and a feed holds the batches of all of them, "
                "so that nobody who reads it changes what comes next. Instead of fit(feed, epochs=5): give the feed "
                "epochs=5, and call fit(feed, epochs=5, steps_per_epoch=batches.steps_per_epoch(feed), shuffle=False)."
            )
        self.last = (start + (epochs or 1)) * self.steps_per_epoch
        self.first = start * self.steps_per_epoch
        left = self.last - self.first
        self.first += whole_number("start_step", start_step, least=0, most=left - 1)

    def chosen(self, step: int) -> tuple[np.ndarray, int]:
        """The rows of batch `step`, those of all hosts (-1 is an empty one), and the place of their bucket."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._plan(epoch if self.shuffle else 0)[place]

    def _plan(self, epoch: int) -> list[tuple[np.ndarray, int]]:
        """The rows and the bucket of each batch of an epoch. Kept for two: a second reader may be elsewhere."""
        plan = self._plans.get(epoch)
        if plan is None:
            plan = self._shuffled(epoch) if self.shuffle else self._in_order()
            self._plans = dict([*self._plans.items()][-1:]) | {epoch: plan}
        return plan

    def _in_order(self) -> list[tuple[np.ndarray, int]]:
        places = np.arange(self.count)
        batches = [places[start : start + self.batch_size] for start in places[:: self.batch_size]]
        return [(self._shared(batch), self._bucket(batch)) for batch in batches[: self.steps_per_epoch]]

    def _shuffled(self, epoch: int) -> list[tuple[np.ndarray, int]]:
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(self.count)
        bucket = np.searchsorted(self.buckets, self.lengths[order])
        batches, rest = [], order[:0]
        for place in range(len(self.buckets)):
            # What does not fill a batch moves on to the next bucket, where it fits as well.
            rows = np.concatenate([rest, order[bucket == place]])
            full = len(rows) // self.batch_size * self.batch_size
            batches += [(batch, place) for batch in rows[:full].reshape(-1, self.batch_size)]
            rest = rows[full:]
        batches = [batches[place] for place in random.permutation(len(batches))]
        if len(batches) < self.steps_per_epoch:
            batches.append((self._shared(rest), self._bucket(rest)))
        return batches

    def _shared(self, rows: np.ndarray) -> np.ndarray:
        """The rows of a batch, filled up with the empty one until the hosts can share it."""
        return np.append(rows, np.full(-len(rows) % self.shard[1], -1, rows.dtype))

    def _bucket(self, rows: np.ndarray) -> int:
        return int(np.searchsorted(self.buckets, self.lengths[rows].max()))


def checked_rows(name: str, rows: Sequence[Sequence[int]], max_length: int | None = None) -> list[np.ndarray]:
    """Each row as int32 (ids,), cut at `max_length`."""
    max_length = whole_number("max_length", max_length, optional=True)
    return [_row(name, place, row)[:max_length] for place, row in enumerate(rows)]


def filled(rows: Sequence[np.ndarray], length: int, value: int, side: str = "right") -> np.ndarray:
    """The rows as one array int32 (rows, length), filled up with `value` on this side."""
    array = np.full((len(rows), length), value, "int32")
    for line, row in zip(array, rows, strict=True):
        if side == "right":
            line[: len(row)] = row
        else:
            line[length - len(row) :] = row
    return array


def real_places(lengths: np.ndarray, length: int, side: str = "right") -> np.ndarray:
    """True where `filled` puts an id of a row: bool (rows, length)."""
    places = np.arange(length)
    return (places if side == "right" else places[::-1]) < np.asarray(lengths)[:, None]


def inputs_of(ids: np.ndarray, real: np.ndarray) -> dict[str, np.ndarray]:
    """The dictionary of inputs for rows of one text each."""
    return {
        "ids": ids,
        "mask": real,
        "segment_ids": real.astype("int32"),
        "positions": np.where(real, real.cumsum(1) - 1, 0).astype("int32"),
    }


def _row(name: str, place: int, row) -> np.ndarray:
    row = np.asarray(row)
    if row.ndim != 1 or (len(row) and row.dtype.kind not in "iu"):
        found = f"of {row.dtype}" if row.ndim == 1 else f"of shape {row.shape}"
        raise ValueError(
            f"{name}[{place}] is no row of ids but {found}. Give one list of whole numbers a text: "
            "tokenizer.encode_batch(texts)."
        )
    return row.astype("int32")


def _buckets(buckets, lengths: np.ndarray, max_length: int | None) -> list[int]:
    longest = max(int(lengths.max()), 1)
    if buckets is None:
        return [max_length or longest]
    if not isinstance(buckets, Iterable):
        count = whole_number("buckets", buckets)
        shares = np.arange(1, count + 1) / count
        return sorted({max(1, int(length)) for length in np.quantile(lengths, shares, method="higher")})
    found = sorted({whole_number("A bucket", bucket) for bucket in buckets})
    if not found or found[-1] < longest:
        text = int(lengths.argmax())
        raise ValueError(
            f"Text {text} has {longest} ids and fits into none of the buckets {found}. "
            f"Add the bucket {longest}, or cut longer texts with max_length={found[-1] if found else longest}."
        )
    return found
