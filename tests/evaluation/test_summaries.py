"""ROUGE: equal to the formulas and to the package of others, and an interval that holds what it should."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasllm.evaluation import compare_summaries, rouge
from kerasllm.evaluation.summaries import _common

THEIRS = json.loads((Path(__file__).parent / "data" / "rouge.json").read_text("utf-8"))
KINDS = ("1", "2", "L")
WORDS = "the a cat dog house sat ran on in mat red old".split()


def sentences(count, seed=0):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(4, 12))) for _ in range(count)]


def worse(texts, share, seed=1):
    """The texts with a share of their words replaced."""
    random = np.random.default_rng(seed)
    return [" ".join("x" if random.random() < share else word for word in text.split()) for text in texts]


# Scores -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_text_has_the_scores_of_rouge_score(kind):
    compared = 0
    for summary, references, scores in THEIRS:
        found = rouge([summary], [references], kind, samples=1)
        assert found.value / 100 == pytest.approx(scores[kind][2], abs=1e-9), summary
        if len(references) == 1:  # of several with one F1 either may be taken
            assert found[1] / 100 == pytest.approx(scores[kind][0], abs=1e-9), summary
            assert found[2] / 100 == pytest.approx(scores[kind][1], abs=1e-9), summary
        compared += scores[kind][2] > 0
    assert compared > 20
    together = rouge(*zip(*[one[:2] for one in THEIRS], strict=True), kind, samples=1)
    assert together.value == pytest.approx(100 * np.mean([one[2][kind][2] for one in THEIRS]))


def test_scores_on_paper():
    """Lin (2004), section 3.1: the sentences of which only ROUGE-L sees that the second has another order."""
    known = "police killed the gunman"
    for said, pairs, common in (("police kill the gunman", 1, 3), ("the gunman kill police", 1, 2)):
        assert rouge([said], [known], "1", samples=1).value == pytest.approx(100 * 3 / 4)
        assert rouge([said], [known], "2", samples=1).value == pytest.approx(100 * pairs / 3)
        assert rouge([said], [known], "L", samples=1).value == pytest.approx(100 * common / 4)
    longer = rouge(["police killed the gunman on the old red mat"], [known])
    assert (longer.precision, longer.recall) == (pytest.approx(100 * 4 / 9), 100)


words = st.lists(st.sampled_from("abc"), max_size=9)


def longest_by_hand(one, other):
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    return table[-1, -1]


@settings(max_examples=200, deadline=None)
@given(words, words)
def test_the_longest_common_subsequence_is_that_of_the_table(one, other):
    assert _common(one, other) == longest_by_hand(one, other) == _common(other, one)


@settings(max_examples=100, deadline=None)
@given(words.filter(len), words.filter(len), st.sampled_from(KINDS))
def test_scores_stay_in_their_bounds(one, other, kind):
    said, known = " ".join(one), " ".join(other)
    found, turned = rouge([said], [known], kind, samples=1), rouge([known], [said], kind, samples=1)
    assert 0 <= found.value <= 100
    assert min(found[1:3]) - 1e-9 <= found.value <= max(found[1:3]) + 1e-9
    assert (found.precision, found.recall, found.value) == pytest.approx(
        (turned.recall, turned.precision, turned.value)
    )
    single, long = (rouge([said], [known], which, samples=1).value for which in ("1", "L"))
    assert long <= single + 1e-9  # a common subsequence is made of common words
    if len(one) >= 2 or kind != "2":
        assert rouge([said], [said], kind, samples=1).value == pytest.approx(100)
    best = rouge([said], [[known, said]], kind, samples=1).value
    assert best == pytest.approx(max(found.value, rouge([said], [said], kind, samples=1).value))


def test_a_text_of_thousands_of_words_takes_no_time_and_is_right():
    random = np.random.default_rng(0)
    one, other = ([str(word) for word in random.integers(0, 50, 3000)] for _ in range(2))
    assert _common(one, other) == _common(other, one)
    assert _common(one[:300], other[:300]) == longest_by_hand(one[:300], other[:300])
    assert rouge([" ".join(one)], [" ".join(one[:1500])], samples=1).precision == 50


def test_words_of_other_scripts_count_if_that_is_asked():
    assert rouge(["我喜欢猫"], ["我也喜欢狗"], "1", "unicode", samples=1).value == pytest.approx(100 * 2 * 3 / 9)
    assert rouge(["我喜欢 GPT-4 。"], ["我喜欢gpt 4"], "L", "unicode", samples=1).value == pytest.approx(100)
    assert rouge(["Café STRASSE"], ["cafe\u0301 straße"], "2", "unicode", samples=1).value == pytest.approx(100)
    assert rouge(["नमस्ते दुनिया"], ["नमस्ते भारत"], "1", "unicode", samples=1).value == pytest.approx(50)
    assert rouge(["שלום עולם 🙂"], ["שלום, עולם!"], "L", "unicode", samples=1).value == pytest.approx(100)
    with pytest.raises(ValueError, match=r"references\[0\] is empty, or .* no words: .* take words='unicode'"):
        rouge(["我喜欢猫"], ["我也喜欢狗"])
    assert rouge(["我喜欢猫"], ["cats"]).value == 0


def test_the_score_says_how_it_was_counted():
    assert rouge(["a"], ["a"], "2", "unicode", 7, 3).signature == (
        "ROUGE-2|f1|words:unicode|stemmer:no|refs:best|mean:texts|bs:7|seed:3"
    )


# Doubt --------------------------------------------------------------------------------------------


def test_the_interval_holds_the_score_narrows_with_more_texts_and_comes_again():
    widths = []
    for count in (20, 320):
        references = sentences(count)
        found = rouge(worse(references, 0.3), references)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
        assert rouge(worse(references, 0.3), references) == found != rouge(worse(references, 0.3), references, seed=1)
    assert 2.5 < widths[0] / widths[1] < 6.5  # the square root of 16 is 4


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    many = sentences(4000, seed=9)
    truth = rouge(worse(many, 0.3, seed=9), many, samples=1).value
    held = 0
    for seed in range(100):
        references = sentences(60, seed + 20)
        found = rouge(worse(references, 0.3, seed), references, samples=300)
        held += found.low < truth < found.high
    assert 88 <= held <= 99


def test_a_real_difference_is_told_from_luck():
    references = sentences(150)
    bad, good = worse(references, 0.3), worse(references, 0.2, seed=2)
    found = compare_summaries(bad, good, references)
    assert found.baseline == rouge(bad, references)
    assert found.system == rouge(good, references)
    assert found.difference == pytest.approx(found.system.value - found.baseline.value)
    assert 0 < found.low < found.difference < found.high
    assert found.p_value < 0.05
    other_way = compare_summaries(good, bad, references)
    assert other_way.difference == pytest.approx(-found.difference)
    assert other_way.p_value == found.p_value
    assert compare_summaries(bad, worse(references, 0.3, seed=3), references).p_value > 0.05
    assert compare_summaries(bad, bad, references)[2:] == (0, 0, 0, 1)
    # Where one differs from the other in a single text, only a paired test sees how small the difference is.
    assert compare_summaries(bad, [*bad[:-1], references[-1]], references).p_value > 0.05


def test_without_a_difference_few_p_values_are_small():
    small = 0
    for seed in range(100):
        references = sentences(40, seed)
        pair = (worse(references, 0.3, 2 * seed + way) for way in (0, 1))
        small += compare_summaries(*pair, references, samples=200).p_value < 0.05
    assert small <= 13


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("summaries", "references", "error", "word"),
    [
        (["a"], ["a", "b"], ValueError, "1 summaries and 2 references"),
        ([], [], ValueError, "at least one"),
        (["a", "b"], ["a", " "], ValueError, r"references\[1\] is empty"),
        (["a"], [[]], ValueError, r"references\[0\] is empty"),
        (["a"], [["b", "!"]], ValueError, r"references\[0\] is empty, or a text in it has no words"),
        (["a", None], ["a", "b"], TypeError, r"summaries\[1\] is NoneType"),
        ([b"a"], ["a"], TypeError, r"summaries\[0\] is bytes"),
        ("a", ["a"], TypeError, "summaries must be a list"),
        (["a"], "a", TypeError, "references must be a list"),
        (["a"], [[3]], TypeError, r"references\[0\]\[0\] is int"),
    ],
)
def test_what_is_no_pair_of_texts_is_refused(summaries, references, error, word):
    with pytest.raises(error, match=word):
        rouge(summaries, references)


def test_other_arguments_are_checked():
    with pytest.raises(ValueError, match="kind must be one of '1', '2', 'L'"):
        rouge(["a"], ["a"], "3")
    with pytest.raises(ValueError, match="words must be one of 'latin', 'unicode'"):
        rouge(["a"], ["a"], words="zh")
    with pytest.raises(ValueError, match="samples"):
        rouge(["a"], ["a"], samples=0)
    with pytest.raises(ValueError, match="seed"):
        rouge(["a"], ["a"], seed=-1)
    with pytest.raises(ValueError, match="2 system and 1 references"):
        compare_summaries(["a"], ["a", "b"], ["a"])


def test_a_frame_s_columns_and_arrays_are_lists_of_texts():
    texts = np.array(sentences(5))
    assert rouge(texts, texts).value == pytest.approx(100)
    assert rouge(texts, [texts] * 5).value == pytest.approx(100)
