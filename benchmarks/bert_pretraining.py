"""What pretraining gives to a BERT with few labels: lesson 15 with twice the labels and three seeds of everything.

    python benchmarks/bert_pretraining.py rates     # learning rates, on validation texts
    python benchmarks/bert_pretraining.py minilm    # TF-IDF, MiniLM and the same encoder with random weights, 3 seeds
    python benchmarks/bert_pretraining.py own       # a small BERT of ours with and without hidden words, 3 seeds
    python benchmarks/bert_pretraining.py all

Every run is a row of build/bert-pretraining.csv, written when it ends. A run that is there is not repeated. All
read the same 480 training snippets with their labels (movie-snippets), 240 for choices and 600 for the test, cut to 24
tokens. The small BERT also reads all 7,387 training snippets without labels.

`--cache FOLDER` keeps what frozen blocks say, so that a script that was stopped does not compute it again. Seconds are
processor time.
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
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from kerasllm import text, weights
from kerasllm.data import load
from kerasllm.layers import MaskedMean
from kerasllm.models import BERT, BERTClassifier, BERTSettings

RESULTS = Path(__file__).resolve().parents[1] / "build" / "bert-pretraining.csv"
COLUMNS = ("experiment", "model", "weights", "trained", "labels", "hidden_steps", "seed", "rate", "passes",
           "validation_accuracy", "test_accuracy", "hidden_loss", "seconds")  # fmt: skip
KEY = COLUMNS[:8]
SIZES = {"train": 480, "validation": 240, "test": 600}
LABELS = SIZES["train"]
LENGTH, FROZEN, BATCH, PASSES = 24, 4, 32, 3
RATES = (1e-4, 3e-4, 1e-3)
SEEDS, GRID_SEED = (0, 1, 2), 100
WORDS, DIM, HIDDEN_STEPS, HIDDEN_RATE, ASKED = 4_000, 64, 400, 2e-3, 4
OWN_PASSES, PATIENCE, OWN_RATES = 8, 4, (3e-4, 1e-3)
CACHE = None


@cache
def snippets():
    """The three parts with labels, and all training texts."""
    frame = load("movie-snippets")
    whole = {name: rows for name, rows in frame.groupby("split", observed=True)}
    parts = {name: rows.sample(SIZES[name], random_state=0) for name, rows in whole.items()}
    labels = {name: (rows["label"] == "positive").to_numpy(int) for name, rows in parts.items()}
    return parts, labels, whole["train"]


def accuracy(logits, labels):
    return float(np.mean(logits.argmax(axis=1) == labels))


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


# ----- counting ------------------------------------------------------------------------------------------------


def tfidf(labels_used):
    """Words and pairs of words, counted; C is chosen on validation texts."""
    parts, labels, whole = snippets()
    train = parts["train"] if labels_used == LABELS else whole
    y = (train["label"] == "positive").to_numpy(int)
    counter = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(train["text"])
    X = {name: counter.transform(rows["text"]) for name, rows in {**parts, "train": train}.items()}
    return {"passes": 0, **linear(X, {**labels, "train": y})}


def linear(X, labels):
    tried = [LogisticRegression(C=C, max_iter=2_000).fit(X["train"], labels["train"]) for C in (0.1, 1, 10, 100)]
    best = max(tried, key=lambda one: one.score(X["validation"], labels["validation"]))
    return {f"{name}_accuracy": best.score(X[name], labels[name]) for name in ("validation", "test")}


# ----- MiniLM, and the same encoder with random weights --------------------------------------------------------


@cache
def minilm():
    """The encoder without pooler and dropout, and the ids of the three parts."""
    network, tokenizer = weights.pretrained("minilm")
    ids = {}
    for name, rows in snippets()[0].items():
        cut = [[tokenizer.bos_id, *one[: LENGTH - 2], tokenizer.eos_id] for one in tokenizer.encode_batch(rows["text"])]
        ids[name] = keras.utils.pad_sequences(cut, LENGTH, padding="post", value=tokenizer.pad_id)
    return network.with_(pooler=False, dropout=0.0), ids


def encoder_of(kind, seed):
    """A copy of MiniLM, or a new encoder of its settings."""
    pretrained, _ = minilm()
    keras.utils.set_random_seed(seed)
    return pretrained.with_() if kind == "pretrained" else BERT(pretrained.settings)


def lower_features(encoder, kind, seed):
    """What the frozen blocks say of all texts: {part: float32 (texts, LENGTH, dim)}."""
    ids = minilm()[1]
    place = CACHE and Path(CACHE) / f"{kind}-{0 if kind == 'pretrained' else seed}.npz"
    if place and place.exists():
        return dict(np.load(place))
    lower = encoder.with_(num_layers=FROZEN)
    found = {name: lower.predict(one, batch_size=64, verbose=0) for name, one in ids.items()}
    if place:
        np.savez(place, **found)
    return found


class Upper(keras.Model):
    """The blocks that learn, the mean over the real tokens, and two logits."""

    def __init__(self, blocks, rate_of_drop=0.1):
        super().__init__()
        self.blocks, self.mean = blocks, MaskedMean()
        self.drop, self.answer = keras.layers.Dropout(rate_of_drop), keras.layers.Dense(2)

    def vectors(self, x, real):
        for block in self.blocks:
            x = block(x, mask=real)
        return self.mean(x, mask=real)

    def call(self, inputs, training=None):
        return self.answer(self.drop(self.vectors(*inputs), training=training))


def upper_two(kind, seed, rate, with_test=True):
    """The lower four blocks are frozen, the upper two learn."""
    _, labels, _ = snippets()
    encoder = encoder_of(kind, seed)
    features, ids = lower_features(encoder, kind, seed), minilm()[1]
    model = Upper(encoder.blocks[FROZEN:])
    return trained(model, {name: (features[name], ids[name] != 0) for name in ids}, labels, rate, with_test)


def trained(model, X, labels, rate, with_test=True):
    """Three passes at a falling rate; the weights of the last step answer."""
    steps = PASSES * len(labels["train"]) // BATCH
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(rate, steps, 0.0)), loss())
    model.fit(X["train"], labels["train"], BATCH, PASSES, verbose=0)
    judged = ("validation", "test") if with_test else ("validation",)
    found = {f"{one}_accuracy": accuracy(model.predict(X[one], 100, verbose=0), labels[one]) for one in judged}
    return {"passes": PASSES, **found}


def all_six(kind, seed, rate):
    """Nothing is frozen."""
    _, labels, _ = snippets()
    network = BERTClassifier(encoder_of(kind, seed), 2, "mean")
    return trained(network, minilm()[1], labels, rate)


def frozen(kind, seed):
    """A linear head on the vectors of texts; the encoder learns nothing."""
    _, labels, _ = snippets()
    encoder = encoder_of(kind, seed)
    features, ids = lower_features(encoder, kind, seed), minilm()[1]
    model, vectors = Upper(encoder.blocks[FROZEN:]), {}
    for name, x in features.items():
        pieces = [model.vectors(x[i : i + 100], ids[name][i : i + 100] != 0) for i in range(0, len(x), 100)]
        vectors[name] = ops.convert_to_numpy(ops.normalize(ops.concatenate(pieces)))
    return {"passes": 0, **linear(vectors, labels)}


# ----- a small BERT of ours ------------------------------------------------------------------------------------


@cache
def words():
    """A tokenizer of words from the training texts, all of these as ids, and the ids of the three parts."""
    parts, _, whole = snippets()
    tokenizer = text.train_words(whole["text"], vocabulary_size=WORDS, lower=True, mask=True)
    rows = {"unlabelled": whole, **parts}
    ids = {
        name: keras.utils.pad_sequences([one[:LENGTH] for one in tokenizer.encode_batch(some["text"])], LENGTH,
                                        padding="post", value=tokenizer.pad_id)
        for name, some in rows.items()
    }  # fmt: skip
    return tokenizer, ids


def hidden(ids, tokenizer, rng):
    """Ids with words hidden as BERT hides them; the places that are asked for, their words, and which count."""
    special = [tokenizer.id_of(token) for token in tokenizer.special_tokens]
    can, fate = ~np.isin(ids, special), rng.random(ids.shape)
    order = np.where(can, rng.random(ids.shape), 2).argsort(axis=1)
    places = order[:, :ASKED]
    count = np.clip(np.round(0.15 * can.sum(axis=1)), 1, ASKED)
    counts = (np.arange(ASKED) < count[:, None]) & np.take_along_axis(can, places, axis=1)
    chosen = np.zeros(ids.shape, bool)
    np.put_along_axis(chosen, places, counts, axis=1)
    drawn = rng.integers(len(special), tokenizer.vocabulary_size, ids.shape)
    changed = np.where(fate < 0.8, tokenizer.mask_id, np.where(fate < 0.9, drawn, ids))
    return np.where(chosen, changed, ids), places, np.take_along_axis(ids, places, axis=1), counts.astype("float32")


class Guesser(keras.Model):
    """A BERT that is asked at some places alone."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def call(self, inputs, training=None):
        ids, places = inputs
        features = self.bert(ids, return_features=True, training=training)  # (batch, time, dim)
        return self.bert.head(ops.take_along_axis(features, places[:, :, None], axis=1))  # (batch, asked, words)


