"""The folder of a run: one process at a time, and no half-written file behind it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from kerasllm.training.run_settings import SETTINGS, RunError, tokenizer_fingerprint

LOCK = ".lock"
UNFINISHED = ".unfinished"  # how the names of files and folders end that nobody needs after a stop
TOKENIZER, LOG, MODEL, STATE = "tokenizer.json", "log.csv", "model.safetensors", "state.npz"


def check_free(folder: Path) -> None:
    """Refuse a folder in which something is, unless a start that failed left it there.

    Raises:
        RunError: if it holds a run or files of somebody else, or is a file.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise RunError(f"{folder} is a file: choose another folder")
    names = {path.name for path in folder.iterdir()} - {LOCK}
    begun = names & {MODEL, STATE}
    if SETTINGS in names and begun:
        raise RunError(f"{folder} is not empty: resume its run, or choose another folder")
    left = {name for name in names if name.endswith(UNFINISHED)}
    ours = {TOKENIZER} if left else set()
    if not begun and tokenizer_fingerprint(folder) is not None:  # a run that ended before its first checkpoint
        ours = {SETTINGS, TOKENIZER, LOG}
    if names - left - ours:
        raise RunError(f"{folder} is not empty: choose another folder")


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Make the folder of a run and keep other processes out of it.

    When the block ends, in whatever way, unfinished files are gone. If no settings.json was written, nothing that the
    block made is left: the next start finds what this one found.

    Yields:
        A folder for files that are needed as long as the block runs.

    Raises:
        RunError: if another process is in it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"another process trains in {folder}: wait until it ends, or choose another folder") from None
    started = (folder / SETTINGS).exists()
    work = folder / ("tokens" + UNFINISHED)
    try:
        _tidy(folder)
        work.mkdir()
        yield work
    finally:
        if not started and not (folder / SETTINGS).exists():
            (folder / TOKENIZER).unlink(missing_ok=True)
        _tidy(folder)
        with contextlib.suppress(OSError):  # Windows deletes no file that is open
            (folder / LOCK).unlink()
        lock.release()
        with contextlib.suppress(OSError):  # not empty: the run stays
            for path in made:
                path.rmdir()


def _tidy(folder: Path) -> None:
    """Remove what is half-written."""
    for path in folder.glob("*" + UNFINISHED):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
