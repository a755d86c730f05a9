"""Batches of texts of different lengths, filled up with padding; with a label for each text or each token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from kerasllm.batches.pipeline import Spec, checked_pad, dataset
from kerasllm.batches.rows import Order, RowBatches, checked_rows, filled, inputs_of, real_places
from kerasllm.common import choice

if TYPE_CHECKING:
    import keras
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
    epochs: int | None = None,
    start_epoch: int = 0,
    start_step: int = 0,
    drop_remainder: bool = False,
    pad_id: int = 0,
    side: str = "right",
    as_dict: bool = False,
    shard: tuple[int, int] | None = None,
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of texts, each filled up with padding.

    Without ``buckets`` every batch has the same length. With ``buckets`` a batch is as long as the smallest
    bucket that holds it, and a compiled model sees no other length. With ``shuffle`` texts of one bucket come
    together, in another order each epoch; without it the texts keep their order, so that `predict` answers in
    order, and a batch is as long as its longest text asks for.

    All batches are full but one of each epoch, which ``drop_remainder`` leaves out. A compiled model therefore sees
    at most as many shapes as there are buckets, and one more for the batch that is not full.

    A feed is the stream of the batches of all its epochs. Whoever reads it begins at its start, and changes nothing
    for the next reader::

        train = padded(ids, labels, batch_size=32, shuffle=True, epochs=5)
        model.fit(train, epochs=5, steps_per_epoch=batches.steps_per_epoch(train), shuffle=False)

    Args:
        ids: for each text its ids.
        labels: for each text a number, or a row of numbers.
        batch_size: texts in a batch, on all hosts together.
        max_length: longer texts are cut at the end. Without ``buckets`` it is also the length of every batch.
        buckets: the lengths that batches may have; or how many, placed so that each holds about as many texts.
        shuffle: see above.
        seed: the same seed gives the same batches.
        epochs: how many epochs, from ``start_epoch`` on; one when None, which a shuffled feed refuses.
        start_epoch: the epoch to begin with, when a run is resumed.
        start_step: how many batches of that epoch (or of more epochs) to leave out, when a run is resumed within it.
        drop_remainder: leave the last batch of an epoch out when it is not full.
        pad_id: what to fill up with: `pad_id` of the tokenizer, 0 for every one that is trained here.
        side: where padding stands, "right" or "left". On the left the inputs are a dictionary.
        as_dict: whether the inputs are a dictionary: "ids", "mask" (True at a text's ids), "segment_ids" (1 there, 0
            at padding) and "positions" (counted from the text's first id), all (batch, time).
        shard: (index, count): this host is number `index` of `count` hosts, and gets its part of each batch. The
            parts of a batch, one after the other, are the batch that one host alone would get. (A last batch that
            the hosts cannot share equally is refused here, and filled up with rows of weight 0 in the feeds with
            weights.)

    Returns:
        A feed, which `fit`, `evaluate` and `predict` take on every backend of Keras. Its elements are
        (inputs, labels), or the inputs alone: int32 (batch, time). A text without ids becomes a row of padding.

    Raises:
        ValueError: if there is no text, not one label a text, a text longer than the largest bucket, a shuffled
            feed without ``epochs``, or a batch larger than a GiB.

    Example:
        >>> feed = padded([[5, 6, 7], [8]], [1, 0], batch_size=2)
        >>> [(inputs.tolist(), labels.tolist()) for inputs, labels in feed.as_numpy_iterator()]
        [([[5, 6, 7], [8, 0, 0]], [1, 0])]
    """
    order = Order(batch_size=batch_size, buckets=buckets, shuffle=shuffle, seed=seed, epochs=epochs)
    order |= Order(start_epoch=start_epoch, start_step=start_step, drop_remainder=drop_remainder, shard=shard)
    return dataset(Padded(ids, labels, max_length=max_length, pad_id=pad_id, side=side, as_dict=as_dict, **order))


