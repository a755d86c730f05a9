"""One class for every tokenizer of the course, around `tokenizers.Tokenizer`."""

from __future__ import annotations

import hashlib
import json
import operator
import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers

# The role of a special token is read from its name: tokenizer.json has no other place for it.
# The first name is ours; the others are those of BERT, RoBERTa and GPT-2 files.
ROLES = {
    "pad": ("<pad>", "[PAD]"),
    "unknown": ("<unk>", "[UNK]"),
    "bos": ("<bos>", "[CLS]", "<s>", "<|endoftext|>"),
    "eos": ("<eos>", "[SEP]", "</s>", "<|endoftext|>"),
    "mask": ("<mask>", "[MASK]"),
}
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
FILE_NAME = "tokenizer.json"


class Tokenizer:
    """Turns text into ids and back. Made by a ``train_...`` function, `load` or `from_json`.

    The text of a user never becomes a special token: a text that contains ``<eos>`` is encoded like
    any other text and decodes to itself.

    The id of padding is `pad_id`. It is 0 in every tokenizer that is trained here; files of others may have another,
    so give it to those who pad: ``batches.padded(ids, pad_id=tokenizer.pad_id)``.

    "Text" means a sequence of Unicode characters. Python can also hold half of a UTF-16 pair (a lone
    surrogate) in a string; that is no character, UTF-8 cannot store it, and it raises a ValueError.

    Args:
        backend: the tokenizer of the `tokenizers` library.
        pad: the special token to pad with, for tokenizers without one of their own: GPT-2 has only
            "<|endoftext|>". The choice is kept in the tokenizer's JSON. A model that leaves padding out
            then leaves out this token too where it ends a text.

    Raises:
        ValueError: if it has no special token for padding and none is named, or `pad` is no special token.

    Example:
        >>> from kerasllm import text
        >>> tokenizer = text.train_characters(["hello"])
        >>> tokenizer.tokens("hell")
        ['h', 'e', 'l', 'l']
        >>> tokenizer.decode(tokenizer.encode("你好 <eos>"))
        '你好 <eos>'
    """

    def __init__(self, backend: tokenizers.Tokenizer, pad: str | None = None):
        # A copy by its JSON: settings of the caller's object (padding, truncation) stay his own.
        self._json = backend.to_str() if pad is None else _padded_with(backend, pad)
        self._backend = _backend(self._json, special=False)
        special = {token.content: id for id, token in backend.get_added_tokens_decoder().items() if token.special}
        self._special = dict(sorted(special.items(), key=lambda item: item[1]))
        self.unknown_id: int | None = self._role("unknown")
        self.bos_id: int | None = self._role("bos")
        self.eos_id: int | None = self._role("eos")
        self.mask_id: int | None = self._role("mask")
        self.pad_id = self._padding()

    def _padding(self) -> int:
        """The id of the token that the file pads with, or else of the one with the name of padding."""
        named = json.loads(self._json).get("padding") or {}
        found = self._special.get(named.get("pad_token"), self._role("pad"))
        if found is None:
            one = next(iter(self._special), None)
            raise ValueError(
                f"This tokenizer has no special token for padding, {' or '.join(ROLES['pad'])} "
                f"(its special tokens: {self._special}). "
                + (f"Name the one to pad with: Tokenizer.load(path, pad={one!r}), or t" if one else "T")
                + "rain the tokenizer with kerasllm.text, or give the library's trainer special_tokens=['<pad>', ...]."
            )
        return found

    def _role(self, role: str) -> int | None:
        return next((self._special[name] for name in ROLES[role] if name in self._special), None)

    # Vocabulary ------------------------------------------------------------------------------

    @property
    def special_tokens(self) -> list[str]:
        """The special tokens, in the order of their ids."""
        return list(self._special)

    @cached_property
    def vocabulary(self) -> list[str]:
        """All tokens; the index is the id. Byte-level tokens stand in the library's spelling ("Ġthe")."""
        tokens = self._backend.get_vocab(with_added_tokens=True)
        return [token for token, _ in sorted(tokens.items(), key=lambda item: item[1])]

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens, special ones included."""
        return len(self.vocabulary)

    def id_of(self, token: str) -> int:
        """The id of a token. Raises ValueError for a token that is not in the vocabulary."""
        found = self._backend.token_to_id(token)
        if found is None:
            raise ValueError(
                f"The token {token!r} is not in the vocabulary of {self.vocabulary_size}. "
                "For the ids of a text use encode(text)."
            )
        return found

    def token_of(self, id: int) -> str:
        """The token of an id. Raises ValueError for an id outside the vocabulary."""
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
        texts = self._list(texts)
        if self._characters is not None and not special:
            ids, ends = self.encode_flat(texts)
            return [part.tolist() for part in np.split(ids, ends[:-1])] if texts else []
        backend = self._backend_with_special if special else self._backend
        return [encoding.ids for encoding in _encodings(backend, texts)]

    def encode_flat(self, texts: Iterable[str], *, end_id: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The ids of many texts in one array: what a token file wants, without a Python list for each id.

        Args:
            texts: the texts.
            end_id: an id that follows the ids of every text, for example `eos_id`.

        Returns:
            The ids, int32 (ids,), and for each text the place after its last id, int64 (texts,).
        """
        texts = self._list(texts)
        if self._characters is not None:
            try:
                return self._characters.encode(texts, end_id)
            except (TypeError, UnicodeEncodeError):
                raise _wrong_text(texts) from None
        extra = [] if end_id is None else [end_id]
        parts = [np.asarray(encoding.ids + extra, "int32") for encoding in _encodings(self._backend, texts)]
        flat = np.concatenate(parts) if parts else np.zeros(0, "int32")
        return flat, np.cumsum([len(part) for part in parts], dtype="int64")

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
            ValueError: for an id outside the vocabulary.
        """
        return self._backend.decode(self._checked_ids(ids), skip_special_tokens=skip_special)

    def decode_batch(self, batch: Iterable[Sequence[int]], skip_special: bool = True) -> list[str]:
        """The texts of many sequences of ids, for example the rows of an array. See `decode`."""
        return self._backend.decode_batch([self._checked_ids(ids) for ids in batch], skip_special_tokens=skip_special)

    # Files -----------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The tokenizer as the text of a tokenizer.json, for storing it inside a model's config."""
        return self._json

    @classmethod
    def from_json(cls, text: str, pad: str | None = None) -> Tokenizer:
        """The tokenizer of a JSON text made by `to_json`. For `pad` see `Tokenizer`."""
        return cls(_parsed(text, "This text"), pad)

    def save(self, path: str | os.PathLike) -> None:
        """Write tokenizer.json, or into it when `path` is a folder. Other programs read this file too."""
        path = _file(path)
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.write_text(self.to_json(), "utf-8")
        unfinished.replace(path)

    @classmethod
    def load(cls, path: str | os.PathLike, pad: str | None = None) -> Tokenizer:
        """Read a tokenizer.json, also one that another program wrote.

        Args:
            path: the file, or the folder that holds it.
            pad: the special token to pad with, if the file has none for it. See `Tokenizer`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no tokenizer.json, or it is not known what to pad with.
        """
        path = _file(path)
        if not path.exists():
            raise FileNotFoundError(f"There is no tokenizer at {path}. Write one with tokenizer.save({str(path)!r}).")
        return cls(_parsed(path.read_bytes().decode("utf-8", errors="replace"), f"The file {path}"), pad)

    def __reduce__(self):
        return Tokenizer.from_json, (self.to_json(),)

    def __repr__(self) -> str:
        kind = "characters" if self._characters is not None else type(self._backend.model).__name__
        return f"Tokenizer({kind}, {self.vocabulary_size} tokens, special: {' '.join(self.special_tokens)})"

    # Inside ----------------------------------------------------------------------------------

    @cached_property
    def _backend_with_special(self) -> tokenizers.Tokenizer:
        return _backend(self._json, special=True)

    @cached_property
    def _characters(self) -> _Characters | None:
        return _Characters.of(self._backend, self._json, self.unknown_id)

    @staticmethod
    def _list(texts: Iterable[str]) -> list[str]:
        if isinstance(texts, str):
            raise TypeError(f"Expected several texts, not the one text {texts[:40]!r}. Use encode(text), or [text].")
        return list(texts)

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
        return ids


