"""A session: texts that are read and written in turns, with a memory that is kept between them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from keras import ops

from kerasllm.common import whole_number
from kerasllm.generation.arguments import (
    barred_ids,
    check_model,
    check_sampler,
    check_stop_strings,
    ids_of,
    refuse_beam,
    seeds_of,
    stop_ids,
)
from kerasllm.generation.decoding import STEPS
from kerasllm.generation.memory import Memory, run_of
from kerasllm.generation.pieces import TextPieces


@dataclass(frozen=True)
class Reply:
    """What was written to one text.

    Attributes:
        ids: the new ids, without a stop token.
        text: the new text, without a stop string; None without a tokenizer.
        log_probabilities: for each id its log-probability under the model itself, whatever the sampler made of it;
            None unless they were asked for.
        ended: why it ended: "stop" at a stop token, "stop string", or "length".
    """

    ids: list[int]
    text: str | None = None
    log_probabilities: list[float] | None = field(default=None, repr=False)
    ended: str = "length"


class Session:
    """Texts that are read and written in turns. What was read once is not read again.

        session = Session(model, tokenizer)
        session.read("User: What is a cat?\\nAssistant:")
        [reply] = session.write(100, Sampling(0.7), stop_strings=["User:"])
        session.read("\\nUser: And a dog?\\nAssistant:")   # goes on behind the reply

    Rows may end at different times and get turns of different lengths; each is what it would be alone.

    Args:
        model: a `GPT`, or a model with ``vocabulary_size`` and a ``step`` like `LSTMLanguageModel`. It may have more
            rows than the tokenizer has tokens; these are never written.
        tokenizer: the `kerasllm.text.Tokenizer`: turns are texts then. Without one they are lists of ids.
        rows: number of texts side by side.

    Raises:
        TypeError: if the model cannot generate, or `tokenizer` is none.
        ValueError: if the tokenizer has more tokens than the model.

    Example:
        >>> from kerasllm.models import GPT, gpt_settings
        >>> model = GPT(gpt_settings(vocabulary_size=50, num_layers=1, num_heads=2, embedding_dim=8))
        >>> session = Session(model, rows=2)
        >>> session.read([[1, 2, 3], [4]])
        >>> [len(reply.ids) for reply in session.write(5)]
        [5, 5]
        >>> session.read([[7], []])
        >>> [len(ids) for ids in session.ids]
        [9, 6]
    """

    def __init__(self, model, tokenizer=None, rows=1):
        check_model(model, tokenizer)
        self.model, self.tokenizer = model, tokenizer
        self.rows = whole_number("rows", rows)
        if not model.built:
            model(np.zeros((1, 2), "int32"))
        self._memory = Memory(model, self.rows)
        barred = barred_ids(model, tokenizer)
        self._barred = np.zeros(0, bool) if barred is None else barred

    @property
    def ids(self) -> list[list[int]]:
        """For each text all of its ids so far, read and written."""
        return [list(ids) for ids in self._memory.ids]

    @property
    def tokens_read(self) -> int:
        """How many tokens the model has looked at since the session began: what the session has cost."""
        return self._memory.tokens_read

    def read(self, turns) -> None:
        """Put a turn behind each text. The model reads it with the next `write`.

        Args:
            turns: for each text what comes next; with one text also the turn itself. It may be empty; at the very
                beginning the tokenizer's ``bos_id`` stands in for it.

        Raises:
            TypeError: if turns are of another kind.
            ValueError: if their number is not that of the texts, an id is outside the vocabulary, or a text begins
                with nothing and there is no token to begin with.
        """
        if self.rows == 1 and (isinstance(turns, str) or _flat(turns)):
            turns = [turns]
        turns = [turns] if isinstance(turns, str) else list(turns)
        if len(turns) != self.rows:
            raise ValueError(f"There are {self.rows} texts and {len(turns)} turns: give one each, empty ones too.")
        new = ids_of(turns, self.model.vocabulary_size, self.tokenizer)
        first = getattr(self.tokenizer, "bos_id", None)
        for row, ids in enumerate(new):
            if not ids and not self._memory.ids[row]:
                if first is None:
                    raise ValueError(
                        "A prompt is empty and there is no token to begin with: give at least one character or id, or "
                        "a tokenizer with <bos> (trained with bos=True)."
                    )
                ids.append(first)
        self._memory.ids = [before + ids for before, ids in zip(self._memory.ids, new, strict=True)]

    def rewrite(self, ids) -> None:
        """Let each text be these ids, whatever it was. What it has in common with them at the start stays read.

        Args:
            ids: for each text all of its ids, one at least; with one text also the ids themselves.

        Raises:
            TypeError: if these are no ids.
            ValueError: if their number is not that of the texts, a text is empty, or an id outside the vocabulary.

        Example:
            >>> from kerasllm.models import GPT, gpt_settings
            >>> model = GPT(gpt_settings(vocabulary_size=50, num_layers=1, num_heads=2, embedding_dim=8))
            >>> session = Session(model)
            >>> session.read([1, 2, 3, 4])
            >>> _ = session.write(1)
            >>> session.rewrite([1, 2, 3, 4, 5, 6])
            >>> _ = session.write(1)
            >>> session.tokens_read
            6
        """
        ids = [ids] if self.rows == 1 and _flat(ids) else list(ids)
        if len(ids) != self.rows or not all(len(one) for one in ids):
            raise ValueError(f"There are {self.rows} texts: give the ids of each, one at least.")
        self._memory.become(ids_of(ids, self.model.vocabulary_size, None))

    def write(
        self, max_new_tokens=100, sampler=None, *, stop_tokens=None, stop_strings=(), seed=None, scored=False
    ) -> list[Reply]:
        """Go on with each text.

        Args:
            max_new_tokens: the largest number of tokens to write.
            sampler: `Greedy`, `Sampling` or `Beam`; greedy when None.
            stop_tokens: ids of tokens that end a text; they are not part of it. When None those of the tokenizer.
            stop_strings: texts that end a reply. What stands before is kept, the rest is forgotten, by the memory
                too: the text goes on behind the last token that lies wholly before it.
            seed: a whole number, or one for each text, see `generate`.
            scored: whether log-probabilities are wanted.

        Returns:
            A `Reply` for each text.

        Raises:
            TypeError: if `sampler` is none, or stop tokens are no ids.
            ValueError: if an argument does not fit, or nothing was read yet.
        """
        *_, replies = self._turns(max_new_tokens, sampler, stop_tokens, stop_strings, seed, scored, None)
        return replies

    def stream(
        self, max_new_tokens=100, sampler=None, *, stop_tokens=None, stop_strings=(), seed=None, every=8
    ) -> Iterator[str | int]:
        """Go on with the one text and give out each piece as soon as it is certain.

        Args:
            max_new_tokens, sampler, stop_tokens, stop_strings, seed: see `write`; no beam search.
            every: how many tokens are written at a time; the first ones come after 1, 2, 4, ... tokens.

        Yields:
            Pieces of text, together the text of the reply; without a tokenizer one id after another.
        """
        sampler = check_sampler(sampler)
        refuse_beam(sampler)
        whole_number("every", every, most=STEPS)
        if self.rows > 1:
            raise ValueError(f"A stream goes on with one text, this session has {self.rows}: use write.")
        turns = self._turns(max_new_tokens, sampler, stop_tokens, stop_strings, seed, False, every)
        return self._pieces(turns, check_stop_strings(stop_strings, self.tokenizer))

    def _pieces(self, turns, strings):
        longest = max(map(len, strings), default=0)  # so many characters may be the beginning of a stop string
        sent = 0
        for [reply] in turns:
            if self.tokenizer is None:
                yield from reply.ids[sent:]
                sent = len(reply.ids)
                continue
            certain = reply.text if reply.ended != "going on" else reply.text[: len(reply.text) - longest]
            if certain[sent:]:
                yield certain[sent:]
                sent = len(certain)

    def _turns(self, max_new_tokens, sampler, stop_tokens, stop_strings, seed, scored, every):
        """Yield the replies so far after each call of the compiled loop; the last ones are whole."""
        whole_number("max_new_tokens", max_new_tokens, 0)
        sampler = check_sampler(sampler)
        strings = check_stop_strings(stop_strings, self.tokenizer)
        stop = stop_ids(stop_tokens, self.tokenizer)
        if not all(self._memory.ids):
            raise ValueError("There is nothing to go on with: read first.")
        loop = _Loop(self, sampler, stop, seeds_of(seed, self.rows), scored)
        yield from loop.run(max_new_tokens, strings, every)


class _Loop:
    """One call of `write`: the compiled loop, again and again until every row has ended."""

    def __init__(self, session, sampler, stop, seeds, scored):
        self.session, self.sampler, self.stop, self.scored = session, sampler, stop, scored
        self.memory = session._memory
        if sampler.rows > 1:
            self.memory.choose(np.repeat(np.arange(session.rows), sampler.rows))
        rows = len(self.memory.ids)
        self.starts = [len(ids) for ids in self.memory.ids]
        self.texts = [
            None if session.tokenizer is None else TextPieces(session.tokenizer, ids) for ids in self.memory.ids
        ]
        self.text = ["" for _ in range(rows)]
        self.scores = [[] for _ in range(rows)]
        self.ended = ["going on"] * rows
        self.state = sampler.start(self.memory.ids, session.model.vocabulary_size)
        self.draws = [np.random.default_rng(seed) for seed in seeds for _ in range(sampler.rows)]

    def run(self, left, strings, every):
        every = every or (8 if strings else STEPS)
        steps = 1 if every < STEPS else STEPS
        while left and "going on" in self.ended:
            room = self.memory.prepare(left, np.array([one == "going on" for one in self.ended]))
            # States cannot be turned back: after a stop string they are read anew.
            while room and "going on" in self.ended and self.memory.data is not None:
                count = min(steps, room)
                self._write(count)
                room, left, steps = room - count, left - count, min(2 * steps, every)
                if strings:
                    self._stop_at(strings)
                yield self._replies()
        self.ended = ["length" if one == "going on" else one for one in self.ended]
        for row, pieces in enumerate(self.texts):
            if pieces is not None and self.ended[row] != "stop string":
                self.text[row] += pieces.add([], last=True)
        best = self.sampler.best(self.state)
        replies = self._replies()
        if self.sampler.rows > 1:
            self.memory.choose(best)
            replies = [replies[row] for row in best]
        yield replies

    def _write(self, count):
        memory, rows = self.memory, len(self.memory.ids)
        uniforms = np.ones((rows, STEPS), "float32")
        uniforms[:, :count] = [1 - draw.random(count) for draw in self.draws]
        tokens = np.array([ids[-1] for ids in memory.ids], "int32")
        done = np.array([one != "going on" for one in self.ended])
        run = run_of(self.session.model, self.sampler, self.scored)
        numbers = (uniforms, self.stop, self.session._barred, np.array(count, "int32"))
        _, data, after, self.state, written, scores, origin = run(tokens, memory.data, done, self.state, *numbers)
        after, written, scores, origin = (ops.convert_to_numpy(x) for x in (after, written, scores, origin))
        if self.sampler.rows > 1:
            self._reorder(origin)
            done = done[origin]
        memory.data = data
        new = [row[row >= 0].tolist() for row in written]
        memory.wrote(count, new, after & ~done)
        for row, ids in enumerate(new):
            self.scores[row] = self.scores[row] + scores[row, : len(ids)].tolist()
            if self.texts[row] is not None and self.sampler.rows == 1:
                self.text[row] += self.texts[row].add(ids)
            self.ended[row] = "stop" if after[row] and self.ended[row] == "going on" else self.ended[row]

    def _reorder(self, origin):
        """Beams change places: what is known of each row follows it. The cache was moved by the loop itself."""
        memory = self.memory
        memory.ids, memory.held, memory.begins = (
            [of[i] for i in origin] for of in (memory.ids, memory.held, memory.begins)
        )
        self.scores = [list(self.scores[i]) for i in origin]
        self.ended = [self.ended[i] for i in origin]

    def _stop_at(self, strings):
        lengths = [len(ids) for ids in self.memory.ids]
        for row, text in enumerate(self.text):
            places = [place for place in (text.find(one) for one in strings) if place >= 0]
            if not places or self.ended[row] == "stop string":
                continue
            self.text[row], self.ended[row] = text[: min(places)], "stop string"
            ids = self.memory.ids[row][self.starts[row] :]
            kept = _kept(self.session.tokenizer, self.memory.ids[row][: self.starts[row]], ids, min(places))
            self.scores[row] = self.scores[row][:kept]
            lengths[row] = self.starts[row] + kept
        self.memory.cut(lengths)

    def _replies(self):
        replies = []
        for row, ids in enumerate(self.memory.ids):
            new = ids[self.starts[row] :]
            text = None if self.texts[row] is None else self.text[row]
            if text is not None and self.sampler.rows > 1:
                text = TextPieces(self.session.tokenizer, ids[: self.starts[row]]).add(new, last=True)
            replies.append(Reply(new, text, self.scores[row] if self.scored else None, self.ended[row]))
        return replies


def _kept(tokenizer, before, ids, characters):
    """How many ids lie wholly within the first characters of their text."""
    for count in range(len(ids), -1, -1):
        if len(TextPieces(tokenizer, before).add(ids[:count], last=True)) <= characters:
            return count
    return 0


def _flat(turns):
    """Whether `turns` is one list of ids."""
    return len(turns) > 0 and all(isinstance(x, int | np.integer) for x in turns)
