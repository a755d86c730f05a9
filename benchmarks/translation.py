"""A transformer and an LSTM with attention that translate English to Chinese.

    python benchmarks/translation.py                 # six passes over the pairs, as in lesson 14
    python benchmarks/translation.py --passes 20     # more of them; the lines go into the same table

Lesson 14's models, equal in size: the same pairs, tokens, batches and passes for both. Learning rates are chosen on the
validation pairs with a seed that is not used again, for either model and each number of passes, by doubling or halving
until both neighbours are worse. The test part is read once by each run of the table, greedily and with a beam of four,
and never by a run that chooses a rate. Each run is a line of datasets/translation-models.csv, written when it ends; a
run whose line is there is skipped, so the script may be stopped and started. Seconds are processor time.
"""

import argparse
import csv
import time
from pathlib import Path

import keras
from keras import ops

from kerasllm.batches import steps_per_epoch
from kerasllm.data import load
from kerasllm.evaluation import bleu, chrf
from kerasllm.models import LSTMSeq2Seq, Seq2Seq, Seq2SeqSettings
from kerasllm.tasks import Translator
from kerasllm.text import train_bpe, train_words

RESULTS = Path(__file__).resolve().parents[1] / "datasets" / "translation-models.csv"
LONGEST, PASSES, SEEDS, RATE_SEED, FIRST_RATE = 28, (6,), (0, 1, 2), 100, 0.005
SCORES = ["greedy_bleu", "greedy_chrf", "beam_bleu", "beam_chrf"]
COLUMNS = ["model", "passes", "seed", "chosen", "rate", "parameters", "validation_loss", *SCORES, "seconds"]


class Texts:
    def __init__(self):
        frame = load("hsk-sentences")
        self.pairs = {part: frame.loc[frame.split == part, ["source", "target"]].to_numpy().T.tolist()
                      for part in ("train", "validation", "test")}  # fmt: skip
        english, chinese = self.pairs["train"]
        self.english = train_bpe(english, 1_500, lower=True)
        self.chinese = train_words(chinese, 2_500, minimum_count=2, bos=True, eos=True)

    def network(self, kind):
        sizes = {
            "vocabulary_size": self.chinese.vocabulary_size,
            "source_vocabulary_size": self.english.vocabulary_size,
        }
        if kind == "LSTM":
            return LSTMSeq2Seq(**sizes, embedding_dim=64, units=92, dropout=0.1)
        return Seq2Seq(Seq2SeqSettings(**sizes, embedding_dim=64, num_layers=1, dropout=0.1, context_length=LONGEST))

    def scores(self, greedy, beam):
        right = self.pairs["test"][1]
        found = [one.value for texts in (greedy, beam) for one in (bleu(texts, right, "zh"), chrf(texts, right))]
        return {name: round(value, 2) for name, value in zip(SCORES, found, strict=True)}


class Trainer:
    """A model that is compiled once and trained several times from the start."""

    def __init__(self, kind, texts):
        self.kind, self.texts = kind, texts
        self.model = Translator(texts.network(kind), texts.english, texts.chinese, max_length=LONGEST)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile("adam", loss, jit_compile=False)

    def run(self, passes, seed, rate):
        """Seconds of the processor, and the loss on the validation pairs."""
        keras.utils.set_random_seed(seed)
        fresh = self.texts.network(self.kind)
        for old, new in zip(self.model.network.variables, fresh.variables, strict=True):  # the seeds of dropout, too
            old.assign(new)
        for number in self.model.optimizer.variables:
            number.assign(ops.zeros_like(number))
        order = {"batch_size": 32, "buckets": 3}
        feed = self.model.pairs(*self.texts.pairs["train"], shuffle=True, seed=seed, epochs=passes, **order)
        fall = keras.callbacks.LearningRateScheduler(lambda done, _: rate * (1 - done / passes))
        plan, started = {"epochs": passes, "steps_per_epoch": steps_per_epoch(feed)}, time.process_time()
        self.model.fit(feed, shuffle=False, verbose=0, callbacks=[fall], **plan)
        spent = time.process_time() - started
        return spent, self.model.evaluate(self.model.pairs(*self.texts.pairs["validation"], **order), verbose=0)


class Bench:
    def __init__(self, path):
        self.path, self.texts, self.trainers = Path(path), Texts(), {}
        self.rows = list(csv.DictReader(self.path.open(encoding="utf-8"))) if self.path.exists() else []

    def find(self, **wanted):
        return [row for row in self.rows if all(row[name] == str(value) for name, value in wanted.items())]

    def add(self, **row):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        row = {name: str(row.get(name, "")) for name in COLUMNS}
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.rows.append(row)
        print(",".join(row.values()), flush=True)

    def validation(self, kind, passes, seed, rate, chosen):
        """The loss of a run on the validation pairs; the run is made unless the table has it."""
        key = {"model": kind, "passes": passes, "seed": seed, "chosen": chosen, "rate": rate}
        if not self.find(**key):
            if kind not in self.trainers:
                self.trainers[kind] = Trainer(kind, self.texts)
            trainer = self.trainers[kind]
            spent, loss = trainer.run(passes, seed, rate)
            found = {}
            if chosen:
                asked = self.texts.pairs["test"][0]
                found = self.texts.scores(*(trainer.model.translate(asked, num_beams=beams) for beams in (1, 4)))
            count = trainer.model.count_params()
            self.add(**key, parameters=count, validation_loss=round(loss, 4), **found, seconds=round(spent, 1))
        return float(self.find(**key)[0]["validation_loss"])

    def best_rate(self, kind, passes):
        """Doubles or halves the rate until both neighbours of the best one are worse."""
        tried = {}
        while True:
            best = min(tried, key=tried.get, default=FIRST_RATE)
            ahead = [rate for rate in (best, best * 2, best / 2) if rate not in tried]
            if not ahead:
                return best
            tried[ahead[0]] = self.validation(kind, passes, RATE_SEED, ahead[0], 0)

    def all(self, models, passes, seeds):
        for many in passes:
            rates = {kind: self.best_rate(kind, many) for kind in models}
            for seed in seeds:
                for kind, rate in rates.items():
                    self.validation(kind, many, seed, rate, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=RESULTS)
    parser.add_argument("--models", nargs="+", default=["transformer", "LSTM"])
    parser.add_argument("--passes", nargs="+", type=int, default=list(PASSES))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    given = parser.parse_args()
    Bench(given.out).all(given.models, given.passes, given.seeds)
