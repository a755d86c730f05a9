"""The names of a model's tensors and settings in GGUF and at Hugging Face: one table an architecture.

Reference: tensor_mapping.py and the class of each model in convert_hf_to_gguf.py of
https://github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Architecture:
    """How one architecture of GGUF is called at Hugging Face.

    Args:
        model_type: of Hugging Face's config.json.
        class_name: of the model with a head, for "architectures" there.
        settings: from the key in GGUF, without the architecture in front, to the one in config.json.
        tensors: from the name in GGUF to Hugging Face's, outside the blocks.
        block: the same inside block number {}, that is after "blk.{}.".
        block_prefix: what Hugging Face puts in front inside block number {}.
        optional: names in GGUF that may be missing, inside and outside the blocks.
        changes: from the name in GGUF to what llama.cpp's converter does with the numbers: "query" and "key" reorder
            the rows for its rotary positions, "transpose", and "plus_one".
        constants: settings that GGUF leaves to the program.
    """

    model_type: str
    class_name: str
    settings: Mapping[str, str]
    tensors: Mapping[str, str]
    block: Mapping[str, str]
    block_prefix: str
    optional: frozenset[str] = frozenset()
    changes: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)


_SETTINGS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_ATTENTION = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
}
_BIASES = {
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
    "attn_output.bias": "self_attn.o_proj.bias",
}
_FEED_FORWARD = {
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
_SECOND_NORM = {"ffn_norm.weight": "post_attention_layernorm.weight"}
_HEAD_NORMS = {
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
}
_GEMMA_NORMS = {
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
}
_HEAD = frozenset({"output.weight"})  # missing where the head is the table of embeddings

_LLAMA = Architecture(
    model_type="llama",
    class_name="LlamaForCausalLM",
    settings=_SETTINGS,
    tensors=_TENSORS,
    block={**_ATTENTION, **_BIASES, **_SECOND_NORM, **_FEED_FORWARD},
    block_prefix="model.layers.{}.",
    optional=_HEAD | frozenset(_BIASES),
    # Only here: llama.cpp turns neighbouring rows, as Meta's code did, Hugging Face row i and i + head_dim / 2.
    changes={"attn_q.weight": "query", "attn_q.bias": "query", "attn_k.weight": "key", "attn_k.bias": "key"},
    constants={"hidden_act": "silu", "mlp_bias": False},
)
_QWEN2 = Architecture(
    model_type="qwen2",
    class_name="Qwen2ForCausalLM",
    settings=_SETTINGS,
    tensors=_TENSORS,
    block={
        **_ATTENTION,
        **{name: _BIASES[name] for name in ("attn_q.bias", "attn_k.bias", "attn_v.bias")},
        **_SECOND_NORM,
        **_FEED_FORWARD,
    },
    block_prefix="model.layers.{}.",
    optional=_HEAD,
    constants={"hidden_act": "silu", "use_sliding_window": False},
)
_QWEN3 = Architecture(
    model_type="qwen3",
    class_name="Qwen3ForCausalLM",
    settings=_SETTINGS,
    tensors=_TENSORS,
    block={**_ATTENTION, **_HEAD_NORMS, **_SECOND_NORM, **_FEED_FORWARD},
    block_prefix="model.layers.{}.",
    optional=_HEAD,
    constants={"hidden_act": "silu", "use_sliding_window": False, "attention_bias": False},
)
_GEMMA3 = Architecture(
    model_type="gemma3_text",
    class_name="Gemma3ForCausalLM",
    settings={
        **_SETTINGS,
        "attention.sliding_window": "sliding_window",
        "final_logit_softcapping": "final_logit_softcapping",
    },
    tensors=_TENSORS,
    block={**_ATTENTION, **_HEAD_NORMS, **_GEMMA_NORMS, **_FEED_FORWARD},
    block_prefix="model.layers.{}.",
    optional=_HEAD,
    # Gemma multiplies by 1 + weight; the converter stores the sum, so that one norm of llama.cpp serves all.
    changes=dict.fromkeys(("output_norm.weight", "attn_norm.weight", *_HEAD_NORMS, *_GEMMA_NORMS), "plus_one"),
    constants={
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "rope_local_base_freq": 10000.0,
    },
)
_GPT2 = Architecture(
    model_type="gpt2",
    class_name="GPT2LMHeadModel",
    settings={
        "context_length": "n_positions",
        "embedding_length": "n_embd",
        "block_count": "n_layer",
        "feed_forward_length": "n_inner",
        "attention.head_count": "n_head",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
    },
    tensors={
        "token_embd.weight": "transformer.wte.weight",
        "position_embd.weight": "transformer.wpe.weight",
        "output_norm.weight": "transformer.ln_f.weight",
        "output_norm.bias": "transformer.ln_f.bias",
        "output.weight": "lm_head.weight",
    },
    block={
        f"{ours}.{part}": f"{theirs}.{part}"
        for ours, theirs in {
            "attn_norm": "ln_1",
            "attn_qkv": "attn.c_attn",
            "attn_output": "attn.c_proj",
            "ffn_norm": "ln_2",
            "ffn_up": "mlp.c_fc",
            "ffn_down": "mlp.c_proj",
        }.items()
        for part in ("weight", "bias")
    },
    block_prefix="transformer.h.{}.",
    optional=_HEAD,
    # GPT-2 at Hugging Face keeps its matrices as (in, out).
    changes=dict.fromkeys(
        (f"{name}.weight" for name in ("attn_qkv", "attn_output", "ffn_up", "ffn_down")), "transpose"
    ),
    constants={"activation_function": "gelu_new"},
)

# From general.architecture.
ARCHITECTURES = {"llama": _LLAMA, "qwen2": _QWEN2, "qwen3": _QWEN3, "gemma3": _GEMMA3, "gpt2": _GPT2}
