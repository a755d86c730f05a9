"""Writes rouge.json: what the package rouge-score makes of some pairs of texts, without a stemmer.

    python tests/evaluation/data/make_rouge.py

needs rouge-score 0.1.2 (and nltk, which it imports).
"""

import json
import random
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

WRITTEN = [
    ["Police killed the gunman.", ["The gunman was killed by the police!"]],
    ["the cat sat on the mat", ["the cat sat on the mat", "a dog"]],
    ["U.S. shares rose 1.5% on Monday", ["US shares fell 1.5 % on Tuesday, the 3rd", "shares rose"]],
    ["", ["something was said"]],
    ["...", ["nothing", "was said"]],
    ["café naïve CAFÉ", ["cafe naive cafe", "café"]],
    ["well-known x_y it's", ["well known x y its it s"]],
    ["a a a a", ["a b a", "a"]],
    ["one", ["one"]],
    ["word", ["another"]],
    ["猫 sat", ["猫 sat down"]],
    ["tab\tand\nline end", ["Tab and line-end"]],
]


def invented(count):
    chance = random.Random(7)
    words = "the a of in red old cat dog house sat ran said was minister rain 2024".split()

    def text():
        return " ".join(chance.choice(words) for _ in range(chance.randint(1, 25)))

    return [[text(), [text() for _ in range(chance.randint(1, 3))]] for _ in range(count)]


if __name__ == "__main__":
    kinds = {"1": "rouge1", "2": "rouge2", "L": "rougeL"}
    scorer, found = RougeScorer(list(kinds.values())), []
    for summary, references in WRITTEN + invented(40):
        scores = scorer.score_multi(references, summary)
        found.append([summary, references, {kind: list(scores[name]) for kind, name in kinds.items()}])
    text = json.dumps(found, ensure_ascii=False, indent=0)
    (Path(__file__).parent / "rouge.json").write_text(text + "\n", "utf-8")
