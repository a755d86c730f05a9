"""What the training of every kind of tokenizer needs: texts in pieces, special tokens, sizes that are possible."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from kerasllm.common import whole_number
from kerasllm.text.backend import MOST_TOKENS
from kerasllm.text.checks import check_text, check_texts
from kerasllm.text.cutting import pieces_of
from kerasllm.text.roles import ROLES

# A special token holds signs and letters: no tokenizer here joins the two, so no text can make one.
_SPECIAL = re.compile(r"(?!<0x)[<\[][!-~]*[A-Za-z0-9][!-~]*[>\]]")


def special_names(unknown: bool, bos: bool, eos: bool, mask: bool, extra: Sequence[str]) -> list[str]:
    """The special tokens of a tokenizer to be trained, in the order of their ids."""
    wanted = {"pad": True, "unknown": unknown, "bos": bos, "eos": eos, "mask": mask}
    tokens = [ROLES[role][0] for role, present in wanted.items() if present]
    extra = [extra] if isinstance(extra, str) else list(extra)
    for token in extra:
        if not isinstance(token, str) or not _SPECIAL.fullmatch(token):
            raise ValueError(
                f"The special token {token!r} could be mistaken for text. Write it in brackets, with at least one "
                "ASCII letter or digit and no space: '<user>' or '[USER]'."
            )
    twice = [token for token, count in Counter(tokens + extra).items() if count > 1]
    if twice:
        raise ValueError(f"The special token {twice[0]!r} is given twice. Name it once.")
    return tokens + extra


def corpus(texts: Iterable[str]) -> Iterator[str]:
    """The texts, checked, long ones in pieces; cut inside a word only where one is as long as a piece."""
    check_texts(texts)
    characters = 0
    for place, text in enumerate(texts):
        check_text(text, place)
        characters += len(text)
        yield from pieces_of(text, whole_words=False)
    if not characters:
        raise ValueError("There is no text to train on: the texts are empty. Is the generator used up already?")


def checked_size(size: int, least: int, parts: str, remedy: str = "") -> int:
    """The size of a vocabulary as an int, if there can be one of that size.

    Args:
        size: what was given.
        least: how many tokens there are without any training.
        parts: what these are, for the message.
        remedy: what would help besides a larger size, for the message.

    Raises:
        ValueError: if it is no whole number, too small or too large.
    """
    size = whole_number("vocabulary_size", size)
    if size > MOST_TOKENS:
        raise ValueError(
            f"vocabulary_size {size} is too large: at most {MOST_TOKENS} are possible, four times the largest "
            "vocabularies in use, because room for all of them is taken before the training starts. "
            "Usual are 1,000 to 256,000."
        )
    if size < least:
        raise ValueError(
            f"vocabulary_size {size} is too small: {parts} need {least}. Take vocabulary_size={least} or more{remedy}."
        )
    return size


def checked_count(name: str, count: int) -> int:
    """How often something must occur, as an int that the library can hold."""
    return whole_number(name, count, 1, (1 << 63) - 1)
