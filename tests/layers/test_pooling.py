"""What pooling promises beyond the battery."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasllm.layers import MaskedMax, MaskedMean

POOLINGS = [MaskedMax, MaskedMean]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("value", [-60_000.0, -1e6, -1e30])
def test_padding_never_wins_the_maximum(policy, value):
    inputs = np.array([[[value], [0.0]]], "float32")
    layer = MaskedMax(dtype=policy)
    found = float(layer(inputs, mask=np.array([[True, False]]))[0, 0])
    expected = float(ops.cast(ops.cast(value, layer.compute_dtype), "float32"))
    assert found == expected


def test_the_gradient_of_the_maximum_is_finite_and_goes_to_real_tokens_alone():
    vectors = np.array([[[-2e5], [-1e5], [5.0]], [[1.0], [2.0], [3.0]]], "float32")
    mask = np.array([[True, True, False], [False, False, False]])
    table = keras.layers.Embedding(6, 1, weights=vectors.reshape(6, 1))
    ids, masked = keras.Input((3,), dtype="int32"), keras.Input((3,), dtype="bool")
    model = keras.Model([ids, masked], MaskedMax()(table(ids), mask=masked))
    model.compile(keras.optimizers.SGD(1.0), lambda y_true, y_pred: ops.sum(y_pred))
    model.train_on_batch([np.arange(6).reshape(2, 3), mask], np.zeros((2, 1)))
    moved = (table.get_weights()[0] - vectors.reshape(6, 1))[:, 0]
    assert np.isfinite(moved).all()
    assert np.flatnonzero(moved).tolist() == [1]


@pytest.mark.parametrize("layer", POOLINGS)
def test_a_mask_of_floats_or_of_another_length_is_refused(layer):
    inputs = np.ones((2, 3, 4), "float32")
    with pytest.raises(ValueError, match="give mask >= 0"):
        layer()(inputs, mask=np.array([[0.0, 0.0, -1e9]] * 2))
    with pytest.raises(ValueError, match=r"mask has the shape \(2, 4\), but must have \(2, 3\)"):
        layer()(inputs, mask=np.ones((2, 4), bool))
