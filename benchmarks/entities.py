"""Names and answers: what the taggers and the finder of lesson 16 come to, with all lines and several seeds.

    python benchmarks/entities.py                     # into build/entities.csv; may be stopped and started
    python benchmarks/entities.py --texts 1000 all    # and not the tweets and the questions; 1000 chooses the rate
    python benchmarks/entities.py --show              # the means as they stand
    python benchmarks/entities.py --ship              # copies what is there into the set tokens-and-spans

A run writes a line for each number that it measured, all at once; a run that stands in the file is skipped.

- names: a list of the training names, and a BiLSTM that is trained with a softmax for each token or with a CRF, both
  decoded by their own scores and under the rule that an I continues a name of its kind. On the newspaper with 1,000,
  4,000 and all training lines, and on tweets. All taggers of a text take the same steps.
- answers: MiniLM on the English questions, multilingual E5 on the Chinese ones, the lowest 3 blocks of each; asked as
  it is meant, without "no answer", and with another question of the same passage. Beside them the controls of
  `benchmarks/short_passages.py`.

Rates are chosen on the validation part, with a seed that is not used again, for all taggers by the softmax tagger of
1,000 lines, which can only help the softmax. The test part is read once by each run.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import shutil
import time
from collections import Counter
from functools import partial

import keras
import numpy as np
import short_passages
from run_table import RunTable

from kerasllm import batches, models, tasks, text, weights
from kerasllm.data import load
from kerasllm.data.catalogue import folder
from kerasllm.evaluation import answer_scores, entity_scores
from kerasllm.layers import viterbi
from kerasllm.tasks.bio import legal, spans
from kerasllm.training import warmup_linear

SEEDS, CHOOSING = (0, 1, 2), 100
BATCH, LONGEST, UNITS = 32, 48, 64
PASSES = {"1000": 6, "tweets": 8, "all": 2, "4000": 3}  # over the training rows of each text
RATES = {"names": (0.005, 0.01, 0.02), "answers": (2e-4, 4e-4)}
CODES = {"english": "en", "chinese": "zh"}
READERS = {"english": "minilm", "chinese": "e5-small"}
BLOCKS, FROZEN, READINGS = 3, 1, 4  # blocks of the body that read, those that stay as they are, passes
COLUMNS = ["task", "text", "system", "seed", "rate", "part", "measure", "value"]


# ----- names -----------------------------------------------------------------------------------------------------


def pieces(lines):
    """Words and tags of lines, cut behind a mark where they are too long."""
    words, tags = [], []
    for row, marks in zip(lines["words"].str.split(), lines["tags"].str.split(), strict=True):
        cut = re.finditer(rf".{{1,{LONGEST - 1}}}[，。！？；：、]|.{{1,{LONGEST}}}", "".join(row))
        for begin, end in itertools.pairwise([0, *(piece.end() for piece in cut)]):
            words.append(row[begin:end])
            tags.append(marks[begin:end])
    return words, tags


def texts(name):
    """For each part its words and tags; `name` is a number of lines of the newspaper, "all" or "tweets"."""
    if name == "tweets":
        frame = load("tweet-entities")
        rows = {part: frame[frame["split"] == part] for part in ("train", "validation", "test")}
        return {p: [[row.split() for row in part[column]] for column in ("words", "tags")] for p, part in rows.items()}
    frame = load("peoples-daily-entities")
    rows = {part: frame[frame["split"] == part] for part in ("train", "validation", "test")}
    rows["train"] = rows["train"].sample(len(rows["train"]) if name == "all" else int(name), random_state=0)
    return {part: pieces(lines) for part, lines in rows.items()}


def look_up(words, tags, rows, longest=10):
    """Tags of the longest names that stand in the training rows and are a name more often than not."""
    pairs = zip(words, tags, strict=True)
    seen = Counter((tuple(row[i:j]), kind) for row, marks in pairs for i, j, kind in spans(marks))
    usual = {name: (kind, count) for (name, kind), count in reversed(seen.most_common())}
    runs = Counter()
    for row in words:
        cuts = ((i, j) for i in range(len(row)) for j in range(i + 1, min(len(row), i + longest) + 1))
        runs.update(name for i, j in cuts if (name := tuple(row[i:j])) in usual)
    names = {name: kind for name, (kind, count) in usual.items() if 2 * count > runs[name]}
    for row in rows:
        found, i = ["O"] * len(row), 0
        while i < len(row):
            ends = range(min(len(row), i + longest), i, -1)
            end = next((end for end in ends if tuple(row[i:end]) in names), None)
            if end:
                kind = names[tuple(row[i:end])]
                found[i:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - i - 1)
            i = end or i + 1
        yield found


def tagger_of(words, tags, labels, crf, seed, rate, passes):
    """A BiLSTM tagger after so many passes."""
    keras.utils.set_random_seed(seed)
    tokenizer = text.train_words([" ".join(row) for row in words], vocabulary_size=5_000)
    network = models.BiLSTM(tokenizer.vocabulary_size, len(labels), 64, UNITS, pooling=None, dropout=0.3)
    tagger = tasks.TokenTagger(network, tokenizer, labels, crf=crf)
    order = {"batch_size": BATCH, "max_length": LONGEST, "shuffle": True, "seed": seed, "drop_remainder": True}
    feed = batches.tagged(*tagger.examples(words, tags), epochs=passes, **order)
    steps = batches.steps_per_epoch(feed)
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps * passes)
    tagger.compile(keras.optimizers.Adam(schedule), jit_compile=False)
    tagger.fit(feed, epochs=passes, steps_per_epoch=steps, shuffle=False, verbose=0)
    return tagger


def answers_of(tagger, words):
    """For each way to decode the tags of all rows: by the model's own scores, and under the rule."""
    ids, places = tagger.examples(words, [["O"] * len(row) for row in words])
    logits = tagger.predict(batches.tagged(ids, places, batch_size=128, max_length=LONGEST), verbose=0)
    mask = np.zeros(logits.shape[:2], bool)
    for row, place in zip(mask, places, strict=True):
        row[: len(place)] = np.asarray(place[: len(row)]) >= 0
    crf, rule = tagger.crf, dict(zip(("may_begin", "may_follow"), legal(tagger.labels), strict=True))
    decode = viterbi if crf is None else crf.decode
    name, found = "softmax" if crf is None else "CRF", {}
    for way, given in ((name, {}), (f"{name}, rule", rule)):
        best = keras.ops.convert_to_numpy(decode(logits, mask, **given))
        rows = [[tagger.labels[number] for number in row[real]] for row, real in zip(best, mask, strict=True)]
        found[way] = [tags + ["O"] * (len(row) - len(tags)) for tags, row in zip(rows, words, strict=True)]
    return found


