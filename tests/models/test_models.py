"""What the models promise beyond the battery: strings in, labelled probabilities out, one file."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from kerasllm import batches, models, text

ROOT = Path(__file__).parents[2]
GOOD, BAD = ["a very good film", "good", "so good, so good"], ["a very bad film", "bad", "bad, bad, bad film"]
TEXTS, CODES = GOOD + BAD, np.array([1, 1, 1, 0, 0, 0])
LABELS = ["negative", "positive"]
TOKENIZER = text.train_words(TEXTS, vocabulary_size=50)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BODIES = [models.bag_of_embeddings, models.bilstm]


def trained(function, **arguments):
    keras.utils.set_random_seed(1)
    model = function(TOKENIZER, LABELS, 8, **arguments)
    model.compile(keras.optimizers.Adam(0.05), LOSS, metrics=["accuracy"])
    ids = batches.padded(TOKENIZER.encode_batch(TEXTS), CODES, batch_size=6)
    model.fit(ids, epochs=30, verbose=0)
    return model


@pytest.mark.parametrize("function", BODIES)
def test_a_classifier_learns_and_answers_with_labelled_probabilities(function):
    model = trained(function)
    texts = ["bad", "a good film", "bad film", "very good"]
    result = model.classify(pd.Series(texts, index=[7, 3, 5, 1]))
    assert result.columns.tolist() == ["text", "label", *LABELS]
    assert result["text"].tolist() == texts
    assert result["label"].tolist() == ["negative", "positive", "negative", "positive"]
    np.testing.assert_allclose(result[LABELS].sum(axis=1), 1, atol=1e-6)
    assert (result[LABELS].max(axis=1) > 0.9).all()


LOAD = """
import sys
import keras
import kerasllm.models
model = keras.saving.load_model(sys.argv[1])
model.classify(sys.argv[2:]).to_json(sys.argv[1] + ".json", double_precision=15)
"""


def test_one_file_goes_from_strings_to_the_same_probabilities_in_a_fresh_process(tmp_path):
    texts = ["a good film", "an unknown word", "", "bad " * 40]
    model = trained(models.bilstm, units=4, max_length=9, pooling="max_mean", dropout=0.1)
    expected = model.classify(texts)
    path = tmp_path / "model.keras"
    model.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
    subprocess.run([sys.executable, "-c", LOAD, path, *texts], check=True, cwd=tmp_path, capture_output=True)
    found = pd.read_json(str(path) + ".json")
    assert found["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(found[LABELS], expected[LABELS], atol=1e-6)


@pytest.mark.parametrize("function", BODIES)
def test_a_text_gets_the_same_answer_alone_and_among_others(function):
    model = function(TOKENIZER, LABELS, 8)
    texts = ["good", "", "bad film " * 30, "so so", "very " * 20]
    together = model.classify(texts, batch_size=2)[LABELS]
    alone = pd.concat([model.classify([one])[LABELS] for one in texts], ignore_index=True)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert np.isfinite(together).all(axis=None)


def test_no_texts_give_an_empty_table():
    result = models.bag_of_embeddings(TOKENIZER, LABELS, 4).classify([])
    assert result.columns.tolist() == ["text", "label", *LABELS]
    assert len(result) == 0


@pytest.mark.parametrize(
    ("texts", "word"), [("one text", "list"), (["a", None], "position 1"), ([["a"]], "position 0")]
)
def test_what_is_no_list_of_texts_is_refused(texts, word):
    with pytest.raises(TypeError, match=word):
        models.bag_of_embeddings(TOKENIZER, LABELS, 4).classify(texts)


def test_texts_are_cut_to_max_length():
    model = models.bag_of_embeddings(TOKENIZER, LABELS, 4, max_length=3)
    assert model.encode(["good " * 10, "bad"]).shape == (2, 3)
    same = model.classify(["good good good", "good good good bad bad"])[LABELS]
    np.testing.assert_allclose(same.iloc[0], same.iloc[1], atol=1e-6)


def test_the_body_has_one_logit_a_label():
    body = models.bag_of_embeddings(TOKENIZER, LABELS, 4).body
    with pytest.raises(ValueError, match="2 logits, but there are 3"):
        models.TextClassifier(body, TOKENIZER, ["a", "b", "c"])


@pytest.mark.parametrize("function", BODIES)
def test_given_embeddings_stay_as_they_are_until_they_are_released(function):
    vectors = np.random.default_rng(0).normal(size=(TOKENIZER.vocabulary_size, 8)).astype("float32")
    model = trained(function, embeddings=vectors, train_embeddings=False)
    layer = model.body.get_layer("embedding")
    np.testing.assert_array_equal(layer.get_weights()[0], vectors)
    layer.trainable = True
    model.compile("adam", LOSS)
    model.train_on_batch(model.encode(TEXTS), CODES)
    assert np.abs(layer.get_weights()[0] - vectors).max() > 0


@pytest.mark.parametrize("pooling", ["max", "mean", "max_mean"])
def test_two_layers_of_the_bilstm_ignore_padding(pooling):
    model = models.bilstm(TOKENIZER, LABELS, 8, 4, depth=2, pooling=pooling)
    assert model.body.get_layer("logits").kernel.shape[0] == (16 if pooling == "max_mean" else 8)
    ids = model.encode(["a very good film", "bad"])
    longer = np.pad(ids, ((0, 0), (0, 5)))
    np.testing.assert_allclose(model.predict_on_batch(longer), model.predict_on_batch(ids), atol=1e-6)


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
