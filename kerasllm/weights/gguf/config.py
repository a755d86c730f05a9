"""The settings of a model in the metadata of a GGUF file, and in the form of Hugging Face's config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasllm.weights.gguf.architectures import ARCHITECTURES, Architecture
from kerasllm.weights.tensors import shown

# Settings that change what a model computes and that no model of these architectures has here.
_REFUSED = (
    *("expert_count", "attention.scale", "logit_scale", "embedding_scale", "residual_scale", "attn_logit_softcapping"),
    *("attention.causal", "attention.max_alibi_bias", "attention.clamp_kqv"),
)
_IDS = {
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.eos_token_id": "eos_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
}
# What llama.cpp takes where a file says nothing.
_DEFAULTS = {"rope.freq_base": 10000.0}
_GEMMA_DEFAULTS = {"rope.freq_base": 1e6}
GEMMA_PATTERN = 6  # each sixth block of Gemma 3 looks at the whole text
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


class Settings:
    """The metadata of a file, asked for one architecture's settings; what is missing or odd is refused by name."""

    def __init__(self, path: Any, metadata: Mapping[str, Any]) -> None:
        self.path, self.metadata = path, metadata
        name = metadata.get("general.architecture")
        if name not in ARCHITECTURES:
            raise self.wrong(
                f"is of the architecture {shown(repr(name))}; those that are read are {', '.join(ARCHITECTURES)}."
            )
        self.name: str = name
        self.architecture: Architecture = ARCHITECTURES[name]
        for key in _REFUSED:
            if self.get(key) not in (None, 0, False):
                raise self.wrong(
                    f"has the setting {name}.{key} = {shown(repr(self.get(key)))}, which is not supported."
                )
        if metadata.get("split.count", 0) not in (0, 1):
            raise self.wrong(f"is one part of {metadata['split.count']}. Join them: llama-gguf-split --merge.")

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"{self.path} {what}")

    def get(self, key: str, default: Any = None) -> Any:
        return self.metadata.get(f"{self.name}.{key}", default)

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number from 1 up."""
        found = self.get(key, default)
        if type(found) is not int or not 0 < found < 1 << 31:
            raise self.wrong(f"should have a whole number above 0 as {self.name}.{key}, not {shown(repr(found))}.")
        return found

    def real(self, key: str, default: float | None = None) -> float:
        """A number above 0, as the shortest decimal that has this float32: 1e-05, not 9.999999747378752e-06."""
        found = self.get(key, default)
        with np.errstate(over="ignore"):
            rounded = np.float32(found) if type(found) in (int, float) else np.float32(0)
        if not 0 < rounded < math.inf:
            raise self.wrong(f"should have a number above 0 as {self.name}.{key}, not {shown(repr(found))}.")
        return float(str(rounded))


def config_of(settings: Settings, rows: int, tied: bool, frequencies: np.ndarray | None) -> dict[str, Any]:
    """The settings in the form of config.json.

    Args:
        settings: of the file.
        rows: of the table of embeddings, the size of the vocabulary.
        tied: whether the head is that table.
        frequencies: rope_freqs.weight, float32 (head_dim / 2,), if the file has it.

    Raises:
        ValueError: if a setting is missing, odd or not supported.
    """
    known = settings.architecture
    config = {"model_type": known.model_type, "architectures": [known.class_name], **known.constants}
    config |= {"vocab_size": rows, "tie_word_embeddings": tied}
    heads, width = settings.whole("attention.head_count"), settings.whole("embedding_length")
    whole = {
        "attention.head_count_kv": heads,
        "attention.key_length": settings.get("rope.dimension_count") or width // heads,
        "feed_forward_length": 4 * width if settings.name == "gpt2" else None,
    }
    floats = _GEMMA_DEFAULTS if settings.name == "gemma3" else _DEFAULTS
    for key, theirs in known.settings.items():
        if "epsilon" in key or key in floats:
            config[theirs] = settings.real(key, floats.get(key))
        elif key == "final_logit_softcapping":
            config[theirs] = settings.real(key) if settings.get(key) else None
        else:
            config[theirs] = settings.whole(key, whole.get(key))
    if settings.name != "gpt2":
        _check_heads(settings, config)
        config["rope_scaling"] = _rope_scaling(settings, config, frequencies)
    if settings.name == "gemma3":
        config |= _gemma(settings, config)
    ids = {theirs: settings.metadata[key] for key, theirs in _IDS.items() if key in settings.metadata}
    return config | ids


def metadata_of(name: str, config: Mapping[str, Any], tied: bool) -> tuple[dict[str, Any], np.ndarray | None]:
    """The metadata of a GGUF file for a config.json, and rope_freqs.weight where it needs that: see `config_of`.

    Raises:
        ValueError: if a setting is missing, or has no place in a GGUF file: read back, it would be another.
    """
    known, config = ARCHITECTURES[name], _flat(config)
    metadata: dict[str, Any] = {"general.architecture": name}
    needed = ("vocab_size", *(known.settings[key] for key in ("attention.head_count", "embedding_length")))
    for theirs in needed:
        if theirs not in config:
            raise ValueError(f"The config of a {known.model_type} lacks {theirs!r}, which a GGUF file needs.")
    rows, heads, width = (config[theirs] for theirs in needed)
    base = _GEMMA_DEFAULTS if name == "gemma3" else _DEFAULTS
    other = {"head_dim": width // heads, "num_key_value_heads": heads, "n_inner": 4 * width}
    other["rope_theta"] = base["rope.freq_base"]
    for key, theirs in known.settings.items():
        value = other.get(theirs) if config.get(theirs) is None else config[theirs]
        if value is not None:
            metadata[f"{name}.{key}"] = float(value) if key == "rope.freq_base" else value
        elif theirs != "final_logit_softcapping":
            raise ValueError(f"The config of a {known.model_type} lacks {theirs!r}, which a GGUF file needs.")
    metadata[f"{name}.vocab_size"] = rows
    factors = None
    if name != "gpt2":
        head_dim = metadata[f"{name}.attention.key_length"]
        metadata |= {f"{name}.attention.value_length": head_dim, f"{name}.rope.dimension_count": head_dim}
        scaling = config.get("rope_scaling") or {}
        metadata |= _scaling_metadata(name, scaling)
        if scaling.get("rope_type", scaling.get("type")) == "llama3":
            factors = llama3_factors(head_dim, metadata[f"{name}.rope.freq_base"], scaling)
    for key, theirs in _IDS.items():
        if isinstance(config.get(theirs), int):  # a list has several ends; the tokenizer says which are which
            metadata[key] = config[theirs]
    _check_returns(config, config_of(Settings("This config", metadata), rows, tied, factors))
    return metadata, factors


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config in which "rope_parameters", as transformers 5 writes them, became "rope_theta" and "rope_scaling"."""
    config = dict(config)
    parameters = config.get("rope_parameters") or {}
    whole = parameters.get("full_attention", parameters)
    if whole and "rope_theta" not in config:
        config["rope_theta"] = whole["rope_theta"]
        config["rope_scaling"] = whole if whole.get("rope_type", "default") != "default" else None
    if "rope_theta" in parameters.get("sliding_attention", {}):
        config.setdefault("rope_local_base_freq", parameters["sliding_attention"]["rope_theta"])
    return config


