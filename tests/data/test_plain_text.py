"""The careful reader: UTF-8 comes in pieces, everything else is named for what it is."""

import gzip
import shutil
import subprocess
import tracemalloc

import pytest

from kerasllm.data import DataError
from kerasllm.data.encodings import encoding_of
from kerasllm.data.plain_text import check_text_file, text_pieces

TEXTS = {
    "chinese": "这部电影很好看，值得一看。我非常喜欢这个故事，演员的表演也很出色。太长了，没意思，剧情拖沓。",
    "traditional": "這部電影很好看，值得一看。我非常喜歡這個故事，演員的表演也很出色。太長了，沒意思，劇情拖沓。",
    "japanese": "この映画はとても面白かったです。俳優の演技も素晴らしく、物語も感動的でした。少し長いのが残念です。",
    "korean": "이 영화는 정말 재미있었습니다. 배우들의 연기도 훌륭했고 이야기도 감동적이었습니다.",
    "russian": "Хороший фильм, мне очень понравилась игра актёров. Слишком длинный и скучный, не советую смотреть.",
    "french": "C’était très réussi, à voir en été. Les acteurs sont très bons, même si le film traîne à la fin.",
    "german": "Größe, Übermut und Straße. Ein schöner Film über große Gefühle, aber etwas zu lang.",
    "polish": "Świetny film, bardzo mi się podobał. Aktorzy zagrali doskonale, choć zakończenie było zbyt długie.",
    "greek": "Πολύ καλή ταινία, μου άρεσε πάρα πολύ η ιστορία και οι ηθοποιοί.",
    "hebrew": "סרט טוב מאוד, נהניתי מאוד מהמשחק של השחקנים",
    "arabic": "فيلم جيد جدا، أعجبتني القصة كثيرا وأداء الممثلين",
}
STORED = [
    ("chinese", "gb18030", "gb18030"),
    ("chinese", "gbk", "gb18030"),
    ("traditional", "big5", "big5"),
    ("japanese", "shift_jis", "cp932"),
    ("japanese", "euc_jp", "euc_jp"),
    ("korean", "euc_kr", "cp949"),
    ("russian", "cp1251", "cp1251"),
    ("russian", "koi8_r", "koi8_r"),
    ("russian", "cp866", "cp866"),
    ("french", "cp1252", "cp1252"),
    ("german", "latin-1", "cp1252"),
    ("polish", "cp1250", "cp1250"),
    ("greek", "cp1253", "cp1253"),
    ("hebrew", "cp1255", "cp1255"),
    ("arabic", "cp1256", "cp1256"),
    *((language, form, form) for language in TEXTS for form in ("utf-16", "utf-16-le", "utf-16-be")),
]


@pytest.fixture
def write(tmp_path):
    def write(content, name="mine 文.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def complaint(path, read=check_text_file):
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value)


# What works ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1 << 20])
def test_pieces_joined_are_the_text_with_newlines_wherever_the_file_is_cut(write, size):
    path = write("\ufeffone\r\ntwo\rthree 三 🙂\n\r\n\ufeff末".encode())
    pieces = list(text_pieces(path, size))
    assert "".join(pieces) == "one\ntwo\nthree 三 🙂\n\n\ufeff末"
    assert all(pieces)
    assert max(map(len, pieces)) <= size + 1  # a CR waits for its LF
    check_text_file(path)


def test_a_large_file_is_read_in_little_memory(write):
    path = write(("Ein großer Text, 很长.\n" * 400_000).encode())
    tracemalloc.start()
    total = sum(len(piece) for piece in text_pieces(path, 1 << 16))
    check_text_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 21 * 400_000
    assert peak < 8 << 20  # the file has 10 MB, as a text 17


def test_an_empty_file_has_no_pieces_and_fails_the_check(write):
    for content in (b"", b"\xef\xbb\xbf", b" \r\n\n"):
        assert "".join(text_pieces(write(content))).strip() == ""
        assert "is empty" in complaint(write(content))


# What is wrong and named -----------------------------------------------------------------------


