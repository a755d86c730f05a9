"""A training run as a library: what is streamed, what is stored, what is refused, and what a watcher sees."""

import dataclasses
import json
import tracemalloc

import keras
import numpy as np
import pytest

from kerasllm import training
from kerasllm.text import train_characters
from kerasllm.training import run, run_corpus
from kerasllm.training.run_corpus import Corpus, joined_lines, part_of
from kerasllm.training.run_log import Clock
from kerasllm.training.run_settings import StoredRun, read_run
from kerasllm.weights import save_safetensors

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 40
SMALL = {"layers": 1, "heads": 2, "width": 8, "context": 16, "batch": 4}


class Watcher(training.RunWatcher):
    """Keeps what it is told."""

    def __init__(self):
        self.seen = []

    def begins(self, facts):
        self.seen.append(("begins", facts.done))

    def step(self, step, loss, rate):
        self.seen.append(("step", step))

    def evaluated(self, row, rate):
        self.seen.append(("evaluated", int(row["step"])))

    def ends(self):
        self.seen.append(("ends", None))


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "fox.txt"
    path.write_text(TEXT, "utf-8")
    return path


@pytest.fixture
def _eager(monkeypatch):
    monkeypatch.setattr(run, "_fast", lambda model, settings, batches: {"run_eagerly": True})


# A run from Python ----------------------------------------------------------------------------


@pytest.mark.usefixtures("_eager")
def test_a_run_from_python_is_watched_and_goes_on(corpus, tmp_path):
    settings = training.RunSettings(**SMALL, steps=3, evaluate_every=2)
    watcher = Watcher()
    result = training.start_run(tmp_path / "run", corpus, settings, save=save_safetensors, watcher=watcher)
    assert watcher.seen == [
        *[("begins", 0), ("step", 1), ("step", 2), ("evaluated", 2), ("step", 3), ("evaluated", 3), ("ends", None)]
    ]
    assert (result.steps, len(result.rows), result.finished_before) == (3, 2, False)
    assert result.model.count_params() == json.loads((tmp_path / "run" / "settings.json").read_text())["parameters"]
    again = training.continue_run(tmp_path / "run", save=save_safetensors, watcher=Watcher())
    assert (again.steps, again.best, again.finished_before) == (3, result.best, True)
    watcher = Watcher()
    longer = training.continue_run(tmp_path / "run", steps=5, save=save_safetensors, watcher=watcher)
    assert watcher.seen[0] == ("begins", 3)
    assert longer.steps == 5


@pytest.mark.usefixtures("_eager")
def test_a_run_prints_a_line_for_each_evaluation_unless_told_otherwise(corpus, tmp_path, capsys):
    settings = training.RunSettings(**SMALL, steps=2, evaluate_every=1)
    training.start_run(tmp_path / "run", corpus, settings, save=save_safetensors)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["step 1/2", "step 2/2"]
    assert lines[0].startswith("nano-modern: ")
    training.continue_run(tmp_path / "run", steps=3, save=save_safetensors, watcher=training.RunWatcher())
    assert capsys.readouterr().out == ""


def test_accumulated_batches_are_counted_as_one_step_of_the_schedule():
    for recipe in ("classic", "modern"):
        settings = training.RunSettings(recipe=recipe, steps=100, accumulate=4, learning_rate=0.5)
        optimizer = run.make_optimizer(settings)
        assert optimizer.gradient_accumulation_steps == 4
        optimizer.build([keras.Variable(np.zeros((2, 2)), name="kernel")])
        optimizer._iterations.assign(399)  # the last batch of the last step
        last = float(optimizer.learning_rate)
        optimizer._iterations.assign(4 * 20)
        assert last < 0.11 * 0.5 < 0.3 < float(optimizer.learning_rate)


