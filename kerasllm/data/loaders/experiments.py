"""Tables of our own experiments: long runs from ``benchmarks/`` that a lesson draws, one row a run."""

from __future__ import annotations

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, folder
from kerasllm.data.loaders.registry import loads, whole

pd = needed("pandas", "data")


@loads("reading-order")
def _reading_order(dataset: Dataset) -> pd.DataFrame:
    # Runs that chose a rate did not read the test texts; a length is that of the memory task alone.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv", keep_default_na=False, na_values=[""])
    numbers = ["length", "test_accuracy"]
    frame[numbers] = frame[numbers].fillna(0)
    texts = ["language", "order", "start"]
    frame[texts] = frame[texts].fillna("")
    return whole(frame.astype({"length": int}))
