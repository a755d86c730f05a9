"""The battery every layer and model passes; the cases stand in battery.py."""

import functools
import gc
import json
import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from battery import CASES, LayerCase
from keras import layers, ops
from nursery import ON_JAX, python

ROOT = Path(__file__).parents[2]
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
every_layer = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def built(case: LayerCase, **kwargs) -> keras.layers.Layer:
    """The layer with weights of which each matters: kernels that keep the size of what goes in, other than 0 and 1."""
    keras.utils.set_random_seed(1)
    layer = case.make(**kwargs)
    if ON_TENSORFLOW:
        called(layer, case.inputs(), **case.context())
    else:  # JAX compiles each small function of a call
        as_model(layer, case)
    random = np.random.default_rng(3)
    for weight in layer.weights:
        if not keras.backend.is_float_dtype(weight.dtype):  # the state of dropout
            continue
        noise = random.normal(size=weight.shape)
        if len(weight.shape) < 2:
            noise = abs(noise) if "variance" in weight.path else noise
            weight.assign(0.5 * noise + any(word in weight.path for word in ("gamma", "scale", "variance")))
        else:
            inputs = 1 if "embedding" in weight.path else weight.shape[-2]
            weight.assign(noise * 1.5 / inputs**0.5)
    return layer


@functools.cache
def made(case: LayerCase) -> keras.layers.Layer:
    """The layer as it is made, to look at its kind and its config."""
    return case.make()


@functools.cache
def shared(case: LayerCase) -> keras.layers.Layer:
    """The layer of `built` for tests that only read it."""
    return built(case)


@functools.cache
def usual(case: LayerCase) -> np.ndarray:
    """What the shared layer gives when it is called eagerly with all its arguments, in the dtype it gives it in."""
    return ops.convert_to_numpy(called(shared(case), case.inputs(), **arguments(case)))


def called(layer, inputs, source_ids=None, **kwargs):
    """What the layer gives. A model that writes takes what it reads before the inputs, which are what it writes."""
    return layer(inputs, **kwargs) if source_ids is None else layer(source_ids, inputs, **kwargs)


def outputs(layer, inputs, **kwargs) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(called(layer, inputs, **kwargs), "float32"))


def arguments(case: LayerCase) -> dict:
    """What the layer is called with besides its inputs."""
    return {**case.context(), **case.masks()}


def fed(case: LayerCase) -> list:
    """What `as_model` takes."""
    return [case.inputs(), *arguments(case).values()]


def as_model(layer, case: LayerCase) -> keras.Model:
    first, *others = (keras.Input(array.shape[1:], dtype=array.dtype.name) for array in fed(case))
    return keras.Model([first, *others], called(layer, first, **dict(zip(arguments(case), others, strict=True))))


@every_layer
def test_config_round_trip(case):
    layer = shared(case)
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(json.loads(json.dumps(config)))
    assert json.loads(json.dumps(again.get_config())) == config
    called(again, case.inputs(), **case.context())
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(outputs(again, case.inputs(), **arguments(case)), usual(case), atol=1e-6)


# Whichever is quicker for models that are called once: TensorFlow calls eagerly, JAX compiles.
LOAD = """
import gc, sys
import keras, numpy as np
import kerasllm.layers, kerasllm.models
for name in sys.argv[2:]:
    gc.freeze()  # Keras collects garbage for each kernel that it quantises: let it look at this model alone
    model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras")
    call = model if keras.backend.backend() == "tensorflow" else model.predict_on_batch
    inputs = [value for _, value in sorted(np.load(f"{sys.argv[1]}/{name}.npz").items())]
    np.save(f"{sys.argv[1]}/{name}.loaded.npy", np.array(call(inputs)))
"""


def assert_loaded(folder, expected, rtol=1e-7, atol=1e-6, **environment):
    """A fresh process loads the models of a folder, and they give what is expected."""
    command = [*python(), "-c", LOAD, folder, *expected]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | environment)
    assert run.returncode == 0, run.stderr[-3000:]
    for name, output in expected.items():
        found = np.load(folder / f"{name}.loaded.npy")
        np.testing.assert_allclose(found, output, rtol=rtol, atol=atol, err_msg=name)


