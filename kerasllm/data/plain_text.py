"""One careful reader of plain texts: UTF-8 in bounded memory, or an error that says what the file is."""

from __future__ import annotations

import codecs
import difflib
import io
from collections.abc import Iterator
from pathlib import Path

from kerasllm.common import whole_number
from kerasllm.data.encodings import SAMPLE, convert_command, encoding_of, kind_of_file, mostly_utf8, shown
from kerasllm.data.errors import DataError


def text_pieces(path: str | Path, size: int = 1 << 20) -> Iterator[str]:
    """The text of a UTF-8 file, piece by piece, with a newline for every kind of line end (CR LF, CR).

    The pieces follow the bytes of the file: one may end within a word. Joined they are the text. A byte-order
    mark at the start is left out. The pieces before a faulty byte are given before the error comes; call
    `check_text_file` first where that is too late.

    Args:
        path: the file.
        size: at most this many bytes are in memory at a time.

    Yields:
        Texts of about `size` bytes at most, none empty.

    Raises:
        DataError: if the file cannot be read, is no text, or is not UTF-8; the message names the encoding that
            fits and the command that converts the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.txt"
        >>> _ = path.write_bytes("one\\r\\ntwo, 三\\n".encode())
        >>> "".join(text_pieces(path, size=4))
        'one\\ntwo, 三\\n'
    """
    path, size = Path(path), whole_number("size", size)
    utf8 = codecs.getincrementaldecoder("utf-8")()
    decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
    done = lines = 0
    try:
        with open(path, "rb") as file:
            _refuse_other_kinds(file.read(512), path)
            file.seek(len(codecs.BOM_UTF8) if _has_mark(file) else 0)
            done = file.tell()
            while True:
                block = file.read(size)
                zero = block.find(b"\0")
                if zero >= 0:
                    raise _not_utf8(file, path, done + zero, lines + block.count(b"\n", 0, zero))
                held = len(utf8.getstate()[0])  # bytes of a character that the last block cut
                try:
                    piece = decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    place = done - held + error.start
                    before = block.count(b"\n", 0, max(error.start - held, 0))
                    raise _not_utf8(file, path, place, lines + before) from None
                done, lines = done + len(block), lines + block.count(b"\n")
                if piece:
                    yield piece
                if not block:
                    return
    except OSError as error:
        raise cannot_read(path, error) from error


def check_text_file(path: str | Path) -> None:
    """Read a file to its end and say what is wrong with it; nothing is kept in memory.

    Args:
        path: the file.

    Raises:
        DataError: if the file cannot be read, is empty, is no text, or is not UTF-8; see `text_pieces`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.txt"
        >>> _ = path.write_bytes("Хороший фильм, но слишком длинный".encode("cp1251"))
        >>> check_text_file(path)  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        kerasllm.data.errors.DataError: mine.txt is not UTF-8 ... It seems to be cp1251 (then it reads 'Хороший').
    """
    full = False
    for piece in text_pieces(path):
        full = full or bool(piece.strip())
    if not full:
        raise DataError(f"{shown(Path(path))} is empty.")


def _has_mark(file: io.BufferedReader) -> bool:
    file.seek(0)
    return file.read(3) == codecs.BOM_UTF8


def _refuse_other_kinds(head: bytes, path: Path) -> None:
    kind = kind_of_file(head)
    if kind:
        raise DataError(f"{shown(path)} is {kind}, not a plain text. Save or unpack its text as a UTF-8 file first.")


def cannot_read(path: Path, error: OSError) -> DataError:
    """The error for a file that cannot be opened, with the nearest name beside it."""
    if not isinstance(error, FileNotFoundError):  # a folder, or no permission
        return DataError(f"{shown(path)} cannot be read ({type(error).__name__}: {error.strerror}).")
    folder = path.absolute().parent
    names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"Did you mean {shown(Path(near[0]))!r}?" if near else "Check the name and the folder."
    return DataError(f"There is no file {shown(path)!r} in {folder}. {hint}")


def _not_utf8(file: io.BufferedReader, path: Path, place: int, line: int) -> DataError:
    """The error for the byte at `place`, in the line that has `line` lines before it."""
    sample, byte = _around(file, place)
    start = f"{shown(path)} is not UTF-8: byte {place:,} (line {line + 1:,}) is 0x{byte:02x}."
    return DataError(f"{start} {advice(sample, path)}")


def _around(file: io.BufferedReader, place: int) -> tuple[bytes, int]:
    """Some bytes before and after a place, from the start of a line if one is near; and the byte at the place."""
    start = max(0, (place - SAMPLE // 2) & ~3)  # a multiple of 4: UTF-16 and UTF-32 stay in step
    file.seek(start)
    sample = file.read(SAMPLE)
    byte = sample[place - start]
    if start and 0 not in sample:
        sample = sample[sample.find(b"\n", 0, place - start) + 1 :]
    return sample, byte


def advice(sample: bytes, path: Path) -> str:
    """What the file seems to be, and what to do."""
    if mostly_utf8(sample) and 0 not in sample:
        return "The rest around it is UTF-8: some bytes are broken there. Mend or delete this line."
    found = encoding_of(sample)
    if found:
        encoding, words = found
        return f"It seems to be {encoding} (then it reads {words!r}). Convert it: {convert_command(path, encoding)}"
    if 0 in sample:
        return "Zero bytes stand in no text: it is a file of another kind. Save its text as UTF-8 first."
    return "No usual encoding fits. Save it as UTF-8 with the program that made it."
