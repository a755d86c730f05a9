"""Summaries in one of three ways: sentences chosen, a trained encoder-decoder, a language model that is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kerasllm.common import choice, whole_number
from kerasllm.generation import Session
from kerasllm.tasks.retriever import words_of
from kerasllm.tasks.sentences import lexrank, sentence_spans
from kerasllm.tasks.texts import batches_by_length, checked_texts
from kerasllm.tasks.translator import Translator
from kerasllm.text import ChatTemplate, check_tokenizer, encode_with_offsets, is_blank
from kerasllm.text.checks import check_text

METHODS = ("lead", "graph")
LONG_TEXTS = ("cut", "parts")
PROMPT = "Summarize this text in one sentence."
READ = 1024  # tokens of a text that a language model reads at a time
SENTENCES = 500  # that the graph compares with each other: its time and memory grow with the square


class Summary(NamedTuple):
    """A summary, and what it was made from.

    Attributes:
        text: the summary.
        sentences: of one that is made of sentences of the text, where each of them begins and ends in it.
        parts: in how many parts the text was read; 0 for a text in which nothing can be seen.
        read: how many characters of the text were read.
    """

    text: str
    sentences: tuple[tuple[int, int], ...] = ()
    parts: int = 1
    read: int = 0


class Summarizer:
    """Strings in, summaries out. It is made in one of three ways, and asked in one.

        first = Summarizer.extract("lead")                       # sentences of the text itself
        trained = Summarizer.of_translator(translator)           # an encoder-decoder, trained on texts and summaries
        asked = Summarizer.of_language_model(model, tokenizer)   # a model that was tuned to answer

    An encoder-decoder is a `Translator`: whatever is a pair of texts can be learned. It is trained, evaluated and saved
    as one, and a summarizer of the file is
    ``Summarizer.of_translator(keras.saving.load_model("headlines.keras"))``. The other two have nothing to save.

    A network reads so many tokens and no more. What becomes of a longer text is a rule that is chosen. With "cut" its
    beginning is read: in news that holds most. With "parts" it is cut into parts, at ends of sentences where there are
    any; each is summarized, and the summaries, one behind the other, are a text that is summarized by the same rule,
    until it fits. If they are not shorter than the text, its beginning is read. Sentences are chosen from a whole text.

    Example:
        >>> summarizer = Summarizer.extract("graph")
        >>> text = "Rain fell on the town. The town slept in the rain. A dog slept too."
        >>> summarizer.summarize([text, ""])
        ['The town slept in the rain.', '']
        >>> summarizer.summaries([text])[0].sentences
        ((23, 50),)

    Reference: Wu et al. (2021), "Recursively Summarizing Books with Human Feedback", section 2.1, for the parts.
    """

    def __init__(self, way, long_texts: str = "cut"):
        self._way = way
        self.long_texts = choice("long_texts", long_texts, LONG_TEXTS)

    @classmethod
    def extract(cls, method: str = "graph", sentences: int = 1) -> Summarizer:
        """One that chooses sentences of the text. They keep their order.

        Args:
            method: "lead" for the first ones; "graph" for those most like all others, see
                `kerasllm.tasks.sentences.lexrank`, among the first 500.
            sentences: how many; fewer where a text has no more.

        Raises:
            ValueError: if there is no such method, or `sentences` is not positive.
        """
        return cls(_Extract(choice("method", method, METHODS), whole_number("sentences", sentences)))

    @classmethod
    def of_translator(cls, translator: Translator, num_beams: int = 1, long_texts: str = "cut") -> Summarizer:
        """One that writes with a trained encoder-decoder. It reads the `max_length` tokens of its `Translator`.

        Args:
            translator: a `Translator` that was trained on texts and their summaries.
            num_beams: see `Translator.translate`.
            long_texts: "cut" or "parts", see the class.

        Raises:
            TypeError: if it is no `Translator`.
            ValueError: if a number or a name makes no sense.
        """
        if not isinstance(translator, Translator):
            raise TypeError(f"translator must be a kerasllm.tasks.Translator, not {translator!r:.60}.")
        return cls(_Translate(translator, whole_number("num_beams", num_beams)), long_texts)

    @classmethod
    def of_language_model(
        cls,
        model,
        tokenizer,
        prompt: str = PROMPT,
        max_new_tokens: int = 64,
        read: int | None = None,
        long_texts: str = "cut",
        template: ChatTemplate | None = None,
    ) -> Summarizer:
        """One that asks a language model: what the user says is the prompt, an empty line, and the text.

        The model takes always the most probable token. White space around its reply is left out, nothing else: a model
        may say more than was wanted. A text that holds an order may be obeyed, see lesson 24 of the course.

        Args:
            model: see `kerasllm.generation.Session`, tuned for conversations.
            tokenizer: its `kerasllm.text.Tokenizer`.
            prompt: what the model is asked to do.
            max_new_tokens: the largest number of tokens of a summary.
            read: how many tokens of a text are read at a time; when None 1,024, or what the model's context has room
                for.
            long_texts: "cut" or "parts", see the class.
            template: a `kerasllm.text.ChatTemplate` of the tokenizer, for another form.

        Raises:
            TypeError: if the model cannot generate, or `tokenizer` or `prompt` is none.
            ValueError: if the tokenizer has no chat template, or prompt, text and summary do not fit into the context.
        """
        return cls(_Ask(model, tokenizer, prompt, max_new_tokens, read, template), long_texts)

    def summarize(self, texts: Sequence[str], batch_size: int = 16) -> list[str]:
        """From texts to summaries. Each text gets what it would get alone; one in which nothing can be seen, "".

        Args:
            texts: a list, column or array of strings.
            batch_size: how many texts a network reads at a time; fewer when they are long.

        Returns:
            For each text its summary.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
            ValueError: if `batch_size` is not positive, or a text is no Unicode text.
        """
        return [found.text for found in self.summaries(texts, batch_size)]

    def summaries(self, texts: Sequence[str], batch_size: int = 16) -> list[Summary]:
        """The same as `summarize`, with what each summary was made from.

        Args:
            texts, batch_size: see `summarize`.

        Returns:
            For each text a `Summary`.

        Raises:
            TypeError, ValueError: see `summarize`.
        """
        texts = checked_texts(texts, "summarize")
        for place, text in enumerate(texts):
            check_text(text, place)
        batch_size = whole_number("batch_size", batch_size)
        asked = [place for place, text in enumerate(texts) if not is_blank(text)]
        found = [Summary("", parts=0)] * len(texts)
        made = self._way.made([texts[place] for place in asked], self.long_texts == "parts", batch_size)
        for place, one in zip(asked, made, strict=True):
            found[place] = one
        return found


class _Extract:
    """Sentences of the text."""

    def __init__(self, method, sentences):
        self.method, self.sentences = method, sentences

    def made(self, texts, in_parts, batch_size):
        return [self._made(text) for text in texts]

    def _made(self, text):
        spans = sentence_spans(text)[:SENTENCES]
        places = range(min(self.sentences, len(spans)))
        if self.method == "graph" and len(spans) > self.sentences:
            scores = lexrank([words_of(text[start:end]) for start, end in spans])
            places = sorted(np.argsort(-scores, kind="stable")[: self.sentences].tolist())
        chosen = tuple(spans[place] for place in places)
        # A space where the text has white space behind a sentence: Chinese has none.
        pieces = [text[start:end] + " " * text[end : end + 1].isspace() for start, end in chosen]
        return Summary("".join(pieces).strip(), chosen, 1, len(text))


class _Write:
    """A network that reads at most `longest` tokens of `tokenizer`, and writes."""

    def __init__(self, tokenizer, longest):
        self.tokenizer, self.longest = tokenizer, longest

    def write(self, texts, batch_size):
        raise NotImplementedError

    def made(self, texts, in_parts, batch_size):
        pieces = [self._pieces(text) for text in texts]
        if not in_parts:
            pieces = [some[:1] for some in pieces]
        written, found, again = self._together(pieces, batch_size), [], {}
        for text, some, summaries in zip(texts, pieces, written, strict=True):
            joined = " ".join(summaries)
            if len(some) > 1 and not is_blank(joined) and len(joined) < len(text):
                again[len(found)] = joined
            found.append(Summary(summaries[0], (), len(some), len(text) if in_parts else len(some[0])))
        if again:
            for place, one in zip(again, self.made(list(again.values()), True, batch_size), strict=True):
                found[place] = found[place]._replace(text=one.text)
        return found

    def _together(self, pieces, batch_size):
        """The summaries of all pieces of all texts, text by text."""
        written = iter(self.write([piece for some in pieces for piece in some], batch_size))
        return [[next(written) for _ in some] for some in pieces]

    def _pieces(self, text):
        """The text in parts of at most `longest` tokens, each of which ends with a sentence where one ends in it."""
        [offsets] = encode_with_offsets(self.tokenizer, [text])[1]
        ends, pieces, token, begin = [end for _, end in sentence_spans(text)], [], 0, 0
        while token < len(offsets):
            last = token + self.longest
            end = len(text)
            if last < len(offsets):
                most = max(int(offsets[last - 1, 1]), begin + 1)
                end = max((one for one in ends if begin < one <= most), default=most)
            if not is_blank(text[begin:end]):
                pieces.append(text[begin:end])
            begin, token = end, int(np.searchsorted(offsets[:, 1], end, side="right"))
        return pieces or [text]


class _Translate(_Write):
    def __init__(self, translator, num_beams):
        super().__init__(translator.source_tokenizer, translator.max_length)
        self.translator, self.num_beams = translator, num_beams

    def write(self, texts, batch_size):
        return self.translator.translate(texts, num_beams=self.num_beams, batch_size=batch_size)


class _Ask(_Write):
    def __init__(self, model, tokenizer, prompt, max_new_tokens, read, template):
        Session(model, check_tokenizer(tokenizer))  # refuses what cannot generate
        if template is not None and not isinstance(template, ChatTemplate):
            raise TypeError(f"template must be a kerasllm.text.ChatTemplate, not {template!r:.60}.")
        check_text(prompt, 0)
        self.model, self.prompt = model, prompt
        self.template = ChatTemplate(tokenizer) if template is None else template
        self.max_new_tokens = whole_number("max_new_tokens", max_new_tokens)
        ends = [*tokenizer.stop_ids, self.template.end_id]
        self.stop_ids = list(dict.fromkeys(id for id in ends if id is not None))
        super().__init__(tokenizer, self._room(read))

    def _room(self, read):
        """How many tokens of a text fit beside the prompt and the summary."""
        context = getattr(self.model, "context_length", None)
        read = whole_number("read", read, optional=True)
        if context is None:
            return read or READ
        room = context - len(self._ids("")) - self.max_new_tokens - 8  # a cut text may have some more tokens
        if room < (read or 1):
            raise ValueError(
                f"The model sees {context} tokens, of which {room} are left for a text beside the prompt and a summary "
                f"of max_new_tokens={self.max_new_tokens}: take a shorter prompt, fewer new tokens or a smaller read."
            )
        return read or min(READ, room)

    def _ids(self, text):
        return self.template.encode([{"role": "user", "content": f"{self.prompt}\n\n{text}"}], open_reply=True)

    def write(self, texts, batch_size):
        ids, found = [self._ids(text) for text in texts], [""] * len(texts)
        for rows, _ in batches_by_length([len(one) for one in ids], batch_size):
            session = Session(self.model, self.tokenizer, rows=len(rows))
            session.rewrite([ids[row] for row in rows])
            for row, reply in zip(rows, session.write(self.max_new_tokens, stop_tokens=self.stop_ids), strict=True):
                found[row] = reply.text.strip()
        return found
