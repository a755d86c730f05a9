"""How much of what a lesson holds: words, sentences, code that a reader sees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lesson_tools.sources import Lesson

END = re.compile(r"(?<! al\.)(?<=[.?!:])[\"*)]*\s+(?=[\"*(`$A-Z0-9])")
NOT_PROSE = re.compile(r"\$\$.*?\$\$|^```.*?^```|^\|.*?$|<!--.*?-->", re.M | re.S)


@dataclass(frozen=True)
class Counts:
    """Of one lesson, references left out."""

    words: int
    sentences: int
    code_cells: int  # those in sight
    code_lines: int  # those in sight, blank ones and comments included
    hidden_lines: int
    claims: int

    @property
    def sentence(self) -> float:
        """Words in a sentence, the mean."""
        return self.words / max(self.sentences, 1)


def counts(lesson: Lesson) -> Counts:
    """Count a lesson's source."""
    text = list(sentences(lesson))
    seen = [cell.source.splitlines() for cell in lesson.visible_code()]
    code = [cell.source.splitlines() for cell in lesson.notebook().cells if cell.cell_type == "code"]
    lines = sum(map(len, seen))
    return Counts(
        words=sum(len(sentence.split()) for sentence in text),
        sentences=len(text),
        code_cells=len(seen),
        code_lines=lines,
        hidden_lines=sum(map(len, code)) - lines,
        claims=sum("claim(" in line for lines in code for line in lines),
    )


def sentences(lesson: Lesson) -> Iterator[str]:
    """The sentences of a lesson's prose: no headings, formulas of their own, tables, references."""
    cells = [cell.source for cell in lesson.notebook().cells if cell.cell_type == "markdown"]
    prose = "\n\n".join(cells).split("\n## References")[0]
    for paragraph in NOT_PROSE.sub("", prose).split("\n\n"):
        paragraph = " ".join(line for line in paragraph.splitlines() if not line.startswith("#"))
        yield from (sentence for sentence in END.split(paragraph.strip()) if re.search(r"\w", sentence))


def table(chosen: Iterable[Lesson]) -> str:
    """The counts of lessons as a table in Markdown."""
    rows = [
        "| Lesson | words | sentences | words a sentence | code cells in sight | lines in sight | folded | claims |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for lesson in chosen:
        n = counts(lesson)
        rows.append(
            f"| {lesson.name} | {n.words:,} | {n.sentences} | {n.sentence:.1f} | {n.code_cells} | {n.code_lines}"
            f" | {n.hidden_lines} | {n.claims} |"
        )
    return "\n".join(rows)
