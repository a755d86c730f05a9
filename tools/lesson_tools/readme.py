"""The figure and the table of lessons in README.md, from the committed notebooks."""

from __future__ import annotations

import base64
import re
from typing import Any

import nbformat

from lesson_tools.places import LESSONS, ROOT
from lesson_tools.sources import has_tag, lessons

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
    """A headline: the sentence that the lesson wrote, or its numbers, with the control where it is named."""
    if isinstance(claim["headline"], str):
        return claim["headline"]
    if "control" in claim:
        return f"{claim['text']}: {claim['measured']:.4g}, {claim['control']} {claim['bound']:.4g}"
    return f"{claim['text']}: {claim['measured']:.4g} {claim['relation']} {claim['bound']:.4g}"


def renewed_readme(text: str) -> str:
    """The text of README.md with its figure and its table of lessons made anew."""
    parts = {"figure": f"![{readme_figure()[0]}](lessons/{FIGURE.name})", "lessons": readme_table()}
    missing = set(parts) - {match[2] for match in MADE.finditer(text)}
    if missing:
        raise SystemExit(f"README.md lacks the marks of: {', '.join(sorted(missing))}.")
    return MADE.sub(lambda match: f"{match[1]}{parts[match[2]]}\n{match[3]}", text)
