"""Makes the GGUF files beside it with the packages `gguf` and `sentencepiece`, which the tests do not need.

    pip install --target reference gguf==0.19.0 sentencepiece==0.2.3 protobuf
    PYTHONPATH=reference python tests/weights/data/make_gguf.py

kinds.gguf holds a tensor of each kind and a key of each type, kinds.npz the numbers that the package `gguf` finds in
the tensors. The files called by an architecture hold a model of `hugging_face(...)`, stored as llama.cpp's converter
would: names by the package's own table, rows of queries and keys reordered for Llama, 1 added to Gemma's norms, GPT-2's
matrices turned. merges.gguf and unigram.gguf hold tokenizers that SentencePiece trained, pieces.json what it makes of
some texts.
"""

import io
import json
import tempfile
import zlib
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0]}  # where a block's float16 stand
HALVES |= {"Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
TEXTS = ["The capital of France is", "  two spaces, and\nlines", "naïve café ﬁne 你好", "</s> is text", "x" * 9, ""]
TEXTS += [
    "Unless required by applicable law, software is distributed on conditions of any kind, either express or implied."
]
TEXTS += ["The translation of a contributor's inventions, notwithstanding redistribution, was reproduced elsewhere."]
LAYERS, VOCABULARY = 2, 40

COMMON = {
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 64, "vocab_size": VOCABULARY},
    **{"rms_norm_eps": 1e-5, "rope_theta": 500000.0},
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3["original_max_position_embeddings"] = 8192
CONFIGS = {
    "llama": {"model_type": "llama", "tie_word_embeddings": False, "rope_scaling": LLAMA3, **COMMON, "head_dim": 8},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True, **COMMON},
    "qwen3": {"model_type": "qwen3", "tie_word_embeddings": True, **COMMON, "head_dim": 8},
    "gemma3": {"model_type": "gemma3_text", "tie_word_embeddings": True, "sliding_window": 16, **COMMON, "head_dim": 8},
    "gpt2": {
        **{"model_type": "gpt2", "tie_word_embeddings": True, "vocab_size": VOCABULARY, "n_positions": 64},
        **{"n_embd": 16, "n_layer": LAYERS, "n_head": 4, "layer_norm_epsilon": 1e-5},
    },
}


def numbers(name, shape):
    """Numbers that a name always gives."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape).astype("float32")


def hugging_face(name):
    """The tensors of the small model of an architecture, by Hugging Face's names, in its layout."""
    config = CONFIGS[name]
    if name == "gpt2":
        shapes = {"transformer.wte.weight": (VOCABULARY, 16), "transformer.wpe.weight": (64, 16)}
        inside = {"ln_1": (16,), "ln_2": (16,), "attn.c_attn": (16, 48), "attn.c_proj": (16, 16), "mlp.c_fc": (16, 64)}
        inside["mlp.c_proj"] = (64, 16)
        places = {f"transformer.h.{layer}.{part}": shape for layer in range(LAYERS) for part, shape in inside.items()}
        for place, shape in {**places, "transformer.ln_f": (16,)}.items():
            shapes |= {f"{place}.weight": shape, f"{place}.bias": shape[-1:]}
        return {key: numbers(key, shape) for key, shape in shapes.items()}
    queries, keys = 4 * config["head_dim"], 2 * config["head_dim"]
    inside = {"self_attn.q_proj.weight": (queries, 16), "self_attn.k_proj.weight": (keys, 16)}
    inside |= {"self_attn.v_proj.weight": (keys, 16), "self_attn.o_proj.weight": (16, queries)}
    inside |= {"mlp.gate_proj.weight": (24, 16), "mlp.up_proj.weight": (24, 16), "mlp.down_proj.weight": (16, 24)}
    norms = ["input_layernorm", "post_attention_layernorm"]
    if name in ("llama", "qwen2"):  # of Llama only models with attention_bias have them; its rows are reordered too
        inside |= {
            f"self_attn.{one}_proj.bias": (rows,) for one, rows in zip("qkv", (queries, keys, keys), strict=True)
        }
    if name == "llama":
        inside["self_attn.o_proj.bias"] = (16,)
    if name in ("qwen3", "gemma3"):
        inside |= {f"self_attn.{one}_norm.weight": (config["head_dim"],) for one in "qk"}
    if name == "gemma3":
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    inside |= {f"{norm}.weight": (16,) for norm in norms}
    shapes = {f"model.layers.{layer}.{part}": shape for layer in range(LAYERS) for part, shape in inside.items()}
    shapes |= {"model.embed_tokens.weight": (VOCABULARY, 16), "model.norm.weight": (16,)}
    if name == "llama":
        shapes["lm_head.weight"] = (VOCABULARY, 16)
    return {key: numbers(key, shape) for key, shape in shapes.items()}