def _check_returns(config: Mapping[str, Any], returned: Mapping[str, Any]) -> None:
    for key in returned.keys() & config.keys() - {"architectures", "rope_scaling", *_IDS.values()}:
        value, found = config[key], returned[key]
        numbers = isinstance(value, float) and isinstance(found, float)
        if value is not None and (np.float32(value) != np.float32(found) if numbers else value != found):
            raise ValueError(
                f"The setting {key} = {value!r:.200} has no place in a GGUF file: read back it is {found!r:.200}."
            )


def llama3_factors(head_dim: int, base: float, scaling: Mapping[str, float]) -> np.ndarray:
    """By how much Llama 3 slows each frequency of its rotary positions, for texts longer than it was trained on.

    Waves that are short beside the length of training stay, long ones get `factor` times longer, and between both
    bounds the change is smooth.

    Args:
        head_dim: the width of a head.
        base: of the frequencies, rope_theta.
        scaling: rope_scaling of config.json.

    Returns:
        float32 (head_dim / 2,).

    Reference: ``_compute_llama3_parameters`` in modeling_rope_utils.py of
    https://github.com/huggingface/transformers.
    """
    waves = 2 * np.pi * base ** (np.arange(0, head_dim, 2) / head_dim)
    length, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = (length / waves - low) / (high - low)
    smooth = 1 / ((1 - kept) / factor + kept)
    factors = np.where(waves < length / high, 1.0, np.where(waves > length / low, factor, smooth))
    return factors.astype("float32")


