"""The cases of the battery: one entry a layer or model, shared by every test in test_layers.py."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kerasllm import models, text
from kerasllm.layers import FeedForward, LSTMCell, MaskedMax, MaskedMean

TOKENIZER = text.train_characters(["a good film", "a bad film"], byte_fallback=False)
LABELS = ["negative", "positive"]


@dataclass(frozen=True)
class LayerCase:
    """How to make a layer or model, what to feed it, and what it promises.

    Attributes:
        make: makes the layer from keyword arguments of `keras.layers.Layer` (name, dtype).
        input_shape: shape of one batch of inputs, the batch first.
        vocabulary: 0 for float inputs; otherwise the inputs are ids from 1 to below this number.
        positionwise: a position's output depends on that position alone.
        causal: an output never depends on a later position.
        masked: the layer takes ``mask`` (batch, time); padded positions never matter.
        padded: ids of 0 at the end are padding; more or less of it never matters.
        pooled: the output has no time axis.
        output_dtype: what the output is under every policy; the compute dtype when None.
        reference: the output that another implementation gives with the layer's own weights.
        refused: constructor arguments that must raise ValueError, with a word of the message.
        refuses: what is called with them; the layer's class when None.
    """

    name: str
    make: Callable[..., layers.Layer]
    input_shape: tuple[int, ...]
    vocabulary: int = 0
    positionwise: bool = False
    causal: bool = False
    masked: bool = False
    padded: bool = False
    pooled: bool = False
    output_dtype: str | None = None
    reference: Callable[[layers.Layer, np.ndarray], Any] | None = None
    refused: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    refuses: Callable[..., Any] | None = None

    def inputs(self, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        if self.vocabulary:
            return random.integers(1, self.vocabulary, self.input_shape, dtype="int32")
        return random.normal(size=self.input_shape).astype("float32")

    @property
    def input_dtype(self) -> str:
        return "int32" if self.vocabulary else "float32"


def dense_stack(layer, inputs):
    """Two Keras dense layers with the weights of a FeedForward."""
    middle = layers.Dense(layer.hidden_dim, activation=layer.activation, use_bias=layer.use_bias)
    last = layers.Dense(layer.output_dim or inputs.shape[-1], use_bias=layer.use_bias)
    hidden = middle(ops.convert_to_tensor(inputs))
    last.build(hidden.shape)
    for dense, own in ((middle, layer.expand), (last, layer.project)):
        dense.set_weights(own.get_weights())
    return last(middle(inputs))


def keras_lstm(layer, inputs):
    """The LSTM of Keras with the weights of an RNN around an LSTMCell."""
    lstm = layers.LSTM(layer.cell.units, return_sequences=True)
    lstm.build(inputs.shape)
    lstm.set_weights(layer.get_weights())
    return lstm(inputs)


def concatenated_embeddings(model, inputs):
    """Equation 1 of Bengio et al. (2003), position by position, in NumPy."""
    embeddings, kernel, hidden_bias, head, bias = model.get_weights()
    seen = model.order - 1
    batch, time = inputs.shape
    vectors = np.concatenate([np.zeros((batch, seen - 1, model.embedding_dim)), embeddings[inputs]], axis=1)
    flat = [vectors[:, t : t + seen].reshape(batch, -1) for t in range(time)]  # (batch, seen * embedding_dim) each
    hidden = np.tanh(np.stack(flat, axis=1) @ kernel.reshape(-1, model.hidden_dim) + hidden_bias)
    return hidden @ head + bias


def step_by_step(model, inputs):
    """The logits of an LSTM language model, one token at a time."""
    states, logits = None, []
    for position in range(inputs.shape[1]):
        one, states = model.step(inputs[:, position], states)
        logits.append(one)
    return ops.stack(logits, axis=1)


@contextmanager
def policy(dtype):
    """The global policy, which functions that wire layers together obey."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype or before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def classifier(function, **arguments):
    def make(dtype=None, **kwargs):
        with policy(dtype):
            return function(TOKENIZER, LABELS, 8, **arguments, **kwargs)

    return make


FEED_FORWARD_REFUSED = [
    ({"hidden_dim": 0}, "hidden_dim"),
    ({"hidden_dim": 4.5}, "hidden_dim"),
    ({"hidden_dim": 4, "output_dim": -1}, "output_dim"),
    ({"hidden_dim": 4, "dropout": 1.0}, "dropout"),
    ({"hidden_dim": 4, "activation": "no-such-activation"}, "no-such-activation"),
]

