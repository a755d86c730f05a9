"""Whether a committed notebook still shows what its lesson does: its source, and the library code behind it.

The code behind a lesson is found without running it: its imports, their imports, and so on inside `kerasllm`. A name
is followed through the room that passes it on to the file that holds it, so that a new layer does not make every
lesson stale that uses another one. Comments and docstrings do not count: mending a word in them changes no result.
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
from lesson_tools.sources import Lesson

LIBRARY = ROOT / "kerasllm"


def code_sha256(source: str, library: Path = LIBRARY) -> str:
    """A hash over the code of every file of the library that a lesson's source stands on."""
    digest = hashlib.sha256()
    for module in sorted(modules_behind(source, library)):
        digest.update(f"{module}\n{code_text(_file(module, library).read_text('utf-8'))}\n".encode())
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
        if record.get("code_sha256") != code_sha256(lesson.source.read_text("utf-8")):
            return "the code in kerasllm/ that it imports changed"
    return None


def modules_behind(source: str, library: Path = LIBRARY) -> set[str]:
    """The modules of the library that a source imports, and those that they import, and so on."""
    found: set[str] = set()
    open_ends = list(_imports(ast.parse(source), library.name, "", False))
    seen = set()
    while open_ends:
        end = open_ends.pop()
        if end in seen:
            continue
        seen.add(end)
        module, name = _resolved(*end, library)
        path = _file(module, library)
        if path is None:
            continue
        if name is not None and (passed_on := _passes_on(module, library)) is not None and name in passed_on:
            open_ends.append(passed_on[name])
        elif module not in found:
            found.add(module)
            open_ends += _imports(_tree(path), library.name, module, path.name == "__init__.py")
    return found


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


# One import after the other --------------------------------------------------------------------

# Where a name comes from: the module, and the name in it, or None for all of the module.
Origin = tuple[str, str | None]


def _imports(tree: ast.Module, package: str, module: str, is_package: bool) -> list[Origin]:
    """What a module takes from the library, inside its functions too."""
    found: list[Origin] = []
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names if _inside(alias.name, package)]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            if _inside(base, package):
                found += [(base, alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and id(node) not in inner and _inside(_dotted(node), package):
            base, name = _dotted(node).rsplit(".", 1)  # "import kerasllm", then kerasllm.layers.Look
            found.append((base, name))
    return found


def _resolved(module: str, name: str | None, library: Path) -> Origin:
    """`from package import module` asks for a module; `*` asks for everything; `a.b.Name.method` for `a.b` and Name."""
    while "." in module and _file(module, library) is None:
        module, name = module.rsplit(".", 1)
    if name is None or name == "*":
        return module, None
    if _file(f"{module}.{name}", library):
        return f"{module}.{name}", None
    return module, name


def _passes_on(module: str, library: Path) -> dict[str, Origin] | None:
    """Which names a room's ``__init__.py`` passes on, if it does nothing else; None for any other file."""
    path = _file(module, library)
    if path is None or path.name != "__init__.py":
        return None
    names: dict[str, Origin] = {}
    for node in _tree(path).body:
        if isinstance(node, ast.ImportFrom) and not any(alias.name == "*" for alias in node.names):
            bare = ast.Module([node], [])
            for alias, origin in zip(node.names, _imports(bare, library.name, module, True), strict=False):
                names[alias.asname or alias.name] = origin
        elif not isinstance(node, ast.Import) and not _is_listing(node):  # an import alone only registers
            return None
    return names


def _is_listing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _file(module: str, library: Path) -> Path | None:
    path = library.parent.joinpath(*module.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _tree(path: Path) -> ast.Module:
    return _parsed(path, path.stat().st_mtime_ns)


@cache
def _parsed(path: Path, changed: int) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _dotted(node: ast.expr) -> str:
    """``a.b.c`` of an expression that is only names and dots; empty otherwise."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _docstring(node: ast.AST) -> ast.expr | None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return None
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first.value
    return None
