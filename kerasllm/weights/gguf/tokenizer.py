"""The tokenizer in the metadata of a GGUF file, as a `kerasllm.text.Tokenizer`, and back.

A file has the tokens, what each is for, and either the merges of byte-level BPE ("gpt2") or scores of pieces ("llama",
which merges by them, and "t5", Unigram). How a text is cut into words before BPE is not in it: it has only the name of
a way that llama.cpp knows, "smollm" for example.

Reference: llama-vocab.cpp (``llama_vocab::impl::load`` and ``llm_tokenizer_bpe``) and gguf-py/gguf/vocab.py in
https://github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

import json
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from kerasllm.text import Tokenizer
from kerasllm.text.roles import Roles
from kerasllm.weights.gguf.file import GGUF
from kerasllm.weights.gguf.pieces import check_charsmap, check_scores, merges_by_score, unigram_pieces
from kerasllm.weights.tensors import shown

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # tokenizer.ggml.token_type
NO_TOKEN = 0xFFFFFFFF  # what some files give as an id where there is none
_ROLE_KEYS = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unknown": "unknown_token_id",
    "pad": "padding_token_id",
    "mask": "mask_token_id",
    "end_of_turn": "eot_token_id",
}

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Contractions in any case; a letter may have one sign in front; line ends stay with the signs before them.
_GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = r"[\p{P}\$\+<=>\^~\|]+"


def _splits(*patterns: str) -> pre_tokenizers.PreTokenizer:
    """Cut by one pattern after the other, then spell the pieces in bytes."""
    ways = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*ways, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _digits_first() -> pre_tokenizers.PreTokenizer:
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), by_bytes])


# The names that llama.cpp has for a way to cut, by the way.
_WAYS = {
    ("gpt-2", "phi-2", "roberta-bpe", "modern-bert", "mpt", "olmo", "jais"): lambda: pre_tokenizers.ByteLevel(
        add_prefix_space=False
    ),
    ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"): _digits_first,
    ("llama-bpe", "llama3", "llama-v3", "falcon3", "lfm2", "dbrx", "smaug-bpe"): lambda: _splits(_GPT4 % r"\p{N}{1,3}"),
    ("qwen2", "deepseek-r1-qwen", "stablelm2"): lambda: _splits(_GPT4 % r"\p{N}"),
    # What llama.cpp does where a file has no name: no model was trained like this.
    ("default",): lambda: _splits(_SIGNS, _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
}
PRE_TOKENIZERS = {name: way for names, way in _WAYS.items() for name in names}
# A word that is a token is taken whole, whatever the merges would make of it.
_WHOLE_WORDS = ("llama-bpe", "llama3", "llama-v3", "falcon3", "lfm2")
_NFC = ("qwen2",)  # Qwen's own tokenizer composes characters first; llama.cpp leaves that out


def tokenizer_of(file: GGUF) -> Tokenizer:
    """The tokenizer in a GGUF file, with its special tokens, their roles and the chat template.

    Args:
        file: an open file; its metadata is read.

    Returns:
        A `kerasllm.text.Tokenizer`. Its `bos_id` is what the file names, also where models of this kind put none in
        front of a text (tokenizer.ggml.add_bos_token is false).

    Raises:
        ValueError: if the file has no tokenizer, one of an unknown model or with an unknown name for cutting texts,
            or lists that do not fit each other. The message names the file and the key.

    Example: ``with read_gguf("model.gguf") as file: tokenizer = tokenizer_of(file)``.
    """
    said = _Said(file)
    model = said.text("model", "")
    makers = {"gpt2": _byte_level, "llama": _merged_by_score, "t5": _unigram}
    if model not in makers:
        raise said.wrong("model", f"is {shown(repr(model))}; those that are read are {', '.join(makers)}")
    said.check_tokens()
    backend = makers[model](said)
    added = []
    for token, kind in zip(said.tokens, said.types, strict=True):
        if kind in (CONTROL, UNKNOWN, USER_DEFINED):
            if not token:
                raise said.wrong("tokens", "has an empty text for a special token")
            added.append(AddedToken(token, normalized=False, special=kind != USER_DEFINED))
    backend.add_tokens(added)
    return Tokenizer(backend, roles=_roles(said))


def tokenizer_metadata(tokenizer: Tokenizer, pre: str, add_bos: bool = False) -> dict[str, Any]:
    """The metadata of a byte-level BPE tokenizer for `write_gguf`: what `tokenizer_of` reads.

    Args:
        tokenizer: of `kerasllm.text.train_bpe`, or one of GPT-2, Llama 3, Qwen 2 and the like.
        pre: the name that llama.cpp has for how it cuts a text into words; "gpt-2" for one of `train_bpe`.
        add_bos: whether llama.cpp puts the token for the beginning in front of a text, as Llama's models want it.

    Raises:
        ValueError: if it is no byte-level BPE, or cuts texts in another way than `pre` says.

    Example:
        >>> from kerasllm import text
        >>> metadata = tokenizer_metadata(text.train_bpe(["hello hello hello"], 262), pre="gpt-2")
        >>> metadata["tokenizer.ggml.model"], metadata["tokenizer.ggml.padding_token_id"]
        ('gpt2', 0)
    """
    content = json.loads(tokenizer.to_json())
    backend = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    if pre not in PRE_TOKENIZERS:
        raise ValueError(f"pre must be one of {', '.join(PRE_TOKENIZERS)}, not {pre!r}.")
    way = backend.pre_tokenizer
    if content["model"]["type"] != "BPE" or way is None or _state(way) != _state(PRE_TOKENIZERS[pre]()):
        raise ValueError(f"This tokenizer is no byte-level BPE that cuts texts as {pre!r} does: {tokenizer}.")
    added = {id: token.special for id, token in backend.get_added_tokens_decoder().items()}
    types = [
        CONTROL if added.get(id) else USER_DEFINED if id in added else NORMAL for id in range(len(tokenizer.vocabulary))
    ]
    for hole in tokenizer.holes:
        types[hole] = UNUSED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in content["model"]["merges"]]
    metadata = {"model": "gpt2", "pre": pre, "tokens": tokenizer.vocabulary, "token_type": types, "merges": merges}
    metadata |= {_ROLE_KEYS[role]: tokenizer.id_of(token) for role, token in tokenizer.roles.items()}
    metadata["add_bos_token"] = add_bos
    template = tokenizer.chat_template
    return {f"tokenizer.ggml.{key}": value for key, value in metadata.items()} | (
        {} if template is None else {"tokenizer.chat_template": template}
    )


def _state(way: pre_tokenizers.PreTokenizer) -> Any:
    return json.loads(way.__getstate__())


class _Said:
    """What a file says about its tokenizer; what does not fit is refused with the file and the key."""

    def __init__(self, file: GGUF) -> None:
        self.path, self.metadata = file.path, file.metadata
        self.tokens: list[str] = self.list_of("tokens", str)
        self.types: list[int] = self.list_of("token_type", int, len(self.tokens)) or [NORMAL] * len(self.tokens)
        self.vocabulary = {token: id for id, token in enumerate(self.tokens)}

    def wrong(self, key: str, what: str) -> ValueError:
        return ValueError(f"{self.path}: tokenizer.ggml.{key} {what}.")

    def get(self, key: str, default: Any = None) -> Any:
        return self.metadata.get(f"tokenizer.ggml.{key}", default)

    def text(self, key: str, default: str) -> str:
        found = self.get(key, default)
        if not isinstance(found, str):
            raise self.wrong(key, f"should be a text, not {shown(repr(found))}")
        return found

    def flag(self, key: str, default: bool) -> bool:
        found = self.get(key, default)
        if not isinstance(found, bool):
            raise self.wrong(key, f"should be true or false, not {shown(repr(found))}")
        return found

    def list_of(self, key: str, kind: type, length: int | None = None) -> list:
        """The list of a key, or an empty one where the file has none; with `length` it must have that."""
        found = self.get(key, [])
        if not isinstance(found, list) or not all(type(one) is kind for one in found):
            raise self.wrong(key, f"should be a list of {kind.__name__}, not {shown(repr(found)[:200])}")
        if found and length is not None and len(found) != length:
            raise self.wrong(key, f"has {len(found):,} entries, and there are {length:,} tokens")
        return found

    def id(self, key: str) -> int | None:
        """The id of a key, or None where the file has none."""
        found = self.get(key)
        if found is None or found in (NO_TOKEN, -1):
            return None
        if type(found) is not int or not 0 <= found < len(self.tokens):
            raise self.wrong(key, f"is {shown(repr(found))}; the tokens have ids from 0 to {len(self.tokens) - 1}")
        return found

    def check_tokens(self) -> None:
        if not self.tokens:
            raise self.wrong("tokens", "is missing or empty: the file has no tokenizer")
        if len(self.vocabulary) < len(self.tokens):
            first = next(id for id, token in enumerate(self.tokens) if self.vocabulary[token] != id)
            again = self.vocabulary[self.tokens[first]]
            raise self.wrong("tokens", f"has {shown(self.tokens[first])!r} twice, as {first} and {again}")
        strange = [kind for kind in self.types if not NORMAL <= kind <= BYTE]
        if strange:
            raise self.wrong("token_type", f"holds {strange[0]}; types from {NORMAL} to {BYTE} are known")


def _byte_level(said: _Said) -> tokenizers.Tokenizer:
    name = said.text("pre", "default")
    if name not in PRE_TOKENIZERS:
        raise said.wrong("pre", f"is {shown(repr(name))}; known are {', '.join(PRE_TOKENIZERS)}")
    merges = []
    for place, merge in enumerate(said.list_of("merges", str)):
        left, _, right = merge.partition(" ")
        # The library would end the process with a panic at some of these.
        if not left or not right or not said.vocabulary.keys() >= {left, right, left + right}:
            raise said.wrong("merges", f"has {shown(repr(merge))} as number {place}, which makes no token of two")
        merges.append((left, right))
    model = models.BPE(vocab=said.vocabulary, merges=merges, ignore_merges=name in _WHOLE_WORDS)
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = PRE_TOKENIZERS[name]()
    backend.decoder = decoders.ByteLevel()
    if name in _NFC:
        backend.normalizer = normalizers.NFC()
    return backend


def _merged_by_score(said: _Said) -> tokenizers.Tokenizer:
    """SentencePiece's BPE: of all pairs that make a piece, the piece with the highest score is made first."""
    scores = check_scores(said)
    can_merge = [kind in (NORMAL, USER_DEFINED, UNUSED) for kind in said.types]
    merges = merges_by_score(said, scores, can_merge)
    unknown = said.id("unknown_token_id")
    has_bytes = all(f"<0x{byte:02X}>" in said.vocabulary for byte in range(256))
    model = models.BPE(
        vocab=said.vocabulary,
        merges=merges,
        unk_token=None if unknown is None else said.tokens[unknown],
        fuse_unk=True,
        byte_fallback=has_bytes,
    )
    return _with_spaces_as_pieces(model, said, [])


