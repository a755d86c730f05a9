"""Qwen 3 with experts: a Qwen 3 with several feed-forward networks in each block, of which a token uses a few.

Reference: Yang et al. (2025), "Qwen3 Technical Report", section 2; names and defaults of modeling_qwen3_moe.py and
configuration_qwen3_moe.py in https://github.com/huggingface/transformers.
"""

from kerasllm.models import GPTSettings
from kerasllm.weights.families import llama, qwen3
from kerasllm.weights.families.config import Config, rotary_of
from kerasllm.weights.families.family import Each, Family
from kerasllm.weights.families.mixtral import experts_config, experts_of
from kerasllm.weights.families.parts import MOST_LAYERS, decoder, decoder_config

BLOCK = {ours: theirs for ours, theirs in qwen3.BLOCK.items() if "mlp." not in theirs} | {
    "feed_forward/router/kernel": "mlp.gate.weight",
    "feed_forward/gate/kernel": Each("mlp.experts.{}.gate_proj.weight"),
    "feed_forward/project/kernel": Each("mlp.experts.{}.down_proj.weight"),
    "feed_forward/expand/kernel": Each("mlp.experts.{}.up_proj.weight"),
}


def read(config: Config) -> GPTSettings:
    """The settings of a Qwen 3 with experts in every block."""
    config.only("decoder_sparse_step", 1)
    config.only("mlp_only_layers", [])
    config.get("intermediate_size"), config.get("max_window_layers")  # of blocks without experts; not looked at
    config.defaults({"num_key_value_heads": 4})
    experts = experts_of(config, 128, 8, "moe_intermediate_size", config.flag("norm_topk_prob", False))
    config.get("sliding_window")  # stands there also where it is not used
    used = config.flag("use_sliding_window", False)
    window = config.whole("sliding_window", 4096) if used else None
    blocks = min(config.whole("num_hidden_layers"), MOST_LAYERS)
    bias = config.flag("attention_bias", False)
    attention = {"use_bias": bias, "output_bias": bias, "qk_norm": True}
    return decoder(config, attention, experts, rotary_of(config), [window] * blocks)


def write(settings: GPTSettings) -> dict:
    """The config.json of a Qwen 3 with experts."""
    experts, attention = settings.feed_forward[0], settings.attention[0]
    return (
        decoder_config(settings)
        | experts_config(settings, "num_experts")
        | {
            "moe_intermediate_size": getattr(experts, "hidden_dim", 1),
            "norm_topk_prob": bool(getattr(experts, "normalize", True)),
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "attention_bias": attention.use_bias,
            "use_sliding_window": attention.window is not None,
            "sliding_window": attention.window,
        }
    )


QWEN3_MOE = Family(
    model_type="qwen3_moe",
    class_name="Qwen3MoeForCausalLM",
    base_name="Qwen3MoeModel",
    read=read,
    write=write,
    tensors=llama.TENSORS,
    block=BLOCK,
    no_weights=llama.NO_WEIGHTS,
)
