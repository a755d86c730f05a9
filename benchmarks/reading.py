"""What order gives: every reader of lesson 11 with words in order and shuffled, and two tasks that need order.

    python benchmarks/reading.py rates        # the learning rate of each kind of reader, on validation texts
    python benchmarks/reading.py english      # 5 readers x 2 orders x 2 starts x 3 seeds; the same: chinese
    python benchmarks/reading.py exchanged    # good, but bad; or bad, but good? 5 readers x 3 seeds
    python benchmarks/reading.py memory       # what was the first symbol? 3 readers x 4 lengths x 3 seeds
    python benchmarks/reading.py all

Every run is a row of datasets/reading-order.csv, written when it ends. A run that is there is not repeated, so the
script can be stopped and started again. The readers differ in one box, which stands between the vectors of the words
and their mean: nothing (a bag), a convolution over three words, a GRU, an LSTM, an LSTM in each direction. The last
four say 32 numbers for each word. Texts, cut, batches, passes and the choice of the pass are the same for all: after
each of up to four passes the validation texts are judged; training stops when their loss has risen, and the weights
with the lowest loss answer the test texts, once.

Seconds are processor time of training and judging; the compilation is in the first run of each kind.
"""

import argparse
import csv
import os
import time
from functools import cache
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from keras import ops

from kerasllm import batches, text
from kerasllm.data import load
from kerasllm.layers import MaskedMean

RESULTS = Path(__file__).resolve().parents[1] / "datasets" / "reading-order.csv"
COLUMNS = ("experiment", "language", "model", "order", "start", "length", "seed", "rate", "passes", "validation_loss",
           "validation_accuracy", "test_accuracy", "parameters", "seconds")  # fmt: skip
KEY = COLUMNS[:8]
MODELS = ("bag", "CNN", "GRU", "LSTM", "BiLSTM")
RATES = (0.003, 0.01, 0.03)
SEEDS = (0, 1, 2)
MEMORY_RATE = 0.01
GRID_SEEDS = (100, 101)  # choose the rates, and are used for nothing else
DIM, UNITS, SIZE = 50, 32, 0.2  # numbers of a word's vector; numbers said for each word; their spread at the start
BATCH, BUCKETS = 256, 3
PAIRS, LONGEST = 6_000, 24  # training pairs; words of a snippet in a pair
MOST = {"train": 7_387, "validation": 1_093}  # texts: as many in Chinese as there are in English
CUT = {"English": 40, "Chinese": 40}  # words, characters
PASSES = {"English": 4, "Chinese": 4, "exchanged": 4, "memory": 5}


# ----- texts ---------------------------------------------------------------------------------------------------


@cache
def opinions(language):
    """Ids and labels of the three parts, and the size of the vocabulary."""
    frame = load("movie-snippets" if language == "English" else "chinese-reviews")
    parts = {name: rows for name, rows in frame.groupby("split", observed=True)}
    for name, most in MOST.items():
        if len(parts[name]) > most:
            parts[name] = parts[name].sample(most, random_state=0)
    words = text.train_words(parts["train"]["text"], vocabulary_size=30_000, minimum_count=2, lower=True)
    found = {}
    for name, some in parts.items():
        ids = [one[: CUT[language]] for one in words.encode_batch(some["text"].tolist())]
        found[name] = ids, (some["label"] == "positive").to_numpy(int)
    return found, words


