"""What JAX has for a GPU computes what the layers compute, on a CPU too; on other backends nothing changes."""

import importlib.util
import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from nursery import ON_JAX, python

from kerasllm.models import GPT, gpt_settings, preset
from kerasllm.training.fast_gpu import speed_up_on_gpu

ON_BACKEND_JAX = keras.backend.backend() == "jax"
on_jax = pytest.mark.skipif(not ON_BACKEND_JAX, reason="the fast path is JAX's")
IDS = np.random.default_rng(0).integers(0, 9, (6, 8)).astype("int32")
SIZES = {"vocabulary_size": 9, "context_length": 8, "num_layers": 2, "num_heads": 2, "embedding_dim": 16}
KINDS = {
    "GPT-2": gpt_settings(**SIZES),
    "Llama": preset("smollm2-135m", **SIZES, num_kv_heads=1, hidden_dim=24),
    "with normalised queries": preset("nano-modern", **{**SIZES, "zero_init": False}),
    "with a scale and a window": gpt_settings(**SIZES, window=3),
}


def trained(settings, **fast):
    """Losses and weights after three epochs, and the gradients' way into each weight with them."""
    keras.utils.set_random_seed(1)
    model = GPT(settings)
    if fast:
        speed_up_on_gpu(model, **fast)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    history = model.fit(IDS, (IDS + 1) % 9, batch_size=3, epochs=3, shuffle=False, verbose=0).history["loss"]
    return np.array(history), [np.array(value) for value in model.get_weights()], model


@on_jax
@pytest.mark.parametrize("kind", KINDS)
def test_attention_in_one_operation_trains_to_the_same_weights(kind):
    losses, weights, _ = trained(KINDS[kind])
    fast_losses, fast_weights, model = trained(KINDS[kind], attention=True)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(fast_losses, losses, rtol=1e-5)
    for own, fast in zip(weights, fast_weights, strict=True):
        np.testing.assert_allclose(fast, own, rtol=1e-4, atol=1e-5)
    cached, _ = model(IDS, cache=model.make_cache(len(IDS)))
    np.testing.assert_allclose(cached, model(IDS), atol=1e-5)


@on_jax
def test_the_one_operation_is_taken_where_it_fits_and_nowhere_else(monkeypatch):
    import jax

    calls = []
    original = jax.nn.dot_product_attention
    monkeypatch.setattr(
        jax.nn, "dot_product_attention", lambda *args, **more: calls.append(1) or original(*args, **more)
    )
    model = speed_up_on_gpu(GPT(gpt_settings(**SIZES, dropout=0.5)))
    model(IDS)
    assert len(calls) == SIZES["num_layers"]
    model(IDS, training=True)  # weights of attention are dropped out
    model({"ids": IDS, "segment_ids": np.ones_like(IDS)})
    model(IDS, cache=model.make_cache(len(IDS)))
    assert len(calls) == SIZES["num_layers"]


@on_jax
def test_dropout_keeps_its_share_and_its_mean_and_never_the_same_places():
    drop = keras.layers.Dropout(0.2, seed=3)
    model = speed_up_on_gpu(keras.Sequential([drop]))
    x = np.ones((200, 500), "float32")
    first, second = (np.array(model(x, training=True)) for _ in range(2))
    for found in (first, second):
        assert set(np.unique(found)) == {np.float32(0), np.float32(1.25)}
        assert abs((found == 0).mean() - 0.2) < 0.005  # four standard errors
    both = ((first == 0) & (second == 0)).mean()
    assert abs(both - 0.04) < 0.0025
    for shift in (1, 2, 3, 4, 8, 128, 500):  # a stream that goes on where another was
        same = ((first.ravel()[shift:] == 0) & (second.ravel()[:-shift] == 0)).mean()
        assert abs(same - 0.04) < 0.0025, shift
    np.testing.assert_array_equal(model(x), x)
    drop.noise_shape = (200, 1)
    assert len(np.unique(np.array(model(x, training=True))[0])) == 1


@pytest.mark.skipif(ON_BACKEND_JAX, reason="this is the run on other backends")
def test_other_backends_compute_as_ever():
    model = GPT(gpt_settings(**SIZES))
    calls = [layer.call for layer in model._flatten_layers()]
    assert speed_up_on_gpu(model) is model
    assert [layer.call for layer in model._flatten_layers()] == calls


@pytest.mark.skipif(ON_BACKEND_JAX, reason="this is the run on the second backend")
def test_these_pass_on_jax():
    if not importlib.util.find_spec("jax"):
        pytest.skip("JAX is not installed")
    run = subprocess.run(
        [*python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=os.environ | ON_JAX,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert "6 passed" in run.stdout, run.stdout[-1000:]
