"""Tables of long experiments: what was written is found again by a later run, and goes into its set with its number."""

from pathlib import Path

import pytest

from kerasllm.data import catalogue


@pytest.fixture
def run_table(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import run_table

    return run_table


def test_a_later_run_finds_what_was_written(run_table, tmp_path):
    path = tmp_path / "new" / "runs.csv"
    table = run_table.RunTable(path, ["arm", "seed", "text"])
    table.add({"arm": "first", "seed": 0, "text": "two\nlines"})
    table.write([{"arm": "first", "seed": 1}])
    again = run_table.RunTable(path, ["arm", "seed", "text"])
    assert again.rows == table.rows
    assert again.find(arm="first", seed=1) == [{"arm": "first", "seed": "1", "text": ""}]
    assert again.has(seed=0, text="two\nlines")
    assert not again.has(arm="first", seed=2)


def test_shipping_writes_the_number_of_rows_where_it_stands(run_table, tmp_path, monkeypatch):
    monkeypatch.setattr(run_table, "folder", lambda: tmp_path)
    (tmp_path / "some.md").write_text("| Rows | 7 |\nnothing dropped: 7 rows")
    (tmp_path / "catalog.toml").write_text("[sets.other]\nrows = 7\n[sets.some]\nlabels = 3\nrows = 7\n")
    table = run_table.RunTable(tmp_path / "out.csv", ["seed", "text"])
    table.write({"seed": seed, "text": "two\nlines"} for seed in range(1_234))
    run_table.ship(table.path, "some")
    assert (tmp_path / "some.csv").read_bytes() == table.path.read_bytes()
    assert (tmp_path / "some.md").read_text() == "| Rows | 1,234 |\nnothing dropped: 1,234 rows"
    catalog = (tmp_path / "catalog.toml").read_text()
    assert catalog == "[sets.other]\nrows = 7\n[sets.some]\nlabels = 3\nrows = 1234\n"


def test_all_sets_that_are_shipped_are_in_the_catalogue(run_table):
    scripts = (Path(__file__).parents[2] / "benchmarks").glob("*.py")
    named = [
        line.split('"')[1]
        for script in scripts
        for line in script.read_text("utf-8").splitlines()
        if "ship(given.out, " in line
    ]
    assert len(named) >= 5
    assert set(named) <= set(catalogue.datasets())