def own_encoder(seed, steps):
    """A small BERT after some steps of hidden words, and its loss at the hidden words of validation texts."""
    tokenizer, ids = words()
    keras.utils.set_random_seed(seed)
    bert = BERT(BERTSettings(tokenizer.vocabulary_size, DIM, 2, 4, context_length=LENGTH, type_vocabulary_size=0,
                             pad_id=tokenizer.pad_id, head=True))  # fmt: skip
    if not steps:
        return bert, ""
    rng, rows = np.random.default_rng(seed), []
    while sum(map(len, rows)) < steps * BATCH:
        rows.append(rng.permutation(ids["unlabelled"]))
    seen = np.concatenate(rows)[: steps * BATCH]
    x, places, answers, count = hidden(seen, tokenizer, rng)
    model = Guesser(bert)
    rate = keras.optimizers.schedules.PolynomialDecay(HIDDEN_RATE, steps, 0.0)
    error = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.Adam(rate), error)
    model.fit((x, places), answers, BATCH, sample_weight=count, shuffle=False, verbose=0)
    x, places, answers, count = hidden(ids["validation"], tokenizer, np.random.default_rng(1000))
    return bert, model.evaluate((x, places), answers, sample_weight=count, verbose=0)


class Best(keras.callbacks.Callback):
    """Remembers the weights of the pass with the lowest validation loss; stops when four bring no lower one."""

    def __init__(self):
        super().__init__()
        self.best = {"val_loss": np.inf}

    def on_epoch_end(self, epoch, logs):
        if logs["val_loss"] < self.best["val_loss"]:
            self.best = {**logs, "passes": epoch + 1, "weights": self.model.get_weights()}
        elif epoch + 1 >= self.best["passes"] + PATIENCE:
            self.model.stop_training = True


