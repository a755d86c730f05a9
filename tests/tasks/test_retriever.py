"""Search by words, by vectors and by both: equal to a plain loop, the same after saving, clear about bad input."""

import math
import subprocess
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nursery import python

from kerasllm.tasks import BM25, EmbeddingIndex, RankFusion
from kerasllm.tasks.retriever import words_of

TEXTS = ["the cat sat on the mat", "a dog and a cat", "", "the dog ran after the other dog", "🙂🙂", "猫坐在垫子上"]


class Letters:
    """An encoder for tests: how often each letter stands in a text. "passage: " in front counts as its own letter."""

    def __init__(self, letters="abcdefghijklmnopqrstuvwxyz"):
        self.letters = letters

    def embed(self, texts, prefix=""):
        rows = [[*map(text.count, self.letters), 3 * (prefix == "passage: ")] for text in texts]
        return np.array(rows, "float32").reshape(len(texts), len(self.letters) + 1)


def by_hand(texts, query, k1, b):
    """BM25 as section 3.4 has it, text by text and word by word, with Lucene's 1 in the logarithm."""
    cut = [words_of(text) for text in texts]
    average = sum(map(len, cut)) / len(cut) or 1
    found = []
    for words in cut:
        score = 0.0
        for word in words_of(query):
            n, tf = sum(word in other for other in cut), words.count(word)
            length = 1 - b + b * len(words) / average
            if tf:
                score += math.log(1 + (len(cut) - n + 0.5) / (n + 0.5)) * tf / (k1 * length + tf)
        found.append(score)
    return found


# Words ------------------------------------------------------------------------------------------

