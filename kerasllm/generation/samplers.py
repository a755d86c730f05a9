"""Samplers: small objects that choose the next token from its logits.

A sampler of your own needs what `Greedy` has:

- ``rows``, how many rows of the batch one text takes;
- ``kind``, whatever hashable thing the compiled code depends on;
- ``start(texts, vocabulary_size)``, a tuple of arrays that are carried from token to token;
- ``choose(logits, uniforms, done, state)``, which returns the tokens (rows,), the order in which the
  rows go on (None as they are), and the new state;
- ``best(state)``, the row of each text that is the result.

Numbers such as a temperature travel in the state: another temperature then compiles nothing anew.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from keras import ops


@dataclass(frozen=True)
class Greedy:
    """The most probable token, always.

    Example:
        >>> tokens, _, _ = Greedy().choose(np.array([[0.0, 2.0, 1.0]]), None, None, ())
        >>> [int(token) for token in tokens]
        [1]
    """

    rows: ClassVar[int] = 1
    kind: ClassVar[str] = "greedy"

    def start(self, texts, vocabulary_size):
        return ()

    def choose(self, logits, uniforms, done, state):
        return ops.cast(ops.argmax(logits, axis=-1), "int32"), None, state

    def best(self, state):
        return slice(None)


@dataclass(frozen=True)
class Sampling:
    """A token drawn from the model's probabilities, changed in this order.

    Args:
        repetition_penalty: logits of the tokens that stand in the text already, the prompt included, are
            divided by it; where they are negative, multiplied, or the penalty would be a reward. 1 changes
            nothing.
        temperature: the logits are divided by it. Below 1 probable tokens gain, above 1 they lose.
        top_k: only so many of the most probable tokens stay, and those as probable as the last of them; all when
            None.
        top_p: of these only the smallest set whose probabilities reach this sum; 1 keeps all.
        min_p: of these only tokens with at least this share of the largest probability; 0 keeps all.

    Raises:
        ValueError: if a number is outside its range.

    Example:
        >>> logits, uniforms = np.log([[0.1, 0.6, 0.3]] * 3).astype("float32"), np.array([0.2, 0.7, 1.0], "float32")
        >>> for sampler in (Sampling(), Sampling(top_p=0.7), Sampling(top_k=1)):
        ...     tokens, _, _ = sampler.choose(logits, uniforms, None, sampler.start([[], [], []], 3))
        ...     print([int(token) for token in tokens])
        [1, 1, 2]
        [1, 2, 2]
        [1, 1, 1]

    Reference: Fan et al. (2018), "Hierarchical Neural Story Generation", section 5.4, for top-k; Holtzman et al.
    (2020), "The Curious Case of Neural Text Degeneration", section 3.1, for top-p; Nguyen et al. (2024), "Turning
    Up the Heat: Min-p Sampling", section 3; Keskar et al. (2019), "CTRL", section 4.1, for the penalty.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    rows: ClassVar[int] = 1

    def __post_init__(self):
        if not 0 < self.temperature < float("inf"):
            fix = "for the most probable token use Greedy()"
            raise ValueError(f"temperature must be a number above 0, not {self.temperature!r}; {fix}.")
        if self.top_k is not None and (not isinstance(self.top_k, int) or self.top_k < 1):
            raise ValueError(f"top_k must be a whole number from 1 up or None, not {self.top_k!r}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p!r}.")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must be from 0 to 1, not {self.min_p!r}.")
        if not 0 < self.repetition_penalty < float("inf"):
            raise ValueError(f"repetition_penalty must be above 0, not {self.repetition_penalty!r}; 1 is none.")

    @property
    def kind(self):
        return "sampling", self.top_k is not None, self.top_p < 1, self._penalizes

    @property
    def _penalizes(self):
        return self.repetition_penalty != 1

    def start(self, texts, vocabulary_size):
        numbers = [self.temperature, self.top_k or 0, self.top_p, self.min_p, self.repetition_penalty]
        numbers = np.array(numbers, "float32")
        if not self._penalizes:
            return (numbers,)
        seen = np.zeros((len(texts), vocabulary_size), bool)
        for row, text in zip(seen, texts, strict=True):
            row[list(text)] = True
        return numbers, seen

    def choose(self, logits, uniforms, done, state):
        temperature, top_k, top_p, min_p, penalty = ops.unstack(ops.convert_to_tensor(state[0]), 5)
        if self._penalizes:
            logits = ops.where(state[1], ops.where(logits > 0, logits / penalty, logits * penalty), logits)
        logits = logits / temperature
        logits = logits - ops.max(logits, axis=-1, keepdims=True)
        if self.top_k is not None:
            logits = ops.where(logits >= _border(logits, ops.ones_like(logits), top_k), logits, -1e9)
        weights = ops.softmax(logits)  # (rows, vocabulary)
        if self.top_p < 1:
            weights = ops.where(logits >= _border(logits, weights, top_p), weights, 0.0)
        least = min_p * ops.max(weights, axis=-1, keepdims=True)
        tokens = _draw(ops.where(weights >= least, weights, 0.0), uniforms)
        if self._penalizes:
            state = state[0], ops.logical_or(state[1], ops.one_hot(tokens, logits.shape[-1], dtype="bool"))
        return tokens, None, state

    def best(self, state):
        return slice(None)


