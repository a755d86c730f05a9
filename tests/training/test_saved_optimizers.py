"""The optimizer that comes back is the one that was saved, by every route; files load where a room can save them."""

import copy
import os
import pickle
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from nursery import python

from kerasllm import training
from kerasllm.layers import FeedForward

ROOT = Path(__file__).parents[2]
ONES = np.ones((4, 3), "float32")
RECIPES = {
    "classic": lambda: training.classic(30, 0.05, weight_decay=5.0, final=1.0, warmup_steps=0),
    "classic, fused": lambda: training.classic(30, 0.05, weight_decay=5.0, final=1.0, warmup_steps=0, fused=True),
    "classic, accumulated": lambda: training.classic(30, 0.05, weight_decay=5.0, accumulate=2),
    "modern": lambda: training.modern(30, 0.05, weight_decay=5.0),
}
# Every way by which a model's optimizer is made again.
ROUTES = {
    "keras file": lambda model, folder: _saved(model, folder / "model.keras"),
    "checkpoint": lambda model, folder: _checkpoint(model, folder / "checkpoint.keras"),
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    "config": lambda model, folder: _with_optimizer(model, type(model.optimizer).from_config),
    "serialized": lambda model, folder: _with_optimizer(model, None),
}


def make(optimizer):
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, name="rescale"), keras.layers.LayerNormalization()]
    )
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def fit(model, epochs=1, **arguments):
    model.fit(ONES, 2 * ONES, epochs=epochs, batch_size=4, verbose=0, **arguments)
    return model


def _saved(model, path):
    model.save(path)
    return keras.saving.load_model(path)


def _checkpoint(model, path):
    before = model.get_weights(), [np.array(one) for one in model.optimizer.variables]
    fit(model, callbacks=[keras.callbacks.ModelCheckpoint(path)])
    model.set_weights(before[0])
    again = keras.saving.load_model(path)
    again.set_weights(before[0])
    for variables in (model.optimizer.variables, again.optimizer.variables):
        for variable, value in zip(variables, before[1], strict=True):
            variable.assign(value)
    return again


def _with_optimizer(model, from_config):
    if from_config:
        optimizer = from_config(model.optimizer.get_config())
    else:
        optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(model.optimizer))
    again = make(optimizer)
    again.set_weights(model.get_weights())
    optimizer.build(again.trainable_variables)
    for one, other in zip(optimizer.variables, model.optimizer.variables, strict=True):
        one.assign(other)
    return again


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_model_trains_on_as_if_it_had_not_been_saved_by_any_route(recipe, tmp_path):
    model = fit(make(RECIPES[recipe]()), epochs=2)
    again = {route: make_again(model, tmp_path) for route, make_again in ROUTES.items()}
    copies = {route: one.get_weights() for route, one in again.items()}
    expected = fit(model, epochs=3).get_weights()
    for route, one in again.items():
        for before, now in zip(copies[route], fit(one, epochs=3).get_weights(), strict=True):
            assert not np.array_equal(before, now), route
        for weight, value in zip(one.get_weights(), expected, strict=True):
            np.testing.assert_allclose(weight, value, rtol=1e-4, atol=1e-5, err_msg=route)


def test_what_is_not_decayed_goes_by_the_names_of_weights_and_not_of_layers():
    model = make(training.AdamW(1e-9, weight_decay=1e8, undecayed=["scale", "bias", "gamma"]))
    model.layers[0].bias.assign(np.ones(3))
    start = {weight.name: np.array(weight) for weight in model.weights}
    fit(model)
    now = {weight.name: np.array(weight) for weight in model.weights}
    np.testing.assert_allclose(now["kernel"], 0.9 * start["kernel"], atol=1e-5)  # though "rescale" has "scale" in it
    np.testing.assert_allclose(now["bias"], start["bias"], atol=1e-5)
    np.testing.assert_allclose(now["gamma"], start["gamma"], atol=1e-5)


def test_the_method_of_keras_sets_the_words_too_and_variables_are_refused():
    optimizer = training.AdamW(0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert training.AdamW.from_config(optimizer.get_config()).get_config()["undecayed"] == ["bias"]
    with pytest.raises(ValueError, match="var_names"):
        optimizer.exclude_from_weight_decay(var_list=[keras.Variable(1.0)])
    with pytest.raises(ValueError, match="undecayed must be a list of words"):
        training.AdamW(0.1, undecayed="bias")
    model = fit(make(optimizer))
    with pytest.raises(ValueError, match="before the first step"):
        model.optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_a_file_of_the_first_edition_loads(tmp_path):
    config = training.AdamW(0.01, beta_2=0.9).get_config()
    del config["undecayed"]
    stored = {
        "module": "kerasllm.training.faster_steps",
        "class_name": "AdamW",
        "registered_name": "kerasllm>AdamW",
        "config": config,
    }
    optimizer = keras.saving.deserialize_keras_object(stored)
    assert type(optimizer) is training.AdamW
    assert (optimizer.beta_2, list(optimizer.undecayed)) == (0.9, [])
    schedule = training.warmup_linear(0.1, 5)
    stored = {
        "module": "kerasllm.training.schedules",
        "class_name": "WarmupLinear",
        "registered_name": "kerasllm>WarmupLinear",
        "config": schedule.get_config(),
    }
    assert keras.saving.deserialize_keras_object(stored).get_config() == schedule.get_config()


LOAD = """
import sys, keras, numpy as np
import kerasllm.{room}
for path in sys.argv[1:]:
    model = keras.saving.load_model(path)
    print(type(model.optimizer).__name__, type(model.optimizer._learning_rate).__name__)
    model.fit(np.ones((2, 3), "int32"), np.ones((2, 3, 4)), verbose=0)
assert "kerasllm.training" not in sys.modules
"""


@pytest.fixture(scope="module")
def compiled_models(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp("compiled"), []
    for name, recipe in RECIPES.items():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(5, 4), FeedForward(8)])
        model.compile(recipe(), "mse", run_eagerly=True)
        model.fit(np.ones((2, 3), "int32"), np.ones((2, 3, 4)), verbose=0)
        paths.append(str(folder / f"{name}.keras"))
        model.save(paths[-1])
    return paths


@pytest.mark.parametrize("room", ["layers", "models"])
def test_a_compiled_model_loads_where_only_the_room_is_imported_that_made_its_layers(room, compiled_models):
    run = subprocess.run(
        [*python(), "-c", LOAD.format(room=room), *compiled_models],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.splitlines() == ["AdamW CosineDecay"] * 3 + ["Muon WarmupLinear"]
