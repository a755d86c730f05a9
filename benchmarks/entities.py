"""Names and answers at full size: what the taggers and the finder of lesson 16 come to with all lines and three seeds.

    python benchmarks/entities.py --out build/entities.csv              # hours on 2 cores; may be stopped and started
    python benchmarks/entities.py --out build/entities.csv --only names
    python benchmarks/entities.py --out build/entities.csv --show       # the table as it stands

Each run is a line of the file, and a run whose line is there is skipped. What is compared:

- names: a list of the training names, and a BiLSTM that is trained with a softmax for each token or with a CRF, each
  of the two decoded by its own scores and under the rule that no I continues nothing. On the newspaper with
  1,000, 4,000 and all training lines, and on tweets. All taggers of a size take the same number of steps.
- answers: MiniLM on the English questions, multilingual E5 on the Chinese ones, with some blocks frozen; asked as it
  is meant, and with another question of the same passage.

Rates are chosen on the validation part, with a seed that is not used again; the test part is read once by each run.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import re
import time
from collections import Counter
from pathlib import Path

import keras
import numpy as np

from kerasllm import batches, models, tasks, text, weights
from kerasllm.data import load
from kerasllm.evaluation import answer_scores, entity_scores
from kerasllm.layers import viterbi
from kerasllm.tasks.bio import legal, spans
from kerasllm.training import warmup_linear

SEEDS, CHOOSING = (0, 1, 2), 100
STEPS, BATCH, LONGEST, UNITS = {"1000": 600, "4000": 1500, "all": 4000, "tweets": 600}, 32, 64, 64
RATES = {"names": (0.005, 0.01, 0.02), "answers": (1e-4, 2e-4, 4e-4)}
READERS = {"english": ("minilm", 15, 2), "chinese": ("e5-small", 10, 9)}  # the body, epochs, frozen blocks
COLUMNS = ["task", "text", "system", "seed", "rate", "part", "score", "f1", "known", "new", "seconds"]


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


def look_up(words, tags, rows):
    """Tags of the longest names that stand in the training rows and are a name more often than not."""
    pairs = zip(words, tags, strict=True)
    seen = Counter((tuple(row[i:j]), kind) for row, marks in pairs for i, j, kind in spans(marks))
    usual = {name: (kind, count) for (name, kind), count in reversed(seen.most_common())}
    longest = max(len(name) for name in usual)
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


def tagger_of(words, tags, labels, crf, seed, rate, steps):
    """A BiLSTM tagger after so many steps."""
    keras.utils.set_random_seed(seed)
    tokenizer = text.train_words([" ".join(row) for row in words], vocabulary_size=5_000)
    network = models.BiLSTM(tokenizer.vocabulary_size, len(labels), 64, UNITS, pooling=None, dropout=0.3)
    tagger = tasks.TokenTagger(network, tokenizer, labels, crf=crf)
    order = {"batch_size": BATCH, "max_length": LONGEST, "shuffle": True, "seed": seed, "drop_remainder": True}
    feed = batches.tagged(*tagger.examples(words, tags), epochs=1 + steps * BATCH // len(words) * 2, **order)
    tagger.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)), jit_compile=False)
    tagger.fit(feed, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0)
    return tagger


def answers_of(tagger, words):
    """For each way to decode the tags of all rows: by the model's own scores, and under the rule."""
    tags = [["O"] * len(row) for row in words]
    ids, places = tagger.examples(words, tags)
    feed = batches.tagged(ids, places, batch_size=128, max_length=LONGEST)
    logits = tagger.predict(feed, verbose=0)
    crf, rule = tagger.crf, dict(zip(("may_begin", "may_follow"), legal(tagger.labels), strict=True))
    decode = viterbi if crf is None else crf.decode
    name, found = "softmax" if crf is None else "CRF", {}
    for way, given in ((name, {}), (f"{name}, rule", rule)):
        found[way] = []
        for row, place in zip(logits, places, strict=True):
            kept = row[: len(place)][np.asarray(place[: len(row)]) >= 0]
            best = keras.ops.convert_to_numpy(decode(kept[None], **given))[0] if len(kept) else []
            found[way].append([tagger.labels[number] for number in best])
    return {way: [tags + ["O"] * (len(row) - len(tags)) for tags, row in zip(rows, words, strict=True)]
            for way, rows in found.items()}  # fmt: skip


def judged(rows, words, right, seen):
    """F1, and the recall of the names that stood in the training rows and of the new ones."""
    hits = {True: [], False: []}
    for row, ours, theirs in zip(words, rows, right, strict=True):
        found = set(spans(_strict(ours)))
        for one in spans(theirs):
            hits[(tuple(row[one[0] : one[1]]), one[2]) in seen].append(one in found)
    table = entity_scores(rows, right)["f1"]
    by_kind = " ".join(f"{kind}={value:.4f}" for kind, value in table.items() if kind != "all")
    shares = [float(np.mean(hits[known])) if hits[known] else math.nan for known in (True, False)]
    return {"score": by_kind, "f1": table["all"], "known": shares[0], "new": shares[1]}


def _strict(tags):
    """An I that continues nothing is no part of an entity."""
    kept = []
    for tag in tags:
        before = kept[-1] if kept else "O"
        kept.append("O" if tag[0] == "I" and before[1:] != tag[1:] else tag)
    return kept


