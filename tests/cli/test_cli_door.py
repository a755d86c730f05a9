"""The door of the command line: every trouble that is no bug is one line; and the commands beside train."""

import errno
import gzip
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import SMALL, TEXT, fails, kerasllm

import kerasllm as package
from kerasllm import evaluation, generation, weights
from kerasllm.cli import door, starting
from kerasllm.text import Tokenizer

pytestmark = pytest.mark.usefixtures("eager")
ROOT = Path(__file__).parents[2]


def process(*arguments, **environment):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "kerasllm", *map(str, arguments)],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


# Errors ---------------------------------------------------------------------------------------

TROUBLE = {
    "disk": (OSError(errno.ENOSPC, "No space left on device", "log.csv"), "the disk is full (log.csv: No space left"),
    "permission": (PermissionError(errno.EACCES, "Permission denied", "run"), "run: Permission denied: choose a place"),
    "memory": (MemoryError(), "memory is full: take a smaller --batch"),
    "device": (RuntimeError("RESOURCE_EXHAUSTED: 5 GB"), "memory is full: take a smaller --batch"),
    "text": (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "a text is no UTF-8"),
    "package": (ModuleNotFoundError("No module named 'pandas'", name="pandas"), "pip install pandas"),
    "extra": (ImportError("This needs pandas: pip install x", name="pandas"), "This needs pandas: pip install x"),
    "backend": (
        ModuleNotFoundError("No module named 'torch'", name="torch"),
        'pip install "kerasllm[torch]", or set KERAS_B',
    ),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_what_is_no_bug_is_one_line(trouble, monkeypatch, capsys):
    error, message = TROUBLE[trouble]
    monkeypatch.setattr("kerasllm.cli.data_command.show_data", lambda options: (_ for _ in ()).throw(error))
    assert message in fails(capsys, "data")


@pytest.mark.parametrize("error", [KeyError("width"), ModuleNotFoundError("x", name="kerasllm.nowhere")])
def test_a_bug_keeps_its_traceback(error, monkeypatch):
    monkeypatch.setattr("kerasllm.cli.data_command.show_data", lambda options: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)):
        kerasllm("data")


