"""A family of models: its table of names, and the machinery that every table shares.

    ours                          theirs
    block_1/attention/query/kernel   model.layers.0.self_attn.q_proj.weight     turned: PyTorch keeps (out, in)
    final_norm/scale                 model.norm.weight

A table says for each weight of ours where its numbers stand in a file of others. Which weights a model has follows
from its settings; what the table knows beyond that is not looked for, and what the file has beyond that is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasllm.layers.composite import named
from kerasllm.models import GPT, FastGPT, GPTSettings
from kerasllm.weights.families.config import Config
from kerasllm.weights.rehearsal import Weight, make_with, rehearse
from kerasllm.weights.tensors import Tensor, shown

HEAD, EMBEDDING = "lm_head.weight", "embedding/embeddings"
FLOATS = ("float64", "float32", "float16", "bfloat16")


class Straight(NamedTuple):
    """A matrix that is kept as ours, (in, out)."""

    name: str


class Third(NamedTuple):
    """A part of a matrix (in, 3 out) that holds queries, keys and values side by side, or of its bias."""

    name: str
    part: int


class Each(NamedTuple):
    """Matrices of all experts; theirs are files of their own, with the expert's number in the name."""

    name: str


@dataclass(frozen=True)
class Family:
    """How models of one kind are called, and what they are here.

    Args:
        model_type: in config.json.
        class_name: of the language model; the first of "architectures".
        base_name: of the same without a head.
        read: from a `Config` to `GPTSettings`.
        write: from `GPTSettings` to a config.json, as far as the family can say it.
        tensors: the table outside the blocks, from our name to theirs without a prefix.
        block: the table inside a block.
        layers: what stands in front inside block number {}.
        prefixes: what may stand in front of all names but the head's; the first one is written.
        no_weights: patterns of keys in files that carry no weights.
        norm_shift: what the file's scales of normalisations lack: Gemma multiplies by 1 + weight.
    """

    model_type: str
    class_name: str
    base_name: str
    read: Callable[[Config], GPTSettings]
    write: Callable[[GPTSettings], dict[str, Any]]
    tensors: Mapping[str, Any]
    block: Mapping[str, Any]
    layers: str = "layers.{}."
    prefixes: tuple[str, ...] = ("model.", "")
    no_weights: tuple[str, ...] = ()
    norm_shift: float = 0.0

    def entry(self, place: str, prefix: str) -> tuple[Any, str | None]:
        """What the table says of a weight of ours, and the beginning of their name; None where it knows none."""
        inside = re.fullmatch(r"block_(\d+)/(.+)", place)
        if inside is None:
            found = self.tensors.get(place)
            return found, "" if found == HEAD else prefix
        return self.block.get(inside[2]), prefix + self.layers.format(int(inside[1]) - 1)


def settings_of(family: Family, config: Config, tensors: int | None = None) -> GPTSettings:
    """The settings that a config asks for; ValueError where they cannot be had here.

    Args:
        family: of the model.
        config: its config.json.
        tensors: how many the file has: a model of more blocks is refused before it is made.
    """
    config.architecture([family.class_name, family.base_name])
    try:
        settings = family.read(config)
    except ValueError as error:  # of a layer, which does not know the file
        raise error if str(config.where) in str(error) else config.wrong(f"cannot be a GPT: {error}") from None
    config.finish()
    if tensors is not None and settings.num_layers > tensors:
        raise config.wrong(f"asks for {settings.num_layers:,} blocks, and the weights are {tensors} tensors.")
    return settings


def weights_of(settings: GPTSettings, dtype: Any = None) -> dict[str, Weight]:
    """The weights of a GPT by name. Of blocks that are alike one is rehearsed: many blocks cost no time."""
    kinds = math.lcm(len(settings.attention), len(settings.feed_forward))
    few = settings.with_(num_layers=min(kinds, settings.num_layers))
    (found,) = rehearse(GPT, _config(few, dtype), None)
    by_block: dict[int, dict[str, Weight]] = {}
    for place, weight in found.items():
        inside = re.fullmatch(r"block_(\d+)/(.+)", place)
        if inside:
            by_block.setdefault(int(inside[1]) - 1, {})[inside[2]] = weight
    outside = {place: weight for place, weight in found.items() if not place.startswith("block_")}
    return outside | {
        f"block_{block + 1}/{place}": weight
        for block in range(settings.num_layers)
        for place, weight in by_block[block % kinds].items()
    }


def _config(settings: GPTSettings, dtype: Any) -> dict[str, Any]:
    return {"settings": settings.get_config()} | ({} if dtype is None else {"dtype": dtype})


