"""How near summaries come to those of people: ROUGE, with its doubt."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kerasllm.common import choice, whole_number

KINDS = ("1", "2", "L")
_LATIN = re.compile("[a-z0-9]+")
# Scripts without spaces between words: each of their characters is a word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


class SummaryScore(NamedTuple):
    """What `rouge` found, from 0 to 100: means over the texts.

    Attributes:
        value: F1, the harmonic mean of precision and recall of each text.
        precision: how much of the summary stands in the reference.
        recall: how much of the reference stands in the summary.
        low, high: between them lie the middle 95% of the F1 of texts drawn anew from these.
        signature: how it was counted: name it beside the score.
    """

    value: float
    precision: float
    recall: float
    low: float
    high: float
    signature: str


class SummaryComparison(NamedTuple):
    """What `compare_summaries` found.

    Attributes:
        baseline, system: a `SummaryScore` each.
        difference: F1 of the system less that of the baseline.
        low, high: between them lie the middle 95% of the differences of texts drawn anew, the same for both.
        p_value: how often texts drawn anew would show a difference as large by chance alone.
    """

    baseline: SummaryScore
    system: SummaryScore
    difference: float
    low: float
    high: float
    p_value: float


def rouge(
    summaries: Sequence[str],
    references: Sequence,
    kind: str = "L",
    words: str = "latin",
    samples: int = 1000,
    seed: int = 0,
) -> SummaryScore:
    r"""ROUGE of summaries: how many of their words, in pairs or in order, are those of a person's summary.

    For kind "1" words are counted, for "2" pairs of neighbours, for "L" the words of the longest common subsequence,
    which may have gaps. With this count c, precision is c divided by the count of the summary, recall c divided by that
    of the reference, and $F_1 = 2PR / (P + R)$.

    What a summary says is not seen: with "not" in the wrong place it scores as well. Words are not stemmed, so numbers
    of papers that use a stemmer are a little higher. Kind "L" takes a text as one sentence; the sum over sentences that
    papers on long summaries call ROUGE-Lsum is another number.

    Args:
        summaries: the texts of the system.
        references: for each the right summary, or a list of several; then the one with the best F1 counts.
        kind: "1", "2" or "L".
        words: "latin" for runs of a to z and digits, in lower case, as the original program has it: é ends a word, and
            a Chinese text has none. "unicode" for words of every script; each character of a script without spaces, as
            Chinese, is one.
        samples: how many times texts are drawn anew for the interval.
        seed: the same seed draws the same ones.

    Returns:
        A `SummaryScore`.

    Raises:
        TypeError: if a text is no string.
        ValueError: if there is not one reference a summary, one has no words, or a name is unknown.

    Example:
        >>> score = rouge(["police killed the gunman"], ["the police kill the gunman"], kind="2", samples=50)
        >>> round(score.precision, 1), round(score.recall, 1), round(score.value, 1)
        (33.3, 25.0, 28.6)

    Reference: Lin (2004), "ROUGE: A Package for Automatic Evaluation of Summaries", sections 2 and 3.1; Efron and
    Tibshirani (1993), "An Introduction to the Bootstrap", chapter 13, for the interval.
    """
    found = _each("summaries", summaries, references, kind, words)
    return _score(found, _drawn(len(found), samples, seed), _signature(kind, words, samples, seed))


def compare_summaries(
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence,
    kind: str = "L",
    words: str = "latin",
    samples: int = 1000,
    seed: int = 0,
) -> SummaryComparison:
    """Whether one system has a larger ROUGE than another, or only had luck with these texts: a paired bootstrap.

    Args:
        baseline: the summaries of the one system.
        system: those of the other, of the same texts.
        references, kind, words, samples, seed: see `rouge`.

    Returns:
        A `SummaryComparison`.

    Raises:
        TypeError, ValueError: as `rouge`.

    Example:
        >>> found = compare_summaries(["a cat", "a dog"] * 9, ["the cat", "the dog"] * 9, ["the cat", "the dog"] * 9)
        >>> round(found.difference, 1), found.p_value < 0.05
        (50.0, True)

    Reference: Koehn (2004), "Statistical Significance Tests for Machine Translation Evaluation", section 4; Riezler and
    Maxwell (2005), "On Some Pitfalls in Automatic Evaluation and Significance Testing for MT", section 3, for the shift
    of the draws to no difference.
    """
    both = [_each(*one, references, kind, words) for one in (("baseline", baseline), ("system", system))]
    weights, signature = _drawn(len(both[0]), samples, seed), _signature(kind, words, samples, seed)
    scores = [_score(found, weights, signature) for found in both]
    gains = 100 * (both[1] - both[0])[:, 2]  # (texts,)
    differences = weights @ gains
    low, high = np.percentile(differences, [2.5, 97.5])
    larger = (np.abs(differences - gains.mean()) >= np.abs(gains.mean()) - 1e-9).sum()
    return SummaryComparison(
        *scores, float(gains.mean()), float(low), float(high), float((larger + 1) / (len(weights) + 1))
    )


def _drawn(texts: int, samples: int, seed: int) -> np.ndarray:
    """How much each text weighs in each draw: (samples, texts)."""
    rng = np.random.default_rng(whole_number("seed", seed, least=0))
    return rng.multinomial(texts, np.full(texts, 1 / texts), whole_number("samples", samples)) / texts


def _score(found: np.ndarray, weights: np.ndarray, signature: str) -> SummaryScore:
    precision, recall, value = 100 * found.mean(axis=0)
    low, high = np.percentile(100 * weights @ found[:, 2], [2.5, 97.5])
    return SummaryScore(float(value), float(precision), float(recall), float(low), float(high), signature)


def _signature(kind: str, words: str, samples: int, seed: int) -> str:
    return f"ROUGE-{kind}|f1|words:{words}|stemmer:no|refs:best|mean:texts|bs:{samples}|seed:{seed}"


def _each(name: str, texts, references, kind: str, words: str) -> np.ndarray:
    """Precision, recall and F1 of each text: float64 array (texts, 3)."""
    choice("kind", kind, KINDS)
    cut = _CUT[choice("words", words, _CUT)]
    texts, references = _texts(name, texts), _listed("references", references)
    if not texts or len(texts) != len(references):
        raise ValueError(
            f"There are {len(texts)} {name} and {len(references)} references: give one each, at least one."
        )
    found = []
    for place, (text, known) in enumerate(zip(texts, references, strict=True)):
        known = [cut(one) for one in ([known] if isinstance(known, str) else _texts(f"references[{place}]", known))]
        if not known or not all(known):
            other = ", or take words='unicode'" if words == "latin" else ""
            raise ValueError(f"references[{place}] is empty, or a text in it has no words: leave it out{other}.")
        said = cut(text)
        found.append(max((_scores(said, one, kind) for one in known), key=lambda scores: scores[2]))
    return np.array(found)


def _scores(said: list[str], known: list[str], kind: str) -> tuple[float, float, float]:
    if kind == "L":
        common, ours, theirs = _common(said, known), len(said), len(known)
    else:
        ours, theirs = (_runs(one, int(kind)) for one in (said, known))
        common, ours, theirs = (ours & theirs).total(), ours.total(), theirs.total()
    # 0 where there is nothing to divide by: a text of one word has no pair.
    return common / max(ours, 1), common / max(theirs, 1), 2 * common / max(ours + theirs, 1)


def _runs(words: list[str], size: int) -> Counter:
    return Counter(zip(*(words[start:] for start in range(size)), strict=False))


def _common(one: list[str], other: list[str]) -> int:
    """The length of the longest common subsequence, a row of its table as the bits of a number.

    Reference: Hyyrö (2004), "Bit-Parallel LCS-length Computation Revisited", figure 1.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    whole = row = (1 << len(one)) - 1
    for word in other:
        matches = row & places.get(word, 0)
        row = (row + matches) | (row - matches)
    return len(one) - (row & whole).bit_count()


def _unicode_words(text: str) -> list[str]:
    """Runs of letters, marks and digits; what stands between them is left out."""
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(one if unicodedata.category(one)[0] in "LMN" else " " for one in text)
    return _UNSPACED.sub(lambda found: f" {found[0]} ", kept).split()


_CUT: dict[str, Callable[[str], list[str]]] = {
    "latin": lambda text: _LATIN.findall(text.lower()),
    "unicode": _unicode_words,
}


def _listed(name: str, texts) -> list:
    if isinstance(texts, str):
        raise TypeError(f"{name} must be a list of texts, not one string: [text].")
    return list(texts)


def _texts(name: str, texts) -> list[str]:
    texts = _listed(name, texts)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{place}] is {type(text).__name__}, not a string: {text!r:.60}.")
    return texts
