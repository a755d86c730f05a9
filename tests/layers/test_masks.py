"""What a mask may be, for every layer that takes one."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasllm.layers.masks import as_mask

REAL = [[True, True, False], [True, False, False]]


@pytest.mark.parametrize(
    "mask",
    [
        np.array(REAL),
        np.array(REAL, "int64"),
        np.array(REAL, "uint8"),
        REAL,
        ops.convert_to_tensor(REAL),
        ops.cast(REAL, "int32"),
    ],
    ids=["bool", "int", "uint8", "list", "tensor", "int tensor"],
)
def test_bool_and_whole_numbers_are_masks(mask):
    found = as_mask(mask, (2, 3))
    assert keras.backend.standardize_dtype(found.dtype) == "bool"
    np.testing.assert_array_equal(ops.convert_to_numpy(found), REAL)


@pytest.mark.parametrize(
    "mask",
    [
        np.where(REAL, 0.0, -1e9),
        ops.cast(REAL, "float32"),
        ops.cast(REAL, "bfloat16"),
        keras.KerasTensor((None, 3), "float16"),
        [[0.5]],
    ],
    ids=["additive", "tensor", "bfloat16", "symbolic", "list"],
)
def test_a_mask_of_floats_is_refused_with_the_way_to_mend_it(mask):
    with pytest.raises(ValueError, match=r"context_mask has numbers of .*float.* give context_mask >= 0"):
        as_mask(mask, name="context_mask")


def test_whole_numbers_other_than_0_and_1_are_refused():
    with pytest.raises(ValueError, match="mask holds -10000"):
        as_mask(np.array([[0, -10_000]]))


@pytest.mark.parametrize("mask", [np.ones((2, 4), bool), np.ones(3, bool), np.ones((2, 3, 3), bool), True])
def test_a_mask_of_another_length_or_rank_is_refused(mask):
    with pytest.raises(ValueError, match=r"mask has the shape .* must have \(2, 3\) or \(2, any, 5\)"):
        as_mask(mask, (2, 3), (2, None, 5))


@pytest.mark.parametrize("shapes", [(), [(2, 3)], [(None, 3)], [(9,), (2, None)], [(None, None)]])
def test_sizes_that_are_not_known_fit(shapes):
    np.testing.assert_array_equal(ops.convert_to_numpy(as_mask(np.array(REAL), *shapes)), REAL)


def test_symbolic_masks_are_masks():
    for dtype in ("bool", "int32"):
        found = as_mask(keras.KerasTensor((None, 3), dtype), (2, 3))
        assert found.dtype == "bool"
        assert found.shape == (None, 3)
    with pytest.raises(ValueError, match="shape"):
        as_mask(keras.KerasTensor((None, 3), "bool"), (2, 4))
