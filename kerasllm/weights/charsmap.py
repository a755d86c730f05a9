"""SentencePiece's table of characters, as the `tokenizers` library reads it: what each character of a text becomes.

The table is the length of a search tree in bytes, the tree, and texts that end with a zero byte. The tree is a double
array of uint32: the children of a node stand at ``base ^ byte``, and each holds its byte, the way to its own children,
and whether the characters so far are an entry.

Reference: darts.h and normalizer.cc of https://github.com/google/sentencepiece.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

LEAF, HAS_LEAF = 1 << 31, 1 << 8  # a unit that holds a place in the texts; a node with such a child


def charsmap_of(table: Mapping[str, str]) -> bytes:
    """The bytes for `tokenizers.normalizers.Precompiled`.

    Args:
        table: from characters, or a few together, to what they become; to "" if they are left out.

    Returns:
        The table as bytes.

    Raises:
        ValueError: if an entry is empty, or a text holds the character 0.

    Example:
        >>> from tokenizers import normalizers
        >>> normalizers.Precompiled(charsmap_of({"ﬁ": "fi", "Ａ": "A", "\\t": " "})).normalize_str("ﬁne\\tＡb")
        'fine Ab'
    """
    if any("\0" in text for pair in table.items() for text in pair) or "" in table:
        raise ValueError("An entry of a table of characters is neither empty nor holds the character 0.")
    texts, places = bytearray(), {}
    for text in sorted(set(table.values())):
        places[text] = len(texts)
        texts += text.encode() + b"\0"
    tree: dict = {}
    for characters, text in table.items():
        node = tree
        for byte in characters.encode():
            node = node.setdefault(byte, {})
        node[0] = places[text]  # no character but 0 has this byte
    units = _laid_out(tree)
    return (4 * len(units)).to_bytes(4, "little") + units.tobytes() + bytes(texts)


def _laid_out(tree: dict) -> np.ndarray:
    """The double array of a tree: uint32, a multiple of 256 long, so that every way ends inside."""
    units, used, taken = np.zeros(256, "<u4"), np.zeros(256, bool), np.zeros(256, bool)
    used[0] = True  # the root
    nodes = [(tree, 0)]
    for node, place in nodes:
        labels = np.array(sorted(node))
        base = _free(used, taken, labels)
        if base >= len(units):
            units, used, taken = (np.concatenate([one, np.zeros(256, one.dtype)]) for one in (units, used, taken))
        taken[base] = used[base ^ labels] = True
        units[place] |= (place ^ base) << 10 | (HAS_LEAF if 0 in node else 0)
        for label, child in node.items():
            units[base ^ label] = LEAF | child if label == 0 else label
            if label:
                nodes.append((child, base ^ label))
    return units


def _free(used: np.ndarray, taken: np.ndarray, labels: np.ndarray) -> int:
    """The first base at which all children find a free place, and that no other node has: it tells children apart."""
    bases = np.flatnonzero(~taken)
    found = bases[~used[bases[:, None] ^ labels].any(axis=1)]
    return int(found[0]) if len(found) else len(used)  # behind the end everything is free
