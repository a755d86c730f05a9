"""The families of published models give the numbers of KerasHub's implementations, with the same weights."""

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import keras
import numpy as np
import pytest

from kerasllm.layers.composite import copy_of, stored
from kerasllm.models import BERT, GPT, BERTSettings, preset

keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)

TIME = 11
SIZES = {"vocabulary_size": 53, "num_layers": 5}
IDS = np.random.default_rng(0).integers(0, 53, (3, TIME)).astype("int32")
TYPES = (np.arange(TIME) > [[4], [2], [6]]).astype("int32")
RIGHT = np.arange(TIME) < [[TIME], [7], [2]]  # rows with padding on the right
BOTH = np.array([*RIGHT[:2], np.arange(TIME) >= 4])  # and one with padding on the left


# Where our parts stand in their blocks and backbones. Both keep rotary pairs in halves, and kernels (in, out) or (in,
# heads, head_dim); their activated kernel of two is our gate.
ATTENTION = {
    "attention.query": "_self_attention_layer._query_dense",
    "attention.key": "_self_attention_layer._key_dense",
    "attention.value": "_self_attention_layer._value_dense",
    "attention.output_dense": "_self_attention_layer._output_dense",
}
FIRST = {
    **ATTENTION,
    "attention_norm": "_self_attention_layer_norm",
    "feed_forward_norm": "_feedforward_layer_norm",
    "feed_forward.expand": "_feedforward_intermediate_dense",
    "feed_forward.project": "_feedforward_output_dense",
}
LLAMA = {
    **ATTENTION,
    "attention_norm": "_self_attention_layernorm",
    "feed_forward_norm": "_feedforward_layernorm",
    "feed_forward.expand": "_feedforward_intermediate_dense",
    "feed_forward.gate": "_feedforward_gate_dense",
    "feed_forward.project": "_feedforward_output_dense",
}
QWEN_3 = {
    **LLAMA,
    "attention.query_norm": "_self_attention_layer._query_dense_layer_norm",
    "attention.key_norm": "_self_attention_layer._key_dense_layer_norm",
}
MIXTRAL = {
    **{ours: theirs.replace("layer._", "layer.") for ours, theirs in ATTENTION.items()},
    "attention_norm": "_self_attention_layernorm",
    "feed_forward_norm": "_feedforward_layernorm",
    "feed_forward.router": "_sparse_moe_block._sparse_feedforward_gate_dense",
    "feed_forward.expand.kernel": "_sparse_moe_block.expert_bank._expert_feedforward_intermediate_dense",
    "feed_forward.gate.kernel": "_sparse_moe_block.expert_bank._expert_feedforward_gate_dense",
    "feed_forward.project.kernel": "_sparse_moe_block.expert_bank._expert_feedforward_output_dense",
}
GEMMA = {
    "attention.query": "attention.query_dense",
    "attention.key": "attention.key_dense",
    "attention.value": "attention.value_dense",
    "attention.output_dense": "attention.output_dense",
    "attention.query_norm": "attention.query_norm",
    "attention.key_norm": "attention.key_norm",
    "attention_norm": "pre_attention_norm",
    "attention_post_norm": "post_attention_norm",
    "feed_forward_norm": "pre_ffw_norm",
    "feed_forward_post_norm": "post_ffw_norm",
    "feed_forward.expand": "gating_ffw_2",
    "feed_forward.gate": "gating_ffw",
    "feed_forward.project": "ffw_linear",
}
ENDS = {"embed.embeddings": "token_embedding.embeddings", "final_norm": "layer_norm"}
UNTIED = {"logits.kernel": "token_embedding.reverse_embeddings"}


def as_it_is(place, weight):
    return weight


def from_gemma(place, weight):
    """Gemma's norms multiply by 1 + scale; its queries, keys and values have kernels (heads, in, head_dim)."""
    if place.endswith("norm"):
        return 1 + weight
    return weight.swapaxes(0, 1) if place in ("attention.query", "attention.key", "attention.value") else weight


@dataclass
class Family:
    """A model of ours, the same of theirs, and how to copy: `block` and `ends` map our parts to theirs."""

    ours: Any
    theirs: Any
    block: dict[str, str]
    ends: dict[str, str]
    convention: Any = as_it_is
    mask: Any = field(default_factory=lambda: BOTH)