class Source(NamedTuple):
    """Where the numbers of one weight of ours stand.

    Args:
        names: of their tensors: one, or one an expert.
        shape: of each of them.
        each: whether there is one tensor an expert.
        turned: whether theirs are (out, in).
        part: which third of their columns it is, if it is one.
        shift: what theirs lack.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    each: bool = False
    turned: bool = False
    part: int | None = None
    shift: float = 0.0

    def ours(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Our numbers from theirs."""
        arrays = [array.T for array in arrays] if self.turned else arrays
        array = np.stack(arrays) if self.each else arrays[0]
        if self.part is not None:
            size = self.shape[-1] // 3
            array = array[..., self.part * size : (self.part + 1) * size]
        return array.astype("float32") + np.float32(self.shift) if self.shift else array

    def theirs(self, arrays: list[np.ndarray], name: str) -> np.ndarray:
        """The numbers of one of their tensors from ours: three matrices where it holds queries, keys and values."""
        array = arrays[0] if self.part is None else np.concatenate(arrays, axis=-1)
        array = array[self.names.index(name)] if self.each else array
        array = array.astype("float32") - np.float32(self.shift) if self.shift else array
        return array.T if self.turned else array


def sources_of(family: Family, prefix: str, weights: Mapping[str, Weight]) -> dict[str, Source]:
    """For each weight of ours where its numbers stand.

    Raises:
        ValueError: if the table has no name for a weight.
    """
    found = {}
    for place, weight in weights.items():
        entry, front = family.entry(place, prefix)
        if entry is None:
            raise ValueError(f"{place}: a {family.model_type} has no such weight.")
        found[place] = _source(entry, front, place, weight.shape, family.norm_shift)
    return found


def _source(entry: Any, front: str, place: str, shape: tuple[int, ...], shift: float) -> Source:
    if isinstance(entry, Third):
        return Source((front + entry.name,), (*shape[:-1], 3 * shape[-1]), part=entry.part)
    if isinstance(entry, Each):
        names = tuple(front + entry.name.format(expert) for expert in range(shape[0]))
        return Source(names, shape[:0:-1], each=True, turned=True)
    if isinstance(entry, Straight):
        return Source((front + entry.name,), shape)
    if place.endswith("/kernel"):
        return Source((front + entry,), shape[::-1], turned=True)
    return Source((front + entry,), shape, shift=shift if place.endswith("/scale") else 0.0)


def made_of(
    family: Family,
    settings: GPTSettings,
    where: Any,
    tensors: Mapping[str, Any],
    dtype: Any = None,
    files: Mapping[str, Any] | None = None,
    numbers: str | None = None,
) -> GPT | FastGPT:
    """The model of a file, made with its weights: no random numbers are drawn, one tensor is beside it at a time.

    Args:
        family: of the model.
        settings: of the model.
        where: the file or folder, for messages.
        tensors: from their names to what has a `shape`, a `dtype` and a `read()`.
        dtype: dtype policy of the model.
        files: from their names to the file that holds each, for messages.
        numbers: of a `FastGPT`, which is made in place of a `GPT`; with None a `GPT` is made.

    Raises:
        ValueError: if a tensor is missing, unknown, or of another shape or kind than the settings say.
    """
    dtype = keras.config.dtype_policy() if dtype is None else dtype  # the thread of a rehearsal does not know it
    try:
        weights = weights_of(settings, dtype)
    except ValueError as error:  # of a layer, which does not know the file
        raise ValueError(f"{where} cannot be a GPT: {error}") from None
    prefix = _prefix(family, tensors)
    sources = sources_of(family, prefix, weights)
    _compare(family, where, tensors, sources, settings.tied, files or {})
    values = {
        place: _value(place, source, tensors, weights[place].dtype, settings.tied) for place, source in sources.items()
    }
    if numbers is not None:
        return FastGPT(settings, lambda place: values[place](), numbers, lambda place: _parts(sources[place], tensors))
    return make_with(GPT, _config(settings, dtype), None, values)


def _prefix(family: Family, tensors: Mapping[str, Any]) -> str:
    """What stands in front of the names in a file. A base model was saved without the language model around it."""
    first = family.tensors[EMBEDDING]
    return next((prefix for prefix in family.prefixes if prefix + first in tensors), family.prefixes[0])


