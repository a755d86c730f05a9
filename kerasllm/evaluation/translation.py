"""How near translations come to those of people: BLEU and chrF, with their doubt, counted by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kerasllm.common import choice, whole_number
from kerasllm.common.extras import needed

TOKENIZATIONS = ("13a", "zh", "intl", "char", "none")


class TranslationScore(NamedTuple):
    """What `bleu` and `chrf` found, from 0 to 100.

    Attributes:
        value: the score of all texts together; it is not the mean over texts.
        low, high: the ends of an interval that holds 95% of the scores of texts drawn anew from these.
        signature: how it was counted, as sacrebleu writes it: name it beside the score, or nobody can compare.
    """

    value: float
    low: float
    high: float
    signature: str


class Comparison(NamedTuple):
    """What `compare_translations` found.

    Attributes:
        baseline, system: a `TranslationScore` each.
        p_value: how often texts drawn anew, the same for both, would show a difference as large by chance alone.
    """

    baseline: TranslationScore
    system: TranslationScore
    p_value: float


def bleu(
    translations: Sequence[str], references: Sequence, tokenize: str = "13a", samples: int = 1000
) -> TranslationScore:
    r"""BLEU of translations: how many of their words, and runs of two to four words, stand in the references.

    $\mathrm{BLEU} = \min(1, e^{1 - r/c}) \cdot (p_1 p_2 p_3 p_4)^{1/4}$, where p is the share of runs that a reference
    has too, over all texts, c the length of all translations and r that of the references.

    Args:
        translations: the texts of the system.
        references: for each the right translation, or a list of several that are all right.
        tokenize: how texts become words: "13a" for languages with spaces, "zh" for Chinese (each character is a word,
            what is not Chinese goes as in 13a), "intl" with Unicode's punctuation, "char" for characters, "none" for
            texts that are split already. Scores of two ways do not compare.
        samples: how many times texts are drawn anew for the interval.

    Returns:
        A `TranslationScore`.

    Raises:
        ImportError: if sacrebleu is not installed.
        TypeError: if a text is no string.
        ValueError: if there is not one reference a translation, one is empty, or a name is unknown.

    Example:
        >>> score = bleu(["the cat sat on the mat", "a dog"], ["the cat sat on the mat", "a big dog"], samples=50)
        >>> round(score.value, 1), "tok:13a" in score.signature
        (84.3, True)

    Reference: Papineni et al. (2002), "BLEU: a Method for Automatic Evaluation of Machine Translation", section 2.3;
    Post (2018), "A Call for Clarity in Reporting BLEU Scores"; Koehn (2004), "Statistical Significance Tests for
    Machine Translation Evaluation", section 3, for the interval.
    """
    return _scores({"system": translations}, references, _bleu(tokenize), samples)[0][0]


def chrf(translations: Sequence[str], references: Sequence, samples: int = 1000) -> TranslationScore:
    r"""chrF of translations: the same of characters, runs of one to six, with recall counting twice as much.

    It needs no words, so it suits every language, and it gives something for a word with the wrong ending.

    Args:
        translations, references, samples: see `bleu`.

    Returns:
        A `TranslationScore`.

    Raises:
        ImportError, TypeError, ValueError: as `bleu`.

    Example:
        >>> [round(chrf([one], ["the cat"], samples=50).value) for one in ("the cats", "dogs")]
        [93, 0]

    Reference: Popović (2015), "chrF: character n-gram F-score for automatic MT evaluation", section 2, here with
    beta = 2 and an order of 6.
    """
    return _scores({"system": translations}, references, _chrf(), samples)[0][0]


def compare_translations(
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence,
    metric: str = "bleu",
    tokenize: str = "13a",
    samples: int = 1000,
) -> Comparison:
    """Whether one system is better than another, or only had luck with these texts: a paired bootstrap.

    Both systems translated the same texts. They are drawn anew, the same ones for both, so that hard texts are hard
    for both and do not hide a difference.

    Args:
        baseline: the translations of the one system.
        system: those of the other.
        references: see `bleu`.
        metric: "bleu" or "chrf".
        tokenize: see `bleu`; without effect on chrF.
        samples: see `bleu`.

    Returns:
        A `Comparison`.

    Raises:
        ImportError, TypeError, ValueError: as `bleu`.

    Example:
        >>> found = compare_translations(["a cat", "a dog"] * 9, ["the cat", "the dog"] * 9, ["the cat", "the dog"] * 9,
        ...                              metric="chrf", samples=200)
        >>> found.system.value > found.baseline.value, found.p_value < 0.05
        (True, True)

    Reference: Koehn (2004), "Statistical Significance Tests for Machine Translation Evaluation", section 4.
    """
    counted = _bleu(tokenize) if choice("metric", metric, ("bleu", "chrf")) == "bleu" else _chrf()
    both, p_value = _scores({"baseline": baseline, "system": system}, references, counted, samples)
    return Comparison(*both, p_value)


def _bleu(tokenize):
    choice("tokenize", tokenize, TOKENIZATIONS)
    return needed("sacrebleu", "evaluation").BLEU(tokenize=tokenize, force=True)  # texts may be split already


def _chrf():
    return needed("sacrebleu", "evaluation").CHRF()


def _scores(systems, references, metric, samples):
    """For each system its `TranslationScore`, and the p-value of the second against the first, None without one."""
    from sacrebleu.significance import PairedTest

    samples = whole_number("samples", samples)
    names = {"system": "translations"} if len(systems) == 1 else {}
    systems = {name: _texts(names.get(name, name), texts) for name, texts in systems.items()}
    if isinstance(references, str):
        raise TypeError("references must be a list of texts, not one string: [text].")
    references = list(references)
    for name, texts in systems.items():
        _check_count(names.get(name, name), len(texts), len(references))
    streams = _streams(references)
    # It draws with the seed of sacrebleu, 12345 unless SACREBLEU_SEED is set: the same texts give the same interval.
    signatures, found = PairedTest(list(systems.items()), {"metric": metric}, streams, "bs", samples)()
    [name] = signatures
    results = found[name]
    ends = [(one.mean - one.ci, one.mean + one.ci) for one in results]
    scores = [
        TranslationScore(float(one.score), float(low), float(high), str(signatures[name]))
        for one, (low, high) in zip(results, ends, strict=True)
    ]
    return scores, results[-1].p_value


def _texts(name, texts) -> list[str]:
    if isinstance(texts, str):
        raise TypeError(f"{name} must be a list of texts, not one string: [text].")
    texts = list(texts)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{place}] is {type(text).__name__}, not a string: {text!r:.60}.")
    return texts


def _check_count(name, count, references):
    if not count or count != references:
        raise ValueError(f"There are {count} {name} and {references} references: give one each, at least one.")


def _streams(references) -> list[list[str | None]]:
    """The references as sacrebleu takes them: all first ones, all second ones, ..., None where a text has fewer."""
    rows = [[one] if isinstance(one, str) else _texts(f"references[{i}]", one) for i, one in enumerate(references)]
    for place, row in enumerate(rows):
        if not row or not all(text.strip() for text in row):
            raise ValueError(f"references[{place}] is empty: leave this text out.")
    most = max(map(len, rows))
    return np.array([row + [None] * (most - len(row)) for row in rows], dtype=object).T.tolist()
