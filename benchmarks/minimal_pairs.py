"""What the set minimal-pairs gives away: how often a reader who knows no grammar picks the acceptable sentence.

    python benchmarks/minimal_pairs.py            # the table
    python benchmarks/minimal_pairs.py --write    # and puts it into the card of the set
    python benchmarks/minimal_pairs.py --model    # SmolLM2-135M, which does know some: its table, a minute on two cores

- shorter: picks the sentence with fewer characters; where both have as many, half a point.
- bag of words: logistic regression on the words of the sentences (Chinese: characters), five folds by couple.
- pairs of words: the same with pairs of neighbours beside the words.

A sentence of a model counts as picked where its log-probability is higher (Warstadt et al. 2020, BLiMP).
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from kerasllm.data import load
from kerasllm.data.catalogue import folder

NAME = "minimal-pairs"
LANGUAGES = ("english", "chinese")
MODEL = "smollm2-135m-instruct"


# ----- readers who know no grammar -------------------------------------------------------------------------------


def picked(good: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """1 where the acceptable sentence has the higher score, 0 where the other one has, 0.5 where both are equal."""
    return (np.sign(np.round(good - bad, 9)) + 1) / 2


def by_length(pairs: pd.DataFrame) -> np.ndarray:
    """The shorter sentence."""
    return picked(-pairs["good"].str.len().to_numpy(float), -pairs["bad"].str.len().to_numpy(float))


def by_words(pairs: pd.DataFrame, language: str, most: int) -> np.ndarray:
    """The sentence whose words, in runs of at most so many, stood more often in acceptable ones of other couples."""
    tokens = r"(?u)\w" if language == "chinese" else r"(?u)[\w'-]+"
    found = np.zeros(len(pairs))
    for train, test in GroupKFold(5).split(pairs, groups=pairs["couple"]):
        words = CountVectorizer(ngram_range=(1, most), token_pattern=tokens, binary=True)
        known = words.fit_transform([*pairs["good"].iloc[train], *pairs["bad"].iloc[train]])
        model = LogisticRegression(solver="liblinear").fit(known, np.repeat([1, 0], len(train)))
        scores = [model.decision_function(words.transform(pairs[side].iloc[test])) for side in ("good", "bad")]
        found[test] = picked(*scores)
    return found


# ----- a reader who knows some -----------------------------------------------------------------------------------


def by_model(pairs: pd.DataFrame) -> np.ndarray:
    """The sentence that SmolLM2 finds more probable, after the token that stood between the texts it learned from."""
    from kerasllm import evaluation, weights

    model, tokenizer = weights.pretrained(MODEL)
    start = [tokenizer.id_of("<|endoftext|>")]
    scores = [
        evaluation.log_probability(model, [start] * len(pairs), [tokenizer.encode(one) for one in pairs[side]]).total
        for side in ("good", "bad")
    ]
    return picked(*scores)


# ----- the tables ------------------------------------------------------------------------------------------------


def measured(pairs: pd.DataFrame, language: str) -> dict[str, np.ndarray]:
    """What each reader without grammar picks."""
    return {
        "shorter": by_length(pairs),
        "bag of words": by_words(pairs, language, 1),
        "pairs of words": by_words(pairs, language, 2),
    }


def table(frame: pd.DataFrame) -> list[str]:
    """The lines of the card."""
    found = {}
    for language in LANGUAGES:
        pairs = frame[frame["language"] == language].reset_index(drop=True)
        found[language] = {name: values.mean() for name, values in measured(pairs, language).items()}
    lines = ["| Reader | English | Chinese |", "|---|---|---|"]
    for reader in found["english"]:
        lines.append(f"| {reader} | " + " | ".join(f"{found[language][reader]:.3f}" for language in LANGUAGES) + " |")
    return lines


def table_of_model(frame: pd.DataFrame) -> list[str]:
    """How often SmolLM2 picks the acceptable sentence, phenomenon by phenomenon."""
    found = frame.assign(right=by_model(frame))
    lines = ["| Language | Phenomenon | Pairs | Right |", "|---|---|---|---|"]
    for language, some in found.groupby("language", observed=True):
        for phenomenon, rows in some.groupby("phenomenon", sort=False):
            lines.append(f"| {language} | {phenomenon} | {len(rows)} | {rows['right'].sum():g} |")
        lines.append(f"| {language} | all | {len(some)} | {some['right'].sum():g} |")
    for row in found[found["right"] < 1].itertuples():
        print(f"{row.phenomenon}: {row.good} / {row.bad}")
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
    parser.add_argument("--model", action="store_true", help="ask SmolLM2 instead")
    arguments = parser.parse_args()
    lines = table_of_model(load(NAME)) if arguments.model else table(load(NAME))
    print(*lines, sep="\n")
    if arguments.write and not arguments.model:
        write(lines)
