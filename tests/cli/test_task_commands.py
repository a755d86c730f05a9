"""The commands classify, tag and answer: a line for each text, plain or JSON, of the command line or of stdin."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from command_line import fails, kerasllm

from kerasllm import models, tasks, text
from kerasllm.cli import answer_command, saved_tasks, tag_command
from kerasllm.cli.options import parser

ROOT = Path(__file__).parents[2]
TEXTS = ["Ada met Bob", "Bob lives in Rome 狐🙂", "Rome"]
PASSAGE = "Asaph Hall found both moons of Mars in August 1877."
QUESTIONS = ["Who found them?", "When?", "Why?"]
WORDS = text.train_words([*TEXTS, PASSAGE, *QUESTIONS], 60, bos=True, eos=True)
NAMES = ["O", "B-person", "I-person", "B-place", "I-place"]


def shaken(model, seed=3):
    """Weights of which each matters, so that answers differ. It was not trained: it answers whatever there is."""
    random = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(random.normal(size=weight.shape) + ("gamma" in weight.path))
    return model


def tagger(labels=NAMES):
    network = models.BiLSTM(WORDS.vocabulary_size, len(labels), 8, 8, pooling=None)
    return shaken(tasks.TokenTagger(network, WORDS, labels))


def finder():
    settings = models.BERTSettings(WORDS.vocabulary_size, 8, 1, 2, context_length=64, pad_id=WORDS.pad_id)
    return shaken(tasks.SpanFinder(models.BERTClassifier(models.BERT(settings), 2, None), WORDS), seed=1)


def classifier():
    network = models.BagOfEmbeddings(WORDS.vocabulary_size, 3, 8)
    return shaken(tasks.TextClassifier(network, WORDS, ["bad", "mixed", "好"]))


MAKE = {"tag": tagger, "answer": finder, "classify": classifier}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """For each command the path of a saved task, and itself."""
    folder, found = tmp_path_factory.mktemp("tasks"), {}
    for name, make in MAKE.items():
        keras.utils.set_random_seed(2)
        found[name] = folder / f"{name}.keras", make()
        found[name][1].save(found[name][0])
    return found


def said(capsys):
    return capsys.readouterr().out.splitlines()


def objects(capsys):
    return [json.loads(line) for line in said(capsys)]


def pipe(monkeypatch, content, terminal=False):
    content = content.encode() if isinstance(content, str) else content
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: terminal))


# classify -----------------------------------------------------------------------------------------


def test_classify_prints_the_label_and_its_probability(saved, capsys):
    path, model = saved["classify"]
    frame = model.classify(TEXTS)
    assert kerasllm("classify", path, *TEXTS) == 0
    expected = [f"{row.label}\t{getattr(row, row.label):.4f}" for row in frame.itertuples()]
    assert said(capsys) == expected
    assert len(set(expected)) == 3
    assert kerasllm("classify", path, "--json", *TEXTS) == 0
    for found, row in zip(objects(capsys), frame.to_dict("records"), strict=True):
        assert found["text"] == row["text"]
        assert found["label"] == row["label"]
        assert found["probabilities"] == pytest.approx({name: row[name] for name in model.labels}, abs=1e-6)


# tag ----------------------------------------------------------------------------------------------


def test_tag_prints_the_names_of_a_text(saved, capsys):
    path, model = saved["tag"]
    entities = model.entities(TEXTS)
    assert any(entities)
    assert kerasllm("tag", path, *TEXTS) == 0
    assert said(capsys) == ["\t".join(f"{one.text} ({one.type})" for one in row) for row in entities]
    assert kerasllm("tag", path, *TEXTS, "--json") == 0
    for found, asked, row in zip(objects(capsys), TEXTS, entities, strict=True):
        assert found["text"] == asked
        assert [tuple(one[name] for name in ("start", "end", "type", "text")) for one in found["entities"]] == row
        assert all(asked[one["start"] : one["end"]] == one["text"] for one in found["entities"])


def test_tag_prints_the_label_of_each_word_if_that_is_asked_or_there_are_no_names(saved, tmp_path, capsys):
    path, model = saved["tag"]
    assert kerasllm("tag", path, "--words", *TEXTS) == 0
    assert said(capsys) == ["\t".join(f"{word}/{label}" for word, label in row) for row in model.tag(TEXTS)]
    keras.utils.set_random_seed(2)
    other = tagger(["NOUN", "VERB"])
    other.save(tmp_path / "pos.keras")
    assert kerasllm("tag", tmp_path / "pos.keras", "--json", *TEXTS) == 0
    found = [[(one["word"], one["label"]) for one in row["words"]] for row in objects(capsys)]
    assert found == other.tag(TEXTS)


def test_a_name_over_a_line_end_stays_in_its_line(saved, monkeypatch, capsys):
    model = SimpleNamespace(labels=NAMES, entities=lambda texts: [[tasks.Entity(0, 8, "place", "New\n\tYork")]])
    monkeypatch.setattr(tag_command, "load_task", lambda path, name: model)
    assert kerasllm("tag", saved["tag"][0], "New\n\tYork") == 0
    assert said(capsys) == ["New York (place)"]


# answer -------------------------------------------------------------------------------------------


def test_answer_finds_the_words_of_a_passage_that_is_a_text_a_file_or_stdin(saved, tmp_path, monkeypatch, capsys):
    path, model = saved["answer"]
    (tmp_path / "moons.txt").write_bytes(b"\xef\xbb\xbf" + PASSAGE.encode() + b"\r\n")
    answers = [model.answer(question, PASSAGE) for question in QUESTIONS]
    expected = [one.text or "(no answer)" for one in answers]
    assert kerasllm("answer", path, "--passage", PASSAGE, *QUESTIONS) == 0
    assert said(capsys) == expected
    assert kerasllm("answer", path, *QUESTIONS, "--passage", tmp_path / "moons.txt") == 0
    assert said(capsys) == expected
    pipe(monkeypatch, PASSAGE + "\n")
    assert kerasllm("answer", path, "--passage", "-", *QUESTIONS) == 0
    assert said(capsys) == expected
    pipe(monkeypatch, "\n".join(QUESTIONS))
    assert kerasllm("answer", path, "--passage", PASSAGE) == 0
    assert said(capsys) == expected


def test_as_json_an_answer_has_its_place_and_score_and_null_where_there_is_none(saved, capsys):
    path, model = saved["answer"]
    answers = [model.answer(question, PASSAGE) for question in QUESTIONS]
    assert kerasllm("answer", path, "--passage", PASSAGE, "--json", *QUESTIONS) == 0
    for found, question, one in zip(objects(capsys), QUESTIONS, answers, strict=True):
        there = one.start >= 0
        assert found["question"] == question
        assert (found["answer"], found["start"], found["end"]) == (one[:3] if there else (None,) * 3)
        assert found["score"] == pytest.approx(one.score, abs=1e-4)
        assert found["no_answer"] == pytest.approx(one.no_answer, abs=1e-4)
    nothing = tasks.Answer("", -1, -1, -float("inf"), 1.0)
    plain = {"answer": None, "start": None, "end": None, "score": None, "no_answer": 1.0}
    assert answer_command._plain(nothing) == plain


@pytest.mark.parametrize("score", [2.0, -2.0])
def test_both_kinds_of_answers_are_printed(score, saved, monkeypatch, capsys):
    found = tasks.Answer("Asaph\nHall", 0, 10, score, 0.1) if score > 0 else tasks.Answer("", -1, -1, score, 0.9)
    monkeypatch.setattr(answer_command, "load_task", lambda path, name: SimpleNamespace(answer=lambda *asked: found))
    assert kerasllm("answer", saved["answer"][0], "--passage", PASSAGE, "Who?") == 0
    assert said(capsys) == ["Asaph Hall" if score > 0 else "(no answer)"]


def test_what_is_no_passage_is_refused(saved, tmp_path, monkeypatch, capsys):
    path, _ = saved["answer"]

    def refused(passage, *more):
        return fails(capsys, "answer", path, "--passage", passage, *(more or ["Who?"]))

    assert "there is no file moons.txt: name one, or give a text of several words" in refused("moons.txt")
    assert "there is no file no/moons" in refused("no/moons")
    assert "is a folder: name a file in it" in refused(tmp_path)
    (tmp_path / "empty.txt").write_text(" \n")
    assert "there is no text in it" in refused(tmp_path / "empty.txt")
    assert "there is no text in it" in refused("")
    (tmp_path / "latin.txt").write_bytes(b"M\xe4rs")
    assert "latin.txt is not UTF-8" in refused(tmp_path / "latin.txt")
    assert "more than 1,048,576 characters" in refused("moon " * 250_000)
    pipe(monkeypatch, "Who?\n")
    assert "stdin holds the passage, so name the questions" in fails(capsys, "answer", path, "--passage", "-")
    assert "required: --passage" in fails(capsys, "answer", path, "Who?")
    # A word that looks like no path is a text, and so is a path in a sentence.
    assert kerasllm("answer", path, "--passage", "约翰住在巴黎。", "谁?") == 0
    assert kerasllm("answer", path, "--passage", "See moons.txt", "Where?") == 0


# All ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", MAKE)
def test_lines_of_a_pipe_are_those_of_the_command_line(command, saved, monkeypatch, capsys):
    path, _ = saved[command]
    more = ["--passage", PASSAGE] if command == "answer" else []
    lines = [*TEXTS, "", "x" * 10_000, "שלום مرحبا 🙂"]
    for output in ([], ["--json"]):
        assert kerasllm(command, path, *more, *output, "--", *lines) == 0
        expected = said(capsys)
        assert len(expected) == len(lines)
        monkeypatch.setattr(saved_tasks, "LINES", 2)
        pipe(monkeypatch, "\ufeff" + "\r\n".join(lines) + "\n")
        assert kerasllm(command, path, *more, *output) == 0
        found = said(capsys)
        assert len(found) == len(lines)
        if not output:  # numbers of JSON differ in their last digits
            assert found == expected


def test_a_line_of_a_terminal_is_answered_at_once(monkeypatch):
    pipe(monkeypatch, "a\nb\n", terminal=True)
    assert list(saved_tasks.asked_texts([])) == [["a"], ["b"]]
    assert list(saved_tasks.asked_texts(["a", "b"])) == [["a", "b"]]


WRONG = {"tag": "TokenTagger", "answer": "SpanFinder", "classify": "TextClassifier"}


@pytest.mark.parametrize("command", MAKE)
def test_what_is_no_saved_task_is_refused(command, saved, tmp_path, monkeypatch, capsys):
    name = WRONG[command]
    more = ["--passage", PASSAGE] if command == "answer" else []
    wrote = f"of a {name}: name the *.keras that {name}.save wrote"
    assert wrote in fails(capsys, command, tmp_path / "none.keras", "a", *more)
    assert wrote in fails(capsys, command, tmp_path, "a", *more)
    (tmp_path / "broken.keras").write_bytes(saved[command][0].read_bytes()[:700])
    assert "broken.keras: " in fails(capsys, command, tmp_path / "broken.keras", "a", *more)
    other = "tag" if command != "tag" else "classify"
    line = fails(capsys, command, saved[other][0], "a", *more)
    assert f"holds a {WRONG[other]}, which does not " in line
    assert line.endswith(f"name a saved {name}, or use the command {other}")
    pipe(monkeypatch, b"f\xe4x\n")
    assert "line 1 on stdin is not UTF-8" in fails(capsys, command, saved[command][0], *more)
    assert "lone surrogate" in fails(capsys, command, saved[command][0], *more, "a\udcff")


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("tag m.keras --json a b", ["a", "b"]),
        ("tag m.keras a --json b --words c", ["a", "b", "c"]),
        ("tag m.keras a --json b -- -5 c", ["a", "b", "-5", "c"]),
        ("tag m.keras -- -5", ["-5"]),
        ("tag --json m.keras", []),
        ("translate m.keras --beams 2 a", ["a"]),
    ],
)
def test_texts_may_stand_before_and_behind_options(line, texts):
    assert parser().parse_args(line.split()).texts == texts


@pytest.mark.parametrize("line", ["tag m.keras a --wrong b", "tag m.keras a --json b --wrong", "generate m.keras a b"])
def test_options_that_are_none_are_no_texts(line, capsys):
    assert "unrecognized arguments" in fails(capsys, *line.split())


def test_help_says_what_a_line_is(capsys):
    for command, words in (("tag", "names in the text"), ("answer", "(no answer)"), ("classify", "its probability")):
        with pytest.raises(SystemExit):
            kerasllm(command, "--help")
        assert words in " ".join(capsys.readouterr().out.split())


def test_a_process_of_its_own_answers_in_one_line_even_where_stdout_knows_few_characters(saved):
    path, model = saved["tag"]
    command = [sys.executable, "-m", "kerasllm", "tag", path, "--json", *TEXTS]
    for encoding in ("utf-8", "cp1252"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "TF_CPP_MIN_LOG_LEVEL": "3"}
        run = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment)
        assert run.returncode == 0, run.stderr[-2000:]
        assert run.stderr == b""
        found = [json.loads(line) for line in run.stdout.decode(encoding).splitlines()]
        assert [one["text"] for one in found] == TEXTS
        assert [[entity["text"] for entity in one["entities"]] for one in found] == [
            [entity.text for entity in row] for row in model.entities(TEXTS)
        ]
