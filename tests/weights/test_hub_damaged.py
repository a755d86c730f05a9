"""Folders that are damaged, of another model, or a stranger's: an error that names the file and what is wrong, soon."""

import json
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from kerasllm import weights

DATA = Path(__file__).parent / "data" / "hugging_face"


def content(name, text):
    return lambda folder: (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def cut(name, keep):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def gone(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def setting(**changes):
    def change(folder):
        found = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(found))

    return change


def index(function):
    """Change the map from tensors to files."""

    def change(folder):
        file = folder / "model.safetensors.index.json"
        found = json.loads(file.read_text())
        function(found["weight_map"])
        file.write_text(json.dumps(found))

    return change


def header(function):
    """Change the header of the one file of weights."""

    def change(folder):
        file = folder / "model.safetensors"
        held = file.read_bytes()
        (length,) = struct.unpack("<Q", held[:8])
        found = json.loads(held[8 : 8 + length])
        function(found)
        text = json.dumps(found).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + held[8 + length :])

    return change


def renamed(old, new):
    return header(lambda found: found.update({new: found.pop(old)}))


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def loop(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "model.safetensors")


def twice(folder):
    first, second = (folder / f"model-0000{i}-of-00003.safetensors" for i in (1, 2))
    second.write_bytes(first.read_bytes())


KEY, FILE = "model.norm.weight", "model-00003-of-00003.safetensors"
QUERY = "model.layers.1.self_attn.q_proj.weight"
DEEP = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
LINES = {
    "config cut": ("llama", cut("config.json", 200), r"config\.json is no JSON file"),
    "config of zeros": ("llama", content("config.json", bytes(100)), r"config\.json is no JSON file"),
    "a list": ("llama", content("config.json", "[1]"), r"config\.json holds a list"),
    "a key twice": ("llama", content("config.json", '{"a": 1, "a": 2}'), "a stands there twice"),
    "no number": ("llama", content("config.json", '{"rms_norm_eps": NaN}'), "NaN is not a number"),
    "nested without end": ("llama", content("config.json", DEEP), r"config\.json is no JSON file"),
    "a large config": ("llama", content("config.json", b" " * (2 << 20)), r"config\.json has 2,097,152 bytes"),
    "no config": ("llama", gone("config.json"), r"has no config\.json"),
    "no weights": ("llama", gone("model.safetensors"), r"has neither model\.safetensors nor"),
    "pickles alone": ("llama", pickled, r"weights in pytorch_model\.bin alone.*save_pretrained"),
    "a link to itself": ("llama", loop, r"has neither model\.safetensors nor"),
    "weights cut": ("llama", cut("model.safetensors", 20_000), r"model\.safetensors is no safetensors file"),
    "weights cut in the header": ("llama", cut("model.safetensors", 100), r"model\.safetensors is damaged: its header"),
    "weights empty": ("llama", cut("model.safetensors", 0), r"model\.safetensors is no safetensors file"),
    "a long header": (
        "llama",
        content("model.safetensors", struct.pack("<Q", 1 << 40) + b"{}"),
        r"header has 1,099,511,627,776 bytes, and the file 10",
    ),
    "weights in text": ("llama", content("model.safetensors", "<html>"), r"model\.safetensors"),
    "index cut": ("qwen2", cut("model.safetensors.index.json", 300), r"index\.json is no JSON file"),
    "no map": ("qwen2", content("model.safetensors.index.json", '{"metadata": {}}'), "has no weight_map"),
    "an empty map": ("qwen2", content("model.safetensors.index.json", '{"weight_map": {}}'), "has no weight_map"),
    "numbers in the map": ("qwen2", index(lambda m: m.update({KEY: 3})), "has no weight_map"),
    "a way out": ("qwen2", index(lambda m: m.update({KEY: "../model.safetensors"})), r"'\.\./model\.safetensors'; it"),
    "a way in": ("qwen2", index(lambda m: m.update({KEY: "a/b.safetensors"})), r"'a/b\.safetensors'; it must be"),
    "a whole path": ("qwen2", index(lambda m: m.update({KEY: "/etc/a.safetensors"})), r"'/etc/a\.safetensors'; it"),
    "no safetensors": ("qwen2", index(lambda m: m.update({KEY: "config.json"})), r"'config\.json'; it must be"),
    "the index itself": (
        "qwen2",
        index(lambda m: m.update({KEY: "model.safetensors.index.json"})),
        r"'model\.safetensors\.index\.json'; it must be",
    ),
    "signs for a terminal": ("qwen2", index(lambda m: m.update({KEY: "\x1b[2J.safetensors"})), r"x1b\[2J"),
    "a thousand files": (
        "qwen2",
        index(lambda m: m.update({str(i): f"{i}.safetensors" for i in range(1001)})),
        "names 1,004 files",
    ),
    "a file of the index gone": ("qwen2", gone(FILE), rf"names the file {FILE}, which is not there"),
    "the same tensors twice": ("qwen2", twice, r"00002-of-00003\.safetensors has .*, which model-00001-of-00003"),
    "a tensor elsewhere": (
        "qwen2",
        index(lambda m: m.update({KEY: "model-00001-of-00003.safetensors"})),
        rf"says that {KEY} is in model-00001-of-00003\.safetensors, but it is in {FILE}",
    ),
    "a tensor nowhere": ("qwen2", index(lambda m: m.update({"x": FILE})), "says that x is in .*, but it is in no file"),
    "a tensor of which the index does not know": (
        "qwen2",
        index(lambda m: m.pop(KEY)),
        rf"has the tensor {KEY}, of which|names the file",
    ),
    "a tensor missing": ("llama", renamed(QUERY, "x"), rf"lacks the tensor {QUERY} \(24, 18\)"),
    "a tensor too many": (
        "llama",
        lambda folder: [setting(attention_bias=False)(folder)],
        r"safetensors has the tensor model\.layers\.0\.self_attn\.k_proj\.bias \(8,\), for which a llama",
    ),
    "another shape": (
        "llama",
        header(lambda found: found[QUERY].update(shape=[18, 24])),
        rf"has {QUERY} of the shape \(18, 24\); by the settings it has \(24, 18\)",
    ),
    "whole numbers": ("llama", header(lambda found: found[QUERY].update(dtype="I32")), f"has {QUERY} in int32"),
    "no head": ("llama", renamed("lm_head.weight", "x"), r"lacks the tensor lm_head\.weight \(37, 18\).*tie_word"),
    "a tied head that differs": (
        "llama",
        setting(tie_word_embeddings=True),
        r"lm_head\.weight differs from model\.embed_tokens\.weight",
    ),
    "a million blocks": ("llama", setting(num_hidden_layers=10**6), "num_hidden_layers = 1000000; the most is"),
    "many blocks": (
        "llama",
        setting(num_hidden_layers=10**4),
        "asks for 10,000 blocks, and the weights are 51 tensors",
    ),
    "endless blocks": ("llama", setting(num_hidden_layers=10**30), "num_hidden_layers = 10{30}; a whole number"),
    "wide": ("llama", setting(hidden_size=3 * 2**20), r"has .* of the shape .*; by the settings it has .*3145728"),
    "no width": ("llama", setting(hidden_size=None), "hidden_size = None; a whole number from 1"),
    "a width in words": ("llama", setting(hidden_size="18"), "hidden_size = '18'; a whole number from 1"),
    "five heads": ("llama", setting(num_key_value_heads=2), "cannot be a GPT: num_heads=3 cannot be shared evenly"),
    "odd heads": ("llama", setting(head_dim=7), "Rotary positions turn pairs"),
    "no epsilon": ("llama", setting(rms_norm_eps=0), "rms_norm_eps = 0; a number above 0"),
    "a broken tokenizer": ("llama", content("tokenizer.json", "{}"), r"tokenizer\.json"),
}


