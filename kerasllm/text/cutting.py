"""How texts are cut into words, and long texts into pieces first.

The `tokenizers` library needs 80 to 150 bytes of memory for each character that it has at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

# Scripts that are written without spaces between words.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTERS = rf"[\p{{L}}\p{{M}}\p{{N}}_&&[^{UNSPACED}]]"
# One character of such a script; a word with its apostrophes; any other sign alone.
_WORD = rf"[{UNSPACED}]\p{{M}}*|{_LETTERS}+(?:['’]{_LETTERS}+)*|[^\s]"

PIECE = 1 << 16  # characters
LONGEST = 1 << 20  # characters without an end of a word that stay together, for the same ids as from the whole text
# A place where both ways below end a word, whatever follows: white space behind anything else, or one of these signs
# behind a letter. Only characters of which all versions of Unicode say the same.
_END = re.compile(r"\S(?=[ \t\r\n\u3000])|[A-Za-z0-9\u4e00-\u9fff](?=[,.;:!?，。、；：！？])")
_NEAR = 512


def by_bytes() -> pre_tokenizers.PreTokenizer:
    """GPT-2's way: runs of letters, of digits, of signs, each with the space before it; then bytes."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def by_words() -> pre_tokenizers.PreTokenizer:
    """Words as people count them, signs alone; each character of a script without spaces; no white space."""
    return pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)


def can_be_cut(backend: tokenizers.Tokenizer) -> bool:
    """Whether the ids of a text are those of its pieces, one behind the other: so it is in the two ways above.

    In a word longer than `LONGEST` they may differ where it is cut. Its bytes, and so the decoded text, stay the same.
    """
    if not all(token.special for token in backend.get_added_tokens_decoder().values()):
        return False  # a token with a space inside
    if not (backend.normalizer is None or isinstance(backend.normalizer, normalizers.Lowercase)):
        return False
    if backend.pre_tokenizer is None:
        return False
    ways = [json.loads(way.__getstate__()) for way in (by_bytes(), by_words(), backend.pre_tokenizer)]
    return ways.pop() in ways


def pieces_of(text: str, *, whole_words: bool) -> Iterator[str]:
    """A text in pieces that join to it again, cut where a word ends.

    Args:
        text: the text.
        whole_words: whether a piece becomes longer than `PIECE`, up to `LONGEST`, rather than being cut inside a word.

    Yields:
        The pieces; one, the text itself, when it has at most `PIECE` characters.

    Example:
        >>> [len(piece) for piece in pieces_of("word " * 20_000, whole_words=True)]
        [65534, 34466]
    """
    start = 0
    while len(text) - start > PIECE:
        end = _last_end(text, start, start + PIECE)
        if end is None and whole_words:
            after = _END.search(text, start + PIECE, start + LONGEST)
            end = after.end() if after else min(start + LONGEST, len(text))
        end = end or start + PIECE
        yield text[start:end]
        start = end
    if start < len(text) or not text:
        yield text[start:]


def groups_of(texts: Iterable[str], cut: bool) -> Iterator[list[tuple[int, str]]]:
    """Texts, or their pieces, in groups of about 64 pieces, so that many are worked on at once and not all.

    Args:
        texts: the texts; what is no str goes through, for the library to refuse it.
        cut: whether long texts are cut where a word ends.

    Yields:
        Lists of pairs: the place of a text among the texts, and a piece of it.
    """
    group, size = [], 0
    for place, text in enumerate(texts):
        long = cut and isinstance(text, str) and len(text) > PIECE
        for piece in pieces_of(text, whole_words=True) if long else [text]:
            group.append((place, piece))
            size += len(piece) if isinstance(piece, str) else 0
            if size > 64 * PIECE:
                yield group
                group, size = [], 0
    if group:
        yield group


def _last_end(text: str, start: int, end: int) -> int | None:
    """The last end of a word in text[start:end]; it is looked for near the end first."""
    for first in (max(start, end - _NEAR), start):
        found = None
        for found in _END.finditer(text, first, end + 1):  # noqa: B007 (the last one is wanted)
            pass
        if found and found.end() <= end:
            return found.end()
    return None
