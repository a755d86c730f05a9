"""What each change since GPT-2 is worth: added alone to GPT-2's block, and taken alone out of a modern one.

    python benchmarks/modern_blocks.py --out build/modern_blocks.csv

Two sizes, three seeds. A seed names the windows of text that are read, in their order, so that all designs of a seed
read the same batches. Learning rates are chosen on the validation books with a seed that is not used again, for either
optimizer in either block, by doubling or halving until both neighbours are worse; at the small size then for every
design, to see whether a change only wants another rate. The test books are read once by each
run of the table and never by a run that chooses a rate. Each run is a line of the file; a run whose line is there is
skipped, so the script may be stopped and started. After each seed the file is a balanced table.
"""

import argparse
import math
import time

import keras
import numpy as np
import tensorflow as tf
from run_table import RunTable, ship

from kerasllm.batches.window import Windows
from kerasllm.data import load
from kerasllm.evaluation import log_probability
from kerasllm.layers import MixtureOfExperts
from kerasllm.layers.composite import copy_of
from kerasllm.models import GPT, gpt_settings
from kerasllm.models.settings import starts
from kerasllm.text import train_bpe
from kerasllm.training import AdamW, warmup_linear

VOCABULARY, CONTEXT, BATCH, STEPS = 1024, 128, 8, 400
SIZES = {"small": {"num_layers": 4, "embedding_dim": 64}, "large": {"num_layers": 6, "embedding_dim": 96}}
SEEDS, RATE_SEED = (0, 1, 2), 100
FIRST_RATE = {"adamw": 0.004, "muon": 0.02}
NEAR = 32  # tokens that a block with a sliding window sees; every second block has one
MODERN = ("rope", "rmsnorm", "swiglu", "qk_norm", "gqa", "window", "muon")
COLUMNS = ["size", "design", "seed", "chosen", "optimizer", "rate", "steps", "parameters", "flops", "validation"]
COLUMNS += ["test", "seconds"]


def designs():
    """The name of each design and the changes in it; the order is that of the runs."""
    found = {"gpt2": ()}
    for one in ("rope", "muon", "rmsnorm", "swiglu", "squared_relu", "qk_norm", "gqa", "window"):
        found[f"gpt2+{one}"] = (one,)
    found["gpt2+swiglu+experts"] = ("experts",)  # each expert is gated: its control is gpt2+swiglu
    found["modern"] = MODERN
    for one in MODERN:
        found[f"modern-{one}"] = tuple(other for other in MODERN if other != one)
    found["modern-swiglu+squared_relu"] = (*found["modern-swiglu"], "squared_relu")
    found["modern+experts"] = (*MODERN, "experts")
    return found


