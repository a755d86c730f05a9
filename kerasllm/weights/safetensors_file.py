"""A model as one safetensors file: its weights by name, and its class and settings as text."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

import kerasllm.models
import kerasllm.tasks  # noqa: F401  registers the classes that a file may name
from kerasllm.common import choice
from kerasllm.layers.backend import handed_over
from kerasllm.layers.composite import named
from kerasllm.weights.rehearsal import (
    Weight,
    check_sizes,
    described,
    make_with,
    parse_settings,
    rehearse,
)
from kerasllm.weights.tensors import Tensor, read_tensors, shown, write_tensors

FORMAT = 2  # format 1 did not say with which shapes a model was built; it is still read
OURS = "kerasllm."  # how the keys begin that no metadata of the caller may have
DTYPES = ("float32", "float16", "bfloat16")


def save_safetensors(
    model: keras.Model,
    path: str | os.PathLike,
    dtype: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Store the weights of a model, and what is needed to make the model again, in one file.

    A weight has the name of its place in the model, such as "block_1/attention/query/kernel". The
    optimizer, the tokenizer of a language model and the state of dropout are not stored.

    The file gets its name when it is complete: an interrupted call leaves what was there before. A model
    that could not be made again is refused, and equal models give equal bytes.

    Args:
        model: a model of a registered class, such as `kerasllm.models.GPT`, that has its weights.
        path: the file to write, such as "gpt.safetensors".
        dtype: "float16" or "bfloat16" stores a weight in half the space, rounded; "float32" in four bytes.
            Whole numbers, floats of one byte and the scales of quantised layers stay exact. None keeps
            each weight as it is.
        metadata: a dictionary from str to str to store as well: where the weights come from, how
            good they are. `read_metadata` returns it.

    Raises:
        ValueError: if the model has no weights yet, its class is not registered, its settings do not make it
            again, two weights have the same name, a number does not fit into `dtype`, or `metadata` is
            not str to str.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> from kerasllm import models
        >>> path = tempfile.mkdtemp() + "/gpt.safetensors"
        >>> save_safetensors(models.GPT(models.preset("nano", vocabulary_size=65)), path, dtype="float16")
        >>> load_safetensors(path).count_params()
        804096

    Reference: the format is described at https://huggingface.co/docs/safetensors, "Format".
    """
    choice("dtype", dtype, (*DTYPES, None))
    metadata = _checked(metadata)
    name = _registered_name(type(model))
    if not (model.built and model.weights):
        raise ValueError(
            f"{name} has no weights yet, or not all. Build it: model.build((None, None)), or call it once."
        )
    facts = {"format": str(FORMAT), "class": name, **_settings_of(model, name)}
    variables = named(model)
    whole = {_layer(place) for place, weight in variables.items() if not keras.backend.is_float_dtype(weight.dtype)}
    tensors = {
        place: _stored(weight, None if _layer(place) in whole else dtype, place) for place, weight in variables.items()
    }
    write_tensors(path, tensors, metadata | {OURS + key: value for key, value in facts.items()})


