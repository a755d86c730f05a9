"""The dials of a lesson: how much it does, at the scale it runs at."""

from __future__ import annotations

import os
from typing import TypeVar

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
