"""Labels that mark spans: B at the first word of one, I at its other words, O outside of all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def legal(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which labels a text may begin with, and which may stand behind which: I-x stands behind B-x and I-x alone.

    Args:
        labels: names of the labels. Those that do not begin with "I-" may stand anywhere.

    Returns:
        Bool arrays (labels,) and (labels, labels), the second True where the label of a column may follow that of a
        row.

    Raises:
        ValueError: if there is an I-x without its B-x, so that it could stand nowhere.

    Example:
        >>> begin, follow = legal(["O", "B-place", "I-place"])
        >>> begin.tolist(), follow[:, 2].tolist()
        ([True, True, False], [False, True, True])
    """
    kinds = [label[2:] if label.startswith("I-") else None for label in labels]
    missing = [
        label for label, kind in zip(labels, kinds, strict=True) if kind is not None and f"B-{kind}" not in labels
    ]
    if missing:
        raise ValueError(f"labels have {missing[0]} and no B-{missing[0][2:]}, with which a span begins: add it.")
    before = [{f"B-{kind}", f"I-{kind}"} for kind in kinds]
    follow = [
        [kind is None or label in allowed for kind, allowed in zip(kinds, before, strict=True)] for label in labels
    ]
    return np.array([kind is None for kind in kinds]), np.array(follow)


def spans(labels: Sequence[str]) -> list[tuple[int, int, str]]:
    """The spans that the labels of a text mark.

    Args:
        labels: a label for each word, legal ones.

    Returns:
        For each span its first word, the word behind its last one, and its kind.

    Example:
        >>> spans(["B-person", "I-person", "O", "B-place", "B-place"])
        [(0, 2, 'person'), (3, 4, 'place'), (4, 5, 'place')]
    """
    # A span and what lies between two of them end where no I follows.
    edges = [place for place, label in enumerate(labels) if not label.startswith("I-")] + [len(labels)]
    return [(start, end, labels[start][2:]) for start, end in pairwise(edges) if labels[start].startswith("B-")]
