"""What a batch tells a transformer beside its ids: which tokens are real, which text each is of, where it stands."""

from keras import ops


def unpacked(inputs, names, mask, *others):
    """The ids and what stands beside them, in the order of `names`: from a dictionary, or from arguments of a call.

    Args:
        inputs: int tensor (batch, time) of ids; or a dictionary with "ids" and any of the other names.
        names: what it may hold, "ids" first.
        mask, *others: the other parts as arguments of the call; beside a dictionary all must be None.

    Raises:
        ValueError: if "ids" is missing, a name is unknown, or a part is given beside the dictionary.
    """
    if not isinstance(inputs, dict):
        return [inputs, mask, *others]
    others = (None if isinstance(mask, dict) else mask, *others)  # Keras fills in a mask for each name, all None
    unknown = sorted(set(inputs) - set(names))
    if unknown or "ids" not in inputs or any(one is not None for one in others):
        raise ValueError(
            f"Inputs as a dictionary hold 'ids' and any of {', '.join(names[1:])}, and none of these is given beside "
            f"it; found {sorted(inputs)}."
        )
    return [inputs.get(name) for name in names]


def same_segment(segment_ids):
    """Which pairs of tokens are of one segment: bool tensor (batch, time, time) of int (batch, time)."""
    return ops.equal(segment_ids[:, :, None], segment_ids[:, None, :])


def positions_of(ids, mask=None, segment_ids=None, start=None):
    """The position of each token in its text: int tensor (batch, time), -1 at padding.

    Args:
        ids: int tensor (batch, time).
        mask: bool tensor (batch, time), True at real tokens; all are real when None.
        segment_ids: int tensor (batch, time); positions begin at 0 in each segment.
        start: int tensor (batch, 1), the position of the first token when a cache holds those before it.

    Example:
        >>> import numpy as np
        >>> ids, mask = np.ones((1, 5), "int32"), np.array([[False, True, True, True, True]])
        >>> print(np.array(positions_of(ids, mask, segment_ids=np.array([[0, 0, 0, 1, 1]]))))
        [[-1  0  1  0  1]]
    """
    counted = ops.ones_like(ids) if mask is None else mask
    counted = ops.cumsum(ops.cast(counted, "int32"), axis=1)  # real tokens up to here, itself included
    positions = counted - 1 if start is None else counted - 1 + start
    if segment_ids is not None:
        begins = ops.not_equal(segment_ids[:, 1:], segment_ids[:, :-1])
        begins = ops.concatenate([ops.ones_like(begins[:, :1]), begins], axis=1)
        # How many real tokens stand before each segment: the counter at its first token, carried on to its last.
        real = ops.cast(ops.ones_like(ids) if mask is None else mask, "int32")
        before = ops.where(begins, counted - real, 0)
        positions = positions - ops.max(ops.where(_up_to(before), before[:, None, :], 0), axis=-1)
    return positions if mask is None else ops.where(mask, positions, -1)


def _up_to(x):
    steps = ops.arange(ops.shape(x)[1])
    return (steps[:, None] >= steps[None, :])[None]
