"""A model in a safetensors file: what comes back, what is refused, what a kill leaves."""

import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from nursery import python
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from kerasllm import models, text, weights
from kerasllm.weights import safetensors_file

ROOT = Path(__file__).parents[2]
TOKENIZER = text.train_characters(["a good film", "a bad film"], byte_fallback=False)
IDS = np.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]], "int32")


def gpt(**changes):
    keras.utils.set_random_seed(1)
    sizes = {"vocabulary_size": 9, "context_length": 8, "num_layers": 2, "num_heads": 2, "embedding_dim": 8}
    kwargs = {"dtype": changes.pop("dtype")} if "dtype" in changes else {}
    name = changes.pop("preset", "nano")
    return models.GPT(models.preset(name, **{**sizes, **changes}), **kwargs)


MODELS = {
    "gpt": gpt,
    "gpt_modern": lambda: gpt(preset="nano-modern", dropout=0.1),
    "gpt_bfloat16": lambda: gpt(dtype="bfloat16"),
    "gpt_mixed": lambda: gpt(dtype="mixed_float16"),
    "lstm": lambda: built(models.LSTMLanguageModel(9, 4, 8, depth=2)),
    "neural": lambda: built(models.NeuralNGram(9, 3, 4, 8)),
    "bag": lambda: built(models.BagOfEmbeddings(9, 2, 4)),
    "bilstm": lambda: built(models.BiLSTM(9, 2, 4, 4, depth=2)),
}


@keras.saving.register_keras_serializable(package="test")
class Twice(keras.Model):
    """A model of somebody else, with two layers of one name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [keras.layers.Dense(1, name="same") for _ in range(2)]

    def build(self, input_shape):
        for part in self.parts:
            part.build((None, 3))


def built(model):
    model.build((None, None))
    return model


def numbers(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_with_its_settings_and_its_weights(name, tmp_path):
    model = MODELS[name]()
    weights.save_safetensors(model, tmp_path / "m.safetensors")
    again = weights.load_safetensors(tmp_path / "m.safetensors")
    assert type(again) is type(model)
    if isinstance(model, models.GPT):  # the config of a functional body names its class in two ways
        assert again.get_config() == model.get_config()
    for one, other in zip(again.weights, model.weights, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(numbers(one), numbers(other), err_msg=one.path)
    np.testing.assert_array_equal(numbers(again(IDS)), numbers(model(IDS)))
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_fresh_process_needs_the_file_alone(tmp_path):
    model = gpt()
    weights.save_safetensors(model, tmp_path / "m.safetensors")
    code = "import sys, numpy as np\nfrom kerasllm import weights\nmodel = weights.load_safetensors(sys.argv[1])\n"
    code += "np.save(sys.argv[1] + '.npy', np.array(model(np.load(sys.argv[2]))))"
    np.save(tmp_path / "ids.npy", IDS)
    command = [*python(), "-c", code, tmp_path / "m.safetensors", tmp_path / "ids.npy"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "m.safetensors.npy"), np.array(model(IDS)), atol=1e-6)


def test_names_are_places_in_the_model_and_any_reader_understands_the_file(tmp_path):
    model = gpt()
    weights.save_safetensors(model, tmp_path / "m.safetensors", metadata={"corpus": "Genesis"})
    arrays = load_file(tmp_path / "m.safetensors")
    assert len(arrays) == len(model.weights)
    kernel = model.blocks[0].attention.weights[0]
    np.testing.assert_array_equal(arrays["block_1/attention/query/kernel"], np.array(kernel))
    assert {"embedding/embeddings", "positions/embeddings", "final_norm/gamma"} < set(arrays)
    (tmp_path / "other").touch()
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert weights.read_metadata(tmp_path / "m.safetensors") == {"corpus": "Genesis"}


@pytest.mark.parametrize(("dtype", "error"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_precision_halves_the_file_and_rounds(dtype, error, tmp_path):
    model = gpt(embedding_dim=64)
    weights.save_safetensors(model, tmp_path / "whole.safetensors")
    weights.save_safetensors(model, tmp_path / "half.safetensors", dtype=dtype)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] / sizes[1] == pytest.approx(0.5, abs=0.02)
    again = weights.load_safetensors(tmp_path / "half.safetensors")
    assert {str(weight.dtype) for weight in again.weights} == {"float32"}
    for one, other in zip(again.weights, model.weights, strict=True):
        np.testing.assert_allclose(numbers(one), numbers(other), rtol=error, atol=1e-7)


def test_a_number_that_half_precision_cannot_hold_is_named(tmp_path):
    model = gpt()
    model.final_norm.weights[0].assign(model.final_norm.weights[0] * 1e5)
    with pytest.raises(ValueError, match=r"final_norm/\w+ holds 100000, which float16.*'bfloat16'"):
        weights.save_safetensors(model, tmp_path / "m.safetensors", dtype="float16")
    assert not list(tmp_path.iterdir())


def changed(path, arrays=lambda arrays: arrays, **facts):
    """The file once more, with something changed."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() | {f"kerasllm.{key}": value for key, value in facts.items()}
    save_file(arrays(load_file(path)), path, metadata)


