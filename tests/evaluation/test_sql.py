"""SQL of a model: one SELECT passes and nothing else; results are compared as they should be."""

import sqlite3
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasllm import data
from kerasllm.data.loaders import library_database
from kerasllm.evaluation import SelectError, execution_accuracy, read_only, run_select
from kerasllm.evaluation.sql import has_order, same_rows

TABLES = """
CREATE TABLE loans (id INTEGER PRIMARY KEY, book TEXT, fine REAL);
INSERT INTO loans VALUES (1, 'Emma', 0.2), (2, 'Emma', 0.1), (3, 'Nana', NULL);
CREATE VIEW late AS SELECT book FROM loans WHERE fine > 0;
CREATE TRIGGER loud AFTER INSERT ON loans BEGIN DELETE FROM loans; END;
"""


@pytest.fixture
def path(tmp_path):
    """A database file."""
    path = tmp_path / "a b#c%20.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    connection.close()
    return path


@pytest.fixture(params=["file", "memory"])
def connection(request, path):
    """One that the file itself protects, and one that nothing protects but the guard."""
    if request.param == "file":
        connection = read_only(path)
    else:
        connection = sqlite3.connect(":memory:")
        connection.executescript(TABLES)
    yield connection
    connection.close()


# What is refused ----------------------------------------------------------------------------------

INJECTIONS = [
    "DELETE FROM loans",
    "UPDATE loans SET fine = 0",
    "INSERT INTO loans (book) VALUES ('x')",
    "REPLACE INTO loans VALUES (1, 'x', 0)",
    "DROP TABLE loans",
    "ALTER TABLE loans ADD COLUMN x",
    "CREATE TABLE mine (a)",
    "CREATE TEMP TABLE mine AS SELECT * FROM loans",
    "WITH one AS (SELECT 1) DELETE FROM loans",
    "WITH one AS (SELECT 1) INSERT INTO loans (book) SELECT 'x' FROM one",
    "with one as (select 1) update loans set fine = 0 where id in one returning book",
    "SELECT 1; DELETE FROM loans",
    "SELECT 1;;\n-- nothing more\nDROP TABLE loans",
    "SELECT 'a;' ; UPDATE loans SET fine = 0 --",
    "/* SELECT */ DELETE FROM loans",
    "-- SELECT\nDELETE FROM loans",
    "/* SELECT 1 */; DELETE FROM loans",
    "\ufeffDELETE FROM loans",
    "SELECT 1\x00; DELETE FROM loans",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "SELECT * FROM pragma_query_only",
    "SELECT * FROM pragma_table_info('loans')",
    "ATTACH DATABASE 'FOLDER/new.sqlite' AS other",
    "VACUUM INTO 'FOLDER/new.sqlite'",
    "SELECT load_extension('FOLDER/evil.so')",
    "SELECT writefile('FOLDER/new.sqlite', book) FROM loans",
    "SELECT readfile('/etc/hostname')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT (SELECT load_extension('x')) FROM loans",
    "SELECT book FROM loans ORDER BY load_extension('x')",
    "SELECT randomblob(2000000000)",
    "SELECT zeroblob(2000000000)",
    "SELECT printf('%.*c', 2000000000, 'x')",
    "EXPLAIN DELETE FROM loans",
    "EXPLAIN QUERY PLAN SELECT 1",
    "VALUES (1)",
    "BEGIN",
    "COMMIT",
    "SAVEPOINT one",
    "ANALYZE",
    "REINDEX",
    "DETACH main",
    "SELECT",
    "",
    " \n; ",
    "Show me all loans.",
    "SELECT '\ud800'",
    "SELECT * FROM json_each('[1]')",
    "SELECT book INTO mine FROM loans",
]


@pytest.mark.parametrize("sql", INJECTIONS)
def test_whatever_is_no_select_is_refused_and_has_done_nothing(sql, connection, tmp_path):
    connection.execute("SELECT 1")
    before = list(connection.iterdump())
    with pytest.raises(SelectError) as caught:
        run_select(connection, sql.replace("FOLDER", str(tmp_path)))
    assert len(str(caught.value).splitlines()) == 1
    assert list(connection.iterdump()) == before
    assert not connection.in_transaction
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a b#c%20.sqlite"]


