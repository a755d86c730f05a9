"""Scores of entities: seqeval's numbers, and an interval."""

import numpy as np
import pytest

from kerasllm.evaluation import entity_scores

LABELS = ["O", "O", "B-person", "I-person", "B-place", "I-place"]


def drawn(texts=60, seed=0):
    """Right labels and predictions of which many are right, illegal sequences among both."""
    random = np.random.default_rng(seed)
    right = [random.choice(LABELS, random.integers(1, 12)).tolist() for _ in range(texts)]
    found = [[one if random.random() < 0.8 else str(random.choice(LABELS)) for one in text] for text in right]
    return found, right


def test_the_numbers_are_those_of_seqeval():
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    found, right = drawn()
    report = classification_report(right, found, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    frame = entity_scores(found, right)
    assert frame.index.tolist() == ["person", "place", "all"]
    for kind, name in (("person", "person"), ("place", "place"), ("all", "micro avg")):
        expected = [report[name][one] for one in ("precision", "recall", "f1-score", "support")]
        assert frame.loc[kind].tolist() == pytest.approx(expected)
        assert 0.3 < frame.loc[kind, "f1"] < 0.9


def test_a_span_counts_when_its_ends_and_its_kind_are_right():
    right = [["B-person", "I-person", "O", "B-place"], ["O", "O"]]
    found = [["B-person", "O", "O", "B-person"], ["I-place", "O"]]  # too short, of another kind, and without its B
    frame = entity_scores(found, right)
    assert frame["entities"].to_dict() == {"person": 1, "place": 1, "all": 2}
    assert frame.loc["all", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]
    assert entity_scores(right, right).loc["all", "f1"] == 1


def test_without_entities_there_is_the_row_of_all_alone():
    frame = entity_scores([["O"], []], [["O"], []])
    assert frame.index.tolist() == ["all"]
    assert frame.loc["all"].tolist() == [0, 0, 0, 0]


def test_the_interval_holds_the_score_and_narrows_with_more_texts():
    widths = []
    for texts in (40, 640):
        frame = entity_scores(*drawn(texts), resamples=300, seed=1)
        assert (frame["low"] < frame["f1"]).all()
        assert (frame["f1"] < frame["high"]).all()
        widths.append(frame.loc["all", "high"] - frame.loc["all", "low"])
    assert 0.15 < widths[1] / widths[0] < 0.4  # a quarter: the square root of the ratio of texts
    again = entity_scores(*drawn(640), resamples=300, seed=1)
    assert again.equals(frame)


@pytest.mark.parametrize(
    ("found", "right", "error", "word"),
    [
        (["O"], [["O"]], TypeError, "predictions must hold a list"),
        ([["O"]], "O", TypeError, "answers must hold a list"),
        ([["O"]], [["O", "O"]], ValueError, "Text 0 has 1 predictions and 2 answers"),
        ([["O"]], [["O"], ["O"]], ValueError, "1 texts in predictions and 2"),
        ([], [], ValueError, "0 texts"),
        ([["noun"]], [["O"]], ValueError, r"predictions\[0\] has the label 'noun'"),
    ],
)
def test_bad_arguments_are_refused(found, right, error, word):
    with pytest.raises(error, match=word):
        entity_scores(found, right)
