"""What a lesson is made of: its dials, its measured claims, and the grading of its exercises.

This module imports nothing else of the package, so that a lesson can start with it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasllm.common.notebook import in_notebook

SCALES = ("smoke", "cpu", "gpu")
CLAIM_MIME = "application/vnd.kerasllm.claim+json"


def scale() -> str:
    """The scale the lessons run at: the environment variable ``KERASLLM_SCALE``, or ``"cpu"``.

    Returns:
        One of ``"smoke"`` (seconds, nothing is judged), ``"cpu"`` (a laptop with 2 cores) and
        ``"gpu"`` (one accelerator).

    Raises:
        ValueError: if the variable holds anything else.
    """
    value = os.environ.get("KERASLLM_SCALE") or "cpu"
    if value not in SCALES:
        raise ValueError(
            f"KERASLLM_SCALE is {value!r}. Set it to one of {', '.join(SCALES)}, or unset it to get 'cpu'."
        )
    return value


def settings(*, smoke: Any, cpu: Any, gpu: Any = None) -> Any:
    """The dials of a lesson for the scale it runs at.

    Args:
        smoke: values that finish in seconds; the tests use them.
        cpu: values for a laptop with 2 cores; the default.
        gpu: values for one accelerator; the ``cpu`` values when left out.

    Returns:
        The value or tuple of values that belongs to `scale`.

    Raises:
        ValueError: if the choices are tuples of different lengths, or the scale is unknown.

    Example:
        >>> EPOCHS, WIDTH = settings(smoke=(1, 16), cpu=(6, 128), gpu=(30, 512))
    """
    choices = {"smoke": smoke, "cpu": cpu, "gpu": cpu if gpu is None else gpu}
    lengths = {name: len(value) if isinstance(value, tuple) else 1 for name, value in choices.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"Every scale needs the same number of settings, but {found}.")
    return choices[scale()]


class ClaimError(AssertionError):
    """A claim of a lesson does not hold."""


@dataclass(frozen=True)
class Claim:
    """A statement of a lesson with the number that was measured for it.

    ``measured`` and ``bound`` are the values that were compared (means, where several seeds were
    given); ``holds`` is None where the scale does not allow a judgement.
    """

    text: str
    measured: float
    relation: str
    bound: float
    holds: bool | None
    tolerance: float = 0.0
    seeds: tuple[float, ...] = ()
    headline: bool = False

    def record(self) -> dict[str, Any]:
        """The claim as JSON values, rounded to 6 significant digits."""
        record = {
            "text": self.text,
            "measured": _rounded(self.measured),
            "relation": self.relation,
            "bound": _rounded(self.bound),
            "holds": self.holds,
        }
        if self.tolerance:
            record["tolerance"] = self.tolerance
        if self.seeds:
            record["seeds"] = [_rounded(value) for value in self.seeds]
        if self.headline:
            record["headline"] = True
        return record

    def _ipython_display_(self) -> None:
        """Nothing: `claim` has shown its line already, also when it is the last line of a cell."""

    def __str__(self) -> str:
        if self.holds is None:
            return f"○ {self.text}: {_short(self.measured)} (not judged at smoke scale)"
        line = f"{'✓' if self.holds else '✗'} {self.text}: {_short(self.measured)}"
        if self.seeds:
            low, high = min(self.seeds), max(self.seeds)
            line += f" (mean of {len(self.seeds)} seeds, {_short(low)} to {_short(high)})"
        line += f" {self.relation} {_short(self.bound)}"
        if self.tolerance:
            line += f" (within {_short(self.tolerance)})"
        return line


# With a tolerance t, "<" and ">" ask for less: the measured value may miss the bound by up to t.
_RELATIONS: dict[str, Callable[[float, float, float], bool]] = {
    "<": lambda measured, bound, tolerance: measured < bound + tolerance,
    "<=": lambda measured, bound, tolerance: measured <= bound + tolerance,
    ">": lambda measured, bound, tolerance: measured > bound - tolerance,
    ">=": lambda measured, bound, tolerance: measured >= bound - tolerance,
    "==": lambda measured, bound, tolerance: abs(measured - bound) <= tolerance,
    "!=": lambda measured, bound, tolerance: abs(measured - bound) > tolerance,
}


def claim(
    text: str,
    measured: float | Sequence[float],
    relation: str,
    bound: float | Sequence[float],
    *,
    tolerance: float = 0.0,
    exact: bool = False,
    headline: bool = False,
) -> Claim:
    """State something, with the measurement that shows it; raise if it is false.

    The line is printed and recorded in the notebook, where the lesson builder collects it.

    Args:
        text: the statement, short enough for one line.
        measured: the measured number, or one number for each seed; several are compared by mean.
        relation: one of ``< <= > >= == !=``.
        bound: what it is compared with; again a number or one for each seed.
        tolerance: how far the measured value may miss the bound; for ``==`` the largest
            difference allowed, for ``!=`` the difference that must be passed.
        exact: True for statements that no amount of training changes (an equality of two
            computations, a property). They are judged at smoke scale too.
        headline: True for the one or two claims of a lesson that the course's table of lessons shows.

    Returns:
        The `Claim`.

    Raises:
        ClaimError: if the claim is false, or a number is NaN (not measured).
        ValueError: for an unknown relation, an empty list of seeds or a negative tolerance.
        TypeError: for anything that is not a number or a flat list of numbers.

    Example:
        >>> _ = claim("addition works", 1 + 1, "==", 2)
        ✓ addition works: 2 == 2
        >>> _ = claim("three seeds", [0.80, 0.81, 0.82], ">", 0.79)
        ✓ three seeds: 0.81 (mean of 3 seeds, 0.8 to 0.82) > 0.79
    """
    if relation not in _RELATIONS:
        raise ValueError(f"Unknown relation {relation!r}. Use one of {' '.join(_RELATIONS)}.")
    if not tolerance >= 0:
        raise ValueError(f"The tolerance of a claim is a number from 0 up, not {tolerance!r}.")
    runs, bounds = _numbers("measured", measured), _numbers("bound", bound)
    if any(math.isnan(value) for value in runs + bounds):
        raise ClaimError(
            f"{text}: NaN was measured ({measured!r} {relation} {bound!r}). "
            "NaN is not a result: find the step that made it."
        )
    mean, mean_bound = math.fsum(runs) / len(runs), math.fsum(bounds) / len(bounds)
    holds = _RELATIONS[relation](mean, mean_bound, tolerance) if exact or scale() != "smoke" else None
    seeds = tuple(runs) if isinstance(measured, Iterable) and len(runs) > 1 else ()
    result = Claim(text, mean, relation, mean_bound, holds, tolerance, seeds, headline)
    _show(str(result), {CLAIM_MIME: result.record()})
    if holds is False:
        raise ClaimError(str(result))
    return result


def _numbers(name: str, value: Any) -> list[float]:
    if isinstance(value, str):
        raise TypeError(f"{name} is the text {value!r}; a claim compares numbers.")
    values = list(value) if isinstance(value, Iterable) and np.ndim(value) else [value]
    if not values:
        raise ValueError(f"{name} is empty: a claim needs one number, or one for each seed.")
    for one in values:
        # NumPy and Keras scalars convert by float(); a table of numbers does not.
        if np.ndim(one) or not hasattr(one, "__float__"):
            raise TypeError(
                f"{name} holds {type(one).__name__}; a claim compares numbers. "
                "For whole arrays, claim something about their largest difference."
            )
    return [float(one) for one in values]


def _rounded(value: float) -> float | None:
    """6 significant digits; infinities become None, which JSON can hold."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _short(value: float) -> str:
    return f"{value:.4g}"


