"""Generation against KerasHub: tokens per second at batch 1 and 8, and the first call, with equal weights and output.

    python benchmarks/generate.py
    python benchmarks/generate.py --json

The model is a GPT-2 of 4 layers, width 256, 4 heads and 8,192 tokens with random weights, the peer
`keras_hub.models.GPT2CausalLM` as it comes. The prompt has 32 tokens, 128 more are written greedily. Before anything
is measured the weights are copied over and the logits compared; the written ids must be equal too. Calls take turns,
the best of each counts. The first call, which compiles, is measured in a process of its own for each library.

``--xla`` compiles the peer with XLA, which is not its default on a CPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_hub
import numpy as np

from kerasllm.generation import generate
from kerasllm.models import GPT, gpt_settings

LAYERS, HEADS, WIDTH, VOCABULARY, CONTEXT = 4, 4, 256, 8192, 256
PROMPT, NEW = 32, 128
NAMES = ("kerasllm", "kerashub")


def peer(xla):
    """GPT-2 of KerasHub; its weights are larger than at the start of a training, so that the text is not one token."""
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.GPT2Backbone(
        VOCABULARY, LAYERS, HEADS, WIDTH, 4 * WIDTH, dropout=0.0, max_sequence_length=CONTEXT
    )
    random = np.random.default_rng(0)
    for variable in backbone.weights:
        variable.assign(variable + random.normal(0, 0.05, variable.shape))
    model = keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
    model.compile(sampler="greedy", jit_compile=True if xla else "auto")
    return model


def copied(backbone):
    """Our GPT with the weights of KerasHub's GPT-2."""
    model = GPT(gpt_settings(VOCABULARY, CONTEXT, LAYERS, HEADS, WIDTH, activation="gelu_tanh"), name="gpt")
    pairs = [(model.embed, backbone.token_embedding), (model.place, backbone.position_embedding)]
    for block, layer in zip(model.blocks, backbone.transformer_layers, strict=True):
        attention = layer._self_attention_layer
        pairs += [
            (block.attention_norm, layer._self_attention_layer_norm),
            (block.attention.query, attention._query_dense),
            (block.attention.key, attention._key_dense),
            (block.attention.value, attention._value_dense),
            (block.attention.output_dense, attention._output_dense),
            (block.feed_forward_norm, layer._feedforward_layer_norm),
            (block.feed_forward.expand, layer._feedforward_intermediate_dense),
            (block.feed_forward.project, layer._feedforward_output_dense),
        ]
    for ours, theirs in [*pairs, (model.final_norm, backbone.layer_norm)]:
        for variable, other in zip(ours.weights, theirs.weights, strict=True):
            variable.assign(keras.ops.reshape(other, variable.shape))  # theirs have an axis for the heads
    return model


def calls(model, ours, batch):
    """What writes the texts, one function for each library: int array (batch, PROMPT + NEW)."""
    prompts = np.random.default_rng(batch).integers(0, VOCABULARY, (batch, PROMPT))
    ids = np.concatenate([prompts, np.zeros((batch, NEW), int)], axis=1)
    mask = np.arange(PROMPT + NEW) < np.full((batch, 1), PROMPT)

    def kerasllm():
        return np.array(generate(ours, prompts, NEW))

    def kerashub():
        inputs = {"token_ids": ids.astype("int32"), "padding_mask": mask.astype("int32")}
        return model.generate(inputs, stop_token_ids=None)["token_ids"]

    return {"kerasllm": kerasllm, "kerashub": kerashub}


def first_call(name, batch, xla):
    model = peer(xla)
    call = calls(model, copied(model.backbone), batch)[name]
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measured(batch, rounds, xla):
    model = peer(xla)
    ours = copied(model.backbone)
    ids = np.random.default_rng(1).integers(0, VOCABULARY, (2, CONTEXT))
    logits = model.predict({"token_ids": ids, "padding_mask": np.ones_like(ids)}, verbose=0)
    difference = np.abs(ours.predict(ids, verbose=0) - logits).max() / np.abs(logits).max()
    if difference > 1e-4:
        sys.exit(f"The logits of the two models differ by {difference:.1e} of the largest: the weights are not equal.")
    both = calls(model, ours, batch)
    texts = {name: call() for name, call in both.items()}
    if not np.array_equal(texts["kerasllm"], texts["kerashub"]):
        sys.exit(f"At batch {batch} the two libraries wrote different ids.")
    best = dict.fromkeys(both, float("inf"))
    for _ in range(rounds):
        for name, call in both.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    speeds = [batch * NEW / best[name] for name in NAMES]
    firsts = [float(child("--first", name, str(batch), *(["--xla"] if xla else []))) for name in NAMES]
    return {
        "tokens_per_second": round(speeds[0], 1),
        "kerashub_tokens_per_second": round(speeds[1], 1),
        "ratio": round(speeds[0] / speeds[1], 2),
        "first_call_seconds": round(firsts[0], 2),
        "kerashub_first_call_seconds": round(firsts[1], 2),
    }


def child(*arguments):
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5, help="calls of each library; the fastest counts")
    parser.add_argument("--xla", action="store_true", help="compile KerasHub's model with XLA")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--first", nargs=2, metavar=("NAME", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first:
        print(first_call(options.first[0], int(options.first[1]), options.xla))
        return
    results = {f"batch_{batch}": measured(batch, options.rounds, options.xla) for batch in options.batch}
    if options.json:
        print(json.dumps(results))
        return
    print("| | tokens/s | KerasHub | ratio | first call, s | KerasHub |")
    print("|---|---|---|---|---|---|")
    for name, row in results.items():
        speeds = f"{row['tokens_per_second']:,.0f} | {row['kerashub_tokens_per_second']:,.0f} | {row['ratio']:.2f}"
        first = f"{row['first_call_seconds']:.1f} | {row['kerashub_first_call_seconds']:.1f}"
        print(f"| {name.replace('_', ' ')} | {speeds} | {first} |")


if __name__ == "__main__":
    main()
