"""Tables of our own experiments: long runs from ``benchmarks/`` that a lesson draws, one row a run."""

from __future__ import annotations

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, folder
from kerasllm.data.loaders.registry import loads, whole

pd = needed("pandas", "data")


@loads("character-models")
def _character_models(dataset: Dataset) -> pd.DataFrame:
    # The validation books were read by the longer runs alone.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv")
    return whole(frame.fillna({"validation_bits": 0.0}))
