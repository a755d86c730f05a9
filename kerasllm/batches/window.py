"""Windows of a long text for training a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerasllm.batches.pipeline import number, tensorflow, untuned

if TYPE_CHECKING:
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
) -> tf.data.Dataset:
    """Batches of inputs and targets from one long text; the targets are the inputs shifted by one.

    With ``shuffle`` the text is cut into windows that touch and do not overlap. One pass shows every
    window once, in random order; the next pass cuts at another place and shuffles anew. Batch k depends on the
    arguments and k alone, wherever one starts: a run that was killed after k batches goes on with
    ``start_step=k``.

    Without ``shuffle`` it is one pass in the order of the text, for evaluation; the last batch may be smaller.

    Args:
        tokens: ids (ids,), from `read_tokens` or any array of whole numbers. It is read window by window.
        context: ids of an input.
        batch_size: windows in a batch.
        seed: the same seed gives the same batches.
        start_step: number of the first batch.
        steps: how many batches, of all epochs together; in order it may be left out for the whole pass.
            Tell `fit` how they make epochs: ``fit(windows(..., steps=2000), steps_per_epoch=250, epochs=8,
            shuffle=False)``. Without ``steps_per_epoch`` each epoch shows all of them, the same ones.
        shuffle: see above.

    Returns:
        A `tf.data.Dataset`, which `fit` and `evaluate` take on every backend of Keras. Its elements are
        (inputs, targets), both int32 (batch, context).

    Raises:
        ValueError: if a number is too small, or the text shorter than one window and its last target.

    Example:
        >>> import numpy as np
        >>> dataset = windows(np.arange(7), context=3, batch_size=2, shuffle=False)
        >>> [(inputs.tolist(), targets.tolist()) for inputs, targets in dataset.as_numpy_iterator()]
        [([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])]
    """
    batches = Windows(tokens, context, batch_size, seed, shuffle)
    start, steps = batches.steps(start_step, steps)
    tf = tensorflow()

    # Python is called for many batches at a time: a call costs several times what cutting one batch costs.
    at_once = max(1, min(64, (1 << 18) // (batches.batch_size * context)))

    def read(step):
        rows = tf.numpy_function(batches.rows, [step, tf.minimum(step + at_once, start + steps)], tf.int32)
        return tf.ensure_shape(rows, (None, context + 1))

    dataset = tf.data.Dataset.range(start, start + steps, at_once).map(read)
    dataset = dataset.rebatch(batches.batch_size, drop_remainder=shuffle)  # (batch, context + 1)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return untuned(dataset.map(lambda rows: (rows[:, :-1], rows[:, 1:])).prefetch(4))


class Windows:
    """The batches of `windows` as NumPy arrays: a function of the batch's number.

    Attributes:
        windows: windows in one pass over the text.
    """

    def __init__(self, tokens, context, batch_size, seed, shuffle):
        self.tokens = tokens if isinstance(tokens, np.ndarray) else np.asarray(tokens)
        self.context = number("context", context, 1)
        self.batch_size = number("batch_size", batch_size, 1)
        self.seed = number("seed", seed, 0)
        self.shuffle = shuffle
        if self.tokens.ndim != 1 or self.tokens.dtype.kind not in "iu":
            raise ValueError(
                f"tokens must be one row of ids, not an array {self.tokens.shape} of {self.tokens.dtype}. "
                "Join the texts: tokenizer.encode_flat(texts)[0], or write_tokens."
            )
        if len(self.tokens) < self.context + 1:
            raise ValueError(
                f"{len(self.tokens)} tokens are too few for a window of {self.context} and the target behind it. "
                f"Take context={max(1, len(self.tokens) - 1)} or less, or a longer text."
            )
        self.windows = (len(self.tokens) - 1) // self.context
        if shuffle and self.windows > 1:
            self.windows -= 1  # leaves room to cut at any of `context` places
        self._span = np.arange(self.context + 1)
        self._pass = (-1, 0, None)

    def steps(self, start: int, steps: int | None) -> tuple[int, int]:
        """The first batch and how many there are, checked."""
        start = number("start_step", start, 0)
        if self.shuffle and steps is None:
            raise ValueError("How many batches? Shuffled windows never end: name steps, for all epochs together.")
        if steps is not None:
            steps = number("steps", steps, 1)
        in_pass = -(-self.windows // self.batch_size)
        left = in_pass - start
        if not self.shuffle and (steps or 1) > left:
            raise ValueError(
                f"One pass has {in_pass} batches; it cannot give {steps or 'any'} from start_step={start} on. "
                "Leave steps and start_step out, or pass shuffle=True."
            )
        return start, steps or left

    def rows(self, first: int, last: int) -> np.ndarray:
        """The windows of batches `first` to before `last`, each with the target of its last id.

        Returns:
            int32 (windows, context + 1): all batches have `batch_size` rows, but the last one in order.
        """
        starts = self._starts(int(first) * self.batch_size, int(last) * self.batch_size)
        return self.tokens[starts[:, None] + self._span].astype("int32")

    def _starts(self, first: int, last: int) -> np.ndarray:
        """Where in the text windows `first` to before `last` begin."""
        wanted = np.arange(first, last)
        if not self.shuffle:
            return wanted[wanted < self.windows] * self.context
        passes, places = np.divmod(wanted, self.windows)
        starts = np.empty_like(wanted)
        for one in np.unique(passes):
            cut, order = self._order(int(one))
            chosen = passes == one
            starts[chosen] = cut + order[places[chosen]].astype("int64") * self.context
        return starts

    def _order(self, wanted: int) -> tuple[int, np.ndarray]:
        """The place of the first cut and the order of the windows in a pass. Kept: four bytes a window."""
        kept, first, order = self._pass
        if kept != wanted:
            random = np.random.default_rng((self.seed, wanted))
            rest = len(self.tokens) - 1 - self.windows * self.context
            first = int(random.integers(rest + 1))
            order = random.permutation(np.arange(self.windows, dtype="uint32"))
            self._pass = (wanted, first, order)
        return first, order
