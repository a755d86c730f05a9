"""Files of PyTorch, ``*.pth`` and ``*.pt``: the tensors in them, without PyTorch and without running anything.

Such a file is a pickle, and a pickle is a program: opened with PyTorch or with ``pickle.load``, the file of a stranger
can do what its author wants. Here tensors alone are read, see `torch_pickle`; all else in a file is refused.

    the form of today                        the one before PyTorch 1.6, which is still written on demand
    a zip without compression:               one after the other:
    NAME/data.pkl     the pickle             pickles of a magic number, a version, and facts of the machine
    NAME/data/0 ...   the storages           the pickle, and one with the keys of the storages
    NAME/byteorder    "little"               for each key the count of numbers and the numbers

Reference: torch/serialization.py of PyTorch, ``_save`` and ``_legacy_save``.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import ml_dtypes  # noqa: F401  NumPy then knows bfloat16
import numpy as np

from kerasllm.weights.tensors import Tensor, shown
from kerasllm.weights.torch_pickle import MOST_BYTES, Cut, Storage, follow

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the older form
MOST_AXES, MOST_NUMBERS = 8, 2**48  # of a tensor
MOST_LISTED = 2 << 20  # bytes that the list of a zip's members may have


@contextmanager
def read_torch(path: str | os.PathLike) -> Iterator[dict[str, Tensor]]:
    """The tensors of a file that ``torch.save(model.state_dict(), path)`` wrote.

    The file is read, not mapped into memory, and one tensor at a time, when its `read` is called.

    Args:
        path: the file, in either form.

    Yields:
        A dictionary from each name to a `Tensor`, in the order of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file, not a whole one, or holds anything but a dictionary of tensors whose
            numbers lie one after the other. The message names the file and the tensor.

    Example: ``with read_torch("model.pth") as tensors: tensors["fc.weight"].read()``.
    """
    if not Path(path).is_file():
        found = "is a folder, not a file" if Path(path).is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {found}. Give the path of a file such as model.pth.")
    with open(path, "rb") as file:
        try:
            state, starts = (_from_zip if file.peek(4)[:4] == b"PK\x03\x04" else _from_pickles)(file)
            tensors = {name: _tensor(path, file, name, cut, starts[cut.storage.key]) for name, cut in state.items()}
        except (ValueError, OverflowError, struct.error, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} {shown(str(error), 400)}. Bring it anew.") from None
        yield tensors


# The two forms: what the pickle made, and where the numbers of each storage begin -----------------------------------


def _from_pickles(file: BinaryIO) -> tuple[dict[str, Cut], dict[str, int]]:
    head, storages = io.BytesIO(file.read(MOST_BYTES)), {}
    if not head.getvalue().startswith(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."):
        raise ValueError(f"is no file of PyTorch that can be read: it begins with {head.getvalue()[:4]!r}")
    follow(head, {})  # the magic number
    version, facts = follow(head, {}), follow(head, {})
    if version != VERSION or type(facts) is not dict or facts.get("little_endian") is not True:
        raise ValueError(f"is not of version {VERSION} and little endian")
    state, keys = _state(head, storages, legacy=True), follow(head, {})
    if type(keys) is not list or len(keys) != len(storages) or not all(type(key) is str for key in keys):
        raise ValueError("has a list of storages that is none, or not of those that its tensors name")
    if set(keys) != set(storages):
        raise ValueError("lists other storages than its tensors name")
    starts, at, size = {}, head.tell(), os.fstat(file.fileno()).st_size
    for key in keys:
        file.seek(at)
        start, end = at + 8, at + 8 + _bytes(storages[key])
        if end > size:
            raise ValueError(f"is cut or damaged: storage {shown(key)!r} ends at {shown(str(end))} of {size:,} bytes")
        (count,) = struct.unpack("<q", file.read(8))
        if count != storages[key].numbers:
            raise ValueError(f"has {count:,} numbers in storage {shown(key)!r}, not {storages[key].numbers:,}")
        starts[key], at = start, end
    if at != size:
        raise ValueError(f"has {size - at:,} bytes behind its last storage")
    return state, starts


def _from_zip(file: BinaryIO) -> tuple[dict[str, Cut], dict[str, int]]:
    with zipfile.ZipFile(_Short(file)) as archive:
        members = {}
        for one in archive.infolist():
            if members.setdefault(one.filename, one) is not one:
                raise ValueError(f"has two members {shown(one.filename)!r}")
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise ValueError(f"is a zip with {len(pickles)} members NAME/data.pkl: PyTorch writes one")
    folder = pickles[0].removesuffix("data.pkl")
    if folder + "byteorder" in members and _content(file, members[folder + "byteorder"], 10) != b"little":
        raise ValueError("is not little endian")
    storages = {}
    state = _state(io.BytesIO(_content(file, members[pickles[0]], MOST_BYTES)), storages)
    starts = {}
    for key, storage in storages.items():
        member = members.get(f"{folder}data/{key}")
        if member is None or member.file_size != _bytes(storage):
            found = "is missing" if member is None else f"has {member.file_size:,} bytes"
            raise ValueError(
                f"has tensors of a storage {shown(key)!r} of {shown(str(_bytes(storage)))} bytes; it {found}"
            )
        starts[key] = _start(file, member)
    return state, starts


def _state(content: io.BytesIO, storages: dict[str, Storage], legacy: bool = False) -> dict[str, Cut]:
    """What the pickle of tensors makes, if it is a dictionary of them alone."""
    state = follow(content, storages, legacy)
    if type(state) is not dict:
        raise ValueError(f"holds a {type(state).__name__}, not a dictionary of tensors: store model.state_dict()")
    for name, cut in state.items():
        if type(cut) is not Cut:
            raise ValueError(
                f"holds a {type(cut).__name__} under {shown(name)!r}, not a tensor: store model.state_dict() alone"
            )
    return state


class _Short:
    """A file that gives out no more at a time than an honest list of members has: zipfile believes any count."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        found = self.file.read(MOST_LISTED + 1 if count < 0 else min(count, MOST_LISTED + 1))
        if len(found) > MOST_LISTED:
            raise ValueError(f"is a zip whose list of members has more than {MOST_LISTED:,} bytes")
        return found

    def seekable(self) -> bool:
        return True


