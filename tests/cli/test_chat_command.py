"""``kerasllm chat``, and the models that it and ``generate`` take."""

import io
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
from command_line import fails, kerasllm
from nursery import python

from kerasllm import generation, models, weights
from kerasllm.cli import options
from kerasllm.cli import trained as trained_run
from kerasllm.cli.errors import UserError
from kerasllm.cli.models import load_model
from kerasllm.data import FetchError

ROOT = Path(__file__).parents[2]
GREEDY = ("--temperature", 0, "--max-new-tokens", 7)


@pytest.fixture
def piped(monkeypatch):
    """What comes through a pipe."""

    def pipe(content):
        content = content.encode() if isinstance(content, str) else content
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))

    return pipe


@pytest.fixture
def typed(monkeypatch):
    """What somebody types; an exception is a key such as Ctrl-C."""

    def type_(*lines):
        keys = iter([*lines, EOFError])

        def read(prompt):
            key = next(keys)
            if isinstance(key, str):
                return key
            raise key

        monkeypatch.setattr("builtins.input", read)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))

    return type_


@pytest.fixture
def replies(talker):
    """What the model says to some lines, by the library."""

    def said(*lines, system=None):
        chat = generation.Chat(*trained_run.load_run(talker), system)
        return [chat.say(line, 7).text for line in lines]

    return said


def test_each_line_of_a_pipe_is_a_turn(talker, replies, piped, capsys):
    expected = replies("hello", "and you!", " spaces ")
    piped("\ufeffhello\r\n\n   \nand you!\n spaces ")
    assert kerasllm("chat", talker, *GREEDY) == 0
    printed = capsys.readouterr()
    assert printed.out == "".join(reply + "\n" for reply in expected)
    assert printed.err == ""


def test_reset_forgets_and_quit_ends(talker, piped, monkeypatch, capsys):
    def counted(self, line, *arguments, **options):
        yield f"{len(self.turns)} before {line}"
        self.turns = [*self.turns, {"role": "user", "content": line}, {"role": "assistant", "content": "x"}]

    monkeypatch.setattr(generation.Chat, "stream", counted)
    piped("one\ntwo\n /reset \nthree\n/quitter\n/quit\nfour\n")
    assert kerasllm("chat", talker, "--system", "B") == 0
    assert capsys.readouterr().out == "1 before one\n3 before two\n1 before three\n3 before /quitter\n"


def test_what_the_system_says_and_seeds_reach_the_model(talker, replies, piped, capsys):
    [expected] = replies("hello", system="BBB.")
    piped("hello\n")
    assert kerasllm("chat", talker, "--system", "BBB.", *GREEDY) == 0
    assert capsys.readouterr().out == expected + "\n"
    drawn = []
    for seed in (1, 1, 2):
        piped("hello\nhello\n")
        assert kerasllm("chat", talker, "--seed", seed, "--temperature", 3, "--max-new-tokens", 9) == 0
        drawn.append(capsys.readouterr().out)
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_terminal_has_help_and_keys(talker, replies, typed, monkeypatch, capsys):
    first, second = replies("hello", "more")
    typed("hello", KeyboardInterrupt, "", "more")
    assert kerasllm("chat", talker, *GREEDY) == 0
    help_, *lines = capsys.readouterr().out.split("\n")
    assert "/reset" in help_
    assert "Ctrl-C stops a reply" in help_
    assert "\n".join(lines) == f"{first}\n\n{help_}\n{second}\n\n"


def test_ctrl_c_stops_a_reply_and_the_chat_goes_on(talker, typed, monkeypatch, capsys):
    kept, stream = [], generation.Chat.stream

    def interrupted(self, line, *arguments, **options):
        kept.append(self.turns)
        for number, piece in enumerate(stream(self, line, *arguments, every=1, **options)):
            yield piece
            if number == 0 and line == "hello":
                raise KeyboardInterrupt

    monkeypatch.setattr(generation.Chat, "stream", interrupted)
    typed("hello", "more")
    assert kerasllm("chat", talker, *GREEDY) == 0
    assert "Traceback" not in capsys.readouterr().err
    assert [turn["role"] for turn in kept[1]] == ["user", "assistant"]
    assert kept[1][0]["content"] == "hello"
    assert 0 < len(kept[1][1]["content"]) < 7


def test_a_turn_that_is_too_long_ends_a_pipe_and_not_a_talk(talker, replies, piped, typed, capsys):
    long = "a" * 200
    piped(f"{long}\nhello\n")
    assert "the model sees 120" in fails(capsys, "chat", talker, *GREEDY)
    typed(long, "hello")
    assert kerasllm("chat", talker, *GREEDY) == 0
    printed = capsys.readouterr()
    assert "kerasllm: The turn has" in printed.err
    assert printed.out.endswith(f"{replies('hello')[0]}\n\n")


