"""What Python says about itself: docstrings of its library and chapters on its language, from files that it brings.

Sources are read, not imported, so nothing of them runs and every machine with the same Python finds the same. What is
written in C has no source to read: of that the docstrings of a fixed list are asked for.
"""

from __future__ import annotations

import ast
import inspect
import re
import sysconfig
import textwrap
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from kerasllm.data.errors import DataError

WORDS = 120  # of a passage, as a guide
REST = 30  # a last passage of fewer words joins the one before it

# Modules that programmers use and that all of Python 3.11 to 3.13 have.
MODULES = """
    abc argparse ast asyncio base64 bisect calendar codecs collections collections.abc colorsys concurrent.futures
    configparser contextlib copy csv dataclasses datetime decimal difflib email.message email.utils enum fileinput
    filecmp fnmatch fractions functools getpass glob graphlib gzip hashlib heapq hmac html http.client http.server
    inspect ipaddress json linecache locale logging logging.handlers mimetypes multiprocessing numbers operator os
    os.path pathlib pickle platform pprint queue random re sched secrets shelve shlex shutil smtplib socket
    socketserver statistics string subprocess tarfile tempfile textwrap threading timeit tomllib traceback types typing
    unittest urllib.parse urllib.request uuid warnings weakref webbrowser xml.etree.ElementTree zipfile
""".split()

# Modules whose sources are not in the file of their name. All files that are there are read.
FILES = {
    "asyncio": [f"asyncio/{part}" for part in "runners tasks taskgroups timeouts queues locks streams".split()],
    "collections.abc": ["_collections_abc"],
    "concurrent.futures": [f"concurrent/futures/{part}" for part in ("__init__", "_base", "thread", "process")],
    "datetime": ["_pydatetime", "datetime"],  # the former since 3.12
    "decimal": ["_pydecimal"],
    "json": ["json/__init__", "json/decoder", "json/encoder"],
    "multiprocessing": ["multiprocessing/process", "multiprocessing/pool"],
    "os.path": ["posixpath", "genericpath"],  # on Windows too
    "pathlib": ["pathlib", "pathlib/_local", "pathlib/_abc"],  # the last two since 3.13
    "tomllib": ["tomllib/_parser"],
    "unittest": ["unittest/__init__", "unittest/case"],
}

# The beginning of a name in a source, and that by which a programmer calls it.
CALLED = {
    "random.Random.": "random.",
    "pathlib.PathBase.": "pathlib.Path.",
    "pathlib.PurePathBase.": "pathlib.PurePath.",
    "multiprocessing.BaseProcess": "multiprocessing.Process",
}

# What is written in C. With a class come its methods. No names that a system lacks.
COMPILED = {
    "builtins": """
        abs all any ascii bin callable chr compile delattr dir divmod eval exec filter format getattr globals hasattr
        hash hex id input isinstance issubclass iter len locals map max min next oct open ord pow print repr reversed
        round setattr sorted sum vars zip enumerate classmethod staticmethod property super type object
        bool bytearray bytes complex dict float frozenset int list memoryview range set slice str tuple
    """.split(),
    "collections": ["deque", "defaultdict"],
    "csv": ["reader", "writer"],
    "itertools": """
        accumulate batched chain combinations combinations_with_replacement compress count cycle dropwhile filterfalse
        groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest
    """.split(),
    "math": """
        acos asin atan atan2 cbrt ceil comb copysign cos cosh degrees dist erf exp expm1 fabs factorial floor fmod frexp
        fsum gamma gcd hypot isclose isfinite isinf isnan isqrt lcm ldexp lgamma log log10 log1p log2 modf nextafter
        perm pow prod radians remainder sin sinh sqrt tan tanh trunc ulp
    """.split(),
    "os": """
        access chdir chmod cpu_count getcwd getpid getppid kill link listdir lstat mkdir putenv readlink remove rename
        replace rmdir scandir stat strerror symlink system truncate unlink urandom utime
    """.split(),
    "re": ["Pattern", "Match"],
    "struct": ["calcsize", "iter_unpack", "pack", "pack_into", "unpack", "unpack_from", "Struct"],
    "sys": """
        exc_info exit getdefaultencoding getrecursionlimit getrefcount getsizeof intern setrecursionlimit settrace
    """.split(),
    "time": """
        asctime ctime gmtime localtime mktime monotonic perf_counter process_time sleep strftime strptime thread_time
        time time_ns
    """.split(),
    "zlib": ["adler32", "compress", "crc32", "decompress"],
}

Text = tuple[str, str, str]  # title, kind, text


def texts() -> list[Text]:
    """Title, kind and text of all that is documented; the first text of a title and kind counts.

    Raises:
        DataError: if this Python came without its sources.
    """
    found: dict[tuple[str, str], str] = {}
    for title, kind, text in (*_of_sources(), *_of_compiled(), *topics()):
        if text and text.strip():
            found.setdefault((title, kind), text)
    return [(title, kind, text) for (title, kind), text in found.items()]


# Docstrings ------------------------------------------------------------------------------------


