"""What this room asks of a `tokenizers.Tokenizer`, the object of the library behind each of ours."""

from __future__ import annotations

import re

import tokenizers

MOST_TOKENS = 1 << 22  # four times the largest vocabulary that is known to be in use


def special_of(backend: tokenizers.Tokenizer) -> dict[str, int]:
    """The special tokens and their ids, in the order of the ids."""
    added = sorted(backend.get_added_tokens_decoder().items())
    return {token.content: id for id, token in added if token.special}


def size_and_holes(backend: tokenizers.Tokenizer) -> tuple[int, frozenset[int]]:
    """The largest id and one more, and the ids below it without a token."""
    ids = set(backend.get_vocab(with_added_tokens=True).values())
    size = max(ids, default=-1) + 1
    if size > MOST_TOKENS:
        raise ValueError(
            f"This tokenizer has a token with the id {size - 1}; ids up to {MOST_TOKENS - 1} are read, four times as "
            "many as the largest vocabularies have. Is the file damaged?"
        )
    return size, frozenset(range(size)) - ids if len(ids) < size else frozenset()


def quiet(text: str, *, special: bool) -> tokenizers.Tokenizer:
    """The tokenizer of a JSON text, which neither pads nor cuts, and reads special tokens from texts or not."""
    backend = tokenizers.Tokenizer.from_str(text)
    backend.no_padding()
    backend.no_truncation()
    backend.encode_special_tokens = not special
    return backend


def padded_with(backend: tokenizers.Tokenizer, pad: str) -> str:
    """The JSON of a tokenizer, with the place for padding filled in."""
    special = special_of(backend)
    if pad not in special:
        raise ValueError(
            f"pad={pad!r} is no special token of this tokenizer. Name one of {list(special)}: padding must not be "
            "mistaken for text."
        )
    copy = tokenizers.Tokenizer.from_str(backend.to_str())
    copy.enable_padding(pad_id=special[pad], pad_token=pad)
    return copy.to_str()


def parsed(text: str, what: str) -> tokenizers.Tokenizer:
    """The tokenizer of a JSON text; `what` names the text in the message."""
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception
        start = re.sub(r"\s+", " ", text[:40])
        raise ValueError(
            f"{what} is not a tokenizer.json: {error}. It begins with {start!r}. Use a file made by tokenizer.save."
        ) from error
