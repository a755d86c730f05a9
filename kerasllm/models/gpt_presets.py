"""The settings of published models, by name. Numbers are those of the configurations that came with the weights."""

import math
from functools import partial

import keras

from kerasllm.layers import FeedForward, MixtureOfExperts, MultiHeadAttention, RotaryPositions
from kerasllm.layers.composite import copy_of, stored
from kerasllm.models.settings import GPTSettings, gpt_settings, starts

# What nanoGPT and modded-nanogpt changed since GPT-2, in the size that nanoGPT publishes for a laptop.
NANO = {"context_length": 64, "num_layers": 4, "num_heads": 4, "embedding_dim": 128, "use_bias": False}
MODERN = {
    "positions": "rotary",
    "norm": "rms_norm",
    "activation": "squared_relu",
    "qk_norm": True,
    "tied": False,
    "zero_init": True,
}
# Radford et al. (2019), table 2.
GPT2 = {"vocabulary_size": 50257, "context_length": 1024, "activation": "gelu_tanh"}
# Rotary positions, RMS normalisation and SwiGLU: what Llama, Qwen and SmolLM have in common.
LLAMA = {"positions": "rotary", "norm": "rms_norm", "activation": "silu", "gated": True, "use_bias": False}


def _llama_3(**changes):
    """Llama 3.2 1B, whose slow rotary pairs are slowed down once more: it first learned from 8,192 tokens."""
    sizes = {"num_layers": 16, "num_heads": 32, "embedding_dim": 2048, "hidden_dim": 8192, "num_kv_heads": 8}
    sizes |= {"vocabulary_size": 128256, "context_length": 131072, "max_wavelength": 500000.0}
    settings = gpt_settings(**{**LLAMA, **sizes, **changes})
    attention = settings.attention[0]
    slowed = attention.rotary and copy_of(
        attention.rotary, factor=32.0, original_context=8192, low_turns=1.0, high_turns=4.0
    )
    return settings.with_(attention=copy_of(attention, rotary=stored(slowed)))


def _gemma_3(
    vocabulary_size=262144,
    context_length=32768,
    num_layers=18,
    num_heads=4,
    num_kv_heads=1,
    head_dim=256,
    embedding_dim=640,
    hidden_dim=2048,
    window=512,
    local_per_global=5,
    dropout=0.0,
):
    """Gemma 3 270M: five blocks that look 512 tokens back, then one that looks at all, each with its wavelength."""
    small, smaller = starts(num_layers)
    norm = keras.layers.RMSNormalization(epsilon=1e-6)
    attention = partial(
        MultiHeadAttention,
        num_heads,
        head_dim=head_dim,
        num_kv_heads=num_kv_heads,
        causal=True,
        qk_norm=norm,
        use_bias=False,
        dropout=dropout,
        kernel_initializer=small,
        output_initializer=smaller,
    )
    near = attention(window=window, rotary=RotaryPositions(10000.0))
    far = attention(rotary=RotaryPositions(1000000.0))
    return GPTSettings(
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        num_layers=num_layers,
        context_length=context_length,
        attention=(near,) * local_per_global + (far,),
        feed_forward=FeedForward(
            hidden_dim,
            activation="gelu_tanh",
            gated=True,
            use_bias=False,
            kernel_initializer=small,
            output_initializer=smaller,
        ),
        norm=norm,
        placement="both",
        embedding_scale=math.sqrt(embedding_dim),
        dropout=dropout,
    )


def _mixtral(num_experts=8, experts_per_token=2, hidden_dim=14336, **changes):
    """Mixtral 8x7B: Llama's block with eight feed-forward networks, of which each token uses two."""
    sizes = {"num_layers": 32, "num_heads": 32, "embedding_dim": 4096, "num_kv_heads": 8, "max_wavelength": 1000000.0}
    sizes |= {"vocabulary_size": 32000, "context_length": 32768, "tied": False, "hidden_dim": hidden_dim}
    if "gated" in changes:
        raise TypeError("The experts of mixtral-8x7b are gated: it has no argument gated.")
    settings = gpt_settings(**{**LLAMA, **sizes, **changes})
    small, smaller = starts(settings.num_layers)
    experts = MixtureOfExperts(
        num_experts,
        experts_per_token,
        hidden_dim,
        changes.get("activation", "silu"),
        balance=0.02,
        kernel_initializer=small,
        output_initializer=smaller,
    )
    return settings.with_(feed_forward=experts)


def _named(**defaults):
    return lambda **changes: gpt_settings(**{**defaults, **changes})


PRESETS = {
    "nano": _named(**NANO),
    "nano-modern": _named(**NANO, **MODERN),
    "gpt2": _named(**GPT2, num_layers=12, num_heads=12, embedding_dim=768),
    "gpt2-medium": _named(**GPT2, num_layers=24, num_heads=16, embedding_dim=1024),
    "gpt2-large": _named(**GPT2, num_layers=36, num_heads=20, embedding_dim=1280),
    "gpt2-xl": _named(**GPT2, num_layers=48, num_heads=25, embedding_dim=1600),
    "smollm2-135m": _named(
        **LLAMA,
        vocabulary_size=49152,
        context_length=8192,
        num_layers=30,
        num_heads=9,
        embedding_dim=576,
        hidden_dim=1536,
        num_kv_heads=3,
        max_wavelength=100000.0,
    ),
    "llama-3.2-1b": _llama_3,
    "qwen2.5-0.5b": _named(
        **LLAMA,
        vocabulary_size=151936,
        context_length=32768,
        num_layers=24,
        num_heads=14,
        embedding_dim=896,
        hidden_dim=4864,
        num_kv_heads=2,
        max_wavelength=1000000.0,
        epsilon=1e-6,
        qkv_bias=True,
    ),
    "qwen3-0.6b": _named(
        **LLAMA,
        vocabulary_size=151936,
        context_length=40960,
        num_layers=28,
        num_heads=16,
        embedding_dim=1024,
        hidden_dim=3072,
        num_kv_heads=8,
        head_dim=128,
        max_wavelength=1000000.0,
        epsilon=1e-6,
        qk_norm=True,
    ),
    "gemma-3-270m": _gemma_3,
    "mixtral-8x7b": _mixtral,
}


def preset(name, **changes):
    """The settings of a published model.

    Args:
        name: "nano" and "nano-modern", which need a ``vocabulary_size``; "gpt2", "gpt2-medium", "gpt2-large",
            "gpt2-xl", "smollm2-135m", "llama-3.2-1b", "qwen2.5-0.5b", "qwen3-0.6b", "gemma-3-270m", "mixtral-8x7b".
        **changes: arguments of `gpt_settings` that differ from it.

    Returns:
        `GPTSettings`.

    Raises:
        ValueError: if there is no such model.
        TypeError: if the model has no such argument, or needs one more.

    Example:
        >>> from kerasllm.models import GPT
        >>> GPT(preset("nano", vocabulary_size=65)).count_params()
        804096

    Reference: the configurations that were published with the weights: Radford et al. (2019), table 2; Allal et al.
    (2025), "SmolLM2"; Grattafiori et al. (2024), "The Llama 3 Herd of Models"; Qwen Team (2024), "Qwen2.5 Technical
    Report"; Yang et al. (2025), "Qwen3 Technical Report"; Gemma Team (2025), "Gemma 3 Technical Report"; Jiang et al.
    (2024), "Mixtral of Experts".
    """
    if name not in PRESETS:
        raise ValueError(f"There is no configuration {name!r}. Use one of {', '.join(PRESETS)}.")
    return PRESETS[name](**changes)
