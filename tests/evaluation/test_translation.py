"""BLEU and chrF: equal to their formulas, to sacrebleu, and an interval that holds what it should."""

import math
import subprocess
from collections import Counter

import numpy as np
import pytest
from nursery import python

from kerasllm.evaluation import bleu, chrf, compare_translations

sacrebleu = pytest.importorskip("sacrebleu")

WORDS = "the a cat dog house sat ran on in mat red old".split()


def sentences(count, seed=0, words=WORDS):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(words, random.integers(4, 12))) for _ in range(count)]


def worse(texts, share, seed=1):
    """The texts with a share of their words replaced."""
    random = np.random.default_rng(seed)
    return [" ".join("x" if random.random() < share else word for word in text.split()) for text in texts]


def runs(words, order):
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def bleu_by_hand(translations, references):
    """Section 2.3 of Papineni et al. (2002), for one reference each and texts of words with spaces between them."""
    pairs = [(a.split(), b.split()) for a, b in zip(translations, references, strict=True)]
    logs = []
    for order in range(1, 5):
        found = [(runs(a, order), runs(b, order)) for a, b in pairs]
        logs.append(math.log(sum((a & b).total() for a, b in found) / sum(a.total() for a, _ in found)))
    written, right = (sum(map(len, side)) for side in zip(*pairs, strict=True))
    return 100 * min(1, math.exp(1 - right / written)) * math.exp(sum(logs) / 4)


def chrf_by_hand(translations, references):
    """Section 2 of Popović (2015) with beta = 2: runs of one to six characters without spaces, over all texts."""
    pairs = [("".join(a.split()), "".join(b.split())) for a, b in zip(translations, references, strict=True)]
    precisions, recalls = [], []
    for order in range(1, 7):
        found = [(runs(a, order), runs(b, order)) for a, b in pairs]
        both = sum((a & b).total() for a, b in found)
        precisions.append(both / sum(a.total() for a, _ in found))
        recalls.append(both / sum(b.total() for _, b in found))
    precision, recall = np.mean(precisions), np.mean(recalls)
    return 100 * 5 * precision * recall / (4 * precision + recall)


def test_scores_are_those_of_the_formulas():
    references = sentences(40)
    translations = [text.rsplit(" ", 1)[0] for text in worse(references, 0.2)]  # shorter, so that brevity counts
    found = bleu(translations, references, samples=50)
    assert found.value == pytest.approx(bleu_by_hand(translations, references), abs=1e-6)
    found = chrf(translations, references, samples=50)
    assert found.value == pytest.approx(chrf_by_hand(translations, references), abs=1e-6)


def test_what_is_equal_has_100_and_what_shares_nothing_has_0():
    references = sentences(9)
    for score in (bleu, chrf):
        assert score(references, references, samples=20).value == pytest.approx(100)
        assert score(["zzzz zzzz zzzz zzzz"] * 9, references, samples=20).value < 2
        assert score([""] * 9, references, samples=20).value == pytest.approx(0)


def test_chinese_is_cut_into_characters():
    references, translations = ["我喜欢这部电影。", "今天天气很好"], ["我不喜欢这部电影。", "今天天气不好"]
    assert bleu(translations, references, samples=20).value < 1  # a sentence is one word
    found = bleu(translations, references, "zh", samples=20)
    spaced = [[" ".join(text) for text in texts] for texts in (translations, references)]
    assert found.value == pytest.approx(bleu_by_hand(*spaced), abs=1e-6)
    assert "tok:zh" in found.signature
    mixed = bleu(["我喜欢 GPT 4"], ["我喜欢 GPT 4"], "zh", samples=20)
    assert mixed.value == pytest.approx(100)


def test_a_translation_that_is_like_one_of_several_references_is_right():
    first, second = sentences(9), sentences(9, seed=5)
    mixed = [a if i % 2 else b for i, (a, b) in enumerate(zip(first, second, strict=True))]
    both = [[a, b] for a, b in zip(first, second, strict=True)]
    assert bleu(mixed, both, samples=20).value == pytest.approx(100)
    assert bleu(mixed, first, samples=20).value < 90
    both[0] = both[0][1:]  # the others have two
    assert bleu(mixed, both, samples=20).value == pytest.approx(100)


def test_the_interval_holds_the_score_and_narrows_with_more_texts():
    widths = []
    for count in (20, 320):
        references = sentences(count)
        found = bleu(worse(references, 0.3), references, samples=300)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
        again = bleu(worse(references, 0.3), references, samples=300)
        assert again == found
    assert 2 < widths[0] / widths[1] < 8  # the square root of 16 is 4


def test_the_interval_is_about_as_wide_as_the_spread_over_new_texts():
    scores = []
    for seed in range(60):
        references = sentences(60, seed)
        scores.append(bleu(worse(references, 0.3, seed), references, samples=1 if seed else 400))
    width = scores[0].high - scores[0].low
    spread = np.std([score.value for score in scores])
    assert 2.5 < width / spread < 5.5  # 3.9 for a normal distribution


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_a_real_difference_is_told_from_luck(metric):
    references = sentences(150)
    bad, good = worse(references, 0.3), worse(references, 0.2, seed=2)
    found = compare_translations(bad, good, references, metric, samples=300)
    assert found.system.value > found.baseline.value
    assert found.p_value < 0.05
    score = {"bleu": bleu, "chrf": chrf}[metric]
    assert found.baseline == score(bad, references, samples=300)
    equal = compare_translations(bad, worse(references, 0.3, seed=3), references, metric, samples=300)
    assert equal.p_value > 0.05
    # Where one differs from the other in a single text, only a paired test sees how small the difference is.
    other = [*bad[:-1], references[-1]]
    assert compare_translations(bad, other, references, metric, samples=300).p_value > 0.05


@pytest.mark.parametrize(
    ("translations", "references", "error", "word"),
    [
        (["a"], ["a", "b"], ValueError, "1 translations and 2 references"),
        ([], [], ValueError, "at least one"),
        (["a", "b"], ["a", " "], ValueError, r"references\[1\] is empty"),
        (["a"], [[]], ValueError, r"references\[0\] is empty"),
        (["a", None], ["a", "b"], TypeError, r"translations\[1\] is NoneType"),
        ("a", ["a"], TypeError, "list of texts"),
        (["a"], [[3]], TypeError, r"references\[0\]\[0\] is int"),
    ],
)
def test_what_is_no_pair_of_texts_is_refused(translations, references, error, word):
    for score in (bleu, chrf):
        with pytest.raises(error, match=word):
            score(translations, references)


def test_other_arguments_are_checked():
    with pytest.raises(ValueError, match="tokenize must be one of '13a', 'zh'"):
        bleu(["a"], ["a"], "chinese")
    with pytest.raises(ValueError, match="samples"):
        chrf(["a"], ["a"], samples=0)
    with pytest.raises(ValueError, match="metric must be one of 'bleu', 'chrf'"):
        compare_translations(["a"], ["a"], ["a"], "ter")
    with pytest.raises(ValueError, match="2 system and 1 references"):
        compare_translations(["a"], ["a", "b"], ["a"])


def test_without_sacrebleu_the_extra_is_named():
    code = "import sys; sys.modules['sacrebleu'] = None; from kerasllm.evaluation import bleu; bleu(['a'], ['a'])"
    run = subprocess.run([*python(), "-c", code], capture_output=True, text=True)
    assert run.stderr.strip().endswith(
        'ImportError: This needs sacrebleu, which is not installed: pip install "kerasllm[evaluation]"'
    )