def _check_heads(settings: Settings, config: Mapping[str, Any]) -> None:
    for key in ("attention.value_length", "rope.dimension_count"):
        if settings.get(key, config["head_dim"]) != config["head_dim"]:
            raise settings.wrong(
                f"has {settings.name}.{key} = {shown(repr(settings.get(key)))} beside heads of {config['head_dim']}; "
                "they must be equal."
            )
    if config["num_attention_heads"] % config["num_key_value_heads"]:
        raise settings.wrong(
            f"has {config['num_attention_heads']} query heads for {config['num_key_value_heads']} key heads; the first "
            f"({settings.name}.attention.head_count) must be a multiple of the second."
        )


def _rope_scaling(settings: Settings, config: Mapping[str, Any], factors: np.ndarray | None) -> dict[str, Any] | None:
    kind = settings.get("rope.scaling.type", "none")
    if factors is not None and not (factors == 1).all():
        found = {"rope_type": "llama3", "factor": float(str(factors.max())), **_LLAMA3}
        expected = llama3_factors(config["head_dim"], config["rope_theta"], found)
        if kind != "none" or factors.shape != expected.shape or not np.allclose(factors, expected, rtol=1e-4):
            raise settings.wrong(
                "has rope_freqs.weight with factors that are not those of Llama 3.1 to 3.3 (low 1, high 4, trained on "
                "8,192): other ones are not supported."
            )
        return found
    if kind == "none":
        return None
    if kind not in ("linear", "yarn"):
        raise settings.wrong(f"has {settings.name}.rope.scaling.type = {shown(repr(kind))}; known are linear and yarn.")
    found = {"rope_type": kind, "factor": settings.real("rope.scaling.factor")}
    if kind == "yarn":
        found["original_max_position_embeddings"] = settings.whole("rope.scaling.original_context_length")
    return found


def _scaling_metadata(name: str, scaling: Mapping[str, Any]) -> dict[str, Any]:
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind in (None, "default", "llama3"):
        return {}
    if kind not in ("linear", "yarn"):
        raise ValueError(
            f"rope_scaling of the kind {kind!r} cannot be written to a GGUF file; linear, yarn and llama3 can."
        )
    metadata = {f"{name}.rope.scaling.type": kind, f"{name}.rope.scaling.factor": float(scaling["factor"])}
    if kind == "yarn":
        metadata[f"{name}.rope.scaling.original_context_length"] = scaling["original_max_position_embeddings"]
    return metadata


def _gemma(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """What llama.cpp knows of Gemma 3 without the file: which blocks see all, and by what scores are divided."""
    pattern, blocks = settings.get("attention.sliding_window_pattern", GEMMA_PATTERN), config["num_hidden_layers"]
    if isinstance(pattern, list):
        local = [bool(one) for one in pattern]
    elif type(pattern) is int and pattern > 0:
        local = [(block + 1) % pattern != 0 for block in range(blocks)]
    else:
        local = []
    if len(local) != blocks:
        raise settings.wrong(f"has a gemma3.attention.sliding_window_pattern that does not fit {blocks} blocks.")
    # The one of 27 billion parameters, with 62 blocks, divides by the width a head would have, not by what it has.
    scaled_by = config["hidden_size"] // config["num_attention_heads"] if blocks == 62 else config["head_dim"]
    return {
        "query_pre_attn_scalar": scaled_by,
        "layer_types": ["sliding_attention" if one else "full_attention" for one in local],
        **({"sliding_window_pattern": pattern} if isinstance(pattern, int) else {}),
    }
