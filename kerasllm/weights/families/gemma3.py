"""Gemma 3, and the part of it that reads text where it also sees pictures.

Five blocks look a window back, the sixth at all, with rotary positions of two bases. Each part is normalised before and
after, by 1 + weight, and embeddings are multiplied by the root of their size.

Reference: Gemma Team (2025), "Gemma 3 Technical Report", section 2; names and defaults of modeling_gemma3.py and
configuration_gemma3.py in https://github.com/huggingface/transformers.
"""

import math

from kerasllm.models import GPTSettings
from kerasllm.weights.families import llama
from kerasllm.weights.families.config import Config, rotary_config, rotary_of, scale_of, windows_of
from kerasllm.weights.families.family import Family
from kerasllm.weights.families.parts import MOST_LAYERS, activation_name, decoder, decoder_config, gated

BLOCK = llama.BLOCK | {
    "attention/query_norm/scale": "self_attn.q_norm.weight",
    "attention/key_norm/scale": "self_attn.k_norm.weight",
    "attention_post_norm/scale": "post_attention_layernorm.weight",
    "feed_forward_norm/scale": "pre_feedforward_layernorm.weight",
    "feed_forward_post_norm/scale": "post_feedforward_layernorm.weight",
}
# What a file leaves out, as that of the 4 billion does. Models without pictures have 262,144 rows and say so.
_DEFAULTS = {
    **{"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256},
    **{"hidden_size": 2304, "num_hidden_layers": 26, "intermediate_size": 9216, "max_position_embeddings": 131072},
}
_PICTURES = (r"(model\.)?(vision_tower|multi_modal_projector)\..+",)


def read(config: Config) -> GPTSettings:
    """The settings of a Gemma 3."""
    config.defaults(_DEFAULTS)
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        config.only(key)
    bias = config.flag("attention_bias", False)
    pattern, blocks = config.whole("sliding_window_pattern", 6), config.whole("num_hidden_layers")
    if config.get("_sliding_window_pattern", pattern) != pattern:
        raise config.refused("_sliding_window_pattern", f"sliding_window_pattern is {pattern}")
    kinds = ["sliding_attention" if (i + 1) % pattern else "full_attention" for i in range(min(blocks, MOST_LAYERS))]
    windows = windows_of(config, config.whole("sliding_window", 4096), kinds)
    far, near = rotary_of(config, 1e6, "full_attention"), _near(config)
    scalar = config.real("query_pre_attn_scalar", 256)
    head_dim = config.whole("head_dim")
    attention = {"use_bias": bias, "output_bias": bias, "qk_norm": True}
    attention["scale"] = None if scalar == head_dim else scale_of(scalar)
    return decoder(
        config,
        attention,
        gated(config, "hidden_activation", default="gelu_pytorch_tanh"),
        [far if window is None else near for window in windows],
        windows,
        tied=True,
        placement="both",
        embedding_scale=math.sqrt(config.whole("hidden_size")),
    )


def _near(config: Config):
    """The rotary positions of blocks with a window: a base of their own, never stretched."""
    given, base = config.get("rope_parameters"), config.real("rope_local_base_freq", 10000.0)
    near = {"rope_theta": base}
    if isinstance(given, dict):
        near = {"rope_parameters": {"sliding_attention": given.get("sliding_attention") or {"rope_type": "default"}}}
    return rotary_of(Config(config.where, near), base, "sliding_attention")


def write(settings: GPTSettings) -> dict:
    """The config.json of a Gemma 3."""
    parts = [settings.attention[i % len(settings.attention)] for i in range(settings.num_layers)]
    far = next((part for part in parts if part.window is None), parts[0])
    near = next((part for part in parts if part.window is not None), None)
    found = decoder_config(settings) | rotary_config(far.rotary)
    head_dim = found["head_dim"]
    scalar = head_dim if far.scale is None else far.scale**-2
    found["hidden_activation"] = activation_name(settings, "gelu_pytorch_tanh")
    del found["hidden_act"]
    return found | {
        "attention_bias": far.use_bias,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "query_pre_attn_scalar": round(scalar) if math.isclose(scalar, round(scalar), rel_tol=1e-6) else scalar,
        "sliding_window": 4096 if near is None else near.window,
        "layer_types": ["full_attention" if part.window is None else "sliding_attention" for part in parts],
        "rope_local_base_freq": 10000.0 if near is None else getattr(near.rotary, "max_wavelength", 10000.0),
    }


GEMMA3 = Family(
    model_type="gemma3_text",
    class_name="Gemma3ForCausalLM",
    base_name="Gemma3TextModel",
    read=read,
    write=write,
    tensors=llama.TENSORS,
    block=BLOCK,
    no_weights=llama.NO_WEIGHTS,
    norm_shift=1.0,
)


def _read_text(config: Config) -> GPTSettings:
    text = config.get("text_config")
    if not isinstance(text, dict):
        raise config.refused("text_config", "the settings of the part that reads text are needed")
    if text.get("model_type", "gemma3_text") != "gemma3_text":
        raise config.wrong(f"has text_config.model_type = {text['model_type']!r}; gemma3_text is needed.")
    # What belongs to pictures and to where they stand in a text.
    for key in ("vision_config", "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index"):
        config.get(key)
    inner = Config(f"{config.where} (text_config)", text, config.ignore)
    if config.get("tie_word_embeddings") is not None:
        inner.defaults({"tie_word_embeddings": config.get("tie_word_embeddings")})
    settings = read(inner)
    inner.finish()
    return settings


# Of the model with pictures the part that reads text is taken.
GEMMA3_WITH_PICTURES = Family(
    model_type="gemma3",
    class_name="Gemma3ForConditionalGeneration",
    base_name="Gemma3Model",
    read=_read_text,
    write=write,
    tensors=llama.TENSORS,
    block=BLOCK,
    prefixes=("language_model.model.", "model.language_model.", "language_model."),
    no_weights=(*llama.NO_WEIGHTS, *_PICTURES),
    norm_shift=1.0,
)
