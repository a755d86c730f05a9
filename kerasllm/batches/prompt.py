"""Batches of prompts and the replies that a language model is to learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from kerasllm.batches.pad import spec_of_inputs
from kerasllm.batches.pipeline import Spec, checked_pad, dataset
from kerasllm.batches.rows import Order, RowBatches, checked_rows, filled, inputs_of, real_places
from kerasllm.common import choice, whole_number

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def prompted(
    prompts: Sequence[Sequence[int]],
    replies: Sequence[Sequence[int]],
    *,
    max_length: int | None = None,
    pad_id: int = 0,
    side: str = "right",
    **order: Unpack[Order],
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of a prompt and its reply in one row; only the reply weighs in the loss.

    The targets are the inputs shifted by one. The first id of a reply is predicted from the last one of its prompt.
    Where the two are longer than ``max_length``, the prompt is cut on the left, for its end is nearest to the reply;
    a reply is never cut.

    Args:
        prompts: for each row the ids of the prompt.
        replies: for each row the ids of the reply; end them with the id at which the model is to stop.
        max_length: the most inputs of a row. Without ``buckets`` it is also the length of every batch.
        pad_id: see `padded`.
        side: where padding stands, "right" or "left".
        order: ``batch_size`` and, if wanted, ``buckets``, ``shuffle``, ``seed``, ``epochs``, ``start_epoch``,
            ``start_step``, ``drop_remainder``, ``shard``: see `padded`.

    Returns:
        A feed, as of `padded`. Its elements are (inputs, targets, weights): the dictionary of inputs that `padded`
        makes with ``as_dict``, and (batch, time) each, with weight 1 at the targets that belong to a reply.

    Raises:
        ValueError: if a prompt or a reply is empty, a reply longer than ``max_length``, there are not as many prompts
            as replies, or for a reason of `padded`.

    Example:
        >>> feed = prompted([[5, 6, 7]], [[8, 2]], batch_size=1)
        >>> inputs, targets, weights = next(iter(feed.as_numpy_iterator()))
        >>> inputs["ids"].tolist(), targets.tolist(), weights.tolist()
        ([[5, 6, 7, 8]], [[6, 7, 8, 2]], [[0.0, 0.0, 1.0, 1.0]])

    Reference:
        Radford et al. (2018), Improving language understanding by generative pre-training, section 3.3 (a text that
        is read, a delimiter, the answer); the loss on the reply alone as in Touvron et al. (2023), Llama 2, section
        3.1.
    """
    return dataset(Prompted(prompts, replies, max_length=max_length, pad_id=pad_id, side=side, **order))


class Prompted(RowBatches):
    """The batches of `prompted` as NumPy arrays: a function of the batch's number."""

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        replies: Sequence[Sequence[int]],
        *,
        max_length: int | None = None,
        pad_id: int = 0,
        side: str = "right",
        **order: Unpack[Order],
    ):
        self.pad_id = checked_pad("pad_id", pad_id)
        self.side = choice("side", side, ("right", "left"))
        max_length = whole_number("max_length", max_length, optional=True)
        prompts, replies = checked_rows("prompts", prompts), checked_rows("replies", replies)
        if len(prompts) != len(replies):
            raise ValueError(f"There are {len(prompts)} prompts and {len(replies)} replies. Give one each.")
        for place, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
            _check_row(place, prompt, reply, max_length)
        self.replies = np.array([*map(len, replies), 0])
        # One more than the inputs: they are all but the last id, the targets all but the first.
        most = max_length and max_length + 1
        self.rows = [np.concatenate(both)[-most if most else None :] for both in zip(prompts, replies, strict=True)]
        super().__init__([len(row) - 1 for row in self.rows], max_length, **order)
        self.rows.append(self.rows[0][:1])

    def batch(self, step: int):
        chosen, bucket = self.chosen(step)
        chosen, length = self.own(chosen), self.buckets[bucket]
        rows = [self.rows[row] for row in chosen]
        real = real_places(self.lengths[chosen], length, self.side)
        inputs = inputs_of(filled([row[:-1] for row in rows], length, self.pad_id, self.side), real)
        targets = filled([row[1:] for row in rows], length, self.pad_id, self.side)
        within = (self.lengths - self.replies)[chosen]  # targets of the prompt
        return inputs, targets, (real & (inputs["positions"] >= within[:, None])).astype("float32")

    @property
    def spec(self):
        shape = (self.batch_rows, self.time)
        return spec_of_inputs(self), Spec(shape, "int32"), Spec(shape, "float32")


def _check_row(place: int, prompt: np.ndarray, reply: np.ndarray, max_length: int | None) -> None:
    if not len(prompt) or not len(reply):
        empty, fix = (
            ("Prompt", "It needs one id at least, such as bos_id")
            if not len(prompt)
            else (
                "Reply",
                "Leave the row out, or let the reply be the id at which to stop",
            )
        )
        raise ValueError(f"{empty} {place} is empty. {fix}.")
    if max_length is not None and len(reply) > max_length:
        raise ValueError(
            f"Reply {place} has {len(reply)} ids, and max_length={max_length} leaves room for {max_length}. A reply is "
            "not cut: take a larger max_length, or leave the row out."
        )
