"""The King James speedrun: how few bits a character after five minutes on two cores? Rules and records: speedrun.md.

    python benchmarks/speedrun.py first --seed 1                  # one run: a line of JSON in benchmarks/speedrun.jsonl
    python benchmarks/speedrun.py first second --seeds 5          # several runs, those that are there are skipped
    python benchmarks/speedrun.py --table                         # what ran: means, spreads, p-values
    python benchmarks/speedrun.py first --seed 1 --part validation --seconds 60   # for choosing

The clock is the processor time of the process, all its threads together: 600 seconds are five minutes of two busy
cores, on a machine that does other things too. It starts before the tokenizer is trained and ends behind the last
update; compiling counts, importing, reading the data and the evaluation do not.
"""

import argparse
import io
import json
import lzma
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow loads

import keras
import numpy as np

from kerasllm import batches, models, text
from kerasllm.data import load
from kerasllm.evaluation import bits_per_character
from kerasllm.optimizers import AdamW
from kerasllm.training import speed_up, train_in_parts
from kerasllm.training.recipes import UNDECAYED

SECONDS, SMALL = 600, 1_000_000
RESULTS = Path(__file__).with_name("speedrun.jsonl")


@dataclass(frozen=True)
class Entry:
    """What a run is made of. The first one is the shape of the lessons' GPT, trained as they train it."""

    tokens: int = 1024  # byte pairs of the tokenizer; 0 for characters
    layers: int = 4
    width: int = 256
    heads: int = 4
    context: int = 128
    batch: int = 16  # windows a step
    optimizer: str = "muon"
    rate: float = 4e-3  # the highest
    adam_ratio: float = 1.0  # the rate of embeddings and head, as a share of it
    warmup: float = 0.02  # share of the budget in which the rate rises
    flat: float = 0.0  # share of the budget in which it stays
    changes: dict = field(default_factory=dict)  # of the settings of the model, see models.preset("nano-modern")
    bits: int = 32  # of a number in the artifact: 32, 16 or 8


ENTRIES = {
    "first": Entry(),
    "classic": Entry(optimizer="adamw", rate=2e-3, changes={"preset": "nano"}),
    "characters": Entry(tokens=0, context=256),
    "more tokens": Entry(tokens=4096),
    "wide": Entry(width=384, heads=6, layers=3),
    "deep": Entry(width=192, layers=8),
    "middle": Entry(width=192),
    "narrow": Entry(width=128),
    "small steps": Entry(batch=8),
    "large steps": Entry(batch=32),
    "long look": Entry(context=256, batch=8),
    "flat, then down": Entry(flat=0.5),
    "faster": Entry(rate=8e-3),
    "slower embeddings": Entry(adam_ratio=0.3),
    "faster embeddings": Entry(adam_ratio=3.0),
    "faster embeddings, more tokens": Entry(adam_ratio=3.0, tokens=4096),
    "tied": Entry(changes={"tied": True}),
    "narrow, eight bits": Entry(width=128, bits=8),
}


class Budget(keras.callbacks.Callback):
    """Turns the rate with the share of the budget that is used, and ends the training with it."""

    def __init__(self, entry, started, seconds):
        super().__init__()
        self.entry, self.started, self.seconds, self.steps = entry, started, seconds, 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps = batch + 1
        used = (time.process_time() - self.started) / self.seconds
        entry = self.entry
        rise, fall = used / entry.warmup, (1 - used) / (1 - entry.warmup - entry.flat)
        self.model.optimizer.learning_rate = entry.rate * max(min(rise, fall, 1), 1e-4)
        self.model.stop_training = used >= 1


def optimizer_of(entry):
    if entry.optimizer == "adamw":
        start = entry.rate * 1e-2
        return AdamW(start, weight_decay=0.1, beta_2=0.99, epsilon=1e-8, global_clipnorm=1.0, undecayed=UNDECAYED)
    return keras.optimizers.Muon(
        entry.rate * 1e-2,
        adam_lr_ratio=entry.adam_ratio,
        weight_decay=0.0,
        adam_weight_decay=0.0,
        adam_beta_1=0.9,
        adam_beta_2=0.95,
        epsilon=1e-8,
        exclude_layers=["logits"],
    )


