"""The file itself: equal bytes, every dtype, and nothing half-written."""

import resource
import signal

import keras
import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

from kerasllm import weights
from kerasllm.weights.tensors import CODES, Tensor, read_tensors, write_tensors

NOTES = {name: name * 2 for name in "zyxwvutsabcdefgh"}


def tensor(array):
    return Tensor(str(array.dtype), array.shape, lambda: array)


def test_equal_models_give_equal_bytes(small_gpt, tmp_path):
    for name, notes in (("a", NOTES), ("b", dict(reversed(NOTES.items())))):
        weights.save_safetensors(small_gpt, tmp_path / name, metadata=notes)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert weights.read_metadata(tmp_path / "a") == NOTES


def test_the_layout_is_that_of_the_package(tmp_path):
    arrays = {
        "b": np.arange(6, dtype="float32").reshape(2, 3),
        "a": np.arange(3, dtype="float16"),
        "é": np.arange(5, dtype="float64"),
        "c": np.array([True, False]),
    }
    write_tensors(tmp_path / "ours", {name: tensor(array) for name, array in arrays.items()}, {"one": "1"})
    assert (tmp_path / "ours").read_bytes() == save(arrays, {"one": "1"})


@pytest.mark.parametrize("dtype", CODES)
def test_every_dtype_is_stored_as_it_is(dtype, tmp_path):
    bits = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 256, 64).astype("uint8")
    array = bits.view(dtype)
    scalar = array[3].reshape(())
    stored = {"array": tensor(array.reshape(2, -1)), "scalar": tensor(scalar), "empty": tensor(array[:0])}
    write_tensors(tmp_path / "t", stored, {})
    with safe_open(tmp_path / "t", framework="numpy") as file:  # the package agrees
        assert file.get_slice("array").get_shape() == [2, array.size // 2]
    with read_tensors(tmp_path / "t") as (tensors, metadata):
        assert metadata == {}
        found = {name: one.read() for name, one in tensors.items()}
        assert {name: (one.dtype, one.shape) for name, one in tensors.items()} == {
            name: (dtype, one.shape) for name, one in stored.items()
        }
    assert found["array"].dtype == np.dtype(dtype)
    assert found["array"].tobytes() == array.tobytes()
    assert found["scalar"].tobytes() == scalar.tobytes()
    assert found["scalar"].shape == ()


def test_a_dtype_that_the_format_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match="scale has the dtype int4"):
        write_tensors(tmp_path / "t", {"scale": tensor(np.ones(4, ml_dtypes.int4))}, {})
    assert not list(tmp_path.iterdir())


@keras.saving.register_keras_serializable(package="test")
class Quantised(keras.Model):
    """A model with a quantised layer, a float layer and a scalar."""

    def __init__(self, policy="int8_from_float32", **kwargs):
        super().__init__(**kwargs)
        self.policy = policy
        self.coarse = keras.layers.Dense(6, dtype=policy, name="coarse")
        self.fine = keras.layers.Dense(3, name="fine")

    def build(self, input_shape):
        self.coarse.build((None, 4))
        self.fine.build((None, 6))
        self.steps = self.add_weight(shape=(), dtype="int32", initializer="zeros", name="steps")
        self.temperature = self.add_weight(shape=(), initializer="ones", name="temperature")

    def get_config(self):
        return {**super().get_config(), "policy": self.policy}


@pytest.mark.parametrize("policy", ["int8_from_float32", "int4/-1_from_float32"])
def test_half_precision_leaves_a_quantised_layer_exact(policy, tmp_path):
    model = Quantised(policy)
    model.build((None, 4))
    generator = np.random.default_rng(1)
    for weight in model.weights:
        numbers = generator.normal(0, 50, weight.shape)
        weight.assign(numbers.astype(str(weight.dtype)))
    model.coarse.kernel_scale.assign(np.full(model.coarse.kernel_scale.shape, 1e5 / 3, "float32"))
    weights.save_safetensors(model, tmp_path / "m", dtype="float16")
    stored = load_file(tmp_path / "m")
    assert {name: str(array.dtype) for name, array in stored.items() if not name.startswith("coarse")} == {
        "fine/kernel": "float16",
        "fine/bias": "float16",
        "temperature": "float32",  # stands beside a whole number
        "steps": "int32",
    }
    again = weights.load_safetensors(tmp_path / "m")
    pairs = zip([*again.coarse.weights, again.steps], [*model.coarse.weights, model.steps], strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one.value), keras.ops.convert_to_numpy(other.value))
    np.testing.assert_allclose(again.fine.get_weights()[0], model.fine.get_weights()[0], rtol=2**-11)


def test_a_planted_link_is_not_followed(small_gpt, tmp_path):
    (tmp_path / "precious").write_text("kept", "utf-8")
    (tmp_path / "m.safetensors.unfinished").symlink_to(tmp_path / "precious")
    weights.save_safetensors(small_gpt, tmp_path / "m.safetensors")
    assert (tmp_path / "precious").read_text("utf-8") == "kept"
    assert not (tmp_path / "m.safetensors").is_symlink()


def test_a_full_disk_leaves_the_file_before_and_nothing_half(small_gpt, tmp_path):
    path = tmp_path / "m.safetensors"
    weights.save_safetensors(small_gpt, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        with pytest.raises(OSError, match=rf"the file needs {len(before):,} bytes.*m\.safetensors"):
            weights.save_safetensors(small_gpt, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_save_holds_one_tensor_beside_the_model(tmp_path, peak):
    array = np.ones((1000, 1000), "float32")
    many = {str(i): Tensor("float32", array.shape, lambda i=i: array + i) for i in range(50)}
    assert peak(lambda: write_tensors(tmp_path / "t", many, {})) < 50e6
    assert (tmp_path / "t").stat().st_size > 200e6
