"""Log-probabilities against a slow loop, and what stands on them."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from kerasllm import text
from kerasllm.evaluation import bits_per_character, choose, likelihood, log_probability
from kerasllm.models import GPT, LSTMLanguageModel, NeuralNGram, gpt_settings

SIZE = 23
RANDOM = np.random.default_rng(0)
PROMPTS = [RANDOM.integers(0, SIZE, n).tolist() for n in (1, 3, 30, 2, 5)]
CONTINUATIONS = [RANDOM.integers(0, SIZE, n).tolist() for n in (19, 1, 2, 0, 17)]


def scaled(model):
    """Weights large enough that every token of the context matters."""
    model.build((None, None))
    random = np.random.default_rng(1)
    model.set_weights([weight + random.normal(0, 0.5, weight.shape) for weight in model.get_weights()])
    return model


MODELS = {
    "gpt": scaled(GPT(gpt_settings(SIZE, 8, num_layers=2, num_heads=2, embedding_dim=8))),
    "lstm": scaled(LSTMLanguageModel(SIZE, embedding_dim=6, units=7)),
    "ngram": scaled(NeuralNGram(SIZE, order=4, embedding_dim=6, hidden_dim=7)),
}
every_model = pytest.mark.parametrize("name", MODELS)


def one_by_one(model, ids, place, context):
    """The log-probability of one token after the `context` tokens before it, by itself."""
    logits = ops.convert_to_numpy(model(np.array([ids[max(0, place - context) : place]])))[0, -1].astype("float64")
    return logits[ids[place]] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


@every_model
def test_each_token_has_the_probability_that_a_slow_loop_finds(name):
    model = MODELS[name]
    total, tokens = log_probability(model, PROMPTS, CONTINUATIONS, context=8, stride=1, batch_size=3)
    for prompt, continuation, found, sum_ in zip(PROMPTS, CONTINUATIONS, tokens, total, strict=True):
        ids = prompt + continuation
        expected = [one_by_one(model, ids, place, 8) for place in range(len(prompt), len(ids))]
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(sum_, np.sum(expected), atol=1e-3)
    assert total.shape == (5,)
    assert total[3] == 0


@every_model
@pytest.mark.parametrize("stride", [1, 3, 5, 8])
def test_a_text_gets_the_same_alone_and_among_others(name, stride):
    together = log_probability(MODELS[name], PROMPTS, CONTINUATIONS, context=8, stride=stride)
    for i, (prompt, continuation) in enumerate(zip(PROMPTS, CONTINUATIONS, strict=True)):
        alone = log_probability(MODELS[name], [prompt], [continuation], context=8, stride=stride, batch_size=1)
        np.testing.assert_allclose(together.tokens[i], alone.tokens[0], atol=1e-5)


def test_without_a_longest_context_the_whole_text_is_read():
    model = MODELS["lstm"]
    ids = PROMPTS[2] + CONTINUATIONS[2]  # 30 and 2
    [found] = log_probability(model, PROMPTS[2:3], CONTINUATIONS[2:3]).tokens
    np.testing.assert_allclose(found, [one_by_one(model, ids, place, 1000) for place in (30, 31)], atol=1e-4)


@pytest.mark.parametrize("length", [2, 7, 8, 9, 10, 16, 17, 40])
@pytest.mark.parametrize("first", [1, 2, 8, 9, 15, 39])
@pytest.mark.parametrize("stride", [1, 3, 8])
def test_windows_count_every_token_once_with_enough_before_it(length, first, stride):
    context, counted = 8, []
    for begin, end, start in likelihood._windows(length, first, context, stride):
        assert end - begin <= context
        assert begin >= 0
        assert end < length  # the last id is a target, never an input
        for target in range(start, end + 1):
            assert target - begin >= min(target, context - stride + 1)
            counted.append(target)
    assert counted == list(range(first, length))


def test_a_smaller_stride_shows_each_token_more_of_the_text():
    seen = [len(list(likelihood._windows(100, 1, 8, stride))) for stride in (8, 4, 1)]
    assert seen == [13, 24, 92]


def test_a_large_vocabulary_makes_batches_small(monkeypatch):
    shapes = []
    monkeypatch.setattr(likelihood, "LOGITS_AT_ONCE", 16 * SIZE * 2)
    scores = likelihood._scores
    monkeypatch.setattr(
        likelihood, "_scores", lambda *given: (shapes.append((len(given[2]), given[3])), scores(*given))[1]
    )
    log_probability(MODELS["lstm"], PROMPTS, CONTINUATIONS)
    assert max(rows * time for rows, time in shapes) <= 48  # the longest text goes alone
    assert sum(rows for rows, _ in shapes) == 4


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"prompts": [[]]}, r"prompts\[0\] is empty.*bos_id"),
        ({"prompts": [[1], [2]]}, "2 prompts for 1"),
        ({"continuations": [[SIZE]]}, rf"continuations\[0\] has the id {SIZE}; the model knows 0 to {SIZE - 1}"),
        ({"prompts": [[-1]]}, "has the id -1"),
        ({"continuations": ["text"]}, "flat list of ids"),
        ({"continuations": [[[1]]]}, "flat list of ids"),
        ({"context": 9}, "context must be a whole number from 1 to 8, not 9"),
        ({"stride": 9}, "stride must be a whole number from 1 to 8"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_arguments_are_refused(change, word):
    with pytest.raises(ValueError, match=word):
        log_probability(MODELS["gpt"], **{"prompts": [[1]], "continuations": [[2]], **change})


# Bits per character -------------------------------------------------------------------------------

SENTENCES = ["the sky is blue", "the grass is green", "the sky is wide and blue"]
BEGUN = text.train_characters(SENTENCES, byte_fallback=False, bos=True)
PLAIN = text.train_bpe(SENTENCES, 280)
SAID = "the grass is wide"


@pytest.mark.parametrize("tokenizer", [BEGUN, PLAIN], ids=["bos", "no bos"])
@pytest.mark.parametrize("surplus", [0, 7])
def test_bits_per_character_are_those_of_the_tokens(tokenizer, surplus):
    model = scaled(LSTMLanguageModel(tokenizer.vocabulary_size + surplus, embedding_dim=4, units=4))
    ids = tokenizer.encode(SAID)
    characters = len(SAID)
    if tokenizer.bos_id is None:
        characters -= len(tokenizer.decode(ids[:1]))
    else:
        ids = [tokenizer.bos_id, *ids]
    nats = sum(one_by_one(model, ids, place, 1000) for place in range(1, len(ids)))
    found = bits_per_character(model, tokenizer, SAID)
    assert found == pytest.approx(-nats / math.log(2) / characters, abs=1e-4)


@pytest.mark.parametrize("said", ["", "t"])
def test_a_text_without_a_second_token_is_refused(said):
    with pytest.raises(ValueError, match="too short"):
        bits_per_character(MODELS["gpt"], text.train_characters(["the"], byte_fallback=False), said)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused():
    with pytest.raises(ValueError, match=f"the model {SIZE}: use that of its training"):
        bits_per_character(MODELS["gpt"], PLAIN, SAID)


# Multiple choice ----------------------------------------------------------------------------------

WORDS = text.train_words(SENTENCES, vocabulary_size=30)


class Fixed(keras.Model):
    """Gives each token a probability of its own, whatever stands before it."""

    def __init__(self, tokenizer, probabilities):
        super().__init__()
        self.vocabulary_size = tokenizer.vocabulary_size
        rest = (1 - sum(probabilities.values())) / (self.vocabulary_size - len(probabilities))
        p = np.full(self.vocabulary_size, rest)
        for word, share in probabilities.items():
            p[tokenizer.id_of(word)] = share
        self.logits = np.log(p).astype("float32")

    def build(self, input_shape):
        self.built = True

    def call(self, inputs, training=None):
        return ops.broadcast_to(self.logits, (*ops.shape(inputs), self.vocabulary_size))


def test_the_length_of_an_answer_counts_as_it_is_told_to():
    model = Fixed(WORDS, {"wide": 0.2, "green": 0.3, "and": 0.25, "blue": 0.1})
    answers = ["wide", "green and green", "blue"]
    by = {norm: choose(model, WORDS, "the sky is", answers, normalize=norm) for norm in ("tokens", "characters", None)}
    assert {norm: found.answer for norm, found in by.items()} == {
        "tokens": "green and green",
        "characters": "green and green",
        None: "wide",
    }
    np.testing.assert_allclose(by[None].scores, np.log([0.2, 0.3 * 0.25 * 0.3, 0.1]), atol=1e-5)
    np.testing.assert_allclose(by["tokens"].scores, by[None].scores / [1, 3, 1], atol=1e-6)
    np.testing.assert_allclose(by["characters"].scores, by[None].scores / [4, 15, 4], atol=1e-6)
    assert by[None].index == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"answers": ["blue"]}, "at least two"),
        ({"answers": "blue"}, "list"),
        ({"answers": ["blue", ""]}, r"answers\[1\]"),
        ({"normalize": "words"}, "normalize"),
        ({"question": ""}, "question is empty"),
    ],
)
def test_what_is_no_question_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        choose(Fixed(WORDS, {}), WORDS, **{"question": "the sky is", "answers": ["blue", "green"], **change})
