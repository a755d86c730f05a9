"""Generation: what samplers promise, cached equal to uncached, one text equal alone and in a batch, pieces of text."""

import gc
import itertools
import os
import subprocess
import weakref
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from nursery import ON_JAX, python

from kerasllm import text
from kerasllm.generation import Beam, Greedy, Sampling, generate, stream
from kerasllm.generation.compiling import compiled
from kerasllm.models import GPT, LSTMLanguageModel, gpt_settings

ROOT = Path(__file__).parents[2]


@keras.saving.register_keras_serializable(package="tests")
class Chain(keras.Model):
    """A Markov chain with known probabilities: the smallest model that can generate."""

    def __init__(self, logits):
        super().__init__()
        self.vocabulary_size = len(logits)
        self.table = self.add_weight(shape=np.shape(logits), initializer="zeros", name="table")
        self.table.assign(logits)
        self.built = True

    def step(self, tokens, states=None):
        return ops.take(self.table, tokens, axis=0), ops.zeros((tokens.shape[0], 1)) if states is None else states + 1


def chain(probabilities):
    return Chain(np.log(np.maximum(probabilities, 1e-9)))


def random_chain(size=6, seed=0):
    return Chain(np.random.default_rng(seed).normal(0, 1.5, (size, size)))


def tiny_gpt(cls=GPT, **changes):
    """Weights are large enough that no two logits are about equal and that texts vary."""
    settings = {"vocabulary_size": 40, "context_length": 16, "num_layers": 2, "num_heads": 4, "embedding_dim": 16}
    kwargs = {"dtype": changes.pop("dtype")} if "dtype" in changes else {}
    model = cls(gpt_settings(**{**settings, **changes}), **kwargs)
    random = np.random.default_rng(1)
    for variable in model.variables:
        variable.assign(variable + random.normal(0, 0.3, variable.shape))
    return model


# Samplers ----------------------------------------------------------------------------------------


def shares(logits, sampler, text=(), points=20_000):
    """How often each token is drawn when the random number runs through all of (0, 1] in equal steps."""
    logits = np.tile(np.asarray(logits, "float32"), (points, 1))
    uniforms = (np.arange(1, points + 1) / points).astype("float32")
    tokens, _, _ = sampler.choose(logits, uniforms, None, sampler.start([text] * points, logits.shape[1]))
    return np.bincount(ops.convert_to_numpy(tokens), minlength=logits.shape[1]) / points


def expected(logits, temperature=1.0, top_k=None, top_p=1.0, min_p=0.0, repetition_penalty=1.0, text=()):
    """The same by sorting, step by step in NumPy."""
    logits = np.asarray(logits, "float64").copy()
    for token in set(text):
        logits[token] *= 1 / repetition_penalty if logits[token] > 0 else repetition_penalty
    order = np.argsort(-logits)[:top_k]
    weights = np.exp((logits[order] - logits.max()) / temperature)
    weights /= weights.sum()
    weights = weights[: 1 + np.sum(np.cumsum(weights) < top_p)]
    weights[weights < min_p * weights[0]] = 0
    result = np.zeros(len(logits))
    result[order[: len(weights)]] = weights / weights.sum()
    return result


SETTINGS = [
    {},
    {"temperature": 0.5},
    {"temperature": 3.0, "min_p": 0.4},
    {"top_k": 3},
    {"top_k": 99},
    {"top_p": 0.6},
    {"top_p": 0.05},
    {"min_p": 0.2},
    {"repetition_penalty": 1.7},
    {"temperature": 1.5, "top_k": 6, "top_p": 0.8, "min_p": 0.1, "repetition_penalty": 1.3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_tokens_are_drawn_with_the_probabilities_that_remain(settings):
    for seed in range(4):
        logits = np.random.default_rng(seed).normal(0, 1.5, 9)
        found = shares(logits, Sampling(**settings), text=[1, 4, 4])
        wanted = expected(logits, **settings, text=[1, 4, 4])
        np.testing.assert_allclose(found, wanted, atol=2e-4)
        assert not found[wanted == 0].any()
        assert found[wanted > 1e-3].all()


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"temperature": 1e-6}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=str)
def test_what_leaves_one_token_is_greedy(settings):
    logits = np.random.default_rng(0).normal(size=(50, 300)).astype("float32")
    uniforms = np.linspace(0.001, 1, 50).astype("float32")
    sampler = Sampling(**settings)
    drawn, _, _ = sampler.choose(logits, uniforms, None, sampler.start([[]] * 50, 300))
    greedy, _, _ = Greedy().choose(logits, uniforms, None, ())
    np.testing.assert_array_equal(drawn, greedy)


