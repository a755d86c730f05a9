"""A transformer and an LSTM with attention that translate English to Chinese, from few passes over the set to many.

    python benchmarks/translation.py --out build/translation.csv

Lesson 14's models, equal in size: the same pairs, tokens, batches and passes for both. Learning rates are chosen on the
validation pairs with a seed that is not used again, for either model and each number of passes, by doubling or halving
until both neighbours are worse. The test part is read once by each run of the table, greedily and with a beam of four,
and never by a run that chooses a rate. Each run is a line of the file; a run whose line is there is skipped, so the
script may be stopped and started. The nearest training pair and copying are the first two lines.
"""

import argparse
import csv
import time
from pathlib import Path

import keras
from keras import ops
from sklearn.feature_extraction.text import TfidfVectorizer

from kerasllm.batches import steps_per_epoch
from kerasllm.data import load
from kerasllm.evaluation import bleu, chrf
from kerasllm.models import LSTMSeq2Seq, Seq2Seq, Seq2SeqSettings
from kerasllm.tasks import Translator
from kerasllm.text import train_bpe, train_words

LONGEST, EPOCHS, SEEDS, RATE_SEED, FIRST_RATE = 28, (8, 20, 60), (0, 1, 2), 100, 0.01
SCORES = [f"{way}_{score}" for way in ("greedy", "beam") for score in ("bleu", "chrf")]
SCORES = [f"{name}{end}" for name in SCORES for end in ("", "_low", "_high")]
COLUMNS = ["model", "epochs", "seed", "chosen", "rate", "parameters", "validation", *SCORES, "seconds"]


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
        if kind == "lstm":
            return LSTMSeq2Seq(**sizes, embedding_dim=64, units=92, dropout=0.1)
        return Seq2Seq(Seq2SeqSettings(**sizes, embedding_dim=64, num_layers=1, dropout=0.1, context_length=LONGEST))

    def scores(self, greedy, beam):
        found = []
        for texts in (greedy, beam):
            for one in (bleu(texts, self.pairs["test"][1], "zh"), chrf(texts, self.pairs["test"][1])):
                found += [one.value, one.low, one.high]
        return {name: round(value, 2) for name, value in zip(SCORES, found, strict=True)}

    def nearest(self):
        """For each test sentence the Chinese of the training sentence with the most similar English."""
        (english, chinese), (asked, _) = self.pairs["train"], self.pairs["test"]
        tfidf = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2)).fit(english)
        places = (tfidf.transform(asked) @ tfidf.transform(english).T).toarray().argmax(axis=1)
        return [chinese[place] for place in places]


class Trainer:
    """A model that is compiled once and trained several times from the start."""

    def __init__(self, kind, texts):
        self.kind, self.texts = kind, texts
        self.model = Translator(texts.network(kind), texts.english, texts.chinese, max_length=LONGEST)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile("adam", loss, jit_compile=False)

    def run(self, epochs, seed, rate):
        """Seconds of the processor, and the loss on the validation pairs."""
        keras.utils.set_random_seed(seed)
        self.model.network.set_weights(self.texts.network(self.kind).get_weights())
        for number in self.model.optimizer.variables:
            number.assign(ops.zeros_like(number))
        order = {"batch_size": 32, "buckets": 3}
        feed = self.model.pairs(*self.texts.pairs["train"], shuffle=True, seed=seed, epochs=epochs, **order)
        fall = keras.callbacks.LearningRateScheduler(lambda epoch, _: rate * (1 - epoch / epochs))
        plan, started = {"epochs": epochs, "steps_per_epoch": steps_per_epoch(feed)}, time.process_time()
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

    def validation(self, kind, epochs, seed, rate, chosen):
        """The loss of a run on the validation pairs; the run is made unless the table has it."""
        key = {"model": kind, "epochs": epochs, "seed": seed, "chosen": chosen, "rate": rate}
        if not self.find(**key):
            if kind not in self.trainers:
                self.trainers[kind] = Trainer(kind, self.texts)
            trainer = self.trainers[kind]
            spent, loss = trainer.run(epochs, seed, rate)
            found = {}
            if chosen:
                asked = self.texts.pairs["test"][0]
                found = self.texts.scores(*(trainer.model.translate(asked, num_beams=beams) for beams in (1, 4)))
            count = trainer.model.count_params()
            self.add(**key, parameters=count, validation=round(loss, 4), **found, seconds=round(spent, 1))
        return float(self.find(**key)[0]["validation"])

    def best_rate(self, kind, epochs):
        """Doubles or halves the rate until both neighbours of the best one are worse."""
        tried = {}
        while True:
            best = min(tried, key=tried.get, default=FIRST_RATE)
            ahead = [rate for rate in (best, best * 2, best / 2) if rate not in tried]
            if not ahead:
                return best
            tried[ahead[0]] = self.validation(kind, epochs, RATE_SEED, ahead[0], 0)

    def all(self, epochs, seeds):
        for name, answers in (("nearest", self.texts.nearest()), ("copying", self.texts.pairs["test"][0])):
            if not self.find(model=name):
                self.add(model=name, chosen=1, **self.texts.scores(answers, answers))
        for passes in epochs:
            rates = {kind: self.best_rate(kind, passes) for kind in ("transformer", "lstm")}
            for seed in seeds:
                for kind, rate in rates.items():
                    self.validation(kind, passes, seed, rate, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="build/translation.csv")
    parser.add_argument("--epochs", nargs="+", type=int, default=list(EPOCHS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    given = parser.parse_args()
    Bench(given.out).all(given.epochs, given.seeds)