def _compare(family, where, tensors, sources: Mapping[str, Source], tied: bool, files: Mapping[str, Any]) -> None:
    wanted = {name: source.shape for source in sources.values() for name in source.names}
    missing = [name for name in wanted if name not in tensors]
    if missing:
        hint = ""
        if missing[0] == HEAD:
            hint = " The head is not the table of embeddings by tie_word_embeddings, so it has a matrix of its own."
        raise ValueError(
            f"{where} lacks the tensor {shown(missing[0])} {wanted[missing[0]]}{_more(missing)}, which a "
            f"{family.model_type} of these settings has.{hint}"
        )
    if tied and HEAD in tensors:
        wanted[HEAD] = wanted[sources[EMBEDDING].names[0]]
    for name in sorted(tensors):
        file, tensor = files.get(name, where), tensors[name]
        if name not in wanted:
            if any(re.fullmatch(pattern, name) for pattern in family.no_weights):
                continue
            raise ValueError(
                f"{file} has the tensor {shown(name)} {tuple(tensor.shape)}, for which a {family.model_type} of these "
                "settings has no place."
            )
        if tuple(tensor.shape) != wanted[name]:
            raise ValueError(
                f"{file} has {shown(name)} of the shape {tuple(tensor.shape)}; by the settings it has {wanted[name]}."
            )
        if tensor.dtype not in FLOATS:
            raise ValueError(
                f"{file} has {shown(name)} in {tensor.dtype}; weights are {', '.join(FLOATS)}. Were they quantised?"
            )


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _value(place: str, source: Source, tensors, dtype: str, tied: bool) -> Callable[[], np.ndarray]:
    def value() -> np.ndarray:
        arrays = [tensors[name].read() for name in source.names]
        if place == EMBEDDING and tied and HEAD in tensors:
            _check_equal(arrays[0], tensors[HEAD].read(), source.names[0])
        numbers = source.ours(arrays)
        del arrays
        with np.errstate(over="ignore"):
            found = numbers.astype(dtype, order="C", copy=False)
        if dtype == "float16" and not np.isfinite(found).all():
            raise ValueError(f"{' '.join(source.names)} holds numbers that float16 cannot hold: use dtype='bfloat16'.")
        return found

    return value


def _parts(source: Source, tensors):
    """Codes, scales and minima of a matrix that was stored in blocks; None for others."""
    tensor = tensors[source.names[0]]
    if source.each or source.part is not None or not getattr(tensor, "in_parts", False):
        return None
    return tensor.parts()


def _check_equal(table: np.ndarray, head: np.ndarray, name: str) -> None:
    """A head that says it is the table of embeddings, and is stored beside it, must be that."""
    rows = max(1, (1 << 20) // max(1, table.shape[1]))
    for first in range(0, len(table), rows):
        if not np.array_equal(table[first : first + rows], head[first : first + rows]):
            raise ValueError(
                f"{HEAD} differs from {name}, and tie_word_embeddings says that they are one. Set it to false in "
                "config.json if the head is its own."
            )


# The way back ---------------------------------------------------------------------------------------------------------


def tensors_of(family: Family, model: GPT, settings: GPTSettings) -> dict[str, Tensor]:
    """The weights of a model by their names, each read when it is asked for.

    Args:
        family: of the file.
        model: a model.
        settings: those of the family that compute the same. Biases that the model does not have are zero.

    Raises:
        ValueError: if the model has a weight that does not follow from its settings, or one of whole numbers.
    """
    variables, own, wanted = named(model), weights_of(model.settings), weights_of(settings)
    changed = sorted(variables.keys() ^ own.keys())
    if changed:
        raise ValueError(f"{changed[0]}: the model was changed since it was made. Take away LoRA and quantize.")
    variables |= {
        place: np.zeros(weight.shape, variables[EMBEDDING].dtype)
        for place, weight in wanted.items()
        if place not in variables and place.endswith(("/bias", "/beta"))
    }
    sources = sources_of(family, family.prefixes[0], wanted)
    places: dict[str, list[str]] = {}
    for place, source in sources.items():
        for name in source.names:
            places.setdefault(name, []).append(place)
    return dict(_written(places, sources, variables))


def _written(places, sources: Mapping[str, Source], variables) -> Iterator[tuple[str, Tensor]]:
    for name, ours in places.items():
        source, dtype = sources[ours[0]], str(variables[ours[0]].dtype)
        if dtype not in FLOATS:
            raise ValueError(f"{ours[0]} is {dtype}: the model was quantised. Write the model it was made from.")
        yield name, Tensor(dtype, source.shape, _reader(name, source, [variables[place] for place in ours], dtype))


def _reader(name: str, source: Source, variables: list[keras.Variable], dtype: str) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        arrays = [
            keras.ops.convert_to_numpy(one.value if isinstance(one, keras.Variable) else one) for one in variables
        ]
        return source.theirs(arrays, name).astype(dtype, copy=False)

    return read
