"""The glossary: every bold term in the body of a lesson, with the sentence that introduces it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lesson_tools.places import LESSONS
from lesson_tools.sources import Lesson

GLOSSARY = LESSONS / "glossary.md"
BOLD = re.compile(r"\*\*(?=\S)([^*]+?)(?<=\S)\*\*")
ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s")
SENTENCE_END = re.compile(r"(?<! al\.)(?<=[.?!])[\"*)]*\s+(?=[\"*(`$A-Z0-9])")


class Event(NamedTuple):
    """What a reader meets, in order: a term that is introduced, a heading, or a claim."""

    kind: str  # "term", "heading" or "claim"
    text: str
    sentence: str
    lesson: Lesson


def events(lessons: Iterable[Lesson]) -> Iterator[Event]:
    """Terms, headings and claims of the lessons, in the order of reading."""
    for lesson in lessons:
        for number, cell in enumerate(lesson.notebook().cells):
            if cell.cell_type == "code":
                yield from (Event("claim", text, "", lesson) for text in _claims(cell.source))
            else:
                yield from _of_prose(cell.source, lesson, head=number == 0)


def _of_prose(source: str, lesson: Lesson, head: bool) -> Iterator[Event]:
    for paragraph in _paragraphs(source):
        if paragraph.startswith("#"):
            yield Event("heading", paragraph.lstrip("# "), "", lesson)
        elif not head:  # the head has its own bold words: the question, what one needs, the time
            for sentence in SENTENCE_END.split(paragraph):
                yield from (Event("term", found[1], sentence, lesson) for found in BOLD.finditer(sentence))


def _paragraphs(source: str) -> Iterator[str]:
    """Paragraphs, headings and the points of a list, each in one line."""
    lines: list[str] = []
    for line in [*source.splitlines(), ""]:
        new = line.startswith("#") or ITEM.match(line)
        if (new or not line.strip()) and lines:
            yield ITEM.sub("", " ".join(lines)).strip()
            lines = []
        if line.startswith("#"):
            yield line
        elif line.strip():
            lines.append(line.strip() if not new else line)


def _claims(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with a magic
        return
    for node in ast.walk(tree):
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "claim"
        if named and node.args and isinstance(node.args[0], ast.Constant):
            yield node.args[0].value


def glossary(lessons: Iterable[Lesson]) -> str:
    """The page: a term a line, in the order of the alphabet."""
    terms = sorted((event for event in events(lessons) if event.kind == "term"), key=lambda e: e.text.lower())
    lines = [
        "# Glossary",
        "",
        "Every term, with the sentence that introduces it and the lesson it stands in. Made by `make readme`.",
        "",
        "| Term | Introduced by the sentence | Lesson |",
        "|---|---|---|",
    ]
    for event in terms:
        sentence = BOLD.sub(r"*\1*", event.sentence.replace("|", r"\|"))
        link = f"[{event.lesson.name[:2]}]({event.lesson.name}.ipynb)"
        lines.append(f"| {event.text} | {sentence} | {link} |")
    return "\n".join(lines) + "\n"
