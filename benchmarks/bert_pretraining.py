"""What pretraining gives to a BERT with 240 labels: the table that lesson 15 draws, with three seeds of everything.

    python benchmarks/bert_pretraining.py small     # a small BERT of ours: hidden words first, or labels alone
    python benchmarks/bert_pretraining.py minilm    # MiniLM and the same encoder with random weights
    python benchmarks/bert_pretraining.py all

Every run is a row of datasets/bert-pretraining.csv, written when it ends. A run that is there is not repeated. All
read the same 240 training snippets with their labels (movie-snippets), 120 for choices and 1,000 for the test, cut to
20 tokens. The small BERT also reads all 7,387 training snippets without labels. Seconds are processor time.
"""

import argparse
import csv
import os
import time
from functools import cache, lru_cache
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from keras import ops
from sklearn.linear_model import LogisticRegression

from kerasllm import text, weights
from kerasllm.data import load
from kerasllm.layers import MaskedMean
from kerasllm.models import BERT, BERTClassifier, BERTSettings

RESULTS = Path(__file__).resolve().parents[1] / "datasets" / "bert-pretraining.csv"
COLUMNS = ("experiment", "model", "weights", "trained", "hidden_steps", "seed", "rate", "passes", "hidden_loss",
           "validation_loss", "validation_accuracy", "test_accuracy", "seconds")  # fmt: skip
KEY = COLUMNS[:7]
SIZES = {"train": 240, "validation": 120, "test": 1_000}
LENGTH, BATCH, SEEDS, GRID_SEED = 20, 32, (0, 1, 2), 100
FROZEN, PASSES = 4, 3  # MiniLM
WORDS, DIM, ASKED, SMALL_PASSES, PATIENCE, HIDDEN_STEPS = 2_000, 64, 4, 60, 20, (0, 300)  # the small BERT
RATES = {"pretrained": (1e-4, 3e-4, 1e-3), "random": (3e-4, 1e-3, 3e-3)}
OTHER_RATE = 3e-4  # the second best of MiniLM
SMALL_RATES, HIDDEN_RATES = (3e-4, 1e-3, 3e-3), (1e-3, 2e-3, 4e-3)


@cache
def snippets():
    """The three parts with labels, and all training texts."""
    whole = {name: rows for name, rows in load("movie-snippets").groupby("split", observed=True)}
    parts = {name: rows.sample(SIZES[name], random_state=0) for name, rows in whole.items()}
    labels = {name: (rows["label"] == "positive").to_numpy(int) for name, rows in parts.items()}
    return parts, labels, whole["train"]


def loss(**options):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **options)


def judged(model, X, with_test):
    """Loss on the validation texts; accuracy there and, if asked for, on the test texts."""
    labels, found = snippets()[1], {}
    for name in ("validation", "test") if with_test else ("validation",):
        logits = model.predict(X[name], 100, verbose=0)
        found[f"{name}_accuracy"] = float(np.mean(logits.argmax(axis=1) == labels[name]))
        if name == "validation":
            found["validation_loss"] = float(loss()(labels[name], logits))
    return found


@cache
def compiled(make, *arguments, **losses):
    """A model that is compiled once and started many times."""
    model = make(*arguments)
    model.compile(keras.optimizers.Adam(), loss(**losses), jit_compile=False)
    return model


def started(model, fresh):
    """The compiled model with the weights and the seeds of a fresh one, and an optimizer that remembers nothing."""
    for old, new in zip(model.variables, fresh.variables, strict=True):
        old.assign(new)
    for number in model.optimizer.variables:
        number.assign(ops.zeros_like(number))
    return model


class Falling(keras.callbacks.Callback):
    """The learning rate falls to 0 in a straight line."""

    def __init__(self, rate, steps):
        super().__init__()
        self.rate, self.steps, self.done = rate, steps, 0

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate * (1 - self.done / self.steps)
        self.done += 1


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


@lru_cache(1)
def lower_features(kind, seed, names):
    """What the frozen blocks say of all texts, with the places of real tokens: {part: (features, real)}."""
    lower, parts = encoder_of(kind, seed).with_(num_layers=FROZEN), minilm()[1]
    return {name: (lower.predict(parts[name], 64, verbose=0), parts[name] != 0) for name in names}