@pytest.mark.parametrize("place", ["log", "state", "model", "settings", "tokens"])
def test_a_full_disk_ends_a_run_with_one_line_and_leaves_nothing_half_written(
    place, corpus, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "run"

    def full(*arguments, **options):
        (folder / f"{place}.half.unfinished").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / place))

    where = {
        "log": "kerasllm.training.run_log.RunLog._evaluated",
        "state": "numpy.savez",
        "model": "kerasllm.weights.save_safetensors",
        "settings": "kerasllm.training.run_settings.StoredRun.write",
        "tokens": "kerasllm.training.run.write_tokens",
    }
    with monkeypatch.context() as patch:
        patch.setattr(where[place], full)
        assert kerasllm("train", corpus, "--out", folder, *SMALL, "--steps", 1) == 2
        [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("kerasllm: the disk is full")
    if place in ("settings", "tokens"):  # the run had not begun
        assert not folder.exists()
        return
    assert not list(folder.glob("*unfinished"))
    assert f"--out {folder} --resume" in line
    assert kerasllm("train", "--out", folder, "--resume") == 0


def test_a_backend_that_is_not_installed_is_named_with_its_install():
    run = process("train", "king-james", "--out", "/nowhere/run", KERAS_BACKEND="torch")
    assert run.returncode == 2
    [line] = run.stderr.splitlines()
    assert b'the backend torch of Keras is not installed: pip install "kerasllm[torch]", or set' in line


# Standard output ------------------------------------------------------------------------------


def test_an_output_of_few_characters_dies_in_the_middle_of_no_text(trained):
    run = process(
        *("generate", trained, "--prompt", "fox 狐狸 Ω, jumps", "--tokens", 4, "--temperature", 0),
        PYTHONIOENCODING="cp1252",
        TF_CPP_MIN_LOG_LEVEL="3",
    )
    assert run.returncode == 0
    assert run.stdout.startswith(rb"fox \u72d0\u72f8 \u03a9, jumps")
    assert run.stderr == b""  # with TF_CPP_MIN_LOG_LEVEL=3 it is as quiet as without


def test_the_callers_stream_gets_its_errors_back(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    with door._any_character():
        print("狐")
    assert stream.errors == "strict"
    stream.flush()
    assert stream.buffer.getvalue().strip() == rb"\u72d0"


@pytest.mark.parametrize(("level", "held"), [(None, True), ("3", True), ("0", False)])
def test_what_the_backend_writes_is_held_back_unless_one_asks_for_it(level, held, monkeypatch, capfd):
    monkeypatch.delenv(starting.LEVEL, raising=False)
    if level:
        monkeypatch.setenv(starting.LEVEL, level)
    with starting.quiet():
        os.write(2, b"cuda is not here\n")
    assert ("cuda" not in capfd.readouterr().err) == held


# Sizes and files on trust ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", 100000000], "--batch must be a whole number from 1 to 1000000, not 100000000"),
        (["--batch", 1000000], "--batch 1000000 takes at least"),
        (["--tokenizer", "bpe", "--vocabulary", 10**9], "--vocabulary must be a whole number from 1 to 1000000"),
        (["--context", 10**9], "--context must be a whole number from 1 to"),
        (["--context", 10**6], "too few for a window of 1000000"),
        (["--layers", 10**9], "--layers must be a whole number from 1 to 1000"),
        (["--layers", 1000, "--width", 65536, "--heads", 64], "take fewer layers or a smaller width"),
        (["--seed", 10**20], "--seed must be a whole number from 0 to"),
    ],
)
def test_sizes_are_not_taken_on_trust(options, message, corpus, tmp_path, monkeypatch, capsys):
    def taken(*arguments, **options):
        raise AssertionError("a model was made")

    monkeypatch.setattr("kerasllm.training.run.build_model", taken)
    monkeypatch.setattr("kerasllm.training.run_model.machine_memory", lambda: 16e9)
    assert message in fails(capsys, "train", corpus, "--out", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


FILES = {
    "utf16": (TEXT.encode("utf-16-le"), "UTF-16"),
    "zeros": (TEXT.encode() + b"\0" + TEXT.encode(), "is not UTF-8: byte"),
    "pdf": (b"%PDF-1.7\n" + bytes(range(256)), "a PDF document"),
    "gzip": (gzip.compress(TEXT.encode()), "a gzip archive"),
    "chinese": ("狐狸跳过懒狗。".encode("gb18030") * 40, "gb18030"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_corpus_that_is_no_text_is_refused_with_the_right_advice(kind, tmp_path, capsys):
    content, advice = FILES[kind]
    (tmp_path / "mine.txt").write_bytes(content)
    line = fails(capsys, "train", tmp_path / "mine.txt", "--out", tmp_path / "run", *SMALL)
    assert advice in line
    assert "latin1" not in line


# Other commands -------------------------------------------------------------------------------


def test_version_and_help_are_there_without_a_library(capsys):
    with pytest.raises(SystemExit) as end:
        kerasllm("--version")
    assert end.value.code == 0
    assert capsys.readouterr().out == f"kerasllm {package.__version__}\n"


def test_evaluate_is_the_mean_over_the_characters_of_a_file(trained, tmp_path, monkeypatch, capsys):
    (tmp_path / "other.txt").write_text(TEXT, "utf-8")
    model, tokenizer = weights.load_safetensors(trained / "model.safetensors"), Tokenizer.load(trained)
    assert kerasllm("evaluate", trained, tmp_path / "other.txt") == 0
    expected = evaluation.bits_per_character(model, tokenizer, TEXT)
    assert f"{expected:.4f} bits per character ({len(TEXT):,} characters)" in capsys.readouterr().out
    monkeypatch.setattr("kerasllm.training.run_corpus.PIECE", 1100)
    assert kerasllm("evaluate", trained, tmp_path / "other.txt") == 0
    pieces = [TEXT[:1156], TEXT[1156:]]  # whole lines; the last 408 characters go with those before
    assert len(TEXT) == 2720
    bits = [evaluation.bits_per_character(model, tokenizer, piece) for piece in pieces]
    mean = (bits[0] * len(pieces[0]) + bits[1] * len(pieces[1])) / len(TEXT)
    assert f"{mean:.4f} bits per character" in capsys.readouterr().out
    assert f"{mean:.6f}" != f"{expected:.6f}"


def test_what_evaluate_refuses(trained, tmp_path, capsys):
    assert "There is no file 'nowhere.txt'" in fails(capsys, "evaluate", trained, tmp_path / "nowhere.txt")
    (tmp_path / "one.txt").write_text("f")
    assert "too short" in fails(capsys, "evaluate", trained, tmp_path / "one.txt")
    (tmp_path / "none.txt").touch()
    assert "is empty" in fails(capsys, "evaluate", trained, tmp_path / "none.txt")
    assert "there is no model.safetensors" in fails(capsys, "evaluate", tmp_path, tmp_path / "one.txt")


def test_a_prompt_comes_from_a_file_or_from_stdin(trained, tmp_path, monkeypatch, capsys):
    model, tokenizer = weights.load_safetensors(trained / "model.safetensors"), Tokenizer.load(trained)
    expected = generation.generate(model, "the fox\nΩ", 6, tokenizer=tokenizer) + "\n"
    greedy = ("--tokens", 6, "--temperature", 0)
    (tmp_path / "prompt.txt").write_bytes("\ufeffthe fox\r\nΩ\n".encode())
    assert kerasllm("generate", trained, "--prompt-file", tmp_path / "prompt.txt", *greedy) == 0
    assert capsys.readouterr().out == expected
    for content in ((tmp_path / "prompt.txt").read_bytes(), "the fox\nΩ\n".encode()):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert kerasllm("generate", trained, "--prompt", "-", *greedy) == 0
        assert capsys.readouterr().out == expected
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"f\xe4x")))
    assert "the text on stdin is not UTF-8" in fails(capsys, "generate", trained, "--prompt", "-")
    (tmp_path / "prompt.txt").write_bytes(b"%PDF-1.7")
    assert "a PDF document" in fails(capsys, "generate", trained, "--prompt-file", tmp_path / "prompt.txt")
    assert "not allowed with argument" in fails(capsys, "generate", trained, "--prompt", "a", "--prompt-file", "b")


def test_weights_that_are_no_numbers_write_no_text(copy, capsys):
    model = weights.load_safetensors(copy / "model.safetensors")
    model.weights[-1].assign(model.weights[-1] * float("nan"))
    weights.save_safetensors(model, copy / "model.safetensors")
    assert "holds numbers that are none" in fails(capsys, "generate", copy)


def test_a_model_may_have_more_rows_than_the_tokenizer_has_tokens(copy, monkeypatch, capsys):
    from kerasllm.cli import trained as checks

    tokenizer = Tokenizer.load(copy)
    for rows, refused in ((tokenizer.vocabulary_size + 5, False), (tokenizer.vocabulary_size - 1, True)):
        model = SimpleNamespace(vocabulary_size=rows)
        if refused:
            with pytest.raises(checks.UserError, match="tokens, the model"):
                checks._check_tokenizer(copy, model, tokenizer)
        else:
            checks._check_tokenizer(copy, model, tokenizer)
