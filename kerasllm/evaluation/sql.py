"""SQL that a model writes: run where it can read and do nothing else, and judged by the rows that it gives."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from kerasllm.common import positive, whole_number

STEPS = 100  # of SQLite's machine between two looks at the clock
MOST_CHARACTERS = 10_000_000  # of all rows together
DIGITS = 9  # of a number that count: sums of decimals differ in their last ones
# What reads and computes, and cannot write, load code, or make a long text of nothing.
FUNCTIONS = frozenset(
    "abs avg ceil ceiling coalesce count cume_dist current_date current_time current_timestamp date datetime "
    "dense_rank first_value floor glob group_concat ifnull iif instr julianday lag last_value lead length like "
    "lower ltrim max min mod nth_value ntile nullif percent_rank pow power rank replace round row_number rtrim sign "
    "sqrt strftime string_agg substr substring sum time total trim typeof unicode unixepoch upper".split()
)
ACTIONS = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE))
# Functions that stand behind FROM: some versions of SQLite ask nothing but whether they may be read.
CALLED_TABLES = frozenset(
    "json_each json_tree jsonb_each jsonb_tree generate_series dbstat bytecode tables_used".split()
)
LIMITS = {  # of one statement
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_COLUMN: 500,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 5_000,
}
_TOKEN = re.compile(r"--[^\n]*|/\*.*?(?:\*/|$)|'[^']*'|\"[^\"]*\"|`[^`]*`|\[[^\]]*\]|\w+|[()]", re.DOTALL)


class SelectError(ValueError):
    """An SQL text that was refused, or that could not be run; the message is one line."""


class ExecutionAccuracy(NamedTuple):
    """What `execution_accuracy` found.

    Attributes:
        value: the share of questions that were answered rightly.
        low, high: the ends of Wilson's 95% interval of this share.
        right: for each question whether it was.
        problems: for each question why its SQL gave no rows; "" where it gave some, or was none.
    """

    value: float
    low: float
    high: float
    right: list[bool]
    problems: list[str]


def read_only(path: str | os.PathLike) -> sqlite3.Connection:
    """A database file, opened so that nothing can be written into it.

    Args:
        path: of the file.

    Returns:
        A connection, which whoever asked for it closes.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no database {path}.")
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def run_select(
    connection: sqlite3.Connection, sql: str, *, rows: int = 1000, seconds: float = 2.0, longest: int = 10_000
) -> list[tuple]:
    """The rows of one SELECT. Whatever else stands in the text is refused before it has done anything.

    SQLite asks for each thing that a statement would do, and is told no for all but reading tables and computing with
    a list of harmless functions. So a statement in a bracket, behind WITH or behind a comment is found as well.

    Args:
        connection: to the database; `read_only` opens a file. A hook of its own (authorizer, progress) is taken away.
        sql: the text. It may begin with WITH and end with a semicolon.
        rows: the most rows that it may give.
        seconds: how long it may take. One call of a function is not interrupted, `longest` keeps it short.
        longest: the most bytes of a value and of a row inside SQLite.

    Returns:
        The rows, a tuple each.

    Raises:
        TypeError: if `connection` or `sql` is none.
        SelectError: if it is not one SELECT, asks for what is not allowed, cannot be run, or goes beyond a limit.

    Example:
        >>> from kerasllm.data.loaders import library_database
        >>> connection = library_database()
        >>> run_select(connection, "SELECT name FROM branches WHERE open_sunday = 1;")
        [('Central',), ('Northfield',)]
        >>> run_select(connection, "WITH one AS (SELECT 1) DELETE FROM loans")
        Traceback (most recent call last):
        kerasllm.evaluation.sql.SelectError: The SQL was refused: it would do more than read (action 9 on loans).
        >>> connection.close()

    Reference: "Compile-Time Authorization Callbacks" and "Defense Against The Dark Arts", sqlite.org.
    """
    if not isinstance(connection, sqlite3.Connection):
        raise TypeError(f"connection must be that of sqlite3, not {connection!r:.60}: read_only(path) opens a file.")
    if not isinstance(sql, str):
        raise TypeError(f"SQL is a string, not {sql!r:.60}.")
    rows, seconds = whole_number("rows", rows), positive("seconds", seconds)
    most = LIMITS[sqlite3.SQLITE_LIMIT_SQL_LENGTH]
    if len(sql) > most:
        raise SelectError(f"The SQL has {len(sql):,} characters; {most:,} are allowed.")
    first = next((one for one, _ in _words(sql)), "nothing")
    if first not in ("SELECT", "WITH"):
        raise SelectError(f"The SQL begins with {first}. Give one SELECT.")
    with _guarded(connection, seconds, whole_number("longest", longest, least=1000)) as guard:
        try:
            return _rows(connection, sql, rows)
        except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError) as error:
            raise SelectError(guard.reason(error)) from None


