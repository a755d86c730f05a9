"""One command on one GPU: is what the device computes right, how fast does it train and write, how much memory.

    python benchmarks/accelerator.py --text shakespeare.txt --table ~/table.md
    python benchmarks/accelerator.py --text shakespeare.txt --only training decoding.gpt2
    python benchmarks/accelerator.py --text shakespeare.txt --smoke       # tiny sizes, on a CPU

It needs this repository, Keras and JAX (or PyTorch with KERAS_BACKEND=torch; pytest for the section battery), no
TensorFlow and no network. Each section runs in a process of its own with a limit of seconds, so that frameworks do not
share the device's memory and a section that fails leaves the others standing: its error is in the results, with what
it had measured. All together end within ``--seconds``. The last line on stdout is one JSON object; ``--table`` names a
file for the tables.

The text is for the sections feeds and training: nanoGPT's is tiny Shakespeare, which comes with nanoGPT and char-rnn.
``--make-reference FILE`` computes the battery's outputs on this machine's CPU, ``--reference FILE`` compares with them;
without either a process of its own computes them first.

A folder for JAX's compilations, ``JAX_COMPILATION_CACHE_DIR``, spares a second run the compiling.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
SECTIONS = {  # and the seconds that each may take
    "card": 40,
    "battery": 90,
    "training.classic": 110,
    "training.modern": 110,
    "training.kerashub": 60,
    "training.torch": 90,
    "feeds": 90,
    "large.gpt2": 60,
    "large.torch": 90,
    "large.smollm2": 60,
    "decoding.gpt2": 60,
    "decoding.smollm2": 60,
    "decoding.kerashub": 60,
    "training.fast": 90,
    "large.fast": 60,
}
ON_CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
SMOKE = {"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"}


def child(arguments, limit, more=None):
    """Run one section in a process of its own: its results so far, and an error if it did not end well."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "results.json"
        command = [sys.executable, str(HERE / "accelerator_sections.py"), *arguments, "--results", str(found)]
        paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
        environment = {"KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ
        environment |= {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"} | (more or {})
        start, error = time.perf_counter(), None
        try:
            run = subprocess.run(command, env=environment, timeout=limit, stderr=subprocess.PIPE, text=True)
            if run.returncode:
                error = run.stderr[-1500:] or f"it ended with status {run.returncode}"
        except subprocess.TimeoutExpired:
            error = f"it took longer than its limit of {limit:.0f} s"
        results = json.loads(found.read_text()) if found.exists() else {}
        results["seconds_in_all"] = round(time.perf_counter() - start, 1)
        return results | ({"error": error} if error else {})


def chosen(names):
    """The sections of these names; "training" stands for all that begin with it."""
    unknown = [name for name in names if not any(name in (section, section.split(".")[0]) for section in SECTIONS)]
    if unknown:
        sys.exit(f"There is no section {unknown[0]!r}. There are {', '.join(SECTIONS)}.")
    return [section for section in SECTIONS if not names or {section, section.split(".")[0]} & set(names)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="a text file: for the sections feeds and training")
    parser.add_argument("--reference", help="what --make-reference wrote")
    parser.add_argument("--make-reference", metavar="FILE", help="write the battery's outputs on this CPU, and end")
    parser.add_argument("--only", nargs="+", default=[], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--seconds", type=int, default=460, help="for all sections; what finds no time left says so")
    parser.add_argument("--budget", type=int, default=60, help="seconds of training in training.classic and .modern")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--table", help="a file for the tables, in Markdown")
    options = parser.parse_args()
    if options.text and not Path(options.text).is_file():
        sys.exit(f"There is no file {options.text}. Give --text the path of a text file.")
    smoke, quick = ["--smoke"] * options.smoke, SMOKE if options.smoke else {}
    if options.make_reference:
        made = child(["make-reference", "--reference", options.make_reference, *smoke], 600, quick | ON_CPU)
        sys.exit(made.get("error", 0))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count() if options.smoke else 1) as pool:
        end = time.perf_counter() + options.seconds
        run = partial(measured, options, [*smoke, "--budget", str(options.budget)], quick, Path(folder), end)
        sections = chosen(options.only)
        results = {"smoke": options.smoke} | dict(zip(sections, pool.map(run, sections), strict=True))
    if options.table:
        Path(options.table).write_text(tables(results), encoding="utf-8")
    print(json.dumps(results), flush=True)


def measured(options, given, more, folder, end, section):
    """The results of a section, printed."""
    left = end - time.perf_counter()
    # At tiny sizes speed does not count: sections run side by side, on a machine that may have other work.
    limit = 600 if options.smoke else min(SECTIONS[section], left)
    if limit < 5:
        return {"error": f"no time was left of {options.seconds} s: give --seconds or --only"}
    reference = options.reference
    if section == "battery" and not reference:
        reference = str(folder / "reference.npz")
        child(["make-reference", "--reference", reference, *given], limit, more | ON_CPU)
    given = [*given, *(["--text", options.text] if options.text else [])]
    found = child([section, *given, *(["--reference", reference] if reference else [])], limit, more)
    print(f"== {section} {json.dumps(found)}", flush=True)
    return found


# The tables ------------------------------------------------------------------------------------


def tables(results):
    """All results as tables in Markdown, one a group of sections; what failed is said below."""
    card = results.get("card", {})
    rate = card.get("matrix_tflops")
    parts = [f"{card.get('device', 'A device')}: {rate} TFLOP/s in a product of bfloat16 matrices.\n"] if rate else []
    parts += [_battery(results.get("battery", {})), _feeds(results.get("feeds", {})), _training(results, rate)]
    parts += [_decoding(results)]
    errors = {name: found["error"] for name, found in results.items() if isinstance(found, dict) and "error" in found}
    failed = [f"- {name}: {error.strip().splitlines()[-1]}" for name, error in errors.items()]
    parts += ["What did not end well:\n\n" + "\n".join(failed) + "\n"] if failed else []
    return "\n".join(part for part in parts if part)


def _table(head, rows):
    if not rows:
        return ""
    line = "|" + "---|" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", line, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)]) + "\n"


def _cell(value):
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def _battery(found):
    rows = [
        (name, row["cases"], f"{row['median']:.1e}", f"{row['largest']:.1e}", row["where"])
        for name, row in found.get("precisions", {}).items()
    ]
    return _table(["computed in", "cases", "error, median", "largest", "where"], rows)


def _feeds(found):
    rows = [
        (name, row["make_ms"], row["step_ms"], row["held_step_ms"], f"{row['waiting']:.0%}")
        for name, row in found.get("feeds", {}).items()
    ]
    return _table(["feed", "ms to make a batch", "ms a step", "with a batch that is held", "spent waiting"], rows)


def _training(results, rate):
    rows = []
    for section in SECTIONS:
        for name, row in results.get(section, {}).get("runs", {}).items():
            share = row.get("tflops") and rate and f"{row['tflops'] / rate:.0%}"
            losses = row.get("best_loss"), row.get("seconds_to_1.4697")
            rows.append((name, row.get("step_ms"), row.get("tokens_per_second"), share, row.get("peak_gb"), *losses))
    head = ["training", "ms a step", "tokens/s", "share of the card's rate", "GB at most", "best loss"]
    return _table([*head, "seconds to 1.4697"], rows)


def _decoding(results):
    rows = [
        (name, row["batch"], row["tokens_per_second"], row["first_call_seconds"], row.get("peak_gb"))
        for section in SECTIONS
        for name, row in results.get(section, {}).get("writing", {}).items()
    ]
    return _table(["writing", "batch", "tokens/s", "first call, s", "GB at most"], rows)


if __name__ == "__main__":
    main()
