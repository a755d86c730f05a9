"""Beam search from one text to another: exhaustive when it is wide, greedy when it is narrow, each row as alone."""

import functools
import itertools
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import ops
from nursery import ON_JAX, python

from kerasllm.generation import beam_search, sequence_to_sequence
from kerasllm.models import GPT, LSTMSeq2Seq, Seq2Seq, Seq2SeqSettings, gpt_settings

START, END = 1, 2
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


class State(NamedTuple):
    source: Any
    written: Any


@keras.saving.register_keras_serializable(package="tests")
class Follower(keras.Model):
    """A Markov chain whose probabilities depend on the first id of the source, too: the smallest model of the kind."""

    limited = False

    def __init__(self, probabilities):
        super().__init__()
        logits = np.log(np.maximum(probabilities, 1e-9)).astype("float32")  # (sources, vocabulary, vocabulary)
        self.source_vocabulary_size, self.vocabulary_size, _ = logits.shape
        self.table = self.add_weight(shape=logits.shape, initializer="zeros", name="table")
        self.table.assign(logits)
        self.steps = self.add_weight(shape=(), initializer="zeros", name="steps")
        self.built = True

    def read(self, ids, mask, capacity):
        return State(ids[:, 0], [ops.zeros_like(ids[:, :1])])

    def step(self, tokens, state):
        rows = ops.take(self.table, state.source, axis=0)  # (rows, vocabulary, vocabulary)
        logits = ops.take_along_axis(rows, tokens[:, None, None], axis=1)[:, 0]
        return logits, State(state.source, [state.written[0] + 1])


@functools.cache  # what is compiled for a model is kept with it
def random_follower(sources=3, size=4, seed=0):
    weights = np.exp(np.random.default_rng(seed).normal(0, 1.5, (sources, size, size)))
    return Follower(weights / weights.sum(-1, keepdims=True))


def large(model, seed=1):
    """The model with weights so large that no two logits are about equal."""
    random = np.random.default_rng(seed)
    model.set_weights([weight + random.normal(0, 0.4, weight.shape) for weight in model.get_weights()])
    return model


def transformer(size=12, **changes):
    settings = {"source_vocabulary_size": 9, "embedding_dim": 8, "num_layers": 1, "num_heads": 2, **changes}
    return large(Seq2Seq(Seq2SeqSettings(size, **settings)))


def lstm(size=12):
    return large(LSTMSeq2Seq(size, 9, embedding_dim=6, units=8))


MODELS = {
    "sinusoidal": transformer,
    "learned": lambda size=12: transformer(size, positions="learned", context_length=20),
    "rotary": lambda size=12: transformer(size, positions="rotary", decoder_layers=2),
    "lstm": lstm,
}


@functools.cache
def model_of(name):
    return MODELS[name]()


SOURCES = np.array([[3, 4, 5, 6, 7], [8, 3, 0, 0, 0], [5, 0, 0, 0, 0]])


def penalty(length, alpha):
    """Equation 14 of Wu et al. (2016)."""
    return ((5 + length) / 6) ** alpha


def log_probabilities(model, source, texts):
    """For each text the log-probability of each of its tokens, by one call without a cache. Texts are equally long."""
    texts = np.array(texts)
    inputs = np.concatenate([np.full_like(texts[:, :1], START), texts[:, :-1]], axis=1)
    if isinstance(model, Follower):
        logits = np.array(model.table)[source[0]][inputs]
    else:
        logits = ops.convert_to_numpy(model(np.repeat(source[None], len(texts), axis=0), inputs))
    logits = logits.astype("float64")
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    return np.take_along_axis(logits, texts[..., None], axis=-1)[..., 0]


def every_text(model, source, longest, alpha):
    """All texts that can be written, each with its score."""
    size, found = model.vocabulary_size, {}
    every = list(itertools.product(range(size), repeat=longest))
    for text, scores in zip(every, log_probabilities(model, source, every), strict=True):
        length = text.index(END) + 1 if END in text else longest
        found[tuple(text[:length])] = scores[:length].sum() / penalty(length, alpha)
    return found


