"""The finder as a task: a question and a passage in, the words that answer out, one file."""

import json
import math
import subprocess

import keras
import numpy as np
import pandas as pd
import pytest
from nursery import python

from kerasllm import batches, models, tasks, text

PASSAGE = "Asaph Hall found both moons of Mars in August 1877, and named them Phobos and Deimos."
QUESTIONS = ["Who found the moons?", "When were they found?", "Who named the planet?", "What is the name of a moon?"]
ANSWERS = ["Asaph Hall", "August 1877", "", "Phobos"]
PASSAGES = [PASSAGE] * 4
TOKENIZER = text.train_wordpiece([PASSAGE, *QUESTIONS] * 3, 160, bos=True, eos=True)
BYTES = text.train_bpe([PASSAGE, *QUESTIONS] * 3, 320, bos=True, eos=True)

ODD = [
    "",
    "M",
    "Mars and Phobos " * 620,
    "👩🏽‍🚀 Mars 😀",
    "הירח של מאדים",
    "قمر المريخ",
    " \n ",
    "北京 and Mars",
    "e\u0301",
]


def finder(tokenizer=TOKENIZER, types=2, context=64, **given):
    keras.utils.set_random_seed(1)
    settings = models.BERTSettings(
        tokenizer.vocabulary_size, 32, 2, 4, context_length=context, type_vocabulary_size=types, pad_id=tokenizer.pad_id
    )
    return tasks.SpanFinder(models.BERTClassifier(models.BERT(settings), 2, None), tokenizer, **given)


def shaken(model):
    random = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(random.normal(size=weight.shape) * 0.5 + ("gamma" in weight.path))
    return model


def trained(model, epochs=40):
    rows = model.examples(QUESTIONS, PASSAGES, ANSWERS)
    feed = batches.spans(*rows, batch_size=4, epochs=epochs, shuffle=True, seed=1, pad_id=model.tokenizer.pad_id)
    model.compile(keras.optimizers.Adam(3e-3), metrics=["accuracy"])
    steps = batches.steps_per_epoch(feed)
    return model.fit(feed, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=0).history


# Answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{}, {"tokenizer": BYTES, "context": 96}, {"types": 0}, {"max_length": 24, "stride": 8}]
)
def test_a_finder_learns_answers_and_that_there_is_none(given):
    model = finder(**given)
    history = trained(model, epochs=80)
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    frame = model.answer(QUESTIONS, PASSAGES)
    assert frame["text"].tolist() == ANSWERS
    assert (frame["no_answer"] > 0.5).tolist() == [False, False, True, False]
    for row in frame[frame["text"] != ""].itertuples():
        assert PASSAGE[row.start : row.end] == row.text
    assert frame.loc[2, ["start", "end"]].tolist() == [-1, -1]
    one = model.answer(QUESTIONS[1], PASSAGE)
    assert one == pytest.approx(tuple(frame.loc[1]), abs=1e-4)
    assert one.no_answer == pytest.approx(1 / (1 + math.exp(one.score)))


def by_hand(model, question, passage):
    """The best words and their score, from one row without padding and all pairs of its places."""
    front = [TOKENIZER.bos_id, *TOKENIZER.encode(question)[: model.max_question], TOKENIZER.eos_id]
    [ids], [offsets] = text.encode_with_offsets(TOKENIZER, [passage])
    assert len(front) + len(ids) < model.max_length
    row = np.array([front + ids + [TOKENIZER.eos_id]])
    types = np.array([[0] * len(front) + [1] * (len(ids) + 1)])
    begin, end = np.array(model.network({"ids": row, "mask": row > -1, "type_ids": types}), "float64")[0].T
    pairs = [(i, j) for i in range(len(ids)) for j in range(i, min(len(ids), i + model.max_answer))]
    best = max(pairs, key=lambda pair: begin[len(front) + pair[0]] + end[len(front) + pair[1]])
    score = begin[len(front) + best[0]] + end[len(front) + best[1]] - begin[0] - end[0]
    return passage[offsets[best[0], 0] : offsets[best[1], 1]], score


@pytest.mark.parametrize("longest", [1, 3, 30])
def test_the_answer_has_the_largest_sum_of_begin_and_end(longest):
    model = shaken(finder(max_answer=longest))
    for question in QUESTIONS:
        found = model.answer([question], [PASSAGE], threshold=-math.inf).iloc[0]
        words, score = by_hand(model, question, PASSAGE)
        assert found["text"] == words
        assert found["score"] == pytest.approx(score, abs=1e-3)
        decided = model.answer(question, PASSAGE)
        assert decided.text == (words if score > 0 else "")


