"""A translator that goes from texts to texts and is saved as one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import keras
import numpy as np

from kerasllm.batches import paired
from kerasllm.batches.rows import Order
from kerasllm.common import whole_number
from kerasllm.generation import beam_search
from kerasllm.generation.arguments import barred_ids
from kerasllm.tasks.task import Task
from kerasllm.tasks.texts import batches_by_length, checked_texts, padded
from kerasllm.text import Tokenizer, check_tokenizer, is_blank

CONTEXT = 256  # tokens of a text for a network that has no longest one


@keras.saving.register_keras_serializable(package="kerasllm")
class Translator(Task):
    """A network that reads one text and writes another, with the tokenizers of both: strings in, strings out.

    Whatever is a pair of texts can be learned: a translation, a summary, a spelling. Train it like any Keras model, on
    the feed that `pairs` makes, with a loss that takes logits; `evaluate` and `predict` take that feed too.
    `model.save("name.keras")` stores weights, tokenizers and settings in one file; `keras.saving.load_model` after
    ``import kerasllm.tasks`` brings all of it back.

    Args:
        network: a `kerasllm.models.Seq2Seq` or `LSTMSeq2Seq`, or a model with their interface.
        source_tokenizer: the `kerasllm.text.Tokenizer` of the texts that are read, or its JSON text. Its ``pad_id`` is
            that of the network.
        target_tokenizer: that of the texts that are written, with a token to start with and one that ends a text
            (train it with ``bos=True, eos=True``); `source_tokenizer` when None.
        max_length: texts to read are cut to this many tokens, and those that are written have no more. When None the
            network's ``context_length``, or 256 if it has none.
        **kwargs: arguments of `keras.Model`, such as `name`.

    Call arguments:
        inputs: int tensor (batch, source time) of ids, as `encode` makes them; or the dictionary of a feed. For texts
            there is `translate`.
        target_ids: int tensor (batch, target time): the id to start with, and what was written so far.
        source_mask: bool tensor (batch, source time), True at real tokens; those other than padding when None.
        target_mask: the same for the target.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, target time, vocabulary): logits of the next token.

    Raises:
        TypeError: if a tokenizer is none.
        ValueError: if the network does not read and write, knows fewer tokens than a tokenizer has or takes another id
            for padding, the target's tokenizer has no token for start or end, or `max_length` does not fit.

    Example:
        >>> from kerasllm import models, text
        >>> words = text.train_words(["ein guter Film", "a good film"], vocabulary_size=20, bos=True, eos=True)
        >>> settings = models.Seq2SeqSettings(words.vocabulary_size, embedding_dim=8, num_layers=1, num_heads=2)
        >>> model = Translator(models.Seq2Seq(settings), words, max_length=5)
        >>> len(model.translate(["ein guter Film", ""])), model.translate([""])
        (2, [''])

    Reference: Sutskever et al. (2014), "Sequence to Sequence Learning with Neural Networks", sections 2 and 3.2.
    """

    answers, makes_ids = "translate(texts)", "pairs(sources, targets)"

    def __init__(
        self,
        network: keras.Model,
        source_tokenizer: Tokenizer | str,
        target_tokenizer: Tokenizer | str | None = None,
        max_length: int | None = None,
        **kwargs,
    ):
        source = _made("source_tokenizer", source_tokenizer)
        target = source if target_tokenizer is None else _made("target_tokenizer", target_tokenizer)
        _check_fit(network, source, target)
        super().__init__(network, source, **kwargs)
        self.source_tokenizer, self.target_tokenizer = source, target
        longest = getattr(network, "context_length", None)
        limited = longest if getattr(network, "limited", False) else None
        given = longest or CONTEXT if max_length is None else max_length
        self.max_length = whole_number("max_length", given, most=limited)
        self.build((None, None))

    def call(self, inputs, target_ids=None, source_mask=None, target_mask=None, training=None):
        return self.network(inputs, target_ids, source_mask, target_mask, training=training)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The ids of some texts to read as one array, cut to `max_length` and padded on the right.

        Args:
            texts: a list, column or array of strings.

        Returns:
            int32 array (texts, time); time is at least 1.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
        """
        ids = self._ids(checked_texts(texts, "encode"))
        return padded(ids, max(map(len, ids), default=0) or 1, self.source_tokenizer.pad_id)

    def pairs(self, sources: Sequence[str], targets: Sequence[str], **order: Unpack[Order]):
        """The feed of some texts and their translations, for `fit` and `evaluate`: see `kerasllm.batches.paired`.

        Args:
            sources: the texts to read, a list, column or array of strings.
            targets: for each the text to write.
            **order: ``batch_size`` and, if wanted, ``buckets``, ``shuffle``, ``seed``, ``epochs`` and what else
                `batches.padded` takes for its order.

        Returns:
            A feed of (inputs, labels, weights). Texts are cut to `max_length` tokens, those to write with their end.

        Raises:
            TypeError: if one of the two is one string, or holds something that is not a string.
            ValueError: if there are not as many sources as targets, or for a reason of `batches.padded`.
        """
        sources, targets = checked_texts(sources, "pairs"), checked_texts(targets, "pairs")
        tokenizer = self.target_tokenizer
        written = [ids[: self.max_length - 1] for ids in tokenizer.encode_batch(targets)]
        ends = {"start_id": tokenizer.bos_id, "end_id": tokenizer.eos_id}
        return paired(self._ids(sources), written, **ends, pad_id=self.source_tokenizer.pad_id, **order)

    def translate(
        self, texts: Sequence[str], num_beams: int = 1, length_penalty: float = 0.6, batch_size: int = 64
    ) -> list[str]:
        """From texts to texts.

        Texts of similar length are translated together; each gets what it would get alone. Of a text with more than
        `max_length` tokens only the first are read. One in which nothing can be seen becomes ``""``. Characters that
        the tokenizer does not know are to the network what the tokenizer makes of them, bytes or ``<unk>``.

        Args:
            texts: a list, column or array of strings.
            num_beams: how many beginnings of a text the search keeps; 1 takes always the most probable token. See
                `kerasllm.generation.beam_search`.
            length_penalty: see `kerasllm.generation.beam_search`; without effect on one beam.
            batch_size: how many texts are translated at a time; fewer when they are long.

        Returns:
            For each text its translation.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
            ValueError: if a number is out of range, or a text is no Unicode text.
        """
        texts = checked_texts(texts, "translate")
        batch_size = whole_number("batch_size", batch_size)
        ids = [[] if is_blank(text) else one for text, one in zip(texts, self._ids(texts), strict=True)]
        asked = [place for place, one in enumerate(ids) if one]
        found = [""] * len(texts)
        tokenizer = self.target_tokenizer
        barred = barred_ids(self.network, tokenizer)
        barred = [] if barred is None else np.flatnonzero(barred)
        for rows, time in batches_by_length([len(ids[place]) for place in asked], batch_size):
            places = [asked[row] for row in rows]
            time = min(time, self.max_length)
            source = padded([ids[place] for place in places], time, self.source_tokenizer.pad_id)
            mask = np.arange(time) < np.array([[len(ids[place])] for place in places])
            ends = (tokenizer.bos_id, tokenizer.eos_id)
            written = beam_search(
                self.network, source, mask, *ends, num_beams, length_penalty, self.max_length, barred
            ).ids
            for place, text in zip(places, tokenizer.decode_batch(written), strict=True):
                found[place] = text
        return found

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [one[: self.max_length] for one in self.source_tokenizer.encode_batch(texts)]

    def get_config(self):
        config = super().get_config()
        return {
            **{name: value for name, value in config.items() if name != "tokenizer"},
            "source_tokenizer": config["tokenizer"],
            "target_tokenizer": self.target_tokenizer.to_json(),
            "max_length": self.max_length,
        }