def test_a_statement_that_its_owner_has_run_before_is_asked_about_again():
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES)
    sql = "WITH one AS (SELECT 3) DELETE FROM loans WHERE id IN one"
    connection.execute(sql)  # it stays prepared
    connection.commit()
    with pytest.raises(SelectError, match=r"would do more than read \(action 9 on loans\)"):
        run_select(connection, sql)
    assert not connection.in_transaction
    connection.execute(sql)  # whoever owns the connection may write as before
    connection.close()


def test_the_connection_of_its_owner_is_as_it_was(path):
    connection = sqlite3.connect(path)
    connection.row_factory, connection.text_factory = sqlite3.Row, bytes
    assert run_select(connection, "SELECT book FROM loans LIMIT 1") == [("Emma",)]
    with pytest.raises(SelectError):
        run_select(connection, "DROP TABLE loans")
    [row] = connection.execute("SELECT upper(hex(zeroblob(20000))) AS found")
    assert row["found"] == b"0" * 40_000
    connection.execute("UPDATE loans SET fine = 1")
    connection.execute("ATTACH ':memory:' AS other")
    connection.close()


def test_a_file_that_is_opened_to_read_cannot_be_written(path, tmp_path):
    connection = read_only(str(path))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM loans")
    connection.close()
    with pytest.raises(FileNotFoundError, match="There is no database"):
        read_only(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()
    (tmp_path / "letter").write_text("Dear Ann, " * 100)
    connection = read_only(tmp_path / "letter")
    with pytest.raises(SelectError, match="file is not a database"):
        run_select(connection, "SELECT * FROM loans")
    connection.close()


# Limits -------------------------------------------------------------------------------------------

ENDLESS = {
    "recursion": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    "product": "SELECT count(*) FROM " + ", ".join(f"loans l{i}" for i in range(30)),
    "sorting": "SELECT a.id FROM "
    + ", ".join(f"loans {name}" for name in "abcdefghijklmnop")
    + " ORDER BY a.fine + p.id",
    "trim": "WITH s(x, y) AS MATERIALIZED (SELECT replace('0123456789', '0', 'X'), 'x') SELECT "
    + ", ".join(["trim(x, y)"] * 90)
    + " FROM s, "
    + ", ".join(f"loans l{i}" for i in range(30))
    + " ORDER BY 1",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_takes_too_long_is_stopped(kind, connection):
    start = time.monotonic()
    with pytest.raises(SelectError, match="takes too long"):
        run_select(connection, ENDLESS[kind], seconds=0.2)
    assert time.monotonic() - start < 2
    assert run_select(connection, "SELECT 1") == [(1,)]


def test_one_call_of_a_function_is_short_too(connection):
    """A function is not interrupted: texts are kept so short that the slowest one, with 90 columns of it, ends soon."""
    grown = "replace(replace(replace('0000000', '0', '1111111111'), '1', '2222222222'), '2', '33333')"
    sql = f"WITH s(x) AS MATERIALIZED (SELECT {grown}), "
    sql += "t(x, y) AS MATERIALIZED (SELECT x, substr(x, 1, 800) || 'b' FROM s) "
    start = time.monotonic()
    assert len(run_select(connection, sql + f"SELECT {', '.join(['trim(x, y)'] * 90)} FROM t", seconds=9)[0]) == 90
    assert time.monotonic() - start < 5
    with pytest.raises(SelectError, match="too big"):
        run_select(connection, "SELECT " + grown.replace("'33333'", "'333333333333333'"))


def test_rows_and_sizes_have_a_limit(connection):
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT i FROM n"
    assert len(run_select(connection, numbers.format(1000))) == 1000
    with pytest.raises(SelectError, match=r"more than 1,000 rows. Ask for fewer: add LIMIT 1000\."):
        run_select(connection, numbers.format(1001))
    assert len(run_select(connection, numbers.format(1001), rows=1001)) == 1001
    assert len(run_select(connection, "SELECT book FROM loans", rows=3)) == 3
    with pytest.raises(SelectError, match="5,008 characters; 5,000 are allowed"):
        run_select(connection, "SELECT 1" + " " * 5_000)
    wide = "WITH s(x) AS (SELECT replace('000000000', '0', '{}')) SELECT {} FROM s, loans a, loans b, loans c, loans d"
    with pytest.raises(SelectError, match="hold more than 10,000,000 characters"):
        run_select(connection, wide.format("1" * 1000, ", ".join(["x"] * 90)), seconds=20)
    with pytest.raises(SelectError, match="too many"):
        run_select(connection, "SELECT " + ", ".join(["1"] * 501))


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"sql": None}, TypeError, "SQL is a string, not None"),
        ({"sql": b"SELECT 1"}, TypeError, "SQL is a string"),
        ({"connection": "library.sqlite"}, TypeError, r"read_only\(path\) opens a file"),
        ({"rows": 0}, ValueError, "rows must be"),
        ({"seconds": 0}, ValueError, "seconds must be"),
        ({"longest": 9}, ValueError, "longest must be"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, word, connection):
    with pytest.raises(error, match=word):
        run_select(**{"connection": connection, "sql": "SELECT 1", **arguments})