def settings_of(changes, size):
    """The `GPTSettings` of some changes. No design has biases; all heads are tied to the embedding."""
    dim, layers = SIZES[size]["embedding_dim"], SIZES[size]["num_layers"]
    third = 8 * round(dim / 3)  # the units of a gated network that has the weights of one with 4 * dim
    settings = gpt_settings(
        VOCABULARY,
        CONTEXT,
        num_heads=4,
        use_bias=False,
        positions="rotary" if "rope" in changes else "learned",
        norm="rms_norm" if "rmsnorm" in changes else "layer_norm",
        qk_norm="qk_norm" in changes,
        num_kv_heads=2 if "gqa" in changes else None,
        gated="swiglu" in changes,
        activation="silu" if "swiglu" in changes else "squared_relu" if "squared_relu" in changes else "gelu",
        hidden_dim=third if "swiglu" in changes else 4 * dim,
        **SIZES[size],
    )
    if "window" in changes:
        far = settings.attention[0]
        settings = settings.with_(attention=(copy_of(far, window=NEAR), far))
    if "experts" in changes:  # four, of which a token uses two: twice the weights, the operations of one
        small, smaller = starts(layers)
        initial = {"kernel_initializer": small, "output_initializer": smaller}
        settings = settings.with_(feed_forward=MixtureOfExperts(4, 2, third // 2, balance=0.01, **initial))
    return settings


@keras.saving.register_keras_serializable(package="benchmarks")
class MuonOfStacks(keras.optimizers.Muon):
    """`keras.optimizers.Muon`, which would leave a stack of matrices, one for each expert, to AdamW."""

    def _should_use_adamw(self, variable):
        named = [word for word in ("embedding", "positions") if word in variable.path]
        return len(variable.shape) not in (2, 3) or bool(named)

    def lr_adjust(self, x):
        return x * math.sqrt(max(x.shape[-2:])) * self.rms_rate


def optimizer_of(changes):
    """Both with the same clipping, decay and means; the rate is told at each step."""
    if "muon" in changes:
        decay = {"weight_decay": 0.1, "adam_weight_decay": 0.1, "adam_beta_2": 0.99}
        return MuonOfStacks(0.01, epsilon=1e-8, global_clipnorm=1.0, **decay)
    undecayed = ["gamma", "beta", "bias", "scale"]
    return AdamW(0.01, weight_decay=0.1, beta_2=0.99, epsilon=1e-8, global_clipnorm=1.0, undecayed=undecayed)


class Texts:
    def __init__(self):
        verses = load("king-james")
        texts = {part: [f"{text}\n" for text in verses.text[verses.split == part]] for part in verses.split.unique()}
        self.tokenizer = train_bpe(texts["train"], VOCABULARY)
        self.ids = {part: self.tokenizer.encode_flat(lines)[0] for part, lines in texts.items()}
        self.characters = {part: sum(map(len, lines)) for part, lines in texts.items()}

    def bits(self, model, part):
        """Bits a character; at least half a window stands before each token."""
        found = log_probability(model, [self.tokenizer.encode("\n")], [self.ids[part]], stride=CONTEXT // 2)
        return float(-found.total[0] / math.log(2) / self.characters[part])


class Trainer:
    """A design that is compiled once and trained several times from the start."""

    def __init__(self, name, size, texts):
        self.settings, self.changes, self.texts = settings_of(designs()[name], size), designs()[name], texts
        self.model, self.optimizer = GPT(self.settings), optimizer_of(self.changes)
        self.optimizer.build(self.model.trainable_variables)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        @tf.function(jit_compile=True)
        def step(inputs, targets, rate):
            self.optimizer.learning_rate.assign(rate)
            with tf.GradientTape() as tape:
                value = loss(targets, self.model(inputs, training=True))
                value = value + sum(self.model.losses)  # of experts that are used unevenly
            weights = self.model.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
            return value

        self.step = step

    def restart(self, seed):
        keras.utils.set_random_seed(seed)
        self.model.set_weights(GPT(self.settings).get_weights())
        for one in self.optimizer.variables:
            one.assign(np.zeros(one.shape, one.dtype))

    def run(self, seed, rate, parts, steps=STEPS):
        batches = Windows(self.texts.ids["train"], CONTEXT, BATCH, seed=seed)
        schedule = warmup_linear(rate, steps, max(1, steps // 20))
        rates = [float(schedule(number)) for number in range(steps)]
        self.step(*batches.batch(0), tf.constant(0.0))  # compiles
        self.restart(seed)
        started = time.process_time()
        for number, rate in enumerate(rates):
            value = self.step(*batches.batch(number), tf.constant(rate))
        float(value)
        spent = time.process_time() - started
        return spent, {part: self.texts.bits(self.model, part) for part in parts}


class Bench:
    def __init__(self, path, steps):
        self.table, self.texts, self.trainers, self.steps = RunTable(path, COLUMNS), Texts(), {}, steps

    def validation(self, name, size, seed, rate, chosen):
        """The bits of a run on the validation books; the run is made unless the table has it."""
        key = {"size": size, "design": name, "seed": seed, "chosen": chosen, "rate": rate}
        if not (found := self.table.find(**key)):
            if (name, size) not in self.trainers:
                self.trainers[name, size] = Trainer(name, size, self.texts)
            trainer = self.trainers[name, size]
            parts = ("validation", "test") if chosen else ("validation",)
            spent, bits = trainer.run(seed, rate, parts, self.steps)
            bits = {part: round(value, 4) for part, value in bits.items()}
            row = {
                **key,
                "optimizer": "muon" if "muon" in trainer.changes else "adamw",
                "steps": self.steps,
                "parameters": trainer.model.count_params(),
                "flops": trainer.model.flops_per_token(training=True),
                "validation": bits["validation"],
                "test": bits.get("test", ""),
                "seconds": round(spent, 1),
            }
            self.table.add({name: row[name] for name in COLUMNS})
            found = self.table.find(**key)
        bits = float(found[0]["validation"])
        return bits if math.isfinite(bits) else math.inf

    def best_rate(self, name, size, first):
        """Doubles or halves the rate until both neighbours of the best one are worse."""
        tried = {}
        while True:
            best = min(tried, key=tried.get, default=first)
            ahead = [rate for rate in (best, best * 2, best / 2) if rate not in tried]
            if not ahead:
                return best
            tried[ahead[0]] = self.validation(name, size, RATE_SEED, ahead[0], 0)

    def all(self, sizes, seeds):
        first = {}
        for size in sizes:
            rates = {}
            for block, optimizer, name in [
                ("gpt2", "adamw", "gpt2"),
                ("gpt2", "muon", "gpt2+muon"),
                ("modern", "adamw", "modern-muon"),
                ("modern", "muon", "modern"),
            ]:
                start = first.get((block, optimizer), FIRST_RATE[optimizer])
                rates[block, optimizer] = first[block, optimizer] = self.best_rate(name, size, start)
            rate_of = {}
            for name, changes in designs().items():
                block = "gpt2" if name.startswith("gpt2") else "modern"
                rate_of[name] = rates[block, "muon" if "muon" in changes else "adamw"]
            for seed in seeds:
                for name, rate in rate_of.items():
                    self.validation(name, size, seed, rate, 1)
            if size == "small":  # does a change look bad because it wants another rate?
                for name, rate in rate_of.items():
                    self.best_rate(name, size, rate)
            self.trainers.clear()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="build/modern_blocks.csv")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--ship", action="store_true", help="train nothing, copy the table into datasets/")
    given = parser.parse_args()
    if given.ship:
        ship(given.out, "modern-blocks")
    else:
        Bench(given.out, given.steps).all(given.sizes, given.seeds)
