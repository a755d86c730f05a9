"""Pictures before tokens, and pairs of encoders: what the battery of layers does not ask."""

import os
import subprocess

import keras
import numpy as np
import pytest
from keras import ops
from nursery import ON_JAX, python

from kerasllm.generation import Beam, Session, generate
from kerasllm.layers.patches import cut
from kerasllm.models import (
    GPT,
    ContrastivePair,
    PatchEncoder,
    PatchEncoderSettings,
    VisionLanguage,
    clip_loss,
    gpt_settings,
)

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
PICTURE = 29
PICTURES = np.random.default_rng(0).normal(size=(2, 2, 2, 12)).astype("float32")
PROMPTS = [[PICTURE] * 4 + [3, 5, 7], [PICTURE] * 4 + [9]]


def made(positions="rotary", **named):
    """A model of which each kernel matters, and each picture."""
    settings = gpt_settings(30, 16, 2, 2, 16, positions=positions, tied=False, norm="rms_norm", use_bias=False)
    keras.utils.set_random_seed(1)
    model, random = VisionLanguage(GPT(settings), PICTURE, 12, **named), np.random.default_rng(5)
    for weight in model.weights:
        if len(weight.shape) > 1 and keras.backend.is_float_dtype(weight.dtype):
            size = 1 if "embedding" in weight.path else weight.shape[0] ** -0.5
            weight.assign(random.normal(size=weight.shape) * 1.5 * size)
    return model


def logits(model, ids, picture):
    found = np.array(model(np.array([ids]), picture[None]))[0]
    found[:, PICTURE] = -1e4
    return found


def by_hand(model, ids, picture, count):
    """Greedy, the whole text anew for each token."""
    ids = list(ids)
    for _ in range(count):
        ids.append(int(logits(model, ids, picture)[-1].argmax()))
    return ids


def test_squares_are_cut_row_by_row():
    picture = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    found = np.array(cut(picture, 2))
    assert found.shape == (2, 6, 12)
    for place, (row, column) in enumerate((row, column) for row in (0, 2) for column in (0, 2, 4)):
        np.testing.assert_array_equal(found[:, place], picture[:, row : row + 2, column : column + 2].reshape(2, -1))
    with pytest.raises(ValueError, match="4 by 6 pixels cannot be cut into squares of 4 by 4"):
        cut(picture, 4)


def test_the_nth_place_of_a_text_reads_the_nth_vector_and_padding_none():
    model = made()
    plain = np.array(model(np.array(PROMPTS[0])[None], PICTURES[:1]))
    apart = np.array(model(np.array([[3, *PROMPTS[0]]]), PICTURES[:1]))
    assert np.abs(apart[0, -1] - plain[0, -1]).max() > 1e-3  # it stands behind a token now
    # Padding in front, some of it with the picture's own id, moves no place.
    ids = np.array([[PICTURE, 5, PICTURE, *PROMPTS[0]]])
    mask = np.arange(10)[None] > 2
    padded = np.array(model({"ids": ids, "mask": mask, "pictures": PICTURES[:1]}))
    np.testing.assert_allclose(padded[:, 3:], plain, atol=1e-5)
    other = PICTURES[:1].copy()
    other[:, 1, 1] = other[:, 1, 1, ::-1]  # the fourth place: what stands before it does not know
    changed = np.array(model(np.array(PROMPTS[0])[None], other))
    np.testing.assert_allclose(changed[0, :3], plain[0, :3], atol=1e-5)
    assert np.abs(changed[0, 3:] - plain[0, 3:]).max(axis=-1).min() > 1e-4


def test_too_many_places_are_not_numbers():
    found = np.array(made()(np.array([[PICTURE] * 5 + [3]]), PICTURES[:1]))
    assert np.isnan(found).all()


