"""The block of MobileNetV2 and EfficientNet: make many channels, look around in each alone, make few of them again."""

import keras
from keras import ops

from kerasllm.common import positive, whole_number
from kerasllm.layers.composite import Composite


@keras.saving.register_keras_serializable(package="kerasllm")
class InvertedResidual(Composite, keras.layers.Layer):
    """Three convolutions: one by one to more channels, one for each channel alone, one by one to few channels.

    What comes in is added to what goes out where both have the same shape. There is no squeeze and excitation, and the
    activation is ReLU6, ``min(max(x, 0), 6)``: both so that the numbers fit whole numbers of 8 bits on a telephone.

    Args:
        channels: channels of the output.
        expansion: how many times the channels of the input there are in the middle; 1 leaves out the first convolution.
        kernel_size: height and width of the convolution in the middle.
        strides: steps of that convolution. Height and width are divided by it and rounded up.
        epsilon: the small number that a normalisation adds to the variance.
        kernel_initializer: initializer of the kernels.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, height, width, channels).
        training: whether the normalisations take mean and variance of the batch, in place of those that they remember.

    Returns:
        Float tensor (batch, height / strides, width / strides, channels).

    Raises:
        ValueError: if a size is not positive.

    Example:
        >>> import numpy as np
        >>> tuple(InvertedResidual(24, strides=2)(np.zeros((1, 9, 8, 16))).shape)
        (1, 5, 4, 24)

    Reference: Sandler et al. (2018), "MobileNetV2: Inverted Residuals and Linear Bottlenecks", section 3.3.
    """

    def __init__(
        self, channels, expansion=6, kernel_size=3, strides=1, epsilon=1e-3, kernel_initializer="he_normal", **kwargs
    ):
        super().__init__(**kwargs)
        self.channels = whole_number("channels", channels)
        self.expansion = whole_number("expansion", expansion)
        self.kernel_size = whole_number("kernel_size", kernel_size)
        self.strides = whole_number("strides", strides)
        self.epsilon = positive("epsilon", epsilon)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        policy = self.dtype_policy
        if self.expansion > 1:
            self.expand_norm = norm("expand_norm", epsilon, policy)
        self.depthwise = keras.layers.DepthwiseConv2D(
            self.kernel_size,
            self.strides,
            padding="same",
            data_format="channels_last",
            use_bias=False,
            depthwise_initializer=self.kernel_initializer.clone(),
            dtype=policy,
            name="depthwise",
        )
        self.depthwise_norm = norm("depthwise_norm", epsilon, policy)
        self.project = convolution("project", self.channels, 1, 1, self.kernel_initializer, policy)
        self.project_norm = norm("project_norm", epsilon, policy)

    def build(self, input_shape):
        *place, channels = input_shape
        middle = (*place, channels * self.expansion)
        if self.expansion > 1:
            self.expand = convolution("expand", middle[-1], 1, 1, self.kernel_initializer, self.dtype_policy)
            self.expand.build(input_shape)
            self.expand_norm.build(middle)
        self.adds = self.strides == 1 and channels == self.channels
        self.depthwise.build(middle)
        self.depthwise_norm.build(middle)
        self.project.build(middle)
        self.project_norm.build((*place, self.channels))
        self.restore_parts()

    def call(self, inputs, training=None):
        x = inputs  # (batch, height, width, channels)
        if self.expansion > 1:
            x = ops.relu6(self.expand_norm(self.expand(x), training=training))  # (..., expansion * channels)
        x = ops.relu6(self.depthwise_norm(self.depthwise(x), training=training))  # (batch, height / strides, ...)
        x = self.project_norm(self.project(x), training=training)  # without an activation: few channels lose too much
        return inputs + x if self.adds else x

    def compute_output_shape(self, input_shape):
        batch, *place, _ = input_shape
        return (batch, *(None if length is None else -(-length // self.strides) for length in place), self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "expansion": self.expansion,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "epsilon": self.epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def convolution(name, channels, kernel_size, strides, kernel_initializer, dtype):
    """A convolution without bias, for the normalisation after it has one. Padding is TensorFlow's: the odd row below.

    Args:
        name: of the layer.
        channels: of its output.
        kernel_size: height and width.
        strides: steps.
        kernel_initializer: it is cloned.
        dtype: dtype policy.

    Returns:
        A `keras.layers.Conv2D`.
    """
    return keras.layers.Conv2D(
        channels,
        kernel_size,
        strides,
        padding="same",
        data_format="channels_last",
        use_bias=False,
        kernel_initializer=kernel_initializer.clone(),
        dtype=dtype,
        name=name,
    )


def norm(name, epsilon, dtype):
    """The normalisation after a convolution: `keras.layers.BatchNormalization` of the channels."""
    return keras.layers.BatchNormalization(epsilon=epsilon, dtype=dtype, name=name)
