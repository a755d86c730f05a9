"""A tagger that goes from texts to a label for each word, and to the names in them, and is saved as one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kerasllm.common import choice, whole_number
from kerasllm.generation.compiling import compiled
from kerasllm.layers import CRF, viterbi
from kerasllm.tasks.bio import legal, spans
from kerasllm.tasks.task import Task, check_fit, ends_of
from kerasllm.tasks.texts import batches_by_length, padded
from kerasllm.tasks.words import Cut, cut_texts, windows_of
from kerasllm.text import Tokenizer, encode_with_offsets

NO_LABEL = -100  # at tokens that weigh nothing in the loss, see `kerasllm.batches.tagged`


class Entity(NamedTuple):
    """A span of a text with its kind.

    Attributes:
        start: the place of its first character.
        end: the place after its last character.
        type: the kind, such as "person".
        text: the characters.
    """

    start: int
    end: int
    type: str
    text: str


class _Row(NamedTuple):
    """A window of a text as ids: the number of the text, the ids, and for some words their first token's place."""

    text: int
    ids: list[int]
    words: range
    places: list[int]


@keras.saving.register_keras_serializable(package="kerasllm")
class TokenTagger(Task):
    """A network from token ids to logits of each token that also knows its tokenizer and its labels.

    The label of a word stands at its first token; the other tokens of the word have none. `examples` makes rows for
    `kerasllm.batches.tagged`, and ``compile(optimizer)`` is all that training needs: the loss is the mean over the
    labelled places, cross-entropy or, with a CRF, the negative log-likelihood of the whole sequence. Answers are legal
    sequences always: no I-x stands without a B-x or I-x before it.

        rows = tagger.examples(words, tags)
        train = batches.tagged(*rows, batch_size=32, shuffle=True, seed=1, epochs=3)
        tagger.compile(keras.optimizers.Adam(1e-3))
        tagger.fit(train, epochs=3, steps_per_epoch=batches.steps_per_epoch(train), shuffle=False)
        tagger.entities(["Ada Lovelace was born in London."])

    Args:
        network: a Keras model from ids (batch, time) to logits (batch, time, labels), such as
            `kerasllm.models.BERTClassifier` or `kerasllm.models.BiLSTM`, both with ``pooling=None``.
        tokenizer: the `kerasllm.text.Tokenizer` of the network, or its JSON text.
        labels: names of the labels, in the order of their numbers: O, B-x and I-x for names, or any others.
        crf: whether a `kerasllm.layers.CRF` learns which labels follow each other.
        unit: what has a label in a text: each "word" (a run of letters and digits, a sign, a character of a script
            without spaces), or each "character" that is no white space.
        max_length: the longest row in tokens, those around it included; what the network reads when None. A longer
            text is read in windows that overlap, and a word counts in the one where it stands farthest from a border.
        ends: see `TextClassifier`.
        **kwargs: arguments of `keras.Model`, such as `name`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids, padded on the right. For texts there are `tag` and `entities`.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, labels): logits of each token. The CRF is not in them; answers and the loss have it.

    Raises:
        ValueError: if there are fewer than two labels, one stands twice or is an I-x without B-x, a number or name does
            not fit, or the network does not fit the labels or the tokenizer.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_words(["Ada met Bob in London"], vocabulary_size=20)
        >>> network = models.BiLSTM(tokenizer.vocabulary_size, num_classes=3, embedding_dim=4, units=4, pooling=None)
        >>> tagger = TokenTagger(network, tokenizer, ["O", "B-person", "I-person"], crf=True)
        >>> [word for word, label in tagger.tag(["Bob met Ada."])[0]]
        ['Bob', 'met', 'Ada', '.']

    Reference: Devlin et al. (2019), "BERT", section 5.3, for the first token; Lample et al. (2016), "Neural
    Architectures for Named Entity Recognition", section 2, for the BiLSTM with a CRF.
    """

    answers, makes_ids = "tag(texts)", "examples(texts, tags)"

    def __init__(
        self,
        network: keras.Model,
        tokenizer: Tokenizer | str,
        labels: Sequence[str],
        crf: bool = False,
        unit: str = "word",
        max_length: int | None = None,
        ends: bool | None = None,
        **kwargs,
    ):
        super().__init__(network, tokenizer, **kwargs)
        self.labels = _checked_labels(labels)
        self._legal = dict(zip(("may_begin", "may_follow"), legal(self.labels), strict=True))
        check_fit(network, self.tokenizer, len(self.labels), "labels", rank=3)
        self.unit = choice("unit", unit, ("word", "character"))
        self.ends = hasattr(network, "encoder") if ends is None else bool(ends)
        self._ends = ends_of(self.tokenizer) if self.ends else ([], [])
        context = getattr(network, "context_length", None)
        max_length = context if max_length is None else max_length
        around = sum(map(len, self._ends))
        self.max_length = whole_number("max_length", max_length, 1 + around, context, optional=True)
        self._room = self.max_length and self.max_length - around
        self.crf = CRF(dtype="float32", name="crf") if crf else None
        self.build((None, None))

    def build(self, input_shape):
        super().build(input_shape)
        if self.crf is not None and not self.crf.built:
            self.crf.build((None, None, len(self.labels)))

    def call(self, inputs, training=None):
        return self.network(inputs, training=training)  # (batch, time, labels)

    def compute_output_shape(self, input_shape):
        return (*input_shape, len(self.labels))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What `fit` makes small: see the class. A loss of `compile` is used where there is no CRF."""
        if self.loss is not None:
            if self.crf is not None:
                raise ValueError("A tagger with a CRF has its own loss: compile(optimizer) without one.")
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        weights = ops.cast(ops.greater_equal(y, 0), "float32")
        weights = weights if sample_weight is None else weights * ops.cast(sample_weight, "float32")
        if self.crf is None:
            labels, logits = ops.maximum(y, 0), ops.cast(y_pred, "float32")
            lost = ops.sum(weights * ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        else:
            weights = ops.cast(weights > 0, "float32")  # a sequence has no part that weighs less
            lost = -ops.sum(self.crf.log_likelihood(y_pred, y, weights > 0))
        return lost / ops.maximum(ops.sum(weights), 1.0) + sum(self.losses)

    def examples(self, texts: Sequence, tags: Sequence[Sequence[str]]) -> tuple[list[list[int]], list[np.ndarray]]:
        """Rows of ids and of label numbers for `kerasllm.batches.tagged`; long texts become several rows.

        Args:
            texts: lists of words; or strings, of which `tag` shows what their words are.
            tags: for each text a label for each word.

        Returns:
            For each row its ids, and the number of a label or -100 for each of them.

        Raises:
            TypeError: if `texts` is one string, or something in it is neither a string nor a list of strings.
            ValueError: if a text has not one label a word, or a label is unknown.
        """
        cut = cut_texts(texts, self.unit, "examples")
        numbers = _numbers(cut, tags, self.labels)
        ids, rows = [], []
        for row in self._rows(cut):
            found = np.full(len(row.ids), NO_LABEL, "int32")
            found[row.places] = numbers[row.text][row.words.start : row.words.stop]
            ids.append(row.ids)
            rows.append(found)
        return ids, rows

    def tag(self, texts: Sequence, batch_size: int = 64) -> list[list[tuple[str, str]]]:
        """The words of texts and a label for each.

        Args:
            texts: strings, which are cut as `unit` says, or lists of words.
            batch_size: how many texts are computed at a time; fewer when they are long.

        Returns:
            For each text a list of pairs (word, label); an empty one for a text without words.

        Raises:
            TypeError: if `texts` is one string, or something in it is neither a string nor a list of strings.
            ValueError: if `batch_size` is not positive, or a word is empty.
        """
        cut = cut_texts(texts, self.unit, "tag")
        found = self._labels_of(cut, batch_size)
        return [
            [(one.text[start:end], label) for (start, end), label in zip(one.spans, labels, strict=True)]
            for one, labels in zip(cut, found, strict=True)
        ]

    def entities(self, texts: Sequence, batch_size: int = 64) -> list[list[Entity]]:
        """The names in texts: where each stands, and of which kind it is.

        Args:
            texts: see `tag`. Of a list of words the places are those in the words joined by spaces, or of characters
                joined without.
            batch_size: see `tag`.

        Returns:
            For each text a list of `Entity`: start, end, type and text, in the order of the text.

        Raises:
            TypeError, ValueError: see `tag`; ValueError also if no label begins with "B-".
        """
        if not any(label.startswith("B-") for label in self.labels):
            raise ValueError(f"No label begins with B-, so none marks a name: {self.labels}. Use tag(texts).")
        cut = cut_texts(texts, self.unit, "entities")
        found = []
        for one, labels in zip(cut, self._labels_of(cut, batch_size), strict=True):
            places = [(one.spans[first][0], one.spans[after - 1][1], kind) for first, after, kind in spans(labels)]
            found.append([Entity(start, end, kind, one.text[start:end]) for start, end, kind in places])
        return found

    # From words to rows of ids, and from logits of rows to labels of words.

    def _rows(self, cut: list[Cut]) -> list[_Row]:
        begin, end = self._ends
        rows, pieces = [], self._pieces(cut)
        for text, one in enumerate(cut):
            words = [pieces[word] for word in one.words]
            for window, kept in windows_of([len(ids) for ids, _ in words], self._room):
                row, places = [*begin], []
                for word in window:
                    ids, first = words[word]
                    if word in kept:
                        places.append(len(row) + first)
                    row += ids
                rows.append(_Row(text, row + end, kept, places))
        return rows

    def _pieces(self, cut: list[Cut]) -> dict[str, tuple[list[int], int]]:
        """For each different word its ids, and which of them is the word's first: not that of the space before it."""
        words = list(dict.fromkeys(word for one in cut for word in one.words))
        found = {}
        for word, ids, offsets in zip(words, *encode_with_offsets(self.tokenizer, words), strict=True):
            if not ids and self.tokenizer.unknown_id is None:
                raise ValueError(f"The tokenizer has no token for the word {word!r}: leave it out.")
            ids = ids or [self.tokenizer.unknown_id]
            space = len(word) > 1 and word[0] == " "
            first = int(np.argmax(offsets[:, 1] > space)) if len(offsets) else 0
            ids = ids[: self._room]
            found[word] = ids, min(first, len(ids) - 1)
        return found

    def _labels_of(self, cut: list[Cut], batch_size: int) -> list[list[str]]:
        batch_size = whole_number("batch_size", batch_size)
        rows = self._rows(cut)
        logits = [np.zeros((len(one.spans), len(self.labels)), "float32") for one in cut]
        for some, time in batches_by_length([len(row.ids) for row in rows], batch_size):
            time = min(time, self.max_length or time)
            batch = padded([rows[i].ids for i in some], time, self.tokenizer.pad_id)
            found = ops.convert_to_numpy(ops.cast(self.predict_on_batch(batch), "float32"))
            for i, one in zip(some, found, strict=True):
                logits[rows[i].text][rows[i].words.start : rows[i].words.stop] = one[rows[i].places]
        return [[self.labels[number] for number in numbers] for numbers in self._decoded(logits, batch_size)]

    def _decoded(self, logits: list[np.ndarray], batch_size: int) -> list[np.ndarray]:
        """The best legal sequence of label numbers for each text."""
        found = [np.zeros(len(one), "int32") for one in logits]
        for some, time in batches_by_length([len(one) for one in logits], batch_size):
            batch = np.zeros((len(some), time, len(self.labels)), "float32")
            mask = np.zeros((len(some), time), bool)
            for row, i in enumerate(some):
                batch[row, : len(logits[i])], mask[row, : len(logits[i])] = logits[i], True
            numbers = ops.convert_to_numpy(compiled(_best, self, "tag", xla=False)(batch, mask))
            for row, i in enumerate(some):
                found[i] = numbers[row, : len(logits[i])]
        return found

    def get_config(self):
        return {
            **super().get_config(),
            "labels": self.labels,
            "crf": self.crf is not None,
            "unit": self.unit,
            "max_length": self.max_length,
            "ends": self.ends,
        }


