"""What a mask is, in every layer: True at what counts, in a shape that fits."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops


def as_mask(mask, *shapes: tuple[int | None, ...], name: str = "mask"):
    """`mask` as a bool tensor, or an error that says what a mask is.

    A mask of floats is refused, never cast: in the additive kind 0 stands at the real tokens and -1e9 at the
    padding, so a cast to bool would turn it round.

    Args:
        mask: bool, or whole numbers 0 and 1: a tensor, array, list or symbolic tensor.
        *shapes: the shapes that it may have, such as ``(batch, time)``; None stands for any size. Without shapes any
            is allowed. A size that is not known before the graph runs fits any other.
        name: the argument's name, for the message.

    Returns:
        A bool tensor of the shape of `mask`.

    Raises:
        ValueError: if `mask` has floats or numbers other than 0 and 1, or none of the shapes.

    Example:
        >>> ops.convert_to_numpy(as_mask([[1, 1, 0]], (1, 3))).tolist()
        [[True, True, False]]
        >>> as_mask(np.array([0.0, -1e9]), (2,))
        Traceback (most recent call last):
        ValueError: mask has numbers of float64, but a mask is bool, True at what counts. For an additive mask, which \
has 0 there and a large negative number elsewhere, give mask >= 0.
    """
    if not hasattr(mask, "dtype"):
        mask = np.asarray(mask)
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if "float" in dtype:
        raise ValueError(
            f"{name} has numbers of {dtype}, but a mask is bool, True at what counts. For an additive mask, which has "
            f"0 there and a large negative number elsewhere, give {name} >= 0."
        )
    # Tensors are not looked into: on a GPU each look would wait for the device.
    if isinstance(mask, np.ndarray) and mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        wrong = mask[~np.isin(mask, (0, 1))].flat[0]
        raise ValueError(f"{name} holds {wrong}, but a mask is bool, True at what counts (or whole numbers, 1 and 0).")
    _check_shape(name, mask.shape, shapes)
    if dtype == "bool" and not isinstance(mask, np.ndarray):
        return mask
    return ops.cast(mask, "bool")


def _check_shape(name, found, shapes):
    if not shapes or getattr(found, "rank", 0) is None:  # TensorFlow may not know the rank inside a graph
        return
    found = tuple(found)
    if not any(_fits(found, shape) for shape in shapes):
        wanted = " or ".join(f"({', '.join('any' if n is None else str(n) for n in shape)})" for shape in shapes)
        raise ValueError(f"{name} has the shape {found}, but must have {wanted}: one value for each position.")


def _fits(found, wanted):
    return len(found) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(found, wanted, strict=True)
    )
