"""The table of a long experiment: its rows are written as soon as they are there, so it may be stopped and started."""

import csv
import re
from pathlib import Path

from kerasllm.data.catalogue import folder


class RunTable:
    """Rows in a file, and more of them.

    Args:
        path: a CSV; it need not be there yet.
        columns: its columns.
    """

    def __init__(self, path, columns):
        self.path, self.columns, self.rows = Path(path), list(columns), []
        if self.path.exists():
            with self.path.open(encoding="utf-8", newline="") as file:
                self.rows = list(csv.DictReader(file))

    def find(self, **wanted):
        """The rows with these values, all of them texts."""
        return [row for row in self.rows if all(row[name] == str(value) for name, value in wanted.items())]

    def has(self, **wanted):
        """Whether there is such a row."""
        return bool(self.find(**wanted))

    def write(self, rows):
        """Rows as dictionaries, written together; a column that one lacks is empty."""
        rows = [{name: str(row.get(name, "")) for name in self.columns} for row in rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)
        self.rows += rows
        return rows

    def add(self, row):
        """One row, which is printed, too."""
        [row] = self.write([row])
        print(",".join(row.values()), flush=True)


def ship(path, name, what="runs"):
    """Copies a table into the set of this name, and its number of rows into the card and the catalogue."""
    (folder() / f"{name}.csv").write_text(Path(path).read_text("utf-8"), "utf-8", newline="\n")
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = sum(1 for _ in csv.DictReader(file))  # a text may have several lines
    for file, pattern, found in (
        (f"{name}.md", r"\| Rows \| [\d,]+ \|", f"| Rows | {rows:,} |"),
        (f"{name}.md", r"dropped: [\d,]+ rows", f"dropped: {rows:,} rows"),
        ("catalog.toml", rf"(\[sets\.{name}\][^\[]*rows = )\d+", rf"\g<1>{rows}"),
    ):
        place = folder() / file
        place.write_text(re.sub(pattern, found, place.read_text("utf-8"), count=1), "utf-8", newline="\n")
    print(f"{rows:,} {what} are in the set {name}.")