def test_without_a_picture_it_is_its_decoder():
    model, ids = made(), np.array([[3, 5, PICTURE, 7]])
    np.testing.assert_array_equal(np.array(model(ids)), np.array(model.decoder(ids)))
    with pytest.raises(TypeError, match="decoder must be a GPT"):
        VisionLanguage(keras.layers.Dense(3), 0, 4)
    with pytest.raises(TypeError, match="encoder must be a layer"):
        VisionLanguage(model.decoder, 0, 4, encoder=len)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_session_before_pictures_writes_what_the_whole_model_would(positions):
    model = made(positions)
    expected = [by_hand(model, ids, picture, 8) for ids, picture in zip(PROMPTS, PICTURES, strict=True)]
    swapped = [by_hand(model, ids, picture, 8) for ids, picture in zip(PROMPTS, PICTURES[::-1], strict=True)]
    assert all(one != other for one, other in zip(expected, swapped, strict=True)), "the pictures play no role"
    looking = model.looking_at(PICTURES)
    assert generate(looking, PROMPTS, 8) == expected
    looking.look(PICTURES[::-1])
    assert generate(looking, PROMPTS, 8) == swapped
    session = Session(model.looking_at(PICTURES), rows=2)
    session.read(PROMPTS)
    session.write(3)
    session.read([[11, 12], []])  # a second turn: the pictures stay in the memory
    session.write(2)
    assert session.ids[0] == by_hand(model, [*expected[0][: len(PROMPTS[0]) + 3], 11, 12], PICTURES[0], 2)
    assert session.ids[1] == expected[1][: len(PROMPTS[1]) + 5]


def test_each_beam_of_a_text_looks_at_its_own_picture():
    model = made()
    together = generate(model.looking_at(PICTURES), PROMPTS, 5, Beam(3))
    alone = [generate(model.looking_at(PICTURES[i : i + 1]), PROMPTS[i], 5, Beam(3)) for i in range(2)]
    assert together == alone
    assert together != generate(model.looking_at(PICTURES[::-1]), PROMPTS, 5, Beam(3))


def test_the_token_of_a_picture_is_never_written():
    model = made()
    kernel = np.array(model.decoder.logits.kernel)
    kernel[:, PICTURE] *= 100  # at many places the model wants nothing else
    model.decoder.logits.kernel.assign(kernel)
    assert (np.array(model(np.array(PROMPTS[0])[None], PICTURES[:1]))[0].argmax(axis=-1) == PICTURE).any()
    texts = generate(model.looking_at(PICTURES), PROMPTS, 8)
    assert all(PICTURE not in text[len(prompt) :] for text, prompt in zip(texts, PROMPTS, strict=True))


