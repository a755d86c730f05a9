"""The cases of the layer battery: one entry a layer, shared by every test in test_layers.py."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import layers, ops

from kerasllm.layers import FeedForward


@dataclass(frozen=True)
class LayerCase:
    """How to make a layer, what to feed it, and what it promises.

    Attributes:
        make: makes the layer from keyword arguments of `keras.layers.Layer` (name, dtype).
        input_shape: shape of one batch of float inputs, the batch first.
        positionwise: a position's output depends on that position alone.
        causal: an output never depends on a later position.
        masked: the layer takes ``mask`` (batch, time); padded positions never matter.
        reference: the output that another implementation gives with the layer's own weights.
        refused: constructor arguments that must raise ValueError, with a word of the message.
    """

    name: str
    make: Callable[..., layers.Layer]
    input_shape: tuple[int, ...]
    positionwise: bool = False
    causal: bool = False
    masked: bool = False
    reference: Callable[[layers.Layer, np.ndarray], Any] | None = None
    refused: list[tuple[dict[str, Any], str]] = field(default_factory=list)

    def inputs(self, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=self.input_shape).astype("float32")


def dense_stack(layer, inputs):
    """Two Keras dense layers with the weights of a FeedForward."""
    middle = layers.Dense(layer.hidden_dim, activation=layer.activation, use_bias=layer.use_bias)
    last = layers.Dense(layer.output_dim or inputs.shape[-1], use_bias=layer.use_bias)
    hidden = middle(ops.convert_to_tensor(inputs))
    last.build(hidden.shape)
    for dense, own in ((middle, layer.expand), (last, layer.project)):
        dense.set_weights(own.get_weights())
    return last(middle(inputs))


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
]
