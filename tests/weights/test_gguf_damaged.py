"""GGUF files that are cut, twisted or made up: each is refused soon, in little space, and with what is wrong."""

import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasllm.weights.gguf.file import read_gguf

U32, STRING, ARRAY = 4, 8, 9


def text(content):
    content = content if isinstance(content, bytes) else content.encode()
    return struct.pack("<Q", len(content)) + content


def key(name, type_code, content):
    return text(name) + struct.pack("<I", type_code) + content


def array(type_code, count, content=b""):
    return struct.pack("<IQ", type_code, count) + content


def tensor(name="w", shape=(2, 32), code=8, place=0):
    """A line about a tensor; sizes in the order of NumPy."""
    sizes = struct.pack(f"<{len(shape)}Q", *shape[::-1])
    return text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", code, place)


TENSOR = tensor()
ARCHITECTURE = key("general.architecture", STRING, text("llama"))
DATA = np.ones(96, "uint8").tobytes()  # two blocks of Q8_0, and 28 bytes up to a multiple of 32


def gguf(keys=(ARCHITECTURE,), tensors=(TENSOR,), data=DATA, magic=b"GGUF", version=3, counts=None):
    """The bytes of a file; `counts` says other numbers of tensors and keys than there are."""
    num_tensors, num_keys = counts or (len(tensors), len(keys))
    header = magic + struct.pack("<IQQ", version, num_tensors, num_keys) + b"".join(keys) + b"".join(tensors)
    return header + bytes(-len(header) % 32) + data


WHOLE, KEY = gguf(), gguf(tensors=[], data=b"")
HUGE = 2**63


def lists(code, count, content=b"", name="tokenizer.ggml.tokens"):
    return gguf(keys=[ARCHITECTURE, key(name, ARRAY, array(code, count, content))])


def deep(levels):
    return lists(ARRAY, 1, array(ARRAY, 1) * levels + array(U32, 1, bytes(4)))