def test_no_rounding_draws_what_has_no_probability():
    logits = np.random.default_rng(0).normal(0, 3, (200, 5000)).astype("float32")
    logits[:, 4000:] = -200  # exp of it is 0
    uniforms = np.where(np.arange(200) % 2, 1.0, 1e-12).astype("float32")
    tokens, _, _ = Sampling().choose(logits, uniforms, None, Sampling().start([], 5000))
    tokens = ops.convert_to_numpy(tokens)
    assert tokens.max() < 4000
    assert (tokens[::2] < 5).all()


def test_the_largest_number_draws_the_last_token_with_a_probability():
    logits = np.log([[0.1, 0.6, 0.3], [0.5, 0.5, 1e-30]]).astype("float32")
    tokens, _, _ = Sampling().choose(logits, np.ones(2, "float32"), None, Sampling().start([], 3))
    assert ops.convert_to_numpy(tokens).tolist() == [2, 1]


def test_a_penalty_covers_the_prompt_and_what_was_written():
    model = Chain(np.tile([5.0, 4.0, 3.0, 2.0, 1.0, -1.0], (6, 1)))
    sampler = Sampling(top_k=1, repetition_penalty=1e4)
    assert generate(model, [[2], [0, 1]], 4, sampler) == [[2, 0, 1, 3, 4], [0, 1, 2, 3, 4, 0]]


# Beam search -------------------------------------------------------------------------------------


