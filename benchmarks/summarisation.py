"""Headlines of news articles, written in several ways. Lesson 23.

    python benchmarks/summarisation.py asked trained --out build/summarisation.csv
    KERAS_BACKEND=jax python benchmarks/summarisation.py asked tuned trained shuffled large --minutes 3
    python benchmarks/summarisation.py --ship      # copies what is there into datasets/

Parts run in the order in which they are named. A row is one headline, or a number of a run, written as soon as it is
there; the script goes on where the file ends. ``--minutes`` ends it before a run that might not fit any more. Everybody
reads the same: the first 100 words of an article. Left out are articles of fewer than 40 words, and headlines of fewer
than four words or that stand twice.

- asked: SmolLM2-135M-Instruct, greedy, as it came. Three prompts write headlines of validation articles; the one with
  the best ROUGE-1 is asked for those of the test part, and used below.
- tuned: the same with LoRA, the loss on the headline alone: 100 steps of 16 articles, other ones for each seed.
- shuffled: its control, which is told the headlines of other articles, in the same steps.
- trained: an encoder-decoder of lesson 14, three passes. The rate is doubled or halved until both neighbours are worse
  by the loss on the validation articles, with a seed of its own.
- large: a wider and deeper one, of whose passes the best by that loss counts; its rate was not searched for.

A language model or a large encoder-decoder needs a GPU, the rest minutes on a processor. What needs no training (first
sentence, graph, first words, another headline) costs nothing and is computed where it is shown. Rows "invented" and
"false" were counted by hand, by the rule in datasets/headline-summaries.md: ``--ship`` keeps them.
"""

from __future__ import annotations

import argparse
import csv
import functools
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from kerasllm import training, weights
from kerasllm.batches import steps_per_epoch
from kerasllm.data import load
from kerasllm.evaluation import rouge
from kerasllm.models import Seq2Seq, Seq2SeqSettings
from kerasllm.tasks import Summarizer, Translator
from kerasllm.text import ChatTemplate, train_bpe

COLUMNS = ["reader", "setting", "seed", "split", "item", "measure", "value", "text", "machine"]
SHIPPED = Path(__file__).resolve().parents[1] / "datasets" / "headline-summaries.csv"
WORDS, SEEDS, RATE_SEED = 100, (0, 1, 2), 100
PROMPTS = (
    "Write a headline for this news article.",
    "Write a headline of at most ten words for this news article.",
    "Summarize this news article in one sentence of at most ten words.",
)
READ, NEW, LONGEST = 176, 24, 256  # tokens of an article, of a headline, of both with what the template says
RATE, RANK, LAYERS = 1e-3, 8, ["query", "key", "value", "output"]  # of LoRA, as in lora_smollm2.py
SIZES = {
    "small": {"embedding_dim": 64, "num_layers": 1, "dropout": 0.1},
    "large": {"embedding_dim": 256, "num_layers": 3, "dropout": 0.3},
}
FIRST_RATES = {"small": 0.008, "large": 0.0005}
SOURCE, VOCABULARY = 160, 4_000  # tokens that an encoder-decoder reads, and knows


@functools.cache
def articles(split):
    """Row number, opening and headline of the articles of a part: three lists."""
    frame = load("headlines")
    words = frame["text"].str.split()
    good = (words.str.len() >= 40) & (frame["summary"].str.split().str.len() >= 4)
    good &= ~frame["summary"].str.casefold().duplicated(keep=False) & (frame["split"] == split)
    openings = [" ".join(row[:WORDS]) for row in words[good]]
    return frame.index[good].tolist(), openings, frame["summary"][good].tolist()


