"""Reading GGUF, the format of llama.cpp: one file with a model's numbers, settings and tokenizer.

    magic "GGUF", version, number of tensors, number of keys
    metadata: key, type, value, again and again
    for each tensor: name, sizes (the last axis first), kind, place in the data
    padding to a multiple of general.alignment
    the data: blocks of the tensors, each at such a multiple

Everything is little endian. The file may be a stranger's: each count and length is compared with what is left of the
file, and with what real files have, before anything is made of it.

Reference: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kerasllm.weights.gguf_blocks import BY_CODE, KINDS, OTHERS, Kind, Quantized, ScaleError, decoded, has_parts, parts_of
from kerasllm.weights.tensors import shown

VERSIONS = (2, 3)  # 3 differs from 2 only in that a file may be big endian
MAGIC = b"GGUF"
# The header of Gemma, with 262,144 tokens and 514,906 merges, the largest that is known, has 17 MB.
MOST_HEADER = 40 << 20
MOST_STRINGS = MOST_NUMBERS = 1 << 20
MOST_ENTRIES = 1 << 16  # keys, and tensors
MOST_DEPTH = 4  # arrays in arrays; real files have one
MOST_AXES = 4
CHUNK = 1 << 20  # numbers that are decoded at a time

# The number of a type in the file, and NumPy's dtype.
NUMBERS = {
    **{0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8", 12: "<f8"},
}
BOOL, STRING, ARRAY = 7, 8, 9


class GGUFTensor:
    """One tensor of a GGUF file: what is known before its numbers are read, and how to get them.

    Attributes:
        name: its name in the file.
        kind: how its numbers are stored, a name of `gguf_blocks.KINDS` such as "Q4_1".
        shape: the lengths of its axes in NumPy's order, a matrix as (out, in).
        dtype: "float32", what `read` returns.
        nbytes: how many bytes it has in the file.
    """

    dtype = "float32"

    def __init__(self, name: str, kind: Kind, shape: tuple[int, ...], start: int, chunk: Callable) -> None:
        self.name, self.shape, self.start = name, shape, start
        self._kind, self._chunk = kind, chunk
        self.kind = kind.name
        self.blocks = int(np.prod(shape, dtype=object)) // kind.numbers
        self.nbytes = self.blocks * kind.bytes

    def read(self) -> np.ndarray:
        """The numbers, float32 of `shape`. Beside them about 20 MB are in memory at a time.

        Raises:
            ValueError: if a scale is NaN or infinite, or the file was cut or closed meanwhile.
        """
        numbers = np.empty((self.blocks, self._kind.numbers), "float32")
        for first, last, blocks in self._chunks():
            numbers[first:last] = self._checked(decoded, blocks, first)
        return numbers.reshape(self.shape)

    def raw(self) -> np.ndarray:
        """The bytes as they stand in the file, uint8 (blocks, bytes of a block). `ValueError` as from `read`."""
        return self._chunk(self, 0, self.blocks)

    def parts(self) -> Quantized:
        """Codes, scales and minima, for layers that compute with whole numbers.

        Returns:
            A `Quantized`: codes int8 of `shape`, scales and minima float32 (..., columns / 32).

        Raises:
            ValueError: as `read` does, or if the kind is none of Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1.
        """
        if not has_parts(self.kind):
            raise ValueError(f"{shown(self.name)} is of the kind {self.kind}, which has no one scale a block. Use read().")
        codes, places = np.empty((self.blocks, 32), "int8"), np.empty((2, self.blocks), "float32")
        minima = None
        for first, last, blocks in self._chunks():
            codes[first:last], places[0, first:last], minima = self._checked(parts_of, blocks, first)
            if minima is not None:
                places[1, first:last] = minima
        rows = (*self.shape[:-1], self.shape[-1] // 32)
        scales, low = (one.reshape(rows) for one in places)
        return Quantized(codes.reshape(self.shape), scales, None if minima is None else low)

    def _chunks(self):
        step = CHUNK // self._kind.numbers
        for first in range(0, self.blocks, step):
            last = min(first + step, self.blocks)
            yield first, last, self._chunk(self, first, last)

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
            header = _Header(self.path, self._file)
            self.version, num_tensors, num_keys = header.beginning()
            self.metadata = header.metadata(num_keys)
            self.alignment = header.alignment(self.metadata)
            self.tensors = header.tensors(num_tensors, self.alignment, self._read_chunk)
        except BaseException:
            self._file.close()
            raise

    def _read_chunk(self, tensor: GGUFTensor, first: int, last: int) -> np.ndarray:
        # Read, not mapped: a file that somebody cuts meanwhile gives an error, not the end of the process.
        if self._file.closed:
            raise ValueError(f"{self.path} is closed: read {shown(tensor.name)} inside `with read_gguf(path) as file:`.")
        size = tensor._kind.bytes
        blocks = np.empty((last - first, size), "uint8")
        self._file.seek(tensor.start + first * size)
        if self._file.readinto(memoryview(blocks).cast("B")) < blocks.size:
            raise ValueError(
                f"{self.path} ends in the middle of {shown(tensor.name)}: it was changed meanwhile. Bring it anew."
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
        >>> from kerasllm.weights.gguf_writer import write_gguf
        >>> path = tempfile.mkdtemp() + "/one.gguf"
        >>> write_gguf(path, {"general.architecture": "llama"}, {"scale": np.array([1.0, 2.0], "float32")})
        >>> with read_gguf(path) as file:
        ...     file.metadata["general.architecture"], file.tensors["scale"].read()
        ('llama', array([1., 2.], dtype=float32))
    """
    return GGUF(path)


