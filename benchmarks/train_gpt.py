"""A character-level GPT at nanoGPT's published CPU setting, trained beside KerasHub's GPT-2 of the same shape.

    python benchmarks/train_gpt.py --corpus FILE --steps 2000 --recipe classic --json

The first 90% of the file's characters are for training; the last 10% are evaluated in full, in windows that touch.
4 layers, 4 heads, width 128, context 64, 12 windows a step. ``--recipe classic`` is nanoGPT's own: learned positions,
layer normalisation, GELU, a tied head, AdamW. nanoGPT's learning rate is 1e-3; for 2,000 steps 2e-3 is much better, and
the default here. ``--recipe modern`` has the blocks of `gpt("nano-modern")` and Muon. KerasHub's model always has the
classic recipe.

Both models learn from the same batches, turn by turn, 20 steps each, so that whatever else the machine does slows
both. Seconds are those of training steps alone. Each model runs in the faster of two ways: KerasHub's as a graph or
under XLA, ours under XLA, whole or as two parts of a batch side by side (`kerasllm.training.train_in_parts`). Ours has
the fast paths of `kerasllm.training.fast` switched on, as the command line has: `speed_up`, and `classic(fused=True)`.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow loads

import keras
import numpy as np

from kerasllm.batches import windows
from kerasllm.models import gpt
from kerasllm.training import classic, modern, speed_up, train_in_parts

CONTEXT, BATCH, LAYERS, HEADS, WIDTH = 64, 12, 4, 4, 128
RECIPES = {"classic": ("nano", classic, 2e-3), "modern": ("nano-modern", modern, 5e-3)}
TARGET = 1.89  # nanoGPT's own model, evaluated on the whole validation part, ends at 1.893
TURN = 20


def corpus(path):
    """Training ids, validation ids and the number of characters."""
    text = Path(path).read_text(encoding="utf-8")
    characters = sorted(set(text))
    number_of = {character: i for i, character in enumerate(characters)}
    ids = np.array([number_of[character] for character in text], "int32")
    cut = int(0.9 * len(ids))
    return ids[:cut], ids[cut:], len(characters)


def kerashub(vocabulary_size):
    """KerasHub's GPT-2 of the same shape: token ids to logits."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=vocabulary_size,
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=WIDTH,
        intermediate_dim=4 * WIDTH,
        dropout=0.0,
        max_sequence_length=CONTEXT,
    )
    ids = keras.Input((CONTEXT,), dtype="int32")
    features = backbone({"token_ids": ids, "padding_mask": keras.ops.ones_like(ids)})
    return keras.Model(ids, backbone.token_embedding(features, reverse=True))


class Run:
    """A model in training: steps and seconds so far, and losses on the validation text."""

    def __init__(self, model, optimizer, train, validation, steps, seed, jit_compile=False):
        self.model = model
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, jit_compile=jit_compile, steps_per_execution=TURN // 2)
        self.dataset = windows(train, context=CONTEXT, batch_size=BATCH, seed=seed, steps=max(steps, 6 * TURN))
        rows = (len(validation) - 1) // CONTEXT
        self.inputs = validation[: rows * CONTEXT].reshape(rows, CONTEXT)
        self.targets = validation[1 : rows * CONTEXT + 1].reshape(rows, CONTEXT)
        self.points = []
        start = time.perf_counter()
        model.make_train_function()
        self.start, self.batches = model.get_weights(), iter(self.dataset)
        self._turn()  # traces and compiles
        self.compile_seconds = time.perf_counter() - start
        self.restart()

    def restart(self):
        """Back to the untrained weights and the first batch; the compiled step stays."""
        self.model.set_weights(self.start)
        for variable in self.model.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(np.zeros(variable.shape, keras.backend.standardize_dtype(variable.dtype)))
        self.batches = iter(self.dataset)
        self.steps, self.seconds, self.turns = 0, 0.0, []

    def _turn(self):
        for _ in range(2):
            logs = self.model.train_function(self.batches)
        float(next(iter(logs.values())) if isinstance(logs, dict) else logs)  # waits for the last step

    def turn(self):
        start = time.perf_counter()
        self._turn()
        self.turns.append(time.perf_counter() - start)
        self.seconds += self.turns[-1]
        self.steps += TURN

    def evaluate(self):
        """Mean loss in nats of every validation character but the first and a rest shorter than a window."""
        total = 0.0
        for i in range(0, len(self.inputs), 256):
            logits = self.model.predict_on_batch(self.inputs[i : i + 256])  # (rows, context, vocabulary)
            right = np.take_along_axis(logits, self.targets[i : i + 256, :, None], axis=-1)[..., 0]
            highest = logits.max(axis=-1)
            total += (np.log(np.exp(logits - highest[..., None]).sum(axis=-1)) + highest - right).sum()
        loss = float(total / self.inputs.size)
        self.points.append((self.steps, self.seconds, loss))
        return loss

    @property
    def step_ms(self):
        """Median over the turns; the fastest turn is in the results too."""
        return 1000 * float(np.median(self.turns)) / TURN

    def results(self, flops, rate):
        reached = next(((steps, seconds) for steps, seconds, loss in self.points if loss <= TARGET), (None, None))
        return {
            "val_loss": round(self.points[-1][2], 4),
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "steps_to_1_89": reached[0],
            "seconds_to_1_89": reached[1] and round(reached[1], 1),
            "tokens_per_second": round(self.steps * BATCH * CONTEXT / self.seconds),
            "step_ms": round(self.step_ms, 1),
            "fastest_step_ms": round(1000 * min(self.turns) / TURN, 1),
            "matmul_share": round(flops / (min(self.turns) / TURN) / rate, 3),
            "parameters": self.model.count_params(),
            "compile_seconds": round(self.compile_seconds, 1),
            "trial_step_ms": self.trial,
        }


