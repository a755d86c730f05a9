"""What every loader uses: where it is registered, how it reads its archive, what it says about dropped rows."""

from __future__ import annotations

from collections.abc import Callable

from kerasllm.common.extras import needed
from kerasllm.data.archives import read_members
from kerasllm.data.catalogue import Dataset
from kerasllm.data.fetching import fetch

pd = needed("pandas", "data")

LOADERS: dict[str, Callable[[Dataset], pd.DataFrame]] = {}


def loads(name: str):
    """Register the function below as the loader of the set with this name."""

    def register(function):
        LOADERS[name] = function
        return function

    return register


def members(dataset: Dataset) -> list[bytes]:
    """The members that the catalogue names for a set, from its verified archive."""
    found = read_members(fetch(dataset.archive, dataset.name), dataset.members)
    return [found[name] for name in dataset.members]


def whole(frame: pd.DataFrame, **dropped: int) -> pd.DataFrame:
    """A frame with the counts of what its loader dropped: nothing, if none are given."""
    counts = {"dropped_empty": 0, "dropped_conflicts": 0, "dropped_duplicates": 0, **dropped}
    frame.attrs = {"rows_read": len(frame) + sum(counts.values()), **counts}
    return frame