def _unigram(said: _Said) -> tokenizers.Tokenizer:
    """SentencePiece's Unigram: the pieces whose scores have the largest sum."""
    unknown = said.id("unknown_token_id")
    if unknown is None:
        found = [id for id, kind in enumerate(said.types) if kind == UNKNOWN]
        unknown = found[0] if found else None
    has_bytes = all(f"<0x{byte:02X}>" in said.vocabulary for byte in range(256))
    ordinary = [kind in (NORMAL, USER_DEFINED) for kind in said.types]
    model = models.Unigram(unigram_pieces(said, check_scores(said), ordinary), unk_id=unknown, byte_fallback=has_bytes)
    steps = []
    charsmap = said.list_of("precompiled_charsmap", int)
    if charsmap:
        steps.append(normalizers.Precompiled(check_charsmap(said, charsmap)))
    if said.flag("remove_extra_whitespaces", False):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    return _with_spaces_as_pieces(model, said, steps)


def _with_spaces_as_pieces(model: models.Model, said: _Said, steps: list) -> tokenizers.Tokenizer:
    """SentencePiece's way with spaces: each is U+2581, and there is one in front of a text, unless the file says no.

    There is no cutting into words: `Metaspace` of the library would leave the one in front out before a space.
    """
    in_front = said.flag("add_space_prefix", True)
    backend = tokenizers.Tokenizer(model)
    mark = [normalizers.Prepend("▁")] if in_front else []
    backend.normalizer = normalizers.Sequence([*steps, *mark, normalizers.Replace(" ", "▁")])
    ways = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*ways, *([decoders.Strip(" ", 1, 0)] if in_front else [])])
    return backend


def _roles(said: _Said) -> Roles:
    """What the file says, as if it stood in a tokenizer_config.json."""
    ids = {role: said.id(key) for role, key in _ROLE_KEYS.items()}
    stop = said.id("eom_token_id")  # Llama 3.1 ends a message with it when it calls a program
    template = said.metadata.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str):
        raise ValueError(f"{said.path}: tokenizer.chat_template should be a text, not {shown(repr(template))}.")
    tokens = {role: said.tokens[id] for role, id in ids.items() if id is not None}
    return Roles(tokens, () if stop is None else (stop,), template)
