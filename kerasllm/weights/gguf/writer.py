"""Writing GGUF, the format of llama.cpp; `file` describes it and reads it."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasllm.common import choice, write_whole
from kerasllm.weights.gguf.blocks import KINDS, WRITTEN, Kind, ScaleError, encoded
from kerasllm.weights.gguf.file import CHUNK
from kerasllm.weights.gguf.header import ARRAY, BOOL, MAGIC, MOST_AXES, NUMBERS, STRING
from kerasllm.weights.tensors import shown

MOST_NAME = 63  # bytes in the name of a tensor, and that of llama.cpp ends with a zero
ALIGNMENT = 32
_TYPES = {np.dtype(code): number for number, code in NUMBERS.items()}
# What llama.cpp calls a file of mostly this kind (llama_ftype); it shows it, and does not need it.
_FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32}
# Small, and rounding them costs quality: float32 in every file of llama.cpp.
_ALWAYS_F32 = ("_norm.weight", "position_embd.weight")


def write_gguf(
    path: str | os.PathLike, metadata: Mapping[str, Any], tensors: Mapping[str, Any], kind: str = "F32"
) -> None:
    """Write a GGUF file of version 3. Equal content gives equal bytes, and one tensor is in memory at a time.

    Tensors of one axis, norms and tables of positions are stored in F32 whatever `kind` is, and in Q8_0 a tensor
    whose rows are no multiple of 32 in F16: the rules of llama.cpp's converter.

    Args:
        path: the file to write. It gets its name when it is complete.
        metadata: from key to bool, int, float, str, a NumPy number, or a list or array of one of them. An int is
            stored in 32 bits where it fits, a float as float32, as llama.cpp expects them; a NumPy number or array
            keeps its dtype. "general.alignment" is obeyed; "general.file_type" and "general.quantization_version"
            are added.
        tensors: from name to an array, or to what has a `shape` and a `read()`, such as a `GGUFTensor`. Axes are in
            NumPy's order, from one to four of them.
        kind: "F32", "F16", "BF16" or "Q8_0".

    Raises:
        ValueError: if a value has no type in the format, a name is too long, a tensor has no or too many axes, or a
            number does not fit into `kind`.
        OSError: if the file cannot be written; nothing is left of it.

    Example:
        >>> import tempfile
        >>> from kerasllm.weights.gguf.file import read_gguf
        >>> path = tempfile.mkdtemp() + "/one.gguf"
        >>> write_gguf(path, {"general.name": "one"}, {"blk.0.ffn_up.weight": np.ones((2, 64))}, kind="Q8_0")
        >>> with read_gguf(path) as file:
        ...     file.tensors["blk.0.ffn_up.weight"]
        GGUFTensor('blk.0.ffn_up.weight', Q8_0, (2, 64))

    Reference: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
    """
    kind = choice("kind", kind, WRITTEN)
    added = {"general.file_type": _FILE_TYPES[kind]} | ({"general.quantization_version": 2} if kind == "Q8_0" else {})
    metadata = added | dict(metadata)
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if isinstance(alignment, bool) or not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
        raise ValueError(f"general.alignment must be a power of two from 8 up, not {alignment!r}.")
    kinds = {name: _kind_of(name, tuple(tensor.shape), kind) for name, tensor in tensors.items()}
    header = _header(metadata, tensors, kinds, alignment)
    with write_whole(path) as unfinished, open(unfinished, "wb") as file:
        file.write(header + _padding(len(header), alignment))
        for name, tensor in tensors.items():
            length = 0
            for blocks in _blocks(name, tensor, kinds[name]):
                file.write(blocks)
                length += len(blocks)
            file.write(_padding(length, alignment))


def _header(metadata: Mapping, tensors: Mapping, kinds: Mapping[str, Kind], alignment: int) -> bytes:
    parts = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        if not isinstance(key, str) or not 0 < len(key.encode()) < 1 << 16:
            raise ValueError(f"A key of the metadata must be a text of 1 to 65535 bytes, not {key!r:.80}.")
        type_code, content = _value(key, value)
        parts += [_text(key), struct.pack("<I", type_code), content]
    place = 0
    for name, tensor in tensors.items():
        shape, kind = tuple(tensor.shape), kinds[name]
        parts += [_text(name), struct.pack("<I", len(shape)), struct.pack(f"<{len(shape)}Q", *shape[::-1])]
        parts += [struct.pack("<IQ", kind.code, place)]
        length = math.prod(shape) // kind.numbers * kind.bytes
        place += length + len(_padding(length, alignment))
    return b"".join(parts)


def _padding(length: int, alignment: int) -> bytes:
    return bytes(-length % alignment)


def _text(text: str) -> bytes:
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r:.80} holds a lone surrogate, which UTF-8 cannot store.") from None
    return struct.pack("<Q", len(content)) + content


def _value(key: str, value: Any) -> tuple[int, bytes]:
    """The number of the type, and the bytes of the value."""
    if isinstance(value, str):
        return STRING, _text(value)
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return ARRAY, _array(key, value)
    dtype = _dtype(key, [value])
    return _type_of(key, dtype), np.asarray(value, dtype).tobytes()


def _array(key: str, values: Any) -> bytes:
    if len(values) and isinstance(values[0], str):
        if not all(isinstance(one, str) for one in values):
            raise ValueError(f"{key} is a list of texts and of something else. A list has one type.")
        return struct.pack("<IQ", STRING, len(values)) + b"".join(map(_text, values))
    if len(values) and isinstance(values[0], list | tuple | np.ndarray) and np.ndim(values[0]):
        return struct.pack("<IQ", ARRAY, len(values)) + b"".join(_array(key, one) for one in values)
    dtype = values.dtype if isinstance(values, np.ndarray) else _dtype(key, values)
    content = np.asarray(values, np.dtype(dtype).newbyteorder("<")).tobytes()
    return struct.pack("<IQ", _type_of(key, dtype), len(values)) + content


def _dtype(key: str, values: Any) -> np.dtype:
    """The dtype for some numbers of Python or NumPy. An empty list counts as one of whole numbers."""
    kinds = {type(value) for value in values} or {int}
    if len(kinds) == 1:
        (one,) = kinds
        if issubclass(one, np.generic):
            return np.dtype(one)
        if one is bool:
            return np.dtype("bool")
    if kinds <= {int, float}:
        if float in kinds:
            return np.dtype("<f4")
        low, high = min(values, default=0), max(values, default=0)
        # A list of small whole numbers is int32, as llama.cpp reads the types of tokens; one number is uint32.
        codes = ("<u4", "<i4", "<u8", "<i8") if len(values) == 1 else ("<i4", "<u4", "<i8", "<u8")
        for code in codes:
            if np.iinfo(code).min <= low and high <= np.iinfo(code).max:
                return np.dtype(code)
    raise ValueError(
        f"{key} must be a bool, an int of at most 64 bits, a float, a str, or a list of one of them, not "
        f"{shown(repr(values[0] if len(values) == 1 else values))}."
    )


def _type_of(key: str, dtype: np.dtype) -> int:
    found = BOOL if dtype == np.dtype("bool") else _TYPES.get(np.dtype(dtype).newbyteorder("<"))
    if found is None:
        raise ValueError(f"{key} has the dtype {dtype}, which the metadata of a GGUF file cannot hold.")
    return found


def _kind_of(name: str, shape: tuple[int, ...], kind: str) -> Kind:
    if not isinstance(name, str) or not 0 < len(name.encode()) <= MOST_NAME:
        raise ValueError(f"The name of a tensor must be a text of 1 to {MOST_NAME} bytes, not {name!r:.100}.")
    if not 1 <= len(shape) <= MOST_AXES or 0 in shape:
        raise ValueError(
            f"{name} has the shape {shape}; a GGUF file holds tensors of 1 to {MOST_AXES} axes, none empty."
        )
    if len(shape) == 1 or name.endswith(_ALWAYS_F32):
        return KINDS["F32"]
    return KINDS["F16"] if shape[-1] % KINDS[kind].numbers else KINDS[kind]


def _blocks(name: str, tensor: Any, kind: Kind):
    """The bytes of a tensor, some at a time."""
    array = tensor.read() if hasattr(tensor, "read") else np.asarray(tensor)
    numbers = np.ascontiguousarray(array).reshape(-1)
    for first in range(0, len(numbers), CHUNK):
        with np.errstate(over="ignore"):
            chunk = numbers[first : first + CHUNK].astype("float32")
        lost = np.isinf(chunk) & np.isfinite(numbers[first : first + CHUNK])
        try:
            if lost.any():
                raise ScaleError(f"{numbers[first : first + CHUNK][lost][0]:g}, which float32 cannot hold")
            yield encoded(kind.name, chunk)
        except ScaleError as error:
            raise ValueError(f"{name} holds {error}.") from None