def execution_accuracy(
    connection: sqlite3.Connection,
    predictions: Sequence[str | None],
    references: Sequence[str | None],
    ordered: Sequence[bool] | None = None,
    *,
    rows: int = 1000,
    seconds: float = 2.0,
) -> ExecutionAccuracy:
    """The share of questions whose SQL gives the rows of the right SQL.

    Rows are compared as a multiset, or in their order where one is asked for. Columns count in their order, their names
    do not. Numbers are equal if their first nine digits are. Whatever is refused or fails is wrong.

    Args:
        connection: see `run_select`.
        predictions: for each question an SQL text; "" or None to say that the database does not tell.
        references: the right SQL texts; "" or None where the database does not tell.
        ordered: whether the order of the rows counts. When None, it does where the right SQL as a whole has an ORDER
            BY: then no two of its rows may be equal in it.
        rows, seconds: see `run_select`.

    Returns:
        An `ExecutionAccuracy`.

    Raises:
        TypeError: if a text is no string.
        ValueError: if there is not one of each for a question, or a right SQL cannot be run.

    Example:
        >>> from kerasllm.data.loaders import library_database
        >>> connection, right = library_database(), "SELECT name FROM branches ORDER BY name"
        >>> asked = ["SELECT name FROM branches", "SELECT name FROM branches ORDER BY name", "DROP TABLE branches"]
        >>> found = execution_accuracy(connection, asked, [right] * 3)
        >>> found.right, found.problems[2]
        ([False, True, False], 'The SQL begins with DROP. Give one SELECT.')
        >>> connection.close()

    Reference: Yu et al. (2018), "Spider: A Large-Scale Human-Labeled Dataset for Complex and Cross-Domain Semantic
    Parsing and Text-to-SQL Task", section 5; Wilson (1927), "Probable Inference, the Law of Succession, and
    Statistical Inference", for the interval.
    """
    said, known = _texts("predictions", predictions), _texts("references", references)
    orders = [None] * len(known) if ordered is None else list(ordered)
    if not known or not len(said) == len(known) == len(orders):
        raise ValueError(
            f"There are {len(said)} predictions, {len(known)} references and {len(orders)} values of ordered: give one "
            "each, at least one."
        )
    right, problems = [], []
    for place, (ours, theirs, order) in enumerate(zip(said, known, orders, strict=True)):
        expected = None
        if theirs:
            try:
                expected = run_select(connection, theirs, rows=rows, seconds=seconds)
            except SelectError as error:
                raise ValueError(f"references[{place}] cannot be judged by: {error}") from None
        found, problem = None, ""
        if ours:
            try:
                found = run_select(connection, ours, rows=rows, seconds=seconds)
            except SelectError as error:
                problem = str(error)
        same = found is expected is None and not problem
        if found is not None and expected is not None:
            same = same_rows(found, expected, has_order(theirs) if order is None else bool(order))
        right.append(same)
        problems.append(problem)
    return ExecutionAccuracy(sum(right) / len(right), *_wilson(sum(right), len(right)), right, problems)


def same_rows(found: Sequence[tuple], expected: Sequence[tuple], ordered: bool = False) -> bool:
    """Whether two results are equal: in their order, or as multisets.

    Example:
        >>> same_rows([(1, "a"), (0.1 + 0.2, "b")], [(0.3, "b"), (1.0, "a")])
        True
        >>> same_rows([(1,), (1,)], [(1,)])
        False
    """
    found, expected = ([tuple(map(_cell, row)) for row in rows] for rows in (found, expected))
    return found == expected if ordered else Counter(found) == Counter(expected)


