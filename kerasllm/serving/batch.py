"""Texts that are written side by side: one joins while others are under way, each leaves when it has ended."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from keras import ops, tree

from kerasllm.common import whole_number
from kerasllm.generation import Greedy
from kerasllm.generation.compiling import compiled
from kerasllm.generation.decoding import STEPS, read
from kerasllm.generation.memory import filled, run_of
from kerasllm.serving.row_sampling import RowSampling

SMALLEST = 256  # slots of the smallest ring: each size is compiled anew


@dataclass(eq=False)
class Writer:
    """A text in a batch.

    Args:
        ids: its ids so far, one at least; what is written is put behind them.
        sampler: `Greedy` or `Sampling`.
        draws: a NumPy generator of its random numbers.
        stop: ids that end it.
        scored: whether log-probabilities are kept.
    """

    ids: list[int]
    sampler: Any = field(default_factory=Greedy)
    draws: np.random.Generator = field(default_factory=np.random.default_rng)
    stop: tuple[int, ...] = ()
    scored: bool = False


@dataclass(frozen=True)
class Written:
    """What one call wrote to one text.

    Attributes:
        ids: the new ids, without a stop token.
        stopped: whether it met a stop token.
        scores: their log-probabilities, float array (len(ids),); None unless the writer is scored.
        alternatives: the most probable ids in their places and the log-probabilities of these, two arrays
            (len(ids), n); None unless scored.
    """

    ids: list[int]
    stopped: bool
    scores: np.ndarray | None = None
    alternatives: tuple[np.ndarray, np.ndarray] | None = None


class Batch:
    """Rows of one cache, each with a text of its own length.

    The cache is a ring that all rows write to at the same place. The tokens of a row stand in the slots right behind
    that place, so that a text which joins is put there, whenever it comes, and nothing has to be moved when one leaves.
    The ring is as large as the longest text needs, in powers of two; of 1, 8, 64, ... rows there are as many as needed,
    because each number is compiled anew, and a step with 8 rows takes hardly longer than one with 2.

    Args:
        model: a GPT, or a model with ``vocabulary_size`` and a ``step`` like `LSTMLanguageModel`.
        most: the largest number of texts.
        barred: see `kerasllm.generation.decoding.decode`.
        smallest: slots of the smallest ring.

    Example:
        >>> from kerasllm.models import GPT, gpt_settings
        >>> batch = Batch(GPT(gpt_settings(vocabulary_size=50, num_layers=1, num_heads=2, embedding_dim=8)))
        >>> early, late = Writer([1, 2, 3]), Writer([4])
        >>> batch.join(early)
        >>> batch.write(2)[early].ids == early.ids[3:]
        True
        >>> batch.join(late)
        >>> _ = batch.write(3)
        >>> len(early.ids), len(late.ids)
        (8, 4)

    Reference: Yu et al. (2022), "Orca: A Distributed Serving System for Transformer-Based Generative Models", section
    3.2, for scheduling at the level of iterations.
    """

    def __init__(self, model, most=8, barred=None, smallest=SMALLEST):
        self.model, self.most = model, whole_number("most", most)
        self.smallest = whole_number("smallest", smallest)
        self.cached = hasattr(model, "make_cache")
        self.tokens_read = 0  # of prompts
        self._barred = np.zeros(0, bool) if barred is None else barred
        self.clear()

    def clear(self):
        """Forget all texts."""
        self.rows = []  # for each row of the memory its writer, or None
        self.data, self.capacity, self.place = None, 0, 0

    def __len__(self):
        return len(self._writers())

    def __contains__(self, writer):
        return writer in self.rows

    def _writers(self):
        return [one for one in self.rows if one is not None]

    def join(self, writer):
        """Read a text, all but its last id, and give it a row.

        Raises:
            ValueError: if there is no row left, or the text has no ids.
        """
        if len(self) == self.most:
            raise ValueError(f"All {self.most} rows are taken: wait until a text has left.")
        if not writer.ids:
            raise ValueError("A text has one id at least, behind which it goes on.")
        one, time = self._read(writer.ids[:-1])
        self._make_room(len(self) + 1, max(len(text.ids) for text in [*self._writers(), writer]), one)
        row, held = self.rows.index(None), len(writer.ids) - 1
        sources = np.full(max(self.capacity, 1), -1, "int32")  # for each slot where in the memory of the text it stands
        behind = np.arange(1, held + 1)
        if self.cached:
            sources[(self.place - behind) % self.capacity] = time - behind
        put = compiled(_put, self.model, ("put", len(self.rows), self.capacity, time), xla=False)
        self.data = put(self.data, one, np.array(row, "int32"), sources)
        self.rows[row] = writer
        self.tokens_read += held

    def leave(self, writer):
        """Free the row of a text. What its row holds is overwritten when another one joins."""
        self.rows[self.rows.index(writer)] = None
        if not len(self):
            self.clear()  # gives the memory back

    def write(self, count):
        """Go on with every text.

        Args:
            count: the largest number of tokens to write, at most 128.

        Returns:
            For each writer its `Written`; its ids are longer by what was written. Texts that met a stop token have to
            leave before the next call.
        """
        writers = self._writers()
        if not writers:
            return {}
        count = whole_number("count", count, most=STEPS)
        self._make_room(len(writers), max(len(one.ids) for one in writers) - 1 + count)
        if self.cached:
            count = min(count, self.capacity - self.place)  # a call does not run round the ring
            at = np.full(len(self.rows), self.place, "int32")
            self.data = [one._replace(written=at) for one in self.data]
        scored = any(one.scored for one in writers)
        sampler = RowSampling([one and one.sampler for one in self.rows], self.model.vocabulary_size, scored)
        _, self.data, done, state, written, _, _ = run_of(self.model, sampler, False)(*self._inputs(sampler, count))
        if self.cached:
            self.place = (self.place + count) % self.capacity
        done, written = ops.convert_to_numpy(done), ops.convert_to_numpy(written)
        notes = [ops.convert_to_numpy(one) for one in state[-3:]] if scored else None
        return {
            one: _taken(one, row, written[row], bool(done[row]), notes)
            for row, one in enumerate(self.rows)
            if one is not None
        }

    def _inputs(self, sampler, count):
        rows = len(self.rows)
        tokens, done, uniforms = np.zeros(rows, "int32"), np.ones(rows, bool), np.ones((rows, STEPS), "float32")
        longest = max(len(one.stop) for one in self._writers())
        stop = np.full((rows, -(-max(1, longest) // 8) * 8), -1, "int32")  # another number of them compiles nothing
        for row, one in enumerate(self.rows):
            if one is not None:
                tokens[row], done[row], stop[row, : len(one.stop)] = one.ids[-1], False, one.stop
                uniforms[row, :count] = 1 - one.draws.random(count)
        state = sampler.start(None, self.model.vocabulary_size)
        return tokens, self.data, done, state, uniforms, stop, self._barred, np.array(count, "int32")

    def _read(self, ids):
        """A memory of one row that holds the ids, and how many slots it has: the ids stand in the last ones."""
        time = filled(len(ids), getattr(self.model, "context_length", None))
        tokens, real = np.zeros((1, time), "int32"), np.zeros((1, time), bool)
        if ids:
            tokens[0, -len(ids) :], real[0, -len(ids) :] = ids, True
        return compiled(partial(_first, time), self.model, ("read a row", time), xla=False)(tokens, real), time

    def _make_room(self, texts, slots, one=None):
        """Have as many rows and slots as are needed, and no longer many more."""
        rows = rows_for(texts, self.most)
        wanted = max(_power(slots), self.smallest) if self.cached else 0
        if wanted < self.capacity < 4 * wanted:  # a text that leaves may be followed by one as long
            wanted = self.capacity
        if rows == len(self.rows) and wanted == self.capacity:
            return
        if self.data is None:
            self.rows, self.capacity, self.place = [None] * rows, wanted, 0
            self.data = self.model.make_cache(rows, wanted) if self.cached else tree.map_structure(_widened(rows), one)
            return
        stay = [row for row, writer in enumerate(self.rows) if writer is not None]
        order = np.array((stay + [0] * rows)[:rows], "int32")
        kept = min(self.capacity, wanted)
        slots = np.full(max(wanted, 1), -1, "int32")
        if self.cached:
            slots[:kept] = (self.place - kept + np.arange(kept)) % self.capacity
            self.place = kept % wanted
        key = ("arrange", len(self.rows), self.capacity, rows, wanted)
        arrange = compiled(_arranged if self.cached else _chosen, self.model, key, xla=False)
        self.data = arrange(self.data, order, slots)
        self.rows = ([self.rows[row] for row in stay] + [None] * rows)[:rows]
        self.capacity = wanted


def rows_for(texts, most):
    """How many rows there are for so many texts: 1, 8, 64, ..., at most `most`.

    Example:
        >>> [rows_for(texts, 20) for texts in (1, 2, 8, 9)]
        [1, 8, 8, 20]
    """
    rows = 1
    while rows < texts:
        rows *= 8
    return min(rows, most)


def _taken(writer, row, written, done, notes):
    ids = written[written >= 0].tolist()
    writer.ids += ids
    if notes is None or not writer.scored:
        return Written(ids, done)
    scores, others, their_scores = (one[row, : len(ids)] for one in notes)
    return Written(ids, done, scores, (others, their_scores))


def _power(number):
    """The number filled up to a power of two."""
    return 1 << max(number - 1, 0).bit_length()


def _widened(rows):
    return lambda x: ops.zeros((rows, *x.shape[1:]), x.dtype)


def _first(time, model, tokens, real):
    return read(model, tokens, real, None, time)


def _put(model, data, one, row, sources):
    """The memory with that of one text in a row; of a cache each slot comes from a slot of the text, -1 from none."""
    if not hasattr(model, "make_cache"):
        return tree.map_structure(lambda x, new: _into(x, new, row), data, one)
    there, at = sources >= 0, ops.maximum(sources, 0)
    return [
        old._replace(
            key=_into(old.key, ops.take(new.key, at, axis=2), row),
            value=_into(old.value, ops.take(new.value, at, axis=2), row),
            positions=_into(old.positions, ops.where(there, ops.take(new.positions, at, axis=1), -1), row),
        )
        for old, new in zip(data, one, strict=True)
    ]


def _into(x, new, row):
    return ops.slice_update(x, (row, *[0] * (len(x.shape) - 1)), ops.cast(new, x.dtype))


def _arranged(model, cache, order, slots):
    """The cache with these rows in this order, and with these slots; at -1 an empty one."""
    there, at = slots >= 0, ops.maximum(slots, 0)

    def moved(x, axis):
        return ops.take(ops.take(x, order, axis=0), at, axis=axis)

    return [
        one._replace(
            key=moved(one.key, 2),
            value=moved(one.value, 2),
            positions=ops.where(there, moved(one.positions, 1), -1),
            written=ops.take(one.written, order, axis=0),
        )
        for one in cache
    ]


def _chosen(model, states, order, _):
    return tree.map_structure(lambda x: ops.take(x, order, axis=0), states)