def _best(tagger, logits, mask):
    decode = viterbi if tagger.crf is None else tagger.crf.decode
    return decode(logits, mask, **tagger._legal)


def _checked_labels(labels) -> list[str]:
    if isinstance(labels, str):
        raise ValueError(f"labels is the text {labels!r}; give a list of names.")
    labels = [str(label) for label in labels]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ValueError(f"A tagger needs two labels or more, all different, not {labels}.")
    return labels


def _numbers(cut: list[Cut], tags, labels: list[str]) -> list[list[int]]:
    """The number of each tag."""
    tags, place = list(tags), {label: number for number, label in enumerate(labels)}
    if len(tags) != len(cut):
        raise ValueError(f"There are {len(cut)} texts and {len(tags)} rows of tags. Give one row a text.")
    numbers = []
    for text, (one, row) in enumerate(zip(cut, tags, strict=True)):
        if isinstance(row, str):
            raise ValueError(f"The tags of text {text} are the string {row[:40]!r}: give a list, tags.split().")
        if len(row) != len(one.spans):
            raise ValueError(f"Text {text} has {len(one.spans)} words and {len(row)} tags. Give one tag a word.")
        unknown = next((tag for tag in row if tag not in place), None)
        if unknown is not None:
            raise ValueError(f"Text {text} has the tag {unknown!r}, which is none of the labels {labels}.")
        numbers.append([place[tag] for tag in row])
    return numbers
