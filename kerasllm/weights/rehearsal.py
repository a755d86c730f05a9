"""A model from settings: which weights it would have, before memory is taken, and then with its weights at once."""

from __future__ import annotations

import copy
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import keras
import numpy as np

from kerasllm.common.inside_keras import forget_waiting_variables, set_initializer
from kerasllm.layers.backend import handed_over
from kerasllm.layers.composite import named

LARGEST = 2**24  # no size of a known model is larger: contexts end at 10 million, vocabularies at 300,000
SPARE = 100


class Weight(NamedTuple):
    """What a weight will be."""

    shape: tuple[int, ...]
    dtype: str


def parse_settings(text: str) -> object:
    """The value of a JSON text. NaN, infinity and depth without end are refused.

    Raises:
        ValueError: if it is no such text.

    Example:
        >>> parse_settings('{"units": 3}')
        {'units': 3}
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("they are nested too deeply") from None


def _no_number(name: str):
    raise ValueError(f"{name} is not a number")


def check_sizes(settings: object, elements: int) -> None:
    """Refuse numbers that no model with `elements` weights needs, before something of that size is made.

    Args:
        settings: what `parse_settings` returned.
        elements: how many numbers the file holds.

    Raises:
        ValueError: if a whole number is above both `elements` and 2**24 (seeds excepted), a number is not
            finite, or an array has a dtype that is none of Keras.
    """
    most = max(elements, LARGEST)
    rest = [("the settings", settings)]
    while rest:
        name, value = rest.pop()
        if isinstance(value, dict):
            rest.extend(value.items())
            if value.get("class_name") == "__numpy__":  # "S1000000000" is a dtype of NumPy
                keras.utils.standardize_dtype((value.get("config") or {}).get("dtype"))
        elif isinstance(value, list):
            rest.extend((name, one) for one in value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is {value}, which is no number")
        elif isinstance(value, int) and abs(value) > most and name != "seed":
            raise ValueError(f"{name} is {value}, but the file holds {elements} numbers in all")


def make(cls: type[keras.Model], settings: dict, build: dict | None) -> keras.Model:
    """The model of a class from its settings, built.

    Args:
        cls: a class of models.
        settings: what its `get_config` returned.
        build: what its `get_build_config` returned: the shapes of its inputs.

    Returns:
        A model.

    Raises:
        ValueError: if it cannot be made; the reason is the message.
    """
    try:
        model = cls.from_config(copy.deepcopy(settings))  # a class may change what it is given
        if not model.built and build:
            build = {key: _as_shapes(value) for key, value in build.items()}
            if "input_shape" in build and type(model).build is not keras.Model.build:
                model.build(build["input_shape"])  # build_from_config hides errors
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # whoever compares the weights says more
                    model.build_from_config(build)
    except Exception as error:  # a class may stumble over settings of strangers in any way
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(reason[:500]) from error
    return model


def _as_shapes(value):
    """JSON has no tuples, and to Keras a list is a list of shapes."""
    if isinstance(value, dict):
        return {key: _as_shapes(one) for key, one in value.items()}
    if isinstance(value, list):
        return tuple(value) if all(one is None or isinstance(one, int) for one in value) else [*map(_as_shapes, value)]
    return value


def rehearse(
    cls: type[keras.Model], settings: dict, build: dict | None, tensors: int | None = None, copies: int = 1
) -> list[dict[str, Weight]]:
    """The weights that `make` would give, by name, without the memory for them.

    Keras makes variables without numbers in a `keras.StatelessScope`. A thread of its own has its own scopes and
    counts names from the start: nothing is left behind when it ends, whatever happened in it.

    Args:
        cls: a class of models.
        settings: what its `get_config` returned.
        build: what its `get_build_config` returned.
        tensors: how many tensors the file has; making many more layers or weights than that is stopped. None
            trusts the settings.
        copies: how many models are made. Names that Keras makes up ("dense_1") differ from copy to copy.

    Returns:
        For each copy a dictionary from each name to a `Weight`.

    Raises:
        ValueError: if the model cannot be made, or grows far beyond the file.

    Example:
        >>> from kerasllm import models
        >>> (names,) = rehearse(models.LSTMLanguageModel, {"vocabulary_size": 10**7}, {"input_shape": [None, None]})
        >>> names["embedding/embeddings"]
        Weight(shape=(10000000, 64), dtype='float32')
    """

    def play() -> list[dict[str, Weight]]:
        with keras.StatelessScope(initialize_variables=False), _stopped_beyond(tensors):
            return [described(make(cls, settings, build)) for _ in range(copies)]

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(play).result()


def make_with(
    cls: type[keras.Model], settings: dict, build: dict | None, values: Mapping[str, Callable[[], np.ndarray]]
) -> keras.Model:
    """What `make` gives, each weight made from its value: no random numbers are drawn and nothing is held twice.

    Args:
        cls: a class of models.
        settings: what its `get_config` returned.
        build: what its `get_build_config` returned.
        values: from the name of a weight to a function that brings its value.

    Returns:
        A model. A weight without a value has its initial one.

    Raises:
        ValueError: if it cannot be made.
    """
    try:
        with keras.StatelessScope():  # Keras gives the variables their numbers at its end
            model = make(cls, settings, build)
            for name, variable in named(model).items():
                if name in values:
                    set_initializer(variable, _initializer(values[name]))
    except BaseException:  # a value could not be brought
        forget_waiting_variables()
        raise
    return model


def _initializer(value: Callable[[], np.ndarray]):
    def initializer(shape, dtype=None):
        return handed_over(value().reshape(shape), dtype)

    return initializer


@contextmanager
def _stopped_beyond(tensors: int | None) -> Iterator[None]:
    """Stop the thread's work when it makes many more layers, or weights, than a file has tensors."""
    if tensors is None:
        yield
        return
    # Python calls the function below at every call: the one place to stand between a class and its own loop.
    made = {keras.layers.Layer.__init__.__code__: 0, keras.layers.Layer.add_weight.__code__: 0}
    most = SPARE + 2 * tensors

    def check() -> None:
        if max(made.values()) > most:
            raise ValueError(f"they make more than {most} layers or weights, but the file holds {tensors} tensors")

    def count(frame, event, argument) -> None:
        if event == "call" and frame.f_code in made:
            made[frame.f_code] += 1
            check()

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
    check()  # Keras has places that hide every error


def described(model: keras.Model) -> dict[str, Weight]:
    """The weights of a model by name: what `rehearse` returns, for a model that is there."""
    return {name: Weight(tuple(weight.shape), str(weight.dtype)) for name, weight in named(model).items()}
