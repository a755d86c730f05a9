"""What a model remembers of texts that grow: when it reads on, when it forgets, when it must read anew."""

from functools import partial

import numpy as np
from keras import ops

from kerasllm.generation.compiling import compiled
from kerasllm.generation.decoding import decode, enlarged, forget, read


class Memory:
    """The cache of a GPT, or the states of another model, for several rows of ids.

    It holds of each row all tokens but the last: that one goes into the loop, which gives the logits behind it.

    A GPT sees its last ``context_length`` tokens. Where positions turn, a text may go on for ever in a ring. With
    learned positions there is no next position: when the context is full, the last half of it is read anew.

    Args:
        model: a GPT, or a model with a ``step``.
        rows: number of rows.

    Attributes:
        ids: for each row all of its ids.
        tokens_read: how many tokens the model has read in all, padding not counted.
    """

    def __init__(self, model, rows):
        self.model = model
        self.ids = [[] for _ in range(rows)]
        self.tokens_read = 0
        self.begins = [None] * rows  # the id of each row that has position 0
        self.context = getattr(model, "context_length", None)
        self.limited = getattr(model, "limited", False)
        self.cached = hasattr(model, "make_cache")
        self._clear()

    def _clear(self):
        self.data = None
        self.held = [0] * len(self.ids)  # how many ids of each row are in the memory, counted from its first one
        self.used = self.capacity = self.holes = 0

    def room(self):
        """How many tokens may be written before the context of a model with learned positions is full."""
        if not self.limited:
            return float("inf")
        return self.context + 1 - max(len(ids) - begin for ids, begin in zip(self.ids, self.begins, strict=True))

    def prepare(self, count, open_rows):
        """Read what is new, so that `count` tokens can be written to the open rows.

        Args:
            count: how many tokens.
            open_rows: bool array (rows,), which rows will be written to.

        Returns:
            How many of the tokens can be written before this must be called again.
        """
        if self.data is not None and not self._fits(count, open_rows):
            self._clear()
        if self.data is None:
            self._begin(count)
        new = [ids[held:-1] for ids, held in zip(self.ids, self.held, strict=True)]
        again = [held == len(ids) for ids, held in zip(self.ids, self.held, strict=True)]
        if any(again):  # rows that ended are asked to go on: their last token goes into the loop once more
            self._forget_last(again)
        if self.data is None or any(new):
            self._read(new)
        return int(min(count, self.room()))

    def _fits(self, count, open_rows):
        """Whether what is new and `count` tokens behind it find room; a cache is made larger if that is enough."""
        if not self.cached:
            return all(held <= len(ids) for ids, held in zip(self.ids, self.held, strict=True)) and not any(
                held == len(ids) for ids, held in zip(self.ids, self.held, strict=True)
            )
        lengths = [len(ids) - begin for ids, begin in zip(self.ids, self.begins, strict=True)]
        if self.limited and max(length for length, one in zip(lengths, open_rows, strict=True) if one) > self.context:
            return False
        time = filled(max(len(ids) - 1 - held for ids, held in zip(self.ids, self.held, strict=True)))
        needed = self.used + time + count
        if needed <= self.capacity:
            return True
        # Round the ring only what nobody sees is overwritten, unless gaps between tokens make rows longer than it.
        gaps = self.holes + time
        if not self.limited and self.used + time <= self.capacity and self.capacity >= self.model.sees + gaps:
            return True
        if self.used > self.capacity:
            return False
        larger = self._enough(self.used + time, needed, gaps)
        if larger < self.used + time:
            return False
        self.data, self.capacity = enlarged(self.data, larger), larger
        return True

    def _begin(self, count):
        """Where each row begins to be read, and how large its cache is to be."""
        for row, ids in enumerate(self.ids):
            if self.begins[row] is None or not self.limited:  # of a prompt that is too long the last tokens
                self.begins[row] = max(0, len(ids) - (self.context or len(ids)))
            elif len(ids) - self.begins[row] > self.context:
                self.begins[row] = len(ids) - max(1, self.context // 2)
        self.held = list(self.begins)
        time = filled(max(len(ids) - begin for ids, begin in zip(self.ids, self.begins, strict=True)) - 1, self.context)
        room = min(count, self.room())
        needed = time + room if room == count or not self.limited else self.context + self.context // 2
        self.capacity = max(self.capacity, self._enough(time, max(needed, time + room), 0)) if self.cached else 0

    def _enough(self, position, needed, gaps):
        """How many tokens a cache holds: at least `needed`, in one of four sizes between n and 2 n.

        A ring needs no more than what a token sees.
        """
        needed = int(needed)
        step = 1 << max(2, (needed - 1).bit_length() - 3)
        capacity = -(-needed // step) * step
        return capacity if self.limited else min(capacity, max(position, self.model.sees + gaps))

    def _read(self, new):
        limit = self.context if self.data is None else None
        time = filled(max(map(len, new)), limit)
        tokens, real = np.zeros((len(new), time), "int32"), np.zeros((len(new), time), bool)
        for row, ids in enumerate(new):
            if ids:
                tokens[row, -len(ids) :], real[row, -len(ids) :] = ids, True
        if self.data is None:
            run = compiled(partial(_first, self.capacity), self.model, ("read", self.capacity), xla=False)
            self.data = run(tokens, real)
        else:
            self.data = compiled(_more, self.model, "read on", xla=False)(tokens, real, self.data)
            self.holes += int(time - min(map(len, new)))
        self.tokens_read += int(real.sum())
        self.used += time
        self.held = [held + len(ids) for held, ids in zip(self.held, new, strict=True)]

    def wrote(self, count, new, ended):
        """Note what a call of the loop did.

        Args:
            count: how many steps it made.
            new: for each row the ids that it wrote.
            ended: for each row whether it met a stop token in this call.
        """
        fed = [len(ids) + int(one) for ids, one in zip(new, ended, strict=True)]
        self.used += count
        self.holes += count - min(fed)
        for row, ids in enumerate(new):
            self.ids[row] = self.ids[row] + ids
            self.held[row] += fed[row]
        self.tokens_read += sum(fed)

    def choose(self, rows):
        """Keep these rows, in this order."""
        rows = np.asarray(rows, "int32")
        self.ids, self.held, self.begins = ([of[row] for row in rows] for of in (self.ids, self.held, self.begins))
        if self.data is not None:
            self.data = _map(lambda x: ops.take(x, rows, axis=0), self.data)

    def cut(self, lengths):
        """Forget the ids of each row from a length on."""
        shorter = [min(n, len(ids)) for n, ids in zip(lengths, self.ids, strict=True)]
        changed = any(n < len(ids) for n, ids in zip(shorter, self.ids, strict=True))
        self.ids = [ids[:n] for ids, n in zip(self.ids, shorter, strict=True)]
        if changed:
            self._keep([min(held, max(n - 1, 0)) for held, n in zip(self.held, shorter, strict=True)])

    def become(self, ids):
        """Let the ids of each row be these. What they share with those before, from the first on, stays held."""
        shared = [_shared(old, new) for old, new in zip(self.ids, ids, strict=True)]
        held = [min(held, n) for held, n in zip(self.held, shared, strict=True)]
        self.ids = [list(new) for new in ids]
        gone = [begin is not None and n < begin for begin, n in zip(self.begins, shared, strict=True)]
        if any(gone):  # not even where the row begins is left
            self.begins = [None if one else begin for begin, one in zip(self.begins, gone, strict=True)]
            self._clear()
        elif held != self.held:
            self._keep(held)

    def _forget_last(self, rows):
        self._keep([held - one for held, one in zip(self.held, rows, strict=True)])

    def _keep(self, held):
        if self.data is None:
            return
        if not self.cached or any(n < begin for n, begin in zip(held, self.begins, strict=True)):
            self._clear()  # states cannot be turned back
            return
        length = np.array([n - begin for n, begin in zip(held, self.begins, strict=True)], "int32")
        self.holes += max(before - now for before, now in zip(self.held, held, strict=True))
        self.data, self.held = forget(self.data, length), list(held)


def _shared(one, other):
    """How many ids two texts have in common at their start."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _map(function, data):
    import keras

    return keras.tree.map_structure(function, data)


def _first(capacity, model, tokens, real):
    return read(model, tokens, real, None, capacity)


def _more(model, tokens, real, memory):
    return read(model, tokens, real, memory)


def run_of(model, sampler, scored):
    """The compiled loop of a sampler."""
    return compiled(partial(_decode, sampler, scored), model, ("decode", sampler.kind, scored))


def _decode(sampler, scored, model, *tensors):
    return decode(model, sampler, scored, *tensors)


def filled(length, limit=None):
    """`length` filled up to a power of two, so that prompts of similar length reuse what was compiled."""
    time = 1 << max(4, (max(length, 1) - 1).bit_length())
    return min(time, limit) if limit else time
