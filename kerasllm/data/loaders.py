"""From archives to clean tables: one function for each data set."""

from __future__ import annotations

import html
import io
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np

from kerasllm.common.extras import needed
from kerasllm.data.archives import read_members
from kerasllm.data.catalogue import Dataset, find
from kerasllm.data.errors import ArchiveError, DataError
from kerasllm.data.fetching import fetch
from kerasllm.data.splits import clean, fold

pd = needed("pandas", "data")

_LOADERS: dict[str, Callable[[Dataset], pd.DataFrame]] = {}


def load(name: str) -> pd.DataFrame:
    """Load a data set as a clean table. The first load fetches its archive (see `catalog` for sizes).

    Args:
        name: a name from `catalog`.

    Returns:
        For texts a frame with the columns text, label, split (king-james: also chapter and verse);
        for tables the feature columns, then label and split. ``label`` is a Categorical with
        readable names, ``split`` is "train", "validation" or "test". The splits are fixed, and no
        text is in two of them. The order of the rows is always the same. ``attrs`` says how many rows
        were read and dropped.

        peoples-daily has no label, but words and tags, both separated by spaces; in parallel-bible
        the label is the language.

        For word vectors a frame of float32 with one row a word: ``frame.index`` holds the words,
        ``frame.to_numpy()`` the matrix, and ``frame.index.get_indexer(words)`` the row of each word,
        -1 for unknown ones. For tests of words the columns are word_1, word_2, score (similarity) or
        a, b, c, d, category (analogies), then split, which is always "test".

    Raises:
        UnknownDatasetError: if no data set has this name.
        DataError: if the data cannot be brought, verified or read; the message says what to do.
    """
    dataset = find(name)
    frame = _LOADERS[dataset.name](dataset)
    frame.attrs["name"] = dataset.name
    return frame


def _loads(name: str):
    def register(function):
        _LOADERS[name] = function
        return function

    return register