def test_saved_model_gives_the_same_outputs_in_a_fresh_process_and_on_jax(tmp_path):
    expected = {}
    for case in CASES:
        as_model(shared(case), case).save(tmp_path / f"{case.name}.keras")
        np.savez(tmp_path / f"{case.name}.npz", *fed(case))
        expected[case.name] = usual(case)
    assert_loaded(tmp_path, expected)
    assert_loaded(tmp_path, expected, rtol=1e-4, atol=1e-5, **ON_JAX)


@every_layer
def test_symbolic_eager_and_compiled_calls_agree(case):
    layer, eager = shared(case), usual(case)
    first, *others = (keras.KerasTensor(array.shape, array.dtype.name) for array in fed(case))
    spec = called(layer.compute_output_spec, first, **dict(zip(arguments(case), others, strict=True)))
    assert tuple(spec.shape) == eager.shape
    assert keras.backend.standardize_dtype(spec.dtype) == eager.dtype.name
    compiled = as_model(layer, case).predict_on_batch(fed(case))
    np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-5)  # another order of sums on another CPU


@every_layer
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_in_half_and_stays_close(case, policy):
    expected, half = usual(case), built(case, dtype=policy)
    half.set_weights(shared(case).get_weights())
    result = called(half, case.inputs(), **arguments(case))
    dtype = case.output_dtype or policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(result.dtype) == dtype
    assert all(keras.backend.standardize_dtype(weight.dtype) == "float32" for weight in half.weights)
    error = np.abs(ops.convert_to_numpy(ops.cast(result, "float32")) - expected)
    size = np.abs(expected).max()
    assert size > 0.1, "the outputs are as good as zero: they would prove nothing"
    assert error.max() < (0.08 if "bfloat16" in policy else 0.02) * size


@pytest.mark.parametrize("case", [c for c in CASES if not c.weightless], ids=lambda case: case.name)
def test_gradient_reaches_every_weight(case):
    layer = built(case)
    model = as_model(layer, case)
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=ON_TENSORFLOW)
    before = [weight.copy() for weight in layer.get_weights()]
    target = np.random.default_rng(2).normal(size=(case.input_shape[0], *model.output_shape[1:]))
    model.train_on_batch(fed(case), target)
    for weight, old, new in zip(layer.weights, before, layer.get_weights(), strict=True):
        moved = np.abs(new - old).max()
        if case.unreached and weight.path.endswith(case.unreached):
            assert moved < 1e-5, f"{weight.path} moved by {moved}"
        else:
            assert moved > 1e-5, f"{weight.path} did not move"


with_initializer = pytest.mark.parametrize(
    "case",
    [c for c in CASES if "kernel_initializer" in made(c).get_config()],
    ids=lambda case: case.name,
)


@with_initializer
def test_one_initializer_object_gives_different_kernels(case):
    config = case.make().get_config()
    left_out = ("name", "dtype", "trainable", "rotary", "qk_norm")  # the last two are layers, not settings
    given = {key: config[key] for key in config if key not in left_out}
    given["kernel_initializer"] = keras.initializers.RandomNormal()
    layer = type(case.make())(**given)
    layer(case.inputs(), **case.context())
    kernels = [weight.ravel()[:8] for weight in layer.get_weights() if weight.ndim > 1]
    assert len(kernels) > 1
    for i, one in enumerate(kernels):
        for other in kernels[i + 1 :]:
            assert not np.allclose(one, other), "two kernels start equal: the initializer was not cloned"


def changed_at(case: LayerCase, position) -> np.ndarray:
    """The inputs with something else at some positions."""
    changed = case.inputs()
    changed[:, position] = changed[:, position] % (case.vocabulary - 1) + 1 if case.vocabulary else 100.0
    return changed


