"""A request on its way through an engine: what was asked, what was written so far, and which of it is certain."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from kerasllm.common import positive, whole_number
from kerasllm.generation import Beam, Greedy, Reply, Sampling
from kerasllm.generation.arguments import check_sampler, check_stop_strings, seeds_of
from kerasllm.generation.pieces import TextPieces
from kerasllm.serving.batch import Writer
from kerasllm.serving.row_sampling import MOST_ALTERNATIVES

GOOD_ENDS = ("stop", "stop string", "length")


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Args:
        ids: the ids of the prompt, one at least.
        max_new_tokens: the largest number of tokens to write.
        sampler: `Greedy`, or a `Sampling` without a repetition penalty.
        stop_tokens: ids that end the text; those of the engine's tokenizer when None.
        stop_strings: texts that end it, see `kerasllm.generation.Session.write`.
        seed: a whole number: the text is what ``generate(..., seed=seed)`` gives; another each time when None.
        alternatives: for how many of the most probable tokens, in place of each that is written, the log-probability
            is wanted, 20 at most; 0 for that of the written token alone, None for no log-probabilities.
        seconds: after how many seconds, waiting included, it ends; never when None.

    Raises:
        TypeError: if `sampler` is none.
        ValueError: if an argument does not fit.

    Example:
        >>> Asked([1, 2, 3], sampler=Sampling(0.7), stop_strings="\\n").stop_strings
        ('\\n',)
    """

    ids: list[int] = field(repr=False)
    max_new_tokens: int = 256
    sampler: Greedy | Sampling = field(default_factory=Greedy)
    stop_tokens: tuple[int, ...] | None = None
    stop_strings: tuple[str, ...] = ()
    seed: int | None = None
    alternatives: int | None = None
    seconds: float | None = None

    def __post_init__(self):
        whole_number("max_new_tokens", self.max_new_tokens)
        whole_number("alternatives", self.alternatives, 0, MOST_ALTERNATIVES, optional=True)
        check_sampler(self.sampler)
        if isinstance(self.sampler, Beam) or getattr(self.sampler, "repetition_penalty", 1) != 1:
            raise ValueError(f"An engine takes Greedy() or a Sampling(...) without a penalty, not {self.sampler!r}.")
        object.__setattr__(self, "stop_strings", check_stop_strings(self.stop_strings, True))
        seeds_of(self.seed, 1)
        if self.seconds is not None:
            positive("seconds", self.seconds)


@dataclass(frozen=True)
class Token:
    """A token that was written.

    Attributes:
        id: its id.
        log_probability: under the model itself, whatever the sampler made of it.
        alternatives: the most probable ids in its place, with their log-probabilities.
    """

    id: int
    log_probability: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """A part of a reply that is certain.

    Attributes:
        text: the text; the pieces of a reply together are its text.
        tokens: the `Token`s whose text is complete with this piece.
        ended: None while the reply goes on; then "stop" at a stop token, "stop string", "length", "timeout",
            "cancelled", or "error".
    """

    text: str = ""
    tokens: tuple[Token, ...] = ()
    ended: str | None = None