def converted(name, key, tensor):
    """A tensor of Hugging Face as llama.cpp's converter stores it."""
    if name == "llama" and (".q_proj." in key or ".k_proj." in key):
        heads = 4 if ".q_proj." in key else 2
        halves = tensor.reshape(heads, 2, len(tensor) // heads // 2, *tensor.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(tensor.shape)
    if name == "gemma3" and key.endswith("norm.weight"):
        return tensor + np.float32(1)
    if name == "gpt2" and key.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
        return np.ascontiguousarray(tensor.T)
    return tensor


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_model(name):
    import gguf

    config = CONFIGS[name]
    arch = next(arch for arch, text in gguf.MODEL_ARCH_NAMES.items() if text == name)
    names = gguf.get_tensor_name_map(arch, LAYERS)
    writer = gguf.GGUFWriter(FOLDER / f"{name}.gguf", name)
    get = config.get
    writer.add_context_length(get("max_position_embeddings") or get("n_positions"))
    writer.add_embedding_length(get("hidden_size") or get("n_embd"))
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(get("intermediate_size") or 4 * get("n_embd"))
    writer.add_head_count(4)
    if name == "gpt2":
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    else:
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_freq_base(config["rope_theta"])
    if name in ("qwen3", "gemma3"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if name == "gemma3":
        writer.add_sliding_window(config["sliding_window"])
    if name == "llama":
        writer.add_rope_dimension_count(config["head_dim"])
        writer.add_vocab_size(VOCABULARY)
        writer.add_bos_token_id(1)
        writer.add_tensor("rope_freqs.weight", rope_factors(config))
    for key, tensor in hugging_face(name).items():
        writer.add_tensor(names.get_name(key, (".weight", ".bias")), converted(name, key, tensor))
    finish(writer)


def rope_factors(config):
    """Frequency by frequency, as the converter does it."""
    scaling, factors = config["rope_scaling"], []
    for place in range(0, config["head_dim"], 2):
        wave = 2 * np.pi * config["rope_theta"] ** (place / config["head_dim"])
        if wave < scaling["original_max_position_embeddings"] / scaling["high_freq_factor"]:
            factors.append(1.0)
        elif wave > scaling["original_max_position_embeddings"] / scaling["low_freq_factor"]:
            factors.append(scaling["factor"])
        else:
            low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
            smooth = (scaling["original_max_position_embeddings"] / wave - low) / (high - low)
            factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(factors, "float32")


def make_kinds():
    import gguf

    writer, expected = gguf.GGUFWriter(FOLDER / "kinds.gguf", "llama"), {}
    writer.add_uint8("test.uint8", 200)
    writer.add_int8("test.int8", -100)
    writer.add_uint16("test.uint16", 60000)
    writer.add_int16("test.int16", -30000)
    writer.add_uint32("test.uint32", 4_000_000_000)
    writer.add_int32("test.int32", -2_000_000_000)
    writer.add_float32("test.float32", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "你好")
    writer.add_uint64("test.uint64", 2**64 - 1)
    writer.add_int64("test.int64", -(2**63))
    writer.add_float64("test.float64", 0.1)
    writer.add_array("test.texts", ["a", "", "Ġthe"])
    writer.add_array("test.floats", [0.5, -1.5])
    writer.add_array("test.flags", [True, False])
    writer.add_array("test.nested", [[1, 2], [3]])
    rng = np.random.default_rng(1)
    for code in gguf.GGMLQuantizationType:
        if code.name not in {"F32", "F16", "BF16", *HALVES}:
            continue
        per_block, size = gguf.GGML_QUANT_SIZES[code]
        blocks = rng.integers(0, 256, (3 * 512 // per_block, size), dtype="uint8")
        for place in HALVES.get(code.name, ()):
            halves = rng.normal(size=(len(blocks), 1)).astype("float16")
            blocks[:, place : place + 2] = halves.view("uint8")
        if code.name in ("F32", "F16", "BF16"):
            blocks = gguf.quants.quantize(rng.normal(size=(3, 512)).astype("float32"), code).view("uint8")
        expected[code.name] = gguf.quants.dequantize(blocks.reshape(3, -1), code)
        writer.add_tensor(code.name, blocks.reshape(3, -1), raw_dtype=code)
    values = rng.normal(size=(4, 64)).astype("float32")
    values[0, :32], values[1, :32] = 0, np.arange(32) * 127 / 31
    values[2, :32] = np.r_[127, rng.integers(-254, 254, 31) / 2]  # halves: they round away from zero
    for kind in ("Q8_0", "BF16", "F16"):
        blocks = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
        expected[f"blocks of {kind}"] = blocks.view("uint8").reshape(-1)
    finish(writer)
    np.savez_compressed(FOLDER / "kinds.npz", values=values, **expected)


def make_pieces():
    import gguf
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    text = (Path(__file__).parents[3] / "LICENSE").read_text("utf-8")
    lines = [*(line for line in text.splitlines() if line.strip()), "a < b / c > d"]
    # A small table of characters: the ligature of fi becomes two letters, é loses its accent.
    rules = Path(tempfile.mkdtemp()) / "rules.tsv"
    rules.write_text("FB01\t66 69\nE9\t65\n")
    found = {}
    for name, model_type, ggml in (("merges", "bpe", "llama"), ("unigram", "unigram", "t5")):
        file = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=file,
            model_type=model_type,
            vocab_size=500,
            byte_fallback=model_type == "bpe",
            character_coverage=1.0,
            minloglevel=2,
            **{"remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
            if name == "merges"
            else {"normalization_rule_tsv": rules},
        )
        pieces = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())
        ids = range(pieces.get_piece_size())
        kinds = [
            2 if pieces.is_unknown(id) else 3 if pieces.is_control(id) else 6 if pieces.is_byte(id) else 1 for id in ids
        ]
        writer = gguf.GGUFWriter(FOLDER / f"{name}.gguf", "llama")
        writer.add_tokenizer_model(ggml)
        writer.add_token_list([pieces.id_to_piece(id) for id in ids])
        writer.add_token_scores([pieces.get_score(id) for id in ids])
        writer.add_token_types(kinds)
        writer.add_bos_token_id(pieces.bos_id())
        writer.add_eos_token_id(pieces.eos_id())
        writer.add_unk_token_id(pieces.unk_id())
        if name == "unigram":
            model = sentencepiece_model_pb2.ModelProto.FromString(file.getvalue())
            writer.add_precompiled_charsmap(model.normalizer_spec.precompiled_charsmap)
            writer.add_remove_extra_whitespaces(model.normalizer_spec.remove_extra_whitespaces)
        finish(writer)
        found[name] = [[text, pieces.encode(text)] for text in TEXTS]
    (FOLDER / "pieces.json").write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    make_kinds()
    make_pieces()
    for name in CONFIGS:
        make_model(name)
