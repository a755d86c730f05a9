"""The reader's own data: a CSV file becomes the same kind of table as the sets of the catalogue."""

from __future__ import annotations

import difflib
import io
import re
import warnings
from pathlib import Path

from kerasllm.common.extras import needed
from kerasllm.data.errors import DataError
from kerasllm.data.splits import clean, fold

pd = needed("pandas", "data")

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
SPLITS = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["validation", "valid", "val", "dev"], "validation"),
    **dict.fromkeys(["test", "testing"], "test"),
}


def from_csv(
    path: str | Path,
    text: str = "text",
    label: str = "label",
    *,
    split: str | None = None,
    separator: str = ",",
    encoding: str = "utf-8",
    max_labels: int = 100,
    quiet: bool = False,
) -> pd.DataFrame:
    """Read labelled texts from a CSV file, drop what harms a model, and split the rest.

    Dropped are rows without text or label, copies (texts that differ only in case, punctuation or
    white space), and texts that stand in the file with different labels. One printed line says how
    many; ``attrs`` of the result holds the same numbers.

    Args:
        path: the file. Its first line holds the names of the columns.
        text: the column of the texts.
        label: the column of the labels; they are read as text.
        split: the column that says train, validation (also val, dev) or test, if the file has one.
            Of copies in several parts the one in test stays, else the one in validation. Without this
            column the content of a row decides its part: 70% train, 10% validation, 20% test, always the same.
        separator: the character between two columns.
        encoding: how the file stores characters.
        max_labels: more different labels than this are taken for a mistake.
        quiet: True prints nothing.

    Returns:
        A frame with the columns text, label (a Categorical) and split, as `kerasllm.data.load` returns
        it, in the order of the file. ``attrs`` holds name, rows_read, dropped_empty (no text),
        dropped_unlabelled, dropped_conflicts, dropped_duplicates and dropped_across_splits.

    Raises:
        DataError: if the file is missing or empty, its encoding or separator is another one, a column
            is missing, no row is left, or the labels are no classes; the message says what to change.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "films.csv"
        >>> _ = file.write_text("review,mood\\nA good film.,glad\\nToo long,sad\\na GOOD film,glad\\n,sad\\n")
        >>> frame = from_csv(file, text="review", label="mood")
        films.csv: 2 of 4 rows kept (train 2). Dropped: 1 without text, 1 copy. Empty: validation, test.
        >>> frame["label"].tolist()
        ['glad', 'sad']
    """
    path = Path(path)
    if text == label:
        raise DataError(f"text and label are the same column {text!r}. Name two columns.")
    table = _table(_characters(_content(path), encoding, path), separator, path)
    for name in filter(None, (text, label, split)):
        _require_column(table, name, separator, path)
    frame = pd.DataFrame({"text": table[text].str.strip(), "label": table[label].str.strip()})
    parts = _given_parts(table[split], path) if split else None
    attrs = {"name": path.name, "rows_read": len(frame)}

    labelled = frame["label"] != ""
    frame["place"] = frame.index
    frame = frame[labelled]
    order = frame.index
    if parts is not None:  # `clean` keeps the first of several copies
        order = parts[labelled].map(["test", "validation", "train"].index).sort_values(kind="stable").index
    frame = frame.loc[order].reset_index(drop=True)
    keys = frame["text"].map(lambda one: fold(one).encode())
    result = clean(frame, keys)
    dropped = dict(result.attrs)
    attrs |= {"dropped_empty": dropped["dropped_empty"], "dropped_unlabelled": int((~labelled).sum())}
    attrs |= {"dropped_conflicts": dropped["dropped_conflicts"], "dropped_duplicates": dropped["dropped_duplicates"]}
    attrs["dropped_across_splits"] = 0
    if parts is not None:
        result["split"] = result["place"].map(parts)
        kept = dict(zip(result["text"].map(fold).str.encode("utf-8"), result["split"], strict=True))
        copies = ~frame["place"].isin(result["place"]) & keys.isin(kept.keys())
        across = int((frame["place"].map(parts) != keys.map(kept))[copies].sum())
        attrs["dropped_across_splits"] = across
        attrs["dropped_duplicates"] -= across
    result = result.sort_values("place").drop(columns="place").reset_index(drop=True)
    _require_classes(result, label, max_labels, attrs, path)
    result["label"] = pd.Categorical(result["label"], _in_order(result["label"].unique()))
    result.attrs = attrs
    if not quiet:
        print(_report(result))
    return result


