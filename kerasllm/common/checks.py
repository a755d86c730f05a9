"""One check for each kind of argument; the message names the argument, its value and what would be right."""

import math
import operator
from collections.abc import Iterable


def whole_number(name: str, value, least: int = 1, most: int | None = None, optional: bool = False) -> int | None:
    """`value` as an int from `least` to `most`. NumPy's whole numbers are welcome; True and 2.0 are none.

    Args:
        name: the argument's name, for the message.
        value: what was given.
        least: the smallest number allowed.
        most: the largest number allowed; any when None.
        optional: whether None is allowed; it is returned as it is.

    Returns:
        An int, or None.

    Raises:
        ValueError: if `value` is anything else.

    Example:
        >>> import numpy as np
        >>> whole_number("num_heads", np.int64(4))
        4
        >>> whole_number("num_heads", True)
        Traceback (most recent call last):
        ValueError: num_heads must be a whole number from 1 up, not True.
    """
    if value is None and optional:
        return None
    try:
        # NumPy refuses operator.index of its bools; Python's bool is an int and would pass.
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least or (most is not None and found > most):
        fits = f"from {least} up" if most is None else f"from {least} to {most}"
        none = " or None" if optional else ""
        raise ValueError(f"{name} must be a whole number {fits}{none}, not {value!r}.")
    return found


def share(name: str, value, least: float = 0.0, most: float = 1.0, closed: bool = False) -> float:
    """`value` as a float from `least` to below `most`; with `closed` up to `most` itself.

    Raises:
        ValueError: if `value` is anything else.

    Example:
        >>> share("dropout", 0.1)
        0.1
    """
    found = _real(value)
    if found is None or not (least <= found < most or (closed and found == most)):
        raise ValueError(f"{name} must be from {least:g} to {'' if closed else 'below '}{most:g}, not {value!r}.")
    return found


def positive(name: str, value) -> float:
    """`value` as a finite float above 0.

    Raises:
        ValueError: if `value` is anything else.

    Example:
        >>> positive("temperature", 1)
        1.0
    """
    found = _real(value)
    if found is None or not 0 < found < math.inf:
        raise ValueError(f"{name} must be a number above 0, not {value!r}.")
    return found


def choice(name: str, value, options: Iterable):
    """`value`, if it is one of the options.

    Raises:
        ValueError: if it is none of them.

    Example:
        >>> choice("pooling", "mean", ("max", "mean"))
        'mean'
    """
    options = list(options)
    if not any(value is one or (type(value) is type(one) and value == one) for one in options):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, not {value!r}.")
    return value


def _real(value) -> float | None:
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