class Log:
    """The rows of the file, and more of them."""

    def __init__(self, path, machine, minutes):
        self.path, self.machine, self.rows, self.model = Path(path), machine, [], None
        self.end = time.perf_counter() + 60 * minutes
        self.longest = {}  # seconds of the longest run of each kind
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))
        self.keys = {self.key(row) for row in self.rows}

    @staticmethod
    def key(row):
        return tuple(str(row[name]) for name in COLUMNS[:6])

    def has(self, reader, setting, seed, split, item, measure):
        return tuple(map(str, (reader, setting, seed, split, item, measure))) in self.keys

    def add(self, rows):
        """Rows without the machine, several at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        rows = [dict(zip(COLUMNS, [*row, self.machine], strict=True)) for row in rows]
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)
        self.rows += rows
        self.keys |= {self.key(row) for row in rows}

    def headlines(self, reader, setting, seed, split, items, texts):
        key = (reader, setting, seed, split)
        texts = [" ".join(text.split()) for text in texts]
        self.add([(*key, item, "headline", 0, text) for item, text in zip(items, texts, strict=True)])

    def number(self, reader, setting, seed, split, measure, value):
        self.add([(reader, setting, seed, split, -1, measure, round(float(value), 4), "")])

    def value(self, *key):
        """The number of a row that is there."""
        return next(float(row["value"]) for row in self.rows if self.key(row) == tuple(map(str, key)))

    def run(self, kind, function, *arguments):
        """Do it unless the time may not be enough; whether it was done."""
        started = time.perf_counter()
        if started + self.longest.get(kind, 0) > self.end:
            print(f"no time for {kind} {arguments}", flush=True)
            return False
        function(*arguments)
        spent = time.perf_counter() - started
        self.longest[kind] = min(spent, self.longest.get(kind, spent))  # the first one compiles
        print(f"{kind} {arguments}: {spent:.1f} s", flush=True)
        return True


def quick():
    """Without XLA on TensorFlow, whose first step takes long; JAX compiles always."""
    return {"jit_compile": False} if keras.backend.backend() == "tensorflow" else {}


# ----- the language model ------------------------------------------------------------------------------------------


class LanguageModel:
    """SmolLM2, asked and tuned. It has adapters from the start, of zeros, so that it is compiled once."""

    def __init__(self, log, given):
        self.log, self.batch, self.most, self.steps = log, given.batch, given.asked, given.steps
        self.model, self.tokenizer = weights.pretrained("smollm2-135m-instruct")
        while given.smoke and len(self.model.blocks) > 2:
            self.model.blocks.pop()
        self.template = ChatTemplate(self.tokenizer)
        training.add_lora(self.model, RANK, layers=LAYERS)
        training.supervise(self.model, training.classic(self.steps, RATE, weight_decay=0.0), **quick())
        self.model.optimizer.build(self.model.trainable_variables)
        self.fresh = [(one, keras.ops.convert_to_numpy(one)) for one in self.model.optimizer.variables]

    def write(self, prompt, openings):
        """A headline for each opening, in batches of one size."""
        way = {"prompt": prompt, "max_new_tokens": NEW, "read": READ}
        summarizer = Summarizer.of_language_model(self.model, self.tokenizer, **way)
        filled = openings + openings[:1] * (-len(openings) % self.batch)  # one shape to compile
        return summarizer.summarize(filled, batch_size=self.batch)[: len(openings)]

    def ask(self, number, split, most):
        self.reset(0)
        items, openings, _ = (some[:most] for some in articles(split))
        texts = self.write(PROMPTS[number], openings)
        self.log.headlines("asked", f"prompt {number}", 0, split, items, texts)

    def choose(self, most):
        """The number of the prompt with the best ROUGE-1 on validation articles; it is measured if it was not."""
        self.reset(0)
        items, _, headlines = (some[:most] for some in articles("validation"))
        best = {}
        for number in range(len(PROMPTS)):
            key = ("asked", f"prompt {number}", 0, "validation")
            if not self.log.has(*key, items[-1], "headline"):
                self.log.run("prompt", self.ask, number, "validation", most)
            rows = [row for row in self.log.rows if self.log.key(row)[:4] == tuple(map(str, key))]
            found = {str(row["item"]): row["text"] for row in rows}
            if len(found) < len(items):
                return 0
            texts = [found[str(item)] for item in items]
            best[number] = rouge(texts, headlines, kind="1", samples=1).value
        return max(best, key=best.get)

    def reset(self, seed):
        """A from the seed, B zeros, the optimizer as if it had seen nothing."""
        draw = np.random.default_rng(seed)
        for variable, value in self.fresh:
            variable.assign(value)
        for variable in self.model.trainable_variables:
            shape, limit = variable.shape, (6 / variable.shape[0]) ** 0.5
            a = variable.path.endswith("_a")
            variable.assign(draw.uniform(-limit, limit, shape) if a else np.zeros(shape))

    def tune(self, setting, seed, prompt, rows=16):
        items, openings, headlines = articles("train")
        chosen = np.random.default_rng(seed).permutation(len(items))[: rows * self.steps]
        turns = [
            [
                {"role": "user", "content": f"{PROMPTS[prompt]}\n\n{openings[place]}"},
                {"role": "assistant", "content": headlines[place]},
            ]
            for place in chosen
        ]
        if setting == "shuffled headlines":
            turns = training.shuffle_replies(turns, seed)
        told = training.Instructions.of(self.template, turns, context=LONGEST)
        self.reset(seed)
        feed = told.feed(packed=False, batch_size=rows, shuffle=True, seed=seed, epochs=2)
        started = time.perf_counter()
        shown = self.model.fit(feed, epochs=1, steps_per_epoch=self.steps, shuffle=False, verbose=0)
        spent = time.perf_counter() - started
        items, openings, _ = (some[: self.most] for some in articles("test"))
        texts = self.write(PROMPTS[prompt], openings)
        self.log.number("tuned", setting, seed, "train", "loss", shown.history["loss"][-1])
        self.log.number("tuned", setting, seed, "train", "seconds", spent)
        self.log.headlines("tuned", setting, seed, "test", items, texts)


def language_model(log, given):
    """The one of this process."""
    if log.model is None:
        log.model = LanguageModel(log, given)
    return log.model


def ask(log, given):
    last = articles("test")[0][: given.asked][-1]
    prompt = language_model(log, given).choose(given.chosen_on)
    if not log.has("asked", f"prompt {prompt}", 0, "test", last, "headline"):
        log.run("asked", language_model(log, given).ask, prompt, "test", given.asked)


def tune(log, given, setting):
    last = articles("test")[0][: given.asked][-1]
    for seed in SEEDS:
        if not log.has("tuned", setting, seed, "test", last, "headline"):
            model = language_model(log, given)
            if not log.run("tuned", model.tune, setting, seed, model.choose(given.chosen_on)):
                return


# ----- the encoder-decoder -----------------------------------------------------------------------------------------


@functools.cache
def tokens():
    _, openings, headlines = articles("train")
    return train_bpe(openings + headlines, VOCABULARY, lower=True, bos=True, eos=True)


class EncoderDecoder:
    """The model of lesson 14, compiled once and trained several times from the start."""

    def __init__(self, log, size, passes, most):
        self.log, self.size, self.passes, self.most = log, size, passes, most
        self.model = Translator(self.network(), tokens(), max_length=SOURCE)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
        self.model.compile("adam", loss, **quick())
        self.model.optimizer.build(self.model.trainable_variables)
        self.fresh = [(one, keras.ops.convert_to_numpy(one)) for one in self.model.optimizer.variables]

    def network(self):
        size = {"context_length": SOURCE, "shared": True, **SIZES[self.size]}
        return Seq2Seq(Seq2SeqSettings(tokens().vocabulary_size, **size))

    def train(self, seed, rate):
        """The least loss on the validation articles; the weights are those of that pass."""
        keras.utils.set_random_seed(seed)
        for old, new in zip(self.model.network.variables, self.network().variables, strict=True):
            old.assign(keras.ops.convert_to_numpy(new))
        for variable, value in self.fresh:
            variable.assign(value)
        self.model.optimizer.learning_rate = rate
        _, openings, headlines = (some[: self.most] for some in articles("train"))
        order = {"batch_size": 32, "buckets": 1, "drop_remainder": True}  # batches of one shape
        feed = self.model.pairs(openings, headlines, shuffle=True, seed=seed, epochs=self.passes, **order)
        held_out = self.model.pairs(*articles("validation")[1:], **order)
        plan = {"epochs": self.passes, "steps_per_epoch": steps_per_epoch(feed), "verbose": 0}
        watch = [
            keras.callbacks.LearningRateScheduler(lambda done, _: rate * (1 - done / self.passes)),
            Best(),
        ]
        shown = self.model.fit(feed, shuffle=False, validation_data=held_out, callbacks=watch, **plan)
        return shown.history["val_loss"]

    def run(self, seed, rate, chosen):
        started = time.perf_counter()
        losses = self.train(seed, rate)
        reader, setting = f"encoder-decoder, {self.size}", f"rate {rate:g}" if chosen else f"trial {rate:g}"
        self.log.number(reader, setting, seed, "train", "seconds", time.perf_counter() - started)
        self.log.number(reader, setting, seed, "validation", "passes", 1 + np.argmin(losses))
        if chosen:
            items, openings, _ = articles("test")
            texts = Summarizer.of_translator(self.model).summarize(openings, batch_size=128)
            self.log.headlines(reader, setting, seed, "test", items, texts)
        self.log.number(reader, setting, seed, "validation", "loss", min(losses))


class Best(keras.callbacks.Callback):
    """The weights of the pass with the least validation loss stay."""

    def on_train_begin(self, logs=None):
        self.least, self.kept = float("inf"), None

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_loss"] < self.least:
            self.least, self.kept = logs["val_loss"], self.model.get_weights()

    def on_train_end(self, logs=None):
        self.model.set_weights(self.kept)


def train(log, given, size):
    reader, models, tried = f"encoder-decoder, {size}", [], {}
    passes = given.passes * (10 if size == "large" else 1)

    def loss(seed, rate, chosen):
        """The validation loss of a run, which is made unless the table has it; None where there is no time."""
        key = (reader, f"{'rate' if chosen else 'trial'} {rate:g}", seed, "validation", -1, "loss")
        if not log.has(*key):
            models[:] = models or [EncoderDecoder(log, size, passes, given.most)]
            if not log.run(reader, models[0].run, seed, rate, chosen):
                return None
        return log.value(*key)

    while size == "small":
        best = min(tried, key=tried.get, default=FIRST_RATES[size])
        ahead = [rate for rate in (best, best * 2, best / 2) if rate not in tried]
        if not ahead:
            break
        found = loss(RATE_SEED, ahead[0], False)
        if found is None:
            return
        tried[ahead[0]] = found
    for seed in SEEDS:
        if loss(seed, min(tried, key=tried.get, default=FIRST_RATES[size]), True) is None:
            return


def ship(log):
    """Copies the rows into datasets/, with what was counted by hand."""
    by_hand = Log(SHIPPED, "", 0).rows if SHIPPED.exists() else []
    rows = log.rows + [
        row for row in by_hand if row["measure"] in ("invented", "false") and log.key(row) not in log.keys
    ]
    with open(SHIPPED, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


PARTS = {
    "asked": ask,
    "tuned": functools.partial(tune, setting="headlines"),
    "shuffled": functools.partial(tune, setting="shuffled headlines"),
    "trained": functools.partial(train, size="small"),
    "large": functools.partial(train, size="large"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=PARTS, help="what runs, in this order")
    parser.add_argument("--out", default="build/summarisation.csv")
    parser.add_argument("--machine", default="2 cores")
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--batch", type=int, default=128, help="articles that the language model reads at a time")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="tiny numbers, to see that all of it runs")
    given = parser.parse_args()
    given.asked, given.chosen_on, given.steps, given.most, given.passes = 10_000, 128, 100, None, 3
    if given.smoke:
        given.asked, given.chosen_on, given.steps, given.most, given.passes, given.batch = 4, 4, 1, 64, 1, 4
    log = Log(given.out, given.machine, given.minutes)
    for part in given.parts:
        PARTS[part](log, given)
    if given.ship:
        ship(log)


if __name__ == "__main__":
    main()