def in_another_order(ids, seed):
    """The words of each text shuffled, once and for all: training, validation and test alike."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(one).tolist() for one in ids]


def glove(words):
    """A table of GloVe vectors for the words of a tokenizer; random rows of the same size for words without one."""
    table, known = np.random.default_rng(7).normal(0, 1, (words.vocabulary_size, DIM)), load("glove-50d")
    rows = known.index.get_indexer(words.vocabulary)  # -1 where GloVe has no such word
    found = known.to_numpy()[rows[rows >= 0]]
    table[rows >= 0] = found / found.std()
    return SIZE * table


def counted(words, texts, window=5):
    """A table from the counts of neighbours in some texts: PPMI, then SVD, as in lesson 09. It sees no label."""
    counts = np.zeros((words.vocabulary_size,) * 2)
    for ids in map(np.array, texts):
        for far in range(1, window + 1):
            np.add.at(counts, (ids[:-far], ids[far:]), 1.0)
    counts += counts.T
    total = counts.sum(axis=0) ** 0.75
    with np.errstate(divide="ignore", invalid="ignore"):
        ppmi = np.log(counts / counts.sum(axis=1, keepdims=True) * total.sum() / total)
    ppmi = np.where(np.isfinite(ppmi), np.maximum(ppmi, 0), 0)
    values, columns = np.linalg.eigh(ppmi @ ppmi.T)  # the squares of the singular values, and their directions
    known = columns[:, -DIM:] * np.maximum(values[-DIM:], 0) ** 0.25
    seen = counts.sum(axis=1) > 0
    table = np.random.default_rng(7).normal(0, 1, (words.vocabulary_size, DIM))
    table[seen] = known[seen] / known[seen].std()
    return SIZE * table


@cache
def vectors(language):
    """Start vectors that know words before training: GloVe, or from the counts of our own training texts."""
    parts, words = opinions(language)
    return glove(words) if language == "English" else counted(words, parts["train"][0])


@cache
def last_word():
    """Pairs of a positive and a negative snippet, each pair in both orders: is the last opinion a good one?"""
    parts, words = opinions("English")
    [but] = words.encode("but")
    found = {}
    for number, (name, (ids, labels)) in enumerate(sorted(parts.items())):
        rng = np.random.default_rng(number)
        short = [i for i, one in enumerate(ids) if 5 <= len(one) <= LONGEST and but not in one]
        good, bad = (rng.permutation([i for i in short if labels[i] == label]) for label in (1, 0))
        count = PAIRS if name == "train" else min(len(good), len(bad))
        pairs = [(ids[good[i % len(good)]], ids[bad[i % len(bad)]]) for i in range(count)]
        first = [[*one, but, *other] for one, other in pairs]  # good, but bad
        last = [[*other, but, *one] for one, other in pairs]  # bad, but good
        found[name] = [*first, *last], np.repeat([0, 1], count)
    return found, words


# ----- models --------------------------------------------------------------------------------------------------


class Reader(keras.Model):
    """From ids to one logit. All kinds differ in one box, between the vectors of the words and their mean."""

    def __init__(self, kind, vocabulary_size):
        super().__init__()
        self.words = keras.layers.Embedding(vocabulary_size, DIM)
        self.drop_numbers, self.drop_mean = keras.layers.Dropout(0.3), keras.layers.Dropout(0.3)
        self.box, self.mean, self.answer = box(kind), MaskedMean(), keras.layers.Dense(1)
        self.needs_mask = kind == "BiLSTM"  # who reads from the right meets the padding first

    def call(self, ids, training=None):
        real = ops.not_equal(ids, 0)  # (batch, time): padding is no word
        x = self.drop_numbers(self.words(ids), training=training)  # (batch, time, DIM)
        x = ops.where(real[:, :, None], x, 0.0)
        x = self.box(x, mask=real) if self.needs_mask else self.box(x)  # (batch, time, UNITS)
        return self.answer(self.drop_mean(self.mean(x, mask=real), training=training))  # (batch, 1)


def box(kind):
    """What stands between the vectors and their mean."""
    return {
        "bag": lambda: keras.layers.Identity(),
        "CNN": lambda: keras.layers.Conv1D(UNITS, 3, padding="same", activation="relu"),
        "GRU": lambda: keras.layers.GRU(UNITS, return_sequences=True),
        "LSTM": lambda: keras.layers.LSTM(UNITS, return_sequences=True),
        "BiLSTM": lambda: keras.layers.Bidirectional(keras.layers.LSTM(UNITS // 2, return_sequences=True)),
    }[kind]()


def reader(kind, vocabulary_size):
    model = Reader(kind, vocabulary_size)
    model(np.ones((1, 8), "int32"))  # makes its weights
    return model


@cache
def compiled(kind, vocabulary_size):
    model = reader(kind, vocabulary_size)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    accuracy = keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")
    model.compile(keras.optimizers.Adam(), loss, metrics=[accuracy], jit_compile=False)
    return model


def started(kind, vocabulary_size, seed, rate, start=None):
    """The compiled model of a kind with fresh weights: compiled once, started many times."""
    model = compiled(kind, vocabulary_size)
    keras.utils.set_random_seed(seed)
    fresh = reader(kind, vocabulary_size)
    table = np.random.default_rng(seed).normal(0, SIZE, (vocabulary_size, DIM)) if start is None else start
    fresh.words.set_weights([table])
    model.set_weights(fresh.get_weights())
    for variable in model.optimizer.variables:
        variable.assign(np.zeros(variable.shape))
    model.optimizer.learning_rate = rate
    return model


class LowestLoss(keras.callbacks.Callback):
    """Remembers the weights of the pass after which the validation texts had the lowest loss."""

    def __init__(self, stop=True):
        super().__init__()
        self.best, self.stop = {"val_loss": np.inf}, stop

    def on_epoch_end(self, epoch, logs):
        if logs["val_loss"] < self.best["val_loss"]:
            self.best = {**logs, "passes": epoch + 1, "weights": self.model.get_weights()}
        elif self.stop:
            self.model.stop_training = True


def run(model, parts, passes, seed, with_test=True):
    """Train, choose the pass, and judge the test texts; the numbers of a row."""
    begun = time.process_time()
    feed = {}
    for name, (ids, labels) in parts.items():
        shuffled = {"shuffle": True, "seed": seed, "epochs": passes} if name == "train" else {}
        feed[name] = batches.padded(ids, labels[:, None], batch_size=BATCH, buckets=BUCKETS, **shuffled)
    watch = LowestLoss(stop=with_test)  # the grid of rates sees all passes
    steps = batches.steps_per_epoch(feed["train"])
    model.fit(feed["train"], epochs=passes, steps_per_epoch=steps, shuffle=False, callbacks=[watch], verbose=0,
              validation_data=feed["validation"])  # fmt: skip
    model.set_weights(watch.best["weights"])
    test = model.evaluate(feed["test"], verbose=0, return_dict=True)["accuracy"] if with_test else None
    return {
        "passes": watch.best["passes"],
        "validation_loss": f"{watch.best['val_loss']:.4f}",
        "validation_accuracy": f"{watch.best['val_accuracy']:.4f}",
        "test_accuracy": "" if test is None else f"{test:.4f}",
        "parameters": model.count_params(),
        "seconds": f"{time.process_time() - begun:.1f}",
    }


# ----- the table -----------------------------------------------------------------------------------------------


def rows():
    if not RESULTS.exists():
        return []
    with open(RESULTS, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def once(settings, make, *arguments):
    """Run and write a row, unless it is there."""
    settings = {name: str(settings.get(name, "")) for name in KEY}
    if any(all(row[name] == settings[name] for name in KEY) for row in rows()):
        return
    row = {**settings, **make(*arguments)}
    new = not RESULTS.exists()
    with open(RESULTS, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print({name: value for name, value in row.items() if value != ""}, flush=True)


def one_opinion(language, kind, order, start, seed, rate, with_test=True):
    parts, words = opinions(language)
    if order == "shuffled":  # another seed for each part
        parts = {
            name: (in_another_order(ids, seed + i), labels) for i, (name, (ids, labels)) in enumerate(parts.items())
        }
    table = vectors(language) if start == "vectors" else None
    model = started(kind, words.vocabulary_size, seed, rate, table)
    return run(model, parts, PASSES[language], seed, with_test)


def rates():
    """Three rates for each kind: English, word vectors, in order, judged on validation texts alone."""
    for seed in GRID_SEEDS:
        for kind in MODELS:
            for rate in RATES:
                settings = {"experiment": "rates", "language": "English", "model": kind, "order": "in order"}
                settings |= {"start": "vectors", "seed": seed, "rate": rate}
                once(settings, one_opinion, "English", kind, "in order", "vectors", seed, rate, False)


def chosen():
    """For each kind the rate with the lowest validation loss, the mean over seeds."""
    losses = {}
    for row in rows():
        if row["experiment"] == "rates":
            losses.setdefault((row["model"], float(row["rate"])), []).append(float(row["validation_loss"]))
    return {kind: min(RATES, key=lambda rate: np.mean(losses[kind, rate])) for kind in MODELS}


def table_of_opinions(language):
    rate = chosen()
    for seed in SEEDS:
        for kind in MODELS:
            for start in ("random", "vectors"):
                for order in ("in order", "shuffled"):
                    settings = {"experiment": "opinions", "language": language, "model": kind, "order": order}
                    settings |= {"start": start, "seed": seed, "rate": rate[kind]}
                    once(settings, one_opinion, language, kind, order, start, seed, rate[kind])


def one_exchanged(kind, seed, rate):
    parts, words = last_word()
    model = started(kind, words.vocabulary_size, seed, rate, glove(words))
    return run(model, parts, PASSES["exchanged"], seed)


def table_of_exchanged():
    rate = chosen()
    for seed in SEEDS:
        for kind in MODELS:
            settings = {"experiment": "exchanged", "language": "English", "model": kind, "order": "in order"}
            settings |= {"start": "vectors", "seed": seed, "rate": rate[kind]}
            once(settings, one_exchanged, kind, seed, rate[kind])


def memory_task(count, length, seed):
    """The first symbol is 0 or 1 and is the answer; six others follow at random."""
    rng = np.random.default_rng(seed)
    symbols, answer = rng.integers(2, 8, (count, length)), rng.integers(0, 2, count)
    symbols[:, 0] = answer
    return np.eye(8, dtype="float32")[symbols], answer.astype("float32")[:, None]


def one_memory(kind, length, seed):
    """The last state of a layer as Keras starts it, or of an LSTM that starts with its forget gate open."""
    begun = time.process_time()
    keras.utils.set_random_seed(seed)
    layer = keras.layers.SimpleRNN(32) if kind == "RNN" else keras.layers.LSTM(32)
    model = keras.Sequential([keras.Input((length, 8)), layer, keras.layers.Dense(1)])
    if kind == "LSTM, gate open":
        kernel, recurrent, bias = layer.get_weights()
        bias[32:64] = 5.0  # the forget gate starts at 0.993 in place of 0.73
        layer.set_weights([kernel, recurrent, bias])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    accuracy = keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")
    model.compile(keras.optimizers.Adam(MEMORY_RATE, clipnorm=1.0), loss, metrics=[accuracy], jit_compile=False)
    seen = model.fit(*memory_task(1024, length, seed), 64, PASSES["memory"], verbose=0,
                     validation_data=memory_task(512, length, 1000 + seed)).history  # fmt: skip
    test = model.evaluate(*memory_task(1024, length, 2000 + seed), 512, verbose=0, return_dict=True)
    return {
        "passes": PASSES["memory"],
        "validation_loss": f"{seen['val_loss'][-1]:.4f}",
        "validation_accuracy": f"{seen['val_accuracy'][-1]:.4f}",
        "test_accuracy": f"{test['accuracy']:.4f}",
        "parameters": model.count_params(),
        "seconds": f"{time.process_time() - begun:.1f}",
    }


def table_of_memory():
    for seed in SEEDS:
        for length in (20, 50, 100, 200):
            for kind in ("RNN", "LSTM", "LSTM, gate open"):
                settings = {"experiment": "memory", "model": kind, "length": length, "seed": seed, "rate": MEMORY_RATE}
                once(settings, one_memory, kind, length, seed)


PARTS = {
    "rates": rates,
    "english": lambda: table_of_opinions("English"),
    "exchanged": table_of_exchanged,
    "memory": table_of_memory,
    "chinese": lambda: table_of_opinions("Chinese"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "all"])
    parts = parser.parse_args().parts
    for name in PARTS if "all" in parts else parts:
        PARTS[name]()


if __name__ == "__main__":
    main()
