"""Files of PyTorch: those that PyTorch wrote are read number for number, and no other thing in a file is done."""

import builtins
import collections
import io
import os
import pickle
import struct
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasllm.weights import read_torch
from kerasllm.weights.torch_pickle import MOST_STEPS

DATA = Path(__file__).parent / "data" / "torch"  # made by data/make_efficientnet.py
FILES = ["zip.pth", "zip_protocol_4.pth", "legacy.pth"]


@pytest.mark.parametrize("name", FILES)
def test_every_tensor_is_what_pytorch_says(name):
    expected = np.load(DATA / "numbers.npz")
    with read_torch(DATA / name) as tensors:
        assert list(tensors) == expected.files
        for key, tensor in tensors.items():
            found = tensor.read()
            assert (found.shape, str(found.dtype)) == (tensor.shape, tensor.dtype)
            np.testing.assert_array_equal(found.astype(expected[key].dtype), expected[key])
    assert tensors["bfloat16"].dtype == "bfloat16"
    assert (tensors["empty"].shape, tensors["1.num_batches_tracked"].shape) == ((0, 3), ())


def test_one_tensor_is_in_memory_at_a_time(tmp_path, peak):
    """40 storages of 4 MB, which are holes in the file."""
    count = 1 << 20
    names = [f"w{i}" for i in range(40)]
    state = b"}(" + b"".join(text(name) + tensor((count,), (1,), key=name, numbers=count) for name in names) + b"u"
    path = tmp_path / "large.pth"
    head = legacy(state, names, data=None)
    with open(path, "wb") as file:
        file.write(head)
        for _ in names:
            file.write(struct.pack("<q", count))
            file.seek(4 * count - 1, os.SEEK_CUR)
            file.write(b"\0")

    def all_of_them():
        with read_torch(path) as tensors:
            assert all(not one.read().any() for one in tensors.values())

    assert peak(all_of_them) < 30e6


# Files put together by hand, right ones and wrong ones ----------------------------------------------------------------


def text(content):
    return b"X" + struct.pack("<I", len(content.encode())) + content.encode()


def value(one):
    """A number, text, list ... as the instructions that make it."""
    return pickle.dumps(one, 2)[2:-1]


