"""Where a token stands: three ways to tell a network that only sees a set of vectors."""

import math

import keras
import numpy as np
from keras import ops

from kerasllm.common import positive, whole_number


def speeds(dim, max_wavelength):
    """By how much each of ``dim // 2`` pairs of numbers turns from one position to the next: float32 (dim // 2,)."""
    return (float(max_wavelength) ** (-np.arange(0, dim, 2) / dim)).astype("float32")


def _angles(positions, speeds):
    """The angle of each position at each speed: float32 (..., dim // 2)."""
    return ops.cast(positions, "float32")[..., None] * ops.convert_to_tensor(speeds)


def _steps(positions, inputs, axis=1):
    """The positions that were told, or 0, 1, 2, ..."""
    return ops.arange(ops.shape(inputs)[axis], dtype="int32") if positions is None else ops.convert_to_tensor(positions)


def _wavelength(value):
    if not positive("max_wavelength", value) > 1:
        raise ValueError(f"max_wavelength must be above 1, not {value!r}; the usual value is 10000.")
    return float(value)


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
    return turn(vectors, positions, speeds(vectors.shape[-1], max_wavelength))


def turn(vectors, positions, speeds):
    """`rotate` with the speed of each pair given: float array (dim // 2,), in angles a position."""
    angles = _angles(positions, speeds)  # (time, dim / 2) or (batch, time, dim / 2)
    if len(angles.shape) == 3:
        angles = angles[:, None]  # one for all heads
    cos, sin = (ops.cast(f(angles), vectors.dtype) for f in (ops.cos, ops.sin))
    first, second = ops.split(vectors, 2, axis=-1)
    return ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


@keras.saving.register_keras_serializable(package="kerasllm")
class RotaryPositions(keras.layers.Layer):
    """Turns queries and keys by angles that grow with their position; it has no weights.

    Args:
        max_wavelength: the larger, the slower the slowest pair of numbers turns.
        factor: for texts that are longer than those a model first learned from. Alone: every position counts
            ``1 / factor``. Together with `original_context`: only pairs that turn too slowly for the original context
            are slowed down by `factor`.
        original_context: how many tokens the model's first texts had; None with `factor` alone.
        low_turns: pairs that turn less often than this within `original_context` are slowed down altogether.
        high_turns: pairs that turn more often than this stay as they are; between the two it changes smoothly.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, heads, time, dim); dim is even.
        positions: int tensor (time,) or (batch, time); 0, 1, 2, ... when None.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: if `max_wavelength` is not above 1, another number does not fit, or dim is odd.

    Example:
        >>> import numpy as np
        >>> layer = RotaryPositions()
        >>> x = np.random.default_rng(0).normal(size=(1, 2, 5, 8)).astype("float32")
        >>> [round(float(keras.ops.dot(y[0, 0, 0], y[0, 0, 3])), 2) for y in (layer(x), layer(x, np.arange(9, 14)))]
        [-2.43, -2.43]

    Reference: Su et al. (2021), "RoFormer", section 3.2.2; Chen et al. (2023), "Extending Context Window of Large
    Language Models via Positional Interpolation", section 2.3, for `factor` alone; Grattafiori et al. (2024), "The
    Llama 3 Herd of Models", section 3.2, and the configuration that came with Llama 3.1 for the rest.
    """

    def __init__(
        self, max_wavelength=10000.0, factor=1.0, original_context=None, low_turns=1.0, high_turns=4.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.max_wavelength = _wavelength(max_wavelength)
        self.factor = positive("factor", factor)
        self.original_context = whole_number("original_context", original_context, optional=True)
        self.low_turns, self.high_turns = positive("low_turns", low_turns), positive("high_turns", high_turns)
        if self.low_turns >= self.high_turns:
            raise ValueError(f"low_turns={low_turns!r} must be below high_turns={high_turns!r}.")
        self.supports_masking = True

    def build(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError(f"Rotary positions turn pairs of numbers: the last axis must be even, not {input_shape}.")

    def speeds(self, dim):
        """The angle from one position to the next of each of ``dim // 2`` pairs: float32 array."""
        plain = speeds(dim, self.max_wavelength)
        if self.original_context is None:
            return plain / np.float32(self.factor)
        turns = self.original_context * plain / (2 * math.pi)
        kept = np.clip((turns - self.low_turns) / (self.high_turns - self.low_turns), 0, 1)
        return (plain * (kept + (1 - kept) / self.factor)).astype("float32")

    def call(self, inputs, positions=None):
        return turn(inputs, _steps(positions, inputs, axis=2), self.speeds(inputs.shape[-1]))

    def get_config(self):
        names = ("max_wavelength", "factor", "original_context", "low_turns", "high_turns")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="kerasllm")
class SinusoidalPositions(keras.layers.Layer):
    """Adds to each token a fixed vector of sines and cosines of its position; it has no weights.

    The first half of the vector holds the sines, the second half the cosines.

    Args:
        max_wavelength: wavelength of the slowest sine, in tokens, divided by 2 pi.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim); dim is even.
        positions: int tensor (time,) or (batch, time); 0, 1, 2, ... when None.

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
        self.max_wavelength = _wavelength(max_wavelength)
        self.supports_masking = True

    def build(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError(f"Sines and cosines come in pairs: the last axis must be even, not {input_shape}.")

    def call(self, inputs, positions=None):
        angles = _angles(_steps(positions, inputs), speeds(inputs.shape[-1], self.max_wavelength))
        return inputs + ops.cast(ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1), inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "max_wavelength": self.max_wavelength}


@keras.saving.register_keras_serializable(package="kerasllm")
class LearnedPositions(keras.layers.Layer):
    """Adds to each token a trained vector of its position, as GPT-2 and BERT do.

    Args:
        context_length: number of positions that have a vector. Later ones do not exist: a longer text is refused,
            and a position that is told and has no vector gives NaN.
        initializer: initializer of the vectors.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim), time at most `context_length`.
        positions: int tensor (time,) or (batch, time); 0, 1, 2, ... when None. Positions below 0, as padding has
            them, get the vector of position 0.

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
        self.context_length = whole_number("context_length", context_length)
        self.initializer = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.context_length, input_shape[-1]), initializer=self.initializer
        )

    def _check(self, time):
        if isinstance(time, int) and time > self.context_length:  # None, or a symbol of JAX, when it is not known
            raise ValueError(f"A text of {time} tokens does not fit context_length={self.context_length}: shorten it.")

    def call(self, inputs, positions=None):
        if positions is None:
            self._check(inputs.shape[1])
            return inputs + self.embeddings[: ops.shape(inputs)[1]]  # a slice is cheaper than a look-up
        positions = ops.convert_to_tensor(positions)
        vectors = ops.take(self.embeddings, ops.clip(positions, 0, self.context_length - 1), axis=0)
        # A compiled function cannot raise: not a number is seen, a wrong vector is not.
        return inputs + ops.where(positions[..., None] < self.context_length, vectors, float("nan"))

    def get_config(self):
        return {
            **super().get_config(),
            "context_length": self.context_length,
            "initializer": keras.initializers.serialize(self.initializer),
        }
