"""Qwen 3: a Llama that normalises each query and each key.

Reference: Yang et al. (2025), "Qwen3 Technical Report", section 2; names and defaults of modeling_qwen3.py and
configuration_qwen3.py in https://github.com/huggingface/transformers.
"""

from kerasllm.models import GPTSettings
from kerasllm.weights.families import llama
from kerasllm.weights.families.config import Config, rotary_of
from kerasllm.weights.families.family import Family
from kerasllm.weights.families.parts import decoder, decoder_config, gated, window_config
from kerasllm.weights.families.qwen2 import windows

BLOCK = llama.BLOCK | {
    "attention/query_norm/scale": "self_attn.q_norm.weight",
    "attention/key_norm/scale": "self_attn.k_norm.weight",
}


def read(config: Config) -> GPTSettings:
    """The settings of a Qwen 3."""
    bias = config.flag("attention_bias", False)
    attention = {"use_bias": bias, "output_bias": bias, "qk_norm": True}
    config.defaults({"head_dim": 128})
    return decoder(config, attention, gated(config), rotary_of(config), windows(config))


def write(settings: GPTSettings) -> dict:
    """The config.json of a Qwen 3."""
    return decoder_config(settings) | {"attention_bias": settings.attention[0].use_bias} | window_config(settings)


QWEN3 = Family(
    model_type="qwen3",
    class_name="Qwen3ForCausalLM",
    base_name="Qwen3Model",
    read=read,
    write=write,
    tensors=llama.TENSORS,
    block=BLOCK,
    no_weights=llama.NO_WEIGHTS,
)
