"""Where a token stands: three ways to tell a network that only sees a set of vectors."""

import keras
from keras import layers, ops


def _positions(length, start):
    """The positions of `length` tokens: (time,), or (batch, time) when `start` has one number a text."""
    steps = ops.arange(length, dtype="int32")
    start = ops.cast(ops.convert_to_tensor(start), "int32")
    return start[:, None] + steps if len(start.shape) else start + steps


def _angles(positions, dim, max_wavelength):
    """The angle of each position at each of ``dim // 2`` speeds: float32 (..., dim // 2)."""
    exponents = ops.arange(0, dim, 2, dtype="float32") / dim
    return ops.cast(positions, "float32")[..., None] * ops.power(float(max_wavelength), -exponents)


def check_wavelength(value, name="max_wavelength"):
    """Refuse a wavelength that is not above 1."""
    if not value > 1:
        raise ValueError(f"{name} must be above 1, not {value!r}; the usual value is 10000.")


def rotate(vectors, positions, max_wavelength=10000.0):
    """Turn each vector by angles that grow with its position.

    Number i of the first half and number i of the second half are one point of a plane. It turns by
    ``position / max_wavelength ** (2 i / dim)``. The dot product of two turned vectors depends on
    the difference of their positions alone.

    Args:
        vectors: float tensor (batch, heads, time, dim); dim is even.
        positions: int tensor (time,), or (batch, time).
        max_wavelength: the larger, the slower the last pair turns.

    Returns:
        Float tensor of the shape of `vectors`.

    Example:
        >>> turned = rotate(keras.ops.ones((1, 1, 3, 4)), keras.ops.arange(3))
        >>> [round(float(x), 2) for x in turned[0, 0, 1]]
        [-0.3, 0.99, 1.38, 1.01]

    Reference: Su et al. (2021), "RoFormer: Enhanced Transformer with Rotary Position Embedding",
    section 3.2.2, with the pairs laid out in halves as in GPT-NeoX.
    """
    angles = _angles(positions, vectors.shape[-1], max_wavelength)  # (time, dim / 2) or (batch, time, dim / 2)
    if len(angles.shape) == 3:
        angles = angles[:, None]  # one for all heads
    cos, sin = (ops.cast(f(angles), vectors.dtype) for f in (ops.cos, ops.sin))
    first, second = ops.split(vectors, 2, axis=-1)
    return ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


@keras.saving.register_keras_serializable(package="kerasllm")
class RotaryPositions(layers.Layer):
    """Turns queries and keys by angles that grow with their position; it has no weights.

    Args:
        max_wavelength: the larger, the slower the slowest pair of numbers turns.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, heads, time, dim); dim is even.
        start: position of the first token, an int scalar or int tensor (batch,).

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: if `max_wavelength` is not above 1, or dim is odd.

    Example:
        >>> import numpy as np
        >>> layer = RotaryPositions()
        >>> x = np.random.default_rng(0).normal(size=(1, 2, 5, 8)).astype("float32")
        >>> [round(float(keras.ops.dot(y[0, 0, 0], y[0, 0, 3])), 2) for y in (layer(x), layer(x, start=9))]
        [-2.43, -2.43]

    Reference: Su et al. (2021), "RoFormer", section 3.2.2.
    """

    def __init__(self, max_wavelength=10000.0, **kwargs):
        super().__init__(**kwargs)
        check_wavelength(max_wavelength)
        self.max_wavelength = max_wavelength
        self.supports_masking = True

    def build(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError(f"Rotary positions turn pairs of numbers: the last axis must be even, not {input_shape}.")

    def call(self, inputs, start=0):
        return rotate(inputs, _positions(ops.shape(inputs)[2], start), self.max_wavelength)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "max_wavelength": self.max_wavelength}


@keras.saving.register_keras_serializable(package="kerasllm")
class SinusoidalPositions(layers.Layer):
    """Adds to each token a fixed vector of sines and cosines of its position; it has no weights.

    The first half of the vector holds the sines, the second half the cosines.

    Args:
        max_wavelength: wavelength of the slowest sine, in tokens, divided by 2 pi.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim); dim is even.
        start: position of the first token, an int scalar or int tensor (batch,).

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: if `max_wavelength` is not above 1, or dim is odd.

    Example:
        >>> encoded = SinusoidalPositions()(keras.ops.zeros((1, 3, 4)))
        >>> [round(float(x), 2) for x in encoded[0, 1]]
        [0.84, 0.01, 0.54, 1.0]

    Reference: Vaswani et al. (2017), "Attention Is All You Need", section 3.5 (there sines and cosines
    alternate; a fixed reordering of the numbers changes nothing for the layers after it).
    """

    def __init__(self, max_wavelength=10000.0, **kwargs):
        super().__init__(**kwargs)
        check_wavelength(max_wavelength)
        self.max_wavelength = max_wavelength
        self.supports_masking = True

    def build(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError(f"Sines and cosines come in pairs: the last axis must be even, not {input_shape}.")

    def call(self, inputs, start=0):
        angles = _angles(_positions(ops.shape(inputs)[1], start), inputs.shape[-1], self.max_wavelength)
        return inputs + ops.cast(ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "max_wavelength": self.max_wavelength}


@keras.saving.register_keras_serializable(package="kerasllm")
class LearnedPositions(layers.Layer):
    """Adds to each token a trained vector of its position, as GPT-2 and BERT do.

    Args:
        context_length: number of positions that have a vector. Later ones do not exist: a text of
            more tokens is refused where its length is known.
        initializer: initializer of the vectors.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim), time at most `context_length`.
        start: position of the first token, an int scalar or int tensor (batch,). Positions below 0,
            as padding on the left has them, get the vector of position 0.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: if `context_length` is not positive, or a text is longer than it.

    Example:
        >>> tuple(LearnedPositions(context_length=16)(keras.ops.zeros((2, 5, 8))).shape)
        (2, 5, 8)

    Reference: Gehring et al. (2017), "Convolutional Sequence to Sequence Learning", section 3.1.
    """

    def __init__(self, context_length, initializer="uniform", **kwargs):
        super().__init__(**kwargs)
        if not isinstance(context_length, int) or context_length < 1:
            raise ValueError(f"context_length must be a whole number from 1 up, not {context_length!r}.")
        self.context_length = context_length
        self.initializer = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.context_length, input_shape[-1]), initializer=self.initializer
        )

    def _check(self, input_shape, start=0):
        last = (input_shape[1] or 0) + (start if isinstance(start, int) else 0)
        if last > self.context_length:
            raise ValueError(f"A text of {last} tokens does not fit context_length={self.context_length}: shorten it.")

    def call(self, inputs, start=0):
        self._check(inputs.shape, start)
        if isinstance(start, int) and start == 0:
            return inputs + self.embeddings[: ops.shape(inputs)[1]]  # a slice is cheaper than a look-up
        positions = ops.clip(_positions(ops.shape(inputs)[1], start), 0, self.context_length - 1)
        return inputs + ops.take(self.embeddings, positions, axis=0)

    def compute_output_shape(self, input_shape):
        self._check(input_shape)
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "context_length": self.context_length,
            "initializer": keras.initializers.serialize(self.initializer),
        }
