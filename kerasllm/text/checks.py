"""Checks of texts; each message names the place, what stands there and the fix."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def check_text(text: Any, place: int) -> None:
    """Raise for what is no Unicode text.

    Args:
        text: what should be a str without lone surrogates.
        place: its place among the texts, for the message.

    Raises:
        TypeError: if it is no str.
        ValueError: if it holds a lone surrogate.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"Text {place} is {text!r} ({type(text).__name__}), not a str. Drop missing values first: frame.dropna()."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Text {place} holds the lone surrogate U+{ord(text[error.start]):04X} at position {error.start}: half "
            "of a UTF-16 pair, no character. Repair it: "
            'text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").'
        ) from None


def check_texts(texts: Any, one: str = "Put it into a list: [text].") -> None:
    """Raise for what is no collection of texts although Python would go through it, or fail at it with a riddle.

    Args:
        texts: what should be an iterable of str.
        one: what to do with one text alone, for the message.

    Raises:
        TypeError: for a single text, a path, bytes, a mapping, a table, or what cannot be gone through.
    """
    if isinstance(texts, str):
        raise TypeError(f"Expected several texts, not the one text {texts[:40]!r}. {one}")
    kind = type(texts).__name__
    if isinstance(texts, os.PathLike):
        raise TypeError(f"Expected texts, not the path {os.fspath(texts)!r}. Read the file first: [path.read_text()].")
    if isinstance(texts, bytes | bytearray):
        raise TypeError(f"Expected texts, not {kind}. Decode them first: [data.decode('utf-8')].")
    if isinstance(texts, Mapping):
        raise TypeError(f"Expected texts, not a {kind}, of which only the keys would be read. Give its values().")
    if hasattr(texts, "columns"):
        raise TypeError(
            f"Expected texts, not a {kind}, of which only the names of the columns would be read. "
            f"Give one column: frame[{next(iter(texts.columns), 'text')!r}]."
        )
    if not hasattr(texts, "__iter__"):
        raise TypeError(f"Expected texts, not {texts!r} ({kind}). Give a list, a column or a generator of str.")


def wrong_text(texts: list) -> Exception:
    """The error for the first of the texts that is none."""
    for place, text in enumerate(texts):
        try:
            check_text(text, place)
        except (TypeError, ValueError) as error:
            return error
    return TypeError("The texts could not be encoded.")
