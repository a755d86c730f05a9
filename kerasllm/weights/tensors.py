"""The safetensors format: named arrays in one file, written and read one at a time."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import ml_dtypes  # noqa: F401  NumPy then knows bfloat16 and the floats of 8 bits
import numpy as np
from safetensors import SafetensorError, safe_open

from kerasllm.common import write_whole
from kerasllm.common.memory import LARGE, returned_zeros

# NumPy's name of a dtype and the one in the file.
CODES = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "complex64": "C64", "bool": "BOOL"},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    **{"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0"},
}
NAMES = {code: name for name, code in CODES.items()}


class Tensor(NamedTuple):
    """One array of a file: what is known before its numbers are read, and how to get them."""

    dtype: str  # NumPy's name
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def write_tensors(path: str | os.PathLike, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file. Equal content gives equal bytes, and one array is in memory at a time.

    The writer of the package safetensors needs all arrays at once and mixes the order of the metadata.

    Args:
        path: the file to write. It gets its name when it is complete.
        tensors: from each name to a `Tensor`.
        metadata: text to store as well.

    Raises:
        ValueError: if the format has no such dtype.
        OSError: if the file cannot be written, for example because the disk is full; nothing is left of it.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/one.safetensors"
        >>> write_tensors(path, {"scale": Tensor("int8", (2,), lambda: np.array([1, 2], "int8"))}, {"by": "me"})
        >>> with read_tensors(path) as (tensors, metadata):
        ...     tensors["scale"].read(), metadata
        (array([1, 2], dtype=int8), {'by': 'me'})

    Reference: https://huggingface.co/docs/safetensors, "Format".
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in CODES:
            raise ValueError(f"{name} has the dtype {tensor.dtype}, which a safetensors file cannot hold.")
    # The largest numbers first, as the package does it: every array then begins at a multiple of its item's size.
    order = sorted(tensors, key=lambda name: (-np.dtype(tensors[name].dtype).itemsize, name))
    header, end = {"__metadata__": dict(sorted(metadata.items()))}, 0
    for name in order:
        dtype, shape, _ = tensors[name]
        start, end = end, end + np.dtype(dtype).itemsize * int(np.prod(shape, dtype="int64"))
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with write_whole(path) as unfinished, open(unfinished, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in order:
                array = np.ascontiguousarray(tensors[name].read(), tensors[name].dtype)
                file.write(array.reshape(-1).view("uint8"))
    except OSError as error:
        needs = f"{error.strerror}; the file needs {len(text) + 8 + end:,} bytes"
        raise OSError(error.errno, needs, os.fspath(path)) from None


@contextmanager
def read_tensors(path: str | os.PathLike) -> Iterator[tuple[dict[str, Tensor], dict[str, str]]]:
    """What a safetensors file holds. The header is checked; numbers are read when a tensor's `read` is called.

    The file is read, not mapped into memory: a tensor that was copied takes no space any more, and a file that
    somebody cuts in the meantime gives an error in place of the end of the process.

    Args:
        path: the file.

    Yields:
        A dictionary from each name to a `Tensor`, and the metadata.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no safetensors file, not a whole one, or holds a dtype that NumPy does not know.
    """
    if not Path(path).is_file():
        found = "is a folder, not a file" if Path(path).is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {found}. Write a file with save_safetensors(model, path).")
    try:
        # The package checks lengths, overlaps and overflows before we look.
        with safe_open(path, framework="numpy", backend="pread"):
            pass
        file = open(path, "rb")
    except (SafetensorError, UnicodeError) as error:
        raise ValueError(f"{path} is no safetensors file, or not a whole one ({error}). Bring it anew.") from None
    with file:
        (length,) = struct.unpack("<Q", file.read(8))
        try:
            header = json.loads(file.read(length), object_pairs_hook=_once)
        except ValueError as error:
            raise ValueError(f"{path} has a header that is no JSON or says a thing twice: {error}.") from None
        metadata = header.pop("__metadata__", None) or {}
        yield {name: _tensor(path, file, name, entry, 8 + length) for name, entry in header.items()}, metadata


def _once(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{shown(next(key for key in keys if keys.count(key) > 1))} stands there twice")
    return found


def _tensor(path, file, name: str, entry: dict, base: int) -> Tensor:
    dtype, shape = NAMES.get(entry["dtype"]), tuple(entry["shape"])
    if dtype is None:
        raise ValueError(f"{path}: {shown(name)} has the dtype {entry['dtype']}, which NumPy does not know.")

    def read() -> np.ndarray:
        start, end = entry["data_offsets"]
        make = np.empty if end - start < LARGE else returned_zeros  # which a backend can hold without a copy
        numbers = make((end - start,), "uint8")
        file.seek(base + start)
        if file.readinto(numbers) < end - start:
            raise ValueError(f"{path} ends in the middle of {shown(name)}: it was changed meanwhile. Bring it anew.")
        return numbers.view(dtype).reshape(shape)

    return Tensor(dtype, shape, read)


def shown(name: str, most: int = 150) -> str:
    """A name out of a file as it may stand in a message: short, and without signs that steer a terminal."""
    name = name if name.isprintable() else ascii(name)
    return name if len(name) <= most else name[:most] + "..."
