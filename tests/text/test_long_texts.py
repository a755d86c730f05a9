"""Long texts: pieces that join again, the same ids as from the library, and training on one run without a space."""

import random

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kerasllm import text
from kerasllm.text import cutting, trainers

LINES = [
    "low lower lowest, don't (really)! 12 34",
    "我喜欢这家酒店，房间很干净。",
    "new\n\n  newer \r\n newest; e\u0301 _x",
]
TRAINED = {
    "bpe": text.train_bpe(LINES * 3, 330),
    "words": text.train_words(LINES, 100),
    "wordpiece": text.train_wordpiece(LINES, 160),
    "characters": text.train_characters(LINES),
    "lower": text.train_bpe(LINES * 3, 330, lower=True),
}
# Words, signs and spaces in every order, so that each kind of border is met.
PARTS = (
    "a|low|É|é\u0301|\u0301|中|酒店|ไ|ภ|12|٣| |  |\n|\r\n|\u3000|\u2028|\x1c|,|.|!?|，|。|'|'s|'re|’|_|-|…|😀|"
    "Ⅷ|ª|<|<pad>|\u200b"
).split("|")
mixed = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=40).map("".join)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(cutting, "PIECE", 6)
    monkeypatch.setattr(cutting, "_NEAR", 3)


@settings(max_examples=300, deadline=None)
@given(original=mixed, whole_words=st.booleans(), size=st.integers(1, 9))
def test_the_pieces_of_a_text_join_to_it_again(original, whole_words, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PIECE", size)
        pieces = list(cutting.pieces_of(original, whole_words=whole_words))
    assert "".join(pieces) == original
    assert all(pieces) or not original
    if not whole_words:
        assert max(map(len, pieces)) <= size


@pytest.mark.parametrize("kind", TRAINED)
@settings(max_examples=300, deadline=None)
@given(original=mixed, size=st.integers(1, 9))
@example(original="low, don't 're lower 酒店，喜欢 12.5 low", size=3)
def test_ids_of_pieces_are_the_ids_of_the_whole(kind, original, size):
    tokenizer = TRAINED[kind]
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    library.encode_special_tokens = True
    expected = library.encode(original, add_special_tokens=False).ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PIECE", size)
        assert tokenizer.encode(original) == expected
        ids, ends = tokenizer.encode_flat([original, "", original], end_id=0)
        assert ids.tolist() == [*expected, 0, 0, *expected, 0]
        assert ends.tolist() == [len(expected) + 1, len(expected) + 2, 2 * len(expected) + 3]


@pytest.mark.parametrize("kind", ["bpe", "characters"])
@settings(max_examples=200, deadline=None)
@given(original=mixed)
def test_a_word_that_is_cut_in_encoding_comes_back_exactly(kind, original):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PIECE", 1)
        patch.setattr(cutting, "LONGEST", 3)
        assert TRAINED[kind].decode(TRAINED[kind].encode(original)) == original


def test_a_text_is_cut_where_it_is_long(small_pieces):
    assert list(cutting.pieces_of("low, lower low", whole_words=True)) == ["low,", " lower", " low"]
    assert list(cutting.pieces_of("lowlowlowlow low", whole_words=True)) == ["lowlowlowlow", " low"]
    assert list(cutting.pieces_of("lowlowlowlow low", whole_words=False)) == ["lowlow", "lowlow", " low"]
    assert [len(group) for group in cutting.groups_of(["low low low " * 100, "a"], cut=True)] == [97, 97, 97, 10]


def test_tokenizers_that_could_differ_are_not_cut():
    assert all(cutting.can_be_cut(TRAINED[kind]._backend) for kind in ("bpe", "lower", "words", "wordpiece"))
    spaced = tokenizers.Tokenizer.from_str(TRAINED["bpe"].to_json())
    spaced.add_tokens(["low lower"])
    normal = tokenizers.Tokenizer.from_str(TRAINED["bpe"].to_json())
    normal.normalizer = tokenizers.normalizers.NFC()
    other = tokenizers.Tokenizer.from_str(TRAINED["bpe"].to_json())
    other.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert not any(map(cutting.can_be_cut, (spaced, normal, other)))


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "words"])
@pytest.mark.parametrize("unit", ["ACGT", "酒店喜欢", '{"a":1},'])
def test_training_on_one_run_without_spaces_ends(kind, unit):
    run = "".join(random.Random(0).choices(unit, k=300_000))
    train = {"bpe": text.train_bpe, "wordpiece": text.train_wordpiece, "words": text.train_words}[kind]
    tokenizer = train([run], 400)
    ids = tokenizer.encode(run)
    assert max(ids) < tokenizer.vocabulary_size
    if kind == "bpe":
        assert tokenizer.vocabulary_size == 400
        assert tokenizer.decode(ids) == run
        assert len(ids) < 0.6 * len(run)  # pairs were found


def test_the_longest_run_of_training_bounds_a_token(monkeypatch):
    monkeypatch.setattr(trainers, "LONGEST_RUN", 8)
    tokenizer = text.train_bpe(["a" * 1000], 400)
    assert max(map(len, tokenizer.vocabulary[1:])) == 8
    assert tokenizer.decode(tokenizer.encode("a" * 1001)) == "a" * 1001


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "words"])
def test_training_on_one_long_line_equals_training_on_its_words_in_lines(kind):
    line = " ".join(LINES).replace("\n", " ") * 2_000
    train = {"bpe": text.train_bpe, "wordpiece": text.train_wordpiece, "words": text.train_words}[kind]
    expected = train(cutting.pieces_of(line, whole_words=True), 330)
    assert len(line) > 2 * cutting.PIECE
    assert train([line], 330).fingerprint == expected.fingerprint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PIECE", len(line))
        assert train([line], 330).fingerprint == expected.fingerprint


def test_the_library_never_sees_a_long_text_at_once(monkeypatch):
    monkeypatch.setattr(cutting, "PIECE", 100)
    seen = []
    tokenizer = text.train_bpe(LINES, 330)
    monkeypatch.setattr(
        "kerasllm.text.tokenizer.groups_of", lambda *all, **more: watched(cutting.groups_of(*all, **more))
    )

    def watched(groups):
        for group in groups:
            seen.append(sum(len(piece) for _, piece in group))
            yield group

    line = "lower low, " * 10_000
    ids, _ = tokenizer.encode_flat([line])
    assert sum(seen) == len(line)
    assert max(seen) <= 66 * cutting.PIECE
    assert tokenizer.decode(ids) == line
