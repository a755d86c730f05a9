"""Make the notebooks of the course from their sources: execute, normalise, collect the claims.

    python tools/build_lessons.py                      every lesson in full, into build/lessons/
    python tools/build_lessons.py --only 01,03         some of them
    python tools/build_lessons.py --scale smoke        seconds instead of minutes, into build/smoke/
    python tools/build_lessons.py --out lessons        renew the committed notebooks
    python tools/build_lessons.py --readme             renew the figure and the table of lessons in README.md

A lesson that fails leaves the last good notebook untouched, and the others still run.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import io
import json
import math
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import psutil
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert.preprocessors import ExecutePreprocessor
from nbformat import NotebookNode
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kerasllm.course import CLAIM_MIME, SCALES

ROOT = Path(__file__).resolve().parents[1]
LESSONS = ROOT / "lessons"
SOURCES = LESSONS / "src"
REPORT = ROOT / "build" / "lessons" / "report.json"
FAILED = ROOT / "build" / "failed"
KERNEL_LOG = ROOT / "build" / "kernel.log"

CELL_TIMEOUT = 900  # seconds; a cell that takes longer hangs
MAX_SECONDS, MAX_MIB = 180, 4096  # what a lesson may take at cpu scale
MAX_BYTES = 1_500_000  # size of a notebook

# TensorFlow's C++ side writes these whatever its log level; they say nothing about the lesson.
PLATFORM_NOISE = re.compile(
    r"^(WARNING: All log messages before absl::InitializeLog"
    r"|[IWE]0000 00:00:\d|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    r"|[IWE]\d{4} \d\d:\d\d:\d\d"
    r"|To enable the following instructions: |\s*$)"
)
# A lesson that compares many small models compiles many; TensorFlow's hint goes to either stream.
RETRACING = re.compile(r"^WARNING:tensorflow:\d+ out of the last \d+ calls to .* triggered tf\.function retracing")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root|tmp|private|var/folders|opt|usr|mnt|work|workspace)/\S+")
OBJECT_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION$", re.M | re.S)


class LessonError(Exception):
    """A lesson cannot be published; the message says which cell and why."""


@dataclass
class Lesson:
    """A source in percent format and the notebooks that are made from it."""

    source: Path

    @property
    def name(self) -> str:
        return self.source.stem

    @property
    def is_exercise(self) -> bool:
        return self.source.parent.name == "exercises"

    @property
    def label(self) -> str:
        return f"{self.name} (exercises)" if self.is_exercise else self.name

    def sha256(self) -> str:
        return hashlib.sha256(self.source.read_text("utf-8").encode()).hexdigest()

    def notebook(self) -> NotebookNode:
        """The source as a notebook without outputs."""
        return jupytext.reads(self.source.read_text("utf-8"), fmt="py:percent")


def lessons(only: str = "", exercises: bool = True) -> list[Lesson]:
    """The lessons in order, each followed by its exercises.

    Args:
        only: comma-separated numbers or names ("01,03"); all when empty.
        exercises: whether to list the exercises too.

    Raises:
        SystemExit: if a name in `only` fits no lesson.
    """
    found = [Lesson(path) for path in sorted(SOURCES.glob("[0-9][0-9]_*.py"))]
    wanted = [part.strip() for part in only.split(",") if part.strip()]
    for part in wanted:
        if not any(_fits(lesson.name, part) for lesson in found):
            raise SystemExit(f"No lesson {part!r}. There are: {', '.join(lesson.name for lesson in found)}.")
    result = []
    for lesson in found:
        if wanted and not any(_fits(lesson.name, part) for part in wanted):
            continue
        result.append(lesson)
        extra = SOURCES / "exercises" / lesson.source.name
        if exercises and extra.exists():
            result.append(Lesson(extra))
    return result


def _fits(name: str, part: str) -> bool:
    return name == part or name.split("_")[0] == part.zfill(2)


# Three notebooks from one exercise source ---------------------------------------------------


def has_tag(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def student_notebook(source: NotebookNode) -> NotebookNode:
    """The exercises as a reader gets them: stubs in place of solutions, no planted wrong answers."""
    book = solved_notebook(source)
    begun = False
    for cell in book.cells:
        if has_tag(cell, "answer"):
            cell.source = stub(cell.source)
            begun = True
        elif begun and cell.cell_type == "code":
            # "Run all" goes on past an exercise that is not written yet.
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "raises-exception"]
    return book


def solved_notebook(source: NotebookNode) -> NotebookNode:
    """The exercises with their solutions, marked for teachers who use nbgrader."""
    book = nbformat.from_dict(json.loads(json.dumps(source)))
    book.cells = [cell for cell in book.cells if not has_tag(cell, "wrong")]
    number = 0
    for cell in book.cells:
        if has_tag(cell, "answer"):
            number += 1
            cell.metadata["nbgrader"] = _nbgrader(f"exercise-{number}", solution=True)
        elif has_tag(cell, "check"):
            cell.metadata["nbgrader"] = {**_nbgrader(f"check-{number}", solution=False), "points": 1}
    return book


def stub(source: str) -> str:
    """An answer cell with its solution taken out."""
    return SOLUTION.sub(lambda match: f"{match[1]}# Your code here.\n{match[1]}raise NotImplementedError", source)


def _nbgrader(grade_id: str, solution: bool) -> dict[str, Any]:
    return {
        "grade": not solution,
        "grade_id": grade_id,
        "locked": not solution,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }


# Execution ----------------------------------------------------------------------------------


class Runner(ExecutePreprocessor):
    """nbconvert's executor, with a kernel whose surroundings we choose.

    Args:
        scale: the scale the kernel sees.
        **kwargs: traits of `ExecutePreprocessor`.
    """

    def __init__(self, scale: str, **kwargs: Any):
        super().__init__(timeout=CELL_TIMEOUT, kernel_name="python3", record_timing=False, **kwargs)
        self.environment = {
            "KERAS_BACKEND": "tensorflow",
            **os.environ,
            "KERASLLM_SCALE": scale,
            "KERASLLM_PROGRESS": "0",
            "PYTHONHASHSEED": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        # Under pytest a kernel would not show what libraries write to stderr below Python.
        self.environment.pop("PYTEST_CURRENT_TEST", None)

    def start_new_kernel(self, **kwargs: Any) -> None:
        # The kernel's own log lines belong in a file, not between ours.
        KERNEL_LOG.parent.mkdir(parents=True, exist_ok=True)
        with KERNEL_LOG.open("w") as log:
            super().start_new_kernel(env=self.environment, stderr=log, **kwargs)


class PeakMemory(threading.Thread):
    """The largest resident memory of a process and its children, sampled five times a second."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.process = psutil.Process(pid)
        self.peak = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(psutil.Error):
                family = [self.process, *self.process.children(recursive=True)]
                self.peak = max(self.peak, sum(one.memory_info().rss for one in family))
            self._done.wait(0.2)

    def stop(self) -> float:
        """End the sampling; returns MiB."""
        self._done.set()
        return self.peak / 2**20


