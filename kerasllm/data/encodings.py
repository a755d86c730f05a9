"""What the bytes of a file are: a text in which encoding, or no text at all. Only for advice; nothing is converted."""

from __future__ import annotations

import codecs
import re
import shlex
import unicodedata
from pathlib import Path

# The first bytes by which a kind of file is known.
_KINDS = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a workbook, a document or a zip archive",
    b"\xd0\xcf\x11\xe0": "a workbook or a document of an old office program",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3\0": "an SQLite database",
    b"\x93NUMPY": "a NumPy array",
    b"\x7fELF": "a program",
    b"MZ\x90": "a program",
    b"ID3": "a sound",
    b"{\\rtf": "a document of a word processor (RTF)",
}
# In the order of preference when several fit equally well.
_CANDIDATES = (
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
    *("cp1252", "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp1254", "cp1250", "iso8859_2", "cp866"),
)
_WIDE = ("utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be")
_LATIN = ("cp1252", "cp1250", "cp1254", "iso8859_2")
# The letters beyond ASCII that are most frequent in the languages of an encoding: about 70% of those of an alphabet.
# Read in another encoding, a text has other ones.
_FREQUENT = {
    **dict.fromkeys(("cp1251", "koi8_r", "cp866"), "оеаинтсрвлкмі"),
    "cp1253": "αοιετσνηυρκπ",
    "cp1255": "יוהלאתרמשבנ",
    "cp1256": "ايلمنوتربة",
    "cp1252": "éèàùêâîôûçëïüäößñáíóúãõåøìò",
    **dict.fromkeys(("cp1250", "iso8859_2"), "áčďéěíňóřšťúůýžąćęłńśźżöőüűäâăîşţđß"),
    "cp1254": "çğıöşüâî",
}
# Wrong readings give rare characters: the standard that lists the common ones first, and where these end.
_COMMON = {"gb18030": ("gb2312", 0xD8), "big5": ("big5", 0xC9)}
_ICONV = {"cp932": "SHIFT_JIS", "utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE", "iso8859_2": "ISO-8859-2"}
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}  # the first one begins like UTF-16
_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
SAMPLE = 1 << 16  # bytes that are looked at to tell an encoding


