"""The Bible in seven languages, split by book."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset
from kerasllm.data.errors import ArchiveError
from kerasllm.data.loaders.registry import loads, members, whole

pd = needed("pandas", "data")


# The books in canonical order; the archive calls two of them "Ecclesiasts" and "The Acts".
BOOKS = [
    *("Genesis", "Exodus", "Leviticus", "Numbers", "Deuteronomy", "Joshua", "Judges", "Ruth", "1 Samuel"),
    *("2 Samuel", "1 Kings", "2 Kings", "1 Chronicles", "2 Chronicles", "Ezra", "Nehemiah", "Esther", "Job"),
    *("Psalms", "Proverbs", "Ecclesiastes", "Song of Solomon", "Isaiah", "Jeremiah", "Lamentations", "Ezekiel"),
    *("Daniel", "Hosea", "Joel", "Amos", "Obadiah", "Jonah", "Micah", "Nahum", "Habakkuk", "Zephaniah", "Haggai"),
    *("Zechariah", "Malachi", "Matthew", "Mark", "Luke", "John", "Acts", "Romans", "1 Corinthians"),
    *("2 Corinthians", "Galatians", "Ephesians", "Philippians", "Colossians", "1 Thessalonians"),
    *("2 Thessalonians", "1 Timothy", "2 Timothy", "Titus", "Philemon", "Hebrews", "James", "1 Peter", "2 Peter"),
    *("1 John", "2 John", "3 John", "Jude", "Revelation"),
]
# Why these books: see the card.
VALIDATION_BOOKS = ["Ruth", "Song of Solomon", "Lamentations", "Habakkuk", "Acts", "Galatians"]
TEST_BOOKS = ["Esther", "Ecclesiastes", "Daniel", "John", "James"]
PARTS = dict.fromkeys(VALIDATION_BOOKS, "validation") | dict.fromkeys(TEST_BOOKS, "test")


@loads("king-james")
def _king_james(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    books = json.loads(content)["_Bible__books"]
    if len(books) != len(BOOKS):
        raise ArchiveError(f"{dataset.members[0]} holds {len(books)} books, not {len(BOOKS)}.")
    rows = [
        (text, book, chapter, verse)
        for book, values in zip(BOOKS, books, strict=True)
        for chapter, verse, text in _verses(values)
    ]
    frame = pd.DataFrame(rows, columns=["text", "label", "chapter", "verse"])
    frame["label"] = pd.Categorical(frame["label"], BOOKS)
    frame.insert(2, "split", [PARTS.get(book, "train") for book in frame["label"]])
    return whole(frame)  # a running text: verses that occur twice (refrains, lists) belong to it and stay


def _verses(book: dict) -> Iterator[tuple[int, int, str]]:
    """Chapter, verse and text of a book, with the faults of the archive mended.

    18 verses have the following ones glued to them ("... 14:9 With Chedorlaomer ..."); Deuteronomy
    29:17 to 29:20 stand as "2" and 9:17 to 9:20; 1 Peter 5:6 stands twice.
    """
    place = (1, 0)
    for values in book["_Book__chapters"]["py/tuple"]:
        chapter = max(values["_Chapter__number"], place[0])
        for verse in values["_Chapter__verses"]["py/tuple"]:
            first, *glued = re.split(r"\s\d+:(\d+)\s", verse["_Verse__text"])
            numbers = [verse["_Verse__number"], *map(int, glued[0::2])]
            for number, text in zip(numbers, [first, *glued[1::2]], strict=True):
                if (chapter, number) != place:
                    place = (chapter, number)
                    yield chapter, number, " ".join(text.rstrip(" 0123456789").split())


# The letters of the versions in the archive, all in the public domain: see the card.
VERSIONS = {"k": "english", "l": "french", "e": "german", "r": "russian", "v": "spanish"}


@loads("parallel-bible")
def _parallel_bible(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(content)  # from memory: nothing is extracted to a disk
        rows = database.execute(
            "SELECT vText, bbName, bNumber, cNumber, vNumber FROM bible"
            f" WHERE bbName IN ({', '.join('?' * len(VERSIONS))}) ORDER BY bbName, bNumber, cNumber, vNumber",
            list(VERSIONS),
        ).fetchall()
    frame = pd.DataFrame(rows, columns=["text", "label", "book", "chapter", "verse"])
    frame["label"] = pd.Categorical(frame["label"].map(VERSIONS), VERSIONS.values())
    frame["book"] = pd.Categorical.from_codes(frame["book"] - 1, BOOKS)
    return _verses_by_place(frame.sort_values("label", kind="stable", ignore_index=True))


@loads("chinese-bible")
def _chinese_bible(dataset: Dataset) -> pd.DataFrame:
    import h5py  # comes with Keras

    (content,) = members(dataset)
    with h5py.File(io.BytesIO(content), "r") as file:
        rows, books = file["unv/table"][:], file["unv/meta/book/meta/table"][:]["values"]
    names = [books[code].decode("ascii") for code in rows["book"]]
    frame = pd.DataFrame(rows["values_block_0"], columns=["chapter", "verse"]).astype("int64")
    frame.insert(0, "text", [text.decode("utf-8") for text in rows["text"]])
    # The archive is in canonical order, so a book is known by its place in it.
    frame.insert(1, "label", pd.Categorical.from_codes(pd.factorize(pd.Series(names))[0], BOOKS))
    return _verses_by_place(frame)


def _verses_by_place(frame: pd.DataFrame) -> pd.DataFrame:
    """Take out what is no text of a verse, and split by book as king-james is split."""
    # Verse numbers of another counting "(7:26)", stars and soft hyphens; a lone "a" is a verse whose
    # words stand in the one before.
    foreign = re.compile(r"\(\d+:\d+[a-z]?\)?|[*\u00ad]|^a$")
    frame["text"] = frame["text"].map(lambda text: " ".join(foreign.sub("", text).split()))
    place = "book" if "book" in frame else "label"
    frame.insert(2, "split", [PARTS.get(book, "train") for book in frame[place]])
    full = frame["text"] != ""
    return whole(frame[full].reset_index(drop=True), dropped_empty=int((~full).sum()))
