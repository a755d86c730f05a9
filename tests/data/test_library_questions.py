"""Questions about a library and their SQL: each runs, answers what is asked, and says so by no accident."""

import datetime
import importlib.util
import re
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from kerasllm import data
from kerasllm.data.catalogue import find, folder
from kerasllm.data.loaders.questions import json_lines
from kerasllm.data.splits import fold

NAME = "library-questions"
PARTS = ("train", "validation", "test")
ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}


@pytest.fixture(scope="module")
def frame():
    return data.load(NAME)


@pytest.fixture(scope="module")
def answered(frame):
    return frame[frame["answerable"]]


@pytest.fixture(scope="module")
def templates():
    return json_lines((folder() / f"{NAME}.jsonl").read_bytes())


@pytest.fixture
def connection():
    connection = data.loaders.library_database()
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "benchmarks" / "library_questions.py"
    specification = importlib.util.spec_from_file_location("library_questions", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def rows_of(connection, sql, ordered=False):
    """The rows, in their order where it is asked for; sums of decimals differ in their last digits."""
    rows = [
        tuple(round(cell, 6) if isinstance(cell, float) else cell for cell in row) for row in connection.execute(sql)
    ]
    return rows if ordered else sorted(rows)


def skeleton(sql):
    """SQL without its values."""
    return re.sub(r"'[^']*'|\b\d+(\.\d+)?\b", "?", sql)


def without_one_condition(sql):
    """The SQL without each of the conditions that AND joins behind its last WHERE outside of brackets."""
    depths, depth = [], 0
    for letter in sql:
        depth += (letter == "(") - (letter == ")")
        depths.append(depth)
    start = max((one.end() for one in re.finditer("WHERE ", sql) if depths[one.start()] == 0), default=None)
    if start is None:
        return []
    ends = [
        one.start() for one in re.finditer(" (GROUP|ORDER) ", sql) if one.start() > start and not depths[one.start()]
    ]
    end = min(ends, default=len(sql))
    joints = [one for one in re.finditer(" AND ", sql) if start < one.start() < end and not depths[one.start()]]
    cuts = [start, *(one.end() for one in joints), end]
    starts = zip(cuts[:-1], [*(one.start() for one in joints), end], strict=True)
    conditions = [sql[first:last] for first, last in starts]
    return [
        sql[:start] + " AND ".join([*conditions[:place], "1", *conditions[place + 1 :]]) + sql[end:]
        for place in range(len(conditions))
    ]


# The database ------------------------------------------------------------------------------------


def test_the_rows_of_the_database_agree_with_each_other(connection):
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    columns, tables = "book_id, borrowed, due, returned, fine, joined", "loans l JOIN members m ON m.id = member_id"
    loans = connection.execute(f"SELECT {columns} FROM {tables} ORDER BY l.id").fetchall()
    assert len(loans) == connection.execute("SELECT COUNT(*) FROM loans").fetchone()[0] > 100
    assert [row[1] for row in loans] == sorted(row[1] for row in loans)
    day = datetime.date.fromisoformat
    lent = {}
    for book, borrowed, due, returned, fine, joined in loans:
        assert joined <= borrowed <= "2025-06-30"
        assert (day(due) - day(borrowed)).days == 28
        late = max((day(returned) - day(due)).days, 0) if returned else 0
        assert fine == pytest.approx(0.2 * late)
        # There is one copy of each book.
        assert borrowed > lent.get(book, "")
        lent[book] = returned or "still out"


def test_the_database_refuses_changes_and_a_second_one_is_another(connection):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("UPDATE loans SET fine = 0")
    other = data.loaders.library_database()
    other.execute("PRAGMA query_only = OFF")
    other.execute("DELETE FROM loans")
    assert connection.execute("SELECT COUNT(*) FROM loans").fetchone()[0] > 0
    other.close()


def test_no_two_books_members_or_branches_have_one_name(connection):
    for table, column in (("books", "title"), ("members", "name"), ("branches", "name")):
        values = [row[0] for row in connection.execute(f"SELECT {column} FROM {table}")]
        assert len(set(map(fold, values))) == len(values)


# The questions -----------------------------------------------------------------------------------


def test_every_sql_is_one_select_that_reads_and_does_nothing_else(answered, connection):
    connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY)
    for sql in answered["sql"]:
        assert sql.startswith("SELECT ")
        assert ";" not in sql
        connection.execute(sql).fetchall()  # execute takes one statement


def test_every_result_holds_something_unless_the_file_says_that_it_is_empty(templates, connection):
    for one in templates:
        for asked in one["questions"]:
            if asked["sql"] is not None:
                rows = rows_of(connection, asked["sql"])
                assert (not rows) == one.get("empty", False), asked["question"]
                assert all(None not in row for row in rows), asked["question"]


def test_results_do_not_depend_on_how_sqlite_reads_the_tables(answered, connection):
    # Where an order is asked for, and where LIMIT takes the first, no two rows may be equal in it.
    forwards = [rows_of(connection, row.sql, row.ordered) for row in answered.itertuples()]
    connection.execute("PRAGMA reverse_unordered_selects = ON")
    for row, rows in zip(answered.itertuples(), forwards, strict=True):
        assert rows_of(connection, row.sql, row.ordered) == rows, row.question


