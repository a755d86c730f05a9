"""Cleaning, training, encoding and decoding: what kerasllm.text promises."""

import inspect
import json
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kerasllm import text
from kerasllm.text import Tokenizer, clean, cleaning_report, is_blank

ROOT = Path(__file__).parents[2]
ENGLISH = [
    "In the beginning God created the heaven and the earth.",
    "And the earth was without form, and void; and darkness was upon the face of the deep.",
    "The tokenizer's <eos> and [MASK] stand in this text as text.",
    "low lower lowest new newer newest wide wider widest",
]
CHINESE = ["我喜欢这家酒店，房间很干净。", "这家酒店的服务很差，我不喜欢。", "机器学习和深度学习"]
CORPUS = ENGLISH + CHINESE
TRAIN = {
    "characters": lambda texts, **special: text.train_characters(texts, **special),
    "characters without bytes": lambda texts, **special: text.train_characters(texts, byte_fallback=False, **special),
    "bpe": lambda texts, **special: text.train_bpe(texts, 400, **special),
    "words": lambda texts, **special: text.train_words(texts, 100, **special),
    "wordpiece": lambda texts, **special: text.train_wordpiece(texts, 220, **special),
}
EXACT = ["characters", "bpe"]
TRAINED = {kind: train(CORPUS, bos=True, eos=True, mask=True, extra=["<user>"]) for kind, train in TRAIN.items()}

every_kind = pytest.mark.parametrize("kind", TRAIN)
exact_kind = pytest.mark.parametrize("kind", EXACT)
# Any Unicode string, with the characters that break tokenizers drawn often.
STRANGE = (
    "\u0301|e\u0301|👩\u200d👩\u200d👧|🏴\U000e0067\U000e0062\U000e007f|\x00|\r\n|\u2028|\ufeff|\u200b|  |Ġ|Ċ|##|"
    "\ufffd|\U0010ffff|\x7f|\ue000|\ufffe|中|é|ſ|İ|न्दी|<eos>|<pad>|<0x41>|<unk>|[MASK]"
).split("|")
strange = st.lists(st.text() | st.sampled_from(STRANGE)).map("".join)


# Round trip ---------------------------------------------------------------------------------------


@exact_kind
@settings(max_examples=300, deadline=None)
@given(original=strange)
@example(original="")
@example(original="<pad><bos><eos><mask><user>")
def test_any_text_comes_back_exactly_and_without_special_tokens(kind, original):
    tokenizer = TRAINED[kind]
    ids = tokenizer.encode(original)
    assert tokenizer.decode(ids) == original
    assert tokenizer.decode(ids, skip_special=False) == original
    assert not set(ids) & {tokenizer.id_of(token) for token in tokenizer.special_tokens}
    assert all(0 <= id < tokenizer.vocabulary_size for id in ids)


@exact_kind
def test_characters_from_all_over_unicode_come_back(kind):
    characters = "".join(chr(code) for code in range(0, 0x110000, 7) if not 0xD800 <= code < 0xE000)
    pieces = [characters[start : start + 4096] for start in range(0, len(characters), 4096)]
    assert TRAINED[kind].decode_batch(TRAINED[kind].encode_batch(pieces)) == pieces


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(strange, max_size=4), lower=st.booleans(), byte_fallback=st.booleans(), end=st.booleans())
def test_the_table_of_the_character_tokenizer_equals_the_library(texts, lower, byte_fallback, end):
    tokenizer = text.train_characters(CORPUS, lower=lower, byte_fallback=byte_fallback, eos=True)
    assert tokenizer._characters is not None
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    library.encode_special_tokens = True
    expected = [library.encode(one, add_special_tokens=False).ids for one in texts]
    assert tokenizer.encode_batch(texts) == expected
    ids, ends = tokenizer.encode_flat(texts, end_id=tokenizer.eos_id if end else None)
    flat = [id for one in expected for id in one + [tokenizer.eos_id] * end]
    assert ids.tolist() == flat
    assert ends.tolist() == np.cumsum([len(one) + end for one in expected]).tolist()


