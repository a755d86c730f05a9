"""Tuning by preferences and by rewards on the second backend: losses, gradients, compiled steps, adapters."""

import importlib.util
import os
import subprocess
from pathlib import Path

import keras
import pytest
from nursery import ON_JAX, python

HERE = Path(__file__).parent
CHOSEN = (
    "test_prefer.py::test_the_gradient_is_that_of_finite_differences",
    "test_prefer.py::test_preferred_tokens_win_with_adapters_and_the_adapter_is_all_that_moves",
    "test_reinforce.py::test_the_gradient_is_that_of_finite_differences",
    "test_reinforce.py::test_the_reference_is_the_model_at_the_start_and_it_goes_on_where_it_was",
)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this is the run on the second backend")
def test_losses_gradients_and_steps_pass_on_jax():
    if not importlib.util.find_spec("jax"):
        pytest.skip("JAX is not installed")
    run = subprocess.run(
        [*python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(HERE / one) for one in CHOSEN)],
        env=os.environ | ON_JAX,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert f"{len(CHOSEN)} passed" in run.stdout, run.stdout[-1000:]