# What passes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("select book from loans where id = 1", [("Emma",)]),
        ("  -- first\n /* second; */ SELECT 1 ;  -- last", [(1,)]),
        ("WITH dear AS (SELECT * FROM loans WHERE fine > 0.1) SELECT id FROM dear", [(1,)]),
        ("SELECT 'DROP TABLE loans; --'", [("DROP TABLE loans; --",)]),
        ('SELECT book AS "delete" FROM loans GROUP BY 1 HAVING count(*) > 1', [("Emma",)]),
        ("SELECT 1 UNION SELECT 2 ORDER BY 1 DESC LIMIT 1", [(2,)]),
        ("SELECT id, row_number() OVER (PARTITION BY book ORDER BY id) FROM loans ORDER BY id LIMIT 1", [(1, 1)]),
        ("SELECT round(sum(fine), 2), avg(fine) IS NULL, count(fine) FROM loans", [(0.3, 0, 2)]),
        ("SELECT count(*) FROM late", [(2,)]),
        ("SELECT strftime('%Y', '2025-03-04'), julianday('2025-03-04') - julianday('2025-03-01')", [("2025", 3.0)]),
        ("SELECT NULL, 1.5, '中文🙂', x'00'", [(None, 1.5, "中文🙂", b"\x00")]),
        ("SELECT book FROM loans WHERE book LIKE 'e%' AND book NOT IN (SELECT 'Nana') LIMIT 1", [("Emma",)]),
        ("SELECT name FROM sqlite_schema WHERE type = 'table'", [("loans",)]),
        ("SELECT book FROM loans WHERE 0", []),
    ],
)
def test_one_select_gives_its_rows(sql, rows, connection):
    assert run_select(connection, sql) == rows


def test_every_sql_of_the_set_passes_and_is_right():
    frame, connection = data.load("library-questions"), library_database()
    found = execution_accuracy(connection, frame["sql"], frame["sql"], frame["ordered"])
    assert found.value == found.high == 1.0
    assert 0.97 < found.low < 1
    assert set(found.problems) == {""}
    # Where an order is asked for, ORDER BY says so; a LIMIT 1 has one too, and a row has no order.
    answered = frame[frame["answerable"]]
    single = answered["sql"].str.endswith("LIMIT 1")
    assert (answered["sql"].map(has_order) == (answered["ordered"] | single)).all()
    connection.close()


# Comparison ---------------------------------------------------------------------------------------


def test_rows_are_a_multiset_and_in_order_where_the_reference_orders(connection):
    plain, ordered = "SELECT book FROM loans", "SELECT book FROM loans ORDER BY id"
    said = [
        "SELECT book FROM loans ORDER BY id DESC",
        "SELECT DISTINCT book FROM loans",
        "SELECT book, id FROM loans",
        "SELECT upper(book) FROM loans",
        "SELECT l.book AS title FROM loans AS l",
    ]
    right = [True, False, False, False, True]
    assert execution_accuracy(connection, said, [plain] * 5).right == right
    assert execution_accuracy(connection, said, [ordered] * 5).right == [False, False, False, False, True]
    assert execution_accuracy(connection, said, [ordered] * 5, [False] * 5).right == right
    assert execution_accuracy(connection, said[:1], [plain], [True]).right == [False]


