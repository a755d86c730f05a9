"""Schedules, callbacks and class weights; a run that is killed and started again."""

import json
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from nursery import python
from sklearn.utils.class_weight import compute_class_weight

from kerasllm import training

ROOT = Path(__file__).parents[2]


def small_model(dropout=0.0, units=4):
    """Called eagerly: so few steps are done before they would be compiled. What test_resume.py trains is compiled."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(units), keras.layers.Dropout(dropout), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse", metrics=["mae"], run_eagerly=True)
    return model


INPUTS = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
TARGETS = INPUTS.sum(axis=1, keepdims=True)

# Schedules ------------------------------------------------------------------------------------

SCHEDULES = [training.warmup_cosine, training.warmup_linear]


@pytest.mark.parametrize("make", SCHEDULES)
def test_a_schedule_rises_to_its_peak_and_falls_to_its_end(make):
    schedule = make(0.02, steps=50, warmup_steps=10, final=0.1)
    rates = np.array([float(schedule(step)) for step in range(60)])
    assert rates[0] > 0, "the first step learns nothing"
    assert np.argmax(rates) == 10
    np.testing.assert_allclose(rates[10], 0.02, rtol=1e-6)
    np.testing.assert_allclose(rates[:11], np.linspace(0.002, 0.02, 11), rtol=1e-5)
    assert (np.diff(rates[10:51]) < 0).all()
    np.testing.assert_allclose(rates[50:], 0.002, rtol=1e-5)
    np.testing.assert_allclose(rates[30], 0.011, rtol=1e-5)  # half-way down both are at the middle


@pytest.mark.parametrize("make", SCHEDULES)
def test_a_schedule_without_warm_up_starts_at_the_peak(make):
    assert float(make(0.5, steps=4)(0)) == pytest.approx(0.5)
    assert float(make(0.5, steps=4)(4)) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("make", SCHEDULES)
def test_a_schedule_trains_and_comes_back_from_a_file(make, tmp_path):
    model = small_model()
    model.compile(keras.optimizers.Adam(make(0.02, steps=10, warmup_steps=2)), "mse")
    model.fit(INPUTS, TARGETS, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert again.get_config() == model.optimizer.get_config()
    assert float(again.learning_rate) == pytest.approx(float(model.optimizer.learning_rate))


@pytest.mark.parametrize("make", SCHEDULES)
@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"peak": 0.0, "steps": 5}, "peak"),
        ({"peak": 0.1, "steps": 0}, "steps"),
        ({"peak": 0.1, "steps": 5, "warmup_steps": 5}, "warmup_steps"),
        ({"peak": 0.1, "steps": 5, "final": 1.5}, "final"),
    ],
)
def test_a_schedule_refuses_what_makes_no_sense(make, given, word):
    with pytest.raises(ValueError, match=word):
        make(**given)


@pytest.mark.parametrize("steps", [1, 2, 19, np.int64(1), np.int32(50)])
@pytest.mark.parametrize("recipe", [training.classic, training.modern])
def test_a_recipe_of_any_length_passes_its_own_checks(recipe, steps):
    optimizer = recipe(steps, accumulate=np.int64(1), weight_decay=np.float32(0.1))
    assert float(optimizer.learning_rate) > 0
    assert optimizer.gradient_accumulation_steps is None
    json.dumps(optimizer.get_config()["learning_rate"])


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"steps": True}, "steps must be a whole number from 1 up, not True"),
        ({"steps": 2.0}, "steps must be a whole number"),
        ({"steps": 9, "weight_decay": -1}, "weight_decay must be"),
        ({"steps": 9, "beta_2": 1}, "beta_2 must be"),
        ({"steps": 9, "accumulate": 0}, "accumulate must be a whole number from 1 up or None, not 0"),
        ({"steps": 9, "warmup_steps": 9}, "warmup_steps must be a whole number from 0 to 8, not 9"),
        ({"steps": 9, "learning_rate": float("nan")}, "peak must be a number above 0"),
    ],
)
def test_a_recipe_names_the_argument_that_makes_no_sense(given, word):
    for recipe in (training.classic, training.modern):
        with pytest.raises(ValueError, match=word):
            recipe(**given)


# Class weights --------------------------------------------------------------------------------


def test_class_weights_are_those_of_scikit_learn():
    labels = np.random.default_rng(0).choice([0, 1, 4], p=[0.7, 0.2, 0.1], size=500)
    expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    weights = training.class_weights(labels)
    assert list(weights) == [0, 1, 4]
    np.testing.assert_allclose(list(weights.values()), expected)
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1)


def test_class_weights_of_a_column_of_names():
    pd = pytest.importorskip("pandas")
    column = pd.Series(pd.Categorical(["no", "no", "no", "yes"], ["no", "yes"]))
    assert training.class_weights(column) == training.class_weights([0, 0, 0, 1])


@pytest.mark.parametrize("labels", [[], ["a", "b"], [0.5, 1.0], [-1, 0], [[0], [1]]])
def test_class_weights_refuse_what_are_no_class_numbers(labels):
    with pytest.raises(ValueError, match="label"):
        training.class_weights(labels)


# Progress -------------------------------------------------------------------------------------


def test_progress_is_one_line_an_epoch_with_every_measured_name(capsys):
    small_model().fit(
        INPUTS, TARGETS, epochs=3, verbose=0, validation_data=(INPUTS, TARGETS), callbacks=[training.ProgressLine(2)]
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/3", "epoch 3/3"]
    for name in ("loss", "mae", "val_loss", "val_mae"):
        assert f"  {name} " in lines[0]


def with_class_scores():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score()])
    return model


CLASSES = np.eye(2, dtype="float32")[np.arange(12) % 2]


def test_a_metric_of_each_class_is_shown_and_kept(tmp_path, capsys):
    callbacks = [training.ProgressLine(), training.Resume(tmp_path / "state.npz")]
    with_class_scores().fit(INPUTS, CLASSES, epochs=2, verbose=0, callbacks=callbacks)
    assert re.search(r"  f1_score [0-9.]+ [0-9.]+", capsys.readouterr().out.splitlines()[1])
    scores = training.Resume(tmp_path / "state.npz").history["f1_score"]
    assert np.shape(scores) == (2, 2)


def test_progress_ends_with_the_epoch_that_training_was_stopped_in(capsys):
    model = small_model()
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 2))
    model.fit(INPUTS, TARGETS, epochs=30, verbose=0, callbacks=[training.ProgressLine(np.int64(10)), stop])
    assert [line.split("/")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch  1", "epoch  3"]
    with pytest.raises(ValueError, match="every must be a whole number from 1 up, not True"):
        training.ProgressLine(True)


# NaN ------------------------------------------------------------------------------------------


def batches_with_nan(at=(3, 1)):
    inputs = np.arange(30, dtype="float32").reshape(10, 3)
    inputs[at] = np.nan
    return [(inputs[i : i + 1], np.ones((1, 1), "float32")) for i in range(10)]


class InOrder(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        return self.batches[i]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", ["list", "PyDataset", "tf.data"])
def test_stop_at_nan_keeps_the_batch(kind, shuffle, capsys):
    data = batches_with_nan()
    if kind == "PyDataset":
        data = InOrder(data)
    if kind == "tf.data":
        tf = pytest.importorskip("tensorflow")
        data = tf.data.Dataset.from_tensor_slices(tuple(map(np.stack, zip(*data, strict=True))))
        data = data.shuffle(10, seed=1) if shuffle else data
    model, guard = small_model(), training.StopAtNaN()
    history = model.fit(guard.watch(data), epochs=3, shuffle=shuffle, verbose=0, callbacks=[guard])
    assert len(history.history["loss"]) == 1
    [(inputs, _)] = guard.batches
    assert np.isnan(np.array(inputs)).any()
    assert guard.epoch == 0
    if not shuffle:
        assert guard.step == 3
    assert f"epoch 1, step {guard.step + 1} is nan" in capsys.readouterr().out


def test_stop_at_nan_also_stops_at_infinity_and_without_watching(capsys):
    model, guard = small_model(), training.StopAtNaN()
    model.fit(INPUTS, TARGETS * np.float32(1e30), epochs=3, batch_size=4, verbose=0, callbacks=[guard])
    assert (guard.epoch, guard.step, guard.batches) == (0, 0, [])
    assert "is inf" in capsys.readouterr().out


def test_stop_at_nan_changes_nothing_in_a_healthy_run():
    data = [(INPUTS[i : i + 4], TARGETS[i : i + 4]) for i in (0, 4, 8)]
    plain = small_model().fit(InOrder(data), epochs=2, shuffle=False, verbose=0).history
    guard = training.StopAtNaN()
    watched = small_model().fit(guard.watch(data), epochs=2, shuffle=False, verbose=0, callbacks=[guard]).history
    assert watched == plain
    assert guard.step is None


@pytest.mark.parametrize("kind", ["list", "tf.data"])
def test_a_second_fit_is_watched_as_the_first_one(kind):
    data = batches_with_nan()
    if kind == "tf.data":
        tf = pytest.importorskip("tensorflow")
        data = tf.data.Dataset.from_tensor_slices(tuple(map(np.stack, zip(*data, strict=True))))
    guard = training.StopAtNaN()
    watched = guard.watch(data)
    for _ in range(2):
        small_model().fit(watched, epochs=2, shuffle=False, verbose=0, callbacks=[guard])
        assert guard.step == 3
        assert np.isnan(np.array(guard.batches[0][0])).any()


def test_watching_a_data_set_changes_neither_its_batches_nor_their_order():
    tf = pytest.importorskip("tensorflow")
    read = []

    def batches():  # another order in each epoch
        read.append(len(read))
        for i in range(3):
            yield np.full((2, 3), 10.0 * read[-1] + i, "float32"), np.ones((2, 1), "float32")

    signature = (tf.TensorSpec((2, 3)), tf.TensorSpec((2, 1)))
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    data = data.apply(tf.data.experimental.assert_cardinality(3))
    seen = []

    class Notes(keras.Sequential):
        def train_step(self, inputs):
            seen.append(float(inputs[0][0, 0]))
            return super().train_step(inputs)

    model = Notes([keras.Input((3,)), keras.layers.Dense(1)])  # built, so that fit need not look at a batch first
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(training.StopAtNaN().watch(data), epochs=2, shuffle=False, verbose=0)
    assert seen == [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]
    with pytest.raises(ValueError, match="give it a length"):
        training.StopAtNaN().watch(iter([1]))


# Resume ---------------------------------------------------------------------------------------

RUN = """
import os, signal, sys
import keras, numpy as np
from kerasllm import batches, training

