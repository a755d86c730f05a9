"""A classifier that goes from texts to labelled probabilities and is saved as one file."""

import keras
import numpy as np
import pandas as pd
from keras import ops

from kerasllm.text import Tokenizer


@keras.saving.register_keras_serializable(package="kerasllm")
class TextClassifier(keras.Model):
    """A Keras model from token ids to logits that also knows its tokenizer and its labels.

    Train it like any Keras model, on padded ids and integer labels (see `kerasllm.batches.padded`),
    with a loss that takes logits. `model.save("name.keras")` stores weights, tokenizer and labels in
    one file; `keras.saving.load_model` after ``import kerasllm.models`` brings all of it back.

    Args:
        body: a Keras model from ids (batch, time) to logits (batch, labels). It ignores padding:
            every position that holds the tokenizer's ``pad_id``.
        tokenizer: the `kerasllm.text.Tokenizer` that made the ids, or its JSON text.
        labels: names of the classes, in the order of their numbers.
        max_length: texts are cut to this many tokens; None leaves them whole.
        **kwargs: arguments of `keras.Model`, such as `name`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids, padded on the right.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, labels): logits.

    Raises:
        ValueError: if there are fewer than two labels, a label stands twice, `max_length` is not
            positive, or the body does not give one logit a label.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_words(["a good film", "a bad film"], vocabulary_size=20)
        >>> model = models.bag_of_embeddings(tokenizer, ["negative", "positive"], embedding_dim=4)
        >>> model.classify(["good", "bad film"]).columns.tolist()
        ['text', 'label', 'negative', 'positive']
    """

    def __init__(self, body, tokenizer, labels, max_length=None, **kwargs):
        super().__init__(**kwargs)
        labels = _checked_labels(labels)
        if max_length is not None and (not isinstance(max_length, int) or max_length < 1):
            raise ValueError(f"max_length must be a whole number from 1 up or None, not {max_length!r}.")
        if body.output_shape[-1] != len(labels):
            raise ValueError(f"The body gives {body.output_shape[-1]} logits, but there are {len(labels)} labels.")
        self.body = body
        self.tokenizer = Tokenizer.from_json(tokenizer) if isinstance(tokenizer, str) else tokenizer
        self.labels = labels
        self.max_length = max_length
        self.built = True  # the body is a functional model: its weights exist

    def call(self, inputs, training=None):
        return self.body(inputs, training=training)  # (batch, labels)

    def encode(self, texts):
        """The ids of some texts as one array, cut to `max_length` and padded on the right.

        Args:
            texts: a list, column or array of strings.

        Returns:
            int32 array (texts, time); time is at least 1.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
        """
        if isinstance(texts, str):
            raise TypeError("Give a list of texts, not one string: classify([text]).")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"The text at position {i} is {type(text).__name__}, not a string: {text!r}.")
        ids = [one[: self.max_length] for one in self.tokenizer.encode_batch(texts)]
        padded = np.full((len(ids), max(map(len, ids), default=0) or 1), self.tokenizer.pad_id, "int32")
        for row, one in zip(padded, ids, strict=True):
            row[: len(one)] = one
        return padded

    def classify(self, texts, batch_size=64):
        """From texts to labelled probabilities.

        Args:
            texts: a list, column or array of strings.
            batch_size: how many texts are computed at a time.

        Returns:
            A DataFrame with one row a text: the text, the label with the largest probability, and
            the probability of each label in a column of its name.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string.
        """
        texts = list(texts) if not isinstance(texts, str) else texts
        ids = self.encode(texts)
        # Texts of similar length together, in few different lengths: little padding, few compilations.
        ids = np.pad(ids, ((0, 0), (0, -ids.shape[1] % 16)), constant_values=self.tokenizer.pad_id)
        lengths = (ids != self.tokenizer.pad_id).sum(axis=1)
        order = np.argsort(lengths, kind="stable")
        probabilities = np.zeros((len(ids), len(self.labels)), "float32")
        for start in range(0, len(ids), batch_size):
            rows = order[start : start + batch_size]
            time = 16 * max(1, -(-lengths[rows].max() // 16))
            logits = self.predict_on_batch(ids[rows, :time])
            probabilities[rows] = ops.convert_to_numpy(ops.softmax(ops.cast(logits, "float32")))
        frame = pd.DataFrame({"text": texts})
        frame["label"] = pd.Categorical.from_codes(probabilities.argmax(axis=1), self.labels)
        return frame.join(pd.DataFrame(probabilities, columns=self.labels))

    def get_config(self):
        return {
            **super().get_config(),
            "body": keras.saving.serialize_keras_object(self.body),
            "tokenizer": self.tokenizer.to_json(),
            "labels": self.labels,
            "max_length": self.max_length,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        body = keras.saving.deserialize_keras_object(config["body"], custom_objects=custom_objects)
        return cls(**{**config, "body": body})


def _checked_labels(labels):
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
