"""The dials of a lesson: how much it does, at the scale it runs at."""

from __future__ import annotations

import os
from typing import Any, TypeVar

Value = TypeVar("Value")

SCALES = ("smoke", "cpu", "gpu")


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


def dial(value: Value, *, smoke: Value, gpu: Value | None = None) -> Value:
    """One number that a reader may turn: how long, how large, how many.

    A lesson writes its dials one a line, each with a comment that says what it is.

    Args:
        value: what a laptop with 2 cores gets. This is the value to change.
        smoke: what the tests get: enough to run every line, in seconds.
        gpu: what one accelerator gets; `value` when left out.

    Returns:
        The value for the scale the lesson runs at, see `scale`.

    Raises:
        ValueError: if the scale is unknown.

    Example:
        >>> EPOCHS = dial(6, smoke=1, gpu=30)  # passes over the training texts
    """
    choices = {"smoke": smoke, "cpu": value, "gpu": value if gpu is None else gpu}
    return choices[scale()]


def settings(*, smoke: Any, cpu: Any, gpu: Any = None) -> Any:
    """The dials of a lesson of the first edition, all at once; a new lesson uses `dial`.

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
