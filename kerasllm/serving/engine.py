"""Continuous batching: a queue in front of a batch, and a thread that writes to whatever is in it."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from kerasllm.common import whole_number
from kerasllm.generation import Greedy, Sampling
from kerasllm.generation.arguments import barred_ids, check_model, ids_of
from kerasllm.generation.decoding import STEPS
from kerasllm.serving.batch import Batch, Writer, rows_for
from kerasllm.serving.jobs import Asked, Job
from kerasllm.text import check_tokenizer

UNLIMITED = 4096  # tokens of a text, for a model that has no context_length


class QueueFullError(RuntimeError):
    """More requests wait than the engine lets wait."""


class StoppedError(RuntimeError):
    """The engine takes no more requests."""


class TooLongError(ValueError):
    """A prompt has more tokens than the model can go on with."""


class Engine:
    """Writes to many requests at once.

    A request waits until the batch has a free row, joins it, and leaves it when it has ended; its reply is what
    `kerasllm.generation.generate` gives for it alone. Between two calls of the compiled loop, a few tokens each, the
    engine looks for who comes, was cancelled, or has no time left.

    Args:
        model: a GPT, or a model with ``vocabulary_size`` and a ``step`` like `LSTMLanguageModel`.
        tokenizer: its `kerasllm.text.Tokenizer`.
        max_batch: the largest number of requests that are written side by side.
        max_waiting: the largest number of requests that wait.
        max_length: the largest number of tokens of a prompt and its reply together; the model's ``context_length``
            when None.
        every: how many tokens are written between two looks; the first one of a reply comes alone.
        clock: a function that tells the time in seconds.

    Attributes:
        counts: a Counter: "submitted", "refused", "tokens read", "tokens written", and how many ended with each of the
            ends of a `Piece`.
        first_tokens: how many replies have begun, and how many seconds all of them together waited for it.

    Raises:
        TypeError: if the model cannot generate, or `tokenizer` is none.
        ValueError: if they do not fit each other, or a number is outside its range.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_characters(["abc "])
        >>> settings = models.gpt_settings(tokenizer.vocabulary_size, num_layers=1, num_heads=2, embedding_dim=8)
        >>> engine = Engine(models.GPT(settings), tokenizer)
        >>> job = engine.submit(Asked(tokenizer.encode("ab"), max_new_tokens=5))
        >>> while engine.step():
        ...     pass
        >>> job.ended, job.written
        ('length', 5)
    """

    def __init__(
        self,
        model,
        tokenizer,
        *,
        max_batch: int = 8,
        max_waiting: int = 64,
        max_length: int | None = None,
        every: int = 8,
        clock: Callable[[], float] = time.monotonic,
    ):
        check_model(model, check_tokenizer(tokenizer))
        self.model, self.tokenizer, self.clock = model, tokenizer, clock
        self.max_waiting = whole_number("max_waiting", max_waiting, 0)
        self.every = whole_number("every", every, most=STEPS)
        context = getattr(model, "context_length", None)
        whole_number("max_length", max_length, 2, context, optional=True)
        self.max_length = max_length or context or UNLIMITED
        self.counts, self.first_tokens = Counter(), (0, 0.0)
        self._batch = Batch(model, max_batch, barred_ids(model, tokenizer))
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._changed, self._thread, self._open = threading.Condition(), None, True

    @property
    def max_batch(self) -> int:
        """The largest number of requests that are written side by side."""
        return self._batch.most

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many requests are in the batch."""
        return len(self._running)

    @property
    def alive(self) -> bool:
        """Whether its thread runs and takes requests."""
        return self._open and self._thread is not None and self._thread.is_alive()

    def submit(self, asked: Asked, listener=None) -> Job:
        """Let a request wait for its turn. From any thread.

        Args:
            asked: what it asks for. Where prompt and reply would be longer than `max_length`, the reply is shorter.
            listener: is called with each `Piece` by the engine's thread, and must return at once; when None the job
                keeps them for `Job.pieces`.

        Returns:
            A `Job`.

        Raises:
            TooLongError: if the prompt leaves no room for a token.
            QueueFullError: if too many wait.
            StoppedError: if the engine was stopped.
            TypeError, ValueError: if `asked` has no ids, or ids that are none.
        """
        [ids] = ids_of([asked.ids], self.model.vocabulary_size, None)
        if not ids:
            raise ValueError("The prompt has no tokens: give at least one.")
        if len(ids) >= self.max_length:
            raise TooLongError(
                f"The prompt has {len(ids)} tokens; prompt and reply together may have {self.max_length}. Shorten it."
            )
        room = self.max_length - len(ids)
        if asked.max_new_tokens > room:
            asked = Asked(**{**vars(asked), "max_new_tokens": room})
        job = Job(asked, self.tokenizer, self.clock(), listener)
        with self._changed:
            if not self._open:
                raise StoppedError("The engine was stopped and takes no more requests.")
            if len(self._waiting) >= self.max_waiting + self._free():
                self.counts["refused"] += 1
                raise QueueFullError(f"{len(self._waiting)} requests wait, which is the most. Try again later.")
            self.counts["submitted"] += 1
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def step(self) -> bool:
        """Let requests leave and join, and write some tokens to those in the batch. In one thread at a time.

        Returns:
            Whether there is anything left to do.
        """
        self._sweep()
        try:
            self._admit()
            if self._running:
                self._write()
        except Exception as error:  # such as memory that is full: those in the batch are lost, the engine is not
            self._batch.clear()
            for job in self._running:
                self._end(job, "error", error)
            self._running = []
        with self._changed:
            self._changed.notify_all()
            return bool(self._running or self._waiting)

    def start(self) -> None:
        """Let a thread do the steps from now on.

        Raises:
            RuntimeError: if it does already, or the engine was stopped.
        """
        if self._thread is not None:
            raise RuntimeError("The engine was started already.")
        if not self._open:
            raise StoppedError("The engine was stopped: make another one.")
        self._thread = threading.Thread(target=self._run, name="kerasllm-engine", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 0.0) -> None:
        """Take no more requests, and end.

        Args:
            seconds: how long those that wait or are written may still go on; then they are cancelled.
        """
        with self._changed:
            self._open = False
            self._changed.notify_all()
            if self._thread is not None and self._thread is not threading.current_thread():
                self._changed.wait_for(lambda: not (self._waiting or self._running), timeout=seconds)
            for job in [*self._waiting, *self._running]:
                job.cancel()
        if self._thread is None:
            self._sweep()
        else:
            self._thread.join()

    def warm_up(self, samplers=None, rows=None) -> None:
        """Compile what requests will need most, before they come: every number of rows, the smallest ring.

        Args:
            samplers: the samplers to compile for; greedy, and drawn with a temperature and a top-p, when None.
            rows: the numbers of rows; all that come up when None.
        """
        samplers = (Greedy(), Sampling(0.7), Sampling(0.7, top_p=0.9)) if samplers is None else samplers
        every = sorted({rows_for(texts, self.max_batch) for texts in range(1, self.max_batch + 1)})
        for count in every if rows is None else rows:
            for sampler in samplers:
                batch = Batch(self.model, self.max_batch, barred_ids(self.model, self.tokenizer))
                for _ in range(count):
                    batch.join(Writer([0], sampler))
                batch.write(1)

    # Inside ----------------------------------------------------------------------------------

    def _free(self):
        return self.max_batch - len(self._running)

    def _run(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._running or not self._open)
                if not (self._waiting or self._running):
                    return
            self.step()

    def _sweep(self):
        """Let go who was cancelled or has no time left, whether in the batch or in the queue."""
        now = self.clock()
        with self._changed:
            gone = [job for job in self._waiting if job.cancelled or job.deadline <= now]
            if gone:
                self._waiting = deque(job for job in self._waiting if job not in gone)
        for job in gone:
            self._end(job, "cancelled" if job.cancelled else "timeout")
        for job in [job for job in self._running if job.cancelled or job.deadline <= now]:
            self._leave(job, "cancelled" if job.cancelled else "timeout")

    def _admit(self):
        while self._free():
            with self._changed:
                if not self._waiting:
                    return
                job = self._waiting.popleft()
                self._running.append(job)
            before = self._batch.tokens_read
            self._batch.join(job.writer)
            self.counts["tokens read"] += self._batch.tokens_read - before

    def _write(self):
        first = any(job.begun is None for job in self._running)
        count = 1 if first else min(self.every, *(job.left for job in self._running))
        written = self._batch.write(count)
        now = self.clock()
        for job in list(self._running):
            one = written[job.writer]
            if job.begun is None:
                begun, seconds = self.first_tokens
                self.first_tokens = begun + 1, seconds + now - job.submitted
            self.counts["tokens written"] += len(one.ids)
            job.take(one, now)
            if job.ended is not None:
                self.counts[job.ended] += 1
                self._leave(job)

    def _leave(self, job, ended=None):
        self._batch.leave(job.writer)
        self._running.remove(job)
        if ended is not None:
            self._end(job, ended)

    def _end(self, job, ended, error=None):
        self.counts[ended] += 1
        job.end(ended, error=error)
