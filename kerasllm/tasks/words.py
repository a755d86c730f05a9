"""Texts cut into what has a label, and long rows of words into windows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from kerasllm.text.checks import check_text, check_texts
from kerasllm.text.cutting import by_words


class Cut(NamedTuple):
    """A text and the places of its words.

    Attributes:
        text: the text.
        spans: for each word the place of its first character and the one after its last.
    """

    text: str
    spans: list[tuple[int, int]]

    @property
    def words(self) -> list[str]:
        """The words, each with one space in front where white space stands before it: so a tokenizer knows words."""
        text = self.text
        return [" " * (start > 0 and text[start - 1].isspace()) + text[start:end] for start, end in self.spans]


def cut_texts(texts: Sequence, unit: str, method: str) -> list[Cut]:
    """Each text with the places of its words.

    Args:
        texts: strings, or lists of words.
        unit: "word" or "character": how strings are cut, and whether words are joined with a space or without.
        method: what was called, for the message.

    Raises:
        TypeError: if it is one string, or something in it is neither a string nor a list of strings.
        ValueError: if a word is empty, or a text holds a lone surrogate.

    Example:
        >>> cut_texts(["Hi, you!", ["Hi", "you!"]], "word", "tag")[0].spans
        [(0, 2), (2, 3), (4, 7), (7, 8)]
    """
    if isinstance(texts, str) or not hasattr(texts, "__iter__"):
        raise TypeError(f"Give a list of texts, not {texts!r:.40}: {method}([text]).")
    check_texts(texts)  # Python would go through bytes, a dictionary or a frame
    return [_cut(one, unit, place) for place, one in enumerate(texts)]


def _cut(one, unit, place) -> Cut:
    if isinstance(one, str):
        check_text(one, place)
        if unit == "character":
            return Cut(one, [(i, i + 1) for i, character in enumerate(one) if not character.isspace()])
        return Cut(one, [span for _, span in by_words().pre_tokenize_str(one)])
    if not isinstance(one, list | tuple | np.ndarray):
        raise TypeError(f"The text at position {place} is {type(one).__name__}, not a string or a list: {one!r}.")
    words = list(one)
    for number, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(f"Word {number} of text {place} is {type(word).__name__}, not a string: {word!r}.")
        if not word:
            raise ValueError(f"Word {number} of text {place} is empty: leave it out, and its label.")
    between = "" if unit == "character" else " "
    text = between.join(words)
    check_text(text, place)
    ends = np.cumsum([len(word) + len(between) for word in words]).tolist()
    return Cut(
        text, [(end - len(between) - len(word), end - len(between)) for end, word in zip(ends, words, strict=True)]
    )


def windows_of(lengths: Sequence[int], room: int | None) -> list[tuple[range, range]]:
    """A long row of words as windows that overlap by half of their tokens at most.

    Args:
        lengths: how many tokens each word has, at most `room`.
        room: how many tokens fit into a window; None puts all words into one.

    Returns:
        For each window the words that it holds, and those that count in it: the ones that stand nearer to its middle
        than to that of another window. Each word counts once.

    Example:
        >>> windows_of([1, 1, 1, 1, 1], room=4)
        [(range(0, 4), range(0, 3)), (range(2, 5), range(3, 5))]
    """
    ends = np.cumsum([0, *lengths])  # tokens before each word
    windows, begin, count = [], 0, len(lengths)
    while count:
        end = count if room is None else int(np.searchsorted(ends, ends[begin] + room, side="right")) - 1
        windows.append((begin, end))
        if end == count:
            break
        begin = max(int(np.searchsorted(ends, ends[end] - room // 2)), begin + 1)
    borders = [0, *((after[0] + before[1]) // 2 for before, after in pairwise(windows)), count]
    kept = [range(*pair) for pair in pairwise(borders)]
    return [(range(*window), counted) for window, counted in zip(windows, kept, strict=False)]
