"""Encoding a corpus into a token file: does memory stay flat, and how fast is it?

Synthetic text is made line by line (it is never in memory as a whole) and written with
`kerasllm.batches.write_tokens`. Every row of the table is a process of its own, so that peaks do not mix.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def lines(megabytes: float, seed: int = 0) -> Iterator[str]:
    """English-like text: 50,000 invented words, a few of them frequent (Zipf), 100 in a line."""
    random = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(random.choice(letters, 1 + random.poisson(4))) for _ in range(50_000)]
    left = int(megabytes * 1e6)
    while left > 0:
        line = " ".join([words[rank % len(words)] for rank in random.zipf(1.3, 100).tolist()]) + "\n"
        left -= len(line)
        yield line


def measure(kind: str, megabytes: float) -> dict:
    """One run in this process."""
    import psutil

    from kerasllm import text
    from kerasllm.batches import write_tokens

    sample = list(lines(1))
    tokenizer = text.train_characters(sample) if kind == "characters" else text.train_bpe(sample, 4_000)
    before = psutil.Process().memory_info().rss
    with tempfile.TemporaryDirectory() as folder:
        start, processor = time.perf_counter(), time.process_time()
        tokens = write_tokens(lines(megabytes, seed=1), tokenizer, Path(folder) / "corpus.tokens")
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        result = {
            "tokenizer": kind,
            "megabytes": megabytes,
            "tokens": len(tokens),
            "file_mb": tokens.nbytes / 1e6,
            "seconds": seconds,
            "processor_seconds": processor,
            "before_mb": before / 1e6,
            "peak_mb": peak() / 1e6,
        }
    return result


def peak() -> float:
    """The largest resident memory of this process in bytes."""
    if os.name == "nt":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1, 10], help="sizes of the text")
    parser.add_argument("--tokenizers", nargs="+", choices=["characters", "bpe"], default=["characters", "bpe"])
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of the table")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], float(arguments.one[1]))))
        return
    if not arguments.json:
        print("| tokenizer | text, MB | ids, million | file, MB | seconds | processor s | before, MB | peak, MB |")
        print("|---|---|---|---|---|---|---|---|")
    for kind in arguments.tokenizers:
        for megabytes in arguments.megabytes:
            command = [sys.executable, __file__, "--one", kind, str(megabytes)]
            row = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
            if arguments.json:
                print(json.dumps(row), flush=True)
                continue
            print(
                f"| {kind} | {megabytes:,.0f} | {row['tokens'] / 1e6:,.1f} | {row['file_mb']:,.0f} "
                f"| {row['seconds']:,.1f} | {row['processor_seconds']:,.1f} "
                f"| {row['before_mb']:,.0f} | {row['peak_mb']:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
