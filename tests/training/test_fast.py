"""Steps that take less time compute the same as those of Keras, and are gone when a model comes back from a file."""

import copy
import pickle
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from nursery import python

from kerasllm import training
from kerasllm.models import GPT, gpt_settings

ROOT = Path(__file__).parents[2]

IDS = np.random.default_rng(0).integers(0, 9, (22, 8)).astype("int32")
SMALL = {"vocabulary_size": 9, "context_length": 8, "num_layers": 1, "num_heads": 2, "embedding_dim": 8}


def trained(parts=None, optimizer=None, metrics=("accuracy",), rows=22, eager=False, **changes):
    """Losses, metrics and weights after two epochs of batches of 4, the last of 2 or 1."""
    keras.utils.set_random_seed(1)
    kwargs = {"dtype": changes.pop("dtype")} if "dtype" in changes else {}
    model = GPT(gpt_settings(**{**SMALL, **changes}), **kwargs)
    optimizer = optimizer or training.classic(steps=12, learning_rate=0.01)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=list(metrics), jit_compile=False, run_eagerly=eager)
    if parts:
        training.train_in_parts(model, parts)
    history = model.fit(IDS[:rows], (IDS[:rows] + 1) % 9, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    return {**history, "weights": np.concatenate([w.ravel() for w in model.get_weights()])}


def assert_same(first, second, rtol=1e-4, atol=2e-5):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize(("changes", "rows"), [({}, 20), ({"tied": False, "zero_init": True}, 22)], ids=str)
def test_parts_of_a_batch_end_with_the_weights_of_the_whole(changes, rows):
    whole = trained(rows=rows, **changes)
    assert whole["loss"][1] < whole["loss"][0]
    assert_same(trained(parts=2, rows=rows, **changes), whole)


def test_parts_accumulate_and_scale_their_gradients_as_the_whole_does():
    optimizers = [training.classic(steps=12, learning_rate=0.01, accumulate=2) for _ in range(2)]
    assert_same(trained(parts=2, optimizer=optimizers[0]), trained(optimizer=optimizers[1]))
    optimizers = [keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0) for _ in range(2)]
    assert_same(trained(parts=2, optimizer=optimizers[0]), trained(optimizer=optimizers[1]))


def test_parts_with_dropout_learn():
    history = trained(parts=2, dropout=0.2)
    assert history["loss"][1] < history["loss"][0]


def test_parts_are_taken_and_not_only_asked_for(monkeypatch):
    calls = []
    monkeypatch.setattr(
        GPT, "call", lambda self, x, training=None, call=GPT.call: calls.append(x.shape) or call(self, x)
    )
    trained(parts=2, rows=20)
    assert (2, 8) in calls


def test_parts_refuse_what_they_would_change():
    model = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="parts must be a whole number from 1 up, not 0"):
        training.train_in_parts(model, 0)
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    training.train_in_parts(model).compile("sgd", "mse", jit_compile=True)
    with pytest.raises(ValueError, match="jit_compile=False"):
        model.fit(x, y, verbose=0)
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"), jit_compile=False)
    with pytest.raises(ValueError, match="reduction is 'sum'"):
        model.fit(x, y, verbose=0)


def test_sample_weights_count_with_parts_too():
    x, y = np.array([[1.0], [2.0]], "float32"), np.array([[1.0], [5.0]], "float32")
    losses = []
    for in_parts in (False, True):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Dense(1)])
        if in_parts:
            training.train_in_parts(model, 2)
        model.compile("sgd", "mse", jit_compile=False)
        # With a size that fit does not know in advance, all would be computed whole.
        weights = {"sample_weight": np.array([1.0, 0.0]), "batch_size": 2}
        losses.append(model.fit(x, y, **weights, verbose=0).history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "arguments"),  # an untied embedding has sparse gradients
    [
        ({}, {}),
        ({"tied": False}, {}),
        ({}, {"global_clipnorm": 0.5, "weight_decay": 0.3}),
        ({"tied": False}, {"amsgrad": True}),
    ],
    ids=str,
)
def test_a_fused_adamw_is_that_of_keras(changes, arguments):
    ours, theirs = training.fuse(keras.optimizers.AdamW(0.01, **arguments)), keras.optimizers.AdamW(0.01, **arguments)
    first, second = (trained(optimizer=one, metrics=(), eager=True, **changes) for one in (ours, theirs))
    assert_same(first, second)
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-5, err_msg=one.path)


