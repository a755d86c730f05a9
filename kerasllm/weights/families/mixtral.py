"""Mixtral: a Llama with several feed-forward networks in each block, of which a token uses a few.

Reference: Jiang et al. (2024), "Mixtral of Experts", section 2.1; names and defaults of modeling_mixtral.py and
configuration_mixtral.py in https://github.com/huggingface/transformers.
"""

from kerasllm.layers import MixtureOfExperts
from kerasllm.models import GPTSettings
from kerasllm.weights.families import llama
from kerasllm.weights.families.config import Config, rotary_of
from kerasllm.weights.families.family import Each, Family
from kerasllm.weights.families.parts import MOST_LAYERS, decoder, decoder_config

BLOCK = {ours: theirs for ours, theirs in llama.BLOCK.items() if "mlp." not in theirs and "bias" not in theirs} | {
    "feed_forward/router/kernel": "block_sparse_moe.gate.weight",
    "feed_forward/gate/kernel": Each("block_sparse_moe.experts.{}.w1.weight"),
    "feed_forward/project/kernel": Each("block_sparse_moe.experts.{}.w2.weight"),
    "feed_forward/expand/kernel": Each("block_sparse_moe.experts.{}.w3.weight"),
}
MOST_EXPERTS = 1 << 10


def experts_of(config: Config, number: int, used: int, hidden: str, normalize: bool = True) -> MixtureOfExperts:
    """The experts of a block.

    Args:
        config: of the model.
        number: of experts, where the file says nothing.
        used: of them by a token, where the file says nothing.
        hidden: the key for the units of one.
        normalize: see `MixtureOfExperts`.
    """
    key = "num_experts" if "num_experts" in config.content else "num_local_experts"
    found = config.whole(key, number)
    if found > MOST_EXPERTS:
        raise config.refused(key, f"the most is {MOST_EXPERTS:,}")
    used = config.whole("num_experts_per_tok", used)
    return MixtureOfExperts(found, used, config.whole(hidden), config.activation("hidden_act", "silu"), normalize)


def experts_config(settings: GPTSettings, key: str = "num_local_experts") -> dict:
    """The way back from `experts_of`: how many experts there are, and how many a token uses."""
    experts = settings.feed_forward[0]
    number, used = getattr(experts, "num_experts", 1), getattr(experts, "experts_per_token", 1)
    return {key: number, "num_experts_per_tok": used}


def read(config: Config) -> GPTSettings:
    """The settings of a Mixtral."""
    experts = experts_of(config, 8, 2, "intermediate_size")
    blocks = min(config.whole("num_hidden_layers"), MOST_LAYERS)
    window = None if config.get("sliding_window") is None else config.whole("sliding_window")
    bias = {"use_bias": False, "output_bias": False}
    return decoder(config, bias, experts, rotary_of(config, 1e6), [window] * blocks, epsilon=1e-5)


def write(settings: GPTSettings) -> dict:
    """The config.json of a Mixtral."""
    more = experts_config(settings) | {"sliding_window": settings.attention[0].window}
    return decoder_config(settings) | more


MIXTRAL = Family(
    model_type="mixtral",
    class_name="MixtralForCausalLM",
    base_name="MixtralModel",
    read=read,
    write=write,
    tensors=llama.TENSORS,
    block=BLOCK,
    no_weights=llama.NO_WEIGHTS,
)
