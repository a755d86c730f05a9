"""A token file: the ids of a corpus on disk, read as an array without loading it.

The file holds nothing but ids, little-endian, two bytes each where the vocabulary allows it. Beside it
stands a small JSON file with their type, their number and the fingerprint of the tokenizer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from kerasllm.common import write_whole
from kerasllm.text import Tokenizer

VERSION = 1
_PIECE = 1 << 20  # characters that are encoded at once


def write_tokens(
    texts: Iterable[str], tokenizer: Tokenizer, path: str | os.PathLike, *, end: bool | None = None
) -> np.memmap:
    """Encode texts into a token file, piece by piece: the corpus may be larger than memory.

    The file gets its name when it is complete; an interrupted run leaves none that could be read.

    Args:
        texts: the texts, any iterable of str, for example an open file (its lines) or a generator.
            Memory grows with the longest single text, not with their number.
        tokenizer: the tokenizer.
        path: the file to write; ``.json`` is added for the one beside it.
        end: whether ``tokenizer.eos_id`` follows every text. When None: if the tokenizer has one.

    Returns:
        The ids, as `read_tokens` gives them.

    Raises:
        ValueError: if there are no ids to write, or `end` is True without an ``<eos>``.
        TypeError: if a text is not a str.

    Example:
        >>> import tempfile
        >>> from kerasllm import text
        >>> tokenizer = text.train_characters(["ab"], byte_fallback=False, eos=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tokens(["ab", "ba"], tokenizer, folder + "/corpus.tokens").tolist()
        [3, 4, 2, 4, 3, 2]
    """
    if end and tokenizer.eos_id is None:
        raise ValueError("end=True needs a tokenizer with <eos>. Train it with eos=True, or leave end out.")
    end_id = tokenizer.eos_id if end or end is None else None
    path = Path(path)
    dtype = np.dtype("<u2" if tokenizer.vocabulary_size <= 1 << 16 else "<u4")
    count = 0
    with write_whole(path) as unfinished:
        with open(unfinished, "wb") as file:
            for piece in _pieces(texts):
                ids, _ = tokenizer.encode_flat(piece, end_id=end_id)
                file.write(ids.astype(dtype).data)
                count += len(ids)
            file.flush()
            os.fsync(file.fileno())  # a full disk shows here, while the old header is still there
        if not count:
            raise ValueError("There are no ids to write: the texts are empty. Is the generator used up already?")
        # The old header goes first: at no moment does it stand beside the new ids.
        _header_path(path).unlink(missing_ok=True)
    header = {"version": VERSION, "dtype": dtype.str, "count": count, "tokenizer": tokenizer.fingerprint}
    with write_whole(_header_path(path)) as unfinished:
        unfinished.write_text(json.dumps(header) + "\n", "utf-8")
    return read_tokens(path, tokenizer)


def read_tokens(path: str | os.PathLike, tokenizer: Tokenizer | None = None) -> np.memmap:
    """The ids of a token file as an array that stays on disk.

    Args:
        path: a file made by `write_tokens`.
        tokenizer: the tokenizer it should have been made with; checked when given.

    Returns:
        Read-only array (ids,) of uint16 or uint32. Slices are read when they are used.

    Raises:
        FileNotFoundError: if the file, or the ``.json`` beside it, is missing.
        ValueError: if the two do not fit each other or the tokenizer.
    """
    path, beside = Path(path), _header_path(Path(path))
    for needed in (path, beside):
        if not needed.exists():
            raise FileNotFoundError(f"There is no {needed}. Write the token file with write_tokens(texts, ..., path).")
    try:
        header = json.loads(beside.read_text("utf-8"))
        version, dtype = header["version"], np.dtype(header["dtype"])
        count, fingerprint = int(header["count"]), header["tokenizer"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{beside} does not describe a token file ({error!r}). Write it anew with write_tokens."
        ) from None
    if version != VERSION or dtype.str not in ("<u2", "<u4"):
        raise ValueError(
            f"{beside} says version {version} and ids of type {dtype.str}; this version of kerasllm reads "
            f"version {VERSION} with <u2 or <u4. Write the file anew with write_tokens."
        )
    if path.stat().st_size != count * dtype.itemsize:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, but {beside.name} promises {count} ids of "
            f"{dtype.itemsize} bytes. The copy is incomplete or the file was changed: write it anew with write_tokens."
        )
    if tokenizer is not None and fingerprint != tokenizer.fingerprint:
        raise ValueError(
            f"{path} was written with the tokenizer {fingerprint}, not with this one ({tokenizer.fingerprint}): "
            "its ids mean other tokens. Load the right tokenizer, or write the file anew with write_tokens."
        )
    return np.memmap(path, dtype, "r", shape=(count,))


def _header_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    if isinstance(texts, str):
        raise TypeError(f"Expected several texts, not the one text {texts[:40]!r}. Put it into a list: [text].")
    piece, size = [], 0
    for text in texts:
        piece.append(text)
        size += len(text) if isinstance(text, str) else 0
        if size >= _PIECE or len(piece) >= _PIECE // 16:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
