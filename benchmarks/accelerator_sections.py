"""The sections of `accelerator.py`, which runs each of them in a process of its own."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np

ROOT = Path(__file__).parents[1]
TARGET = 1.4697  # the best validation loss that nanoGPT publishes for its GPU setting, in about 3 minutes on an A100
NANO = {"context_length": 256, "num_layers": 6, "num_heads": 6, "embedding_dim": 384, "dropout": 0.2}
TINY = {"context_length": 16, "num_layers": 1, "num_heads": 2, "embedding_dim": 32}
GPT2 = {"vocabulary_size": 50304, "context_length": 1024, "num_layers": 12, "num_heads": 12, "embedding_dim": 768}
TINY_SMOLLM2 = {**TINY, "vocabulary_size": 300, "num_kv_heads": 1, "hidden_dim": 64}


class Section:
    """What a section is told, and where its results go.

    Attributes:
        smoke: whether sizes are tiny.
        text, reference: the files, or None.
        budget: seconds of training in a run to a loss.
        results: a dictionary; `write` saves it, so that what was measured survives what fails later.
    """

    def __init__(self, options):
        self.smoke, self.text, self.reference, self.budget = (
            getattr(options, name) for name in ("smoke", "text", "reference", "budget")
        )
        self.path, self.results = Path(options.results), {}

    def write(self, group, name, found):
        self.results.setdefault(group, {})[name] = found
        self.save()
        print(name, json.dumps(found), flush=True)

    def save(self):
        whole = self.path.with_suffix(".new")  # a section may be ended at any moment
        whole.write_text(json.dumps(self.results), encoding="utf-8")
        whole.replace(self.path)

    def size(self, full, tiny):
        return tiny if self.smoke else full


# The device ------------------------------------------------------------------------------------


def on_jax():
    import keras

    return keras.backend.backend() == "jax"


def device():
    """The name of the device, and the versions of what computes on it."""
    import keras

    if on_jax():
        import jax

        return jax.devices()[0].device_kind, f"JAX {jax.__version__}, Keras {keras.__version__}"
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return name, f"PyTorch {torch.__version__}, Keras {keras.__version__}"


def peak_gb():
    """The largest number of gigabytes that this process held on the device; None where nobody counts them."""
    if on_jax():
        import jax

        found = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    else:
        import torch

        found = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return found and round(found / 1e9, 2)


def card(section):
    """The rate of a large product of matrices, and of a copy, on random numbers: what shares are shares of."""
    size, length = section.size((8192, 1 << 30), (256, 1 << 16))
    if on_jax():
        import jax
        from jax import numpy as jnp

        keys = jax.random.split(jax.random.key(0), 3)
        a, b = (jax.random.normal(key, (size, size), "bfloat16") for key in keys[:2])
        long = jax.random.normal(keys[2], (length,), "bfloat16")
        product, copy, wait = jax.jit(jnp.matmul), jax.jit(lambda x: x + 1), jax.block_until_ready
    else:
        import torch

        where = "cuda" if torch.cuda.is_available() else "cpu"
        a, b = (torch.randn(size, size, device=where, dtype=torch.bfloat16) for _ in range(2))
        long = torch.randn(length, device=where, dtype=torch.bfloat16)
        product, copy = torch.matmul, lambda x: x + 1

        def wait(x):
            return x.flatten()[0].item()

    seconds = [best(lambda: product(a, b), wait), best(lambda: copy(long), wait)]
    section.results["device"], section.results["versions"] = device()
    section.results["matrix_tflops"] = three_digits(2 * size**3 / seconds[0] / 1e12)
    section.results["copy_gb_per_second"] = round(2 * 2 * length / seconds[1] / 1e9)
    section.save()


def three_digits(number):
    return float(f"{number:.3g}")


def best(call, wait, rounds=5, repeat=20):
    """Seconds a call, the best of several rounds."""
    wait(call())
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeat):
            last = call()
        wait(last)
        found.append((time.perf_counter() - start) / repeat)
    return min(found)


# The battery -----------------------------------------------------------------------------------


def make_reference(section):
    """Of each case the inputs, the variables and what it computes from them on this machine."""
    models, arrays, random = battery_models(section), {}, np.random.default_rng(3)
    from test_layers import fed

    for name, (case, model) in models.items():
        arrays |= {f"{name}/input/{i}": array for i, array in enumerate(fed(case))}
        arrays |= {f"{name}/variable/{i}": value_for(variable, random) for i, variable in enumerate(model.variables)}
    outputs = computed(models, arrays, "highest")
    np.savez_compressed(section.reference, **arrays, **{f"{name}/output": output for name, output in outputs.items()})


def value_for(variable, random):
    """Numbers of which each matters: kernels that keep the size of what goes in, as in tests/layers/test_layers.py."""
    import keras

    dtype = keras.backend.standardize_dtype(variable.dtype)
    if not keras.backend.is_float_dtype(dtype):  # the state of dropout
        return np.zeros(variable.shape, dtype)
    noise = random.normal(size=variable.shape)
    if len(variable.shape) > 1:
        inputs = 1 if "embedding" in variable.path else variable.shape[-2]
        return (noise * 1.5 / inputs**0.5).astype(dtype)
    noise = abs(noise) if "variance" in variable.path else noise
    return (0.5 * noise + any(word in variable.path for word in ("gamma", "scale", "variance"))).astype(dtype)


def battery(section):
    """What each case of the battery computes on the device, against the outputs of a CPU."""
    known = dict(np.load(section.reference))
    precisions = {"float32": (None, None), "mixed_bfloat16": ("mixed_bfloat16", None)}
    if on_jax():  # a GPU multiplies float32 matrices in TF32 unless told otherwise
        precisions = {"float32, highest precision": (None, "highest")} | precisions
    for name, (policy, precision) in precisions.items():
        start, errors = time.perf_counter(), {}
        models = battery_models(section, policy)
        build = time.perf_counter() - start
        for case, found in computed(models, known, precision).items():
            expected = known[f"{case}/output"]
            errors[case] = float(np.abs(found - expected).max() / np.abs(expected).max())
        worst = max(errors, key=lambda case: np.nan_to_num(errors[case], nan=np.inf))
        found = {"cases": len(errors), "median": float(np.median(list(errors.values()))), "largest": errors[worst]}
        found |= {"where": worst, "seconds": round(time.perf_counter() - start, 1), "build_seconds": round(build, 1)}
        section.write("precisions", name, found)


def battery_models(section, policy=None):
    """For each case it and its model, whose variables have no values yet: they come from a file."""
    import keras

    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "layers")]
    from battery import CASES
    from test_layers import as_model

    with keras.StatelessScope(initialize_variables=False):
        return {
            case.name: (case, as_model(case.make(dtype=policy), case))
            for case in (CASES[:9:4] if section.smoke else CASES)
        }


def computed(models, arrays, precision=None):
    """The outputs of all models from the variables and inputs in a file; on JAX in one compiled function."""
    import keras
    from keras import ops

    def of_each(kind):
        return {name: [arrays[key] for key in arrays if key.startswith(f"{name}/{kind}/")] for name in models}

    def outputs(values, inputs):
        found = {}
        for name, (_, model) in models.items():
            mapping = list(zip(model.variables, map(ops.convert_to_tensor, values[name]), strict=True))
            with keras.StatelessScope(mapping, initialize_variables=False):
                found[name] = ops.cast(model(inputs[name], training=False), "float32")
        return found

    values, inputs = of_each("variable"), of_each("input")
    if on_jax():
        import jax

        with jax.default_matmul_precision(precision or "default"):
            found = jax.jit(outputs)(values, inputs)
    else:
        found = outputs(values, inputs)
    return {name: ops.convert_to_numpy(output) for name, output in found.items()}


# Training --------------------------------------------------------------------------------------


def characters(section):
    """Ids of the first 90% of the characters, those of the rest, and how many different ones there are."""
    if not section.text:
        raise SystemExit("This section needs a text: give --text.")
    text = Path(section.text).read_text(encoding="utf-8")
    number_of = {character: i for i, character in enumerate(sorted(set(text)))}
    ids = np.array([number_of[character] for character in text], "int32")
    return ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :], len(number_of)


def cross_entropy():
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def turns_of(steps, evaluate=None, budget=None):
    """A callback that times the epochs of a `fit`, each a turn of so many steps, and looks at the loss after each."""
    import keras

    class Turns(keras.callbacks.Callback):  # without hooks for batches: they would wait for each step
        def __init__(self):
            super().__init__()
            self.seconds, self.points = [], []

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.loss = float(logs["loss"])  # waits for the last step
            self.seconds.append(time.perf_counter() - self.start)
            if evaluate:
                self.points.append((steps * len(self.seconds), sum(self.seconds), evaluate()))
                print("steps {}  {:.1f} s  validation loss {:.4f}".format(*self.points[-1]), flush=True)
            if budget and sum(self.seconds) > budget:
                self.model.stop_training = True

    return Turns()


def trained(model, optimizer, feed, steps, turns, evaluate=None, budget=None):
    """Train `turns` times `steps` steps of a feed, after a first one that compiles.

    Args:
        feed: function of the number of the first batch and of how many, to a feed.

    Returns:
        The callback of `turns_of`, and what is true of every run.
    """
    model.compile(optimizer, cross_entropy())
    start = time.perf_counter()
    model.fit(feed(0, 1), epochs=1, steps_per_epoch=1, shuffle=False, verbose=0)
    first = time.perf_counter() - start
    timed = turns_of(steps, evaluate, budget)
    model.fit(feed(1, steps * turns), epochs=turns, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[timed])
    if not np.isfinite(timed.loss):
        raise RuntimeError(f"The loss became {timed.loss}.")
    step = float(np.median(timed.seconds)) / steps
    return timed, {"step_ms": round(1000 * step, 2), "first_step_seconds": round(first, 1), "peak_gb": peak_gb()}


def speed(section, name, model, optimizer, ids, context, batch_size, steps, turns):
    """Tokens a second of training, in the results."""
    from kerasllm.batches import windows

    def feed(first, count):
        return windows(ids, context=context, batch_size=batch_size, start_step=first, steps=count)

    _, found = trained(model, optimizer, feed, steps, turns)
    section.write("runs", name, found | rates(model, context, batch_size, found["step_ms"]))


def rates(model, context, batch_size, step_ms):
    """Tokens a second, and the operations that these need: those of the model, not those that were computed twice."""
    tokens = context * batch_size / step_ms * 1000
    found = {"tokens_per_second": round(tokens), "parameters": model.count_params()}
    if hasattr(model, "flops_per_token"):
        found["tflops"] = three_digits(tokens * model.flops_per_token(context / 2, training=True) / 1e12)
    return found


def to_the_target(section, name, model, optimizer, train, validation, batch_size, steps, every):
    """A whole run, with the loss on the whole validation text after each turn."""
    from kerasllm.batches import windows

    context = model.context_length

    def feed(first, count):
        return windows(train, context=context, batch_size=batch_size, start_step=first, steps=count)

    rows = min(-(-(len(validation) - 1) // context), 1024)
    whole = windows(validation, context=context, batch_size=rows, shuffle=False)
    timed, found = trained(
        model,
        optimizer,
        feed,
        every,
        steps // every,
        lambda: model.evaluate(whole, verbose=0),
        section.budget,
    )
    found |= rates(model, context, batch_size, found["step_ms"])
    found["best_loss"] = round(min(loss for *_, loss in timed.points), 4)
    found["steps"], found["seconds"] = timed.points[-1][0], round(timed.points[-1][1], 1)
    reached = next(((steps, seconds) for steps, seconds, loss in timed.points if loss <= TARGET), (None, None))
    found["steps_to_1.4697"] = reached[0]
    found["seconds_to_1.4697"] = reached[1] and round(reached[1], 1)
    found["losses"] = [(steps, round(loss, 4)) for steps, _, loss in timed.points]
    section.write("runs", name, found)


def training_classic(section):
    """nanoGPT's published setting for characters: the run to its loss."""
    from kerasllm.training import classic

    steps, every = section.size((5000, 250), (20, 10))
    model, *data = nano(section, "nano")
    optimizer = classic(steps, 1e-3, warmup_steps=steps // 50)
    to_the_target(section, "ours, classic", model, optimizer, *data, steps, every)


def training_modern(section):
    """The blocks and the recipe of today on the same text."""
    from kerasllm.training import modern

    steps, every = section.size((1000, 50), (20, 10))
    model, *data = nano(section, "nano-modern")
    to_the_target(section, "ours, modern", model, modern(steps, 5e-3), *data, steps, every)


def training_fast(section):
    """The speed of both with what JAX has for a GPU; then without dropout of attention's weights, in one kernel."""
    from kerasllm.training import classic, modern
    from kerasllm.training.fast_gpu import speed_up_on_gpu

    few = {"steps": section.size(50, 2), "turns": 5}
    for label, name, dropped, recipe in (
        ("classic", "nano", True, classic),
        ("classic, weights of attention not dropped out", "nano", False, classic),
        ("modern, weights of attention not dropped out", "nano-modern", False, modern),
    ):
        model, train, _, batch_size = nano(section, name, dropped)
        given = (recipe(1000), train, model.context_length, batch_size)
        speed(section, f"ours for a GPU, {label}", speed_up_on_gpu(model), *given, **few)


def nano(section, name, dropped=True):
    """A model in the published sizes, in mixed bfloat16; training ids, validation ids, and rows of a batch."""
    import keras

    from kerasllm.layers.composite import copy_of
    from kerasllm.models import GPT, preset

    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.utils.set_random_seed(1337)
    train, validation, vocabulary = characters(section)
    sizes, batch_size = section.size((NANO, 64), (TINY, 4))
    settings = preset(name, vocabulary_size=vocabulary, **sizes)
    if not dropped:
        settings = settings.with_(attention=copy_of(settings.attention[0], dropout=0.0))
    return GPT(settings), train, validation, batch_size


def training_kerashub(section):
    """KerasHub's GPT-2 of the same shape."""
    import keras

    from kerasllm.training import classic

    keras.config.set_dtype_policy("mixed_bfloat16")
    train, _, vocabulary = characters(section)
    sizes, batch_size = section.size((NANO, 64), (TINY, 4))
    context, steps = sizes["context_length"], section.size(50, 2)
    backbone = kerashub_backbone({**sizes, "vocabulary_size": vocabulary})
    ids = keras.Input((context,), dtype="int32")
    features = backbone({"token_ids": ids, "padding_mask": keras.ops.ones_like(ids)})
    model = keras.Model(ids, backbone.token_embedding(features, reverse=True))
    speed(section, "KerasHub's GPT-2, that shape", model, classic(5000, 1e-3), train, context, batch_size, steps, 5)


def kerashub_backbone(sizes):
    import keras_hub

    return keras_hub.models.GPT2Backbone(
        vocabulary_size=sizes["vocabulary_size"],
        num_layers=sizes["num_layers"],
        num_heads=sizes["num_heads"],
        hidden_dim=sizes["embedding_dim"],
        intermediate_dim=4 * sizes["embedding_dim"],
        dropout=sizes.get("dropout", 0.0),
        max_sequence_length=sizes["context_length"],
    )


def training_torch(section):
    """The same shape in plain PyTorch."""
    import plain_torch

    sizes, batch_size = section.size((NANO, 64), (TINY, 4))
    sizes = {**sizes, "vocabulary_size": characters(section)[2], "use_bias": False}
    found = plain_torch.speed(sizes, batch_size, turns=5, steps=section.size(50, 2))
    section.write("runs", "plain PyTorch, that shape", found)


def large_gpt2(section):
    large(section, "ours, GPT-2 124M", "gpt2", section.size(GPT2, {**TINY, "vocabulary_size": 300}))


def large_smollm2(section):
    large(section, "ours, SmolLM2-135M", "smollm2-135m", section.size({"context_length": 1024}, TINY_SMOLLM2))


def large_fast(section):
    from kerasllm.training.fast_gpu import speed_up_on_gpu

    sizes = section.size(GPT2, {**TINY, "vocabulary_size": 300})
    large(section, "ours for a GPU, GPT-2 124M", "gpt2", sizes, speed_up_on_gpu)


def large(section, label, name, sizes, changed=lambda model: model):
    """Training of a published shape from random weights on random ids: speed and memory, not a loss."""
    import keras

    from kerasllm.models import GPT, preset
    from kerasllm.training import classic

    keras.config.set_dtype_policy("mixed_bfloat16")
    settings = preset(name, **sizes)
    context, batch_size = settings.context_length, section.size(8, 2)
    ids = np.random.default_rng(0).integers(0, settings.vocabulary_size, 64 * batch_size * context)
    few = {"steps": section.size(10, 2), "turns": 3}
    speed(section, label, changed(GPT(settings)), classic(1000, 6e-4), ids, context, batch_size, **few)


def large_torch(section):
    import plain_torch

    sizes = section.size(GPT2, {**TINY, "vocabulary_size": 300})
    found = plain_torch.speed(sizes, section.size(8, 2), turns=3, steps=section.size(10, 2))
    section.write("runs", "plain PyTorch, GPT-2 124M", found)


# Feeds -----------------------------------------------------------------------------------------


def feeds(section):
    """The share of a step that is spent waiting for a batch: beside the same steps with one batch that is held."""
    import keras

    from kerasllm.batches import packed, padded, windows
    from kerasllm.models import BERT, GPT, BERTClassifier, BERTSettings, preset

    keras.config.set_dtype_policy("mixed_bfloat16")
    ids, _, vocabulary = characters(section)
    sizes, batch_size = section.size((NANO, 64), (TINY, 4))
    context, steps = sizes["context_length"], section.size(100, 4)
    ends = np.arange(40, len(ids), 80) + np.random.default_rng(0).integers(-30, 30, len(range(40, len(ids), 80)))
    texts = [(part + 1).tolist() for part in np.split(ids, ends)]  # 0 is padding
    encoder = BERTSettings(
        vocabulary_size=vocabulary + 1,
        embedding_dim=sizes["embedding_dim"],
        num_layers=sizes["num_layers"],
        num_heads=sizes["num_heads"],
        context_length=context,
    )

    def gpt():
        return GPT(preset("nano", vocabulary_size=vocabulary + 1, **sizes))

    def classifier():
        return BERTClassifier(BERT(encoder), num_classes=2)

    rows = {"batch_size": batch_size, "shuffle": True, "epochs": 20}
    labels = np.arange(len(texts)) % 2
    kinds = {
        "windows": (gpt, lambda: windows(ids, context=context, batch_size=batch_size, steps=steps + 1)),
        "padded": (classifier, lambda: padded(texts, labels, max_length=context, **rows)),
        "packed": (gpt, lambda: packed(texts, context=context, **rows)),
    }
    for name, (make, feed) in kinds.items():
        model = make()
        model.compile(keras.optimizers.AdamW(1e-4), cross_entropy())
        section.write("feeds", name, waiting(model, feed, steps))


def waiting(model, feed, steps):
    """Milliseconds to make a batch, of a step, and of a step with a batch that is held."""
    import keras

    batches = iter(feed().as_numpy_iterator())
    next(batches)  # prepares the order of a pass
    start = time.perf_counter()
    for _ in range(steps):
        batch = next(batches)
    make = time.perf_counter() - start

    class Held(keras.utils.PyDataset):
        def __len__(self):
            return steps

        def __getitem__(self, index):
            return batch

    def timed(data):
        turns = turns_of(steps)
        model.fit(data, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[turns])
        return turns.seconds[0]

    timed(feed())  # compiles
    seconds = np.median([(timed(feed()), timed(Held())) for _ in range(3)], axis=0)
    found = {name: round(1000 * x / steps, 2) for name, x in zip(("step_ms", "held_step_ms"), seconds, strict=True)}
    share = round(float(1 - seconds[1] / seconds[0]), 3)
    return found | {"make_ms": round(1000 * make / steps, 3), "waiting": share, "feed": type(feed()).__name__}


# Writing ---------------------------------------------------------------------------------------


def decoding_gpt2(section):
    decoding(section, "ours, GPT-2 124M", "gpt2", section.size(GPT2, {**TINY, "vocabulary_size": 300}))


def decoding_smollm2(section):
    decoding(section, "ours, SmolLM2-135M", "smollm2-135m", section.size({"context_length": 1024}, TINY_SMOLLM2))


def decoding(section, label, name, sizes):
    """Tokens a second of greedy writing in bfloat16, from random weights."""
    import keras

    from kerasllm.generation import generate
    from kerasllm.models import GPT, preset

    keras.config.set_dtype_policy("bfloat16")
    model = GPT(preset(name, **sizes))
    written(section, label, model.vocabulary_size, lambda prompts, new: generate(model, prompts, new, stop_tokens=[]))


def decoding_kerashub(section):
    import keras
    import keras_hub

    keras.config.set_dtype_policy("bfloat16")
    sizes = section.size(GPT2, {**TINY, "vocabulary_size": 300})
    model = keras_hub.models.GPT2CausalLM(backbone=kerashub_backbone(sizes), preprocessor=None)
    model.compile(sampler="greedy")

    def write(prompts, new):
        ids = np.pad(prompts, ((0, 0), (0, new))).astype("int32")
        mask = np.broadcast_to(np.arange(ids.shape[1]) < prompts.shape[1], ids.shape).astype("int32")
        return model.generate({"token_ids": ids, "padding_mask": mask}, stop_token_ids=None)["token_ids"]

    written(section, "KerasHub, GPT-2 124M", sizes["vocabulary_size"], write)


def written(section, label, vocabulary, write):
    """Time a function of prompts (batch, time) and a number of new tokens that gives all ids of each text."""
    prompt, new = section.size((32, 128), (4, 8))
    for batch in (1, 64):
        prompts = np.random.default_rng(batch).integers(1, vocabulary, (batch, prompt))
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            lengths = {len(text) for text in write(prompts, new)}
            seconds.append(time.perf_counter() - start)
        if lengths != {prompt + new}:
            raise RuntimeError(f"Texts of {lengths} ids were written, not of {prompt + new}.")
        found = {"batch": batch, "tokens_per_second": round(batch * new / min(seconds[1:]))}
        found |= {"first_call_seconds": round(seconds[0], 1), "peak_gb": peak_gb()}
        section.write("writing", f"{label}, batch {batch}", found)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--results", required=True)
    parser.add_argument("--text")
    parser.add_argument("--reference")
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    globals()[options.name.replace(".", "_").replace("-", "_")](Section(options))


if __name__ == "__main__":
    main()