def test_a_beam_finds_what_greedy_misses():
    model = chain([[0, 0.6, 0.4, 0, 0], [0, 0, 0, 0.5, 0.5], [0, 0, 0, 0.98, 0.02], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    assert generate(model, [0], 2) == [0, 1, 3]  # probability 0.6 * 0.5
    assert generate(model, [0], 2, Beam(2)) == [0, 2, 3]  # 0.4 * 0.98


def test_a_beam_of_one_is_greedy():
    model, prompts = random_chain(), [[i] for i in range(6)]
    assert generate(model, prompts, 12, Beam(1)) == generate(model, prompts, 12)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_wide_enough_is_exhaustive_search(penalty):
    model, size, stop = random_chain(4, seed=3), 4, 3
    log = np.array(ops.log_softmax(model.table))

    def score(start, tokens):
        return sum(log[a, b] for a, b in itertools.pairwise([start, *tokens])) / len(tokens) ** penalty

    every = [t for n in (1, 2, 3) for t in itertools.product(range(size), repeat=n) if stop not in t[:-1]]
    every = [t for t in every if len(t) == 3 or t[-1] == stop]
    for start in range(3):
        best = max(every, key=partial(score, start))
        found = generate(model, [start], 3, Beam(64, penalty), stop_tokens=[stop])
        assert found == [start, *(token for token in best if token != stop)]


# Cached equal to uncached ------------------------------------------------------------------------

VARIANTS = {
    "learned": {"context_length": 32},
    "learned_window": {"context_length": 32, "window": 5},
    "sinusoidal": {"positions": "sinusoidal", "context_length": 9},
    "rotary": {"positions": "rotary", "context_length": 9},
    "no_positions": {"positions": None, "context_length": 9},
    "shared_keys": {"positions": "rotary", "context_length": 9, "num_kv_heads": 2, "window": 4},
    "one_key": {"positions": "rotary", "context_length": 9, "num_kv_heads": 1, "norm": "rms_norm"},
    "qk_norm": {"positions": "rotary", "context_length": 9, "qk_norm": True, "gated": True, "activation": "silu"},
    "all": {
        "positions": "rotary",
        "context_length": 12,
        "num_kv_heads": 2,
        "window": 7,
        "qk_norm": True,
        "norm": "rms_norm",
        "activation": "squared_relu",
        "use_bias": False,
        "tied": False,
    },
}


def uncached_logits(model, ids):
    return ops.convert_to_numpy(compiled(lambda model, ids: model(ids), model, "uncached", xla=False)(ids))


def cached_call(model, tokens, mask, cache):
    return model(tokens, mask=mask, cache=cache, training=False)


@pytest.mark.parametrize("name", VARIANTS)
def test_cached_logits_are_the_uncached_ones_at_every_position_past_the_window_too(name):
    model = tiny_gpt(**VARIANTS[name])
    first, steps, padding = 8, 22, np.array([0, 3, 7], "int32")
    ids = np.random.default_rng(0).integers(0, 40, (3, first + steps)).astype("int32")
    capacity = 32 if name == "learned" else max(first, model.sees)  # the others are rings, filled several times
    call = compiled(cached_call, model, "test", xla=False)
    cache = model.make_cache(3, capacity)
    real = np.arange(first + steps) >= padding[:, None]
    logits, cache = call(ids[:, :first], real[:, :first], cache)
    found = [ops.convert_to_numpy(logits)]
    for position in range(first, first + steps):
        logits, cache = call(ids[:, position : position + 1], real[:, position : position + 1], cache)
        found.append(ops.convert_to_numpy(logits))
    found = np.concatenate(found, axis=1)  # (3, first + steps, vocabulary)
    wanted = uncached_logits(model, np.stack([np.roll(row, -left) for row, left in zip(ids, padding, strict=True)]))
    for row, left in enumerate(padding):  # what was rolled behind a text changes nothing before it
        end = first + steps - left
        np.testing.assert_allclose(found[row, left:], wanted[row, :end], atol=1e-4 * max(1, np.abs(wanted).max()))


def uncached(model, prompt, count):
    """Greedy text by the rule of `generate`, every token from the whole text that the model sees."""
    context, learned = model.context_length, model.limited
    window, new = list(prompt)[-context:], []
    for _ in range(count):
        if learned and len(window) > context:
            window = window[-max(1, context // 2) :]
        ids = np.zeros((1, context if learned else context + count), "int32")
        ids[0, : len(window)] = window
        new.append(int(np.argmax(uncached_logits(model, ids)[0, len(window) - 1])))
        window.append(new[-1])
    return list(prompt) + new


RULES = {
    "learned": {},
    "learned_window": {"window": 5},
    "rotary": {"positions": "rotary"},
    "none_window": {"positions": None, "window": 6, "num_kv_heads": 2},
}


@pytest.mark.parametrize("name", RULES)
def test_past_the_context_each_text_of_a_batch_follows_the_rule(name):
    model = tiny_gpt(num_layers=1, **RULES[name])
    random = np.random.default_rng(0)
    prompts = [random.integers(0, 40, n).tolist() for n in (1, 9, 16, 40)]
    assert generate(model, prompts, 23) == [uncached(model, prompt, 23) for prompt in prompts]


@pytest.mark.parametrize("context", [1, 6])
def test_a_stream_goes_past_a_short_context(context):
    model = tiny_gpt(context_length=context, num_layers=1)
    assert list(stream(model, [3, 5], 14, every=3)) == uncached(model, [3, 5], 14)[2:]


def test_samplers_of_kerashub_fit_a_gpt():
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)  # it stands behind the newest Keras
    model = tiny_gpt(positions="rotary", num_layers=1)
    ids, mask = np.array([[1, 2, 3, 4] + [0] * 8], "int32"), np.arange(12)[None] < 4
    hidden = model(ids, return_features=True)
    _, cache = model(ids[:, :3], cache=model.make_cache(1, 16))  # the last token of the prompt is read by the sampler

    def next_token(prompt, cache, index):
        features, cache = model(prompt[:, index - 1 : index], cache=cache, return_features=True)
        return model.head(features)[:, 0], features[:, 0], cache

    sampler = keras_hub.samplers.ContrastiveSampler(k=4, alpha=0.0)  # without its penalty it is greedy
    found = sampler(next_token, ops.convert_to_tensor(ids), cache, 4, mask, hidden_states=hidden, model=model)
    assert found[0].numpy().tolist() == generate(model, [1, 2, 3, 4], 8)


def test_half_precision_generates():
    with_cache = generate(
        tiny_gpt(dtype="mixed_bfloat16", positions="rotary", num_layers=1), [[1, 2], [3]], 20, Beam(2)
    )
    assert [len(ids) for ids in with_cache] == [22, 21]


def test_an_lstm_generates_from_prompts_of_different_lengths():
    model = LSTMLanguageModel(30, 8, 12)
    model.build((None, None))
    for variable in model.variables:
        variable.assign(variable * 4)
    prompts = [[1], [2, 3, 4, 5], list(range(20))]
    step = compiled(lambda model, tokens, states: model.step(tokens, states), model, "test", xla=False)
    for prompt, found in zip(prompts, generate(model, prompts, 10), strict=True):
        states = [[np.zeros((1, 12), "float32")] * 2]
        for i, token in enumerate(found[:-1]):
            logits, states = step(np.array([token], "int32"), states)
            if i >= len(prompt) - 1:
                assert np.argmax(ops.convert_to_numpy(logits)) == found[i + 1]


# Seeds, traces, weights --------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_text_alone_and_in_a_batch():
    model, sampler = random_chain(40), Sampling(temperature=1.5)
    prompts = [[1], [1], [2, 3, 4]]
    texts = generate(model, prompts, 30, sampler, seed=[7, 8, 9])
    assert texts == [generate(model, p, 30, sampler, seed=s) for p, s in zip(prompts, (7, 8, 9), strict=True)]
    together = generate(model, prompts, 30, sampler, seed=7)
    assert together == generate(model, prompts, 30, sampler, seed=7)
    assert together[0] == texts[0]
    assert together[0] != together[1]
    assert together[0] == generate(model, [1], 150, sampler, seed=7)[:31]  # more than one call of the loop


def test_without_a_seed_the_one_of_keras_counts():
    model, texts = random_chain(40), []
    for seed in (1, None, 1):
        if seed:
            keras.utils.set_random_seed(seed)
        texts.append(generate(model, [1], 30, Sampling()))
    assert texts[0] == texts[2] != texts[1]


class CountedGPT(GPT):
    traces = 0

    def placed(self, *arguments):
        CountedGPT.traces += 1
        return super().placed(*arguments)


def test_another_length_in_the_bucket_traces_nothing():
    model = tiny_gpt(CountedGPT, num_layers=1, context_length=64)
    generate(model, list(range(20)), 10, Sampling(0.5, top_p=0.9), stop_tokens=[1])
    before = CountedGPT.traces
    assert before > 0
    generate(model, list(range(30)), 9, Sampling(1.5, top_p=0.5), stop_tokens=[1, 2])
    list(stream(model, list(range(18)), 10, Sampling(1.5, top_p=0.5)))
    assert CountedGPT.traces == before
    generate(model, list(range(40)), 10, Sampling(1.5, top_p=0.5))
    assert CountedGPT.traces > before


def test_another_temperature_counts_though_nothing_is_traced():
    model = Chain(np.tile(np.linspace(0, 3, 20), (20, 1)))
    cold, hot = (generate(model, [0], 100, Sampling(t), seed=1) for t in (0.05, 50.0))
    assert len(set(cold[1:])) < 5
    assert len(set(hot)) > 15


def test_weights_that_changed_are_used():
    model = chain(np.roll(np.eye(4), 1, axis=1))
    assert generate(model, [0], 4) == [0, 1, 2, 3, 0]
    model.table.assign(np.log(np.roll(np.eye(4), 2, axis=1) + 1e-9))
    assert generate(model, [0], 4) == [0, 2, 0, 2, 0]


def test_a_model_that_nobody_needs_is_freed():
    model = random_chain()
    generate(model, [0], 2)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


# Texts -------------------------------------------------------------------------------------------

LINES = ["a good film", "a bad film", "你好，世界"]
CHARACTERS = text.train_characters(LINES, eos=True)
TOKENIZERS = {
    "characters": CHARACTERS,
    "bpe": text.train_bpe(LINES, 280, eos=True),
    "wordpiece": text.train_wordpiece(LINES, 60, eos=True),
    "words": text.train_words(LINES, 30, eos=True),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_pieces_of_a_stream_joined_are_the_text(name):
    tokenizer = TOKENIZERS[name]
    size = tokenizer.vocabulary_size
    table = np.random.default_rng(0).normal(0, 0.5, (size, size))
    table[:, [id for id in range(size) if tokenizer.token_of(id).startswith("<0x")]] -= 3  # as often as all others
    model = Chain(table)
    for seed, prompt in enumerate(["a good", "a 你", "☃"]):  # the snowman is unknown
        settings = {"stop_tokens": [], "seed": seed, "tokenizer": tokenizer}
        whole = generate(model, prompt, 60, Sampling(1.0), **settings)
        pieces = list(stream(model, prompt, 60, Sampling(1.0), every=2, **settings))
        assert prompt + "".join(pieces) == whole
        assert all(pieces)
        assert len(pieces) > 1


def test_an_unfinished_character_waits():
    ids = CHARACTERS.encode("☃")  # three tokens, one for each byte
    assert len(ids) == 3
    table = np.zeros((CHARACTERS.vocabulary_size,) * 2)
    a = CHARACTERS.encode("a")[0]
    for before, after in itertools.pairwise([a, *ids, a]):
        table[before, after] = 9
    pieces = list(stream(Chain(table), "a", 8, tokenizer=CHARACTERS, every=1))
    assert pieces == ["☃a", "☃a"]
    assert list(stream(Chain(table), "a", 2, tokenizer=CHARACTERS, every=1)) == ["\ufffd\ufffd"]  # cut off


def test_words_are_set_apart_from_the_prompt():
    tokenizer = TOKENIZERS["words"]
    table = np.zeros((tokenizer.vocabulary_size,) * 2)
    table[:, tokenizer.id_of("film")] = 9
    assert generate(Chain(table), "a  good", 2, tokenizer=tokenizer) == "a  good film film"


def test_a_stop_token_ends_a_text_and_only_that_one():
    model = chain(np.roll(np.eye(6), 1, axis=1))  # counts up
    assert generate(model, [[0], [4], [5]], 4, stop_tokens=[3, 5]) == [[0, 1, 2], [4], [5, 0, 1, 2]]
    assert list(stream(model, [0], 9, stop_tokens=[3])) == [1, 2]
    table = np.zeros((CHARACTERS.vocabulary_size,) * 2)
    table[CHARACTERS.id_of("g"), CHARACTERS.eos_id] = table[:, CHARACTERS.id_of("g")] = 9
    assert generate(Chain(table), ["a", "b"], 5, tokenizer=CHARACTERS, stop_tokens=[]).count("agg") == 0
    table[CHARACTERS.id_of("g")] = 0
    table[CHARACTERS.id_of("g"), CHARACTERS.eos_id] = 9
    assert generate(Chain(table), ["a", "b"], 5, tokenizer=CHARACTERS) == ["ag", "bg"]


def test_an_empty_prompt_starts_from_the_token_of_the_beginning():
    tokenizer = text.train_characters(["abc"], bos=True, byte_fallback=False)
    table = np.zeros((tokenizer.vocabulary_size,) * 2)
    for before, after in itertools.pairwise([tokenizer.bos_id, *tokenizer.encode("abc")]):
        table[before, after] = 9
    assert generate(Chain(table), ["", "b"], 3, tokenizer=tokenizer)[0] == "abc"
    assert generate(Chain(table), "", 0, tokenizer=tokenizer) == ""
    with pytest.raises(ValueError, match="bos=True"):
        generate(random_chain(CHARACTERS.vocabulary_size), "", 3, tokenizer=CHARACTERS)
    with pytest.raises(ValueError, match="empty"):
        generate(random_chain(), [[1], []], 3)


def test_unknown_characters_stay_in_the_text():
    tokenizer = text.train_characters(["abc"], byte_fallback=False)
    table = np.zeros((tokenizer.vocabulary_size,) * 2)
    table[tokenizer.unknown_id, tokenizer.id_of("c")] = 9
    assert generate(Chain(table), "a☃", 1, tokenizer=tokenizer) == "a☃c"


def test_no_new_tokens_give_the_prompt():
    model = random_chain()
    assert generate(model, [[1, 2], [], np.array([3])], 0) == [[1, 2], [], [3]]
    assert generate(model, [], 5) == []
    assert list(stream(model, [1], 0)) == []
    assert generate(random_chain(CHARACTERS.vocabulary_size), ["", "☃"], 0, tokenizer=CHARACTERS) == ["", "☃"]


BAD = [
    (TypeError, "tokenizer", ("text",), {}),
    (TypeError, "is a text", ([[1], "text"],), {}),
    (TypeError, "flat list", ([[[1]]],), {}),
    (TypeError, "flat list", ([[0.5]],), {}),
    (ValueError, "Id 6 at position 1", ([0, 6],), {}),
    (ValueError, "Id -1", ([[-1]],), {}),
    (ValueError, "max_new_tokens.*-1", ([0], -1), {}),
    (ValueError, "max_new_tokens.*1.5", ([0], 1.5), {}),
    (ValueError, "2 seeds for 1", ([0],), {"sampler": Sampling(), "seed": [1, 2]}),
    (ValueError, "seed.*-3", ([0],), {"seed": -3}),
    (TypeError, "id_of", ([0],), {"stop_tokens": ["a"]}),
    (ValueError, "tokens, the model only 6", ("a",), {"tokenizer": CHARACTERS}),
]


@pytest.mark.parametrize(("error", "word", "arguments", "settings"), BAD)
def test_bad_arguments_are_named(error, word, arguments, settings):
    with pytest.raises(error, match=word):
        generate(random_chain(), *arguments, **settings)


def test_bad_streams_and_models_are_named():
    with pytest.raises(ValueError, match="Beam"):
        stream(random_chain(), [1], 5, Beam(2))
    with pytest.raises(ValueError, match=r"every.*0"):
        stream(random_chain(), [1], 5, every=0)
    with pytest.raises(TypeError, match="make_cache or step"):
        generate(keras.Sequential([keras.layers.Dense(3)]), [1], 5)
    with pytest.raises(TypeError, match="texts, not"):
        generate(random_chain(CHARACTERS.vocabulary_size), [[1]], 5, tokenizer=CHARACTERS)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_k": 1.5},
        {"top_p": 0},
        {"top_p": 1.2},
        {"min_p": -0.1},
        {"min_p": 2},
        {"repetition_penalty": 0},
    ],
    ids=str,
)
def test_a_sampler_names_its_bad_number(settings):
    [(name, value)] = settings.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        Sampling(**settings)


@pytest.mark.parametrize("settings", [{"width": 0}, {"width": 2.0}, {"length_penalty": -1}], ids=str)
def test_a_beam_names_its_bad_number(settings):
    [(name, value)] = settings.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        Beam(**settings)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="this is the run on the second backend")
def test_it_is_the_same_on_jax():
    chosen = "(cached and (learned or shared or all)) or (past_the_context and not window)"
    chosen += " or beam or lstm or same_seed or traces or joined"
    run = subprocess.run(
        [*python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, __file__],
        env=os.environ | ON_JAX,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
