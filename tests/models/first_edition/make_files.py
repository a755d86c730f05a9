"""Writes the files beside it with the first edition of kerasllm, commit e4dcbe0. This edition only reads them.

    git worktree add ../first e4dcbe0
    PYTHONPATH=../first python tests/models/first_edition/make_files.py

Each file has its inputs and outputs in expected.npz. Weights are drawn anew and large, so that every part matters.
"""

import zipfile
from pathlib import Path

import keras
import numpy as np

from kerasllm import layers, models, training, weights

FOLDER = Path(__file__).parent
SIZES = {"vocabulary_size": 11, "context_length": 8, "num_layers": 2, "num_heads": 2, "embedding_dim": 8}
MODERN = {"positions": "rotary", "norm": "rms_norm", "activation": "squared_relu", "qk_norm": True, "use_bias": False}
GPTS = {
    "defaults": {},
    "modern": {**MODERN, "tied": False},
    "shared_heads": {"num_kv_heads": 1, "window": 3, "activation": "silu", "gated": True, "hidden_dim": 12},
    "sinusoidal": {"positions": "sinusoidal", "dropout": 0.1, "activation": "gelu_tanh"},
}
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 11, (2, 7)).astype("int32")
VERSES = "In the beginning God created"


def filled(model):
    """The model with other numbers in its weights."""
    for weight in model.weights:
        if weight.dtype == "float32":
            base = 1.0 if weight.name in ("gamma", "scale") else 0.0
            weight.assign(base + RNG.normal(0, 0.4, weight.shape))
    return model


def save(model, path):
    """model.save, with the members of the archive packed: most of them is space that HDF5 reserved."""
    model.save(path)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def gpt(**arguments):
    model = models.GPT(**{**SIZES, **arguments})
    model.build((None, None))
    return filled(model)


def everything():
    """A functional model that holds each layer of the first edition."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = keras.ops.not_equal(ids, 0)
    source = layers.PairEmbedding(11, [[1, 2], [3, 4]], 8, name="pair_embedding")(ids)
    source = keras.layers.Embedding(11, 8, name="embed")(ids) + source
    source = layers.SinusoidalPositions(name="waves")(source)
    block = {"num_heads": 2, "hidden_dim": 12}
    source = layers.TransformerBlock(**block, norm_first=False, name="encoder")(source, mask=mask)
    x = keras.layers.Embedding(11, 8, name="embed_target")(ids)
    x = layers.LearnedPositions(8, name="places")(x)
    x = layers.TransformerBlock(**block, causal=True, norm_epsilon=1e-3, dropout=0.1, name="pre")(x)
    x = layers.TransformerBlock(
        **block,
        causal=True,
        cross_attention=True,
        norm="rms_norm",
        activation="silu",
        gated=True,
        num_kv_heads=1,
        rotary_wavelength=100.0,
        qk_norm=True,
        use_bias=False,
        output_initializer="zeros",
        name="decoder",
    )(x, context=source, context_mask=mask)
    x = x + layers.MultiHeadAttention(
        4, head_dim=6, num_kv_heads=2, causal=True, window=3, rotary_wavelength=50.0, qk_norm=True, name="attention"
    )(x, mask=mask)
    x = layers.LayerNormalization(epsilon=1e-2, center=False, name="layer_norm")(x)
    x = x + layers.FeedForward(12, activation="squared_relu", name="feed_forward")(x)
    x = layers.RMSNormalization(name="rms_norm")(x)
    x = keras.layers.RNN(layers.LSTMCell(8), return_sequences=True, name="lstm")(x)
    pooled = [layers.MaskedMean(name="mean")(x, mask=mask), layers.MaskedMax(name="max")(x, mask=mask)]
    return filled(keras.Model(ids, [x, *pooled]))


def train(model):
    """One step, on the same texts each time; returns the loss before it."""
    return model.train_on_batch(IDS[:, :-1], IDS[:, 1:])


def compiled(recipe, **arguments):
    """A GPT after two steps, saved; the expected outputs are those of the file's model after one more step."""
    model = gpt(**arguments)
    model.compile(recipe(steps=10, warmup_steps=1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train(model), train(model)
    path = FOLDER / f"trained_{recipe.__name__}.keras"
    save(model, path)
    again = keras.saving.load_model(path)
    before = np.array(again(IDS))
    loss = np.array(train(again))
    return {"before": before, "loss": loss, "after": np.array(again(IDS))}


def main():
    expected = {"ids": IDS}
    language_models = {name: gpt(**arguments) for name, arguments in GPTS.items()}
    for one in (
        models.LSTMLanguageModel(11, 8, 8, depth=2, tied=True, name="lstm"),
        models.LSTMLanguageModel(11, 4, 8, dropout=0.1, name="lstm_untied"),
        models.NeuralNGram(11, order=3, embedding_dim=4, hidden_dim=8, name="neural_ngram"),
    ):
        one.build((None, None))
        language_models[one.name] = filled(one)
    for name, model in language_models.items():
        save(model, FOLDER / f"{name}.keras")
        expected[name] = np.array(model(IDS))
    weights.save_safetensors(language_models["modern"], FOLDER / "modern.safetensors")
    model = everything()
    save(model, FOLDER / "everything.keras")
    expected |= {f"everything_{i}": np.array(out) for i, out in enumerate(model(IDS))}
    for recipe, arguments in ((training.classic, {}), (training.modern, {**MODERN, "tied": False})):
        steps = compiled(recipe, **arguments)
        expected |= {f"trained_{recipe.__name__}_{name}": value for name, value in steps.items()}
    shipped, tokenizer = weights.pretrained("king-james-gpt")
    ids = np.array([tokenizer.encode(VERSES)], "int32")
    expected |= {"king_james_ids": ids, "king_james": np.array(shipped(ids))[0, -1]}
    np.savez_compressed(FOLDER / "expected.npz", **expected)


if __name__ == "__main__":
    main()