SMALL = {"follower": random_follower(), "transformer": transformer(4), "lstm": lstm(4)}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_beam_wide_enough_is_exhaustive_search(name, alpha):
    model, longest = SMALL[name], 4
    sources = np.array([[0], [1], [2]]) if name == "follower" else SOURCES
    # 3 of 4 tokens go on: at most 81 texts are open after four tokens, and 40 have ended before.
    ids, scores = beam_search(model, sources, None, START, END, 121, alpha, longest)
    for source, text, score in zip(sources, ids, scores, strict=True):
        every = every_text(model, source[source > 0] if name != "follower" else source, longest, alpha)
        best = max(every, key=every.get)
        assert text == [token for token in best if token != END]
        assert score == pytest.approx(every[best], abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_one_beam_is_the_most_probable_token_step_by_step_without_a_cache(name):
    model = model_of(name)
    ids, scores = beam_search(model, SOURCES, None, START, END, 1, 0.0, 12)
    lengths = set()
    for source, found, score in zip(SOURCES, ids, scores, strict=True):
        text, total = [START], 0.0
        while len(text) <= 12 and text[-1] != END:
            logits = ops.convert_to_numpy(model(source[None], np.array([text])))[0, -1].astype("float64")
            text.append(int(logits.argmax()))
            total += logits.max() - np.log(np.exp(logits).sum())
        assert found == [token for token in text[1:] if token != END]
        assert score == pytest.approx(total, abs=1e-3)
        lengths.add(len(found))
    assert max(lengths) > 1


@pytest.mark.parametrize("name", MODELS)
def test_each_source_of_a_batch_gets_what_it_gets_alone(name):
    width, model = 3, model_of(name)
    sources = np.concatenate([SOURCES, SOURCES[::-1, [1, 0, 2, 3, 4]]])[:5]  # filled up to eight inside
    mask = np.arange(5) < np.array([[5], [2], [1], [1], [2]])
    ids, scores = beam_search(model, sources, mask, START, END, width, max_length=9)
    assert any(ids)
    for source, real, text, score in zip(sources, mask, ids, scores, strict=True):
        alone = beam_search(model, source[real][None], np.ones((1, real.sum()), bool), START, END, width, max_length=9)
        assert alone.ids == [text]
        assert alone.scores[0] == pytest.approx(score, abs=1e-4)


def test_the_score_of_a_text_is_that_of_the_uncached_model():
    model = model_of("sinusoidal")
    for alpha in (0.0, 1.0):
        ids, scores = beam_search(model, SOURCES, None, START, END, 3, alpha, 8)
        for source, text, score in zip(SOURCES, ids, scores, strict=True):
            whole = [*text, END] if len(text) < 8 else text
            wanted = log_probabilities(model, source, [whole]).sum() / penalty(len(whole), alpha)
            assert score == pytest.approx(wanted, abs=1e-4)


def test_no_beam_finds_more_than_there_is_and_a_wider_one_mostly_finds_more():
    model, widths = random_follower(16, 4, seed=3), (1, 2, 121)  # the last one keeps all that there is
    sources = np.arange(16)[:, None]
    found = [beam_search(model, sources, None, START, END, width, 0.0, 4).scores for width in widths]
    for scores in found:
        assert (scores <= found[-1] + 1e-4).all()
    means = [scores.mean() for scores in found]
    assert means == sorted(means)
    assert means[0] < means[-1] - 0.01


def test_a_wider_beam_may_find_a_less_probable_text():
    """Two beginnings that look better for a while push out the one that greedy follows to its end."""
    a, b, c, d, e = range(3, 8)
    table = np.zeros((1, 8, 8))
    table[0, START, [a, b]] = 0.51, 0.49
    table[0, a, [c, END, a]] = 0.34, 0.33, 0.33  # greedy goes to c, with 0.1734
    table[0, b, [d, e]] = 0.5, 0.5  # each 0.245: both are better than that for now
    table[0, c, END] = 1
    table[0, [d, e], :] = 1 / 8  # and lead nowhere
    ids, scores = zip(
        *(beam_search(Follower(table), [[0]], None, START, END, k, 0.0, 3) for k in (1, 2, 64)), strict=True
    )
    assert ids == ([[a, c]], [[b, d, 0]], [[a, c]])
    np.testing.assert_allclose(np.exp(np.ravel(scores)), [0.51 * 0.34, 0.49 * 0.5 / 8, 0.51 * 0.34], rtol=1e-4)


def test_a_larger_penalty_gives_longer_texts():
    table = np.full((1, 4, 4), [0.0, 0.0, 0.3, 0.7])
    lengths = [len(beam_search(Follower(table), [[0]], None, START, END, 4, alpha, 10).ids[0]) for alpha in (0, 1, 3)]
    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert lengths[2] == 10


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX runs no loop eagerly")
def test_the_search_of_a_text_ends_when_nothing_can_overtake_it(monkeypatch):
    """One text ends at once and is nearly certain; the other beam would go on to the limit."""
    table, counted, step = np.zeros((1, 4, 4)), [], Follower.step
    table[0, START, [END, 3]] = 0.9, 0.1
    table[0, 3, 3] = 1
    monkeypatch.setattr(Follower, "step", lambda *given: counted.append(1) or step(*given))
    eager = lambda function, model, key, xla=True: functools.partial(function, model)  # noqa: E731
    monkeypatch.setattr(sequence_to_sequence, "compiled", eager)
    for alpha, steps in ((0.0, 1), (0.6, 1), (2.0, 30)):  # the longer one may still win: 0.1 / 5.8 ** 2
        counted.clear()
        ids, scores = beam_search(Follower(table), [[0]], None, START, END, 2, alpha, 30)
        assert len(counted) == steps
        assert ids == ([[]] if steps == 1 else [[3] * 30])
        best = np.log(0.9) if steps == 1 else np.log(0.1) / penalty(30, alpha)
        assert scores[0] == pytest.approx(best, abs=1e-4)


def test_ids_that_are_barred_are_never_written():
    model, barred = model_of("sinusoidal"), [0, 5, 7, 11]
    for width in (1, 3):
        ids, _ = beam_search(model, SOURCES, None, START, END, width, max_length=10, barred=barred)
        assert not set(barred) & set(itertools.chain(*ids))


def test_half_precision_writes():
    model = Seq2Seq(transformer().settings, dtype="mixed_bfloat16")
    model.set_weights(transformer().get_weights())
    ids, scores = beam_search(model, SOURCES, None, START, END, 2, max_length=7)
    assert len(ids) == 3
    assert np.isfinite(scores).all()


def test_nothing_to_read_gives_nothing():
    assert beam_search(transformer(), np.zeros((0, 4), "int32"), None, START, END).ids == []


@pytest.mark.parametrize(
    ("given", "error", "word"),
    [
        ({"source_ids": [3, 4]}, TypeError, r"whole numbers \(sources, time\)"),
        ({"source_ids": [[0.5]]}, TypeError, "whole numbers"),
        ({"source_ids": [[9]]}, ValueError, "the id 9; the model reads 0 to 8"),
        ({"source_mask": np.ones((3, 4), bool)}, ValueError, "source_mask must be bool of shape"),
        ({"source_mask": np.ones((3, 5))}, ValueError, "source_mask must be bool"),
        ({"start_id": None}, ValueError, "start_id"),
        ({"end_id": 12}, ValueError, "end_id"),
        ({"num_beams": 0}, ValueError, "num_beams"),
        ({"length_penalty": -1.0}, ValueError, "length_penalty"),
        ({"max_length": 21}, ValueError, "max_length must be a whole number from 1 to 20"),
    ],
)
def test_what_does_not_fit_is_refused(given, error, word):
    given = {"source_ids": SOURCES, "start_id": START, "end_id": END, **given}
    with pytest.raises(error, match=word):
        beam_search(model_of("learned"), **given)


def test_a_model_that_only_writes_is_refused():
    with pytest.raises(TypeError, match=r"GPT does not read one text and write another.*there is generate"):
        beam_search(GPT(gpt_settings(9, 8, 1, 1, 4)), SOURCES, None, START, END)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="this is the run on the second backend")
def test_the_search_passes_on_jax():
    run = subprocess.run(
        [
            *python(),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "exhaustive or (alone and not sinusoidal)",  # the first has sinusoidal positions, too
            __file__,
        ],
        env=os.environ | ON_JAX,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
