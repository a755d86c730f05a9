"""GGUF files in Hugging Face's terms: names, layout and settings of five architectures, as llama.cpp converts them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kerasllm.weights.gguf.architectures import ARCHITECTURES
from kerasllm.weights.gguf.config import Settings, config_of, llama3_factors
from kerasllm.weights.gguf.file import read_gguf
from kerasllm.weights.gguf.models import gguf_view, hugging_face_view, rotary_rows
from kerasllm.weights.gguf.writer import write_gguf

DATA = Path(__file__).parent / "data"
SPEC = importlib.util.spec_from_file_location("make_gguf", DATA / "make_gguf.py")
make_gguf = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_gguf)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_names_and_layout_are_those_of_hugging_face(name):
    expected = make_gguf.hugging_face(name)
    with read_gguf(DATA / f"{name}.gguf") as file:
        config, tensors = hugging_face_view(file)
        assert set(tensors) == set(expected)
        for key, tensor in tensors.items():
            assert tensor.shape == expected[key].shape
            shift = 3e-7 if name == "gemma3" and key.endswith("norm.weight") else 0  # 1 was added in float32
            np.testing.assert_allclose(tensor.read(), expected[key], atol=shift, rtol=0, err_msg=key)
            assert tensor.read().dtype == tensor.dtype == "float32"
    for key, value in make_gguf.CONFIGS[name].items():
        assert config[key] == value, key


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_way_back_gives_the_same_tensors_and_settings(name, tmp_path):
    with read_gguf(DATA / f"{name}.gguf") as file:
        view = hugging_face_view(file)
        metadata, tensors = gguf_view(*view)
        write_gguf(tmp_path / "again.gguf", metadata, tensors)
        with read_gguf(tmp_path / "again.gguf") as again:
            assert set(again.tensors) == set(file.tensors)
            for key, tensor in file.tensors.items():
                np.testing.assert_allclose(again.tensors[key].read(), tensor.read(), atol=3e-7, err_msg=key)
            for key in file.metadata.keys() - {"GGUF.version"}:
                assert again.metadata[key] == file.metadata[key], key
            assert hugging_face_view(again).config == view.config


def test_rows_of_queries_and_keys_are_those_of_pairs_a_half_head_apart():
    # Of a head of 6, llama.cpp turns rows (0, 1), (2, 3), (4, 5); Hugging Face (0, 3), (1, 4), (2, 5).
    stored = np.array(["a0", "a1", "b0", "b1", "c0", "c1"])
    assert stored[rotary_rows(6, heads=1)].tolist() == ["a0", "b0", "c0", "a1", "b1", "c1"]
    rows = rotary_rows(192, heads=3)
    matrix = np.arange(192 * 5).reshape(192, 5)
    np.testing.assert_array_equal(matrix[rows], matrix.reshape(3, 32, 2, 5).swapaxes(1, 2).reshape(192, 5))
    with pytest.raises(ValueError, match="12 rows cannot be 4 heads of pairs"):
        rotary_rows(12, heads=4)


def test_scores_of_rotated_queries_and_keys_are_equal_in_both_layouts():
    """The permutation is right exactly if both ways of turning rows give the same scores."""
    rng = np.random.default_rng(0)
    stored_query, stored_key = rng.normal(size=(2, 8, 5))
    inputs = rng.normal(size=(4, 5))
    angles = np.arange(4)[:, None] * 100.0 ** -(np.arange(4) / 4)

    def neighbours(rows):  # (time, 8): pairs (0, 1), (2, 3), ...
        even, odd = rows[:, ::2], rows[:, 1::2]
        turned = [even * np.cos(angles) - odd * np.sin(angles), even * np.sin(angles) + odd * np.cos(angles)]
        return np.stack(turned, axis=-1).reshape(rows.shape)

    def halves(rows):  # (time, 8): pairs (0, 4), (1, 5), ...
        first, second = rows[:, :4], rows[:, 4:]
        turned = [first * np.cos(angles) - second * np.sin(angles), first * np.sin(angles) + second * np.cos(angles)]
        return np.concatenate(turned, axis=-1)

    query, key = (stored[rotary_rows(8, heads=1)] for stored in (stored_query, stored_key))
    wanted = neighbours(inputs @ stored_query.T) @ neighbours(inputs @ stored_key.T).T
    np.testing.assert_allclose(halves(inputs @ query.T) @ halves(inputs @ key.T).T, wanted, atol=1e-12)
    wrong = halves(inputs @ stored_query.T) @ halves(inputs @ stored_key.T).T
    assert np.abs(wrong - wanted).max() > 0.1


def test_codes_follow_the_rows(tmp_path):
    config = make_gguf.CONFIGS["llama"] | {"hidden_size": 32, "num_hidden_layers": 1}
    with _written(tmp_path, *gguf_view(config, _tensors(config)), "Q8_0") as file:
        tensors = hugging_face_view(file).tensors
        for name in ("q_proj", "k_proj", "v_proj"):
            tensor = tensors[f"model.layers.0.self_attn.{name}.weight"]
            codes, scales, _ = tensor.parts()
            assert tensor.kind == "Q8_0"
            np.testing.assert_array_equal(codes * scales, tensor.read())


def _tensors(config):
    width, head_dim = config["hidden_size"], config["head_dim"]
    block = "model.layers.0."
    shapes = {"model.embed_tokens.weight": (40, width), "model.norm.weight": (width,), "lm_head.weight": (40, width)}
    shapes |= {block + f"self_attn.{one}_proj.weight": (heads * head_dim, width) for one, heads in (("q", 4), ("k", 2))}
    shapes |= {block + "self_attn.v_proj.weight": (2 * head_dim, width)}
    shapes |= {block + "self_attn.o_proj.weight": (width, 4 * head_dim)}
    shapes |= {block + f"mlp.{one}_proj.weight": (24, width) for one in ("gate", "up")}
    shapes |= {block + "mlp.down_proj.weight": (width, 24)}
    shapes |= {block + f"{one}_layernorm.weight": (width,) for one in ("input", "post_attention")}
    return {name: make_gguf.numbers(name, shape) for name, shape in shapes.items()}


def _written(folder, metadata, tensors, kind="F32"):
    write_gguf(folder / "one.gguf", metadata, tensors, kind)
    return read_gguf(folder / "one.gguf")


def test_what_llama_cpp_knows_of_gemma_without_the_file(tmp_path):
    with read_gguf(DATA / "gemma3.gguf") as file:
        config = hugging_face_view(file).config
        large = file.metadata | {"gemma3.block_count": 62}
    assert config["query_pre_attn_scalar"] == 8  # the width of a head
    assert config["layer_types"] == ["sliding_attention"] * 2
    assert config["rope_local_base_freq"] == 10_000
    config = config_of(Settings("a file", large), 40, True, None)
    assert config["query_pre_attn_scalar"] == 4  # width over heads, in the model of 27 billion alone
    assert [block for block, kind in enumerate(config["layer_types"]) if kind == "full_attention"][:2] == [5, 11]
    with _changed(tmp_path, "gemma3", gemma3__attention__sliding_window_pattern=[True, False]) as file:
        assert hugging_face_view(file).config["layer_types"] == ["sliding_attention", "full_attention"]
    with _changed(tmp_path, "gemma3", gemma3__attention__sliding_window_pattern=[True]) as file:
        with pytest.raises(ValueError, match="does not fit 2 blocks"):
            hugging_face_view(file)


def test_turned_matrices_have_no_codes():
    with read_gguf(DATA / "gpt2.gguf") as file:
        tensor = hugging_face_view(file).tensors["transformer.h.0.attn.c_attn.weight"]
        with pytest.raises(ValueError, match=r"attn_qkv\.weight is not stored in Hugging Face's layout"):
            tensor.parts()


def test_the_factors_of_llama_3_are_those_of_the_reference():
    # Llama 3.2: heads of 64, base 500,000, factor 32. Short waves stay, long ones get longer.
    scaling = make_gguf.LLAMA3 | {"factor": 32.0}
    factors = llama3_factors(64, 500_000.0, scaling)
    assert factors.shape == (32,)
    waves = 2 * np.pi * 500_000.0 ** (np.arange(32) / 32)
    assert (factors[waves < 2048] == 1).all()
    assert (factors[waves > 8192] == 32).all()
    assert (np.diff(factors) >= 0).all()
    config = {"head_dim": 64, "rope_theta": 500_000.0, "rope_scaling": scaling}
    np.testing.assert_allclose(factors, make_gguf.rope_factors(config), rtol=1e-6)


def test_factors_of_one_are_no_scaling(tmp_path):
    with _changed(tmp_path, tensors={"rope_freqs.weight": np.ones(4, "float32")}) as file:
        assert hugging_face_view(file).config["rope_scaling"] is None


def _changed(folder, name="llama", tensors=None, without=(), **metadata):
    """The small model of an architecture with other metadata (None takes away) or tensors."""
    with read_gguf(DATA / f"{name}.gguf") as file:
        settings = file.metadata | {key.replace("__", "."): value for key, value in metadata.items()}
        settings = {key: value for key, value in settings.items() if value is not None}
        kept = {key: tensor for key, tensor in file.tensors.items() if key not in without} | (tensors or {})
        return _written(folder, settings, kept)


ONES = np.ones((4, 4), "float32")
REFUSED = {
    "no architecture": ({"general__architecture": None}, r"architecture None; those that are read are llama, qwen2"),
    "an unknown architecture": ({"general__architecture": "mamba"}, "architecture 'mamba'"),
    "experts": ({"llama__expert_count": 8}, "llama.expert_count = 8, which is not supported"),
    "a part of a file": ({"split__count": 3}, "is one part of 3. Join them"),
    "no block count": ({"llama__block_count": None}, "whole number above 0 as llama.block_count, not None"),
    "a million blocks": ({"llama__block_count": 10**6}, "block_count = 1,000,000, and 30 tensors"),
    "one block more": ({"llama__block_count": 3}, "lacks the tensor blk.2.attn_norm.weight"),
    "one block less": ({"llama__block_count": 1}, "has the tensor blk.1.attn_q.weight, which a llama of 1 blocks"),
    "heads in words": ({"llama__attention__head_count": "four"}, "llama.attention.head_count, not 'four'"),
    "heads by block": ({"llama__attention__head_count": [4, 4]}, r"llama.attention.head_count, not \[4, 4\]"),
    "other heads": ({"llama__attention__head_count": 8}, "attn_q.weight, and 8 heads of 8"),
    "3 key heads": ({"llama__attention__head_count_kv": 3}, "4 query heads for 3 key heads"),
    "an epsilon of 0": ({"llama__attention__layer_norm_rms_epsilon": 0.0}, "a number above 0 as .*epsilon, not 0.0"),
    "half of the head turned": (
        {"llama__rope__dimension_count": 4, "llama__attention__key_length": 8},
        "llama.rope.dimension_count = 4 beside heads of 8; they must be equal",
    ),
    "other values": ({"llama__attention__value_length": 4}, "llama.attention.value_length = 4 beside heads of 8"),
    "an unknown scaling": ({"llama__rope__scaling__type": "longrope"}, "scaling.type = 'longrope'|not those of Llama"),
    "another width": ({"llama__embedding_length": 32}, r"the shape \(40, 16\) for token_embd.weight"),
    "a tensor too many": ({"tensors": {"blk.0.ffn_gate_inp.weight": ONES}}, "has the tensor blk.0.ffn_gate_inp.weight"),
    "a strange name": ({"tensors": {"\x1b[2J": ONES}}, r"has the tensor '\\x1b\[2J'"),
    "a tensor too few": ({"without": ("blk.1.attn_v.weight",)}, "lacks the tensor blk.1.attn_v.weight"),
    "no embeddings": ({"without": ("token_embd.weight",)}, "lacks the tensor token_embd.weight"),
    "unknown factors": (
        {"tensors": {"rope_freqs.weight": np.array([1, 1, 3, 8], "float32")}},
        "rope_freqs.weight with factors that are not those of Llama",
    ),
    "factors of another length": (
        {"tensors": {"rope_freqs.weight": np.array([1, 8, 8], "float32")}},
        "rope_freqs.weight with factors that are not those of Llama",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_by_name(case, tmp_path):
    changes, message = REFUSED[case]
    with _changed(tmp_path, **changes) as file:
        with pytest.raises(ValueError, match=message) as caught:
            hugging_face_view(file)
        assert str(file.path) in str(caught.value)
        assert "\x1b" not in str(caught.value)


def test_linear_and_yarn_scaling_are_read_and_written(tmp_path):
    for kind, more in (("linear", {}), ("yarn", {"original_max_position_embeddings": 32})):
        scaling = {"rope_type": kind, "factor": 4.0, **more}
        config = make_gguf.CONFIGS["qwen2"] | {"rope_scaling": scaling}
        with _written(tmp_path, *gguf_view(config, make_gguf.hugging_face("qwen2"))) as file:
            assert hugging_face_view(file).config["rope_scaling"] == scaling


def test_the_form_of_transformers_5_is_understood(tmp_path):
    config = {key: value for key, value in make_gguf.CONFIGS["llama"].items() if not key.startswith("rope_")}
    config["rope_parameters"] = make_gguf.LLAMA3 | {"rope_theta": 500000.0}
    with _written(tmp_path, *gguf_view(config, make_gguf.hugging_face("llama"))) as file:
        found = hugging_face_view(file).config
    assert found["rope_theta"] == 500000.0
    assert found["rope_scaling"] == make_gguf.LLAMA3


NO_PLACE = {
    "another activation": ("qwen2", {"hidden_act": "gelu"}, "hidden_act = 'gelu' has no place"),
    "a sliding window": ("qwen2", {"use_sliding_window": True}, "use_sliding_window = True has no place"),
    "another scale of scores": ("gemma3", {"query_pre_attn_scalar": 168}, "query_pre_attn_scalar = 168 has no place"),
    "other local blocks": ("gemma3", {"layer_types": ["full_attention"] * 2}, "layer_types"),
    "an unknown scaling": ("llama", {"rope_scaling": {"rope_type": "longrope"}}, "'longrope' cannot be written"),
    "other bounds": ("llama", {"rope_scaling": make_gguf.LLAMA3 | {"low_freq_factor": 2.0}}, "factors that are not"),
    "an unknown model": ("llama", {"model_type": "bert"}, "must be one of llama, qwen2, qwen3, gemma3_text, gpt2"),
    "no width": ("llama", {"hidden_size": None}, "hidden_size"),
    "more blocks": ("llama", {"num_hidden_layers": 3}, "lack model.layers.2.input_layernorm.weight"),
    "fewer blocks": ("llama", {"num_hidden_layers": 1}, "has no tensor model.layers.1.input_layernorm.weight"),
}


@pytest.mark.parametrize("case", NO_PLACE)
def test_what_gguf_cannot_say_is_refused(case):
    name, changes, message = NO_PLACE[case]
    config = make_gguf.CONFIGS[name] | changes
    with pytest.raises(ValueError, match=message):
        gguf_view({key: value for key, value in config.items() if value is not None}, make_gguf.hugging_face(name))


def test_a_tied_head_is_left_out():
    tensors = make_gguf.hugging_face("qwen2")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    _, found = gguf_view(make_gguf.CONFIGS["qwen2"], tensors)
    assert "output.weight" not in found


def test_only_an_open_file_is_taken():
    with pytest.raises(TypeError, match=r"file must be a GGUF, not str. Open one with read_gguf\(path\)"):
        hugging_face_view("model.gguf")
