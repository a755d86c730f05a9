"""Models that transformers wrote, with what it computed from them; and the way back. See data/make_hugging_face.py."""

import dataclasses
import json
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasllm import layers, models, text, weights
from kerasllm.layers.composite import copy_of
from kerasllm.weights import families
from kerasllm.weights.families.config import Config, rotary_of
from kerasllm.weights.families.family import Third, settings_of, weights_of
from kerasllm.weights.families.parts import differences
from kerasllm.weights.hub import hugging_face_of
from kerasllm.weights.rehearsal import described
from kerasllm.weights.safetensors_file import read_metadata

DATA = Path(__file__).parent / "data" / "hugging_face"
NAMES = sorted(folder.name for folder in DATA.iterdir())


@cache
def loaded(name):
    model, tokenizer = weights.from_hugging_face(DATA / name)
    assert tokenizer is None
    return model


@cache
def reference(name):
    with np.load(DATA / name / "reference.npz") as content:
        return dict(content)


def off(model, name, label="plain", kind="logits"):
    """The largest difference from what transformers computed at real tokens, beside the largest number there."""
    expected = reference(name)
    mask = expected["mask"] if label == "padded" else None
    found = keras.ops.convert_to_numpy(model(expected["ids"], mask=mask, return_features=kind == "features"))
    wanted, real = expected[f"{label}_{kind}"], np.ones_like(expected["mask"]) if mask is None else mask
    return np.abs(found - wanted)[real].max() / np.abs(wanted[real]).max()


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_features_are_those_of_the_original(name):
    for label in ("plain", "padded"):
        for kind in ("logits", "features"):
            assert off(loaded(name), name, label, kind) < 1e-5, (label, kind)


# For each mistake one could make: a fixture, what is done to its tensors, and the settings that change.
def _rows_of_llama_cpp(arrays):
    rows = np.arange(24).reshape(3, 2, 4).swapaxes(1, 2).reshape(-1)
    return {name: a[rows] if "q_proj.weight" in name else a for name, a in arrays.items()}


def _not_turned(arrays):
    square = {name for name, a in arrays.items() if a.ndim == 2 and a.shape[0] == a.shape[1]}
    assert square
    return {name: a.T if name in square else a for name, a in arrays.items()}


def _norm_one_more(arrays):
    return {name: a + np.float32(1) if name.endswith("norm.weight") else a for name, a in arrays.items()}


def _parts_swapped(arrays):
    def swap(a):
        return np.concatenate(np.split(a, 3, axis=-1)[::-1], axis=-1)

    return {name: swap(a) if "c_attn" in name else a for name, a in arrays.items()}