def copied(name, folder):
    folder.mkdir()
    for file in (DATA / name).iterdir():
        if file.name != "reference.npz":
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("case", LINES)
def test_a_damaged_folder_is_refused_at_once(case, tmp_path, peak):
    name, damage, message = LINES[case]
    folder = copied(name, tmp_path / "it")
    damage(folder)

    def load():
        with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
            weights.from_hugging_face(folder)
        assert str(folder) in str(caught.value) or "differs from" in str(caught.value)
        assert "\x1b" not in str(caught.value)

    start = time.process_time()
    assert peak(load) < 100 << 20
    assert time.process_time() - start < 10  # under 1 on a quiet machine


ON = {
    "another model": ("llama", {"model_type": "mamba"}, r"model_type = 'mamba'; those that are read are llama, qwen2"),
    "no model": ("llama", {"model_type": None}, "model_type = None"),
    "a classifier": (
        "llama",
        {"architectures": ["LlamaForSequenceClassification"]},
        r"architectures = \['LlamaForSequenceClassification'\]; a language model of this kind is LlamaForCausalLM",
    ),
    "quantised": (
        "llama",
        {"quantization_config": {"bits": 4}},
        "quantization_config = .*take the weights that were not",
    ),
    "an unknown setting": ("llama", {"clever_trick": 2}, r"clever_trick = 2; this setting is not known.*ignore=\["),
    "code of its own": ("llama", {"auto_map": {"AutoModel": "a.B"}}, "auto_map = "),
    "a window of a Llama": ("llama", {"sliding_window": 4}, "sliding_window = 4; this setting is not known"),
    "an unknown activation": ("llama", {"hidden_act": "quick_gelu"}, "hidden_act = 'quick_gelu'; known are silu"),
    "half of the head turned": ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
    "neighbours turned": ("llama", {"rope_interleaved": True}, "rope_interleaved = True; a GPT .* can have False"),
    "two scalings": ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling = .*rope_parameters"),
    "yarn": ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "rope_parameters.rope_type = 'yarn'; known are"),
    "half of it in scaling": (
        "llama",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5.0, "partial_rotary_factor": 0.5}},
        "rope_parameters.partial_rotary_factor = 0.5, which is not known with 'default'",
    ),
    "no factor": ("llama", {"rope_parameters": {"rope_type": "linear"}}, "rope_parameters.factor = None; a number"),
    "scaling in words": ("llama", {"rope_parameters": "linear"}, r"rope_parameters = 'linear'; an object"),
    "attention dropout of 2": ("llama", {"attention_dropout": 2}, "attention_dropout = 2; a number from 0"),
    "a flag in words": ("llama", {"mlp_bias": "yes"}, "mlp_bias = 'yes'; true or false is needed"),
    "layers of another kind": (
        "qwen2",
        {"layer_types": ["linear_attention"] * 3},
        r"layer_types = .*3 of full_attention",
    ),
    "too few layer types": ("qwen2", {"layer_types": ["full_attention"]}, "layer_types = .*; 3 of full_attention"),
    "a window of none": ("qwen2", {"use_sliding_window": False}, "layer_types = .*needs a sliding_window"),
    "capped scores": ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0; .* can have nothing"),
    "capped logits": ("gemma3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping = 30.0"),
    "both directions": ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
    "no division": ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights = False; .* can have True"),
    "divided by the block": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "inverse_layer_idx = True"),
    "another context": ("gpt2", {"n_ctx": 8}, "n_ctx = 8; a GPT of this library can have 16"),
    "an encoder": ("gpt2", {"add_cross_attention": True}, "add_cross_attention = True"),
    "pruned": ("gpt2", {"pruned_heads": {"0": [1]}}, "pruned_heads = "),
    "text of another model": (
        "gemma3",
        {"model_type": "gemma3", "architectures": None, "text_config": {"model_type": "t5"}},
        "text_config.model_type = 't5'",
    ),
}