def test_padding_batches_and_order_change_nothing():
    model = shaken(finder(max_length=24, stride=7))
    questions = [QUESTIONS[i % 4] for i in range(len(ODD) + 1)]
    passages = [*ODD, PASSAGE]
    together = model.answer(questions, passages, batch_size=3)
    alone = pd.DataFrame([model.answer(*pair) for pair in zip(questions, passages, strict=True)])
    backwards = model.answer(questions[::-1], passages[::-1])[::-1].reset_index(drop=True)
    for other in (alone, backwards):
        assert other[["text", "start", "end"]].equals(together[["text", "start", "end"]])
        finite = np.isfinite(together["score"])
        np.testing.assert_allclose(other["score"][finite], together["score"][finite], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(other["no_answer"], together["no_answer"], atol=1e-5)


def test_every_passage_has_an_answer_inside_of_it_or_none():
    model = shaken(finder())
    for threshold in (-math.inf, 0.0):
        frame = model.answer(["Who found the moons?"] * len(ODD), ODD, threshold=threshold)
        for passage, row in zip(ODD, frame.itertuples(), strict=True):
            assert row.text == ("" if row.start < 0 else passage[row.start : row.end])
            assert bool(row.text) == (row.score > threshold)
            assert row.text == row.text.strip()
            assert not (passage.strip() == "" and row.text)
    assert frame["no_answer"].iloc[0] == 1.0
    assert model.answer("", PASSAGE).score == pytest.approx(by_hand(model, "", PASSAGE)[1], abs=1e-3)
    assert math.isfinite(model.answer("why " * 3000, PASSAGE).score)


def test_an_answer_in_a_late_window_is_found():
    model = finder(max_length=32, stride=10)
    trained(model, epochs=60)
    far = "They wrote of it and of them. " * 12 + PASSAGE
    found = model.answer("Who found the moons?", far, threshold=-math.inf)
    assert far[found.start : found.end] == found.text != ""
    assert len(model.examples(["Who?"], [far], ["Asaph Hall"])[0]) > 5


# Examples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", [TOKENIZER, BYTES])
@pytest.mark.parametrize("long", [1, 6])
def test_places_of_characters_become_places_of_tokens(tokenizer, long):
    model = finder(tokenizer, context=40, stride=9)
    passages = [PASSAGE * long] * 4
    ids, begins, answers = model.examples(QUESTIONS, passages, ANSWERS)
    questions = [tokenizer.encode(question)[: model.max_question] for question in QUESTIONS]
    found = {tuple(question): set() for question in questions}
    for row, begin, (first, last) in zip(ids, begins, answers, strict=True):
        assert len(row) <= 40
        assert (row[0], row[begin - 1], row[-1]) == (tokenizer.bos_id, tokenizer.eos_id, tokenizer.eos_id)
        words = tokenizer.decode(row[first : last + 1]).strip() if first else ""
        found[tuple(row[1 : begin - 1])].add(words.replace(" ", ""))
    assert [max(found[tuple(question)], key=len) for question in questions] == [one.replace(" ", "") for one in ANSWERS]
    if long > 1:  # a window without the answer has none
        assert all("" in words for words in found.values())


def test_the_place_of_an_answer_tells_which_one_is_meant():
    model = finder()
    passage = "Mars and Phobos and Mars"
    places = [model.examples(["Who?"], [passage], ["Mars"], [start])[2][0] for start in (0, 20)]
    assert places[0] < places[1]
    assert model.examples(["Who?"], [passage], ["Mars"])[2][0] == places[0]
    spaced = model.examples(["Who?"], [passage], [" Mars"], [19])[2][0]
    assert spaced == places[1]


def test_outside_of_the_passage_no_answer_can_begin_or_end():
    model = shaken(finder())
    rows = model.examples(QUESTIONS, PASSAGES, ANSWERS)
    inputs, _ = next(iter(batches.spans(*rows, batch_size=4).as_numpy_iterator()))
    logits = np.array(model(inputs))
    assert logits.shape == (4, 2, inputs["ids"].shape[1])
    assert (logits[:, 0][~inputs["places"]] == -1e9).all()
    assert (np.abs(logits[:, 1][inputs["places"]]) < 1e6).all()


def test_the_loss_is_the_mean_of_begin_and_end():
    model = shaken(finder())
    model.compile("sgd")
    rows = model.examples(QUESTIONS, PASSAGES, ANSWERS)
    inputs, answers = next(iter(batches.spans(*rows, batch_size=4).as_numpy_iterator()))
    logits = np.array(model(inputs), "float64")
    lost = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, answers[..., None], -1)[..., 0]
    assert model.evaluate(inputs, answers, verbose=0) == pytest.approx(lost.mean(), rel=1e-4)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert model.evaluate(inputs, answers, verbose=0) == pytest.approx(lost.mean(), rel=1e-4)


# The threshold ------------------------------------------------------------------------------------


