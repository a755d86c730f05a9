"""EfficientNet from PyTorch's names: a small one through the table, and the trained one against PyTorch's numbers."""

from pathlib import Path

import keras
import numpy as np
import pytest

from kerasllm import weights
from kerasllm.data.catalogue import models as catalogue
from kerasllm.models import EfficientNet, EfficientNetSettings, Stage
from kerasllm.weights.families.efficientnet import axes_of, efficientnet_of, name_of
from kerasllm.weights.rehearsal import named
from kerasllm.weights.tensors import Tensor

DATA = Path(__file__).parent / "data"
SMALL = EfficientNetSettings(5, [Stage(1, 6, expansion=1), Stage(2, 8, 2, 5, 2)], stem_dim=4, features_dim=12)


def array(numbers):
    return Tensor(str(numbers.dtype), numbers.shape, lambda: numbers)


@pytest.fixture
def model():
    keras.utils.set_random_seed(1)
    model = EfficientNet(SMALL)
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture
def tensors(model):
    """The model's weights as PyTorch has them."""
    found = {"_bn0.num_batches_tracked": array(np.array(7))}
    for place, weight in named(model).items():
        numbers = np.array(weight)
        found[name_of(place)] = array(numbers.transpose(np.argsort(axes_of(place))))
    return found


def test_each_weight_has_a_name_of_its_own_and_comes_back_as_it_was(model, tensors):
    assert len(tensors) == len(model.weights) + 1
    assert tensors["_blocks.1._depthwise_conv.weight"].shape == (12, 1, 5, 5)  # (channels, 1, height, width)
    assert tensors["_blocks.1._expand_conv.weight"].shape == (12, 6, 1, 1)  # (out, in, height, width)
    again = efficientnet_of(tensors, "one.pth", SMALL)
    for place, weight in named(again).items():
        np.testing.assert_array_equal(np.array(weight), np.array(named(model)[place]), err_msg=place)
    half = efficientnet_of(tensors, "one.pth", SMALL, dtype="mixed_bfloat16")
    assert half.dtype_policy.name == "mixed_bfloat16"


def test_what_does_not_fit_is_named(tensors):
    name = "_blocks.1._bn0.running_var"

    def refused(message, found, settings=SMALL):
        with pytest.raises(ValueError, match=message):
            efficientnet_of(found, "one.pth", settings)

    refused(f"one.pth lacks the tensor {name}", {key: one for key, one in tensors.items() if key != name})
    refused("has no place .* for the tensor _se.weight", tensors | {"_se.weight": array(np.ones(3))})
    refused(rf"one.pth has {name} of the shape \(3,\).*\(12,\)", tensors | {name: array(np.ones(3))})
    refused(f"{name} of the shape .* in int64", tensors | {name: array(np.ones(12, int))})
    refused(f"{name} of the shape", tensors | {name: array(np.ones((12, 1)))})
    turned = tensors["_conv_stem.weight"].read().transpose(2, 3, 1, 0)
    refused("_conv_stem.weight of the shape", tensors | {"_conv_stem.weight": array(turned)})
    refused("_fc.weight of the shape", tensors, SMALL.with_(num_classes=6))
    refused("has no place .* for the tensor _fc.weight", tensors, SMALL.with_(num_classes=None))


def test_a_file_of_ours_holds_it(model, tmp_path):
    weights.save_safetensors(model, tmp_path / "one.safetensors")
    again = weights.load_safetensors(tmp_path / "one.safetensors")
    inputs = np.ones((1, 32, 32, 3), "float32")
    np.testing.assert_allclose(np.array(again(inputs)), np.array(model(inputs)), rtol=1e-6)


@pytest.fixture(scope="module")
def trained():
    return weights.pretrained("efficientnet-lite0")


def photograph(name):
    return pytest.importorskip("sklearn.datasets").load_sample_image(name)


@pytest.mark.network
def test_it_has_the_parameters_that_the_catalogue_states(trained):
    model, _ = trained
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == catalogue()["efficientnet-lite0"].parameters == 4_652_008


@pytest.mark.network
@pytest.mark.parametrize("cut", [(slice(100, 324), slice(200, 424), "even"), (slice(100, 175), slice(200, 298), "odd")])
def test_every_block_gives_what_pytorch_gives(trained, cut):
    """224 by 224, and 75 by 98, where the padding of strides differs from PyTorch's own."""
    *place, name = cut
    expected = {key: one for key, one in np.load(DATA / "efficientnet_lite0.npz").items() if key.startswith(name)}
    inputs = (photograph("flower.jpg")[tuple(place)][None].astype("float32") - 127) / 128
    model, _ = trained

    def same(stage, output):
        numbers = np.array(output)[0]
        some = numbers.ravel()[:: max(1, numbers.size // 200)]
        np.testing.assert_allclose(some, expected[f"{name}/{stage}/some"], atol=1e-4, err_msg=stage)
        np.testing.assert_allclose(numbers.mean(axis=(0, 1)), expected[f"{name}/{stage}/mean"], atol=1e-4)

    x = keras.ops.relu6(model.stem_norm(model.stem(inputs)))
    for block in model.blocks:
        x = block(x)
        same(block.name, x)
    same("features", model(inputs, return_features=True))
    np.testing.assert_allclose(np.array(model(inputs))[0], expected[f"{name}/logits"], atol=1e-4)
    assert len(expected) == 2 * 17 + 1


@pytest.mark.network
def test_a_flower_is_a_daisy_and_a_temple_is_a_palace(trained):
    model, images = trained
    logits = np.array(model(images([photograph("flower.jpg"), photograph("china.jpg")])))
    assert logits.argmax(axis=-1).tolist() == [985, 698]
