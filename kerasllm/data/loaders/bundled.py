"""Tables that come with scikit-learn."""

from __future__ import annotations

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset
from kerasllm.data.errors import DataError
from kerasllm.data.loaders.registry import loads
from kerasllm.data.splits import clean

pd = needed("pandas", "data")


@loads("breast-cancer")
def _breast_cancer(dataset: Dataset) -> pd.DataFrame:
    return _bundled("load_breast_cancer")


@loads("digits")
def _digits(dataset: Dataset) -> pd.DataFrame:
    return _bundled("load_digits")


def _bundled(function: str) -> pd.DataFrame:
    """A table that comes with scikit-learn; the labels keep the order of its class numbers."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError('This data set comes with scikit-learn. Install it: pip install "kerasllm[data]"') from error
    bunch = getattr(datasets, function)()
    frame = pd.DataFrame(bunch.data, columns=[str(name) for name in bunch.feature_names])
    keys = pd.Series([row.astype("<f8").tobytes() for row in bunch.data])
    frame["label"] = pd.Categorical.from_codes(bunch.target, [str(name) for name in bunch.target_names])
    return clean(frame, keys)
