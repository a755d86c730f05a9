"""What layers and models that are made of others share: parts as templates, and parts that were quantised."""

import keras

from kerasllm.common.collecting import short_collections
from kerasllm.common.inside_keras import inner_layers


class Composite:
    """Mixin for layers and models with parts: what `quantize` did to the parts is told in the config and done again.

    A part that was quantised has other variables than the part that the constructor makes. So the config names such
    parts, and `restore_parts`, the last line of `build`, quantises them again before their numbers are read from a
    file. LoRA needs nothing of the kind: Keras stores the merged kernel, and `kerasllm.training.save_adapter` the
    adapter alone.

    Args:
        quantized: for each quantised part its place, such as "attention/query", and how it was quantised: a
            dictionary with "mode" and "config". Written by `get_config`; leave it out.
    """

    def __init__(self, *args, quantized=None, **kwargs):
        super().__init__(*args, **kwargs)
        self._quantized = {place: dict(how) for place, how in (quantized or {}).items()}

    def restore_parts(self):
        """Quantise the parts that the config named. Called when they are built."""
        if not self._quantized:
            return
        parts = dict(parts_of(self))
        with short_collections():
            for place, how in self._quantized.items():
                if place not in parts:
                    raise ValueError(f"The config says that the part {place} is quantised, but {self.name} has none.")
                if parts[place].quantization_mode is None:
                    config = keras.saving.deserialize_keras_object(how["config"]) if how["config"] else None
                    parts[place].quantize(how["mode"], config=config)
        self._quantized = {}

    def get_config(self):
        config = super().get_config()
        quantized = {place: dict(how) for place, how in self._quantized.items()}
        for place, part in parts_of(self):
            if not list(parts_of(part)) and part.quantization_mode is not None:
                given = getattr(part, "quantization_config", None)
                given = keras.saving.serialize_keras_object(given) if given is not None else None
                quantized[place] = {"mode": part.quantization_mode, "config": given}
        return {**config, "quantized": quantized} if quantized else config


class CompositeModel(Composite, keras.Model):
    """A `Composite` that is a model: it may be compiled when it is stored."""

    def quantize(self, *args, **kwargs):
        with short_collections():
            return super().quantize(*args, **kwargs)

    def get_compile_config(self):
        # A file holds merged kernels: there is no LoRA in it that the state of an optimizer could belong to.
        if any(getattr(part, "lora_enabled", False) for _, part in parts_of(self)):
            return None
        return super().get_compile_config()


def parts_of(layer, place=""):
    """All layers inside a layer, each with its place: the names on the way to it, such as "block_1/attention/query".

    Args:
        layer: a layer or model.
        place: what stands in front of each place.

    Yields:
        Pairs of a place and a layer, a parent before its parts.

    Example:
        >>> [place for place, _ in parts_of(keras.Sequential([keras.layers.Dense(1, name="last")]))]
        ['last']
    """
    for part in inner_layers(layer):
        yield place + part.name, part
        yield from parts_of(part, f"{place}{part.name}/")


def named(model):
    """The weights of a model by their places in it, in the model's order.

    Not by `path`: a variable of a layer that was made from a config may have another one.

    Raises:
        ValueError: if two weights have the same name.

    Example:
        >>> from kerasllm import models
        >>> list(named(models.GPT(models.preset("nano", vocabulary_size=65))))[-1]
        'final_norm/gamma'
    """
    places = {id(weight): weight.name for weight in model.weights}
    for place, part in parts_of(model):  # a parent before its parts: the last place is the innermost one
        places |= {id(weight): f"{place}/{weight.name}" for weight in part.weights}
    found = {}
    for weight in model.weights:
        if found.setdefault(places[id(weight)], weight) is not weight:
            raise ValueError(f"Two weights have the name {places[id(weight)]}. Give the layers different names.")
    return found


def template(name, layer, optional=False):
    """`layer`, if it can serve as a template: a layer of Keras without weights yet.

    Args:
        name: the argument's name, for the message.
        layer: what was given.
        optional: whether None is allowed.

    Raises:
        ValueError: if it is something else, with the fix.
    """
    if layer is None and optional:
        return None
    if isinstance(layer, type) and issubclass(layer, keras.layers.Layer):
        raise ValueError(f"{name} must be a layer, not the class {layer.__name__}: write {layer.__name__}(...).")
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"{name} must be a layer, not {layer!r}.")
    if layer.built and layer.weights:
        raise ValueError(f"{name} has weights already, and only its settings would be used: give a new layer.")
    return layer


def stored(layer, name=None):
    """A part as JSON values for its parent's config: its settings, not the shapes it was built for; None stays None.

    Args:
        layer: the part.
        name: a name in place of the one that Keras counts up in each process.
    """
    if layer is None:
        return None
    found = {key: value for key, value in keras.saving.serialize_keras_object(layer).items() if key != "build_config"}
    return found if name is None else {**found, "config": {**found["config"], "name": name}}


def made(config):
    """The part that `stored` wrote down, without weights; None stays None."""
    return None if config is None else keras.saving.deserialize_keras_object(config)


def copy_of(layer, name=None, dtype=None, **changes):
    """A new layer with the settings of another one.

    Parts are given as templates: a block that keeps four normalisations is given one, and each copy has weights and
    initial values of its own and the dtype policy of its parent.

    Args:
        layer: the template; it stays as it is.
        name: name of the copy.
        dtype: dtype policy of the copy; that of the template when None.
        **changes: arguments that differ.

    Returns:
        A layer without weights.

    Example:
        >>> copy_of(keras.layers.Dense(3), name="query", use_bias=False).use_bias
        False
    """
    config = {**layer.get_config(), **({} if dtype is None else {"dtype": dtype}), **changes}
    config["name"] = name or layer.name
    return type(layer).from_config(config)