def judged(rows, words, right, seen):
    """What is measured of tags: F1 of all and by kind, recall of names of the training rows and of new ones, ..."""
    hits = {True: [], False: []}
    for row, ours, theirs in zip(words, rows, right, strict=True):
        found = set(spans(strict(ours)))
        for one in spans(theirs):
            hits[(tuple(row[one[0] : one[1]]), one[2]) in seen].append(one in found)
    table = entity_scores(rows, right)
    scores = {"f1": table["f1"]["all"], "precision": table["precision"]["all"], "recall": table["recall"]["all"]}
    scores |= {f"f1 {kind}": value for kind, value in table["f1"].items() if kind != "all"}
    scores |= {"recall known": np.mean(hits[True]), "recall new": np.mean(hits[False])}
    scores["known"] = len(hits[True]) / (len(hits[True]) + len(hits[False]))
    scores["labels right"] = np.mean(np.concatenate(rows) == np.concatenate(right))
    scores["illegal"] = sum(ours != kept for row in rows for ours, kept in zip(row, strict(row), strict=True))
    return scores


def strict(tags):
    """The same tags, O where an I continues nothing."""
    kept = []
    for tag in tags:
        before = kept[-1] if kept else "O"
        kept.append("O" if tag[0] == "I" and before[1:] != tag[1:] else tag)
    return kept


