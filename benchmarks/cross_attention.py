"""What a written token costs a decoder that looks at a source text: with the source projected once, and anew each time.

    python benchmarks/cross_attention.py

One block of width 256 with 4 heads writes one token after another. The rows have source texts of growing length; a
column says how long a token takes whose block keeps keys and values of the source (`TransformerBlock.make_cache`), one
whose block projects the source for every token, and how long the look itself takes: the products of one query with the
keys and of the weights with the values. Times are the best of many calls, in milliseconds, compiled by XLA.

Writes ``benchmarks/cross_attention.png`` and prints the table of benchmarks/README.md.
"""

import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from kerasllm.course.figures import use_style
from kerasllm.layers import FeedForward, MultiHeadAttention, TransformerBlock

WIDTH, HEADS, BATCH = 256, 4, 8
LENGTHS = (32, 64, 128, 256, 512)
REPEAT, ROUNDS = 50, 7


def milliseconds(call):
    """The best mean of `REPEAT` calls."""
    call()
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(REPEAT):
            call()
        best = min(best, (time.perf_counter() - start) / REPEAT)
    return 1000 * best


def measured(length):
    keras.utils.set_random_seed(0)
    attention, context = MultiHeadAttention(HEADS, causal=True), MultiHeadAttention(HEADS)
    block = TransformerBlock(attention, FeedForward(4 * WIDTH), context_attention=context)
    random = np.random.default_rng(0)
    source = tf.constant(random.normal(size=(BATCH, length, WIDTH)), "float32")
    token = tf.constant(random.normal(size=(BATCH, 1, WIDTH)), "float32")
    block(token, context=source)
    cache = block.make_cache(BATCH, 64, context=source)
    kept = tf.function(lambda token, cache: block(token, cache=cache)[0], jit_compile=True)
    anew = tf.function(
        lambda token, source, own: block(token, cache=(own, block.context_attention.read_context(source)))[0],
        jit_compile=True,
    )
    query = tf.constant(random.normal(size=(BATCH, HEADS, 1, WIDTH // HEADS)), "float32")

    def look(query, read):
        weights = tf.nn.softmax(tf.matmul(query, read.key, transpose_b=True))
        return tf.matmul(weights, read.value)

    look = tf.function(look, jit_compile=True)
    return {
        "source": length,
        "kept": milliseconds(lambda: kept(token, cache).numpy()),
        "anew": milliseconds(lambda: anew(token, source, cache[0]).numpy()),
        "look": milliseconds(lambda: look(query, cache[1]).numpy()),
    }


def main():
    rows = [measured(length) for length in LENGTHS]
    print("| source, tokens | kept, ms a token | projected anew | the look alone | kept without the look |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['source']} | {row['kept']:.3f} | {row['anew']:.3f} | {row['look']:.3f} "
            f"| {row['kept'] - row['look']:.3f} |"
        )
    use_style()
    figure, ax = plt.subplots(figsize=(7, 3.4))
    names = {"anew": "source projected for every token", "kept": "source projected once", "look": "the look alone"}
    for name, label in names.items():
        ax.plot(LENGTHS, [row[name] for row in rows], "o-", label=label)
    ax.set(xlabel="tokens of the source text", ylabel="ms a written token", xticks=LENGTHS, ylim=(0, None))
    ax.set_title("With kept keys and values a longer source costs a longer look and no more")
    ax.legend()
    figure.savefig(Path(__file__).with_suffix(".png"), metadata={"Software": None})


if __name__ == "__main__":
    main()
