"""The classifier as a task: strings in, labelled probabilities out, one file."""

import json
import subprocess
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from nursery import python

from kerasllm import batches, models, tasks, text

FIRST = Path(__file__).parent / "first_edition"
GOOD, BAD = ["a very good film", "good", "so good, so good"], ["a very bad film", "bad", "bad, bad, bad film"]
TEXTS, CODES = GOOD + BAD, np.array([1, 1, 1, 0, 0, 0])
LABELS = ["negative", "positive"]
TOKENIZER = text.train_words(TEXTS, vocabulary_size=50)
SIZE = TOKENIZER.vocabulary_size
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
NETWORKS = [models.BagOfEmbeddings, models.BiLSTM]


def classifier(network=models.BagOfEmbeddings, max_length=None, **arguments):
    keras.utils.set_random_seed(1)
    network = network(SIZE, 2, **{"embedding_dim": 8, **arguments})
    return tasks.TextClassifier(network, TOKENIZER, LABELS, max_length)


def trained(network, **arguments):
    model = classifier(network, **arguments)
    model.compile(keras.optimizers.Adam(0.05), LOSS, metrics=["accuracy"])
    model.fit(batches.padded(TOKENIZER.encode_batch(TEXTS), CODES, batch_size=6), epochs=30, verbose=0)
    return model


# Answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_a_classifier_learns_and_answers_with_labelled_probabilities(network):
    model = trained(network)
    texts = ["bad", "a good film", "bad film", "very good"]
    result = model.classify(texts)
    assert result.columns.tolist() == ["text", "label", *LABELS]
    assert result["text"].tolist() == texts
    assert result["label"].tolist() == ["negative", "positive", "negative", "positive"]
    np.testing.assert_allclose(result[LABELS].sum(axis=1), 1, atol=1e-6)
    assert (result[LABELS].max(axis=1) > 0.9).all()


def test_answers_go_into_the_rows_of_the_frame_that_asked():
    model = trained(models.BagOfEmbeddings)
    frame = pd.DataFrame({"text": TEXTS, "label": np.take(LABELS, CODES)}, index=[7, 3, 5, 1, 0, 7])
    frame = frame.sort_values("text")
    frame["answer"] = model.classify(frame["text"])["label"].to_numpy()
    frame = frame[~frame.index.duplicated()]
    frame["by index"] = model.classify(frame["text"]).label
    assert (frame["answer"] == frame["label"]).all()
    assert (frame["by index"] == frame["label"]).all()
    assert model.classify(pd.Series(["a", "b"], index=["x", "y"])).index.tolist() == ["x", "y"]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_text_gets_the_same_answer_alone_and_among_others(network):
    model = classifier(network)
    texts = ["good", "", "bad film " * 30, "so so", "very " * 20]
    together = model.classify(texts, batch_size=2)[LABELS]
    alone = pd.concat([model.classify([one])[LABELS] for one in texts], ignore_index=True)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert np.isfinite(together).all(axis=None)


def test_one_very_long_text_does_not_pad_the_others_to_its_length(monkeypatch):
    model = classifier()
    seen = []
    compute = model.predict_on_batch
    monkeypatch.setattr(model, "predict_on_batch", lambda ids: (seen.append(ids.shape), compute(ids))[1])
    texts = ["good"] * 30 + ["bad " * 100_000] + ["so good"] * 30
    result = model.classify(texts, batch_size=64)
    assert sorted(seen) == [(1, 106_496), (60, 16)]
    np.testing.assert_allclose(result[LABELS].iloc[30], model.classify(["bad"])[LABELS].iloc[0], atol=1e-4)


def test_many_long_texts_come_in_batches_of_bounded_size():
    lengths = [5_000] * 100 + [3] * 1_000
    found = list(tasks.texts.batches_by_length(lengths, 512))
    assert sorted(row for rows, _ in found for row in rows) == list(range(1_100))
    assert max(len(rows) * time for rows, time in found) <= tasks.texts.TOKENS_AT_ONCE
    assert all(time >= max(lengths[row] for row in rows) for rows, time in found)
    assert len(found) == 11  # 2 of short texts, the first long ones among them, and 9 of 12 long ones


def test_no_texts_give_an_empty_table():
    result = classifier().classify([])
    assert result.columns.tolist() == ["text", "label", *LABELS]
    assert len(result) == 0


@pytest.mark.parametrize(
    ("texts", "word"), [("one text", "list"), (["a", None], "position 1"), ([["a"]], "position 0")]
)
def test_what_is_no_list_of_texts_is_refused(texts, word):
    with pytest.raises(TypeError, match=word):
        classifier().classify(texts)