def execute(book: NotebookNode, folder: Path, scale: str, on_cell: Callable[[int], None] | None = None) -> float:
    """Run a notebook in place in a fresh kernel.

    Args:
        book: the notebook; its cells receive their outputs.
        folder: working directory of the kernel.
        scale: one of `kerasllm.course.SCALES`.
        on_cell: called with the number of cells begun so far.

    Returns:
        Peak memory in MiB.

    Raises:
        LessonError: if a cell raises, hangs, or the kernel dies.
    """
    begun: list[int] = []
    watch: list[PeakMemory] = []

    def start(**_: Any) -> None:
        watch.append(PeakMemory(runner.km.provisioner.pid))
        watch[0].start()

    def cell_start(cell: NotebookNode, cell_index: int) -> None:
        begun.append(cell_index)
        if on_cell:
            on_cell(len(begun))

    runner = Runner(scale, on_notebook_start=start, on_cell_execute=cell_start)
    try:
        runner.preprocess(book, {"metadata": {"path": str(folder)}})
    except CellExecutionError as error:
        raise LessonError(_cell_report(book, begun[-1], error.traceback)) from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise LessonError(_cell_report(book, begun[-1] if begun else 0, str(error))) from None
    finally:
        peak = watch[0].stop() if watch else 0.0
    return peak


