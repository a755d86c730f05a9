"""The translator as a task: strings in, strings out, one file."""

import functools
import json
import subprocess
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from nursery import python

from kerasllm import generation, models, tasks, text

GERMAN = ["ein guter Film", "ein schlechter Film", "gut", "so gut, so gut", "der Film ist gut"]
ENGLISH = ["a good film", "a bad film", "good", "so good, so good", "the film is good"]
READS = text.train_words(GERMAN, vocabulary_size=40)
WRITES = text.train_words(ENGLISH, vocabulary_size=60, bos=True, eos=True)
CHARACTERS = text.train_characters([*GERMAN, *ENGLISH], bos=True, eos=True)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")


def transformer(reads=READS, writes=WRITES, **changes):
    sizes = {"source_vocabulary_size": reads.vocabulary_size, "embedding_dim": 16, "num_layers": 1, "num_heads": 2}
    return models.Seq2Seq(models.Seq2SeqSettings(writes.vocabulary_size, **{**sizes, **changes}))


def lstm(reads=READS, writes=WRITES, **changes):
    return models.LSTMSeq2Seq(writes.vocabulary_size, reads.vocabulary_size, embedding_dim=16, units=24, **changes)


def translator(network=transformer, reads=READS, writes=WRITES, max_length=12, **changes):
    keras.utils.set_random_seed(1)
    return tasks.Translator(network(reads, writes, **changes), reads, writes, max_length)


@functools.cache
def of_characters():
    """One that was not trained and writes whatever there is."""
    return translator(reads=CHARACTERS, writes=CHARACTERS, max_length=20)


@functools.cache
def trained(network):
    model = translator(network)
    model.compile(keras.optimizers.Adam(0.01), LOSS, jit_compile=False)
    feed = model.pairs(GERMAN, ENGLISH, batch_size=5, shuffle=True, epochs=120)
    model.fit(feed, epochs=120, steps_per_epoch=1, shuffle=False, verbose=0)
    return model


# Answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [transformer, lstm])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_translator_learns_and_answers_in_the_order_of_the_texts(network, beams):
    model = trained(network)
    order = [3, 0, 4, 1, 2]
    answers = model.translate(pd.Series(GERMAN)[order], num_beams=beams, batch_size=2)
    assert answers == [ENGLISH[place] for place in order]


def test_a_text_gets_the_same_answer_alone_and_among_others():
    model = of_characters()
    texts = ["gut", "", "ein Film " * 9, "so", "Film", "der " * 4]
    together = model.translate(texts, num_beams=2, batch_size=2)
    assert together == [model.translate([one], num_beams=2)[0] for one in texts]
    assert any(together)


def test_an_answer_is_what_the_search_finds_in_words():
    model = trained(transformer)
    ids = model.encode(GERMAN)
    found, _ = generation.beam_search(
        model.network, ids, None, WRITES.bos_id, WRITES.eos_id, 2, length_penalty=0.0, max_length=12
    )
    assert model.translate(GERMAN, 2, length_penalty=0.0) == WRITES.decode_batch(found)


@pytest.mark.parametrize("blank", ["", " \n\t", "\u200b\ufeff"])
def test_a_text_in_which_nothing_can_be_seen_becomes_an_empty_one(blank):
    assert of_characters().translate([blank]) == [""]
    assert of_characters().translate([blank, "gut"])[0] == ""


STRANGE = {
    "long": "gut " * 2500,
    "emoji": "😀👩‍👩‍👧",
    "hebrew": "שלום עולם",
    "arabic": "مرحبا",
    "control": "\x00\x07",
    "special": "<bos> <eos> <pad>",
    "lines": "gut\nschlecht",
}


@pytest.mark.parametrize("make", [of_characters, lambda: trained(transformer)], ids=["characters", "words"])
def test_strange_texts_get_answers_and_leave_that_of_another_alone(make):
    model = make()
    *answers, last = model.translate([*STRANGE.values(), "gut"])
    assert all(isinstance(answer, str) for answer in answers)
    assert last == model.translate(["gut"])[0]


def test_a_long_text_is_cut_to_what_is_read():
    model = of_characters()
    assert model.encode(["gut " * 2500]).shape == (1, 20)
    assert model.translate(["gut " * 2500]) == model.translate(["gut " * 5 + "schlecht"])


def test_no_answer_is_longer_than_max_length_or_holds_a_row_without_a_token():
    network = models.Seq2Seq(models.Seq2SeqSettings(500, READS.vocabulary_size, embedding_dim=8, num_layers=1))
    model = tasks.Translator(network, READS, WRITES, max_length=7)
    for answer in model.translate(GERMAN):
        assert len(answer.split()) <= 7


def test_nothing_to_translate_gives_nothing():
    assert translator().translate([]) == []


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        ("gut", r"translate\(\[text\]\)"),
        (["gut", None], "position 1 is NoneType"),
        ([3], "position 0 is int"),
        ([["gut"]], "position 0 is list"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts, word):
    with pytest.raises(TypeError, match=word):
        translator().translate(texts)