# Reading --------------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        folder = path.absolute().parent
        names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Check the name and the folder."
        raise DataError(f"There is no file {path.name!r} in {folder}. {hint}") from None
    except OSError as error:  # a folder, or no permission
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error.strerror}).") from error
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{path.name} is a workbook or a zip archive, not CSV. Save the table as CSV (UTF-8) first.")
    return content


def _characters(content: bytes, encoding: str, path: Path) -> str:
    try:
        characters = content.decode(encoding)
    except LookupError:
        raise DataError(f"There is no encoding {encoding!r}. Usual ones: utf-8, utf-16, gb18030, cp1252.") from None
    except UnicodeError as error:
        place = getattr(error, "start", 0)
        line = content.count(b"\n", 0, place) + 1
        raise DataError(
            f"{path.name} is not {encoding}: byte {place} (line {line}) is 0x{content[place]:02x}. "
            f"{_encoding_hint(content, encoding)}"
        ) from None
    if "\0" in characters:
        raise DataError(
            f"{path.name} is not {encoding}: character {characters.index(chr(0))} is zero, which no text holds. "
            f"{_encoding_hint(content, encoding)}"
        )
    characters = characters.removeprefix("\ufeff")
    if not characters.strip():
        raise DataError(f"{path.name} is empty.")
    return characters


