"""Windows of a long text for training a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerasllm.batches.pipeline import Batches, Spec, checked_batch, checked_shard, dataset
from kerasllm.common import whole_number

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def windows(
    tokens: np.ndarray,
    *,
    context: int,
    batch_size: int,
    seed: int = 0,
    start_step: int = 0,
    steps: int | None = None,
    shuffle: bool = True,
    shard: tuple[int, int] | None = None,
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Batches of inputs and targets from one long text; the targets are the inputs shifted by one.

    With ``shuffle`` the text is cut into windows that touch and do not overlap. One pass shows every
    window once, in random order; the next pass cuts at another place and shuffles anew. Batch k depends on the
    arguments and k alone, wherever one starts: a run that was killed after k batches goes on with
    ``start_step=k``.

    Without ``shuffle`` it is one pass in the order of the text, for evaluation, and every target comes once. The
    last window is filled up, with weight 0 at the filling; the last batch may be smaller. `evaluate` divides by all
    places, so the targets weigh a little more than 1 if there is filling: the loss of the pass is the mean over the
    targets.

    Args:
        tokens: ids (ids,), from `read_tokens` or any array of whole numbers. It is read window by window.
        context: ids of an input.
        batch_size: windows in a batch, on all hosts together.
        seed: the same seed gives the same batches.
        start_step: number of the first batch.
        steps: how many batches, of all epochs together; in order it may be left out for the whole pass.
            Tell `fit` how they make epochs: ``fit(windows(..., steps=2000), steps_per_epoch=250, epochs=8,
            shuffle=False)``. Without ``steps_per_epoch`` each epoch shows all of them, the same ones.
        shuffle: see above.
        shard: (index, count): this host is number `index` of `count` hosts, and gets its part of each batch. The
            parts of a batch, one after the other, are the batch that one host alone would get; in order the last
            batch is filled up with windows of weight 0, until the hosts can share it.

    Returns:
        A feed, which `fit` and `evaluate` take on every backend of Keras. Its elements are (inputs, targets), both
        int32 (batch, context); in order (inputs, targets, weights), with weights float32 (batch, context).

    Raises:
        ValueError: if a number is too small, the text shorter than one window and its last target (in order: than two
            ids), or a batch larger than a pass (shuffled) or than a GiB.

    Example:
        >>> import numpy as np
        >>> feed = windows(np.arange(6), context=3, batch_size=2, shuffle=False)
        >>> [(inputs.tolist(), targets.tolist()) for inputs, targets, weights in feed.as_numpy_iterator()]
        [([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 0]])]
    """
    if shuffle and steps is None:
        raise ValueError("How many batches? Shuffled windows never end: name steps, for all epochs together.")
    return dataset(Windows(tokens, context, batch_size, seed, shuffle, start_step, steps, shard))


