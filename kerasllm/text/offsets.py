"""Where in a text its tokens stand."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kerasllm.text.checks import check_texts, wrong_text
from kerasllm.text.cutting import groups_of
from kerasllm.text.tokenizer import Tokenizer


def encode_with_offsets(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[list[list[int]], list[np.ndarray]]:
    """The ids of texts, and for each id the characters that it stands for.

    Several tokens may stand for one character (its bytes), and one for characters that the tokenizer changed, such as
    capitals. A byte-level token begins with the space before its word.

    Args:
        tokenizer: the tokenizer.
        texts: the texts.

    Returns:
        For each text its ids, as `Tokenizer.encode` gives them, and an int64 array (ids, 2): the place of the first
        character of each, and the place after its last one.

    Raises:
        TypeError: if a text is not a str.
        ValueError: for a lone surrogate.

    Example:
        >>> from kerasllm import text
        >>> tokenizer = text.train_wordpiece(["low lower lowest"], 17)
        >>> ids, offsets = encode_with_offsets(tokenizer, ["so low, lowest"])
        >>> ["so low, lowest"[start:end] for start, end in offsets[0]]
        ['s', 'o', 'low', ',', 'low', 'e', 's', 't']
    """
    check_texts(texts, one="Use [text].")
    texts = list(texts)
    if not all(isinstance(text, str) for text in texts):
        raise wrong_text(texts)
    table = tokenizer._characters
    if table is not None and table.normalizer is None:
        return _of_characters(table, texts)
    ids, offsets = [[] for _ in texts], [[np.zeros((0, 2), "int64")] for _ in texts]
    starts = [0] * len(texts)
    for group in groups_of(texts, cut=tokenizer._can_be_cut):
        try:
            encodings = tokenizer._backend.encode_batch([piece for _, piece in group], add_special_tokens=False)
        except TypeError:  # a lone surrogate
            raise wrong_text(texts) from None
        for (place, piece), encoding in zip(group, encodings, strict=True):
            ids[place] += encoding.ids
            offsets[place].append(np.array(encoding.offsets, "int64").reshape(-1, 2) + starts[place])
            starts[place] += len(piece)
    return ids, [np.concatenate(parts) for parts in offsets]


def _of_characters(table, texts) -> tuple[list[list[int]], list[np.ndarray]]:
    """One character after the other: the library takes minutes for a long text of them."""
    ids, offsets = [], []
    for text in texts:
        try:
            found, ends = table.encode(list(text))
        except UnicodeEncodeError:
            raise wrong_text(texts) from None
        places = np.repeat(np.arange(len(text)), np.diff(ends, prepend=0))
        ids.append(found.tolist())
        offsets.append(np.stack([places, places + 1], axis=1))
    return ids, offsets
