"""Mistral: a Llama whose blocks look a fixed number of tokens back, if the file says so.

Reference: Jiang et al. (2023), "Mistral 7B", section 2; names and defaults of modeling_mistral.py and
configuration_mistral.py in https://github.com/huggingface/transformers.
"""

from kerasllm.models import GPTSettings
from kerasllm.weights.families import llama
from kerasllm.weights.families.config import Config, rotary_of
from kerasllm.weights.families.family import Family
from kerasllm.weights.families.parts import MOST_LAYERS, decoder, decoder_config, gated

BLOCK = {ours: theirs for ours, theirs in llama.BLOCK.items() if not ours.endswith("/bias")}


def read(config: Config) -> GPTSettings:
    """The settings of a Mistral."""
    config.defaults({"num_key_value_heads": 8})
    if "sliding_window" not in config.content:  # null is another thing: no window
        config.defaults({"sliding_window": 4096})
    window = None if config.get("sliding_window") is None else config.whole("sliding_window")
    blocks = min(config.whole("num_hidden_layers"), MOST_LAYERS)
    bias = {"use_bias": False, "output_bias": False}
    return decoder(config, bias, gated(config), rotary_of(config), [window] * blocks)


def write(settings: GPTSettings) -> dict:
    """The config.json of a Mistral."""
    return decoder_config(settings) | {"sliding_window": settings.attention[0].window}


MISTRAL = Family(
    model_type="mistral",
    class_name="MistralForCausalLM",
    base_name="MistralModel",
    read=read,
    write=write,
    tensors=llama.TENSORS,
    block=BLOCK,
    no_weights=llama.NO_WEIGHTS,
)
