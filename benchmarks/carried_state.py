"""What a carried state is worth to an LSTM, and what learning while reading is worth: three seeds of lesson 12.

    python benchmarks/carried_state.py --seeds 0 1 2

For each seed two networks of 256 units read the same windows of the King James Bible in the same order. One is handed
the state of the window before (truncated backpropagation), the other starts every window from zeros. Both then read
the test books in 16 streams: the state carried on or set to zero. The first network does so once more while its
weights go on learning. Each reading is a line of datasets/character-models.csv; the lines of other benchmarks stay. The
learning rate of the reading is chosen on the validation books by seed 0 with a carried state.

Seconds are processor time, summed over the cores, of training or reading alone.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from kerasllm.data import load

TABLE = Path(__file__).parents[1] / "datasets/character-models.csv"
UNITS, STREAMS, CONTEXT, STEPS, RATE = 256, 64, 64, 200, 0.03
READING_STREAMS, READING_RATES = 16, (3e-4, 1e-3, 3e-3)


def corpus():
    verses = load("king-james")
    texts = {split: "".join(rows["text"] + "\n") for split, rows in verses.groupby("split", observed=True)}
    number_of = {character: i for i, character in enumerate(sorted(set(texts["train"])))}
    return {s: np.array([number_of[c] for c in text], "int32") for s, text in texts.items()}, len(number_of)


def network(vocabulary_size, streams, carried):
    return keras.Sequential(
        [
            keras.Input(batch_shape=(streams, None), dtype="int32"),
            keras.layers.Embedding(vocabulary_size, 64),
            keras.layers.LSTM(UNITS, return_sequences=True, stateful=carried),
            keras.layers.Dense(vocabulary_size),
        ]
    )


def windows_of(ids, streams, steps):
    """Inputs and targets (steps, streams, CONTEXT); row r of a step goes on where row r of the last one ended."""
    rows = ids[: len(ids) // streams * streams].reshape(streams, -1)
    rows = np.concatenate([np.zeros((streams, 1), "int32"), rows], axis=1)  # id 0 is the line end
    steps = min(steps, (rows.shape[1] - 1) // CONTEXT)
    cut = [rows[:, shift : shift + steps * CONTEXT].reshape(streams, steps, CONTEXT) for shift in (0, 1)]
    return [part.swapaxes(0, 1) for part in cut]


def trained(data, vocabulary_size, carried, seed):
    keras.utils.set_random_seed(seed)
    model = network(vocabulary_size, STREAMS, carried)
    rate = keras.optimizers.schedules.CosineDecay(0.0, STEPS - 20, warmup_target=RATE, warmup_steps=20)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Muon(rate), loss, steps_per_execution=10)
    x, y = (part.reshape(-1, CONTEXT) for part in windows_of(data, STREAMS, STEPS))
    started = time.process_time()
    model.fit(x, y, batch_size=STREAMS, shuffle=False, verbose=0)
    return model, time.process_time() - started


def read(weights, vocabulary_size, data, carried=True, rate=0.0):
    """Bits of every character, and the seconds: it is asked first, and learns afterwards if it has a rate."""
    model = network(vocabulary_size, READING_STREAMS, carried)
    model.set_weights(weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    started = time.process_time()
    bits = []
    for x, y in zip(*windows_of(data, READING_STREAMS, 10**9), strict=True):
        # The loss of a training step is that of the weights before the step.
        bits.append(model.train_on_batch(x, y) if rate else model.test_on_batch(x, y))
        model.reset_metrics()
    return float(np.mean(bits) / np.log(2)), time.process_time() - started


def record(line):
    key = ["experiment", "optimizer", "rate", "units", "seed", "steps", "trained", "state", "weights"]
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame()
    table = pd.concat([table, pd.DataFrame([line])]).drop_duplicates(key, keep="last")
    table.sort_values(key, kind="stable").to_csv(TABLE, index=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--reading-rate", type=float, help="chosen on the validation books when left out")
    options = parser.parse_args()
    data, vocabulary_size = corpus()
    reading_rate = options.reading_rate
    for seed in options.seeds:
        for carried in (True, False):
            model, seconds = trained(data["train"], vocabulary_size, carried, seed)
            weights = model.get_weights()
            if reading_rate is None:
                tried = {rate: read(weights, vocabulary_size, data["validation"], True, rate) for rate in READING_RATES}
                print(tried, flush=True)
                reading_rate = min(tried, key=lambda rate: tried[rate][0])
            common = {
                "experiment": "carried state", "optimizer": "muon", "rate": RATE, "units": UNITS, "seed": seed,
                "steps": STEPS, "characters": STEPS * STREAMS * CONTEXT, "seconds": round(seconds),
                "trained": "carried" if carried else "zeros",
            }  # fmt: skip
            for state, rate in (("carried", 0.0), ("zeros", 0.0), ("carried", reading_rate))[: 3 if carried else 2]:
                bits = {
                    "test_bits": round(read(weights, vocabulary_size, data["test"], state == "carried", rate)[0], 4)
                }
                line = common | {"state": state, "weights": "learning" if rate else "frozen"} | bits
                record(line)
                print(line, flush=True)


if __name__ == "__main__":
    main()