@pytest.mark.parametrize("case", ON)
def test_a_setting_that_is_not_supported_is_refused_by_name(case, hub_folder):
    name, settings, message = ON[case]
    folder = hub_folder(name, **settings)
    with pytest.raises(ValueError, match=message) as caught:
        weights.from_hugging_face(folder)
    assert str(folder / "config.json") in str(caught.value)


def test_a_setting_can_be_passed_over(hub_folder):
    folder = hub_folder("llama", clever_trick=2)
    model, _ = weights.from_hugging_face(folder, ignore=["clever_trick"])
    assert model.built


def test_a_place_without_a_folder_says_how_to_bring_one(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"does not exist\. A model of the hub comes to a folder with: hf download"
    ):
        weights.from_hugging_face(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="is a file; give the folder that holds it"):
        weights.from_hugging_face(DATA / "llama" / "config.json")


def test_a_link_to_a_file_is_followed(tmp_path):
    folder = copied("llama3", tmp_path / "it")  # the cache of the hub is made of links
    os.replace(folder / "model.safetensors", tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    assert weights.from_hugging_face(folder)[0].built


def test_nothing_is_held_twice(hub_folder, peak):
    """The table of embeddings, the largest tensor, comes first: when it is copied, nothing else is there."""

    def grown(arrays):
        rng = np.random.default_rng(0)
        sizes = {37: 4096, 18: 512, 24: 512, 20: 2048, 8: 128}
        return {
            name: rng.normal(size=tuple(sizes[n] for n in a.shape)).astype("float32") / 30 for name, a in arrays.items()
        }

    sizes = {"vocab_size": 4096, "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 4}
    folder = hub_folder("qwen3", grown, **sizes, head_dim=128)
    total = (folder / "model.safetensors").stat().st_size
    weights.from_hugging_face(DATA / "qwen3")  # what is loaded once is not counted
    assert peak(lambda: weights.from_hugging_face(folder)) < 1.3 * total + (24 << 20)  # what malloc keeps
