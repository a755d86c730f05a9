"""LoRA: a large model learns a task through a few small matrices, which are saved, exchanged and merged alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kerasllm.common import positive, whole_number, write_whole
from kerasllm.training.fast import every_layer

KEY = "kerasllm_adapter"  # one entry of the file's metadata, so that two equal files are equal byte by byte
FORMAT = 1


def add_lora(
    model: keras.Model, rank: int, alpha: float | None = None, layers: Sequence[str] = ("query", "value")
) -> keras.Model:
    """Freeze a model and give layers of it a pair of small matrices to learn with.

    A layer with the kernel W computes with ``W + alpha / rank * A @ B`` from now on. B begins as zeros, so the outputs
    are what they were. Keras does this (`keras.layers.Dense.enable_lora`); here it is done for all layers of a
    name, and all other weights are frozen. Compile the model afterwards.

    A `.keras` file of such a model holds the merged kernels, and matrices of zeros that learn no more: store
    the matrices with `save_adapter`, or call `merge_adapter` before saving.

    Args:
        model: a built Keras model; its layers may be quantised to int8 or int4.
        rank: columns of A and rows of B.
        alpha: the factor of the product, times `rank`; `rank` when None.
        layers: names of the layers: dense layers or embeddings. "query" means all layers of this name.

    Returns:
        The model.

    Raises:
        ValueError: if a number makes no sense, the model has adapters already, or a name fits no built layer
            that can have one.

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="query")])
        >>> model = add_lora(model, rank=2, layers=["query"])
        >>> sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        256

    Reference: Hu et al. (2022), "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1.
    """
    rank = whole_number("rank", rank)
    alpha = rank if alpha is None else positive("alpha", alpha)
    if _adapted(model):
        raise ValueError("The model has adapters already. Call merge_adapter(model) first.")
    for layer in _chosen(model, layers):
        layer.enable_lora(rank, lora_alpha=alpha)
    _freeze_all_else(model)
    _compile_anew(model)
    return model


def save_adapter(model: keras.Model, path: str | os.PathLike) -> None:
    """Write the matrices that `add_lora` added, and nothing else, to a safetensors file.

    Args:
        model: a model with adapters.
        path: the file to write.

    Raises:
        ValueError: if the model has no adapters, or they differ in rank or alpha.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="query")])
        >>> path = tempfile.mkdtemp() + "/adapter.safetensors"
        >>> save_adapter(add_lora(model, 2, layers=["query"]), path)
        >>> os.path.getsize(path) < 2000  # the model has 16 kB
        True
    """
    adapted = _adapted(model)
    if not adapted:
        raise ValueError("The model has no adapters. Call add_lora(model, rank) and train it first.")
    kinds = {(layer.lora_rank, layer.lora_alpha) for layer in adapted}
    if len(kinds) > 1:
        raise ValueError(f"The layers' adapters have different ranks or alphas: {sorted(kinds)}. Use one add_lora.")
    [(rank, alpha)] = kinds
    facts = {
        "format": FORMAT,
        "rank": rank,
        "alpha": alpha,
        "layers": [layer.name for layer in adapted],
        "base": _fingerprint(model),
    }
    tensors = {}
    for i, layer in enumerate(adapted):
        for letter, matrix in zip("ab", _matrices(layer), strict=True):
            tensors[f"{i}/{layer.name}/{letter}"] = np.ascontiguousarray(ops.convert_to_numpy(matrix))
    with write_whole(path) as unfinished:
        unfinished.write_bytes(save(tensors, {KEY: json.dumps(facts, sort_keys=True)}))


def load_adapter(model: keras.Model, path: str | os.PathLike) -> keras.Model:
    """Give a model the adapters of a file that `save_adapter` wrote.

    A model that has such adapters already gets the values of these instead.

    Args:
        model: the model without adapters, built from the same settings as the one they were trained on.
        path: the file.

    Returns:
        The model, frozen but for the adapters.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no adapter, or one of another model. The model stays as it was.

    Example:
        >>> import tempfile
        >>> def base():
        ...     return keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="query")])
        >>> path = tempfile.mkdtemp() + "/adapter.safetensors"
        >>> save_adapter(add_lora(base(), 2, layers=["query"]), path)
        >>> load_adapter(base(), path).layers[0].lora_rank
        2
    """
    facts, tensors = _read(path)
    adapted = _adapted(model)
    targets = adapted or _named(model, set(facts["layers"]))
    _compare(path, facts, tensors, targets, model)
    if not adapted:
        add_lora(model, facts["rank"], facts["alpha"], sorted(set(facts["layers"])))
    elif {layer.lora_rank for layer in adapted} != {facts["rank"]}:
        raise ValueError(
            f"The rank in {path} is {facts['rank']}, the model's is another. Call merge_adapter(model) first."
        )
    for i, layer in enumerate(targets):
        layer.lora_alpha = facts["alpha"]
        for letter, matrix in zip("ab", _matrices(layer), strict=True):
            matrix.assign(tensors[f"{i}/{layer.name}/{letter}"])
    _compile_anew(model)
    return model


def merge_adapter(model: keras.Model) -> keras.Model:
    """Add the product of each adapter to its kernel and take the adapters away; outputs stay what they were.

    A kernel that is quantised is quantised again, with a new scale: its outputs are equal but for the rounding.
    All weights can be trained again afterwards; compile the model before.

    Args:
        model: a model with adapters.

    Returns:
        The model.

    Raises:
        ValueError: if the model has no adapters, or Keras cannot add to kernels that are quantised so.

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="query")])
        >>> len(merge_adapter(add_lora(model, 2, layers=["query"])).weights)
        2

    Reference: Hu et al. (2022), "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1.
    """
    adapted = _adapted(model)
    if not adapted:
        raise ValueError("The model has no adapters, so there is nothing to merge.")
    for layer in adapted:
        if layer.quantization_mode not in (None, "int8", "int4"):
            raise ValueError(
                f"{layer.name} is quantised to {layer.quantization_mode}, which Keras cannot add to. Load the adapter "
                "onto the model before it was quantised."
            )
    for layer in adapted:
        _merge(layer)
    model.trainable = False  # under TensorFlow a value that is set already would not reach the layers and weights
    model.trainable = True
    _compile_anew(model)
    return model


def _merge(layer):
    if layer.quantization_mode:
        values = {}
        layer.save_own_variables(values)  # Keras stores the sum, quantised anew
        layer.load_own_variables(values)
        layer.lora_enabled = False
    else:
        a, b = _matrices(layer)
        change = layer.lora_alpha / layer.lora_rank * ops.matmul(a, b)
        layer.lora_enabled = False  # from here on the kernel is the one below
        kernel = _kernel(layer)
        kernel.assign(ops.cast(ops.add(ops.cast(kernel, "float32"), change), kernel.dtype))
    for name in _matrix_names(layer):
        delattr(layer, name)
    layer.lora_rank = layer.lora_alpha = None


def _adapted(model):
    return [layer for layer in every_layer(model) if getattr(layer, "lora_enabled", False)]


def _named(model, names):
    return [layer for layer in every_layer(model) if layer.name in names and hasattr(layer, "enable_lora")]


def _chosen(model, names):
    """The layers of these names; each name must fit one."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"layers must be a list of names such as ['query', 'value'], not {names!r}.")
    layers = _named(model, set(names))
    for name in names:
        if not any(layer.name == name for layer in layers):
            able = sorted({layer.name for layer in every_layer(model) if hasattr(layer, "enable_lora")})
            raise ValueError(f"layers: no layer that can have an adapter is named {name!r}. There are {able}.")
    for layer in layers:
        if not layer.built:
            raise ValueError(f"{layer.name} is not built yet: call the model once on a batch, then add_lora.")
    return layers


