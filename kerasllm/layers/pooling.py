"""From one vector a token to one vector a text: pooling that looks at real tokens only."""

from __future__ import annotations

import keras
from keras import ops

from kerasllm.layers.masks import as_mask


class _MaskedPooling(keras.layers.Layer):
    """What both poolings share: the mask, the shapes, and texts without a real token."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) != 3:
            raise ValueError(f"{type(self).__name__} pools (batch, time, dim), not the shape {tuple(input_shape)}.")

    def compute_mask(self, inputs, mask=None):
        return None  # the time axis is gone

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[2])


@keras.saving.register_keras_serializable(package="kerasllm")
class MaskedMean(_MaskedPooling):
    """The mean of the vectors at real tokens; zeros for a text that has none.

    `keras.layers.GlobalAveragePooling1D` gives NaN for a text without a real token, and sums in
    half precision under a mixed policy. This layer divides by at least 1 and sums in float32.

    Args:
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim).
        mask: bool tensor (batch, time), True at real tokens; None means that all are real. Floats are refused.

    Returns:
        Float tensor (batch, dim).

    Raises:
        ValueError: if the inputs do not have three axes, or `mask` is none for them.

    Example:
        >>> import numpy as np
        >>> vectors = np.array([[[1.0], [3.0], [50.0]]])
        >>> float(MaskedMean()(vectors, mask=np.array([[True, True, False]]))[0, 0])
        2.0
    """

    def call(self, inputs, mask=None):
        total = ops.cast(inputs, "float32")  # (batch, time, dim)
        if mask is None:
            return ops.cast(ops.mean(total, axis=1), self.compute_dtype)
        real = as_mask(mask, inputs.shape[:2])[:, :, None]  # (batch, time, 1)
        # where, not a product: NaN or infinity in the padding times 0 would be NaN.
        total = ops.sum(ops.where(real, total, 0.0), axis=1)  # (batch, dim)
        count = ops.sum(ops.cast(real, "float32"), axis=1)  # (batch, 1)
        return ops.cast(total / ops.maximum(count, 1.0), self.compute_dtype)


@keras.saving.register_keras_serializable(package="kerasllm")
class MaskedMax(_MaskedPooling):
    """The largest value of each dimension over real tokens; zeros for a text that has none.

    `keras.layers.GlobalMaxPooling1D` takes no mask.

    Args:
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim).
        mask: bool tensor (batch, time), True at real tokens; None means that all are real. Floats are refused.

    Returns:
        Float tensor (batch, dim).

    Raises:
        ValueError: if the inputs do not have three axes, or `mask` is none for them.

    Example:
        >>> import numpy as np
        >>> vectors = np.array([[[1.0], [3.0], [50.0]]])
        >>> float(MaskedMax()(vectors, mask=np.array([[True, True, False]]))[0, 0])
        3.0

    Reference: Collobert et al. (2011), "Natural Language Processing (Almost) from Scratch", section 3.3.2.
    """

    def call(self, inputs, mask=None):
        if mask is None:
            return ops.max(inputs, axis=1)
        real = as_mask(mask, inputs.shape[:2])[:, :, None]  # (batch, time, 1)
        # Below every number that a real token may have, whatever the dtype.
        lowest = ops.cast(float("-inf"), inputs.dtype)
        largest = ops.max(ops.where(real, inputs, lowest), axis=1)  # (batch, dim)
        return ops.where(ops.any(real, axis=1), largest, ops.zeros_like(largest))
