"""Make the notebooks of the course from their sources: execute, normalise, collect the claims.

    python tools/build_lessons.py                      every lesson in full, into build/lessons/
    python tools/build_lessons.py --only 01,03         some of them
    python tools/build_lessons.py --scale smoke        seconds instead of minutes, into build/smoke/
    python tools/build_lessons.py --out lessons        renew the committed notebooks
    python tools/build_lessons.py --stale --out lessons   renew those whose lesson or library code changed
    python tools/build_lessons.py --changed            those, and a quarter of the others: what CI builds in full
    python tools/build_lessons.py --stale --list       say which those are, and why
    python tools/build_lessons.py --readme             renew README.md's figure and table, and lessons/glossary.md
    python tools/build_lessons.py --count              words, sentences and code in sight of every lesson

A lesson that fails leaves the last good notebook untouched, and the others still run.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from lesson_tools.counting import table
from lesson_tools.execution import execute
from lesson_tools.glossary import GLOSSARY, glossary
from lesson_tools.places import LESSONS, MAX_BYTES, MAX_MIB, MAX_SECONDS, ROOT, LessonError
from lesson_tools.publishing import normalise
from lesson_tools.readme import FIGURE, README, readme_figure, renewed_readme
from lesson_tools.sources import Lesson, lessons, solved_notebook, student_notebook
from lesson_tools.staleness import code_sha256, stale_reason
from nbformat import NotebookNode
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kerasllm.common import write_whole
from kerasllm.course import SCALES

REPORT = ROOT / "build" / "lessons" / "report.json"
FAILED = ROOT / "build" / "failed"


def build(lesson: Lesson, out: Path, scale: str, on_cell: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Build the notebooks of one source.

    Returns:
        The entry of the report: name, seconds, peak_mib, claims.

    Raises:
        LessonError: if the lesson fails; nothing in `out` is changed then.
    """
    source = lesson.notebook()
    book = solved_notebook(source) if lesson.is_exercise else source
    started = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as empty:  # a lesson reads nothing beside itself
            peak = execute(book, Path(empty), scale, on_cell)
        seconds = time.perf_counter() - started
        claims = normalise(book, lesson.label)
        text = _finished(book, lesson, claims, seconds)
        if len(text.encode()) > MAX_BYTES:
            raise LessonError(f"The notebook has {len(text.encode()):,} bytes; the limit is {MAX_BYTES:,}.")
    except LessonError as error:
        draft = FAILED / f"{lesson.source.parent.name}-{lesson.name}.ipynb"
        write_file(draft, nbformat.writes(book))
        raise LessonError(f"{lesson.label}, {error}\n\nAs far as it ran: {os.path.relpath(draft)}") from None
    if lesson.is_exercise:
        student = student_notebook(source)
        normalise(student, lesson.label)
        write_file(out / "exercises" / f"{lesson.name}.ipynb", _finished(student, lesson, None, None))
        write_file(out / "solutions" / f"{lesson.name}.ipynb", text)
    else:
        write_file(out / f"{lesson.name}.ipynb", text)
    return {"name": lesson.name, "seconds": round(seconds, 1), "peak_mib": round(peak), "claims": claims}