def _members(dataset: Dataset) -> list[bytes]:
    path = fetch(dataset.archive, dataset.name)
    found = read_members(path, dataset.members)
    return [found[name] for name in dataset.members]


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Clean a frame of texts and labels: a near-copy is a text with the same `fold`."""
    return clean(frame, frame["text"].map(lambda text: fold(text).encode()))


@_loads("movie-snippets")
def _movie_snippets(dataset: Dataset) -> pd.DataFrame:
    (content,) = _members(dataset)
    # quoting=3: quotation marks are part of the text. A film called "None" is no missing value.
    table = pd.read_csv(io.BytesIO(content), sep="\t", quoting=3, keep_default_na=False)
    label = pd.Categorical.from_codes((table["sentiment"] > 0).astype(int), ["negative", "positive"])
    return _texts(pd.DataFrame({"text": table["text"].str.strip(), "label": label}))


@_loads("chinese-reviews")
def _chinese_reviews(dataset: Dataset) -> pd.DataFrame:
    # Not splitlines: some reviews hold characters that it takes for the end of a line.
    groups = [content.decode("utf-8").rstrip("\n").split("\n") for content in _members(dataset)]
    codes = [code for code, group in enumerate(groups) for _ in group]
    label = pd.Categorical.from_codes(codes, ["negative", "positive"])
    return _texts(pd.DataFrame({"text": [line.strip() for group in groups for line in group], "label": label}))


@_loads("sms-spam")
def _sms_spam(dataset: Dataset) -> pd.DataFrame:
    (content,) = _members(dataset)
    table = pd.read_csv(io.BytesIO(content), index_col=0, keep_default_na=False)
    rows = []
    for text, spam in zip(table["text"], table["spam"], strict=True):
        # A quotation mark that was never closed: 8 texts hold the 737 messages that followed them.
        first, *glued = re.split(r"\n(ham|spam)\t", text)
        rows.append((first, ["ham", "spam"][spam]))
        rows.extend(zip(glued[1::2], glued[0::2], strict=True))
    frame = pd.DataFrame([(html.unescape(text).strip(), label) for text, label in rows], columns=["text", "label"])
    frame["label"] = pd.Categorical(frame["label"], ["ham", "spam"])
    return _texts(frame)


QUESTION_LABELS = {
    "ABBR": "abbreviation",
    "DESC": "description",
    "ENTY": "entity",
    "HUM": "human",
    "LOC": "location",
    "NUM": "number",
}


@_loads("trec-questions")
def _trec_questions(dataset: Dataset) -> pd.DataFrame:
    (content,) = _members(dataset)
    rows = [re.split("[: ]", line, maxsplit=2) for line in content.decode("utf-8").rstrip("\n").split("\n")]
    frame = pd.DataFrame([(text.strip(), label, fine) for label, fine, text in rows], columns=["text", "label", "fine"])
    frame["label"] = pd.Categorical(frame["label"].map(QUESTION_LABELS), QUESTION_LABELS.values())
    return _texts(frame)[["text", "label", "split", "fine"]]


# The first lines of the newspapers of 25 and 27 January: see the card.
NEWS_BOUNDARIES = (15_767, 17_540)


@_loads("peoples-daily")
def _peoples_daily(dataset: Dataset) -> pd.DataFrame:
    (content,) = _members(dataset)
    lines = content.decode("utf-8").rstrip("\n").split("\n")
    # "迈向/v  充满/v": no word holds a space, and no tag a slash.
    pairs = [[token.rsplit("/", 1) for token in line.split()] for line in lines]
    words, tags = ([[pair[place] for pair in line] for line in pairs] for place in (0, 1))
    validation, test = NEWS_BOUNDARIES
    parts = ["train"] * validation + ["validation"] * (test - validation) + ["test"] * (len(lines) - test)
    frame = pd.DataFrame(
        {
            "text": ["".join(line) for line in words],
            "split": parts,
            "words": [" ".join(line) for line in words],
            "tags": [" ".join(line) for line in tags],
        }
    )
    # A running text: repeated lines stay where they are, but no line of an earlier part comes again.
    keys = frame["text"].map(fold)
    earlier = keys.isin(keys[:validation]) & (frame.index >= validation)
    earlier |= keys.isin(keys[validation:test]) & (frame.index >= test)
    result = frame[~earlier].reset_index(drop=True)
    result.attrs = _whole(frame).attrs | {"dropped_duplicates": int(earlier.sum())}
    return result


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


@_loads("king-james")
def _king_james(dataset: Dataset) -> pd.DataFrame:
    (content,) = _members(dataset)
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
    return _whole(frame)  # a running text: verses that occur twice (refrains, lists) belong to it and stay


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


@_loads("parallel-bible")
def _parallel_bible(dataset: Dataset) -> pd.DataFrame:
    (content,) = _members(dataset)
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


@_loads("chinese-bible")
def _chinese_bible(dataset: Dataset) -> pd.DataFrame:
    import h5py  # comes with Keras

    (content,) = _members(dataset)
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
    result = frame[full].reset_index(drop=True)
    result.attrs = _whole(frame).attrs | {"dropped_empty": int((~full).sum())}
    return result


@_loads("glove-50d")
def _glove(dataset: Dataset) -> pd.DataFrame:
    needed("pyarrow", "data")  # pandas reads Parquet files with it
    vectors, index = _members(dataset)
    words = pd.read_parquet(io.BytesIO(index), columns=["index"])["index"]
    frame = pd.DataFrame(np.load(io.BytesIO(vectors)), index=pd.Index(words, name="word"), copy=False)
    return _whole(frame)


@_loads("wordsim-353")
@_loads("simlex-999")
def _similarity(dataset: Dataset) -> pd.DataFrame:
    (content,) = _members(dataset)
    table = pd.read_csv(
        io.BytesIO(content), sep="\t", comment="#", names=["word_1", "word_2", "score"], keep_default_na=False
    )
    return _whole(table.assign(split="test"))


@_loads("google-analogies")
def _analogies(dataset: Dataset) -> pd.DataFrame:
    (content,) = _members(dataset)
    rows, category = [], ""
    for line in content.decode("utf-8").splitlines():
        if line.startswith(": "):
            category = line[2:]
        else:
            rows.append((*line.split(" "), category))
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "d", "category"]).assign(split="test")
    frame["category"] = pd.Categorical(frame["category"], frame["category"].unique())
    return _whole(frame)


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of which nothing was dropped."""
    frame.attrs = {"rows_read": len(frame), "dropped_empty": 0, "dropped_conflicts": 0, "dropped_duplicates": 0}
    return frame


@_loads("breast-cancer")
def _breast_cancer(dataset: Dataset) -> pd.DataFrame:
    return _bundled("load_breast_cancer")


@_loads("digits")
def _digits(dataset: Dataset) -> pd.DataFrame:
    return _bundled("load_digits")


def _bundled(function: str) -> pd.DataFrame:
    """A table that comes with scikit-learn; the labels keep the order of its class numbers."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError('This data set comes with scikit-learn. Install it: pip install "kerasllm[data]"') from error
    bunch = getattr(datasets, function)()
    frame = pd.DataFrame(bunch.data, columns=[str(name) for name in bunch.feature_names])
    keys = pd.Series([row.astype("<f8").tobytes() for row in bunch.data])
    frame["label"] = pd.Categorical.from_codes(bunch.target, [str(name) for name in bunch.target_names])
    return clean(frame, keys)
