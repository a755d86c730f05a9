"""How a claim or a check reaches the reader: in a notebook, in a terminal, in a terminal without ticks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from kerasllm.common.notebook import in_notebook

# What stands for a sign where the terminal's character set lacks it (Windows: cp1252).
_ASCII = str.maketrans(
    {"✓": "ok", "✗": "no", "○": "--", "±": "+/-", "“": '"', "”": '"', "≈": "about", "≥": ">=", "≤": "<=", "×": "x"}
)


def say(line: str, extra: Mapping[str, Any] | None = None) -> None:
    """Print a line; inside a notebook, display it together with `extra`.

    Args:
        line: the text. A terminal that cannot write one of its signs gets plain letters instead.
        extra: more forms of the same content, by MIME type: HTML for the page, JSON for the builder.
    """
    if in_notebook():
        from IPython.display import display

        display({"text/plain": line, **(extra or {})}, raw=True)
    else:
        print(printable(line, sys.stdout.encoding))


def printable(line: str, encoding: str | None) -> str:
    """`line` as `encoding` can write it: unchanged where it can, else with plain letters for signs.

    Args:
        line: the text.
        encoding: the character set of the terminal; None for a stream of text, which takes every sign.

    Returns:
        A text that `encoding` can write.

    Example:
        >>> printable("✓ 2 of 2 cases pass", "cp1252")
        'ok 2 of 2 cases pass'
    """
    if encoding is None:
        return line
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return line.translate(_ASCII).encode(encoding, errors="replace").decode(encoding)
    return line
