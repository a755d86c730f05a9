"""A sampler whose rows differ: each request of a batch has a temperature of its own, or none."""

import numpy as np
from keras import ops

from kerasllm.generation import Greedy, Sampling
from kerasllm.generation.decoding import STEPS

MOST_ALTERNATIVES = 20  # OpenAI's limit


class RowSampling:
    """For each row what its own `Greedy` or `Sampling` would choose, see `kerasllm.generation.samplers`.

    Args:
        samplers: for each row a `Greedy` or a `Sampling` without a repetition penalty; None where no text stands.
        vocabulary_size: number of tokens.
        scored: whether the log-probabilities of each token and of those it was chosen from are kept.

    Example:
        >>> sampler = RowSampling([Greedy(), Sampling(top_k=1), None], vocabulary_size=3)
        >>> logits, uniforms = np.array([[0.0, 2.0, 1.0]] * 3, "float32"), np.ones(3, "float32")
        >>> tokens, _, _ = sampler.choose(logits, uniforms, None, sampler.start(None, 3))
        >>> [int(token) for token in tokens]
        [1, 1, 1]
    """

    rows = 1

    def __init__(self, samplers, vocabulary_size, scored=False):
        self._samplers, self.scored = [one or Greedy() for one in samplers], scored
        self._drawn = [one for one in self._samplers if isinstance(one, Sampling)]
        self._alternatives = min(MOST_ALTERNATIVES, vocabulary_size)
        # One object chooses for all rows; which of its steps are compiled depends on whether a row needs them.
        self._all = Sampling(
            top_k=1 if any(one.top_k is not None for one in self._drawn) else None,
            top_p=0.5 if any(one.top_p < 1 for one in self._drawn) else 1.0,
        )

    @property
    def kind(self):
        """What the compiled code depends on."""
        return "rows", self._all.kind if self._drawn else "greedy", self.scored

    def start(self, texts, vocabulary_size):
        """The numbers of all rows, as arrays that are carried from token to token."""
        rows = len(self._samplers)
        state = (np.array([not isinstance(one, Sampling) for one in self._samplers]),)  # (rows,)
        if self._drawn:
            numbers = [_numbers(one, vocabulary_size) for one in self._samplers]
            state += (np.array(numbers, "float32").T[:, :, None],)  # (5, rows, 1)
        if self.scored:
            shape = (rows, STEPS, self._alternatives)
            state += (np.array(0, "int32"), np.zeros(shape[:2], "float32"))
            state += (np.zeros(shape, "int32"), np.zeros(shape, "float32"))
        return state

    def choose(self, logits, uniforms, done, state):
        """The next token of each row; see `Sampling.choose`."""
        tokens = ops.cast(ops.argmax(logits, axis=-1), "int32")
        if self._drawn:
            drawn, _, _ = self._all.choose(logits, uniforms, done, (state[1],))
            tokens = ops.where(state[0], tokens, drawn)
        return tokens, None, self._noted(logits, tokens, state) if self.scored else state

    def _noted(self, logits, tokens, state):
        *numbers, place, scores, others, their_scores = state
        logs = ops.log_softmax(logits, axis=-1)  # (rows, vocabulary)
        best, ids = ops.top_k(logs, self._alternatives)
        scores = ops.slice_update(scores, (0, place), ops.take_along_axis(logs, tokens[:, None], axis=-1))
        others = ops.slice_update(others, (0, place, 0), ops.cast(ids, "int32")[:, None])
        their_scores = ops.slice_update(their_scores, (0, place, 0), best[:, None])
        return (*numbers, place + 1, scores, others, their_scores)

    def best(self, state):
        """Every row is a text of its own."""
        return slice(None)


def _numbers(sampler, vocabulary_size):
    """The five numbers of `Sampling.start`; those of a step that the row does not take leave all tokens in."""
    if not isinstance(sampler, Sampling):
        return [1.0, vocabulary_size, 2.0, 0.0, 1.0]
    top_p = sampler.top_p if sampler.top_p < 1 else 2.0  # a sum of 1 may be reached a rounding too early
    return [sampler.temperature, sampler.top_k or vocabulary_size, top_p, sampler.min_p, 1.0]
