"""The encoder of sentences as a task: strings in, vectors out, one file."""

import subprocess

import keras
import numpy as np
import pytest
from nursery import python

from kerasllm import models, tasks, text

TEXTS = ["a good film", "bad", "", "so good, so good " * 9, "a bad film"]
TOKENIZER = text.train_wordpiece(TEXTS, vocabulary_size=60, bos=True, eos=True)


def encoder(pooling="mean", head=False, **arguments):
    keras.utils.set_random_seed(1)
    settings = models.BERTSettings(
        TOKENIZER.vocabulary_size, 8, 2, 2, 16, context_length=24, pad_id=TOKENIZER.pad_id, head=head
    )
    return tasks.SentenceEncoder(models.BERT(settings), TOKENIZER, pooling, **arguments)


def by_hand(model, one, pool):
    """The vector of one text, without padding."""
    ids = [TOKENIZER.bos_id, *TOKENIZER.encode(one)[:22], TOKENIZER.eos_id]
    features = keras.ops.convert_to_numpy(model.network(np.array([ids]), return_features=True))[0]
    return {"mean": features.mean(0), "max": features.max(0), "first": features[0]}[pool]


@pytest.mark.parametrize("pooling", ["mean", "max", "first"])
@pytest.mark.parametrize("head", [False, True])
def test_vectors_are_those_of_each_text_alone(pooling, head):
    model = encoder(pooling, head, normalize=False)
    found = model.embed(TEXTS, batch_size=2)
    assert found.dtype == "float32"
    for row, one in zip(found, TEXTS, strict=True):
        np.testing.assert_allclose(row, by_hand(model, one, pooling), atol=1e-5)


def test_normalised_vectors_have_length_one_and_their_products_are_cosines():
    model, plain = encoder(), encoder(normalize=False)
    vectors = model.embed(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(plain.similarity(plain.embed(TEXTS), vectors), vectors @ vectors.T, atol=1e-5)


def test_a_prefix_stands_in_front_and_may_differ_in_a_call():
    model, plain = encoder(prefix="so "), encoder()
    np.testing.assert_allclose(model.embed(["good"]), plain.embed(["so good"]), atol=1e-6)
    np.testing.assert_allclose(model.embed(["good"], prefix="a "), plain.embed(["a good"]), atol=1e-6)
    np.testing.assert_allclose(model.embed(["good"], prefix=""), plain.embed(["good"]), atol=1e-6)


def test_long_texts_are_cut_and_keep_their_ends():
    ids = encoder(max_length=6).encode(TEXTS)
    assert ids.shape == (5, 6)
    assert [ids[3, 0], ids[3, -1]] == [TOKENIZER.bos_id, TOKENIZER.eos_id]
    assert encoder().embed(["film " * 1000]).shape == (1, 8)


@pytest.mark.parametrize("pooling", ["mean", "max", "first"])
def test_a_text_without_a_token_gives_zeros(pooling):
    tokenizer = text.train_words(TEXTS, vocabulary_size=20)  # it has no tokens for the ends
    model = tasks.SentenceEncoder(encoder().network, tokenizer, pooling)
    np.testing.assert_array_equal(model.embed(["", "good"])[0], 0)


def test_no_texts_give_no_vectors():
    assert encoder().embed([]).shape == (0, 8)


LOAD = """
import sys, keras, numpy as np
import kerasllm.tasks
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[2], model.embed(["a good film", "bad"]))
"""


def test_one_file_brings_everything_back_in_a_fresh_process(tmp_path):
    model = encoder("first", normalize=False, prefix="so ", max_length=9)
    model.save(tmp_path / "model.keras")
    command = [*python(), "-c", LOAD, tmp_path / "model.keras", tmp_path / "found.npy"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), model.embed(["a good film", "bad"]), atol=1e-6)


def test_it_trains_like_any_model():
    model = encoder()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    ids, wanted = model.encode(TEXTS), np.eye(8, dtype="float32")[[0, 1, 2, 0, 1]]
    losses = model.fit(ids, wanted, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]


def test_half_precision_gives_float32():
    model = encoder()
    half = models.BERT(model.network.settings, dtype="mixed_bfloat16")
    half.set_weights(model.network.get_weights())
    found = tasks.SentenceEncoder(half, TOKENIZER).embed(TEXTS)
    assert found.dtype == "float32"
    error = np.abs(found - model.embed(TEXTS)).max()
    assert 1e-5 < error < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "sum"}, "pooling"),
        ({"max_length": 25}, "max_length must be a whole number"),
        ({"max_length": 0}, "0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        encoder(**arguments)


def test_a_network_that_knows_too_few_tokens_is_refused():
    small = models.BERT(models.BERTSettings(5, 8, 1, 2))
    with pytest.raises(ValueError, match=f"knows 5 tokens, the tokenizer has {TOKENIZER.vocabulary_size}"):
        tasks.SentenceEncoder(small, TOKENIZER)


def test_texts_in_the_wrong_place_are_refused_with_the_right_one():
    model = encoder()
    with pytest.raises(TypeError, match=r"model\.embed\(texts\)"):
        model.predict(["good"])
    with pytest.raises(TypeError, match=r"model\.embed\(texts\)"):
        model(["good"])
    with pytest.raises(TypeError, match=r"embed\(\[text\]\)"):
        model.embed("good")
    with pytest.raises(TypeError, match="position 1 is int"):
        model.embed(["good", 3])
