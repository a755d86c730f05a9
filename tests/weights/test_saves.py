"""What cannot be loaded again is refused when it is saved; weights go into a model that is there."""

import keras
import numpy as np
import pytest

from kerasllm import models, weights
from kerasllm.weights.tensors import Tensor, write_tensors


class Base(keras.Model):
    """A model of somebody else: two layers."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first = keras.layers.Dense(units, name="first")
        self.second = keras.layers.Dense(2, name="second")

    def call(self, inputs):
        return self.second(self.first(inputs))


def registered(cls):
    return keras.saving.register_keras_serializable(package="test")(cls)


@registered
class Whole(Base):
    def get_config(self):
        return {**super().get_config(), "units": self.units}


@registered
class Forgetful(Base):
    def get_config(self):
        return {"name": self.name}


@registered
class Unnamed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(3)

    def build(self, input_shape):
        self.first.build((None, 4))


@registered
class Silent(Base):
    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer


@registered
class Odd(Whole):
    value = None

    def get_config(self):
        return {**super().get_config(), "more": self.value}


@registered
class Strict(Whole):
    def __init__(self, units, **kwargs):
        if not isinstance(units, tuple):
            raise ValueError("units must be a tuple")
        super().__init__(units[0], **kwargs)
        self.sizes = units

    def get_config(self):
        return {**super().get_config(), "units": self.sizes}


@registered
class Functional(keras.Model):
    """A functional model in a subclass: its settings are those of the graph."""

    def __init__(self, units=3, **kwargs):
        inputs = keras.Input((4,))
        super().__init__(inputs, keras.layers.Dense(units)(inputs), **kwargs)
        self.units = units


def called(model):
    model(np.ones((1, 4), "float32"))
    return model


def half_built():
    model = Whole()
    model.first.build((None, 4))
    return model


def odd(value):
    model = called(Odd())
    model.value = value
    return model


def adapted():
    model = called(Whole())
    model.first.enable_lora(2)
    return model


def built(config):
    model = models.GPT.from_config(config)
    model.build((None, None))
    return model


def unnamed():
    Unnamed()  # so that the next one's layer has another name
    model = Unnamed()
    model.build(None)
    return model


REFUSED = {
    "unbuilt": (Whole, r"Whole has no weights yet, or not all. Build it"),
    "half built": (half_built, "no weights yet, or not all. Build it"),
    "never built by itself": (lambda: models.LSTMLanguageModel(9), "no weights yet"),
    "sequential": (
        lambda: keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]),
        r'Sequential is not registered.*model\.save\("model\.keras"\)',
    ),
    "functional": (
        lambda: keras.Model(*(lambda x: (x, keras.layers.Dense(1)(x)))(keras.Input((2,)))),
        r'Functional is not registered.*model\.save\("model\.keras"\)',
    ),
    "functional subclass": (lambda: Functional(5), r"has no dense_?\d*/kernel \(\(4, 5\).*return every argument"),
    "not registered": (lambda: called(Base()), "Base is not registered.*register_keras_serializable"),
    "a forgotten argument": (lambda: called(Forgetful(5)), r"has no first/kernel.*return every argument"),
    "a name made up": (unnamed, r"dense_?\d*/kernel: Keras made up a name in it.*name="),
    "a layer as an argument": (lambda: called(Silent(keras.layers.Dense(1))), "settings of test>Silent cannot be"),
    "not JSON": (lambda: odd({1, 2}), "cannot be stored: .*Set.*get_config"),
    "NaN": (lambda: odd(float("nan")), "cannot be stored: .*get_config"),
    "a number that no load believes": (lambda: odd(10**9), "more is 1000000000"),
    "an argument that nobody takes": (lambda: odd("x"), "could not be loaded again.*more"),
    "a tuple": (lambda: called(Strict((3,))), "could not be loaded again.*units must be a tuple"),
    "adapters": (adapted, "has no first/lora_kernel_a.*LoRA"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_could_not_be_loaded_is_refused_when_it_is_saved(case, tmp_path):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        weights.save_safetensors(make(), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_model_that_was_built_by_a_call_on_floats_comes_back(tmp_path):
    model = called(Whole(5))
    weights.save_safetensors(model, tmp_path / "m")
    inputs = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")
    again = weights.load_safetensors(tmp_path / "m")
    np.testing.assert_array_equal(np.array(again(inputs)), np.array(model(inputs)))


def test_a_loaded_model_trains_and_keeps_its_own_random_numbers(small_gpt, tmp_path):
    weights.save_safetensors(small_gpt, tmp_path / "m")
    model = weights.load_safetensors(tmp_path / "m")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ids = np.arange(16).reshape(2, 8) % 9
    before = model.get_weights()
    model.fit(ids, ids, verbose=0)  # the tied head gives every token's vector a gradient
    assert all(np.abs(one - other).max() > 0 for one, other in zip(before, model.get_weights(), strict=True))
    assert all(variable.value is not None for variable in model.variables)


def test_weights_go_into_a_model_that_is_there(small_gpt, tmp_path):
    weights.save_safetensors(small_gpt, tmp_path / "m")
    other = built({**small_gpt.get_config(), "name": "other"})
    assert weights.load_safetensors(tmp_path / "m", into=other) is other
    for one, two in zip(other.get_weights(), small_gpt.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_weights_that_do_not_fit_change_nothing(small_gpt, tmp_path):
    weights.save_safetensors(small_gpt, tmp_path / "m")
    config = small_gpt.get_config()
    other = built({**config, "settings": {**config["settings"], "vocabulary_size": 10}})
    before = other.get_weights()
    with pytest.raises(ValueError, match="another shape of embedding/embeddings"):
        weights.load_safetensors(tmp_path / "m", into=other)
    for one, two in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_part_of_the_weights_is_loaded_when_it_is_asked_for(small_gpt, tmp_path):
    gamma = np.full(8, 3, "float16")
    write_tensors(tmp_path / "part", {"final_norm/gamma": Tensor("float16", (8,), lambda: gamma)}, {})
    with pytest.raises(ValueError, match="lacks embedding/embeddings"):
        weights.load_safetensors(tmp_path / "part", into=small_gpt)
    kernel = small_gpt.get_weights()[0]
    weights.load_safetensors(tmp_path / "part", into=small_gpt, partial=True)
    np.testing.assert_array_equal(np.array(small_gpt.final_norm.weights[0]), gamma.astype("float32"))
    np.testing.assert_array_equal(small_gpt.get_weights()[0], kernel)
    with pytest.raises(ValueError, match="does not say which class"):
        weights.load_safetensors(tmp_path / "part")