def _of_sources() -> Iterator[Text]:
    for module in MODULES:
        for tree in map(ast.parse, _sources(module)):
            yield module, "module", ast.get_docstring(tree)
            for title, kind, text in _documented(tree.body, module):
                for begin, called in CALLED.items():
                    title = title.replace(begin, called, 1)
                yield title, "function" if module == "random" and kind == "method" else kind, text


def _sources(module: str) -> list[bytes]:
    place = module.replace(".", "/")
    paths = [_library() / f"{name}.py" for name in FILES.get(module, (place, f"{place}/__init__"))]
    found = [path.read_bytes() for path in paths if path.is_file()]
    if not found:
        raise DataError(
            f"This Python has no source of its module {module} ({paths[0]}). Use one that came with its whole standard "
            "library, such as that of python.org, conda or pyenv; of Debian and Ubuntu install libpython3-stdlib."
        )
    return found


def _library() -> Path:
    """The folder of the standard library: in a virtual environment that of the Python it was made from."""
    return Path(sysconfig.get_path("stdlib"))


def _documented(body: Iterable[ast.AST], prefix: str, method: bool = False) -> Iterator[tuple[str, str, str | None]]:
    """What stands in a module or a class under a public name, also where an ``if`` or a ``try`` is around it."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _documented(ast.iter_child_nodes(node), prefix, method)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        title, is_class = f"{prefix}.{node.name}", isinstance(node, ast.ClassDef)
        yield title, "class" if is_class else "method" if method else "function", ast.get_docstring(node)
        if is_class and not method:
            yield from _documented(node.body, title, method=True)


def _of_compiled() -> Iterator[Text]:
    for module, names in COMPILED.items():
        there = import_module(module)
        prefix = "" if module == "builtins" else f"{module}."
        for name in names:
            if (one := getattr(there, name, None)) is None:
                continue  # an older Python
            yield f"{prefix}{name}", "class" if isinstance(one, type) else "function", inspect.getdoc(one) or ""
            for method in sorted(vars(one)) if isinstance(one, type) else ():
                if not method.startswith("_"):
                    yield f"{prefix}{name}.{method}", "method", inspect.getdoc(getattr(one, method)) or ""


# Chapters on the language ----------------------------------------------------------------------


def topics() -> list[Text]:
    """The chapters that ``help("for")`` shows. What is in several is left in the shortest one.

    Raises:
        DataError: if this Python came without them.
    """
    path = _library() / "pydoc_data" / "topics.py"
    if not path.is_file():
        raise DataError(f"This Python has no {path}. Use one that came with its whole standard library.")
    (chapters,) = (node.value for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.Assign))
    chapters = sorted(ast.literal_eval(chapters).values(), key=lambda text: (len(text), text))
    seen, found = set(), []
    for heading, *paragraphs in map(paragraphs_of, chapters):
        new = [one for one in dict.fromkeys(paragraphs) if one not in seen]
        seen |= set(new)
        found.append((heading, "topic", "\n\n".join(new)))
    return sorted(found)


# Passages --------------------------------------------------------------------------------------

_UNDERLINE = re.compile(r"[-=*~^+|#\"'.\s]{4,}")
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+")


def paragraphs_of(text: str) -> list[str]:
    """The paragraphs of a docstring: prose on one line, code and lists on lines as they stand, no underlines.

    Example:
        >>> paragraphs_of("Sums\\n====\\n\\nThe sum of\\nall numbers.\\n\\n    >>> sum([1, 2])\\n    3")
        ['Sums', 'The sum of all numbers.', '>>> sum([1, 2])\\n3']
    """
    found = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(text.expandtabs())):
        lines = [line.rstrip() for line in block.split("\n") if line.strip() and not _UNDERLINE.fullmatch(line)]
        if _is_prose(lines):
            found.append(" ".join(" ".join(lines).split()))
        elif lines:
            found.append(textwrap.dedent("\n".join(lines)))
    return [one for one in found if one]


def passages_of(text: str) -> list[str]:
    """A docstring in passages of about `WORDS` words, cut between paragraphs; a long paragraph between sentences.

    Example:
        >>> [len(passage.split()) for passage in passages_of("One two three.\\n\\n" * 89)]
        [120, 147]
    """
    pieces = []
    for paragraph in paragraphs_of(text):
        if len(paragraph.split()) <= WORDS:
            pieces.append(paragraph)
        elif "\n" in paragraph:
            pieces += _packed(paragraph.split("\n"), "\n")
        else:
            pieces += _packed(_SENTENCE.split(paragraph), " ")
    return [passage.strip() for passage in _packed(pieces, "\n\n")]


def _is_prose(lines: list[str]) -> bool:
    return not any(line.startswith((" ", ">>>", "- ", "* ", "|")) for line in lines)


def _packed(pieces: list[str], joint: str) -> list[str]:
    """Neighbouring pieces joined, as long as they have no more than `WORDS` words together."""
    groups: list[list[str]] = []
    words = WORDS + 1
    for piece in pieces:
        count = len(piece.split())
        if words + count > WORDS:
            groups.append([])
            words = 0
        groups[-1].append(piece)
        words += count
    if len(groups) > 1 and words < REST:
        rest = groups.pop()
        groups[-1] += rest
    return [joint.join(group) for group in groups]
