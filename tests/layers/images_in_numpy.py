"""Convolutions by their definition, in NumPy: the reference of the networks that look at images."""

import numpy as np
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view


def windows(inputs, size, strides):
    """What a kernel sees: (batch, height, width, channels, size, size), with TensorFlow's padding."""
    padding = [(0, 0)]
    for length in inputs.shape[1:3]:
        total = max(0, (-(-length // strides) - 1) * strides + size - length)
        padding.append((total // 2, total - total // 2))
    padded = np.pad(inputs, [*padding, (0, 0)])
    return sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::strides, ::strides]


def convolved(inputs, layer):
    kernel = ops.convert_to_numpy(layer.kernel)
    seen = windows(inputs, kernel.shape[0], layer.strides[0])
    if layer.name == "depthwise":
        return np.einsum("bhwcij,ijc->bhwc", seen, kernel[..., 0])
    return np.einsum("bhwcij,ijco->bhwo", seen, kernel, optimize=True)


def normalised(inputs, layer):
    gamma, beta, mean, variance = map(ops.convert_to_numpy, layer.weights)
    return (inputs - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta


def relu6(inputs):
    return np.clip(inputs, 0, 6)


def inverted_residual(layer, inputs):
    """Figure 4 (d) of Sandler et al. (2018)."""
    x = relu6(normalised(convolved(inputs, layer.expand), layer.expand_norm)) if layer.expansion > 1 else inputs
    x = relu6(normalised(convolved(x, layer.depthwise), layer.depthwise_norm))
    x = normalised(convolved(x, layer.project), layer.project_norm)
    return inputs + x if inputs.shape == x.shape else x


def efficientnet(model, inputs):
    """The logits of the whole network."""
    x = relu6(normalised(convolved(inputs.astype("float64"), model.stem), model.stem_norm))
    for block in model.blocks:
        x = inverted_residual(block, x)
    x = relu6(normalised(convolved(x, model.top), model.top_norm))
    kernel, bias = map(ops.convert_to_numpy, model.logits.weights)
    return x.mean(axis=(1, 2)) @ kernel + bias
