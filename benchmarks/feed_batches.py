"""What feeding costs beside a training step of the smallest GPT setting.

4 layers, 4 heads, width 128, context 64, 12 windows a step, 65 characters. The same model is trained
from one batch that is in memory already, and from the feeds below, a few steps of each in turn, so that
a busy machine slows all of them alike. Then batches are pulled without a model.

With ``--write`` the table goes into README.md, in the place of the one of this backend.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

from kerasllm import batches, data, text

LAYERS, HEADS, WIDTH, CONTEXT, WINDOWS, VOCABULARY = 4, 4, 128, 64, 12, 65
LIMIT = 0.05  # share of a step that feeding may cost
README = Path(__file__).with_name("README.md")


class Positions(layers.Layer):
    """Adds a learned vector for each position."""

    def build(self, input_shape):
        self.table = self.add_weight(shape=input_shape[1:], initializer="random_normal")

    def call(self, inputs):
        return inputs + self.table


def model() -> keras.Model:
    inputs = keras.Input((CONTEXT,), dtype="int32")
    x = Positions()(layers.Embedding(VOCABULARY, WIDTH)(inputs))
    for _ in range(LAYERS):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y, use_causal_mask=True)])
        y = layers.Dense(4 * WIDTH, "gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(WIDTH)(y)])
    gpt = keras.Model(inputs, layers.Dense(VOCABULARY)(layers.LayerNormalization()(x)))
    gpt.compile("adamw", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return gpt


class Feed(keras.utils.PyDataset):
    """The same windows through Keras' own class for batches made in Python, as where TensorFlow is not installed."""

    def __init__(self, tokens, steps):
        super().__init__(workers=1)
        self.batches = batches.window.Windows(tokens, CONTEXT, WINDOWS, 1, True)
        self.steps = steps

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rows = self.batches.rows(index, index + 1)
        return rows[:, :-1], rows[:, 1:]


class Clock(keras.callbacks.Callback):
    """Wall and processor seconds of each step, but the first ones."""

    def __init__(self, skip: int):
        super().__init__()
        self.skip, self.wall, self.cpu = skip, [], []

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter(), time.process_time()
        if batch >= self.skip:
            self.wall.append(now[0] - self.before[0])
            self.cpu.append(now[1] - self.before[1])
        self.before = now


def feeds(tokens: np.ndarray, steps: int) -> dict:
    import tensorflow as tf

    inputs, targets = next(windows(tokens, 1).as_numpy_iterator())
    return {
        "one batch in memory": tf.data.Dataset.from_tensors((inputs, targets)).repeat(steps),
        "windows": windows(tokens, steps),
        "PyDataset": Feed(tokens, steps),
    }


def windows(tokens: np.ndarray, steps: int):
    return batches.windows(tokens, context=CONTEXT, batch_size=WINDOWS, seed=1, steps=steps)


def train(tokens: np.ndarray, rounds: int, steps: int, skip: int = 3) -> list[dict]:
    gpt, turns = model(), {}
    for turn in range(rounds + 1):
        for name, feed in feeds(tokens, steps).items():
            clock = Clock(skip)
            gpt.fit(feed, verbose=0, callbacks=[clock])
            if turn:  # the first turn compiles the model
                turns.setdefault(name, []).append([statistics.median(clock.wall), statistics.mean(clock.cpu)])
    turns = {name: 1e3 * np.array(values) for name, values in turns.items()}  # (rounds, 2)
    base = next(iter(turns.values()))
    rows = []
    for name, values in turns.items():
        wall, cpu = np.median(values, axis=0)
        row = {"what": f"training step, {name}", "steps": rounds * (steps - skip), "wall_ms": wall, "cpu_ms": cpu}
        if values is not base:
            # Each turn against the turn beside it: the load of a shared machine changes between rounds.
            more = np.median(values / base, axis=0) - 1
            row |= {"wall_share": more[0], "cpu_share": more[1]}
        rows.append(row)
    return rows


def pull(tokens: np.ndarray, steps: int, step: dict) -> list[dict]:
    """Batches alone. Their processor time is what a step pays at most, when no core is free."""
    rows = []
    feed = Feed(tokens, steps)
    texts = [tokens[start : start + 1 + start % CONTEXT] for start in range(steps * WINDOWS)]
    for name, source in {
        "windows": windows(tokens, steps),
        "PyDataset": feed,
        "padded": batches.padded(texts, batch_size=WINDOWS, buckets=4, shuffle=True, epochs=1),
    }.items():
        for _ in source:  # once through: imports and page reads are not meant
            pass
        start = time.perf_counter(), time.process_time()
        for _ in source:
            pass
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        row = {
            "what": f"a batch alone, {name}",
            "steps": steps,
            "wall_ms": 1e3 * wall / steps,
            "cpu_ms": 1e3 * cpu / steps,
        }
        rows.append(row | {"wall_share": row["wall_ms"] / step["wall_ms"], "cpu_share": row["cpu_ms"] / step["cpu_ms"]})
    return rows


def table(rows: list[dict]) -> list[str]:
    """The rows in Markdown."""
    lines = ["| | steps | ms | processor ms | share of a step | of its processor time |", "|---|---|---|---|---|---|"]
    for row in rows:
        shares = " | ".join(f"{row[key]:+.1%}" if key in row else "" for key in ("wall_share", "cpu_share"))
        lines.append(f"| {row['what']} | {row['steps']} | {row['wall_ms']:.2f} | {row['cpu_ms']:.2f} | {shares} |")
    return lines


def write(lines: list[str]) -> None:
    """Replace what stands in README.md between the two marks of this backend."""
    first, last = (f"<!-- {mark} of feed_batches, {keras.backend.backend()} -->" for mark in ("begin", "end"))
    text = README.read_text("utf-8")
    if first not in text or last not in text:
        raise SystemExit(f"{README.name} has no place for this table. Add two lines: {first} and {last}")
    before, after = text[: text.index(first)], text[text.index(last) :]
    README.write_text("\n".join([before + first, *lines, after]), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each feed")
    parser.add_argument("--steps", type=int, default=25, help="steps in a turn")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of the table")
    parser.add_argument("--write", action="store_true", help="put the table into README.md too")
    arguments = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    verses = data.load("king-james")["text"]
    tokenizer = text.train_characters(verses, byte_fallback=False, vocabulary_size=VOCABULARY)
    with tempfile.TemporaryDirectory() as folder:
        tokens = batches.write_tokens((verse + "\n" for verse in verses), tokenizer, Path(folder) / "kj.tokens")
        rows = train(tokens, arguments.rounds, arguments.steps)
        rows += pull(tokens, 2_000, rows[0])
        del tokens
    if arguments.json:
        for row in rows:
            print(json.dumps({"backend": keras.backend.backend()} | row))
        return
    lines = table(rows)
    print(f"Backend {keras.backend.backend()}; the limit for feeding is {LIMIT:.0%} of a step.\n")
    print("\n".join(lines))
    if arguments.write:
        settings = f"{arguments.rounds} rounds of {arguments.steps} steps; load of the machine at the start {load:.1f}."
        write([settings, "", *lines])
    over = [row["what"] for row in rows if row["what"].startswith("a batch") and row["cpu_share"] > LIMIT]
    if over:
        raise SystemExit(f"Over the limit of {LIMIT:.0%}: {', '.join(over)}")


if __name__ == "__main__":
    main()
