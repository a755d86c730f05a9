"""``kerasllm evaluate``: how well a trained model predicts a text."""

from __future__ import annotations

from collections.abc import Iterator

from kerasllm.cli.errors import told
from kerasllm.cli.trained import load_run

TAIL = 1000  # a shorter last piece goes with the one before


def show_bits(options) -> None:
    """Print bits per character of a text file."""
    from kerasllm import data

    model, tokenizer = load_run(options.folder)
    with told(data.DataError, ValueError):
        bits, characters = bits_of_file(model, tokenizer, options.text)
    print(f"{options.text}: {bits:.4f} bits per character ({characters:,} characters)")


def bits_of_file(model, tokenizer, path: str) -> tuple[float, int]:
    """Bits per character of a text file, and its characters; memory does not grow with the file.

    Every million characters the model begins anew.
    """
    from kerasllm.evaluation import bits_per_character

    bits = characters = 0
    for piece in _pieces(path):
        bits += len(piece) * bits_per_character(model, tokenizer, piece)
        characters += len(piece)
    if not characters:
        raise ValueError(f"{path} is empty: name a text")
    return bits / characters, characters


def _pieces(path: str) -> Iterator[str]:
    from kerasllm.data import text_pieces
    from kerasllm.training.run_corpus import joined_lines

    waiting = ""
    for piece in joined_lines(text_pieces(path)):
        if waiting and len(piece) >= TAIL:
            yield waiting
            waiting = ""
        waiting += piece
    if waiting:
        yield waiting