DAMAGES = {
    "empty": (b"", "is no GGUF file: it begins with b''"),
    "three bytes": (b"GGU", "is no GGUF file"),
    "only the magic": (b"GGUF", "is cut after the first bytes"),
    "cut in the version": (WHOLE[:6], "is cut after the first bytes"),
    "cut in the counts": (WHOLE[:20], "the number of tensors and keys needs 16 bytes, and 12 are left"),
    "cut in a key": (KEY[:40], "the name of key 0 needs 20 bytes, and 8 are left"),
    "cut in a type": (KEY[:54], "the type of 'general.architecture' needs 4 bytes, and 2 are left"),
    "cut in a length": (KEY[:60], "the length of the value of 'general.architecture' needs 8 bytes, and 4 are left"),
    "cut in a value": (KEY[:66], "the value of 'general.architecture' needs 5 bytes, and 2 are left"),
    "cut in a tensor": (WHOLE[:100], "the tensor 'w' needs"),
    "cut in the data": (WHOLE[:-40], r"the tensor 'w' \(Q8_0, \(2, 32\)\) ends at"),
    "no data": (gguf(data=b""), "the tensor 'w'"),
    "32 bytes more": (gguf(data=DATA + bytes(32)), r"it has \d+ bytes, and the tensor 'w'"),
    "a web page": (b"<!DOCTYPE html><html><body>404</body></html>", "is no GGUF file: it begins with b'<!DO'"),
    "a pointer of git": (b"version https://git-lfs.github.com/spec/v1\n", "is no GGUF file"),
    "a zip": (b"PK\x03\x04" + bytes(100), "is no GGUF file"),
    "the older GGML": (gguf(magic=b"tjgg"), "is no GGUF file: it begins with b'tjgg'"),
    "zeros": (bytes(1000), "is no GGUF file"),
    "version 0": (gguf(version=0), "version 0; versions 2 and 3 are read"),
    "version 1": (gguf(version=1), "version 1; versions 2 and 3 are read"),
    "version 4": (gguf(version=4), "version 4; versions 2 and 3 are read"),
    "big endian": (gguf(version=3 << 24), "is a big endian GGUF file"),
    "2**63 tensors": (gguf(counts=(HUGE, 1)), r"it says that it has 9,223,372,036,854,775,808 tensors"),
    "2**63 keys": (gguf(counts=(1, HUGE)), r"it says that it has 9,223,372,036,854,775,808 keys"),
    "99 tensors": (gguf(counts=(99, 1)), "99 tensors"),
    "3 tensors": (gguf(counts=(3, 1)), "tensor 1"),
    "2 keys": (gguf(counts=(1, 2)), "the name of tensor 0 needs"),
    "a key without a name": (gguf(keys=[key("", U32, bytes(4))]), "key 0 has no name"),
    "a key twice": (gguf(keys=[ARCHITECTURE] * 2), "key 1 has the name of another: 'general.architecture'"),
    "a key that is no UTF-8": (gguf(keys=[key(b"\xff\xfe", U32, bytes(4))]), "the name of key 0 is no UTF-8"),
    "a name of 2**63 bytes": (gguf(keys=[struct.pack("<Q", HUGE)]), "the name of key 0 needs"),
    "a text of 2**62 bytes": (gguf(keys=[key("a", STRING, struct.pack("<Q", 2**62))]), "the value of 'a' needs"),
    "a text that is no UTF-8": (gguf(keys=[key("a", STRING, text(b"\xc3("))]), "the value of 'a' is no UTF-8"),
    "half a UTF-16 pair": (gguf(keys=[key("a", STRING, text(b"\xed\xa0\x80"))]), "the value of 'a' is no UTF-8"),
    "a type 13": (gguf(keys=[key("a", 13, bytes(8))]), "the value of 'a' has the type 13"),
    "a flag of 2": (gguf(keys=[key("a", 7, b"\2")]), "the value of 'a' should be true or false"),
    "a list of flags of 7": (lists(7, 2, b"\1\7"), "should be true or false .*, not 7"),
    "a list of type 99": (lists(99, 2, bytes(99)), "has the type 99"),
    "a list of 2**63 texts": (lists(STRING, HUGE), "has 9,223,372,036,854,775,808 texts"),
    "a list of 2**63 numbers": (lists(U32, HUGE), "has 9,223,372,036,854,775,808 entries"),
    "a list of 2**63 lists": (lists(ARRAY, HUGE), "has 9,223,372,036,854,775,808 entries"),
    "a list of one number too many": (lists(U32, 99), "has 99 entries"),
    "a list of one text too long": (lists(STRING, 1, struct.pack("<Q", 10**6)), "text 0 of .* goes beyond"),
    "a list of texts, no UTF-8": (lists(STRING, 2, text("a") + text(b"\xff")), "which is no UTF-8"),
    "lists in lists": (deep(5), "a list in a list more than 4 deep"),
    "lists in lists without end": (deep(50_000), "a list in a list more than 4 deep"),
    "an alignment of 0": (gguf(keys=[key("general.alignment", U32, bytes(4))]), "general.alignment must be a power"),
    "an alignment of 24": (gguf(keys=[key("general.alignment", U32, b"\x18\0\0\0")]), "a power of two, not 24"),
    "an alignment of 2**31": (gguf(keys=[key("general.alignment", U32, b"\0\0\0\x80")]), "a power of two, not 2147"),
    "an alignment in words": (gguf(keys=[key("general.alignment", STRING, text("32"))]), "not '32'"),
    "a tensor without a name": (gguf(tensors=[tensor(name="")]), "tensor 0 has no name"),
    "a tensor twice": (gguf(tensors=[tensor()] * 2), "tensor 1 has the name of another: 'w'"),
    "no axes": (gguf(tensors=[tensor(shape=())]), "the tensor 'w' has 0 axes"),
    "five axes": (gguf(tensors=[tensor(shape=(1, 1, 1, 1, 32))]), "the tensor 'w' has 5 axes"),
    "2**32 - 1 axes": (gguf(tensors=[text("w") + b"\xff" * 40]), "the tensor 'w' has 4,294,967,295 axes"),
    "a length of 0": (gguf(tensors=[tensor(shape=(0, 32))]), r"'w' has the shape \(0, 32\)"),
    "a length below 0": (gguf(tensors=[tensor(shape=(2**64 - 1, 32))]), r"\(18446744073709551615, 32\)\) ends at"),
    "a shape that overflows": (gguf(tensors=[tensor(shape=(2**40, 2**40))]), "ends at"),
    "a shape that overflows to 0": (gguf(tensors=[tensor(shape=(2**32, 2**32))]), "ends at"),
    "a row of 33": (gguf(tensors=[tensor(shape=(2, 33))]), r"has the shape \(2, 33\).*for Q8_0 a multiple of 32"),
    "a row of 32 in Q4_K": (gguf(tensors=[tensor(code=12)]), "for Q4_K a multiple of 256"),
    "three rows": (gguf(tensors=[tensor(shape=(3, 32))], data=DATA[:-32]), "ends at"),
    "a kind that is known and not read": (gguf(tensors=[tensor(code=16)]), "'w' is of the kind IQ2_XXS; those"),
    "a kind that is not known": (gguf(tensors=[tensor(code=10**6)]), "'w' is of the kind 1000000; those that are read"),
    "a kind that was taken away": (gguf(tensors=[tensor(code=4)]), "'w' is of the kind 4;"),
    "a place outside": (gguf(tensors=[tensor(place=2**40)]), "the tensor 'w' .* ends at"),
    "a place of 2**64 - 32": (gguf(tensors=[tensor(place=2**64 - 32)]), "the tensor 'w' .* ends at"),
    "a place between two": (gguf(tensors=[tensor(place=8)]), "'w' begins at 8, which is no multiple of 32"),
    "two in one place": (gguf(tensors=[tensor(), tensor("v")]), r"'v' .* begins at .*, where the tensor 'w'"),
    "one in the end of another": (
        gguf(tensors=[tensor(), tensor("v", place=64)], data=DATA * 2),
        "'v' .* begins at .*, where the tensor 'w'",
    ),
    "a name that steers the terminal": (gguf(tensors=[tensor("\x1b[2J" + "x" * 10**5, code=16)]), "kind IQ2_XXS"),
    "a key that steers the terminal": (gguf(keys=[key("\x1b[2J" + "x" * 10**5, 77, b"")]), "has the type 77"),
}


