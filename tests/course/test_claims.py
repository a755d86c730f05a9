"""Claims gathered into a table: in words, with the control named, seeds paired, recorded for the builder."""

import io
import math
import sys

import pytest

from kerasllm.course import CLAIM_MIME, ClaimError, Claims, claim
from kerasllm.course import claims as claims_module
from kerasllm.course.claims import in_words


@pytest.fixture(autouse=True)
def cpu_scale(monkeypatch):
    monkeypatch.setenv("KERASLLM_SCALE", "cpu")


@pytest.fixture
def shown(monkeypatch):
    """What reaches the notebook: (text, more forms) of each display."""
    seen = []
    monkeypatch.setattr(claims_module, "say", lambda line, extra=None: seen.append((line, extra)))
    return seen


def test_a_table_says_statement_measurement_control_difference_and_verdict(shown):
    found = Claims("What order is worth")
    found.claim("Order helps", [0.62, 0.64, 0.66], ">", [0.60, 0.61, 0.62], control="the same words shuffled")
    found.show()
    [(text, extra)] = shown
    for part in ("What order is worth", "✓ Order helps", "0.640 ± 0.020", "the same words shuffled: 0.610 ± 0.010"):
        assert part in text
        assert part.removeprefix("✓ ") in extra["text/html"]
    assert "difference 0.030 ± 0.010: holds" in text
    [record] = extra[CLAIM_MIME]
    assert record["control"] == "the same words shuffled"
    assert record["difference"] == [0.03, 0.01]
    assert record["control_seeds"] == [0.6, 0.61, 0.62]


def test_a_difference_smaller_than_its_spread_is_said(shown):
    found = Claims()
    found.claim("Order helps", [0.62, 0.66], ">", [0.63, 0.64], control="shuffled")
    found.show()
    assert "holds, but the differences spread by more" in shown[0][0]


def test_seeds_that_are_no_pairs_have_no_difference_seed_by_seed(shown):
    found = Claims()
    found.claim("More seeds here", [0.62, 0.64, 0.66], ">", [0.60, 0.61], control="fewer")
    found.show()
    assert "difference" not in shown[0][0]
    assert "Difference" not in shown[0][1]["text/html"]


def test_a_false_claim_shows_the_whole_table_and_then_stops(shown):
    found = Claims()
    found.claim("true", 2, ">", 1)
    found.claim("false", 1, ">", 2)
    with pytest.raises(ClaimError, match="false: 1 > 2") as error:
        found.show()
    assert "true" not in str(error.value)
    assert "does not hold" in shown[0][0]
    assert [one["holds"] for one in shown[0][1][CLAIM_MIME]] == [True, False]


def test_at_smoke_scale_a_table_is_shown_and_not_judged(shown, monkeypatch):
    monkeypatch.setenv("KERASLLM_SCALE", "smoke")
    found = Claims()
    found.claim("trained", 1, ">", 2)
    found.claim("counted", 2, "==", 2, exact=True)
    found.show()
    assert "not judged at smoke scale" in shown[0][0]
    assert [one["holds"] for one in shown[0][1][CLAIM_MIME]] == [None, True]


@pytest.mark.parametrize(
    ("relation", "bound", "tolerance", "words"),
    [(">", 1, 0, "more than 1"), ("<=", 3, 0, "at most 3"), ("==", 2.1, 0.2, "equal to 2.1 (within 0.2)")],
)
def test_a_fixed_bound_is_said_in_words(shown, relation, bound, tolerance, words):
    found = Claims()
    found.claim("two", 2, relation, bound, tolerance=tolerance)
    found.show()
    assert f"held against {words}" in shown[0][0]


def test_text_of_a_claim_is_escaped_on_the_page(shown):
    found = Claims("a < b")
    found.claim("x < y & z", 1, "<", 2, control="<script>")
    found.show()
    assert "<script>" not in shown[0][1]["text/html"]
    assert "x &lt; y &amp; z" in shown[0][1]["text/html"]


def test_a_headline_is_a_sentence_with_its_numbers():
    found = claim(
        "Order helps", [62.0, 63.2], ">", [61.9, 62.1], control="shuffled", unit="points",
        headline="order is worth {difference} against {control}",
    )  # fmt: skip
    assert found.record()["headline"] == "order is worth 0.60 ± 0.71 points against shuffled"


def test_nothing_measured_stops_at_once_and_an_empty_table_is_a_mistake():
    with pytest.raises(ClaimError, match="NaN"):
        Claims().claim("text", math.nan, ">", 0)
    with pytest.raises(ValueError, match="no claim"):
        Claims().show()


@pytest.mark.parametrize(
    ("mean", "seeds", "unit", "words"),
    [
        (0.8637812, (), "", "0.8638"),
        (1234.5678, (), "ms", "1235 ms"),
        (0.5, (0.5, 0.5), "", "0.5"),
        (83.3, (80.0, 86.6), "points", "83.3 ± 4.7 points"),
        (830.0, (800.0, 860.0), "", "830 ± 42"),
        (math.inf, (math.inf, 1.0), "", "inf"),
    ],
)
def test_numbers_have_the_digits_that_their_spread_allows(mean, seeds, unit, words):
    assert in_words(mean, seeds, unit) == words


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_terminal_without_ticks_gets_letters(monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    claim("“two” ± 0 点", 2, "==", 2)
    out.flush()
    assert out.buffer.getvalue().decode(encoding).startswith("ok ")


def test_the_note_names_what_the_numbers_are_for(shown):
    found = Claims("What we measured", over="problems")
    found.claim("it helps", [0.8, 0.9], ">", [0.7, 0.7], control="without it")
    found.show()
    assert "± is the standard deviation over problems; differences are taken pair by pair." in shown[-1][0]
