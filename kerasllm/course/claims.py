"""What a lesson claims, each statement with the number that was measured for it and what it was held against."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasllm.course.dials import scale
from kerasllm.course.saying import say

CLAIM_MIME = "application/vnd.kerasllm.claim+json"

_WORDS = {"<": "less than", "<=": "at most", ">": "more than", ">=": "at least", "==": "equal to", "!=": "other than"}


class ClaimError(AssertionError):
    """A claim of a lesson does not hold."""


@dataclass(frozen=True)
class Claim:
    """A statement of a lesson with the number that was measured for it.

    ``measured`` and ``bound`` are the values that were compared (means, where several seeds were given); ``holds``
    is None where the scale does not allow a judgement.
    """

    text: str
    measured: float
    relation: str
    bound: float
    holds: bool | None
    tolerance: float = 0.0
    seeds: tuple[float, ...] = ()
    headline: bool | str = False
    control: str = ""
    control_seeds: tuple[float, ...] = ()
    unit: str = ""

    @property
    def differences(self) -> tuple[float, ...]:
        """Measured minus control, seed by seed; empty unless both sides have one number for each seed."""
        if not self.seeds or len(self.seeds) != len(self.control_seeds):
            return ()
        return tuple(mine - theirs for mine, theirs in zip(self.seeds, self.control_seeds, strict=True))

    def record(self) -> dict[str, Any]:
        """The claim as JSON values, rounded to 6 significant digits; what is empty is left out."""
        differences = self.differences
        record = {
            "text": self.text,
            "measured": _rounded(self.measured),
            "relation": self.relation,
            "bound": _rounded(self.bound),
            "holds": self.holds,
        }
        more = {
            "tolerance": self.tolerance,
            "control": self.control,
            "unit": self.unit,
            "seeds": [_rounded(value) for value in self.seeds],
            "control_seeds": [_rounded(value) for value in self.control_seeds],
            "difference": [_rounded(math.fsum(differences) / len(differences)), _rounded(_spread(differences))]
            if differences
            else None,
            "headline": self.sentence() if isinstance(self.headline, str) else self.headline,
        }
        return record | {name: value for name, value in more.items() if value}

    def sentence(self) -> str:
        """The headline with its numbers filled in."""
        fields = {
            "measured": in_words(self.measured, self.seeds, self.unit),
            "bound": in_words(self.bound, self.control_seeds, self.unit),
            "difference": in_words(self.measured - self.bound, self.differences, self.unit),
            "control": self.control,
        }
        return str(self.headline).format(**fields)

    def verdict(self) -> str:
        """What came out, in words."""
        if self.holds is None:
            return "not judged at smoke scale"
        if not self.holds:
            return "does not hold"
        differences = self.differences
        if self.relation in "<>" and differences and abs(self.measured - self.bound) <= _spread(differences):
            return "holds, but the differences spread by more"
        return "holds"

    def against(self) -> str:
        """What the measurement was held against, in words."""
        bound = in_words(self.bound, self.control_seeds, self.unit)
        within = f" (within {_short(self.tolerance)})" if self.tolerance else ""
        if self.control:
            return f"{self.control}: {bound}{within}"
        return f"{_WORDS[self.relation]} {bound}{within}"

    def _ipython_display_(self) -> None:
        """Nothing: `claim` has shown its line already, also when it is the last line of a cell."""

    def __str__(self) -> str:
        mark = _mark(self.holds)
        if self.holds is None:
            return f"{mark} {self.text}: {_short(self.measured)} (not judged at smoke scale)"
        line = f"{mark} {self.text}: {_short(self.measured)}"
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


class Claims:
    """The claims of one section, shown as a small table in words.

    Every claim names what it was held against. One number for each seed may stand on both sides: the table then
    shows means with their spread, and the difference seed by seed with its spread.

    Args:
        title: what stands above the table.
        over: what the numbers of a list are for, in words: "seeds", "problems", "divisions of the patients".

    Example:
        >>> found = Claims("What we measured")
        >>> found.claim("Attention recites more", [0.90, 0.92], ">", [0.60, 0.64], control="an LSTM of equal size")
        >>> found.show()
        What we measured
        ✓ Attention recites more
            measured 0.910 ± 0.014, held against an LSTM of equal size: 0.620 ± 0.028
            difference 0.290 ± 0.014: holds
        ± is the standard deviation over seeds; differences are taken seed by seed.
    """

    def __init__(self, title: str = "What we measured", over: str = "seeds"):
        self.title, self.over = title, over
        self._claims: list[Claim] = []

    def claim(
        self,
        text: str,
        measured: float | Sequence[float],
        relation: str,
        bound: float | Sequence[float],
        *,
        control: str = "",
        unit: str = "",
        tolerance: float = 0.0,
        exact: bool = False,
        headline: bool | str = False,
    ) -> None:
        """Add a claim to the table; `show` judges it.

        Args:
            text: the statement, a sentence that could be false.
            measured: the measured number, or one number for each seed.
            relation: one of ``< <= > >= == !=``.
            bound: the control's number, or one for each seed in the same order; or a fixed number.
            control: what the bound is, in words: the run in which only one thing differs.
            unit: what is counted, such as ``points`` or ``bits``.
            tolerance: how far the measured value may miss the bound, see `claim`.
            exact: True for statements that no amount of training changes.
            headline: for the course's table of lessons: True, or a sentence in which ``{measured}``, ``{bound}``,
                ``{difference}`` and ``{control}`` are filled in.

        Raises:
            ClaimError: if a number is NaN (not measured).
            ValueError: for an unknown relation, an empty list of seeds or a negative tolerance.
            TypeError: for anything that is not a number or a flat list of numbers.
        """
        judged = _judged(text, measured, relation, bound, tolerance, exact, headline, control, unit)
        self._claims.append(judged)

    def show(self) -> None:
        """Show the table and record its claims in the notebook.

        Raises:
            ClaimError: if a claim is false; the table was shown before.
            ValueError: if there is no claim.
        """
        if not self._claims:
            raise ValueError("There is no claim to show. Add one with .claim(text, measured, relation, bound).")
        records = [one.record() for one in self._claims]
        say(self._as_text(), {"text/html": self._as_html(), CLAIM_MIME: records})
        false = [str(one) for one in self._claims if one.holds is False]
        if false:
            raise ClaimError("\n".join(false))

    def _as_text(self) -> str:
        lines = [self.title]
        for one in self._claims:
            measured = in_words(one.measured, one.seeds, one.unit)
            lines += [f"{_mark(one.holds)} {one.text}", f"    measured {measured}, held against {one.against()}"]
            difference = _difference(one)
            lines.append(f"    {f'difference {difference}: ' if difference else ''}{one.verdict()}")
        return "\n".join(lines + self._notes())

    def _as_html(self) -> str:
        differ = any(one.differences for one in self._claims)
        head = ["", "We say", "Measured", "Held against", *(["Difference"] if differ else []), "Verdict"]
        rows = [
            [
                _mark(one.holds),
                one.text,
                in_words(one.measured, one.seeds, one.unit),
                one.against(),
                *([_difference(one)] if differ else []),
                one.verdict(),
            ]
            for one in self._claims
        ]
        notes = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in self._notes())
        return (
            f"<p><b>{html.escape(self.title)}</b></p><table><thead>{_row(head, 'th')}</thead>"
            f"<tbody>{''.join(_row(row, 'td') for row in rows)}</tbody></table>{notes}"
        )

    def _notes(self) -> list[str]:
        if any(one.differences for one in self._claims):
            by = "seed by seed" if self.over == "seeds" else "pair by pair"
            return [f"± is the standard deviation over {self.over}; differences are taken {by}."]
        if any(one.seeds for one in self._claims):
            return [f"± is the standard deviation over {self.over}."]
        return []


def claim(
    text: str,
    measured: float | Sequence[float],
    relation: str,
    bound: float | Sequence[float],
    *,
    control: str = "",
    unit: str = "",
    tolerance: float = 0.0,
    exact: bool = False,
    headline: bool | str = False,
) -> Claim:
    """State one thing in one line, with the measurement that shows it; raise if it is false.

    The line is printed and recorded in the notebook, where the lesson builder collects it. A lesson of the second
    edition gathers its claims in a table, see `Claims`.

    Args:
        text: the statement, short enough for one line.
        measured: the measured number, or one number for each seed; several are compared by mean.
        relation: one of ``< <= > >= == !=``.
        bound: what it is compared with; again a number or one for each seed.
        control: what the bound is, in words.
        unit: what is counted.
        tolerance: how far the measured value may miss the bound; for ``==`` the largest
            difference allowed, for ``!=`` the difference that must be passed.
        exact: True for statements that no amount of training changes (an equality of two
            computations, a property). They are judged at smoke scale too.
        headline: True for the one or two claims of a lesson that the course's table of lessons shows, or the
            sentence that it shows, see `Claims.claim`.

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
    result = _judged(text, measured, relation, bound, tolerance, exact, headline, control, unit)
    say(str(result), {CLAIM_MIME: result.record()})
    if result.holds is False:
        raise ClaimError(str(result))
    return result


