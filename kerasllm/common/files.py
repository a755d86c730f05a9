"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_whole(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to; when the block ends well, the file there takes the place of `path` in one step.

    A kill, an error or a full disk leaves what was at `path` before, and nothing half-written beside it (a kill
    leaves a file whose name ends in ``.unfinished``, which nobody reads). The name is drawn at random: a link that
    somebody planted is not followed.

    Args:
        path: the file to write.

    Yields:
        The path of an empty file in the same folder.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with write_whole(path) as unfinished:
        ...     _ = unfinished.write_text("whole", "utf-8")
        >>> path.read_text("utf-8"), len(list(path.parent.iterdir()))
        ('whole', 1)
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".unfinished", dir=path.parent)
    unfinished = Path(name)
    try:
        os.close(handle)
        yield unfinished
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        unfinished.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _umask() -> int:
    # There is no way to read it without setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
