"""The questions about short passages: every answer in its place, no copies, and no answer from the question alone."""

import importlib.util
import itertools
import json
import re
from pathlib import Path

import pytest

from kerasllm import data
from kerasllm.data.catalogue import find, folder
from kerasllm.data.loaders.questions import _span
from kerasllm.data.splits import fold

NAME = "short-passages"
PARTS = ("train", "validation", "test")
LETTERS = {"english": 8, "chinese": 4}  # of a run that two passages may share now and then
WORDS = {"english": (60, 120), "chinese": (80, 200)}  # of a passage; Chinese: characters
CHANCE = 0.10  # how far from 0.5 the area of the question alone may lie; its standard error is about 0.04


@pytest.fixture(scope="module")
def frame():
    return data.load(NAME)


@pytest.fixture(scope="module")
def passages(frame):
    return frame.drop_duplicates("passage_id").reset_index(drop=True)


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "benchmarks" / "short_passages.py"
    specification = importlib.util.spec_from_file_location("short_passages", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured(frame, script):
    return {language: script.measured(frame, language) for language in script.LANGUAGES}


def runs(text, length):
    """All runs of letters of a text, without marks and white space."""
    plain = fold(text)
    return {plain[start : start + length] for start in range(len(plain) - length + 1)}


def length(passage, language):
    return len(passage.split()) if language == "english" else len(passage)


def test_every_answer_stands_at_its_place(frame):
    for row in frame.itertuples():
        if row.answerable:
            assert row.passage[row.start : row.start + len(row.answer)] == row.answer != ""
            assert not re.search(r"^[\W_]|[\s,.;:!?，。；：！？]$", row.answer), row.answer
            assert fold(row.answer) not in fold(row.question), row.question
        else:
            assert (row.answer, row.start) == ("", -1)
    english = frame[(frame["language"] == "english") & frame["answerable"]]
    assert english["answer"].str.split().str.len().between(1, 12).all()
    assert english["answer"].str.match("(the|a|an) ").mean() < 0.06  # whole clauses, and "the two rarest"


def test_an_answer_that_stands_twice_says_which_one_is_meant():
    for language in LETTERS:
        for line in (folder() / f"{NAME}-{language}.jsonl").read_text("utf-8").splitlines():
            one = json.loads(line)
            for asked in one["questions"]:
                several = asked["answer"] is not None and one["passage"].count(asked["answer"]) > 1
                assert several == ("occurrence" in asked), (one["id"], asked)


def test_a_wrong_answer_in_the_file_is_named():
    with pytest.raises(data.DataError, match="x-1 holds 'blue' 1 times: mend"):
        _span({"id": "x-1", "passage": "a blue hat"}, {"answer": "blue", "occurrence": 1})
    assert _span({"id": "x-1", "passage": "bluebell, blue"}, {"answer": "blue", "occurrence": 1}) == ("blue", 10)


def test_no_passage_and_no_question_stands_twice(frame, passages):
    assert (frame.groupby("passage_id")[["passage", "split", "subject", "title"]].nunique() == 1).all(axis=None)
    assert not passages["passage"].map(fold).duplicated().any()
    assert not passages.duplicated(["language", "title"]).any()
    assert not frame["question"].map(fold).duplicated().any()


@pytest.mark.parametrize("language", LETTERS)
def test_no_two_passages_are_nearly_the_same(passages, language):
    some = passages[passages["language"] == language]
    found = [(row.passage_id, runs(row.passage, LETTERS[language])) for row in some.itertuples()]
    for (first, one), (second, other) in itertools.combinations(found, 2):
        assert len(one & other) < 0.1 * min(len(one), len(other)), (first, second)


def test_there_are_enough_of_each_kind_in_each_part(frame, passages):
    assert len(passages) >= 120
    assert len(frame) >= 400
    for language, some in frame.groupby("language", observed=True):
        shares = 1 - some.groupby("split")["answerable"].mean()
        assert set(shares.index) == set(PARTS)
        assert shares.between(0.2, 0.3).all(), (language, shares)
        own = passages[passages["language"] == language]
        parts = own["split"].value_counts(normalize=True)
        assert parts["train"] == pytest.approx(0.6, abs=0.05)
        assert parts["validation"] == pytest.approx(0.15, abs=0.05)
        assert own["subject"].nunique() >= 20
        # Few subjects are new in the parts that judge.
        assert own.loc[own["split"] == "train", "subject"].nunique() >= 0.8 * own["subject"].nunique()
        least, most = WORDS[language]
        for row in own.itertuples():
            assert least <= length(row.passage, language) <= most, row.passage_id
    assert frame.groupby("passage_id").size().between(3, 5).all()


@pytest.mark.parametrize("language", LETTERS)
def test_the_question_alone_does_not_tell_whether_there_is_an_answer(language, measured):
    alone, overlap = measured[language]["areas"]
    assert abs(alone - 0.5) < CHANCE
    # Nor do the words that it shares with the passage tell much: the others are asked in such words, too.
    assert abs(overlap - 0.5) < 0.15


@pytest.mark.parametrize("language", LETTERS)
def test_words_in_common_do_not_answer(language, measured):
    for reader in ("question alone", "overlap, always an answer"):
        assert measured[language][reader][2] < 0.2


def test_the_baselines_of_the_card_are_true(measured, script):
    stated = data.card(NAME).split("<!-- begin of baselines -->\n")[1].split("\n<!-- end")[0].splitlines()
    for said, now in zip(stated, script.table(measured), strict=True):
        assert re.sub(r"\d\.\d+", "", said) == re.sub(r"\d\.\d+", "", now)
        # One question more or less may fall on the other side on another machine.
        numbers = [list(map(float, re.findall(r"\d\.\d+", line))) for line in (said, now)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.01)


def test_the_card_counts_what_there_is(frame, passages):
    card = data.card(NAME)
    assert find(NAME).splits == frame["split"].value_counts().to_dict()
    for language, some in frame.groupby("language", observed=True):
        own = passages[passages["language"] == language]
        for part in PARTS:
            rows = some[some["split"] == part]
            without = int((~rows["answerable"]).sum())
            assert f"| {language} | {part} | {(own['split'] == part).sum()} | {len(rows)} | {without} |" in card
