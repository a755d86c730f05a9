"""The dials of a lesson and its claims of one line."""

import math

import numpy as np
import pytest

from kerasllm.course import ClaimError, claim, dial, scale


@pytest.fixture(autouse=True)
def cpu_scale(monkeypatch):
    monkeypatch.setenv("KERASLLM_SCALE", "cpu")


# dials


@pytest.mark.parametrize("value", [None, ""])
def test_cpu_is_the_scale_when_unset(monkeypatch, value):
    monkeypatch.delenv("KERASLLM_SCALE")
    if value is not None:
        monkeypatch.setenv("KERASLLM_SCALE", value)
    assert scale() == "cpu"
    assert dial(2, smoke=1) == 2


def test_unknown_scale_names_value_and_choices(monkeypatch):
    monkeypatch.setenv("KERASLLM_SCALE", "huge")
    with pytest.raises(ValueError, match=r"'huge'.*smoke, cpu, gpu"):
        dial(2, smoke=1)


@pytest.mark.parametrize(("name", "expected"), [("smoke", 1), ("cpu", 6), ("gpu", 30)])
def test_a_dial_follows_the_scale(monkeypatch, name, expected):
    monkeypatch.setenv("KERASLLM_SCALE", name)
    assert dial(6, smoke=1, gpu=30) == expected


def test_a_dial_without_a_value_for_the_gpu_keeps_the_laptops(monkeypatch):
    monkeypatch.setenv("KERASLLM_SCALE", "gpu")
    assert dial((24, 48), smoke=(6,)) == (24, 48)


# claim


@pytest.mark.parametrize(
    ("measured", "relation", "bound", "tolerance", "holds"),
    [
        (1.0, "<", 2.0, 0.0, True),
        (2.0, "<", 2.0, 0.0, False),
        (2.0, "<", 2.0, 0.1, True),
        (2.0, "<=", 2.0, 0.0, True),
        (2.1, "<=", 2.0, 0.0, False),
        (2.1, "<=", 2.0, 0.2, True),
        (3.0, ">", 2.0, 0.0, True),
        (2.0, ">", 2.0, 0.0, False),
        (1.95, ">", 2.0, 0.1, True),
        (2.0, ">=", 2.0, 0.0, True),
        (1.9, ">=", 2.0, 0.0, False),
        (1.9, ">=", 2.0, 0.2, True),
        (2.0, "==", 2.0, 0.0, True),
        (2.1, "==", 2.0, 0.0, False),
        (2.1, "==", 2.0, 0.2, True),
        (2.1, "!=", 2.0, 0.0, True),
        (2.0, "!=", 2.0, 0.0, False),
        (2.1, "!=", 2.0, 0.2, False),
        (math.inf, ">", 2.0, 0.0, True),
    ],
)
def test_relations(measured, relation, bound, tolerance, holds):
    if holds:
        assert claim("text", measured, relation, bound, tolerance=tolerance).holds is True
    else:
        with pytest.raises(ClaimError, match="text"):
            claim("text", measured, relation, bound, tolerance=tolerance)


@pytest.mark.parametrize(("measured", "bound"), [(math.nan, 1), (1, math.nan), ([1, math.nan], 0), (1, [math.nan, 2])])
@pytest.mark.parametrize("relation", ["<", ">", "==", "!="])
@pytest.mark.parametrize("at", ["cpu", "smoke"])
def test_nan_is_never_a_result(monkeypatch, measured, bound, relation, at):
    monkeypatch.setenv("KERASLLM_SCALE", at)
    with pytest.raises(ClaimError, match="NaN"):
        claim("text", measured, relation, bound)


def test_several_seeds_are_compared_by_mean_and_shown_with_their_spread(capsys):
    result = claim("text", [0.7, 0.8, 0.9], ">", [0.5, 0.6])
    assert result.measured == pytest.approx(0.8)
    assert result.bound == pytest.approx(0.55)
    assert result.record()["seeds"] == [0.7, 0.8, 0.9]
    assert "mean of 3 seeds, 0.7 to 0.9" in capsys.readouterr().out
    with pytest.raises(ClaimError):
        claim("text", [0.7, 0.8, 0.3], ">", 0.7)


def test_scalars_of_numpy_and_keras_are_numbers():
    import keras

    assert claim("text", np.float32(0.5), "<", np.int64(1)).holds
    assert claim("text", keras.ops.ones(()), "==", np.array(1.0)).holds
    assert claim("text", True, "==", 1).holds


@pytest.mark.parametrize("measured", ["0.9", None, np.ones((2, 2)), {"a": 1}])
def test_what_is_not_a_number_is_refused(measured):
    with pytest.raises(TypeError, match="compares numbers"):
        claim("text", measured, ">", 0)


@pytest.mark.parametrize(("relation", "tolerance"), [("=", 0.0), ("approximately", 0.0), ("<", -1.0), ("<", math.nan)])
def test_bad_relation_or_tolerance_is_refused(relation, tolerance):
    with pytest.raises(ValueError, match=r"relation|tolerance"):
        claim("text", 1, relation, 2, tolerance=tolerance)


def test_no_seeds_are_no_measurement():
    with pytest.raises(ValueError, match="empty"):
        claim("text", [], ">", 0)


def test_smoke_scale_judges_exact_claims_only(monkeypatch, capsys):
    monkeypatch.setenv("KERASLLM_SCALE", "smoke")
    assert claim("trained", 0.1, ">", 0.9).holds is None
    assert "not judged at smoke scale" in capsys.readouterr().out
    with pytest.raises(ClaimError):
        claim("equal", 0.1, "==", 0.9, exact=True)


def test_record_holds_plain_json_values():
    record = claim("text", np.float32(1 / 3), "<", math.inf, headline=True).record()
    assert record == {
        "text": "text",
        "measured": 0.333333,
        "relation": "<",
        "bound": None,
        "holds": True,
        "headline": True,
    }