def tagged(
    ids: Sequence[Sequence[int]],
    tags: Sequence[Sequence[int]],
    *,
    max_length: int | None = None,
    pad_id: int = 0,
    as_dict: bool = False,
    **order: Unpack[Order],
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of texts with a label for each token; padding on the right weighs nothing in the loss.

    Args:
        ids: for each text its ids.
        tags: for each text one number an id. A negative one, such as -100 at the later pieces of a word, weighs
            nothing.
        max_length: longer texts and their tags are cut at the end.
        pad_id: see `padded`.
        as_dict: see `padded`.
        order: ``batch_size`` and, if wanted, ``buckets``, ``shuffle``, ``seed``, ``epochs``, ``start_epoch``,
            ``start_step``, ``drop_remainder``, ``shard``: see `padded`.

    Returns:
        A feed, as of `padded`. Its elements are (inputs, tags, weights), each (batch, time); weights are 1 at a tag
        and 0 elsewhere, where the tag is 0.

    Raises:
        ValueError: if a text has not one tag an id, or for a reason of `padded`.

    Example:
        >>> feed = tagged([[5, 6, 7], [8]], [[2, -100, 1], [3]], batch_size=2)
        >>> [[array.tolist() for array in batch] for batch in feed.as_numpy_iterator()]
        [[[[5, 6, 7], [8, 0, 0]], [[2, 0, 1], [3, 0, 0]], [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]]
    """
    return dataset(Tagged(ids, tags, max_length=max_length, pad_id=pad_id, as_dict=as_dict, **order))


class Padded(RowBatches):
    """The batches of `padded` as NumPy arrays: a function of the batch's number."""

    weighted = False

    def __init__(
        self,
        ids: Sequence[Sequence[int]],
        labels: Sequence | None = None,
        *,
        max_length: int | None = None,
        pad_id: int = 0,
        side: str = "right",
        as_dict: bool = False,
        **order: Unpack[Order],
    ):
        self.pad_id = checked_pad("pad_id", pad_id)
        self.side = choice("side", side, ("right", "left"))
        self.as_dict = as_dict or side == "left"
        self.rows = checked_rows("ids", ids, max_length)
        self.labels = _labels(labels, len(self.rows))
        super().__init__([len(row) for row in self.rows], max_length, **order)
        self.rows.append(self.rows[0][:0])

    def batch(self, step: int):
        chosen, bucket = self.chosen(step)
        chosen = self.own(chosen)
        inputs = self.inputs(chosen, self.buckets[bucket])
        return inputs if self.labels is None else (inputs, self.labels[chosen])

    def inputs(self, chosen: np.ndarray, length: int) -> np.ndarray | dict[str, np.ndarray]:
        """The ids of these rows, alone or in the dictionary of inputs."""
        ids = filled([self.rows[row] for row in chosen], length, self.pad_id, self.side)
        return inputs_of(ids, real_places(self.lengths[chosen], length, self.side)) if self.as_dict else ids

    @property
    def spec(self):
        inputs = spec_of_inputs(self) if self.as_dict else Spec((self.batch_rows, self.time), "int32")
        if self.labels is None:
            return inputs
        return inputs, Spec((self.batch_rows, *self.labels.shape[1:]), self.labels.dtype.name)


class Tagged(Padded):
    """The batches of `tagged` as NumPy arrays: a function of the batch's number."""

    weighted = True

    def __init__(self, ids, tags: Sequence[Sequence[int]], **options):
        ids, self.tags = checked_rows("ids", ids), checked_rows("tags", tags)
        if len(self.tags) != len(ids):
            raise ValueError(f"There are {len(ids)} texts and {len(self.tags)} rows of tags. Give one row a text.")
        for place, (tag, text) in enumerate(zip(self.tags, ids, strict=True)):
            if len(tag) != len(text):
                raise ValueError(f"Text {place} has {len(text)} ids and {len(tag)} tags. Give one tag an id.")
        super().__init__(ids, **options)
        self.tags = [tag[:length] for tag, length in zip([*self.tags, self.tags[0][:0]], self.lengths, strict=True)]

    def batch(self, step: int):
        chosen, bucket = self.chosen(step)
        chosen, length = self.own(chosen), self.buckets[bucket]
        tags = filled([self.tags[row] for row in chosen], length, -1)
        return self.inputs(chosen, length), np.maximum(tags, 0), (tags >= 0).astype("float32")

    @property
    def spec(self):
        shape = (self.batch_rows, self.time)
        inputs = spec_of_inputs(self) if self.as_dict else Spec(shape, "int32")
        return inputs, Spec(shape, "int32"), Spec(shape, "float32")


def spec_of_inputs(batches: RowBatches) -> dict[str, Spec]:
    """The dictionary of inputs with a `Spec` for each array."""
    shape = (batches.batch_rows, batches.time)
    types = {"ids": "int32", "mask": "bool", "segment_ids": "int32", "positions": "int32"}
    return {name: Spec(shape, dtype) for name, dtype in types.items()}


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
