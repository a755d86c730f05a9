"""How far down a search puts what was looked for: hit rate and mean reciprocal rank."""

from __future__ import annotations

import numpy as np

from kerasllm.common import whole_number


def ranks(scores, relevant) -> np.ndarray:
    """The rank of the first relevant document for each query, from 1 up.

    Documents with equal scores come in the worst order: a search that gives all the same score has found nothing.

    Args:
        scores: float array (queries, documents), larger is better; such as the products of vectors.
        relevant: for each query the number of the right document, int array (queries,); or bool array (queries,
            documents), True at all right ones.

    Returns:
        Int64 array (queries,).

    Raises:
        ValueError: if the shapes do not fit, a score is NaN, a document does not exist, or a query has no relevant one.

    Example:
        >>> ranks([[0.9, 0.1, 0.5], [0.2, 0.2, 0.7]], [2, 0]).tolist()
        [2, 3]
    """
    scores, relevant = np.asarray(scores, "float64"), np.asarray(relevant)
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"scores must be (queries, documents), not of the shape {scores.shape}.")
    if np.isnan(scores).any():
        raise ValueError(f"Query {int(np.isnan(scores).any(axis=1).argmax())} has a score that is NaN.")
    right = _as_matrix(relevant, scores.shape)
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    return 1 + ((scores >= best) & ~right).sum(axis=1)


def hit_rate(ranks, k: int) -> float:
    """The share of queries whose first relevant document is among the first `k`.

    Args:
        ranks: for each query what `ranks` gives, infinity where it was not found.
        k: how many documents count.

    Raises:
        ValueError: if there are no ranks, one is below 1, or `k` is not positive.

    Example:
        >>> hit_rate([1, 3, 7, 2], k=3)
        0.75
    """
    return float((_checked(ranks) <= whole_number("k", k)).mean())


def mean_reciprocal_rank(ranks) -> float:
    """The mean of 1 / rank over the queries, 0 for one whose document was not found.

    Args:
        ranks: for each query what `ranks` gives, infinity where it was not found.

    Raises:
        ValueError: if there are no ranks, or one is below 1.

    Example:
        >>> mean_reciprocal_rank([1, 2, 4, float("inf")])
        0.4375

    Reference: Voorhees (1999), "The TREC-8 Question Answering Track Report", section 3.
    """
    return float((1 / _checked(ranks)).mean())


def _as_matrix(relevant: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    queries, documents = shape
    if relevant.dtype != bool:
        if relevant.shape != (queries,) or relevant.dtype.kind not in "iu":
            raise ValueError(
                f"relevant must be a whole number for each of the {queries} queries, or bool {shape}, not "
                f"{relevant.dtype} of the shape {relevant.shape}."
            )
        wrong = relevant[(relevant < 0) | (relevant >= documents)]
        if len(wrong):
            raise ValueError(f"relevant has the document {wrong[0]}; there are 0 to {documents - 1}.")
        return relevant[:, None] == np.arange(documents)
    if relevant.shape != shape:
        raise ValueError(f"relevant has the shape {relevant.shape}, the scores {shape}: give one value each.")
    if not relevant.any(axis=1).all():
        raise ValueError(f"Query {int((~relevant.any(axis=1)).argmax())} has no relevant document: leave it out.")
    return relevant


def _checked(ranks) -> np.ndarray:
    ranks = np.asarray(ranks, "float64")
    if ranks.ndim != 1 or not len(ranks) or not (ranks >= 1).all():
        raise ValueError(f"ranks must be a list of numbers from 1 up, one a query, not {ranks.ravel()[:5].tolist()}.")
    return ranks