def in_words(mean: float, seeds: Sequence[float] = (), unit: str = "") -> str:
    """A number as a reader wants it: with its spread where there are seeds, no more digits than that allows.

    Args:
        mean: the number.
        seeds: the numbers it is the mean of; fewer than two have no spread.
        unit: what is counted.

    Returns:
        The text.

    Example:
        >>> in_words(0.6333, (0.1, 1.5, 0.3), "points")
        '0.63 ± 0.76 points'
    """
    spread = _spread(seeds)
    if spread > 0:
        digits = max(0, 1 - math.floor(math.log10(spread)))
        number = f"{mean:.{digits}f} ± {spread:.{digits}f}"
    else:
        number = _short(mean)
    return f"{number} {unit}".strip()


def _judged(text, measured, relation, bound, tolerance, exact, headline, control, unit) -> Claim:
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
    return Claim(
        text,
        mean,
        relation,
        mean_bound,
        holds,
        tolerance,
        tuple(runs) if len(runs) > 1 else (),
        headline,
        control,
        tuple(bounds) if len(bounds) > 1 else (),
        unit,
    )


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


def _spread(values: Sequence[float]) -> float:
    """The standard deviation of a sample; 0 where there is none: fewer than two numbers, or an infinite one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 and np.isfinite(values).all() else 0.0


def _difference(one: Claim) -> str:
    return in_words(one.measured - one.bound, one.differences, one.unit) if one.differences else ""


def _mark(holds: bool | None) -> str:
    return "○" if holds is None else "✓" if holds else "✗"


def _row(cells: Iterable[str], kind: str) -> str:
    style = ' style="text-align:left"'
    return "<tr>" + "".join(f"<{kind}{style}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def _rounded(value: float) -> float | None:
    """6 significant digits; infinities become None, which JSON can hold."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _short(value: float) -> str:
    return f"{value:.4g}"