def faster(make, other):
    """The run that takes less time under XLA or in another way, after a short trial of both in turn."""
    trials = {other: make(False), "xla": make(True)}
    for _ in range(6):
        for run in trials.values():
            run.turn()
    times = {name: round(1000 * min(run.turns) / TURN, 1) for name, run in trials.items()}
    best = trials[min(times, key=times.get)]
    best.restart()
    best.trial = times
    return best


def matmul_rate(repeat=20):
    """Floating-point operations a second in the setting's largest matrix product, the best of several tries."""
    import tensorflow as tf

    a = tf.random.normal((BATCH * CONTEXT, WIDTH))
    matrices = [tf.random.normal((WIDTH, 4 * WIDTH)) for _ in range(repeat)]

    @tf.function
    def products(a):
        return tf.add_n([tf.matmul(a, b)[0, 0] for b in matrices])

    products(a)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        float(products(a))
        seconds.append(time.perf_counter() - start)
    return repeat * 2 * BATCH * CONTEXT * WIDTH * 4 * WIDTH / min(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", required=True, help="a text file")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--recipe", choices=["classic", "modern"], default="classic")
    parser.add_argument("--evaluate-every", type=int, default=200, help="steps between two evaluations")
    parser.add_argument("--learning-rate", type=float, help="2e-3 for classic, 5e-3 for modern when left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="without KerasHub's model")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    if not Path(arguments.corpus).is_file():
        sys.exit(f"There is no file {arguments.corpus}. Give --corpus the path of a text file.")
    steps = max(TURN, arguments.steps // TURN * TURN)
    train, validation, vocabulary_size = corpus(arguments.corpus)
    keras.utils.set_random_seed(arguments.seed)
    name, recipe, rate = RECIPES[arguments.recipe]
    rate = arguments.learning_rate or rate
    data = (train, validation, steps, arguments.seed)

    def ours(jit):
        model = speed_up(gpt(name, vocabulary_size=vocabulary_size))
        if not jit:
            train_in_parts(model, 2)
        optimizer = classic(steps, rate, fused=True) if recipe is classic else recipe(steps, rate)
        return Run(model, optimizer, *data, jit_compile=jit)

    def theirs(jit):
        peer_rate = rate if recipe is classic else RECIPES["classic"][2]
        return Run(kerashub(vocabulary_size), classic(steps, peer_rate), *data, jit_compile=jit)

    runs = {"kerasllm": faster(ours, "parts")}
    if not arguments.alone:
        runs["kerashub"] = faster(theirs, "graph")
    first = runs["kerasllm"]
    while first.steps < steps:
        for label, run in runs.items():
            run.turn()
            if run.steps % arguments.evaluate_every < TURN or run.steps == steps:
                loss = run.evaluate()
                if not arguments.json:
                    print(
                        f"{label:<9} step {run.steps:>5}  {run.step_ms:5.1f} ms a step  validation loss {loss:.4f}",
                        flush=True,
                    )
    flops, peak = first.model.flops_per_token(CONTEXT / 2, training=True) * CONTEXT * BATCH, matmul_rate()
    results = {"recipe": arguments.recipe, "learning_rate": rate, "matmul_gflops": round(peak / 1e9)}
    results |= first.results(flops, peak)
    if "kerashub" in runs:
        results["step_time_ratio"] = round(float(np.median(np.array(first.turns) / runs["kerashub"].turns)), 3)
        results["kerashub"] = runs["kerashub"].results(flops, peak)
    print(json.dumps(results) if arguments.json else json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
