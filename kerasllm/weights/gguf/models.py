"""A GGUF file seen as the folder that Hugging Face would have of the model, and the way back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from kerasllm.common import whole_number
from kerasllm.weights.gguf.architectures import ARCHITECTURES, Architecture
from kerasllm.weights.gguf.blocks import Quantized, has_parts
from kerasllm.weights.gguf.config import Settings, config_of, metadata_of
from kerasllm.weights.gguf.file import GGUF, GGUFTensor
from kerasllm.weights.tensors import shown

ROPE_FACTORS = "rope_freqs.weight"


class HuggingFaceView(NamedTuple):
    """A model of a GGUF file in Hugging Face's terms.

    Args:
        config: as in config.json.
        tensors: from Hugging Face's names to `ViewedTensor`, read while the file is open.
    """

    config: dict[str, Any]
    tensors: Mapping[str, ViewedTensor]


class ViewedTensor:
    """A tensor of a GGUF file in Hugging Face's layout.

    Attributes:
        name: in the file.
        kind: as it is stored there, such as "Q4_1".
        shape: in Hugging Face's layout.
        dtype: "float32", what `read` returns.
    """

    dtype = "float32"

    def __init__(self, tensor: GGUFTensor, change: str | None, rows: np.ndarray | None) -> None:
        self.name, self.kind = tensor.name, tensor.kind
        self.shape = tensor.shape[::-1] if change == "transpose" else tensor.shape
        self._tensor, self._change, self._rows = tensor, change, rows

    def read(self) -> np.ndarray:
        """The numbers, float32 of `shape`. Raises ValueError as `GGUFTensor.read` does."""
        numbers = self._tensor.read()
        if self._rows is not None:
            return numbers[self._rows]
        if self._change == "transpose":
            return numbers.T
        return numbers - np.float32(1) if self._change == "plus_one" else numbers

    @property
    def in_parts(self) -> bool:
        """Whether `parts` can bring it."""
        return has_parts(self.kind) and self._change not in ("transpose", "plus_one")

    def parts(self) -> Quantized:
        """Codes, scales and minima in this layout, see `GGUFTensor.parts`.

        Raises:
            ValueError: as there, or if the tensor is turned (GPT-2's matrices), so that blocks lie across its rows.
        """
        if self._change in ("transpose", "plus_one"):
            raise ValueError(f"{shown(self.name)} is not stored in Hugging Face's layout: read() it.")
        found = self._tensor.parts()
        if self._rows is None:
            return found
        return Quantized(*(None if part is None else part[self._rows] for part in found))

    def __repr__(self) -> str:
        return f"ViewedTensor({shown(self.name)!r}, {self.kind}, {self.shape})"


def rotary_rows(rows: int, heads: int) -> np.ndarray:
    """Where Hugging Face's rows of a query or key matrix stand in a GGUF file of the architecture "llama".

    Rotary positions turn pairs of rows. In the file a pair are neighbours, at Hugging Face row i and row
    i + head_dim / 2 of the head. A model reads the wrong order without an error, and writes worse.

    Args:
        rows: of the matrix.
        heads: how many it serves.

    Returns:
        int64 (rows,): Hugging Face's matrix is ``stored[rotary_rows(len(stored), heads)]``.

    Example:
        >>> rotary_rows(8, heads=2).tolist()
        [0, 2, 1, 3, 4, 6, 5, 7]

    Reference: ``LlamaModel.permute`` in convert_hf_to_gguf.py of https://github.com/ggml-org/llama.cpp.
    """
    whole_number("heads", heads)
    if rows % (2 * heads):
        raise ValueError(f"{rows} rows cannot be {heads} heads of pairs.")
    return np.arange(rows).reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1)


def hugging_face_view(file: GGUF) -> HuggingFaceView:
    """A GGUF file in Hugging Face's terms: what reads a config.json and its safetensors reads GGUF too.

    Names and layout are Hugging Face's: what llama.cpp's converter changed is undone, the order of query and key rows
    of Llama, the 1 added to Gemma's norms, GPT-2's turned matrices.

    Args:
        file: an open file of the architecture llama, qwen2, qwen3, gemma3 or gpt2.

    Returns:
        A `HuggingFaceView`. Its "rope_scaling" is that of Llama 3 where the file has rope_freqs.weight. Tensors are
        read when their `read` is called.

    Raises:
        ValueError: if the architecture or a setting is not supported, or a tensor is missing, unknown or of another
            shape than the settings say. The message names the file and the key or tensor.
    """
    if not isinstance(file, GGUF):
        raise TypeError(f"file must be a GGUF, not {type(file).__name__}. Open one with read_gguf(path).")
    settings = Settings(file.path, file.metadata)
    known = settings.architecture
    names = _names(settings, known, file.tensors)
    embeddings = file.tensors["token_embd.weight"]
    factors = file.tensors[ROPE_FACTORS].read() if ROPE_FACTORS in file.tensors else None
    if len(embeddings.shape) != 2 or embeddings.shape[1] != settings.whole("embedding_length"):
        raise settings.wrong(
            f"has the shape {embeddings.shape} for token_embd.weight, and {settings.name}.embedding_length = "
            f"{settings.get('embedding_length')}."
        )
    config = config_of(settings, embeddings.shape[0], "output.weight" not in file.tensors, factors)
    if settings.name == "llama":
        config["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
    heads = _heads(settings.name, file.metadata)
    tensors = {}
    for name, theirs in names.items():
        tensor, change = file.tensors[name], known.changes.get(_in_block(name)[1])
        rows = None
        if change in heads:
            if tensor.shape[0] != heads[change] * config["head_dim"]:
                raise settings.wrong(
                    f"has the shape {tensor.shape} for {shown(name)}, and {heads[change]} heads of "
                    f"{config['head_dim']} by its settings."
                )
            rows = rotary_rows(tensor.shape[0], heads[change])
        if change == "transpose" and len(tensor.shape) != 2:
            raise settings.wrong(f"has the shape {tensor.shape} for {shown(name)}, which should be a matrix.")
        tensors[theirs] = ViewedTensor(tensor, change, rows)
    return HuggingFaceView(config, tensors)


class _Reordered(NamedTuple):
    """What `write_gguf` takes for a tensor: a shape, and numbers when they are asked for."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def gguf_view(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model of Hugging Face in GGUF's terms, to be given to `write_gguf`: the way back from `hugging_face_view`.

    Args:
        config: as in config.json; "model_type" is llama, qwen2, qwen3, gemma3_text or gpt2.
        tensors: from Hugging Face's names to arrays, or to what has a `shape` and a `read()`.

    Returns:
        Metadata and tensors. The tokenizer is not in them: ``metadata | tokenizer_metadata(tokenizer, "smollm")``.

    Raises:
        ValueError: if the model type or a setting has no place in GGUF, or a tensor is missing or unknown.

    Reference: convert_hf_to_gguf.py of https://github.com/ggml-org/llama.cpp.
    """
    by_type = {known.model_type: name for name, known in ARCHITECTURES.items()}
    name = by_type.get(config.get("model_type"))
    if name is None:
        raise ValueError(f"The model_type must be one of {', '.join(by_type)}, not {config.get('model_type')!r}.")
    tied = config.get("tie_word_embeddings", name in ("gpt2", "gemma3"))
    metadata, factors = metadata_of(name, config, tied)
    known, heads, blocks = ARCHITECTURES[name], _heads(name, metadata), metadata[f"{name}.block_count"]
    found, rest = {}, set(tensors) - ({"lm_head.weight"} if tied else set())
    for ours, theirs, needed in _table(known, blocks):
        if theirs in rest:
            rest.discard(theirs)
            found[ours] = _changed(tensors[theirs], known.changes.get(_in_block(ours)[1]), heads)
        elif needed or (ours == "output.weight" and not tied):
            raise ValueError(f"The tensors of the {known.model_type} lack {theirs}.")
    if rest:
        raise ValueError(f"A {known.model_type} of {blocks} blocks has no tensor {shown(sorted(rest)[0])}.")
    if factors is not None:
        found[ROPE_FACTORS] = factors
    return metadata, found


def _changed(tensor: Any, change: str | None, heads: Mapping[str, int]) -> Any:
    """A tensor with what llama.cpp's converter does to it, done when it is read."""
    shape = tuple(tensor.shape)
    if change is None:
        return tensor

    def read() -> np.ndarray:
        numbers = tensor.read() if hasattr(tensor, "read") else np.asarray(tensor)
        if change == "transpose":
            return numbers.T
        if change == "plus_one":
            return numbers.astype("float32") + np.float32(1)
        return numbers[np.argsort(rotary_rows(shape[0], heads[change]))]

    return _Reordered(shape[::-1] if change == "transpose" else shape, read)


def _heads(name: str, metadata: Mapping[str, Any]) -> dict[str, int]:
    """How many heads the rows of a matrix serve, for the two changes that need it."""
    heads = metadata[f"{name}.attention.head_count"]
    return {"query": heads, "key": metadata.get(f"{name}.attention.head_count_kv", heads)}


def _in_block(name: str) -> tuple[str | None, str]:
    """The number of the block, and the name inside it."""
    match = re.fullmatch(r"blk\.(0|[1-9][0-9]{0,5})\.(.+)", name)
    return (match[1], match[2]) if match else (None, name)


def _table(known: Architecture, blocks: int) -> Iterator[tuple[str, str, bool]]:
    """The names in GGUF and at Hugging Face, and whether the tensor must be there."""
    for ours, theirs in known.tensors.items():
        yield ours, theirs, ours not in known.optional
    for block in range(blocks):
        prefix = known.block_prefix.format(block)
        for ours, theirs in known.block.items():
            yield f"blk.{block}.{ours}", prefix + theirs, ours not in known.optional


def _names(settings: Settings, known: Architecture, tensors: Mapping[str, GGUFTensor]) -> dict[str, str]:
    blocks = settings.whole("block_count")
    if blocks > len(tensors):  # before a table of a damaged number of blocks is made
        raise settings.wrong(f"has {settings.name}.block_count = {blocks:,}, and {len(tensors)} tensors.")
    found = {}
    for ours, theirs, needed in _table(known, blocks):
        if ours in tensors:
            found[ours] = theirs
        elif needed:
            raise settings.wrong(f"lacks the tensor {ours}, which a {settings.name} of {blocks} blocks has.")
    more = [name for name in tensors if name not in found and name != ROPE_FACTORS]
    if more:
        raise settings.wrong(f"has the tensor {shown(more[0])}, which a {settings.name} of {blocks} blocks has not.")
    return found