def trained(entry, seed, seconds=SECONDS):
    """A model, its tokenizer and the facts of its training."""
    books = load("king-james")
    training = (books["text"][books["split"] == "train"] + "\n").tolist()
    started = time.process_time()
    keras.utils.set_random_seed(seed)
    tokenizer = text.train_bpe(training, entry.tokens) if entry.tokens else text.train_characters(training)
    ids = np.concatenate(tokenizer.encode_batch(training))
    changes = dict(entry.changes)
    shape = {"num_layers": entry.layers, "num_heads": entry.heads, "embedding_dim": entry.width}
    settings = models.preset(
        changes.pop("preset", "nano-modern"),
        **{"vocabulary_size": tokenizer.vocabulary_size, "context_length": entry.context, **shape, **changes},
    )
    model = models.GPT(settings)
    speed_up(model)
    train_in_parts(model, 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer_of(entry), loss, jit_compile=False, steps_per_execution=5)
    budget = Budget(entry, started, seconds)
    feed = batches.windows(ids, context=entry.context, batch_size=entry.batch, seed=seed, steps=1_000_000)
    model.fit(feed, shuffle=False, verbose=0, callbacks=[budget])
    used = time.process_time() - started
    return model, tokenizer, {"steps": budget.steps, "parameters": model.count_params(), "seconds": round(used, 1)}


def packed(model, tokenizer, bits):
    """Weights and tokenizer as bytes; and the weights as they come back out of them."""
    parts, back = [], []
    for value in model.get_weights():
        if bits == 8 and value.ndim == 2:
            scale = np.maximum(np.abs(value).max(axis=0), 1e-12) / 127
            codes, scale = np.rint(value / scale).astype("int8"), scale.astype("float16")
            parts += [codes, scale]
            back.append(codes * scale.astype("float32"))
        else:
            parts.append(value.astype("float16" if bits <= 16 else "float32"))
            back.append(parts[-1].astype("float32"))
    buffer = io.BytesIO()
    np.savez(buffer, np.frombuffer(tokenizer.to_json().encode(), "uint8"), *parts)
    return lzma.compress(buffer.getvalue(), preset=9), back


def run(name, seed, part, seconds):
    entry = ENTRIES[name]
    model, tokenizer, facts = trained(entry, seed, seconds)
    data, weights = packed(model, tokenizer, entry.bits)
    model.set_weights(weights)
    bits = {name: round(bits_of(model, tokenizer, name), 5) for name in dict.fromkeys(("validation", part))}
    row = {"entry": name, "seed": seed, "part": part, "budget": seconds, "bits": bits[part]}
    return row | {"validation": bits["validation"], "bytes": len(data)} | facts


def bits_of(model, tokenizer, part):
    """Bits a character of each book of a part, the mean weighted by characters."""
    books = load("king-james")
    texts = ["\n".join(rows["text"]) + "\n" for _, rows in books[books["split"] == part].groupby("label", sort=False)]
    bits = [bits_per_character(model, tokenizer, book) for book in texts]
    return float(np.average(bits, weights=[len(book) for book in texts]))


def known():
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table(rows):
    """Means of what ran in full on the test books, the best first, each against the next; then the tries."""
    from scipy.stats import ttest_ind

    runs = {}
    for row in rows:
        if row["part"] == "test" and row["budget"] == SECONDS:
            runs.setdefault(row["entry"], []).append(row)
    order = sorted(runs, key=lambda name: np.mean([row["bits"] for row in runs[name]]))
    print("| Entry | bits a character | seeds | steps | weights | artifact, bytes | p against the next |")
    print("|---|---|---|---|---|---|---|")
    for name, after in zip(order, [*order[1:], None], strict=True):
        bits = [row["bits"] for row in runs[name]]
        p = math.nan if after is None else ttest_ind(bits, [r["bits"] for r in runs[after]], equal_var=False).pvalue
        spread = f" ± {np.std(bits, ddof=1):.4f}" if len(bits) > 1 else ""
        steps, size = (np.mean([row[key] for row in runs[name]]) for key in ("steps", "bytes"))
        weights = runs[name][0]["parameters"]
        what = f"{len(bits)} | {steps:,.0f} | {weights:,} | {size:,.0f} | {p:.2g}"
        print(f"| {name} | {np.mean(bits):.4f}{spread} | {what} |")
    print("\n| Try | seconds | seed | steps | bits a character of the validation books | better than `first` by |")
    print("|---|---|---|---|---|---|")
    equal = {(row["budget"], row["seed"]): row["validation"] for row in rows if row["entry"] == "first"}
    for row in sorted(rows, key=lambda row: (row["budget"], row["validation"])):
        if row["part"] == "validation":
            better = equal.get((row["budget"], row["seed"]), math.nan) - row["validation"]
            what = f"{row['budget']:.0f} | {row['seed']} | {row['steps']:,}"
            print(f"| {row['entry']} | {what} | {row['validation']:.4f} | {better:+.4f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", nargs="*", help=f"of {', '.join(ENTRIES)}")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--seeds", type=int, help="so many seeds, from 1")
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of processor time")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    for seed in given.seed or range(1, (given.seeds or 1) + 1):
        for name in given.entries:
            this = (name, seed, given.part, given.seconds)
            if this in {(r["entry"], r["seed"], r["part"], r["budget"]) for r in known()}:
                continue
            row = run(name, seed, given.part, given.seconds)
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)
    if given.table:
        table(known())


if __name__ == "__main__":
    main()
