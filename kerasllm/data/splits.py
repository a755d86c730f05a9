"""Fixed splits: where a row goes is decided by its content, so no text can be in two parts."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

# 70 / 10 / 20. The lessons compare models that differ by about 1.5 points of accuracy on sets of
# 10,000 to 17,000 texts. Two such models disagree on about 15% of the texts, so the standard error
# of their difference is sqrt(0.15 / n): 1.2 points on a tenth of 10,000 texts, 0.9 on a fifth.
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1


class _Folded(dict):
    """A table for str.translate that deletes punctuation, white space, symbols and control codes."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code))[0] in "PZSC" else code
        return self[code]


_FOLDED = _Folded()
_INVISIBLE = {"Zs", "Zl", "Zp", "Cc", "Cf", "Cn"}
# Letters and signs that show nothing although Unicode does not call them controls: fillers, variation selectors.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def is_visible(text: str) -> bool:
    """Whether a reader sees anything of a text: no white space, control codes and invisible marks alone.

    Example:
        >>> is_visible("\\u200b \\ufeff"), is_visible(":-)")
        (False, True)
    """
    return any(unicodedata.category(one) not in _INVISIBLE for one in _BLANK.sub("", text))


def same(text: str) -> str:
    """What exact copies of a text have in common: all its characters, without case and with single spaces.

    Example:
        >>> same("A  good\\nFILM :)") == same("a good film :)"), same("x < y") == same("x > y")
        (True, False)
    """
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()) if is_visible(text) else ""


def fold(text: str) -> str:
    """What two near-copies of a text have in common: letters and digits, in one case and width.

    Text without letters or digits (":-)") keeps everything except white space.

    Example:
        >>> fold("It's  GREAT, really!") == fold("its great -- really")
        True
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return text.translate(_FOLDED) or "".join(text.split())


def split_of(content: bytes) -> str:
    """The part that this content belongs to: "train", "validation" or "test".

    Example:
        >>> split_of(fold("A good film.").encode())
        'train'
    """
    # The first 8 bytes of the hash as a fraction from 0 to 1; the same on every machine.
    place = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
    if place < TEST_SHARE:
        return "test"
    return "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"


def linked(keys: Iterable[Sequence[str]]) -> list[bytes]:
    """For each row what it shares with all rows that must be in its part: rows with a key in common, and theirs.

    Args:
        keys: for each row its keys, such as the folded sentence and its folded translation.

    Returns:
        The smallest key of the group of each row, for `clean`.

    Raises:
        ValueError: if a row has no key.

    Example:
        >>> linked([("hello", "hallo"), ("hi", "hallo"), ("bye", "adieu")])
        [b'hallo', b'hallo', b'adieu']
    """
    rows = [tuple(row) for row in keys]
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]  # halves the path for the next one
            key = parent[key]
        return key

    for place, row in enumerate(rows):
        if not row:
            raise ValueError(f"Row {place} has no key: give at least one, such as its folded text.")
        for key in row:
            small, large = sorted((root(row[0]), root(key)))
            parent[large] = small  # the root of a group is its smallest key
    return [root(row[0]).encode() for row in rows]


def clean(frame: pd.DataFrame, keys: pd.Series, near: pd.Series | None = None) -> pd.DataFrame:
    """Drop empty rows, rows whose copies have another label, and copies; then split by content.

    Args:
        frame: a frame, with a column ``label`` if copies may have different ones.
        keys: for each row what makes it a copy of another row; empty for empty rows.
        near: for each row, as bytes, what it shares with those that belong in the same part; `keys` when None.

    Returns:
        The rows left, in their first order, with the column ``split``. ``attrs`` holds what was
        dropped: ``rows_read``, ``dropped_empty``, ``dropped_conflicts``, ``dropped_duplicates``.
    """
    full = keys.map(len) > 0
    conflict = full & False
    if "label" in frame:
        conflict = full & (frame["label"].astype(str).groupby(keys).transform("nunique") > 1)
    kept = full & ~conflict
    first = kept & ~keys.where(kept).duplicated()
    result = frame[first].reset_index(drop=True)
    result["split"] = [split_of(key) for key in (keys if near is None else near)[first]]
    result.attrs = {
        "rows_read": len(frame),
        "dropped_empty": int((~full).sum()),
        "dropped_conflicts": int(conflict.sum()),
        "dropped_duplicates": int((kept & ~first).sum()),
    }
    return result
