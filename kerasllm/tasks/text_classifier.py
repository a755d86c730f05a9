"""A classifier that goes from texts to labelled probabilities and is saved as one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from kerasllm.common import whole_number
from kerasllm.tasks.task import Task, check_fit, ends_of
from kerasllm.tasks.texts import batches_by_length, checked_texts, padded
from kerasllm.text import Tokenizer

if TYPE_CHECKING:
    import pandas as pd


@keras.saving.register_keras_serializable(package="kerasllm")
class TextClassifier(Task):
    """A network from token ids to logits that also knows its tokenizer and its labels.

    Train it like any Keras model with a loss that takes logits, on padded ids and integer labels:
    ``batches.padded(model.examples(texts), codes, batch_size=32)``. `model.save("name.keras")` stores weights,
    tokenizer and labels in one file; `keras.saving.load_model` after ``import kerasllm.tasks`` brings all of it back.

    Args:
        network: a Keras model from ids (batch, time) to logits (batch, labels), such as
            `kerasllm.models.BiLSTM`. It ignores padding: every position that holds the tokenizer's ``pad_id``.
        tokenizer: the `kerasllm.text.Tokenizer` that made the ids, or its JSON text. Its ``pad_id`` is that of the
            network.
        labels: names of the classes, in the order of their numbers.
        max_length: texts are cut to this many tokens, those around them included; None cuts them where the network
            does not read on, or leaves them whole.
        ends: whether the tokenizer's tokens for the beginning and the end of a text are put around each, [CLS] and
            [SEP] of BERT. None does so for a `kerasllm.models.BERTClassifier`, which was trained with them.
        **kwargs: arguments of `keras.Model`, such as `name`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids, padded on the right. For texts there is `classify`.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, labels): logits.

    Raises:
        ValueError: if there are fewer than two labels, a label stands twice, `max_length` is not
            positive, or the network does not fit the labels or the tokenizer.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_words(["a good film", "a bad film"], vocabulary_size=20)
        >>> network = models.BagOfEmbeddings(tokenizer.vocabulary_size, num_classes=2, embedding_dim=4)
        >>> model = TextClassifier(network, tokenizer, ["negative", "positive"])
        >>> model.classify(["good", "bad film"]).columns.tolist()
        ['text', 'label', 'negative', 'positive']
    """

    answers = "classify(texts)"

    def __init__(
        self,
        network: keras.Model,
        tokenizer: Tokenizer | str,
        labels: Sequence[str],
        max_length: int | None = None,
        ends: bool | None = None,
        **kwargs,
    ):
        super().__init__(network, tokenizer, **kwargs)
        self.labels = _checked_labels(labels)
        check_fit(network, self.tokenizer, len(self.labels), "labels")
        self.ends = hasattr(network, "encoder") if ends is None else bool(ends)
        self._ends = ends_of(self.tokenizer) if self.ends else ([], [])
        context = getattr(network, "context_length", None)
        max_length = context if max_length is None else max_length
        least = 1 + sum(map(len, self._ends))
        self.max_length = whole_number("max_length", max_length, least, context, optional=True)
        # Files store the weights under "body", the first edition's name, which stands first in the alphabet.
        self.body = network
        self.build((None, None))

    def call(self, inputs, training=None):
        return self.network(inputs, training=training)  # (batch, labels)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], len(self.labels))

    def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs):
        """Write the network for other programs, see `keras.Model.export`: int32 ids (batch, time) in, logits out."""
        if input_signature is None:  # what Keras would derive has floats
            input_signature = [keras.InputSpec(dtype="int32", shape=(None, None))]
        return super().export(filepath, format, verbose, input_signature, **kwargs)

    def examples(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, cut to `max_length`, for `kerasllm.batches.padded`.

        Args:
            texts: a list, column or array of strings.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
        """
        begin, end = self._ends
        room = self.max_length and self.max_length - len(begin) - len(end)
        return [begin + one[:room] + end for one in self.tokenizer.encode_batch(checked_texts(texts, "classify"))]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The ids of some texts as one array, cut to `max_length` and padded on the right.

        Args:
            texts: a list, column or array of strings.

        Returns:
            int32 array (texts, time); time is at least 1.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
        """
        ids = self.examples(texts)
        return padded(ids, max(map(len, ids), default=0) or 1, self.tokenizer.pad_id)

    def classify(self, texts: Sequence[str], batch_size: int = 64) -> pd.DataFrame:
        """From texts to labelled probabilities.

        Texts of similar length are computed together. However long one of them is, the others are not padded to its
        length.

        Args:
            texts: a list, column or array of strings.
            batch_size: how many texts are computed at a time; fewer when they are long.

        Returns:
            A DataFrame with one row a text: the text, the label with the largest probability, and
            the probability of each label in a column of its name. Its index is that of `texts`, if they have one:
            ``frame["answer"] = model.classify(frame["text"])["label"]``.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
            ValueError: if `batch_size` is not positive.
        """
        import pandas as pd

        index = texts.index if isinstance(texts, pd.Series) else None
        texts = checked_texts(texts, "classify")
        ids = self.examples(texts)
        probabilities = np.zeros((len(ids), len(self.labels)), "float32")
        for rows, time in batches_by_length([len(one) for one in ids], whole_number("batch_size", batch_size)):
            time = min(time, self.max_length or time)
            logits = self.predict_on_batch(padded([ids[row] for row in rows], time, self.tokenizer.pad_id))
            probabilities[rows] = ops.convert_to_numpy(ops.softmax(ops.cast(logits, "float32")))
        frame = pd.DataFrame({"text": texts}, index=index)
        frame["label"] = pd.Categorical.from_codes(probabilities.argmax(axis=1), self.labels)
        frame[self.labels] = probabilities
        return frame

    def get_config(self):
        return {
            **super().get_config(),
            "labels": self.labels,
            "max_length": self.max_length,
            "ends": self.ends,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        first_edition = "body" in config
        network = keras.saving.deserialize_keras_object(
            config["body" if first_edition else "network"], custom_objects=custom_objects
        )
        if first_edition:
            _without_cudnn(network)
        rest = {key: value for key, value in config.items() if key not in ("body", "network")}
        return cls(network, **rest)


def _without_cudnn(network):
    """The recurrent layers of a first-edition file: on a GPU cuDNN would refuse a batch with an empty text."""
    for layer in network.layers:
        for recurrent in (layer, getattr(layer, "forward_layer", None), getattr(layer, "backward_layer", None)):
            if hasattr(recurrent, "use_cudnn"):
                recurrent.use_cudnn = False


def _checked_labels(labels) -> list[str]:
    if isinstance(labels, str):
        raise ValueError(f"labels is the text {labels!r}; give a list of names.")
    labels = [str(label) for label in labels]
    if len(labels) < 2:
        raise ValueError(f"A classifier needs at least two labels, not {labels}.")
    if len(set(labels)) < len(labels):
        raise ValueError(f"A label stands twice in {labels}.")
    if {"text", "label"} & set(labels):
        raise ValueError(f"'text' and 'label' are columns of the result; rename these labels: {labels}.")
    return labels
