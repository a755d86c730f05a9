"""Reading GGUF, the format of llama.cpp: one file with a model's numbers, settings and tokenizer.

    magic "GGUF", version, number of tensors, number of keys
    metadata: key, type, value, again and again
    for each tensor: name, sizes (the last axis first), kind, place in the data
    padding to a multiple of general.alignment
    the data: blocks of the tensors, each at such a multiple

Everything is little endian. The file may be a stranger's: `header` compares each count and length with what is
left of the file, and with what real files have, before anything is made of it.

Reference: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from kerasllm.common.memory import returned_zeros
from kerasllm.weights.gguf.blocks import Quantized, ScaleError, decoded, has_parts, parts_of
from kerasllm.weights.gguf.header import Header, Place
from kerasllm.weights.tensors import shown

CHUNK = 1 << 20  # numbers that are decoded at a time


class GGUFTensor:
    """One tensor of a GGUF file: what is known before its numbers are read, and how to get them.

    Attributes:
        name: its name in the file.
        kind: how its numbers are stored, a name of `blocks.KINDS` such as "Q4_1".
        shape: the lengths of its axes in NumPy's order, a matrix as (out, in).
        dtype: "float32", what `read` returns.
        nbytes: how many bytes it has in the file.
    """

    dtype = "float32"

    def __init__(self, place: Place, chunk: Callable[[Place, int, int], np.ndarray]) -> None:
        self.name, self.kind, self.shape = place.name, place.kind.name, place.shape
        self.nbytes = place.end - place.start
        self._place, self._chunk, self._blocks = place, chunk, place.blocks

    def read(self) -> np.ndarray:
        """The numbers, float32 of `shape`. Beside them about 20 MB are in memory at a time.

        Raises:
            ValueError: if a scale is NaN or infinite, or the file was cut or closed meanwhile.
        """
        numbers = np.empty((self._blocks, self._place.kind.numbers), "float32")
        for first, last, blocks in self._chunks():
            numbers[first:last] = self._checked(decoded, blocks, first)
        return numbers.reshape(self.shape)

    def raw(self) -> np.ndarray:
        """The bytes as they stand in the file, uint8 (blocks, bytes of a block). `ValueError` as from `read`."""
        return self._chunk(self._place, 0, self._blocks)

    def parts(self) -> Quantized:
        """Codes, scales and minima, for layers that compute with whole numbers.

        Returns:
            A `Quantized`: codes int8 of `shape`, scales and minima float32 (..., columns / 32).

        Raises:
            ValueError: as `read` does, or if the kind is none of Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1.
        """
        if not has_parts(self.kind):
            raise ValueError(
                f"{shown(self.name)} is of the kind {self.kind}, which has no one scale a block. Use read()."
            )
        codes = returned_zeros((self._blocks, 32), "int8")
        places = returned_zeros((2, self._blocks), "float32")
        minima = None
        for first, last, blocks in self._chunks():
            codes[first:last], places[0, first:last], minima = self._checked(parts_of, blocks, first)
            if minima is not None:
                places[1, first:last] = minima
        rows = (*self.shape[:-1], self.shape[-1] // 32)
        scales, low = (one.reshape(rows) for one in places)
        return Quantized(codes.reshape(self.shape), scales, None if minima is None else low)

    def _chunks(self) -> Iterator[tuple[int, int, np.ndarray]]:
        step = CHUNK // self._place.kind.numbers
        for first in range(0, self._blocks, step):
            last = min(first + step, self._blocks)
            yield first, last, self._chunk(self._place, first, last)

    def _checked(self, function: Callable, blocks: np.ndarray, first: int):
        try:
            return function(self.kind, blocks)
        except ScaleError as error:
            raise ValueError(
                f"{shown(self.name)} holds {error} (counted from block {first}): it is damaged. Bring the file anew."
            ) from None

    def __repr__(self) -> str:
        return f"GGUFTensor({shown(self.name)!r}, {self.kind}, {self.shape})"


class GGUF:
    """An open GGUF file, made by `read_gguf`; to be closed, best by ``with``.

    Attributes:
        path: the file.
        version: of the format, 2 or 3.
        alignment: of the data.
        metadata: from key to value: int, float, bool, str, or a list of them.
        tensors: from name to `GGUFTensor`, in the order of the file.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        if not Path(path).is_file():
            found = "is a folder, not a file" if Path(path).is_dir() else "does not exist"
            raise FileNotFoundError(f"{path} {found}. Give the path of a .gguf file.")
        self.path = Path(path)
        self._file = open(path, "rb")
        try:
            header = Header(self.path, self._file)
            self.version, num_tensors, num_keys = header.beginning()
            self.metadata = header.metadata(num_keys)
            self.alignment = header.alignment(self.metadata)
            places = header.tensors(num_tensors, self.alignment)
            self.tensors = {place.name: GGUFTensor(place, self._read_chunk) for place in places}
        except BaseException:
            self._file.close()
            raise

    def _read_chunk(self, place: Place, first: int, last: int) -> np.ndarray:
        # Read, not mapped: a file that somebody cuts meanwhile gives an error, not the end of the process.
        if self._file.closed:
            raise ValueError(f"{self.path} is closed: read {shown(place.name)} inside `with read_gguf(path) as file:`.")
        size = place.kind.bytes
        blocks = np.empty((last - first, size), "uint8")
        self._file.seek(place.start + first * size)
        if self._file.readinto(memoryview(blocks).cast("B")) < blocks.size:
            raise ValueError(
                f"{self.path} ends in the middle of {shown(place.name)}: it was changed meanwhile. Bring it anew."
            )
        return blocks

    def close(self) -> None:
        """Close the file: the metadata stays, tensors cannot be read any more."""
        self._file.close()

    def __enter__(self) -> GGUF:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"GGUF({str(self.path)!r}, {len(self.tensors)} tensors, {len(self.metadata)} keys)"


def read_gguf(path: str | os.PathLike) -> GGUF:
    """Open a GGUF file. The header is read and checked; numbers are read when a tensor's `read` is called.

    Args:
        path: the file, of version 2 or 3.

    Returns:
        A `GGUF`, to be used as ``with read_gguf(path) as file:``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no GGUF file, not a whole one, of another version or big endian, or a tensor is of a
            kind that is not read. The message names the file and the key or tensor.

    Example:
        >>> import tempfile
        >>> from kerasllm.weights.gguf.writer import write_gguf
        >>> path = tempfile.mkdtemp() + "/one.gguf"
        >>> write_gguf(path, {"general.architecture": "llama"}, {"scale": np.array([1.0, 2.0], "float32")})
        >>> with read_gguf(path) as file:
        ...     file.metadata["general.architecture"], file.tensors["scale"].read()
        ('llama', array([1., 2.], dtype=float32))
    """
    return GGUF(path)
