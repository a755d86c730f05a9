"""EfficientNet-Lite from the files of PyTorch, with the names of EfficientNet-PyTorch.

    ours                              theirs
    block_1/depthwise/kernel          _blocks.0._depthwise_conv.weight    turned: (channels, 1, height, width)
    block_2/expand_norm/gamma         _blocks.1._bn0.weight               of a block that does not expand there is none

Reference: model.py of https://github.com/lukemelas/EfficientNet-PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kerasllm.models import EfficientNet, EfficientNetSettings
from kerasllm.weights.rehearsal import make_with, rehearse
from kerasllm.weights.tensors import Tensor, shown

# The table of layers, and of a layer's weights.
LAYERS = {"stem": "_conv_stem", "stem_norm": "_bn0", "top": "_conv_head", "top_norm": "_bn1", "logits": "_fc"}
BLOCK = {
    **{"expand": "_expand_conv", "expand_norm": "_bn0", "depthwise": "_depthwise_conv", "depthwise_norm": "_bn1"},
    **{"project": "_project_conv", "project_norm": "_bn2"},
}
WEIGHTS = {
    **{"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"},
    **{"moving_mean": "running_mean", "moving_variance": "running_var"},
}
PASSED_OVER = "num_batches_tracked"  # how often a normalisation was trained
# From the axes of PyTorch's kernel to those of Keras.
DENSE, CONVOLUTION, DEPTHWISE = (1, 0), (2, 3, 1, 0), (2, 3, 0, 1)


def efficientnet_of(
    tensors: Mapping[str, Tensor], where: Any, settings: EfficientNetSettings | None = None, dtype: Any = None
) -> EfficientNet:
    """The model of tensors, each read when its weight is made.

    Args:
        tensors: from the names of EfficientNet-PyTorch to `Tensor`.
        where: their file, for messages.
        settings: of the model; those of EfficientNet-Lite0 when None.
        dtype: dtype policy of the model.

    Returns:
        A `kerasllm.models.EfficientNet`.

    Raises:
        ValueError: if a tensor is missing, unknown, or has another shape or dtype than the settings ask for.
    """
    settings = EfficientNetSettings(dropout=0.2) if settings is None else settings
    stored = {"settings": settings.get_config()} | ({} if dtype is None else {"dtype": dtype})
    (weights,) = rehearse(EfficientNet, stored, None)
    names = {place: name_of(place) for place in weights}
    extra = [name for name in tensors if name not in names.values() and not name.endswith("." + PASSED_OVER)]
    missing = [name for name in names.values() if name not in tensors]
    for what, found in (("lacks", missing), ("has no place in an EfficientNet of these settings for", extra)):
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise ValueError(f"{where} {what} the tensor {shown(found[0])}{more}.")
    for place, weight in weights.items():
        tensor, axes = tensors[names[place]], axes_of(place)
        fits = len(tensor.shape) == len(axes) and tuple(tensor.shape[axis] for axis in axes) == weight.shape
        if not fits or "float" not in tensor.dtype:
            raise ValueError(
                f"{where} has {names[place]} of the shape {tuple(tensor.shape)} in {tensor.dtype}; {place} is "
                f"{weight.shape} in floats."
            )
    return make_with(EfficientNet, stored, None, {place: _value(tensors[names[place]], place) for place in weights})


def name_of(place: str) -> str:
    """The name of a weight in the file.

    Example:
        >>> name_of("block_3/expand_norm/moving_mean")
        '_blocks.2._bn0.running_mean'
    """
    *block, layer, weight = place.split("/")
    if block:
        number = int(re.fullmatch(r"block_(\d+)", block[0])[1])
        return f"_blocks.{number - 1}.{BLOCK[layer]}.{WEIGHTS[weight]}"
    return f"{LAYERS[layer]}.{WEIGHTS[weight]}"


def axes_of(place: str) -> tuple[int, ...]:
    """The axes of the file's tensor in the order of ours."""
    layer, weight = place.split("/")[-2:]
    if weight != "kernel":
        return (0,)
    return {"logits": DENSE, "depthwise": DEPTHWISE}.get(layer, CONVOLUTION)


def _value(tensor: Tensor, place: str):
    return lambda: tensor.read().transpose(axes_of(place))