path, result, last_step = sys.argv[1], sys.argv[2], int(sys.argv[3])
keras.utils.set_random_seed(7)
numbers = np.random.default_rng(0)
ids = [numbers.integers(1, 20, numbers.integers(2, 9)) for _ in range(24)]
labels = np.array([row.sum() % 2 for row in ids])
model = keras.Sequential([
    keras.layers.Embedding(20, 8), keras.layers.Dropout(0.5), keras.layers.GlobalAveragePooling1D(),
    keras.layers.Dense(2),
])
model.build((None, None))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.AdamW(training.warmup_cosine(0.05, steps=36, warmup_steps=4)), loss)
resume = training.Resume(path)
left = {"epochs": 6 - resume.epoch, "start_epoch": resume.epoch}
data = batches.padded(ids, labels, batch_size=4, buckets=2, shuffle=True, seed=3, **left)
steps = []

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        steps.append(batch)
        if len(steps) == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

of_epochs = {"epochs": 6, "initial_epoch": resume.epoch, "steps_per_epoch": batches.steps_per_epoch(data)}
model.fit(data, **of_epochs, shuffle=False, verbose=0, callbacks=[resume, Kill()])
np.savez(result, *model.get_weights(), loss=resume.history["loss"], steps=len(steps))
"""


def test_a_killed_run_ends_like_one_that_was_not(tmp_path, monkeypatch):
    state, resumed = tmp_path / "killed.npz", tmp_path / "resumed.npz"
    # Killed at the third step of the third epoch, in a process of its own.
    killed = subprocess.run([*python(), "-c", RUN, state, resumed, "15"], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert not resumed.exists()
    whole = tmp_path / "whole.npz"
    for path, result in ((state, resumed), (tmp_path / "other.npz", whole)):
        monkeypatch.setattr(sys, "argv", ["run", str(path), str(result), "0"])
        exec(RUN, {})
    expected, found = dict(np.load(whole)), dict(np.load(resumed))
    assert (expected.pop("steps"), found.pop("steps")) == (36, 24)
    assert len(found["loss"]) == 6
    assert set(expected) == set(found)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_kill_while_the_state_is_written_leaves_the_state_before(tmp_path, monkeypatch):
    path, model = tmp_path / "state.npz", small_model()
    model.fit(INPUTS, TARGETS, epochs=1, verbose=0, callbacks=[training.Resume(path)])
    before = path.read_bytes()

    def interrupted(file, **arrays):
        file.write(b"half a state")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    resume = training.Resume(path)
    with pytest.raises(KeyboardInterrupt):
        model.fit(INPUTS, TARGETS, epochs=2, initial_epoch=1, verbose=0, callbacks=[resume])
    assert path.read_bytes() == before
    assert training.Resume(path).epoch == 1


def test_resume_brings_back_dropout_optimizer_and_random_generators(tmp_path):
    path, model = tmp_path / "state.npz", small_model(dropout=0.5)
    model.fit(INPUTS, TARGETS, epochs=2, verbose=0, shuffle=False, callbacks=[training.Resume(path)])
    drawn = random.random(), np.random.random()
    state = [np.array(variable) for variable in model.variables + model.optimizer.variables]

    again, resume = small_model(dropout=0.5), training.Resume(path)
    assert resume.epoch == 2
    again.fit(INPUTS, TARGETS, epochs=2, initial_epoch=2, verbose=0, callbacks=[resume])
    assert (random.random(), np.random.random()) == drawn
    for variable, value in zip(again.variables + again.optimizer.variables, state, strict=True):
        np.testing.assert_array_equal(np.array(variable), value, err_msg=variable.path)


def test_resume_says_when_the_state_does_not_fit(tmp_path):
    path = tmp_path / "state.npz"
    small_model().fit(INPUTS, TARGETS, epochs=1, verbose=0, callbacks=[training.Resume(path)])
    with pytest.raises(ValueError, match=r"another model.*units is 4 in the state and 5 here"):
        small_model(units=5).fit(
            INPUTS, TARGETS, epochs=2, initial_epoch=1, verbose=0, callbacks=[training.Resume(path)]
        )
    with pytest.raises(ValueError, match=r"initial_epoch=resume\.epoch"):
        small_model().fit(INPUTS, TARGETS, epochs=2, verbose=0, callbacks=[training.Resume(path)])
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a state"):
        training.Resume(path)


def state_of(model):
    return [np.array(variable) for variable in model.variables + model.optimizer.variables]


def fit(model, resume, epochs, **arguments):
    arguments = {"initial_epoch": resume.epoch, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(INPUTS, TARGETS, epochs=epochs, callbacks=[resume], **arguments).history.get("loss", [])


def test_a_second_fit_with_the_same_callback_goes_on(tmp_path):
    path = tmp_path / "state.npz"
    fit(small_model(), training.Resume(path), 2)
    model, resume = small_model(), training.Resume(path)
    losses = fit(model, resume, 4) + fit(model, resume, 6)
    whole = small_model().fit(INPUTS, TARGETS, epochs=6, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, whole[2:], rtol=1e-5)
    again = small_model()  # another model with the same callback begins where the file ends
    np.testing.assert_allclose(fit(again, resume, 7), fit(model, training.Resume(tmp_path / "other"), 1), rtol=1e-5)


def test_a_fit_that_was_stopped_in_an_epoch_goes_on_after_the_one_before(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 8:
                raise KeyboardInterrupt

    model, resume = small_model(), training.Resume(tmp_path / "state.npz")
    with pytest.raises(KeyboardInterrupt):
        model.fit(INPUTS, TARGETS, batch_size=4, epochs=4, shuffle=False, verbose=0, callbacks=[resume, Stop()])
    assert resume.epoch == 2
    losses = fit(model, resume, 4, batch_size=4)
    whole = small_model().fit(INPUTS, TARGETS, batch_size=4, epochs=4, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, whole[2:], rtol=1e-5)


def attention_model(num_heads=2, dtype="float32", dropout=0.1, residual=True):
    inputs = keras.Input((3, 8))
    x = keras.layers.MultiHeadAttention(num_heads, 8 // num_heads, dropout=dropout, dtype=dtype)(inputs, inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(x + inputs if residual else x + x))
    model.compile(training.classic(20, 0.01), "mse", run_eagerly=True)
    return model


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"num_heads": 4}, "num_heads is 2 in the state and 4 here|num_heads"),
        ({"dropout": 0.2}, "dropout is 0.1 in the state and 0.2 here"),
        ({"residual": False}, "keras_history"),
        ({"dtype": "mixed_bfloat16"}, "dtype.*float32.* in the state and .*mixed_bfloat16.* here"),
    ],
)
def test_a_state_of_another_configuration_is_refused_though_its_shapes_fit(changes, word, tmp_path):
    x = np.ones((2, 3, 8), "float32")
    path = tmp_path / "state.npz"
    attention_model().fit(x, x[..., :1], epochs=1, verbose=0, callbacks=[training.Resume(path)])
    resume = training.Resume(path)
    numbers = {"epochs": 2, "initial_epoch": 1, "verbose": 0, "callbacks": [resume]}
    with pytest.raises(ValueError, match=word):
        attention_model(**changes).fit(x, x[..., :1], **numbers)
    attention_model().fit(x, x[..., :1], **numbers)  # the same one, in which Keras counts names on
    assert resume.epoch == 2


OPTIMIZERS = {
    "weight_decay is 0.1": lambda: training.classic(20, weight_decay=0.2),
    "learning_rate.*longer=True": lambda: training.classic(40),
    "class_name": lambda: keras.optimizers.Adam(training.warmup_cosine(1e-3, 20, 1, 0.1)),
}


@pytest.mark.parametrize("word", OPTIMIZERS)
def test_a_state_of_another_optimizer_is_refused(word, tmp_path):
    path, model = tmp_path / "state.npz", small_model()
    model.compile(training.classic(20), "mse")
    fit(model, training.Resume(path), 1)
    other = small_model()
    other.compile(OPTIMIZERS[word](), "mse")
    with pytest.raises(ValueError, match=word):
        fit(other, training.Resume(path), 2)


@pytest.mark.parametrize("new", [lambda: training.classic(40, 0.1), lambda: 0.003], ids=["schedule", "number"])
def test_a_finished_run_is_made_longer_when_asked_for(new, tmp_path):
    path, rate = tmp_path / "state.npz", new()
    kind = keras.optimizers.Adam if isinstance(rate, float) else lambda one: one
    first, second = small_model(), small_model()
    first.compile(kind(0.01) if isinstance(rate, float) else training.classic(4, 0.1), "mse")
    fit(first, training.Resume(path), 4)
    second.compile(kind(rate), "mse")
    resume = training.Resume(path, longer=True)
    assert resume.epoch == 4
    fit(second, resume, 8)
    assert len(resume.history["loss"]) == 8
    assert int(second.optimizer.iterations) == 8
    if isinstance(rate, float):
        assert float(second.optimizer.learning_rate) == pytest.approx(0.003)
    else:
        assert float(second.optimizer.learning_rate) == pytest.approx(
            float(training.classic(40, 0.1)._learning_rate(8))
        )
    third = small_model()  # and from then on the new one is the run's
    third.compile(kind(new()), "mse")
    fit(third, training.Resume(path), 9)


def test_a_rate_that_a_callback_lowered_is_no_other_configuration(tmp_path):
    def lower(epoch, rate):
        return 0.5 * rate

    def run(epochs):
        model, resume = small_model(), training.Resume(tmp_path / "state.npz")
        numbers = {"epochs": epochs, "initial_epoch": resume.epoch, "verbose": 0}
        model.fit(INPUTS, TARGETS, **numbers, callbacks=[keras.callbacks.LearningRateScheduler(lower), resume])
        return float(model.optimizer.learning_rate)

    run(2)
    assert run(4) == pytest.approx(0.001 / 16)


def test_a_state_of_the_first_edition_still_loads(tmp_path):
    path, model = tmp_path / "state.npz", small_model()
    fit(model, training.Resume(path), 2)
    with np.load(path) as file:
        arrays = dict(file)
    facts = json.loads(str(arrays.pop("facts")))
    del facts["configuration"]
    np.savez(path, facts=np.array(json.dumps(facts)), **arrays)
    again = small_model()
    fit(again, training.Resume(path), 2)
    for one, other in zip(state_of(again), state_of(model), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"another model.*\(3, 5\)"):
        fit(small_model(units=5), training.Resume(path), 3)


def test_a_state_is_written_whole_and_follows_no_planted_link(tmp_path, monkeypatch):
    path, other = tmp_path / "state.npz", tmp_path / "other"
    other.write_text("mine")
    path.with_name("state.npz.unfinished").symlink_to(other)
    fit(small_model(), training.Resume(path), 1)
    assert other.read_text() == "mine"
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda file, **arrays: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(small_model(), training.Resume(path), 2)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_a_model_without_a_config_is_resumed_by_its_shapes_once_it_is_built(tmp_path):
    class Mine(keras.Model):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def call(self, x):
            return self.layer(x)

    def run(epochs, built=True):
        keras.utils.set_random_seed(1)
        model, resume = Mine(keras.layers.Dense(1)), training.Resume(tmp_path / "state.npz")
        if built:
            model(INPUTS)
        model.compile("adam", "mse")
        fit(model, resume, epochs)
        return resume.epoch

    assert (run(1), run(3)) == (1, 3)
    with pytest.raises(ValueError, match="call it once on a batch"):
        run(4, built=False)
