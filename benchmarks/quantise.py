"""What int8 and int4 weights cost and save: the loss of a GPT and of an encoder before and after, and their bytes.

    python benchmarks/quantise.py

The GPT is the one that ships with the course; its loss is in bits a character on books of the King James Bible that it
did not see. The encoder reads film snippets: two blocks of bidirectional attention, masked mean, a dense layer, trained
here for half a minute; its loss is on the test texts. Nothing is trained or calibrated after quantisation: codes and
scales are those that Keras makes of each matrix.

A row says how a model was stored, its loss, accuracy where it has one, the bytes of its variables in memory, and how
long it takes to read a batch, compiled. It prints the table of benchmarks/README.md.
"""

import tempfile
import time
import warnings

import keras
import numpy as np
import tensorflow as tf

from kerasllm import batches, text
from kerasllm.data import load
from kerasllm.evaluation import bits_per_character
from kerasllm.layers import FeedForward, LearnedPositions, MaskedMean, MultiHeadAttention, TransformerBlock
from kerasllm.weights import pretrained

MODES = ("float32", "int8", "int4")
CHARACTERS = 100_000  # of the validation books
LENGTH, WIDTH, HEADS, EPOCHS = 64, 128, 4, 2
REPEAT = 20


def quantised(model, mode):
    if mode != "float32":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras says of each layer without a kernel that it stays as it is
            model.quantize(mode)
    return model


def megabytes(model):
    """The bytes of the variables; int4 is packed, two numbers in a byte."""
    return sum(np.prod(one.shape) * tf.as_dtype(one.dtype).size for one in model.weights) / 1e6


def milliseconds(model, ids):
    """The best of some calls on a batch."""
    call = tf.function(lambda ids: model(ids, training=False))
    best = float("inf")
    for _ in range(REPEAT):
        start = time.perf_counter()
        call(ids).numpy()
        best = min(best, time.perf_counter() - start)
    return 1000 * best


def gpt_rows():
    verses = load("king-james")
    held_out = "\n".join(verses["text"][verses["split"] == "validation"])[:CHARACTERS]
    for mode in MODES:
        model, tokenizer = pretrained("king-james-gpt")
        model = quantised(model, mode)
        ids = tf.ones((4, model.context_length), "int32")
        loss = bits_per_character(model, tokenizer, held_out)
        yield "GPT", mode, loss, None, megabytes(model), milliseconds(model, ids)


def encoder(vocabulary_size):
    ids = keras.Input((None,), dtype="int32")
    mask = keras.ops.not_equal(ids, 0)
    x = keras.layers.Embedding(vocabulary_size, WIDTH)(ids)
    x = keras.layers.Dropout(0.3)(LearnedPositions(LENGTH)(x))
    for _ in range(2):
        x = TransformerBlock(MultiHeadAttention(HEADS), FeedForward(4 * WIDTH), dropout=0.3)(x, mask=mask)
    return keras.Model(ids, keras.layers.Dense(2)(MaskedMean()(x, mask=mask)))


def encoder_rows(folder):
    frame = load("movie-snippets")
    parts = {split: rows for split, rows in frame.groupby("split")}
    tokenizer = text.train_words(parts["train"]["text"].tolist(), vocabulary_size=10_000, lower=True)
    arrays = {
        split: (tokenizer.encode_batch(rows["text"].tolist()), (rows["label"] == "positive").to_numpy("int32"))
        for split, rows in parts.items()
    }
    options = {"batch_size": 64, "max_length": LENGTH}
    keras.utils.set_random_seed(0)
    model = encoder(tokenizer.vocabulary_size)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3), loss)
    feed = batches.padded(*arrays["train"], **options, shuffle=True, epochs=EPOCHS)
    model.fit(feed, epochs=EPOCHS, steps_per_epoch=batches.steps_per_epoch(feed), shuffle=False, verbose=0)
    model.save(folder + "/encoder.keras")
    for mode in MODES:
        model = quantised(keras.saving.load_model(folder + "/encoder.keras", compile=False), mode)
        model.compile(loss=loss, metrics=["accuracy"])
        found = model.evaluate(batches.padded(*arrays["test"], **options), verbose=0, return_dict=True)
        ids = tf.ones((64, LENGTH), "int32")
        yield "encoder", mode, found["loss"], found["accuracy"], megabytes(model), milliseconds(model, ids)


def main():
    print("| model | weights | loss | accuracy | MB | ms a batch |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, mode, loss, accuracy, size, time_ in (*gpt_rows(), *encoder_rows(folder)):
            shown = "" if accuracy is None else f"{accuracy:.3f}"
            print(f"| {name} | {mode} | {loss:.4f} | {shown} | {size:.1f} | {time_:.1f} |", flush=True)


if __name__ == "__main__":
    main()