_encoders = {}


def own(seed, rate, steps, passes, with_test=True):
    """A classifier on a small BERT: hidden words first, or more passes over the labels."""
    _, labels, _ = snippets()
    ids = words()[1]
    if (seed, steps) not in _encoders:
        _encoders[seed, steps] = own_encoder(seed, steps)
    bert, hidden_loss = _encoders[seed, steps]
    model, watch = BERTClassifier(bert.with_(head=False, dropout=0.1), 2, "mean"), Best()
    model.compile(keras.optimizers.Adam(rate), loss())
    model.fit(ids["train"], labels["train"], BATCH, passes, verbose=0, callbacks=[watch],
              validation_data=(ids["validation"], labels["validation"]))  # fmt: skip
    model.set_weights(watch.best["weights"])
    judged = ("validation", "test") if with_test else ("validation",)
    found = {f"{one}_accuracy": accuracy(model.predict(ids[one], 100, verbose=0), labels[one]) for one in judged}
    return {"passes": watch.best["passes"], "hidden_loss": hidden_loss, **found}


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
    begun = time.process_time()
    row = {name: f"{one:.4f}" if isinstance(one, float) else one for name, one in make(*arguments).items()}
    new = not RESULTS.exists()
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({**settings, **row, "seconds": f"{time.process_time() - begun:.1f}"})
    print({**settings, **row, "seconds": f"{time.process_time() - begun:.1f}"}, flush=True)