@pytest.mark.parametrize("case", [c for c in CASES if len(c.input_shape) > 2 or c.vocabulary], ids=lambda c: c.name)
def test_what_a_position_may_see(case):
    layer, times = shared(case), case.input_shape[1]
    # One call for all variants: recurrent layers are slow when they are called eagerly.
    variants = [case.inputs(), *(changed_at(case, position) for position in range(times))]
    context = {name: np.concatenate([array] * len(variants)) for name, array in case.context().items()}
    before, *after = np.split(outputs(layer, np.concatenate(variants), **context), len(variants))
    for position, now in enumerate(after):
        if case.pooled:
            assert np.abs(now - before).max() > 0, f"position {position} plays no role"
            continue
        assert np.abs(now[:, position] - before[:, position]).max() > 0
        if case.positionwise or case.causal:
            np.testing.assert_allclose(now[:, :position], before[:, :position], rtol=1e-4, atol=1e-5)
        if case.positionwise:
            np.testing.assert_allclose(now[:, position + 1 :], before[:, position + 1 :], atol=1e-5)


@pytest.mark.parametrize("case", [c for c in CASES if c.masked or c.positionwise], ids=lambda case: case.name)
def test_what_stands_in_the_padding_changes_nothing(case):
    layer, masks, context = shared(case), case.masks(slice(None)), case.context()
    before = outputs(layer, case.inputs(), **context, **masks)
    for array in context.values():
        array[:, -2:] = array[:, -2:] % (case.reads - 1) + 1 if case.reads else 100.0
    after = outputs(layer, changed_at(case, [-2, -1]), **context, **masks)
    real = slice(None) if case.pooled else slice(-2)
    np.testing.assert_allclose(after[:, real], before[:, real], atol=1e-6)


@pytest.mark.parametrize("case", [c for c in CASES if c.padded], ids=lambda case: case.name)
def test_how_much_padding_follows_changes_nothing(case):
    layer, ids = shared(case), case.inputs()
    ids[0, -2:] = 0
    padded = np.pad(ids, ((0, 0), (0, 7)))
    np.testing.assert_allclose(outputs(layer, padded), outputs(layer, ids), atol=1e-6)
    np.testing.assert_allclose(outputs(layer, ids[:1, :-2]), outputs(layer, ids)[:1], atol=1e-6)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.masked and c.pooled and not c.vocabulary], ids=lambda case: case.name
)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_text_without_a_real_token_gives_zeros(case, policy):
    inputs, mask = np.full(case.input_shape, np.nan, "float32"), np.zeros(case.input_shape[:2], bool)
    inputs[1], mask[1] = -60_000, True  # nearly the smallest number of float16; its sum is out of range
    result = outputs(built(case, dtype=policy), inputs, mask=mask)
    np.testing.assert_array_equal(result[0], 0)
    np.testing.assert_allclose(result[1], -60_000, rtol=0.01)


@pytest.mark.parametrize("case", [c for c in CASES if c.reference], ids=lambda case: case.name)
def test_parity_with_the_reference(case):
    layer = shared(case)
    expected = ops.convert_to_numpy(case.reference(layer, case.inputs(), **case.context()))
    np.testing.assert_allclose(outputs(layer, case.inputs(), **case.context()), expected, atol=1e-5)


# Quantised, and with LoRA


def dense_parts(layer) -> list:
    """What can be quantised, or adapted, in a layer."""
    kinds = (layers.Dense, layers.EinsumDense, layers.Embedding)
    return [part for part in layer._flatten_layers() if isinstance(part, kinds) and part is not layer]


QUANTISED = [case for case in CASES if case.quantised]
quantised = pytest.mark.parametrize("case", QUANTISED, ids=lambda case: case.name)


def test_every_case_with_dense_layers_inside_is_quantised():
    with_dense = {case.name for case in CASES if dense_parts(shared(case))}
    assert with_dense - {case.name for case in QUANTISED} == set()


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_quantised_model_stays_close_and_gives_the_same_in_a_fresh_process(tmp_path):
    expected = {}
    for case in QUANTISED:
        for mode in ("int8", "int4"):
            name = f"{case.name}.{mode}"
            model = as_model(built(case), case)
            before = usual(case)
            gc.freeze()  # Keras collects garbage for each kernel that it quantises: let it look at this model alone
            model.quantize(mode)
            assert all(part.quantization_mode == mode for part in dense_parts(model.layers[-1])), name
            after = np.array(model(fed(case)))
            error = np.abs(after - before).mean() / np.abs(before).mean()
            assert 1e-5 < error < {"int8": 0.06, "int4": 0.9}[mode], f"{name}: {error}"
            model.save(tmp_path / f"{name}.keras")
            np.savez(tmp_path / f"{name}.npz", *fed(case))
            expected[name] = after
    assert_loaded(tmp_path, expected, atol=1e-5)


