"""The scored pieces of SentencePiece in a GGUF file: checked, and turned into what the `tokenizers` library takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from kerasllm.weights.tensors import shown

LONGEST = 512  # characters in a piece; SentencePiece's have up to 16 unless it was told otherwise
NEVER = -1e6  # a score with which a piece is not chosen while the text can be written otherwise


class Said(Protocol):
    """What these functions need of a file's words about its tokenizer."""

    tokens: list[str]
    vocabulary: dict[str, int]

    def list_of(self, key: str, kind: type, length: int | None = None) -> list: ...

    def wrong(self, key: str, what: str) -> ValueError: ...


def check_scores(said: Said) -> list[float]:
    """The score of each token. ValueError where there are none, or one is no number."""
    scores = said.list_of("scores", float, len(said.tokens))
    if not scores:
        raise said.wrong("scores", "is missing: the pieces of this tokenizer need them")
    wrong = [id for id, score in enumerate(scores) if not math.isfinite(score)]
    if wrong:
        raise said.wrong("scores", f"holds {scores[wrong[0]]} for token {wrong[0]}")
    return scores


def merges_by_score(said: Said, scores: Sequence[float], can_merge: Sequence[bool]) -> list[tuple[str, str]]:
    """All pairs of tokens that make a token, in the order in which they are merged: highest score of the whole first.

    Args:
        said: of the file.
        scores: of each token.
        can_merge: whether a token may come out of a merge. Special tokens may not: "<s>" in a text is three signs.
    """
    merges = []
    for id, token in enumerate(said.tokens):
        if not can_merge[id] or len(token) < 2:
            continue
        if len(token) > LONGEST:
            raise said.wrong("tokens", f"has a piece of {len(token):,} characters, {shown(token, 40)!r}")
        for cut in range(1, len(token)):
            left, right = said.vocabulary.get(token[:cut]), said.vocabulary.get(token[cut:])
            if left is not None and right is not None:
                merges.append((-scores[id], id, left, right))
    merges.sort()
    return [(said.tokens[left], said.tokens[right]) for _, _, left, right in merges]


def unigram_pieces(said: Said, scores: Sequence[float], ordinary: Sequence[bool]) -> list[tuple[str, float]]:
    """Pieces and scores, those of special tokens so low that no text is written with them."""
    rows = zip(said.tokens, scores, ordinary, strict=True)
    return [(token, score if wanted else NEVER) for token, score, wanted in rows]


def check_charsmap(said: Said, charsmap: list[int]) -> bytes:
    """The bytes of SentencePiece's table of characters, after a look at every place that it points to.

    The library does not look: a damaged table would end the process when a text leads to a wrong place. The table is
    the length of a search tree in bytes, the tree as a double array of uint32, and texts that end with a zero byte.

    Reference: darts.h and normalizer.cc of https://github.com/google/sentencepiece.
    """
    if len(charsmap) < 4 or min(charsmap) < 0 or max(charsmap) > 255:
        raise said.wrong("precompiled_charsmap", "is no list of bytes")
    content = bytes(charsmap)
    length = int.from_bytes(content[:4], "little")
    texts = content[4 + length :]
    if length % 1024 or not 0 < length <= len(content) - 4:
        raise said.wrong("precompiled_charsmap", f"is damaged: a tree of {length:,} in {len(content):,} bytes")
    units = np.frombuffer(content, "<u4", length // 4, offset=4)
    # A node's children begin at its own place, changed by the offset in its upper bits; a leaf holds a place in texts.
    leaf = units >> 31 == 1
    children = (np.arange(len(units)) ^ (units >> 10 << ((units >> 9 & 1) << 3))) | 255
    places = units[leaf] & 0x7FFFFFFF
    try:
        texts.decode()
    except UnicodeDecodeError:
        raise said.wrong("precompiled_charsmap", "is damaged: its texts are no UTF-8") from None
    inside = np.frombuffer(texts + b"\0", "u1") >> 6 == 2  # bytes that do not begin a character
    if (children[~leaf] >= len(units)).any() or (places > len(texts)).any() or inside[places].any():
        raise said.wrong("precompiled_charsmap", "is damaged: it points outside itself")
    return content
