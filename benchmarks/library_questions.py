"""What the set library-questions gives away: how far a reader comes who knows other questions and no SQL.

    python benchmarks/library_questions.py            # the table
    python benchmarks/library_questions.py --write    # and puts it into the card of the set

Each reader answers the test questions with a SELECT, or says that the database does not tell:

- never: always says that it does not tell.
- nearest: the SQL of the known question most like it by BM25 (parts train and validation).
- nearest, filled: likewise, but titles, names and other values of the database are left out of the comparison, and
  those of the new question are put into the places of the old ones.
- leaky, filled: a control. The known questions are all others of the set, those of the same template too, as if
  the parts had been drawn question by question.
- template told, filled: another control. The SQL is that of another question of the same template, as if the best
  search had found it.

Right is what gives the rows of the SQL of the set, in their order where the question asks for one (execution accuracy,
as in Yu et al. 2018, Spider). A SELECT that cannot be run is wrong. Seconds on one core.
"""

from __future__ import annotations

import argparse
import re
import sqlite3

import numpy as np
import pandas as pd

from kerasllm.data.catalogue import folder
from kerasllm.data.loaders import library_database, load
from kerasllm.evaluation import execution_accuracy
from kerasllm.tasks import BM25

NAME = "library-questions"
VALUES = {
    "books": ("title", "author", "genre", "language"),
    "members": ("name", "kind"),
    "branches": ("name",),
}


# ----- readers that know no SQL ----------------------------------------------------------------------------------


def values_of(connection: sqlite3.Connection) -> list[list[str]]:
    """The values of each text column, the longest first."""
    found = []
    for table, columns in VALUES.items():
        for column in columns:
            rows = connection.execute(f"SELECT DISTINCT {column} FROM {table}")
            found.append(sorted((row[0] for row in rows), key=len, reverse=True))
    return found


def filled(sql: str, question: str, values: list[list[str]]) -> str:
    """SQL with the values that a question mentions in the places of others from the same column."""

    def new(old: re.Match) -> str:
        for column in values:
            if old[1] in column:
                mentioned = [one for one in column if one.casefold() in question.casefold()]
                return f"'{mentioned[0]}'" if mentioned else old[0]
        return old[0]

    return re.sub("'([^']*)'", new, sql)


def plain(question: str, values: list[list[str]]) -> str:
    """A question without the values that it mentions."""
    longest_first = sorted((one for column in values for one in column), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), " ", question, flags=re.IGNORECASE)


def nearest(known: pd.DataFrame, asked: pd.DataFrame, values: list[list[str]] = ()) -> list[str]:
    """For each question the SQL of the known one most like it; with values, in all but these, which are filled in."""

    def texts(frame):
        return [plain(one, values) if values else one for one in frame["question"]]

    places, _ = BM25(texts(known)).search(texts(asked), k=2)
    # Where a question is among the known ones, the second best counts.
    best = [pair[int(known.index[pair[0]] == row)] for row, pair in zip(asked.index, places, strict=True)]
    found = known["sql"].iloc[best]
    return [filled(*pair, values) for pair in zip(found, asked["question"], strict=True)]


def from_template(frame: pd.DataFrame, asked: pd.DataFrame, values: list[list[str]]) -> list[str]:
    """For each question the SQL of the first other one of its template, filled; "" where it is the only one."""
    found = []
    for row in asked.itertuples():
        others = frame[(frame["template"] == row.template) & (frame.index != row.Index)]
        found.append(filled(others["sql"].iloc[0], row.question, values) if len(others) else "")
    return found


# ----- the table -------------------------------------------------------------------------------------------------


def measured() -> dict[str, pd.DataFrame]:
    """For each reader the test questions, with the column right."""
    frame, connection = load(NAME), library_database()
    test, known = frame[frame["split"] == "test"], frame[frame["split"] != "test"]
    values = values_of(connection)
    said = {
        "never": [""] * len(test),
        "nearest": nearest(known, test),
        "nearest, filled": nearest(known, test, values),
        "leaky, filled": nearest(frame, test, values),
        "template told, filled": from_template(frame, test, values),
    }
    found = {}
    for reader, answers in said.items():
        scores = execution_accuracy(connection, answers, test["sql"], test["ordered"])
        found[reader] = test.assign(right=scores.right)
    connection.close()
    return found


def table(found: dict[str, pd.DataFrame]) -> list[str]:
    """The lines of the card."""
    lines = ["| Reader | Language | All | Where there is an answer | Where there is none |", "|---|---|---|---|---|"]
    for reader, rows in found.items():
        for language in ("english", "chinese"):
            some = rows[rows["language"] == language]
            parts = [some, some[some["answerable"]], some[~some["answerable"]]]
            numbers = " | ".join(f"{np.sum(one['right'])} of {len(one)}" for one in parts)
            lines.append(f"| {reader} | {language} | {numbers} |")
    return lines


def write(lines: list[str]) -> None:
    """Replace what stands in the card between its two marks."""
    path = folder() / f"{NAME}.md"
    first, last = "<!-- begin of baselines -->", "<!-- end of baselines -->"
    text = path.read_text("utf-8")
    before, after = text[: text.index(first)], text[text.index(last) :]
    path.write_text("\n".join([before + first, *lines, after]), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table into the card")
    arguments = parser.parse_args()
    lines = table(measured())
    print(*lines, sep="\n")
    if arguments.write:
        write(lines)