def _start(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin; they are stored as they are."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or member.compress_size != member.file_size:
        raise ValueError(
            f"has the member {shown(member.filename)!r} compressed or encrypted: PyTorch stores it as it is"
        )
    if member.header_offset < 0:
        raise ValueError(f"is cut or damaged before the member {shown(member.filename)!r}")
    file.seek(member.header_offset)
    mark, lengths = struct.unpack("<4s22x4s", file.read(30))
    start = member.header_offset + 30 + sum(struct.unpack("<HH", lengths))
    if mark != b"PK\x03\x04" or start + member.file_size > os.fstat(file.fileno()).st_size:
        raise ValueError(f"is cut or damaged at the member {shown(member.filename)!r}")
    return start


def _content(file: BinaryIO, member: zipfile.ZipInfo, most: int) -> bytes:
    if member.file_size > most:
        raise ValueError(f"has the member {shown(member.filename)!r} of {member.file_size:,} bytes, more than {most:,}")
    file.seek(_start(file, member))
    return file.read(member.file_size)


def _bytes(storage: Storage) -> int:
    return storage.numbers * np.dtype(storage.dtype).itemsize


# The tensors ---------------------------------------------------------------------------------------------------------


def _tensor(path, file: BinaryIO, name: str, cut: Cut, start: int) -> Tensor:
    shape, dtype = cut.shape, np.dtype(cut.storage.dtype)
    if (
        len(shape) > MOST_AXES
        or min(shape, default=0) < 0
        or math.prod(max(1, length) for length in shape) > MOST_NUMBERS
    ):
        raise ValueError(f"has {shown(name)!r} of the shape {shown(str(shape))}")
    order, count = _order(shape, cut.strides), math.prod(shape)
    if not 0 <= cut.offset <= cut.storage.numbers - count:
        raise ValueError(
            f"has {shown(name)!r} of the shape {shape} from number {shown(str(cut.offset))} of a storage of "
            f"{cut.storage.numbers:,}"
        )
    if order is None:
        raise ValueError(
            f"has {shown(name)!r} of the shape {shape} with the strides {shown(str(cut.strides))}: its numbers do not "
            "lie one after the other. Store tensor.contiguous()"
        )

    def read() -> np.ndarray:
        numbers = np.empty(count * dtype.itemsize, "uint8")
        file.seek(start + cut.offset * dtype.itemsize)
        if file.readinto(numbers) < numbers.size:
            raise ValueError(f"{path} ends in the middle of {shown(name)}: it was changed meanwhile. Bring it anew.")
        numbers = numbers.astype(bool) if dtype.kind == "b" else numbers.view(dtype)
        return numbers.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))

    return Tensor(cut.storage.dtype, shape, read)


def _order(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int] | None:
    """The axes from the one of the longest steps to that of the shortest, if together they leave out no number.

    Example:
        >>> _order((3, 2, 4), (4, 12, 1)), _order((3, 2), (0, 1))
        ([1, 0, 2], None)
    """
    order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], shape[axis] == 1))
    step = 1
    for axis in reversed(order):
        if shape[axis] > 1 and strides[axis] != step:
            return None if 0 not in shape else list(range(len(shape)))
        step *= max(shape[axis], 1)
    return order
