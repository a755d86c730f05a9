"""Garbage collections that take less time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def short_collections() -> Iterator[None]:
    """Let garbage collections inside look at what is made there alone.

    Keras collects once for each kernel that `quantize` replaces, and with TensorFlow loaded that takes a quarter of a
    second: a minute for a model with 30 blocks.

    Example:
        >>> with short_collections():
        ...     gc.get_freeze_count() > 0
        True
    """
    if gc.get_freeze_count():  # somebody else's
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
