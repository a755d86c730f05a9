"""Special tokens of a template kept apart from what users write: each has a twin that no user can type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import tokenizers

from kerasllm.text.backend import quiet

# Unicode's noncharacters: no text that people exchange holds one. A twin is a number between two of them.
MARKERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))


def free_marker(contents: Iterable[str]) -> str:
    """A marker that stands in none of the texts.

    Raises:
        ValueError: if all of them stand there.
    """
    used = set().union(*map(set, contents))
    found = next((marker for marker in MARKERS if marker not in used), None)
    if found is None:
        raise ValueError("The turns hold all of Unicode's noncharacters, U+FDD0 to U+FDEF. Is this a text? Clean it.")
    return found


class Marks:
    """The twins of a tokenizer's special tokens, around one marker.

    Texts of a template go through `mark`, what turns say does not. So a special token that a user spells out stays text
    wherever a template puts it.

    Args:
        json_text: the tokenizer's JSON.
        special: its special tokens and their ids.
        marker: a character that stands in no turn.
    """

    def __init__(self, json_text: str, special: dict[str, int], marker: str):
        self.tokens, self.marker = list(special), marker
        self._pattern = re.compile(f"{marker}([0-9]+){marker}")
        longest_first = sorted(special, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._twins = {token: f"{marker}{number}{marker}" for number, token in enumerate(special)}
        content = json.loads(json_text)
        content["post_processor"] = None  # it would move the places of tokens
        self._backend = quiet(json.dumps(content), special=False)
        flags = {token.content: token for token in self._backend.get_added_tokens_decoder().values()}
        self._backend.add_tokens([self._twin(flags[token]) for token in special])
        self._ids = {self._backend.token_to_id(self._twins[token]): id for token, id in special.items()}

    def _twin(self, token: tokenizers.AddedToken) -> tokenizers.AddedToken:
        spaces = {"lstrip": token.lstrip, "rstrip": token.rstrip, "single_word": token.single_word}
        return tokenizers.AddedToken(self._twins[token.content], normalized=False, special=False, **spaces)

    def mark(self, text: str) -> str:
        """The text with twins in place of special tokens."""
        return self._special.sub(lambda found: self._twins[found[0]], text)

    def plain(self, text: str) -> str:
        """The text with special tokens in place of twins."""
        return self._pattern.sub(lambda found: self.tokens[int(found[1])], text)

    def spelled(self, text: str) -> str | None:
        """The first special token that stands in a marked text letter by letter, or None."""
        found = self._special.search(text)
        return found and found[0]

    def twins_in(self, text: str, start: int = 0) -> list[tuple[str, int, int]]:
        """The special tokens of a marked text from a place on: token, first place, place behind it."""
        return [(self.tokens[int(found[1])], *found.span()) for found in self._pattern.finditer(text, start)]

    def encoded(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of a marked text, and for each the first place in the text and the place behind it."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        return [self._ids.get(id, id) for id in encoding.ids], encoding.offsets

    def shared(self, one: str, other: str) -> int:
        """How many characters two marked texts have in common at their start, a twin counted as a whole."""
        size = next(
            (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        # An odd number of markers: the last one opens a twin that only one of the two has.
        return one.rindex(self.marker, 0, size) if one.count(self.marker, 0, size) % 2 else size
