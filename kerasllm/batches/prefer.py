"""Batches of prompts with two replies each, of which one is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from kerasllm.batches.pipeline import Spec, checked_pad, dataset
from kerasllm.batches.rows import Order, RowBatches, checked_rows, filled
from kerasllm.common import whole_number

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def preferred(
    prompts: Sequence[Sequence[int]],
    chosen: Sequence[Sequence[int]],
    rejected: Sequence[Sequence[int]],
    *,
    reference: Sequence[Sequence[float]],
    max_length: int | None = None,
    pad_id: int = 0,
    **order: Unpack[Order],
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of a prompt with its better and its worse reply, for a loss that compares the two.

    The two texts of a pair stand in one element, so that shuffling and hosts never part them. Padding stands on the
    right: a causal model sees it only where no target weighs.

    Args:
        prompts: for each pair the ids of the prompt.
        chosen: for each pair the ids of the better reply; end them with the id at which the model is to stop.
        rejected: for each pair the ids of the worse reply, which ends alike.
        reference: for each pair the log-probability of the chosen and of the rejected reply under the reference model.
        max_length: the most inputs of a text. A prompt is cut on the left until both its texts fit, a reply is
            never cut. Without ``buckets`` it is also the length of every batch.
        pad_id: see `padded`.
        order: ``batch_size`` (pairs) and, if wanted, ``buckets``, ``shuffle``, ``seed``, ``epochs``, ``start_epoch``,
            ``start_step``, ``drop_remainder``, ``shard``: see `padded`.

    Returns:
        A feed, as of `padded`. Its elements are (inputs, targets, weights): inputs are "ids" (pairs, 2, time), the
        chosen text before the rejected one, and "reference" (pairs, 2); targets and weights are (pairs, 2, time), with
        weight 1 at the targets that belong to a reply.

    Raises:
        ValueError: if a prompt or a reply is empty, two replies are equal, a reply longer than ``max_length``, lists
            differ in length, a reference is no number, or for a reason of `padded`.

    Example:
        >>> feed = preferred([[5, 6]], [[8, 2]], [[2]], reference=[[-1.5, -0.5]], batch_size=1)
        >>> inputs, targets, weights = next(iter(feed.as_numpy_iterator()))
        >>> inputs["ids"].tolist(), targets.tolist()
        ([[[5, 6, 8], [5, 6, 0]]], [[[6, 8, 2], [6, 2, 0]]])
        >>> weights.tolist(), inputs["reference"].tolist()
        ([[[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]], [[-1.5, -0.5]])

    Reference:
        Rafailov et al. (2023), Direct preference optimization, section 4 (the data set of an outline of DPO).
    """
    pairs = Preferred(prompts, chosen, rejected, reference=reference, max_length=max_length, pad_id=pad_id, **order)
    return dataset(pairs)


def shortened(
    prompts: Sequence[Sequence[int]],
    chosen: Sequence[Sequence[int]],
    rejected: Sequence[Sequence[int]],
    max_length: int | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """The three lists as arrays of ids, checked, with prompts cut on the left until both texts of a pair fit.

    Raises:
        ValueError: see `preferred`.

    Example:
        >>> prompts, _, _ = shortened([[1, 2, 3]], [[7, 8]], [[9]], max_length=3)
        >>> prompts[0].tolist()
        [2, 3]
    """
    max_length = whole_number("max_length", max_length, optional=True)
    prompts, chosen, rejected = (
        checked_rows(name, rows) for name, rows in (("prompts", prompts), ("chosen", chosen), ("rejected", rejected))
    )
    if not len(prompts) == len(chosen) == len(rejected):
        raise ValueError(
            f"There are {len(prompts)} prompts, {len(chosen)} chosen and {len(rejected)} rejected replies. Give one "
            "of each a pair."
        )
    cut = []
    for place, (prompt, better, worse) in enumerate(zip(prompts, chosen, rejected, strict=True)):
        longest = max(len(better), len(worse))
        if not (len(prompt) and len(better) and len(worse)):
            raise ValueError(
                f"Pair {place} has a prompt of {len(prompt)} ids and replies of {len(better)} and {len(worse)}: each "
                "needs one at least, a reply the id at which to stop."
            )
        if np.array_equal(better, worse):
            raise ValueError(f"The two replies of pair {place} are equal, so none is better: leave the pair out.")
        if max_length is not None and longest > max_length:
            raise ValueError(
                f"A reply of pair {place} has {longest} ids, max_length is {max_length}: leave the pair out, or take "
                f"max_length={longest}."
            )
        # One more than the inputs: they are all but the last id.
        room = None if max_length is None else max_length + 1 - longest
        cut.append(prompt if room is None else prompt[-room:])
    return cut, chosen, rejected


class Preferred(RowBatches):
    """The batches of `preferred` as NumPy arrays: a function of the batch's number."""

    what = "pairs"

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        chosen: Sequence[Sequence[int]],
        rejected: Sequence[Sequence[int]],
        *,
        reference: Sequence[Sequence[float]],
        max_length: int | None = None,
        pad_id: int = 0,
        **order: Unpack[Order],
    ):
        self.pad_id = checked_pad("pad_id", pad_id)
        prompts, *sides = shortened(prompts, chosen, rejected, max_length)
        self.reference = _checked_reference(reference, len(prompts))
        self.prompts = np.array([*map(len, prompts), 1])
        self.sides = [[np.concatenate(both) for both in zip(prompts, replies, strict=True)] for replies in sides]
        lengths = [max(map(len, texts)) - 1 for texts in zip(*self.sides, strict=True)]
        super().__init__(lengths, max_length, **order)
        for texts in self.sides:
            texts.append(texts[0][:0])

    def batch(self, step: int):
        chosen, bucket = self.chosen(step)
        chosen, length = self.own(chosen), self.buckets[bucket]
        ids, targets, weights = [], [], []
        for side in self.sides:
            texts = [side[row] for row in chosen]
            ids.append(filled([text[:-1] for text in texts], length, self.pad_id))
            targets.append(filled([text[1:] for text in texts], length, self.pad_id))
            places, ends = np.arange(length), np.array([len(text) - 1 for text in texts])
            weights.append((places >= self.prompts[chosen][:, None] - 1) & (places < ends[:, None]))
        ids, targets, weights = (np.stack(both, 1) for both in (ids, targets, weights))
        return {"ids": ids, "reference": self.reference[chosen]}, targets, weights.astype("float32")

    @property
    def spec(self):
        shape = (self.batch_rows, 2, self.time)
        inputs = {"ids": Spec(shape, "int32"), "reference": Spec((self.batch_rows, 2), "float32")}
        return inputs, Spec(shape, "int32"), Spec(shape, "float32")


def _checked_reference(reference, pairs: int) -> np.ndarray:
    """The reference as float32 (pairs and the empty one, 2)."""
    found = np.asarray(reference, "float32")
    if found.shape != (pairs, 2) or not np.isfinite(found).all():
        raise ValueError(
            f"reference must be two log-probabilities a pair, ({pairs}, 2) finite numbers, not {found.shape}: those "
            "of kerasllm.evaluation.log_probability."
        )
    return np.concatenate([found, np.zeros((1, 2), "float32")])
