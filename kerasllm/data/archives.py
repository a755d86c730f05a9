"""Read members of zip and tar archives into memory. Nothing is ever extracted to a disk."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from kerasllm.data.errors import ArchiveError

_UNSAFE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_members(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Read members of an archive by their exact names.

    Args:
        path: a wheel or zip file, or a tar file with any compression.
        names: the members to read.

    Returns:
        Each name with its bytes.

    Raises:
        ArchiveError: if the archive is damaged, a member is missing or is a link, or any name in the
            archive is absolute or leads out of the folder. We extract nothing, so such a name could
            do no harm here; but an honest archive has none.
    """
    names = list(names)
    try:
        read = _read_zip if zipfile.is_zipfile(path) else _read_tar
        found = read(path, set(names))
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ArchiveError(
            f"{path} cannot be read ({type(error).__name__}: {error}). Delete it; the next load fetches it again."
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise ArchiveError(f"{path.name} does not hold {missing[0]!r}. The catalogue and the archive do not agree.")
    return found


def member_names(path: Path, pattern: str) -> list[str]:
    """The members of a wheel or zip file whose names fit a pattern such as ``"*/translations/en.json"``, sorted.

    Raises:
        ArchiveError: if the file is damaged, or no name fits.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = sorted(fnmatch.filter(archive.namelist(), pattern))
    except (zipfile.BadZipFile, OSError) as error:
        raise ArchiveError(f"{path} cannot be read ({error}). Delete it; the next load fetches it again.") from error
    if not found:
        raise ArchiveError(f"{path.name} holds no {pattern!r}. The catalogue and the archive do not agree.")
    return found


def _read_zip(path: Path, wanted: set[str]) -> dict[str, bytes]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _refuse_unsafe(path, member.orig_filename)
            if member.filename in wanted:
                if stat.S_ISLNK(member.external_attr >> 16):
                    _refuse_link(path, member.filename)
                found[member.filename] = archive.read(member)
    return found


def _read_tar(path: Path, wanted: set[str]) -> dict[str, bytes]:
    found = {}
    # A stream ("r|*"): one pass, where going back would decompress everything again.
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            _refuse_unsafe(path, member.name)
            if member.name in wanted:
                if not member.isfile():
                    _refuse_link(path, member.name)
                found[member.name] = archive.extractfile(member).read()
    return found


def _refuse_unsafe(path: Path, name: str) -> None:
    if _UNSAFE.search(name):
        raise ArchiveError(f"{path.name} is refused: its member {name!r} leads out of the archive. Do not unpack it.")


def _refuse_link(path: Path, name: str) -> None:
    raise ArchiveError(f"{path.name} is refused: its member {name!r} is a link or no file. Do not unpack it.")
