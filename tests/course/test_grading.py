"""The checks of exercises: any right form passes, wrong ones are named, help comes after failures."""

import functools
import math

import numpy as np
import pytest

from kerasllm.course import ExerciseError, between, case, check
from kerasllm.course.grading import _TRIES


@pytest.fixture(autouse=True)
def nobody_has_tried():
    _TRIES.clear()


def complaint(answer, *cases, **help_texts):
    with pytest.raises(ExerciseError) as error:
        check(answer, *cases, **{"hint": "the hint"} | help_texts)
    return str(error.value)


def test_a_right_answer_passes(capsys):
    check(lambda x: x + 1, case("one", 1, expect=2), case("array", np.ones(3), expect=[2, 2, 2]), hint="Add 1.")
    assert "2 of 2 cases pass" in capsys.readouterr().out


def stub(x):
    raise NotImplementedError


@pytest.mark.parametrize("answer", [stub, functools.partial(stub, 1), None, ...])
def test_an_unwritten_answer_shows_no_help_at_first_then_the_nudge_then_the_hint(answer):
    one = case("one", *([] if isinstance(answer, functools.partial) else [1]), expect=1)
    messages = [complaint(answer, one, nudge="the nudge") for _ in range(3)]
    assert all("not written yet" in message for message in messages)
    assert [("the nudge" in m, "the hint" in m) for m in messages] == [(False, False), (True, False), (False, True)]


def test_the_first_failure_shows_the_nudge_and_the_second_the_hint():
    one = case("one", 1, expect=1)
    messages = [complaint(lambda x: 2, one, nudge="the nudge") for _ in range(2)]
    assert [("the nudge" in m, "the hint" in m) for m in messages] == [(True, False), (False, True)]


def test_running_everything_once_before_writing_does_not_use_up_the_nudge():
    one = case("one", 1, expect=1)
    complaint(stub, one, nudge="the nudge")
    assert "the nudge" in complaint(lambda x: 2, one, nudge="the nudge")


def test_without_a_nudge_the_hint_still_waits_for_the_second_failure():
    one = case("one", 1, expect=1)
    assert "the hint" not in complaint(lambda x: 2, one)
    assert "the hint" in complaint(lambda x: 2, one)


def test_a_right_answer_forgets_the_failures_and_exercises_do_not_share_them():
    one = case("one", 1, expect=1)
    for _ in range(3):
        complaint(lambda x: 2, one)
    assert "the hint" not in complaint(lambda x: 2, case("another", 1, expect=1))
    check(lambda x: x, one, hint="the hint")
    assert "the hint" not in complaint(lambda x: 2, one)


class Adder:
    def __call__(self, x):
        return x + 1


class Unwritten:
    def __call__(self, x):
        raise NotImplementedError


class Breaks:
    def __init__(self, x):
        raise KeyError("no")


@pytest.mark.parametrize(
    ("answer", "name"),
    [(Adder(), "Adder"), (functools.partial(pow, 2), "pow"), (functools.partial(Adder()), "Adder"), (float, "float")],
)
def test_any_object_that_can_be_called_is_graded_under_a_name(answer, name):
    message = complaint(answer, case("two", 2, expect=100))
    assert message.startswith(f"{name}, case “two”: the result")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (Unwritten(), "Unwritten is not written yet"),
        (functools.partial(stub), "stub is not written yet"),
        (functools.partial(pow, "a"), "pow, case “two”: it raised TypeError"),
        (Breaks, "Breaks, case “two”: it raised KeyError"),
    ],
)
def test_any_object_that_can_be_called_may_be_unwritten_or_raise(answer, word):
    assert word in complaint(answer, case("two", 2, expect=100))


def test_a_keras_layer_is_graded():
    import keras

    check(keras.layers.Rescaling(2.0), case("two", np.ones((1, 2)), expect=np.full((1, 2), 2.0)), hint="-")
    assert "Rescaling, case “two”" in complaint(keras.layers.Rescaling(2.0), case("two", np.ones(2), expect=[1, 1]))


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
        (map(str, [1, 2]), ["1", "2"]),
        ((np.full(n, n) for n in (1, 2)), [np.ones(1), np.full(2, 2)]),
        (np.array(["low", "er"]), ["low", "er"]),
        (np.array(True), True),
    ],
)
def test_any_right_form_is_accepted(result, expected):
    check(lambda: result, case("form", expect=expected), hint="-")


def test_a_tensor_is_accepted_where_an_array_is_also_by_a_test_of_its_own():
    import keras

    doubles = np.array([2.0, 4.0])  # of 64 bits, which a tensor of 32 bits cannot be subtracted from
    exact = case("a test of its own", expect=lambda result: None if np.abs(result - doubles).max() < 1e-6 else "off.")
    check(lambda: keras.ops.convert_to_tensor([2.0, 4.0]), case("array", expect=doubles), exact, hint="-")
    check(lambda: keras.ops.convert_to_tensor(True), case("truth", expect=True), hint="-")
    assert "off" in complaint(lambda: keras.ops.convert_to_tensor([2.0, 5.0]), exact)


def test_what_a_generator_yields_may_be_unwritten_raise_or_be_short():
    def unwritten():
        yield 1
        raise NotImplementedError

    two = case("two", expect=["a", "b"])
    assert "not written yet" in complaint(unwritten, two)
    assert "ZeroDivisionError" in complaint(lambda: (1 / x for x in (1, 0)), two)
    assert "list of 1, expected a sequence of 2" in complaint(lambda: iter(["a"]), two)
    read_twice = case("read twice", expect=lambda result: None if list(result) == list(result) else "it is used up.")
    check(lambda: iter("ab"), read_twice, hint="-")


def test_the_message_does_not_give_the_answer_away():
    assert "0.123456" not in complaint(lambda: 0.5, case("one", expect=0.123456))
    assert "secret" not in complaint(lambda: "guess", case("one", expect="secret"))


def test_an_exception_in_the_answer_is_said_with_its_case():
    assert "ZeroDivisionError" in complaint(lambda x: 1 / x, case("zero", 0, expect=1))


def test_expect_may_be_a_test_of_its_own():
    even = case("even", expect=lambda result: None if result % 2 == 0 else "the result is odd.")
    check(lambda: 4, even, hint="-")
    assert "odd" in complaint(lambda: 3, even)


@pytest.mark.parametrize(("result", "word"), [(None, "returned None"), ("one", "returned str, which cannot be judged")])
def test_a_result_that_the_test_of_its_own_cannot_judge_is_a_wrong_answer(result, word):
    assert word in complaint(lambda: result, case("even", expect=lambda result: None if result / 2 else "odd"))


def test_an_experiment_passes_with_any_outcome_in_its_range():
    drop = case("the drop", expect=between(0.2, 0.4))
    check(lambda: 0.31, drop, hint="-")
    check(0.2, drop, hint="-")
    check([0.25, 0.4], drop, hint="-")


@pytest.mark.parametrize(
    ("outcome", "word"), [(0.5, "more"), (0.1, "less"), (math.nan, "NaN"), ("much", "str"), ([0.3, 0.5], "0.5, more")]
)
def test_an_experiment_outside_its_range_is_named_without_the_range(outcome, word):
    message = complaint(lambda: outcome, case("the drop", expect=between(0.2, 0.4)))
    assert word in message
    assert "0.2" not in message
    assert "0.4" not in message


def test_a_range_that_holds_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="low comes first"):
        between(2, 1)


def test_an_exercise_without_cases_is_a_mistake():
    with pytest.raises(ValueError, match="case"):
        check(abs, hint="-")
