"""Families of models of others: one table of names a file. Read on in this order: config, family, parts; llama, qwen2,
qwen3, mistral, gemma3, gpt2, mixtral, qwen3_moe; bert; efficientnet."""

from kerasllm.weights.families.gemma3 import GEMMA3, GEMMA3_WITH_PICTURES
from kerasllm.weights.families.gpt2 import GPT2
from kerasllm.weights.families.llama import LLAMA
from kerasllm.weights.families.mistral import MISTRAL
from kerasllm.weights.families.mixtral import MIXTRAL
from kerasllm.weights.families.qwen2 import QWEN2
from kerasllm.weights.families.qwen3 import QWEN3
from kerasllm.weights.families.qwen3_moe import QWEN3_MOE

# By model_type of config.json; in this order a model of ours looks for one that can express it.
_ALL = (LLAMA, QWEN2, QWEN3, MISTRAL, GEMMA3, GPT2, MIXTRAL, QWEN3_MOE, GEMMA3_WITH_PICTURES)
FAMILIES = {one.model_type: one for one in _ALL}

__all__ = ["FAMILIES"]
