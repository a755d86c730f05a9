"""Normalisation with a gradient of its own: equal to Keras in value and gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from kerasllm.layers import LayerNormalization, RMSNormalization

PAIRS = [
    (lambda: LayerNormalization(), lambda: layers.LayerNormalization(epsilon=1e-5)),
    (lambda: LayerNormalization(center=False), lambda: layers.LayerNormalization(epsilon=1e-5, center=False)),
    (lambda: RMSNormalization(), lambda: layers.RMSNormalization(epsilon=1e-5)),
]


@pytest.mark.parametrize(("own", "reference"), PAIRS, ids=["layer_norm", "without_bias", "rms_norm"])
@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 8), (2, 3, 5, 8)])
def test_values_and_gradients_are_those_of_keras(own, reference, shape):
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(2.0, 3.0, shape).astype("float32"))
    upstream = tf.constant(random.normal(size=shape).astype("float32"))
    weights, results = None, []
    for layer in (own(), reference()):
        layer.build(shape)
        weights = weights or [random.normal(size=w.shape) for w in layer.weights]
        layer.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        results.append([y, *tape.gradient(y, [x, *(w.value for w in layer.weights)], output_gradients=upstream)])
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


@pytest.mark.parametrize("layer", [LayerNormalization, RMSNormalization])
def test_half_precision_computes_in_float32(layer):
    normalization = layer(dtype="mixed_float16")
    large = np.full((1, 8), 3e3, "float16")  # whose squares do not fit in float16
    large[0, 0] = -3e3
    outputs = normalization(large)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float16"
    assert np.abs(ops.convert_to_numpy(outputs)).max() > 0.3


@pytest.mark.parametrize("layer", [LayerNormalization, RMSNormalization])
def test_other_axes_are_refused(layer):
    with pytest.raises(ValueError, match="axis must be -1"):
        layer(axis=1)
