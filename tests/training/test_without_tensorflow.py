"""Training works where TensorFlow is not installed."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
from nursery import python

ROOT = Path(__file__).parents[2]
TRAIN = """
import sys
sys.modules["tensorflow"] = None  # an import of it fails
import keras, numpy as np
from kerasllm import training

path, x = sys.argv[1], np.random.default_rng(0).normal(size=(8, 3)).astype("float32")

def train(epochs, recipe):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(3, name="query"), keras.layers.LayerNormalization()]
    model = keras.Sequential([keras.Input((3,)), *layers])
    training.speed_up(model)
    training.train_in_parts(model)
    model.compile(recipe(8, 0.1), "mse")
    resume = training.Resume(path)
    numbers = {"epochs": epochs, "initial_epoch": resume.epoch, "shuffle": False, "verbose": 0}
    model.fit(x, x[:, ::-1], **numbers, callbacks=[resume, training.StopAtNaN()])
    return model, resume

train(2, lambda *a: training.classic(*a, fused=True))
model, resume = train(4, lambda *a: training.classic(*a, fused=True))
losses = resume.history["loss"]
assert len(losses) == 4 and losses[3] < losses[0], losses
before = np.array(model(x))
training.add_lora(model, 1, layers=["query"])
model.compile("adam", "mse")
model.fit(x, x[:, ::-1], verbose=0)
training.save_adapter(model, path + ".adapter")
adapted = np.array(model(x))
assert not np.allclose(adapted, before)
np.testing.assert_allclose(np.array(training.merge_adapter(model)(x)), adapted, atol=1e-5)
"""


def test_recipes_resume_fast_paths_and_adapters_work_on_jax_alone(tmp_path):
    if not importlib.util.find_spec("jax"):
        pytest.skip("JAX is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    command = [*python(), "-c", TRAIN, str(tmp_path / "state.npz")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
