"""A finder that goes from a question and a passage to the words that answer it, and is saved as one file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasllm.batches import span_inputs
from kerasllm.common import whole_number
from kerasllm.evaluation import answer_f1
from kerasllm.tasks.task import Task, check_fit, ends_of
from kerasllm.tasks.texts import batches_by_length, checked_texts
from kerasllm.text import Tokenizer, encode_with_offsets

if TYPE_CHECKING:
    import pandas as pd

NOWHERE = -1e9  # the logit of a place where no answer begins or ends


class Answer(NamedTuple):
    """What `SpanFinder.answer` found.

    Attributes:
        text: the words of the passage that answer the question; "" if it seems not to hold the answer.
        start: the place of the first character in the passage; -1 without an answer.
        end: the place after the last character; -1 without an answer.
        score: how much more the network thinks of the best words than of no answer: a difference of logits, those of
            the begin and of the end added up. Answers have more than the finder's threshold.
        no_answer: the probability of no answer, where there are this and the best words to choose from.
    """

    text: str
    start: int
    end: int
    score: float
    no_answer: float


class _Row(NamedTuple):
    """A window as "[CLS] question [SEP] passage [SEP]": the pair's number, the ids, where the passage begins in them,
    and the number of the passage's token that stands there."""

    pair: int
    ids: list[int]
    begin: int
    first: int