@pytest.mark.parametrize(
    "texts",
    ["good", ["good", "bad"], np.array(["good"]), np.array(["good"], dtype=object), pd.Series(["good"])],
    ids=["text", "list", "array", "objects", "column"],
)
@pytest.mark.parametrize("method", ["__call__", "predict", "fit", "evaluate"])
def test_texts_where_ids_belong_are_refused_with_the_right_word(method, texts):
    with pytest.raises(TypeError, match=r"takes ids, not texts.*model.classify\(texts\)"):
        getattr(classifier(), method)(texts)


def test_texts_are_cut_to_max_length():
    model = classifier(max_length=np.int64(3))
    assert type(model.max_length) is int
    assert model.encode(["good " * 10, "bad"]).shape == (2, 3)
    same = model.classify(["good good good", "good good good bad bad"])[LABELS]
    np.testing.assert_allclose(same.iloc[0], same.iloc[1], atol=1e-6)


# Parts that fit -----------------------------------------------------------------------------------

NETWORK = models.BagOfEmbeddings(SIZE, 2, 4)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"labels": ["a", "b", "c"]}, "2 logits, but there are 3"),
        ({"labels": ["one"]}, "two labels"),
        ({"labels": ["a", "a"]}, "twice"),
        ({"labels": ["a", "text"]}, "rename"),
        ({"labels": "ab"}, "list of names"),
        ({"max_length": 0}, "max_length"),
        ({"max_length": True}, "max_length"),
        ({"network": models.BagOfEmbeddings(SIZE - 1, 2, 4)}, "knows .* tokens, the tokenizer has"),
        ({"network": models.BiLSTM(SIZE, 2, 4, 4, pad_id=1)}, "make the network with pad_id=0"),
        ({"network": "bilstm"}, "Keras model"),
    ],
)
def test_what_does_not_fit_together_is_refused(given, word):
    given = {"network": NETWORK, "labels": LABELS, **given}
    with pytest.raises(ValueError, match=word):
        tasks.TextClassifier(tokenizer=TOKENIZER, **given)


def test_a_network_may_have_more_rows_than_the_tokenizer_has_tokens():
    wide = tasks.TextClassifier(models.BagOfEmbeddings(64, 2, 4), TOKENIZER, LABELS)
    assert len(wide.classify(TEXTS)) == 6


def test_a_functional_network_is_a_network_too():
    ids = keras.Input((None,), dtype="int32")
    network = keras.Model(ids, keras.layers.Dense(2)(keras.ops.mean(keras.layers.Embedding(SIZE, 4)(ids), axis=1)))
    assert len(tasks.TextClassifier(network, TOKENIZER, LABELS).classify(TEXTS)) == 6


# Files --------------------------------------------------------------------------------------------

LOAD = """
import sys
import keras
import kerasllm.tasks
model = keras.saving.load_model(sys.argv[1])
model.classify(sys.argv[2:]).to_json(sys.argv[1] + ".json", double_precision=15)
"""


def test_one_file_goes_from_strings_to_the_same_probabilities_in_a_fresh_process(tmp_path):
    texts = ["a good film", "an unknown word", "", "bad " * 40]
    model = trained(models.BiLSTM, units=4, max_length=9, pooling="max_mean", dropout=0.1)
    expected = model.classify(texts)
    path = tmp_path / "model.keras"
    model.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
    subprocess.run([*python(), "-c", LOAD, path, *texts], check=True, cwd=tmp_path, capture_output=True)
    found = pd.read_json(str(path) + ".json")
    assert found["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(found[LABELS], expected[LABELS], atol=1e-6)


@pytest.mark.parametrize("name", ["bag", "bilstm", "pairs"])
def test_a_file_of_the_first_edition_gives_the_answers_it_gave(name, tmp_path):
    expected = json.loads((FIRST / "expected.json").read_text("utf-8"))
    model = keras.saving.load_model(FIRST / f"{name}.keras")
    np.testing.assert_allclose(model.classify(expected["texts"])["positive"], expected[name], atol=1e-6)
    model.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    np.testing.assert_allclose(again.classify(expected["texts"])["positive"], expected[name], atol=1e-6)


def test_a_first_edition_network_does_not_use_cudnn_on_empty_texts():
    model = keras.saving.load_model(FIRST / "bilstm.keras")
    [layer] = [layer for layer in model.network.layers if isinstance(layer, keras.layers.Bidirectional)]
    assert (layer.forward_layer.use_cudnn, layer.backward_layer.use_cudnn) == (False, False)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is read by TensorFlow")
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("state", ["fitted", "loaded"])
def test_the_network_is_exported_for_other_programs(network, state, tmp_path):
    import tensorflow as tf

    model = classifier(network)
    if state == "fitted":
        model.compile("adam", LOSS)
        model.fit(model.encode(TEXTS), CODES, verbose=0)
    else:
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported"))
    ids = model.encode(TEXTS)
    np.testing.assert_allclose(served.serve(tf.constant(ids)), model.predict_on_batch(ids), atol=1e-5)
