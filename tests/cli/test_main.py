"""The command line: a run that is interrupted and goes on, what it writes, and errors of one line."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import RUN, SMALL, TEXT, fails, kerasllm, log

from kerasllm import generation, weights
from kerasllm.batches import windows
from kerasllm.text import Tokenizer, train_characters
from kerasllm.training.run_log import RunLog

ROOT = Path(__file__).parents[2]


# train ----------------------------------------------------------------------------------------


def test_a_run_writes_what_it_promises(trained):
    names = {"log.csv", "model.safetensors", "settings.json", "state.npz", "tokenizer.json"}
    assert {path.name for path in trained.iterdir()} == names
    rows = log(trained)
    assert [row["step"] for row in rows] == ["8", "16", "18"]
    assert list(rows[0]) == ["step", "loss", "val_loss", "bits_per_character", "seconds", "tokens_per_second"]
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"]) < math.log(300)
    settings = json.loads((trained / "settings.json").read_text("utf-8"))["settings"]
    assert (settings["steps"], settings["config"], settings["recipe"]) == (18, "nano-modern", "modern")


def test_bits_per_character_are_those_of_the_stored_model_on_the_last_tenth(trained):
    best = min(log(trained), key=lambda row: float(row["val_loss"]))
    model, tokenizer = weights.load_safetensors(trained / "model.safetensors"), Tokenizer.load(trained)
    text = TEXT[int(0.9 * len(TEXT)) :]
    ids = tokenizer.encode_flat([text])[0]
    inputs, targets, real = map(np.array, next(iter(windows(ids, context=16, batch_size=99, shuffle=False))))
    logits = np.array(model(inputs))
    logits -= logits.max(axis=-1, keepdims=True)
    right = np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    nats = (np.log(np.exp(logits).sum(axis=-1)) - right)[real > 0].mean()
    assert (real > 0).sum() == len(ids) - 1  # every token but the first, also those of the last window
    assert float(best["val_loss"]) == pytest.approx(nats, abs=1e-4)
    assert float(best["bits_per_character"]) == pytest.approx(nats / math.log(2), abs=1e-3)  # a token is a character
    assert weights.read_metadata(trained / "model.safetensors")["step"] == best["step"]


def test_an_interrupted_run_goes_on_and_ends_like_one_that_was_not(corpus, trained, tmp_path, monkeypatch, capsys):
    folder, evaluated = tmp_path / "run", RunLog.on_epoch_end

    def interrupted(self, epoch, logs=None):
        evaluated(self, epoch, logs)
        if epoch == 3:  # step 16 stands in the log and the model is written, but the state is that of step 12
            raise KeyboardInterrupt

    monkeypatch.setattr(RunLog, "on_epoch_end", interrupted)
    assert kerasllm("train", corpus, "--out", folder, *RUN) == 130
    assert f"train --out {folder} --resume" in capsys.readouterr().err
    assert [row["step"] for row in log(folder)] == ["8", "16"]
    monkeypatch.setattr(RunLog, "on_epoch_end", evaluated)
    assert kerasllm("train", "--out", folder, "--resume", "--steps", 18) == 0
    assert "going on after step 12 of 18" in capsys.readouterr().out
    compared = ("step", "loss", "val_loss", "bits_per_character")
    assert [[row[name] for name in compared] for row in log(folder)] == [
        [row[name] for name in compared] for row in log(trained)
    ]
    again, model = (weights.load_safetensors(path / "model.safetensors") for path in (folder, trained))
    for one, other in zip(again.weights, model.weights, strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), rtol=1e-5, atol=1e-7)


def test_a_finished_run_is_left_alone(trained, capsys):
    before = {path: path.read_bytes() for path in trained.iterdir()}
    assert kerasllm("train", "--out", trained, "--resume") == 0
    assert "all 18 steps are done" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in trained.iterdir()} == before


def test_other_options_train_too_and_a_terminal_shows_a_bar(corpus, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    options = (
        "--config nano --recipe classic --learning-rate 0.01 --tokenizer bpe --vocabulary 280 --steps 5 --accumulate 2"
    )
    options += " --mixed-precision bfloat16 --dtype float16 --evaluate-every 3"
    assert kerasllm("train", corpus, "--out", folder, *options.split(), *SMALL) == 0
    shown = capsys.readouterr().out
    for part in ("step 3/5", "step 5/5", "bits per character"):
        assert part in shown
    model, tokenizer = weights.load_safetensors(folder / "model.safetensors"), Tokenizer.load(folder)
    assert tokenizer.vocabulary_size == model.vocabulary_size == 280
    assert (model.limited, model.dtype_policy.name) == (True, "mixed_bfloat16")  # learned positions end
    row = log(folder)[-1]
    tokens = len(tokenizer.encode(TEXT[int(0.9 * len(TEXT)) :])) / (len(TEXT) - int(0.9 * len(TEXT)))
    expected = float(row["val_loss"]) * tokens / math.log(2)
    assert float(row["bits_per_character"]) == pytest.approx(expected, abs=1e-3)


# generate -------------------------------------------------------------------------------------


def test_generate_streams_what_generation_writes(trained, capsys):
    assert kerasllm("generate", trained, "--prompt", "the Ω", "--tokens", 12, "--temperature", 0) == 0
    model, tokenizer = weights.load_safetensors(trained / "model.safetensors"), Tokenizer.load(trained)
    assert capsys.readouterr().out == generation.generate(model, "the Ω", 12, tokenizer=tokenizer) + "\n"


def test_the_same_seed_writes_the_same_text(trained, capsys):
    texts = []
    for seed in (1, 1, 2):
        assert kerasllm("generate", trained, "--prompt", "fox", "--tokens", 20, "--seed", seed, "--top-k", 9) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert all(text.startswith("fox") for text in texts)


# data -----------------------------------------------------------------------------------------


def test_data_lists_the_catalogue_and_shows_a_card(capsys):
    assert kerasllm("data") == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[1:3]] == ["movie-snippets", "product-snippets"]
    assert max(map(len, table)) < 120
    assert kerasllm("data", "digits") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# digits")
    assert "1,797 rows (train 1,265, test 345, validation 187)" in shown


# Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere.txt"], "no file and no data set nowhere.txt: give the path of a text, or one of movie-snippets"),
        (["king-jame"], "did you mean king-james"),
        (["FOLDER/fax.txt"], "did you mean FOLDER/fox.txt"),
        (["digits"], "the data set digits holds no texts to train on: take one of"),
        (["FOLDER"], "no file and no data set"),
        ([], "name a text file or a data set"),
        (["CORPUS", "--config", "nan0"], "There is no configuration 'nan0'. Use one of nano, "),
        (["CORPUS", "--heads", "3"], "--width 128 cannot be cut into --heads 3"),
        (["CORPUS", "--width", "12"], "head_dim must be even, not 3. head_dim is --width divided by --heads"),
        (["CORPUS", "--context", "300"], "the validation text has 272 tokens, too few for a window of 300"),
        (["CORPUS", "--context", "300"], "take --context 271, or take a longer text"),
        (["CORPUS", "--vocabulary", "9"], "--vocabulary: vocabulary_size 9 is too small"),
        (["CORPUS", "--tokenizer", "word"], "--tokenizer: there is no file word; write characters, bpe, or the path"),
        (["CORPUS", "--tokenizer", "CORPUS"], "--tokenizer: The file CORPUS is no"),
        (["CORPUS", "--tokenizer", "TOKENIZER", "--vocabulary", "9"], "has 261 tokens: leave --vocabulary 9 out"),
        (["CORPUS", "--evaluate-every", "7", "--checkpoint-every", "3"], "take --evaluate-every 6"),
        (["CORPUS", "--steps", "0"], "argument --steps: '0' is not a whole number from 1 up"),
        (["CORPUS", "--learning-rate", "nan"], "argument --learning-rate: 'nan' is not a number above 0"),
        (["CORPUS", "--dropout", "1"], "argument --dropout: '1' is not a share"),
        (["CORPUS", "--recipe", "new"], "argument --recipe: invalid choice"),
        (["LATIN"], "latin.txt is not UTF-8: byte 1 (line 1) is 0xe4. It seems to be cp1252"),
        (["EMPTY"], "EMPTY holds 0 characters: take a longer text"),
        (["CORPUS", "--resume"], "there is no run in FOLDER/run to resume: leave --resume out"),
    ],
)
def test_what_train_refuses_leaves_no_folder(options, message, corpus, tmp_path, capsys):
    (tmp_path / "latin.txt").write_bytes(b"h\xe4")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "fox.txt").write_bytes(corpus.read_bytes())
    train_characters(["abcd"]).save(tmp_path)
    places = {"CORPUS": "fox.txt", "LATIN": "latin.txt", "EMPTY": "empty.txt", "TOKENIZER": "tokenizer.json"}
    places = {name: str(tmp_path / file) for name, file in places.items()} | {"FOLDER": str(tmp_path)}
    for name, place in places.items():
        options = [option.replace(name, place) for option in options]
        message = message.replace(name, place)
    assert message in fails(capsys, "train", *options, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_not_overwritten(trained, corpus, tmp_path, capsys):
    assert "is not empty: add --resume to go on with it, or choose another --out" in fails(
        capsys, "train", corpus, "--out", trained
    )
    (tmp_path / "letter.txt").touch()
    assert "is not empty: choose another --out" in fails(capsys, "train", corpus, "--out", tmp_path)
    assert "is a file: choose another --out" in fails(capsys, "train", corpus, "--out", tmp_path / "letter.txt")


def test_a_run_goes_on_with_its_own_settings_only(trained, corpus, tmp_path, capsys):
    resume = ("train", "--out", trained, "--resume")
    assert "was started with --steps 18, not 12: leave --steps out" in fails(capsys, *resume, "--steps", 12)
    assert "was started with --recipe modern, not classic" in fails(capsys, *resume, "--recipe", "classic")
    assert "is not the one the run was started with" in fails(
        capsys, "train", ROOT / "LICENSE", "--out", trained, "--resume"
    )


DAMAGES = {
    "settings": ("settings.json", "{", "settings.json cannot be read, start anew in another --out"),
    "text": ("fox.txt", "more " * 400, "is not the one"),
    "tokenizer": ("tokenizer.json", train_characters(["abcd"]).to_json(), "tokenizer.json was changed"),
    "state": ("state.npz", "half a sta", "is not a state that Resume wrote"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_refused(damage, trained, tmp_path, capsys):
    name, content, message = DAMAGES[damage]
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "fox.txt").write_text(TEXT, "utf-8")
    stored = json.loads((tmp_path / "settings.json").read_text("utf-8"))
    stored["settings"]["corpus"] = str(tmp_path / "fox.txt")
    (tmp_path / "settings.json").write_text(json.dumps(stored), "utf-8")
    (tmp_path / name).write_text(content, "utf-8")
    assert message in fails(capsys, "train", "--out", tmp_path, "--resume")


def test_what_generate_refuses(trained, tmp_path, capsys):
    assert "there is no model.safetensors in" in fails(capsys, "generate", tmp_path)
    assert "generate: " not in fails(capsys, "generate", trained, "--prompt", "")
    assert "top_p must be" in fails(capsys, "generate", trained, "--top-p", 2)
    assert "argument --tokens: '-1' is not" in fails(capsys, "generate", trained, "--tokens=-1")
    (tmp_path / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    assert "There is no tokenizer" in fails(capsys, "generate", tmp_path)
    train_characters([chr(code) for code in range(300)]).save(tmp_path)
    assert "tokenizer.json has 557 tokens, the model" in fails(capsys, "generate", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"half")
    assert "is no safetensors file" in fails(capsys, "generate", tmp_path)


def test_a_loss_that_is_no_number_ends_the_run_with_the_fix(corpus, tmp_path, capsys):
    options = ("--recipe", "classic", "--learning-rate", "1e30", "--steps", 20, "--evaluate-every", 10)
    line = fails(capsys, "train", corpus, "--out", tmp_path / "run", *options, *SMALL)
    assert "the loss is nan before step" in line
    assert "lower --learning-rate" in line


def test_without_a_command_one_line_says_so(capsys):
    assert "data | train | tune | evaluate | generate" in fails(capsys)


HELP = """
import sys
from kerasllm.cli import main
try:
    main(["train", "--help"])
except SystemExit:
    print(sorted({"keras", "tensorflow", "pandas", "rich", "tokenizers"} & set(sys.modules)))
"""


def test_help_loads_no_library():
    run = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "--learning-rate" in run.stdout
    assert run.stdout.splitlines()[-1] == "[]"