def has_order(sql: str) -> bool:
    """Whether an SQL text orders its rows: an ORDER BY outside of all brackets, texts and comments.

    Example:
        >>> has_order("SELECT a FROM t ORDER BY a"), has_order("SELECT a FROM (SELECT a FROM t ORDER BY a)")
        (True, False)
    """
    outside = [word for word, depth in _words(sql) if not depth]
    return any(pair == ("ORDER", "BY") for pair in pairwise(outside))


def _rows(connection: sqlite3.Connection, sql: str, most: int) -> list[tuple]:
    found, size = [], 0
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.row_factory = None
        for row in cursor.execute(sql):
            found.append(row)
            size += sum(len(cell) for cell in row if isinstance(cell, str | bytes))
            if len(found) > most:
                raise SelectError(f"The SQL gives more than {most:,} rows. Ask for fewer: add LIMIT {most}.")
            if size > MOST_CHARACTERS:
                raise SelectError(f"The rows hold more than {MOST_CHARACTERS:,} characters. Ask for fewer.")
    return found


class _Guard:
    """What SQLite asks before and while a statement runs."""

    def __init__(self, seconds: float):
        self.end, self.denied = time.monotonic() + seconds, ""

    def allow(self, action, first, second, *_) -> int:
        table, name = (first or "").lower(), (second or "").lower()
        if action == sqlite3.SQLITE_READ and (table in CALLED_TABLES or table.startswith("pragma_")):
            self.denied = self.denied or f"the function {table}"
            return sqlite3.SQLITE_DENY
        if action in ACTIONS or (action == sqlite3.SQLITE_FUNCTION and name in FUNCTIONS):
            return sqlite3.SQLITE_OK
        what = f"the function {name}" if action == sqlite3.SQLITE_FUNCTION else ""
        self.denied = self.denied or what or f"more than read (action {action} on {first})"
        return sqlite3.SQLITE_DENY

    def late(self) -> bool:
        return time.monotonic() > self.end

    def reason(self, error: Exception) -> str:
        if self.denied.startswith("the function"):
            return f"The SQL was refused: it calls {self.denied}, which is not on the list of harmless ones."
        if self.denied:
            return f"The SQL was refused: it would do {self.denied}."
        if self.late():
            return "The SQL was stopped: it takes too long. Ask for less, or give more seconds."
        return f"The SQL cannot be run: {' '.join(str(error).split()).rstrip('.')}."


@contextlib.contextmanager
def _guarded(connection: sqlite3.Connection, seconds: float, longest: int) -> Iterator[_Guard]:
    guard, text_factory = _Guard(seconds), connection.text_factory
    limits = {**LIMITS, sqlite3.SQLITE_LIMIT_LENGTH: longest}
    before = {name: connection.setlimit(name, value) for name, value in limits.items()}
    connection.set_authorizer(guard.allow)  # statements that were prepared before are asked about again
    connection.set_progress_handler(guard.late, STEPS)
    connection.text_factory = str
    try:
        yield guard
    finally:
        connection.text_factory = text_factory
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)
        for name, value in before.items():
            connection.setlimit(name, value)


def _words(sql: str) -> Iterator[tuple[str, int]]:
    """The words of SQL in upper case, without texts and comments, each with the number of brackets around it."""
    depth = 0
    for token in _TOKEN.findall(sql):
        depth += (token == "(") - (token == ")")
        if token[0].isalnum() or token[0] == "_":
            yield token.upper(), depth


def _cell(value):
    """A value as it is compared."""
    finite = isinstance(value, float) and math.isfinite(value)
    return float(f"{value:.{DIGITS}g}") if finite else value


def _texts(name: str, texts) -> list[str]:
    if isinstance(texts, str):
        raise TypeError(f"{name} must be a list of texts, not one string: [sql].")
    texts = ["" if one is None else one for one in texts]
    wrong = next((place for place, one in enumerate(texts) if not isinstance(one, str)), None)
    if wrong is not None:
        raise TypeError(f"{name}[{wrong}] is {type(texts[wrong]).__name__}, not a string: {texts[wrong]!r:.60}.")
    return [one.strip() for one in texts]


def _wilson(right: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    middle = (right + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * math.sqrt(right * (count - right) / count + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)