def test_with_a_frozen_decoder_the_projection_alone_learns_and_a_file_keeps_it_so(tmp_path):
    model = made(hidden_dim=6)
    model.decoder.trainable = False
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ids = np.array([PROMPTS[0]] * 2)
    weights = np.array([[0] * 5 + [1, 1]] * 2)
    before = [weight.copy() for weight in model.decoder.get_weights()]
    data = {"ids": ids, "pictures": PICTURES}
    losses = model.fit(data, np.roll(ids, -1, axis=1), sample_weight=weights, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for old, new in zip(before, model.decoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(np.array(again(data)), np.array(model(data)), atol=1e-5)
    assert len(again.trainable_weights) == len(model.trainable_weights) == 6


def test_an_encoder_of_ours_is_trained_with_the_rest():
    settings = PatchEncoderSettings(8, 4, 3, 12, 1, 2)
    assert PatchEncoder(settings).places == 4
    with pytest.raises(TypeError, match="settings must be PatchEncoderSettings"):
        PatchEncoder(8)
    model = made(encoder=PatchEncoder(settings))
    pictures = np.random.default_rng(1).normal(size=(2, 8, 8, 3))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = np.array(model.encoder.embed.project.kernel)
    model.fit({"ids": np.array([PROMPTS[0]] * 2), "pictures": pictures}, np.ones((2, 7)), verbose=0)
    assert np.abs(np.array(model.encoder.embed.project.kernel) - before).max() > 0


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def loss_by_hand(pictures, texts, scale):
    """Figure 3 of Radford et al. (2021), in NumPy."""
    scores = scale * pictures @ texts.T
    losses = []
    for table in (scores, scores.T):
        chances = np.exp(table) / np.exp(table).sum(axis=1, keepdims=True)
        losses.append(-np.log(np.diag(chances)).mean())
    return np.mean(losses)


def test_the_loss_of_pairs_is_that_of_the_paper():
    random = np.random.default_rng(2)
    pictures, texts = unit(random.normal(size=(5, 4))), unit(random.normal(size=(5, 4)))
    for scale in (1.0, 14.0):
        found = float(clip_loss(pictures, texts, scale))
        np.testing.assert_allclose(found, loss_by_hand(pictures, texts, scale), rtol=1e-5)
    # Both sides count: the loss is the same if pictures and texts change places.
    np.testing.assert_allclose(float(clip_loss(texts, pictures, 14.0)), found, rtol=1e-5)


def test_a_step_goes_down_the_slope_of_the_loss():
    """One step of gradient descent moves the temperature as finite differences say."""
    random = np.random.default_rng(3)
    data = {"pictures": random.normal(size=(6, 3, 4)), "texts": random.normal(size=(6, 5))}
    pair = ContrastivePair(4, 5, 3)
    pair.compile(keras.optimizers.SGD(0.1))
    vectors = np.array(pair(data), "float64")
    start = float(pair.log_scale)
    around = [loss_by_hand(vectors[:, 0], vectors[:, 1], np.exp(start + step)) for step in (1e-5, -1e-5)]
    pair.train_on_batch(data)
    np.testing.assert_allclose(float(pair.log_scale) - start, -0.1 * (around[0] - around[1]) / 2e-5, rtol=1e-2)


def test_pairs_that_belong_together_find_each_other_and_shuffled_ones_do_not():
    random = np.random.default_rng(4)
    hidden = random.normal(size=(240, 6))  # what a picture and its text have in common
    pictures, texts = hidden @ random.normal(size=(6, 20)), hidden @ random.normal(size=(6, 15))

    def found(order):
        keras.utils.set_random_seed(0)
        pair = ContrastivePair(20, 15, 8)
        pair.compile(keras.optimizers.Adam(0.02))
        pair.fit({"pictures": pictures[:200], "texts": texts[:200][order]}, epochs=15, batch_size=50, verbose=0)
        left, right = np.array(pair.picture_vectors(pictures[200:])), np.array(pair.text_vectors(texts[200:]))
        np.testing.assert_allclose(np.linalg.norm(left, axis=1), 1, rtol=1e-5)
        return np.mean((left @ right.T).argmax(axis=1) == np.arange(40))

    assert found(np.arange(200)) > 0.8
    assert found(random.permutation(200)) < 0.2


def test_the_scale_is_bounded_and_texts_are_needed(tmp_path):
    pair = ContrastivePair(4, 5, 3, picture_encoder=PatchEncoder(PatchEncoderSettings(8, 4, 3, 4, 1, 2)))
    np.testing.assert_allclose(float(pair.scale), 1 / 0.07, rtol=1e-5)
    pair.log_scale.assign(10.0)
    assert float(pair.scale) == 100
    with pytest.raises(ValueError, match="There are no texts"):
        pair(np.zeros((1, 8, 8, 3)))
    with pytest.raises(TypeError, match="text_encoder must be a layer"):
        ContrastivePair(4, 5, text_encoder="bert")
    pair.picture_encoder.trainable = False
    pair.save(tmp_path / "pair.keras")
    again = keras.saving.load_model(tmp_path / "pair.keras")
    assert len(again.trainable_weights) == len(pair.trainable_weights) == 7
    pictures = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    np.testing.assert_allclose(np.array(again.picture_vectors(pictures)), np.array(pair.picture_vectors(pictures)))


@pytest.mark.skipif(not ON_TENSORFLOW, reason="this is the run on the second backend")
def test_pictures_are_read_on_jax():
    run = subprocess.run(
        [*python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=os.environ | ON_JAX,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]


def test_logits_of_a_half_precision_model_bar_the_picture():
    settings = gpt_settings(30, 16, 1, 2, 16)
    model = VisionLanguage(GPT(settings, dtype="mixed_float16"), PICTURE, 12, dtype="mixed_float16")
    found = ops.convert_to_numpy(model.looking_at(PICTURES)(np.array([[PICTURE] * 4] * 2)))
    assert (found[..., PICTURE] == -1e4).all()
    assert np.isfinite(found).all()
