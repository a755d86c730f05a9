"""Batches of texts of different lengths, padded on the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerasllm.batches.pipeline import number, tensorflow, untuned

if TYPE_CHECKING:
    import tensorflow as tf


def padded(
    ids: Sequence[Sequence[int]],
    labels: Sequence | None = None,
    *,
    batch_size: int,
    max_length: int | None = None,
    buckets: int | Sequence[int] | None = None,
    shuffle: bool = False,
    seed: int = 0,
    start_epoch: int = 0,
    drop_remainder: bool = False,
    pad_id: int = 0,
) -> tf.data.Dataset:
    """Batches of texts, each filled up with padding on the right.

    Without ``buckets`` every batch has the same length. With ``buckets`` a batch is as long as the smallest
    bucket that holds it, and a compiled model sees no other length. With ``shuffle`` texts of one bucket come
    together, in another order each epoch; without it the texts keep their order, so that `predict` answers in
    order, and a batch is as long as its longest text asks for.

    All batches are full but one, which ``drop_remainder`` leaves out. A compiled model therefore sees at most as
    many shapes as there are buckets, and one more for the batch that is not full.

    Args:
        ids: for each text its ids.
        labels: for each text a number, or a row of numbers.
        batch_size: texts in a batch.
        max_length: longer texts are cut at the end. Without ``buckets`` it is also the length of every batch.
        buckets: the lengths that batches may have; or how many, placed so that each holds about as many texts.
        shuffle: see above.
        seed: the same seed gives the same batches.
        start_epoch: the epoch to begin with, when a shuffled run is resumed.
        drop_remainder: leave the last batch out when it is not full.
        pad_id: what to fill up with: `pad_id` of the tokenizer, 0 for every one that is trained here.

    Returns:
        A `tf.data.Dataset`, which `fit`, `evaluate` and `predict` take on every backend of Keras. Its elements are
        (inputs, labels), or the inputs alone: int32 (batch, time). A text without ids becomes a row of padding.
        Each time it is read to the end, the next epoch begins.

    Raises:
        ValueError: if there is no text, not one label a text, or a text longer than the largest bucket.

    Example:
        >>> dataset = padded([[5, 6, 7], [8]], [1, 0], batch_size=2)
        >>> [(inputs.tolist(), labels.tolist()) for inputs, labels in dataset.as_numpy_iterator()]
        [([[5, 6, 7], [8, 0, 0]], [1, 0])]
    """
    batches = Padded(ids, labels, batch_size, max_length, buckets, shuffle, seed, drop_remainder, pad_id)
    epoch = number("start_epoch", start_epoch, 0)
    tf = tensorflow()

    def read() -> Iterator:
        nonlocal epoch
        present = epoch
        for place in range(len(batches)):
            if place == len(batches) - 1:
                # Keras may look at the first batch before it trains: an epoch counts when its last batch goes out.
                epoch = present + 1
            yield batches.batch(present, place)

    signature = tf.TensorSpec((None, None), tf.int32)
    if batches.labels is not None:
        signature = (signature, tf.TensorSpec((None, *batches.labels.shape[1:]), batches.labels.dtype))
    dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
    # No prefetch: it would read ahead into the last batch of a short epoch.
    return untuned(dataset.apply(tf.data.experimental.assert_cardinality(len(batches))))


class Padded:
    """The batches of `padded` as NumPy arrays: a function of the epoch and the place in it."""

    def __init__(self, ids, labels, batch_size, max_length, buckets, shuffle, seed, drop_remainder, pad_id):
        self.batch_size = number("batch_size", batch_size, 1)
        self.seed = number("seed", seed, 0)
        self.shuffle = shuffle
        self.drop_remainder = drop_remainder
        self.pad_id = number("pad_id", pad_id, 0)
        if max_length is not None:
            max_length = number("max_length", max_length, 1)
        self.rows = [_row(place, row)[:max_length] for place, row in enumerate(ids)]
        if not self.rows:
            raise ValueError("There is no text to make batches of: ids is empty.")
        self.labels = _labels(labels, len(self.rows))
        self.lengths = np.array([len(row) for row in self.rows])
        self.buckets = _buckets(buckets, self.lengths, max_length)
        if not len(self):
            raise ValueError(
                f"{len(self.rows)} texts fill no batch of {self.batch_size}, and drop_remainder leaves the rest out. "
                f"Take batch_size={len(self.rows)} or less."
            )
        self._plan = (-1, [])

    def __len__(self) -> int:
        full, rest = divmod(len(self.rows), self.batch_size)
        return full + bool(rest and not self.drop_remainder)

    def batch(self, epoch: int, place: int):
        """Inputs int32 (batch, time), and the labels if there are any."""
        chosen, length = self._batches(epoch)[place]
        inputs = np.full((len(chosen), length), self.pad_id, "int32")
        for row, text in zip(inputs, chosen, strict=True):
            row[: self.lengths[text]] = self.rows[text]
        return inputs if self.labels is None else (inputs, self.labels[chosen])

    def _batches(self, epoch: int) -> list[tuple[np.ndarray, int]]:
        """The texts and the length of each batch of an epoch."""
        kept, plan = self._plan
        if kept != epoch and (self.shuffle or not plan):
            plan = self._shuffled(epoch) if self.shuffle else self._in_order()
            self._plan = (epoch, plan)
        return plan

    def _in_order(self):
        places = np.arange(len(self.rows))
        batches = [places[start : start + self.batch_size] for start in places[:: self.batch_size]]
        return [(batch, self._length(batch)) for batch in batches[: len(self)]]

    def _shuffled(self, epoch: int):
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.rows))
        bucket = np.searchsorted(self.buckets, self.lengths[order])
        batches, rest = [], order[:0]
        for place, length in enumerate(self.buckets):
            # What does not fill a batch moves on to the next bucket, where it fits as well.
            texts = np.concatenate([rest, order[bucket == place]])
            full = len(texts) // self.batch_size * self.batch_size
            batches += [(batch, length) for batch in texts[:full].reshape(-1, self.batch_size)]
            rest = texts[full:]
        batches = [batches[place] for place in random.permutation(len(batches))]
        if len(rest) and not self.drop_remainder:
            batches.append((rest, self._length(rest)))
        return batches

    def _length(self, texts: np.ndarray) -> int:
        return self.buckets[np.searchsorted(self.buckets, self.lengths[texts].max())]


def _row(place: int, row) -> np.ndarray:
    row = np.asarray(row)
    if row.ndim != 1 or (len(row) and row.dtype.kind not in "iu"):
        found = f"of {row.dtype}" if row.ndim == 1 else f"of shape {row.shape}"
        raise ValueError(
            f"ids[{place}] is no row of ids but {found}. Give one list of whole numbers a text: "
            "tokenizer.encode_batch(texts)."
        )
    return row.astype("int32")


def _labels(labels, count: int) -> np.ndarray | None:
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biuf" and labels.size:
        raise ValueError(
            f"labels are {labels.dtype}, for example {labels.flat[0]!s}; "
            "a model takes numbers. For a Categorical: frame['label'].cat.codes."
        )
    if labels.ndim < 1 or len(labels) != count:
        raise ValueError(f"There are {count} texts and labels of shape {labels.shape}. Give one label a text.")
    return labels


def _buckets(buckets, lengths: np.ndarray, max_length: int | None) -> list[int]:
    longest = max(int(lengths.max()), 1)
    if buckets is None:
        return [max_length or longest]
    if isinstance(buckets, int | np.integer):
        count = number("buckets", buckets, 1)
        shares = np.arange(1, count + 1) / count
        return sorted({max(1, int(length)) for length in np.quantile(lengths, shares, method="higher")})
    found = sorted({number("A bucket", bucket, 1) for bucket in buckets})
    if not found or found[-1] < longest:
        text = int(lengths.argmax())
        raise ValueError(
            f"Text {text} has {longest} ids and fits into none of the buckets {found}. "
            f"Add the bucket {longest}, or cut longer texts with max_length={found[-1] if found else longest}."
        )
    return found