def storage(key="0", numbers=6, kind="FloatStorage", tail=b"N", word="storage"):
    return b"(" + text(word) + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + value(numbers) + tail + b"tQ"


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n("
END = b"\x89ccollections\nOrderedDict\n)RtR"  # not trained, no hooks


def tensor(shape=(2, 3), strides=(3, 1), offset=0, end=END, **given):
    return REBUILD + storage(**given) + value(offset) + value(shape) + value(strides) + end


def state(one=None):
    return b"}" + text("w") + (tensor() if one is None else one) + b"s"


NUMBERS = struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes()


def legacy(content, keys=("0",), data=NUMBERS, version=1001, facts=None, protocol=2):
    facts = {"little_endian": True, "protocol_version": 1001} if facts is None else facts
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(version, 2) + pickle.dumps(facts, 2)
    return head + bytes([0x80, protocol]) + content + b"." + pickle.dumps(list(keys), 2) + (data or b"")


def zipped(content, numbers=NUMBERS[8:], compression=zipfile.ZIP_STORED, **others):
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        members = {"data.pkl": b"\x80\x02" + content + b".", "data/0": numbers, "byteorder": b"little", **others}
        for name, one in members.items():
            if one is not None:
                archive.writestr(name[1:] if name.startswith("/") else f"model/{name}", one)
    return file.getvalue()


def zip_state(**given):
    return state(tensor(tail=b"", **given))


def pickled(one, protocol=2):
    """What pickle makes of an object, as the state of a file."""
    return legacy(pickle.dumps(one, protocol)[2 if protocol > 1 else 0 : -1], protocol=max(2, protocol))


class Call:
    """An object whose pickle calls something."""

    def __init__(self, *what):
        self.what = what

    def __reduce__(self):
        return self.what[0], self.what[1:]


class Other:
    pass


HARM = "touch harmed"
HOSTILE = {
    **{f"os.system, protocol {one}": (pickled(Call(os.system, HARM), one), "names posix system") for one in range(6)},
    "os.system as a key": (legacy(b"}" + value(Call(os.system, HARM)) + b"Ns"), "names posix system"),
    "os.system in a tensor": (legacy(state(value(Call(os.system, HARM)))), "names posix system"),
    "os.system in the facts": (
        pickled({}).replace(pickle.dumps(1001, 2), pickle.dumps(Call(os.system, HARM), 2)),
        "names posix system",
    ),
    "os.system in the keys": (legacy(state(), keys=[Call(os.system, HARM)]), "names posix system"),
    "os.system in a zip": (zipped(value(Call(os.system, HARM))), "names posix system"),
    "eval": (pickled(Call(eval, "open('harmed', 'w')")), "names __builtin__ eval"),
    "eval, protocol 4": (pickled(Call(eval, "open('harmed', 'w')"), 4), "names builtins eval"),
    "exec": (pickled(Call(exec, "open('harmed', 'w')")), "names __builtin__ exec"),
    "import": (pickled(Call(builtins.__import__, "antigravity")), "names __builtin__ __import__"),
    "getattr": (pickled(Call(getattr, "", "join")), "names __builtin__ getattr"),
    "an array of NumPy": (pickled(np.ones(3)), "names numpy"),
    "an array of NumPy, protocol 5": (pickled(np.ones(3), 5), "names numpy"),
    "an object, protocol 0": (pickled(Other(), 0), "names copy_?reg _reconstructor"),
    "an object": (pickled(Other()), "names .*Other"),
    "an object, protocol 4": (pickled(Other(), 4), "names .*Other"),
    "a pickle in a pickle": (
        pickled(Call(pickle.loads, pickle.dumps(Call(os.system, HARM)))),
        "names .*[pP]ickle loads",
    ),
    "a whole model": (legacy(b"ctorch.nn.modules.linear\nLinear\n)\x81"), "names torch.nn.modules.linear Linear"),
    "bytes that torch loads": (legacy(b"ctorch.storage\n_load_from_bytes\n"), "names torch.storage _load_from"),
    "a parameter": (legacy(b"ctorch._utils\n_rebuild_parameter\n"), "names torch._utils _rebuild_parameter"),
    "a part of an allowed name": (legacy(b"ccollections\nOrderedDict.fromkeys\n"), "names collections OrderedDict.f"),
    "the same from the stack": (legacy(text("collections") + text("OrderedDict.__class__") + b"\x93"), "__class__"),
    "a name from the stack that is none": (legacy(b"NN\x93"), "a NoneType as a name"),
    "a new object": (legacy(b"ccollections\nOrderedDict\n)\x81"), "the instruction NEWOBJ"),
    "an instance": (legacy(b"(S'" + HARM.encode() + b"'\niposix\nsystem\n"), "the instruction"),
    "an instance without arguments": (legacy(b"(iposix\nsystem\n"), "the instruction INST"),
    "a name by its number": (legacy(b"\x82\x01"), "the instruction EXT1"),
    "a dictionary with arguments": (legacy(b"ccollections\nOrderedDict\n" + value(([],)) + b"R"), "with 1 arguments"),
    "a storage that is called": (legacy(b"ctorch\nFloatStorage\n)R"), "calls float32"),
    "a call of a number": (legacy(b"K\1)R"), "a int as a function"),
    "a state for a list": (legacy(b"]}b"), "puts something into a list"),
    "a state of two": (legacy(b"}" + value(({}, {})) + b"b"), "a tuple as a state"),
    "a storage in words": (legacy(b"Pstorage\n"), "the instruction PERSID"),
    "a storage that is none": (legacy(value((1, 2)) + b"Q"), "a storage whose description is none"),
    "a word that is none": (legacy(state(tensor(word="module"))), "'0' of 6 numbers whose description is none"),
    "a part of a storage": (legacy(state(tensor(tail=value(("1", 0, 2))))), "whose description is none"),
    "a function as a storage": (
        legacy(state(tensor().replace(b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n"))),
        "whose description is none",
    ),
    "an unknown dtype": (legacy(state(tensor(kind="ComplexFloatStorage"))), "names torch ComplexFloatStorage"),
    # Against memory, time and the stack of the process.
    "a memo of 2**31": (legacy(b"Nr" + struct.pack("<I", 2**31 - 1)), "holds a NoneType, not a dictionary"),
    "a memo that is empty": (legacy(b"h\x07"), "asks for number 7 of a memo without it"),
    "a text of 4 GB": (legacy(b"X\xff\xff\xff\xff"), "is|expected"),
    "a text of 2**62 bytes": (legacy(b"\x8d" + struct.pack("<Q", 2**62)), "expected|the instruction"),
    "a number of 2 GB": (legacy(b"\x8b\xff\xff\xff\x7f"), "not enough data"),
    "bytes of 2**62": (legacy(b"\x96" + struct.pack("<Q", 2**62)), "expected"),
    "a tuple of tuples as a key": (legacy(b"})" + b"\x85" * 200_000 + b"Ns"), "a tuple as a key"),
    "a value copied": (legacy(b"2"), "the instruction DUP"),
    "a tuple of twos": (legacy(b"})" + b"q\1h\1\x86" * 40_000 + b"Ns"), "a tuple as a key"),
    "a list in itself": (legacy(b"]q\1h\1a"), "holds a list, not a dictionary"),
    "a million nothings": (legacy(b"(" + b"N" * 1_000_000 + b"t"), f"more than {MOST_STEPS:,} instructions"),
    "marks without end": (legacy(b"(" * 1_000_000), "more than"),
    "8 MB without an end": (legacy(text("x" * (8 << 20))), "expected"),
    "an instruction of none": (legacy(b"\xff"), "opcode"),
    "an empty stack": (legacy(b"a"), "takes what is not there"),
    "no mark": (legacy(b"t"), "takes what is not there"),
    "an odd dictionary": (legacy(b"}(" + text("a") + b"u"), "zip"),
    "half a character": (legacy(b"X\x01\x00\x00\x00\xff"), "decode"),
}
DAMAGED = {
    "empty": (b"", "is no file of PyTorch"),
    "a web page": (b"<!DOCTYPE html>", "begins with b'<!DO'"),
    "a plain pickle": (pickle.dumps({"w": 1}, 2), "is no file of PyTorch"),
    "another version": (legacy(state(), version=1002), "is not of version 1001"),
    "big endian": (legacy(state(), facts={"little_endian": False}), "little endian"),
    "a list": (legacy(b"]"), "holds a list, not a dictionary of tensors"),
    "a number among tensors": (legacy(b"}" + text("epoch") + b"K\3s", []), "holds a int under 'epoch'"),
    "a state in a state": (legacy(b"}" + text("model") + b"}s", []), "holds a dict under 'model'.*state_dict"),
    "a number as a key": (legacy(b"}K\1K\2s"), "a int as a key"),
    "a name twice": (legacy(b"}" + (text("w") + b"Ns") * 2), "'w' twice"),
    "a name that steers the terminal": (legacy(b"}" + text("\x1b[2J") + b"Ns", []), r"x1b\[2J"),
    "more than the storage": (legacy(state(tensor((2, 4), (4, 1)))), r"'w' of the shape \(2, 4\).*storage of 6"),
    "from behind its end": (legacy(state(tensor(offset=1))), "'w' of the shape .* from number 1"),
    "from before its begin": (legacy(state(tensor((2,), (1,), -1))), "from number -1"),
    "one number for all": (legacy(state(tensor(strides=(0, 0)))), r"'w' .* strides \(0, 0\)"),
    "backwards": (legacy(state(tensor(strides=(3, -1), offset=2))), r"strides \(3, -1\)|number 2"),
    "backwards from 0": (legacy(state(tensor(strides=(-3, 1)))), r"strides \(-3, 1\)"),
    "over each other": (legacy(state(tensor((2, 2), (1, 1)))), r"strides \(1, 1\)"),
    "with gaps": (legacy(state(tensor((2, 2), (3, 1)))), r"strides \(3, 1\)"),
    "strides without end": (legacy(state(tensor((2, 2), (2**62, 1)))), "strides"),
    "a length below 0": (legacy(state(tensor((-1, 3)))), r"'w' of the shape \(-1, 3\)"),
    "a shape of 2**124": (legacy(state(tensor((2**62, 2**62)))), "'w' of the shape"),
    "nothing, 2**62 wide": (legacy(state(tensor((0, 2**62)))), "'w' of the shape"),
    "nine axes": (legacy(state(tensor((1,) * 9, (1,) * 9))), "'w' of the shape"),
    "one stride too few": (legacy(state(tensor(strides=(1,)))), "whose shape and strides are none"),
    "a share of a number": (legacy(state(tensor((2.0, 3)))), "the instruction BINFLOAT"),
    "a word as a length": (legacy(state(tensor(("2", 3)))), "whose shape and strides are none"),
    "True as a length": (legacy(state(tensor((True, 3)))), "whose shape and strides are none"),
    "True as an offset": (legacy(state(tensor(offset=True))), "a tensor whose description is none"),
    "hooks": (legacy(state(tensor(end=b"\x89}K\1K\1stR"))), "a int as a key|description is none"),
    "seven parts": (legacy(state(tensor(end=b"\x89}NtR"))), "a tensor whose description is none"),
    "a storage below 0": (legacy(state(tensor(numbers=-6))), "'0' of -6 numbers"),
    "a storage of 2**62": (legacy(state(tensor(numbers=2**62))), "storage '0' ends at"),
    "a storage of 2**2000": (legacy(state(tensor(numbers=2**2000))), "storage '0' ends at"),
    "another count": (legacy(state(), data=b"\7" + NUMBERS[1:]), "has 7 numbers in storage '0', not 6"),
    "two dtypes of one storage": (
        legacy(b"}" + text("a") + tensor() + b"s" + text("b") + tensor(kind="IntStorage") + b"s"),
        "two descriptions of the storage '0'",
    ),
    "no keys": (legacy(state(), []), "a list of storages that is none"),
    "another key": (legacy(state(), ["1"]), "lists other storages"),
    "a key too many": (legacy(state(), ["0", "1"]), "a list of storages that is none"),
    "bytes behind": (legacy(state(), data=NUMBERS + b"\0"), "has 1 bytes behind its last storage"),
    "bytes missing": (legacy(state(), data=NUMBERS[:-1]), "is cut or damaged: storage '0'"),
    "zip: no numbers": (zipped(zip_state(), None), "storage '0' of 24 bytes; it is missing"),
    "zip: fewer numbers": (zipped(zip_state(), b"1234"), "it has 4 bytes"),
    "zip: no pickle": (zipped(zip_state(), **{"data.pkl": None}), "a zip with 0 members"),
    "zip: two pickles": (zipped(zip_state(), **{"/b/data.pkl": b"N."}), "a zip with 2 members"),
    "zip: a name twice": (zipped(zip_state(), **{"/model/data/0": b"N."}), "two members 'model/data/0'"),
    "zip: compressed": (zipped(zip_state(), compression=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
    "zip: big endian": (zipped(zip_state(), byteorder=b"big"), "is not little endian"),
    "zip: a long byte order": (zipped(zip_state(), byteorder=b"x" * 99), "'model/byteorder' of 99 bytes"),
    "zip: a large pickle": (zipped(text("x" * (5 << 20))), "'model/data.pkl' of 5,2"),
    "zip: many members": (zipped(zip_state(), **{f"{i:0200}": b"" for i in range(9_000)}), "has more than 2,097,152"),
    "zip: a key that leads out": (zipped(zip_state(key="../../0")), "storage '../../0'.*is missing"),
    "zip: no storages of it": (zipped(state(tensor())), "a storage whose description is none"),
    "zip: its end is missing": (zipped(zip_state())[:-10], "not a zip file"),
    "zip: its begin is missing": (b"PK\3\4" + zipped(zip_state())[50:], "before the member 'model/data.pkl'"),
}


def all_read(path):
    with read_torch(path) as tensors:
        for one in tensors.values():
            assert one.read().shape == one.shape


def refused(path, message=None):
    start = time.monotonic()
    with pytest.raises(ValueError, match=message) as caught:
        all_read(path)
    assert time.monotonic() - start < 10  # under 1 on a quiet machine
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("case", [*HOSTILE, *DAMAGED])
def test_a_file_that_would_do_something_or_is_damaged_is_refused(case, tmp_path, monkeypatch, peak):
    monkeypatch.chdir(tmp_path)
    content, message = (HOSTILE | DAMAGED)[case]
    path = tmp_path / "one.pth"
    path.write_bytes(content)
    assert peak(lambda: refused(path, message)) < 100e6
    assert os.listdir(tmp_path) == ["one.pth"]


@pytest.mark.parametrize("content", [legacy(state()), zipped(zip_state())], ids=["legacy", "zip"])
def test_the_files_that_the_damages_begin_from_are_read(content, tmp_path):
    path = tmp_path / "one.pth"
    path.write_bytes(content)
    with read_torch(path) as tensors:
        assert tensors["w"].read().tolist() == [[0, 1, 2], [3, 4, 5]]


def test_an_ordered_dictionary_with_versions_is_read(tmp_path):
    """The state that PyTorch's modules give: its attribute _metadata is left away."""
    found = collections.OrderedDict()
    found._metadata = collections.OrderedDict(version=1)
    (tmp_path / "one.pth").write_bytes(legacy(value(found) + text("w") + tensor() + b"s"))
    with read_torch(tmp_path / "one.pth") as tensors:
        assert list(tensors) == ["w"]


def test_a_zip_of_4_gb_that_claims_a_list_of_4_gb_takes_no_memory(tmp_path, peak):
    path, size = tmp_path / "one.pth", 1 << 32
    with open(path, "wb") as file:  # a hole
        file.write(b"PK\3\4")
        file.seek(size - 22)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, size - 30, 0, 0))
    assert peak(lambda: refused(path, "a zip whose list of members")) < 100e6


def test_a_file_that_is_cut_while_it_is_open_is_named(tmp_path):
    path = tmp_path / "one.pth"
    count = 1 << 16  # more than the file's buffer holds
    one = tensor((count,), (1,), numbers=count)
    path.write_bytes(legacy(state(one), data=struct.pack("<q", count) + bytes(4 * count)))
    with read_torch(path) as tensors:
        os.truncate(path, path.stat().st_size - 4)
        with pytest.raises(ValueError, match=r"one\.pth ends in the middle of w"):
            tensors["w"].read()


def test_what_is_no_file_is_named(tmp_path):
    for path, message in ((tmp_path / "no.pth", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(FileNotFoundError, match=message), read_torch(path):
            pass


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_refused(name, tmp_path):
    content, path = (DATA / name).read_bytes(), tmp_path / "cut.pth"
    for length in [*range(0, len(content) - 1, 29), len(content) - 1]:
        path.write_bytes(content[:length])
        refused(path)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_file_with_wrong_bytes_is_read_or_refused_and_does_nothing_else(tmp_path_factory, data):
    content = bytearray((DATA / data.draw(st.sampled_from(FILES))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "wrong.pth"
    path.write_bytes(content)
    try:
        all_read(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 (both ways are right)
