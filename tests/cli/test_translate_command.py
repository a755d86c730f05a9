"""The command translate: a line for each text, of the command line or of stdin."""

import io
import json
import sys
from types import SimpleNamespace

import keras
import pytest
from command_line import fails, kerasllm

from kerasllm import models, tasks, text
from kerasllm.cli import saved_tasks, translate_command

TEXTS = ["ein Film", "gut", "der Film ist gut", "so so"]


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """The path of a saved translator and itself. It was not trained: it writes whatever there is."""
    keras.utils.set_random_seed(2)
    tokenizer = text.train_characters([*TEXTS, "\n"], bos=True, eos=True)
    settings = models.Seq2SeqSettings(tokenizer.vocabulary_size, embedding_dim=8, num_layers=1, num_heads=2)
    model = tasks.Translator(models.Seq2Seq(settings), tokenizer, max_length=6)
    path = tmp_path_factory.mktemp("translator") / "model.keras"
    model.save(path)
    return path, model


def lines(answers):
    return "".join(" ".join(answer.splitlines()) + "\n" for answer in answers)


def test_each_text_of_the_command_line_is_a_line(translator, capsys):
    path, model = translator
    assert kerasllm("translate", path, *TEXTS) == 0
    assert capsys.readouterr().out == lines(model.translate(TEXTS, num_beams=4))
    assert kerasllm("translate", path, TEXTS[0], "--beams", 1, "--length-penalty", 0) == 0
    assert capsys.readouterr().out == lines(model.translate(TEXTS[:1]))


def test_as_json_a_line_has_text_and_translation(translator, capsys):
    path, model = translator
    assert kerasllm("translate", path, "--json", *TEXTS) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found == [{"text": a, "translation": b} for a, b in zip(TEXTS, model.translate(TEXTS, 4), strict=True)]


def test_each_line_of_stdin_is_a_line(translator, monkeypatch, capsys):
    path, model = translator
    monkeypatch.setattr(saved_tasks, "LINES", 3)
    content = "\ufeff" + "\r\n".join([TEXTS[0], "", *TEXTS[1:]]) + "\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content.encode()), isatty=lambda: False))
    assert kerasllm("translate", path, "--beams", 1) == 0
    assert capsys.readouterr().out == lines(model.translate([TEXTS[0], "", *TEXTS[1:]]))


def test_an_answer_with_a_line_end_is_one_line(translator, monkeypatch, capsys):
    model = SimpleNamespace(translate=lambda texts, *rest: ["one\ntwo"])
    monkeypatch.setattr(translate_command, "load_task", lambda path, name: model)
    assert kerasllm("translate", translator[0], "gut") == 0
    assert capsys.readouterr().out == "one two\n"


def test_what_translate_refuses(translator, tmp_path, monkeypatch, capsys):
    path, _ = translator
    assert "there is no file" in fails(capsys, "translate", tmp_path / "nothing.keras", "gut")
    assert "name the *.keras that Translator.save wrote" in fails(capsys, "translate", tmp_path, "gut")
    (tmp_path / "broken.keras").write_bytes(path.read_bytes()[:500])
    assert "broken.keras: " in fails(capsys, "translate", tmp_path / "broken.keras", "gut")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    assert "holds a Sequential, which does not translate" in fails(capsys, "translate", tmp_path / "other.keras", "gut")
    assert "is not a whole number from 1 up" in fails(capsys, "translate", path, "gut", "--beams", 0)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"f\xe4x\n"), isatty=lambda: False))
    assert "line 1 on stdin is not UTF-8" in fails(capsys, "translate", path)