some_texts = st.lists(st.text("ab cé猫🙂.", max_size=12), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(some_texts, st.text("ab cé猫🙂.", max_size=12), st.floats(0, 3), st.floats(0, 1))
def test_scores_are_those_of_a_plain_loop(texts, query, k1, b):
    places, scores = BM25(texts, k1, b).search([query], k=len(texts))
    expected = np.array(by_hand(texts, query, k1, b))
    assert sorted(places[0]) == list(range(len(texts)))
    np.testing.assert_allclose(scores[0], expected[places[0]], rtol=1e-5, atol=1e-7)
    assert (np.diff(scores[0]) <= 0).all()


def test_equal_texts_come_in_the_order_in_which_they_were_added():
    assert BM25(["b", "a", "a", "b"]).search(["a", "x"], k=4)[0].tolist() == [[1, 2, 0, 3], [0, 1, 2, 3]]


def test_rare_words_count_more_and_length_and_repetition_as_asked():
    texts = ["cat dog", "cat cat cat", "cat bird bird bird bird bird"]
    assert BM25(texts).search(["dog cat"])[0][0, 0] == 0
    assert BM25(texts).search(["cat"])[0][0].tolist() == [1, 0, 2]
    once = BM25(texts, k1=0).search(["cat"])[1]
    assert np.ptp(once) == 0  # that the word is there is all that counts
    assert np.ptp(BM25(texts, b=0).search(["cat"])[1][0, 1:]) == 0  # length does not count


def test_a_word_of_all_texts_never_counts_against_them():
    assert (BM25(["the cat", "the dog", "the end"]).search(["the"])[1] > 0).all()


def test_words_of_names_and_of_scripts_without_spaces():
    assert words_of("collections.OrderedDict.move_to_end") == ["collections", "ordereddict", "move", "to", "end"]
    assert words_of("ＡＢ１ Straße 東京 1,000") == ["ab1", "strasse", "東", "京", "1", "000"]
    assert words_of("e\u0301t\u00e9") == ["\u00e9t\u00e9"]
    assert words_of("🙂 ... \ud800") == []


def test_words_can_be_cut_in_another_way():
    index = BM25(["Cats", "dogs"], words=lambda text: [word[:3] for word in words_of(text)])
    assert index.search(["my cat"], k=1)[0].tolist() == [[0]]


# Vectors ----------------------------------------------------------------------------------------


def test_scores_of_vectors_are_cosines():
    encoder, queries = Letters(), ["cat", "a good dog"]
    places, scores = EmbeddingIndex(encoder, TEXTS).search(queries, k=6)
    for query, order, row in zip(encoder.embed(queries), places, scores, strict=True):
        for place, score in zip(order, row, strict=True):
            vector = encoder.embed([TEXTS[place]])[0]
            length = np.linalg.norm(vector) * np.linalg.norm(query)
            assert score == pytest.approx(query @ vector / length if length else 0, abs=1e-6)
    assert (np.diff(scores) <= 0).all()


def test_a_prefix_is_put_before_the_texts_and_not_before_queries():
    plain, prefixed = EmbeddingIndex(Letters(), TEXTS), EmbeddingIndex(Letters(), TEXTS, prefix="passage: ")
    assert not np.allclose(plain.vectors, prefixed.vectors)
    assert prefixed.search(["cat"])[1].max() < plain.search(["cat"])[1].max()


# Both -------------------------------------------------------------------------------------------


def test_ranks_are_fused_and_texts_without_a_score_do_not_count():
    words, letters = BM25(TEXTS), EmbeddingIndex(Letters(), TEXTS)
    places, scores = RankFusion([words, letters], constant=10, depth=3).search(["cat dog"], k=6)
    expected = Counter()
    for index in (words, letters):
        for rank, (place, score) in enumerate(zip(*(one[0] for one in index.search(["cat dog"], 3)), strict=True), 1):
            expected[int(place)] += 1 / (10 + rank) if score > 0 else 0
    np.testing.assert_allclose(scores[0], [expected[int(place)] for place in places[0]], rtol=1e-6)
    assert scores[0, -1] == 0


def test_indexes_of_different_texts_are_not_fused():
    with pytest.raises(ValueError, match=r"\[2, 1\] texts"):
        RankFusion([BM25(["a", "b"]), BM25(["a"])]).search(["a"])
    with pytest.raises(ValueError, match="at least one"):
        RankFusion([])
    with pytest.raises(ValueError, match="constant must be a whole number"):
        RankFusion([BM25(["a"])], constant=0)


# All --------------------------------------------------------------------------------------------

KINDS = {
    "words": BM25,
    "vectors": lambda texts=(): EmbeddingIndex(Letters(), texts),
    "both": lambda texts=(): RankFusion([BM25(texts), EmbeddingIndex(Letters(), texts)]),
}
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def assert_same_answers(first, second, queries=("cat", "the dog", "", "🙂")):
    for one, other in zip(first.search(queries, 9), second.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, other)


@kinds
def test_texts_added_later_count_as_if_they_had_been_there(make):
    later = make(TEXTS[:2])
    later.search(["cat"])
    later.add(TEXTS[2:5])
    later.add(np.array(TEXTS[5:]))
    assert len(later) == 6
    assert_same_answers(later, make(TEXTS))


@kinds
@pytest.mark.parametrize("places", [[], [0], [5], [1, 3, 4], np.array([4, 2, 2]), range(6)])
def test_an_index_without_some_texts_is_that_of_the_others(make, places):
    index = make(TEXTS)
    index.search(["cat"])
    index.remove(places)
    others = [text for place, text in enumerate(TEXTS) if place not in list(places)]
    assert len(index) == len(others)
    assert_same_answers(index, make(others))
    index.add(TEXTS[:3])
    assert_same_answers(index, make([*others, *TEXTS[:3]]))


@settings(max_examples=40, deadline=None)
@given(some_texts, st.data())
def test_words_added_and_removed_in_any_order_are_those_of_a_new_index(texts, data):
    index, held = BM25(), []
    for _ in range(4):
        if held and data.draw(st.booleans()):
            gone = data.draw(st.sets(st.integers(0, len(held) - 1)))
            index.remove(gone)
            held = [text for place, text in enumerate(held) if place not in gone]
        else:
            index.add(texts)
            held = held + texts
    assert_same_answers(index, BM25(held), ("ab c", "猫 b", ""))
    assert set(index._postings) == set(BM25(held)._postings)  # nothing is left of what is gone


@kinds
@pytest.mark.parametrize("place", [6, -1, True, "0", 1.0])
def test_a_place_without_a_text_is_refused_and_nothing_removed(make, place):
    index = make(TEXTS)
    with pytest.raises(ValueError, match="place must be a whole number from 0 to 5"):
        index.remove([0, place])
    assert_same_answers(index, make(TEXTS))
    with pytest.raises(ValueError, match="the index is empty"):
        make().remove([0])


@kinds
def test_odd_texts_and_queries_have_an_answer(make):
    long = "word " * 1_999 + "🙂" * 5
    index = make([*TEXTS, "x" * 10_000, long, " \n", "\ud800"])
    places, scores = index.search(["", "🙂", "x" * 10_000, long, "\ud800", " "], k=3)
    assert places.shape == scores.shape == (6, 3)
    assert np.isfinite(scores).all()
    assert places[2, 0] == 6
    assert places[3, 0] == 7


@kinds
def test_an_empty_index_and_no_queries(make):
    for index in (make(), make([])):
        assert len(index) == 0
        assert [one.shape for one in index.search(["cat"])] == [(1, 0)] * 2
    assert [one.shape for one in make(TEXTS).search([])] == [(0, 5)] * 2
    assert make(["", ""]).search(["cat"])[0].tolist() == [[0, 1]]


@kinds
@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", r"not one string: add\(\[text\]\)"),
        (["a", None], "position 1 is NoneType"),
        ([b"a"], "position 0 is bytes"),
        ([1.5], "position 0 is float"),
        (None, r"Give a list of texts, not None: add\(\[text\]\)"),
        (7, "Give a list of texts, not 7"),
    ],
)
def test_what_is_not_a_list_of_texts_is_refused_and_nothing_added(make, texts, message):
    index = make(TEXTS)
    with pytest.raises(TypeError, match=message):
        index.add(texts)
    with pytest.raises(TypeError, match=message.replace("add", "search")):
        index.search(texts)
    assert_same_answers(index, make(TEXTS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"k1": -1}, "k1 must be"), ({"k1": math.nan}, "k1"), ({"b": 1.1}, "b must be"), ({"b": "x"}, "b must be")],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BM25(TEXTS, **arguments)