def names(table, wanted):
    for name, passes in PASSES.items():
        if name not in wanted:
            continue
        data = texts(name)
        words, tags = data["train"]
        kinds = sorted({tag[2:] for row in tags for tag in row} - {""})
        labels = ["O", *(f"{letter}-{kind}" for kind in kinds for letter in "BI")]
        pairs = zip(words, tags, strict=True)
        seen = {(tuple(row[i:j]), kind) for row, marks in pairs for i, j, kind in spans(marks)}
        if not table.find(text=name, system="dictionary"):
            rows = list(look_up(words, tags, data["test"][0]))
            table.add({"dictionary": judged(rows, *data["test"], seen)}, task="names", text=name, part="test")

        def run(crf, seed, rate, part, name=name, passes=passes, data=data, labels=labels, seen=seen):
            started = time.process_time()
            tagger = tagger_of(*data["train"], labels, crf, seed, rate, passes)
            seconds = time.process_time() - started
            scores = {
                way: judged(rows, *data[part], seen) | {"seconds": seconds}
                for way, rows in answers_of(tagger, data[part][0]).items()
            }
            table.add(scores, task="names", text=name, seed=seed, rate=rate, part=part)

        rate = best_rate(table, "1000", "softmax", RATES["names"] if name == "1000" else (), partial(run, False))
        for seed, crf in itertools.product(SEEDS, (False, True)):
            if not table.find(text=name, system="CRF" if crf else "softmax", seed=seed, rate=rate):
                run(crf, seed, rate, "test")


# ----- answers ---------------------------------------------------------------------------------------------------


def answers(table, wanted):
    frame = load("short-passages")
    for language, body in READERS.items():
        if language not in wanted:
            continue
        rows = frame[frame["language"] == language]
        parts = {part: rows[rows["split"] == part] for part in ("train", "validation", "test")}
        if not table.find(text=language, system="never"):
            scores = {name: scored(said, parts["test"], language) for name, said in controls(rows, language).items()}
            table.add(scores, task="answers", text=language, part="test")

        def run(seed, rate, part, language=language, body=body, parts=parts):
            started = time.process_time()
            finder = finder_of(parts, body, seed, rate, language)
            seconds = time.process_time() - started
            scores = {
                system: scored(said, parts[part], language) | {"seconds": seconds}
                for system, said in replies(finder, parts[part]).items()
            }
            table.add(scores, task="answers", text=language, seed=seed, rate=rate, part=part)

        rate = best_rate(table, language, "finder", RATES["answers"], run)
        for seed in SEEDS:
            if not table.find(text=language, system="finder", seed=seed, rate=rate):
                run(seed, rate, "test")


def scored(said, rows, language):
    """Exact match and F1 of all questions, and of those with and without an answer."""
    found = answer_scores(said, rows["answer"].tolist(), CODES[language])
    names = {"exact_match": "exact match", "f1": "f1"}
    both = {(column, row): found[column][row] for column in names for row in ("all", "answerable", "unanswerable")}
    return {names[column] + (f" {row}" if row != "all" else ""): value for (column, row), value in both.items()}


def controls(rows, language):
    """Answers of readers that do not read: see `benchmarks/short_passages.py`."""
    test, rest = rows[rows["split"] == "test"], rows[rows["split"] != "test"]
    found = {name: [short_passages.overlap(*pair)[:2] for pair in zip(part["passage"], part["question"], strict=True)]
             for name, part in (("test", test), ("rest", rest))}  # fmt: skip
    spoken = {name: [answer for answer, _ in pairs] for name, pairs in found.items()}
    shares = {name: np.array([share for _, share in pairs]) for name, pairs in found.items()}
    least = short_passages.threshold(shares["rest"], spoken["rest"], rest)
    return {
        "never": [""] * len(test),
        "question alone": short_passages.guesses_from_question_alone(rest, test, language),
        "overlap": [one if share >= least else "" for one, share in zip(spoken["test"], shares["test"], strict=True)],
        "overlap, always": spoken["test"],
    }


