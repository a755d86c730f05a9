"""What tasks share that take texts: checks of them, and batches of similar length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from kerasllm.text.checks import check_texts

TOKENS_AT_ONCE = 2**16  # ids in a batch of texts, padding included; a longer text goes alone


def padded(ids: Sequence[Sequence[int]], time: int, pad_id: int) -> np.ndarray:
    """Some texts' ids as one int32 array (texts, time), padded on the right."""
    rows = np.full((len(ids), time), pad_id, "int32")
    for row, one in zip(rows, ids, strict=True):
        row[: len(one)] = one
    return rows


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """The rows of each batch and its length, in few different lengths: little padding, few compilations."""
    order = np.argsort(lengths, kind="stable")
    times = [_rounded(lengths[row]) for row in order]
    start = 0
    while start < len(order):
        end = start + 1
        while end < min(start + batch_size, len(order)) and (end + 1 - start) * times[end] <= TOKENS_AT_ONCE:
            end += 1
        yield order[start:end], times[end - 1]
        start = end


def _rounded(length: int) -> int:
    """A length filled up to a multiple of 16, a long one to one of eight steps between powers of two."""
    step = max(16, 1 << max(0, length.bit_length() - 4))
    return step * max(1, -(-length // step))


def _is_text(value) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "US" or (value.dtype == object and value.size > 0 and _is_text(value.flat[0]))
    return isinstance(value, str | bytes)


def refuse_texts(where: str, inputs, answers: str, ids: str = "encode(texts)") -> None:
    """A clear word in place of what a backend says about strings.

    Args:
        where: what was called.
        inputs: what it was called with.
        answers: the call of a method that takes texts.
        ids: the call of a method that makes ids of them.

    Raises:
        TypeError: if the inputs are texts.
    """
    first = inputs
    if hasattr(inputs, "to_numpy"):  # a column or a frame
        first = inputs.to_numpy()
    elif isinstance(inputs, list | tuple) and len(inputs):
        first = inputs[0]
    if _is_text(first):
        raise TypeError(
            f"{where} takes ids, not texts. For the answers: model.{answers}. "
            f"For the ids: model.{ids}, which go into fit, evaluate and predict."
        )


def checked_texts(texts, method: str) -> list[str]:
    """The texts as a list.

    Args:
        texts: a list, column or array of strings.
        method: what was called, for the message.

    Raises:
        TypeError: if it is one string or no list at all, or holds something that is not a string.
    """
    if isinstance(texts, str):
        raise TypeError(f"Give a list of texts, not one string: {method}([text]).")
    if not isinstance(texts, Iterable):
        raise TypeError(f"Give a list of texts, not {texts!r}: {method}([text]).")
    check_texts(texts)  # Python would go through bytes, a dictionary or a frame
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"The text at position {i} is {type(text).__name__}, not a string: {text!r}.")
    return texts