MISTAKES = {
    "query rows in the order of llama.cpp": ("qwen3", _rows_of_llama_cpp, {}),
    "matrices that are not turned": ("gpt2", _not_turned, {}),
    "queries and values swapped": ("gpt2", _parts_swapped, {}),
    "norms of 1 + weight": ("gemma3", _norm_one_more, {}),
    "another epsilon": ("llama", None, {"rms_norm_eps": 1e-5}),
    "another epsilon of GPT-2": ("gpt2", None, {"layer_norm_epsilon": 1e-5}),
    "another epsilon of Gemma": ("gemma3", None, {"rms_norm_eps": 1e-6}),
    "another base": ("llama", None, {"rope_parameters": {"rope_theta": 60.0}}),
    "no scaling of Llama 3": ("llama3", None, {"rope_parameters": {"rope_theta": 150.0}}),
    "no linear scaling": ("linear", None, {"rope_parameters": {"rope_theta": 50.0}}),
    "another window": ("qwen2", None, {"sliding_window": 5}),
    "windows one block later": ("qwen2", None, {"layer_types": ["full_attention"] * 2 + ["sliding_attention"]}),
    "another window of Mixtral": ("mixtral", None, {"sliding_window": 7}),
    "one expert a token": ("mixtral", None, {"num_experts_per_tok": 1}),
    "another window of Mistral": ("mistral", None, {"sliding_window": 6}),
    "the window that is taken where Mistral's file has none": ("mistral", None, {"sliding_window": None}),
    "weights of experts that are divided by their sum": ("qwen3_moe", None, {"norm_topk_prob": True}),
    "two experts a token": ("qwen3_moe", None, {"num_experts_per_tok": 2}),
    "another scale of scores": ("gemma3", None, {"query_pre_attn_scalar": 8}),
    "the exact activation": ("gemma3", None, {"hidden_activation": "gelu"}),
    "another activation": ("llama", None, {"hidden_act": "gelu"}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_would_show(mistake, hub_folder):
    name, change, settings = MISTAKES[mistake]
    model, _ = weights.from_hugging_face(hub_folder(name, change, **settings))
    assert off(model, name) > (3e-5 if "exact" in mistake else 1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_what_was_read(name, tmp_path):
    model = loaded(name)
    weights.to_hugging_face(model, tmp_path)
    assert read_metadata(tmp_path / "model.safetensors") == {"format": "pt"}
    again, _ = weights.from_hugging_face(tmp_path)
    assert again.settings.get_config() == model.settings.get_config()
    assert off(again, name) < 1e-4
    assert described(again) == described(model) == weights_of(model.settings)


def _renamed(old, new):
    return lambda arrays: {name.replace(old, new, 1) if name.startswith(old) else name: a for name, a in arrays.items()}


def _more(**extra):
    return lambda arrays: arrays | {name.replace("__", "."): value for name, value in extra.items()}


def _old_gpt2(arrays):
    masks = {f"h.{i}.attn.bias": np.tril(np.ones((1, 1, 16, 16), "float32")) for i in range(3)}
    masks |= {f"h.{i}.attn.masked_bias": np.array(-1e4, "float32") for i in range(3)}
    return _renamed("transformer.", "")(arrays) | masks


def _with_head(arrays):
    return arrays | {"lm_head.weight": arrays["model.embed_tokens.weight"]}


def _with_pictures(prefix):
    extra = {"vision_tower.vision_model.a.weight": np.ones(3, "float32")}
    return lambda arrays: _renamed("model.", prefix)(arrays) | extra


TEXT = {key: value for key, value in json.loads((DATA / "gemma3" / "config.json").read_text()).items() if value != []}
# The settings of transformers 4, and other ways in which the same model comes.
SAME = {
    "a base model of GPT-2 with the masks of old files": (
        "gpt2",
        _old_gpt2,
        {"architectures": ["GPT2Model"], "n_ctx": 16, "task_specific_params": {"text-generation": {}}},
    ),
    "a base model of Qwen 2": ("qwen2", _renamed("model.", ""), {"architectures": ["Qwen2Model"]}),
    "speeds of rotary positions in the file": (
        "llama",
        _more(model__layers__0__self_attn__rotary_emb__inv_freq=np.ones(4, "float32")),
        {"rope_parameters": None, "rope_theta": 50, "rope_scaling": None, "torch_dtype": "bfloat16"},
    ),
    "scaling of Llama 3 as transformers 4 writes it": (
        "llama3",
        None,
        {
            **{"rope_parameters": None, "rope_theta": 150, "pretraining_tp": 1, "rope_interleaved": False},
            "rope_scaling": {
                **{"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "a head beside the table that it is": ("llama3", _with_head, {}),
    "linear scaling under its older key": (
        "linear",
        None,
        {"rope_parameters": None, "rope_theta": 50.0, "rope_scaling": {"type": "linear", "factor": 3.0}},
    ),
    "windows by max_window_layers": ("qwen2", None, {"layer_types": None}),
    "experts as files of the hub name them": (
        "qwen3_moe",
        None,
        {
            "num_local_experts": None,
            "num_experts": 5,
            "max_window_layers": 28,
            "rope_theta": 50.0,
            "rope_parameters": None,
        },
    ),
    "bases of Gemma as transformers 4 writes them": (
        "gemma3",
        None,
        {"rope_parameters": None, "rope_theta": 300.0, "rope_local_base_freq": 20.0, "_sliding_window_pattern": None},
    ),
    "Gemma with pictures": (
        "gemma3",
        _with_pictures("language_model.model."),
        {
            **dict.fromkeys(TEXT),
            **{"model_type": "gemma3", "text_config": TEXT, "vision_config": {"image_size": 8}},
            **{"architectures": ["Gemma3ForConditionalGeneration"], "mm_tokens_per_image": 4},
        },
    ),
    "Gemma with pictures, as transformers 5 names it": (
        "gemma3",
        _with_pictures("model.language_model."),
        {**dict.fromkeys(TEXT), "model_type": "gemma3", "text_config": TEXT, "vision_config": {"image_size": 8}},
    ),
}


@pytest.mark.parametrize("way", SAME)
def test_the_same_model_in_another_form_is_the_same(way, hub_folder):
    name, change, settings = SAME[way]
    model, _ = weights.from_hugging_face(hub_folder(name, change, **settings))
    assert off(model, name) < 1e-4


def test_what_gemma_leaves_out_of_its_config_is_known():
    # The config of the 4 billion names four sizes of its text part.
    content = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    content["rope_scaling"] = {"factor": 8.0, "rope_type": "linear"}
    settings = settings_of(families.FAMILIES["gemma3_text"], Config("it", content))
    near, far = settings.attention[0], settings.attention[5]
    assert (settings.vocabulary_size, near.num_heads, near.num_kv_heads, near.head_dim) == (262208, 8, 4, 256)
    assert (near.window, far.window, len(settings.attention)) == (1024, None, 6)
    assert (near.rotary.max_wavelength, near.rotary.factor) == (10000, 1)
    assert (far.rotary.max_wavelength, far.rotary.factor) == (1e6, 8)
    assert settings.tied


def test_presets_are_what_the_published_configs_say():
    wanted = models.preset("smollm2-135m")
    config, family = {"model_type": "llama"}, families.FAMILIES["llama"]
    config |= {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    config |= {"num_key_value_heads": 3, "rope_theta": 100000, "rms_norm_eps": 1e-05, "vocab_size": 49152}
    config |= {"tie_word_embeddings": True, "max_position_embeddings": 8192, "transformers.js_config": {"a": 1}}
    assert not differences(wanted, settings_of(family, Config("it", config)))
    types = {"gpt2": "gpt2", "llama-3.2-1b": "llama", "qwen2.5-0.5b": "qwen2", "qwen3-0.6b": "qwen3"}
    for name, model_type in {**types, "gemma-3-270m": "gemma3_text", "mixtral-8x7b": "mixtral"}.items():
        wanted, family = models.preset(name), families.FAMILIES[model_type]
        assert not differences(wanted, settings_of(family, Config("it", family.write(wanted)))), name


def test_dtype_is_that_of_the_policy(hub_folder):
    model, _ = weights.from_hugging_face(DATA / "llama3", dtype="bfloat16")
    assert {str(weight.dtype) for weight in model.weights} == {"bfloat16"}
    assert off(model, "llama3") < 0.1
    mixed, _ = weights.from_hugging_face(DATA / "llama3", dtype="mixed_bfloat16")
    assert {str(weight.dtype) for weight in mixed.weights} == {"float32"}

    def large(arrays):
        return arrays | {"model.norm.weight": np.full(18, 1e5, "float32")}

    with pytest.raises(ValueError, match=r"model\.norm\.weight holds numbers that float16 cannot hold"):
        weights.from_hugging_face(hub_folder("llama", large), dtype="float16")


def test_dropout_of_the_config_is_that_of_the_model(hub_folder):
    settings = loaded("gpt2").settings
    assert (settings.dropout, settings.attention[0].dropout) == (0.1, 0.1)
    changed, _ = weights.from_hugging_face(hub_folder("gpt2", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.3))
    assert (changed.settings.dropout, changed.settings.attention[0].dropout) == (0.0, 0.3)
    with pytest.raises(ValueError, match=r"config\.json has embd_pdrop = 0\.2; resid_pdrop is 0\.1"):
        weights.from_hugging_face(hub_folder("gpt2", embd_pdrop=0.2))
    weights.from_hugging_face(hub_folder("gpt2", embd_pdrop=0.2), ignore=["embd_pdrop"])


SIZES = {"vocabulary_size": 37, "context_length": 16, "num_layers": 2, "num_heads": 2, "embedding_dim": 8}
LLAMA = models.gpt_presets.LLAMA | SIZES | {"tied": True}


def _attention(**changes):
    settings = models.gpt_settings(**LLAMA)
    return settings.with_(attention=copy_of(settings.attention[0], **changes))


NO_FAMILY = {
    "no positions": (lambda: models.gpt_settings(**{**LLAMA, "positions": None}), "attention.rotary"),
    "sines": (lambda: models.gpt_settings(**SIZES, positions="sinusoidal"), "positions"),
    "two epsilons": (lambda: models.gpt_settings(**LLAMA, qk_norm=True), "attention.qk_norm.epsilon = 1e-06"),
    "no gate": (lambda: models.gpt_settings(**{**LLAMA, "gated": False}), "feed_forward.gated = False"),
    "another scale": (lambda: _attention(scale=0.2), r"attention\.scale = 0\.2 in block 1 \(there 0\.5"),
    "norms after": (lambda: models.gpt_settings(**LLAMA).with_(placement="after"), "placement = 'after'"),
    "large embeddings": (lambda: models.gpt_settings(**LLAMA).with_(embedding_scale=2.0), "embedding_scale = 2.0"),
    "its own activation": (
        lambda: models.gpt_settings(**{**LLAMA, "activation": "elu"}),
        r"feed_forward\.activation = 'elu'",
    ),
    "unlike blocks": (
        lambda: models.gpt_settings(**LLAMA).with_(
            feed_forward=[layers.FeedForward(n, activation="silu", gated=True, use_bias=False) for n in (8, 9)]
        ),
        r"feed_forward\.hidden_dim = 9 in block 2 \(there 8\)",
    ),
}


@pytest.mark.parametrize("case", NO_FAMILY)
def test_a_model_that_no_family_can_express_is_refused_by_the_settings_name(case, tmp_path):
    settings, message = NO_FAMILY[case]
    with pytest.raises(ValueError, match=message) as caught:
        weights.to_hugging_face(models.GPT(settings()), tmp_path / "out")
    assert "No family of llama, qwen2, qwen3, mistral, gemma3_text, gpt2, mixtral, qwen3_moe computes" in str(
        caught.value
    )
    assert not (tmp_path / "out").exists()


def test_biases_that_a_family_has_and_the_model_has_not_are_zero(tmp_path):
    model = models.GPT(models.preset("nano", **SIZES))
    weights.to_hugging_face(model, tmp_path)
    again, _ = weights.from_hugging_face(tmp_path)
    assert again.settings.attention[0].use_bias
    ids = np.arange(10)[None]
    np.testing.assert_allclose(again(ids), model(ids), atol=1e-6)


def test_a_changed_model_is_refused(tmp_path):
    model = models.GPT(models.gpt_settings(**LLAMA))
    model.blocks[0].attention.query.enable_lora(2)
    with pytest.raises(ValueError, match=r"block_1/attention/query/lora_kernel_a: the model was changed"):
        weights.to_hugging_face(model, tmp_path)
    with pytest.raises(TypeError, match=r"model must be a kerasllm\.models\.GPT, not str"):
        weights.to_hugging_face("model", tmp_path)


def test_every_name_of_a_table_belongs_to_a_weight():
    for family in families.FAMILIES.values():
        for table in (family.tensors, family.block):
            theirs = [entry if isinstance(entry, Third | str) else entry.name for entry in table.values()]
            assert len(set(theirs)) == len(theirs), family.model_type
    moved = dataclasses.replace(families.FAMILIES["llama"], block={})
    with pytest.raises(ValueError, match="block_1/attention/query/kernel: a llama has no such weight"):
        families.family.sources_of(moved, "model.", weights_of(loaded("llama").settings))


def test_rotary_positions_of_one_kind_of_block():
    config = Config("it", {"rope_parameters": {"full_attention": {"rope_theta": 5.0}, "sliding_attention": None}})
    assert rotary_of(config, kind="full_attention").max_wavelength == 5
    assert rotary_of(config, 7.0, kind="sliding_attention").max_wavelength == 7


@pytest.fixture(scope="module")
def tokenizer():
    return text.train_bpe(["hello world, hello words"] * 9, 270, eos=True)


def test_the_tokenizer_comes_along(tokenizer, tmp_path):
    settings = {**LLAMA, "vocabulary_size": 280}
    model = models.GPT(models.gpt_settings(**settings))
    weights.to_hugging_face(model, tmp_path, tokenizer)
    again, found = weights.from_hugging_face(tmp_path)
    assert again.vocabulary_size == 280
    assert found.encode("hello world") == tokenizer.encode("hello world")
    assert found.roles == tokenizer.roles
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["eos_token_id"], config["pad_token_id"]) == (tokenizer.eos_id, tokenizer.pad_id)
    said = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert said["eos_token"] == tokenizer.roles["eos"]
    small = models.GPT(models.gpt_settings(**LLAMA))
    with pytest.raises(ValueError, match="the tokenizer has ids up to 269, and the model 37 rows"):
        weights.to_hugging_face(small, tmp_path, tokenizer)


# KerasHub takes the epsilon of some families from its own settings: here it is the usual one.
HUB = {
    "Llama3Backbone": models.gpt_settings(**LLAMA | {"num_kv_heads": 1, "epsilon": 1e-6, "tied": False}),
    "QwenBackbone": models.gpt_settings(**LLAMA | {"num_kv_heads": 1, "epsilon": 1e-6, "qkv_bias": True}),
    "Qwen3Backbone": models.gpt_settings(**LLAMA | {"head_dim": 6, "epsilon": 1e-6, "qk_norm": True}),
    "GPT2Backbone": models.gpt_settings(**SIZES, activation="gelu_tanh"),
    "Gemma3Backbone": models.preset("gemma-3-270m", **SIZES, head_dim=8, hidden_dim=12, window=4),
}


@pytest.mark.parametrize("name", HUB)
def test_keras_hub_reads_what_we_write(name, tmp_path):
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)  # it stands behind the newest Keras
    keras.utils.set_random_seed(3)
    model = models.GPT(HUB[name])
    for weight in model.weights:
        weight.assign(weight + keras.random.normal(weight.shape, stddev=0.3))
    weights.to_hugging_face(model, tmp_path)
    assert hugging_face_of(model)[0]["model_type"] in json.loads((tmp_path / "config.json").read_text())["model_type"]
    backbone = getattr(keras_hub.models, name).from_preset(str(tmp_path))
    ids = np.random.default_rng(0).integers(0, 37, (2, 9))
    theirs = backbone({"token_ids": ids, "padding_mask": np.ones_like(ids)})
    ours = keras.ops.convert_to_numpy(model(ids, return_features=True))
    assert np.abs(keras.ops.convert_to_numpy(theirs) - ours).max() < 1e-4 * np.abs(ours).max()
