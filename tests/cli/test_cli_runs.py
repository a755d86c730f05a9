"""Runs that are resumed from elsewhere, made longer, locked, stopped early, damaged or edited by hand."""

import json
import os
import random
import shlex
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from command_line import RUN, SMALL, TEXT, fails, kerasllm, log
from filelock import FileLock
from nursery import python

from kerasllm import weights
from kerasllm.text import train_characters
from kerasllm.training import run_log

pytestmark = pytest.mark.usefixtures("eager")


def settings_of(folder):
    return json.loads((folder / "settings.json").read_text("utf-8"))


def write_settings(folder, document):
    (folder / "settings.json").write_text(json.dumps(document), "utf-8")


def without_fingerprint(folder):
    """The settings as the first edition wrote them."""
    document = settings_of(folder)
    for name in ("fingerprint", "corpus_place"):
        del document[name]
    return document


# Where the corpus is --------------------------------------------------------------------------


def test_a_run_goes_on_from_another_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.txt").write_text(TEXT, "utf-8")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    assert kerasllm("train", "mine.txt", "--out", "run", *SMALL, "--steps", 2, "--evaluate-every", 2) == 0
    assert settings_of(tmp_path / "run")["settings"]["corpus"] == "mine.txt"
    monkeypatch.chdir(tmp_path / "sub")
    resume = ("--out", "../run", "--resume")
    assert kerasllm("train", *resume) == 0  # no corpus named
    assert kerasllm("train", "../mine.txt", *resume) == 0  # another name of the same file
    (tmp_path / "sub" / "mine.txt").write_text("another text " * 200, "utf-8")
    assert kerasllm("train", *resume) == 0  # a file of the name lies here, with another text
    assert "is not the one the run was started with" in fails(capsys, "train", "mine.txt", *resume)
    (tmp_path / "mine.txt").rename(tmp_path / "moved.txt")
    assert "name the place of the corpus" in fails(capsys, "train", *resume)
    assert kerasllm("train", "../moved.txt", *resume, "--steps", 3) == 0
    assert settings_of(tmp_path / "run")["settings"]["corpus"] == "../moved.txt"
    (tmp_path / "run" / "settings.json").write_text(json.dumps(without_fingerprint(tmp_path / "run")), "utf-8")
    assert kerasllm("train", *resume) == 0  # a folder of the first edition, seen from here


def test_a_corpus_whose_name_is_not_utf8(tmp_path, capsys):
    path = os.fsdecode(os.fsencode(str(tmp_path)) + b"/f\xe4x.txt")
    try:
        with open(path, "w") as file:
            file.write(TEXT)
    except OSError:
        pytest.skip("this file system takes no such name")
    run = ("--out", tmp_path / "run")
    assert kerasllm("train", path, *run, *SMALL, "--steps", 1) == 0
    assert kerasllm("train", *run, "--resume") == 0
    assert settings_of(tmp_path / "run")["settings"]["corpus"] == path


def test_a_run_of_the_first_edition_goes_on(tmp_path, monkeypatch, capsys):
    """It was killed between step 4 and its state; the state of step 2 has the weights in another order."""
    shutil.copytree(Path(__file__).parent / "first_edition", tmp_path / "run")
    (tmp_path / "fox.txt").write_text(TEXT, "utf-8")
    assert kerasllm("train", "--out", tmp_path / "run", "--resume") == 0
    assert "going on after step 2 of 6" in capsys.readouterr().out
    rows = log(tmp_path / "run")
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    # There the whole run ended with 5.58114; dropout draws other numbers now, and the last window counts.
    assert float(rows[-1]["val_loss"]) == pytest.approx(5.58114, abs=0.01)
    assert kerasllm("train", "--out", tmp_path / "run", "--resume", "--steps", 8) == 0


# Longer and shorter ---------------------------------------------------------------------------


