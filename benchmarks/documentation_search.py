"""Who finds the answer in Python's documentation: words, meaning, or both?

    python benchmarks/documentation_search.py           # the table of benchmarks/README.md, and that of the settings
    python benchmarks/documentation_search.py --json

The questions of the set documentation-questions are put to the passages of python-documentation, each with its title
in front: to BM25, to the vectors of MiniLM, and to both with reciprocal rank fusion. Settings are chosen by the
validation questions (15 that have an answer); the test questions (45) are asked once, with what was chosen.

Vectors are kept in build/ for the next run. Seconds are processor time, those of both cores together.

    hit@5    share of the questions with an answer among the first five passages
    MRR      mean of 1 / place of the first passage that answers, 0 below place 100
    AUC      how often the best score of a question with an answer is above that of one without
"""

import argparse
import itertools
import json
import os
import re
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np

from kerasllm import data, tasks, weights
from kerasllm.tasks.retriever import words_of

FOLDER = Path(__file__).resolve().parents[1] / "build" / "documentation_search"
DEPTH = 100
WORDINGS = ("same words", "other words")
K1, B = (0.6, 0.9, 1.2, 1.5, 2.0), (0.25, 0.5, 0.75, 1.0)


def stems_of(text):
    """Words without the ending of a plural (Harman 1991, the S stemmer): "files" and "file" become one."""
    return [
        re.sub(r"(?<![aeious])ies$|(?<=[^us])s$", lambda end: "y" * (len(end[0]) > 1), one) for one in words_of(text)
    ]


def ranks(index, questions, titles):
    """For each question the place of the first passage that answers, from 1; infinite where there is none in sight."""
    places, scores = index.search(questions["question"], DEPTH)
    found = []
    for row, (answers, order) in enumerate(zip(questions["titles"], places, strict=True)):
        right = np.flatnonzero(np.isin(titles[order], answers) & (scores[row] > 0))
        found.append(right[0] + 1 if len(right) else np.inf)
    return np.array(found), scores[:, 0]


def measured(index, questions, titles):
    """The numbers of an index, for all questions with an answer and for each wording."""
    places, best = ranks(index, questions, titles)
    wording, found = questions["wording"].to_numpy(), {}
    for name in ("all", *WORDINGS):
        some = places[np.isin(wording, WORDINGS if name == "all" else [name])]
        found[name] = {"hit@5": np.mean(some <= 5), "MRR": np.mean(1 / some), "questions": len(some)}
    pairs = best[wording != "no answer"][:, None] - best[wording == "no answer"]
    found["all"]["AUC"] = np.mean(pairs > 0) + np.mean(pairs == 0) / 2
    return found


def chosen(makers, questions, titles, keep):
    """The setting with the best MRR on the validation questions; all of them are kept for the table."""
    rows = {name: measured(make(), questions, titles)["all"] for name, make in makers.items()}
    keep |= rows
    return max(rows, key=lambda name: rows[name]["MRR"])


def vectors(name, texts, seconds):
    """The index of the texts' vectors: made once, then read."""
    encoder, path = weights.sentence_encoder("minilm"), FOLDER / f"{name}.npz"
    if path.exists():
        index = tasks.EmbeddingIndex.load(path, encoder)
        if len(index) == len(texts):
            return index
    start = time.process_time()
    index = tasks.EmbeddingIndex(encoder, texts)
    seconds[f"vectors of all passages, {name}"] = time.process_time() - start
    FOLDER.mkdir(parents=True, exist_ok=True)
    index.save(path)
    return index


def with_settings(index, k1, b):
    index.k1, index.b = k1, b  # they count when it is asked
    return index


def experiment():
    """The table of the test questions, the settings tried on the validation questions, and what was chosen."""
    passages, questions = data.load("python-documentation"), data.load("documentation-questions")
    titles, texts = passages["title"].to_numpy(), passages["text"]
    titled = (passages["title"] + ": " + texts).tolist()
    validation, test = (questions[questions["split"] == part] for part in ("validation", "test"))
    tried, seconds = {}, {}

    start = time.process_time()
    indexes = {name: tasks.BM25(titled, words=cut) for name, cut in (("words", words_of), ("stems", stems_of))}
    seconds["two indexes of words of all passages"] = time.process_time() - start
    words = {
        f"BM25, {name}, k1 {k1}, b {b}": lambda name=name, k1=k1, b=b: with_settings(indexes[name], k1, b)
        for name, k1, b in itertools.product(indexes, K1, B)
    }
    tuned = chosen(words, validation, titles, tried)
    bm25 = words[tuned]()
    meanings = {
        "MiniLM, with titles": lambda: vectors("with titles", titled, seconds),
        "MiniLM, without titles": lambda: vectors("without titles", texts, seconds),
    }
    meaning = chosen(meanings, validation, titles, tried)
    minilm = meanings[meaning]()
    fusions = {
        f"both, constant {constant}": lambda constant=constant: tasks.RankFusion([bm25, minilm], constant)
        for constant in (5, 10, 20, 60)
    }
    fused = chosen(fusions, validation, titles, tried)
    table = {"BM25, as it comes": tasks.BM25(titled), tuned: bm25, meaning: minilm, fused: fusions[fused]()}
    for name, index in {"a question to BM25": bm25, "a question to MiniLM": minilm}.items():
        start = time.process_time()
        for question in test["question"]:
            index.search([question])
        seconds[name] = (time.process_time() - start) / len(test)
    return {
        "passages": len(passages),
        "test": {name: measured(index, test, titles) for name, index in table.items()},
        "validation": tried,
        "seconds": seconds,
    }


def printed(found):
    print(f"{found['passages']:,} passages. Test questions:\n")
    print("| | " + " | ".join(f"{part}: hit@5 | MRR" for part in ("all", *WORDINGS)) + " | AUC |")
    print("|---" * 8 + "|")
    for name, parts in found["test"].items():
        numbers = [f"{parts[part][what]:.2f}" for part in ("all", *WORDINGS) for what in ("hit@5", "MRR")]
        print(f"| {name} | " + " | ".join(numbers) + f" | {parts['all']['AUC']:.2f} |")
    print("\nSettings on the validation questions, those with the best MRR first:\n")
    print("| | hit@5 | MRR |\n|---|---|---|")
    for name, one in sorted(found["validation"].items(), key=lambda row: (row[0].split()[0], -row[1]["MRR"])):
        print(f"| {name} | {one['hit@5']:.2f} | {one['MRR']:.3f} |")
    print("\nProcessor seconds: " + "; ".join(f"{name} {value:.4g}" for name, value in found["seconds"].items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = experiment()
    if arguments.json:
        print(json.dumps(found, default=float))
    else:
        printed(found)


if __name__ == "__main__":
    main()