def test_half_a_character_is_refused():
    with pytest.raises(ValueError, match="surrogate"):
        translator().translate(["gut", "\ud800"])


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"num_beams": 0}, "num_beams"),
        ({"num_beams": True}, "num_beams"),
        ({"length_penalty": -1}, "length_penalty"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_numbers_out_of_range_are_refused(given, word):
    with pytest.raises(ValueError, match=word):
        translator().translate(["gut"], **given)


@pytest.mark.parametrize("texts", ["gut", ["gut"], np.array(["gut"]), pd.Series(["gut"])], ids=str)
@pytest.mark.parametrize("method", ["__call__", "fit", "evaluate", "predict"])
def test_texts_where_ids_belong_are_refused_with_the_right_word(method, texts):
    with pytest.raises(
        TypeError, match=r"takes ids, not texts.*model\.translate\(texts\).*model\.pairs\(sources, targets\)"
    ):
        getattr(translator(), method)(texts)


# Feeds --------------------------------------------------------------------------------------------


def test_pairs_are_the_ids_of_both_sides_with_start_and_end():
    [(inputs, labels, weights)] = translator(max_length=3).pairs(GERMAN[2:4], ENGLISH[2:4], batch_size=2)
    assert np.array(inputs["source_ids"]).tolist() == [[*READS.encode("gut"), 0, 0], READS.encode("so gut,")]
    good, so = WRITES.encode("good"), WRITES.encode("so good")
    assert np.array(inputs["target_ids"]).tolist() == [[WRITES.bos_id, *good, 0], [WRITES.bos_id, *so]]
    assert np.array(labels).tolist() == [[*good, WRITES.eos_id, 0], [*so, WRITES.eos_id]]
    assert np.array(weights).tolist() == [[1, 1, 0], [1, 1, 1]]


def test_pairs_that_are_none_are_refused():
    model = translator()
    with pytest.raises(ValueError, match="5 sources and 4 targets"):
        model.pairs(GERMAN, ENGLISH[:4], batch_size=2)
    with pytest.raises(TypeError, match="position 1"):
        model.pairs(GERMAN[:2], ["good", None], batch_size=2)


def test_keras_own_methods_take_the_feed_of_pairs():
    model = trained(transformer)
    assert isinstance(model, tasks.task.Task)
    feed = model.pairs(GERMAN, ENGLISH, batch_size=5)
    [(inputs, labels, weights)] = feed
    logits = model.predict(feed, verbose=0)
    np.testing.assert_allclose(logits, np.array(model(inputs)), atol=1e-4)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    lost = -np.take_along_axis(logs, np.array(labels)[..., None], -1)[..., 0] * np.array(weights)
    assert model.evaluate(feed, verbose=0) == pytest.approx(lost.sum() / np.array(weights).sum(), rel=1e-3)


# Parts that fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "word"),
    [
        ({"network": models.BiLSTM(9, 2)}, ValueError, "has no read: take a Seq2Seq"),
        ({"network": models.Seq2Seq(models.Seq2SeqSettings(5, 60, num_layers=1))}, ValueError, "can write 5 tokens"),
        ({"network": models.Seq2Seq(models.Seq2SeqSettings(60, 5, num_layers=1))}, ValueError, "can read 5 tokens"),
        ({"network": transformer(pad_id=1)}, ValueError, "make the network with pad_id=0"),
        ({"target_tokenizer": READS}, ValueError, "no token to start with"),
        ({"source_tokenizer": "tokenizer.json"}, TypeError, "source_tokenizer must be .*Tokenizer.load"),
        ({"target_tokenizer": 3}, TypeError, "target_tokenizer must be"),
        ({"max_length": 0}, ValueError, "max_length"),
        ({"network": transformer(positions="learned", context_length=9), "max_length": 10}, ValueError, "from 1 to 9"),
    ],
)
def test_what_does_not_fit_together_is_refused(given, error, word):
    with pytest.raises(error, match=word):
        tasks.Translator(**{"network": lstm(), "source_tokenizer": READS, "target_tokenizer": WRITES, **given})


def test_one_tokenizer_may_serve_both_sides():
    model = tasks.Translator(transformer(CHARACTERS, CHARACTERS, shared=True), CHARACTERS)
    assert model.target_tokenizer is model.source_tokenizer
    assert model.max_length == 256
    assert tasks.Translator(lstm(CHARACTERS, CHARACTERS), CHARACTERS).max_length == 256


# Files --------------------------------------------------------------------------------------------

DATA = Path(__file__).parent / "data"
LOAD = """
import json, sys
import keras
import kerasllm.tasks
model = keras.saving.load_model(sys.argv[1])
answers = [model.translate(sys.argv[2:], num_beams=beams) for beams in (1, 2)]
open(sys.argv[1] + ".json", "w").write(json.dumps(answers))
"""


def test_a_file_from_before_the_common_base_gives_the_answers_it_gave(tmp_path):
    expected = json.loads((DATA / "translator.json").read_text("utf-8"))
    model = keras.saving.load_model(DATA / "translator.keras")
    assert model.compiled
    model.save(tmp_path / "again.keras")
    for one in (model, keras.saving.load_model(tmp_path / "again.keras")):
        for beams, answers in expected["answers"].items():
            assert one.translate(expected["texts"], num_beams=int(beams)) == answers
        begun = np.full((3, 2), one.target_tokenizer.bos_id)
        np.testing.assert_allclose(one(one.encode(expected["texts"][:3]), begun), expected["logits"], atol=1e-4)
        assert set(one.get_config()) == {
            *("name", "trainable", "dtype", "network", "source_tokenizer", "target_tokenizer", "max_length"),
        }


def test_one_file_goes_from_strings_to_the_same_strings_in_a_fresh_process(tmp_path):
    model, texts = trained(transformer), [*GERMAN, "ein unbekanntes Wort", "", "gut " * 40]
    path = tmp_path / "model.keras"
    model.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
    command = [*python(), "-c", LOAD, path, *texts]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads((tmp_path / "model.keras.json").read_text())
    assert found == [model.translate(texts, num_beams=beams) for beams in (1, 2)]
    assert found[0][:5] == ENGLISH
