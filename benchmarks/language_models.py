"""The LSTM of lesson 12 trained longer than a lesson may take: bits per character against time.

    python benchmarks/language_models.py --units 384 --steps 4000
    python benchmarks/language_models.py --optimizer adam --rate 0.01 --steps 500

A run measures at 125, 250, 500, 1,000, 1,500, ... steps. Each point is a line of datasets/character-models.csv, in the
place of an earlier one with the same settings. The learning rate falls slowly, and at each point the weights become
their running mean: so each point is about what a run that ends there would give, without a run of its own.
``--threads 1`` keeps to one core.

Seconds are processor time (summed over cores), for training alone: they do not depend on what else the machine does.
The text and the splits are those of the lesson. All characters of the books are measured, each predicted once, with
at least 64 characters before it.
"""

import argparse
import time

import keras
import numpy as np
from carried_state import CONTEXT, RATE, STREAMS, corpus, record

from kerasllm.batches import windows
from kerasllm.models import LSTMLanguageModel

OPTIMIZERS = {"muon": keras.optimizers.Muon, "adam": keras.optimizers.Adam}


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


def training_setup(units, optimizer, rate, vocabulary_size):
    keras.utils.set_random_seed(0)
    model = LSTMLanguageModel(vocabulary_size, embedding_dim=64, units=units)
    optimizer = OPTIMIZERS[optimizer](InverseRoot(rate), use_ema=True, ema_momentum=0.99)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, steps_per_execution=10)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=256, help="numbers in the state")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="muon")
    parser.add_argument("--rate", type=float, default=RATE, help="largest learning rate")
    parser.add_argument("--threads", type=int, default=0, help="threads of TensorFlow; 0 leaves it the choice")
    options = parser.parse_args()
    if options.threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    data, vocabulary_size = corpus()
    model = training_setup(options.units, options.optimizer, options.rate, vocabulary_size)
    common = {
        "experiment": "longer", "optimizer": options.optimizer, "rate": options.rate, "units": options.units, "seed": 0,
        "trained": "zeros", "state": "64 before", "weights": "frozen",
    }  # fmt: skip
    done, seconds, point = 0, 0.0, 125
    while done < options.steps:
        steps = min(point, options.steps) - done
        batches = windows(data["train"], context=CONTEXT, batch_size=STREAMS, start_step=done, steps=steps)
        started = time.process_time()
        model.fit(batches, shuffle=False, verbose=0)
        seconds += time.process_time() - started
        done += steps
        point = min(2 * done, done + 500)
        line = common | {"steps": done, "characters": done * STREAMS * CONTEXT, "seconds": round(seconds)}
        for split in ("test", "validation"):  # at the end of fit the weights became their running mean
            line[f"{split}_bits"] = round(float(bits_of(model, data[split]).mean()), 4)
        record(line)
        print(line, flush=True)


if __name__ == "__main__":
    main()
