"""Arrays whose memory goes back to the machine."""

import math
import mmap

import numpy as np

LARGE = 1 << 16  # bytes; less than that is not worth pages of its own


def returned_zeros(shape, dtype):
    """Zeros whose memory goes back to the machine as soon as they are forgotten, where malloc may keep it.

    For a large array that is soon copied to a backend: loading a model must not take its memory twice.

    Args:
        shape: a tuple of whole numbers, none of them 0.
        dtype: a dtype of NumPy.

    Returns:
        An array.

    Example:
        >>> returned_zeros((2, 3), "int8").sum()
        np.int64(0)
    """
    dtype = np.dtype(dtype)
    return np.frombuffer(mmap.mmap(-1, math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
