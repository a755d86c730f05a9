"""A FastGPT is the GPT that it was made of: of float32 exactly, of fewer bits with the numbers that it holds."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from kerasllm import text, training, weights
from kerasllm.evaluation import bits_per_character, log_probability
from kerasllm.generation import Beam, Greedy, Session, generate, stream
from kerasllm.generation.compiling import compiled
from kerasllm.layers import MultiHeadAttention, RotaryPositions
from kerasllm.layers.composite import copy_of, named
from kerasllm.layers.packed import PackedMatrices
from kerasllm.models import BERT, GPT, BERTSettings, FastGPT, fast_gpt, gpt_settings, preset
from kerasllm.weights.gguf import writer

SIZES = {"vocabulary_size": 50, "num_layers": 2, "num_heads": 4, "embedding_dim": 24, "context_length": 32}
SMALL = {**SIZES, "num_layers": 1}
FEW_KEYS = {**SIZES, "num_kv_heads": 2, "hidden_dim": 40}
GEMMA = {**FEW_KEYS, "num_layers": 8, "num_kv_heads": 1, "head_dim": 8, "window": 4}  # longer than its period of 6
MODELS = {
    "classic": lambda: gpt_settings(**SIZES),
    "sinusoidal": lambda: gpt_settings(**SIZES, positions="sinusoidal", activation="relu"),
    "untied": lambda: preset("nano-modern", **SIZES),
    "gpt2": lambda: preset("gpt2", **SIZES),
    "smollm2": lambda: preset("smollm2-135m", **FEW_KEYS),
    "qwen2": lambda: preset("qwen2.5-0.5b", **FEW_KEYS),
    "qwen3": lambda: preset("qwen3-0.6b", **FEW_KEYS, head_dim=8),
    "gemma3": lambda: preset("gemma-3-270m", **GEMMA),
    "mistral": lambda: preset("smollm2-135m", **FEW_KEYS, tied=False, window=5),  # Mistral 7B is a Llama with a window
    "mixtral": lambda: preset("mixtral-8x7b", **FEW_KEYS, num_experts=4),
    "one layer": lambda: gpt_settings(**SMALL, positions="rotary"),
}
IDS = np.random.default_rng(1).integers(0, 50, (3, 6))
# Padding on the left of one row, on the right of another.
MASK = np.array([[1] * 6, [0] * 2 + [1] * 4, [1] * 3 + [0] * 3], bool)


def gpt(settings, **kwargs):
    """Weights are so large that each part matters."""
    model, random = GPT(settings, **kwargs), np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(number(weight) + random.normal(0, 0.25 if len(weight.shape) > 1 else 0.1, weight.shape))
    return model


def number(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def close(found, wanted, most=1e-5):
    __tracebackhide__ = True
    wanted = number(wanted)
    np.testing.assert_allclose(number(found), wanted, atol=most * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("name", MODELS)
def test_float32_is_the_model(name):
    model = gpt(MODELS[name]())
    fast = FastGPT.of(model, "float32")
    assert (fast.vocabulary_size, fast.context_length, fast.name) == (50, 32, model.name)
    wanted = number(model(IDS, mask=MASK))
    assert wanted.std() > 0.1
    close(number(fast(IDS, mask=MASK))[MASK], wanted[MASK])
    cache, found = fast.make_cache(3, 16), []
    for piece in (slice(0, 3), slice(3, 4), slice(4, 6)):
        logits, cache = fast(IDS[:, piece], mask=MASK[:, piece], cache=cache)
        found.append(number(logits))
    close(np.concatenate(found, axis=1)[MASK], wanted[MASK])
    assert cache[0].capacity == 16


def test_what_may_be_said_of_a_batch():
    model = gpt(MODELS["one layer"]())
    fast = FastGPT.of(model, "float32")
    close(fast({"ids": IDS, "mask": MASK})[0], model(IDS[:1])[0])
    assert fast(keras.Input((None,), dtype="int32")).shape == (None, None, 50)
    places = np.arange(6) + 3 * np.arange(3)[:, None]
    for positions in (places[1], places):
        close(fast(IDS, positions=positions), model(IDS, positions=positions))
    close(fast({"ids": IDS, "positions": places}), model(IDS, positions=places))
    features = model(IDS, return_features=True)
    close(fast(IDS, return_features=True), features)
    close(fast.head(features[:, -1]), model.head(features[:, -1]))
    for dtype in ("int64", "uint8"):
        close(fast(IDS.astype(dtype)), fast(IDS), 0)


def test_a_vocabulary_in_chunks(monkeypatch):
    monkeypatch.setattr(fast_gpt, "CHUNK", 16)  # four chunks of 13: two rows more than tokens
    for name in ("one layer", "untied"):
        model = gpt(MODELS[name]())
        fast = FastGPT.of(model, "float32")
        assert fast._head.count == 4
        for ids in (IDS, IDS[:1, :1]):
            close(fast(ids), model(ids))


def test_a_ring_that_was_run_round():
    model = gpt(preset("smollm2-135m", **FEW_KEYS, window=6))
    fast = FastGPT.of(model, "float32")
    ids = np.random.default_rng(2).integers(0, 50, (2, 14))
    step = compiled(lambda fast, ids, cache: fast(ids, cache=cache), fast, "step", xla=False)
    cache, found = fast.make_cache(2, 6), []
    for n in range(14):
        logits, cache = step(ids[:, n : n + 1], cache)
        found.append(number(logits))
    close(np.concatenate(found, axis=1), model(ids))
    with pytest.raises(ValueError, match="A cache of 6 has no room"):
        fast(ids[:, :3], cache=cache)


def test_learned_positions_have_no_ring():
    gpt = GPT(gpt_settings(**SMALL))
    for model in (gpt, FastGPT.of(gpt, "float32")):
        cache, mask = model.make_cache(1, 32), np.arange(32)[None] > 3
        cache = model(np.ones((1, 32), int), mask=mask, cache=cache)[1]
        with pytest.raises(ValueError, match="A cache of 32 has no room"):  # it would forget what is seen still
            model(np.ones((1, 1), int), cache=cache)
        with pytest.raises(ValueError, match="A text of 33 tokens does not fit"):
            model(np.ones((1, 33), int))
        with pytest.raises(ValueError, match="A cache of 4 has no room"):
            model(np.ones((1, 9), int), cache=model.make_cache(1, 4))


# Numbers ------------------------------------------------------------------------------------------


def rounded(numbers, matrix):
    """The numbers that stand in a packed matrix, (inputs, columns)."""
    packed = PackedMatrices(numbers, *matrix.shape)
    packed.put(0, matrix)
    return number(packed.store()(np.eye(matrix.shape[0], dtype="float32"), 0))


def in_numbers(model, numbers):
    """The model, its matrices as a FastGPT holds them: tables of 8 bits beside blocks of 4."""
    for place, weight in named(model).items():
        table = "int8" if numbers == "int4" else numbers
        if place == fast_gpt.TABLE:
            weight.assign(rounded(table, number(weight).T).T)
        elif place == fast_gpt.HEAD:
            weight.assign(rounded(table, number(weight)))
        elif place.endswith("/kernel") and len(weight.shape) == 2 and "router" not in place:
            weight.assign(rounded(numbers, number(weight)))
    return model


@pytest.mark.parametrize(
    ("numbers", "name"),
    [("bfloat16", "one layer"), ("int8", "smollm2"), ("int4", "qwen3"), ("int4", "untied"), ("int4", "mixtral")],
)
def test_fewer_bits_differ_by_their_rounding_alone(numbers, name):
    model = gpt(MODELS[name]())
    fast, before = FastGPT.of(model, numbers), number(model(IDS))
    wanted = number(in_numbers(model, numbers)(IDS))
    close(fast(IDS), wanted, 1e-4)
    assert np.abs(wanted - before).max() > 1e-3 * np.abs(before).max()  # rounding can be seen
    close(fast(IDS[:1, :1]), wanted[:1, :1], 1e-4)  # another way to multiply


def test_fewer_bits_are_fewer_bytes():
    model = gpt(preset("smollm2-135m", **{**FEW_KEYS, "embedding_dim": 64, "hidden_dim": 128, "num_layers": 2}))
    matrices = sum(w.shape[0] * w.shape[1] for w in model.weights if len(w.shape) == 2)
    table, norms = 50 * 64, 4 * 5 * 64
    found = {numbers: FastGPT.of(model, numbers).bytes for numbers in ("float32", "bfloat16", "int8", "int4")}
    assert found["float32"] == 4 * matrices + norms
    assert found["bfloat16"] == 2 * matrices + norms
    assert found["int8"] == matrices * 34 // 32 + norms
    assert found["int4"] == table * 34 // 32 + (matrices - table) * 20 // 32 + norms


def test_models_of_half_precision_are_computed_in_float32():
    whole = gpt(MODELS["one layer"]())
    for dtype in ("float16", "bfloat16"):
        half = gpt(MODELS["one layer"](), dtype=dtype)
        for ours, theirs in zip(whole.weights, half.weights, strict=True):
            ours.assign(number(theirs))
        wanted = whole(IDS)
        for numbers in ("float32", dtype) if dtype == "bfloat16" else ("float32",):
            close(FastGPT.of(half, numbers)(IDS), wanted)


def test_weights_of_zeros_and_of_no_numbers():
    model = gpt(MODELS["one layer"]())
    for weight in model.weights:
        weight.assign(0 * number(weight))
    for numbers in ("int8", "int4"):
        assert (number(FastGPT.of(model, numbers)(IDS)) == 0).all()
    weight = named(model)["block_1/attention/key/kernel"]
    weight.assign(number(weight) + np.nan)
    assert np.isnan(number(FastGPT.of(model, "bfloat16")(IDS))).any()
    with pytest.raises(ValueError, match="holds NaN or infinity, which int8 cannot"):
        FastGPT.of(model, "int8")


def test_the_precision_that_keras_is_told_changes_nothing():
    model = gpt(gpt_settings(**SMALL))
    wanted, floatx, policy = number(model(IDS)), keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_floatx("float16")
        keras.config.set_dtype_policy("mixed_bfloat16")
        fast = FastGPT.of(model, "float32")
        logits, cache = fast(IDS, cache=fast.make_cache(3, 12))
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
    close(logits, wanted)
    assert cache[0].key.dtype == logits.dtype


# Writing ------------------------------------------------------------------------------------------

PROMPTS = [[3, 1, 4, 1, 5, 9, 2], [6], [5, 3, 5]]


@pytest.fixture(scope="module")
def pair():
    """A GPT of one matrix of each shape, and the same arranged for writing."""
    model = gpt(preset("smollm2-135m", **{**FEW_KEYS, "num_layers": 2, "context_length": 16}))
    return model, FastGPT.of(model, "float32")


def test_greedy_texts_are_those_of_the_model(pair):
    model, fast = pair
    wanted = generate(model, PROMPTS, max_new_tokens=20, sampler=Greedy())  # further than the ring is long
    assert generate(fast, PROMPTS, max_new_tokens=20, sampler=Greedy()) == wanted
    assert len({tuple(ids[-10:]) for ids in wanted}) == 3


def test_sessions_streams_and_beams_write_as_the_model_does(pair):
    model, fast = pair
    sessions = [Session(one) for one in pair]
    for turn in (PROMPTS[0], PROMPTS[2]):
        for session in sessions:
            session.read(turn)
            session.write(5)
    assert sessions[0].ids == sessions[1].ids
    found = list(stream(fast, PROMPTS[0], max_new_tokens=5, sampler=Greedy()))
    assert found == generate(model, PROMPTS[0], max_new_tokens=5, sampler=Greedy())[len(PROMPTS[0]) :]
    beams = [generate(one, PROMPTS[0], max_new_tokens=5, sampler=Beam(3)) for one in pair]
    assert beams[0] == beams[1]


def test_a_text_is_as_probable_as_the_model_says(pair):
    model, fast = pair
    close(
        log_probability(fast, PROMPTS, PROMPTS[::-1]).total, log_probability(model, PROMPTS, PROMPTS[::-1]).total, 1e-5
    )
    tokenizer = text.train_characters(["abcdefgh"], byte_fallback=False)
    found = [bits_per_character(one, tokenizer, "abcdefghabcdefghabcdefgh") for one in pair]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_neither_keeps_the_other_in_memory():
    model = gpt(gpt_settings(**SMALL))
    fast, held = FastGPT.of(model), weakref.ref(model)
    wanted = number(fast(IDS))
    model.set_weights([0 * one for one in model.get_weights()])
    close(fast(IDS), wanted, 0)
    del model
    gc.collect()
    assert held() is None
    held = weakref.ref(fast)
    del fast
    gc.collect()
    assert held() is None


# What is refused ----------------------------------------------------------------------------------


def test_what_a_fast_gpt_refuses(tmp_path):
    model = gpt(gpt_settings(**SMALL))
    fast = FastGPT.of(model, "float32")
    with pytest.raises(ValueError, match=r"numbers must be one of .* not 'int3'"):
        FastGPT.of(model, "int3")
    with pytest.raises(TypeError, match=r"model must be a kerasllm\.models\.GPT, not FastGPT"):
        FastGPT.of(fast)
    with pytest.raises(TypeError, match="dtype"):
        FastGPT(model.settings, None, dtype="bfloat16")
    with pytest.raises(ValueError, match="cannot be trained: train the GPT"):
        fast(IDS, training=True)
    with pytest.raises(ValueError, match="one text a row: leave segment_ids out"):
        fast({"ids": IDS, "segment_ids": np.zeros_like(IDS)})
    with pytest.raises(ValueError, match="hold 'ids' and any of mask"):
        fast({"ids": IDS, "labels": IDS})
    with pytest.raises(ValueError, match="mask has the shape"):
        fast(IDS, mask=MASK[:, :5])
    assert not fast.trainable_variables
    for save in (keras.saving.save_model, weights.save_safetensors):
        with pytest.raises((NotImplementedError, ValueError), match="A FastGPT is not saved: save the GPT"):
            save(fast, tmp_path / "model.keras")
    for write in (weights.to_gguf, weights.to_hugging_face):
        with pytest.raises(TypeError, match="not FastGPT"):
            write(fast, tmp_path / "model")


def test_a_model_that_was_changed_is_refused_until_it_is_merged():
    model = gpt(gpt_settings(**SMALL))
    training.add_lora(model, rank=2)
    for place, weight in named(model).items():
        if "lora" in place:
            weight.assign(number(weight) + 0.2)
    with pytest.raises(ValueError, match=r"lora_kernel_a: the model was changed .* Merge LoRA"):
        FastGPT.of(model)
    wanted = number(model(IDS))
    merged = training.merge_adapter(model)
    close(FastGPT.of(merged, "float32")(IDS), wanted)
    merged.blocks[0].attention.query.quantize("int8")
    with pytest.raises(ValueError, match=r"the model was changed since it was made. .* do not quantize"):
        FastGPT.of(merged)


def test_blocks_whose_heads_differ_have_no_cache_to_share():
    settings = MODELS["smollm2"]()
    other = copy_of(settings.attention[0], num_kv_heads=4)
    with pytest.raises(ValueError, match="differs in num_kv_heads or head_dim"):
        FastGPT.of(GPT(settings.with_(attention=(settings.attention[0], other))))
    # Other heads of queries, windows and positions share it.
    attention = [
        MultiHeadAttention(2, 12, 2, causal=True, window=3),
        MultiHeadAttention(4, 12, 2, causal=True, rotary=RotaryPositions(100.0)),
    ]
    model = gpt(settings.with_(attention=attention))
    close(FastGPT.of(model, "float32")(IDS), model(IDS))


# Files --------------------------------------------------------------------------------------------


def _blocks_of_4_bits(kind, numbers):
    """Q4_0 or Q4_1 as llama.cpp stores them: the low halves of 16 bytes, then the high ones."""
    numbers = numbers.reshape(-1, 32)
    low, high = numbers.min(1, keepdims=True), numbers.max(1, keepdims=True)
    minima = low.astype("float16").astype("float32") if kind == "Q4_1" else 0
    scales = ((high - minima) / 15 if kind == "Q4_1" else np.abs(numbers).max(1, keepdims=True) / 8).astype("float16")
    codes = np.rint((numbers - minima) / scales) + (0 if kind == "Q4_1" else 8)
    codes = np.clip(codes, 0, 15).astype("uint8")
    heads = [scales] if kind == "Q4_0" else [scales, low.astype("float16")]
    return np.concatenate([*(one.view("uint8") for one in heads), codes[:, :16] | codes[:, 16:] << 4], axis=1).reshape(
        -1
    )


@pytest.mark.parametrize(("kind", "numbers"), [("Q4_0", "int4"), ("Q4_1", "int4"), ("Q8_0", "int8"), ("F16", None)])
def test_a_gguf_file_is_held_in_its_own_numbers(kind, numbers, tmp_path, monkeypatch):
    encode = writer.encoded
    monkeypatch.setattr(writer, "WRITTEN", (*writer.WRITTEN, "Q4_0", "Q4_1"))
    monkeypatch.setattr(writer, "_FILE_TYPES", {**writer._FILE_TYPES, "Q4_0": 2, "Q4_1": 3})
    monkeypatch.setattr(
        writer, "encoded", lambda kind, x: _blocks_of_4_bits(kind, x) if kind[:2] == "Q4" else encode(kind, x)
    )
    monkeypatch.setattr("kerasllm.weights.hub.WRITTEN", writer.WRITTEN)
    model = gpt(preset("smollm2-135m", **{**FEW_KEYS, **{"num_layers": 1, "embedding_dim": 32, "hidden_dim": 64}}))
    weights.to_gguf(model, tmp_path / "model.gguf", kind)
    floats, _ = weights.from_gguf(tmp_path / "model.gguf")
    found, _ = weights.from_gguf(tmp_path / "model.gguf", numbers="file")
    if numbers is None:
        assert type(found) is GPT
        found, numbers = weights.from_gguf(tmp_path / "model.gguf", numbers="float32")[0], "float32"
    assert isinstance(found, FastGPT)
    assert found.numbers == numbers
    wanted = number(floats(IDS))
    close(found(IDS), wanted, 1e-4)
    if kind == "Q4_1":  # blocks of 4 bits fit into 8 exactly
        close(weights.from_gguf(tmp_path / "model.gguf", numbers="int8")[0](IDS), wanted, 1e-4)
    if numbers != "float32":  # rounded once, and not once more
        again = number(FastGPT.of(floats, "int4")(IDS))
        assert np.abs(again - wanted).max() > 1e-3
    if kind == "Q8_0":  # and codes of 8 bits are rounded to 4
        close(weights.from_gguf(tmp_path / "model.gguf", numbers="int4")[0](IDS), again, 1e-4)


def test_a_folder_of_hugging_face_and_what_does_not_write(tmp_path):
    model = gpt(MODELS["gpt2"]())  # queries, keys and values stand in one turned tensor
    weights.to_hugging_face(model, tmp_path / "gpt2")
    found, _ = weights.from_hugging_face(tmp_path / "gpt2", numbers="float32")
    close(found(IDS), model(IDS))
    with pytest.raises(ValueError, match="numbers must be one of"):
        weights.from_hugging_face(tmp_path / "gpt2", numbers="file")
    bert = BERT(BERTSettings(vocabulary_size=40, num_layers=1, num_heads=2, embedding_dim=8, context_length=16))
    weights.to_hugging_face(bert, tmp_path / "bert")
    with pytest.raises(ValueError, match="holds a BERT, which does not write: leave numbers='int8' out"):
        weights.from_hugging_face(tmp_path / "bert", numbers="int8")
    with pytest.raises(ValueError, match="minilm does not write: leave numbers='int8' out"):
        weights.pretrained("minilm", numbers="int8")