def test_a_finished_run_can_be_made_longer(copy, capsys):
    assert kerasllm("train", "--out", copy, "--resume", "--steps", 27) == 0
    assert "going on after step 18 of 27" in capsys.readouterr().out
    # The run ended within an epoch of four steps; evaluations come at the first checkpoint past each eighth step.
    assert [row["step"] for row in log(copy)] == ["8", "16", "18", "26", "27"]
    assert settings_of(copy)["settings"]["steps"] == 27
    assert kerasllm("train", "--out", copy, "--resume") == 0
    assert "all 27 steps are done" in capsys.readouterr().out
    assert kerasllm("train", "--out", copy, "--resume", "--steps", 28) == 0
    assert [row["step"] for row in log(copy)][-2:] == ["27", "28"]


def test_one_step_is_a_run(corpus, tmp_path):
    for recipe in ("modern", "classic"):
        folder = tmp_path / recipe
        assert kerasllm("train", corpus, "--out", folder, *SMALL, "--steps", 1, "--recipe", recipe) == 0
        assert [row["step"] for row in log(folder)] == ["1"]


def test_patience_stops_a_run_that_gets_no_better(corpus, tmp_path, monkeypatch, capsys):
    losses = iter([3.0, 2.0, 2.5, 2.0, 1.0, 0.5])
    monkeypatch.setattr("keras.Model.evaluate", lambda *_, **__: {"loss": next(losses)})
    run = ("--out", tmp_path / "run")
    options = [*SMALL, "--steps", 12, "--evaluate-every", 2, "--patience", 2]
    assert kerasllm("train", corpus, *run, *options) == 0
    assert "stopped early after step 8" in capsys.readouterr().out
    assert [row["step"] for row in log(tmp_path / "run")] == ["2", "4", "6", "8"]
    before = (tmp_path / "run" / "log.csv").read_bytes()
    assert kerasllm("train", *run, "--resume") == 0
    assert (tmp_path / "run" / "log.csv").read_bytes() == before
    assert kerasllm("train", *run, "--resume", "--patience", 3) == 0
    assert [row["val_loss"] for row in log(tmp_path / "run")][-2:] == ["1.00000", "0.50000"]


# Two processes, and what a failed start leaves ------------------------------------------------


