"""Tables from the reader's own files: what is dropped is counted, what is wrong is named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kerasllm.data import DataError, from_csv
from kerasllm.data.splits import fold, same, split_of

ROWS = [(f"film number {number} is {mood}", mood) for number in range(50) for mood in ("good", "bad")]


@pytest.fixture
def write(tmp_path):
    def write(content, encoding="utf-8", name="Kritiken 评论.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def lines(*rows, header="text,label", separator=","):
    return "\n".join([header, *(separator.join(row) for row in rows)]) + "\n"


def complaint(path, *arguments, **options):
    with pytest.raises(DataError) as caught:
        from_csv(path, *arguments, **options)
    return str(caught.value)


# What works ------------------------------------------------------------------------------------


def test_a_clean_file_keeps_every_row_and_is_split_by_content(write, capsys):
    frame = from_csv(write(lines(*ROWS)))
    assert list(frame.columns) == ["text", "label", "split"]
    assert list(zip(frame["text"], frame["label"], strict=True)) == ROWS
    assert frame["label"].cat.categories.tolist() == ["bad", "good"]
    assert frame["split"].tolist() == [split_of(fold(text).encode()) for text, _ in ROWS]
    assert set(frame["split"]) == {"train", "validation", "test"}
    counts = frame["split"].value_counts()
    assert capsys.readouterr().out == (
        f"Kritiken 评论.csv: 100 of 100 rows kept (train {counts['train']}, validation {counts['validation']}, "
        f"test {counts['test']}). Dropped: nothing.\n"
    )


def test_other_columns_names_separators_and_quotation(write):
    content = 'id;"the mood";review\n1;glad;"one; two\nand ""three"""\n2;sad; NA \n3;glad;None\n'
    frame = from_csv(write(content), text="review", label="the mood", separator=";", quiet=True)
    assert frame["text"].tolist() == ['one; two\nand "three"', "NA", "None"]  # none of them is a missing value
    assert frame["label"].tolist() == ["glad", "sad", "glad"]


def test_quiet_prints_nothing(write, capsys):
    from_csv(write(lines(*ROWS)), quiet=True)
    assert capsys.readouterr() == ("", "")


