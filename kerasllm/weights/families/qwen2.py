"""Qwen 2 and 2.5: a Llama whose queries, keys and values have a bias.

Reference: Qwen Team (2024), "Qwen2.5 Technical Report", section 2; names and defaults of modeling_qwen2.py and
configuration_qwen2.py in https://github.com/huggingface/transformers.
"""

from kerasllm.models import GPTSettings
from kerasllm.weights.families import llama
from kerasllm.weights.families.config import Config, rotary_of, windows_of
from kerasllm.weights.families.family import Family
from kerasllm.weights.families.parts import MOST_LAYERS, decoder, decoder_config, gated, window_config

BIASED = ("attention/query/bias", "attention/key/bias", "attention/value/bias")
BLOCK = {ours: theirs for ours, theirs in llama.BLOCK.items() if not ours.endswith("/bias") or ours in BIASED}


def windows(config: Config) -> list[int | None]:
    """How far each block looks: from block max_window_layers on no farther than sliding_window, if that is used."""
    used = config.flag("use_sliding_window", False)
    blocks, near = config.whole("num_hidden_layers"), config.get("max_window_layers", 28)
    if type(near) is not int or near < 0:
        raise config.refused("max_window_layers", "a whole number from 0 up is needed")
    config.get("sliding_window")  # stands there also where it is not used
    window = config.whole("sliding_window", 4096) if used else None
    blocks = range(min(blocks, MOST_LAYERS))
    kinds = ["sliding_attention" if used and block >= near else "full_attention" for block in blocks]
    return windows_of(config, window, kinds)


def read(config: Config) -> GPTSettings:
    """The settings of a Qwen 2."""
    bias = {"use_bias": True, "output_bias": False}
    return decoder(config, bias, gated(config), rotary_of(config), windows(config))


def write(settings: GPTSettings) -> dict:
    """The config.json of a Qwen 2."""
    return decoder_config(settings) | window_config(settings)


QWEN2 = Family(
    model_type="qwen2",
    class_name="Qwen2ForCausalLM",
    base_name="Qwen2Model",
    read=read,
    write=write,
    tensors=llama.TENSORS,
    block=BLOCK,
    no_weights=llama.NO_WEIGHTS,
)
