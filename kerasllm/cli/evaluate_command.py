"""``kerasllm evaluate``: how well a trained model predicts a text."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kerasllm.cli.errors import UserError, told
from kerasllm.cli.trained import load_run


def show_bits(options) -> None:
    """Print bits per character of a text file."""
    from kerasllm import data

    model, tokenizer = load_run(options.folder)
    with told(data.DataError, ValueError):
        bits, characters, tokens = bits_per_character(model, tokenizer, options.text)
    print(f"{options.text}: {bits:.4f} bits per character ({characters:,} characters, {tokens:,} tokens)")


def bits_per_character(model, tokenizer, path: str) -> tuple[float, int, int]:
    """Bits per character of a text file, its characters, and its tokens.

    Windows of the model's context touch, as in training, and the last one may be shorter: every token but the first
    is predicted once. Memory does not grow with the text.
    """
    from kerasllm.batches.token_file import write_tokens
    from kerasllm.data import text_pieces
    from kerasllm.training.run_corpus import joined_lines

    counted = [0]

    def pieces() -> Iterator[str]:
        for piece in joined_lines(text_pieces(path)):
            counted[0] += len(piece)
            yield piece

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows deletes no file that is open
        ids = write_tokens(pieces(), tokenizer, Path(folder) / "text.tokens", end=False)
        tokens = len(ids)
        if tokens < 2:
            raise UserError(f"{path} has {tokens} tokens, too few to predict one: take a longer text")
        nats = _nats(model, ids) / (tokens - 1)  # of a token
    return nats * tokens / counted[0] / math.log(2), counted[0], tokens


def _nats(model, ids) -> float:
    """The negative log-likelihood of all ids but the first, in nats."""
    import keras
    import numpy as np

    context = model.context_length
    rows = max(1, 4096 // context)  # windows that are computed at once
    total = 0.0
    for start in range(0, len(ids) - 1, rows * context):
        part = np.asarray(ids[start : start + rows * context + 1], "int32")
        count = -(-(len(part) - 1) // context)
        filled = np.zeros((rows, context), "int32"), np.zeros((rows, context), "int32")
        real = np.zeros((rows, context), "float64")
        for row in range(count):
            window = part[row * context : (row + 1) * context + 1]
            size = len(window) - 1
            filled[0][row, :size], filled[1][row, :size], real[row, :size] = window[:-1], window[1:], 1
        logits = keras.ops.cast(model.predict_on_batch(filled[0]), "float32")
        losses = keras.losses.sparse_categorical_crossentropy(filled[1], logits, from_logits=True)
        total += float((keras.ops.convert_to_numpy(losses) * real).sum())
    return total