def _border(logits, weights, goal):
    """For each row the largest logit with ``sum(weights[logits >= it]) >= goal``, for logits that end at 0.

    Found by halving an interval 30 times. To sort the vocabulary takes ten times as long.
    """

    def halve(_, interval):
        low, high = interval
        middle = (low + high) / 2
        enough = ops.sum(ops.where(logits >= middle, weights, 0.0), axis=-1, keepdims=True) >= goal
        return ops.where(enough, middle, low), ops.where(enough, high, middle)

    high = ops.zeros_like(logits[:, :1])
    return ops.fori_loop(0, 30, halve, (high - 64, high))[0]  # exp(-64) of the largest is never drawn


def _draw(weights, uniforms):
    """For each row the index at which the running sum of its weights reaches the share `uniforms`, from (0, 1]."""
    # Without rounding the sum stands still at a weight of 0; with it, such an index is not to be hit.
    reached = ops.where(weights > 0, ops.cumsum(weights, axis=-1), 0.0)
    goal = ops.expand_dims(uniforms, -1) * ops.max(reached, axis=-1, keepdims=True)
    return ops.cast(ops.argmax(ops.cast(reached >= goal, "int32"), axis=-1), "int32")  # the first True


@dataclass(frozen=True)
class Beam:
    """Beam search: of all continuations of the best `width` texts, the best `width` go on.

    A text that met a stop token stays in the race with the probability it has. The search goes on until all
    `width` texts are finished or the number of tokens is reached.

    Args:
        width: how many texts are kept; 1 is greedy.
        length_penalty: texts are compared by their log-probability divided by ``length ** length_penalty``.
            0 compares probabilities, which favours short texts; 1 compares the mean over the new tokens.

    Raises:
        ValueError: if a number is outside its range.

    Reference: Sutskever et al. (2014), "Sequence to Sequence Learning with Neural Networks", section 3.2; Wu et al.
    (2016), "Google's Neural Machine Translation System", section 7, for a penalty of this kind.
    """

    width: int = 4
    length_penalty: float = 0.0

    def __post_init__(self):
        if not isinstance(self.width, int) or self.width < 1:
            raise ValueError(f"width must be a whole number from 1 up, not {self.width!r}.")
        if not 0 <= self.length_penalty < float("inf"):
            raise ValueError(f"length_penalty must be 0 or more, not {self.length_penalty!r}.")

    @property
    def rows(self):
        return self.width

    @property
    def kind(self):
        return "beam", self.width

    def start(self, texts, vocabulary_size):
        # The rows of a text are equal at first: only one of them may be continued.
        scores = np.tile(np.array([0.0] + [-1e9] * (self.width - 1), "float32"), (len(texts) // self.width, 1))
        return scores, np.zeros_like(scores), np.array(self.length_penalty, "float32")

    def choose(self, logits, uniforms, done, state):
        scores, lengths, penalty = state  # (texts, width), (texts, width), ()
        size = logits.shape[-1]
        # What is finished has one continuation, which costs nothing.
        nothing = ops.where(ops.arange(size) == 0, 0.0, -1e9)
        steps = ops.where(done[:, None], nothing, ops.log_softmax(logits))  # (texts * width, vocabulary)
        totals = scores[..., None] + ops.reshape(steps, (-1, self.width, size))  # (texts, width, vocabulary)
        lengths = lengths + ops.cast(ops.reshape(ops.logical_not(done), (-1, self.width)), "float32")
        ranked = totals / ops.power(ops.maximum(lengths, 1.0), penalty)[..., None]
        _, best = ops.top_k(ops.reshape(ranked, (-1, self.width * size)), self.width)  # (texts, width)
        best = ops.cast(best, "int32")
        parents = best // size
        scores = ops.take_along_axis(ops.reshape(totals, (-1, self.width * size)), best, axis=-1)
        order = parents + self.width * ops.arange(ops.shape(parents)[0], dtype="int32")[:, None]
        state = scores, ops.take_along_axis(lengths, parents, axis=-1), penalty
        return ops.reshape(best % size, (-1,)), ops.reshape(order, (-1,)), state

    def best(self, state):
        scores, lengths, penalty = (ops.convert_to_numpy(x) for x in state)
        best = np.argmax(scores / np.maximum(lengths, 1) ** penalty, axis=-1)
        return best + self.width * np.arange(len(best))
