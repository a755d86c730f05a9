"""The conditional random field against the sum over all sequences, and the best of them."""

import itertools
import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from nursery import ON_JAX, python

from kerasllm.layers import CRF, viterbi

LABELS, TIME = 3, 5
MASKS = np.array(
    [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], bool
)  # all real; padding; places passed over; one place; none
ALLOWED = {
    "may_begin": np.array([True, True, False]),
    "may_follow": np.array([[True, True, False], [True, False, True], [True, True, True]]),
}


def drawn(seed=0):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(len(MASKS), TIME, LABELS)).astype("float32") * 2
    return logits, random.integers(0, LABELS, (len(MASKS), TIME))


def layer():
    made = CRF()
    made.build((None, None, LABELS))
    random = np.random.default_rng(1)
    made.set_weights([random.normal(size=weight.shape) for weight in made.get_weights()])
    return made


def paths(logits, transitions, first, last, **allowed):
    """Every sequence of labels of one text without gaps, and its score."""
    for path in itertools.product(range(LABELS), repeat=len(logits)):
        if allowed and not (
            allowed["may_begin"][path[0]] and all(allowed["may_follow"][a, b] for a, b in itertools.pairwise(path))
        ):
            continue
        score = first[path[0]] + last[path[-1]] + sum(row[label] for row, label in zip(logits, path, strict=True))
        yield path, score + sum(transitions[a, b] for a, b in itertools.pairwise(path))


def texts(logits):
    """The logits of each text at its real places."""
    return [row[mask] for row, mask in zip(logits, MASKS, strict=True)]


def numbers(tensor):
    return ops.convert_to_numpy(tensor)


def test_the_likelihood_is_the_share_of_the_sum_over_all_sequences():
    crf, (logits, labels) = layer(), drawn()
    found = numbers(crf.log_likelihood(logits, labels, MASKS))
    for text, mask, right, one in zip(texts(logits), MASKS, labels, found, strict=True):
        scores = dict(paths(text, *crf.get_weights())) if len(text) else {(): 0.0}
        expected = scores[tuple(right[mask])] - np.log(sum(np.exp(list(scores.values()))))
        np.testing.assert_allclose(one, expected, atol=1e-4)


def test_the_probabilities_are_those_of_the_sequences_that_have_the_label():
    crf, (logits, _) = layer(), drawn()
    found = numbers(crf(logits, mask=MASKS))
    for text, mask, one in zip(texts(logits), MASKS, found, strict=True):
        expected = np.zeros((len(text), LABELS))
        for path, score in paths(text, *crf.get_weights()) if len(text) else ():
            expected[np.arange(len(text)), path] += np.exp(score)
        np.testing.assert_allclose(one[mask], expected / expected.sum(1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("allowed", [{}, ALLOWED], ids=["all", "some"])
def test_the_best_sequence_is_found_also_among_those_that_are_allowed(allowed):
    crf = layer()
    for seed in range(6):
        logits, _ = drawn(seed)
        found = numbers(crf.decode(logits, MASKS, **allowed))
        assert found.dtype == "int32"
        for text, mask, one in zip(texts(logits), MASKS, found, strict=True):
            best = max(paths(text, *crf.get_weights(), **allowed), key=lambda pair: pair[1])[0] if len(text) else ()
            assert tuple(one[mask]) == best
            assert not one[~mask].any()


def test_without_scores_the_best_labels_are_those_of_each_place():
    logits, _ = drawn()
    np.testing.assert_array_equal(numbers(viterbi(logits)), logits.argmax(-1))
    untrained = CRF()
    np.testing.assert_allclose(numbers(untrained(logits)), numbers(ops.softmax(logits)), atol=1e-6)


def test_a_legal_sequence_is_found_in_a_long_text():
    logits = np.random.default_rng(0).normal(size=(1, 60, LABELS)).astype("float32")
    [found] = numbers(viterbi(logits, **ALLOWED))
    assert ALLOWED["may_begin"][found[0]]
    assert ALLOWED["may_follow"][found[:-1], found[1:]].all()


class Trained(keras.Model):
    """Logits that are learned directly, with a CRF on top."""

    def __init__(self):
        super().__init__()
        self.crf = CRF()
        self.table = keras.layers.Embedding(7, LABELS)
        self.table.build((None, None))
        self.crf.build((None, None, LABELS))
        self.built = True

    def call(self, inputs):
        return self.table(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -ops.mean(self.crf.log_likelihood(y_pred, y, sample_weight > 0))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_gradient_is_that_of_finite_differences(jit_compile):
    keras.utils.set_random_seed(1)
    model, (_, labels) = Trained(), drawn()
    model.crf.set_weights(layer().get_weights())
    ids = np.random.default_rng(3).integers(0, 7, MASKS.shape)
    model.compile(keras.optimizers.SGD(1.0), jit_compile=jit_compile)
    before = [weight.astype("float64") for weight in model.crf.get_weights() + model.table.get_weights()]

    def loss(weights):
        *scores, table = weights
        found = 0.0
        for text, right, mask in zip(table[ids], labels, MASKS, strict=True):
            if mask.any():
                all_of_them = dict(paths(text[mask], *scores))
                found += np.log(sum(np.exp(list(all_of_them.values())))) - all_of_them[tuple(right[mask])]
        return found / len(MASKS)

    expected = []
    for position, weight in enumerate(before):
        gradient = np.zeros(weight.size)
        for place in range(weight.size):
            sides = []
            for step in (1e-4, -1e-4):
                moved = [one.copy() for one in before]
                moved[position].flat[place] += step
                sides.append(loss(moved))
            gradient[place] = (sides[0] - sides[1]) / 2e-4
        expected.append(gradient.reshape(weight.shape))
    model.train_on_batch(ids, labels, sample_weight=MASKS.astype("float32"))
    after = model.crf.get_weights() + model.table.get_weights()
    for old, new, gradient in zip(before, after, expected, strict=True):
        np.testing.assert_allclose(old - new, gradient, atol=1e-5)
        assert np.abs(gradient).max() > 0.01


def test_numbers_in_the_padding_change_nothing_and_leave_the_gradient_finite():
    crf, (logits, labels) = layer(), drawn()
    wild = np.where(MASKS[..., None], logits, np.nan)
    np.testing.assert_array_equal(
        numbers(crf.log_likelihood(wild, np.where(MASKS, labels, -100), MASKS)),
        numbers(crf.log_likelihood(logits, labels, MASKS)),
    )
    np.testing.assert_array_equal(numbers(crf.decode(wild, MASKS)), numbers(crf.decode(logits, MASKS)))


def test_inputs_and_masks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"logits \(batch, time, labels\), not the shape \(2, 3\)"):
        CRF()(np.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match=r"mask has the shape \(2, 4\), but must have \(2, 3\)"):
        layer().decode(np.ones((2, 3, LABELS)), np.ones((2, 4), bool))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="this is the run on the second backend")
def test_all_of_this_holds_on_jax():
    command = [
        *python(),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "likelihood or probabilities or best",
        __file__,
    ]
    environment = os.environ | ON_JAX
    run = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
