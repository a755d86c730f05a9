"""What families of decoders share: from a config to settings, from settings to a config, and whether both agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras

from kerasllm.layers import FeedForward, MixtureOfExperts, MultiHeadAttention, RotaryPositions
from kerasllm.layers.composite import stored
from kerasllm.models import GPTSettings
from kerasllm.models.settings import starts
from kerasllm.weights.families.config import ACTIVATIONS, Config, repeating, rotary_config

# What plays a role in training alone, or names a part.
_NOT_COMPUTED = ("name", "trainable", "dtype", "dropout", "balance", "quantized")


def decoder(
    config: Config,
    attention: Mapping[str, Any],
    feed_forward: FeedForward | MixtureOfExperts,
    rotary: RotaryPositions | list[RotaryPositions],
    windows: list[int | None] | None = None,
    epsilon: float = 1e-6,
    tied: bool = False,
    **settings: Any,
) -> GPTSettings:
    """The settings of a decoder with rotary positions and root-mean-square norms.

    Args:
        config: with the keys that such models share.
        attention: more arguments of `MultiHeadAttention`.
        feed_forward: of each block.
        rotary: of all blocks, or of each.
        windows: how far each block looks; all of the text when None.
        epsilon: of the norms, where the file says nothing.
        tied: whether the head is the table of embeddings, where the file says nothing.
        **settings: more of `GPTSettings`.
    """
    layers, width, heads = (
        config.whole(f"{key}") for key in ("num_hidden_layers", "hidden_size", "num_attention_heads")
    )
    if layers > MOST_LAYERS:
        raise config.refused("num_hidden_layers", f"the most is {MOST_LAYERS:,}")
    small, smaller = starts(layers)
    norm = keras.layers.RMSNormalization(epsilon=config.real("rms_norm_eps", epsilon))
    if attention.get("qk_norm"):
        attention = {**attention, "qk_norm": norm}
    kinds = list(
        zip(windows or [None] * layers, rotary if isinstance(rotary, list) else [rotary] * layers, strict=True)
    )
    made = [
        MultiHeadAttention(
            heads,
            config.whole("head_dim", max(1, width // heads)),
            config.whole("num_key_value_heads", heads),
            causal=True,
            window=window,
            rotary=turned,
            dropout=config.dropout("attention_dropout"),
            kernel_initializer=small,
            output_initializer=smaller,
            **attention,
        )
        for window, turned in kinds[: repeating(kinds)]
    ]
    return GPTSettings(
        vocabulary_size=config.whole("vocab_size"),
        embedding_dim=width,
        num_layers=layers,
        context_length=config.whole("max_position_embeddings"),
        attention=made,
        feed_forward=feed_forward,
        norm=norm,
        tied=config.flag("tie_word_embeddings", tied),
        **settings,
    )


MOST_LAYERS = 1 << 14


def gated(config: Config, activation: str = "hidden_act", use_bias: bool = False, default: str = "silu") -> FeedForward:
    """The feed-forward network of Llama and those after it."""
    return FeedForward(
        config.whole("intermediate_size"),
        activation=config.activation(activation, default),
        gated=True,
        use_bias=use_bias,
    )


def decoder_config(settings: GPTSettings) -> dict[str, Any]:
    """The way back from `decoder`, for the keys that all such models share."""
    attention = settings.attention[0]
    return {
        "vocab_size": settings.vocabulary_size,
        "hidden_size": settings.embedding_dim,
        "num_hidden_layers": settings.num_layers,
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_kv_heads or attention.num_heads,
        "head_dim": attention.head_dim or max(1, settings.embedding_dim // attention.num_heads),
        "intermediate_size": getattr(settings.feed_forward[0], "hidden_dim", 1),
        "hidden_act": activation_name(settings),
        "max_position_embeddings": settings.context_length,
        "rms_norm_eps": getattr(settings.norm, "epsilon", 1e-6),
        "tie_word_embeddings": settings.tied,
        "attention_dropout": attention.dropout,
        **rotary_config(attention.rotary),
    }


def activation_name(settings: GPTSettings, default: str = "silu") -> str:
    """The name that others have for the activation of the feed-forward networks; `default` if it fits or none does."""
    found = _serialized(getattr(settings.feed_forward[0], "activation", None))
    names = [theirs for theirs, ours in ACTIVATIONS.items() if _serialized(_activation(ours)) == found]
    return default if default in names or not names else names[0]


def _activation(name: str):
    return FeedForward(1, activation=name).activation


def _serialized(activation: Any) -> str:
    return repr(keras.activations.serialize(activation)) if callable(activation) else repr(activation)


def window_config(settings: GPTSettings) -> dict[str, Any]:
    """The keys of Qwen for how far each block looks."""
    windows = [settings.attention[i % len(settings.attention)].window for i in range(settings.num_layers)]
    found = [window for window in windows if window is not None]
    if not found:
        return {"use_sliding_window": False, "sliding_window": None}
    first = windows.index(found[0])
    kinds = ["full_attention" if window is None else "sliding_attention" for window in windows]
    return {
        "use_sliding_window": True,
        "sliding_window": found[0],
        "max_window_layers": first,
        "layer_types": kinds,
    }


def facts_of(settings: GPTSettings) -> dict[tuple[str, int], Any]:
    """What a model of these settings computes, as plain values: equal facts are equal models.

    Initial values, dropout and names are left out; what a setting leaves open has the value that follows.

    Returns:
        From the name of a setting and the number of the block, 0 outside of them, to its value.
    """
    names = ("vocabulary_size", "embedding_dim", "num_layers", "context_length", "placement", "embedding_scale", "tied")
    whole = {name: getattr(settings, name) for name in names}
    whole |= _part("norm", settings.norm) | _part("positions", settings.positions)
    found = {(name, 0): value for name, value in whole.items()}
    for kind in ("attention", "feed_forward"):
        parts = [_of_block(kind, part, settings) for part in getattr(settings, kind)]
        for block in range(settings.num_layers):
            found |= {(name, block + 1): value for name, value in parts[block % len(parts)].items()}
    return found


def _of_block(kind: str, part: keras.layers.Layer, settings: GPTSettings) -> dict[str, Any]:
    found = _part(kind, part)
    if isinstance(part, MultiHeadAttention):
        head_dim = part.head_dim or settings.embedding_dim // part.num_heads
        output_bias = part.use_bias if part.output_bias is None else part.output_bias
        more = {"head_dim": head_dim, "num_kv_heads": part.num_kv_heads or part.num_heads, "output_bias": output_bias}
        more["scale"] = part.scale or 1 / math.sqrt(head_dim)
        more["window"] = min(part.window or settings.context_length, settings.context_length)
        found |= {f"attention.{name}": value for name, value in more.items()}
        rotary = part.rotary
        if rotary is not None and (rotary.original_context is None or rotary.factor == 1):
            found |= dict.fromkeys(("attention.rotary.original_context", "attention.rotary.low_turns"))
            found["attention.rotary.high_turns"] = None
    elif isinstance(part, FeedForward):
        found["feed_forward.output_dim"] = part.output_dim or settings.embedding_dim
    return found


def _part(name: str, layer: keras.layers.Layer | None) -> dict[str, Any]:
    return {name: None} if layer is None else _flat(name, stored(layer))


def _flat(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: config["class_name"]}
    for key, value in config["config"].items():
        if key in _NOT_COMPUTED or key.endswith(("initializer", "regularizer", "constraint")):
            continue
        if isinstance(value, dict) and "class_name" in value and key in ("rotary", "qk_norm"):
            found |= _flat(f"{name}.{key}", value)
        else:
            found[f"{name}.{key}"] = value
    return found


def differences(wanted: GPTSettings, had: GPTSettings, zeros: bool = False) -> dict[str, str]:
    """The settings in which two models differ in what they compute, each with both values.

    Args:
        wanted: settings of one model.
        had: settings of another one.
        zeros: whether a bias that only the other one has is no difference, since it can be zero.
    """
    ours, theirs = facts_of(wanted), facts_of(had)
    found = {}
    for name, block in [*ours, *(key for key in theirs if key not in ours)]:
        one, other = ours.get((name, block)), theirs.get((name, block))
        if not _equal(one, other) and not (zeros and name in BIASES and one is False) and name not in found:
            where = f" in block {block}" if block else ""
            found[name] = f"{name} = {one!r:.80}{where} (there {other!r:.80})"
    return found


BIASES = ("norm.center", "attention.use_bias", "attention.output_bias", "feed_forward.use_bias")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return one == other
