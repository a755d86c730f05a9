"""Steps that take less time compute the same as those of Keras."""

import keras
import numpy as np
import pytest

from kerasllm import training
from kerasllm.layers import FeedForward
from kerasllm.models import GPT

IDS = np.random.default_rng(0).integers(0, 9, (22, 8)).astype("int32")
SMALL = {"vocabulary_size": 9, "context_length": 8, "num_layers": 2, "num_heads": 2, "embedding_dim": 8}


def trained(parts=None, optimizer=None, metrics=("accuracy",), rows=22, eager=False, **changes):
    """Losses, metrics and weights after two epochs of batches of 4, the last of 2 or 1."""
    keras.utils.set_random_seed(1)
    model = GPT(**{**SMALL, **changes})
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


@pytest.mark.parametrize("changes", [{}, {"tied": False, "zero_init": True}], ids=["tied", "untied"])
@pytest.mark.parametrize("rows", [22, 21])
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


@pytest.mark.parametrize("changes", [{}, {"tied": False}], ids=["tied", "sparse"])
@pytest.mark.parametrize("arguments", [{}, {"global_clipnorm": 0.5, "weight_decay": 0.3}, {"amsgrad": True}])
def test_adamw_is_that_of_keras(changes, arguments):
    ours, theirs = (kind(0.01, **arguments) for kind in (training.AdamW, keras.optimizers.AdamW))
    first, second = (trained(optimizer=one, metrics=(), eager=True, **changes) for one in (ours, theirs))
    assert_same(first, second)
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-5, err_msg=one.path)


def test_adamw_takes_gradients_of_another_dtype():
    first, second = (
        trained(optimizer=kind(0.01), metrics=(), dtype="mixed_bfloat16")
        for kind in (training.AdamW, keras.optimizers.AdamW)
    )
    assert_same(first, second, rtol=0.01, atol=0.02)  # bfloat16 has two to three digits


def test_adamw_comes_back_from_a_file(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(training.AdamW(0.01, beta_2=0.9), "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert type(again) is training.AdamW
    assert again.beta_2 == 0.9
    np.testing.assert_array_equal(again._velocities[0].numpy(), model.optimizer._velocities[0].numpy())


@pytest.mark.parametrize("jit", [False, True])
def test_the_feed_forward_gradient_is_that_of_two_dense_layers(jit):
    import tensorflow as tf

    layer = FeedForward(32, activation="gelu")
    x = tf.random.stateless_normal((2, 5, 8), (0, 1))
    layer(x)
    dense = keras.layers.Dense(8)
    dense.build((None, None, 32))
    dense.set_weights(layer.project.get_weights())

    @tf.function(jit_compile=jit)
    def gradients(project):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(project(layer.expand(x)) ** 2)
        return tape.gradient(
            loss, [x, *(v.value for v in layer.expand.variables), *(v.value for v in project.variables)]
        )

    for one, other in zip(gradients(layer.project), gradients(dense), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