def test_an_error_tells_the_watcher_that_the_run_ends(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_fast", lambda model, settings, batches: {"run_eagerly": True})
    watcher = Watcher()

    def full(*arguments):
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        training.start_run(tmp_path / "run", corpus, training.RunSettings(**SMALL, steps=1), save=full, watcher=watcher)
    assert watcher.seen[-1] == ("ends", None)


# The corpus -----------------------------------------------------------------------------------


def test_a_file_is_split_into_nine_tenths_and_the_rest(tmp_path):
    path = tmp_path / "windows.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "äb\r\n".encode() * 10)
    corpus = Corpus(str(path))
    assert ["".join(corpus.pieces(split)) for split in ("train", "validation")] == ["äb\n" * 9, "äb\n"]
    assert corpus.characters == {"train": 27, "validation": 3}


def test_a_corpus_has_the_fingerprint_of_the_first_edition(corpus):
    import hashlib

    cut = int(0.9 * len(TEXT))
    expected = hashlib.sha256(f"{TEXT[:cut]}\0{TEXT[cut:]}".encode()).hexdigest()[:16]
    assert Corpus(str(corpus)).fingerprint == expected


@pytest.mark.network
def test_a_data_set_keeps_its_own_splits():
    corpus = Corpus("king-james")
    assert next(corpus.pieces("train")).startswith("In the beginning God created the heaven and the earth.\n")
    assert corpus.characters == {"train": 3_708_344, "validation": 198_763}
    assert corpus.fingerprint == "06a1e53cc0248e98"  # in the settings of the shipped model


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_pieces_join_to_the_text_and_end_with_a_line_wherever_they_were_cut(size, monkeypatch):
    monkeypatch.setattr(run_corpus, "PIECE", 10)
    monkeypatch.setattr(run_corpus, "LINE", 30)
    for text in ("", "short", "one\ntwo\nthree\nfour\nfive\n", "\n" * 25, "a line of words " * 9, "w" * 100):
        parts = list(joined_lines(text[i : i + size] for i in range(0, len(text), size)))
        assert "".join(parts) == text
        assert all(part.endswith(("\n", " ")) or len(part) == 30 for part in parts[:-1])
        assert all(len(part) <= 30 for part in parts)
        whole = list(joined_lines([text]))
        assert parts == whole  # a resumed run cuts as the first one did


def test_a_part_of_pieces_is_that_of_the_text():
    for start, stop in ((0, 4), (2, 7), (3, 3), (5, None), (0, 99)):
        assert "".join(part_of(["abc", "", "def", "ghi"], start, stop)) == "abcdefghi"[start:stop]


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    """The first edition took 10 bytes a character: the file, its text, two parts, a joined text, and int32 ids."""
    tokenizer = train_characters(["the quick brown fox jumps over the lazy\n"])
    peaks = []
    for lines in (75_000, 150_000):
        path = tmp_path / f"{lines}.txt"
        path.write_text("the quick brown fox jumps over the lazy\n" * lines)
        tracemalloc.start()
        try:
            corpus = Corpus(str(path))
            tokens = run._write_tokens(tmp_path, corpus, tokenizer)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert len(tokens["train"]) == 0.9 * 40 * lines
        assert isinstance(tokens["train"], np.memmap)
    assert peaks[1] - peaks[0] < 40 * 75_000  # less than a byte for each character more


# Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch": True}, "batch must be a whole number from 1 to 1000000, not True"),
        ({"steps": 1.5}, "steps must be"),
        ({"width": "8"}, "width must be a whole number from 1 to 65536 or None, not '8'"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
        ({"recipe": "new"}, "recipe must be one of"),
        ({"tokenizer": 3}, "tokenizer must be a text"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_settings_are_checked_where_they_are_made(wrong, message):
    with pytest.raises(ValueError, match=message):
        training.RunSettings(**wrong)


def test_settings_are_frozen_and_take_numbers_of_numpy():
    settings = training.RunSettings(batch=np.int64(4), dropout=np.float32(0.5))
    assert (type(settings.batch), settings.dropout) == (int, 0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.batch = 5


def test_stored_settings_come_back_and_the_shipped_ones_are_read(tmp_path):
    from kerasllm.weights import folder_of

    stored = StoredRun(training.RunSettings().settled(), "c.txt", "ab", "cd", {"vocabulary": 3}, "/c.txt", (2, 7))
    stored.write(tmp_path)
    assert read_run(tmp_path) == stored
    shipped = read_run(folder_of("king-james-gpt"))  # a folder of the first edition
    assert (shipped.settings.steps, shipped.settings.width, shipped.corpus) == (1600, 256, "king-james")


def test_an_epoch_of_fit_ends_where_the_clock_says():
    clock = Clock(steps=10, every=4)
    assert [clock.step(epochs) for epochs in range(clock.epochs + 1)] == [0, 4, 8, 10]
    longer = Clock(steps=17, every=4, anchor=(3, 10))
    assert [longer.step(epochs) for epochs in range(3, longer.epochs + 1)] == [10, 14, 17]
    assert [clock.cut_short(epochs) for epochs in (2, 3)] == [False, True]
