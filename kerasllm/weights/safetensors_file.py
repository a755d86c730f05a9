"""A model as one safetensors file: its weights by name, and its class and settings as text."""

import json
import os
from pathlib import Path

import keras
import numpy as np
from keras import ops
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

import kerasllm.models  # noqa: F401  registers the classes that a file may name

FORMAT = 1
OURS = "kerasllm."  # how the keys begin that no metadata of the caller may have
DTYPES = ("float32", "float16", "bfloat16")


def save_safetensors(model, path, dtype=None, metadata=None):
    """Store the weights of a model, and what is needed to make the model again, in one file.

    A weight has the name of its place in the model, such as "block_1/attention/query/kernel". The
    optimizer, the tokenizer of a language model and the state of dropout are not stored.

    The file gets its name when it is complete: an interrupted call leaves what was there before.

    Args:
        model: a model of a registered class, such as `kerasllm.models.GPT`, that has its weights.
        path: the file to write, such as "gpt.safetensors".
        dtype: "float16" or "bfloat16" stores a weight in half the space, rounded; "float32" in four bytes.
            None keeps each weight as it is.
        metadata: a dictionary from str to str to store as well: where the weights come from, how
            good they are. `read_metadata` returns it.

    Raises:
        ValueError: if the model has no weights yet, its class is not registered, two weights have the
            same name, a number does not fit into `dtype`, or `metadata` is not str to str.

    Example:
        >>> import tempfile
        >>> from kerasllm import models
        >>> path = tempfile.mkdtemp() + "/gpt.safetensors"
        >>> save_safetensors(models.gpt("nano", vocabulary_size=65), path, dtype="float16")
        >>> load_safetensors(path).count_params()
        804096

    Reference: the format is described at https://huggingface.co/docs/safetensors, "Format".
    """
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, or None, not {dtype!r}.")
    name = keras.saving.get_registered_name(type(model))
    if keras.saving.get_registered_object(name) is not type(model):
        raise ValueError(
            f"The class {name} is not registered, so a file cannot name it. "
            'Put @keras.saving.register_keras_serializable(package="...") above it.'
        )
    if not model.weights:
        raise ValueError(f"{name} has no weights yet. Build it: model.build((None, None)), or call it once.")
    arrays = {weight: _stored(value, dtype, weight) for weight, value in _named(model).items()}
    facts = {"format": str(FORMAT), "class": name, "config": json.dumps(model.get_config())}
    path = Path(path)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.touch()
        usual = unfinished.stat().st_mode
        save_file(arrays, unfinished, _checked(metadata) | {OURS + key: value for key, value in facts.items()})
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        unfinished.chmod(usual)  # safetensors makes a file that only its owner can read
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_safetensors(path):
    """The model of a file that `save_safetensors` wrote.

    Args:
        path: the file.

    Returns:
        The model with its weights, not compiled. Weights have the dtype that the model had, whatever
        the file rounded them to.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no safetensors file, not one of ours, of a newer format, or of an unknown
            class, or its weights are not those of the model: the message names them.
    """
    with _opened(path) as file:
        facts = _facts(path, file)
        model = _made(path, facts["class"], facts["config"])
        wanted, found = _named(model), set(file.keys())
        _refuse(path, "lacks", [name for name in wanted if name not in found])
        _refuse(path, "has a weight too many:", sorted(found - set(wanted)))
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in wanted}
        wrong = [name for name, variable in wanted.items() if shapes[name] != tuple(variable.shape)]
        _refuse(path, "has another shape of", [f"{w} ({shapes[w]}, not {tuple(wanted[w].shape)})" for w in wrong])
        for name, variable in wanted.items():
            try:
                variable.assign(ops.cast(file.get_tensor(name), variable.dtype))
            except SafetensorError as error:
                raise ValueError(f"{path}: the weight {name} cannot be read ({error}). Bring the file anew.") from None
    return model


def read_metadata(path):
    """What was given to `save_safetensors` as `metadata`; also that of files which others wrote.

    Args:
        path: the file.

    Returns:
        A dictionary from str to str.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no safetensors file.
    """
    with _opened(path) as file:
        return {key: value for key, value in (file.metadata() or {}).items() if not key.startswith(OURS)}


def _named(model):
    """The weights of a model by their places in it, in the model's order.

    Not by `path`: a variable of a layer that was made from a config may have another one.
    """
    places = {}

    def walk(layer, place):
        for child in layer._flatten_layers(include_self=False, recursive=False):
            walk(child, f"{place}{child.name}/")
        for weight in layer.weights:
            places.setdefault(id(weight), place + weight.name)  # a child's weights are there already

    walk(model, "")
    named = {}
    for weight in model.weights:
        if named.setdefault(places[id(weight)], weight) is not weight:
            raise ValueError(f"Two weights have the name {places[id(weight)]}. Give the layers different names.")
    return named


def _stored(variable, dtype, name):
    array = np.ascontiguousarray(ops.convert_to_numpy(variable.value)).reshape(variable.shape)  # keeps shape ()
    if dtype is None or not keras.backend.is_float_dtype(str(array.dtype)):
        return array
    with np.errstate(over="ignore"):
        rounded = array.astype(keras.backend.standardize_dtype(dtype))
    lost = np.isfinite(array) & ~np.isfinite(rounded)
    if lost.any():
        raise ValueError(
            f"{name} holds {array[lost][0]:g}, which {dtype} cannot hold. Store it with dtype='bfloat16' or 'float32'."
        )
    return rounded


def _checked(metadata):
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str) or key.startswith(OURS):
            raise ValueError(
                f"metadata must be from str to str, with keys that do not begin with {OURS!r}, "
                f"not {key!r}: {value!r}. Turn the value into text, or rename the key."
            )
    return dict(metadata or {})


def _opened(path):
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}. Write one with save_safetensors(model, path).")
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or not a whole one ({error}). Bring it anew.") from None


def _facts(path, file):
    stored = file.metadata() or {}
    facts = {key: stored.get(OURS + key) for key in ("format", "class", "config")}
    if None in facts.values():
        raise ValueError(
            f"{path} holds weights, but not those of a kerasllm model: it does not say which class they belong to. "
            "Only files of save_safetensors can be loaded."
        )
    if facts["format"] != str(FORMAT):
        raise ValueError(
            f"{path} has the format {facts['format']}; this version of kerasllm reads {FORMAT}. Install a newer one."
        )
    return facts


def _made(path, name, config):
    cls = keras.saving.get_registered_object(name)
    if not (isinstance(cls, type) and issubclass(cls, keras.Model)):
        raise ValueError(
            f"{path} holds a model of the class {name!r}, which is not registered here. "
            "Import the module that defines it, or install a newer kerasllm."
        )
    try:
        model = cls.from_config(json.loads(config))
        if not model.built:
            model.build((None, None))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds settings from which {name} cannot be made: {error}") from error
    return model


def _refuse(path, what, names, shown=3):
    if names:
        more = f" and {len(names) - shown} more" if len(names) > shown else ""
        raise ValueError(
            f"{path} {what} {', '.join(names[:shown])}{more}. "
            "It does not fit the settings that it holds: was it changed, or written by another version of kerasllm?"
        )