def shown(path: Path) -> str:
    """The name of a file for a message; bytes of the name that are no text are escaped."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def kind_of_file(head: bytes) -> str | None:
    """What a file that is no text is, known by its first bytes; None for anything else.

    Example:
        >>> kind_of_file(b"%PDF-1.7")
        'a PDF document'
    """
    return next((kind for mark, kind in _KINDS.items() if head.startswith(mark)), None)


def encoding_of(content: bytes) -> tuple[str, str] | None:
    """The encoding in which these bytes, which are no UTF-8, are most likely a text.

    Args:
        content: some of the file, best where UTF-8 fails. It may begin and end within a character.

    Returns:
        The name of the encoding and a few words as they read in it; None if no encoding gives a text.

    Example:
        >>> encoding_of("Хороший фильм, но слишком длинный".encode("cp1251"))
        ('cp1251', 'Хороший')
    """
    mark = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if mark:
        characters = codecs.getincrementaldecoder(mark)("replace").decode(content)
        return mark, _words(characters)
    if 0 in content[:SAMPLE] or not content.isascii():
        for cut in range(4):  # a character may be cut at the end
            found = _best(content[: len(content) - cut])
            if found:
                return found
    return None


def _best(content: bytes) -> tuple[str, str] | None:
    """The most plausible reading by charset-normalizer among the encodings that are in use."""
    try:
        from charset_normalizer import from_bytes
    except ImportError:  # it comes with the extra "data"; without it nothing is guessed
        return None
    zeros = 0 in content
    if not zeros:
        lines = b"\n".join(line for line in content.split(b"\n") if not line.isascii())
        first = next((place for place, byte in enumerate(lines) if byte > 127), 0)
        content = lines[max(0, first - 99) :][:8192]  # enough to judge; letters in plain ASCII say nothing
    matches = from_bytes(content, cp_isolation=list(_WIDE if zeros else _CANDIDATES))
    readings = []
    for match in matches:
        # Encodings that give the same characters are one match.
        name = next((name for name in (*_WIDE, *_CANDIDATES) if name in match.could_be_from_charset), None)
        characters = str(match)
        if name and _plausible(characters, name):
            place = (*_WIDE, *_CANDIDATES).index(name)
            fit = _frequent(characters, name) if name in _FREQUENT else 0.7 - match.chaos
            readings.append((-round(fit, 1), -round(match.coherence, 1), place, name, characters))
    readings.sort()
    # A few letters with accents could be of several languages, and a wrong guess is worse than none.
    unsure = len(readings) > 1 and readings[0][:2] == readings[1][:2] and readings[0][3] in _LATIN
    if not readings or unsure:
        return None
    *_, name, characters = readings[0]
    return name.replace("utf_16_", "utf-16-").replace("utf_32_", "utf-32-"), _words(characters)


def _plausible(characters: str, encoding: str) -> bool:
    """Whether the letters are those that texts in this encoding are written with."""
    foreign = [one for one in characters if ord(one) > 127 and unicodedata.category(one)[0] in "LMN"]
    if any(unicodedata.category(one) in ("Cc", "Cn", "Co") and one not in "\t\r\n\f\ufeff" for one in characters):
        return False
    if not foreign:
        return True
    if encoding in _LATIN:  # signs within words, or whole words of letters with accents: it is another language
        if re.search(r"[^\W\d_][¡-©¬-¶¸-¿][^\W\d_]", characters):
            return False
        words = re.findall(r"[^\W\d_]*[^\W\d_a-zA-Z][^\W\d_]*", characters)
        return len(foreign) < 0.6 * sum(map(len, words)) or max(map(len, words)) < 2
    if encoding in _WIDE:  # one script and its neighbours, not a mixture of all
        return len(characters) > 9 and len({unicodedata.name(one, "?").split()[0] for one in foreign}) <= 5
    if len(foreign) < 4:
        return False
    if encoding in _COMMON:
        if any("\u3040" <= one <= "\u30ff" for one in foreign):  # Japanese
            return False
        return sum(_is_common(one, encoding) for one in foreign) > 0.8 * len(foreign)
    if encoding in _FREQUENT:
        words = [word for word in re.findall(r"[^\W\d_]+", characters) if not word.isascii()]
        return _frequent(characters, encoding) > 0.5 and _well_formed(words)
    if encoding in ("cp932", "euc_jp"):
        kana = sum("\u3040" <= one <= "\u30ff" for one in foreign)
        return kana > 0.2 * len(foreign) and not any("\uff61" <= one <= "\uff9f" for one in foreign)
    if encoding == "cp949":
        return sum("\uac00" <= one <= "\ud7a3" for one in foreign) > 0.8 * len(foreign)
    return True


def _is_common(character: str, encoding: str) -> bool:
    """Whether a Chinese standard has this among its signs or its common characters, which come first in it."""
    standard, end = _COMMON[encoding]
    code = character.encode(standard, errors="ignore")
    return bool(code) and code[0] < end


def _well_formed(words: list[str]) -> bool:
    """Whether words are in one alphabet, and their capitals where capitals stand: first, or all."""
    odd = sum(word.lower() != word and word.title() != word and word.upper() != word for word in words)
    mixed = any(re.search("[a-zA-Z\u05f0-\u05f2]|^[ךםןףץ]", word) for word in words)
    # Hebrew and Arabic letters read as Cyrillic or Greek ones give words without any capital.
    capitals = any(word.istitle() or word.upper() == word.lower() for word in words)
    letters = sum(map(len, words))
    return letters > 6 and (letters > 30 or capitals) and not mixed and odd <= 0.1 * len(words)


def _frequent(characters: str, encoding: str) -> float:
    """The share of the letters beyond ASCII that are frequent in the languages of this encoding."""
    letters = [one for one in characters.lower() if ord(one) > 127 and one.isalpha()]
    return sum(one in _FREQUENT.get(encoding, "") for one in letters) / max(len(letters), 1)


def _words(characters: str, length: int = 20) -> str:
    """The first word with a letter that is not ASCII, else the first words."""
    found = re.search(r"\w*[^\x00-\x7f]+\w*", characters) or re.search(r"\w.*", characters)
    return found[0][:length] if found else ""


def convert_command(path: Path, encoding: str) -> str:
    """The command that makes a UTF-8 copy of a file.

    Example:
        >>> convert_command(Path("my text.txt"), "cp1251")
        "iconv -f CP1251 -t UTF-8 'my text.txt' > 'my text.utf8.txt'"
    """
    copy = path.with_name(f"{path.stem}.utf8{path.suffix or '.txt'}")
    name = _ICONV.get(encoding, encoding.upper().replace("_", "-"))
    return f"iconv -f {name} -t UTF-8 {shlex.quote(str(path))} > {shlex.quote(str(copy))}"


def mostly_utf8(content: bytes) -> bool:
    """Whether most letters beyond ASCII are whole UTF-8, so that only some bytes are broken.

    Example:
        >>> mostly_utf8("Größe und Übermut".encode() + bytes([0xFC]))
        True
    """
    characters = content.decode("utf-8", "replace")
    # U+FFFD may also stand in the file itself.
    broken = characters.count("\ufffd") - content.count("\ufffd".encode())
    return sum(ord(one) > 127 for one in characters) - broken > 2 * broken
