"""How the time and memory of a GPT grow with context, width and depth, and what one more token costs.

    python benchmarks/scaling.py --write

From a base of 4 layers, width 256 and context 128, one size changes at a time; each row is a process of its
own, so that its peak memory is its own. A step trains on 2,048 tokens, whatever the context. Decoding writes one
token after another behind texts of growing length, with a cache and without.

``--write`` puts the tables into README.md and the figure into scaling.png; ``--json`` prints the rows.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BASE = {"num_layers": 4, "embedding_dim": 256, "context_length": 128}
SIZES = {"context_length": [64, 128, 256, 512, 1024], "embedding_dim": [64, 128, 256, 512], "num_layers": [1, 2, 4, 8]}
POSITIONS = [64, 128, 256, 512, 1024, 2000]
TOKENS, VOCABULARY, HEADS = 2048, 2048, 4
TICKS = [10, 50, 100, 200, 500, 1000]
README, FIGURE = (Path(__file__).with_name(name) for name in ("README.md", "scaling.png"))


def best(function, repeat):
    """Seconds of the fastest of several calls, after one that compiles."""
    function()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def train(sizes):
    """Milliseconds of a training step and the memory it needs beyond the loaded libraries."""
    import keras
    import numpy as np

    from kerasllm.models import GPT, gpt_settings

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    modern = {"positions": "rotary", "norm": "rms_norm", "use_bias": False}
    model = GPT(gpt_settings(VOCABULARY, num_heads=HEADS, **modern, **sizes))
    model.compile("adamw", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    shape = (max(1, TOKENS // sizes["context_length"]), sizes["context_length"])
    ids = np.random.default_rng(0).integers(0, VOCABULARY, shape).astype("int32")
    seconds = best(lambda: model.train_on_batch(ids, ids), repeat=8)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    flops = model.flops_per_token(sizes["context_length"] / 2, training=True) * ids.size
    return {
        **sizes,
        "parameters": model.count_params(),
        "step_ms": round(1000 * seconds, 1),
        "gflops_per_second": round(flops / seconds / 1e9),
        "memory_mb": round(memory / 1024),
    }


def decode():
    """Milliseconds of one more token at growing positions, with a cache and by reading the whole text again."""
    import numpy as np
    import tensorflow as tf

    from kerasllm.models import GPT, gpt_settings

    settings = {**BASE, "context_length": max(POSITIONS) + 1, "positions": "rotary", "norm": "rms_norm"}
    model = GPT(gpt_settings(VOCABULARY, **settings))
    token = tf.ones((1, 1), "int32")
    cached = tf.function(lambda cache: model(token, cache=cache))
    again = tf.function(lambda ids: model.head(model(ids, return_features=True)[:, -1:]))
    rows = []
    for position in POSITIONS:
        ids = tf.constant(np.ones((1, position), "int32"))
        _, cache = model(ids, cache=model.make_cache(1))
        with_cache = best(lambda cache=cache: cached(cache)[0].numpy(), repeat=20)
        without = best(lambda ids=ids: again(ids).numpy(), repeat=5)
        rows.append(
            {"position": position, "cached_ms": round(1000 * with_cache, 2), "uncached_ms": round(1000 * without, 2)}
        )
    return rows


def measured():
    """All rows, each size in a process of its own."""
    rows = {}
    for size, values in SIZES.items():
        rows[size] = [run("train", json.dumps({**BASE, size: value})) for value in values]
    return {**rows, "decode": run("decode")}


def run(*arguments):
    command = [sys.executable, __file__, "--one", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def tables(rows):
    lines = []
    for size in SIZES:
        names = [size, "parameters", "step_ms", "gflops_per_second", "memory_mb"]
        heads = [size, "parameters", "ms a step", "GFLOP/s", "memory, MB"]
        lines += table(heads, [[f"{row[name]:,}" for name in names] for row in rows[size]])
    heads = ["position", "ms a token, cache", "ms a token, no cache"]
    return [*lines, *table(heads, [[f"{value:,}" for value in row.values()] for row in rows["decode"]])]


def table(heads, rows):
    bars = ["| " + " | ".join(row) + " |" for row in [heads, *rows]]
    return [bars[0], "|---" * len(heads) + "|", *bars[1:], ""]


def draw(rows):
    import matplotlib.pyplot as plt
    from kerasllm.plots import use_style

    use_style()
    figure, axes = plt.subplots(1, 4, figsize=(12, 3))
    for axis, (size, label) in zip(axes, zip(SIZES, ["context", "width", "layers"], strict=True), strict=False):
        x = [row[size] for row in rows[size]]
        axis.loglog(x, [row["step_ms"] for row in rows[size]], "o-", label="ms a step")
        axis.loglog(x, [row["memory_mb"] for row in rows[size]], "s--", label="memory, MB")
        axis.set(title=f"training against {label}", xlabel=label, xticks=x, xticklabels=x, ylim=(50, 1300))
        axis.set(yticks=TICKS[1:], yticklabels=TICKS[1:])
        axis.minorticks_off()
    axes[0].legend()
    x = [row["position"] for row in rows["decode"]]
    for name, mark in (("cached", "o-"), ("uncached", "s--")):
        axes[3].loglog(
            x, [row[f"{name}_ms"] for row in rows["decode"]], mark, label=name.replace("uncached", "no cache")
        )
    axes[3].set(title="one more token", xlabel="position", ylabel="ms", xticks=x, xticklabels=x, ylim=(2, 300))
    axes[3].set(yticks=[2, 5, *TICKS[:3], 200], yticklabels=[2, 5, *TICKS[:3], 200])
    axes[3].minorticks_off()
    axes[3].legend()
    figure.savefig(FIGURE, metadata={"Software": None})


def write(lines):
    text = README.read_text(encoding="utf-8")
    begin, end = "<!-- begin of scaling -->\n", "<!-- end of scaling -->"
    before, rest = text.split(begin)
    README.write_text(before + begin + "\n".join(lines) + end + rest.split(end)[1], encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--write", action="store_true", help="renew README.md and scaling.png")
    arguments = parser.parse_args()
    if arguments.one:
        rows = decode() if arguments.one[0] == "decode" else train(json.loads(arguments.one[1]))
        print(json.dumps(rows))
        return
    rows = measured()
    print(json.dumps(rows) if arguments.json else "\n".join(tables(rows)))
    if arguments.write:
        write(tables(rows))
        draw(rows)


if __name__ == "__main__":
    main()
