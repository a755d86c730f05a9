"""GRPO that is killed at any moment ends with the log and the weights of a run that was left alone."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from nursery import python
from tuning_cases import set_values, small_gpt, values

from kerasllm import training

ROOT = Path(__file__).parents[2]
PROMPTS, STEPS, EVERY = [[1], [2], [3], [4, 5], [6]], 7, 2


def reward(prompt, reply):
    return reply.count(prompt[0]) + np.random.random()  # lots from NumPy's global generator


def made(model):
    tuner = training.GRPO(model, reward, group=8, max_new_tokens=4)
    tuner.compile(keras.optimizers.Adam(0.02), jit_compile=False)
    return tuner


def run(tuner, state, each=None, steps=STEPS, resume=True):
    np.random.seed(3)
    where = training.Resume(state) if resume else None
    return tuner.run(PROMPTS, steps, prompts_at_once=2, seed=5, each=each, resume=where, every=EVERY)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def child(state, what, number):
    """Train until the kill: in the middle of a writing, or behind a step."""
    savez, calls = np.savez, []

    def write(file, **arrays):
        calls.append(file.name)
        savez(file, **arrays)
        if what == "write" and len(calls) == number:
            file.truncate(file.tell() // 2)
            kill()

    np.savez = write
    run(made(small_gpt()), state, lambda row, _: what == "step" and row["step"] == number and kill())


@pytest.fixture(scope="module")
def whole():
    """A run that nobody stopped and that wrote no file: the model and its start, its log and its last weights."""
    model = small_gpt()
    start = values(model)
    tuner = made(model)
    return model, start, run(tuner, None, resume=False), values(model), optimizer_values(tuner)


def optimizer_values(tuner):
    return [keras.ops.convert_to_numpy(one) for one in tuner.optimizer.variables]


@pytest.mark.parametrize("what", ["write", "step"])
def test_a_run_that_is_killed_ends_like_one_that_was_not(what, whole, tmp_path):
    model, start, log, weights, optimizer = whole
    number = random.Random().randint(2, -(-STEPS // EVERY) if what == "write" else STEPS)
    state = tmp_path / "state.npz"
    command = [*python(), __file__, str(state), what, str(number)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    set_values(model, start)
    tuner, seen = made(model), []
    found = run(tuner, state, lambda row, samples: seen.append(row["step"]))
    note = f"killed in {what} {number}"
    before = (number - 1) * EVERY if what == "write" else (number - 1) // EVERY * EVERY  # steps that the file held
    assert seen == list(range(before + 1, STEPS + 1)), note
    assert [row["step"] for row in found] == list(range(1, STEPS + 1))
    assert all(row.keys() == log[0].keys() for row in found)
    for name in log[0]:
        wanted = [row[name] for row in log]
        np.testing.assert_allclose([row[name] for row in found], wanted, rtol=1e-4, atol=1e-6, err_msg=f"{note} {name}")
    for one, other in zip([*values(model), *optimizer_values(tuner)], [*weights, *optimizer], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6, err_msg=note)


def test_a_finished_run_is_there_again_and_a_file_of_another_model_is_refused(whole, tmp_path):
    model, start, _, _, _ = whole
    set_values(model, start)
    log = run(made(model), tmp_path / "state.npz", steps=EVERY)
    ended = values(model)
    set_values(model, start)
    assert run(made(model), tmp_path / "state.npz", each=pytest.fail, steps=EVERY) == log
    assert all(np.array_equal(one, other) for one, other in zip(values(model), ended, strict=True))
    with pytest.raises(ValueError, match="the state of another model or optimizer"):
        run(made(small_gpt(embedding_dim=16)), tmp_path / "state.npz")


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], int(sys.argv[3]))
