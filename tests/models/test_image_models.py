"""EfficientNet: what the battery of layers does not ask. Its numbers are compared with PyTorch's in tests/weights."""

import keras
import numpy as np
import pytest

from kerasllm.models import EfficientNet, EfficientNetSettings, Stage

SMALL = EfficientNetSettings(5, [Stage(1, 6, expansion=1), Stage(2, 8, 2, 5, 2)], stem_dim=4, features_dim=12)


def test_features_pooled_and_logits_belong_to_each_other():
    keras.utils.set_random_seed(1)
    model = EfficientNet(SMALL)
    inputs = np.random.default_rng(1).normal(size=(2, 33, 20, 3)).astype("float32")
    features = model(inputs, return_features=True)
    assert features.shape == (2, 9, 5, 12)
    pooled = model.pooled(features)
    np.testing.assert_allclose(np.array(pooled), np.array(features).mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(np.array(model.head(features)), np.array(model(inputs)), rtol=1e-5)
    headless = EfficientNet(SMALL.with_(num_classes=None))
    headless.set_weights(model.get_weights()[:-2])
    np.testing.assert_allclose(np.array(headless(inputs)), np.array(features), rtol=1e-5)
    with pytest.raises(ValueError, match="has no head"):
        headless.head(features)
    with pytest.raises(TypeError, match="settings must be EfficientNetSettings"):
        EfficientNet(5)


def test_the_default_is_lite0():
    """4.65 million parameters; 32 times smaller in height and width."""
    model = EfficientNet(EfficientNetSettings())
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 4_652_008
    spec = model.compute_output_spec(keras.KerasTensor((None, 224, 224, 3)), return_features=True)
    assert spec.shape == (None, 7, 7, 1280)
    assert model.compute_output_spec(keras.KerasTensor((2, 224, 224, 3))).shape == (2, 1000)
    assert [block.name for block in model.blocks if block.adds] == [
        f"block_{i}" for i in (3, 5, 7, 8, 10, 11, 13, 14, 15)
    ]


def test_frozen_normalisations_keep_what_they_remember():
    model = EfficientNet(SMALL)
    model.trainable = False
    before = [weight.copy() for weight in model.get_weights()]
    model(np.random.default_rng(0).normal(size=(4, 32, 32, 3)), training=True)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
