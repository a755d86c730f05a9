"""The header of a GGUF file: read once, and each count in it compared with what is left before memory is taken.

Reference: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kerasllm.weights.gguf.blocks import BY_CODE, KINDS, OTHERS, Kind
from kerasllm.weights.tensors import shown

VERSIONS = (2, 3)  # 3 differs from 2 only in that a file may be big endian
MAGIC = b"GGUF"
# 262,144 tokens with scores, types and half a million merges, as much as any model has, take some 17 MB.
MOST_HEADER = 40 << 20
MOST_STRINGS = MOST_NUMBERS = 1 << 20
MOST_ENTRIES = 1 << 16  # keys, and tensors
MOST_DEPTH = 4  # arrays in arrays; real files have one
MOST_AXES = 4

# The number of a type in the file, and NumPy's dtype.
NUMBERS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8", 12: "<f8"}
BOOL, STRING, ARRAY = 7, 8, 9


class Place(NamedTuple):
    """A tensor as the header describes it; `start` counts from the beginning of the file."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    start: int

    @property
    def blocks(self) -> int:
        return int(np.prod(self.shape, dtype=object)) // self.kind.numbers

    @property
    def end(self) -> int:
        return self.start + self.blocks * self.kind.bytes

    def __str__(self) -> str:
        return f"the tensor {shown(self.name)!r} ({self.kind.name}, {self.shape})"


class Header:
    """Goes through the header once; the place in the file and the counts so far say what may still come."""

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
        if len(content) < length:
            raise self.wrong(f"was changed while it was read: {what} is cut.")
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
                raise self.wrong(
                    f"is damaged: key {place} has {'the name of another' if key else 'no name'}: {shown(key)!r}."
                )
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
            raise self.wrong(
                f"is cut or damaged: {what} has {count:,} entries, and {self.size - self.at:,} bytes are left."
            )
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
            raise self.wrong(
                f"is cut or damaged: {what} has {count:,} texts, and {self.size - self.at:,} bytes are left."
            )
        self.strings += count
        if self.strings > MOST_STRINGS:
            raise self.wrong(f"is damaged: with {what} its lists have more than {MOST_STRINGS:,} texts.")
        # The longest lists of a file: read without the general way of `text`, which takes three times as long.
        read, unpack, found = self.file.read, struct.Struct("<Q").unpack, []
        at, end = self.at, min(self.size, MOST_HEADER)
        try:
            for place in range(count):
                length = unpack(read(8))[0] if at + 8 <= end else end
                at += 8 + length
                if at > end:
                    raise self.wrong(f"is cut or damaged: text {place} of {what} goes beyond the end of the header.")
                found.append(read(length))
            self.at = at
            return [text.decode() for text in found]
        except struct.error:
            raise self.wrong(f"was changed while it was read: {what} is cut.") from None
        except UnicodeDecodeError as error:
            raise self.wrong(f"is damaged: {what} holds {shown(repr(error.object))}, which is no UTF-8.") from None

    # Tensors ------------------------------------------------------------------------------------

    def alignment(self, metadata: dict[str, Any]) -> int:
        found = metadata.get("general.alignment", 32)
        if type(found) is not int or not 1 <= found <= 1 << 20 or found & (found - 1):
            raise self.wrong(f"is damaged: general.alignment must be a power of two, not {shown(repr(found))}.")
        return found

    def tensors(self, count: int, alignment: int) -> list[Place]:
        """The tensors, in the order of the header."""
        found: dict[str, Place] = {}
        for place in range(count):
            name = self.text(f"the name of tensor {place}")
            if not name or name in found:
                what = "the name of another" if name else "no name"
                raise self.wrong(f"is damaged: tensor {place} has {what}: {shown(name)!r}.")
            found[name] = self.entry(name, alignment)
        start = -(-self.at // alignment) * alignment
        places = [one._replace(start=start + one.start) for one in found.values()]
        self.check_places(places, start, alignment)
        return places

    def entry(self, name: str, alignment: int) -> Place:
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
        return Place(name, kind, shape, place)

    def check_places(self, places: list[Place], start: int, alignment: int) -> None:
        """Refuse tensors that lie outside the file or in each other, and a file that is longer than they are."""
        end, before = max(start, self.at), "the header"
        for place in sorted(places, key=lambda one: one.start):
            if place.start < end:
                raise self.wrong(f"is damaged: {place} begins at {place.start:,}, where {before} goes on to {end:,}.")
            if place.end > self.size:
                raise self.wrong(f"is cut or damaged: {place} ends at {place.end:,} of {self.size:,} bytes.")
            end, before = place.end, str(place)
        if self.size > -(-end // alignment) * alignment:
            raise self.wrong(f"is damaged: it has {self.size:,} bytes, and {before} ends at {end:,}.")
