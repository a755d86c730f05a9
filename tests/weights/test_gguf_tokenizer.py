"""Tokenizers in GGUF files: ids equal to SentencePiece's, roles and templates, and lists that do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest

from kerasllm import text
from kerasllm.text import Tokenizer
from kerasllm.weights.gguf.file import read_gguf
from kerasllm.weights.gguf.pieces import check_charsmap
from kerasllm.weights.gguf.tokenizer import PRE_TOKENIZERS, tokenizer_metadata, tokenizer_of
from kerasllm.weights.gguf.writer import write_gguf

DATA = Path(__file__).parent / "data"
PIECES = json.loads((DATA / "pieces.json").read_text("utf-8"))
TEXTS = ["hello hello world", "the theatre, 1234 don't DON'T", "ab  cd\n\n ef"] * 3
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"


def made(folder, metadata):
    """The tokenizer of a file with this metadata; keys without "tokenizer.ggml." in front."""
    full = {key if "." in key else f"tokenizer.ggml.{key}": value for key, value in metadata.items()}
    write_gguf(folder / "one.gguf", {key: value for key, value in full.items() if value is not None}, {})
    with read_gguf(folder / "one.gguf") as file:
        return tokenizer_of(file)


@pytest.fixture(scope="module")
def trained():
    return text.train_bpe(TEXTS, 300, eos=True)


@pytest.fixture(scope="module")
def byte_level(trained):
    """Metadata of a byte-level BPE, with a special token for turns, a token of the user, and one that is not used."""
    metadata = {
        key.removeprefix("tokenizer.ggml."): value for key, value in tokenizer_metadata(trained, "gpt-2").items()
    }
    tokens = [*metadata["tokens"], "<|im_start|>", "<|im_end|>", "<code>", "[PAD]"]
    types = [*metadata["token_type"], 3, 3, 4, 5]
    last = len(tokens) - 1
    ids = {"bos_token_id": last - 3, "eos_token_id": last - 2, "eot_token_id": last - 2, "unknown_token_id": 2**32 - 1}
    return {**metadata, "tokens": tokens, "token_type": types, **ids, "tokenizer.chat_template": TEMPLATE}


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("place", range(len(PIECES["merges"])))
def test_ids_are_those_of_sentencepiece(name, place):
    with read_gguf(DATA / f"{name}.gguf") as file:
        tokenizer = tokenizer_of(file)
    content, ids = PIECES[name][place]
    assert tokenizer.encode(content) == ids
    if name == "merges":  # it has pieces for all bytes, and keeps spaces
        assert tokenizer.decode(ids) == content
    assert tokenizer.roles == {"bos": "<s>", "eos": "</s>", "unknown": "<unk>"}
    assert tokenizer.stop_ids == (2,)


def test_special_tokens_roles_and_template(byte_level, tmp_path):
    tokenizer = made(tmp_path, byte_level)
    last = len(byte_level["tokens"]) - 1
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.end_of_turn_id) == (last - 3, last - 2, last - 2)
    assert tokenizer.unknown_id is None
    assert tokenizer.pad_id == 0
    assert tokenizer.stop_ids == (last - 2,)
    assert tokenizer.chat_template == TEMPLATE
    assert {"<|im_start|>", "<|im_end|>"} < set(tokenizer.special_tokens)
    assert not {"<code>", "[PAD]"} & set(tokenizer.special_tokens)
    assert last - 3 not in tokenizer.encode("<|im_start|>hello")
    assert tokenizer.encode("<|im_start|>hello", special=True)[0] == last - 3
    assert tokenizer.encode("a<code>b").count(last - 1) == 1
    assert last not in tokenizer.encode("[PAD]")
    assert Tokenizer.from_json(tokenizer.to_json()).chat_template == TEMPLATE


def test_a_message_of_a_program_ends_a_text_too(byte_level, tmp_path):
    last = len(byte_level["tokens"]) - 1
    tokenizer = made(tmp_path, byte_level | {"eom_token_id": last - 3})
    assert set(tokenizer.stop_ids) == {last - 2, last - 3}


@pytest.mark.parametrize("content", [*TEXTS[:3], "naïve 你好 <eos>", "", " "])
def test_a_tokenizer_of_ours_comes_back(trained, content, tmp_path):
    tokenizer = made(tmp_path, tokenizer_metadata(trained, "gpt-2"))
    assert tokenizer.encode(content) == trained.encode(content)
    assert tokenizer.decode(tokenizer.encode(content)) == content
    assert tokenizer.vocabulary == trained.vocabulary
    assert tokenizer.roles == trained.roles


# "1234" and "DON'T" tell the ways apart: what the words are that BPE works on, in bytes as GPT-2 spells them.
WORDS = {
    "gpt-2": ["Ġ1234", "ĠDON", "'", "T", "!!", "ĊĊ", "Ġx"],
    "smollm": ["Ġ", "1", "2", "3", "4", "ĠDON", "'", "T", "!!", "ĊĊ", "Ġx"],
    "llama-bpe": ["Ġ", "123", "4", "ĠDON", "'T", "!!ĊĊ", "Ġx"],
    "qwen2": ["Ġ", "1", "2", "3", "4", "ĠDON", "'T", "!!ĊĊ", "Ġx"],
    "default": ["Ġ", "123", "4", "ĠDON", "'", "T", "!!", "ĊĊ", "Ġx"],
}


@pytest.mark.parametrize("name", WORDS)
def test_texts_are_cut_as_the_name_says(name):
    words = PRE_TOKENIZERS[name]().pre_tokenize_str(" 1234 DON'T!!\n\n x")
    assert [word for word, _ in words] == WORDS[name]


def test_every_name_can_be_used(byte_level, tmp_path):
    for name in PRE_TOKENIZERS:
        tokenizer = made(tmp_path, byte_level | {"pre": name})
        assert tokenizer.decode(tokenizer.encode("hello 1234 你好")) == "hello 1234 你好"


def test_a_word_that_is_a_token_is_taken_whole_by_llama_3(byte_level, tmp_path):
    metadata = byte_level | {"tokens": [*byte_level["tokens"], "zq"], "token_type": [*byte_level["token_type"], 1]}
    whole, merged = (made(tmp_path, metadata | {"pre": name}).encode("zq") for name in ("llama-bpe", "qwen2"))
    assert whole == [len(metadata["tokens"]) - 1]
    assert len(merged) == 2


def test_qwen_composes_characters(byte_level, tmp_path):
    tokenizer = made(tmp_path, byte_level | {"pre": "qwen2"})
    assert tokenizer.encode("e\u0301") == tokenizer.encode("é")


def changed(metadata, key, place, value):
    content = list(metadata[key])
    content[place] = value
    return {key: content}


REFUSED = {
    "no tokenizer": (lambda m: {"model": None}, "tokenizer.ggml.model is ''; those that are read are gpt2, llama, t5"),
    "an unknown model": (lambda m: {"model": "bert"}, "tokenizer.ggml.model is 'bert'"),
    "a model that is no text": (lambda m: {"model": 3}, "tokenizer.ggml.model should be a text, not 3"),
    "an unknown way": (lambda m: {"pre": "tekken"}, r"pre is 'tekken'; known are gpt-2, .*llama-bpe.*default"),
    "a way that steers the terminal": (lambda m: {"pre": "\x1b[2J"}, r"pre is '\\x1b\[2J'"),
    "no tokens": (lambda m: {"tokens": None, "token_type": None}, "tokens is missing or empty"),
    "tokens that are numbers": (lambda m: {"tokens": [1, 2]}, "tokens should be a list of str"),
    "a token twice": (lambda m: changed(m, "tokens", 7, m["tokens"][9]), "tokens has .* twice, as 7 and 9"),
    "a special token without text": (lambda m: changed(m, "tokens", -3, ""), "empty text for a special token"),
    "types too few": (lambda m: {"token_type": [1, 2]}, r"token_type has 2 entries, and there are \d+ tokens"),
    "types in words": (lambda m: {"token_type": ["a"]}, "token_type should be a list of int"),
    "a type of 9": (lambda m: changed(m, "token_type", 5, 9), "token_type holds 9"),
    "a merge of one": (lambda m: changed(m, "merges", 3, "ab"), "merges has 'ab' as number 3"),
    "a merge of nothing": (lambda m: changed(m, "merges", 3, " "), "merges has ' ' as number 3"),
    "a merge of unknown tokens": (lambda m: changed(m, "merges", 0, "xy zw"), "merges has 'xy zw' as number 0"),
    "a merge to no token": (lambda m: changed(m, "merges", 0, "h h"), "merges has 'h h' as number 0"),
    "merges that are numbers": (lambda m: {"merges": [1]}, "merges should be a list of str"),
    "an id outside": (lambda m: {"eos_token_id": 10**6}, "eos_token_id is 1000000; the tokens have ids from 0 to"),
    "an id in words": (lambda m: {"bos_token_id": "1"}, "bos_token_id is '1'"),
    "a template that is no text": (lambda m: {"tokenizer.chat_template": 5}, "chat_template should be a text, not 5"),
    "no scores": (lambda m: {"model": "llama"}, "scores is missing"),
    "a score that is no number": (
        lambda m: {"model": "t5", "scores": np.array([np.nan] * len(m["tokens"]), "float32")},
        "scores holds nan for token 0",
    ),
    "scores too few": (lambda m: {"model": "t5", "scores": [0.5]}, "scores has 1 entries"),
    "a piece without end": (
        lambda m: {"model": "llama", "scores": [0.5] * len(m["tokens"]), **changed(m, "tokens", 70, "x" * 10**5)},
        "tokens has a piece of 100,000 characters, 'xxx",
    ),
    "a flag in words": (
        lambda m: {"model": "t5", "scores": [0.5] * len(m["tokens"]), "add_space_prefix": "no"},
        "add_space_prefix should be true or false, not 'no'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_lists_that_do_not_fit_are_refused_with_the_key(case, byte_level, tmp_path):
    change, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        made(tmp_path, byte_level | change(byte_level))
    assert "one.gguf" in str(caught.value)
    assert len(str(caught.value)) < 1500
    assert "\x1b" not in str(caught.value)


def test_a_damaged_table_of_characters_is_refused_or_works():
    """The library would end the process at a wrong place in the table, and only when a text leads there."""
    from tokenizers import normalizers

    with read_gguf(DATA / "unigram.gguf") as file:
        table = file.metadata["tokenizer.ggml.precompiled_charsmap"]

    class Said:
        def wrong(self, key, what):
            return ValueError(f"{key} {what}")

    rng, refused = np.random.default_rng(0), 0
    sample = "".join(map(chr, [*range(1, 256), 0xFB01, 0x3042, 0x1F600]))
    for _ in range(300):
        damaged = list(table)
        for place in rng.integers(0, len(table), rng.integers(1, 4)):
            damaged[place] = int(rng.integers(256))
        try:
            content = check_charsmap(Said(), damaged)
        except ValueError:
            refused += 1
        else:
            normalizers.Precompiled(content).normalize_str(sample)
    assert 0 < refused < 300
    for wrong in ([], [1, 2, 3], [300] * 2000, [-1] * 2000, [0] * 2000, table[:500], [0, 4, 0, 0, *[0] * 1023]):
        with pytest.raises(ValueError, match="precompiled_charsmap"):
            check_charsmap(Said(), wrong)


def test_only_byte_level_bpe_is_written(trained):
    with pytest.raises(ValueError, match="is no byte-level BPE that cuts texts as 'gpt-2' does"):
        tokenizer_metadata(text.train_characters(["abc"]), "gpt-2")
    with pytest.raises(ValueError, match="is no byte-level BPE that cuts texts as 'smollm' does"):
        tokenizer_metadata(trained, "smollm")
    with pytest.raises(ValueError, match="pre must be one of gpt-2"):
        tokenizer_metadata(trained, "none")