def test_what_chat_refuses(talker, trained, tmp_path, piped, monkeypatch, capsys):
    assert "was not trained on conversations" in fails(capsys, "chat", trained)
    assert "there is no model.safetensors in" in fails(capsys, "chat", tmp_path)
    assert "is not a number above 0" in fails(capsys, "chat", talker, "--top-p", 0)
    assert "top_p must be above 0 and at most 1" in fails(capsys, "chat", talker, "--top-p", 2)
    piped(b"hello\nf\xe4x\n")
    assert "line 2 on stdin is not UTF-8" in fails(capsys, "chat", talker, *GREEDY)
    monkeypatch.setattr("kerasllm.cli.lines.LINE", 8)
    piped("hello you there\n")
    assert "line 1 on stdin has more than 8 characters" in fails(capsys, "chat", talker, *GREEDY)


def test_a_process_talks_through_pipes(talker, replies):
    run = subprocess.run(
        [*python(), "-m", "kerasllm", "chat", str(talker), *map(str, GREEDY)],
        input=b"hello\nmore\n",
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.decode().split(os.linesep) == [*replies("hello", "more"), ""]


# Models -------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """What the library is asked for: the function, the model, the numbers."""
    seen, model = [], SimpleNamespace(make_cache=None)

    def read(name, what, numbers=None):
        seen.append((name, what, numbers))
        return model, name

    for name in ("from_hugging_face", "from_gguf", "pretrained"):
        monkeypatch.setattr(weights, name, partial(read, name))
    return seen


def test_a_model_is_a_folder_a_file_or_a_name(asked, trained, tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text("{}")
    (tmp_path / "model.GGUF").touch()
    given = (str(tmp_path / "hub"), str(tmp_path / "model.GGUF"), "king-james-gpt", "smollm2-135m-instruct")
    readers = ("from_hugging_face", "from_gguf", "pretrained", "pretrained")
    whats = (tmp_path / "hub", tmp_path / "model.GGUF", *given[2:])
    for gpus, numbers, wanted in (
        ([], "auto", (None, "file", None, "int4")),
        (["gpu:0"], "auto", (None, None, None, None)),
        ([], "full", (None, None, None, None)),
        (["gpu:0"], "int8", ("int8",) * 4),
    ):
        monkeypatch.setattr(keras.distribution, "list_devices", lambda kind, gpus=gpus: gpus)
        asked.clear()
        assert [load_model(model, numbers)[1] for model in given] == list(readers)
        assert asked == list(zip(readers, whats, wanted, strict=True))
    model, tokenizer = load_model(str(trained))
    assert model.vocabulary_size == tokenizer.vocabulary_size
    assert set(options.NAMED) <= set(weights.shipped.MODELS)
    assert set(weights.shipped.NAMES) <= set(options.NAMED)


def test_generate_takes_what_chat_takes(trained, tmp_path, monkeypatch, capsys):
    (tmp_path / "model.gguf").touch()
    found = trained_run.load_run(trained)
    monkeypatch.setattr(weights, "from_gguf", lambda path, numbers: found)
    for model in (trained, tmp_path / "model.gguf"):
        assert kerasllm("generate", model, "--prompt", "the fox", "--tokens", 3, "--temperature", 0) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_numbers_are_those_of_the_option(trained, monkeypatch, capsys):
    model, tokenizer = trained_run.load_run(trained)
    greedy = (trained, "--prompt", "the fox", "--tokens", 3, "--temperature", 0)
    assert kerasllm("generate", *greedy, "--numbers", "int4") == 0
    fast = models.FastGPT.of(model, "int4")
    assert capsys.readouterr().out == generation.generate(fast, "the fox", 3, tokenizer=tokenizer) + "\n"
    assert type(load_model(str(trained), "full")[0]) is models.GPT
    for command in ("generate", "chat"):
        assert "argument --numbers: invalid choice: 'int3'" in fails(capsys, command, trained, "--numbers", "int3")
    bert = ROOT / "tests" / "weights" / "data" / "bert"
    assert "which does not write: leave" in fails(capsys, "chat", bert, "--numbers", "int8")

    def asked(model, numbers):
        raise UserError(f"asked for {numbers}")

    monkeypatch.setattr("kerasllm.cli.chat_command.load_model", asked)
    assert "asked for int8" in fails(capsys, "chat", trained, "--numbers", "int8")


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_a_folder_that_cannot_write_is_one_line(command, tmp_path, monkeypatch, capsys):
    data = ROOT / "tests" / "weights" / "data"
    assert "holds a BERT, which reads and cannot write" in fails(capsys, command, data / "bert")
    folder = data / "hugging_face" / "llama"
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    assert "has no tokenizer that can be read" in fails(capsys, command, tmp_path / "model")

    def unreachable(name, numbers):
        raise FetchError("no network")

    monkeypatch.setattr(weights, "pretrained", unreachable)
    assert "no network" in fails(capsys, command, "smollm2-135m-instruct")


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_what_is_no_model_is_one_line(command, tmp_path, monkeypatch, capsys):
    assert "there is no runs/nowhere: name the folder that train --out wrote" in fails(capsys, command, "runs/nowhere")
    (tmp_path / "model.bin").touch()
    assert "model.bin is no *.gguf file" in fails(capsys, command, tmp_path / "model.bin")

    def broken(path, numbers):
        raise ValueError("This file is no GGUF.\nIt begins with 0.")

    (tmp_path / "model.gguf").touch()
    monkeypatch.setattr(weights, "from_gguf", broken, raising=False)
    assert "model.gguf: This file is no GGUF. It begins" in fails(capsys, command, tmp_path / "model.gguf")