@pytest.mark.parametrize("k", [0, -1, True, 2.0, None])
def test_a_bad_number_of_answers_is_refused(k):
    with pytest.raises(ValueError, match="k must be a whole number"):
        BM25(TEXTS).search(["cat"], k=k)


# Saved and loaded -------------------------------------------------------------------------------

LOAD = """
import sys, numpy as np
from kerasllm.tasks import BM25
index = BM25.load(sys.argv[1])
index.add(["a new cat"])
places, scores = index.search(["cat", "猫"], 7)
np.savez(sys.argv[2], places=places, scores=scores)
"""


def test_a_fresh_process_goes_on_with_the_words(tmp_path):
    index = BM25(TEXTS, k1=0.9, b=0.4)
    index.save(tmp_path / "my index")  # no ending is put behind the name
    found = tmp_path / "found.npz"
    run = subprocess.run([*python(), "-c", LOAD, tmp_path / "my index", found], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    index.add(["a new cat"])
    with np.load(found) as arrays:
        for one, other in zip(index.search(["cat", "猫"], 7), (arrays["places"], arrays["scores"]), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("texts", [TEXTS, [], ["", "\ud800"]])
def test_indexes_come_back(tmp_path, texts):
    for name, index in {"words": BM25(texts), "vectors": EmbeddingIndex(Letters(), texts, "passage: ")}.items():
        index.save(tmp_path / name)
    assert_same_answers(BM25.load(tmp_path / "words"), BM25(texts))
    loaded = EmbeddingIndex.load(tmp_path / "vectors", Letters())
    loaded.add(TEXTS)
    assert_same_answers(loaded, EmbeddingIndex(Letters(), [*texts, *TEXTS], "passage: "))


def test_a_file_of_others_is_refused_with_what_to_do(tmp_path):
    words, vectors = tmp_path / "words.npz", tmp_path / "vectors.npz"
    BM25(TEXTS).save(words)
    EmbeddingIndex(Letters(), TEXTS).save(vectors)
    with pytest.raises(ValueError, match=r"holds a EmbeddingIndex: kerasllm\.tasks\.EmbeddingIndex\.load"):
        BM25.load(vectors)
    with pytest.raises(ValueError, match=r"was made with words=kerasllm\.tasks\.retriever\.words_of, not "):
        BM25.load(words, words=str.split)
    for other in (Letters("ab"), Letters("zyxwvutsrqponmlkjihgfedcba")):
        with pytest.raises(ValueError, match="was made with another encoder"):
            EmbeddingIndex.load(vectors, other)
    with pytest.raises(FileNotFoundError):
        BM25.load(tmp_path / "none")


def test_damaged_files_are_refused(tmp_path):
    BM25(TEXTS).save(tmp_path / "index")
    whole = (tmp_path / "index").read_bytes()
    random = np.random.default_rng(0)
    broken = [b"", b"PK", whole[: len(whole) // 2], whole[:-30], b"\x80\x04K\x01."]  # the last one is a pickle
    for _ in range(60):
        one = bytearray(whole)
        one[random.integers(len(one))] ^= 1 << random.integers(8)
        broken.append(bytes(one))
    messages = []
    for one in broken:
        (tmp_path / "index").write_bytes(one)
        try:
            assert_same_answers(BM25.load(tmp_path / "index"), BM25(TEXTS))  # a bit that says nothing
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert all("damaged" in message for message in messages)
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("array.npy", "other.npz"):
        with pytest.raises(ValueError, match="no index that save wrote"):
            BM25.load(tmp_path / name)


def test_parts_that_do_not_fit_are_refused(tmp_path):
    BM25(TEXTS).save(tmp_path / "index")
    with np.load(tmp_path / "index") as file:
        arrays = dict(file)
    for change in ({"rows": arrays["rows"] + 3}, {"counts": arrays["counts"][1:]}, {"sizes": arrays["sizes"][1:]}):
        with open(tmp_path / "index", "wb") as file:
            np.savez(file, **{**arrays, **change})
        with pytest.raises(ValueError, match="is damaged"):
            BM25.load(tmp_path / "index")