def _cell_report(book: NotebookNode, index: int, reason: str) -> str:
    cell = book.cells[index]
    number = sum(one.cell_type == "code" for one in book.cells[: index + 1])
    source = "\n".join(f"    {line}" for line in cell.source.splitlines())
    plain = re.sub(r"\x1b\[[0-9;]*m", "", reason).strip()
    return f"code cell {number}:\n{source}\n\n{plain}"


# Normalisation ------------------------------------------------------------------------------


def normalise(book: NotebookNode, name: str) -> list[dict[str, Any]]:
    """Make an executed notebook reproducible and fit to publish, in place.

    Returns:
        The claims found in it.

    Raises:
        LessonError: for output on stderr, a path of this machine, an object's address, or a
            picture without a description.
    """
    claims: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    number = 0
    for cell in book.cells:
        digest = hashlib.sha256(f"{name}\n{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        counts[digest] = counts.get(digest, -1) + 1
        cell["id"] = digest + (f"-{counts[digest]}" if counts[digest] else "")
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in ("tags", "nbgrader") if key in cell.metadata})
        if cell.cell_type != "code":
            continue
        number += 1
        cell.execution_count = number if cell.get("execution_count") else None
        cell.outputs = _joined(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
            if output.output_type in ("display_data", "execute_result"):
                if CLAIM_MIME in output.data:
                    claims.append(dict(output.data.pop(CLAIM_MIME)))
                _finish_picture(output, number)
        refuse_leaks(cell, number)
    book.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    )
    book.nbformat, book.nbformat_minor = 4, 5
    return claims


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream become one; start-up noise of the platform goes."""
    result: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            kept = [line for line in output.text.splitlines(keepends=True) if not RETRACING.match(line)]
            if output.name == "stderr":
                kept = [line for line in kept if not PLATFORM_NOISE.match(line)]
            if not kept:
                continue
            output.text = "".join(kept)
        last = result[-1] if result else None
        if last and last.output_type == output.output_type == "stream" and last.name == output.name:
            last.text += output.text
        else:
            result.append(output)
    return result


def _finish_picture(output: NotebookNode, number: int) -> None:
    if "image/png" not in output.data:
        output.metadata = NotebookNode()
        return
    alt = output.metadata.get("image/png", {}).get("alt")
    if not alt:
        raise LessonError(
            f"code cell {number}: a picture has no description. Use kerasllm.course.figures.show(figure, alt)."
        )
    output.data["image/png"] = _compressed(output.data["image/png"])
    output.metadata = NotebookNode({"image/png": NotebookNode(alt=alt)})


def _compressed(png: str) -> str:
    """A PNG of at most 256 colours, in base64: half the size, and the eye sees no difference."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def refuse_leaks(cell: NotebookNode, number: int) -> None:
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            raise LessonError(f"code cell {number} writes to stderr; a warning is a defect:\n{output.text.rstrip()}")
        if output.output_type == "error":
            raise LessonError(f"code cell {number} holds an error: {output.ename}: {output.evalue}")
        texts = (
            [output.text]
            if "text" in output
            else [value for kind, value in output.data.items() if kind.startswith("text/")]
        )
        for text in texts:
            for what, pattern in (("a path of this machine", MACHINE_PATH), ("an object's address", OBJECT_ADDRESS)):
                if match := pattern.search(text):
                    raise LessonError(f"code cell {number} prints {what}: {match[0]}")
            for folder in (ROOT, Path.home()):
                if str(folder) in text:
                    raise LessonError(f"code cell {number} prints a path of this machine: {folder}")


