"""Schedules, callbacks and class weights; a run that is killed and started again."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from kerasllm import training

ROOT = Path(__file__).parents[2]


def small_model(dropout=0.0, units=4):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(units), keras.layers.Dropout(dropout), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse", metrics=["mae"])
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
    # Killed at the third step of the third epoch, in a process of its own; so is the run that goes on.
    killed = subprocess.run([sys.executable, "-c", RUN, state, resumed, "15"], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert not resumed.exists()
    subprocess.run([sys.executable, "-c", RUN, state, resumed, "0"], cwd=ROOT, check=True, capture_output=True)

    whole = tmp_path / "whole.npz"
    monkeypatch.setattr(sys, "argv", ["run", str(tmp_path / "other.npz"), str(whole), "0"])
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
    with pytest.raises(ValueError, match=r"another model.*\(3, 5\)"):
        small_model(units=5).fit(
            INPUTS, TARGETS, epochs=2, initial_epoch=1, verbose=0, callbacks=[training.Resume(path)]
        )
    with pytest.raises(ValueError, match=r"initial_epoch=resume\.epoch"):
        small_model().fit(INPUTS, TARGETS, epochs=2, verbose=0, callbacks=[training.Resume(path)])
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a state"):
        training.Resume(path)