class _Header:
    """Goes through the header once; `left` and the counts say what may still come."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.size = os.fstat(file.fileno()).st_size
        self.at = 0
        self.strings = self.numbers = 0

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"{self.path} {what} Bring it anew.")

    def take(self, length: int, what: str) -> bytes:
        """The next bytes, after a look at how many there are."""
        self.check(length, what)
        content = self.file.read(length)
        self.at += length
        return content

    def check(self, length: int, what: str) -> None:
        if length > self.size - self.at:
            raise self.wrong(f"is cut or damaged: {what} needs {length:,} bytes, and {self.size - self.at:,} are left.")
        if self.at + length > MOST_HEADER:
            raise self.wrong(f"is damaged: with {what} its header has more than {MOST_HEADER:,} bytes.")

    def unpack(self, form: str, what: str) -> tuple:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form), what))

    def text(self, what: str) -> str:
        (length,) = self.unpack("Q", f"the length of {what}")
        content = self.take(length, what)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise self.wrong(f"is damaged: {what} is no UTF-8 (at byte {error.start} of it).") from None

    def beginning(self) -> tuple[int, int, int]:
        """Version, number of tensors and number of keys."""
        start = self.file.read(8)
        if start[:4] != MAGIC:
            raise self.wrong(f"is no GGUF file: it begins with {start[:4]!r}, not {MAGIC!r}.")
        self.at = 8
        if len(start) < 8:
            raise self.wrong("is cut after the first bytes of a GGUF file.")
        (version,) = struct.unpack("<I", start[4:])
        if version not in VERSIONS:
            if int.from_bytes(start[4:], "big") in VERSIONS:
                raise ValueError(f"{self.path} is a big endian GGUF file; little endian ones are read. Convert it.")
            raise ValueError(f"{self.path} is a GGUF file of version {version}; versions 2 and 3 are read. Convert it.")
        num_tensors, num_keys = self.unpack("QQ", "the number of tensors and keys")
        # A tensor takes at least 33 bytes in the header, a key 14.
        for count, least, what in ((num_tensors, 33, "tensors"), (num_keys, 14, "keys")):
            if count > MOST_ENTRIES or count * least > self.size - self.at:
                raise self.wrong(f"is damaged: it says that it has {count:,} {what}, in {self.size:,} bytes.")
        return version, num_tensors, num_keys

    # Metadata -----------------------------------------------------------------------------------

    def metadata(self, count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for place in range(count):
            key = self.text(f"the name of key {place}")
            what = f"the value of {shown(key)!r}"
            if not key or key in found:
                raise self.wrong(f"is damaged: key {place} has {'the name of another' if key else 'no name'}: {shown(key)!r}.")
            (type_code,) = self.unpack("I", f"the type of {shown(key)!r}")
            found[key] = self.value(type_code, what, 0)
        return found

    def value(self, type_code: int, what: str, depth: int) -> Any:
        if type_code == STRING:
            return self.text(what)
        if type_code == ARRAY:
            return self.array(what, depth + 1)
        return self.number_list(type_code, 1, what)[0]

    def array(self, what: str, depth: int) -> list:
        type_code, count = self.unpack("IQ", f"the type and length of {what}")
        if type_code == STRING:
            return self.string_list(count, what)
        if type_code != ARRAY:
            return self.number_list(type_code, count, what)
        if depth >= MOST_DEPTH:
            raise self.wrong(f"is damaged: {what} is a list in a list more than {MOST_DEPTH} deep.")
        self.count(count, 12, what)
        return [self.array(what, depth + 1) for _ in range(count)]

    def count(self, count: int, least: int, what: str) -> None:
        """Refuse a list that is longer than the rest of the file, or than lists may be."""
        if count * least > self.size - self.at:
            raise self.wrong(f"is cut or damaged: {what} has {count:,} entries, and {self.size - self.at:,} bytes are left.")
        self.numbers += count
        if self.numbers > MOST_NUMBERS:
            raise self.wrong(f"is damaged: with {what} its lists have more than {MOST_NUMBERS:,} entries.")

    def number_list(self, type_code: int, count: int, what: str) -> list:
        code = "u1" if type_code == BOOL else NUMBERS.get(type_code)
        if code is None:
            raise self.wrong(f"is damaged: {what} has the type {type_code}; types from 0 to 12 are known.")
        size = np.dtype(code).itemsize
        self.count(count, size, what)
        found = np.frombuffer(self.take(count * size, what), code)
        if type_code != BOOL:
            return found.tolist()
        if (found > 1).any():
            raise self.wrong(f"is damaged: {what} should be true or false (1 or 0), not {found.max()}.")
        return found.astype(bool).tolist()

    def string_list(self, count: int, what: str) -> list[str]:
        if count * 8 > self.size - self.at:
            raise self.wrong(f"is cut or damaged: {what} has {count:,} texts, and {self.size - self.at:,} bytes are left.")
        self.strings += count
        if self.strings > MOST_STRINGS:
            raise self.wrong(f"is damaged: with {what} its lists have more than {MOST_STRINGS:,} texts.")
        # The longest lists of a file: read without the general way of `text`, which takes three times as long.
        read, unpack, found = self.file.read, struct.Struct("<Q").unpack, []
        at, end = self.at, min(self.size, MOST_HEADER)
        for place in range(count):
            length = unpack(read(8))[0] if at + 8 <= end else end
            at += 8 + length
            if at > end:
                raise self.wrong(f"is cut or damaged: text {place} of {what} goes beyond the end of the header.")
            found.append(read(length))
        self.at = at
        try:
            return [text.decode() for text in found]
        except UnicodeDecodeError as error:
            raise self.wrong(f"is damaged: {what} holds {shown(repr(error.object))}, which is no UTF-8.") from None

    # Tensors ------------------------------------------------------------------------------------

    def alignment(self, metadata: dict[str, Any]) -> int:
        found = metadata.get("general.alignment", 32)
        if type(found) is not int or not 1 <= found <= 1 << 20 or found & (found - 1):
            raise self.wrong(f"is damaged: general.alignment must be a power of two, not {shown(repr(found))}.")
        return found

    def tensors(self, count: int, alignment: int, chunk: Callable) -> dict[str, GGUFTensor]:
        entries: dict[str, tuple] = {}
        for place in range(count):
            name = self.text(f"the name of tensor {place}")
            if not name or name in entries:
                raise self.wrong(f"is damaged: tensor {place} has {'the name of another' if name else 'no name'}: {shown(name)!r}.")
            entries[name] = self.entry(name, alignment)
        start = -(-self.at // alignment) * alignment
        found = {name: GGUFTensor(name, kind, shape, start + at, chunk) for name, (kind, shape, at) in entries.items()}
        self.check_places(found, start, alignment)
        return found

    def entry(self, name: str, alignment: int) -> tuple[Kind, tuple[int, ...], int]:
        what = f"the tensor {shown(name)!r}"
        (axes,) = self.unpack("I", what)
        if not 1 <= axes <= MOST_AXES:
            raise self.wrong(f"is damaged: {what} has {axes:,} axes; from 1 to {MOST_AXES} are allowed.")
        shape = self.unpack(f"{axes}Q", what)[::-1]
        code, place = self.unpack("IQ", what)
        kind = BY_CODE.get(code)
        if kind is None:
            raise ValueError(
                f"{self.path}: {what} is of the kind {OTHERS.get(code, code)}; those that are read are "
                f"{', '.join(KINDS)}. Bring a file in one of them."
            )
        if 0 in shape or shape[-1] % kind.numbers:
            raise self.wrong(
                f"is damaged: {what} has the shape {shape}; each length must be above 0, and the last for {kind.name} "
                f"a multiple of {kind.numbers}."
            )
        if place % alignment:
            raise self.wrong(f"is damaged: {what} begins at {place:,}, which is no multiple of {alignment}.")
        return kind, shape, place

    def check_places(self, tensors: dict[str, GGUFTensor], start: int, alignment: int) -> None:
        """Refuse tensors that lie outside the file or in each other, and a file that is longer than they are."""
        end, before = start, "the header"
        for tensor in sorted(tensors.values(), key=lambda one: one.start):
            what = f"the tensor {shown(tensor.name)!r} ({tensor.kind}, {tensor.shape})"
            if tensor.start < end:
                raise self.wrong(f"is damaged: {what} begins at {tensor.start:,}, where {before} goes on to {end:,}.")
            end, before = tensor.start + tensor.nbytes, f"the tensor {shown(tensor.name)!r}"
            if end > self.size:
                raise self.wrong(f"is cut or damaged: {what} ends at {end:,}, and the file has {self.size:,} bytes.")
        if self.size > -(-max(end, self.at) // alignment) * alignment:
            raise self.wrong(f"is damaged: it has {self.size:,} bytes, and {before} ends at {end:,}.")
