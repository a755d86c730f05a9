"""Documents of one's own: a file or a folder of texts, cut into the passages that a `Retriever` searches."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from kerasllm.common import whole_number
from kerasllm.data.errors import DataError
from kerasllm.data.plain_text import text_pieces
from kerasllm.tasks.passages import Passage
from kerasllm.text.checks import check_text

KINDS = (".txt", ".md", ".rst")
_HEADING = re.compile(r"#{1,6}\s+(.+?)[\s#]*")
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？]")


def read_passages(path: str | os.PathLike, size: int = 800) -> list[Passage]:
    """The passages of a text file, or of all text files in a folder and the folders below it.

        retriever = Retriever(read_passages("notes"))

    Files whose names end in .txt, .md or .rst are read, in the order of their names; names that begin with a dot are
    left out. The title of a passage is the name of its file within the folder, with the heading of Markdown that the
    passage stands under.

    Args:
        path: the file or the folder.
        size: the largest number of characters of a passage; see `passages_of`.

    Returns:
        `Passage` objects.

    Raises:
        DataError: if a file cannot be read or is not UTF-8, or there is no text at all.
        ValueError: if `size` is not positive.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "cats.md").write_text("# Sleep\\n\\nA cat sleeps.\\n\\n# Food\\n\\nIt eats fish.")
        >>> [(one.title, one.text) for one in read_passages(folder)]
        [('cats.md: Sleep', 'A cat sleeps.'), ('cats.md: Food', 'It eats fish.')]
    """
    path = Path(path)
    if not path.is_dir():
        found = _of_file(path, path.name, size)
        if not found:
            raise DataError(f"{path} is empty: there is nothing to search.")
        return found
    files = [(file, file.relative_to(path)) for file in sorted(path.rglob("*")) if file.suffix.lower() in KINDS]
    files = [(file, name) for file, name in files if file.is_file() and not any(p.startswith(".") for p in name.parts)]
    found = [passage for file, name in files for passage in _of_file(file, name.as_posix(), size)]
    if not found:
        raise DataError(f"No file in {path} that ends in {', '.join(KINDS)} has a text: there is nothing to search.")
    return found


def passages_of(text: str, title: str, size: int = 800) -> list[Passage]:
    """A text as passages: whole paragraphs as long as they fit, longer ones cut behind a sentence or a word.

    Args:
        text: the text; an empty line ends a paragraph, and a heading of Markdown ends a passage.
        title: what a reader looks the text up by.
        size: the largest number of characters of a passage.

    Returns:
        `Passage` objects; none of a text without letters.

    Raises:
        TypeError: if `text` is no string.
        ValueError: if `size` is not positive.

    Example:
        >>> [one.text for one in passages_of("One two. Three four.\\n\\nFive.", "numbers", size=12)]
        ['One two.', 'Three four.', 'Five.']
    """
    check_text(text, 0)
    whole_number("size", size)
    found: list[tuple[str, str]] = []
    for heading, paragraph in _paragraphs(text):
        for piece in _cut(paragraph, size):
            if found and found[-1][0] == heading and len(found[-1][1]) + 2 + len(piece) <= size:
                piece = f"{found.pop()[1]}\n\n{piece}"
            found.append((heading, piece))
    return [Passage(f"{title}: {heading}" if heading else title, piece) for heading, piece in found]


def _of_file(file: Path, name: str, size: int) -> list[Passage]:
    return passages_of("".join(text_pieces(file)), name, size)


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """Paragraphs with the heading above each; what stands between fences of code is no heading."""
    heading, lines, fenced = "", [], False
    for line in [*text.splitlines(), ""]:
        fenced ^= line.lstrip().startswith("```")
        titled = None if fenced else _HEADING.fullmatch(line)
        if line.strip() and not titled:
            lines.append(line.rstrip())
            continue
        if lines:
            yield heading, "\n".join(lines)
        heading, lines = titled[1] if titled else heading, []


def _cut(paragraph: str, size: int) -> Iterator[str]:
    """Pieces of at most `size` characters: behind the last sentence that fits, else before a word, else anywhere."""
    rest = paragraph.strip()
    while len(rest) > size:
        ends = [found.end() for found in _SENTENCE_END.finditer(rest, 0, size + 1) if found.end() <= size]
        blank = max(rest.rfind(" ", 0, size + 1), rest.rfind("\n", 0, size + 1))
        end = ends[-1] if ends else blank if blank > 0 else size
        yield rest[:end].rstrip()
        rest = rest[end:].lstrip()
    if rest:
        yield rest