def llama_3(**sizes):
    """The preset with numbers so small that 11 tokens tell pairs that are kept, smoothed and slowed down apart."""
    settings = preset("llama-3.2-1b", max_wavelength=100.0, **sizes)
    attention = settings.attention[0]
    rotary = copy_of(attention.rotary, factor=8.0, original_context=32)
    return settings.with_(attention=copy_of(attention, rotary=stored(rotary)))


def backbone_of(name, **arguments):
    """A backbone of KerasHub without dropout."""
    kind = getattr(keras_hub.models, f"{name}Backbone")
    return kind(vocabulary_size=SIZES["vocabulary_size"], dropout=0.0, **arguments)


def qwen_3(**arguments):
    """Theirs leaves the epsilon of normalised queries and keys at 1e-5; in the published model it is that of all."""
    backbone = backbone_of("Qwen3", **arguments)
    for layer in backbone.transformer_layers:
        attention = layer._self_attention_layer
        for norm in (attention._query_dense_layer_norm, attention._key_dense_layer_norm):
            norm.epsilon = backbone.layer_norm_epsilon
    return backbone


FIRST_SIZES = {"num_layers": 5, "num_heads": 3, "hidden_dim": 24, "intermediate_dim": 37, "max_sequence_length": 16}
GROUPED = {"num_layers": 5, "num_query_heads": 6, "num_key_value_heads": 2, "hidden_dim": 24, "intermediate_dim": 37}
THREE = {**GROUPED, "num_query_heads": 3, "num_key_value_heads": 1}
OUR_GROUPED = {**SIZES, "num_heads": 6, "num_kv_heads": 2, "embedding_dim": 24, "hidden_dim": 37}
OUR_THREE = {**OUR_GROUPED, "num_heads": 3, "num_kv_heads": 1}

FAMILIES = {
    "gpt2": Family(
        lambda: GPT(preset("gpt2", **SIZES, context_length=16, num_heads=3, embedding_dim=24, hidden_dim=37)),
        lambda: backbone_of("GPT2", **FIRST_SIZES),
        FIRST,
        {**ENDS, "place.embeddings": "position_embedding.position_embeddings"},
        mask=RIGHT,  # theirs counts positions from the row's beginning, padded or not; ours from the text's
    ),
    "llama-3.2-1b": Family(
        lambda: GPT(llama_3(**OUR_THREE)),
        lambda: backbone_of(
            "Llama3",
            **THREE,
            rope_max_wavelength=100.0,
            rope_frequency_adjustment_factor=8.0,
            rope_low_freq_factor=1.0,
            rope_high_freq_factor=4.0,
            rope_pretraining_sequence_length=32,
            layer_norm_epsilon=1e-5,
            tie_word_embeddings=True,
        ),
        LLAMA,
        ENDS,
    ),
    "smollm2-135m": Family(
        lambda: GPT(preset("smollm2-135m", **OUR_GROUPED)),
        lambda: backbone_of(
            "Llama", **GROUPED, rope_max_wavelength=1e5, layer_norm_epsilon=1e-5, tie_word_embeddings=True
        ),
        LLAMA,
        ENDS,
    ),
    "qwen2.5-0.5b": Family(
        lambda: GPT(preset("qwen2.5-0.5b", **OUR_GROUPED)),
        lambda: backbone_of("Qwen", **GROUPED, rope_max_wavelength=1e6),
        LLAMA,
        ENDS,
    ),
    "qwen3-0.6b": Family(
        lambda: GPT(preset("qwen3-0.6b", **OUR_GROUPED | {"head_dim": 10})),
        lambda: qwen_3(**GROUPED, head_dim=10, rope_max_wavelength=1e6),
        QWEN_3,
        ENDS,
    ),
    "gemma-3-270m": Family(
        lambda: GPT(preset("gemma-3-270m", **OUR_GROUPED | {"head_dim": 10, "num_layers": 7, "window": 4})),
        lambda: backbone_of(
            "Gemma3",
            **GROUPED | {"num_layers": 7},
            image_size=None,
            head_dim=10,
            use_post_ffw_norm=True,
            use_post_attention_norm=True,
            use_sliding_window_attention=True,
            sliding_window_size=4,
        ),
        GEMMA,
        ENDS,
        from_gemma,
    ),
    "mixtral-8x7b": Family(
        lambda: GPT(preset("mixtral-8x7b", **OUR_THREE, num_experts=5, experts_per_token=2)),
        lambda: backbone_of(
            "Mixtral", **THREE, num_experts=5, top_k=2, rope_max_wavelength=1e6, layer_norm_epsilon=1e-5
        ),
        MIXTRAL,
        ENDS | UNTIED,
    ),
    "bert": Family(
        lambda: BERT(
            BERTSettings(
                **SIZES,
                context_length=16,
                num_heads=3,
                embedding_dim=24,
                hidden_dim=37,
                activation="gelu_tanh",
                pad_id=None,
                pooler=True,
            )
        ),
        lambda: backbone_of("Bert", **FIRST_SIZES),
        FIRST,
        {
            "embed.embeddings": "token_embedding.embeddings",
            "place.embeddings": "position_embedding.position_embeddings",
            "types": "segment_embedding",
            "norm": "embeddings_layer_norm",
            "pooler": "pooled_dense",
        },
        mask=RIGHT,  # as of GPT-2
    ),
}


