"""LoRA: adapters are trained, saved, loaded and merged alone, on any Keras model."""

import keras
import numpy as np
import pytest

from kerasllm import training
from kerasllm.layers import MultiHeadAttention

IDS = np.random.default_rng(0).integers(0, 11, (8, 6)).astype("int32")


class Block(keras.layers.Layer):
    """Attention whose projections are dense layers with names, as in a GPT."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        for name in ("query", "key", "value", "output"):
            setattr(self, f"to_{name}", keras.layers.Dense(width, name=name))
        self.norm = keras.layers.LayerNormalization()

    def build(self, shape):
        for layer in (self.to_query, self.to_key, self.to_value, self.to_output, self.norm):
            layer.build(shape)

    def call(self, x):
        query, key, value = self.to_query(x), self.to_key(x), self.to_value(x)
        weights = keras.ops.softmax(keras.ops.matmul(query, keras.ops.swapaxes(key, 1, 2)) / self.width**0.5)
        return self.norm(x + self.to_output(keras.ops.matmul(weights, value)))


def make(width=16, blocks=2, classes=3, norm=None, seed=3):
    keras.utils.set_random_seed(seed)
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(11, width, name="tokens")(ids)
    for _ in range(blocks):
        x = Block(width)(x)
    x = MultiHeadAttention(num_heads=2)(x)
    if norm:
        x = norm(x)
    outputs = keras.layers.Dense(classes, name="head")(keras.layers.GlobalAveragePooling1D()(x))
    model = keras.Model(ids, outputs)
    for weight in model.weights:  # so that biases and scales matter too
        if weight.name != "moving_variance":
            weight.assign(weight + 0.1 * keras.random.normal(weight.shape))
    return model


def train(model, epochs=30, rate=0.03):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    return model.fit(IDS, IDS[:, 0] % 3, epochs=epochs, batch_size=4, verbose=0).history["loss"]


def outputs(model):
    return keras.ops.convert_to_numpy(model(IDS, training=False))


def trained(**changes):
    model = training.add_lora(make(**changes), rank=2, alpha=6, layers=["query", "value"])
    train(model, epochs=5)
    return model


def test_only_the_adapters_move_and_the_loss_falls():
    model = make(norm=keras.layers.BatchNormalization())
    before = outputs(model)
    training.add_lora(model, rank=2)
    np.testing.assert_allclose(outputs(model), before, atol=1e-6)
    start = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    losses = train(model)
    assert losses[-1] < 0.8 * losses[0]
    moved = {w.path for w in model.weights if not np.array_equal(keras.ops.convert_to_numpy(w), start[w.path])}
    assert moved == {weight.path for weight in model.weights if "lora_" in weight.path}
    assert len(moved) >= 2 * 2 * 2


def test_predictions_follow_adapters_that_come_after_the_first_predict():
    model = make()
    model.predict(IDS, verbose=0)
    training.add_lora(model, rank=2)
    train(model)
    np.testing.assert_allclose(model.predict(IDS, verbose=0), outputs(model), atol=1e-5)
    training.merge_adapter(model)
    np.testing.assert_allclose(model.predict(IDS, verbose=0), outputs(model), atol=1e-5)


def test_an_adapter_is_kilobytes_and_brings_the_outputs_to_another_process_model(tmp_path):
    model, path = trained(), tmp_path / "adapter.safetensors"
    training.save_adapter(model, path)
    assert path.stat().st_size < 6000
    again = training.load_adapter(make(), path)
    assert np.abs(outputs(again) - outputs(make())).max() > 0.01
    np.testing.assert_allclose(outputs(again), outputs(model), atol=1e-6)
    assert [w.shape for w in again.trainable_weights] == [w.shape for w in model.trainable_weights]
    training.save_adapter(again, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_another_adapter_takes_the_place_of_the_first(tmp_path):
    first, second = trained(), trained()
    train(second, epochs=3)
    training.save_adapter(second, tmp_path / "second.safetensors")
    training.load_adapter(first, tmp_path / "second.safetensors")
    np.testing.assert_allclose(outputs(first), outputs(second), atol=1e-6)


def test_another_adapter_brings_its_own_alpha(tmp_path):
    first = training.add_lora(make(), rank=2, alpha=6, layers=["query", "value"])
    second = training.add_lora(make(), rank=2, alpha=2, layers=["query", "value"])
    train(second, epochs=2)
    training.save_adapter(second, tmp_path / "second.safetensors")
    training.load_adapter(first, tmp_path / "second.safetensors")
    np.testing.assert_allclose(outputs(first), outputs(second), atol=1e-6)


def test_a_merged_model_computes_the_same_and_is_a_plain_one_again(tmp_path):
    model, weights = trained(), len(make().weights)
    adapted = outputs(model)
    training.merge_adapter(model)
    np.testing.assert_allclose(outputs(model), adapted, atol=1e-5)
    assert len(model.weights) == len(model.trainable_weights) == weights
    assert len(make().weights) == weights
    assert train(model, epochs=2)
    training.add_lora(model, rank=1)  # it can have others


def test_a_merged_kernel_keeps_its_precision_under_a_half_precision_policy():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="query", dtype="mixed_bfloat16")])
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
    training.merge_adapter(training.add_lora(model, rank=1, layers=["query"]))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.layers[0].kernel), kernel)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantised_base_learns_and_merges(mode, tmp_path):
    model = make()
    for layer in training.fast.every_layer(model):
        if layer.name in ("query", "value"):
            layer.quantize(mode)
    training.add_lora(model, rank=2)
    losses = train(model)
    assert losses[-1] < 0.9 * losses[0]
    training.save_adapter(model, tmp_path / "adapter.safetensors")
    adapted = outputs(model)
    training.merge_adapter(model)
    # It is quantised once more, so it is equal but for the rounding: to 1 in 127, or 1 in 7.
    assert np.abs(outputs(model) - adapted).mean() < {"int8": 0.02, "int4": 0.3}[mode] * np.abs(adapted).mean()
    assert not [weight.path for weight in model.weights if "lora" in weight.path]
    if mode == "int8":
        training.load_adapter(make(), tmp_path / "adapter.safetensors")  # onto the base that is not quantised


def test_embeddings_and_einsum_layers_take_adapters_too():
    inputs = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(11, 8, name="tokens")(inputs)
    x = keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = keras.Model(inputs, x)
    training.add_lora(model, rank=2, layers=["tokens", "query"])
    for weight in model.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, seed=1))
    ids = IDS[:, :4]
    adapted = keras.ops.convert_to_numpy(model(ids))
    training.merge_adapter(model)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(ids)), adapted, rtol=1e-4, atol=1e-5)


def test_a_keras_file_of_an_adapted_model_holds_what_it_computes(tmp_path):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="query")])
    training.add_lora(model, rank=2, layers=["query"])
    for weight in model.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, seed=1))
    ones = np.ones((1, 8), "float32")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(ones), model(ones), rtol=1e-5)
    expected = keras.ops.convert_to_numpy(model(ones))
    training.merge_adapter(model).save(tmp_path / "merged.keras")
    merged = keras.saving.load_model(tmp_path / "merged.keras")
    np.testing.assert_allclose(merged(ones), expected, rtol=1e-5)
    assert len(merged.trainable_weights) == 2


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"blocks": 1}, "3 layers named '[a-z]+'; this one has 2"),
        ({"width": 8}, r"has the shape \(16, 2\), and a kernel of the shape \(8, 8\)"),
        ({"classes": 4}, "other weights have other names or shapes"),
        ({"norm": keras.layers.LayerNormalization()}, "other weights have other names or shapes"),
    ],
)
def test_an_adapter_of_another_model_is_refused_and_the_model_stays(other, word, tmp_path):
    path = tmp_path / "adapter.safetensors"
    training.save_adapter(training.add_lora(make(), 2), path)
    model = make(**other)
    with pytest.raises(ValueError, match=word):
        training.load_adapter(model, path)
    assert len(model.trainable_weights) == len(make(**other).trainable_weights)


def test_what_makes_no_sense_is_refused(tmp_path):
    model = make()
    for arguments, word in [
        ({"rank": 0}, "rank must be a whole number from 1 up, not 0"),
        ({"rank": 2, "alpha": 0}, "alpha must be a number above 0"),
        ({"rank": 2, "layers": "query"}, "must be a list of names"),
        ({"rank": 2, "layers": ["query", "quarry"]}, r"named 'quarry'. There are \[.*'query'"),
    ]:
        with pytest.raises(ValueError, match=word):
            training.add_lora(model, **arguments)
    with pytest.raises(ValueError, match="no adapters"):
        training.save_adapter(model, tmp_path / "none")
    with pytest.raises(ValueError, match="nothing to merge"):
        training.merge_adapter(model)
    with pytest.raises(ValueError, match="not built yet"):
        training.add_lora(keras.Sequential([keras.layers.Dense(2, name="query")]), 2, layers=["query"])
    training.add_lora(model, np.int64(2))
    with pytest.raises(ValueError, match="merge_adapter"):
        training.add_lora(model, 2)
    training.save_adapter(training.add_lora(make(), 3), tmp_path / "three")
    with pytest.raises(ValueError, match=r"The rank in .* is 3"):
        training.load_adapter(model, tmp_path / "three")
    with pytest.raises(FileNotFoundError, match="save_adapter"):
        training.load_adapter(model, tmp_path / "missing")
    (tmp_path / "noise").write_bytes(b"something else")
    with pytest.raises(ValueError, match="not an adapter"):
        training.load_adapter(model, tmp_path / "noise")