@pytest.mark.parametrize(("language", "stored", "named"), STORED)
def test_the_right_encoding_is_named_with_its_words_and_the_command_that_converts(write, language, stored, named):
    text = "A line in plain letters.\n" + TEXTS[language] + "\n"
    path = write(text.encode(stored))
    message = complaint(path, lambda path: list(text_pieces(path)))
    assert f"It seems to be {named} (then it reads " in message
    words = message.split("reads '")[1].split("'")[0]
    assert words in text
    assert f" -t UTF-8 '{path}' > '{path.with_suffix('.utf8.txt')}'" in message
    if shutil.which("iconv"):
        subprocess.run("iconv" + message.split("iconv")[1], shell=True, check=True)
        assert "".join(text_pieces(path.with_suffix(".utf8.txt"))) == text


@pytest.mark.parametrize(("language", "stored", "named"), [row for row in STORED if not row[1].startswith("utf")])
def test_a_few_words_suffice_or_nothing_is_guessed(language, stored, named):
    found = encoding_of(("text,label\n" + TEXTS[language][:16] + ",good\n").encode(stored))
    assert found is None or found[1] in TEXTS[language]


@pytest.mark.parametrize("before", [b"", b"plain letters\n" * 100_000], ids=["at the start", "after a megabyte"])
def test_the_place_is_named(write, before):
    path = write(before + "Größe, Straße, schön, über\n".encode("cp1252"))
    message = complaint(path)
    assert f"byte {len(before) + 2:,} (line {before.count(10) + 1:,}) is 0xf6" in message
    assert "It seems to be cp1252 (then it reads 'Größe')" in message
    path.write_bytes(b"x" * ((1 << 20) - 1) + b"\xc3(")  # a character that two blocks would share
    assert f"byte {(1 << 20) - 1:,} (line 1) is 0xc3" in complaint(path)


def test_one_broken_byte_in_a_utf8_file_does_not_make_it_another_encoding(write):
    text = "Größe, Straße, schön, über\n很好的电影\n"
    message = complaint(write(text.encode() + b"caf\xe9 \n" + text.encode()))
    assert "line 3" in message
    assert "The rest around it is UTF-8" in message
    assert "seems" not in message
    assert "The rest around it is UTF-8" in complaint(write(text.encode()[:-2]))  # cut off within a character


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
        (gzip.compress(b"a text", mtime=0), "a gzip archive"),
        (b"PK\x03\x04\x14\0", "a workbook, a document or a zip archive"),
        (b"PAR1\x15\x04", "a Parquet file"),
    ],
)
def test_files_that_are_no_text_are_called_what_they_are(write, content, kind):
    message = complaint(write(content))
    assert f"is {kind}, not a plain text" in message
    assert "iconv" not in message


@pytest.mark.parametrize(
    "content", [b"abc\0\0def", bytes(range(256)) * 40, b"\0" * 5_000, b"\x01\x02\xff\xfe\x9d" * 99]
)
def test_binary_bytes_get_no_advice_to_convert(write, content):
    message = complaint(write(content))
    assert "is not UTF-8" in message
    assert "iconv" not in message
    assert "seems" not in message


def test_a_zero_late_in_the_file_is_found_with_its_line(write):
    assert "byte 1,400,003 (line 100,001) is 0x00" in complaint(write(b"plain letters\n" * 100_000 + b"abc\0def\n"))


def test_missing_files_and_folders(write, tmp_path):
    write(b"text", name="corpus.txt")
    assert "no file 'corpvs.txt'" in complaint(tmp_path / "corpvs.txt")
    assert "Did you mean 'corpus.txt'?" in complaint(tmp_path / "corpvs.txt")
    assert "cannot be read" in complaint(tmp_path)


def test_a_name_that_is_no_utf8_can_be_printed(tmp_path):
    try:
        path = tmp_path / b"caf\xe9.txt".decode("utf-8", "surrogateescape")
        path.write_bytes(b"")
    except OSError:
        pytest.skip("this file system has no such names")
    assert complaint(path).encode("utf-8") == rb"caf\xe9.txt is empty."
