"""Cleaning of text, step by step, with a report of what each step changed."""

from __future__ import annotations

import html as entities
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from kerasllm.text.checks import check_text, check_texts

if TYPE_CHECKING:
    import pandas as pd

_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.S)
_BREAK = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Control characters and invisible marks. The joiners U+200C and U+200D are kept: emoji, Persian and
# Indian scripts need them.
_CONTROL = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
# Characters that show nothing although Unicode counts them among letters, signs or accents.
_FILLER = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
# Full-width letters and digits. Full-width signs stay: they are the signs of Chinese.
_HALF = {code: code - 0xFEE0 for code in range(0xFF10, 0xFF5B) if unicodedata.category(chr(code))[0] in "LN"}


def clean(
    text: str,
    *,
    tags: bool = False,
    html: bool = True,
    control: bool = True,
    width: bool = False,
    form: str | None = "NFC",
    space: bool = True,
    lower: bool = False,
) -> str:
    """Clean a text. The steps run in the order of the arguments; each can be switched off.

    Args:
        text: the text.
        tags: replace HTML tags and comments (``<br />``) by a space.
        html: replace HTML entities (``&amp;``) by their characters.
        control: make every kind of line end (CR LF, U+2028) a newline, and remove control characters
            and invisible marks (zero-width space, byte-order mark, soft hyphen, direction marks).
        width: replace full-width letters and digits (``Ａ１``) by the usual ones. Chinese signs stay.
        form: Unicode normal form. "NFC" joins a letter and its accents to one character where there is
            one; "NFKC" also replaces look-alikes (``ﬁ``, ``①``, all full-width signs), which loses
            information; None leaves the text as it is.
        space: make every run of white space one space, keep newlines, and strip lines and text.
        lower: lower-case the text.

    Returns:
        The cleaned text.

    Raises:
        TypeError: if `text` is not a str.
        ValueError: if `form` is no normal form, or the text holds a lone surrogate.

    Example:
        >>> clean(" Fish &amp;\\u00a0chips\\u200b ")
        'Fish & chips'
    """
    check_text(text, 0)
    for _, step in _steps(tags, html, control, width, form, space, lower):
        text = step(text)
    return text


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: it is empty, or all white space and invisible characters.

    Args:
        text: the text.

    Returns:
        True for ``""``, white space, and a text of nothing but zero-width spaces and joiners, byte-order marks,
        control characters, selectors of a variant and fillers.

    Raises:
        TypeError: if `text` is not a str.
        ValueError: if the text holds a lone surrogate.

    Example:
        >>> is_blank("\\u200b\\ufeff \\x07"), is_blank(":)"), is_blank("中")
        (True, False, False)
    """
    check_text(text, 0)
    return not any(map(_visible, text))


def cleaning_report(
    texts: Iterable[str],
    *,
    tags: bool = False,
    html: bool = True,
    control: bool = True,
    width: bool = False,
    form: str | None = "NFC",
    space: bool = True,
    lower: bool = False,
) -> pd.DataFrame:
    """What `clean` changes in these texts: for each step how many texts, and the first example.

    Args:
        texts: the texts.
        tags, html, control, width, form, space, lower: see `clean`.

    Returns:
        A frame with one row for each step, in the order in which they run, and the columns ``texts``
        (how many texts the step changed), ``before`` and ``after`` (the first change with a few characters
        around it, invisible characters escaped). ``attrs["texts"]`` is the number of texts.

    Raises:
        TypeError: if one of the texts is not a str.
        ValueError: see `clean`.

    Example:
        >>> report = cleaning_report(["Tom &amp; Jerry", "plain"])
        >>> report.loc["html", "before"], report.loc["html", "after"]
        ('Tom &amp; Jerry', 'Tom & Jerry')
    """
    import pandas as pd

    check_texts(texts)
    steps = _steps(tags, html, control, width, form, space, lower)
    rows = {name: {"texts": 0, "before": "", "after": ""} for name, _ in steps}
    total = 0
    for place, text in enumerate(texts):
        check_text(text, place)
        total += 1
        for name, step in steps:
            changed = step(text)
            if changed != text:
                row = rows[name]
                if not row["texts"]:
                    row["before"], row["after"] = _first_change(text, changed)
                row["texts"] += 1
            text = changed
    report = pd.DataFrame.from_dict(rows, orient="index", columns=["texts", "before", "after"])
    report.index.name = "step"
    report.attrs["texts"] = total
    return report


def _steps(
    tags: bool, html: bool, control: bool, width: bool, form: str | None, space: bool, lower: bool
) -> list[tuple[str, Callable[[str], str]]]:
    if form is not None and form not in _FORMS:
        raise ValueError(f"form {form!r} is no Unicode normal form. Use one of {', '.join(_FORMS)}, or None.")
    steps = {
        "tags": tags and (lambda text: _TAG.sub(" ", text)),
        "html": html and entities.unescape,
        "control": control and (lambda text: _CONTROL.sub("", _BREAK.sub("\n", text))),
        "width": width and (lambda text: text.translate(_HALF)),
        # After the two before it: control marks may have stood between a letter and its accent, and only a letter of
        # usual width can be joined with its accent.
        "form": form and (lambda text: unicodedata.normalize(form, text)),
        "space": space and _squeeze,
        "lower": lower and str.lower,
    }
    return [(name, step) for name, step in steps.items() if step]


def _visible(character: str) -> bool:
    # Z: white space; Cc, Cf: control and format.
    category = unicodedata.category(character)
    return category[0] != "Z" and category not in ("Cc", "Cf") and not _FILLER.match(character)


def _squeeze(text: str) -> str:
    return re.sub(r" ?\n ?", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()


def _first_change(before: str, after: str, around: int = 12) -> tuple[str, str]:
    """The stretch in which two texts differ first, with some characters around it."""
    pairs = zip(before, after, strict=False)
    start = next((i for i, (old, new) in enumerate(pairs) if old != new), min(len(before), len(after)))
    start = max(0, start - around)
    return tuple(repr(text[start : start + 3 * around])[1:-1] for text in (before, after))
