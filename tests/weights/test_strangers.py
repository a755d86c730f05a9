"""A file of a stranger: settings that ask for more than the file holds are refused before memory is taken."""

import json

import keras
import pytest

from kerasllm import models, tasks, text, weights

TOKENIZER = text.train_characters(["a good film", "a bad film"], byte_fallback=False)


@keras.saving.register_keras_serializable(package="test")
class Tower(keras.Model):
    """A model of somebody else: as many layers as it is told, each with a table of no weights."""

    def __init__(self, floors=2, units=3, table=4, **kwargs):
        super().__init__(**kwargs)
        self.floors, self.units, self.table = floors, units, table
        self.numbers = keras.ops.arange(table)
        self.parts = [keras.layers.Dense(units, name=f"floor_{i}") for i in range(floors)]

    def build(self, input_shape):
        for part in self.parts:
            part.build((None, self.units))

    def get_config(self):
        return {**super().get_config(), "floors": self.floors, "units": self.units, "table": self.table}


def built(model):
    model.build((None, None))
    return model


MODELS = {
    "gpt": None,
    "lstm": lambda: built(models.LSTMLanguageModel(9, 4, 8, depth=2)),
    "neural": lambda: built(models.NeuralNGram(9, 3, 4, 8)),
    "classifier": lambda: tasks.TextClassifier(
        models.BiLSTM(TOKENIZER.vocabulary_size, 2, 4, 4), TOKENIZER, ["no", "yes"]
    ),
    "tower": lambda: built(Tower()),
}
HOSTILE = {
    "a huge vocabulary": ("gpt", {"vocabulary_size": 10**8}, "vocabulary_size is 100000000, but the file holds"),
    "a large vocabulary": ("gpt", {"vocabulary_size": 10**7}, r"another shape of embedding/embeddings \(\(9, 8\)"),
    "layers without end": ("gpt", {"num_layers": 10**9}, "num_layers is 1000000000, but"),
    "more layers than a day has": ("gpt", {"num_layers": 10**7}, r"more than \d+ layers or weights"),
    "some layers more": ("gpt", {"num_layers": 4}, r"lacks block_3/.* and \d+ more"),
    "wide": ("gpt", {"embedding_dim": 2**23, "hidden_dim": 2**24}, "another shape of"),
    "hidden": ("gpt", {"hidden_dim": 10**7}, r"another shape of block_1/.*10000000"),
    "lstm: units": ("lstm", {"units": 10**7}, "another shape of"),
    "lstm: depth": ("lstm", {"depth": 10**7}, r"more than \d+ layers or weights"),
    "neural: order": ("neural", {"order": 10**7}, r"another shape of"),
    "tower: floors": ("tower", {"floors": 10**7}, r"more than \d+ layers or weights"),
    "tower: units": ("tower", {"units": 10**7}, "another shape of"),
    "tower: no weights": ("tower", {"table": 10**11}, "table is 100000000000, but the file holds 24 numbers"),
    "below 0": ("tower", {"table": -(10**11)}, "table is -100000000000"),
    "array": (
        "tower",
        {"more": {"class_name": "__numpy__", "config": {"value": 0, "dtype": "S9000000000"}}},
        "Invalid dtype",
    ),
}


@pytest.fixture
def stranger(parts_of):
    """A function that writes the file of a model, with other settings."""

    def write(path, model, **changes):
        weights.save_safetensors(model, path)
        parts = parts_of(path)
        config = json.loads(parts.facts["kerasllm.config"])
        for name, value in changes.items():
            inside = config.get("settings", config)
            if name == "hidden_dim" and "feed_forward" in inside:
                inside = inside["feed_forward"][0]["config"]
            (inside if name in inside else config)[name] = value
        parts.facts["kerasllm.config"] = json.dumps(config)
        parts.write()

    return write


