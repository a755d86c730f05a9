"""Ranks of what was looked for."""

import numpy as np
import pytest

from kerasllm.evaluation import hit_rate, mean_reciprocal_rank, ranks

SCORES = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [-1.0, -3.0, -2.0]])


def test_a_rank_counts_the_documents_that_come_before():
    assert ranks(SCORES, [2, 0, 1]).tolist() == [2, 3, 3]
    assert ranks(SCORES, np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], bool)).tolist() == [2, 2, 1]


def test_ranks_follow_a_sorted_list_where_scores_differ():
    random = np.random.default_rng(0)
    scores, right = random.normal(size=(20, 9)), random.integers(0, 9, 20)
    order = np.argsort(-scores, axis=1)
    assert ranks(scores, right).tolist() == [list(row).index(one) + 1 for row, one in zip(order, right, strict=True)]


def test_both_measures_by_hand():
    found = [1, 3, np.inf, 2]
    assert [hit_rate(found, k) for k in (1, 2, 3, 100)] == [0.25, 0.5, 0.75, 0.75]
    assert mean_reciprocal_rank(found) == pytest.approx((1 + 1 / 3 + 0 + 1 / 2) / 4)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: ranks([1.0, 2.0], [0]), r"\(queries, documents\)"),
        (lambda: ranks([[1.0, np.nan]], [0]), "Query 0 has a score that is NaN"),
        (lambda: ranks(SCORES, [0, 1, 3]), "document 3; there are 0 to 2"),
        (lambda: ranks(SCORES, [0, 1]), "for each of the 3 queries"),
        (lambda: ranks(SCORES, [0.0, 1.0, 2.0]), "whole number"),
        (lambda: ranks(SCORES, np.eye(3, 2) > 0), r"shape \(3, 2\)"),
        (lambda: ranks(SCORES, np.array([[True] * 3, [False] * 3, [True] * 3])), "Query 1 has no relevant"),
        (lambda: hit_rate([1, 2], 0), "k must be"),
        (lambda: hit_rate([], 1), "list of numbers"),
        (lambda: mean_reciprocal_rank([0]), "from 1 up"),
        (lambda: mean_reciprocal_rank([np.nan]), "from 1 up"),
    ],
)
def test_bad_arguments_are_refused(call, word):
    with pytest.raises(ValueError, match=word):
        call()
