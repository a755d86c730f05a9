"""Llama 2, 3 and 3.1 to 3.3, and SmolLM 2, which is one of them by its config.

Reference: Touvron et al. (2023), "Llama 2", section 2.2; Grattafiori et al. (2024), "The Llama 3 Herd of Models",
section 3.2; names and defaults of modeling_llama.py and configuration_llama.py in
https://github.com/huggingface/transformers.
"""

from kerasllm.models import GPTSettings
from kerasllm.weights.families.config import Config, rotary_of
from kerasllm.weights.families.family import EMBEDDING, HEAD, Family
from kerasllm.weights.families.parts import decoder, decoder_config, gated

TENSORS = {EMBEDDING: "embed_tokens.weight", "final_norm/scale": "norm.weight", "logits/kernel": HEAD}
BLOCK = {
    "attention_norm/scale": "input_layernorm.weight",
    "attention/query/kernel": "self_attn.q_proj.weight",
    "attention/query/bias": "self_attn.q_proj.bias",
    "attention/key/kernel": "self_attn.k_proj.weight",
    "attention/key/bias": "self_attn.k_proj.bias",
    "attention/value/kernel": "self_attn.v_proj.weight",
    "attention/value/bias": "self_attn.v_proj.bias",
    "attention/output/kernel": "self_attn.o_proj.weight",
    "attention/output/bias": "self_attn.o_proj.bias",
    "feed_forward_norm/scale": "post_attention_layernorm.weight",
    "feed_forward/gate/kernel": "mlp.gate_proj.weight",
    "feed_forward/gate/bias": "mlp.gate_proj.bias",
    "feed_forward/expand/kernel": "mlp.up_proj.weight",
    "feed_forward/expand/bias": "mlp.up_proj.bias",
    "feed_forward/project/kernel": "mlp.down_proj.weight",
    "feed_forward/project/bias": "mlp.down_proj.bias",
}
# Old files hold the speeds of the rotary positions, which follow from the settings.
NO_WEIGHTS = (r"(model\.)?(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",)


def read(config: Config) -> GPTSettings:
    """The settings of a Llama."""
    bias = config.flag("attention_bias", False)
    feed_forward = gated(config, use_bias=config.flag("mlp_bias", False))
    return decoder(config, {"use_bias": bias, "output_bias": bias}, feed_forward, rotary_of(config))


def write(settings: GPTSettings) -> dict:
    """The config.json of a Llama."""
    more = {"attention_bias": settings.attention[0].use_bias}
    more["mlp_bias"] = bool(getattr(settings.feed_forward[0], "use_bias", False))
    return decoder_config(settings) | more


LLAMA = Family(
    model_type="llama",
    class_name="LlamaForCausalLM",
    base_name="LlamaModel",
    read=read,
    write=write,
    tensors=TENSORS,
    block=BLOCK,
    no_weights=NO_WEIGHTS,
)