def _made(name, tokenizer) -> Tokenizer:
    is_json = isinstance(tokenizer, str) and tokenizer.lstrip().startswith("{")
    return check_tokenizer(Tokenizer.from_json(tokenizer) if is_json else tokenizer, name)


def _check_fit(network, source, target):
    for name in ("read", "step", "source_vocabulary_size", "vocabulary_size"):
        if not hasattr(network, name):
            raise ValueError(
                f"network must read one text and write another, and {network!r:.60} has no {name}: take a Seq2Seq or "
                "an LSTMSeq2Seq."
            )
    sides = (("read", network.source_vocabulary_size, source), ("write", network.vocabulary_size, target))
    for verb, rows, tokenizer in sides:
        if rows < tokenizer.vocabulary_size:
            raise ValueError(
                f"The network can {verb} {rows} tokens, the tokenizer of what it {verb}s has "
                f"{tokenizer.vocabulary_size}."
            )
    for role, id in (("start with (bos)", target.bos_id), ("end with (eos)", target.eos_id)):
        if id is None:
            raise ValueError(f"The target's tokenizer has no token to {role}: train it with bos=True and eos=True.")
    pad_id = getattr(network, "pad_id", source.pad_id)
    if pad_id not in (None, source.pad_id):
        raise ValueError(
            f"The network takes the id {pad_id} for padding, the tokenizer {source.pad_id}: make the network with "
            f"pad_id={source.pad_id}."
        )