def test_numbers_are_equal_in_nine_digits_and_nothing_else_is_mixed_up(connection):
    def right(said, known):
        return execution_accuracy(connection, [f"SELECT {said}"], [f"SELECT {known}"]).right == [True]

    assert right("0.1 + 0.2", "0.3")
    assert right("(SELECT sum(fine) FROM loans)", "0.3")
    assert right("2", "2.0")
    assert right("1e400", "1e400")
    assert not right("0.30001", "0.3")
    assert not right("123456789012", "123456789013")  # whole numbers are exact
    assert not right("'2'", "2")
    assert not right("NULL", "0")
    assert not right("''", "NULL")
    assert not right("1, 2", "2, 1")
    assert not right("1 WHERE 0", "1")


def test_a_question_without_an_answer_is_right_if_that_is_said(connection):
    known = ["", None, "SELECT 1", ""]
    found = execution_accuracy(connection, [None, " ", "", "SELECT 1"], known)
    assert found.right == [True, True, False, False]
    found = execution_accuracy(connection, ["DROP TABLE loans"] * 4, known)
    assert found.right == [False] * 4
    assert all(problem == "The SQL begins with DROP. Give one SELECT." for problem in found.problems)


def test_the_interval_is_that_of_wilson(connection):
    """Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I: 81 of 263 and 0 of 20."""
    for right, count, low, high in ((81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611)):
        said = ["SELECT 1"] * right + ["SELECT 2"] * (count - right)
        found = execution_accuracy(connection, said, ["SELECT 1"] * count)
        assert found.value == right / count
        assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(
    ("said", "known", "ordered", "error", "word"),
    [
        (["SELECT 1"], ["SELECT 1", ""], None, ValueError, "1 predictions, 2 references"),
        (["SELECT 1"], ["SELECT 1"], [], ValueError, "0 values of ordered"),
        ([], [], None, ValueError, "at least one"),
        ("SELECT 1", ["SELECT 1"], None, TypeError, "predictions must be a list"),
        ([3], ["SELECT 1"], None, TypeError, r"predictions\[0\] is int"),
        (["SELECT 1"], [["SELECT 1"]], None, TypeError, r"references\[0\] is list"),
        (["SELECT 1"], ["SELECT price"], None, ValueError, r"references\[0\] cannot be judged by: .*no such column"),
        (["SELECT 1"], ["DELETE FROM loans"], None, ValueError, r"references\[0\] cannot be judged by"),
    ],
)
def test_what_cannot_be_judged_is_refused(said, known, ordered, error, word, connection):
    with pytest.raises(error, match=word):
        execution_accuracy(connection, said, known, ordered)


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("select a from t order\n by a limit 3", True),
        ("WITH s AS (SELECT a FROM t ORDER BY a) SELECT a FROM s", False),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", False),
        ("SELECT a FROM t WHERE b = 'ORDER BY ('", False),
        ("SELECT a FROM t WHERE b = ')' ORDER BY a", True),
        ("SELECT a FROM t -- ORDER BY a", False),
        ("SELECT a FROM t /* ( */ ORDER /* x */ BY a", True),
        ('SELECT a AS "ORDER" , b AS "BY" FROM t', False),
        ("SELECT 'it''s' FROM t ORDER BY 1", True),
        ("SELECT a FROM [ORDER BY] UNION SELECT 1", False),
    ],
)
def test_an_order_counts_where_the_whole_has_one(sql, found):
    assert has_order(sql) == found


cells = st.none() | st.integers(-3, 3) | st.sampled_from([0.1, 0.5, 2.0]) | st.text("ab", max_size=2)
results = st.lists(st.tuples(cells, cells), max_size=5)


@settings(deadline=None)
@given(results, results, st.randoms())
def test_results_are_equal_if_each_row_stands_as_often_in_both(one, other, random):
    mixed = random.sample(one, len(one))
    assert same_rows(mixed, one)
    assert same_rows(mixed, one, ordered=True) == (mixed == one)
    assert same_rows(one, other) == (Counter(one) == Counter(other)) == same_rows(other, one)


def test_a_function_behind_from_is_refused_also_where_the_connection_knows_it(connection):
    asked = "SELECT * FROM json_each('[1]')"
    connection.execute(asked).fetchall()  # from now on SQLite asks only whether it may be read
    with pytest.raises(SelectError, match="json_each"):
        run_select(connection, asked)