def _matrix_names(layer):
    return [name for name in vars(layer) if name.startswith("lora_") and name.endswith(("_a", "_b"))]


def _matrices(layer):
    """A and B: for dense layers called lora_kernel_a and lora_kernel_b, for embeddings lora_embeddings_a and _b."""
    return [getattr(layer, name) for name in sorted(_matrix_names(layer))]


def _kernel(layer):
    return layer.kernel if hasattr(layer, "kernel") else layer.embeddings


def _freeze_all_else(model):
    adapted = {id(layer) for layer in _adapted(model)}
    for layer in every_layer(model):
        if not any(id(inner) in adapted for inner in every_layer(layer)):
            layer.trainable = False  # batch normalisation keeps its means then
    matrices = {id(matrix) for layer in _adapted(model) for matrix in _matrices(layer)}
    for variable in model.trainable_variables:
        if id(variable) not in matrices:
            variable.trainable = False


def _compile_anew(model):
    # What was compiled earlier computes without the adapters.
    model.train_function = model.test_function = model.predict_function = None


def _fingerprint(model) -> str:
    """The same for models of the same weights' names and shapes, with or without adapters, and quantised to int8."""
    weights = sorted((one.name, list(one.shape)) for one in model.weights if not one.name.startswith("lora_"))
    kept = [one for one in weights if not one[0].endswith(("_scale", "_zero")) and one[0] != "g_idx"]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]


def _read(path):
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}. Write one with save_adapter(model, path).")
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[KEY])
            names = facts["layers"]
            keys = {f"{i}/{name}/{letter}" for i, name in enumerate(names) for letter in "ab"}
            if facts["format"] != FORMAT or set(file.keys()) != keys or not isinstance(facts["base"], str):
                raise ValueError("unknown format")
            facts["rank"], facts["alpha"] = whole_number("rank", facts["rank"]), positive("alpha", facts["alpha"])
            return facts, {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not an adapter that save_adapter wrote: {error}.") from error


def _compare(path, facts, tensors, targets, model):
    """Refuse an adapter of another model, before the model is changed."""
    wanted, found = Counter(facts["layers"]), Counter(layer.name for layer in targets)
    for name in wanted | found:
        if wanted[name] != found[name]:
            raise ValueError(
                f"{path} is for a model with {wanted[name]} layers named {name!r}; this one has {found[name]} "
                "that can have adapters."
            )
    if facts["layers"] != [layer.name for layer in targets]:
        raise ValueError(f"{path} is for a model with layers in another order: {', '.join(facts['layers'])}.")
    for i, layer in enumerate(targets):
        if not layer.built:
            raise ValueError(f"{layer.name} is not built yet: call the model once on a batch, then load_adapter.")
        shape, rank = tuple(_kernel(layer).shape), facts["rank"]
        for letter, fits in (("a", (*shape[:-1], rank)), ("b", (rank, shape[-1]))):
            stored = tensors[f"{i}/{layer.name}/{letter}"].shape
            if stored != fits:
                raise ValueError(
                    f"{path} is for another model: its matrix {letter.upper()} for layer {i} ({layer.name}) has the "
                    f"shape {stored}, and a kernel of the shape {shape} needs {fits}."
                )
    if facts["base"] != _fingerprint(model):
        raise ValueError(
            f"{path} was trained on another model: the adapted layers fit, but other weights have other names or "
            "shapes. Load it onto a model of the same settings."
        )