def without(name):
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


NORM = "final_norm/gamma"
DAMAGES = {
    "nothing of ours": (lambda path: path.write_bytes(b"a letter"), r"m\.safetensors is no safetensors file"),
    "half of it": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "not a whole one"),
    "no class": (lambda path: save_file({"a": np.ones(2)}, path), "does not say which class"),
    "missing": (lambda path: changed(path, without(NORM)), f"lacks {NORM}"),
    "extra": (lambda path: changed(path, lambda arrays: arrays | {"more": np.ones(2)}), "too many: more"),
    "shape": (
        lambda path: changed(path, lambda arrays: arrays | {NORM: np.ones(3, "float32")}),
        rf"{NORM} \(\(3,\), not \(8,\)\)",
    ),
    "class": (lambda path: changed(path, **{"class": "kerasllm>Future"}), "'kerasllm>Future', which is not registered"),
    "layer": (lambda path: changed(path, **{"class": "kerasllm>FeedForward"}), "not registered"),
    "format": (lambda path: changed(path, format="3"), "format 3; this version of kerasllm reads 1 and 2"),
    "config": (lambda path: changed(path, config='{"vocabulary_size": 0}'), "vocabulary_size must be"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_does_not_fit_is_refused_with_its_name_and_the_reason(damage, tmp_path):
    path = tmp_path / "m.safetensors"
    weights.save_safetensors(gpt(), path)
    change, message = DAMAGES[damage]
    change(path)
    with pytest.raises(ValueError, match=message) as caught:
        weights.load_safetensors(path)
    assert str(path) in str(caught.value)


def test_many_missing_weights_are_counted(tmp_path):
    weights.save_safetensors(gpt(), tmp_path / "m.safetensors")
    changed(tmp_path / "m.safetensors", lambda arrays: {NORM: arrays[NORM]})
    with pytest.raises(ValueError, match=r"lacks embedding/embeddings, .* and \d+ more"):
        weights.load_safetensors(tmp_path / "m.safetensors")


def test_a_missing_file_is_named(tmp_path):
    for read in (weights.load_safetensors, weights.read_metadata):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read(tmp_path / "nowhere.safetensors")


def test_what_cannot_be_stored_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(ValueError, match="no weights yet"):
        weights.save_safetensors(models.LSTMLanguageModel(9), path)
    with pytest.raises(ValueError, match="Sequential is not registered"):
        weights.save_safetensors(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), path)
    with pytest.raises(ValueError, match="Two weights have the name same/kernel"):
        weights.save_safetensors(built(Twice()), path)
    with pytest.raises(ValueError, match="int8"):
        weights.save_safetensors(gpt(), path, dtype="int8")
    for metadata in ({"steps": 3}, {"kerasllm.class": "x"}):
        with pytest.raises(ValueError, match=next(iter(metadata))):
            weights.save_safetensors(gpt(), path, metadata=metadata)
    assert not path.exists()


def test_an_interrupted_save_leaves_the_file_before(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    weights.save_safetensors(gpt(), path)
    before = path.read_bytes()

    def interrupted(variable):
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors_file.ops, "convert_to_numpy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        weights.save_safetensors(gpt(num_layers=1), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_the_model_that_ships_has_learned_its_text_and_needs_two_files(tmp_path, monkeypatch):
    (tmp_path / "king-james-gpt").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):  # card and log are for people
        shutil.copy(weights.folder_of("king-james-gpt") / name, tmp_path / "king-james-gpt")
    monkeypatch.setattr("kerasllm.weights.shipped.CHECKPOINTS", tmp_path)
    model, tokenizer = weights.pretrained("king-james-gpt")
    ids = np.array([tokenizer.encode("And it came to pass in those days, that he went out into the wilderness.")])
    losses = keras.losses.sparse_categorical_crossentropy(ids[:, 1:], model(ids[:, :-1]), from_logits=True)
    assert float(keras.ops.mean(losses)) < 4  # all tokens equally probable: 7.6


def test_an_unknown_model_is_refused_by_name():
    with pytest.raises(ValueError, match="no model 'gpt-9'"):
        weights.pretrained("gpt-9")
