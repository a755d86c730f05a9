"""Weights for classes of different sizes."""

from __future__ import annotations

import numpy as np


def class_weights(labels) -> dict[int, float]:
    """A weight for each class, so that all classes count the same in the loss.

    A class with half the examples of another gets twice its weight; the mean weight of an example
    is 1. The formula is that of scikit-learn's ``class_weight="balanced"``.

    Args:
        labels: the class number of each example, or a pandas Categorical, whose codes are the numbers.

    Returns:
        A dictionary from class number to weight, for ``fit(..., class_weight=...)``.

    Raises:
        ValueError: if there are no labels, or they are not whole numbers from 0 up.

    Example:
        >>> class_weights([0, 0, 0, 1])
        {0: 0.6666666666666666, 1: 2.0}

    Reference: King and Zeng (2001), "Logistic Regression in Rare Events Data", section 3.2.
    """
    labels = getattr(labels, "cat", labels)  # a column of a frame
    labels = np.asarray(getattr(labels, "codes", labels))
    if labels.size == 0:
        raise ValueError("There are no labels, so classes have no sizes.")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(f"labels must be one class number from 0 up for each example, not {labels.ravel()[:3]}...")
    classes, counts = np.unique(labels, return_counts=True)
    return {int(one): len(labels) / (len(classes) * int(count)) for one, count in zip(classes, counts, strict=True)}