def _encoding_hint(content: bytes, wrong: str) -> str:
    """Name the encoding that fits best, with the words it gives, for the reader to judge."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        candidates = ["utf-16"]
    elif content.count(0) > len(content) // 10:
        # Latin text has its zeros at odd places in the little-endian form.
        candidates = ["utf-16-le" if content[1::2].count(0) > content[::2].count(0) else "utf-16-be"]
    else:
        candidates = ["utf-8-sig", "gb18030", "cp1252"]
    for encoding in candidates:
        try:
            characters = content.decode(encoding)
        except UnicodeError:
            continue
        foreign = [one for one in characters if ord(one) > 127]
        if encoding == "gb18030" and _share(foreign, "gb2312") < 0.9:
            continue  # French letters make rare Chinese ones here; texts in Chinese hold few of those
        found = re.search(r"\w*[^\x00-\x7f]+\w*", characters)
        sample = f" (then it reads {found[0][:20]!r})" if found else ""
        return f'Try encoding="{encoding}"{sample}.'
    return f"No encoding of {', '.join(candidates)} fits either. Save the file as UTF-8 and try again."


def _share(characters: list[str], encoding: str) -> float:
    known = sum(bool(one.encode(encoding, errors="ignore")) for one in characters)
    return known / max(len(characters), 1)


def _table(characters: str, separator: str, path: Path) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            table = pd.read_csv(
                io.StringIO(characters), sep=separator, dtype=str, keep_default_na=False, index_col=False
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        raise DataError(
            f"{path.name} cannot be read as a table with the separator {separator!r} ({str(error).strip()}). "
            f'A text that holds the separator or a line break needs quotation marks around it: "like, this". '
            f"A quotation mark inside such a text is doubled."
        ) from error
    if table.empty:
        raise DataError(f"{path.name} holds one line, the names of its columns, and no rows.")
    return table.fillna("")  # a row that ends early


def _require_column(table: pd.DataFrame, name: str, separator: str, path: Path) -> None:
    if name in table:
        return
    columns = list(table.columns)
    other = max(SEPARATORS, key=columns[0].count)
    if len(columns) == 1 and other in columns[0]:
        raise DataError(
            f"{path.name} has one column with the separator {separator!r}, named {columns[0]!r}. "
            f"It seems to be separated by {SEPARATORS[other]}: try separator={other!r}."
        )
    names = {str(one).casefold().strip(): one for one in reversed(columns)}
    near = difflib.get_close_matches(name.casefold().strip(), names, n=1)
    hint = f"Did you mean {names[near[0]]!r}? " if near else ""
    raise DataError(f"{path.name} has no column {name!r}. {hint}Its columns: {', '.join(map(repr, columns))}.")


def _given_parts(column: pd.Series, path: Path) -> pd.Series:
    parts = column.str.strip().str.casefold().map(SPLITS)
    if parts.isna().any():
        wrong = column[parts.isna()]
        raise DataError(
            f"{path.name}: the column {column.name!r} holds {wrong.iloc[0]!r} (row {wrong.index[0] + 1}); "
            "it may say train, validation or test."
        )
    if not (parts == "train").any():
        raise DataError(f"{path.name}: the column {column.name!r} says train in no row.")
    return parts


# Judging and telling --------------------------------------------------------------------------


def _require_classes(frame: pd.DataFrame, name: str, max_labels: int, attrs: dict, path: Path) -> None:
    labels = frame["label"].unique()
    if not len(frame):
        raise DataError(f"{path.name}: no row is left of {attrs['rows_read']}. Dropped: {_dropped(attrs)}.")
    if len(labels) == 1:
        raise DataError(
            f"{path.name}: every row that is left has the label {labels[0]!r}. A classifier needs two. "
            f"Dropped: {_dropped(attrs)}."
        )
    if len(labels) > min(max_labels, max(10, len(frame) // 2)):
        examples = ", ".join(map(repr, labels[:3]))
        advice = "Is it the right column? If it is, group rare labels, or raise max_labels."
        if pd.to_numeric(pd.Series(labels), errors="coerce").notna().all():
            advice = (
                "They are numbers: to predict a number is regression, which needs another model. "
                "For classes, cut the numbers into ranges (pandas.cut)."
            )
        raise DataError(
            f"{path.name}: the column {name!r} has {len(labels):,} different values in {len(frame):,} rows "
            f"({examples} ...), too many for classes. {advice}"
        )


def _in_order(labels: pd.Series) -> list[str]:
    """Sorted: "2" before "10"."""
    numbers = pd.to_numeric(pd.Series(labels), errors="coerce")
    return sorted(labels, key=None if numbers.isna().any() else float)


def _dropped(attrs: dict) -> str:
    copies, across = attrs["dropped_duplicates"], attrs["dropped_across_splits"]
    counts = {
        "without text": attrs["dropped_empty"],
        "without label": attrs["dropped_unlabelled"],
        "with the text of another row but not its label": attrs["dropped_conflicts"],
        "copy" if copies == 1 else "copies": copies,
        f"{'copy' if across == 1 else 'copies'} in another split": across,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing"


def _report(frame: pd.DataFrame) -> str:
    counts = frame["split"].value_counts()
    parts = ", ".join(f"{part} {counts[part]:,}" for part in ("train", "validation", "test") if part in counts)
    rows = frame.attrs["rows_read"]
    line = f"{frame.attrs['name']}: {len(frame):,} of {rows:,} rows kept ({parts}). Dropped: {_dropped(frame.attrs)}."
    absent = [part for part in ("train", "validation", "test") if part not in counts]
    if absent:
        line += f" Empty: {', '.join(absent)}."
    unseen = set(frame["label"]) - set(frame.loc[frame["split"] == "train", "label"])
    if unseen:
        line += f" Not in train: {', '.join(sorted(unseen))}."
    longest = frame["text"].str.count("\n").max() + 1
    if longest > 20:
        line += f" One text has {longest} lines: is a quotation mark before it not closed?"
    return line