def test_a_fused_adamw_takes_gradients_of_another_dtype():
    first, second = (
        trained(optimizer=one, metrics=(), dtype="mixed_bfloat16")
        for one in (training.fuse(keras.optimizers.AdamW(0.01)), keras.optimizers.AdamW(0.01))
    )
    assert_same(first, second, rtol=0.01, atol=0.02)  # bfloat16 has two to three digits


def test_fused_steps_are_taken_and_not_only_asked_for(monkeypatch):
    import tensorflow as tf

    calls = []
    real = tf.raw_ops.ResourceApplyAdam
    monkeypatch.setattr(tf.raw_ops, "ResourceApplyAdam", lambda **given: calls.append(1) or real(**given))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    for fused, count in ((False, 0), (True, 2)):
        model.compile(training.classic(9, fused=fused), "mse", run_eagerly=True)
        model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
        assert len(calls) == count
    with pytest.raises(ValueError, match="Muon has other steps"):
        training.fuse(training.modern(9))


def test_a_train_step_of_its_own_is_not_replaced():
    class Mine(keras.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    with pytest.raises(ValueError, match="train_step of its own"):
        training.train_in_parts(Mine([keras.layers.Dense(1)]))
    model = training.train_in_parts(training.train_in_parts(keras.Sequential([keras.layers.Dense(1)])), 4)
    for _ in range(2):  # it stays after another compile
        model.compile("sgd", "mse", jit_compile=False)
        assert model.train_step.parts == 4
        model.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)


def test_parts_refuse_batch_normalisation():
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    training.train_in_parts(model).compile("sgd", "mse", jit_compile=False)
    with pytest.raises(ValueError, match="over the whole batch"):
        model.fit(np.ones((4, 3)), np.ones((4, 3)), verbose=0)


STRATEGY = """
import keras, numpy as np, tensorflow as tf
from kerasllm import training
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
for parts in (None, 2):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(training.classic(9, fused=bool(parts)), "mse", jit_compile=False)
        if parts:
            training.speed_up(training.train_in_parts(model, parts))
        losses = model.fit(x, x[:, :1], batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
        print(*(f"{loss:.5f}" for loss in losses))
"""


def test_fast_paths_report_the_same_loss_under_a_strategy():
    run = subprocess.run([*python(), "-c", STRATEGY], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr[-2000:]
    plain, fast = run.stdout.splitlines()
    assert plain == fast


# Gradients written by hand ----------------------------------------------------------------------

LAYERS = {
    "layer norm": lambda dtype: keras.layers.LayerNormalization(dtype=dtype),
    "layer norm, no beta": lambda dtype: keras.layers.LayerNormalization(center=False, dtype=dtype),
    "layer norm, no gamma": lambda dtype: keras.layers.LayerNormalization(scale=False, dtype=dtype),
    "layer norm, two axes": lambda dtype: keras.layers.LayerNormalization(axis=(1, 2), dtype=dtype),
    "rms norm": lambda dtype: keras.layers.RMSNormalization(dtype=dtype),
    "tall": lambda dtype: keras.layers.Dense(3, activation="gelu", dtype=dtype),
    "tall, no bias": lambda dtype: keras.layers.Dense(3, use_bias=False, dtype=dtype),
    "wide": lambda dtype: keras.layers.Dense(20, dtype=dtype),
}
BY_HAND = {"layer norm", "layer norm, no beta", "rms norm", "tall", "tall, no bias"}
X = np.random.default_rng(0).normal(1.0, 2.0, (2, 5, 8)).astype("float32")


def gradients(layers, jit, calls):
    """Of each layer the outputs, and the gradients of the inputs and all weights; and which of them added to `calls`.

    One function for all layers: a compiler takes its time for each function.
    """
    import tensorflow as tf

    x, by_hand = tf.constant(X), set()

    def one(kind, layer):
        before = len(calls)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x)
            loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 3)
        if len(calls) > before:
            by_hand.add(kind)
        return [outputs, *tape.gradient(loss, [x, *(weight.value for weight in layer.weights)])]

    @tf.function(jit_compile=jit, autograph=False)
    def compute():
        return {kind: one(kind, layer) for kind, layer in layers.items()}

    found = compute()
    return {kind: [np.array(keras.ops.cast(each, "float32")) for each in of] for kind, of in found.items()}, by_hand