def test_labels_that_are_numbers_are_sorted_as_numbers(write):
    frame = from_csv(write(lines(*((f"a text about {n}", str(n)) for n in (10, 2, 10.5, 2)))), quiet=True)
    assert frame["label"].cat.categories.tolist() == ["2", "10", "10.5"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"])
def test_the_encodings_of_chinese_files(write, encoding):
    rows = [("很好的电影，值得一看", "好"), ("太长了，没意思", "坏")]
    frame = from_csv(write(lines(*rows), encoding), encoding=encoding, quiet=True)
    assert list(zip(frame["text"], frame["label"], strict=True)) == rows


# What is dropped and counted -------------------------------------------------------------------


def test_what_is_dropped_is_counted_and_printed(write, capsys):
    rows = [("A good film.", "p"), ("", "p"), ("  ", "n"), ("no label", ""), ("too long", "n")]
    rows += [("a GOOD  film.", "p"), ("good film a", "p"), ("mixed", "p"), ("Mixed", "n"), ("a good film.", "p")]
    frame = from_csv(write(lines(*rows) + "a row that ends early\n"))
    assert frame["text"].tolist() == ["A good film.", "too long", "good film a"]
    assert frame.attrs == {
        "name": "Kritiken 评论.csv",
        "rows_read": 11,
        "lines_in_quotes": 0,
        "dropped_empty": 2,
        "dropped_unlabelled": 2,
        "dropped_conflicts": 2,
        "dropped_duplicates": 2,
        "dropped_across_splits": 0,
        "near_copies_across_splits": 0,
    }
    assert (
        "3 of 11 rows kept (train 3). Dropped: 2 without text, 2 without label, "
        "2 with the text of another row but not its label, 2 copies. Empty: validation, test."
    ) in capsys.readouterr().out


DIFFERENT = [
    *[("great :)", "pos"), ("great :(", "neg"), ("ok 👍", "pos"), ("ok 👎", "neg"), ("x < y", "less")],
    *[("x > y", "more"), ("rated 1.0", "bad"), ("rated 10", "good"), ("C", "c"), ("C++", "cpp"), ("C#", "csharp")],
    *[("v1.11", "old"), ("v11.1", "new"), ("if a: b", "python"), ("if (a) b;", "java"), ("1/12/2024", "winter")],
    *[("11/2/2024", "spring"), ("what?", "question"), ("what!", "cry"), ("①", "circled"), ("1", "plain")],
    *[("👨‍👩‍👧", "family"), ("👨👩👧", "people"), ("²", "square")],
]


def test_texts_that_differ_in_a_sign_are_all_kept_and_those_with_the_same_letters_stay_together(write):
    frame = from_csv(write(lines(*DIFFERENT, *ROWS)), quiet=True)[: len(DIFFERENT)]
    assert list(zip(frame["text"], frame["label"], strict=True)) == DIFFERENT
    assert (frame["split"].groupby(frame["text"].map(fold)).nunique() == 1).all()
    assert frame["split"].tolist() == [split_of(fold(text).encode()) for text, _ in DIFFERENT]


@pytest.mark.parametrize(
    ("first", "second"),
    [("a film", "A  FILM"), ("caf\u00e9", "cafe\u0301"), ("straße", "STRASSE"), ("a\u00a0b", "a b")],
)
def test_copies_that_differ_in_case_white_space_or_composition_alone_are_dropped(write, first, second):
    frame = from_csv(write(lines((first, "p"), (second, "p"), ("other", "n"))), quiet=True)
    assert frame["text"].tolist() == [first, "other"]
    assert frame.attrs["dropped_duplicates"] == 1


@pytest.mark.parametrize(
    "text",
    *[
        [
            "\u200b",
            "\u2060",
            "\ufeff",
            "\a",
            "\u200b \u200d",
            "\u00ad",
            "\u3164",
            "\u2800",
            "\ufe0f",
            "\x7f",
            "\u202e\u3000",
        ]
    ],
)
def test_invisible_texts_and_labels_are_empty(write, text):
    frame = from_csv(write(lines(*ROWS, (text, "good"), ("a fine film", text))), quiet=True)
    assert len(frame) == len(ROWS)
    assert (frame.attrs["dropped_empty"], frame.attrs["dropped_unlabelled"]) == (1, 1)


def test_a_label_with_an_invisible_mark_beside_it_is_no_other_class(write):
    frame = from_csv(write(lines(*ROWS, ("one more", "\u200bgood"), ("and more", "bad\ufeff"))), quiet=True)
    assert frame["label"].cat.categories.tolist() == ["bad", "good"]


UNCLOSED = (
    'label\ttext\npos\t"Wow that was good\nneg\tboring\nneg\tawful\npos\t"Best" film\nneg\tbad\npos\tnice\nneg\tworst\n'
)


def test_rows_swallowed_by_an_unclosed_quotation_mark_are_an_error_and_marks_can_be_text(write):
    path = write(UNCLOSED)
    message = complaint(path, separator="\t")
    assert "4 rows, but 3 more lines look like rows" in message
    assert "first in row 1: 'Wow that was good" in message
    assert "quotes=False" in message
    frame = from_csv(path, separator="\t", quotes=False, quiet=True)
    assert len(frame) == frame.attrs["rows_read"] == 7
    assert frame["text"].iloc[3] == '"Best" film'


def test_a_mark_closed_by_another_text_is_found_in_a_file_with_commas_too(write):
    content = lines(*ROWS[:10], ('"he said', "good"), *ROWS[10:60], ('the end"', "good"), *ROWS[60:])
    message = complaint(write(content))
    assert "51 more lines look like rows" in message
    assert len(from_csv(write(content), quotes=False, quiet=True)) == 102


def test_a_mark_that_is_never_closed_offers_to_read_marks_as_text(write):
    assert "quotes=False" in complaint(write(lines(*ROWS, ('"the end', "good"), *[(f"x{n}", "bad") for n in range(9)])))


def test_texts_of_several_lines_are_kept_and_their_lines_are_told(write, capsys):
    poem = '"Roses are red,\nviolets are blue,\n\nbad, but true"'
    frame = from_csv(write(lines(*ROWS, (poem, "good"))))
    assert frame["text"].iloc[-1] == poem.strip('"')
    assert "3 line breaks stand inside of quotation marks" in capsys.readouterr().out
    rows = '"a film, not\nfilm 2 was,bad\nthe end"'
    assert "quotes=True" in complaint(write(lines(*ROWS, (rows, "good"))))
    assert len(from_csv(write(lines(*ROWS, (rows, "good"))), quotes=True, quiet=True)) == 101


def test_a_split_of_the_file_is_kept_and_copies_stay_in_test(write, capsys):
    rows = [
        ("one", "p", "train"),
        ("One", "p", "test"),
        ("two", "n", "Train"),
        ("TWO", "n", "train"),
        ("three", "n", "dev"),
        ("THREE", "n", "train"),
        ("four", "p", " test "),
        ("four!", "p", "train"),
        ("five", "p", "train"),
        ("six", "q", "test"),
        ("seven", "p", "train"),
        ("seven", "n", "test"),
    ]
    frame = from_csv(write(lines(*rows, header="text,label,part")), split="part")
    assert list(zip(frame["text"], frame["split"], strict=True)) == [
        ("One", "test"),
        ("two", "train"),
        ("three", "validation"),
        ("four", "test"),
        ("four!", "train"),
        ("five", "train"),
        ("six", "test"),
    ]
    attrs = frame.attrs
    assert (attrs["dropped_duplicates"], attrs["dropped_across_splits"], attrs["dropped_conflicts"]) == (1, 2, 2)
    said = capsys.readouterr().out
    assert "1 copy, 2 copies in another split. Not in train: q. Nearly in another split too: 1.\n" in said


words = st.sampled_from(["", " ", "good", "Good!", "GOOD", "bad", "so so", "很好", '"', ",", "\n", "\u200b"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(words, st.sampled_from(["", "p", "n"]), st.sampled_from(["train", "dev", "test"])), max_size=9)
)
def test_every_row_is_kept_or_counted_and_no_text_is_in_two_parts(tmp_path, rows):
    path = tmp_path / "any.csv"
    fixed = [("a fixed text", "p", "train"), ("another fixed text", "n", "train")]
    pd.DataFrame(fixed + rows, columns=["text", "label", "part"]).to_csv(path, index=False)
    for split in (None, "part"):
        frame = from_csv(path, split=split, quiet=True)
        assert len(frame) + sum(frame.attrs[key] for key in frame.attrs if key.startswith("dropped")) == len(rows) + 2
        assert not frame["text"].map(same).duplicated().any()
        assert (frame["text"] != "").all()
        assert (frame["label"].astype(str) != "").all()
        if split:
            given = {(text.strip(), {"dev": "validation"}.get(part, part)) for text, _, part in fixed + rows}
            assert set(zip(frame["text"], frame["split"], strict=True)) <= given
        else:
            assert (frame["split"].groupby(frame["text"].map(fold)).nunique() == 1).all()


# What is wrong and named -----------------------------------------------------------------------


def test_a_missing_file_is_named_with_the_nearest_one(write, tmp_path):
    write(lines(*ROWS), name="reviews.csv")
    message = complaint(tmp_path / "review.csv")
    assert str(tmp_path) in message
    assert "no file 'review.csv'" in message
    assert "Did you mean 'reviews.csv'?" in message
    assert "Check the name and the folder" in complaint(tmp_path / "no such folder" / "review.csv")
    assert "cannot be read" in complaint(tmp_path)


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff\n"])
def test_an_empty_file(write, content):
    assert "is empty" in complaint(write(content))


def test_a_file_with_a_header_alone(write):
    assert "no rows" in complaint(write("text,label\n"))


def test_a_missing_column_is_named_with_the_nearest_and_all_others(write):
    path = write(lines(*ROWS, header="Review,sentiment"))
    message = complaint(path, text="review_text", label="sentiment")
    assert "no column 'review_text'. Did you mean 'Review'? Its columns: 'Review', 'sentiment'." in message
    assert "no column 'Sentiment'. Did you mean 'sentiment'?" in complaint(path, text="Review", label="Sentiment")
    message = complaint(path, text="xyz", label="sentiment")
    assert "Did you mean" not in message
    assert "no column 'part'" in complaint(path, text="Review", label="sentiment", split="part")
    assert "the same column" in complaint(path, text="Review", label="Review")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_wrong_separator_is_named(write, separator):
    path = write(lines(*ROWS, header=f"text{separator}label", separator=separator))
    assert f"try separator={separator!r}" in complaint(path)
    assert len(from_csv(path, separator=separator, quiet=True)) == 100


@pytest.mark.parametrize("row", ["a text, with a comma,good", '"never closed,good', "a,b,c,d,e"])
@pytest.mark.parametrize("place", [0, 30])
def test_rows_that_do_not_fit_the_header(write, row, place):
    content = lines(*ROWS).splitlines()
    content.insert(place + 1, row)
    message = complaint(write("\n".join(content)))
    assert "cannot be read as a table" in message
    assert "quotation marks" in message


@pytest.mark.parametrize(
    ("text", "stored", "suggested", "sample"),
    [
        ("这部电影很好看，值得一看", "gb18030", "gb18030", "这部电影很好看"),
        ("这部电影很好看，值得一看", "gb2312", "gb18030", "这部电影很好看"),
        ("这部电影很好看", "utf-16", "utf-16", "这部电影很好看"),
        ("A film from Zürich, très bien", "utf-16-le", "utf-16-le", "Zürich"),
        ("A film from Zürich", "utf-16-be", "utf-16-be", "Zürich"),
        ("C’était très réussi, à voir en été", "cp1252", "cp1252", "C’était"),
        ("Größe, Übermut und Straße", "cp1252", "cp1252", "Größe"),
        ("It’s “good”", "cp1252", "cp1252", "It’s"),
        ("Хороший фильм", "cp1251", "cp1251", "Хороший"),
        ("Хороший фильм", "koi8-r", "koi8_r", "Хороший"),
        ("這部電影很好看", "big5", "big5", "這部電影很好看"),
        ("この映画は面白い", "shift_jis", "cp932", "この映画は面白い"),
        ("이 영화는 재미있다", "euc-kr", "cp949", "이"),
    ],
)
def test_a_wrong_encoding_is_named_with_the_one_that_fits(write, text, stored, suggested, sample):
    content = lines(*ROWS, (f'"{text}"', "good")).encode(stored)
    path = write(content)
    message = complaint(path)
    assert "is not utf-8" in message
    assert f'encoding="{suggested}"' in message
    if not stored.startswith("utf-16-"):
        assert sample in message
        place = 0 if stored == "utf-16" else next(i for i, byte in enumerate(content) if byte > 127)
        assert f"byte {place} (line {1 if stored == 'utf-16' else 102}) is 0x{content[place]:02x}" in message
    assert from_csv(path, encoding=suggested, quiet=True)["text"].iloc[-1] == text


def test_utf8_read_as_another_encoding_is_named(write):
    path = write(lines(*ROWS, ("很好", "good")), "utf-8")
    message = complaint(path, encoding="ascii")
    assert "is not ascii: byte " in message
    assert 'encoding="utf-8"' in message
    assert "no encoding 'utf-9'" in complaint(path, encoding="utf-9")


def test_bytes_that_no_encoding_explains(write):
    assert "Save the file as UTF-8" in complaint(write(lines(*ROWS).encode() + b"\x81\x8d\x81 ,good\n"))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04\x14\0rest", "a workbook"),
        (b"\xd0\xcf\x11\xe0rest", "a workbook"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x1f\x8b\x08\0rest", "a gzip archive"),
        (bytes(range(256)) * 9, "a file of another kind"),
    ],
)
def test_what_is_no_csv_is_called_what_it_is(write, content, kind):
    message = complaint(write(content, name="table.csv"))
    assert kind in message
    assert "as CSV" in message
    assert "encoding=" not in message


