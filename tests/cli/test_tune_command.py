"""The command tune: an adapter in a folder, stopped and resumed; and the model that comes of it."""

import csv
import json

import numpy as np
import pytest
from command_line import fails, kerasllm

from kerasllm import text, training
from kerasllm.cli.models import load_model
from kerasllm.training import run_settings, tune_run

SETTINGS = ["--steps", "12", "--evaluate-every", "4", "--batch", "4", "--context", "60", "--rank", "2"]
RATE = ["--learning-rate", "0.01"]


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    path = tmp_path_factory.mktemp("talks") / "talks.jsonl"
    lines = [{"prompt": f"say {letter}", "reply": letter * 3} for letter in "abcdefghij"]
    lines[1] = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "BBB"}]}
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def tuned(talker, talks, tmp_path_factory):
    """The folder of a finished run. Do not write into it."""
    folder = tmp_path_factory.mktemp("tuned") / "whole"
    assert kerasllm("tune", talker, talks, "--out", folder, *SETTINGS, *RATE) == 0
    return folder


def log(folder):
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def logits(folder):
    model, _ = load_model(str(folder), "full")
    return np.asarray(model(np.array([[3, 4, 5, 6]], "int32")))


def test_the_folder_holds_a_small_adapter_a_log_and_a_state(tuned, talker):
    rows = log(tuned)
    assert [row["step"] for row in rows] == ["0", "4", "8", "12"]
    assert float(rows[-1]["loss"]) < float(rows[1]["loss"])
    sizes = {path.name: path.stat().st_size for path in tuned.iterdir()}
    assert set(sizes) == {"adapter.safetensors", "log.csv", "state.npz", "tune.json"}
    assert sizes["adapter.safetensors"] < 5000


def test_the_tuned_folder_is_a_model_with_the_best_adapter(tuned, talker, talks):
    base, tokenizer = load_model(str(talker), "full")
    plain = np.asarray(base(np.array([[3, 4, 5, 6]], "int32")))
    training.load_adapter(base, tuned / "adapter.safetensors")
    adapted = np.asarray(base(np.array([[3, 4, 5, 6]], "int32")))
    assert np.abs(adapted - plain).max() > 0.01
    np.testing.assert_allclose(logits(tuned), adapted, atol=1e-4)
    settings = training.TuneSettings(**json.loads((tuned / "tune.json").read_text("utf-8"))["settings"])
    told = training.read_conversations(talks)
    _, held_out = tune_run._parts(text.ChatTemplate(tokenizer), told, settings)
    losses = [float(row["val_loss"]) for row in log(tuned)[1:]]
    assert min(losses) < losses[-1], "the case shows nothing: the best is the last"
    assert held_out.loss(base) == pytest.approx(min(losses), abs=1e-4)


def test_a_run_that_was_stopped_goes_on_to_the_same_end(tuned, talker, talks, tmp_path, monkeypatch, capsys):
    real, done = tune_run.AdapterState.on_epoch_end, []

    def stopped(state, epoch, logs=None):
        if done:
            raise KeyboardInterrupt
        done.append(epoch)
        real(state, epoch, logs)

    monkeypatch.setattr(tune_run.AdapterState, "on_epoch_end", stopped)
    folder = tmp_path / "stopped"
    assert kerasllm("tune", talker, talks, "--out", folder, *SETTINGS, *RATE) == 130
    assert f"tune --out {folder} --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert kerasllm("tune", "--out", folder, "--resume") == 0
    assert log(folder) == log(tuned)
    np.testing.assert_allclose(logits(folder), logits(tuned), atol=1e-5)
    with np.load(folder / "state.npz") as state:
        largest = max(state[name].size for name in state.files)
    assert largest < 100, "the frozen weights were stored too"


def test_what_tune_refuses(tuned, talker, talks, tmp_path, capsys):
    new = tmp_path / "new"
    assert "name a model and a file" in fails(capsys, "tune", "--out", new)
    assert "is not empty: add --resume" in fails(capsys, "tune", talker, talks, "--out", tuned)
    assert "there is no run in" in fails(capsys, "tune", "--out", new, "--resume")
    assert "started with other settings" in fails(capsys, "tune", "--out", tuned, "--resume", "--rank", 3)
    assert "take --steps 10" in fails(capsys, "tune", talker, talks, "--out", new, "--steps", 7, "--evaluate-every", 5)
    assert "There is no file" in fails(capsys, "tune", talker, tmp_path / "no.jsonl", "--out", new)
    bad = tmp_path / "bad.jsonl"
    for line, word in (
        ("[1]", "line 1: this is a list"),
        ('{"prompt": "a"}', "line 1: it has prompt, not messages"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "line 1: there is no reply in it"),
        ('{"prompt": "a", "reply": 3}', "line 1: The content of turn 1"),
        ('{"prompt": "a", "reply": "b"}', "There are 1 conversations: two are needed"),
        ("", "holds no conversation"),
    ):
        bad.write_text(line + "\n", "utf-8")
        assert word in fails(capsys, "tune", talker, bad, "--out", new)
    assert not new.exists()
    assert "begins in its first --context 3 ids" in fails(capsys, "tune", talker, talks, "--out", new, "--context", 3)


def test_settings_are_checked_and_a_damaged_tune_json_is_named(tmp_path):
    for changes in ({"steps": 0}, {"learn": "all"}, {"learning_rate": -1}, {"rank": True}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            training.TuneSettings(**changes)
    (tmp_path / "tune.json").write_text('{"settings": {"stride": 3}}', "utf-8")
    with pytest.raises(run_settings.RunError, match="cannot be read, start anew"):
        tune_run.read_tuned(tmp_path)