class Windows(Batches):
    """The batches of `windows` as NumPy arrays: a function of the batch's number.

    Attributes:
        windows: windows in one pass over the text.
        weight: of a target in order.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        context: int,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        start_step: int = 0,
        steps: int | None = None,
        shard: tuple[int, int] | None = None,
    ):
        self.tokens = tokens if isinstance(tokens, np.ndarray) else np.asarray(tokens)
        self.context = whole_number("context", context)
        self.batch_size = whole_number("batch_size", batch_size)
        self.seed = whole_number("seed", seed, least=0)
        self.shuffle = shuffle
        self.shard = checked_shard(shard, self.batch_size)
        self._check_tokens()
        self.windows = (len(self.tokens) - 1) // self.context
        if not shuffle:
            self.windows = -(-(len(self.tokens) - 1) // self.context)
        elif self.windows > 1:
            self.windows -= 1  # leaves room to cut at any of `context` places
        checked_batch(f"windows of {self.context}", self.batch_size, self.windows, self.context + 1, shuffle)
        hosts = self.shard[1]
        self._rows = self.windows if shuffle else -(-self.windows // hosts) * hosts  # with those that fill a batch
        self.weight = self._rows * self.context / (len(self.tokens) - 1)
        self._set_reading(start_step, steps)
        self._span = np.arange(self.context + 1)
        self._passes = {}

    def _check_tokens(self) -> None:
        if self.tokens.ndim != 1 or self.tokens.dtype.kind not in "iu":
            raise ValueError(
                f"tokens must be one row of ids, not an array {self.tokens.shape} of {self.tokens.dtype}. "
                "Join the texts: tokenizer.encode_flat(texts)[0], or write_tokens."
            )
        if len(self.tokens) < (self.context + 1 if self.shuffle else 2):
            raise ValueError(
                f"{len(self.tokens)} tokens are too few for a window of {self.context} and the target behind it. "
                f"Take context={max(1, len(self.tokens) - 1)} or less, or a longer text."
            )

    def _set_reading(self, start_step: int, steps: int | None) -> None:
        self.first = whole_number("start_step", start_step, least=0)
        steps = whole_number("steps", steps, optional=True)
        if self.shuffle:
            self.steps_per_epoch = self.windows // self.batch_size
        else:
            self.steps_per_epoch = -(-self.windows // self.batch_size)
            left = self.steps_per_epoch - self.first
            if (steps or 1) > left:
                raise ValueError(
                    f"One pass has {self.steps_per_epoch} batches; it cannot give {steps or 'any'} from "
                    f"start_step={self.first} on. Leave steps and start_step out, or pass shuffle=True."
                )
            steps = steps or left
        self.last = self.first + (steps or 0)  # shuffled windows have numbers without end

    def batch(self, step: int):
        rows = self.rows(step, step + 1)
        if self.shuffle:
            return rows[:, :-1], rows[:, 1:]
        places = self._numbers(step, step + 1)[:, None] * self.context + self._span[1:]  # of the targets
        return rows[:, :-1], rows[:, 1:], np.where(places < len(self.tokens), self.weight, 0).astype("float32")

    @property
    def spec(self):
        full = self.shuffle or self._rows % self.batch_size == 0
        shape = (self.batch_size // self.shard[1] if full else None, self.context)
        return tuple(Spec(shape, dtype) for dtype in ("int32", "int32", "float32")[: 2 if self.shuffle else 3])

    def pipeline(self, tf) -> tf.data.Dataset:
        if not self.shuffle:
            return super().pipeline(tf)
        # Python is called for many batches at a time: a call costs several times what cutting one batch costs.
        at_once = max(1, min(64, (1 << 18) // (self.batch_size * self.context)))

        def read(step):
            rows = tf.numpy_function(self.rows, [step, tf.minimum(step + at_once, self.last)], tf.int32)
            return tf.ensure_shape(rows, (None, self.context + 1))

        rows = tf.data.Dataset.range(self.first, self.last, at_once).map(read)
        rows = rows.rebatch(self.batch_size // self.shard[1], drop_remainder=True)  # (batch, context + 1)
        rows = rows.apply(tf.data.experimental.assert_cardinality(self.last - self.first))
        return rows.map(lambda rows: (rows[:, :-1], rows[:, 1:]))

    def rows(self, first: int, last: int) -> np.ndarray:
        """This host's windows of batches `first` to before `last`, each with the target of its last id.

        Returns:
            int32 (windows, context + 1). In order, 0 stands for what is behind the text.
        """
        numbers = self._numbers(int(first), int(last))
        if self.shuffle:
            return self.tokens[self._starts(numbers)[:, None] + self._span].astype("int32")
        places = numbers[:, None] * self.context + self._span
        inside = places < len(self.tokens)
        return np.where(inside, self.tokens[np.where(inside, places, 0)], 0).astype("int32")

    def _numbers(self, first: int, last: int) -> np.ndarray:
        """The numbers of this host's windows, counted through all passes."""
        size = self.batch_size
        end = size * last if self.shuffle else self._rows
        batches = [np.arange(start, min(start + size, end)) for start in range(size * first, size * last, size)]
        return np.concatenate([self.own(batch) for batch in batches])

    def _starts(self, numbers: np.ndarray) -> np.ndarray:
        """Where in the text these windows begin."""
        passes, places = np.divmod(numbers, self.windows)
        starts = np.empty_like(numbers)
        for one in np.unique(passes):
            cut, order = self._order(int(one))
            chosen = passes == one
            starts[chosen] = cut + order[places[chosen]].astype("int64") * self.context
        return starts

    def _order(self, wanted: int) -> tuple[int, np.ndarray]:
        """The place of the first cut and the order of the windows in a pass.

        Two are kept, of four bytes a window: a batch may lie in two, and a second reader be elsewhere.
        """
        found = self._passes.get(wanted)
        if found is None:
            random = np.random.default_rng((self.seed, wanted))
            rest = len(self.tokens) - 1 - self.windows * self.context
            first = int(random.integers(rest + 1))
            found = first, random.permutation(np.arange(self.windows, dtype="uint32"))
            self._passes = dict([*self._passes.items()][-1:]) | {wanted: found}
        return found
