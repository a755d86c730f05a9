"""A GPT whose training is killed at any moment ends with the losses and weights of one that was left alone."""

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

from kerasllm import batches, models, training

ROOT = Path(__file__).parents[2]
EPOCHS, STEPS = 5, 4
SCHEDULE = {"steps": EPOCHS * STEPS, "warmup_steps": 3}
# name -> policy, optimizer
RUNS = {
    # Under mixed_float16 Keras puts a loss scaling around the optimizer, which has a state of its own.
    "adamw": ("mixed_float16", lambda: keras.optimizers.AdamW(training.warmup_cosine(0.01, **SCHEDULE))),
    # An epoch of 4 batches ends in the middle of an accumulation over 3.
    "muon": (
        "float32",
        lambda: keras.optimizers.Muon(
            training.warmup_linear(0.02, **SCHEDULE), exclude_layers=["logits"], gradient_accumulation_steps=3
        ),
    ),
}


class EachStep(keras.callbacks.Callback):
    """Calls a function with the number of each finished step."""

    def __init__(self, function):
        super().__init__()
        self.function, self.step = function, 0

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.function(self.step)


def make(name):
    policy, optimizer = RUNS[name]
    keras.utils.set_random_seed(4)
    sizes = {"context_length": 8, "num_layers": 2, "num_heads": 2, "embedding_dim": 16, "dropout": 0.1}
    settings = models.gpt_settings(11, **sizes, positions="rotary", norm="rms_norm", tied=False)
    model = models.GPT(settings, dtype=policy)
    model.build((None, None))
    model.compile(optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def train(model, state, *callbacks):
    """Train on from `state`; the losses of all epochs, and the model's and the optimizer's variables at the end."""
    resume = training.Resume(state)
    data = batches.windows(
        np.random.default_rng(0).integers(0, 11, 300),
        context=8,
        batch_size=3,
        start_step=resume.epoch * STEPS,
        steps=(EPOCHS - resume.epoch) * STEPS,
    )
    numbers = {"epochs": EPOCHS, "initial_epoch": resume.epoch, "steps_per_epoch": STEPS}
    model.fit(data, **numbers, shuffle=False, verbose=0, callbacks=[*callbacks, resume])
    return resume.history["loss"], values(model)


def values(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables + model.optimizer.variables]


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_in_write(number):
    """`numpy.savez` that is killed in the middle of its call of this number."""
    savez, calls = np.savez, []

    def write(file, **arrays):
        calls.append(file.name)
        savez(file, **arrays)
        if len(calls) == number:
            file.truncate(file.tell() // 2)
            kill()

    return write


def child(name, state, what, number):
    """Train until the kill."""
    if what == "write":
        np.savez = killed_in_write(int(number))
    train(make(name), state, EachStep(lambda step: what == "step" and step == int(number) and kill()))


CHANCE = random.Random()  # whatever seed other tests set


@pytest.mark.parametrize(
    ("name", "what"), [("adamw", "write"), ("muon", "step")], ids=["adamw_in_a_write", "muon_between"]
)
def test_a_gpt_that_is_killed_at_any_moment_ends_like_one_that_was_not(name, what, tmp_path):
    last = EPOCHS if what == "write" else EPOCHS * STEPS - 1
    number = CHANCE.randint(1, last)
    command = [*python(), __file__, name, str(tmp_path / "state.npz"), what, str(number)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, env=environment)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()[-2000:]

    model = make(name)
    start = values(model)
    losses, expected = train(model, tmp_path / "whole.npz")
    # The same model from its start, so that nothing is compiled twice.
    for variable, value in zip(model.variables + model.optimizer.variables, start, strict=True):
        variable.assign(value)
    found, variables = train(model, tmp_path / "state.npz")
    note = f"killed in {what} {number}"
    assert len(found) == EPOCHS
    np.testing.assert_allclose(found, losses, rtol=1e-6, err_msg=note)
    for one, other in zip(variables, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7, err_msg=note)


if __name__ == "__main__":
    child(*sys.argv[1:])
