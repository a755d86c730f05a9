"""The reader's own data: a CSV file becomes the same kind of table as the sets of the catalogue."""

from __future__ import annotations

import csv
import difflib
import io
import re
import string
import warnings
from pathlib import Path

from kerasllm.common.extras import needed
from kerasllm.data.encodings import SAMPLE, encoding_of, kind_of_file, mostly_utf8, shown
from kerasllm.data.errors import DataError
from kerasllm.data.plain_text import cannot_read
from kerasllm.data.splits import clean, fold, is_visible, same

pd = needed("pandas", "data")

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_BREAK = re.compile("\r\n|\n|\r")
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
    quotes: bool | None = None,
    max_labels: int = 100,
    quiet: bool = False,
) -> pd.DataFrame:
    """Read labelled texts from a CSV file, drop what harms a model, and split the rest.

    Dropped are rows without text or label (invisible characters alone are no text), copies (texts that differ only in
    case or white space), and texts that stand in the file with different labels. One printed line says how many;
    ``attrs`` of the result holds the same numbers. Texts with the same letters and digits ("great :)" and
    "Great!") are kept, in the same part, so that no test text is nearly a training text.

    Args:
        path: the file. Its first line holds the names of the columns.
        text: the column of the texts.
        label: the column of the labels; they are read as text.
        split: the column that says train, validation (also val, dev) or test, if the file has one.
            Of copies in several parts the one in test stays, else the one in validation. Without this
            column the content of a row decides its part: 70% train, 10% validation, 20% test, always the same.
        separator: the character between two columns.
        encoding: how the file stores characters.
        quotes: False reads quotation marks as part of the texts. Else they stand around texts that hold a separator
            or a line break; when None, a mark that seems not to be closed is an error, with True it is not.
        max_labels: more different labels than this are taken for a mistake.
        quiet: True prints nothing.

    Returns:
        A frame with the columns text, label (a Categorical) and split, as `kerasllm.data.load` returns
        it, in the order of the file. ``attrs`` holds name, rows_read, lines_in_quotes (line breaks inside of texts),
        dropped_empty (no text), dropped_unlabelled, dropped_conflicts, dropped_duplicates, dropped_across_splits
        and near_copies_across_splits (kept, because the file has them in different parts).

    Raises:
        DataError: if the file is missing or empty, is no text, its encoding or separator is another one, a quotation
            mark is not closed, a column is missing, no row is left, or the labels are no classes; the message says
            what to change.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "films.csv"
        >>> _ = file.write_text("review,mood\\nA good film.,glad\\nToo long,sad\\na GOOD  film.,glad\\n,sad\\n")
        >>> frame = from_csv(file, text="review", label="mood")
        films.csv: 2 of 4 rows kept (train 2). Dropped: 1 without text, 1 copy. Empty: validation, test.
        >>> frame["label"].tolist()
        ['glad', 'sad']
    """
    path = Path(path)
    if text == label:
        raise DataError(f"text and label are the same column {text!r}. Name two columns.")
    wanted = [name for name in (text, label, split) if name]
    table = _table(_characters(_content(path), encoding, path), separator, quotes, wanted, path)
    for name in wanted:
        _require_column(table, name, separator, path)
    if quotes is None:
        _refuse_swallowed_rows(table, label, separator, path)
    frame = pd.DataFrame({"text": table[text].str.strip(), "label": table[label].map(_without_ends)})
    parts = _given_parts(table[split], path) if split else None
    result = _without_copies(frame, parts)
    result.attrs = {"name": shown(path), "rows_read": len(frame), "lines_in_quotes": _line_breaks(table)} | result.attrs
    _require_classes(result, label, max_labels, path)
    result["label"] = pd.Categorical(result["label"], _in_order(result["label"].unique()))
    if not quiet:
        print(_report(result))
    return result


# Reading --------------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise cannot_read(path, error) from error
    kind = kind_of_file(content[:512])
    if kind:
        raise DataError(f"{shown(path)} is {kind}, not CSV. Save the table as CSV (UTF-8) first.")
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
            f"{shown(path)} is not {encoding}: byte {place} (line {line}) is 0x{content[place]:02x}. "
            f"{_encoding_hint(content, place)}"
        ) from None
    if "\0" in characters:
        raise DataError(
            f"{shown(path)} is not {encoding}: character {characters.index(chr(0))} is zero, which no text holds. "
            f"{_encoding_hint(content, content.index(0))}"
        )
    characters = characters.removeprefix("\ufeff")
    if _as_utf8(content) not in (None, characters):
        raise DataError(f'{shown(path)} is not {encoding}, it is UTF-8: leave encoding="{encoding}" out.')
    if not characters.strip():
        raise DataError(f"{shown(path)} is empty.")
    return characters


