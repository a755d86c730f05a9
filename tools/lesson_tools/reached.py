"""Which code of the library stands behind a source: its definitions, the definitions that they name, and so on.

Nothing is run. A name is followed through the rooms that pass it on to the statement that makes it, and from there to
the names in that statement; so a layer or a loader that is added to a file changes nothing for those who use another.
What cannot be followed, such as ``import *`` or a module that is handed about, counts with all of its file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple


class Piece(NamedTuple):
    """A name in a module of the library; all of the module when `name` is None."""

    module: str
    name: str | None


class Statement(NamedTuple):
    """A statement at the outermost level of a module."""

    module: str
    first: int  # its lines, from 1, with its decorators
    last: int


def reached(source: str, library: Path) -> set[Statement]:
    """The statements of the library that a source stands on.

    Args:
        source: Python code.
        library: the folder of the package.

    Returns:
        Statements that define what the source names, directly or through others, and those that its modules run when
        they are imported.
    """
    outside = _Place(library.name, is_package=False, library=library)
    tree, state = ast.parse(source), _state(library)
    open_ends = [piece for _, piece in _imports(tree, outside) if piece.name is not None]
    open_ends += [*_named([tree], outside), *_by_string([tree], _registered(library, state))]
    found, seen = set(), set()
    while open_ends:
        piece = open_ends.pop()
        if piece not in seen:
            seen.add(piece)
            statements, others = _behind(piece, library, state)
            found.update(statements)
            open_ends += others
    return found


@cache  # what stands behind one lesson stands behind many
def _behind(piece: Piece, library: Path, state: tuple) -> tuple[set[Statement], list[Piece]]:
    """The statements that make a piece of the library, in the state in which it is, and what these name."""
    path = file_of(piece.module, library)
    if path is None:
        return set(), []
    place = _Place(piece.module, path.name == "__init__.py", library, _tree(path))
    making = _making(piece.name, place)
    nodes = [node for node in making if not _is_import(node)]
    brought = dict(chain.from_iterable(_imports(node, place) for node in making if _is_import(node)))
    brought.pop(library.name, None)  # `import kerasllm.models` alone only registers
    others = [brought[piece.name]] if piece.name in brought else [*brought.values()]
    others += [*_named(nodes, place), *_by_string(nodes, _registered(library, state))]
    return {Statement(piece.module, *_lines(node)) for node in nodes}, others


def file_of(module: str, library: Path) -> Path | None:
    """The file of a module of the library, or None."""
    path = library.parent.joinpath(*module.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


class _Place(NamedTuple):
    """Where code stands: the module, whether it is an ``__init__.py``, and its names; a source outside has none."""

    module: str
    is_package: bool
    library: Path
    tree: ast.Module = ast.Module([], [])


# From a name to statements --------------------------------------------------------------------


def _making(name: str | None, place: _Place) -> list[ast.stmt]:
    """The statements that make a name of a module, and those that run whatever is asked of it; all for None."""
    body = [node for node in place.tree.body if not _means_nothing(node)]
    making = [node for node in body if name in _bound(node)]
    if not making:  # all is wanted, or the name is made in a way that is not seen here
        return body
    return making + [node for node in body if not _bound(node)]


def _means_nothing(node: ast.stmt) -> bool:
    """Docstrings, ``__all__``, ``from __future__`` and what only a type checker reads."""
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.ImportFrom):
        return node.module == "__future__"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement binds where it stands, those in its branches included."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    inner = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt | ast.ExceptHandler)]
    return names.union(*map(_bound, inner))


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _lines(node: ast.stmt) -> tuple[int, int]:
    decorators = [one.lineno for one in getattr(node, "decorator_list", [])]
    return min([node.lineno, *decorators]), node.end_lineno


# From statements to names ---------------------------------------------------------------------


def _named(nodes: Iterable[ast.AST], place: _Place) -> Iterator[Piece]:
    """What statements name: what their imports bring, and names of their own module."""
    own, around = _names(place)
    for node in nodes:
        inside = dict(_imports(node, place))  # of functions
        yield from (piece for piece in inside.values() if piece.name is not None)
        for root, *attributes in _chains(node):
            brought = inside.get(root) or around.get(root)
            if brought is not None:
                yield _walked(brought.module, attributes, place.library) if brought.name is None else brought
            elif root in own:
                yield Piece(place.module, root)


@cache
def _names(place: _Place) -> tuple[set[str], dict[str, Piece]]:
    """The names that a module binds, and those of them that its imports bring."""
    brought = chain.from_iterable(_imports(node, place) for node in place.tree.body if _is_import(node))
    return set().union(*map(_bound, place.tree.body)), dict(brought)


def _imports(node: ast.AST, place: _Place) -> Iterator[tuple[str, Piece]]:
    """The names that imports bind, and what of the library they bring."""
    library = place.library
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            for alias in one.names:
                if _inside(alias.name, library):
                    target = alias.name if alias.asname else alias.name.split(".")[0]
                    yield alias.asname or target, Piece(target, None)
        elif isinstance(one, ast.ImportFrom):
            base = one.module or ""
            if one.level:
                parents = place.module.split(".") if place.is_package else place.module.split(".")[:-1]
                parents = parents[: len(parents) - one.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            for alias in one.names if _inside(base, library) else ():
                whole = file_of(f"{base}.{alias.name}", library)
                piece = Piece(f"{base}.{alias.name}", None) if whole else Piece(base, alias.name)
                yield alias.asname or alias.name, piece


def _chains(node: ast.AST) -> Iterator[list[str]]:
    """Every use of a name with the attributes behind it: ``a.b.c`` as [a, b, c]."""
    inner = {id(one.value) for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    for one in ast.walk(node):
        parts = []
        if id(one) in inner:
            continue
        while isinstance(one, ast.Attribute):
            parts.append(one.attr)
            one = one.value
        if isinstance(one, ast.Name):
            yield [one.id, *reversed(parts)]


def _walked(module: str, attributes: list[str], library: Path) -> Piece:
    """``layers.attention.Look.call`` from a module on: the module of the file, and the name in it."""
    for name in attributes:
        if file_of(f"{module}.{name}", library) is None:
            return Piece(module, name)
        module = f"{module}.{name}"
    return Piece(module, None)


def _inside(module: str, library: Path) -> bool:
    return module == library.name or module.startswith(f"{library.name}.")


# What a string names --------------------------------------------------------------------------


def _by_string(nodes: Iterable[ast.AST], registered: dict[str, Piece]) -> Iterator[Piece]:
    """What a decorator registered under a name that stands in the code as a string, such as the loader of a set."""
    for node in nodes:
        for one in ast.walk(node):
            if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value in registered:
                yield registered[one.value]


@cache
def _registered(library: Path, state: tuple) -> dict[str, Piece]:
    """``@loads("movie-snippets") def _snippets``: what decorators of functions name, in the whole library."""
    found = {}
    for path in sorted(library.rglob("*.py")):
        module = ".".join(path.relative_to(library.parent).with_suffix("").parts)
        for node in _tree(path).body:
            for one in getattr(node, "decorator_list", []):
                if isinstance(one, ast.Call):
                    names = [word.value for word in one.args if isinstance(word, ast.Constant)]
                    found |= {name: Piece(module, node.name) for name in names if isinstance(name, str)}
    return found


def _state(library: Path) -> tuple:
    return tuple((str(path), path.stat().st_mtime_ns) for path in sorted(library.rglob("*.py")))


def _tree(path: Path) -> ast.Module:
    return _parsed(path, path.stat().st_mtime_ns)


@cache
def _parsed(path: Path, changed: int) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))
