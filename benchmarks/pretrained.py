"""SmolLM2-135M-Instruct on a CPU: ours in every kind of numbers beside KerasHub, transformers and llama.cpp.

    python benchmarks/pretrained.py                                  # the table of benchmarks/README.md
    python benchmarks/pretrained.py --only "FastGPT int4" --batch 1  # one row
    python benchmarks/pretrained.py --site FOLDER                    # a folder with transformers, torch and xllamacpp,
                                                                     # put there by: pip install --target FOLDER ...
    python benchmarks/pretrained.py --prompts                        # ten prompts, ours beside KerasHub

All have the same weights, those of the GGUF file: llama.cpp reads it, the others floats that were made of it. Each row
runs in processes of its own, in `--rounds` turns with the others, and the best turn counts: other work on the machine
only ever takes speed away. Greedy, 2 threads, no stop at the end of a turn:

    load       seconds until the model can be called, and how far the memory of the process rose meanwhile, files that
               are only looked at not counted; in ours the tokenizer's 18 MB are included
    first      seconds from the first call to the first token, compiling included; a prompt of 18 tokens
    prompt     tokens of a prompt of 256 that are read in a second, compiled already
    written    tokens written in a second by all rows together, 128 in each, compiled already; compare them with what
               the machine can read: a token needs all weights once
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NAME, FILE, NEW = "smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", 128
TEXT = "The history of the city begins with a small village on the bank of a river, where ferries crossed. "
PROMPTS = (
    *("The capital of France is", "Once upon a time", "To make a good cup of tea, you", "Water boils at"),
    *("The largest planet in our solar system", "def fibonacci(n):", "In 1969, the first", "My favourite book is"),
    *("The difference between a cat and a dog", "Question: What is 2 + 2? Answer:"),
)
ROWS = (
    ("GPT float32", "ours", "full"),
    ("GPT bfloat16", "ours", "half"),
    ("FastGPT float32", "ours", "float32"),
    ("FastGPT bfloat16", "ours", "bfloat16"),
    ("FastGPT int8", "ours", "int8"),
    ("FastGPT int4", "ours", "int4"),
    ("KerasHub float32, XLA", "kerashub", "float32"),
    ("transformers float32", "transformers", "float32"),
    ("transformers bfloat16", "transformers", "bfloat16"),
    ("llama.cpp, the file itself", "llamacpp", "Q4_1"),
)


class Peak:
    """How far the memory of this process rises, looked at every two milliseconds."""

    def __enter__(self):
        self.start = self.most = _resident()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self):
        while not self.ended.wait(0.002):
            self.most = max(self.most, _resident())

    def __exit__(self, *exception):
        self.ended.set()
        self.thread.join()
        self.rose = (max(self.most, _resident()) - self.start) / 1e6


def _resident():
    """Bytes of this process that are in memory, files that are only looked at not counted."""
    with open("/proc/self/status") as status:
        return sum(int(line.split()[1]) * 1024 for line in status if line.startswith(("RssAnon", "RssShmem")))


def prompt_of(tokenizer, length):
    return tokenizer.encode(TEXT * 20)[:length]


def ours(numbers, folder):
    from kerasllm.generation import Session
    from kerasllm.models import GPT, FastGPT, gpt_settings
    from kerasllm.weights import from_gguf
    from kerasllm.weights.gguf import read_gguf, tokenizer_of

    path = f"{folder}/{FILE}"
    with read_gguf(path) as file:
        tokenizer = tokenizer_of(file)
    dtype = "bfloat16" if numbers == "half" else None
    tiny = GPT(gpt_settings(vocabulary_size=32, num_layers=1, num_heads=1, embedding_dim=32), dtype=dtype)
    if numbers not in ("full", "half"):
        FastGPT.of(tiny, numbers)  # what the first model of a process takes beside its weights

    def load():
        model, _ = from_gguf(path, dtype=dtype, numbers=None if numbers in ("full", "half") else numbers)

        def write(ids, count):
            session = Session(model, rows=len(ids))
            session.read(ids)
            return [reply.ids for reply in session.write(count, stop_tokens=[])]

        return write

    return tokenizer, load


def kerashub(numbers, folder):
    import keras_hub
    import numpy as np

    from kerasllm.text import Tokenizer

    tokenizer = Tokenizer.load(folder)

    def load():
        # Its converter takes an epsilon of its own in place of the file's.
        backbone = keras_hub.models.LlamaBackbone.from_preset(folder, layer_norm_epsilon=1e-5)
        model = keras_hub.models.LlamaCausalLM(backbone=backbone, preprocessor=None)
        model.compile(sampler="greedy", jit_compile=True)

        def write(ids, count):
            length = len(ids[0])
            tokens = np.pad(np.array(ids, "int32"), [(0, 0), (0, count)])
            mask = np.broadcast_to(np.arange(length + count) < length, tokens.shape).astype("int32")
            written = model.generate({"token_ids": tokens, "padding_mask": mask}, stop_token_ids=None)["token_ids"]
            return np.asarray(written)[:, length:].tolist()

        return write

    return tokenizer, load


def transformers(numbers, folder):
    import torch
    from transformers import AutoModelForCausalLM

    from kerasllm.text import Tokenizer

    torch.set_num_threads(2)

    def load():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, numbers)).eval()

        @torch.inference_mode()
        def write(ids, count):
            ids = torch.tensor(ids)
            wanted = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False}
            return model.generate(ids, attention_mask=torch.ones_like(ids), **wanted)[:, ids.shape[1] :].tolist()

        return write

    return Tokenizer.load(folder), load


def llamacpp(numbers, folder):
    import xllamacpp

    from kerasllm.weights.gguf import read_gguf, tokenizer_of

    path = f"{folder}/{FILE}"
    with read_gguf(path) as file:
        tokenizer = tokenizer_of(file)

    def load():
        wanted = xllamacpp.CommonParams()
        wanted.model.path, wanted.n_ctx, wanted.n_parallel, wanted.warmup = path, 1024, 1, False
        wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = 2
        server = xllamacpp.Server(wanted)

        def write(ids, count):
            asked = {"prompt": ids[0], "n_predict": count, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
            found = server.handle_completions({**asked, "return_tokens": True})
            return [found.get("tokens") or tokenizer.encode(found["choices"][0]["text"])]

        return write

    return tokenizer, load


def timed(function):
    start = time.perf_counter()
    found = function()
    return time.perf_counter() - start, found


def row(kind, numbers, batch, folder):
    """One row in this process."""
    tokenizer, load = {"ours": ours, "kerashub": kerashub, "transformers": transformers, "llamacpp": llamacpp}[kind](
        numbers, folder
    )
    with Peak() as memory:
        seconds, write = timed(load)
    short, long = ([prompt_of(tokenizer, length)] * batch for length in (18, 256))
    found = {"load": seconds, "memory": memory.rose, "first": timed(lambda: write(short, 1))[0]}
    write(short, NEW + 1)
    many = min(timed(lambda: write(short, NEW + 1))[0] for _ in range(3))
    one = min(timed(lambda: write(short, 1))[0] for _ in range(3))
    write(long, 1)
    found["prompt"] = batch * 256 / min(timed(lambda: write(long, 1))[0] for _ in range(3))
    found["written"] = batch * NEW / (many - one)
    found["text"] = tokenizer.decode(write(short, 24)[0])
    return found


def compare(folder, count=24):
    """Print what KerasHub writes greedily behind each prompt, and whether ours is the same."""
    tokenizer, load_theirs = kerashub("float32", folder)
    _, load_floats = ours("full", folder)
    _, load_blocks = ours("int4", folder)
    theirs, floats, blocks = load_theirs(), load_floats(), load_blocks()
    for prompt in PROMPTS:
        ids = [tokenizer.encode(prompt)]
        wanted = theirs(ids, count)[0]
        same = {name: write(ids, count)[0] == wanted for name, write in (("GPT", floats), ("FastGPT", blocks))}
        print(f"{prompt!r}{tokenizer.decode(wanted)!r} {same}", flush=True)


def child(site, *arguments):
    command = [sys.executable, __file__, *(["--site", site] if site else []), "--row", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-400:], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def prepared(folder):
    """The file, and the same weights as a folder that KerasHub and transformers read."""
    from pathlib import Path

    from kerasllm.weights import from_gguf, to_hugging_face
    from kerasllm.weights.fetched import files_of

    with files_of(NAME) as files:
        Path(folder, FILE).write_bytes((files / FILE).read_bytes())
    model, tokenizer = from_gguf(f"{folder}/{FILE}")
    to_hugging_face(model, folder, tokenizer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="the name of a row; may be given again")
    parser.add_argument("--batch", type=int, action="append", choices=(1, 8), help="1, 8 or both (both)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--site", help="a folder with packages that are not installed")
    parser.add_argument("--prompts", action="store_true", help="compare what is written behind ten prompts")
    parser.add_argument("--row", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.site:
        sys.path.append(given.site)  # what is installed comes first
    if given.row:
        kind, numbers, batch, folder = given.row
        print(json.dumps(row(kind, numbers, int(batch), folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepared(folder)
        if given.prompts:
            compare(folder)
            return
        cases = [
            (name, batch, kind, numbers)
            for batch in given.batch or (1, 8)
            for name, kind, numbers in ROWS
            if (not given.only or name in given.only) and (kind != "llamacpp" or batch == 1)
        ]
        found = {case: [] for case in cases}
        for _ in range(given.rounds):
            for case in cases:
                _, batch, kind, numbers = case
                result = child(given.site, kind, numbers, batch, folder)
                found[case] += [result] if result else []
                print(case, result, file=sys.stderr, flush=True)
    show(found)


def show(found):
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    print(f"\nKeras on {backend}. Texts equal to those of the first row are marked =.\n")
    print("| | batch | load, s | memory, MB | first token, s | prompt, tokens/s | written, tokens/s | text |")
    print("|---|---|---|---|---|---|---|---|")
    text = None
    for (name, batch, *_), turns in found.items():
        if not turns:
            print(f"| {name} | {batch} | | | | | | did not run |")
            continue
        best = {key: min(turn[key] for turn in turns) for key in ("load", "memory", "first")}
        best |= {key: max(turn[key] for turn in turns) for key in ("prompt", "written")}
        text = text or turns[0]["text"]
        shown = f"{best['load']:.1f} | {best['memory']:.0f} | {best['first']:.1f}"
        shown += f" | {best['prompt']:.0f} | {best['written']:.1f}"
        print(f"| {name} | {batch} | {shown} | {'=' if turns[0]['text'] == text else 'other'} |")


if __name__ == "__main__":
    main()