class _Characters:
    """Encoding of character tokenizers by table look-up, equal to the library's and 50 times faster.

    The library merges pairs in one long word, which is slow when the word is a whole text.
    """

    def __init__(self, vocabulary: dict[str, int], normalizer, unknown_id: int | None):
        self.normalizer = normalizer
        self.unknown_id = unknown_id
        self.table = np.full(0x110000, -1, "int32")
        for token, id in vocabulary.items():
            if len(token) == 1:
                self.table[ord(token)] = id
        self.byte_ids = np.array([vocabulary.get(token, -1) for token in BYTE_TOKENS], "int32")

    @classmethod
    def of(cls, backend: tokenizers.Tokenizer, text: str, unknown_id: int | None) -> _Characters | None:
        model = json.loads(text)["model"]
        plain = model["type"] == "BPE" and not model["merges"] and not model.get("fuse_unk")
        affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        if not plain or affixes or backend.pre_tokenizer is not None:
            return None
        if model.get("byte_fallback", False) != all(token in model["vocab"] for token in BYTE_TOKENS):
            return None
        return cls(model["vocab"], backend.normalizer, unknown_id)

    def encode(self, texts: list[str], end_id: int | None) -> tuple[np.ndarray, np.ndarray]:
        if self.normalizer is not None:
            texts = [self.normalizer.normalize_str(text) for text in texts]
        ends = np.cumsum([len(text) for text in texts], dtype="int64")
        codes = np.frombuffer("".join(texts).encode("utf-32-le"), "<u4")
        ids = self.table[codes]  # (characters,)
        unknown = np.flatnonzero(ids < 0)
        if len(unknown) and self.unknown_id is not None and self.byte_ids[0] < 0:
            ids[unknown] = self.unknown_id
        elif len(unknown):
            ids, ends = self._with_bytes(codes, ids, unknown, ends)
        if end_id is not None:
            ids = np.insert(ids, ends, end_id)
            ends = ends + np.arange(1, len(ends) + 1)
        return ids, ends

    def _with_bytes(self, codes, ids, unknown, ends):
        """Put the UTF-8 bytes of a character in the place of each unknown one."""
        distinct, which = np.unique(codes[unknown], return_inverse=True)
        spelled = [chr(code).encode() for code in distinct]
        sizes = np.ones(len(ids), "int64")  # tokens of each character
        sizes[unknown] = np.array([len(one) for one in spelled])[which]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        longer = np.repeat(ids, sizes)
        for k in range(4):
            byte = np.array([one[k] if k < len(one) else -1 for one in spelled])[which]
            present = byte >= 0
            longer[starts[unknown[present]] + k] = self.byte_ids[byte[present]]
        return longer, starts[ends]


