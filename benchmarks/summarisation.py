"""Headlines of news articles, written in several ways. Lesson 23.

    python benchmarks/summarisation.py asked tuned trained
    KERAS_BACKEND=jax python benchmarks/summarisation.py asked tuned shuffled large --every 1 --steps 100 --rows 16
    python benchmarks/summarisation.py --ship      # copies what is there into datasets/

Parts run in the order in which they are named. A row is one headline, or a number of a run, written as soon as it is
there; the script goes on where the file ends. ``--minutes`` ends it before a run that might not fit any more. Networks
read the first 50 words of an article. Left out are articles of fewer than 40 words, and headlines of fewer than four
words or that stand twice.

- asked: SmolLM2-135M-Instruct, greedy, as it came. One wording of the order, none was tried beside it.
- tuned: the same with LoRA, the loss on the headline alone: ``--steps`` steps of ``--rows`` articles, other ones for
  each seed. Its rate is that of lora_smollm2.py; none was tried here.
- shuffled: its control, which is told the headlines of other articles, in the same steps.
- trained: an encoder-decoder of lesson 14, three passes. Of the rates 0.004, 0.008 and 0.016 its own had the least loss
  on the validation articles, in runs of five passes that read 100 words.
- large: a wider and deeper one, of whose 30 passes the best by that loss counts; its rate was not searched for.

Headlines are written for every fifth test article (``--every``), those of every tenth first. Minutes of a processor for
"asked" and "trained", for the rest better a GPU. What needs no training (first sentence, graph, first words, another
headline) costs nothing and is computed where it is shown. Rows "invented" and "false" were counted by hand, by the rule
in datasets/headline-summaries.md: ``--ship`` keeps them.
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
from kerasllm.models import Seq2Seq, Seq2SeqSettings
from kerasllm.tasks import Summarizer, Translator
from kerasllm.text import ChatTemplate, train_bpe

COLUMNS = ["reader", "setting", "seed", "split", "item", "measure", "value", "text", "machine"]
SHIPPED = Path(__file__).resolve().parents[1] / "datasets" / "headline-summaries.csv"
WORDS, SEEDS = 50, (0, 1, 2)
PROMPT = "Write a headline of at most ten words for this news article."
READ, NEW, LONGEST = 88, 24, 144  # tokens of an article, of a headline, of both with what the template says
RATE, RANK, LAYERS = 1e-3, 8, ["query", "key", "value", "output"]  # of LoRA, as in lora_smollm2.py
SIZES = {
    "small": {"embedding_dim": 64, "num_layers": 1, "dropout": 0.1},
    "large": {"embedding_dim": 256, "num_layers": 3, "dropout": 0.3},
}
RATES = {"small": 0.008, "large": 0.0005}
SOURCE, VOCABULARY = 80, 4_000  # tokens that an encoder-decoder reads, and knows


@functools.cache
def articles(split):
    """Row number, opening and headline of the articles of a part: three lists."""
    frame = load("headlines")
    words = frame["text"].str.split()
    good = (words.str.len() >= 40) & (frame["summary"].str.split().str.len() >= 4)
    good &= ~frame["summary"].str.casefold().duplicated(keep=False) & (frame["split"] == split)
    openings = [" ".join(row[:WORDS]) for row in words[good]]
    return frame.index[good].tolist(), openings, frame["summary"][good].tolist()


def asked_articles(every):
    """Row number and opening of the test articles that get a headline: every so many, those of every tenth first."""
    items, openings, _ = articles("test")
    places = [place for place in range(len(items)) if place % every == 4 % every]
    places.sort(key=lambda place: place % 10 != 4)
    return [items[place] for place in places], [openings[place] for place in places]


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
        self.log, self.given = log, given
        self.model, self.tokenizer = weights.pretrained("smollm2-135m-instruct")
        while given.smoke and len(self.model.blocks) > 2:
            self.model.blocks.pop()
        self.template = ChatTemplate(self.tokenizer)
        training.add_lora(self.model, RANK, layers=LAYERS)
        training.supervise(self.model, training.classic(given.steps, RATE, weight_decay=0.0), **quick())
        self.model.optimizer.build(self.model.trainable_variables)
        self.fresh = [(one, keras.ops.convert_to_numpy(one)) for one in self.model.optimizer.variables]

    def write(self, reader, setting, seed):
        """A headline for each test article that has none, in batches of one size."""
        way = {"prompt": PROMPT, "max_new_tokens": NEW, "read": READ}
        summarizer = Summarizer.of_language_model(self.model, self.tokenizer, **way)
        todo = [
            one
            for one in zip(*asked_articles(self.given.every), strict=True)
            if not self.log.has(reader, setting, seed, "test", one[0], "headline")
        ]
        size = self.given.batch
        for start in range(0, len(todo), size):
            items, openings = zip(*todo[start : start + size], strict=True)
            filled = [*openings, *openings[:1] * (size - len(openings))]  # one shape to compile
            texts = summarizer.summarize(filled, batch_size=size)[: len(items)]
            self.log.headlines(reader, setting, seed, "test", items, texts)

    def ask(self):
        self.reset(0)
        self.write("asked", "prompt", 0)

    def reset(self, seed):
        """A from the seed, B zeros, the optimizer as if it had seen nothing."""
        draw = np.random.default_rng(seed)
        for variable, value in self.fresh:
            variable.assign(value)
        for variable in self.model.trainable_variables:
            shape, limit = variable.shape, (6 / variable.shape[0]) ** 0.5
            a = variable.path.endswith("_a")
            variable.assign(draw.uniform(-limit, limit, shape) if a else np.zeros(shape))

    def tune(self, shuffled, setting, seed):
        path = self.log.path.with_name(f"{setting.replace(' ', '_')}_{seed}.safetensors")
        self.reset(seed)
        if path.exists():  # it was trained, and has still headlines to write
            training.load_adapter(self.model, path)
        else:
            self.learn(shuffled, setting, seed)
            training.save_adapter(self.model, path)
        self.write("tuned", setting, seed)

    def learn(self, shuffled, setting, seed):
        items, openings, headlines = articles("train")
        given, order = self.given, np.random.default_rng(seed).permutation(len(items))
        turns = [
            [
                {"role": "user", "content": f"{PROMPT}\n\n{openings[place]}"},
                {"role": "assistant", "content": headlines[place]},
            ]
            for place in order[: given.rows * given.steps]
        ]
        if shuffled:
            turns = training.shuffle_replies(turns, seed)
        told = training.Instructions.of(self.template, turns, context=LONGEST)
        feed = told.feed(packed=False, batch_size=given.rows, shuffle=True, seed=seed, epochs=2)
        started, cpu = time.perf_counter(), time.process_time()
        shown = self.model.fit(feed, epochs=1, steps_per_epoch=given.steps, shuffle=False, verbose=0)
        seconds = {"seconds": time.perf_counter() - started, "processor seconds": time.process_time() - cpu}
        for measure, value in {"loss": shown.history["loss"][-1], **seconds}.items():
            self.log.number("tuned", setting, seed, "train", measure, value)


def language_model(log, given):
    """The one of this process."""
    if log.model is None:
        log.model = LanguageModel(log, given)
    return log.model


def finished(log, given, *key):
    return all(log.has(*key, "test", item, "headline") for item in asked_articles(given.every)[0])


def ask(log, given):
    if not finished(log, given, "asked", "prompt", 0):
        log.run("asked", language_model(log, given).ask)


def tune(log, given, shuffled):
    setting = f"{'shuffled ' if shuffled else ''}headlines {given.steps} x {given.rows}"
    for seed in given.seeds:
        if not finished(log, given, "tuned", setting, seed) and not log.run(
            "tuned", language_model(log, given).tune, shuffled, setting, seed
        ):
            return


# ----- the encoder-decoder -----------------------------------------------------------------------------------------


@functools.cache
def tokens():
    _, openings, headlines = articles("train")
    return train_bpe(openings + headlines, VOCABULARY, lower=True, bos=True, eos=True)


class EncoderDecoder:
    """The model of lesson 14, compiled once and trained several times from the start."""

    def __init__(self, log, size, passes, given):
        self.log, self.size, self.passes, self.most, self.every = log, size, passes, given.most, given.every
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

    def run(self, seed):
        rate, started = RATES[self.size], time.perf_counter()
        losses = self.train(seed, rate)
        key = (f"encoder-decoder, {self.size}", f"rate {rate:g}", seed)
        self.log.number(*key, "train", "seconds", time.perf_counter() - started)
        self.log.number(*key, "validation", "passes", 1 + np.argmin(losses))
        self.log.number(*key, "validation", "loss", min(losses))
        items, openings = asked_articles(self.every)
        texts = Summarizer.of_translator(self.model).summarize(openings, batch_size=128)
        self.log.headlines(*key, "test", items, texts)


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
    model, key = None, (f"encoder-decoder, {size}", f"rate {RATES[size]:g}")
    for seed in given.seeds:
        if finished(log, given, *key, seed):
            continue
        model = model or EncoderDecoder(log, size, given.passes * (10 if size == "large" else 1), given)
        if not log.run(key[0], model.run, seed):
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
    "tuned": functools.partial(tune, shuffled=False),
    "shuffled": functools.partial(tune, shuffled=True),
    "trained": functools.partial(train, size="small"),
    "large": functools.partial(train, size="large"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=PARTS, help="what runs, in this order")
    parser.add_argument("--out", default="build/summarisation.csv")
    parser.add_argument("--machine", default="2 cores")
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--every", type=int, default=5, help="every so many test articles get a headline")
    parser.add_argument("--steps", type=int, default=24, help="steps of LoRA")
    parser.add_argument("--rows", type=int, default=8, help="articles in such a step")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--batch", type=int, default=12, help="articles that the language model reads at a time")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="tiny numbers, to see that all of it runs")
    given = parser.parse_args()
    given.most, given.passes = None, 3
    if given.smoke:
        given.every, given.steps, given.most, given.passes, given.batch = 200, 1, 64, 1, 4
    log = Log(given.out, given.machine, given.minutes)
    for part in given.parts:
        PARTS[part](log, given)
    if given.ship:
        ship(log)


if __name__ == "__main__":
    main()
