"""Texts cut into sentences, and what of them says most."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from kerasllm.common import share

_END = re.compile(
    r"""[.!?…؟۔।]+["'”’»)\]]*(?=\s)"""  # a mark, perhaps a bracket or quotation mark, then white space
    r"""|[。！？]+["”’」』）]*"""  # scripts without spaces
    r"""|(?=\n\s*\n)"""  # an empty line
)
# What stands before a point that ends no sentence: an abbreviation, or one capital letter (J. Doe, U.S.).
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Gen|Sen|Rep|Gov|Lt|Col|Sgt|Jr|Sr|vs|e\.g|i\.e)|\b[A-Z])\.$")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text begin and end, the white space around them left out.

    A sentence ends at a mark such as . ! ? with white space behind it, at the marks of Chinese and Japanese, and at an
    empty line. It goes on behind an abbreviation, a single capital letter, and where a small letter follows. So "in the
    U.S. He" stays one sentence: without a dictionary a rule must be wrong somewhere.

    Args:
        text: a text of any language; without any such mark it is one sentence.

    Returns:
        For each sentence the place of its first character and the one after its last.

    Example:
        >>> text = "Dr. Lee won 3.5 million. “Really?” he asked. 好。对！"
        >>> [text[start:end] for start, end in sentence_spans(text)]
        ['Dr. Lee won 3.5 million.', '“Really?” he asked.', '好。', '对！']
    """
    ends = [found.end() for found in _END.finditer(text) if _ends(text, found)]
    spans, start = [], 0
    for end in [*ends, len(text)]:
        piece = text[start:end]
        if piece.strip():
            spans.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
        start = end
    return spans


def _ends(text: str, found: re.Match) -> bool:
    if not found[0] or found[0][0] in "。！？":
        return True
    behind = text[found.end() : found.end() + 40].lstrip()[:1]
    before = text[max(0, found.start() - 12) : found.start() + 1]
    return not behind.islower() and not _ABBREVIATION.search(before)


def lexrank(sentences: list[list[str]], damping: float = 0.85) -> np.ndarray:
    r"""How central each sentence is: what a walk visits that goes from sentence to sentence by their likeness.

    Sentences are vectors of counts of words, each times $\ln(n / n_w) + 1$ for a word that $n_w$ of the n sentences
    have. With the cosines of these vectors, divided by the sums of their rows, as the matrix M, the scores solve
    $p = (1 - d) / n + d M^T p$. A sentence that shares no word with any other keeps its walk, and so has 1/n.

    Args:
        sentences: for each its words; one without words is like all others.
        damping: d, the share of steps that follow likeness; the others go anywhere.

    Returns:
        float64 array (sentences,), which sums to 1.

    Example:
        >>> found = lexrank([["cats", "sleep"], ["cats", "sleep", "long"], ["rain"]])
        >>> int(found.argmin()), round(float(found.sum()), 6)
        (2, 1.0)

    Reference: Erkan and Radev (2004), "LexRank: Graph-based Lexical Centrality as Salience in Text Summarization",
    section 3.2, equation 4, without a threshold (section 3.3).
    """
    share("damping", damping)
    n = len(sentences)
    if not n:
        return np.zeros(0)
    counts = [Counter(words) for words in sentences]
    often = Counter(word for one in counts for word in one)  # in how many sentences
    column = {word: place for place, word in enumerate(often)}
    vectors = np.zeros((n, max(len(column), 1)))
    for row, one in zip(vectors, counts, strict=True):
        for word, count in one.items():
            row[column[word]] = count * (np.log(n / often[word]) + 1)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms, norms, 1)
    alike = vectors @ vectors.T  # (sentences, sentences)
    alike[norms[:, 0] == 0] = 1
    walk = alike / alike.sum(axis=1, keepdims=True)
    return np.linalg.solve(np.eye(n) - damping * walk.T, np.full(n, (1 - damping) / n))