def names(table):
    for name in STEPS:
        data, labels = texts(name), None
        words, tags = data["train"]
        kinds = sorted({tag[2:] for row in tags for tag in row} - {""})
        labels = ["O", *(f"{letter}-{kind}" for kind in kinds for letter in "BI")]
        pairs = zip(words, tags, strict=True)
        seen = {(tuple(row[i:j]), kind) for row, marks in pairs for i, j, kind in spans(marks)}
        if not table.find(text=name, system="dictionary"):
            rows = list(look_up(words, tags, data["test"][0]))
            table.add(task="names", text=name, system="dictionary", seed="", rate="", part="test", seconds="",
                      **judged(rows, *data["test"], seen))  # fmt: skip
        for crf in (False, True):
            system = "CRF" if crf else "softmax"

            def run(seed, rate, part, crf=crf, name=name, data=data, labels=labels, seen=seen):
                started = time.process_time()
                tagger = tagger_of(*data["train"], labels, crf, seed, rate, STEPS[name])
                seconds = round(time.process_time() - started, 1)
                for way, rows in answers_of(tagger, data[part][0]).items():
                    table.add(task="names", text=name, system=way, seed=seed, rate=rate, part=part, seconds=seconds,
                              **judged(rows, *data[part], seen))  # fmt: skip

            chosen_and_run(table, name, system, RATES["names"], run)


# ----- answers ---------------------------------------------------------------------------------------------------


def answers(table):
    frame = load("short-passages")
    for language, (body, epochs, frozen) in READERS.items():
        rows = frame[frame["language"] == language]
        parts = {part: rows[rows["split"] == part] for part in ("train", "validation", "test")}

        def run(seed, rate, part, language=language, body=body, epochs=epochs, frozen=frozen, parts=parts):
            started = time.process_time()
            finder = finder_of(parts, body, epochs, frozen, seed, rate, language)
            seconds = round(time.process_time() - started, 1)
            for system, said in replies(finder, parts[part]).items():
                scores = answer_scores(said, parts[part]["answer"].tolist(), language[:2].replace("ch", "zh"))
                exact = scores["exact_match"]
                table.add(task="answers", text=language, system=system, seed=seed, rate=rate, part=part,
                          score=f"exact={exact['all']:.4f} exact_answerable={exact['answerable']:.4f}",
                          f1=scores["f1"]["all"], known=scores["f1"]["answerable"], new=scores["f1"]["unanswerable"],
                          seconds=seconds)  # fmt: skip

        chosen_and_run(table, language, "finder", RATES["answers"], run)


def finder_of(parts, body, epochs, frozen, seed, rate, language):
    """A finder, trained on the training questions; the validation questions choose its threshold."""
    keras.utils.set_random_seed(seed)
    pretrained = weights.sentence_encoder(body)
    encoder = pretrained.network.with_(dropout=0.1)
    encoder.freeze(frozen)
    finder = tasks.SpanFinder(models.BERTClassifier(encoder, 2, pooling=None), pretrained.tokenizer, max_length=192)
    columns = {
        part: [rows[name].tolist() for name in ("question", "passage", "answer")] for part, rows in parts.items()
    }
    rows = finder.examples(*columns["train"], starts=parts["train"]["start"].tolist())
    feed = batches.spans(*rows, batch_size=8, shuffle=True, seed=seed, epochs=epochs, pad_id=finder.tokenizer.pad_id)
    steps = batches.steps_per_epoch(feed)
    schedule = warmup_linear(rate, steps * epochs, steps * epochs // 10)
    finder.compile(keras.optimizers.Adam(schedule), jit_compile=False)
    finder.fit(feed, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=0)
    finder.choose_threshold(*columns["validation"], language=language[:2].replace("ch", "zh"))
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


def chosen_and_run(table, name, system, rates, run):
    """Tries the rates on the validation part with a seed of its own, then runs each seed on the test part."""
    for rate in rates:
        if not table.find(text=name, system=system, seed=CHOOSING, rate=rate):
            run(CHOOSING, rate, "validation")
    tried = {float(row["rate"]): float(row["f1"]) for row in table.find(text=name, system=system, seed=CHOOSING)}
    best = max(tried, key=tried.get)
    for seed in SEEDS:
        if not table.find(text=name, system=system, seed=seed, rate=best):
            run(seed, best, "test")


class Table:
    """The runs so far, in a file."""

    def __init__(self, path):
        self.path = Path(path)
        self.rows = list(csv.DictReader(self.path.open(encoding="utf-8"))) if self.path.exists() else []

    def find(self, **wanted):
        return [row for row in self.rows if all(row[name] == str(value) for name, value in wanted.items())]

    def add(self, **row):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        row = {name: round(row[name], 4) if isinstance(row[name], float) and name != "rate" else row[name]
               for name in COLUMNS}  # fmt: skip
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.rows.append({name: str(value) for name, value in row.items()})
        print(",".join(map(str, row.values())), flush=True)

    def show(self):
        """The mean and the spread of each system on the test part."""
        groups: dict[tuple, list[float]] = {}
        for row in self.find(part="test"):
            groups.setdefault((row["text"], row["system"]), []).append(float(row["f1"]))
        for (name, system), values in groups.items():
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            print(f"{name:10s} {system:28s} F1 {np.mean(values):.3f}{spread}  ({len(values)} runs)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="build/entities.csv", help="the table; runs in it are skipped")
    parser.add_argument("--only", choices=("names", "answers"), help="one of the two tasks")
    parser.add_argument("--show", action="store_true", help="print the table as it stands, and run nothing")
    arguments = parser.parse_args()
    table = Table(arguments.out)
    if not arguments.show:
        for task in (names, answers):
            if arguments.only in (None, task.__name__):
                task(table)
    table.show()
