"""``kerasllm translate``: texts of the command line, or each line of stdin, through a saved `Translator`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from kerasllm.cli.errors import UserError, told
from kerasllm.cli.lines import piped_lines
from kerasllm.cli.starting import load_keras, quiet

LINES = 64  # lines of a pipe that are translated together


def translate_texts(options) -> None:
    """Print a line for each text."""
    model = load_translator(options.model)
    for texts in [options.texts] if options.texts else _groups():
        with told(ValueError, TypeError):
            answers = model.translate(texts, options.beams, options.length_penalty)
        for answer in answers:
            print(" ".join(answer.splitlines()), flush=True)  # a line for a line


def load_translator(path: Path):
    """The `kerasllm.tasks.Translator` of a file.

    Raises:
        UserError: if there is none in it, or it cannot be read.
    """
    if path.suffix != ".keras" or not path.is_file():
        raise UserError(f"there is no file {path} of a translator: name the *.keras that Translator.save wrote")
    load_keras()
    with quiet():
        import keras

        from kerasllm.tasks import Translator

        with told(OSError, ValueError, TypeError, KeyError, about=f"{path}: "):
            model = keras.saving.load_model(path, compile=False)
    if not isinstance(model, Translator):
        raise UserError(f"{path} holds a {type(model).__name__}, which does not translate: name a saved Translator")
    return model


def _groups() -> Iterator[list[str]]:
    """Lines of stdin: one at a time from a terminal, several from a pipe."""
    lines, count = piped_lines(), 1 if sys.stdin is not None and sys.stdin.isatty() else LINES
    while group := list(islice(lines, count)):
        yield group