def _show(line: str, extra: Mapping[str, Any] | None = None) -> None:
    """Print a line; inside a notebook, display it together with `extra` for the builder."""
    if in_notebook():
        from IPython.display import display

        display({"text/plain": line, **(extra or {})}, raw=True)
    else:
        print(line)


# Exercises ------------------------------------------------------------------------------------


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


def case(name: str, *args: Any, expect: Any, tolerance: float = 1e-6, **kwargs: Any) -> Case:
    """One case of `check`: call the answer with these arguments and look at what it returns.

    Args:
        name: what the case tests, in words that do not give the answer away.
        *args: the arguments of the call. A value that is not a function takes none.
        expect: the right result: a number, text, array, or a list, tuple or dict of these,
            compared within `tolerance`; or a function that takes the result and returns None
            when it is right and a sentence on what is wrong otherwise.
        tolerance: the largest difference, absolute and relative, that still counts as equal.
        **kwargs: named arguments of the call.
    """
    return Case(name, args, kwargs, expect, tolerance)


def check(answer: Any, *cases: Case, hint: str) -> None:
    """Grade an exercise: run every case, print a line when all pass, say which one fails otherwise.

    The message names the case and the kind of mistake, never the right result.

    Args:
        answer: the reader's function, or a value.
        *cases: what a right answer does, see `case`.
        hint: one sentence that helps a reader who has not started yet.

    Raises:
        ExerciseError: if the answer is not written yet, raises, or fails a case.

    Example:
        >>> check(abs, case("a negative number", -2, expect=2), hint="Drop the sign.")
        ✓ abs: 1 of 1 cases pass
    """
    if not cases:
        raise ValueError("An exercise needs at least one case.")
    name = getattr(answer, "__name__", "answer")
    if answer is ... or answer is None:
        raise ExerciseError(f"This answer is not written yet. Hint: {hint}")
    for one in cases:
        complaint = _complaint(answer, one, hint)
        if complaint:
            raise ExerciseError(f"{name}, case “{one.name}”: {complaint}")
    _show(f"✓ {name}: {len(cases)} of {len(cases)} cases pass")


def _complaint(answer: Any, one: Case, hint: str) -> str | None:
    result = answer
    if callable(answer):
        try:
            result = answer(*one.args, **one.kwargs)
        except NotImplementedError:
            raise ExerciseError(f"{answer.__name__} is not written yet. Hint: {hint}") from None
        except Exception as error:
            raise ExerciseError(
                f"{answer.__name__}, case “{one.name}”: it raised {type(error).__name__}: {error}"
            ) from error
    if callable(one.expect):
        return one.expect(result)
    return _difference(result, one.expect, one.tolerance)


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
