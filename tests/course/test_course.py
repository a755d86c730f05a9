"""The dials, claims and exercise checks of a lesson."""

import math

import numpy as np
import pytest

from kerasllm.course import ClaimError, ExerciseError, case, check, claim, scale, settings


@pytest.fixture(autouse=True)
def cpu_scale(monkeypatch):
    monkeypatch.setenv("KERASLLM_SCALE", "cpu")


# settings


@pytest.mark.parametrize(("name", "expected"), [("smoke", (1, 16)), ("cpu", (6, 128)), ("gpu", (30, 512))])
def test_settings_follow_the_scale(monkeypatch, name, expected):
    monkeypatch.setenv("KERASLLM_SCALE", name)
    assert settings(smoke=(1, 16), cpu=(6, 128), gpu=(30, 512)) == expected


@pytest.mark.parametrize("value", [None, ""])
def test_cpu_is_the_scale_when_unset(monkeypatch, value):
    monkeypatch.delenv("KERASLLM_SCALE")
    if value is not None:
        monkeypatch.setenv("KERASLLM_SCALE", value)
    assert scale() == "cpu"
    assert settings(smoke=1, cpu=2) == 2


def test_gpu_settings_default_to_cpu(monkeypatch):
    monkeypatch.setenv("KERASLLM_SCALE", "gpu")
    assert settings(smoke=(1, 2), cpu=(3, 4)) == (3, 4)


def test_unknown_scale_names_value_and_choices(monkeypatch):
    monkeypatch.setenv("KERASLLM_SCALE", "huge")
    with pytest.raises(ValueError, match=r"'huge'.*smoke, cpu, gpu"):
        settings(smoke=1, cpu=2)


def test_settings_of_different_length_are_refused():
    with pytest.raises(ValueError, match="smoke has 1, cpu has 2"):
        settings(smoke=(1,), cpu=(2, 3))


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


# check


def complaint(answer, *cases):
    with pytest.raises(ExerciseError) as error:
        check(answer, *cases, hint="the hint")
    return str(error.value)


def test_a_right_answer_passes(capsys):
    check(lambda x: x + 1, case("one", 1, expect=2), case("array", np.ones(3), expect=[2, 2, 2]), hint="Add 1.")
    assert "2 of 2 cases pass" in capsys.readouterr().out


def stub(x):
    raise NotImplementedError


@pytest.mark.parametrize("answer", [stub, None, ...])
def test_a_stub_shows_the_hint(answer):
    assert "not written yet. Hint: the hint" in complaint(answer, case("one", 1, expect=1))


@pytest.mark.parametrize(
    ("result", "expected", "word"),
    [
        (None, 1, "return"),
        (1.5, 1.0, "too large"),
        (0.5, 1.0, "too small"),
        ("one", 1.0, "str"),
        (math.nan, 1.0, "NaN"),
        (np.ones(2), np.ones(3), "shape (2,), expected (3,)"),
        (np.array([1.0, 5.0]), np.array([1.0, 2.0]), "1 of 2 numbers are wrong, the first at index (1,)"),
        ([1, "b"], [1, "a"], "at position 1"),
        ([np.ones(2)], [np.ones(2), np.ones(3)], "expected a sequence of 2"),
        ({"a": 1}, {"a": 2}, "at key 'a'"),
        ({"a": 1}, {"b": 1}, "keys"),
        (1, True, "True or False"),
        (False, True, "not right"),
        (3, "three", "text"),
    ],
)
def test_a_wrong_answer_is_named(result, expected, word):
    message = complaint(lambda: result, case("the case", expect=expected))
    assert "the case" in message
    assert word in message


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (np.float32(1), 1.0),
        ([1.0, 2.0], np.array([1, 2])),
        ((1, "a"), [1, "a"]),
        (np.bool_(True), True),
        ({"a": [1, 2]}, {"a": (1, 2)}),
        (math.inf, math.inf),
    ],
)
def test_any_right_form_is_accepted(result, expected):
    check(lambda: result, case("form", expect=expected), hint="-")


def test_the_message_does_not_give_the_answer_away():
    assert "0.123456" not in complaint(lambda: 0.5, case("one", expect=0.123456))
    assert "secret" not in complaint(lambda: "guess", case("one", expect="secret"))


def test_an_exception_in_the_answer_is_said_with_its_case():
    assert "ZeroDivisionError" in complaint(lambda x: 1 / x, case("zero", 0, expect=1))


def test_expect_may_be_a_test_of_its_own():
    even = case("even", expect=lambda result: None if result % 2 == 0 else "the result is odd.")
    check(lambda: 4, even, hint="-")
    assert "odd" in complaint(lambda: 3, even)


def test_an_exercise_without_cases_is_a_mistake():
    with pytest.raises(ValueError, match="case"):
        check(abs, hint="-")
