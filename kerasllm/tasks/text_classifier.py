"""A classifier that goes from texts to labelled probabilities and is saved as one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

import kerasllm.models  # noqa: F401  registers the networks that a file may hold
from kerasllm.common import whole_number
from kerasllm.tasks.texts import batches_by_length, checked_texts, padded, refuse_texts
from kerasllm.text import Tokenizer

if TYPE_CHECKING:
    import pandas as pd


@keras.saving.register_keras_serializable(package="kerasllm")
class TextClassifier(keras.Model):
    """A network from token ids to logits that also knows its tokenizer and its labels.

    Train it like any Keras model, on padded ids and integer labels (see `kerasllm.batches.padded`),
    with a loss that takes logits. `model.save("name.keras")` stores weights, tokenizer and labels in
    one file; `keras.saving.load_model` after ``import kerasllm.tasks`` brings all of it back.

    Args:
        network: a Keras model from ids (batch, time) to logits (batch, labels), such as
            `kerasllm.models.BiLSTM`. It ignores padding: every position that holds the tokenizer's ``pad_id``.
        tokenizer: the `kerasllm.text.Tokenizer` that made the ids, or its JSON text. Its ``pad_id`` is that of the
            network.
        labels: names of the classes, in the order of their numbers.
        max_length: texts are cut to this many tokens; None leaves them whole.
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

    def __init__(
        self,
        network: keras.Model,
        tokenizer: Tokenizer | str,
        labels: Sequence[str],
        max_length: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.labels = _checked_labels(labels)
        self.max_length = whole_number("max_length", max_length, optional=True)
        self.tokenizer = Tokenizer.from_json(tokenizer) if isinstance(tokenizer, str) else tokenizer
        _check_fit(network, self.tokenizer, len(self.labels))
        # Files store the weights under "body", the first edition's name, which stands first in the alphabet.
        self.body = self.network = network
        self.build((None, None))

    def build(self, input_shape):
        if not self.network.built:
            self.network.build(input_shape)

    def call(self, inputs, training=None):
        return self.network(inputs, training=training)  # (batch, labels)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], len(self.labels))

    # What Keras calls with ids says what to do with texts.

    def __call__(self, inputs, *args, **kwargs):
        refuse_texts("the call", inputs, "classify")
        return super().__call__(inputs, *args, **kwargs)

    def fit(self, x=None, y=None, *args, **kwargs):
        refuse_texts("fit", x, "classify")
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        refuse_texts("evaluate", x, "classify")
        return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        refuse_texts("predict", x, "classify")
        return super().predict(x, *args, **kwargs)

    def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs):
        """Write the network for other programs, see `keras.Model.export`: int32 ids (batch, time) in, logits out."""
        if input_signature is None:  # what Keras would derive has floats
            input_signature = [keras.InputSpec(dtype="int32", shape=(None, None))]
        return super().export(filepath, format, verbose, input_signature, **kwargs)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The ids of some texts as one array, cut to `max_length` and padded on the right.

        Args:
            texts: a list, column or array of strings.

        Returns:
            int32 array (texts, time); time is at least 1.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
        """
        ids = self._ids(checked_texts(texts, "classify"))
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
        ids = self._ids(texts)
        probabilities = np.zeros((len(ids), len(self.labels)), "float32")
        for rows, time in batches_by_length([len(one) for one in ids], whole_number("batch_size", batch_size)):
            logits = self.predict_on_batch(padded([ids[row] for row in rows], time, self.tokenizer.pad_id))
            probabilities[rows] = ops.convert_to_numpy(ops.softmax(ops.cast(logits, "float32")))
        frame = pd.DataFrame({"text": texts}, index=index)
        frame["label"] = pd.Categorical.from_codes(probabilities.argmax(axis=1), self.labels)
        frame[self.labels] = probabilities
        return frame

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [one[: self.max_length] for one in self.tokenizer.encode_batch(texts)]

    def get_config(self):
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "tokenizer": self.tokenizer.to_json(),
            "labels": self.labels,
            "max_length": self.max_length,
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


def _check_fit(network, tokenizer, labels: int):
    if not isinstance(network, keras.Model):
        raise ValueError(f"network must be a Keras model from ids to logits, not {network!r}.")
    shape = getattr(network, "output_shape", None) or network.compute_output_shape((None, None))
    if shape[-1] != labels:
        raise ValueError(f"The network gives {shape[-1]} logits, but there are {labels} labels.")
    rows = getattr(network, "vocabulary_size", tokenizer.vocabulary_size)
    if rows < tokenizer.vocabulary_size:
        raise ValueError(f"The network knows {rows} tokens, the tokenizer has {tokenizer.vocabulary_size}.")
    pad_id = getattr(network, "pad_id", tokenizer.pad_id)
    if pad_id != tokenizer.pad_id:
        raise ValueError(
            f"The network takes the id {pad_id} for padding, the tokenizer {tokenizer.pad_id}: "
            f"make the network with pad_id={tokenizer.pad_id}."
        )
