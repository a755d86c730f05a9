"""Token files: what write_tokens and read_tokens promise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kerasllm import text
from kerasllm.batches import read_tokens, windows, write_tokens

ROOT = Path(__file__).parents[2]
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
    inputs, targets, _ = windows(tokens, context=4, batch_size=2, shuffle=False).as_numpy_iterator().next()
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


def test_at_no_moment_an_old_header_stands_beside_new_ids(tokenizers, tmp_path, monkeypatch):
    """Killed just before a file gets its name: each time the folder is readable and right, or not readable."""
    path, bpe = tmp_path / "corpus.tokens", tokenizers["bpe"]
    old = write_tokens(["old text"], bpe, path).tolist()
    replace = os.replace
    for survived in range(2):
        calls = []

        def killed(source, target, survived=survived, calls=calls):
            if len(calls) == survived:
                raise KeyboardInterrupt
            calls.append(target)
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                write_tokens(["new text!"], bpe, path)
        with pytest.raises(FileNotFoundError, match=r"corpus\.tokens\.json"):
            read_tokens(path)
    assert np.fromfile(path, "<u2").tolist() == write_tokens(["new text!"], bpe, tmp_path / "b").tolist() != old


def test_a_planted_link_is_not_followed(tokenizers, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "corpus.tokens.unfinished").symlink_to(victim)
    write_tokens(["text"], tokenizers["bpe"], tmp_path / "corpus.tokens")
    assert victim.read_text() == "mine"


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
