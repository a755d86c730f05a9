"""state.npz of a run, also one that the first edition wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import keras

from kerasllm.training.resume import Resume
from kerasllm.training.run_settings import RunError

_NORM = re.compile(r"attention[/_](query|key)_norm[/_]")
_PART = re.compile(r"attention[/_](query|key|value|output)[/_]|seed_generator")


class RunState(Resume):
    """`Resume` with errors of runs. A longer run has another schedule; settings.json watches over all the rest.

    Args:
        path: the file of the state.

    Raises:
        RunError: if it is no state, or in `fit` that of another model.
    """

    def __init__(self, path: Path):
        self._first_edition = False
        try:
            super().__init__(path, longer=True)
        except ValueError as error:
            raise RunError(str(error)) from error

    def on_train_begin(self, logs=None):
        try:
            super().on_train_begin(logs)
        except ValueError as error:
            raise RunError(str(error)) from error
        self._first_edition = False  # the next file is ours

    def _compare(self, facts, found):
        self._first_edition = "configuration" not in facts
        return super()._compare(facts, found)

    def _variables(self):
        variables = super()._variables()
        return first_edition_order(variables) if self._first_edition else variables


def first_edition_order(variables: Sequence[keras.Variable]) -> list[keras.Variable]:
    """The variables of a GPT and its optimizer in the order of the first edition.

    There the normalisation of queries and keys stood behind the other parts of attention, now it stands before them.
    """
    ordered, held = [], []
    for variable in variables:
        if _NORM.search(variable.path):
            held.append(variable)
            continue
        if held and not _PART.search(variable.path):
            ordered, held = ordered + held, []
        ordered.append(variable)
    return ordered + held
