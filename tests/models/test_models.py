"""What the models promise beyond the battery."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from kerasllm import batches, layers, models

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

# Classifiers --------------------------------------------------------------------------------------

NETWORKS = [models.BagOfEmbeddings, models.BiLSTM]
IDS = np.array([[3, 4, 5, 6], [7, 0, 0, 0], [4, 4, 0, 0]], "int32")
GIVEN = np.random.default_rng(0).normal(size=(9, 8)).astype("float32")


@pytest.mark.parametrize("network", NETWORKS)
def test_given_embeddings_stay_as_they_are_until_they_are_released(network, tmp_path):
    model = network(9, 2, 8, embeddings=GIVEN, train_embeddings=False)
    model.compile(keras.optimizers.Adam(0.05), LOSS)
    model.fit(IDS, np.array([0, 1, 1]), epochs=2, verbose=0)
    np.testing.assert_array_equal(model.embed.get_weights()[0], GIVEN)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.embed.get_weights()[0], GIVEN)
    assert not again.embed.trainable
    again.embed.trainable = True
    again.compile("adam", LOSS)
    again.train_on_batch(IDS, np.array([0, 1, 1]))
    assert np.abs(again.embed.get_weights()[0] - GIVEN).max() > 0


@pytest.mark.parametrize("network", NETWORKS)
def test_embeddings_of_another_shape_are_refused(network):
    with pytest.raises(ValueError, match=r"\(3, 8\), not \(vocabulary, dim\) = \(9, 8\)"):
        network(9, 2, 8, embeddings=np.zeros((3, 8)))


@pytest.mark.parametrize("pooling", ["max", "mean", "max_mean"])
def test_two_layers_of_the_bilstm_ignore_padding(pooling):
    model = models.BiLSTM(9, 2, 8, 4, depth=2, pooling=pooling, pad_id=8)
    ids = np.where(IDS == 0, 8, IDS)
    longer = np.pad(ids, ((0, 0), (0, 5)), constant_values=8)
    np.testing.assert_allclose(model.predict_on_batch(longer), model.predict_on_batch(ids), atol=1e-6)
    assert model.logits.kernel.shape[0] == (16 if pooling == "max_mean" else 8)
    assert np.abs(model.predict_on_batch(np.where(IDS == 0, 1, IDS)) - model.predict_on_batch(ids)).max() > 1e-4


def test_an_empty_text_never_reaches_the_lstm_without_a_real_position(monkeypatch):
    """CuDNN refuses a mask with an empty row. The text has still no token that matters."""
    masks = []
    call = keras.layers.Bidirectional.call

    def watched(layer, inputs, **kwargs):
        masks.append(ops.convert_to_numpy(kwargs["mask"]))
        return call(layer, inputs, **kwargs)

    monkeypatch.setattr(keras.layers.Bidirectional, "call", watched)
    model = models.BiLSTM(9, 2, 8, 4, depth=2)
    empty = np.array([[0, 0, 0], [5, 0, 0]])
    logits = ops.convert_to_numpy(model(empty))
    assert masks
    assert all(mask.any(axis=1).all() for mask in masks)
    assert masks[-1].tolist() == [[True, False, False], [True, False, False]]
    np.testing.assert_allclose(logits[0], ops.convert_to_numpy(model.logits.bias), atol=1e-6)


# Language models ------------------------------------------------------------------------------

ALPHABET = np.tile(np.arange(1, 6), 40)  # 1 2 3 4 5 1 2 3 ...


@pytest.mark.parametrize(
    "model",
    [models.NeuralNGram(6, 3, 8, 16), models.LSTMLanguageModel(6, 16, 16)],
    ids=lambda model: type(model).__name__,
)
def test_a_language_model_learns_what_follows(model):
    data = batches.windows(ALPHABET, context=10, batch_size=4, seed=0, steps=60)
    model.compile(keras.optimizers.Adam(0.03), LOSS)
    history = model.fit(data, epochs=2, verbose=0).history
    assert history["loss"][-1] < 0.1 < history["loss"][0]
    logits = model.predict_on_batch(np.array([[2, 3, 4]]))
    assert logits.argmax(axis=-1)[0, 1:].tolist() == [4, 5]


def test_a_neural_ngram_sees_exactly_its_order():
    model = models.NeuralNGram(9, 4, 4, 8)
    ids = np.array([[1, 2, 3, 4, 5, 6]])
    before = model.predict_on_batch(ids)
    after = model.predict_on_batch(np.array([[8, 2, 3, 4, 5, 6]]))
    assert np.abs(after[0, :3] - before[0, :3]).max(axis=-1).min() > 0
    np.testing.assert_allclose(after[0, 3:], before[0, 3:], atol=1e-6)


def test_the_states_of_a_call_continue_the_text():
    model = models.LSTMLanguageModel(9, 4, 8, depth=2)
    ids = np.array([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]])
    _, states = model(ids[:, :4], return_states=True)
    rest = model(ids[:, 4:], states=states)
    np.testing.assert_allclose(np.array(rest), np.array(model(ids))[:, 4:], atol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_steps_equal_the_call_and_never_use_cudnn(tied, monkeypatch):
    model = models.LSTMLanguageModel(9, 8, 8, depth=2, tied=tied)
    ids = np.array([[1, 2, 3, 4], [6, 5, 4, 3]])
    first, _ = model.step(ids[:, 0])  # builds it
    expected, after = model(ids, return_states=True)
    monkeypatch.setattr(keras.layers.LSTM, "call", None)  # on a GPU it is cuDNN, which XLA cannot compile
    states = None
    for position in range(4):
        logits, states = model.step(ids[:, position], states)
        np.testing.assert_allclose(np.array(logits), np.array(expected)[:, position], atol=1e-6)
    np.testing.assert_allclose(np.array(first), np.array(expected)[:, 0], atol=1e-6)
    for one, other in zip(keras.tree.flatten(states), keras.tree.flatten(after), strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), atol=1e-6)


# Numbers ------------------------------------------------------------------------------------------

NUMBERS = [
    (models.BagOfEmbeddings, {"vocabulary_size": 9, "num_classes": 2, "embedding_dim": 4, "pad_id": 0}),
    (
        models.BiLSTM,
        {"vocabulary_size": 9, "num_classes": 2, "embedding_dim": 4, "units": 3, "depth": 2, "pad_id": 0},
    ),
    (models.LSTMLanguageModel, {"vocabulary_size": 9, "embedding_dim": 4, "units": 3, "depth": 2}),
    (models.NeuralNGram, {"vocabulary_size": 9, "order": 3, "embedding_dim": 4, "hidden_dim": 5}),
    (layers.LSTMCell, {"units": 3}),
    (lambda **given: layers.PairEmbedding(pairs=[[1, 2]], **given), {"vocabulary_size": 9, "output_dim": 4}),
]


@pytest.mark.parametrize(("make", "given"), NUMBERS)
def test_whole_numbers_of_numpy_are_welcome_and_kept_as_ints(make, given):
    config = make(**{name: np.int64(value) for name, value in given.items()}).get_config()
    assert {name: config[name] for name in given} == given
    assert all(type(config[name]) is int for name in given)


@pytest.mark.parametrize(("make", "given", "name"), [(*case, name) for case in NUMBERS for name in case[1]])
@pytest.mark.parametrize("wrong", [True, 2.0, -1, None, "3"])
def test_what_is_no_whole_number_is_refused(make, given, name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be a whole number .*, not {wrong!r}"):
        make(**{**given, name: wrong})


# Quantised, and with LoRA -------------------------------------------------------------------------

SMALL = {
    "bag": lambda: models.BagOfEmbeddings(9, 3, 8, pad_id=8),
    "bilstm": lambda: models.BiLSTM(9, 3, 8, 4, depth=2, pooling="max_mean", pad_id=8),
    "lstm": lambda: models.LSTMLanguageModel(9, 8, 6, depth=2),
    "lstm_tied": lambda: models.LSTMLanguageModel(9, 8, 8, tied=True),
    "ngram": lambda: models.NeuralNGram(9, 3, 8, 6),
}
READ = np.array([[1, 2, 3, 4, 5], [6, 7, 0, 1, 1], [2, 2, 7, 8, 8]], "int32")


def made(name, dtype=None):
    """A small model whose every part matters."""
    model = SMALL[name]()
    if dtype is not None:
        model = type(model).from_config({**model.get_config(), "dtype": dtype})
    model.build((None, None))
    random = np.random.default_rng(3)
    model.set_weights([random.normal(0, 0.7, weight.shape) for weight in model.get_weights()])
    return model


def floats(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def quantised(model, mode="int8"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras says of each LSTM and convolution that it stays as it is
        model.quantize(mode)
    return model


@pytest.mark.parametrize("name", SMALL)
def test_a_quantised_model_in_half_precision_stays_close_and_comes_back_from_its_file(name, tmp_path):
    model = made(name, "mixed_bfloat16")  # in float32 the battery does it
    before = floats(model(READ))
    quantised(model)
    stored = {weight.dtype for weight in model.embed.weights + getattr(model, "logits", model.embed).weights}
    assert "int8" in stored
    after = floats(model(READ))
    assert np.abs(after - before).max() > 0
    assert np.abs(after - before).max() < 0.1 * np.abs(before).max()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(floats(again(READ)), after, atol=1e-5)
    assert [weight.dtype for weight in again.weights] == [weight.dtype for weight in model.weights]


@pytest.mark.parametrize("name", ["bag", "lstm"])  # the battery adapts every model, and looks less closely
def test_lora_trains_alone_and_its_effect_is_saved(name, tmp_path):
    model = made(name)
    before = model.predict_on_batch(READ)
    tuned = [model.embed, *([model.logits] if hasattr(model, "logits") else [])]
    for layer in model.layers:
        layer.trainable = layer in tuned
    for layer in tuned:
        layer.enable_lora(2)
    np.testing.assert_allclose(model.predict_on_batch(READ), before, atol=1e-5)
    lora = [weight for weight in model.trainable_weights if "lora" in weight.path]
    assert len(lora) == 2 * len(tuned)
    fixed = {weight.path: ops.convert_to_numpy(weight) for weight in model.non_trainable_weights}
    model.compile(keras.optimizers.Adam(0.1), LOSS)
    model.fit(READ, READ if before.ndim == 3 else np.array([0, 1, 2]), epochs=3, verbose=0)
    for weight in model.non_trainable_weights:
        if weight.path in fixed and "seed" not in weight.path:
            np.testing.assert_array_equal(ops.convert_to_numpy(weight), fixed[weight.path])
    after = model.predict_on_batch(READ)
    assert np.abs(after - before).max() > 1e-2
    model.save(tmp_path / "model.keras")
    # The adapter is merged in the file, so the optimizer's numbers for it have no place any more.
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(again.predict_on_batch(READ), after, atol=1e-5)


def test_a_quantised_lstm_writes_step_by_step_what_it_writes_in_one_call():
    model = quantised(made("lstm_tied"))
    expected, states = np.array(model(READ)), None
    for position in range(READ.shape[1]):
        logits, states = model.step(READ[:, position], states)
        np.testing.assert_allclose(np.array(logits), expected[:, position], atol=1e-5)
