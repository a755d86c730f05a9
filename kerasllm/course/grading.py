"""Exercises that grade themselves: cases, hints that come after failures, ranges for experiments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasllm.course.saying import say


class ExerciseError(AssertionError):
    """An exercise is not written yet, or one of its cases fails."""


@dataclass(frozen=True)
class Case:
    """One thing that a right answer does. Made by `case`."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    expect: Any = None
    tolerance: float = 1e-6


@dataclass
class Tries:
    """How often the check of one exercise failed in this session."""

    unwritten: int = 0
    wrong: int = 0


# One entry for each exercise; a right answer empties it.
_TRIES: dict[tuple[str, ...], Tries] = {}


def case(name: str, *args: Any, expect: Any, tolerance: float = 1e-6, **kwargs: Any) -> Case:
    """One case of `check`: call the answer with these arguments and look at what it returns.

    Args:
        name: what the case tests, in words that do not give the answer away.
        *args: the arguments of the call. A value that is not a function takes none.
        expect: the right result: a number, text, array, or a list, tuple or dict of these,
            compared within `tolerance`, in whatever form the answer gives it: a tensor for an array,
            a generator for a list; or a function that takes the result and returns None
            when it is right and a sentence on what is wrong otherwise, such as `between`.
        tolerance: the largest difference, absolute and relative, that still counts as equal.
        **kwargs: named arguments of the call.
    """
    return Case(name, args, kwargs, expect, tolerance)


def between(low: float, high: float) -> Callable[[Any], str | None]:
    """What an experiment may come to: for `expect` of a case whose right answer is measured.

    Args:
        low: the smallest outcome that a right experiment gives, over seeds and machines.
        high: the largest.

    Returns:
        A function that takes the result, one number or an array, and returns None if all of it lies in the range.

    Raises:
        ValueError: if `low` is above `high`.

    Example:
        >>> between(0.2, 0.4)(0.31) is None
        True
        >>> between(0.2, 0.4)(0.9)
        'the experiment gave 0.9, more than when only the one thing is changed.'
    """
    if not low <= high:
        raise ValueError(f"between({low!r}, {high!r}) holds no number: low comes first.")

    def inside(result: Any) -> str | None:
        if not _is_numeric(result) or np.size(result) == 0:
            return f"it returned {type(result).__name__}, expected the number that was measured."
        for value in np.ravel(np.asarray(result, dtype=float)):
            if np.isnan(value):
                return "the experiment gave NaN, which is no result."
            if not low <= value <= high:
                word = "more" if value > high else "less"
                return f"the experiment gave {value:.4g}, {word} than when only the one thing is changed."
        return None

    return inside


def check(answer: Any, *cases: Case, nudge: str = "", hint: str) -> None:
    """Grade an exercise: run every case, print a line when all pass, say which one fails otherwise.

    The message names the case and the kind of mistake, never the right result. Help comes when it is needed: the
    first failure shows the nudge, the second the hint. An answer that is not written yet shows neither at first.

    Args:
        answer: the reader's function, any other object that can be called, or a value.
        *cases: what a right answer does, see `case`.
        nudge: a question or a place to look at, for a reader who has failed once.
        hint: the decisive step in one or two sentences, for a reader who has failed twice.

    Raises:
        ExerciseError: if the answer is not written yet, raises, or fails a case.
        ValueError: if there is no case.

    Example:
        >>> check(abs, case("a negative number", -2, expect=2), hint="Drop the sign.")
        ✓ abs: 1 of 1 cases pass
    """
    if not cases:
        raise ValueError("An exercise needs at least one case.")
    name = name_of(answer)
    tries = _TRIES.setdefault((hint, *(one.name for one in cases)), Tries())
    if answer is ... or answer is None:
        raise _unwritten("This answer", tries, nudge, hint)
    for one in cases:
        complaint, cause = _complaint(answer, one)
        if isinstance(cause, NotImplementedError):
            raise _unwritten(name, tries, nudge, hint) from None
        if complaint:
            tries.wrong += 1
            raise ExerciseError(f"{name}, case “{one.name}”: {complaint}{_help(tries, nudge, hint)}") from cause
    tries.unwritten = tries.wrong = 0
    say(f"✓ {name}: {len(cases)} of {len(cases)} cases pass")


