"""What LoRA teaches SmolLM2-135M-Instruct in a hundred steps, beside the same steps on shuffled replies and none.

    python benchmarks/lora_smollm2.py                     # the table of benchmarks/README.md
    python benchmarks/lora_smollm2.py --only step         # a step on 8 x 256 tokens alone: its time and memory

The data are the English half of ``data.load("instructions")``. Those of its test part are held out; the others are
packed into rows, and only replies weigh in the loss. In the shuffled arm every prompt has the
reply of another one: what helps there is the manner of the replies, not what they answer.

Wall time depends on what else the machine does, processor time hardly. The adapter is saved, loaded by a fresh process
and merged there; all three must give the same logits.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np

from kerasllm import batches, data, text, training, weights

RANK, LAYERS = 8, ["query", "key", "value", "output"]
LONGEST = 256
RATE, SEED = 1e-3, 0


def instructions(split="train"):
    """Prompts and replies in English, in a fixed order. Other prompts than these are like none of another part."""
    frame = data.load("instructions")
    frame = frame[(frame["label"] == "english") & ((frame["split"] == "test") == (split == "test"))]
    pairs = list(zip(frame["prompt"], frame["reply"], strict=True))
    return [pairs[place] for place in np.random.default_rng(SEED).permutation(len(pairs))]


def encoded(template, pairs, longest=LONGEST):
    """Ids of conversations and which are learned, without those whose prompt leaves no room for a reply."""
    turns = [[{"role": "user", "content": asked}, {"role": "assistant", "content": said}] for asked, said in pairs]
    ids, learned = zip(*map(template.encode_learned, turns), strict=True)
    kept = [place for place, one in enumerate(learned) if any(one[1 : longest + 1])]
    return [ids[place] for place in kept], [learned[place] for place in kept]


def shuffled(pairs):
    """Every prompt with the reply of another one."""
    order = np.random.default_rng(SEED + 1).permutation(len(pairs))
    other = dict(zip(order, np.roll(order, 1), strict=True))
    return [(asked, pairs[other[place]][1]) for place, (asked, _) in enumerate(pairs)]


def reply_losses(model, conversations):
    """For each conversation the sum of the losses of its reply, in nats, and the number of its tokens."""
    sums, counts = [], []
    for inputs, targets, learned in batches.conversations(*conversations, max_length=LONGEST, buckets=4, batch_size=4):
        losses = keras.ops.sparse_categorical_crossentropy(targets, model(inputs), from_logits=True)
        sums.append(keras.ops.convert_to_numpy(keras.ops.sum(losses * learned, axis=1)))
        counts.append(np.asarray(learned).sum(1))
    return np.concatenate(sums), np.concatenate(counts)


def adapted():
    keras.utils.set_random_seed(SEED)
    model, tokenizer = weights.pretrained("smollm2-135m-instruct")
    return training.add_lora(model, RANK, layers=LAYERS), text.ChatTemplate(tokenizer)


def compiled(model, steps):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    # Without XLA: its first call took as long here, its steps no less, and its peak was a gigabyte higher.
    model.compile(training.classic(steps, RATE, weight_decay=0.0), loss, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def clocks():
    return np.array([time.perf_counter(), time.process_time()])


def gigabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def step(rows=8, context=256, repeat=5):
    """Time and memory of a step."""
    model, template = adapted()
    pairs, before = encoded(template, instructions(), context), gigabytes()
    feed = batches.conversations(*pairs, context=context, batch_size=rows, shuffle=True, seed=SEED, epochs=1)
    compiled(model, repeat)
    times = []
    for _, batch in zip(range(repeat), feed, strict=False):
        start = clocks()
        model.train_on_batch(batch[0], batch[1], sample_weight=batch[2])
        times.append(clocks() - start)
    wall, processor = np.median(times[1:], axis=0)
    print(
        f"\nA step on {rows} x {context} tokens: {wall:.1f} s (fastest {min(times[1:], key=lambda t: t[0])[0]:.1f}), "
    )
    print(f"{processor:.1f} s of processor time; the first one {times[0][0]:.0f} and {times[0][1]:.0f} s. Memory at ")
    print(f"its peak {gigabytes():.1f} GB, before the first step {before:.1f} GB. {state()}", flush=True)


def state():
    return f"Load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, Keras on {keras.backend.backend()}."


def arms(rows, context, steps, held_out):
    """Train from the same start on true and on shuffled replies; print the table."""
    model, template = adapted()
    held, told = encoded(template, instructions("test")[:held_out]), instructions()
    compiled(model, steps)
    variables = [*model.trainable_variables, *model.optimizer.variables]
    start = [keras.ops.convert_to_numpy(one) for one in variables]
    none, counts = reply_losses(model, held)
    print(f"\n{steps} steps on {rows} x {context} tokens; {len(counts)} held-out replies, {counts.sum():.0f} tokens.\n")
    print(
        "| trained on | loss of held-out replies, nats a token | better on | loss in training, last tenth | s | CPU s |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    print(f"| nothing | {none.sum() / counts.sum():.4f} | | | | |", flush=True)
    for name, given in (("shuffled replies", shuffled(told)), ("replies", told)):
        for one, value in zip(variables, start, strict=True):
            one.assign(value)
        feed = batches.conversations(
            *encoded(template, given, context), context=context, batch_size=rows, shuffle=True, seed=SEED, epochs=99
        )
        begun, losses = clocks(), []
        for _, (inputs, targets, learned) in zip(range(steps), feed, strict=False):
            losses.append(float(model.train_on_batch(inputs, targets, sample_weight=learned)))
        wall, processor = clocks() - begun
        after, _ = reply_losses(model, held)
        better = (after < none).sum()
        last = np.mean(losses[-max(1, steps // 10) :])
        numbers = f"{after.sum() / counts.sum():.4f} | {better} of {len(counts)} | {last:.3f}"
        print(f"| {name} | {numbers} | {wall:.0f} | {processor:.0f} |", flush=True)
    print(f"\n{state()} Memory at its peak {gigabytes():.1f} GB.", flush=True)
    fill(template, told, context)
    exchange(model, held)


def fill(template, pairs, context):
    """How much of the rows is learned, padded and packed."""
    ids, learned = encoded(template, pairs, context)
    shares = []
    for options in ({"max_length": context}, {"context": context}):
        feed = batches.conversations(ids, learned, **options, batch_size=8)
        shares.append(np.mean([np.asarray(weight).mean() for _, _, weight in feed]))
    print("Tokens of a row that are learned: {:.0%} padded, {:.0%} packed.".format(*shares), flush=True)


def exchange(model, held):
    """Save the adapter; a fresh process loads and merges it."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = f"{folder}/adapter.safetensors", f"{folder}/logits.npz"
        training.save_adapter(model, path)
        ids = np.array([held[0][0][:64]], "int32")
        np.save(f"{folder}/ids.npy", ids)
        subprocess.run([sys.executable, __file__, "--only", "load", folder], check=True)
        ours, size = keras.ops.convert_to_numpy(model(ids)), os.path.getsize(path)
        with np.load(out) as theirs:
            off = {name: np.abs(theirs[name] - ours).max() for name in ("loaded", "merged")}
            bare = np.abs(theirs["bare"] - ours).max()
    print(
        f"The adapter has {size / 1000:.0f} kB. Its logits differ by {off['loaded']:.1e} where a fresh process loads "
    )
    print(f"it, by {off['merged']:.1e} merged, and by {bare:.1f} without it, of {np.abs(ours).max():.0f}.", flush=True)


def load(folder):
    model, _ = weights.pretrained("smollm2-135m-instruct")
    ids, found = np.load(f"{folder}/ids.npy"), {}
    found["bare"] = model(ids)
    found["loaded"] = training.load_adapter(model, f"{folder}/adapter.safetensors")(ids)
    found["merged"] = training.merge_adapter(model)(ids)
    np.savez(f"{folder}/logits.npz", **{name: keras.ops.convert_to_numpy(one) for name, one in found.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("step", "arms", "load"))
    parser.add_argument("--rows", type=int, default=4, help="rows of a step of the arms")
    parser.add_argument("--context", type=int, default=256, help="tokens of a row")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--held-out", type=int, default=100, help="conversations that are not trained on")
    parser.add_argument("folder", nargs="?", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only == "load":
        load(given.folder)
    elif given.only == "step":
        step()
    elif given.only == "arms":
        arms(given.rows, given.context, given.steps, given.held_out)
    else:  # memory is that of a process: one for each part
        for part in ("step", "arms"):
            subprocess.run([sys.executable, __file__, "--only", part, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
