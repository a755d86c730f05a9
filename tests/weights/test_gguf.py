"""GGUF files: every kind of tensor and type of metadata as the package `gguf` has them, and files written and read."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kerasllm.weights.gguf.blocks import KINDS, ScaleError, decoded, encoded, parts_of
from kerasllm.weights.gguf.file import CHUNK, read_gguf
from kerasllm.weights.gguf.writer import write_gguf

DATA = Path(__file__).parent / "data"
WITH_PARTS = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")


@pytest.fixture(scope="module")
def kinds():
    with read_gguf(DATA / "kinds.gguf") as file:
        yield file


@pytest.fixture(scope="module")
def expected():
    with np.load(DATA / "kinds.npz") as content:
        return dict(content)


def bits(array):
    return array.reshape(-1).view("uint32")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_bit_for_bit_as_the_reference_reads_it(kind, kinds, expected):
    tensor = kinds.tensors[kind]
    assert (tensor.kind, tensor.shape, tensor.dtype) == (kind, (3, 512), "float32")
    numbers = tensor.read()
    assert numbers.shape == (3, 512)
    assert numbers.dtype == "float32"
    np.testing.assert_array_equal(bits(numbers), bits(expected[kind]))
    assert tensor.raw().shape == (3 * 512 // KINDS[kind].numbers, KINDS[kind].bytes)
    assert tensor.nbytes == tensor.raw().size


@pytest.mark.parametrize("kind", WITH_PARTS)
def test_codes_scales_and_minima_make_the_numbers(kind, kinds):
    codes, scales, minima = kinds.tensors[kind].parts()
    assert codes.dtype == "int8"
    assert scales.dtype == "float32"
    assert codes.shape == (3, 512)
    assert scales.shape == (3, 16)
    assert (minima is not None) == kind.endswith("_1")
    numbers = codes.reshape(3, 16, 32) * scales[..., None]
    if minima is not None:
        assert minima.shape == (3, 16)
        numbers = numbers + minima[..., None]
    np.testing.assert_array_equal(bits(numbers), bits(kinds.tensors[kind].read()))


@pytest.mark.parametrize("kind", ["F32", "F16", "Q4_K", "Q6_K"])
def test_a_kind_without_one_scale_a_block_has_no_parts(kind, kinds):
    with pytest.raises(ValueError, match=f"{kind} is of the kind {kind}, which has no one scale"):
        kinds.tensors[kind].parts()


def test_every_type_of_metadata_is_read(kinds):
    found = {key.removeprefix("test."): value for key, value in kinds.metadata.items() if key.startswith("test.")}
    assert found == {
        "uint8": 200,
        "int8": -100,
        "uint16": 60000,
        "int16": -30000,
        "uint32": 4_000_000_000,
        "int32": -2_000_000_000,
        "float32": float(np.float32(0.1)),
        "bool": True,
        "string": "你好",
        "uint64": 2**64 - 1,
        "int64": -(2**63),
        "float64": 0.1,
        "texts": ["a", "", "Ġthe"],
        "floats": [0.5, -1.5],
        "flags": [True, False],
        "nested": [[1, 2], [3]],
    }
    assert found["bool"] is True
    assert found["flags"][0] is True


@pytest.mark.parametrize("kind", ["Q8_0", "BF16", "F16"])
def test_numbers_are_rounded_to_the_same_bytes_as_by_the_reference(kind, expected):
    found = encoded(kind, expected["values"].reshape(-1))
    np.testing.assert_array_equal(found, expected[f"blocks of {kind}"])


def test_half_a_step_is_rounded_away_from_zero():
    block = np.zeros(32, "float32")
    block[:5] = 127, 0.5, -0.5, 1.5, -2.5
    codes = parts_of("Q8_0", encoded("Q8_0", block).reshape(1, 34)).codes
    assert codes[0, :5].tolist() == [127, 1, -1, 2, -3]


@given(arrays.arrays("float32", 64, elements=st.floats(-1e4, 1e4, width=32)))
@settings(max_examples=50, deadline=None)
def test_a_quantised_number_is_at_most_half_a_step_away(numbers):
    found = decoded("Q8_0", encoded("Q8_0", numbers).reshape(-1, 34))
    step = np.abs(numbers.reshape(-1, 32)).max(axis=1, keepdims=True) / 127
    # The scale itself is rounded to float16: 127 times half of 2**-11 of a step, or what float16 loses near zero.
    assert (np.abs(found - numbers.reshape(-1, 32)) <= step * (0.5001 + 127 * 2**-11) + 127 * 2.0**-25).all()


def test_numbers_so_small_that_their_scale_is_zero_become_zero():
    tiny = np.full(32, 1e-42, "float32")
    with np.errstate(invalid="raise"):
        blocks = encoded("Q8_0", tiny)
    assert not blocks.any()
    assert not decoded("Q8_0", blocks.reshape(1, 34)).any()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 3e38])
def test_what_a_kind_cannot_hold_is_refused_with_the_tensor(number, tmp_path):
    bad = np.ones((2, 32), "float32")
    bad[1, 3] = number
    with pytest.raises(ValueError, match=r"ffn_up\.weight holds"):
        write_gguf(tmp_path / "x.gguf", {}, {"blk.0.ffn_up.weight": bad}, kind="Q8_0")
    assert not list(tmp_path.iterdir())


def test_a_number_too_large_for_f16_is_refused(tmp_path):
    with pytest.raises(ValueError, match="w holds 70000, which F16 cannot hold"):
        write_gguf(tmp_path / "x.gguf", {}, {"w": np.full((2, 2), 7e4)}, kind="F16")
    with pytest.raises(ValueError, match=r"w holds 1e\+300, which float32 cannot hold"):
        write_gguf(tmp_path / "x.gguf", {}, {"w": np.full((2, 2), 1e300)})


def test_nan_stays_nan_in_the_kinds_of_floats():
    for kind in ("F32", "F16", "BF16"):
        found = decoded(kind, encoded(kind, np.array([np.nan, np.inf, 1.0], "float32")).reshape(-1, KINDS[kind].bytes))
        assert np.isnan(found[0]).all()
        assert np.isinf(found[1]).all()


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"])
@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
def test_a_scale_that_is_no_finite_number_is_refused_in_every_place(kind, scale):
    places = {"Q6_K": [208]}.get(kind, [0, 2] if kind.endswith(("_1", "_K")) else [0])
    for place in places:
        blocks = np.zeros((3, KINDS[kind].bytes), "uint8")
        blocks[1, place : place + 2] = np.frombuffer(np.float16(scale).tobytes(), "uint8")
        with pytest.raises(ScaleError, match=f"{np.float32(scale)} as a scale in block 1"):
            decoded(kind, blocks)


def test_a_damaged_scale_is_refused_with_the_name_of_the_tensor(tmp_path):
    path = tmp_path / "one.gguf"
    write_gguf(path, {}, {"blk.3.ffn_up.weight": np.ones((2, 64), "float32")}, kind="Q8_0")
    content = bytearray(path.read_bytes())
    start = len(content) - 160 + 34  # four blocks and 24 bytes of padding
    content[start : start + 2] = struct.pack("<e", np.nan)
    path.write_bytes(content)
    with read_gguf(path) as file:
        tensor = file.tensors["blk.3.ffn_up.weight"]
        for read in (tensor.read, tensor.parts):
            with pytest.raises(ValueError, match=r"blk\.3\.ffn_up\.weight holds nan as a scale in block 1"):
                read()


METADATA = {
    "general.architecture": "llama",
    "general.name": "ünï",
    "a.bool": False,
    "a.whole": 7,
    "a.large": 2**40,
    "a.below": -3,
    "a.float": 0.5,
    "a.texts": ["x", "", "你好"],
    "a.flags": [True, False],
    "a.numbers": [1, 2, 3],
    "a.mixed": [1, 2.5],
    "a.nested": [[1, 2], [3]],
    "a.empty": [],
    "a.array": np.arange(3, dtype="int16"),
    "a.exact": np.float64(0.1),
}


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_what_is_written_is_read(kind, tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "token_embd.weight": rng.normal(size=(5, 64)).astype("float32"),
        "blk.0.attn_norm.weight": rng.normal(size=64).astype("float32"),
        "blk.0.odd.weight": rng.normal(size=(3, 33)).astype("float32"),
        "blk.0.ffn_gate_exps.weight": rng.normal(size=(2, 3, 64)).astype("float64"),
        "position_embd.weight": rng.normal(size=(4, 64)).astype("float32"),
    }
    path = tmp_path / "one.gguf"
    write_gguf(path, METADATA, tensors, kind=kind)
    with read_gguf(path) as file:
        assert file.version == 3
        assert list(file.tensors) == list(tensors)
        kinds = {name: tensor.kind for name, tensor in file.tensors.items()}
        assert kinds.pop("token_embd.weight") == kinds.pop("blk.0.ffn_gate_exps.weight") == kind
        assert kinds.pop("blk.0.odd.weight") == ("F16" if kind == "Q8_0" else kind)
        assert set(kinds.values()) == {"F32"}
        for name, tensor in file.tensors.items():
            spread = {"F32": 0, "F16": 2e-3, "BF16": 2e-2, "Q8_0": 2e-2}[kind]
            np.testing.assert_allclose(tensor.read(), tensors[name].astype("float32"), atol=spread)
        found = {key: file.metadata[key] for key in METADATA}
    assert found.pop("a.array") == [0, 1, 2]
    assert found == {key: value for key, value in METADATA.items() if key != "a.array"}
    assert (file.metadata.get("general.quantization_version") == 2) == (kind == "Q8_0")


def test_equal_content_gives_equal_bytes_and_a_read_tensor_can_be_written_again(tmp_path):
    paths = [tmp_path / name for name in ("a.gguf", "b.gguf", "c.gguf")]
    tensors = {"w": np.arange(96, dtype="float32").reshape(3, 32), "bias": np.ones(3, "float32")}
    for path in paths[:2]:
        write_gguf(path, METADATA, tensors, kind="Q8_0")
    with read_gguf(paths[0]) as file:
        write_gguf(paths[2], file.metadata | {"a.array": METADATA["a.array"], "a.exact": 0.1}, file.tensors, kind="F32")
        with read_gguf(paths[2]) as again:
            np.testing.assert_array_equal(again.tensors["w"].read(), file.tensors["w"].read())
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_the_alignment_of_the_metadata_is_obeyed(alignment, tmp_path):
    path = tmp_path / "one.gguf"
    tensors = {"a": np.arange(3, dtype="float32"), "b": np.arange(5, dtype="float32")}
    write_gguf(path, {"general.alignment": alignment}, tensors)
    with read_gguf(path) as file:
        assert file.alignment == alignment
        assert not path.stat().st_size % alignment
        assert file.tensors["b"].read().tolist() == [0, 1, 2, 3, 4]


def test_a_tensor_larger_than_what_is_decoded_at_a_time(tmp_path):
    numbers = np.arange(CHUNK + 96, dtype="float32").reshape(-1, 32) % 251
    write_gguf(tmp_path / "one.gguf", {}, {"w": numbers}, kind="Q8_0")
    with read_gguf(tmp_path / "one.gguf") as file:
        whole = decoded("Q8_0", file.tensors["w"].raw())
        np.testing.assert_array_equal(file.tensors["w"].read(), whole)
        codes, scales, _ = file.tensors["w"].parts()
        np.testing.assert_array_equal(codes * scales, whole)
        assert np.abs(whole - numbers).max() < 1.1


def test_reading_a_tensor_takes_little_memory_beside_it(tmp_path, peak):
    numbers = np.ones((1 << 18, 64), "float32")  # 64 MiB, 17 in the file
    write_gguf(tmp_path / "one.gguf", {}, {"w": numbers}, kind="Q8_0")
    with read_gguf(tmp_path / "one.gguf") as file:
        assert peak(file.tensors["w"].read) < numbers.nbytes + 40e6


WRONG_METADATA = {
    "a key that is no text": ({3: 1}, "A key of the metadata"),
    "no value": ({"a": None}, "a must be a bool"),
    "a dictionary": ({"a": {}}, "a must be a bool"),
    "texts and numbers": ({"a": ["x", 1]}, "a is a list of texts and"),
    "numbers and texts": ({"a": [1, "x"]}, "a must be a bool"),
    "flags and numbers": ({"a": [True, 1]}, "a must be a bool"),
    "a number of 65 bits": ({"a": 2**64}, "a must be a bool"),
    "half a character": ({"a": "\ud800"}, "lone surrogate"),
    "a complex number": ({"a": np.complex64(1)}, "dtype complex64"),
    "an alignment of 3": ({"general.alignment": 3}, "general.alignment must be a power of two"),
}
WRONG_TENSORS = {
    "no name": ({"": np.ones(3)}, "name of a tensor"),
    "a long name": ({"x" * 64: np.ones(3)}, "name of a tensor"),
    "no axes": ({"a": np.float32(3)}, r"the shape \(\)"),
    "five axes": ({"a": np.ones((1, 1, 1, 1, 1))}, "1 to 4 axes"),
    "nothing in it": ({"a": np.ones((0, 3))}, "none empty"),
}


@pytest.mark.parametrize("case", WRONG_METADATA)
def test_metadata_that_the_format_cannot_hold_is_refused(case, tmp_path):
    metadata, message = WRONG_METADATA[case]
    with pytest.raises(ValueError, match=message):
        write_gguf(tmp_path / "x.gguf", metadata, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", WRONG_TENSORS)
def test_tensors_that_the_format_cannot_hold_are_refused(case, tmp_path):
    tensors, message = WRONG_TENSORS[case]
    with pytest.raises(ValueError, match=message):
        write_gguf(tmp_path / "x.gguf", {}, tensors)
    assert not list(tmp_path.iterdir())


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="kind must be one of 'F32', 'F16', 'BF16', 'Q8_0', not 'Q4_1'"):
        write_gguf(tmp_path / "x.gguf", {}, {}, kind="Q4_1")


def test_an_interrupted_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "one.gguf"
    write_gguf(path, {}, {"a": np.ones(3)})
    before = path.read_bytes()

    class Broken:
        shape = (2, 2)

        def read(self):
            raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        write_gguf(path, {}, {"a": np.ones(3), "b": Broken()})
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_closed_file_says_so():
    with read_gguf(DATA / "kinds.gguf") as file:
        pass
    with pytest.raises(ValueError, match="is closed: read F32 inside"):
        file.tensors["F32"].read()


def test_a_file_cut_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "one.gguf"
    write_gguf(path, {}, {"a": np.ones(3000)})
    with read_gguf(path) as file:
        with open(path, "r+b") as same:
            same.truncate(5000)
        with pytest.raises(ValueError, match="ends in the middle of a"):
            file.tensors["a"].read()


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_gguf(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_gguf(tmp_path / "none.gguf")
