"""The folders in hugging_face/: small random models written by transformers itself, and what they computed.

    pip install "torch>=2.5" "transformers>=5,<6"       in an environment of its own
    python tests/weights/data/make_hugging_face.py           or names of some folders behind it

Sizes are odd on purpose: three blocks, three heads that share one key, heads wider than a third of the model. Weights,
epsilons and bases are such that each of them matters: a mistake in one shows in the first digits.
"""

import sys
import zlib
from pathlib import Path

import numpy as np
import torch
import transformers

FOLDER = Path(__file__).parent / "hugging_face"
TIME, REAL = 11, 7  # tokens of a text, and those of the shorter one
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
COMMON = {
    **{"vocab_size": 37, "hidden_size": 18, "intermediate_size": 20, "num_hidden_layers": 3},
    **{"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64},
    **{"rms_norm_eps": 0.03, **IDS},
}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 16, "rope_theta": 150.0}


def rope(theta):
    return {"rope_type": "default", "rope_theta": theta}


# From the name of a folder: the class of the config, its arguments, and how the weights are stored.
MODELS = {
    "gpt2": (
        transformers.GPT2Config,
        {
            "vocab_size": 37,
            "n_embd": 18,
            "n_layer": 3,
            "n_head": 3,
            "n_positions": 16,
            "layer_norm_epsilon": 0.03,
            **IDS,
        },
        {},
    ),
    "llama": (
        transformers.LlamaConfig,
        {**COMMON, "attention_bias": True, "mlp_bias": True, "rope_parameters": rope(50.0)},
        {},
    ),
    "llama3": (
        transformers.LlamaConfig,
        {**COMMON, "tie_word_embeddings": True, "rope_parameters": LLAMA3},
        "bfloat16",
    ),
    "linear": (
        transformers.LlamaConfig,
        {**COMMON, "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 50.0}},
        "float16",
    ),
    "qwen2": (
        transformers.Qwen2Config,
        {
            **{**COMMON, "head_dim": 6, "rope_parameters": rope(50.0)},
            **{"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1, "tie_word_embeddings": True},
        },
        {"max_shard_size": "12KB"},
    ),
    "mistral": (
        transformers.MistralConfig,
        {**COMMON, "rope_parameters": rope(50.0), "sliding_window": 5},
        {},
    ),
    "qwen3": (transformers.Qwen3Config, {**COMMON, "rope_parameters": rope(50.0)}, {}),
    "gemma3": (
        transformers.Gemma3TextConfig,
        {
            **{**COMMON, "query_pre_attn_scalar": 5, "sliding_window": 4},
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {"sliding_attention": rope(20.0), "full_attention": rope(300.0)},
        },
        {},
    ),
    "mixtral": (
        transformers.MixtralConfig,
        {
            **{**COMMON, "intermediate_size": 10, "rope_parameters": rope(50.0), "sliding_window": 6},
            **{"num_local_experts": 4, "num_experts_per_tok": 2},
        },
        {},
    ),
    "qwen3_moe": (
        transformers.Qwen3MoeConfig,
        {
            **{**COMMON, "moe_intermediate_size": 10, "rope_parameters": rope(50.0)},
            **{"num_experts": 5, "num_experts_per_tok": 3, "norm_topk_prob": False},
        },
        {},
    ),
}


def fill(model):
    """Numbers that a name always gives: larger than those of training, so that every part matters."""
    for name, weight in model.named_parameters():
        numbers = np.random.default_rng(zlib.crc32(name.encode())).normal(size=tuple(weight.shape))
        if weight.ndim == 1 and ("norm" in name or "ln_" in name) and name.endswith("weight"):
            numbers = 0.4 * numbers + (0 if model.config.model_type == "gemma3_text" else 1)
        elif weight.ndim == 1:
            numbers = 0.5 * numbers
        elif "embed" not in name and "wte" not in name and "wpe" not in name:
            numbers = 1.5 * numbers / np.sqrt(18)
        with torch.no_grad():
            weight.copy_(torch.tensor(numbers))


def make(name):
    config_class, arguments, storing = MODELS[name]
    model = transformers.AutoModelForCausalLM.from_config(config_class(**arguments), attn_implementation="eager")
    fill(model)
    if isinstance(storing, str):
        model = model.to(getattr(torch, storing))
        storing = {}
    model.save_pretrained(FOLDER / name, **storing)
    (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
    for file in (FOLDER / name).glob("*.safetensors"):
        file.chmod(0o644)
    # What is in the file counts: read it again, and compute in float32.
    how = (
        {"experts_implementation": "eager"} if name in ("mixtral", "qwen3_moe") else {}
    )  # the fast one wants rows of 16 bytes
    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER / name, dtype=torch.float32, **how).eval()
    ids = np.random.default_rng(7).integers(3, 37, (2, TIME))
    mask = np.ones_like(ids)
    mask[1, REAL:] = 0
    found = {"ids": ids, "mask": mask.astype(bool)}
    for label, given in (("plain", None), ("padded", torch.tensor(mask))):
        with torch.no_grad():
            outputs = model(torch.tensor(ids), attention_mask=given, output_hidden_states=True)
        found[f"{label}_logits"] = outputs.logits.numpy()
        found[f"{label}_features"] = outputs.hidden_states[-1].numpy()
    np.savez_compressed(FOLDER / name / "reference.npz", **found)


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        make(name)
        print(name, sum(file.stat().st_size for file in (FOLDER / name).iterdir()), "bytes")