@pytest.mark.parametrize("given", ["cp1252", "gb18030", "latin-1", "utf-16"])
def test_utf8_under_the_name_of_another_encoding_is_no_table_of_nonsense(write, given):
    message = complaint(write(lines(*ROWS, ("很好的电影", "good"))), encoding=given)
    assert "UTF-8" in message


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_wrong_separator_is_named_although_a_text_holds_a_comma(write, separator):
    row = ("good, but long", "good")
    path = write(lines(*ROWS, row, header=f'"text"{separator}label', separator=separator))
    message = complaint(path)
    assert f"try separator={separator!r}" in message
    assert "quotation" not in message
    assert len(from_csv(path, separator=separator, quiet=True)) == 101
    commas = write(lines(*ROWS, header="text,label"))
    assert "try separator=','" in complaint(commas, separator=separator)
    # A comma in the header too: the names decide.
    path = write(
        lines(*ROWS, header=f"text{separator}label{separator}yes, no", separator=separator).replace("x\n", "x")
    )
    assert f"try separator={separator!r}" in complaint(path)


def test_a_single_class(write):
    message = complaint(write(lines(*((text, "good") for text, _ in ROWS), ("x", ""))))
    assert "every row that is left has the label 'good'" in message
    assert "1 without label" in message


def test_nothing_left(write):
    message = complaint(write(lines(("", "good"), ("x", ""), ("same", "p"), ("Same", "n"))))
    assert "no row is left of 4" in message
    assert "1 without text, 1 without label, 2 with the text of another row but not its label" in message


