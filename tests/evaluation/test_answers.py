"""Exact match and F1 by the published rules."""

import re
import string
from collections import Counter

import pytest

from kerasllm.evaluation import answer_f1, answer_scores, exact_match

# (prediction, right answers, exact match, F1), worked out by hand with the rules of SQuAD 2.0.
ENGLISH = [
    ("Denver Broncos", ["Denver Broncos"], 1, 1),
    ("the Denver Broncos.", ["Denver broncos"], 1, 1),
    ("Broncos", ["Denver Broncos", "The Broncos", "Broncos of Denver"], 1, 1),
    ("Denver", ["Denver Broncos", "The Broncos"], 0, 2 / 3),
    ("well-known", ["well known"], 0, 0),  # a hyphen vanishes and leaves one word
    ("an answer to the question", "a question", 0, 0.5),
    ("in in in", "in Paris", 0, 0.4),  # a word counts as often as both have it
    ("theatre", "the atre", 0, 0),
    ("", [], 1, 1),
    ("", "", 1, 1),
    ("the", [""], 1, 1),  # an article alone is no answer
    ("Paris", [], 0, 0),
    ("", ["Paris"], 0, 0),
    ("Paris", ["...", "Paris"], 1, 1),
    ("“Paris”", ["Paris"], 0, 0),  # SQuAD takes out the punctuation of ASCII alone
]
CHINESE = [
    ("北京大学。", ["北京大学"], 1, 1),
    ("北京", ["北京大学"], 0, 2 / 3),
    ("《红楼梦》", "红楼梦", 1, 1),
    ("1949年10月", "1949年", 0, 2 * 2 / (4 + 2)),  # "1949", "年", "10", "月" and "1949", "年"
    ("GPT 模型", "gpt模型", 1, 1),
    ("a", "the a", 0, 2 / 3),  # no articles in Chinese
    ("", [], 1, 1),
    ("北京", [], 0, 0),
]


@pytest.mark.parametrize(("prediction", "answers", "exact", "f1"), ENGLISH)
def test_english_follows_squad(prediction, answers, exact, f1):
    assert exact_match(prediction, answers) == exact
    assert answer_f1(prediction, answers) == pytest.approx(f1)


@pytest.mark.parametrize(("prediction", "answers", "exact", "f1"), CHINESE)
def test_chinese_follows_mlqa(prediction, answers, exact, f1):
    assert exact_match(prediction, answers, "zh") == exact
    assert answer_f1(prediction, answers, "zh") == pytest.approx(f1)


def published(prediction, answers):
    """Exact match and F1 written down as evaluate-v2.0.py of SQuAD describes them, step by step."""

    def normal(text):
        text = "".join(one for one in text.lower() if one not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    answers = [one for one in answers if normal(one)] or [""]
    best = 0.0
    for one in answers:
        right, found = normal(one).split(), normal(prediction).split()
        same = sum((Counter(right) & Counter(found)).values())
        if not right or not found:
            f1 = float(right == found)
        else:
            precision, recall = same / len(found), same / len(right)
            f1 = 2 * precision * recall / (precision + recall) if same else 0.0
        best = max(best, f1)
    return float(any(normal(one) == normal(prediction) for one in answers)), best


def test_parity_with_the_published_steps():
    words = ["The", "a", "", "cat", "cat's", "CAT", "sat!", "on", "mat", "an", "...", "well-fed"]
    for i in range(400):
        prediction = " ".join(words[(i * k + k) % 12] for k in range(i % 5))
        answers = [" ".join(words[(i * k + 3 * k + n) % 12] for k in range(1, 1 + i % 4)) for n in range(i % 3)]
        expected = published(prediction, answers)
        assert (exact_match(prediction, answers), answer_f1(prediction, answers)) == pytest.approx(expected)


def test_the_means_of_all_questions_and_of_both_kinds():
    frame = answer_scores(["Paris", "in Lyon", "", "Rome"], ["Paris", ["Lyon", "Lyons"], [], ""])
    assert frame.columns.tolist() == ["exact_match", "f1", "questions"]
    assert frame.loc["answerable"].tolist() == pytest.approx([0.5, (1 + 2 / 3) / 2, 2])
    assert frame.loc["unanswerable"].tolist() == [0.5, 0.5, 2]
    assert frame.loc["all", "f1"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
    assert answer_scores(["a"], ["b"]).loc["unanswerable"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: exact_match(None, "a"), TypeError, "prediction is None"),
        (lambda: answer_f1("a", None), TypeError, "right answers are None"),
        (lambda: answer_f1("a", ["a", 3]), TypeError, "right answers are"),
        (lambda: answer_f1("a", "a", "fr"), ValueError, "language must be one of"),
        (lambda: answer_scores("a", ["a"]), TypeError, "list of predictions"),
        (lambda: answer_scores(["a"], []), ValueError, "1 predictions and 0 answers"),
    ],
)
def test_bad_arguments_are_refused(call, error, word):
    with pytest.raises(error, match=word):
        call()
