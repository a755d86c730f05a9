"""What attention remembers of the tokens before: keys and values in a ring."""

from typing import Any, NamedTuple

from keras import ops


class Cache(NamedTuple):
    """Keys and values of earlier tokens, and the position that each of them has.

    A ring of `capacity` slots: token number n that is written stands in slot ``n % capacity``. A slot also knows the
    position of its token, for each text of the batch; below 0 it holds nothing that may be looked at, because nothing
    was written yet or because it was padding. So texts of one batch need not be equally long.

    Attributes:
        key: float tensor (batch, num_kv_heads, capacity, head_dim).
        value: float tensor of the same shape.
        positions: int tensor (batch, capacity).
        written: int tensor (batch,), how many slots were written so far: the same number for each text.
    """

    key: Any
    value: Any
    positions: Any
    written: Any

    @property
    def capacity(self):
        """The number of slots."""
        return self.key.shape[2]

    def rewind(self, written):
        """The cache as it was when so many slots were written, int scalar: what came later was a guess that failed.

        Only for a ring that what came later has not run round.
        """
        later = ops.arange(self.capacity, dtype="int32") >= written
        positions = ops.where(later, -1, self.positions)
        return self._replace(positions=positions, written=ops.full_like(self.written, written))


class LayerCache(NamedTuple):
    """What one layer remembers, where somebody else keeps the positions: layers in a loop share them.

    Attributes:
        key: float tensor (batch, num_kv_heads, capacity, head_dim).
        value: float tensor of the same shape.
        positions: int tensor (batch, capacity); those of the new tokens stand in it already.
        slot: int scalar, where the new tokens go.
    """

    key: Any
    value: Any
    positions: Any
    slot: Any


class ContextCache(NamedTuple):
    """Keys and values of a context, such as the source text of a translation: projected once, read for each token.

    Attributes:
        key: float tensor (batch, num_kv_heads, context_time, head_dim).
        value: float tensor of the same shape.
    """

    key: Any
    value: Any


def empty_cache(batch_size, num_heads, capacity, head_dim, dtype):
    """A `Cache` in which nothing was written."""
    shape = (batch_size, num_heads, capacity, head_dim)
    positions = ops.full((batch_size, capacity), -1, "int32")
    return Cache(ops.zeros(shape, dtype), ops.zeros(shape, dtype), positions, ops.zeros((batch_size,), "int32"))


def number_of(scalar):
    """The number in an int scalar; None inside a compiled function, where it is not known yet."""
    try:
        return int(scalar)
    except (TypeError, ValueError, NotImplementedError, RuntimeError):
        return None


def next_positions(cache, time):
    """The positions of the next `time` tokens: int tensor (time,), or (batch, time) behind what a cache holds."""
    steps = ops.arange(time, dtype="int32")
    return steps if cache is None else ops.max(cache.positions, axis=1, keepdims=True) + 1 + steps


def placed(cache, positions, window=None):
    """The cache with the positions of more tokens in it, and where their keys and values go.

    Args:
        cache: a `Cache`.
        positions: int tensor (time,) or (batch, time).
        window: see `write`.

    Returns:
        A `Cache` and an int scalar, the first slot.

    Raises:
        ValueError: see `write`.
    """
    batch, time = ops.shape(cache.positions)[0], ops.shape(positions)[-1]
    written = number_of(cache.written[0])
    if written is not None and isinstance(time, int):
        _check_room(written, time, cache.capacity, window)
    slot = cache.written[0] % cache.capacity
    positions = ops.broadcast_to(ops.cast(positions, "int32"), (batch, time))
    positions = ops.slice_update(cache.positions, (0, slot), positions)
    return cache._replace(positions=positions, written=cache.written + time), slot


def write(cache, key, value, positions, window=None):
    """The cache with the keys, values and positions of more tokens in it.

    Args:
        cache: a `Cache`, or a `LayerCache`.
        key, value: float tensors (batch, num_kv_heads, time, head_dim).
        positions: int tensor (time,) or (batch, time).
        window: how many positions one sees, itself included; all when None.

    Returns:
        A new cache of the kind.

    Raises:
        ValueError: if the ring has no room for them. A compiled function cannot see that: whoever compiles a loop
            makes the ring large enough.
    """
    cache, slot = (cache, cache.slot) if isinstance(cache, LayerCache) else placed(cache, positions, window)
    key, value = (
        ops.slice_update(old, (0, 0, slot, 0), ops.cast(new, old.dtype))
        for old, new in zip(cache[:2], (key, value), strict=True)
    )
    return cache._replace(key=key, value=value)


def _check_room(written, time, capacity, window):
    needed = written + time if window is None else min(written + time, window + time - 1)
    if max(needed, written % capacity + time) > capacity:
        raise ValueError(
            f"A cache of {capacity} has no room for tokens {written} to {written + time - 1} with window={window}: "
            "make it larger, or write fewer tokens in one call."
        )