def write_file(path: Path, text: str) -> None:
    """Replace a file as a whole, or leave it as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as unfinished:
        unfinished.write_text(text, "utf-8", newline="\n")


def _finished(book: NotebookNode, lesson: Lesson, claims: list | None, seconds: float | None) -> str:
    code = code_sha256(lesson.text())
    book.metadata["kerasllm"] = {"source_sha256": lesson.sha256(), "code_sha256": code}
    if not lesson.is_exercise:
        # Half minutes, rounded up: coarse, so that two builds rarely differ.
        minutes = max(0.5, math.ceil(seconds / 30) / 2)
        book.metadata["kerasllm"].update(claims=claims, minutes=minutes)
    nbformat.validate(book)
    return nbformat.writes(book) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="comma-separated lessons, such as 01,03")
    parser.add_argument("--scale", choices=SCALES, default=os.environ.get("KERASLLM_SCALE") or "cpu")
    parser.add_argument("--out", type=Path, help="where the notebooks go")
    parser.add_argument("--stale", action="store_true", help="only lessons whose committed notebook is out of date")
    parser.add_argument("--changed", action="store_true", help="as --stale, and a quarter of the others, by turns")
    parser.add_argument("--minutes", type=float, help="no more than fit into so many, as the notebooks have them")
    parser.add_argument("--list", action="store_true", help="say what would be built, and why; build nothing")
    parser.add_argument("--count", action="store_true", help="words, sentences, code in sight; build nothing")
    parser.add_argument("--readme", action="store_true", help="renew README.md's figure and table, and the glossary")
    options = parser.parse_args(arguments)
    with contextlib.suppress(AttributeError):  # a terminal that lacks a tick shows a question mark
        sys.stdout.reconfigure(errors="replace")
    if options.readme:
        write_file(README, renewed_readme(README.read_text("utf-8")))
        FIGURE.write_bytes(readme_figure()[1])
        write_file(GLOSSARY, glossary(lessons(exercises=False)))
        return 0
    if options.count:
        print(table(lessons(options.only, exercises=False)))
        return 0
    out = (options.out or ROOT / "build" / ("lessons" if options.scale == "cpu" else options.scale)).resolve()
    if out == LESSONS and options.scale != "cpu":
        parser.error(f"The committed notebooks are made at cpu scale, not {options.scale}.")
    chosen = [(lesson, stale_reason(lesson)) for lesson in lessons(options.only)]
    if options.changed:
        chosen = [(lesson, reason or its_turn(lesson)) for lesson, reason in chosen]
    if options.stale or options.changed:
        chosen = [(lesson, reason) for lesson, reason in chosen if reason]
    if options.minutes is not None:
        chosen, waiting = within(chosen, options.minutes)
        if waiting:
            print(f"Over {options.minutes:g} minutes, and left for another day: {', '.join(waiting)}.")
    if options.stale or options.changed or options.list:
        for lesson, reason in chosen:
            print(f"{lesson.label}: {reason or 'its notebook is fresh'}")
    if options.list or not chosen:
        print(f"{len(chosen)} notebooks to build.")
        return 0
    return build_all([lesson for lesson, _ in chosen], out, options.scale)


def within(chosen: list[tuple[Lesson, str | None]], minutes: float) -> tuple[list, list[str]]:
    """The lessons that fit into some minutes, by what their notebooks say, and the labels of the others.

    Those whose turn it is go first, so that none waits for ever; then the shortest, so that many are built.
    """

    def cost(lesson: Lesson) -> float:
        path = LESSONS / f"{lesson.name}.ipynb"
        known = path.exists() and not lesson.is_exercise
        return nbformat.read(path, as_version=4).metadata["kerasllm"].get("minutes", 0.5) if known else 0.5

    left, fits = minutes, []
    for lesson, _ in sorted(chosen, key=lambda one: (its_turn(one[0]) is None, cost(one[0]))):
        if cost(lesson) <= left:
            left -= cost(lesson)
            fits.append(lesson.label)
    inside = [(lesson, reason) for lesson, reason in chosen if lesson.label in fits]
    return inside, [lesson.label for lesson, _ in chosen if lesson.label not in fits]


def its_turn(lesson: Lesson, day: int | None = None) -> str | None:
    """Why a lesson is built that did not change: each has its turn every fourth day; data and packages change too."""
    day = datetime.date.today().toordinal() if day is None else day
    order = sorted({one.name for one in lessons()})
    return "it is its turn" if order.index(lesson.name) % 4 == day % 4 else None


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
    write_file(REPORT, json.dumps({"scale": scale, "lessons": entries}, indent=1, ensure_ascii=False) + "\n")
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
