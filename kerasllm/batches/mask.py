"""Batches for masked language modelling: some tokens are hidden, and the model is to say what they were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from kerasllm.batches.pad import Padded, spec_of_inputs
from kerasllm.batches.pipeline import Spec, dataset
from kerasllm.batches.rows import Order, filled, inputs_of, real_places
from kerasllm.common import share as checked_share
from kerasllm.common import whole_number

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

MASKED, RANDOM = 0.8, 0.1  # of the chosen tokens; the rest stays what it is


def masked(
    ids: Sequence[Sequence[int]],
    *,
    mask_id: int,
    vocabulary_size: int,
    special_ids: Iterable[int] = (),
    share: float = 0.15,
    max_length: int | None = None,
    pad_id: int = 0,
    as_dict: bool = False,
    **order: Unpack[Order],
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of texts in which tokens are hidden as BERT hides them.

    Of each text 15% of the tokens are chosen, at least one. Of these, 80% become ``mask_id``, 10% become a token drawn
    from the whole vocabulary, and 10% stay what they are, so that the model must be ready to be asked about any token.
    Special tokens are never chosen and never drawn.

    What is hidden depends on the seed, the epoch and the batch's place in it: each epoch hides other tokens, and a
    run that goes on later, or on several hosts, hides the same ones.

    Args:
        ids: for each text its ids.
        mask_id: what hidden tokens become: `mask_id` of the tokenizer.
        vocabulary_size: the number of tokens, to draw from.
        special_ids: ids that are never chosen or drawn, such as those of bos and eos. The mask and padding count as
            such anyway.
        share: the share of tokens that are chosen.
        max_length: longer texts are cut at the end.
        pad_id: see `padded`.
        as_dict: see `padded`.
        order: ``batch_size`` and, if wanted, ``buckets``, ``shuffle``, ``seed``, ``epochs``, ``start_epoch``,
            ``start_step``, ``drop_remainder``, ``shard``: see `padded`.

    Returns:
        A feed, as of `padded`. Its elements are (inputs, targets, weights), each (batch, time); the targets are the
        original ids, and weights are 1 at the chosen ones and 0 elsewhere.

    Raises:
        ValueError: if there is no mask, no ordinary token to draw, or for a reason of `padded`.

    Example:
        >>> feed = masked([[5, 6, 7, 8]], mask_id=4, vocabulary_size=9, special_ids=range(4), share=0.5, batch_size=1)
        >>> inputs, targets, weights = next(iter(feed.as_numpy_iterator()))
        >>> targets.tolist(), float(weights.sum())
        ([[5, 6, 7, 8]], 2.0)

    Reference:
        Devlin et al. (2019), BERT: Pre-training of deep bidirectional transformers for language understanding,
        section 3.1 and appendix A.1.
    """
    hiding = {"mask_id": mask_id, "vocabulary_size": vocabulary_size, "special_ids": special_ids, "share": share}
    return dataset(Masked(ids, **hiding, max_length=max_length, pad_id=pad_id, as_dict=as_dict, **order))


class Masked(Padded):
    """The batches of `masked` as NumPy arrays: a function of the batch's number."""

    weighted = True

    def __init__(
        self,
        ids: Sequence[Sequence[int]],
        *,
        mask_id: int,
        vocabulary_size: int,
        special_ids: Iterable[int] = (),
        share: float = 0.15,
        **options,
    ):
        super().__init__(ids, **options)
        if mask_id is None:
            raise ValueError("mask_id is None: the tokenizer has no token for it. Train one with mask=True.")
        size = whole_number("vocabulary_size", vocabulary_size)
        self.mask_id = whole_number("mask_id", mask_id, least=0, most=size - 1)
        self.share = checked_share("share", share, closed=True)
        largest = max((int(row.max()) for row in self.rows if len(row)), default=0)
        if largest >= size:
            raise ValueError(f"ids hold {largest}, but vocabulary_size={size}. Give tokenizer.vocabulary_size.")
        special = {self.mask_id, self.pad_id, *(whole_number("A special id", one, least=0) for one in special_ids)}
        self.ordinary = ~np.isin(np.arange(size), list(special))  # (vocabulary,)
        if not self.ordinary.any():
            raise ValueError(f"All {size} tokens of the vocabulary are special: there is none to hide or to draw.")
        self.drawn_from = np.flatnonzero(self.ordinary).astype("int32")

    def batch(self, step: int):
        chosen, bucket = self.chosen(step)
        length = self.buckets[bucket]
        targets = filled([self.rows[row] for row in chosen], length, self.pad_id)
        real = real_places(self.lengths[chosen], length)
        # The numbers are drawn for the rows of all hosts, so that each host finds those of its own.
        random = np.random.default_rng((self.seed, *divmod(step, self.steps_per_epoch)))
        asked = self._asked(random.random(targets.shape), real & self.ordinary[targets])
        fate = random.random(targets.shape)
        drawn = random.choice(self.drawn_from, targets.shape)
        hidden = np.where(fate < MASKED, self.mask_id, np.where(fate < MASKED + RANDOM, drawn, targets))
        ids = np.where(asked, hidden, targets).astype("int32")
        ids, targets, real, asked = map(self.own, (ids, targets, real, asked))
        return inputs_of(ids, real) if self.as_dict else ids, targets, asked.astype("float32")

    def _asked(self, score: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """The places of each row that the model is asked about: those with the smallest scores."""
        count = allowed.sum(1)
        count = np.minimum(count, np.maximum(1, np.round(self.share * count)))
        rank = np.where(allowed, score, 2).argsort(1).argsort(1)
        return rank < count[:, None]

    @property
    def spec(self):
        shape = (self.batch_rows, self.time)
        inputs = spec_of_inputs(self) if self.as_dict else Spec(shape, "int32")
        return inputs, Spec(shape, "int32"), Spec(shape, "float32")
