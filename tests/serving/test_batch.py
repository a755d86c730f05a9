"""A batch that texts join and leave: each is what it would be alone, whoever stands beside it, wherever the ring is."""

import numpy as np
import pytest
from serving_models import VOCABULARY, tiny_gpt, tiny_lstm

from kerasllm.generation import Greedy, Sampling, Session, generate
from kerasllm.serving import Batch, Writer

KINDS = {
    "learned": {},
    "rotary": {"positions": "rotary", "num_kv_heads": 1},
    "window": {"positions": "rotary", "window": 6},
    "lstm": None,
}
SAMPLERS = (Greedy(), Sampling(0.8), Sampling(1.3, top_p=0.7), Sampling(top_k=3, min_p=0.1))
MOST, SMALLEST = 3, 16


def model_of(kind):
    return tiny_lstm() if KINDS[kind] is None else tiny_gpt(**KINDS[kind])


def writer(ids, number, stop=(), scored=False):
    """A text whose sampler and random numbers depend on its number."""
    sampler = SAMPLERS[number % len(SAMPLERS)]
    return Writer(list(ids), sampler, np.random.default_rng([number, 0]), stop, scored)


def prompts(count, random):
    return [random.integers(0, VOCABULARY, random.integers(1, 24)).tolist() for _ in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_comes_and_goes_each_text_is_what_generate_writes_alone(kind):
    model, random = model_of(kind), np.random.default_rng(3)
    batch = Batch(model, MOST, smallest=SMALLEST)
    texts = [(ids, int(random.integers(1, 12))) for ids in prompts(5, random)]
    waiting, under_way, found, most = list(enumerate(texts)), {}, {}, 0
    while waiting or under_way:
        while waiting and len(batch) < MOST and random.random() < 0.7:
            number, (ids, count) = waiting.pop(0)
            one = writer(ids, number)
            batch.join(one)
            under_way[one] = number, len(ids) + count
        most = max(most, len(batch))
        left = [length - len(one.ids) for one, (_, length) in under_way.items()]
        batch.write(min([int(random.integers(1, 9)), *left]))
        for one, (number, length) in list(under_way.items()):
            if len(one.ids) == length:
                batch.leave(one)
                found[number] = one.ids
                del under_way[one]
    assert most == MOST
    assert batch.data is None  # the last one took the memory with it
    for number, (ids, count) in enumerate(texts):
        sampler = SAMPLERS[number % len(SAMPLERS)]
        assert found[number] == generate(model, ids, count, sampler, seed=number, stop_tokens=[]), number


def test_a_ring_runs_round_without_growing():
    """Texts of 11 tokens need 16 slots, however many went before them; one is always there."""
    model, batch, before = tiny_gpt(), Batch(tiny_gpt(), MOST, smallest=SMALLEST), None
    for number in range(1, 13):
        guest = writer([number] * 5, 0)
        batch.join(guest)
        batch.write(3)
        if before is not None:
            batch.leave(before)
            count = len(before.ids) - 5
            assert before.ids == generate(model, before.ids[:5], count, stop_tokens=[])
        before = guest
    assert batch.capacity == SMALLEST


def test_a_text_ends_at_its_own_stop_tokens():
    model = tiny_gpt()
    whole = generate(model, [5, 6], 12, stop_tokens=[])[2:]
    stop = next(id for id in whole[3:] if id not in whole[:3])
    batch = Batch(model)
    ends, goes_on = writer([5, 6], 0, (stop,)), writer([5, 6], 0)
    batch.join(ends), batch.join(goes_on)
    written = batch.write(12)
    assert written[ends].stopped
    assert written[ends].ids == whole[: whole.index(stop)]
    assert not written[goes_on].stopped
    assert written[goes_on].ids == whole


def test_scores_are_those_of_a_session_and_alternatives_are_in_order():
    model, batch = tiny_gpt(), Batch(tiny_gpt())
    session = Session(model)
    session.read([7, 8, 9])
    [reply] = session.write(6, stop_tokens=[], scored=True)
    scored, drawn = writer([7, 8, 9], 0, scored=True), writer([7, 8, 9], 1, scored=True)
    batch.join(scored), batch.join(drawn)
    written = batch.write(6)
    np.testing.assert_allclose(written[scored].scores, reply.log_probabilities, rtol=1e-4)
    ids, scores = written[scored].alternatives
    assert ids[:, 0].tolist() == reply.ids  # greedy: the most probable one
    assert (np.diff(scores, axis=1) <= 0).all()
    ids, scores = written[drawn].alternatives
    for token, score, others, theirs in zip(written[drawn].ids, written[drawn].scores, ids, scores, strict=True):
        place = others.tolist().index(token) if token in others else None
        assert place is None or theirs[place] == pytest.approx(score, rel=1e-5)
    assert batch.write(1)[scored].alternatives[0].shape == (1, 20)


def test_a_full_batch_and_an_empty_text_are_refused():
    batch = Batch(tiny_gpt(), most=1)
    batch.join(writer([1], 0))
    with pytest.raises(ValueError, match="All 1 rows are taken"):
        batch.join(writer([1], 0))
    with pytest.raises(ValueError, match="one id at least"):
        Batch(tiny_gpt()).join(writer([], 0))
    assert Batch(tiny_gpt()).write(3) == {}
