"""Families of models of others: one table of names a file. Read on in this order: config, family, parts; llama, qwen2,
qwen3, gemma3, gpt2, mixtral; bert; efficientnet."""

from kerasllm.weights.families.gemma3 import GEMMA3, GEMMA3_WITH_PICTURES
from kerasllm.weights.families.gpt2 import GPT2
from kerasllm.weights.families.llama import LLAMA
from kerasllm.weights.families.mixtral import MIXTRAL
from kerasllm.weights.families.qwen2 import QWEN2
from kerasllm.weights.families.qwen3 import QWEN3

# By model_type of config.json; in this order a model of ours looks for one that can express it.
FAMILIES = {one.model_type: one for one in (LLAMA, QWEN2, QWEN3, GEMMA3, GPT2, MIXTRAL, GEMMA3_WITH_PICTURES)}

__all__ = ["FAMILIES"]
