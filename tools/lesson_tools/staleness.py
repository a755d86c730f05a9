"""Whether a committed notebook still shows what its lesson does: its source, and the library code behind it.

The code behind a lesson is found without running it, definition by definition (see `reached`): a new layer or loader
makes no lesson stale that uses another one. Comments and docstrings do not count: mending a word in them changes no
result.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from functools import cache
from pathlib import Path

import nbformat

from lesson_tools.places import LESSONS, ROOT
from lesson_tools.reached import file_of, reached
from lesson_tools.sources import Lesson

LIBRARY = ROOT / "kerasllm"


def code_sha256(source: str, library: Path = LIBRARY) -> str:
    """A hash over every statement of the library that a lesson's source stands on."""
    digest, lines = hashlib.sha256(), {}
    for module, first, last in sorted(reached(source, library)):
        if module not in lines:
            lines[module] = file_of(module, library).read_text("utf-8").splitlines(keepends=True)
        digest.update(f"{module}\n{code_text(''.join(lines[module][first - 1 : last]))}\n".encode())
    return digest.hexdigest()


def stale_reason(lesson: Lesson, committed: Path = LESSONS) -> str | None:
    """Why a lesson must be built again, in words; None if its committed notebook is fresh."""
    folders = ("exercises", "solutions") if lesson.is_exercise else ("",)
    for folder in folders:
        path = committed / folder / f"{lesson.name}.ipynb"
        if not path.exists():
            return "it has no notebook"
        record = nbformat.read(path, as_version=4).metadata.get("kerasllm", {})
        if record.get("source_sha256") != lesson.sha256():
            return "its source changed"
        if record.get("code_sha256") != code_sha256(lesson.text()):
            return "the code in kerasllm/ that it imports changed"
    return None


@cache  # most statements stand behind many lessons
def code_text(source: str) -> str:
    """A source without comments, docstrings, empty lines and spaces at the end of lines."""
    docstrings = {(node.lineno, node.col_offset) for node in map(_docstring, ast.walk(ast.parse(source))) if node}
    lines = source.splitlines(keepends=True)
    dropped = [
        (token.start, token.end)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.start in docstrings)
    ]
    for (first, start), (last, end) in reversed(dropped):
        lines[first - 1 : last] = [lines[first - 1][:start] + lines[last - 1][end:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _docstring(node: ast.AST) -> ast.expr | None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return None
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first.value
    return None