def test_numbers_are_no_classes(write):
    rows = [(f"a house of {number} rooms", f"{np.sqrt(number):.3f}") for number in range(200)]
    message = complaint(write(lines(*rows, header="text,price")), label="price")
    assert "the column 'price' has 200 different values in 200 rows ('0.000', '1.000', '1.414' ...)" in message
    assert "regression" in message
    stars = [(f"{text} {n}", str(n % 5 + 1)) for n, (text, _) in enumerate(ROWS)]
    assert from_csv(write(lines(*stars)), quiet=True)["label"].cat.categories.tolist() == ["1", "2", "3", "4", "5"]


def test_a_column_of_names_is_no_class_but_many_classes_are_allowed(write):
    rows = [(f"{text} {number}", f"writer {number % 150}") for number, (text, _) in enumerate(ROWS * 6)]
    path = write(lines(*rows))
    message = complaint(path)
    assert "150 different values in 600 rows" in message
    assert "regression" not in message
    assert "raise max_labels" in message
    assert from_csv(path, max_labels=150, quiet=True)["label"].nunique() == 150


@pytest.mark.parametrize(
    ("values", "part"), [(["train", "tset"], "holds 'tset' (row 2)"), (["test", "test"], "in no row")]
)
def test_a_split_column_with_other_values(write, values, part):
    rows = [("one", "p", values[0]), ("two", "n", values[1])]
    assert part in complaint(write(lines(*rows, header="text,label,part")), split="part")
