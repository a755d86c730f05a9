"""Answers that are spans of a passage, compared with the right ones as SQuAD and MLQA do."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kerasllm.common import choice
from kerasllm.common.extras import needed

if TYPE_CHECKING:
    import pandas as pd

LANGUAGES = ("en", "zh")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_HAN = re.compile(r"[\u4e00-\u9fa5]")


def exact_match(prediction: str, answers: str | Sequence[str], language: str = "en") -> float:
    """1.0 if a prediction is one of the right answers but for case, articles, punctuation and spaces, else 0.0.

    Args:
        prediction: what was answered; "" for no answer.
        answers: a right answer, or several; "" or [] where there is none.
        language: "en" as in SQuAD 2.0; "zh" as MLQA treats Chinese, without articles, each character a word and
            punctuation of every script left out.

    Raises:
        TypeError: if the prediction or an answer is no string.
        ValueError: if `language` is unknown.

    Example:
        >>> exact_match("the Eiffel Tower!", ["Eiffel tower", "Tour Eiffel"])
        1.0

    Reference: Rajpurkar et al. (2016), "SQuAD", section 6.1; evaluate-v2.0.py of SQuAD 2.0; Lewis et al. (2020),
    "MLQA", section 4.
    """
    words, right = _compared(prediction, answers, language)
    return float(words in right)


def answer_f1(prediction: str, answers: str | Sequence[str], language: str = "en") -> float:
    """The F1 of the words of a prediction against those of a right answer, the best where there are several.

    Where either of the two has no words, F1 is 1 if both have none and 0 otherwise.

    Args:
        prediction, answers, language: see `exact_match`.

    Raises:
        TypeError, ValueError: see `exact_match`.

    Example:
        >>> round(answer_f1("the tower of Paris", "the Eiffel tower"), 3)
        0.4
    """
    words, right = _compared(prediction, answers, language)
    return max(_f1(words, one) for one in right)


def answer_scores(predictions: Sequence[str], answers: Sequence, language: str = "en") -> pd.DataFrame:
    """The mean of `exact_match` and `answer_f1`, for all questions and for those with and without an answer.

    Args:
        predictions: a string a question; "" for no answer.
        answers: for each question a right answer, or a list of them; "" or [] where there is none.
        language: see `exact_match`.

    Returns:
        A DataFrame with the rows all, answerable and unanswerable, and the columns exact_match, f1 (from 0 to 1; NaN
        for no questions) and questions, their number.

    Raises:
        TypeError: if `predictions` or `answers` is one string, or a prediction or an answer is none.
        ValueError: if they differ in number, or `language` is unknown.

    Example:
        >>> answer_scores(["Paris", "in 1889"], ["Paris", []])["f1"].tolist()
        [0.5, 1.0, 0.0]
    """
    pd = needed("pandas", "data")
    if isinstance(predictions, str) or isinstance(answers, str):
        raise TypeError("Give a list of predictions and a list of answers, not one string.")
    predictions, answers = list(predictions), list(answers)
    if len(predictions) != len(answers):
        raise ValueError(f"There are {len(predictions)} predictions and {len(answers)} answers. Give one each.")
    pairs = list(zip(predictions, answers, strict=True))
    frame = pd.DataFrame(
        {
            "exact_match": [exact_match(*pair, language) for pair in pairs],
            "f1": [answer_f1(*pair, language) for pair in pairs],
            "answerable": [_right(right, language) != [[]] for _, right in pairs],
        }
    )
    answerable = frame["answerable"].astype(bool)
    parts = {"all": frame, "answerable": frame[answerable], "unanswerable": frame[~answerable]}
    rows = [[part["exact_match"].mean(), part["f1"].mean(), len(part)] for part in parts.values()]
    return pd.DataFrame(rows, index=list(parts), columns=["exact_match", "f1", "questions"])


def _compared(prediction, answers, language) -> tuple[list[str], list[list[str]]]:
    choice("language", language, LANGUAGES)
    if not isinstance(prediction, str):
        raise TypeError(f'A prediction is {prediction!r}, not a string: give "" for no answer.')
    return _words(prediction, language), _right(answers, language)


def _right(answers, language) -> list[list[str]]:
    """The words of each right answer; an empty list of words where no answer has any: there is none."""
    answers = [answers] if isinstance(answers, str) else answers
    if not hasattr(answers, "__iter__") or not all(isinstance(one, str) for one in answers):
        raise TypeError(f"The right answers are {answers!r:.60}: give a string or a list of strings.")
    return [words for words in (_words(one, language) for one in answers) if words] or [[]]


def _words(text: str, language: str) -> list[str]:
    text = text.lower()
    if language == "zh":
        text = "".join(one for one in text if not (one in string.punctuation or unicodedata.category(one)[0] == "P"))
        return _HAN.sub(lambda found: f" {found[0]} ", text).split()
    return _ARTICLES.sub(" ", "".join(one for one in text if one not in string.punctuation)).split()


def _f1(predicted: list[str], right: list[str]) -> float:
    if not (predicted and right):
        return float(predicted == right)
    common = sum((Counter(predicted) & Counter(right)).values())
    return 2 * common / (len(predicted) + len(right))