def chosen(model, kind):
    """The rate that the validation texts chose."""
    grid = [row for row in rows() if row["experiment"] == "rates" and (row["model"], row["weights"]) == (model, kind)]
    return float(max(grid, key=lambda row: float(row["validation_accuracy"]))["rate"])


def rates():
    for kind in ("pretrained", "random"):
        for rate in RATES:
            one = {"model": "MiniLM", "weights": kind, "trained": "upper two", "labels": LABELS, "seed": GRID_SEED}
            once({"experiment": "rates", **one, "rate": rate}, upper_two, kind, GRID_SEED, rate, False)
    for rate in OWN_RATES:  # of the control alone, which can only help it
        one = {"experiment": "rates", "model": "own", "weights": "random", "trained": "all", "labels": LABELS}
        passes = starts()[1][2]
        once({**one, "hidden_steps": 0, "seed": GRID_SEED, "rate": rate}, own, GRID_SEED, rate, 0, passes, False)


def starts():
    """Hidden words and then labels; or as many steps in all on the labels alone."""
    a_pass = SIZES["train"] // BATCH
    return ("hidden words", HIDDEN_STEPS, OWN_PASSES), ("random", 0, OWN_PASSES + HIDDEN_STEPS // a_pass)


def table_of_minilm():
    for count in (LABELS, 7387):
        once({"experiment": "snippets", "model": "TF-IDF", "labels": count}, tfidf, count)
    once({"experiment": "snippets", "model": "MiniLM", "weights": "pretrained", "trained": "head", "labels": LABELS},
         frozen, "pretrained", 0)  # fmt: skip
    for seed in SEEDS:
        one = {"experiment": "snippets", "model": "MiniLM", "labels": LABELS, "seed": seed}
        once({**one, "weights": "random", "trained": "head"}, frozen, "random", seed)
        for kind in ("pretrained", "random"):
            rate = chosen("MiniLM", kind)
            once({**one, "weights": kind, "trained": "upper two", "rate": rate}, upper_two, kind, seed, rate)


def table_of_six():
    for seed in SEEDS:
        rate = chosen("MiniLM", "random")
        one = {"experiment": "snippets", "model": "MiniLM", "weights": "random", "trained": "all", "labels": LABELS}
        once({**one, "seed": seed, "rate": rate}, all_six, "random", seed, rate)


def table_of_own():
    for seed in SEEDS:
        for kind, steps, passes in starts():
            rate = chosen("own", "random")
            one = {"experiment": "snippets", "model": "own", "weights": kind, "trained": "all", "labels": LABELS}
            once({**one, "hidden_steps": steps, "seed": seed, "rate": rate}, own, seed, rate, steps, passes)


PARTS = {"rates": rates, "minilm": table_of_minilm, "own": table_of_own, "six": table_of_six}


def main():
    global CACHE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "all"])
    parser.add_argument("--cache", help="a folder for what frozen blocks say")
    arguments = parser.parse_args()
    CACHE = arguments.cache
    for name in PARTS if "all" in arguments.parts else arguments.parts:
        PARTS[name]()


if __name__ == "__main__":
    main()
