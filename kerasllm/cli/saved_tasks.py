"""The tasks of `kerasllm.tasks` in their files, and the texts that they are asked about."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from kerasllm.cli.errors import UserError, told
from kerasllm.cli.lines import piped_lines
from kerasllm.cli.starting import load_keras, quiet

LINES = 64  # lines of a pipe that are answered together
# For each task what it does, and the command that asks it.
COMMANDS = {
    "Translator": ("translate", "translate"),
    "TokenTagger": ("tag words", "tag"),
    "SpanFinder": ("find answers", "answer"),
    "TextClassifier": ("classify", "classify"),
}


def load_task(path: Path, name: str):
    """The task of a file.

    Args:
        path: of a ``*.keras`` file.
        name: the class that it should hold, one of `COMMANDS`.

    Returns:
        The model, not compiled.

    Raises:
        UserError: if there is none of this class in it, or it cannot be read.
    """
    does, _ = COMMANDS[name]
    if path.suffix != ".keras" or not path.is_file():
        what = "an" if name[0] in "AEIOU" else "a"
        raise UserError(f"there is no file {path} of {what} {name}: name the *.keras that {name}.save wrote")
    load_keras()
    with quiet():
        import keras

        from kerasllm import tasks

        with told(OSError, ValueError, TypeError, KeyError, about=f"{path}: "):
            model = keras.saving.load_model(path, compile=False)
    if not isinstance(model, getattr(tasks, name)):
        found = type(model).__name__
        other = f", or use the command {COMMANDS[found][1]}" if found in COMMANDS else ""
        raise UserError(f"{path} holds a {found}, which does not {does}: name a saved {name}{other}")
    return model


def asked_texts(texts: list[str]) -> Iterator[list[str]]:
    """The texts of the command line; without any, lines of stdin: one at a time from a terminal, several from a pipe.

    Args:
        texts: those of the command line.

    Yields:
        Lists of texts to answer together.
    """
    if texts:
        yield texts
        return
    lines, count = piped_lines(), 1 if sys.stdin is not None and sys.stdin.isatty() else LINES
    while group := list(islice(lines, count)):
        yield group


def print_line(text: str) -> None:
    """Print a text as one line."""
    print(" ".join(text.splitlines()), flush=True)


def print_json(**found) -> None:
    """Print an object as a line of JSON; in ASCII where stdout cannot hold every character."""
    unicode = "utf" in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    print(json.dumps(found, ensure_ascii=not unicode), flush=True)
