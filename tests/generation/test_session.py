"""Sessions: turns that go on behind each other give what the whole text gives, and nothing is read twice."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from test_generation import chain, random_chain, tiny_gpt, uncached

from kerasllm import text
from kerasllm.generation import Beam, Greedy, Sampling, Session, generate, memory
from kerasllm.generation.arguments import barred_ids
from kerasllm.generation.compiling import compiled
from kerasllm.generation.decoding import forget
from kerasllm.layers.cache import empty_cache
from kerasllm.models import LSTMLanguageModel

KINDS = {
    "learned": {"context_length": 200},
    "rotary": {"context_length": 200, "positions": "rotary", "num_kv_heads": 2},
    "ring": {"context_length": 16, "positions": "rotary"},
    "window": {"context_length": 40, "positions": "rotary", "window": 6},
    "lstm": None,
}
every_kind = pytest.mark.parametrize("kind", KINDS)
LONGEST = 128  # the texts of these tests are shorter


@functools.cache  # so that loops which one test compiled serve the next
def model_of(kind):
    return lstm() if kind == "lstm" else tiny_gpt(num_layers=1, **KINDS[kind])


def alone(model, texts, count, stops=()):
    """Each text with `count` more greedy tokens: by calls on all of it, without a memory, padded behind its end."""
    texts, ended = [list(ids) for ids in texts], [False] * len(texts)
    whole = compiled(lambda model, ids: model(ids), model, "whole", xla=False)
    for _ in range(count):
        padded = np.array([ids + [0] * (LONGEST - len(ids)) for ids in texts], "int32")
        best = ops.convert_to_numpy(whole(padded)).argmax(-1)  # (texts, LONGEST)
        for row, ids in enumerate(texts):
            token = int(best[row, len(ids) - 1])
            ended[row] |= token in stops
            ids += [] if ended[row] else [token]
    return texts


def lstm():
    model = LSTMLanguageModel(40, 8, 12)
    model.build((None, None))
    for variable in model.variables:
        variable.assign(variable * 4)
    return model


def _ends(texts, stops):
    """In how many different places the texts end, if one of them ends at a stop token at all."""
    return len({next((i for i, id in enumerate(ids) if id in stops), 99) for ids in texts})


def without_xla(function, model, key, xla=False):
    """`compiled` for many loops of a few tokens. Those of test_generation.py are compiled with XLA."""
    return compiled(function, model, key, xla=False)


@pytest.fixture(autouse=True)
def _the_same_weights_and_turns_whatever_ran_before(monkeypatch):
    keras.utils.set_random_seed(1)
    monkeypatch.setattr(memory, "compiled", without_xla)


def turn(length):
    return np.random.randint(0, 40, length).tolist()


@every_kind
def test_each_turn_is_written_as_if_the_whole_text_was_read_at_once(kind):
    model, session = model_of(kind), Session(model_of(kind), rows=3)
    texts = [[], [], []]
    for lengths, count in (((5, 1, 12), 7), ((3, 9, 0), 4), ((0, 0, 0), 6), ((1, 17, 2), 9)):
        turns = [turn(length) for length in lengths]
        session.read(turns)
        texts = [before + new for before, new in zip(texts, turns, strict=True)]
        expected = alone(model, texts, count)
        replies = session.write(count)
        assert [reply.ids for reply in replies] == [new[len(old) :] for new, old in zip(expected, texts, strict=True)]
        assert all(reply.ended == "length" and reply.text is None for reply in replies)
        texts = expected
        assert session.ids == texts


@pytest.mark.parametrize("order", ["a turn first", "written on first"])
@every_kind
def test_rows_that_ended_early_remember_nothing_of_the_others_steps(kind, order):
    model, session = model_of(kind), Session(model_of(kind), rows=3)
    prompts = [turn(4), turn(6), turn(5)]
    session.read(prompts)
    free = [ids[len(prompt) :] for prompt, ids in zip(prompts, alone(model, prompts, 12), strict=True)]
    tokens = sorted({id for ids in free for id in ids})
    stops = next([one] for one in tokens if _ends(free, [one]) > 1)  # the texts end at different places
    first = session.write(12, stop_tokens=stops)
    found = [prompt + reply.ids for prompt, reply in zip(prompts, first, strict=True)]
    assert found == alone(model, prompts, 12, stops)
    assert len({len(reply.ids) for reply in first}) > 1
    # Rows that met a stop token go on behind their last token, whether or not a turn comes between.
    for turns in ([turn(2), turn(7), turn(1)], None) if order == "a turn first" else (None, [turn(2), turn(7), []]):
        if turns is not None:
            session.read(turns)
        before = session.ids
        more = session.write(5)
        assert [old + reply.ids for old, reply in zip(before, more, strict=True)] == alone(model, before, 5)


@pytest.mark.parametrize("kind", ["learned", "rotary", "lstm"])
def test_a_turn_costs_its_own_tokens_and_no_more(kind):
    session = Session(model_of(kind))
    total = 0
    for length, count in ((30, 8), (4, 8), (11, 20)):
        session.read(turn(length))
        session.write(count)
        total += length + count
        assert session.tokens_read == total - 1  # the last token is read with the next one
        assert len(session.ids[0]) == total


def test_a_cache_grows_without_reading_anew():
    session = Session(model_of("rotary"))
    for _ in range(6):
        session.read(turn(10))
        session.write(10)
    assert session.tokens_read == 119


def test_a_long_session_with_learned_positions_reads_the_last_half_of_a_full_context():
    model = tiny_gpt(context_length=16, num_layers=1)
    session, prompt = Session(model), turn(5)
    session.read(prompt)
    [reply] = session.write(40)
    assert prompt + reply.ids == uncached(model, prompt, 40)
    session.read(turn(30))
    assert len(session.write(10)[0].ids) == 10


@pytest.mark.parametrize("sampler", [Greedy(), Sampling(0.7, top_k=5), Beam(3)], ids=["greedy", "sampling", "beam"])
@pytest.mark.parametrize("kind", ["rotary", "lstm"])
def test_log_probabilities_are_those_of_the_model_itself(kind, sampler):
    model = model_of(kind)
    session = Session(model, rows=2)
    prompts = [turn(5), turn(9)]
    session.read(prompts)
    for prompt, reply in zip(prompts, session.write(7, sampler, seed=1, scored=True), strict=True):
        ids = np.array([prompt + reply.ids], "int32")
        logs = ops.convert_to_numpy(ops.log_softmax(ops.cast(model(ids), "float32"), axis=-1))[0]
        places = np.arange(len(prompt), ids.shape[1])
        np.testing.assert_allclose(reply.log_probabilities, logs[places - 1, ids[0, places]], atol=1e-4)
    assert Session(model).rows == 1
    session = Session(model)
    session.read(prompts[0])
    assert session.write(2, sampler)[0].log_probabilities is None


def test_beams_leave_the_memory_of_the_best_text():
    model = model_of("rotary")
    session, prompts = Session(model, rows=2), [turn(4), turn(7)]
    session.read(prompts)
    replies = session.write(6, Beam(3))
    texts = [prompt + reply.ids for prompt, reply in zip(prompts, replies, strict=True)]
    assert texts == generate(model, prompts, 6, Beam(3))
    more = session.write(5)
    assert [old + reply.ids for old, reply in zip(texts, more, strict=True)] == alone(model, texts, 5)


# Texts -------------------------------------------------------------------------------------------

LETTERS = text.train_characters(["abcdefgh"], byte_fallback=False)


def alphabet(size=None):
    """A model that writes the alphabet round and round; more rows than the tokenizer has tokens, if asked."""
    first, last = LETTERS.id_of("a"), LETTERS.id_of("h")
    table = np.zeros((size or LETTERS.vocabulary_size,) * 2)
    for id in range(len(table)):
        table[id, first if not first <= id < last else id + 1] = 1
    if size:
        table[:, LETTERS.vocabulary_size :] = 5  # what is no token is by far the most probable
    return chain(table)


def test_prompt_and_reply_are_apart_and_stop_strings_end_a_reply():
    session = Session(alphabet(), LETTERS)
    session.read("ab")
    [reply] = session.write(20, stop_strings=["fg", "h"])
    assert (reply.text, reply.ended) == ("cde", "stop string")
    assert LETTERS.decode(session.ids[0]) == "abcde"
    session.read("a")
    [reply] = session.write(3)
    assert (reply.text, reply.ended) == ("bcd", "length")
    assert generate(alphabet(), "ab", 20, tokenizer=LETTERS, stop_strings="fg") == "abcde"


@pytest.mark.parametrize("every", [1, 3, 8])
def test_a_stream_gives_out_nothing_of_a_stop_string(every):
    session = Session(alphabet(), LETTERS)
    session.read("ab")
    pieces = list(session.stream(50, stop_strings=["efgh"], every=every))
    assert "".join(pieces) == "cd"
    session.read("h")
    assert "".join(session.stream(10, every=every)) == "abcdefghab"


@every_kind
def test_what_was_cut_at_a_stop_string_is_forgotten(kind):
    model = model_of(kind)
    tokenizer = text.train_characters(["".join(map(chr, range(97, 97 + 38)))], byte_fallback=False)
    assert tokenizer.vocabulary_size == 40
    session = Session(model, tokenizer, rows=2)
    session.read(["abcde", "xyz"])
    free = tokenizer.decode(alone(model, session.ids, 20)[0])[len("abcde") :]
    replies = session.write(20, stop_strings=[free[3:5]])
    assert replies[0].text == free.split(free[3:5])[0]
    before = session.ids
    again = session.write(6)
    assert [old + reply.ids for old, reply in zip(before, again, strict=True)] == alone(model, before, 6)


def test_a_cache_forgets_from_a_length_on():
    positions = np.array([[0, 1, 2, 3], [-1, 0, 1, 2]], "int32")
    cache = empty_cache(2, 1, 4, 2, "float32")._replace(positions=ops.convert_to_tensor(positions))
    [left] = forget([cache], np.array([2, 1], "int32"))
    assert ops.convert_to_numpy(left.positions).tolist() == [[0, 1, -1, -1], [-1, 0, -1, -1]]


def test_holes_of_a_tokenizer_and_rows_behind_it_are_barred():
    model, tokenizer = SimpleNamespace(vocabulary_size=6), SimpleNamespace(vocabulary_size=5, holes={2})
    assert barred_ids(model, tokenizer).tolist() == [False, False, True, False, False, True]


@pytest.mark.parametrize("sampler", [Greedy(), Sampling(1.5), Beam(2)], ids=["greedy", "sampling", "beam"])
def test_rows_of_the_model_that_are_no_token_are_never_written(sampler):
    model = alphabet(size=16)
    assert LETTERS.vocabulary_size < 16
    session = Session(model, LETTERS)
    session.read("a")
    [reply] = session.write(200, sampler, seed=1)
    assert max(reply.ids) < LETTERS.vocabulary_size
    assert len(reply.text) == 200 - sum(id in (0, 1) for id in reply.ids)


def test_what_makes_no_sense_is_refused():
    session = Session(random_chain(), rows=2)
    with pytest.raises(ValueError, match="read first"):
        session.write(1)
    with pytest.raises(ValueError, match="2 texts and 1 turns"):
        session.read([[1]])
    with pytest.raises(ValueError, match="no token to begin with"):
        session.read([[1], []])
    session.read([[1], [2]])
    with pytest.raises(ValueError, match="use write"):
        session.stream(3)
    with pytest.raises(ValueError, match="need a tokenizer"):
        session.write(3, stop_strings=["a"])
    for wrong in ("greedy", Greedy, 1):
        with pytest.raises(TypeError, match="sampler must be an object such as Greedy"):
            session.write(3, wrong)
    with pytest.raises(TypeError, match="tokenizer must be a Tokenizer"):
        Session(random_chain(), "tokenizer.json")
    with pytest.raises(ValueError, match="rows"):
        Session(random_chain(), rows=True)


def test_a_session_survives_training_in_between():
    model = tiny_gpt(num_layers=1, **KINDS["rotary"])
    session = Session(model)
    session.read([1, 2, 3])
    session.write(3)
    for variable in model.trainable_variables:
        variable.assign(variable * 0.5)
    assert len(session.write(3)[0].ids) == 3
    assert keras.backend.standardize_dtype(model.dtype) == "float32"