def _decodes(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _as_utf8(content: bytes) -> str | None:
    """The text, if the bytes are UTF-8 and not by chance: a handful of letters could be."""
    if 0 in content or not _decodes(content):
        return None
    characters = content.decode("utf-8-sig")
    return None if 0 < sum(ord(one) > 127 for one in characters) < 4 else characters


def _encoding_hint(content: bytes, place: int) -> str:
    """Name the encoding that fits best, with the words it gives, for the reader to judge."""
    if 0 not in content and _decodes(content):
        return 'It is UTF-8: try encoding="utf-8".'
    start = 0 if 0 in content[:SAMPLE] else content.rfind(b"\n", 0, max(place - 999, 0)) + 1
    sample = content[start : start + SAMPLE]
    if mostly_utf8(sample) and 0 not in sample:
        return "The rest around it is UTF-8: some bytes are broken there. Mend or delete this line."
    found = encoding_of(sample)
    if found:
        return f'Try encoding="{found[0]}" (then it reads {found[1]!r}).'
    if 0 in sample:
        return "It is a file of another kind, no text. Save the table as CSV (UTF-8) first."
    return "No usual encoding fits. Save the file as UTF-8 with the program that made it."


def _table(characters: str, separator: str, quotes: bool | None, wanted: list[str], path: Path) -> pd.DataFrame:
    _require_separator(characters, separator, wanted, path)
    quoting = csv.QUOTE_NONE if quotes is False else csv.QUOTE_MINIMAL
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            table = pd.read_csv(
                io.StringIO(characters),
                sep=separator,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                quoting=quoting,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        said = str(error).strip()
        advice = (
            'A text that holds the separator or a line break needs quotation marks around it: "like, this". '
            "A quotation mark inside such a text is doubled."
        )
        if quotes is False:
            advice = "quotes=False takes a separator inside of a text for the end of a column: leave it out."
        elif "EOF inside string" in said or characters.count('"') % 2:
            advice += " If a mark is not closed and marks are part of the texts, pass quotes=False."
        raise DataError(
            f"{shown(path)} cannot be read as a table with the separator {separator!r} ({said}). {advice}"
        ) from error
    if table.empty:
        raise DataError(f"{shown(path)} holds one line, the names of its columns, and no rows.")
    return table.fillna("")  # a row that ends early


def _require_separator(characters: str, separator: str, wanted: list[str], path: Path) -> None:
    """Look at the names of the columns before the rows: a comma in a text would only confuse."""
    header = characters.lstrip().splitlines()[0]

    def names(mark: str) -> set[str]:
        return {name.strip().strip('"') for name in header.split(mark)}

    other = max(SEPARATORS, key=lambda mark: (len(names(mark) & set(wanted)), header.count(mark)))
    better = len(names(other) & set(wanted)) > len(names(separator) & set(wanted))
    if other in header and (separator not in header or better):
        raise DataError(
            f"{shown(path)} has one column with the separator {separator!r}, named {header!r}. "
            f"It seems to be separated by {SEPARATORS[other]}: try separator={other!r}."
        )


def _refuse_swallowed_rows(table: pd.DataFrame, label: str, separator: str, path: Path) -> None:
    """Rows of the file inside a text: a quotation mark was not closed, and pandas read on until the next one."""
    several = table.map(lambda cell: bool(_BREAK.search(cell)))
    labels = set(table.loc[~several.any(axis=1), label].str.strip()) - {""}
    place = list(table.columns).index(label)
    swallowed = 0
    first = None
    for row in table.index[several.any(axis=1)]:
        for cell in table.loc[row][several.loc[row]]:
            fields = [line.split(separator) for line in _BREAK.split(cell)]
            found = sum(len(one) == len(table.columns) and one[place].strip() in labels for one in fields)
            if found and first is None:
                first = (row + 1, cell[:30])
            swallowed += found
    if swallowed:
        raise DataError(
            f"{shown(path)} gives {len(table):,} rows, but {swallowed:,} more lines look like rows and stand inside of "
            f"other texts (first in row {first[0]:,}: {first[1]!r}): a quotation mark is not closed. If the marks are "
            "part of the texts, pass quotes=False; if these texts really have several lines, pass quotes=True."
        )


def _line_breaks(table: pd.DataFrame) -> int:
    return int(sum(table[name].str.count(_BREAK.pattern).sum() for name in table))


def _require_column(table: pd.DataFrame, name: str, separator: str, path: Path) -> None:
    if name in table:
        return
    columns = list(table.columns)
    names = {str(one).casefold().strip(): one for one in reversed(columns)}
    near = difflib.get_close_matches(name.casefold().strip(), names, n=1)
    hint = f"Did you mean {names[near[0]]!r}? " if near else ""
    raise DataError(f"{shown(path)} has no column {name!r}. {hint}Its columns: {', '.join(map(repr, columns))}.")


def _given_parts(column: pd.Series, path: Path) -> pd.Series:
    parts = column.str.strip().str.casefold().map(SPLITS)
    if parts.isna().any():
        wrong = column[parts.isna()]
        raise DataError(
            f"{shown(path)}: the column {column.name!r} holds {wrong.iloc[0]!r} (row {wrong.index[0] + 1}); "
            "it may say train, validation or test."
        )
    if not (parts == "train").any():
        raise DataError(f"{shown(path)}: the column {column.name!r} says train in no row.")
    return parts


# Dropping -------------------------------------------------------------------------------------


def _without_ends(label: str) -> str:
    """A label without white space and invisible marks around it: "good" with a zero-width space is good."""
    return label.strip("\u200b\u2060\ufeff" + string.whitespace).strip() if is_visible(label) else ""


def _without_copies(frame: pd.DataFrame, parts: pd.Series | None) -> pd.DataFrame:
    """The rows that stay, in their order, with their split; ``attrs`` counts the others."""
    labelled = frame[frame["label"] != ""].copy()
    labelled["place"] = labelled.index
    if parts is not None:  # `clean` keeps the first of several copies
        order = parts[labelled.index].map(["test", "validation", "train"].index).sort_values(kind="stable").index
        labelled = labelled.loc[order]
    labelled = labelled.reset_index(drop=True)
    keys = labelled["text"].map(same)
    result = clean(labelled, keys, labelled["text"].map(lambda one: fold(one).encode()))
    attrs = {name: result.attrs[name] for name in ("dropped_empty", "dropped_conflicts", "dropped_duplicates")}
    attrs |= {"dropped_unlabelled": len(frame) - len(labelled), "dropped_across_splits": 0}
    attrs["near_copies_across_splits"] = 0
    if parts is not None:
        result["split"] = result["place"].map(parts)
        kept = dict(zip(result["text"].map(same), result["split"], strict=True))
        copies = ~labelled["place"].isin(result["place"]) & keys.isin(kept.keys())
        across = int((labelled["place"].map(parts) != keys.map(kept))[copies].sum())
        attrs["dropped_across_splits"] = across
        attrs["dropped_duplicates"] -= across
        spread = result["split"].groupby(result["text"].map(fold)).transform("nunique") > 1
        attrs["near_copies_across_splits"] = int((spread & (result["split"] != "train")).sum())
    result = result.sort_values("place").drop(columns="place").reset_index(drop=True)
    result.attrs = attrs
    return result


# Judging and telling --------------------------------------------------------------------------


def _require_classes(frame: pd.DataFrame, name: str, max_labels: int, path: Path) -> None:
    labels, attrs = frame["label"].unique(), frame.attrs
    if not len(frame):
        raise DataError(f"{shown(path)}: no row is left of {attrs['rows_read']}. Dropped: {_dropped(attrs)}.")
    if len(labels) == 1:
        raise DataError(
            f"{shown(path)}: every row that is left has the label {labels[0]!r}. A classifier needs two. "
            f"Dropped: {_dropped(attrs)}."
        )
    if len(labels) > min(max_labels, max(10, len(frame) // 2)):
        examples = ", ".join(map(repr, labels[:3]))
        more = ", or raise max_labels" if len(labels) <= len(frame) // 2 else "; a class needs several texts"
        advice = f"Is it the right column? If it is, group rare labels{more}."
        if pd.to_numeric(pd.Series(labels), errors="coerce").notna().all():
            advice = (
                "They are numbers: to predict a number is regression, which needs another model. "
                "For classes, cut the numbers into ranges (pandas.cut)."
            )
        raise DataError(
            f"{shown(path)}: the column {name!r} has {len(labels):,} different values in {len(frame):,} rows "
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
    near = frame.attrs["near_copies_across_splits"]
    if near:
        line += f" Nearly in another split too: {near:,}."
    breaks = frame.attrs["lines_in_quotes"]
    if breaks:
        line += (
            f" {breaks:,} {'line break stands' if breaks == 1 else 'line breaks stand'} inside of quotation marks; "
            "if no text has several lines, a mark is not closed: pass quotes=False."
        )
    return line
