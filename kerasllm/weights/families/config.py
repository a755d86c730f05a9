"""A config.json of others, asked key by key: what nobody asked for is known to be harmless, or refused by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from kerasllm.layers import RotaryPositions
from kerasllm.weights.rehearsal import LARGEST
from kerasllm.weights.tensors import shown

# Keys that do not change what a model computes: where it came from, how it is to be run or written with, other heads.
HARMLESS = frozenset(
    """
    _name_or_path name_or_path _commit_hash transformers_version model_type architectures torch_dtype dtype use_bfloat16
    use_cache initializer_range pretraining_tp is_llama_config transformers.js_config unsloth_fixed unsloth_version
    bos_token_id eos_token_id pad_token_id sep_token_id unk_token_id decoder_start_token_id tokenizer_class prefix
    task_specific_params finetuning_task problem_type id2label label2id num_labels is_decoder
    output_attentions output_hidden_states return_dict torchscript gradient_checkpointing chunk_size_feed_forward
    attn_implementation _attn_implementation _attn_implementation_autoset cache_implementation
    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
    typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
    num_return_sequences output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id
    remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens
    summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
    reorder_and_upcast_attn output_router_logits router_aux_loss_coef router_jitter_noise
    """.split()
)
# Keys that switch on something that no model here has, by the values that leave it off. None always does.
OFF: Mapping[str, tuple] = {
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_encoder_decoder": (False,),
    "pruned_heads": ({},),
    "rope_interleaved": (False,),
    "partial_rotary_factor": (1.0, 1),
    "use_mrope": (False,),
    "use_bidirectional_attention": (False,),
}
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "squared_relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
KINDS = ("full_attention", "sliding_attention")
LARGEST_REAL = 1e30
_SCALING = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


class Config:
    """The settings of a config.json.

    Args:
        where: the file, for messages.
        content: what stands in it.
        ignore: keys of it that are passed over.
    """

    def __init__(self, where: Any, content: Mapping[str, Any], ignore: Iterable[str] = ()) -> None:
        self.where, self.ignore = where, frozenset(ignore)
        self.content = {key: value for key, value in content.items() if key not in self.ignore}
        self._asked: set[str] = set()

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"{self.where} {what}")

    def refused(self, key: str, fits: str) -> ValueError:
        return self.wrong(f"has {shown(key)} = {shown(repr(self.content.get(key)))}; {fits}.")

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; `default` where it is missing or null."""
        self._asked.add(key)
        found = self.content.get(key)
        return default if found is None else found

    def defaults(self, values: Mapping[str, Any]) -> None:
        """Values of keys that are missing or null."""
        self.content |= {key: value for key, value in values.items() if self.content.get(key) is None}

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number from 1 up."""
        found = self.get(key, default)
        if type(found) is not int or not 0 < found <= LARGEST:
            raise self.refused(key, f"a whole number from 1 to {LARGEST:,} is needed")
        return found

    def real(self, key: str, default: float | None = None) -> float:
        """A number above 0."""
        return self.number(key, self.get(key, default))

    def number(self, key: str, found: Any) -> float:
        if type(found) not in (int, float) or not 0 < found < LARGEST_REAL:
            raise self.wrong(f"has {shown(key)} = {shown(repr(found))}; a number above 0 is needed.")
        return float(found)

    def flag(self, key: str, default: bool) -> bool:
        found = self.get(key, default)
        if type(found) is not bool:
            raise self.refused(key, "true or false is needed")
        return found

    def dropout(self, key: str, default: float = 0.0) -> float:
        found = self.get(key, default)
        if type(found) not in (int, float) or not 0 <= found < 1:
            raise self.refused(key, "a number from 0 to below 1 is needed")
        return float(found)

    def only(self, key: str, *values: Any) -> None:
        """Refuse a key unless it is missing, null, or has one of the values."""
        found = self.get(key)
        if found is not None and not any(type(found) is type(one) and found == one for one in values):
            fits = " or ".join(map(repr, values)) or "nothing"
            raise self.refused(key, f"a GPT of this library can have {fits} there")

    def activation(self, key: str, default: str) -> str:
        found = self.get(key, default)
        if not isinstance(found, str) or found not in ACTIVATIONS:
            raise self.refused(key, f"known are {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[found]

    def architecture(self, names: Iterable[str]) -> None:
        """Refuse a model with another head than that of a language model."""
        found = self.get("architectures", [])
        names = list(names)
        if not isinstance(found, list) or not all(one in names for one in found):
            raise self.refused("architectures", f"a language model of this kind is {' or '.join(names)}")

    def finish(self) -> None:
        """Refuse every key that was not asked for and is not known to be harmless."""
        if self.content.get("quantization_config") is not None:
            raise self.refused(
                "quantization_config", "take the weights that were not quantised, or a GGUF file with from_gguf"
            )
        for key, values in OFF.items():
            if key not in self._asked:
                self.only(key, *values)
        for key in sorted(self.content.keys() - self._asked - HARMLESS):
            if self.content[key] is not None:
                raise self.refused(
                    key, f"this setting is not known here. If it changes nothing, pass it over: ignore=[{key!r}]"
                )


def rotary_of(config: Config, theta: float = 10000.0, kind: str | None = None) -> RotaryPositions:
    """The rotary positions of a config, in the form of transformers 4 ("rope_theta", "rope_scaling") or 5.

    Args:
        config: of the model.
        theta: the base where the file names none.
        kind: "full_attention" or "sliding_attention" where both have their own.
    """
    base = config.get("rope_theta")
    given, scaling = config.get("rope_parameters"), config.get("rope_scaling")
    if given is not None and scaling is not None:
        raise config.refused("rope_scaling", "there is rope_parameters beside it, and one of the two is enough")
    key = "rope_scaling" if given is None else "rope_parameters"
    found = scaling if given is None else given
    if kind is not None and isinstance(given, dict):
        found, key = given.get(kind), f"{key}.{kind}"
    if not isinstance(found, dict | None):
        raise config.wrong(f"has {key} = {shown(repr(found))}; an object {{...}} is needed.")
    found = dict(found or {})
    base = config.number(f"{key}.rope_theta", found.pop("rope_theta", theta if base is None else base))
    return _rotary(config, key, found, base)


def _rotary(config: Config, key: str, found: dict[str, Any], base: float) -> RotaryPositions:
    names = [found.pop(name) for name in ("rope_type", "type") if name in found]
    name = names[0] if names else "default"
    if not isinstance(name, str) or name not in _SCALING:
        raise config.wrong(f"has {key}.rope_type = {shown(repr(name))}; known are {', '.join(_SCALING)}.")
    if found.get("partial_rotary_factor") in (None, 1):
        found.pop("partial_rotary_factor", None)
    numbers = {one: config.number(f"{key}.{one}", found.pop(one, None)) for one in _SCALING[name]}
    if found:
        more = sorted(found)[0]
        raise config.wrong(f"has {key}.{shown(more)} = {shown(repr(found[more]))}, which is not known with {name!r}.")
    if not numbers:
        return RotaryPositions(base)
    if name == "linear":
        return RotaryPositions(base, factor=numbers["factor"])
    original = numbers["original_max_position_embeddings"]
    if not original.is_integer():
        raise config.wrong(f"has {key}.original_max_position_embeddings = {original}; a whole number is needed.")
    low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
    return RotaryPositions(base, numbers["factor"], int(original), low, high)


def rotary_config(rotary: RotaryPositions | None) -> dict[str, Any]:
    """The way back from `rotary_of`, in the form of transformers 4, which 5 reads as well."""
    if rotary is None:
        return {"rope_theta": 10000.0, "rope_scaling": None}
    scaling = None
    if rotary.factor != 1 and rotary.original_context is None:
        scaling = {"rope_type": "linear", "factor": rotary.factor}
    elif rotary.factor != 1:
        scaling = {"rope_type": "llama3", "factor": rotary.factor, "low_freq_factor": rotary.low_turns}
        scaling |= {"high_freq_factor": rotary.high_turns, "original_max_position_embeddings": rotary.original_context}
    return {"rope_theta": rotary.max_wavelength, "rope_scaling": scaling}


def windows_of(config: Config, window: int | None, default: list[str]) -> list[int | None]:
    """How far each block looks: `window`, or None for all of the text.

    Args:
        config: of the model; its "layer_types" is read.
        window: of blocks with "sliding_attention".
        default: the types where the file has none.
    """
    kinds = config.get("layer_types", default)
    if not isinstance(kinds, list) or len(kinds) != len(default) or not all(kind in KINDS for kind in kinds):
        raise config.refused("layer_types", f"{len(default)} of {' and '.join(KINDS)} are needed, one a block")
    if "sliding_attention" in kinds and window is None:
        raise config.refused("layer_types", "sliding_attention needs a sliding_window")
    return [window if kind == "sliding_attention" else None for kind in kinds]


def repeating(items: list) -> int:
    """The length of the shortest beginning that, said again and again, gives the list.

    Example:
        >>> repeating([4, 4, None, 4, 4, None, 4])
        3
    """
    fits = (n for n in range(1, len(items)) if all(one == items[i % n] for i, one in enumerate(items)))
    return next(fits, len(items))


def scale_of(scalar: float) -> float:
    """What scores are multiplied by, from "query_pre_attn_scalar"."""
    return 1 / math.sqrt(scalar)
