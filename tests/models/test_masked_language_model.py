"""BERT from pretraining to a task: hidden tokens, a body for other heads, frozen blocks, a classifier."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasllm import batches, models, tasks, text, training

NAMES, PLACES = ("ada", "bob", "cid", "dan"), ("york", "paris", "rome", "oslo")
# Who lives where is fixed: a hidden place follows from the name, and only from it.
TEXTS = [f"{name} {verb} in {place}" for name, place in zip(NAMES, PLACES, strict=True) for verb in ("lives", "works")]
TOKENIZER = text.train_words(TEXTS, 40, bos=True, eos=True, mask=True)
IDS = [[TOKENIZER.bos_id, *row, TOKENIZER.eos_id] for row in TOKENIZER.encode_batch(TEXTS)]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")


def bert(**changes):
    keras.utils.set_random_seed(1)
    settings = {"head": True, "context_length": 16, "pad_id": TOKENIZER.pad_id, **changes}
    return models.BERT(models.BERTSettings(TOKENIZER.vocabulary_size, 32, 2, 4, **settings))


def hidden(epochs=1, **order):
    special = [TOKENIZER.id_of(token) for token in TOKENIZER.special_tokens]
    given = {"mask_id": TOKENIZER.mask_id, "vocabulary_size": TOKENIZER.vocabulary_size, "special_ids": special}
    return batches.masked(IDS * 4, **given, share=0.3, batch_size=16, epochs=epochs, shuffle=True, seed=1, **order)


def test_pretraining_learns_what_stands_in_the_hidden_place():
    model, feed = bert(), hidden(epochs=120)
    model.compile(keras.optimizers.Adam(5e-3), LOSS, weighted_metrics=["accuracy"])
    steps = batches.steps_per_epoch(feed)
    history = model.fit(feed, epochs=120, steps_per_epoch=steps, shuffle=False, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    asked = np.array([[TOKENIZER.mask_id if id == row[-2] else id for id in row] for row in IDS])
    found = ops.convert_to_numpy(model(asked)).argmax(-1)[:, -2]
    assert [TOKENIZER.token_of(id) for id in found] == [row.split()[-1] for row in TEXTS]


def test_the_loss_counts_the_chosen_places_alone():
    model = bert()
    model.compile("adam", LOSS)
    inputs, targets, weights = next(iter(hidden().as_numpy_iterator()))
    assert 0 < weights.sum() < 0.5 * weights.size
    logits = ops.convert_to_numpy(model(inputs)).astype("float64")
    losses = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    assert model.evaluate(inputs, targets, sample_weight=weights, verbose=0) == pytest.approx(
        losses[weights > 0].mean(), rel=1e-4
    )
    other = np.where(weights > 0, targets, TOKENIZER.eos_id)
    assert model.evaluate(inputs, other, sample_weight=weights, verbose=0) == pytest.approx(
        losses[weights > 0].mean(), rel=1e-4
    )


# A body for other heads


def test_the_body_of_a_pretrained_model_computes_its_features():
    model = bert(pooler=True)
    body = model.with_(head=False, pooler=False, dropout=0.1)
    ids = np.array(IDS[:2])
    np.testing.assert_array_equal(body(ids), model(ids, return_features=True))
    assert {weight.path.split("/")[0] for weight in body.weights}.isdisjoint({"head_dense", "head_bias", "pooler"})
    assert np.abs(ops.convert_to_numpy(body(ids, training=True) - body(ids))).max() > 0
    body.blocks[0].feed_forward.expand.bias.assign_add(np.ones(128))
    assert np.abs(ops.convert_to_numpy(body(ids) - model(ids, return_features=True))).max() > 0.1, "weights are shared"


def test_the_lowest_blocks_are_a_body_too_and_what_is_new_begins_anew():
    model = bert()
    small = model.with_(num_layers=1, pooler=True)
    np.testing.assert_array_equal(small.blocks[0].get_weights()[0], model.blocks[0].get_weights()[0])
    np.testing.assert_array_equal(small.head_bias.get_weights()[0], model.head_bias.get_weights()[0])
    assert small.pooled(small(np.array(IDS[:2]), return_features=True)).shape == (2, 32)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_body_with_other_sizes_or_from_a_changed_model_is_refused():
    with pytest.raises(ValueError, match=r"positions/embeddings has the shape \(16, 32\).*context_length=8"):
        bert().with_(context_length=8)
    adapted, quantised = bert(), bert()
    training.add_lora(adapted, rank=2)
    quantised.quantize("int8")
    for model in (adapted, quantised):
        with pytest.raises(ValueError, match="quantised or have adapters"):
            model.with_(head=False)


# Freezing


def moved(model, ids, labels) -> set[str]:
    """Which parts of a classifier's encoder one step of training moves."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=keras.backend.backend() == "tensorflow")
    before = {layer.name: layer.get_weights() for layer in model.encoder.layers}
    model.train_on_batch(ids, labels)
    return {
        layer.name
        for layer in model.encoder.layers
        if any(np.abs(a - b).max() > 0 for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    }


def test_frozen_blocks_stay_as_they_are_also_in_a_file(tmp_path):
    model = models.BERTClassifier(bert(head=False), 2, dropout=0.0)
    ids, labels = np.array(IDS), np.arange(8) % 2
    body = {"embedding", "positions", "types", "embedding_norm", "block_1", "block_2"}
    for blocks, kept in ((0, body - {"block_1", "block_2"}), (1, body - {"block_2"}), (2, body), (None, set())):
        model.encoder.freeze(blocks)
        assert moved(model, ids, labels) == body - kept
    model.encoder.freeze(1)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(ids, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.encoder.frozen == 1
    assert len(again.optimizer.variables) == len(model.optimizer.variables)
    assert moved(again, ids, labels) == {"block_2"}
    with pytest.raises(ValueError, match="blocks must be a whole number from 0 to 2 or None, not 3"):
        model.encoder.freeze(3)


# Classifiers

LABELS = ["at home", "at work"]
CODES = np.array([int("works" in one) for one in TEXTS])


@pytest.mark.parametrize("pooling", ["first", "mean", "max", "pooler", None])
def test_logits_are_those_of_the_pooled_features(pooling):
    model = models.BERTClassifier(bert(head=False, pooler=pooling == "pooler"), 2, pooling)
    ids = np.pad(IDS[:2], ((0, 0), (0, 3)), constant_values=TOKENIZER.pad_id)
    features = model.encoder(ids)
    real = ops.convert_to_numpy(features)[:, : len(IDS[0])]
    pooled = {"first": real[:, 0], "mean": real.mean(1), "max": real.max(1), None: real}
    vectors = pooled[pooling] if pooling in pooled else model.encoder.pooled(features)
    found = ops.convert_to_numpy(model(ids))
    np.testing.assert_allclose(found if pooling else found[:, : real.shape[1]], model.logits(vectors), atol=1e-5)
    mask = ids != TOKENIZER.pad_id
    np.testing.assert_allclose(model({"ids": ids, "mask": mask}), found, atol=1e-6)


def test_a_classifier_of_texts_learns():
    network = models.BERTClassifier(bert(head=False), 2, "mean")
    model = tasks.TextClassifier(network, TOKENIZER, LABELS)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    feed = batches.padded(model.examples(TEXTS), CODES, batch_size=8)
    model.fit(feed, epochs=20, verbose=0)
    found = model.classify([*TEXTS, "cid works " * 40])  # longer than the model reads
    assert found["label"].tolist() == [LABELS[code] for code in CODES] + ["at work"]


def test_its_texts_have_their_ends_and_padding_changes_nothing():
    model = tasks.TextClassifier(models.BERTClassifier(bert(head=False), 2), TOKENIZER, LABELS)
    assert model.encode(["ada lives"]).tolist() == [
        [TOKENIZER.bos_id, *TOKENIZER.encode("ada lives"), TOKENIZER.eos_id]
    ]
    assert model.encode(["ada " * 99]).shape == (1, 16)
    assert model.encode(["ada " * 99])[0, -1] == TOKENIZER.eos_id
    plain = tasks.TextClassifier(models.BERTClassifier(bert(head=False), 2), TOKENIZER, LABELS, ends=False)
    assert plain.encode(["ada lives"]).tolist() == [TOKENIZER.encode("ada lives")]
    some = [*TEXTS, "", "bob", "ada " * 99]
    together = model.classify(some, batch_size=4)[LABELS].to_numpy()
    alone = np.concatenate([model.classify([one])[LABELS].to_numpy() for one in some])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_it_is_saved_with_its_pretrained_body_and_answers_the_same(tmp_path):
    body = bert()
    body.compile("adam", LOSS)
    body.fit(hidden(), shuffle=False, verbose=0)
    model = tasks.TextClassifier(models.BERTClassifier(body.with_(head=False), 2, "mean"), TOKENIZER, LABELS)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.classify(TEXTS)[LABELS], model.classify(TEXTS)[LABELS])
    assert (again.ends, again.network.encoder.settings) == (True, body.settings.with_(head=False))


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"encoder": bert()}, r"give encoder.with_\(head=False\)"),
        ({"encoder": bert(head=False, pooler=True)}, r"give encoder.with_\(pooler=False\)"),
        ({"pooling": "pooler"}, r"encoder.with_\(pooler=True\)"),
        ({"encoder": "bert"}, "encoder must be a BERT"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(given, word):
    with pytest.raises(ValueError, match=word):
        models.BERTClassifier(**{"encoder": bert(head=False), "num_classes": 2, **given})


def test_logits_of_tokens_are_no_logits_of_texts():
    with pytest.raises(ValueError, match="another pooling"):
        tasks.TextClassifier(models.BERTClassifier(bert(head=False), 2, None), TOKENIZER, LABELS)