def refused(path, message=None, most=2000):
    start = time.monotonic()
    with pytest.raises(ValueError, match=message) as caught:
        read_gguf(path)
    assert time.monotonic() - start < 10  # under 1 on a quiet machine
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < most
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_with_its_name_and_the_reason(damage, tmp_path, peak):
    content, message = DAMAGES[damage]
    path = tmp_path / "one.gguf"
    path.write_bytes(content)
    assert peak(lambda: refused(path, message)) < 100e6


def test_the_file_that_the_damages_begin_from_is_read(tmp_path):
    path = tmp_path / "one.gguf"
    path.write_bytes(WHOLE)
    with read_gguf(path) as file:
        assert file.metadata == {"general.architecture": "llama"}
        assert file.tensors["w"].read().shape == (2, 32)
    path.write_bytes(gguf(version=2, tensors=[], data=b""))
    with read_gguf(path) as file:
        assert not file.tensors


# Files that are large indeed, so that a count is no larger than they are. They take no space: they are holes.
LARGE = {
    "texts": (lists(STRING, 2**27), "its lists have more than 1,048,576 texts"),
    "numbers": (lists(U32, 2**27), "its lists have more than 1,048,576 entries"),
    "bytes": (lists(0, 2**30), "its lists have more than 1,048,576 entries"),
    "lists": (lists(ARRAY, 2**26), "its lists have more than 1,048,576 entries"),
    "a text": (gguf(keys=[key("a", STRING, struct.pack("<Q", 2**30))]), "its header has more than"),
    "a text in a list": (lists(STRING, 1, struct.pack("<Q", 2**30)), "goes beyond the end of the header"),
    "a name": (gguf(keys=[struct.pack("<Q", 2**30)]), "its header has more than"),
    "keys": (gguf(counts=(0, 2**26)), "it says that it has 67,108,864 keys"),
    "tensors": (gguf(counts=(2**24, 1)), "it says that it has 16,777,216 tensors"),
    "many keys": (gguf(keys=[], tensors=[], counts=(0, 2**16)), "key 0 has no name"),
    "a tail": (WHOLE, "bytes, and the tensor 'w'"),
}


@pytest.mark.parametrize("damage", LARGE)
def test_a_large_damaged_file_takes_neither_time_nor_memory(damage, tmp_path, peak):
    content, message = LARGE[damage]
    path = tmp_path / "one.gguf"
    with open(path, "wb") as file:
        file.write(content.rstrip(b"\1") if damage != "a tail" else content)
        file.truncate(1 << 32)
    assert peak(lambda: refused(path, message)) < 100e6


def test_a_header_of_a_million_texts_is_as_much_as_is_read(tmp_path, peak):
    path = tmp_path / "one.gguf"
    words = b"".join(text(f"{number:06x}") for number in range(1 << 19)) * 2
    path.write_bytes(gguf(keys=[key("a", ARRAY, array(STRING, 1 << 20, words)), key("a", U32, bytes(4))]))
    start = time.monotonic()
    with pytest.raises(ValueError, match="key 1 has the name of another"):
        read_gguf(path)
    assert time.monotonic() - start < 5


@pytest.fixture(scope="module")
def rich():
    """A file with something of everything, whose last byte is the last of a tensor."""
    keys = [
        ARCHITECTURE,
        key("a.number", U32, struct.pack("<I", 7)),
        key("a.flag", 7, b"\1"),
        key("a.texts", ARRAY, array(STRING, 3, text("a") + text("") + text("你好"))),
        key("a.numbers", ARRAY, array(6, 2, struct.pack("<2f", 1, 2))),
        key("a.lists", ARRAY, array(ARRAY, 2, array(U32, 1, bytes(4)) + array(STRING, 1, text("x")))),
    ]
    tensors = [tensor("w", (2, 32), 8, 0), tensor("v", (3, 8), 0, 96), tensor("u", (1, 256), 14, 192)]
    data = DATA[:68] + bytes(28) + np.arange(24, dtype="<f4").tobytes() + bytes(210)
    return gguf(keys, tensors, data)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_file_cut_anywhere_is_refused(rich, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "cut.gguf"
    path.write_bytes(rich[: data.draw(st.integers(0, len(rich) - 1))])
    refused(path)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_file_with_wrong_bytes_is_read_or_refused_and_does_nothing_else(rich, tmp_path_factory, data):
    content = bytearray(rich)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(8, len(rich) - 1))] = data.draw(
            st.sampled_from([0, 1, 2, 8, 9, 32, 127, 128, 255])
        )
    path = tmp_path_factory.getbasetemp() / "wrong.gguf"
    path.write_bytes(content)
    try:
        with read_gguf(path) as file:
            for one in file.tensors.values():
                assert one.read().shape == one.shape
    except ValueError as error:
        assert str(path) in str(error) or "as a scale" in str(error)  # noqa: PT017 (both ways are right)
