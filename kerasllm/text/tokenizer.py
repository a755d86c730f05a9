"""One class for every tokenizer of the course, around `tokenizers.Tokenizer`."""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from kerasllm.common import whole_number, write_whole
from kerasllm.text.backend import padded_with, parsed, quiet, size_and_holes, special_of
from kerasllm.text.characters import BYTE_TOKENS, CharacterTable
from kerasllm.text.checks import check_texts, wrong_text
from kerasllm.text.cutting import can_be_cut, groups_of
from kerasllm.text.roles import ROLES, Roles, roles_beside, roles_in, with_special

__all__ = ["BYTE_TOKENS", "Tokenizer", "check_tokenizer"]

FILE_NAME = "tokenizer.json"


class Tokenizer:
    """Turns text into ids and back. Made by a ``train_...`` function, `load` or `from_json`.

    The text of a user never becomes a special token: a text that contains ``<eos>`` is encoded like
    any other text and decodes to itself.

    "Text" means a sequence of Unicode characters. Python can also hold half of a UTF-16 pair (a lone
    surrogate) in a string; that is no character, UTF-8 cannot store it, and it raises a ValueError.

    Args:
        backend: the tokenizer of the `tokenizers` library.
        pad: the special token to pad with, for tokenizers without one of their own: GPT-2 has only
            "<|endoftext|>". The choice is kept in the tokenizer's JSON. A model that leaves padding out
            then leaves out this token too where it ends a text.
        roles: what files say about the special tokens; `load` reads it. Where it says nothing, their names
            count: those of BERT, RoBERTa, T5, GPT-2, Llama, Qwen, Gemma and ours are known.

    Attributes:
        unknown_id, bos_id, eos_id, mask_id: the ids of the token for what is not in the vocabulary, of the
            beginning and the end of a text, and of what is hidden from a model; None where there is no such token.
        end_of_turn_id: the id that ends what one speaker says, ``<|im_end|>`` for example; None without one.
        stop_ids: all ids that end a text: `eos_id`, `end_of_turn_id`, and those of generation_config.json.
        chat_template: the Jinja template of a conversation that came with the file; None without one.
        holes: the ids below `vocabulary_size` that have no token, in files of others. A model has rows for
            them and should not write them.

    Raises:
        TypeError: if `backend` is anything else.
        ValueError: if `pad` is no special token, or an id is too large.

    Example:
        >>> from kerasllm import text
        >>> tokenizer = text.train_characters(["hello"])
        >>> tokenizer.tokens("hell")
        ['h', 'e', 'l', 'l']
        >>> tokenizer.decode(tokenizer.encode("你好 <eos>"))
        '你好 <eos>'
    """

    def __init__(self, backend: tokenizers.Tokenizer, pad: str | None = None, roles: Roles | None = None) -> None:
        if not isinstance(backend, tokenizers.Tokenizer):
            raise TypeError(
                f"backend must be a tokenizers.Tokenizer, not {backend!r:.60} ({type(backend).__name__}). "
                "For a file use Tokenizer.load(path), for its text Tokenizer.from_json(text)."
            )
        # First: the library writes a file number by number, and one large id would keep it busy for minutes.
        self.vocabulary_size, self.holes = size_and_holes(backend)
        self._said = roles or Roles()
        if self._said:
            backend = with_special(backend, self._said)
        # A copy by its JSON: settings of the caller's object (padding, truncation) stay his own.
        self._json = backend.to_str() if pad is None else padded_with(backend, pad)
        self._backend = quiet(self._json, special=False)
        self._special = special_of(backend)
        self._roles = self._said.resolved(self._special)
        # A choice of `pad` is in the place for padding; files of others may have it filled, too.
        padding = pad or (backend.padding or {}).get("pad_token")
        if padding in self._special:
            self._roles["pad"] = padding
        self.unknown_id: int | None = self._role("unknown")
        self.bos_id: int | None = self._role("bos")
        self.eos_id: int | None = self._role("eos")
        self.mask_id: int | None = self._role("mask")
        self.end_of_turn_id: int | None = self._role("end_of_turn")
        ends = [self.eos_id, self.end_of_turn_id, *self._said.stop_ids]
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys(id for id in ends if id is not None))
        self.chat_template: str | None = self._said.chat_template

    def _role(self, role: str) -> int | None:
        return self._special[self._roles[role]] if role in self._roles else None

    # Vocabulary ------------------------------------------------------------------------------

    @property
    def special_tokens(self) -> list[str]:
        """The special tokens, in the order of their ids."""
        return list(self._special)

    @property
    def roles(self) -> dict[str, str]:
        """What the special tokens are for: those of "pad", "unknown", "bos", "eos", "mask", "end_of_turn" there are."""
        return dict(self._roles)

    @property
    def pad_id(self) -> int:
        """The id of padding. It is 0 in every tokenizer that is trained here; files of others may have another.

        Give it to those who pad: ``batches.padded(ids, pad_id=tokenizer.pad_id)``.

        Raises:
            ValueError: if the tokenizer has no token for padding. GPT-2's and Llama's have none; ``"pad" in
                tokenizer.roles`` tells.
        """
        found = self._role("pad")
        if found is None:
            one = next((self._roles[role] for role in ("eos", "bos") if role in self._roles), None)
            raise ValueError(
                f"This tokenizer has no special token for padding, {' or '.join(ROLES['pad'][:2])} "
                f"(its special tokens: {' '.join(self._special) or 'none'}). "
                + (f"Name the one to pad with: Tokenizer.load(path, pad={one!r}), or t" if one else "T")
                + "rain the tokenizer with kerasllm.text, or give the library's trainer special_tokens=['<pad>', ...]."
            )
        return found

    @cached_property
    def vocabulary(self) -> list[str]:
        """All tokens; the index is the id. Byte-level tokens stand in the library's spelling ("Ġthe").

        Where an id has no token stands "<hole 7>" with its number; that is no token, and `id_of`, `token_of`
        and `decode` refuse it.
        """
        tokens = map(self._backend.id_to_token, range(self.vocabulary_size))
        return [f"<hole {id}>" if token is None else token for id, token in enumerate(tokens)]

    def id_of(self, token: str) -> int:
        """The id of a token. Raises ValueError for a token that is not in the vocabulary."""
        found = self._backend.token_to_id(token) if isinstance(token, str) else None
        if found is None:
            raise ValueError(
                f"The token {token!r} is not in the vocabulary of {self.vocabulary_size}. "
                "For the ids of a text use encode(text)."
            )
        return found

    def token_of(self, id: int) -> str:
        """The token of an id. Raises ValueError for an id without a token."""
        return self.vocabulary[self._checked_ids([id])[0]]

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that are equal for two tokenizers exactly when their files are."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    # Text to ids -----------------------------------------------------------------------------

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of a text.

        Args:
            text: any text; nothing is added in front or behind.
            special: True to let special tokens that are spelled out in the text become their ids.
                Leave it False for what users type.

        Raises:
            TypeError: for anything that is not a str.
            ValueError: for a lone surrogate.
        """
        return self.encode_batch([text], special=special)[0]

    def encode_batch(self, texts: Iterable[str], *, special: bool = False) -> list[list[int]]:
        """The ids of many texts; much faster than one by one. See `encode`."""
        texts = _listed(texts)
        if self._characters is not None and not special:
            ids, ends = self.encode_flat(texts)
            return [part.tolist() for part in np.split(ids, ends[:-1])] if texts else []
        batch: list[list[int]] = [[] for _ in texts]
        for place, ids in self._encoded(texts, special):
            batch[place] += ids
        return batch

    def encode_flat(self, texts: Iterable[str], *, end_id: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The ids of many texts in one array: what a token file wants, without a Python list for each id.

        Args:
            texts: the texts.
            end_id: an id that follows the ids of every text, for example `eos_id`.

        Returns:
            The ids, int32 (ids,), and for each text the place after its last id, int64 (texts,).
        """
        texts = _listed(texts)
        end_id = whole_number("end_id", end_id, 0, optional=True)
        if self._characters is not None:
            try:
                ids, ends = self._characters.encode(texts)
            except (TypeError, UnicodeEncodeError):
                raise wrong_text(texts) from None
        else:
            parts, lengths = [np.zeros(0, "int32")], np.zeros(len(texts), "int64")
            for place, part in self._encoded(texts, special=False):
                parts.append(np.asarray(part, "int32"))
                lengths[place] += len(part)
            ids, ends = np.concatenate(parts), np.cumsum(lengths)
        if end_id is not None:
            ids = np.insert(ids, ends, end_id)
            ends = ends + np.arange(1, len(ends) + 1)
        return ids, ends

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text, in the spelling of the vocabulary."""
        return [self.vocabulary[id] for id in self.encode(text)]

    # Ids to text -----------------------------------------------------------------------------

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of a sequence of ids.

        Exact for `encode` of byte-level and character tokenizers. Bytes that are no UTF-8 (a model can
        write them) become the replacement character U+FFFD.

        Args:
            ids: a list or array of ids.
            skip_special: whether special tokens, such as padding, are left out.

        Raises:
            ValueError: for an id without a token.
        """
        return self._backend.decode(self._checked_ids(ids), skip_special_tokens=skip_special)

    def decode_batch(self, batch: Iterable[Sequence[int]], skip_special: bool = True) -> list[str]:
        """The texts of many sequences of ids, for example the rows of an array. See `decode`."""
        return self._backend.decode_batch([self._checked_ids(ids) for ids in batch], skip_special_tokens=skip_special)

    # Files -----------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The tokenizer as the text of a tokenizer.json, for storing it inside a model's config.

        What `load` read beside the file is in it too; other programs skip that part.
        """
        return self._said.written_into(self._json)

    @classmethod
    def from_json(cls, text: str, pad: str | None = None) -> Tokenizer:
        """The tokenizer of a JSON text made by `to_json`. For `pad` see `Tokenizer`."""
        if not isinstance(text, str):
            raise TypeError(
                f"Expected the text of a tokenizer.json, not {text!r:.60} ({type(text).__name__}). "
                "For a file use Tokenizer.load(path)."
            )
        return cls(parsed(text, "This text"), pad, roles_in(text, "this text"))

    def save(self, path: str | os.PathLike) -> None:
        """Write tokenizer.json, or into it when `path` is a folder. Other programs read this file too."""
        with write_whole(_file(path)) as unfinished:
            unfinished.write_text(self.to_json(), "utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike, pad: str | None = None) -> Tokenizer:
        """Read a tokenizer.json, also one that another program wrote.

        What the special tokens are for is read from the files beside it, if they are there: tokenizer_config.json,
        special_tokens_map.json, generation_config.json and chat_template.jinja. A file that `save` wrote holds all
        this itself.

        Args:
            path: the file, or the folder that holds it.
            pad: the special token to pad with, if the files name none. See `Tokenizer`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no tokenizer.json, or one beside it is broken or does not belong to it.
        """
        path = _file(path)
        if not path.exists():
            raise FileNotFoundError(f"There is no tokenizer at {path}. Write one with tokenizer.save({str(path)!r}).")
        text = path.read_bytes().decode("utf-8", errors="replace")
        backend = parsed(text, f"The file {path}")
        roles = roles_in(text, str(path))
        if roles is None and path.name == FILE_NAME:
            roles = roles_beside(path.parent, backend)
        return cls(backend, pad, roles)

    def __reduce__(self) -> tuple:
        return Tokenizer.from_json, (self.to_json(),)

    def __repr__(self) -> str:
        kind = "characters" if self._characters is not None else type(self._backend.model).__name__
        return f"Tokenizer({kind}, {self.vocabulary_size} tokens, special: {' '.join(self.special_tokens)})"

    # Inside ----------------------------------------------------------------------------------

    @cached_property
    def _backend_with_special(self) -> tokenizers.Tokenizer:
        return quiet(self._json, special=True)

    @cached_property
    def _characters(self) -> CharacterTable | None:
        return CharacterTable.of(self._backend, self._json)

    @cached_property
    def _can_be_cut(self) -> bool:
        return can_be_cut(self._backend)

    def _encoded(self, texts: list[str], special: bool) -> Iterator[tuple[int, list[int]]]:
        """Pairs of the place of a text and the ids of the next piece of it."""
        backend = self._backend_with_special if special else self._backend
        for group in groups_of(texts, cut=self._can_be_cut and not special):
            try:
                encodings = backend.encode_batch_fast([piece for _, piece in group], add_special_tokens=False)
            except TypeError:
                raise wrong_text(texts) from None
            for (place, _), encoding in zip(group, encodings, strict=True):
                yield place, encoding.ids

    def _checked_ids(self, ids: Sequence[int]) -> list[int]:
        if not isinstance(ids, list):
            ids = np.asarray(ids).tolist()
        try:
            # operator.index takes whole numbers of any kind, and nothing else.
            ids = list(map(operator.index, ids))
        except TypeError as error:
            raise TypeError(
                f"ids must be a flat sequence of whole numbers, not {str(ids)[:60]}. "
                "For several texts use decode_batch."
            ) from error
        size = self.vocabulary_size
        if ids and not (min(ids) >= 0 and max(ids) < size):
            place, wrong = next((place, id) for place, id in enumerate(ids) if not 0 <= id < size)
            raise ValueError(
                f"Id {wrong} at position {place} is outside the vocabulary (0 to {size - 1}). "
                "Were these ids made by another tokenizer?"
            )
        if self.holes and not self.holes.isdisjoint(ids):
            place, hole = next((place, id) for place, id in enumerate(ids) if id in self.holes)
            raise ValueError(
                f"Id {hole} at position {place} has no token: it is a hole in the ids of this tokenizer. A model has "
                "a row for it and must not write it; tokenizer.holes names all of them."
            )
        return ids


def check_tokenizer(value: Any, name: str = "tokenizer") -> Tokenizer:
    """`value`, if it is a `Tokenizer`.

    Args:
        value: what was given.
        name: the argument's name, for the message.

    Raises:
        TypeError: for anything else, such as the path of a tokenizer; the message says how to make one of it.

    Example:
        >>> check_tokenizer("tokenizer.json")
        Traceback (most recent call last):
        TypeError: tokenizer must be a kerasllm.text.Tokenizer, not the str 'tokenizer.json'. Use Tokenizer.load(path).
    """
    if isinstance(value, Tokenizer):
        return value
    fix = "Load one with Tokenizer.load(path), or train one"
    if isinstance(value, str | os.PathLike):
        fix = "Use Tokenizer.load(path)"
    elif isinstance(value, tokenizers.Tokenizer):
        fix = "Use Tokenizer(it)"
    kind = f"{value.__name__} itself" if isinstance(value, type) else f"{type(value).__name__} {value!r:.60}"
    raise TypeError(f"{name} must be a kerasllm.text.Tokenizer, not the {kind}. {fix}.")


def _listed(texts: Iterable[str]) -> list[str]:
    check_texts(texts, one="Use encode(text), or [text].")
    return list(texts)


def _file(path: str | os.PathLike) -> Path:
    if not isinstance(path, str | os.PathLike) or str(path).lstrip().startswith("{"):
        raise TypeError(
            f"Expected the path of a tokenizer.json, not {path!r:.60} ({type(path).__name__}). "
            "For its text use Tokenizer.from_json(text)."
        )
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path