def _encodings(backend: tokenizers.Tokenizer, texts: list[str]) -> list:
    try:
        return backend.encode_batch_fast(texts, add_special_tokens=False)
    except TypeError:
        raise _wrong_text(texts) from None


def _wrong_text(texts: list) -> Exception:
    for place, text in enumerate(texts):
        try:
            check_text(text, place)
        except (TypeError, ValueError) as error:
            return error
    return TypeError("The texts could not be encoded.")


def check_text(text, place: int) -> None:
    """Raise for what is no Unicode text; the message names the place and the fix."""
    if not isinstance(text, str):
        raise TypeError(
            f"Text {place} is {text!r} ({type(text).__name__}), not a str. Drop missing values first: frame.dropna()."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Text {place} holds the lone surrogate U+{ord(text[error.start]):04X} at position {error.start}: half "
            "of a UTF-16 pair, no character. Repair it: "
            'text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").'
        ) from None


def _backend(text: str, *, special: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer.from_str(text)
    backend.no_padding()
    backend.no_truncation()
    backend.encode_special_tokens = not special
    return backend


def _padded_with(backend: tokenizers.Tokenizer, pad: str) -> str:
    """The JSON of a tokenizer, with the place for padding filled in."""
    special = {token.content: id for id, token in backend.get_added_tokens_decoder().items() if token.special}
    if pad not in special:
        raise ValueError(
            f"pad={pad!r} is no special token of this tokenizer. Name one of {list(special)}: padding must not be "
            "mistaken for text."
        )
    copy = tokenizers.Tokenizer.from_str(backend.to_str())
    copy.enable_padding(pad_id=special[pad], pad_token=pad)
    return copy.to_str()


def _parsed(text: str, what: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception
        start = re.sub(r"\s+", " ", text[:40])
        raise ValueError(
            f"{what} is not a tokenizer.json: {error}. It begins with {start!r}. Use a file made by tokenizer.save."
        ) from error


def _file(path: str | os.PathLike) -> Path:
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path
