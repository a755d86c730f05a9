"""Packed matrices: every kind of numbers multiplies as the floats that it stands for, whatever the sizes."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from test_attention import compiled

from kerasllm.layers.backend import handed_over
from kerasllm.layers.packed import BLOCK, NUMBERS, PackedMatrices

RANDOM = np.random.default_rng(0)
# Inputs of less than a block, no multiple of one, many parts in a block, a part a block; a column, one matrix.
SIZES = [(20, 1, 1), (70, 5, 3), (96, 2, 2), (1100, 4, 2)]


def number(x):
    return ops.convert_to_numpy(x)


def packed_of(numbers, matrices):
    count, inputs, columns = np.shape(matrices)
    packed = PackedMatrices(numbers, inputs, columns, count)
    for index, matrix in enumerate(matrices):
        packed.put(index, matrix)
    return packed.store()


def floats(packed):
    """What the matrices hold, float32 (count, inputs, columns)."""
    columns = np.arange(packed.count * packed.columns)
    found = number(packed.take(columns)).reshape(packed.count, packed.columns, packed.inputs)
    return found.swapaxes(1, 2)


def blocks(parts, inputs):
    """The matrix (inputs, columns) of codes (columns, inputs), scales and minima (columns, inputs / 32)."""
    codes, scales, minima = parts
    of = np.arange(inputs) // BLOCK
    return (codes * scales[:, of] + (0 if minima is None else minima[:, of])).T


def parts(kind, inputs, columns, large=False):
    """Random parts: codes of 4 bits from -8 or from 0, or of 8 bits, with minima or without."""
    low, high = {"8": (-128, 127), "4 from -8": (-8, 7), "4 from 0": (0, 15)}[kind.removesuffix(" with minima")]
    codes = RANDOM.integers(low, high + 1, (columns, inputs)).astype("int8")
    scales, minima = RANDOM.uniform(0.1, 1, (2, columns, -(-inputs // BLOCK))).astype("float16").astype("float32")
    scales *= np.float32(2**20 if large else 1)  # float16 ends at 65504
    return codes, scales, -3 * minima if "minima" in kind else None


@pytest.mark.parametrize("numbers", NUMBERS)
def test_vectors_are_multiplied_by_the_numbers_that_are_held(numbers):
    for inputs, columns, count in SIZES:
        packed = packed_of(numbers, RANDOM.normal(size=(count, inputs, columns)))
        held = floats(packed)
        for vectors in (1, 2, 5):  # one by one, and by the unpacked matrix
            x = RANDOM.normal(size=(vectors, inputs)).astype("float32")
            for index in {0, count - 1}:
                found = number(packed(x, index))
                assert found.dtype == "float32"
                np.testing.assert_allclose(found, x @ held[index], atol=1e-5 * np.sqrt(inputs), rtol=1e-5)


@pytest.mark.parametrize("numbers", NUMBERS)
def test_compiled_with_an_index_that_is_not_known_before(numbers):
    packed = packed_of(numbers, RANDOM.normal(size=(3, 70, 5)))
    held = floats(packed)
    x = RANDOM.normal(size=(5, 70)).astype("float32")

    def all_of(index, columns):
        return [packed(x[:1], index), packed(x[:2], index), packed(x, index), packed.take(columns)]

    columns = np.array([[14, 0], [3, 3]])
    *products, taken = map(number, compiled(all_of)(ops.array(2, "int32"), ops.array(columns, "int32")))
    for vectors, found in zip((1, 2, 5), products, strict=True):
        np.testing.assert_allclose(found, x[:vectors] @ held[2], atol=1e-5, rtol=1e-5)
    beside = np.concatenate(held, axis=1)  # (inputs, count * columns)
    np.testing.assert_array_equal(taken, beside.T[columns])


def test_float32_is_exact_and_bfloat16_rounded_to_the_nearest():
    matrices = RANDOM.normal(size=(2, 70, 5)).astype("float32")
    matrices[0, :2, 0] = np.array([0x3F808000, 0x3F818000], "uint32").view("float32")  # halfway: to the even one
    np.testing.assert_array_equal(floats(packed_of("float32", matrices)), matrices)
    found = floats(packed_of("bfloat16", matrices))
    np.testing.assert_array_equal(found, number(ops.cast(ops.cast(matrices, "bfloat16"), "float32")))
    assert (found[0, :2, 0].view("uint32") >> 16).tolist() == [0x3F80, 0x3F82]


def test_what_is_no_number_stays_none_or_is_refused():
    matrix = np.ones((64, 3), "float32")
    matrix[40] = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800000], "uint32").view("float32")  # two NaN, infinity
    for numbers in ("float32", "bfloat16"):
        found = floats(packed_of(numbers, [matrix]))[0, 40]
        assert np.isnan(found[:2]).all()
        assert np.isinf(found[2])
    for numbers in ("int8", "int4"):
        with pytest.raises(ValueError, match=f"NaN or infinity, which {numbers} cannot"):
            packed_of(numbers, [matrix])
    with pytest.raises(ValueError, match="numbers must be one of 'float32', 'bfloat16', 'int8', 'int4', not 'int3'"):
        PackedMatrices("int3", 32, 1)


@pytest.mark.parametrize(("numbers", "steps"), [("int8", 254), ("int4", 15)])
def test_a_number_is_off_by_half_a_step_of_its_block_at_most(numbers, steps):
    # Each block has a size of its own: one scale for all would be off by more.
    matrix = RANDOM.normal(size=(4, BLOCK, 6)) * 10.0 ** np.array([-4, -2, 0, 4])[:, None, None]
    matrix[2, :, 0], matrix[2, :, 1] = 0, 7.5  # zeros alone, one number alone
    found = floats(packed_of(numbers, [matrix.reshape(-1, 6)]))[0].reshape(matrix.shape)
    most = np.abs(matrix).max(1, keepdims=True)
    width = 2 * most if numbers == "int8" else np.ptp(matrix, axis=1, keepdims=True)
    # Scales and minima are of float16: 11 bits.
    assert (np.abs(found - matrix) <= 0.5 * width / steps + most * 2.0**-10).all()
    assert np.abs(found - matrix).max() > 0.2 * (width / steps).max()
    assert (found[2, :, 0] == 0).all()
    np.testing.assert_allclose(found[2, :, 1], 7.5, rtol=2.0**-11)


KINDS = ("8", "8 with minima", "4 from -8", "4 from 0 with minima")


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_taken_as_they_are(kind):
    for numbers, large in itertools.product(("int8", "int4") if kind[0] == "4" else ("int8",), (False, True)):
        given = parts(kind, 96, 4, large)
        packed = packed_of_parts(numbers, 96, [given])
        np.testing.assert_array_equal(floats(packed)[0], blocks(given, 96))
        x = RANDOM.normal(size=(5, 96)).astype("float32")
        wanted = x @ blocks(given, 96)
        for vectors in (1, 5):
            found = number(packed(x[:vectors], 0))
            np.testing.assert_allclose(found, wanted[:vectors], atol=2e-6 * np.abs(wanted).max() * 96**0.5)
        assert str(packed.variables[1].dtype) == ("float32" if large else "float16")


def packed_of_parts(numbers, inputs, given):
    packed = PackedMatrices(numbers, inputs, len(given[0][0]), len(given))
    for index, one in enumerate(given):
        packed.put(index, one)
    return packed.store()


@pytest.mark.parametrize("inputs", [64, 40])
def test_pieces_of_different_kinds_stand_beside_each_other(inputs):
    """As queries, keys and values of a file, of which one has minima, another large scales, and one is of floats."""
    for numbers, kinds in {"int8": KINDS, "int4": KINDS[2:]}.items():
        packed = PackedMatrices(numbers, inputs, columns=3 * len(kinds) + 2, count=2)
        wanted = np.zeros((2, inputs, packed.columns), "float32")
        for index in range(2):
            for place, kind in enumerate(kinds):
                given = parts(kind, inputs, 3, large=index == 1 and place == 1)
                packed.put(index, given, 3 * place)
                wanted[index, :, 3 * place : 3 * place + 3] = blocks(given, inputs)
            matrix = np.where(RANDOM.uniform(size=(inputs, 2)) < 0.5, -127, 127.0)  # in 4 bits the extremes, too
            packed.put(index, matrix, packed.columns - 2)
            wanted[index, :, -2:] = matrix
        held = floats(packed.store())
        np.testing.assert_allclose(held, wanted, rtol=2e-3, atol=0.1)
        x = RANDOM.normal(size=(1, inputs)).astype("float32")
        for index in range(2):
            product = x @ held[index]
            np.testing.assert_allclose(number(packed(x, index)), product, atol=1e-5 * np.abs(product).max())


def test_bytes_are_those_of_codes_and_scales():
    wanted = {"float32": 4 * 6144, "bfloat16": 2 * 6144, "int8": 6144 + 2 * 192, "int4": 3072 + 2 * 2 * 192}
    for numbers, many in wanted.items():
        packed = packed_of(numbers, RANDOM.normal(size=(2, 96, 32)))
        assert packed.bytes == many
        assert not any(one.trainable for one in packed.variables)


def test_many_tokens_are_taken_as_few_are():
    packed = packed_of("int4", RANDOM.normal(size=(3, 40, 7)))
    columns = RANDOM.integers(0, 21, (2, 30))
    found = number(packed.take(ops.array(columns, "int32")))
    assert found.shape == (2, 30, 40)
    for row, place in ((0, 0), (1, 29)):
        np.testing.assert_array_equal(found[row, place], number(packed.take(columns[row, place])))


def test_the_numbers_of_keras_change_nothing():
    before = keras.config.floatx()
    try:
        keras.config.set_floatx("float16")
        packed = packed_of("int8", RANDOM.normal(size=(1, 40, 3)))
        assert number(packed(np.ones((1, 40), "float32"), 0)).dtype == "float32"
        assert number(packed.take(np.array([0, 1, 2, 0]))).dtype == "float32"
    finally:
        keras.config.set_floatx(before)


def test_arrays_handed_over_are_held_wherever_they_stand_in_memory():
    """TensorFlow aborts the process on memory that is not aligned to 64 bytes."""
    memory = np.zeros(4 * 64 + 64, "uint8")
    for shift in (0, 16, 36):
        array = memory[shift : shift + 256].view("float32").reshape(8, 8)
        array[:] = RANDOM.normal(size=(8, 8))
        held = keras.Variable(handed_over(array), dtype="float32", trainable=False)
        np.testing.assert_array_equal(number(ops.slice(held.value, (2, 3), (4, 2))), array[2:6, 3:5])
