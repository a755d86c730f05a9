"""Batches of conversations, of which a language model is to learn the replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from kerasllm.batches.pack import Windows, fitted
from kerasllm.batches.pipeline import checked_pad, dataset
from kerasllm.batches.rows import Order, checked_rows
from kerasllm.common import whole_number

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def conversations(
    ids: Sequence[Sequence[int]],
    learned: Sequence[Sequence[bool]],
    *,
    max_length: int | None = None,
    context: int | None = None,
    pad_id: int = 0,
    **order: Unpack[Order],
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of conversations, one a row or packed; only what the assistant says weighs in the loss.

    Ids and masks are those of `kerasllm.text.ChatTemplate`::

        ids, learned = zip(*map(template.encode_learned, all_turns))
        train = conversations(ids, learned, context=512, batch_size=8, shuffle=True, epochs=3)

    The targets are the inputs shifted by one: a reply's first id is predicted from the last one in front of it, and the
    token that ends the reply is learned too.

    Args:
        ids: for each conversation its ids.
        learned: for each one whether each of its ids is to be learned.
        max_length: the most inputs of a conversation; what is longer is cut at the end, so that it still begins with
            what the system says. Without ``buckets`` it is also the length of every batch. Not with ``context``.
        context: the length of windows that hold several whole conversations, as those of `packed` hold documents; what
            is longer is cut at the end. Without it each row is one conversation.
        pad_id: see `padded`.
        order: ``batch_size`` and, if wanted, ``buckets``, ``shuffle``, ``seed``, ``epochs``, ``start_epoch``,
            ``start_step``, ``drop_remainder``, ``shard``: see `padded`. ``buckets`` not with ``context``.

    Returns:
        A feed, as of `packed`. Its elements are (inputs, targets, weights): the dictionary of inputs, in which
        conversations of one row have segments of their own, and (batch, time) each, with weight 1 at the targets that
        are to be learned.

    Raises:
        ValueError: if a conversation has not one bool an id, or (where it is cut) nothing to learn, or for a reason of
            `padded`.

    Example:
        >>> feed = conversations([[5, 6, 7, 2], [8, 9]], [[0, 0, 1, 1], [0, 1]], context=5, batch_size=1)
        >>> inputs, targets, weights = next(iter(feed.as_numpy_iterator()))
        >>> inputs["ids"].tolist(), inputs["segment_ids"].tolist(), inputs["positions"].tolist()
        ([[5, 6, 7, 8, 0]], [[1, 1, 1, 2, 0]], [[0, 1, 2, 0, 0]])
        >>> targets.tolist(), weights.tolist()
        ([[6, 7, 2, 9, 0]], [[0.0, 1.0, 1.0, 1.0, 0.0]])

    Reference:
        Touvron et al. (2023), Llama 2, section 3.1 (the loss on what the assistant says alone).
    """
    return dataset(Conversations(ids, learned, max_length=max_length, context=context, pad_id=pad_id, **order))


class Conversations(Windows):
    """The batches of `conversations` as NumPy arrays: a function of the batch's number.

    Attributes:
        windows: for each row of a batch the numbers of the conversations in it.
    """

    what = "conversations"

    def __init__(
        self,
        ids: Sequence[Sequence[int]],
        learned: Sequence[Sequence[bool]],
        *,
        max_length: int | None = None,
        context: int | None = None,
        pad_id: int = 0,
        **order: Unpack[Order],
    ):
        self.pad_id = checked_pad("pad_id", pad_id)
        most = _most(max_length, context, order.get("buckets"))
        self.ids, self.learned = _checked(ids, learned, most)
        lengths = [len(one) - 1 for one in self.ids]  # the last id has no target
        if context is None:
            self.windows = [[number] for number in range(len(self.ids))]
        else:
            self.what = "windows"
            self.windows = fitted(np.array(lengths), context) if lengths else []
            lengths = [context] * len(self.windows)
        super().__init__(lengths, max_length, **order)
        self.windows.append([])

    def piece(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        text = self.ids[number]
        return text[:-1], text[1:], self.learned[number][1:]


def _most(max_length: int | None, context: int | None, buckets) -> int | None:
    """The most ids of a conversation: one more than inputs."""
    max_length = whole_number("max_length", max_length, optional=True)
    context = whole_number("context", context, least=2, optional=True)
    if context is not None and (max_length is not None or buckets is not None):
        other = "max_length" if max_length is not None else "buckets"
        raise ValueError(
            f"context={context} packs conversations into windows of one length; {other} is for rows of one "
            "conversation each. Leave one of the two out."
        )
    most = max_length if context is None else context
    return most and most + 1


def _checked(ids, learned, most: int | None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    ids = checked_rows("ids", ids)
    masks = [np.asarray(mask) for mask in learned]
    if len(masks) != len(ids):
        raise ValueError(f"There are {len(ids)} conversations and {len(masks)} masks. Give one each.")
    for place, (text, mask) in enumerate(zip(ids, masks, strict=True)):
        if mask.shape != text.shape or (len(mask) and not np.isin(mask, (0, 1)).all()):
            raise ValueError(
                f"Conversation {place} has {len(text)} ids and a mask of {mask.size} {mask.dtype}. Give one bool an "
                "id, as ChatTemplate.encode_learned does."
            )
        if not mask[1:most].any():
            where = f" in its first {most - 1} ids" if mask[1:].any() else ""
            fix = "take more of them" if where else "it needs a reply of the assistant"
            raise ValueError(f"There is nothing to learn from conversation {place}{where}: {fix}, or leave it out.")
    return [text[:most] for text in ids], [mask[:most].astype(bool) for mask in masks]
