"""Errors that the user of the command line can mend: one line each."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# What the library calls its arguments, and what they are called here.
FLAGS = {
    "num_layers": "layers",
    "num_heads": "heads",
    "embedding_dim": "width",
    "context_length": "context",
    "max_length": "context",
    "vocabulary_size": "vocabulary",
    "batch_size": "batch",
}
OPTIONS = (
    *("layers", "heads", "width", "context", "dropout", "vocabulary", "steps", "batch", "recipe", "learning_rate"),
    *("accumulate", "mixed_precision", "evaluate_every", "checkpoint_every", "patience", "seed", "dtype", "config"),
    *("tokenizer", *FLAGS),
)
PHRASES = {
    "another folder": "another --out",
    "to resume: start one": "to resume: leave --resume out to start one",
    "is not empty: resume its run": "is not empty: add --resume to go on with it",
    "leave steps out": "leave --steps out",
    "lower learning_rate": "lower --learning-rate",
}
BACKENDS = ("tensorflow", "jax", "torch")
# How the backends say that the memory of a device is full.
OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|ResourceExhausted|OOM when|out of memory", re.IGNORECASE)


class UserError(Exception):
    """Something the user can mend; the message is one line and says how."""


@contextlib.contextmanager
def told(*kinds, about: str = "") -> Iterator[None]:
    """Errors of these kinds become a `UserError` of one line, in the words of the command line."""
    try:
        yield
    except kinds as error:
        raise UserError(about + worded(str(error))) from error


def worded(message: str) -> str:
    """A message of the library with the options of the command line in place of its arguments.

    Example:
        >>> worded("batch must be a whole number from 1 up, not 0.")
        '--batch must be a whole number from 1 up, not 0.'
        >>> worded("embedding_dim=12 cannot be cut into num_heads=5 equal heads")
        '--width 12 cannot be cut into --heads 5 equal heads'
    """
    message = " ".join(message.split())
    for phrase, here in PHRASES.items():
        message = message.replace(phrase, here)
    names = "|".join(OPTIONS)
    message = re.sub(rf"\b({names})=(?=\S)", lambda found: _flag(found[1]) + " ", message)
    message = re.sub(rf"^({names})(?= must|:)", lambda found: _flag(found[1]), message)
    return re.sub(r"(?<= is )(width)( divided by )(heads)", r"--\1\2--\3", message)


def _flag(name: str) -> str:
    return "--" + FLAGS.get(name, name).replace("_", "-")


def explained(error: BaseException) -> str | None:
    """One line for an error that is no bug of ours; None for a bug."""
    if isinstance(error, ImportError) and not (error.name or "").startswith("kerasllm"):
        return _missing(error)
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(f"{type(error).__name__} {error}"):
        return f"memory is full: take a smaller --batch, --context or model ({_first_line(error)})"
    if isinstance(error, UnicodeError):
        return f"a text is no UTF-8 ({_first_line(error)}): convert it, or set PYTHONUTF8=1"
    if isinstance(error, OSError):
        return _file_problem(error)
    return None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__


def _missing(error: ImportError) -> str:
    package = (error.name or "").split(".")[0]
    if package not in BACKENDS:
        known = isinstance(error, ModuleNotFoundError) and package  # without a word about the fix
        return f"the package {package} is not installed: pip install {package}" if known else _first_line(error)
    from importlib.util import find_spec

    others = [one for one in BACKENDS if one != package and find_spec(one)]
    instead = f", or set KERAS_BACKEND={others[0]}, which is installed" if others else ""
    return f'the backend {package} of Keras is not installed: pip install "kerasllm[{package}]"{instead}'


def _file_problem(error: OSError) -> str:
    where = ": ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    what = f"{where}: {error.strerror}" if where and error.strerror else _first_line(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({what}): free some space, then go on"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{what}: choose a place that you may write to and read from"
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOENT):
        return f"{what}: choose another path"
    return f"{what}: mend it, then try again"


def program() -> str:
    """How the user called this program, for the commands that it prints."""
    return "kerasllm" if Path(sys.argv[0]).stem == "kerasllm" else "python -m kerasllm"


def command(*words: str | os.PathLike) -> str:
    """A command that can be pasted into a shell."""
    import shlex

    return program() + " " + shlex.join(str(word) for word in words)
