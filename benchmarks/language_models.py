"""Neural language models of lesson 12 trained longer than a lesson may take: bits per character against time.

    python benchmarks/language_models.py lstm --width 384 --steps 4000
    python benchmarks/language_models.py lstm --optimizer adam --rate 0.01 --steps 500
    python benchmarks/language_models.py neural --steps 8000

A run measures at 125, 250, 500, 1,000, 1,500, ... steps and writes each point to lesson_09_longer_runs.json beside
this script, in the place of an earlier run with the same settings. The learning rate falls slowly, and at each point
the weights become their running mean: so each point is about what a run that ends there would give, without a run of
its own. ``--threads 1`` keeps to one core.

Seconds are processor time (summed over cores), for training alone: they do not depend on what else the machine does.
The text, the splits and the way of measuring are those of the lesson: all characters of the test books, each
predicted once, with at least 64 characters before it.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

from kerasllm.batches import windows
from kerasllm.data import load
from kerasllm.models import LSTMLanguageModel, NeuralNGram

OPTIMIZERS = {"muon": keras.optimizers.Muon, "adam": keras.optimizers.Adam}
USUAL = {"lstm": "muon", "neural": "adam"}  # those of the lesson
RATES = {"lstm": 0.03, "neural": 0.005}
RESULTS = Path(__file__).with_name("lesson_09_longer_runs.json")


def corpus():
    verses = load("king-james")
    texts = {split: "".join(rows["text"] + "\n") for split, rows in verses.groupby("split", observed=True)}
    number_of = {character: i for i, character in enumerate(sorted(set(texts["train"])))}
    return {s: np.array([number_of[c] for c in text]) for s, text in texts.items()}, len(number_of)


def bits_of(model, ids, before=64, stride=512, batch=32):
    """Bits of each character of a text; id 0 is the line end, which stands before the text."""
    rows = -(-len(ids) // stride)
    padded = np.concatenate([np.zeros(before + 1, int), ids, np.zeros(rows * stride - len(ids), int)])
    cut = np.lib.stride_tricks.sliding_window_view(padded, before + stride + 1)[::stride].astype("int32")
    bits = []
    for part in np.split(cut, range(batch, rows, batch)):  # (batch, before + stride + 1)
        logits = model.predict_on_batch(part[:, :-1])[:, before:]  # (batch, stride, vocabulary)
        logits = logits - logits.max(axis=-1, keepdims=True)
        right = np.take_along_axis(logits, part[:, before + 1 :, None], axis=-1)[..., 0]
        bits.append((np.log(np.exp(logits).sum(axis=-1)) - right) / np.log(2))
    return np.concatenate(bits).ravel()[: len(ids)]


class InverseRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Rises over 50 steps, stays until step 250, then falls with the square root of the step."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        step = keras.ops.cast(step, "float32") + 1
        return self.rate * keras.ops.minimum(step / 50, keras.ops.minimum(1.0, keras.ops.sqrt(250 / step)))

    def get_config(self):
        return {"rate": self.rate}


def training_setup(kind, width, optimizer, rate, vocabulary_size):
    keras.utils.set_random_seed(0)
    if kind == "lstm":
        model = LSTMLanguageModel(vocabulary_size, embedding_dim=64, units=width)
    else:
        model = NeuralNGram(vocabulary_size, order=10, embedding_dim=32, hidden_dim=width)
    optimizer = OPTIMIZERS[optimizer](InverseRoot(rate), use_ema=True, ema_momentum=0.99)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, steps_per_execution=10)
    return model


def record(run, points):
    """Put the points of a run into the file, in the place of those that it had."""
    runs = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else []
    runs = [one for one in runs if one["run"] != run] + [{"run": run, "points": points}]
    RESULTS.write_text(json.dumps(sorted(runs, key=lambda one: str(one["run"])), indent=1) + "\n", "utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("lstm", "neural"))
    parser.add_argument("--width", type=int, default=256, help="units of the LSTM or of the hidden layer")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64, help="windows in a step")
    parser.add_argument("--context", type=int, default=64, help="characters in a window")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="that of the lesson when left out")
    parser.add_argument("--rate", type=float, help="largest learning rate; that of the lesson when left out")
    parser.add_argument("--threads", type=int, default=0, help="threads of TensorFlow; 0 leaves it the choice")
    options = parser.parse_args()
    options.rate = options.rate or RATES[options.kind]
    if options.threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    data, vocabulary_size = corpus()
    optimizer = options.optimizer or USUAL[options.kind]
    model = training_setup(options.kind, options.width, optimizer, options.rate, vocabulary_size)
    settings = {key: value for key, value in vars(options).items() if value is not None}
    run = {key: value for key, value in settings.items() if key not in ("steps", "threads")}
    points, done, seconds, point = [], 0, 0.0, 125
    while done < options.steps:
        steps = min(point, options.steps) - done
        batches = windows(
            data["train"], context=options.context, batch_size=options.batch, start_step=done, steps=steps
        )
        started = time.process_time()
        loss = model.fit(batches, shuffle=False, verbose=0).history["loss"][0]
        seconds += time.process_time() - started
        done += steps
        point = min(2 * done, done + 500)
        characters = done * options.batch * options.context
        result = {"steps": done, "characters": characters, "seconds": round(seconds)}
        for split in ("validation", "test"):  # at the end of fit the weights became their running mean
            result[f"{split}_bits"] = round(float(bits_of(model, data[split]).mean()), 4)
        points.append(result)
        record(run, points)
        print(f"{options.kind}: loss {loss / np.log(2):.3f} bits, {result}", flush=True)


if __name__ == "__main__":
    main()