def test_who_asks_for_an_order_gets_several_rows_in_it(answered, connection):
    for row in answered[answered["ordered"]].itertuples():
        assert "ORDER BY" in row.sql
        assert len(rows_of(connection, row.sql)) > 1
    unordered = answered[~answered["ordered"] & answered["sql"].str.contains("ORDER BY")]
    assert unordered["sql"].str.contains("LIMIT 1$").all()


def test_a_question_with_another_sql_of_its_template_has_another_result(answered, connection):
    for template, rows in answered.groupby("template"):
        if template != "a question with an empty answer":
            results = {str(rows_of(connection, sql)) for sql in rows["sql"]}
            assert len(results) == rows["sql"].nunique(), template


def test_a_wrong_sql_is_seldom_right_by_chance(answered, connection):
    results = answered["sql"].drop_duplicates().map(lambda sql: str(rows_of(connection, sql)))
    pairs = len(results) * (len(results) - 1) / 2
    equal = sum(count * (count - 1) / 2 for count in Counter(results).values())
    assert equal / pairs < 0.005


def test_every_condition_of_a_question_changes_its_result(answered, connection):
    for row in answered.drop_duplicates("sql").itertuples():
        rows = rows_of(connection, row.sql, row.ordered)
        for other in without_one_condition(row.sql):
            if rows:
                assert rows_of(connection, other, row.ordered) != rows, other


def test_no_template_is_in_two_parts_under_another_name(frame, answered):
    assert (frame.groupby("template")["split"].nunique() == 1).all()
    shapes = answered.assign(shape=answered["sql"].map(skeleton))
    assert (shapes.groupby("shape")["template"].nunique() == 1).all()
    assert not frame["question"].map(fold).duplicated().any()
    values = r"\d+|《[^》]*》|[A-Z][a-z]+"  # what changes within a template: numbers, titles, names
    plain = frame.assign(shape=frame["question"].str.replace(values, "?", regex=True).map(fold))
    assert (plain.groupby("shape")["split"].nunique() == 1).all()


def test_there_are_enough_questions_of_each_kind(frame, answered):
    assert frame["language"].value_counts()["chinese"] >= 40
    assert frame.loc[~frame["answerable"], "template"].str.startswith("no answer: ").all()
    counts = answered["split"].value_counts()
    assert counts["test"] >= 100  # one question is one point of the execution accuracy, or less
    for part in PARTS:
        some = frame[frame["split"] == part]
        assert 0.06 < 1 - some["answerable"].mean() < 0.1
        assert 0.25 < (some["language"] == "chinese").mean() < 0.35
        skills = set(some["skills"].explode().dropna())
        assert skills >= set("filter aggregate join group order limit date negation subquery distinct null".split())
    assert (frame["skills"].map(len) > 0).equals(frame["answerable"])


def test_skills_are_what_the_sql_shows(answered):
    shows = {"join": "JOIN", "group": "GROUP BY", "having": "HAVING", "order": "ORDER BY", "limit": "LIMIT"}
    shows |= {"distinct": "DISTINCT", "pattern": "LIKE", "outer": "LEFT JOIN", "null": "NULL"}
    for row in answered.itertuples():
        for skill, word in shows.items():
            assert (skill in row.skills) == (word in row.sql), (skill, row.question)
        assert ("subquery" in row.skills) == (row.sql.count("SELECT") > 1), row.question


def test_a_chinese_question_is_in_chinese_and_an_english_one_is_not(frame):
    chinese = frame["question"].str.contains("[\u4e00-\u9fff]")
    assert chinese.equals(frame["language"] == "chinese")
    assert frame.loc[~chinese, "question"].str.contains("[.?]$").all()
    assert frame.loc[chinese, "question"].str.contains("[。？]$").all()


# The card ----------------------------------------------------------------------------------------


def test_the_card_counts_what_there_is(frame):
    assert find(NAME).splits == frame["split"].value_counts().to_dict()
    card = data.card(NAME)
    for (language, part), some in frame.groupby(["language", "split"], observed=True):
        answerable = some["answerable"].sum()
        line = f"| {language} | {part} | {some['template'].nunique()} | {len(some)} | {len(some) - answerable} |"
        assert line in card, line
    for skill, count in frame["skills"].explode().value_counts().items():
        assert f"| {skill} | {count} |" in card, skill


def test_the_baselines_of_the_card_are_true(script):
    stated = data.card(NAME).split("<!-- begin of baselines -->\n")[1].split("\n<!-- end")[0].splitlines()
    assert stated == script.table(script.measured())


def test_the_readers_of_the_baselines_fill_in_the_values_of_a_question(script, connection):
    values = script.values_of(connection)
    filled = script.filled(
        "SELECT year FROM books WHERE title = 'Glass Weather'", "When did Seven Socks appear?", values
    )
    assert filled == "SELECT year FROM books WHERE title = 'Seven Socks'"
