"""What --documents names: a folder or a file of texts, a saved retriever, or a data set."""

from __future__ import annotations

import zipfile
from pathlib import Path

from kerasllm.cli.errors import UserError, told


def open_documents(name: str):
    """The `kerasllm.tasks.Retriever` of documents."""
    from kerasllm.data import DataError
    from kerasllm.tasks.documents import read_passages
    from kerasllm.tasks.passages import Passage, Retriever

    with told(DataError, ValueError, TypeError):
        if Path(name).is_file() and zipfile.is_zipfile(name):
            return Retriever.load(name)
        if Path(name).exists():
            return Retriever(read_passages(name))
        return Retriever(Passage(*row) for row in _titled(name))


def _titled(name: str):
    """The titles and texts of a data set."""
    from kerasllm import data
    from kerasllm.data.catalogue import datasets

    if name not in datasets():
        raise UserError(f"--documents {name}: there is no such folder, no such file and no such data set")
    frame = data.load(name)
    if not {"title", "text"} <= set(frame.columns):
        raise UserError(f"--documents {name}: the set has no titles and texts, only {', '.join(frame.columns)}")
    return frame[["title", "text"]].itertuples(index=False)
