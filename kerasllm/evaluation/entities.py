"""How well names are found: precision, recall and F1 by kind, and how sure these are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerasllm.common import whole_number
from kerasllm.common.extras import needed

if TYPE_CHECKING:
    import pandas as pd


def entity_scores(
    predictions: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], resamples: int = 0, seed: int = 0
) -> pd.DataFrame:
    """Precision, recall and F1 of entities, by kind and for all together.

    An entity is found if its first word, its last word and its kind are right. Labels are read strictly: an entity
    begins with B- and goes on with I- of its kind, and an I- without its B- is none. `seqeval` reads them.

    Args:
        predictions: for each text a label for each word: O, B-x and I-x.
        answers: for each text the right labels.
        resamples: how often the texts are drawn anew, with replacement, for an interval (the bootstrap).
        seed: the same seed gives the same interval.

    Returns:
        A DataFrame with a row for each kind, by name, and the row "all"; its columns are precision, recall, f1 (0 where
        there is nothing to divide by) and entities, the number of right ones. With `resamples` also low and high:
        between them lie the middle 95% of the F1 of the draws.

    Raises:
        TypeError: if labels are strings where lists are needed.
        ValueError: if texts or labels differ in number, or a label is not of the kind above.

    Example:
        >>> right = [["B-person", "I-person", "O", "B-place"]]
        >>> entity_scores([["B-person", "O", "O", "B-place"]], right)["f1"].round(2).to_dict()
        {'person': 0.0, 'place': 1.0, 'all': 0.5}

    Reference: Tjong Kim Sang and De Meulder (2003), "Introduction to the CoNLL-2003 Shared Task", section 2.3; Efron
    and Tibshirani (1993), "An Introduction to the Bootstrap", chapter 13, for the interval.
    """
    pd = needed("pandas", "data")
    resamples = whole_number("resamples", resamples, 0)
    predictions, answers = _checked(predictions, answers)
    found, right = _entities(predictions), _entities(answers)
    kinds = sorted({one[2] for text in found + right for one in text})
    # For each text and kind how many were found rightly, found, and there to be found.
    counts = np.zeros((len(right), len(kinds) + 1, 3))
    for row, ours, theirs in zip(counts, found, right, strict=True):
        for column, some in enumerate((ours & theirs, ours, theirs)):
            for one in some:
                row[[kinds.index(one[2]), -1], column] += 1
    frame = pd.DataFrame(
        dict(zip(("precision", "recall", "f1"), _scores(counts.sum(axis=0)), strict=True)), index=[*kinds, "all"]
    )
    frame["entities"] = counts.sum(axis=0)[:, 2].astype(int)
    if resamples:
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), resamples)  # (resamples, texts)
        drawn = _scores(np.einsum("rt,tkc->rkc", weights, counts))[2]  # (resamples, kinds)
        frame["low"], frame["high"] = np.percentile(drawn, [2.5, 97.5], axis=0)
    return frame


def _scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of counts (..., 3)."""
    rightly, found, there = np.moveaxis(counts, -1, 0)
    return rightly / np.maximum(found, 1), rightly / np.maximum(there, 1), 2 * rightly / np.maximum(found + there, 1)


def _entities(texts: list[list[str]]) -> list[set[tuple[int, int, str]]]:
    """For each text its entities: first word, word after the last, kind."""
    needed("seqeval", "evaluation")
    from seqeval.scheme import IOB2, Entities

    return [{(one.start, one.end, one.tag) for one in text} for text in Entities(texts, IOB2).entities]


def _checked(predictions, answers) -> tuple[list[list[str]], list[list[str]]]:
    both = []
    for name, texts in (("predictions", predictions), ("answers", answers)):
        if isinstance(texts, str) or any(isinstance(text, str) for text in texts):
            raise TypeError(f"{name} must hold a list of labels for each text, no strings: give labels.split().")
        both.append([list(text) for text in texts])
        for number, text in enumerate(both[-1]):
            wrong = [label for label in text if not (label == "O" or (label[:2] in ("B-", "I-") and len(label) > 2))]
            if wrong:
                raise ValueError(
                    f"{name}[{number}] has the label {wrong[0]!r}; those that are read are O, B-x and I-x."
                )
    if len(both[0]) != len(both[1]) or not both[0]:
        raise ValueError(f"There are {len(both[0])} texts in predictions and {len(both[1])} in answers. Give one each.")
    for number, (ours, theirs) in enumerate(zip(*both, strict=True)):
        if len(ours) != len(theirs):
            raise ValueError(f"Text {number} has {len(ours)} predictions and {len(theirs)} answers. Give one a word.")
    return both[0], both[1]