def adaptable_parts(layer) -> list:
    """Without tied heads: Keras's LoRA of a ReversibleEmbedding reaches the lookup alone."""
    return [part for part in dense_parts(layer) if not isinstance(part, layers.ReversibleEmbedding)]


@pytest.mark.parametrize(
    "case", [case for case in QUANTISED if case.name != "lstm_language_model_tied"], ids=lambda case: case.name
)
def test_lora_trains_alone_and_a_file_holds_the_sum(case, tmp_path):
    layer = built(case)
    layer.trainable = False
    for part in adaptable_parts(layer):
        part.trainable = True
        part.enable_lora(2)
        if part.__dict__.get("bias") is not None or getattr(part, "bias", None) is not None:
            part.bias.trainable = False
    model = as_model(layer, case)
    before = usual(case)
    model.compile(keras.optimizers.SGD(0.5), "mse", run_eagerly=ON_TENSORFLOW)
    model.train_on_batch(fed(case), before + 1)
    assert all("lora" in weight.name for weight in model.trainable_variables)
    after = np.array(model(fed(case)))
    assert np.abs(after - before).max() > 1e-4
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(np.array(again(fed(case))), after, atol=1e-5)


def test_a_compiled_model_with_lora_loads_with_its_sum_and_without_its_optimizer(tmp_path):
    """With as many variables as the plain model has, the optimizer's state would fit and be wrong."""
    case = next(case for case in CASES if case.name == "neural_ngram")
    model = built(case)
    model.trainable = False
    for part in dense_parts(model):
        part.trainable = True
        part.enable_lora(2)
    model.compile("adam", "mse")
    model.train_on_batch(case.inputs(), np.ones(model(case.inputs()).shape))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert not again.compiled
    np.testing.assert_allclose(outputs(again, case.inputs()), outputs(model, case.inputs()), atol=1e-5)


REFUSED = [(case.refuses or type(made(case)), *one) for case in CASES for one in case.refused]


@pytest.mark.parametrize(("layer", "given", "word"), REFUSED)
def test_bad_arguments_are_refused_with_their_value(layer, given, word):
    with pytest.raises(ValueError, match=word):
        layer(**given)


DROPPING = ["efficientnet", "neural_ngram", "lstm_language_model", "bag_of_embeddings", "bilstm"]
DROPPING += ["seq2seq", "lstm_seq2seq", "bert", "bert_classifier"]
DROPPING += ["feed_forward_all_arguments", "attention_all_arguments", "block_all_arguments"]


@pytest.mark.parametrize("case", [c for c in CASES if c.name in DROPPING], ids=lambda case: case.name)
def test_dropout_acts_in_training_only(case):
    layer, context = built(case), case.context()
    expected = outputs(layer, case.inputs(), **context)
    np.testing.assert_array_equal(outputs(layer, case.inputs(), training=False, **context), expected)
    assert np.abs(outputs(layer, case.inputs(), training=True, **context) - expected).max() > 0


@pytest.mark.skipif(not ON_TENSORFLOW, reason="this is the run on the second backend")
def test_the_battery_passes_on_jax():
    """What differs by backend: a gradient, compiled caches, and of one model everything else.

    That each case computes the same numbers with JAX, `test_saved_model` has shown already.
    """
    # A network of convolutions compiles slowly, and its block stands for it. LoRA and files are Keras's own work.
    alike = "fresh_process or lora or bad_arguments or every_case or (efficientnet and gradient)"
    chosen = "test_layers and (gradient or gpt_modern) or (test_attention and compiled)"
    files = [Path(__file__), Path(__file__).with_name("test_attention.py")]
    run = subprocess.run(
        [*python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", f"({chosen}) and not ({alike})", *files],
        env=os.environ | ON_JAX,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