def load_safetensors(path: str | os.PathLike, into: keras.Model | None = None, partial: bool = False) -> keras.Model:
    """The model of a file that `save_safetensors` wrote.

    The file may be a stranger's: its settings are compared with what it holds before memory is taken for a
    model, and no code out of it runs.

    Args:
        path: the file.
        into: a model that is built: the file's weights are put into it, and the class and the settings in
            the file are not read. Any safetensors file with the right names serves.
        partial: with `into`: whether the file may hold only some of the model's weights.

    Returns:
        The model with its weights, not compiled. Weights have the dtype that the model had, whatever
        the file rounded them to.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no safetensors file, not one of ours, of a newer format, or of an unknown
            class, or its weights are not those of the model: the message names them.

    Example:
        >>> import tempfile
        >>> from kerasllm import models
        >>> path = tempfile.mkdtemp() + "/gpt.safetensors"
        >>> save_safetensors(models.GPT(models.preset("nano", vocabulary_size=65)), path)
        >>> model = models.GPT(models.preset("nano", vocabulary_size=65))
        >>> load_safetensors(path, into=model) is model
        True
    """
    with read_tensors(path) as (tensors, metadata):
        if into is None:
            model = _made(path, tensors, metadata)
            _compare(path, tensors, described(model))  # names that Keras made up differ from those of the rehearsal
            return model
        variables = named(into)
        _compare(path, tensors, described(into), partial)
        for name, tensor in tensors.items():  # one at a time is in memory beside the model
            variables[name].assign(handed_over(tensor.read(), str(variables[name].dtype)))
        return into


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """What was given to `save_safetensors` as `metadata`; also that of files which others wrote.

    Args:
        path: the file.

    Returns:
        A dictionary from str to str.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no safetensors file.
    """
    with read_tensors(path) as (_, metadata):
        return {key: value for key, value in metadata.items() if not key.startswith(OURS)}


def _registered_name(cls: type) -> str:
    name = keras.saving.get_registered_name(cls)
    if keras.saving.get_registered_object(name) is not cls:
        if cls.__module__.split(".")[0] == "keras":
            fix = (
                'Store a model of Keras\'s own classes with model.save("model.keras"), or put it into a class of yours.'
            )
        else:
            fix = 'Put @keras.saving.register_keras_serializable(package="...") above it.'
        raise ValueError(f"The class {name} is not registered, so a file cannot name it. {fix}")
    return name


def _settings_of(model: keras.Model, name: str) -> dict[str, str]:
    """The settings as text, after the model was made again from them in thought."""
    try:
        texts = {
            "config": json.dumps(model.get_config(), allow_nan=False),
            "build": json.dumps(model.get_build_config(), allow_nan=False),
        }
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"The settings of {name} cannot be stored: {error}. Let get_config() return text, finite numbers, lists "
            "and dictionaries; keras.saving.serialize_keras_object turns a layer into one."
        ) from error
    own = described(model)
    try:
        settings, build = (parse_settings(text) for text in texts.values())
        check_sizes(settings, _elements(own))
        copies = rehearse(type(model), settings, build, copies=2)
    except ValueError as error:
        raise ValueError(f"{name} could not be loaded again: its get_config() does not make it: {error}") from error
    for copy in copies:
        _compare_copy(name, own, copy)
    return texts


def _compare_copy(name: str, own: dict[str, Weight], copy: dict[str, Weight]) -> None:
    """Refuse a model that differs from the one that its settings make."""
    if own == copy:
        return
    if [*own.values()] == [*copy.values()]:
        place = next(one for one, other in zip(own, copy, strict=True) if one != other)
        raise ValueError(f"{place}: Keras made up a name in it, the next model has another. Give the layer name=...")
    missing, extra = [one for one in copy if one not in own], [one for one in own if one not in copy]
    if missing and not extra:
        what = f"this one lacks {_some(missing)}. Build it before: model.build((None, None)), or call it once."
    elif extra and not missing:
        what = f"that has no {_some(extra)}. What was added (LoRA, quantize) must be in get_config()."
    else:
        wrong = [f"{one} ({own[one].shape} {own[one].dtype})" for one in own if own[one] != copy.get(one)]
        what = f"that has no {_some(wrong)}. Let get_config() return every argument, with its value."
    raise ValueError(f"{name} could not be loaded again: its get_config() makes another model, and {what}")


def _elements(weights: Mapping[str, Weight | Tensor]) -> int:
    return sum(math.prod(weight.shape) for weight in weights.values())


def _layer(place: str) -> str:
    return place.rpartition("/")[0]


def _stored(variable: keras.Variable, dtype: str | None, place: str) -> Tensor:
    own = str(variable.dtype)
    # A float of one byte would grow, and lose nothing by staying.
    rounds = dtype and keras.backend.is_float_dtype(own) and not own.startswith("float8")

    def read() -> np.ndarray:
        array = ops.convert_to_numpy(variable.value)
        return _rounded(array, dtype, place) if rounds else array

    return Tensor(dtype if rounds else own, tuple(variable.shape), read)


