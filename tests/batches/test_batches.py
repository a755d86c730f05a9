"""Padded batches, windows and token files: what kerasllm.batches promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasllm import text
from kerasllm.batches import padded, read_tokens, windows, write_tokens
from kerasllm.batches.pad import Padded
from kerasllm.batches.window import Windows

ROOT = Path(__file__).parents[2]


def rows(count: int, longest: int = 20, seed: int = 0) -> list[list[int]]:
    """Rows of different length; the first id of a row is its number, from 1 on."""
    random = np.random.default_rng(seed)
    return [[number, *random.integers(1, 9, random.integers(0, longest))] for number in range(1, count + 1)]


def arrays(dataset) -> list:
    """The batches of one reading."""
    return list(dataset.as_numpy_iterator())


def order(dataset) -> list[int]:
    """The labels in the order in which a reading shows them."""
    return [int(label) for _, labels in arrays(dataset) for label in labels]


# Padded -------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    ids=st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=40),
    batch_size=st.integers(1, 9),
    buckets=st.none() | st.integers(1, 5) | st.just([3, 7, 12]),
    max_length=st.none() | st.integers(1, 14),
    shuffle=st.booleans(),
    seed=st.integers(0, 3),
    drop=st.booleans(),
)
def test_every_text_comes_once_with_its_label(ids, batch_size, buckets, max_length, shuffle, seed, drop):
    places = np.arange(len(ids))
    arguments = (ids, places, batch_size, max_length, buckets, shuffle, seed, drop, 0)
    if drop and len(ids) < batch_size:
        with pytest.raises(ValueError, match="drop_remainder"):
            Padded(*arguments)
        return
    batches = Padded(*arguments)
    found = [batches.batch(2, place) for place in range(len(batches))]
    labels = np.concatenate([labels for _, labels in found]).tolist()
    kept = len(ids) // batch_size * batch_size if drop else len(ids)
    assert len(labels) == len(set(labels)) == kept
    if not shuffle:
        assert labels == places[:kept].tolist()
    for inputs, numbers in found:
        assert inputs.dtype == np.int32
        for row, number in zip(inputs, numbers, strict=True):
            expected = ids[number][:max_length]
            assert row.tolist() == expected + [0] * (len(row) - len(expected))  # on the right
    full = {inputs.shape for inputs, _ in found if len(inputs) == batch_size}
    assert len(full) <= {None: 1, list: 3}.get(buckets and type(buckets), buckets)
    assert sum(len(inputs) < batch_size for inputs, _ in found) <= (0 if drop else 1)


def test_buckets_save_padding():
    ids = rows(1000, 60)
    least = sum(map(len, ids))
    cells = {
        buckets: sum(inputs.size for inputs in arrays(padded(ids, batch_size=16, buckets=buckets, shuffle=True)))
        for buckets in (1, 4, 8)
    }
    assert cells[1] > 1.8 * least
    assert cells[4] < 1.35 * least
    assert cells[8] < 1.2 * least


def test_without_buckets_there_is_one_length():
    ids = rows(50)
    assert {inputs.shape[1] for inputs in arrays(padded(ids, batch_size=8))} == {max(map(len, ids))}
    assert {inputs.shape[1] for inputs in arrays(padded(ids, batch_size=8, max_length=64))} == {64}


def test_in_order_a_batch_is_as_long_as_it_must_be():
    ids = [[1], [2, 2], [3, 3, 3], [4] * 9, [5]]
    found = arrays(padded(ids, batch_size=2, buckets=[2, 4, 9]))
    assert [inputs.shape for inputs in found] == [(2, 2), (2, 9), (1, 2)]


def test_epochs_differ_and_repeat():
    ids, places = rows(100), np.arange(100)

    def epochs(seed, start=0, count=3):
        dataset = padded(ids, places, batch_size=8, buckets=3, shuffle=True, seed=seed, start_epoch=start)
        return [order(dataset) for _ in range(count)]

    first = epochs(1)
    assert first == epochs(1)
    assert len({tuple(one) for one in first}) == 3
    assert first[0] != epochs(2)[0]
    assert first[2:] == epochs(1, start=2, count=1)


def test_a_look_at_the_first_batches_is_no_epoch():
    arguments = {"batch_size": 8, "shuffle": True}
    dataset = padded(rows(100), np.arange(100), **arguments)
    for _ in range(3):
        list(dataset.take(len(dataset) - 1))
    assert order(dataset) == order(padded(rows(100), np.arange(100), **arguments))


def test_no_thread_tunes_the_pipeline():
    """It would keep `fit` waiting at its end: a call of one second can take five."""
    for dataset in (padded([[1, 2], [3]], batch_size=1), windows(np.arange(9), context=2, batch_size=1, steps=2)):
        assert dataset.options().autotune.enabled is False


def test_other_padding_and_labels():
    dataset = padded([[1], [2, 3]], [[0.5, 1], [2, 3]], batch_size=2, pad_id=7)
    [(inputs, labels)] = arrays(dataset)
    assert inputs.tolist() == [[1, 7], [2, 3]]
    assert labels.tolist() == [[0.5, 1], [2, 3]]
    assert arrays(padded([[], []], batch_size=2))[0].tolist() == [[0], [0]]
    assert arrays(padded(np.ones((3, 4), "int64"), batch_size=3))[0].shape == (3, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ids": []}, "ids is empty"),
        ({"labels": [1]}, r"2 texts and labels of shape \(1,\)"),
        ({"labels": ["good", "bad"]}, r"for example good.*cat\.codes"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 up, not 0"),
        ({"max_length": 2.5}, "max_length must be a whole number from 1 up, not 2.5"),
        ({"buckets": [2, 1]}, r"Text 1 has 3 ids and fits into none of the buckets \[1, 2\].*max_length=2"),
        ({"buckets": []}, "none of the buckets"),
        ({"buckets": 0}, "buckets must be"),
        ({"buckets": [0, 5]}, "A bucket must be"),
        ({"ids": ["a text", "b"]}, r"ids\[0\] is no row of ids.*encode_batch"),
        ({"ids": [[1], [1.5]]}, r"ids\[1\] is no row of ids but of float64"),
        ({"ids": [[[1]]]}, r"ids\[0\] is no row of ids but of shape \(1, 1\)"),
        ({"batch_size": 3, "drop_remainder": True}, "Take batch_size=2 or less"),
    ],
)
def test_padded_names_what_is_wrong(arguments, words):
    with pytest.raises(ValueError, match=words):
        padded(**{"ids": [[1], [1, 2, 3]], "batch_size": 2} | arguments)


# Windows ------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(length=st.integers(2, 300), context=st.integers(1, 20), batch_size=st.integers(1, 9), seed=st.integers(0, 3))
def test_windows_are_shifted_and_cover_the_text_in_each_pass(length, context, batch_size, seed):
    tokens = np.arange(length, dtype="uint16")  # an id is its own place
    if length < context + 1:
        with pytest.raises(ValueError, match="too few"):
            windows(tokens, context=context, batch_size=batch_size, steps=1)
        return
    batches = Windows(tokens, context, batch_size, seed, shuffle=True)
    starts = []
    for step in range(60):
        rows = batches.rows(step, step + 1)
        assert rows.dtype == np.int32
        assert (rows == rows[:, :1] + np.arange(context + 1)).all()
        starts += rows[:, 0].tolist()
    one_pass = batches.windows
    for first in range(0, len(starts) - one_pass + 1, one_pass):
        cut = sorted(starts[first : first + one_pass])
        assert set(np.diff(cut)) <= {context}  # they touch and do not overlap: each comes once
    # A pass leaves out less than two windows of the text.
    assert length - 1 - one_pass * context < 2 * context
    again = Windows(tokens, context, batch_size, seed, shuffle=True)
    np.testing.assert_array_equal(again.rows(0, 60)[:, 0], starts)
    for step in (59, 0, 31):  # in any order
        np.testing.assert_array_equal(
            again.rows(step, step + 1)[:, 0], starts[step * batch_size : (step + 1) * batch_size]
        )


def test_windows_resume_repeat_and_differ():
    arguments = {"tokens": np.arange(1000), "context": 10, "batch_size": 4}
    whole = arrays(windows(**arguments, seed=3, steps=60))
    inputs, targets = whole[0]
    assert inputs.shape == targets.shape == (4, 10)
    assert inputs.dtype == targets.dtype == np.int32
    assert (targets == inputs + 1).all()
    np.testing.assert_array_equal(arrays(windows(**arguments, seed=3, steps=60)), whole)
    np.testing.assert_array_equal(arrays(windows(**arguments, seed=3, start_step=41, steps=19)), whole[41:])
    longer = arrays(windows(**arguments, seed=3, steps=150))
    np.testing.assert_array_equal(arrays(windows(**arguments, seed=3, start_step=63, steps=87)), longer[63:])
    assert not np.array_equal(arrays(windows(**arguments, seed=4, steps=60)), whole)
    in_pass = Windows(**arguments, seed=3, shuffle=True).windows
    starts = np.array(whole)[:, 0, :, 0].ravel()
    first, second = starts[:in_pass], starts[in_pass : 2 * in_pass]
    assert not np.array_equal(first, second)
    assert len({start % 10 for start in starts}) > 1  # another pass is cut at other places


def test_one_pass_in_order():
    arguments = {"tokens": np.arange(24), "context": 5, "batch_size": 3, "shuffle": False}
    dataset = windows(**arguments)
    for _ in range(2):
        assert [inputs[:, 0].tolist() for inputs, _ in arrays(dataset)] == [[0, 5, 10], [15]]
    assert arrays(windows(**arguments, start_step=1))[0][0].tolist() == [[15, 16, 17, 18, 19]]
    assert len(arrays(windows(**arguments, steps=1))) == 1
    for wrong in ({"start_step": 2}, {"steps": 3}, {"start_step": 1, "steps": 2}):
        with pytest.raises(ValueError, match="One pass has 2 batches"):
            windows(**arguments, **wrong)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"context": 0}, "context must be"),
        ({"batch_size": None}, "batch_size must be a whole number from 1 up, not None"),
        ({"start_step": -1}, "start_step must be a whole number from 0 up, not -1"),
        ({"steps": 0}, "steps must be"),
        ({"steps": None}, "Shuffled windows never end: name steps"),
        ({"context": 30}, "30 tokens are too few for a window of 30.*context=29 or less"),
        ({"tokens": np.ones((2, 3), "int32")}, r"not an array \(2, 3\) of int32.*encode_flat"),
        ({"tokens": np.ones(30)}, "of float64"),
    ],
)
def test_windows_name_what_is_wrong(arguments, words):
    with pytest.raises(ValueError, match=words):
        windows(**{"tokens": np.arange(30), "context": 4, "batch_size": 2, "steps": 1} | arguments)


# Token files --------------------------------------------------------------------------------------

TEXTS = ["In the beginning\n", "", "God created the heaven 和地 😀", "<eos>"]


@pytest.fixture(scope="module")
def tokenizers():
    return {
        "characters": text.train_characters(TEXTS, eos=True),
        "bpe": text.train_bpe(TEXTS, 300),
        "wide": text.train_characters([chr(code) for code in range(0xE000, 0x1F000)], eos=True),
    }


@pytest.mark.parametrize(("kind", "dtype"), [("characters", "uint16"), ("bpe", "uint16"), ("wide", "uint32")])
def test_a_token_file_holds_the_ids_of_all_texts(kind, dtype, tokenizers, tmp_path):
    tokenizer = tokenizers[kind]
    tokens = write_tokens(iter(TEXTS), tokenizer, tmp_path / "corpus.tokens")
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    expected = [id for one in TEXTS for id in tokenizer.encode(one) + end]
    assert tokens.tolist() == expected
    assert tokens.dtype == dtype
    assert not tokens.flags.writeable
    assert isinstance(tokens, np.memmap)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.tokens", "corpus.tokens.json"]
    assert tokenizer.decode(read_tokens(tmp_path / "corpus.tokens", tokenizer)) == "".join(TEXTS)
    inputs, targets = windows(tokens, context=4, batch_size=2, shuffle=False).as_numpy_iterator().next()
    assert np.concatenate([inputs[0, :1], targets[0]]).tolist() == expected[:5]


def test_pieces_do_not_show(tokenizers, tmp_path, monkeypatch):
    for kind in ("characters", "bpe"):
        whole = np.array(write_tokens(TEXTS * 50, tokenizers[kind], tmp_path / "whole"))
        with monkeypatch.context() as patch:
            patch.setattr("kerasllm.batches.token_file._PIECE", 64)
            parts = np.array(write_tokens(TEXTS * 50, tokenizers[kind], tmp_path / "parts"))
        np.testing.assert_array_equal(whole, parts)


def test_ends_are_a_choice(tokenizers, tmp_path):
    tokens = write_tokens(TEXTS, tokenizers["characters"], tmp_path / "a", end=False)
    assert tokenizers["characters"].eos_id not in tokens
    with pytest.raises(ValueError, match="end=True needs a tokenizer with <eos>"):
        write_tokens(TEXTS, tokenizers["bpe"], tmp_path / "a", end=True)


def test_an_interrupted_run_leaves_the_old_file(tokenizers, tmp_path):
    def broken():
        yield "new"
        raise KeyboardInterrupt

    path = tmp_path / "corpus.tokens"
    old = write_tokens(["old"], tokenizers["bpe"], path).tolist()
    with pytest.raises(KeyboardInterrupt):
        write_tokens(broken(), tokenizers["bpe"], path)
    assert read_tokens(path).tolist() == old
    assert len(list(tmp_path.iterdir())) == 2


def test_token_files_name_what_is_wrong(tokenizers, tmp_path):
    path, bpe = tmp_path / "corpus.tokens", tokenizers["bpe"]
    with pytest.raises(FileNotFoundError, match="Write the token file with write_tokens"):
        read_tokens(path)
    with pytest.raises(ValueError, match="no ids to write"):
        write_tokens([], bpe, path)
    with pytest.raises(TypeError, match=r"\[text\]"):
        write_tokens("a text", bpe, path)
    with pytest.raises(TypeError, match="Text 1 is None"):
        write_tokens(["a", None], bpe, path)
    assert list(tmp_path.iterdir()) == []

    write_tokens(TEXTS, bpe, path)
    with pytest.raises(ValueError, match=f"not with this one \\({tokenizers['characters'].fingerprint}\\)"):
        read_tokens(path, tokenizers["characters"])
    header = path.with_name("corpus.tokens.json")
    good = json.loads(header.read_text())
    for wrong in ({"version": 9}, {"dtype": "<f4"}, {"count": good["count"] + 1}):
        header.write_text(json.dumps(good | wrong))
        with pytest.raises(ValueError, match="write_tokens"):
            read_tokens(path)
    for content in ("no json", "{}", "[]", '{"version": 1, "dtype": "zz", "count": 1, "tokenizer": ""}'):
        header.write_text(content)
        with pytest.raises(ValueError, match="does not describe a token file"):
            read_tokens(path)
    header.unlink()
    with pytest.raises(FileNotFoundError, match=r"corpus\.tokens\.json"):
        read_tokens(path)


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    """A tenth of the memory that the benchmark measures; see benchmarks/encode_stream.py."""
    code = """