def name_of(answer: Any) -> str:
    """What to call an answer: its own name, or that of the function inside a partial, or its class.

    Args:
        answer: anything.

    Returns:
        The name.

    Example:
        >>> name_of(functools.partial(max, 3)), name_of(max), name_of(2.5)
        ('max', 'max', 'answer')
    """
    while isinstance(answer, functools.partial):
        answer = answer.func
    name = getattr(answer, "__name__", None)
    if isinstance(name, str):
        return name
    return type(answer).__name__ if callable(answer) else "answer"


def _unwritten(name: str, tries: Tries, nudge: str, hint: str) -> ExerciseError:
    tries.unwritten += 1
    return ExerciseError(f"{name} is not written yet.{_help(tries, nudge, hint)}")


def _help(tries: Tries, nudge: str, hint: str) -> str:
    """Nothing, the nudge or the hint; running the check before writing anything counts one less."""
    level = max(tries.wrong, tries.unwritten - 1)
    if level >= 2:
        return f"\nHint: {hint}"
    if level == 1:
        return f"\nNudge: {nudge}" if nudge else "\nTry again; after the next failure there is a hint."
    return ""


def _complaint(answer: Any, one: Case) -> tuple[str | None, Exception | None]:
    """What is wrong with one case, and the exception behind it."""
    try:
        result = _at_rest(answer(*one.args, **one.kwargs) if callable(answer) else answer)
    except Exception as error:
        return f"it raised {type(error).__name__}: {error}", error
    if not callable(one.expect):
        return _difference(result, one.expect, one.tolerance), None
    try:
        return one.expect(result), None
    except Exception as error:
        if result is None:
            return "it returned None. Is there a return statement on every path?", None
        return f"it returned {type(result).__name__}, which cannot be judged ({type(error).__name__}: {error}).", error


def _at_rest(result: Any) -> Any:
    """A result that can be looked at twice: what a generator yields as a list, a tensor as an array of NumPy."""
    if isinstance(result, Iterator):
        return [_at_rest(part) for part in result]
    return np.asarray(result)[()] if hasattr(result, "__array__") else result


def _difference(result: Any, expect: Any, tolerance: float) -> str | None:
    """What is wrong with `result`, in words that do not contain the expected value."""
    if result is None:
        return "it returned None. Is there a return statement on every path?"
    if isinstance(expect, str | bool | np.bool_):
        kind = "text" if isinstance(expect, str) else "True or False"
        if not isinstance(result, str if isinstance(expect, str) else bool | np.bool_):
            return f"it returned {type(result).__name__}, expected {kind}."
        return None if result == expect else f"it returned {result!r}, which is not right."
    if isinstance(expect, Mapping):
        if not isinstance(result, Mapping):
            return f"it returned {type(result).__name__}, expected a dictionary."
        if set(result) != set(expect):
            return f"the dictionary has {len(set(result))} keys, not the {len(expect)} expected ones."
        parts = ((f"at key {key!r}, ", result[key], expect[key]) for key in expect)
    elif isinstance(expect, list | tuple) and not _is_numeric(expect):
        if isinstance(result, np.ndarray) and result.ndim:
            result = list(result)
        if not isinstance(result, list | tuple) or len(result) != len(expect):
            size = f" of {len(result)}" if isinstance(result, list | tuple) else ""
            return f"it returned {type(result).__name__}{size}, expected a sequence of {len(expect)}."
        parts = (
            (f"at position {i}, ", mine, theirs) for i, (mine, theirs) in enumerate(zip(result, expect, strict=True))
        )
    else:
        return _numeric_difference(result, expect, tolerance)
    for place, mine, theirs in parts:
        complaint = _difference(mine, theirs, tolerance)
        if complaint:
            return place + complaint
    return None


def _is_numeric(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "biufc"
    except ValueError:  # parts of different shapes: a sequence, not one array
        return False


def _numeric_difference(result: Any, expect: Any, tolerance: float) -> str | None:
    if not _is_numeric(result):
        return f"it returned {type(result).__name__}, expected a number or an array of numbers."
    result, expect = np.asarray(result), np.asarray(expect)
    if result.shape != expect.shape:
        return f"the result has shape {result.shape}, expected {expect.shape}."
    if not np.isfinite(result).all() and np.isfinite(expect).all():
        return "the result contains NaN or infinity."
    wrong = ~np.isclose(result, expect, rtol=tolerance, atol=tolerance)
    if not wrong.any():
        return None
    if result.ndim == 0:
        direction = "large" if result > expect else "small"
        return f"the result {result:.6g} is too {direction}."
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{wrong.sum()} of {wrong.size} numbers are wrong, the first at index {place}."
