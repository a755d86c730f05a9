"""Questions about a small database of ours, with the SQL that answers them."""

from __future__ import annotations

import sqlite3

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, folder
from kerasllm.data.loaders.questions import json_lines
from kerasllm.data.loaders.registry import loads, whole

pd = needed("pandas", "data")

LANGUAGES = ["english", "chinese"]


@loads("library-questions")
def _library_questions(dataset: Dataset) -> pd.DataFrame:
    rows = [
        (one["template"], asked["language"], asked["question"], asked["sql"] or "", one["ordered"], *rest)
        for one in json_lines((folder() / f"{dataset.name}.jsonl").read_bytes())
        for rest in [(tuple(one["skills"]), one["split"])]
        for asked in one["questions"]
    ]
    columns = ["template", "language", "question", "sql", "ordered", "skills", "split"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["language"] = pd.Categorical(frame["language"], LANGUAGES)
    frame.insert(columns.index("ordered"), "answerable", frame["sql"] != "")
    return whole(frame)


def library_database() -> sqlite3.Connection:
    """The database that library-questions asks about, made anew in memory: a small town's library over a year.

    Its tables are branches, books, members and loans; ``datasets/library.sql`` says what each column holds. It is
    set to refuse changes, but SQL can undo this setting: who runs the SQL of a model lets nothing but one SELECT pass.

    Returns:
        An open connection. It belongs to the thread that asked for it, and whoever asked for it closes it.

    Example:
        >>> connection = library_database()
        >>> connection.execute("SELECT name FROM branches WHERE open_sunday = 1").fetchall()
        [('Central',), ('Northfield',)]
        >>> connection.execute("DELETE FROM loans")
        Traceback (most recent call last):
        sqlite3.OperationalError: attempt to write a readonly database
        >>> connection.close()
    """
    connection = sqlite3.connect(":memory:")
    connection.executescript((folder() / "library.sql").read_text("utf-8"))
    connection.execute("PRAGMA query_only = ON")
    return connection
