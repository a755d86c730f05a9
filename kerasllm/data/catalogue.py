"""The catalogue: which data sets and trained models exist, which archive each one comes from, and its card."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kerasllm.data.errors import UnknownDatasetError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Archive:
    """One archive on the Python package index.

    Either `sha256` holds for the whole file, or `member_sha256` for each member that is read: some
    packages have another file for each platform, with the same data inside. Then `file` is a
    pattern such as ``"gensim-4.4.0-*.whl"``.
    """

    package: str
    version: str
    file: str
    bytes: int
    licence: str
    sha256: str = ""
    member_sha256: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if bool(self.sha256) == bool(self.member_sha256):
            raise ValueError(f"{self.package}: give either sha256 or member_sha256, so that there is one truth.")
        if self.is_sdist and not self.sha256:
            raise ValueError(f"{self.package}: a source archive needs sha256, so that pip opens no other file.")

    @property
    def requirement(self) -> str:
        """What one would write after ``pip download``."""
        return f"{self.package}=={self.version}"

    @property
    def megabytes(self) -> float:
        """The size of the download."""
        return self.bytes / 1e6

    @property
    def is_sdist(self) -> bool:
        """True for source archives: pip would run code of theirs, see `kerasllm.data.fetching`."""
        return not self.file.endswith(".whl")


@dataclass(frozen=True)
class Dataset:
    """One data set of the catalogue. Without an `archive` it comes with an installed library."""

    name: str
    task: str
    language: str
    licence: str
    source: str
    cite: str
    splits: dict[str, int]
    rows: int  # after cleaning
    archive: Archive | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedModel:
    """One trained model of the catalogue: files of one folder in an archive."""

    name: str
    task: str
    language: str
    licence: str
    cite: str
    parameters: int
    archive: Archive
    folder: str
    members: tuple[str, ...]  # by their places in the folder


def folder() -> Path:
    """The folder of the catalogue: inside an installed wheel, or ``datasets/`` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    # The wheel first: beside an installed package, a folder "datasets" is another project's.
    shipped = package / "_datasets"
    return shipped if shipped.is_dir() else package.parent / "datasets"


@cache
def datasets() -> dict[str, Dataset]:
    """All data sets of the catalogue, by name."""
    table, archives = _read()
    return {name: _dataset(name, values, archives) for name, values in table["sets"].items()}


@cache
def models() -> dict[str, TrainedModel]:
    """All trained models of the catalogue, by name."""
    table, archives = _read()
    return {
        name: TrainedModel(
            name=name, **{**values, "archive": archives[values["archive"]], "members": tuple(values["members"])}
        )
        for name, values in table["models"].items()
    }


def _read() -> tuple[dict, dict[str, Archive]]:
    with open(folder() / "catalog.toml", "rb") as file:
        table = tomllib.load(file)
    return table, {key: Archive(**values) for key, values in table["archives"].items()}


def _dataset(name: str, values: dict, archives: dict[str, Archive]) -> Dataset:
    archive = archives[values.pop("archive")] if "archive" in values else None
    members = tuple(values.pop("members", ()))
    rows = values.pop("rows", None) or sum(values["splits"].values())
    source = values.pop("source", None) or f"package index: {archive.package} {archive.version}"
    return Dataset(name=name, archive=archive, members=members, source=source, rows=rows, **values)


def find(name: str) -> Dataset:
    """The entry with this name.

    Raises:
        UnknownDatasetError: if there is none; the message suggests the nearest name.
    """
    known = datasets()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name).casefold().replace("_", "-"), known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise UnknownDatasetError(f"There is no data set {name!r}. {hint}Known names: {', '.join(known)}.")


def catalog() -> pd.DataFrame:
    """All data sets, one a row. Reads a file of this package; opens no connection.

    Returns:
        A frame with the columns name, task, language, rows, licence, download_mb (0 where nothing
        is fetched) and source. It prints with all of them.

    Example:
        >>> catalog().set_index("name").loc["king-james", "rows"]
        np.int64(31102)
    """
    from kerasllm.data.printed import WholeTable

    return WholeTable(
        [
            {
                "name": one.name,
                "task": one.task,
                "language": one.language,
                "rows": one.rows,
                "licence": one.licence,
                "download_mb": round(one.archive.megabytes, 1) if one.archive else 0.0,
                "source": one.source,
            }
            for one in datasets().values()
        ]
    )


def card(name: str) -> str:
    """The card of a data set or a trained model: what it is, who made it, licence, known flaws, what to cite.

    Args:
        name: a name from `catalog`, or of a model that `kerasllm.weights.pretrained` fetches.

    Returns:
        The card as Markdown text.

    Raises:
        UnknownDatasetError: if nothing has this name.

    Example:
        >>> print(card("king-james").splitlines()[0])
        # king-james
    """
    path = folder() / (f"models/{name}.md" if name in models() else f"{find(name).name}.md")
    return path.read_text(encoding="utf-8")
