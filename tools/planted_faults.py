"""Plant small faults in the library, one at a time, and show which test finds each.

    python tools/planted_faults.py                 all faults, in minutes: each is a run of pytest
    python tools/planted_faults.py --only rope     those whose name begins so; several with commas
    python tools/planted_faults.py --list          the faults, and the tests that are to find them

A test that no fault can make fail proves nothing. So a matrix is transposed here, a mask is off by one, a seed is
forgotten: the faults of planted_faults.toml, each with the few tests that should see it. They are planted in a copy,
in a temporary folder. First all these tests run there without a fault, and must pass. A fault that survives asks for
a new test. The exit status is 1 if one survives, 2 if the list does not fit the code.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".toml")
COPIED = ("kerasllm", "tests", "tools", "datasets", "checkpoints", "pyproject.toml")
SECONDS = 300  # a fault may make a loop endless
# Each run of pytest is a process of its own. Where the system can fork, it begins with what takes longest imported.
PROCESSES = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else None
)
PRELOADED = ["tensorflow", "keras", "keras_hub", "pytest"]


class PlantingError(Exception):
    """The list does not fit the code, or the tests fail without a fault."""


@dataclass(frozen=True)
class Fault:
    """One small mistake; what its attributes are stands at the top of planted_faults.toml."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted_in(self, text: str) -> str:
        """The text of the file with the fault in it.

        Raises:
            PlantingError: if the place of the fault is not there exactly once.
        """
        found = text.count(self.old)
        if found != 1 or self.new == self.old:
            raise PlantingError(f"{self.name}: {self.old!r} stands {found} times in {self.file}: renew the list")
        return text.replace(self.old, self.new)


def faults(only: str = "") -> list[Fault]:
    """The faults of the list, or those whose name begins with one of some words."""
    known = [
        Fault(name, one["file"], one["old"], one["new"], tuple(f"tests/{test}" for test in one["tests"]))
        for name, one in tomllib.loads(LIST.read_text("utf-8")).items()
    ]
    chosen = [fault for fault in known if fault.name.startswith(tuple(only.split(",")))]
    if not chosen:
        raise PlantingError(f"no fault begins with {only}: --list names them")
    return chosen


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of what the tests need, for as long as the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder)
        yield Path(folder)


@contextmanager
def planted(fault: Fault, copy: Path) -> Iterator[None]:
    """The copy with the fault in it, for as long as the block runs."""
    path = copy / "kerasllm" / fault.file
    text = path.read_text("utf-8")
    path.write_text(fault.planted_in(text), "utf-8")
    try:
        yield
    finally:
        path.write_text(text, "utf-8")


class FirstFailure:
    """A plugin of pytest that keeps the name of the first test that failed."""

    name: str | None = None

    def pytest_runtest_logreport(self, report):
        if report.failed and self.name is None:
            self.name = report.nodeid.partition("::")[2]


def _run_pytest(tests: Sequence[str], copy: Path, answer) -> None:
    """What happens in the other process: the tests of the copy see its kerasllm, and so do processes they start."""
    import pytest

    with open(copy / "output.txt", "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = sys.path[0] = str(copy)
    # No compiled code is kept: a fault that is as long as what it replaces would not be seen.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    first = FirstFailure()
    status = int(pytest.main(["-q", "-x", "--tb=short", "-p", "no:cacheprovider", *tests], plugins=[first]))
    answer.send((status, first.name))


def first_failure(tests: Sequence[str], copy: Path, seconds: float = SECONDS) -> str | None:
    """The name of the first of these tests that fails in the copy; None if all pass.

    Raises:
        PlantingError: if pytest could not run them, as when one of them is not there.
    """
    answer, ours = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_run_pytest, args=(tests, copy, ours))
    process.start()
    ours.close()
    try:
        status, name = answer.recv() if answer.poll(seconds) else (1, f"no end after {seconds:.0f} s")
    except EOFError:
        status, name = 1, "the process ended"
    process.kill()
    process.join()
    if status == 0:
        return None
    if status != 1 or not name:
        output = (copy / "output.txt").read_text("utf-8", errors="replace")
        raise PlantingError(f"pytest could not run {' '.join(tests)}:\n{output[-3000:]}")
    return name


def plant_all(chosen: Sequence[Fault]) -> list[Fault]:
    """Plant one fault after the other and print a line for each; returns those that survive."""
    survivors = []
    width = max(len(fault.name) for fault in chosen)
    place = max(len(fault.file) for fault in chosen)
    if PROCESSES.get_start_method() == "forkserver":
        PROCESSES.set_forkserver_preload(PRELOADED)
    with copied() as copy:
        for fault in chosen:  # before the first run, which takes a while
            fault.planted_in((copy / "kerasllm" / fault.file).read_text("utf-8"))
        tests = list(dict.fromkeys(test for fault in chosen for test in fault.tests))
        failed = first_failure(tests, copy, 10 * SECONDS)
        if failed:
            raise PlantingError(f"without a fault {failed} fails already: mend that first")
        print(f"{'fault':<{width}}  {'file':<{place}}  seconds  found by")
        for fault in chosen:
            start = time.monotonic()
            with planted(fault, copy):
                found = first_failure(fault.tests, copy)
            if found is None:
                survivors.append(fault)
            seconds = time.monotonic() - start
            print(f"{fault.name:<{width}}  {fault.file:<{place}}  {seconds:>7.0f}  {found or 'SURVIVED'}", flush=True)
    return survivors


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="how names of faults begin, with commas between them")
    parser.add_argument("--list", action="store_true", help="name the faults; plant none")
    options = parser.parse_args(arguments)
    try:
        chosen = faults(options.only)
        if options.list:
            for fault in chosen:
                print(f"{fault.name}  {fault.file}\n  - {fault.old}\n  + {fault.new}\n    {' '.join(fault.tests)}")
            return 0
        start = time.monotonic()
        survivors = plant_all(chosen)
    except PlantingError as error:
        print(error, file=sys.stderr)
        return 2
    minutes = (time.monotonic() - start) / 60
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} faults were found, in {minutes:.1f} minutes.")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
