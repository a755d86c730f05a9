"""Tables of our own experiments: long runs from ``benchmarks/`` that a lesson draws, one row a run."""

from __future__ import annotations

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, folder
from kerasllm.data.loaders.registry import loads, whole

pd = needed("pandas", "data")


@loads("modern-blocks")
def _modern_blocks(dataset: Dataset) -> pd.DataFrame:
    # The test books were not read by runs that chose a rate.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv")
    return whole(frame.fillna({"test": 0.0}).astype({"chosen": bool}))