def twins(kind, dtype):
    """A plain layer and one that was sped up, with the same weights."""
    plain, fast = LAYERS[kind](dtype), LAYERS[kind](dtype)
    for layer in (plain, fast):
        layer.build(X.shape)
        for i, weight in enumerate(layer.weights):
            weight.assign(np.random.default_rng(i).normal(1.0, 0.5, weight.shape))
    training.speed_up(keras.Sequential([fast]))
    return plain, fast


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_gradients_by_hand_are_those_of_the_plain_layers(dtype, jit, monkeypatch):
    from kerasllm.training import fast as room

    calls = []
    for name in ("normalize", "_product"):
        real = getattr(room, name)
        monkeypatch.setattr(room, name, lambda *a, real=real, **k: calls.append(1) or real(*a, **k))
    rtol, atol = {"float32": (1e-4, 1e-4), "mixed_bfloat16": (0.03, 0.3), "mixed_float16": (0.005, 0.05)}[dtype]
    pairs = {kind: twins(kind, dtype) for kind in LAYERS}
    expected, none = gradients({kind: plain for kind, (plain, _) in pairs.items()}, jit, calls)
    found, by_hand = gradients({kind: fast for kind, (_, fast) in pairs.items()}, jit, calls)
    assert (none, by_hand) == (set(), BY_HAND)
    for kind in LAYERS:
        for one, other in zip(found[kind], expected[kind], strict=True):
            np.testing.assert_allclose(one, other, rtol=rtol, atol=atol * np.abs(other).mean(), err_msg=kind)


def sped_up():
    keras.utils.set_random_seed(3)
    layers = [keras.layers.LayerNormalization(), keras.layers.Dense(3), keras.layers.RMSNormalization()]
    model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return training.speed_up(model)


def test_a_model_that_is_sped_up_is_saved_copied_and_loaded_as_a_plain_one(tmp_path):
    model, rows = sped_up(), X.reshape(10, 8)
    model.fit(rows, rows[:, :1], epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    expected = model.predict(rows, verbose=0)
    for again in (
        keras.saving.load_model(tmp_path / "model.keras"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        keras.models.clone_model(model),
    ):
        assert not any("call" in vars(layer) for layer in training.fast.every_layer(again))
        again.set_weights(model.get_weights())
        np.testing.assert_allclose(again.predict(rows, verbose=0), expected, rtol=1e-5, atol=1e-6)
    model.export(tmp_path / "exported", verbose=False)


def test_a_model_that_is_sped_up_quantises_and_takes_adapters_as_before():
    rows = X.reshape(10, 8)
    plain, fast = sped_up(), sped_up()
    for layer in training.fast.every_layer(plain):
        vars(layer).pop("call", None)
    for model in (plain, fast):
        model.layers[1].enable_lora(2)
        model.layers[1].lora_kernel_b.assign(np.ones((2, 3)))
        model.layers[1].lora_kernel_a.assign(np.ones((8, 2)))
    np.testing.assert_allclose(fast.predict(rows, verbose=0), plain.predict(rows, verbose=0), rtol=1e-4, atol=1e-5)
    for model in (plain, fast):
        training.merge_adapter(model)
        model.quantize("int8")
    np.testing.assert_allclose(fast.predict(rows, verbose=0), plain.predict(rows, verbose=0), rtol=1e-4, atol=1e-5)


def test_a_layer_that_computes_something_else_keeps_its_call():
    class Half(keras.layers.Dense):
        def call(self, inputs, training=None):
            return super().call(inputs) / 2

    layers = [Half(2), keras.layers.Dense(2, dtype="float64"), keras.layers.LayerNormalization(dtype="float64")]
    expected = [np.array(layer(X.astype(layer.compute_dtype))) for layer in layers]
    training.speed_up(keras.Sequential(layers))
    for layer, value in zip(layers, expected, strict=True):
        np.testing.assert_array_equal(layer(X.astype(layer.compute_dtype)), value)