def test_a_second_process_in_the_same_folder_is_refused(copy, corpus, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    for folder, options in ((copy, ["--resume", "--steps", 30]), (tmp_path / "new", [corpus, *RUN])):
        with FileLock(folder / ".lock"):
            assert "another process trains in" in fails(capsys, "train", *options, "--out", folder)
    assert log(copy)[-1]["step"] == "18"


def test_a_failed_start_does_not_block_the_next(corpus, tmp_path, capsys):
    folder = tmp_path / "run"
    (folder / "tokens.unfinished").mkdir(parents=True)  # as after a kill in the middle of a start
    for name in (".lock", "tokenizer.json", "settings.json.8x7f.unfinished"):
        (folder / name).write_text("half")
    assert "too few for a window" in fails(capsys, "train", corpus, "--out", folder, "--context", 300)
    assert kerasllm("train", corpus, "--out", folder, *SMALL, "--steps", 1) == 0
    names = {"log.csv", "model.safetensors", "settings.json", "state.npz", "tokenizer.json"}
    assert {path.name for path in folder.iterdir()} == names


def test_a_run_that_failed_before_its_first_checkpoint_does_not_block_another(corpus, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("keras.Model.fit", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
        assert kerasllm("train", corpus, "--out", folder, *SMALL, "--steps", 1) == 2
        assert "memory is full: take a smaller --batch" in capsys.readouterr().err
    assert (folder / "settings.json").exists()
    assert kerasllm("train", corpus, "--out", folder, *SMALL[:-1], 2, "--steps", 1) == 0
    assert settings_of(folder)["settings"]["batch"] == 2
    assert "add --resume to go on with it" in fails(capsys, "train", corpus, "--out", folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "settings.json").write_text("{}")  # of somebody else
    assert "is not empty: choose another --out" in fails(capsys, "train", corpus, "--out", tmp_path / "other")


def test_a_tokenizer_of_the_user_is_not_taken_for_a_failed_start(corpus, tmp_path, capsys):
    train_characters(["abc"]).save(tmp_path)
    assert "is not empty: choose another --out" in fails(capsys, "train", corpus, "--out", tmp_path)


# Numbers that are none ------------------------------------------------------------------------


def test_a_validation_loss_that_is_no_number_hides_no_later_model(corpus, tmp_path, monkeypatch):
    losses = iter([float("nan"), 2.0, float("nan"), 1.0])
    monkeypatch.setattr("keras.Model.evaluate", lambda *_, **__: {"loss": next(losses)})
    folder = tmp_path / "run"
    assert kerasllm("train", corpus, "--out", folder, *SMALL, "--steps", 8, "--evaluate-every", 2) == 0
    assert [row["val_loss"] for row in log(folder)] == ["nan", "2.00000", "nan", "1.00000"]
    assert weights.read_metadata(folder / "model.safetensors")["step"] == "8"


def test_nan_in_an_earlier_row_of_the_log_hides_no_later_model(copy):
    path = copy / "log.csv"
    lines = path.read_text().splitlines()
    broken = [lines[0], *(",".join([*line.split(",")[:2], "nan", *line.split(",")[3:]]) for line in lines[1:])]
    path.write_text("\n".join([*broken, "not,a,row", "\0"]) + "\n")
    (copy / "model.safetensors").unlink()
    assert kerasllm("train", "--out", copy, "--resume", "--steps", 19) == 0
    assert weights.read_metadata(copy / "model.safetensors")["step"] == "19"


def test_the_summary_never_names_a_model_that_is_not_there(copy, corpus, tmp_path, monkeypatch, capsys):
    (copy / "model.safetensors").unlink()
    line = fails(capsys, "train", "--out", copy, "--resume")
    assert "there is no" in line
    assert "--resume --steps" in line
    monkeypatch.setattr("keras.Model.evaluate", lambda *_, **__: {"loss": float("nan")})
    line = fails_after_output(capsys, "train", corpus, "--out", tmp_path / "run", *SMALL, "--steps", 2)
    assert "no model.safetensors was written: the validation loss was never a number" in line


def fails_after_output(capsys, *arguments):
    assert kerasllm(*arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


# settings.json by hand ------------------------------------------------------------------------

CHANGES = {
    "config": "nano",
    "layers": 2,
    "heads": 4,
    "width": 16,
    "context": 8,
    "dropout": 0.2,
    "tokenizer": "bpe",
    "vocabulary": 300,
    "steps": 30,
    "batch": 8,
    "recipe": "classic",
    "learning_rate": 0.1,
    "accumulate": 2,
    "mixed_precision": "bfloat16",
    "evaluate_every": 4,
    "checkpoint_every": 2,
    "seed": 1,
    "dtype": "float16",
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_edit_that_would_change_the_run_is_refused(name, copy, capsys):
    document = settings_of(copy)
    assert document["settings"][name] != CHANGES[name]
    document["settings"][name] = CHANGES[name]
    write_settings(copy, document)
    line = fails(capsys, "train", "--out", copy, "--resume")
    assert "was changed since the run began" in line or "is no multiple" in line


WRONG = [None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "12", "\0", [], {}, [1], {"a": 1}]


def test_no_edit_of_settings_ends_in_a_traceback(copy, capsys):
    """Every name with every kind of wrong value, names too many and too few, in folders of both editions."""
    random.seed(1)
    new, old = settings_of(copy), without_fingerprint(copy)
    edited = 0
    for good in (new, old):
        places = [(None, name) for name in good] + [("settings", name) for name in good["settings"]]
        for inside, name in places:
            for value in [*random.sample(WRONG, 3), "missing", "renamed"]:
                document = json.loads(json.dumps(good))
                part = document[inside] if inside else document
                before = part.pop(name)
                if value == "renamed":
                    part[name + "_"] = before
                elif value != "missing":
                    part[name] = value
                write_settings(copy, document)
                code = kerasllm("train", "--out", copy, "--resume")
                printed = capsys.readouterr().err.splitlines()
                assert (code, len(printed)) in ((0, 0), (2, 1)), (inside, name, value)
                edited += 1
                if code == 0:  # what may be edited, or says the same
                    assert name in ("corpus_place", "fingerprint", *good["settings"], *new), (name, value)
    assert edited > 200
    for content in ("", "[]", "null", "[" * 10**5, '"text"', "\ufeff{}", "{}", '{"settings": {}}', "1" * 5000):
        (copy / "settings.json").write_text(content, "utf-8")
        assert "settings.json cannot be read, start anew in another --out" in fails(
            capsys, "train", "--out", copy, "--resume"
        )
    (copy / "settings.json").write_bytes(b"\xff\xfe{")
    assert "cannot be read" in fails(capsys, "train", "--out", copy, "--resume")


def test_generate_takes_the_tokenizer_of_the_run_alone(copy, capsys):
    tokenizer = (copy / "tokenizer.json").read_text("utf-8")
    assert '"q"' in tokenizer
    (copy / "tokenizer.json").write_text(tokenizer.replace('"q"', '"Q"'), "utf-8")  # of equal size
    assert "is not the one that settings.json names" in fails(capsys, "generate", copy)


# What equal runs write, and what is printed ---------------------------------------------------


def test_equal_runs_write_equal_files(corpus, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        keras.utils.clear_session()  # layers without a name are numbered anew, as in a new process
        assert kerasllm("train", corpus, "--out", folder, *SMALL, "--steps", 2) == 0
    for name in ("settings.json", "tokenizer.json", "model.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    states = [np.load(folder / "state.npz") for folder in (first, second)]
    for name in states[0].files:
        if name != "facts":
            np.testing.assert_allclose(states[0][name], states[1][name], rtol=1e-5, atol=1e-7)


def test_the_printed_commands_can_be_pasted(corpus, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "my runs; it's one"
    stop = run_log.RunLog.on_epoch_end

    def interrupted(self, epoch, logs=None):
        stop(self, epoch, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_log.RunLog, "on_epoch_end", interrupted)
    assert kerasllm("train", corpus, "--out", folder, *SMALL, "--steps", 2) == 130
    [line] = [line for line in capsys.readouterr().err.splitlines() if line]
    words = shlex.split(line.split("To go on: ")[1])
    assert words == ["python", "-m", "kerasllm", "train", "--out", str(folder), "--resume"]
    monkeypatch.setattr(run_log.RunLog, "on_epoch_end", stop)
    assert kerasllm(*words[3:]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(last.split("Write with it: ")[1])[4] == str(folder)


KILLED = """
import os, sys
from kerasllm.cli import main
from kerasllm.training import run_log
ends = run_log.RunLog.on_epoch_end
def kill(self, epoch, logs=None):
    ends(self, epoch, logs)
    os.kill(os.getpid(), 9)
run_log.RunLog.on_epoch_end = kill
main(sys.argv[1:])
"""


def test_a_killed_run_goes_on(corpus, tmp_path, capsys):
    folder = tmp_path / "run"
    options = ["train", str(corpus), "--out", str(folder), *SMALL, "--steps", "2", "--evaluate-every", "1"]
    killed = subprocess.run([*python(), "-c", KILLED, *options], capture_output=True)
    assert killed.returncode == -9
    assert (folder / ".lock").exists()  # nobody tidied up
    assert kerasllm("train", "--out", folder, "--resume") == 0
    assert [row["step"] for row in log(folder)] == ["1", "2"]
    assert not list(folder.glob("*.unfinished"))