def write_atomically(path: Path, text: str) -> None:
    """Replace a file as a whole, or leave it as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


# One lesson ---------------------------------------------------------------------------------


def build(lesson: Lesson, out: Path, scale: str, on_cell: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Build the notebooks of one source.

    Returns:
        The entry of the report: name, seconds, peak_mib, claims.

    Raises:
        LessonError: if the lesson fails; nothing in `out` is changed then.
    """
    source = lesson.notebook()
    book = solved_notebook(source) if lesson.is_exercise else source
    folder = LESSONS / "solutions" if lesson.is_exercise else LESSONS
    folder.mkdir(exist_ok=True)
    started = time.perf_counter()
    try:
        peak = execute(book, folder, scale, on_cell)
        seconds = time.perf_counter() - started
        claims = normalise(book, lesson.label)
        text = _finished(book, lesson, claims, seconds)
        if len(text.encode()) > MAX_BYTES:
            raise LessonError(f"The notebook has {len(text.encode()):,} bytes; the limit is {MAX_BYTES:,}.")
    except LessonError as error:
        draft = FAILED / f"{lesson.source.parent.name}-{lesson.name}.ipynb"
        write_atomically(draft, nbformat.writes(book))
        raise LessonError(f"{lesson.label}, {error}\n\nAs far as it ran: {os.path.relpath(draft)}") from None
    if lesson.is_exercise:
        student = student_notebook(source)
        normalise(student, lesson.label)
        write_atomically(out / "exercises" / f"{lesson.name}.ipynb", _finished(student, lesson, None, None))
        write_atomically(out / "solutions" / f"{lesson.name}.ipynb", text)
    else:
        write_atomically(out / f"{lesson.name}.ipynb", text)
    return {"name": lesson.name, "seconds": round(seconds, 1), "peak_mib": round(peak), "claims": claims}


def _finished(book: NotebookNode, lesson: Lesson, claims: list | None, seconds: float | None) -> str:
    book.metadata["kerasllm"] = {"source_sha256": lesson.sha256()}
    if not lesson.is_exercise:
        # Half minutes, rounded up: coarse, so that two builds rarely differ.
        minutes = max(0.5, math.ceil(seconds / 30) / 2)
        book.metadata["kerasllm"].update(claims=claims, minutes=minutes)
    nbformat.validate(book)
    return nbformat.writes(book) + "\n"


# The table of lessons in README.md -----------------------------------------------------------

README = ROOT / "README.md"
FIGURE = LESSONS / "figure.png"
MADE = re.compile(r"(<!-- (figure|lessons): made by `make readme` -->\n).*?(<!-- /\2 -->)", re.S)