def copy(ours, theirs, places, convention):
    """Give each part of ours the weights of theirs: the same numbers, theirs with an axis for the heads."""
    for place, theirs_place in places.items():
        parts = attrgetter(place)(ours), attrgetter(theirs_place)(theirs)
        assert len({getattr(part, "epsilon", None) for part in parts}) == 1  # too small to be seen in the numbers
        for weight, given in zip(*(getattr(part, "weights", [part]) for part in parts), strict=True):
            weight.assign(np.reshape(convention(place, array(given)), weight.shape))


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def disturb(weights, size, seed=0):
    """Add random numbers: so scales and biases are not 1 and 0, and differ from each other."""
    random = np.random.default_rng(seed)
    for weight in weights:
        weight.assign_add(random.normal(0, size, weight.shape))


def pair(name):
    """Our model and theirs of a family, with the same weights."""
    keras.utils.set_random_seed(0)
    family = FAMILIES[name]
    theirs, ours = family.theirs(), family.ours()
    disturb(theirs.weights, 0.3)
    run_ours(name, ours)  # builds it
    copied = family.ends, *(family.block for _ in ours.blocks)
    for places, *parts in zip(copied, (ours, *ours.blocks), (theirs, *theirs.transformer_layers), strict=True):
        copy(*parts, places, family.convention)
    return ours, theirs


def run_ours(name, model):
    """What a family computes at the real tokens: logits; of BERT vectors, and those of the first tokens."""
    mask = FAMILIES[name].mask
    inputs = {"ids": IDS, "mask": mask, **({"type_ids": TYPES} if name == "bert" else {})}
    outputs = model.predict_on_batch(inputs)
    return [array(outputs)[mask], *([array(model.pooled(outputs))] if name == "bert" else [])]


def run_theirs(name, backbone):
    mask = FAMILIES[name].mask
    inputs = {"token_ids": IDS, "padding_mask": mask.astype("int32")}
    if name == "bert":
        outputs = backbone({**inputs, "segment_ids": TYPES})
        return [array(outputs["sequence_output"])[mask], array(outputs["pooled_output"])]
    return [array(backbone.token_embedding(backbone(inputs), reverse=True))[mask]]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_gives_the_numbers_of_kerashub(name):
    ours, theirs = pair(name)
    assert ours.count_params() == theirs.count_params()
    found, expected = run_ours(name, ours), run_theirs(name, theirs)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
    for weight in ours.weights:  # or the equality would say nothing about it
        if name in ("gpt2", "bert") and weight.path.endswith("key/bias"):
            continue  # without rotary positions it adds the same to all scores of a query
        before = array(weight)
        disturb([weight], 0.3, seed=1)
        assert max(np.abs(a - b).max() for a, b in zip(run_ours(name, ours), expected, strict=True)) > 0.01, weight.path
        weight.assign(before)