import resource, sys
from kerasllm import text
from kerasllm.batches import write_tokens
tokenizer = text.train_characters(["abc "])
def lines(count):
    for number in range(count):
        yield "abc a cab " * 100
peaks = []
for count in (4_000, 40_000):  # 4 MB, then 40 MB of text, 80 MB of ids
    write_tokens(lines(count), tokenizer, sys.argv[1])
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""
    pytest.importorskip("resource")
    grown = subprocess.check_output([sys.executable, "-c", code, str(tmp_path / "t")], text=True, cwd=ROOT)
    assert int(grown.split()[-1]) < 12_000  # KiB


# Keras --------------------------------------------------------------------------------------------

TRAINING = """
import json, sys
import keras, numpy as np
from kerasllm.batches import padded, windows

def difference(one, other):
    return float(max(abs(np.asarray(a) - np.asarray(b)).max()
                     for a, b in zip(one.get_weights(), other.get_weights(), strict=True)))

# Texts -------------------------------------------------------------------------------
traced = []

class Counted(keras.layers.Layer):
    def call(self, inputs):
        traced.append(tuple(inputs.shape))
        return inputs

def classifier():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Embedding(10, 4), Counted(),
                              keras.layers.GlobalMaxPooling1D(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

random = np.random.default_rng(0)
ids = [random.integers(1, 9, random.integers(1, 30)).tolist() for _ in range(83)]
labels = random.random(83)
def texts(**arguments):
    return padded(ids, labels, batch_size=8, buckets=3, shuffle=True, seed=1, drop_remainder=True, **arguments)
result = {"backend": keras.backend.backend()}

model = classifier()
result["losses"] = model.fit(texts(), epochs=3, verbose=0).history["loss"]
result["traced"] = traced[:]
again = classifier()
again.fit(texts(), epochs=1, verbose=0)
result["resumed_losses"] = again.fit(texts(start_epoch=1), epochs=2, verbose=0).history["loss"]

# This model has no mask, so padding counts: the same length for all.
whole = model.predict(padded(ids, batch_size=83, max_length=30), verbose=0)
result["in_order"] = float(abs(model.predict(padded(ids, batch_size=7, max_length=30), verbose=0) - whole).max())
found = model.evaluate(padded(ids, labels, batch_size=7, max_length=30), verbose=0)
result["evaluate"] = [float(found), float(np.mean((whole[:, 0] - labels) ** 2))]
uneven = model.predict(padded([[1, 2]] * 8 + [[1] * 4], batch_size=4, buckets=[2, 4]), verbose=0)
result["uneven"] = list(uneven.shape)

# Windows -----------------------------------------------------------------------------
tokens = (np.arange(3000) ** 2 % 10).astype("uint16")
def language_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Embedding(10, 8), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
def feed(**arguments):
    return windows(tokens, context=8, batch_size=4, seed=1, **arguments)
flat = language_model()
flat.fit(feed(steps=60), verbose=0)
epochs = language_model()
validation = windows(tokens, context=8, batch_size=7, shuffle=False)
epochs.fit(feed(steps=60), steps_per_epoch=20, epochs=3, verbose=0, validation_data=validation)
result["epochs"] = difference(epochs, flat)
resumed = language_model()
resumed.fit(feed(steps=23), verbose=0)
between = difference(resumed, flat)
resumed.fit(feed(start_step=23, steps=37), verbose=0)
result["resumed"] = [between, difference(resumed, flat)]
json.dump(result, sys.stdout)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_training_on_a_backend(backend):
    """PyTorch is no requirement of the course; where it is installed, it is tested like the others."""
    pytest.importorskip(backend)
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", TRAINING], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "ran out of data" not in run.stderr
    assert "`shuffle=True` was passed" not in run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["backend"] == backend
    assert len(set(result["losses"])) == 3
    assert result["resumed_losses"] == pytest.approx(result["losses"][1:], abs=1e-7)
    whole = [shape for shape in result["traced"] if None not in shape]
    assert len({tuple(shape) for shape in whole}) <= 3  # as many shapes as buckets
    if backend != "torch":  # PyTorch calls the layer at each step
        assert len(result["traced"]) <= 3 + 2  # the model is also traced when it is built
    assert result["in_order"] < 1e-6
    assert result["evaluate"][0] == pytest.approx(result["evaluate"][1], rel=1e-5)
    assert result["uneven"] == [9, 1]
    assert result["epochs"] == 0
    assert result["resumed"][0] > 1e-3
    assert result["resumed"][1] == 0
