"""Whether a reader sees anything of a text: one rule for cleaning, for dropping rows and for labels."""

import re
import unicodedata

# White space, control codes and invisible marks. A character that Unicode gave after Python's tables (Cn) may be seen.
_UNSEEN = {"Zs", "Zl", "Zp", "Cc", "Cf"}
# Characters that show nothing although Unicode counts them among letters, signs or accents.
_FILLER = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def is_visible(text: str) -> bool:
    """Whether anything of a text can be seen: it is more than white space, control codes and invisible marks.

    Example:
        >>> is_visible("\\u200b \\ufeff"), is_visible(":-)")
        (False, True)
    """
    return any(map(_seen, text))


def _seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN and not _FILLER.match(character)