@every_kind
@settings(max_examples=100, deadline=None)
@given(original=strange)
def test_plain_text_makes_no_special_token_but_unknown(kind, original):
    tokenizer = TRAINED[kind]
    reserved = {tokenizer.id_of(token) for token in tokenizer.special_tokens} - {tokenizer.unknown_id}
    ids = tokenizer.encode(original)
    assert not set(ids) & reserved
    assert all(0 <= id < tokenizer.vocabulary_size for id in ids)


@every_kind
def test_special_tokens_are_read_from_text_when_asked(kind):
    tokenizer = TRAINED[kind]
    ids = tokenizer.encode("<bos>low<eos>", special=True)
    assert (ids[0], ids[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
    assert tokenizer.decode(ids) == "low"
    assert tokenizer.decode(ids, skip_special=False).replace(" ", "") == "<bos>low<eos>"
    # Asking once changes nothing for later texts.
    assert tokenizer.eos_id not in tokenizer.encode("<eos>")


@every_kind
def test_a_special_token_that_is_frequent_in_the_texts_stays_special(kind):
    tokenizer = TRAIN[kind](["<eos> <eos>", "[A] [A]", *CORPUS] * 50, eos=True, extra=["[A]"])
    assert not {tokenizer.eos_id, tokenizer.id_of("[A]")} & set(tokenizer.encode("<eos> <eos>[A]"))
    assert tokenizer.vocabulary.count("<eos>") == 1


def test_batches_equal_single_texts():
    for tokenizer in TRAINED.values():
        batch = tokenizer.encode_batch(iter(CORPUS))
        assert batch == [tokenizer.encode(one) for one in CORPUS]
        assert tokenizer.decode_batch(batch) == [tokenizer.decode(ids) for ids in batch]
        assert tokenizer.encode_batch([]) == []
        ids, ends = tokenizer.encode_flat(CORPUS, end_id=tokenizer.eos_id)
        assert ids.tolist() == [id for one in batch for id in [*one, tokenizer.eos_id]]
        assert ends[-1] == len(ids)
        assert ids.dtype == np.int32
        assert tokenizer.encode_flat([])[0].tolist() == []


def test_padding_is_skipped_and_arrays_are_taken():
    tokenizer = TRAINED["bpe"]
    row = np.array([*tokenizer.encode("low"), 0, 0], "int32")
    assert tokenizer.decode(row) == "low"
    assert tokenizer.decode_batch(row[None]) == ["low"]
    assert tokenizer.decode(row, skip_special=False) == "low<pad><pad>"


@exact_kind
def test_broken_bytes_become_the_replacement_character(kind):
    tokenizer = TRAINED[kind]
    ids = tokenizer.encode("👩")
    assert "\ufffd" in tokenizer.decode([*ids[:-1], *tokenizer.encode("a")])


# Kinds --------------------------------------------------------------------------------------------


def test_characters():
    tokenizer = text.train_characters(["banana", "你"], vocabulary_size=1 + 256 + 2)
    assert tokenizer.vocabulary[257:] == ["a", "n"]
    assert tokenizer.tokens("ané") == ["a", "n", "<0xC3>", "<0xA9>"]
    assert tokenizer.unknown_id is None
    small = text.train_characters(["banana"], byte_fallback=False)
    assert small.encode("b😀b") == [3, small.unknown_id, 3]
    assert small.decode(small.encode("b😀b")) == "bb"


def test_chinese_is_cut_into_characters_and_subwords():
    assert TRAINED["characters"].tokens("我喜欢") == ["我", "喜", "欢"]
    assert TRAINED["words"].tokens("我喜欢这家酒店，") == ["我", "喜", "欢", "这", "家", "酒", "店", "，"]
    bpe = text.train_bpe(CHINESE * 20, 400)
    assert [bpe.decode([id]) for id in bpe.encode("学习这家酒店")] == ["学习", "这家酒店"]
    for kind in ("words", "wordpiece"):
        assert TRAINED[kind].decode(TRAINED[kind].encode(CHINESE[0])) == CHINESE[0]


def test_words():
    tokenizer = text.train_words(["The cat's 3 cats, don’t (really)! naïve नमस्ते", "ไทย ミル"], 100, lower=True)
    assert tokenizer.tokens("The cat's naïve (3)!") == ["the", "cat's", "naïve", "(", "3", ")", "!"]
    assert tokenizer.tokens("नमस्ते abc中ไทย") == ["नमस्ते", "<unk>", "<unk>", "ไ", "ท", "ย"]
    assert tokenizer.decode(tokenizer.encode("the cat's (3), really!")) == "the cat's (3), really!"
    by_count = text.train_words(["b b a c c c"], 4)
    assert by_count.vocabulary == ["<pad>", "<unk>", "c", "b"]
    assert text.train_words(["a a b"], 10, minimum_count=2).vocabulary == ["<pad>", "<unk>", "a"]


def test_wordpiece():
    tokenizer = TRAINED["wordpiece"]
    first, *rest = tokenizer.tokens("newish")
    assert rest
    assert all(token.startswith("##") for token in rest)
    assert first + "".join(token[2:] for token in rest) == "newish"
    assert tokenizer.tokens("low Ω") == ["low", "<unk>"]
    assert tokenizer.decode(tokenizer.encode("the widest earth.")) == "the widest earth."
    assert tokenizer.special_tokens == ["<pad>", "<unk>", "<bos>", "<eos>", "<mask>", "<user>"]
    small = text.train_wordpiece(["aaa aab abz"], 8, alphabet_size=2)
    assert "z" not in "".join(small.vocabulary)


@every_kind
def test_lower(kind):
    tokenizer = TRAIN[kind](CORPUS, lower=True)
    assert tokenizer.encode("LOW") == tokenizer.encode("low")
    assert tokenizer.unknown_id not in tokenizer.encode("LOW")


def test_byte_pairs_are_those_of_the_library():
    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(CORPUS, trainer)
    ours = text.train_bpe(CORPUS, 400)
    assert json.loads(ours.to_json())["model"]["merges"] == json.loads(library.to_str())["model"]["merges"]
    assert ours.encode_batch(CORPUS) == [encoding.ids for encoding in library.encode_batch(CORPUS)]


# Vocabulary and special tokens --------------------------------------------------------------------


@every_kind
def test_vocabulary_and_roles(kind):
    tokenizer = TRAINED[kind]
    assert tokenizer.vocabulary_size == len(tokenizer.vocabulary) == len(set(tokenizer.vocabulary))
    assert all(tokenizer.id_of(token) == id for id, token in enumerate(tokenizer.vocabulary))
    assert all(tokenizer.token_of(id) == token for id, token in enumerate(tokenizer.vocabulary))
    assert tokenizer.pad_id == 0 == tokenizer.id_of("<pad>")
    assert tokenizer.eos_id == tokenizer.id_of("<eos>")
    assert tokenizer.mask_id == tokenizer.id_of("<mask>")
    assert (tokenizer.unknown_id is None) == (kind in EXACT)
    plain = TRAIN[kind](CORPUS)
    assert (plain.bos_id, plain.eos_id, plain.mask_id) == (None, None, None)


def bert_file() -> tokenizers.Tokenizer:
    """A tokenizer as BERT files have it: other names, padding, truncation and a template switched on."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "##est"]
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({name: id for id, name in enumerate(names)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    backend.add_special_tokens(names[:5])
    template = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    backend.post_processor = template
    backend.enable_padding(length=9)
    backend.enable_truncation(3)
    return backend


def test_files_of_others_are_read(tmp_path):
    bert_file().save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.mask_id, tokenizer.unknown_id) == (2, 3, 4, 1)
    assert tokenizer.encode("lowest low low low") == [5, 6, 5, 5, 5]
    assert tokenizer.encode("[SEP]") == [1, 1, 1]
    assert tokenizer.pad_id == 0


def gpt2_file() -> tokenizers.Tokenizer:
    """A tokenizer as GPT-2's file has it: one special token, with the last id, and none for padding."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    backend.add_special_tokens(["<|endoftext|>"])
    return backend


def test_padding_may_have_any_id(tmp_path):
    gpt2_file().save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path, pad="<|endoftext|>")
    last = tokenizer.vocabulary_size - 1
    assert tokenizer.pad_id == tokenizer.eos_id == tokenizer.bos_id == last > 256
    assert tokenizer.encode("low") == gpt2_file().encode("low").ids  # nothing is filled up
    assert last not in tokenizer.encode("<|endoftext|>")
    assert tokenizer.decode([*tokenizer.encode("low ünd 你"), last, last]) == "low ünd 你"
    tokenizer.save(tmp_path / "ours.json")
    for copy in (Tokenizer.load(tmp_path / "ours.json"), pickle.loads(pickle.dumps(tokenizer))):
        assert copy.pad_id == last
        assert copy.fingerprint == tokenizer.fingerprint
    names = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "low": 4}  # as in RoBERTa files
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(names, unk_token="<unk>"))
    backend.add_special_tokens(list(names)[:4])
    assert (Tokenizer(backend).pad_id, Tokenizer(backend).bos_id, Tokenizer(backend).eos_id) == (1, 0, 2)
    backend.enable_padding()  # the library's default, [PAD] with id 0, which this file does not have
    assert Tokenizer(backend).pad_id == 1


