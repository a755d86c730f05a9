"""What the set short-passages gives away: how far a reader comes who does not read.

    python benchmarks/short_passages.py            # the table
    python benchmarks/short_passages.py --write    # and puts it into the card of the set

Three readers without a network, in each language:

- never: always says that the passage has no answer.
- question alone: sees no passage. Words of the question (for Chinese characters), weighted by TF-IDF, say whether there
  is an answer (logistic regression, folds by passage); the answer itself is that of the training question most like it.
- overlap: takes the sentence that holds most words of the question, the rare ones counting more, and in it the phrase
  that stands nearest to them (the windows and distances of Richardson et al. 2013; candidates of no parser). It says
  that there is no answer where too few words are found.

Exact match and F1 are those of SQuAD 2.0 (Rajpurkar et al. 2018); for Chinese F1 counts characters. Parts train and
validation choose the overlap that is needed; the test part is judged. Seconds on one core.
"""

from __future__ import annotations

import argparse
import math
import re
import string
from collections import Counter
from functools import cache

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from kerasllm.data import load
from kerasllm.data.catalogue import folder
from kerasllm.evaluation import answer_f1, exact_match

NAME = "short-passages"
LANGUAGES = ("english", "chinese")
FOLDS, SEEDS = 5, range(5)  # over passages, and in several orders: one order alone is off by 0.02
TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+(?:[.,:'][^\W_\u4e00-\u9fff]+)*|[^\w\s]")
MARKS = set(string.punctuation) | set("，。、；：？！（）《》“”‘’—…·「」")
# Words that end a phrase, and by which no sentence is found.
SMALL = set(
    "a an the of in on at to for from by with and or but is are was were be been has have had do does did it its they "
    "them their he his she her who whom whose what which when where why how that this these those there as than then "
    "so 的 了 是 在 和 与 有 个 这 那 之 也 就 都 把 被 从 到 为 于 以 及 其 它 他 她 "
    "什 么 哪 谁 几 多 少 吗 呢".split()
)


# ----- readers that do not read ----------------------------------------------------------------------------------


def vectorizer(language: str) -> TfidfVectorizer:
    """Words and pairs of words; in Chinese characters and pairs of them."""
    if language == "chinese":
        return TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")


def area_of_question_alone(rows: pd.DataFrame, language: str) -> float:
    """The area under the ROC curve of "is there an answer?" from the question alone; 0.5 is chance."""
    areas, groups, labels = [], rows["passage_id"].to_numpy(), rows["answerable"].to_numpy()
    for seed in SEEDS:
        scores = np.zeros(len(rows))
        for train, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(rows, labels, groups):
            words = vectorizer(language)
            model = LogisticRegression(C=10, class_weight="balanced", solver="liblinear")
            model.fit(words.fit_transform(rows["question"].iloc[train]), labels[train])
            scores[test] = model.decision_function(words.transform(rows["question"].iloc[test]))
        areas.append(roc_auc_score(labels, scores))
    return float(np.mean(areas))


def guesses_from_question_alone(train: pd.DataFrame, test: pd.DataFrame, language: str) -> list[str]:
    """For each question the answer of the training question that is most like it."""
    words = vectorizer(language)
    known = words.fit_transform(train["question"])
    nearest = (words.transform(test["question"]) @ known.T).toarray().argmax(axis=1)
    return train["answer"].iloc[nearest].tolist()


def sentences(passage: str) -> list[str]:
    """The sentences of a passage, cut behind full stops that end one."""
    return [one for one in re.split(r"(?<=[.?!])\s+(?=[A-Z'])|(?<=[。？！])", passage) if one.strip()]


def stem(token: str) -> str:
    """A word without case and without the commonest endings of English."""
    return re.sub(r"(?<=\w{3})(?:'s|ing|ed|es|s|e)$", "", token.casefold())


@cache
def overlap(passage: str, question: str) -> tuple[str, float, str]:
    """The answer that lies among the words of the question, the share of these that its sentence holds, and that."""
    counts = Counter(map(stem, TOKEN.findall(passage)))
    asked = {stem(one) for one in TOKEN.findall(question) if one.casefold() not in SMALL and one not in MARKS}
    weights = {one: math.log(1 + 1 / max(counts[one], 1)) for one in asked}  # rare words say more

    def found(tokens):
        return sum(weights[one] for one in {stem(token) for token in tokens} & asked)

    sentence = max(sentences(passage), key=lambda one: found(TOKEN.findall(one)))
    tokens = [(one.group(), one.start(), one.end()) for one in TOKEN.finditer(sentence)]
    places = [(place, weights[stem(one)]) for place, (one, *_) in enumerate(tokens) if stem(one) in asked]
    best, answer = -1.0, ""
    for first, last in candidates([one for one, *_ in tokens], asked):
        score = sum(weight / (first - place if place < first else place - last + 1) for place, weight in places)
        if score > best:  # words of the question that stand near count more
            best, answer = score, sentence[tokens[first][1] : tokens[last - 1][2]]
    share = found(TOKEN.findall(sentence)) / (sum(weights.values()) or 1)
    return answer, share, sentence


def candidates(tokens: list[str], asked: set[str]) -> list[tuple[int, int]]:
    """The runs between marks, words of the question and small words: what a parser would call a phrase, roughly."""
    runs, first = [], 0
    for place, token in enumerate([*tokens, "."]):
        if token in MARKS or token.casefold() in SMALL or stem(token) in asked:
            if place > first:
                runs.append((first, place))
            first = place + 1
    return runs


# ----- the table -------------------------------------------------------------------------------------------------


def judged(predictions: list[str], rows: pd.DataFrame) -> tuple[float, float, float]:
    """Exact match and F1 on all questions, and exact match on those with an answer."""
    codes = rows["language"].map({"english": "en", "chinese": "zh"})
    pairs = list(zip(predictions, rows["answer"], codes, strict=True))
    exact = np.array([exact_match(*pair) for pair in pairs])
    return exact.mean(), np.mean([answer_f1(*pair) for pair in pairs]), exact[rows["answerable"].to_numpy()].mean()


def threshold(shares: np.ndarray, answers: list[str], rows: pd.DataFrame) -> float:
    """The share of found words below which "no answer" gives the highest F1."""

    def score(least):
        said = [answer if share >= least else "" for answer, share in zip(answers, shares, strict=True)]
        return judged(said, rows)[1]

    return max(np.linspace(0, 1, 21), key=score)


def measured(frame: pd.DataFrame, language: str) -> dict[str, tuple[float, ...]]:
    """Everything that the card states about a language."""
    rows = frame[frame["language"] == language].reset_index(drop=True)
    test, rest = rows[rows["split"] == "test"], rows[rows["split"] != "test"]
    found = {name: [overlap(*pair) for pair in zip(part["passage"], part["question"], strict=True)]
             for name, part in (("test", test), ("rest", rest), ("all", rows))}  # fmt: skip
    answers = {name: [one[0] for one in several] for name, several in found.items()}
    shares = {name: np.array([one[1] for one in several]) for name, several in found.items()}
    least = threshold(shares["rest"], answers["rest"], rest)
    said = [answer if share >= least else "" for answer, share in zip(answers["test"], shares["test"], strict=True)]
    # Does the sentence with most words of the question hold the answer?
    held = [
        0 <= start - passage.index(sentence) < len(sentence)
        for passage, start, (*_, sentence) in zip(rows["passage"], rows["start"], found["all"], strict=True)
        if start >= 0
    ]
    return {
        "never": judged([""] * len(test), test),
        "question alone": judged(guesses_from_question_alone(rest, test, language), test),
        "overlap, always an answer": judged(answers["test"], test),
        "overlap": judged(said, test),
        "areas": (area_of_question_alone(rows, language), roc_auc_score(rows["answerable"], shares["all"])),
        "sentence": (float(np.mean(held)),),
    }


def table(all_of: dict[str, dict]) -> list[str]:
    """The lines of the card, from what was measured in each language."""
    lines = ["| Reader | Language | Exact match | F1 | Exact match where there is an answer |", "|---|---|---|---|---|"]
    for reader in ("never", "question alone", "overlap, always an answer", "overlap"):
        for language, values in all_of.items():
            numbers = " | ".join(f"{value:.3f}" for value in values[reader])
            lines.append(f"| {reader} | {language} | {numbers} |")
    lines += ["", "| All questions of a language | English | Chinese |", "|---|---|---|"]
    more = {
        "Is there an answer? Area under the ROC curve, question alone": ("areas", 0),
        "The same, share of the question's words that one sentence holds": ("areas", 1),
        "The sentence with most words of the question holds the answer": ("sentence", 0),
    }
    for what, (key, place) in more.items():
        lines.append(f"| {what} | " + " | ".join(f"{values[key][place]:.3f}" for values in all_of.values()) + " |")
    return lines


def write(lines: list[str]) -> None:
    """Replace what stands in the card between its two marks."""
    path = folder() / f"{NAME}.md"
    first, last = "<!-- begin of baselines -->", "<!-- end of baselines -->"
    text = path.read_text("utf-8")
    before, after = text[: text.index(first)], text[text.index(last) :]
    path.write_text("\n".join([before + first, *lines, after]), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table into the card")
    arguments = parser.parse_args()
    frame = load(NAME)
    lines = table({language: measured(frame, language) for language in LANGUAGES})
    print(*lines, sep="\n")
    if arguments.write:
        write(lines)