CASES = [
    LayerCase(
        "feed_forward",
        lambda **kwargs: FeedForward(16, **kwargs),
        (2, 5, 8),
        positionwise=True,
        causal=True,
        reference=dense_stack,
        refused=FEED_FORWARD_REFUSED,
    ),
    LayerCase(
        "feed_forward_all_arguments",
        lambda **kwargs: FeedForward(
            16, output_dim=3, activation="tanh", use_bias=False, dropout=0.3, kernel_initializer="he_normal", **kwargs
        ),
        (4, 8),
        reference=dense_stack,
    ),
    LayerCase(
        "masked_mean",
        MaskedMean,
        (2, 5, 8),
        masked=True,
        pooled=True,
        reference=lambda layer, inputs: inputs.mean(axis=1),
    ),
    LayerCase(
        "masked_max",
        MaskedMax,
        (2, 5, 8),
        masked=True,
        pooled=True,
        reference=lambda layer, inputs: inputs.max(axis=1),
    ),
    LayerCase(
        "lstm_cell",
        lambda dtype=None, **kwargs: layers.RNN(LSTMCell(8, dtype=dtype), return_sequences=True, dtype=dtype, **kwargs),
        (2, 5, 6),
        causal=True,
        masked=True,
        reference=keras_lstm,
        refused=[({"units": 0}, "units"), ({"units": 2.5}, "units")],
        refuses=LSTMCell,
    ),
    LayerCase(
        "neural_ngram",
        lambda **kwargs: models.NeuralNGram(30, order=3, embedding_dim=8, hidden_dim=16, dropout=0.3, **kwargs),
        (2, 6),
        vocabulary=30,
        causal=True,
        reference=concatenated_embeddings,
        refused=[
            ({"vocabulary_size": 0}, "vocabulary_size"),
            ({"vocabulary_size": 9, "order": 1}, "order"),
            ({"vocabulary_size": 9, "hidden_dim": 0.5}, "hidden_dim"),
            ({"vocabulary_size": 9, "dropout": 1}, "dropout"),
        ],
    ),
    LayerCase(
        "lstm_language_model",
        lambda **kwargs: models.LSTMLanguageModel(30, embedding_dim=8, units=16, dropout=0.3, **kwargs),
        (2, 6),
        vocabulary=30,
        causal=True,
        reference=step_by_step,
        refused=[
            ({"vocabulary_size": -1}, "vocabulary_size"),
            ({"vocabulary_size": 9, "depth": 0}, "depth"),
            ({"vocabulary_size": 9, "dropout": -0.1}, "dropout"),
            ({"vocabulary_size": 9, "embedding_dim": 4, "units": 8, "tied": True}, "tied"),
        ],
    ),
    LayerCase(
        "lstm_language_model_tied",
        lambda **kwargs: models.LSTMLanguageModel(30, embedding_dim=8, units=8, tied=True, **kwargs),
        (2, 6),
        vocabulary=30,
        causal=True,
    ),
    LayerCase(
        "bag_of_embeddings",
        classifier(models.bag_of_embeddings, token_dropout=0.2, dropout=0.3),
        (2, 6),
        vocabulary=TOKENIZER.vocabulary_size,
        padded=True,
        pooled=True,
        output_dtype="float32",
        refused=[
            ({"embeddings": np.zeros((3, 8))}, "vocabulary"),
            ({"labels": ["one"]}, "two labels"),
            ({"labels": ["a", "a"]}, "twice"),
            ({"labels": ["a", "text"]}, "rename"),
            ({"max_length": 0}, "max_length"),
        ],
        refuses=lambda labels=LABELS, **kwargs: models.bag_of_embeddings(TOKENIZER, labels, 8, **kwargs),
    ),
    LayerCase(
        "bilstm",
        classifier(models.bilstm, units=4, token_dropout=0.2, dropout=0.3),
        (2, 6),
        vocabulary=TOKENIZER.vocabulary_size,
        padded=True,
        pooled=True,
        output_dtype="float32",
        refused=[({"pooling": "sum"}, "pooling"), ({"depth": 0}, "depth"), ({"embeddings": np.zeros((3, 8))}, "shape")],
        refuses=lambda **kwargs: models.bilstm(TOKENIZER, LABELS, 8, **kwargs),
    ),
]