# Saving -------------------------------------------------------------------------------------------


@every_kind
def test_saved_and_loaded_elsewhere_it_gives_the_same_ids(kind, tmp_path):
    tokenizer = TRAINED[kind]
    tokenizer.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    for copy in (
        Tokenizer.load(tmp_path / "tokenizer.json"),
        Tokenizer.from_json(tokenizer.to_json()),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        assert copy.encode_batch([*CORPUS, "<eos>"]) == tokenizer.encode_batch([*CORPUS, "<eos>"])
        assert copy.fingerprint == tokenizer.fingerprint
        assert copy.special_tokens == tokenizer.special_tokens


OTHER_PROCESS = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[1] + "/tests/text")
from kerasllm.text import Tokenizer
assert not {"tensorflow", "keras", "jax", "torch"} & set(sys.modules)
import test_text as here
print(json.dumps({kind: [
    Tokenizer.load(Path(sys.argv[2]) / (kind + ".json")).encode_batch(here.CORPUS),
    tokenizer.fingerprint,
] for kind, tokenizer in here.TRAINED.items()}))
"""


def test_another_process_loads_and_trains_the_same(tmp_path):
    for kind, tokenizer in TRAINED.items():
        tokenizer.save(tmp_path / f"{kind}.json")
    command = [sys.executable, "-c", OTHER_PROCESS, str(ROOT), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for kind, (ids, fingerprint) in json.loads(run.stdout).items():
        assert ids == TRAINED[kind].encode_batch(CORPUS)
        assert fingerprint == TRAINED[kind].fingerprint, kind


def test_the_order_of_a_stream_or_its_kind_does_not_matter():
    assert text.train_bpe(iter(CORPUS), 400).fingerprint == text.train_bpe(CORPUS, 400).fingerprint
    assert text.train_wordpiece(CORPUS[::-1], 220).fingerprint == text.train_wordpiece(CORPUS, 220).fingerprint
    assert text.train_bpe(CORPUS, 400).fingerprint != text.train_bpe(CORPUS, 300).fingerprint


# Errors -------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        ([], ValueError, "no text to train on"),
        (["", ""], ValueError, "no text to train on"),
        ("one text", TypeError, r"Put it into a list: \[text\]"),
        (["fine", None], TypeError, "Text 1 is None .*dropna"),
        (["fine", float("nan")], TypeError, "Text 1 is nan"),
        (["fine", "a\ud800"], ValueError, r"Text 1 holds the lone surrogate U\+D800 at position 1"),
    ],
    ids=["none", "empty", "str", "None", "nan", "surrogate"],
)
def test_training_names_what_is_wrong(kind, texts, error, words):
    with pytest.raises(error, match=words):
        TRAIN[kind](texts)


def test_a_vocabulary_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="vocabulary_size 100 is too small: 2 special tokens and 256 bytes need 258"):
        text.train_bpe(CORPUS, 100, eos=True)
    with pytest.raises(ValueError, match="vocabulary_size=258 or more"):
        text.train_characters(CORPUS, vocabulary_size=257)
    with pytest.raises(ValueError, match="need 3"):
        text.train_words(CORPUS, 2)
    with pytest.raises(ValueError, match=r"alphabet of .* or a smaller alphabet_size"):
        text.train_wordpiece(CORPUS, 50)


@every_kind
@pytest.mark.parametrize("size", [10**9, 2**22 + 1, 10**30, True, 300.0, "300", 0, -1, np.True_])
def test_a_vocabulary_that_no_one_can_have_is_refused(kind, size):
    trainers = {"bpe": text.train_bpe, "words": text.train_words, "wordpiece": text.train_wordpiece}
    train = trainers.get(kind, lambda texts, size: text.train_characters(texts, vocabulary_size=size))
    known = isinstance(size, int) and size > 300
    words = (
        r"too large: at most 4194304 are possible.*room" if known else "vocabulary_size must be a whole number from 1"
    )
    with pytest.raises(ValueError, match=words):
        train(CORPUS, size)


def test_whole_numbers_of_numpy_are_taken_and_others_are_named():
    same = text.train_bpe(CORPUS, np.int64(400), minimum_count=np.uint8(2))
    assert same.fingerprint == text.train_bpe(CORPUS, 400, minimum_count=2).fingerprint
    same = text.train_wordpiece(CORPUS, np.int32(220), alphabet_size=np.int64(60), minimum_count=np.int64(1))
    assert same.fingerprint == text.train_wordpiece(CORPUS, 220, alphabet_size=60).fingerprint
    assert text.train_words(CORPUS, np.int64(9)).vocabulary_size == 9
    assert text.train_characters(CORPUS, vocabulary_size=np.int64(260)).vocabulary_size == 260
    for train, size in ((text.train_bpe, 400), (text.train_words, 50), (text.train_wordpiece, 220)):
        for wrong in (True, 1.5, 0, None, 2**70):
            with pytest.raises(ValueError, match="minimum_count must be a whole number from 1"):
                train(CORPUS, size, minimum_count=wrong)
    for wrong in (True, 0, 2.0):
        with pytest.raises(ValueError, match="alphabet_size must be a whole number from 1 up or None"):
            text.train_wordpiece(CORPUS, 220, alphabet_size=wrong)


@pytest.mark.parametrize("token", ["eos", "<a b>", "<!>", "a", "", "<0x41>", "<é>", 3])
def test_special_tokens_that_text_could_make_are_refused(token):
    with pytest.raises(ValueError, match="Write it in brackets"):
        text.train_bpe(CORPUS, 400, extra=[token])


def test_a_special_token_is_named_once():
    with pytest.raises(ValueError, match="'<eos>' is given twice"):
        text.train_bpe(CORPUS, 400, eos=True, extra=["<eos>"])


@every_kind
def test_encoding_and_decoding_name_what_is_wrong(kind):
    tokenizer = TRAINED[kind]
    size = tokenizer.vocabulary_size
    with pytest.raises(ValueError, match=rf"Id {size} at position 1 is outside the vocabulary \(0 to {size - 1}\)"):
        tokenizer.decode([0, size])
    with pytest.raises(ValueError, match="Id -1 at position 0"):
        tokenizer.decode([-1])
    with pytest.raises(ValueError, match="outside the vocabulary"):
        tokenizer.token_of(size)
    with pytest.raises(TypeError, match="whole numbers"):
        tokenizer.decode([1.5])
    with pytest.raises(TypeError, match="use decode_batch"):
        tokenizer.decode([[1, 2]])
    with pytest.raises(ValueError, match=r"'xyzzy' is not in the vocabulary"):
        tokenizer.id_of("xyzzy")
    with pytest.raises(ValueError, match=r"lone surrogate U\+DC00 at position 1.*Repair it"):
        tokenizer.encode("a\udc00")
    with pytest.raises(TypeError, match="Text 1 is None"):
        tokenizer.encode_batch(["a", None])
    with pytest.raises(TypeError, match="Text 0 is None"):
        tokenizer.encode(None)
    with pytest.raises(TypeError, match=r"Use encode\(text\)"):
        tokenizer.encode_batch("a text")


def test_the_repair_of_surrogates_in_the_message_works():
    pair = "\ud83d\ude00 \ud800"
    assert pair.encode("utf-16", "surrogatepass").decode("utf-16", "replace") == "😀 \ufffd"


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        Tokenizer.load(tmp_path / "missing.json")
    for content in ("not json", '{"a": 1}', "", "[]"):
        (tmp_path / "wrong.json").write_text(content)
        with pytest.raises(ValueError, match=r"wrong\.json is not a tokenizer\.json"):
            Tokenizer.load(tmp_path / "wrong.json")
    (tmp_path / "wrong.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"not a tokenizer\.json"):
        Tokenizer.load(tmp_path / "wrong.json")
    with pytest.raises(ValueError, match=r"This text is not a tokenizer\.json"):
        Tokenizer.from_json("{}")


def test_a_tokenizer_without_padding_loads_and_says_so_where_it_is_asked_to_pad():
    tokenizer = Tokenizer(gpt2_file())
    assert "pad" not in tokenizer.roles
    assert tokenizer.decode(tokenizer.encode("low")) == "low"
    assert pickle.loads(pickle.dumps(tokenizer)).eos_id == tokenizer.eos_id
    with pytest.raises(ValueError, match=r"no special token for padding.*pad='<\|endoftext\|>'"):
        _ = tokenizer.pad_id
    with pytest.raises(ValueError, match=r"pad='low' is no special token.*\['<\|endoftext\|>'\]"):
        Tokenizer(gpt2_file(), pad="low")
    nothing = Tokenizer(tokenizers.Tokenizer(tokenizers.models.WordLevel({"low": 0}, unk_token="low")))
    with pytest.raises(ValueError, match=r"special tokens: none\)\. Train the tokenizer"):
        _ = nothing.pad_id


WRONG_TEXTS = {
    "a path": (Path("corpus.txt"), r"not the path 'corpus.txt'\. Read the file first"),
    "bytes": (b"abc", "Decode them first"),
    "a mapping": ({"a": "text"}, r"Give its values\(\)"),
    "a table": (pd.DataFrame({"review": ["good"]}), r"Give one column: frame\['review'\]"),
    "a number": (3, r"Expected texts, not 3 \(int\)"),
    "None": (None, "Expected texts, not None"),
}


@pytest.mark.parametrize("wrong", WRONG_TEXTS)
def test_what_is_no_collection_of_texts_is_named(wrong):
    value, words = WRONG_TEXTS[wrong]
    uses = (*TRAIN.values(), TRAINED["bpe"].encode_batch, TRAINED["characters"].encode_flat, cleaning_report)
    for use in uses:
        with pytest.raises(TypeError, match=words):
            use(value)


def test_what_is_no_tokenizer_is_named():
    assert text.check_tokenizer(TRAINED["bpe"]) is TRAINED["bpe"]
    for wrong, fix in (
        ("run/tokenizer.json", r"Use Tokenizer.load\(path\)"),
        (Path("run"), r"Use Tokenizer.load\(path\)"),
        (bert_file(), r"Use Tokenizer\(it\)"),
        (Tokenizer, "Tokenizer itself"),
        (None, "NoneType None"),
    ):
        with pytest.raises(TypeError, match=f"coder must be a kerasllm.text.Tokenizer, not the .*{fix}"):
            text.check_tokenizer(wrong, "coder")
    for wrong in ("tokenizer.json", Path("run"), TRAINED["bpe"], None):
        with pytest.raises(TypeError, match=r"backend must be a tokenizers.Tokenizer.*Tokenizer.load\(path\)"):
            Tokenizer(wrong)
    for wrong in (Path("run"), b"{}", None, TRAINED["bpe"]):
        with pytest.raises(TypeError, match=r"text of a tokenizer.json.*Tokenizer.load\(path\)"):
            Tokenizer.from_json(wrong)
    for wrong in (TRAINED["bpe"].to_json(), None, 3):
        with pytest.raises(TypeError, match=r"path of a tokenizer.json.*Tokenizer.from_json\(text\)"):
            Tokenizer.load(wrong)


# Cleaning -----------------------------------------------------------------------------------------


def test_each_step_of_cleaning():
    off = {"html": False, "form": None, "control": False, "space": False}
    assert clean("a &lt;b&gt; &#233;", **off | {"html": True}) == "a <b> é"
    assert clean("e\u0301", **off | {"form": "NFC"}) == "é"
    assert clean("ﬁ①", **off | {"form": "NFKC"}) == "fi1"
    assert clean("Ａｚ１，。", **off, width=True) == "Az1，。"
    assert clean("a\r\nb\rc\u2028d\x00\u200be\ufeff\u00ad", **off | {"control": True}) == "a\nb\nc\nde"
    assert clean("👩‍👩‍👧", **off | {"control": True}) == "👩‍👩‍👧"
    assert clean("  a \u3000\t b \n\n c\xa0", **off | {"space": True}) == "a b\n\nc"
    assert clean("a<br />b<!-- c -->", **off, tags=True) == "a b "
    assert clean("1 < 2 and 3 > 2", tags=True) == "1 < 2 and 3 > 2"
    assert clean("&lt;b&gt;", tags=True) == "<b>"
    assert clean("ÀB", **off, lower=True) == "àb"
    assert clean(" e\u0301&amp;\x00 ", **off) == " e\u0301&amp;\x00 "
    assert clean("A\x1b\u0300") == "À"  # the letter and its accent meet when the character between them goes
    assert clean("Ａ\u0300", width=True) == "À"


@settings(max_examples=200, deadline=None)
@given(original=strange)
def test_clean_text_is_clean(original):
    cleaned = clean(original, html=False)
    assert clean(cleaned, html=False) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip()
    assert not set(cleaned) & set("\r\t\x00\u200b\ufeff\u2028")


def test_the_report_counts_what_each_step_changed():
    report = cleaning_report(["plain", "Tom &amp; Jerry", "a  b\x00", "c  d &lt;"], lower=True)
    assert report["texts"].to_dict() == {"html": 2, "form": 0, "control": 1, "space": 2, "lower": 1}
    assert report.loc["control", ["before", "after"]].tolist() == [r"a  b\x00", "a  b"]
    assert report.attrs["texts"] == 4
    assert len(cleaning_report(["x" * 1000 + "&amp;" + "y" * 1000]).loc["html", "before"]) < 50


def test_cleaning_names_what_is_wrong():
    with pytest.raises(ValueError, match="form 'NFX' is no Unicode normal form"):
        clean("a", form="NFX")
    with pytest.raises(TypeError, match="not a str"):
        clean(None)
    with pytest.raises(TypeError, match="list"):
        cleaning_report("a text")


def test_the_steps_run_in_the_order_of_the_arguments():
    names = [name for name in inspect.signature(clean).parameters if name != "text"]
    every = {name: True for name in names} | {"form": "NFC"}
    assert cleaning_report(["a"], **every).index.tolist() == names
    assert [name for name in inspect.signature(cleaning_report).parameters if name != "texts"] == names


INVISIBLE = (
    "\u200b|\u2060|\ufeff|\a| |\u3000|\n|\xa0|\u00ad|\u200d|\u200c|\x00|\u202e|\ufe0f|\u3164|\u2800|\U000e0041".split(
        "|"
    )
)


def test_a_text_of_invisible_characters_is_blank():
    assert is_blank("")
    assert all(is_blank(one) for one in INVISIBLE)
    assert is_blank("".join(INVISIBLE))
    for visible in ("a", "中", ".", "👍", "\u0301", "\u20ac", "\ue000", "\ufffd", "٣", "न्"):
        assert not is_blank(visible)
        assert not is_blank("\u200b " + visible + "\ufeff")
    with pytest.raises(TypeError, match="not a str"):
        is_blank(None)


@settings(max_examples=200, deadline=None)
@given(original=strange)
def test_cleaning_a_blank_text_leaves_nothing_that_is_seen(original):
    assert is_blank(original) == is_blank(clean(original, html=False))
