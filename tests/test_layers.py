"""The battery every layer passes; the cases stand in battery.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from battery import CASES, LayerCase
from keras import ops

ROOT = Path(__file__).parents[1]
every_layer = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def built(case: LayerCase, **kwargs) -> keras.layers.Layer:
    keras.utils.set_random_seed(1)
    layer = case.make(**kwargs)
    layer(case.inputs())
    return layer


def outputs(layer, inputs, **kwargs) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(layer(inputs, **kwargs), "float32"))


def as_model(layer, case: LayerCase) -> keras.Model:
    inputs = keras.Input(case.input_shape[1:])
    return keras.Model(inputs, layer(inputs))


@every_layer
def test_config_round_trip(case):
    layer = built(case)
    config = layer.get_config()
    again = type(layer).from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    again(case.inputs())
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(outputs(again, case.inputs()), outputs(layer, case.inputs()), atol=1e-6)


LOAD = """
import sys
import keras, numpy as np
import kerasllm.layers
for name in sys.argv[2:]:
    model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras")
    inputs = np.load(f"{sys.argv[1]}/{name}.npy")
    np.save(f"{sys.argv[1]}/{name}.loaded.npy", model.predict(inputs, verbose=0))
"""


def test_saved_model_gives_the_same_outputs_in_a_fresh_process(tmp_path):
    expected = {}
    for case in CASES:
        model = as_model(built(case), case)
        model.save(tmp_path / f"{case.name}.keras")
        np.save(tmp_path / f"{case.name}.npy", case.inputs())
        expected[case.name] = model.predict(case.inputs(), verbose=0)
    subprocess.run([sys.executable, "-c", LOAD, tmp_path, *expected], check=True, cwd=tmp_path, capture_output=True)
    for name, output in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.loaded.npy"), output, atol=1e-6, err_msg=name)


@every_layer
def test_symbolic_eager_and_compiled_calls_agree(case):
    layer = built(case)
    eager = layer(case.inputs())
    spec = layer.compute_output_spec(keras.KerasTensor(case.input_shape))
    assert tuple(spec.shape) == tuple(eager.shape)
    assert keras.backend.standardize_dtype(spec.dtype) == keras.backend.standardize_dtype(eager.dtype)
    compiled = as_model(layer, case).predict(case.inputs(), verbose=0)
    np.testing.assert_allclose(compiled, ops.convert_to_numpy(eager), atol=1e-5)


@every_layer
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_in_half_and_stays_close(case, policy):
    full, half = built(case), built(case, dtype=policy)
    half.set_weights(full.get_weights())
    result = half(case.inputs())
    assert keras.backend.standardize_dtype(result.dtype) == policy.removeprefix("mixed_")
    assert all(keras.backend.standardize_dtype(weight.dtype) == "float32" for weight in half.weights)
    np.testing.assert_allclose(outputs(half, case.inputs()), outputs(full, case.inputs()), atol=0.05)


@every_layer
def test_gradient_reaches_every_weight(case):
    layer = built(case)
    model = as_model(layer, case)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = [weight.copy() for weight in layer.get_weights()]
    target = np.random.default_rng(2).normal(size=model.compute_output_shape(case.input_shape))
    model.fit(case.inputs(), target, batch_size=len(target), epochs=1, verbose=0)
    for weight, old, new in zip(layer.weights, before, layer.get_weights(), strict=True):
        assert np.abs(new - old).max() > 0, f"{weight.path} did not move"


with_initializer = pytest.mark.parametrize(
    "case", [c for c in CASES if "kernel_initializer" in c.make().get_config()], ids=lambda case: case.name
)


@with_initializer
def test_one_initializer_object_gives_different_kernels(case):
    config = case.make().get_config()
    arguments = {key: config[key] for key in config if key not in ("name", "dtype", "trainable")}
    arguments["kernel_initializer"] = keras.initializers.RandomNormal()
    layer = type(case.make())(**arguments)
    layer(case.inputs())
    kernels = [weight.ravel()[:8] for weight in layer.get_weights() if weight.ndim > 1]
    assert len(kernels) > 1
    for i, one in enumerate(kernels):
        for other in kernels[i + 1 :]:
            assert not np.allclose(one, other), "two kernels start equal: the initializer was not cloned"


@every_layer
def test_what_a_position_may_see(case):
    layer, inputs = built(case), case.inputs()
    before = outputs(layer, inputs)
    for position in range(inputs.shape[1] if inputs.ndim > 2 else 0):
        changed = inputs.copy()
        changed[:, position] += 1.0
        after = outputs(layer, changed)
        assert np.abs(after[:, position] - before[:, position]).max() > 0
        if case.positionwise or case.causal:
            np.testing.assert_allclose(after[:, :position], before[:, :position], atol=1e-6)
        if case.positionwise:
            np.testing.assert_allclose(after[:, position + 1 :], before[:, position + 1 :], atol=1e-6)


@pytest.mark.parametrize("case", [c for c in CASES if c.masked or c.positionwise], ids=lambda case: case.name)
def test_what_stands_in_the_padding_changes_nothing(case):
    layer, inputs = built(case), case.inputs()
    mask = np.ones(inputs.shape[:2], bool)
    mask[:, -2:] = False
    arguments = {"mask": mask} if case.masked else {}
    changed = inputs.copy()
    changed[:, -2:] = 100.0
    before, after = outputs(layer, inputs, **arguments), outputs(layer, changed, **arguments)
    np.testing.assert_allclose(after[:, :-2], before[:, :-2], atol=1e-6)


@pytest.mark.parametrize("case", [c for c in CASES if c.reference], ids=lambda case: case.name)
def test_parity_with_the_reference(case):
    layer = built(case)
    expected = ops.convert_to_numpy(case.reference(layer, case.inputs()))
    np.testing.assert_allclose(outputs(layer, case.inputs()), expected, atol=1e-5)


REFUSED = [(type(case.make()), *one) for case in CASES for one in case.refused]


@pytest.mark.parametrize(("layer", "arguments", "word"), REFUSED)
def test_bad_arguments_are_refused_with_their_value(layer, arguments, word):
    with pytest.raises(ValueError, match=word):
        layer(**arguments)


def test_dropout_acts_in_training_only():
    case = next(case for case in CASES if case.name == "feed_forward_all_arguments")
    layer = built(case)
    np.testing.assert_array_equal(outputs(layer, case.inputs()), outputs(layer, case.inputs(), training=False))
    assert np.abs(outputs(layer, case.inputs(), training=True) - outputs(layer, case.inputs())).max() > 0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="this is the run on the second backend")
def test_the_battery_passes_on_jax():
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", Path(__file__)],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