def _rounded(array: np.ndarray, dtype: str, place: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = array.astype(dtype)
    lost = np.isfinite(array) & ~np.isfinite(rounded)
    if lost.any():
        raise ValueError(
            f"{place} holds {array[lost][0]:g}, which {dtype} cannot hold. Store it with dtype='bfloat16' or 'float32'."
        )
    return rounded


def _checked(metadata: Mapping[str, str] | None) -> dict[str, str]:
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str) or key.startswith(OURS):
            raise ValueError(
                f"metadata must be from str to str, with keys that do not begin with {OURS!r}, "
                f"not {key!r}: {value!r}. Turn the value into text, or rename the key."
            )
    return dict(metadata or {})


def _made(path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> keras.Model:
    """The model that a file describes, made only if it has the weights that are in the file."""
    facts = _facts(path, metadata)
    cls = keras.saving.get_registered_object(facts["class"])
    if not (isinstance(cls, type) and issubclass(cls, keras.Model)):
        raise ValueError(
            f"{path} holds a model of the class {shown(facts['class'])!r}, which is not registered here. "
            "Import the module that defines it, or install a newer kerasllm."
        )
    try:
        settings, build = (parse_settings(facts[key]) for key in ("config", "build"))
        if not isinstance(settings, dict) or not isinstance(build, dict | None):
            raise ValueError("they are no dictionary")
        check_sizes([settings, build], _elements(tensors))
        (expected,) = rehearse(cls, settings, build, tensors=len(tensors))
        _compare(path, tensors, expected)
        return make_with(cls, settings, build, {name: tensor.read for name, tensor in tensors.items()})
    except MisfitError:
        raise
    except ValueError as error:
        raise ValueError(f"{path} holds settings from which {facts['class']} cannot be made: {error}") from error


def _facts(path, metadata: dict[str, str]) -> dict[str, str]:
    facts = {key: metadata.get(OURS + key) for key in ("format", "class", "config")}
    if None in facts.values():
        raise ValueError(
            f"{path} holds weights, but not those of a kerasllm model: it does not say which class they belong to. "
            "Only files of save_safetensors can be loaded; into=model takes the weights alone."
        )
    known = [str(one) for one in range(1, FORMAT + 1)]
    if facts["format"] not in known:
        raise ValueError(
            f"{path} has the format {shown(facts['format'])}; this version of kerasllm reads {' and '.join(known)}. "
            "Install a newer one."
        )
    return facts | {"build": metadata.get(OURS + "build", '{"input_shape": [null, null]}')}


class MisfitError(ValueError):
    """The weights in a file are not those of the model."""


def _compare(path, tensors: dict[str, Tensor], wanted: dict[str, Weight], partial: bool = False) -> None:
    if not partial:
        _refuse(path, "lacks", [name for name in wanted if name not in tensors])
    _refuse(path, "has a weight too many:", sorted(name for name in tensors if name not in wanted))
    pairs = [(name, tensor, wanted[name]) for name, tensor in tensors.items()]
    wrong = [
        f"{shown(name)} ({have.shape}, not {want.shape})" for name, have, want in pairs if have.shape != want.shape
    ]
    _refuse(path, "has another shape of", wrong)
    # A float may be rounded, a whole number of a quantised layer may not be anything else.
    wrong = [
        f"{name} ({have.dtype}, not {want.dtype})"
        for name, have, want in pairs
        if have.dtype != want.dtype and not all(keras.backend.is_float_dtype(one.dtype) for one in (have, want))
    ]
    _refuse(path, "has another dtype of", wrong)


def _refuse(path, what: str, names: list[str]) -> None:
    if names:
        raise MisfitError(
            f"{path} {what} {_some(names)}. "
            "It does not fit the settings that it holds: was it changed, or written by another version of kerasllm?"
        )


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more