class Job:
    """A request in an engine; made by `Engine.submit`.

    Attributes:
        asked: the `Asked`.
        ended: why it ended, see `Piece`; None while it goes on.
        error: the error, if it ended with one.
        tokens: the `Token`s of the reply so far.
        text: the text of the reply so far.
        written: how many tokens the model wrote, those of a stop string included.
        begun: when the first token was there, by the engine's clock; None before.
    """

    def __init__(self, asked: Asked, tokenizer, now: float, listener: Callable[[Piece], None] | None = None):
        self.asked, self.submitted, self.begun = asked, now, None
        self.deadline = float("inf") if asked.seconds is None else now + asked.seconds
        [seed] = seeds_of(asked.seed, 1)
        stop = tokenizer.stop_ids if asked.stop_tokens is None else asked.stop_tokens
        scored = asked.alternatives is not None
        self.writer = Writer(list(asked.ids), asked.sampler, np.random.default_rng(seed), tuple(stop), scored)
        self.ended, self.error, self.cancelled = None, None, False
        self.tokens, self.text, self.written = [], "", 0
        self._tokenizer, self._texts = tokenizer, TextPieces(tokenizer, asked.ids)
        self._held = ""  # text that may be the beginning of a stop string
        self._open, self._ahead = [], 0  # tokens whose text is not complete, and how much of their text was given out
        self._queue = queue.SimpleQueue()
        self._listener, self._over = listener or self._queue.put, threading.Event()

    @property
    def left(self) -> int:
        """How many tokens may still be written."""
        return self.asked.max_new_tokens - self.written

    def cancel(self) -> None:
        """Let it end; the engine frees its row before it writes on. From any thread, at any time."""
        self.cancelled = True

    def result(self, seconds: float | None = None) -> Reply:
        """Wait for the end.

        Args:
            seconds: how long to wait; for ever when None.

        Returns:
            A `kerasllm.generation.Reply`; its `ended` may be "timeout" or "cancelled" too.

        Raises:
            TimeoutError: if it goes on after so many seconds.
            RuntimeError: if it ended with an error.
        """
        if not self._over.wait(seconds):
            raise TimeoutError(f"The reply is not whole after {seconds} seconds.")
        if self.ended == "error":
            raise RuntimeError(f"The reply ended with an error: {self.error}") from self.error
        scores = [one.log_probability for one in self.tokens] if self.writer.scored else None
        return Reply([one.id for one in self.tokens], self.text, scores, self.ended)

    def pieces(self) -> Iterator[Piece]:
        """Give out each `Piece` as it comes; only for a job without a listener of its own."""
        while True:
            piece = self._queue.get()
            yield piece
            if piece.ended is not None:
                return

    # The engine's side -----------------------------------------------------------------------

    def take(self, written, now: float) -> None:
        """Note what was written, a `Written`, and give out what of it is certain."""
        if self.begun is None:
            self.begun = now
        self.written += len(written.ids)
        self._open += [self._token(written, place) for place in range(len(written.ids))]
        ended = "stop" if written.stopped else None if self.left > 0 else "length"
        self._held += self._texts.add(written.ids, last=ended is not None)
        places = [place for place in map(self._held.find, self.asked.stop_strings) if place >= 0]
        if places:
            self.end("stop string", self._held[: min(places)])
        elif ended is not None:
            self.end(ended, self._held)
        else:
            certain = len(self._held) - _begun(self._held, self.asked.stop_strings)
            self._give(self._held[:certain])

    def end(self, ended: str, text: str = "", error: BaseException | None = None) -> None:
        """End it, `text` being the last of it."""
        if self.ended is not None:
            return
        self.error = error
        if ended == "stop string":
            self._open = self._open[: self._whole(self._ahead + len(text))]
        self._held = text
        self._give(text, ended)

    def _give(self, text, ended=None):
        self.text, self._held, self._ahead = self.text + text, self._held[len(text) :], self._ahead + len(text)
        tokens = ()
        if ended is not None or not (self._held or self._texts.waiting):
            tokens, self._open, self._ahead = tuple(self._open), [], 0
            self.tokens += tokens
        self.ended = ended
        try:
            if text or tokens or ended is not None:
                self._listener(Piece(text, tokens, ended))
        except Exception:  # whoever listened is gone
            self.cancelled = True
        if ended is not None:
            self._over.set()

    def _token(self, written, place):
        id = written.ids[place]
        if written.scores is None:
            return Token(id)
        ids, scores = (one[place, : self.asked.alternatives].tolist() for one in written.alternatives)
        return Token(id, float(written.scores[place]), tuple(zip(ids, scores, strict=True)))

    def _whole(self, characters):
        """How many of the open tokens lie wholly within the first characters of their text."""
        before = [*self.asked.ids[-1:], *(one.id for one in self.tokens[-1:])]
        ids = [one.id for one in self._open]
        for count in range(len(ids), 0, -1):
            if len(TextPieces(self._tokenizer, before).add(ids[:count], last=True)) <= characters:
                return count
        return 0


def _begun(text, strings):
    """How many characters at the end of a text are the beginning of one of the strings."""
    longest = min(len(text), max(map(len, strings), default=1) - 1)
    return next((n for n in range(longest, 0, -1) if any(one.startswith(text[-n:]) for one in strings)), 0)