def refuse(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        weights.load_safetensors(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("case", HOSTILE)
def test_settings_larger_than_the_file_are_refused_without_taking_memory(case, small_gpt, stranger, tmp_path, peak):
    name, changes, message = HOSTILE[case]
    path = tmp_path / "m.safetensors"
    stranger(path, MODELS[name]() if MODELS[name] else small_gpt, **changes)
    assert peak(lambda: refuse(path, message)) < 100e6


def test_layers_inside_the_settings_are_compared_too(parts_of, tmp_path, peak):
    path = tmp_path / "m.safetensors"
    weights.save_safetensors(MODELS["classifier"](), path)
    parts = parts_of(path)
    config = parts.facts["kerasllm.config"]
    assert f'"vocabulary_size": {TOKENIZER.vocabulary_size}' in config
    parts.facts["kerasllm.config"] = config.replace(
        f'"vocabulary_size": {TOKENIZER.vocabulary_size}', '"vocabulary_size": 9000000'
    )
    parts.write()
    assert peak(lambda: refuse(path, r"another shape of \w+/embedding/embeddings")) < 100e6


def test_a_model_that_waits_for_shapes_is_refused_without_them(parts_of, tmp_path):
    """A GPT knows its shapes and needs none; an LSTM without them has no weights to compare."""
    path = tmp_path / "m.safetensors"
    weights.save_safetensors(MODELS["lstm"](), path)
    parts = parts_of(path)
    parts.facts["kerasllm.build"] = '{"colour": "red"}'
    parts.write()
    refuse(path, "has a weight too many")


def test_nothing_of_a_refused_model_is_made_later(stranger, tmp_path, small_gpt, peak):
    stranger(tmp_path / "m.safetensors", small_gpt, vocabulary_size=10**7)
    refuse(tmp_path / "m.safetensors", "another shape")

    def later():
        # At the end of such a scope Keras makes every variable that was left over.
        with keras.StatelessScope():
            keras.layers.Dense(2).build((None, 3))

    assert peak(later) < 100e6


def test_a_large_seed_and_a_long_context_are_no_sizes(tmp_path):
    model = built(models.GPT(models.gpt_settings(9, 10**7, 1, 1, 4, positions="rotary")))
    weights.save_safetensors(model, tmp_path / "m.safetensors")
    assert weights.load_safetensors(tmp_path / "m.safetensors").context_length == 10**7
    weights.save_safetensors(built(Seeded(seed=2**60)), tmp_path / "s.safetensors")
    assert weights.load_safetensors(tmp_path / "s.safetensors").seed == 2**60


@keras.saving.register_keras_serializable(package="test")
class Seeded(Tower):
    """A model with a seed."""

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


LAMBDA = {"class_name": "__lambda__", "config": {"value": "eJwDAAAAAAE=", "defaults": None, "closure": None}}
FOREIGN = {
    "a lambda": {"module": "builtins", **LAMBDA},
    "a function of the system": {"module": "os", "class_name": "function", "config": "system", "registered_name": "x"},
    "a class of the system": {"module": "subprocess", "class_name": "Popen", "config": {"args": "touch harmed"}},
    "a tool of Keras": {
        "module": "keras.utils",
        "class_name": "function",
        "config": "get_file",
        "registered_name": "get_file",
    },
}


@pytest.mark.parametrize("case", FOREIGN)
def test_no_code_of_the_file_runs(case, stranger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.safetensors"
    stranger(path, MODELS["classifier"](), body=FOREIGN[case])
    refuse(path, "cannot be made")
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"vocabulary_size": 500, "num_layers": 6, "embedding_dim": 512}, id="many matrices"),
        pytest.param({"vocabulary_size": 100_000, "num_layers": 2}, id="one table"),
    ],
)
def test_a_load_holds_one_copy(shape, tmp_path, peak):
    path = tmp_path / "m.safetensors"
    model = models.GPT(models.preset("nano", **shape))
    weights.save_safetensors(model, path)
    size = path.stat().st_size
    del model
    kept = [weights.load_safetensors(path)]  # what the first call of everything needs is not counted
    assert peak(lambda: kept.append(weights.load_safetensors(path))) < 1.3 * size
    assert peak(lambda: weights.load_safetensors(path, into=kept[0])) < 1.3 * size