def test_the_threshold_with_the_best_f1_is_chosen(monkeypatch):
    model = finder()
    scores, right = [5.0, 3.0, 2.0, 2.0, -1.0, -math.inf], ["p", "", "q", "q", "r", ""]
    found = [tasks.Answer(one or "x", 0, 1, score, 0.5) for one, score in zip(right, scores, strict=True)]
    monkeypatch.setattr(model, "_answers", lambda *given: found)
    assert model.choose_threshold(["?"] * 6, ["!"] * 6, right) == model.threshold
    assert model.threshold < -1  # right for four, wrong for one
    right[2] = right[3] = right[4] = ""
    model.choose_threshold(["?"] * 6, ["!"] * 6, right)
    assert model.threshold == 4.0
    right[0] = ""
    model.choose_threshold(["?"] * 6, ["!"] * 6, right)
    assert model.threshold > 5
    with pytest.raises(ValueError, match="1 questions and 2 answers"):
        model.choose_threshold(["?"], ["!"], ["a", "b"])


# Parts that fit -----------------------------------------------------------------------------------


def of_tokens(outputs, size=TOKENIZER.vocabulary_size):
    return models.BERTClassifier(models.BERT(models.BERTSettings(size, 8, 1, 2, context_length=32)), outputs, None)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"network": of_tokens(3)}, "3 logits, but there are 2 of them: begin and end"),
        ({"network": models.BiLSTM(TOKENIZER.vocabulary_size, 2)}, "pooling=None"),
        ({"network": of_tokens(2, 9)}, "knows 9 tokens"),
        ({"tokenizer": text.train_words([PASSAGE], 20)}, "bos and eos"),
        ({"max_length": 33}, "max_length"),
        ({"max_length": 4}, "max_length"),
        ({"stride": 0}, "stride"),
        ({"max_question": 29}, "max_question"),
        ({"max_answer": 0}, "max_answer"),
    ],
)
def test_what_does_not_fit_together_is_refused(given, word):
    with pytest.raises(ValueError, match=word):
        tasks.SpanFinder(**{"network": of_tokens(2), "tokenizer": TOKENIZER, **given})


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda model: model.answer("Who?", [PASSAGE]), TypeError, "list of questions, not 'Who"),
        (lambda model: model.answer(["Who?"], PASSAGE), TypeError, "list of passages"),
        (lambda model: model.answer(None, PASSAGE), TypeError, "list of questions, not None"),
        (lambda model: model.answer(["Who?", None], [PASSAGE] * 2), TypeError, "position 1 is NoneType"),
        (lambda model: model.answer(["Who?"], [PASSAGE] * 2), ValueError, "1 questions and 2 passages"),
        (lambda model: model.answer("\ud800", PASSAGE), ValueError, "lone surrogate"),
        (lambda model: model.answer("Who?", PASSAGE, batch_size=0), ValueError, "batch_size"),
        (lambda model: model.predict(["Who?"]), TypeError, r"model\.answer\(questions, passages\)"),
        (lambda model: model.examples(["Who?"], [PASSAGE], ["Galileo"]), ValueError, "does not stand at -1"),
        (lambda model: model.examples(["Who?"], [PASSAGE], ["Hall"], [0]), ValueError, "does not stand at 0 .*'Asaph"),
        (lambda model: model.examples(["Who?"], [PASSAGE], ["a", "b"]), ValueError, "1 passages, 2 answers"),
        (lambda model: model.examples(["Who?"], [PASSAGE], [math.nan]), ValueError, "Answer 0 is nan"),
    ],
)
def test_bad_arguments_are_refused(call, error, word):
    with pytest.raises(error, match=word):
        call(finder())


def test_no_questions_give_an_empty_table_and_an_index_is_kept():
    model = finder()
    assert model.answer([], []).columns.tolist() == ["text", "start", "end", "score", "no_answer"]
    asked = pd.Series(QUESTIONS[:2], index=["x", "y"])
    assert model.answer(asked, pd.Series(PASSAGES[:2])).index.tolist() == ["x", "y"]


# Files --------------------------------------------------------------------------------------------

LOAD = """
import json, sys
import keras
import kerasllm.tasks
model = keras.saving.load_model(sys.argv[1])
questions, passages = json.load(open(sys.argv[2]))
json.dump([model.answer(questions, passages).values.tolist(), model.compiled], open(sys.argv[2], "w"))
"""


def test_one_file_gives_the_same_answers_in_a_fresh_process(tmp_path):
    model = finder(max_length=24, stride=7, max_question=5, max_answer=6, threshold=0.25)
    trained(model, epochs=1)
    shaken(model).save(tmp_path / "model.keras")
    passages = [*ODD, PASSAGE]
    questions = [QUESTIONS[i % 4] for i in range(len(passages))]
    (tmp_path / "asked.json").write_text(json.dumps([questions, passages]))
    command = [*python(), "-c", LOAD, tmp_path / "model.keras", tmp_path / "asked.json"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    found, compiled = json.loads((tmp_path / "asked.json").read_text())
    assert found == model.answer(questions, passages).to_numpy().tolist()
    assert compiled
