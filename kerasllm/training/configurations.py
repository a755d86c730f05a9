"""What a model and its optimizer are, as data that can be compared with those of another process."""

from __future__ import annotations

import json

import keras

# Names are counted in a process, first values are overwritten by a state, and shapes say what was built.
IGNORED = {"name", "module", "seed", "build_config", "build_input_shape", "compile_config", "shared_object_id"}


def configuration(model: keras.Model) -> dict:
    """The settings of a model and its optimizer, without what may differ between two starts of one script.

    That is: names (Keras counts them), seeds and initializers.

    Args:
        model: a compiled Keras model.

    Returns:
        A dictionary of what JSON can hold. A model that cannot give its config has its class alone in it.

    Example:
        >>> model = keras.Sequential([keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> configuration(model)["model"]["layers"][0]["config"]["units"]
        4
    """
    try:
        settings = model.get_config()
    except NotImplementedError:  # a subclass with arguments and no config
        settings = {}
    found = {
        "model_class": type(model).__name__,
        "model": settings,
        "optimizer": keras.saving.serialize_keras_object(model.optimizer),
    }
    found = json.loads(json.dumps(found, default=_plain))
    return {name: _without_names(part, _places(part)) for name, part in found.items()}


def first_difference(stored, found, ignored: tuple[str, ...] = (), at: str = "") -> str | None:
    """Where two configurations differ first, as "place: value in the state, value here"; None if nowhere.

    A setting that one of them lacks, as after an update of Keras, counts as one that is off.

    Args:
        stored: the one of the state.
        found: the one of this process.
        ignored: keys that may differ.
        at: where in the whole the two stand.

    Returns:
        A line of text, or None.

    Example:
        >>> first_difference({"model": {"num_heads": 2}}, {"model": {"num_heads": 4}})
        'model.num_heads is 2 in the state and 4 here'
    """
    if isinstance(stored, dict) and isinstance(found, dict):
        pairs = [(key, stored.get(key), found.get(key)) for key in dict.fromkeys([*stored, *found])]
        differ = (
            first_difference(one, other, ignored, f"{at}.{key}" if at else key)
            for key, one, other in pairs
            if key not in ignored
        )
    elif isinstance(stored, list) and isinstance(found, list) and len(stored) == len(found):
        pairs = enumerate(zip(stored, found, strict=True))
        differ = (first_difference(one, other, ignored, f"{at}[{i}]") for i, (one, other) in pairs)
    elif stored == found or (not stored and not found and None in (stored, found)):
        return None
    else:
        return f"{at} is {_short(stored)} in the state and {_short(found)} here"
    return next(filter(None, differ), None)


def _short(value) -> str:
    if isinstance(value, dict) and "class_name" in value:
        return value["class_name"]
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value):
    """For what JSON does not know: NumPy's numbers, Keras' objects; of anything else only its kind."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "get_config"):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    return getattr(value, "__name__", type(value).__name__)


def _places(part) -> dict[str, int]:
    """The names of layers, each with its place: in it, another process has the same layer."""
    names = {}

    def look(part):
        if isinstance(part, dict):
            if isinstance(part.get("name"), str):
                names.setdefault(part["name"], len(names))
            part = part.values()
        if not isinstance(part, str) and hasattr(part, "__iter__"):
            for one in part:
                look(one)

    look(part)
    return names


def _without_names(part, places, pointer=False):
    if isinstance(part, dict) and str(part.get("class_name")).endswith("DTypePolicy"):
        return part  # its name is what it is
    if isinstance(part, dict):
        return {
            key: _without_names(value, places, key in ("keras_history", "input_layers", "output_layers"))
            for key, value in part.items()
            if key not in IGNORED and not key.endswith("initializer")
        }
    if isinstance(part, list):
        return [_without_names(one, places, pointer) for one in part]
    return places.get(part, part) if pointer and isinstance(part, str) else part