def finder_of(parts, body, seed, rate, language):
    """A finder, trained on the training questions; the validation questions choose its threshold."""
    keras.utils.set_random_seed(seed)
    pretrained = weights.sentence_encoder(body)
    encoder = pretrained.network.with_(num_layers=BLOCKS, pooler=False, dropout=0.1)
    encoder.freeze(FROZEN)
    finder = tasks.SpanFinder(models.BERTClassifier(encoder, 2, pooling=None), pretrained.tokenizer, max_length=192)
    columns = {
        part: [rows[name].tolist() for name in ("question", "passage", "answer")] for part, rows in parts.items()
    }
    rows = finder.examples(*columns["train"], starts=parts["train"]["start"].tolist())
    order = {"batch_size": 8, "shuffle": True, "seed": seed, "drop_remainder": True, "epochs": READINGS}
    feed = batches.spans(*rows, pad_id=finder.tokenizer.pad_id, **order)
    steps = batches.steps_per_epoch(feed)
    schedule = warmup_linear(rate, steps * READINGS, steps * READINGS // 10)
    finder.compile(keras.optimizers.Adam(schedule), jit_compile=False)
    finder.fit(feed, epochs=READINGS, steps_per_epoch=steps, shuffle=False, verbose=0)
    finder.choose_threshold(*columns["validation"], language=CODES[language])
    return finder


def replies(finder, rows):
    """What the finder says: with its threshold, always, and when it is asked another question of the passage."""
    questions, passages = rows["question"].tolist(), rows["passage"].tolist()
    groups = rows.groupby("passage_id")["question"]
    others = groups.transform(lambda column: np.roll(column.to_numpy(), 1)).tolist()
    return {
        "finder": finder.answer(questions, passages)["text"].tolist(),
        "finder, always": finder.answer(questions, passages, threshold=-math.inf)["text"].tolist(),
        "finder, another question": finder.answer(others, passages, threshold=-math.inf)["text"].tolist(),
    }


# ----- the table -------------------------------------------------------------------------------------------------


def best_rate(table, name, system, rates, run):
    """The rate with the best F1 on the validation part, with a seed of its own."""
    for rate in rates:
        if not table.find(text=name, system=system, seed=CHOOSING, rate=rate):
            run(CHOOSING, rate, "validation")
    grid = table.find(text=name, system=system, seed=CHOOSING, measure="f1")
    return float(max(grid, key=lambda row: float(row["value"]))["rate"])


class Table(RunTable):
    """The numbers so far, in a file."""

    def add(self, scores, **run):
        """Write a run: for each system a number for each measure."""
        rows = [
            run | {"system": system, "measure": measure, "value": f"{value:.4f}"}
            for system, measured in scores.items()
            for measure, value in measured.items()
        ]
        for row in self.write(rows):
            if row["measure"] in ("f1", "seconds", "f1 answerable"):
                print(*row.values(), sep=",", flush=True)

    def show(self):
        """The mean and the spread of each system on the test part."""
        groups: dict[tuple, list[float]] = {}
        for row in self.find(part="test"):
            groups.setdefault((row["text"], row["system"], row["measure"]), []).append(float(row["value"]))
        for (name, system, measure), values in groups.items():
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            print(f"{name:8s} {system:25s} {measure:24s} {np.mean(values):.3f}{spread}  ({len(values)} runs)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="build/entities.csv", help="the table; runs in it are skipped")
    parser.add_argument("--texts", nargs="+", choices=(*PASSES, *READERS), default=(*PASSES, *READERS), help="some")
    parser.add_argument("--show", action="store_true", help="print the means as they stand, and run nothing")
    parser.add_argument("--ship", action="store_true", help="copy the table into the set that lesson 16 draws")
    arguments = parser.parse_args()
    table = Table(arguments.out, COLUMNS)
    if not (arguments.show or arguments.ship):
        names(table, arguments.texts)
        answers(table, arguments.texts)
    table.show()
    if arguments.ship:
        shutil.copyfile(table.path, folder() / "tokens-and-spans.csv")