@keras.saving.register_keras_serializable(package="kerasllm")
class SpanFinder(Task):
    """A network that says of each token whether an answer begins or ends there, with its tokenizer.

    It reads "[CLS] question [SEP] passage [SEP]", the second part with another type of tokens. That the passage does
    not hold the answer is a span too: [CLS] alone. `examples` makes rows for `kerasllm.batches.spans`, and
    ``compile(optimizer)`` is all that training needs: the loss is the mean cross-entropy of begin and end.

        rows = finder.examples(train["question"], train["passage"], train["answer"], train["start"])
        feed = batches.spans(*rows, batch_size=16, shuffle=True, seed=1, epochs=2, pad_id=finder.tokenizer.pad_id)
        finder.compile(keras.optimizers.Adam(3e-5))
        finder.fit(feed, epochs=2, steps_per_epoch=batches.steps_per_epoch(feed), shuffle=False)
        finder.answer("Who found the moons of Mars?", "Asaph Hall found both of them in August 1877.")

    Args:
        network: a Keras model with two logits for each token, such as
            ``kerasllm.models.BERTClassifier(encoder, 2, pooling=None)``. It takes a dictionary of "ids", "mask" and, if
            its encoder tells types apart, "type_ids".
        tokenizer: the `kerasllm.text.Tokenizer` of the network, or its JSON text, with tokens for the beginning and the
            end of a text.
        max_length: the longest row in tokens; what the network reads when None.
        stride: how many tokens of the passage a window moves on, where the passage does not fit into one; half of
            `max_length` when None. Each window must overlap the next one, or answers at the border are lost.
        max_question: longer questions are cut to this many tokens; a third of `max_length`, 64 at most, when None.
        max_answer: the longest answer in tokens.
        threshold: an answer needs a larger score than this, see `Answer`; `choose_threshold` finds it.
        **kwargs: arguments of `keras.Model`, such as `name`.

    Call arguments:
        inputs: dictionary of "ids", "mask", "type_ids" and "places", see `kerasllm.batches.span_inputs`.
        training: whether dropout is active.

    Returns:
        Float32 tensor (batch, 2, time): logits of the begin and of the end at each place, very low where
        ``inputs["places"]`` is False.

    Raises:
        ValueError: if the network does not give two logits a token or does not fit the tokenizer, the tokenizer has no
            tokens for the ends, or a number does not fit.

    Example:
        >>> from kerasllm import models, text
        >>> words = text.train_words(["who found it", "Asaph Hall found it"], 30, bos=True, eos=True)
        >>> encoder = models.BERT(models.BERTSettings(words.vocabulary_size, 8, 1, 2, context_length=32))
        >>> finder = SpanFinder(models.BERTClassifier(encoder, 2, pooling=None), words)
        >>> finder.answer(["who found it"], ["Asaph Hall found it"]).columns.tolist()
        ['text', 'start', 'end', 'score', 'no_answer']

    Reference: Devlin et al. (2019), "BERT", sections 4.2 and 4.3.
    """

    answers, makes_ids = "answer(questions, passages)", "examples(questions, passages, answers)"

    def __init__(
        self,
        network: keras.Model,
        tokenizer: Tokenizer | str,
        max_length: int | None = None,
        stride: int | None = None,
        max_question: int | None = None,
        max_answer: int = 30,
        threshold: float = 0.0,
        **kwargs,
    ):
        super().__init__(network, tokenizer, **kwargs)
        check_fit(network, self.tokenizer, 2, "of them: begin and end", rank=3)
        begin, end = ends_of(self.tokenizer)
        if not (begin and end):
            raise ValueError("The tokenizer lacks a token for the beginning or the end: train it with bos and eos.")
        self._begin, self._end = begin, end
        context = getattr(network, "context_length", None)
        max_length = (context or 512) if max_length is None else max_length
        self.max_length = whole_number("max_length", max_length, 5, context)
        most = self.max_length - 4  # three special tokens, and a token of the passage
        max_question = min(64, max(1, self.max_length // 3)) if max_question is None else max_question
        self.max_question = whole_number("max_question", max_question, 1, most)
        self.stride = whole_number("stride", max(1, self.max_length // 2) if stride is None else stride)
        self.max_answer = whole_number("max_answer", max_answer)
        self.threshold = float(threshold)
        encoder = getattr(network, "encoder", None)
        self._typed = encoder is None or encoder.settings.type_vocabulary_size > 1
        self.build((None, None))

    def call(self, inputs, training=None):
        names = ("ids", "mask", "type_ids") if self._typed else ("ids", "mask")
        logits = self.network({name: inputs[name] for name in names}, training=training)  # (batch, time, 2)
        logits = ops.transpose(ops.cast(logits, "float32"), (0, 2, 1))
        return ops.where(inputs["places"][:, None, :], logits, NOWHERE)

    def compute_output_shape(self, input_shape):
        batch, time = input_shape["ids"] if isinstance(input_shape, dict) else input_shape
        return (batch, 2, time)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What `fit` makes small: see the class. A loss of `compile` is used in its place."""
        if self.loss is not None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        lost = ops.mean(ops.sparse_categorical_crossentropy(y, y_pred, from_logits=True), axis=-1)  # (batch,)
        weights = (
            ops.ones_like(lost) if sample_weight is None else ops.reshape(ops.cast(sample_weight, lost.dtype), (-1,))
        )
        return ops.sum(weights * lost) / ops.maximum(ops.sum(weights), 1.0) + sum(self.losses)

    def examples(
        self,
        questions: Sequence[str],
        passages: Sequence[str],
        answers: Sequence[str | None],
        starts: Sequence[int] | None = None,
    ) -> tuple[list[list[int]], list[int], list[tuple[int, int]]]:
        """Rows for `kerasllm.batches.spans`: a window each, and in a window that lacks the answer [CLS] is the answer.

        Args:
            questions: strings.
            passages: strings, one a question.
            answers: the words of the passage that answer; "" or None where it does not hold the answer.
            starts: the place of each answer's first character; where it stands first in the passage when None.

        Returns:
            For each row its ids, the place where the passage begins, and the places of the answer's first and last
            token.

        Raises:
            TypeError: if the questions or passages are one string, or hold something that is not a string.
            ValueError: if the lists differ in length, or an answer does not stand where it should.
        """
        pairs = _pairs(questions, passages, "examples")
        places = _places(pairs[1], answers, starts)
        rows, offsets = self._rows(*pairs)
        wanted = [_tokens(*one, number) for number, one in enumerate(zip(places, offsets, strict=True))]
        found = []
        for row in rows:
            first, last = wanted[row.pair]
            held = range(row.first, row.first + len(row.ids) - row.begin - 1)
            shift = row.begin - row.first
            found.append((first + shift, last + shift) if first in held and last in held else (0, 0))
        return [row.ids for row in rows], [row.begin for row in rows], found

    def answer(self, question, passage, batch_size: int = 32, threshold: float | None = None) -> Answer | pd.DataFrame:
        """The words of a passage that answer a question; of many passages and questions at once.

        Args:
            question: a string, or a list, column or array of them.
            passage: a string, or as many strings as there are questions.
            batch_size: how many windows are computed at a time; fewer when they are long.
            threshold: in place of the finder's own. With ``-math.inf`` the best words are the answer always.

        Returns:
            An `Answer` for a string. For lists a DataFrame with a row each and the columns text, start, end, score and
            no_answer; its index is that of the questions, if they have one.

        Raises:
            TypeError: if something is not a string.
            ValueError: if there is another number of passages than of questions, or `batch_size` is not positive.
        """
        threshold = self.threshold if threshold is None else float(threshold)
        if isinstance(question, str) and isinstance(passage, str):
            return self._answers([question], [passage], batch_size, threshold)[0]
        import pandas as pd

        index = question.index if isinstance(question, pd.Series) else None
        found = self._answers(*_pairs(question, passage, "answer"), batch_size, threshold)
        return pd.DataFrame(found, columns=Answer._fields, index=index)

    def choose_threshold(
        self,
        questions: Sequence[str],
        passages: Sequence[str],
        answers: Sequence,
        language: str = "en",
        batch_size: int = 32,
    ) -> float:
        """Set the threshold that gives the best mean F1 on questions of which the answers are known.

        Choose it on a validation part. It is stored with the model.

        Args:
            questions, passages: see `answer`.
            answers: for each question the right answer, or a list of right ones; "" or [] where there is none.
            language: see `kerasllm.evaluation.answer_f1`.
            batch_size: see `answer`.

        Returns:
            The threshold, half-way between two scores.

        Raises:
            ValueError: if there are no questions, or not as many answers.
        """
        questions, passages = _pairs(questions, passages, "choose_threshold")
        answers = list(answers)
        if not questions or len(answers) != len(questions):
            raise ValueError(f"There are {len(questions)} questions and {len(answers)} answers. Give one each.")
        found = self._answers(questions, passages, batch_size, -math.inf)
        gain = [
            answer_f1(one.text, right, language) - answer_f1("", right, language)
            for one, right in zip(found, answers, strict=True)
        ]
        scores = np.array([one.score for one in found])
        order = np.argsort(-scores, kind="stable")
        # With the k best scores answered and the others not, F1 is that of no answers and the gain of these.
        total = np.cumsum([0.0, *np.array(gain)[order]])
        scores = np.maximum(scores[order], 2 * NOWHERE)
        edges = np.concatenate([[scores[0] + 2], scores, [scores[-1] - 2]])
        possible = np.flatnonzero(edges[:-1] > edges[1:])  # equal scores are answered together
        best = possible[np.argmax(total[possible])]
        self.threshold = float((edges[best] + edges[best + 1]) / 2)
        return self.threshold

    # From texts to rows of ids, and from logits of rows to answers.

    def _rows(self, questions: list[str], passages: list[str]) -> tuple[list[_Row], list[np.ndarray]]:
        """Windows of all pairs, and for each passage the places of its tokens."""
        asked = [ids[: self.max_question] for ids in self.tokenizer.encode_batch(questions)]
        passage_ids, offsets = encode_with_offsets(self.tokenizer, passages)
        rows = []
        for pair, (question, passage) in enumerate(zip(asked, passage_ids, strict=True)):
            front = self._begin + question + self._end
            room = self.max_length - len(front) - len(self._end)
            for first in _firsts(len(passage), room, self.stride):
                rows.append(_Row(pair, front + passage[first : first + room] + self._end, len(front), first))
        return rows, offsets

    def _answers(self, questions, passages, batch_size, threshold) -> list[Answer]:
        rows, offsets = self._rows(questions, passages)
        none = np.full(len(questions), np.inf)
        best = [(-np.inf, 0, 0)] * len(questions)  # score, first and last token of the passage
        for some, begin, end in self._logits(rows, batch_size):
            null = begin[:, 0] + end[:, 0]
            begin[:, 0] = NOWHERE
            for i, empty, found in zip(some, null, _best_spans(begin, end, self.max_answer), strict=True):
                pair, shift = rows[i].pair, rows[i].first - rows[i].begin
                none[pair] = min(none[pair], empty)
                best[pair] = max(best[pair], (float(found[0]), int(found[1]) + shift, int(found[2]) + shift))
        return [
            _answer(passage, places, found, float(empty), threshold)
            for passage, places, found, empty in zip(passages, offsets, best, none, strict=True)
        ]

    def _logits(self, rows: list[_Row], batch_size) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For some rows their numbers, and the logits of begin and end, (rows, time) each."""
        for some, time in batches_by_length([len(row.ids) for row in rows], whole_number("batch_size", batch_size)):
            ids, begins = [rows[i].ids for i in some], [rows[i].begin for i in some]
            inputs = span_inputs(ids, begins, min(time, self.max_length), self.tokenizer.pad_id)
            logits = np.array(ops.convert_to_numpy(self.predict_on_batch(inputs)))
            yield some, logits[:, 0], logits[:, 1]

    def get_config(self):
        names = ("max_length", "stride", "max_question", "max_answer", "threshold")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _firsts(tokens: int, room: int, stride: int) -> range:
    """The first token of each window: enough of them that the last one holds the last token."""
    stride = min(stride, room)
    return range(0, max(0, tokens - room) + stride, stride)


def _best_spans(begin: np.ndarray, end: np.ndarray, longest: int) -> np.ndarray:
    """For each row the largest begin[i] + end[j] with i <= j < i + longest, then i and j: float64 array (rows, 3)."""
    best = np.full((len(begin), 3), -np.inf)
    for further in range(min(longest, begin.shape[1])):
        sums = begin[:, : begin.shape[1] - further].astype("float64") + end[:, further:]
        place = sums.argmax(axis=1)
        value = sums[np.arange(len(sums)), place]
        better = value > best[:, 0]
        best[better] = np.stack([value, place, place + further], axis=1)[better]
    return best


def _answer(passage: str, places: np.ndarray, best: tuple[float, int, int], none: float, threshold: float) -> Answer:
    score = best[0] - none if best[0] > NOWHERE / 2 else -math.inf  # no token of the passage: no words to choose
    no_answer = 1 / (1 + math.exp(score)) if score < 700 else 0.0
    if not score > threshold:
        return Answer("", -1, -1, score, no_answer)
    start, end = int(places[best[1], 0]), int(places[best[2], 1])
    text = passage[start:end].strip()  # a byte-level token begins with a space
    start += len(passage[start:end]) - len(passage[start:end].lstrip())
    return Answer(text, start, start + len(text), score, no_answer)


def _pairs(questions, passages, method: str) -> tuple[list[str], list[str]]:
    """Both as lists of strings, as many of one as of the other."""
    for one, name in ((questions, "questions"), (passages, "passages")):
        if isinstance(one, str) or not hasattr(one, "__iter__"):
            raise TypeError(f"Give a list of {name}, not {one!r:.40}; or one string for each of the two to answer.")
    questions, passages = checked_texts(questions, method), checked_texts(passages, method)
    if len(questions) != len(passages):
        raise ValueError(f"There are {len(questions)} questions and {len(passages)} passages. Give one passage each.")
    return questions, passages


def _places(passages: list[str], answers, starts) -> list[tuple[int, int]]:
    """Where each answer begins and ends in its passage; (-1, -1) where there is none."""
    answers = list(answers)
    starts = [None] * len(answers) if starts is None else list(starts)
    if not len(passages) == len(answers) == len(starts):
        raise ValueError(
            f"There are {len(passages)} passages, {len(answers)} answers and {len(starts)} starts. Give one each."
        )
    found = []
    for number, (passage, answer, start) in enumerate(zip(passages, answers, starts, strict=True)):
        if answer is not None and not isinstance(answer, str):
            raise ValueError(f'Answer {number} is {answer!r}: give the words of the passage, or "" where it has none.')
        if not answer:
            found.append((-1, -1))
            continue
        start = passage.find(answer) if start is None else int(start)
        if start < 0 or passage[start : start + len(answer)] != answer:
            there = passage[max(start, 0) :][:40]
            raise ValueError(f"Answer {number}, {answer[:40]!r}, does not stand at {start} of its passage: {there!r}.")
        start += len(answer) - len(answer.lstrip())
        found.append((start, start + len(answer.strip())))
    return found


def _tokens(place: tuple[int, int], offsets: np.ndarray, number: int) -> tuple[int, int]:
    """The first and the last token of an answer; (-1, -1) where there is none."""
    if place == (-1, -1):
        return place
    inside = np.flatnonzero((offsets[:, 1] > place[0]) & (offsets[:, 0] < place[1]))
    if not len(inside):
        raise ValueError(f"Answer {number} has no token: the tokenizer leaves its characters out.")
    return int(inside[0]), int(inside[-1])