def readme_figure() -> tuple[str, bytes]:
    """Description and PNG of the one picture in the lessons whose cell is tagged "readme"."""
    found = [
        (output.metadata["image/png"]["alt"], base64.b64decode(output.data["image/png"]))
        for lesson in lessons(exercises=False)
        for cell in nbformat.read(LESSONS / f"{lesson.name}.ipynb", as_version=4).cells
        if has_tag(cell, "readme")
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    if len(found) != 1:
        raise SystemExit(f'{len(found)} pictures stand in cells tagged "readme"; the README shows one.')
    return found[0]


def readme_table() -> str:
    """The table of lessons, from the records in the committed notebooks."""
    rows = ["| | Lesson | The question | What it shows, measured | Minutes |", "|---|---|---|---|---|"]
    for lesson in lessons(exercises=False):
        book = nbformat.read(LESSONS / f"{lesson.name}.ipynb", as_version=4)
        record = book.metadata.kerasllm
        head = book.cells[0].source
        number, title = re.match(r"# (\d\d) · (.+)", head).groups()
        question = next(part for part in head.split("\n\n")[1:] if "?" in part)
        question = " ".join(question.replace("*", "").split()).removeprefix("The question: ")
        question = question[0].upper() + question[1:]
        shown = "; ".join(_phrase(claim) for claim in record.claims if claim.get("headline"))
        minutes = f"{record.minutes:g}"
        rows.append(f"| {number} | [{title}](lessons/{lesson.name}.ipynb) | {question} | {shown} | {minutes} |")
    return "\n".join(rows)


def _phrase(claim: dict[str, Any]) -> str:
    return f"{claim['text']}: {claim['measured']:.4g} {claim['relation']} {claim['bound']:.4g}"


def renewed_readme(text: str) -> str:
    """The text of README.md with its figure and its table of lessons made anew."""
    parts = {"figure": f"![{readme_figure()[0]}](lessons/{FIGURE.name})", "lessons": readme_table()}
    missing = set(parts) - {match[2] for match in MADE.finditer(text)}
    if missing:
        raise SystemExit(f"README.md lacks the marks of: {', '.join(sorted(missing))}.")
    return MADE.sub(lambda match: f"{match[1]}{parts[match[2]]}\n{match[3]}", text)


# Command line -------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="comma-separated lessons, such as 01,03")
    parser.add_argument("--scale", choices=SCALES, default=os.environ.get("KERASLLM_SCALE") or "cpu")
    parser.add_argument("--out", type=Path, help="where the notebooks go")
    parser.add_argument("--readme", action="store_true", help="renew figure and table of README.md, do nothing else")
    options = parser.parse_args(arguments)
    if options.readme:
        write_atomically(README, renewed_readme(README.read_text("utf-8")))
        FIGURE.write_bytes(readme_figure()[1])
        return 0
    out = (options.out or ROOT / "build" / ("lessons" if options.scale == "cpu" else options.scale)).resolve()
    if out == LESSONS and options.scale != "cpu":
        parser.error(f"The committed notebooks are made at cpu scale, not {options.scale}.")
    return build_all(lessons(options.only), out, options.scale)


def build_all(chosen: list[Lesson], out: Path, scale: str) -> int:
    """Build one after the other with a progress bar, write the report; returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    entries, failures, claims = [], [], 0
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("cells"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        for lesson in chosen:
            total = sum(cell.cell_type == "code" for cell in lesson.notebook().cells)
            task = bar.add_task(lesson.label, total=total)
            try:
                entry = build(lesson, out, scale, lambda done, task=task: bar.update(task, completed=done - 1))
            except LessonError as error:
                failures.append(lesson.label)
                console.print(f"✗ {error}\n", markup=False, style="red")
                entry = {"name": lesson.name, "seconds": None, "peak_mib": None, "claims": [], "error": str(error)}
            else:
                claims += _announce(console, lesson, entry, scale)
            if not lesson.is_exercise:
                entries.append(entry)
            bar.remove_task(task)
    write_atomically(REPORT, json.dumps({"scale": scale, "lessons": entries}, indent=1, ensure_ascii=False) + "\n")
    console.print(f"{len(chosen) - len(failures)} notebooks built, {claims} claims, {len(failures)} failed.")
    if failures:
        console.print(f"Failed: {', '.join(failures)}", style="red")
    else:
        console.print(f"Open them in {os.path.relpath(out)}; the measurements are in {os.path.relpath(REPORT)}.")
    return 1 if failures else 0


def _announce(console: Console, lesson: Lesson, entry: dict[str, Any], scale: str) -> int:
    held = sum(claim["holds"] is True for claim in entry["claims"])
    line = f"✓ {lesson.label}: {entry['seconds']:.0f} s, {entry['peak_mib']} MiB"
    if not lesson.is_exercise:
        line += f", {held} of {len(entry['claims'])} claims hold" if scale != "smoke" else ", claims not judged"
    console.print(line, markup=False)
    if scale == "cpu" and (entry["seconds"] > MAX_SECONDS or entry["peak_mib"] > MAX_MIB):
        console.print(f"  over the limit of a lesson: {MAX_SECONDS} s and {MAX_MIB} MiB", style="yellow")
    return held


if __name__ == "__main__":
    sys.exit(main())