class Upper(keras.Model):
    """The blocks that learn, the mean over the real tokens, and two logits."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks, self.mean = blocks, MaskedMean()
        self.drop, self.answer = keras.layers.Dropout(0.1), keras.layers.Dense(2)

    def vectors(self, x, real):
        for block in self.blocks:
            x = block(x, mask=real)
        return self.mean(x, mask=real)

    def call(self, inputs, training=None):
        return self.answer(self.drop(self.vectors(*inputs), training=training))


def features_of(kind, seed, with_test):
    """Nothing in MiniLM itself depends on a seed."""
    names = ("train", "validation", "test") if with_test or kind == "pretrained" else ("train", "validation")
    return lower_features(kind, 0 if kind == "pretrained" else seed, names)


def upper_two(kind="pretrained", seed=0):
    encoder = encoder_of(kind, seed)
    model = Upper(encoder.blocks[FROZEN:])
    model((np.zeros((1, LENGTH, encoder.settings.embedding_dim)), np.ones((1, LENGTH), bool)))  # makes its weights
    return model


def fine_tuned(kind, seed, rate, with_test=True):
    """The upper two blocks learn: three passes at a falling rate, and the last step counts."""
    X, model = features_of(kind, seed, with_test), started(compiled(upper_two), upper_two(kind, seed))
    falling = Falling(rate, PASSES * -(-SIZES["train"] // BATCH))
    model.fit(X["train"], snippets()[1]["train"], BATCH, PASSES, verbose=0, callbacks=[falling])
    return {"passes": PASSES, **judged(model, X, with_test)}


def frozen(kind, seed):
    """A logistic regression on the vectors of texts; the encoder learns nothing."""
    model, labels, X = upper_two(kind, seed), snippets()[1], {}
    for name, (x, real) in features_of(kind, seed, True).items():
        pieces = [model.vectors(x[i : i + 100], real[i : i + 100]) for i in range(0, len(x), 100)]
        X[name] = ops.convert_to_numpy(ops.normalize(ops.concatenate(pieces)))
    tried = [LogisticRegression(C=C, max_iter=2_000).fit(X["train"], labels["train"]) for C in (1, 10, 100)]
    best = max(tried, key=lambda one: one.score(X["validation"], labels["validation"]))
    return {"passes": 0, **{f"{name}_accuracy": best.score(X[name], labels[name]) for name in ("validation", "test")}}


# ----- a small BERT of ours ------------------------------------------------------------------------------------


@cache
def words():
    """A tokenizer of words from the training texts, all of these as ids, and the ids of the three parts."""
    parts, _, whole = snippets()
    tokenizer = text.train_words(whole["text"], vocabulary_size=WORDS, lower=True, mask=True)
    ids = {}
    for name, rows in {"unlabelled": whole, **parts}.items():
        cut = [one[:LENGTH] for one in tokenizer.encode_batch(rows["text"])]
        ids[name] = keras.utils.pad_sequences(cut, LENGTH, padding="post", value=tokenizer.pad_id)
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


def small_bert():
    tokenizer, _ = words()
    return BERT(BERTSettings(tokenizer.vocabulary_size, DIM, 2, 4, context_length=LENGTH, type_vocabulary_size=0,
                             pad_id=tokenizer.pad_id, head=True))  # fmt: skip


@lru_cache(4)
def small_encoder(seed, steps, rate):
    """A small BERT after some steps of hidden words, and its loss at the hidden words of validation texts."""
    tokenizer, ids = words()
    keras.utils.set_random_seed(seed)
    bert = small_bert()
    if not steps:
        return bert, ""
    rng, rows = np.random.default_rng(seed), []
    while sum(map(len, rows)) < steps * BATCH:
        rows.append(rng.permutation(ids["unlabelled"]))
    x, places, answers, count = hidden(np.concatenate(rows)[: steps * BATCH], tokenizer, rng)
    model = started(compiled(guesser, reduction="mean_with_sample_weight"), Guesser(bert))
    model.fit((x, places), answers, BATCH, sample_weight=count, shuffle=False, verbose=0,
              callbacks=[Falling(rate, steps)])  # fmt: skip
    x, places, answers, count = hidden(ids["validation"], tokenizer, np.random.default_rng(1000))
    return model.bert.with_(), model.evaluate((x, places), answers, BATCH, sample_weight=count, verbose=0)


def guesser():
    return Guesser(small_bert())


def hidden_alone(seed, steps, rate):
    return {"passes": 0, "hidden_loss": small_encoder(seed, steps, rate)[1]}


def first_classifier():
    return small_classifier(small_bert())


def small_classifier(bert):
    return BERTClassifier(bert.with_(head=False, dropout=0.1), 2, "mean")


class Best(keras.callbacks.Callback):
    """Remembers the weights of the pass with the lowest validation loss; stops when 20 passes bring no lower one."""

    def __init__(self):
        super().__init__()
        self.best = {"val_loss": np.inf}

    def on_epoch_end(self, epoch, logs):
        if logs["val_loss"] < self.best["val_loss"]:
            self.best = {**logs, "passes": epoch + 1, "weights": self.model.get_weights()}
        elif epoch + 1 >= self.best["passes"] + PATIENCE:
            self.model.stop_training = True


def small(seed, rate, steps, hidden_rate, passes, with_test=True):
    """A classifier on a small BERT, the best of its passes over the labels."""
    ids, labels = words()[1], snippets()[1]
    bert, hidden_loss = small_encoder(seed, steps, hidden_rate)
    keras.utils.set_random_seed(seed)
    model, watch = started(compiled(first_classifier), small_classifier(bert)), Best()
    model.optimizer.learning_rate = rate
    model.fit(ids["train"], labels["train"], BATCH, passes, verbose=0, callbacks=[watch],
              validation_data=(ids["validation"], labels["validation"]))  # fmt: skip
    model.set_weights(watch.best["weights"])
    return {"passes": watch.best["passes"], "hidden_loss": hidden_loss, **judged(model, ids, with_test)}


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
    row = {**settings, **row, "seconds": f"{time.process_time() - begun:.1f}"}
    new = not RESULTS.exists()
    with open(RESULTS, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(row, flush=True)


def chosen(loss_name="validation_loss", **wanted):
    """The rate with the lowest loss on the validation texts, the mean over the seeds of the grid."""
    losses = {}
    for row in rows():
        if all(row[name] == str(value) for name, value in wanted.items()):
            losses.setdefault(float(row["rate"]), []).append(float(row[loss_name]))
    return min(losses, key=lambda rate: np.mean(losses[rate]))


def hidden_rate():
    """Chosen with the shorter of the two trainings on hidden words."""
    return chosen("hidden_loss", experiment="hidden rates")


def label_passes(steps):
    """Labels alone may take as many steps as most hidden words and labels together."""
    return SMALL_PASSES if steps else SMALL_PASSES + max(HIDDEN_STEPS) // -(-SIZES["train"] // BATCH)


def start(steps):
    return {"model": "small BERT", "weights": "hidden words" if steps else "random", "hidden_steps": steps}


def table_of_small():
    """First the grids of rates, which read no test text, with a seed that nothing else uses."""
    for rate in HIDDEN_RATES:
        one = {"experiment": "hidden rates", **start(HIDDEN_STEPS[1]), "trained": "hidden words"}
        once({**one, "seed": GRID_SEED, "rate": rate}, hidden_alone, GRID_SEED, HIDDEN_STEPS[1], rate)
    for steps in HIDDEN_STEPS:
        one = {**start(steps), "trained": "all"}
        for rate in SMALL_RATES:
            settings = {"experiment": "rates", **one, "seed": GRID_SEED, "rate": rate}
            once(settings, small, GRID_SEED, rate, steps, hidden_rate(), label_passes(steps), False)
        rate = chosen(experiment="rates", **one)
        for seed in SEEDS:
            settings = {"experiment": "snippets", **one, "seed": seed, "rate": rate}
            once(settings, small, seed, rate, steps, hidden_rate(), label_passes(steps))


def table_of_minilm():
    """Grids again, then the upper two blocks, and a head alone."""
    for kind, grid in RATES.items():
        one = {"model": "MiniLM", "weights": kind, "trained": "upper two"}
        for rate in grid:
            settings = {"experiment": "rates", **one, "seed": GRID_SEED, "rate": rate}
            once(settings, fine_tuned, kind, GRID_SEED, rate, False)
        rate = chosen(experiment="rates", **one)
        for seed in SEEDS:
            once({"experiment": "snippets", **one, "seed": seed, "rate": rate}, fine_tuned, kind, seed, rate)
            if kind == "random" or seed == SEEDS[0]:
                once({"experiment": "snippets", **one, "trained": "head", "seed": seed}, frozen, kind, seed)
    for seed in SEEDS:  # what the choice among two rates that are nearly equal on the validation texts has cost
        one = {"model": "MiniLM", "weights": "pretrained", "trained": "upper two", "rate": OTHER_RATE}
        once({"experiment": "other rates", **one, "seed": seed}, fine_tuned, "pretrained", seed, OTHER_RATE)


PARTS = {"small": table_of_small, "minilm": table_of_minilm}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "all"])
    parts = parser.parse_args().parts
    for name in PARTS if "all" in parts else parts:
        PARTS[name]()


if __name__ == "__main__":
    main()
