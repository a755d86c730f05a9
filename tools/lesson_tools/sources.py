"""The sources of the lessons, and the notebooks that are made from them before anything runs."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from lesson_tools.places import SOURCES

# The answers of an exercise that its check is tried with; they stand in no notebook.
PLANTED = ("right", "wrong")
PLANTED_CELL = re.compile(rf'# %%.*tags=\[.*"({"|".join(PLANTED)})"')
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION$", re.M | re.S)


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
    def is_appendix(self) -> bool:
        """Whether it stands behind the lessons: no number, no exercises, no form of a lesson."""
        return self.name.startswith("appendix_")

    @property
    def label(self) -> str:
        return f"{self.name} (exercises)" if self.is_exercise else self.name

    def text(self) -> str:
        """The source without the cells that stand in no notebook."""
        cells = re.split(r"^(?=# %%)", self.source.read_text("utf-8"), flags=re.M)
        return "".join(cell for cell in cells if not PLANTED_CELL.match(cell))

    def sha256(self) -> str:
        return hashlib.sha256(self.text().encode()).hexdigest()

    def notebook(self) -> NotebookNode:
        """The source as a notebook without outputs."""
        return jupytext.reads(self.source.read_text("utf-8"), fmt="py:percent")

    def visible_code(self) -> list[NotebookNode]:
        """The code cells that a reader sees: all but those tagged ``hide``."""
        return [cell for cell in self.notebook().cells if cell.cell_type == "code" and not has_tag(cell, "hide")]


def lessons(only: str = "", exercises: bool = True) -> list[Lesson]:
    """The lessons in order, each followed by its exercises; then the appendices.

    Args:
        only: comma-separated numbers or names ("01,03,appendix_a"); all when empty.
        exercises: whether to list the exercises and the appendices too.

    Raises:
        SystemExit: if a name in `only` fits no lesson.
    """
    patterns = ["[0-9][0-9]_*.py", *(["appendix_*.py"] if exercises else [])]
    found = [Lesson(path) for pattern in patterns for path in sorted(SOURCES.glob(pattern))]
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
    return name == part or name.startswith((f"{part.zfill(2)}_", f"{part}_"))


# Three notebooks from one exercise source ---------------------------------------------------


def has_tag(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def student_notebook(source: NotebookNode) -> NotebookNode:
    """The exercises as a reader gets them: stubs in place of solutions, no planted answers."""
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
    book.cells = [cell for cell in book.cells if not any(has_tag(cell, tag) for tag in PLANTED)]
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
