"""The engine: replies as alone, a queue with a limit, time that runs out, who goes away, and an end that is clean."""

import threading
from dataclasses import replace

import pytest
from serving_models import CHATML, Parrot, chat_tokenizer, numbers_tokenizer, tiny_lstm

from kerasllm.generation import Beam, Sampling, Session, generate
from kerasllm.serving import Asked, Engine, QueueFullError, StoppedError, TooLongError
from kerasllm.serving.jobs import _begun

SAID = "One, two, three. 你好 and so on: four, five, six."


class Clock:
    """A time that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def parrot(said=SAID, **settings):
    return Engine(Parrot(chat_tokenizer(), said), chat_tokenizer(), **settings)


def asked(**changes):
    """A request to a parrot for all that it has to say."""
    ids = [chat_tokenizer().id_of(CHATML[0]), *chat_tokenizer().encode("assistant\n")]
    return replace(Asked(ids, stop_tokens=(chat_tokenizer().id_of(CHATML[1]),)), **changes)


def finished(engine, *jobs):
    while engine.step():
        pass
    return [job.result(0) for job in jobs]


@pytest.fixture(scope="module")
def words():
    """A model with random weights, and an engine of it that the tests share."""
    return tiny_lstm(), Engine(tiny_lstm(), numbers_tokenizer(), max_batch=3)


REQUESTS = [
    {"sampler": Sampling(0.9), "seed": 5},
    {},
    {"sampler": Sampling(0.7, top_p=0.8), "seed": 6, "stop_strings": ("M", "ab")},
    {"max_new_tokens": 3},
    {"sampler": Sampling(1.2, top_k=5), "seed": 7},
]


def test_replies_are_those_of_generate_alone_greedy_and_drawn(words):
    model, engine = words
    tokenizer = engine.tokenizer
    prompts = ["AB", "C", "XYZXYZXYZ", "ABCABCABCABCABCABC", "Q"]
    wanted = [{"max_new_tokens": 20, **changes} for changes in REQUESTS]
    jobs = [engine.submit(Asked(tokenizer.encode(one), **more)) for one, more in zip(prompts, wanted, strict=True)]
    for prompt, more, reply in zip(prompts, wanted, finished(engine, *jobs), strict=True):
        assert prompt + reply.text == generate(model, prompt, tokenizer=tokenizer, **more)
    assert engine.counts["length"] + engine.counts["stop string"] + engine.counts["stop"] == len(prompts)
    assert engine.running == engine.waiting == 0


def test_a_reply_has_the_ids_scores_and_end_that_a_session_gives(words):
    model, engine = words
    whole = generate(model, "AB", 20, tokenizer=engine.tokenizer)[2:]
    stop = whole[6:8]
    session = Session(model, engine.tokenizer)
    session.read("AB")
    [alone] = session.write(20, stop_strings=stop, scored=True)
    job = engine.submit(Asked(engine.tokenizer.encode("AB"), 20, stop_strings=stop, alternatives=2))
    [reply] = finished(engine, job)
    assert (reply.text, reply.ids, reply.ended) == (alone.text, alone.ids, "stop string")
    assert reply.log_probabilities == pytest.approx(alone.log_probabilities, rel=1e-3)
    for token in job.tokens:
        assert token.alternatives[0] == (token.id, pytest.approx(token.log_probability))
        assert len(token.alternatives) == 2


@pytest.mark.parametrize("stop", [("three",), ("e. 你",), ("x", "好 a", "five"), ("six.",), ("One",), ("nothing",)])
@pytest.mark.parametrize("every", [1, 5])
def test_stop_strings_are_found_over_the_borders_of_tokens_and_pieces(stop, every):
    engine = parrot(every=every)
    job = engine.submit(asked(stop_strings=stop))
    [reply] = finished(engine, job)
    places = [SAID.find(one) for one in stop if one in SAID]
    kept = SAID[: min(places)] if places else SAID
    pieces = list(job.pieces())
    assert reply.text == kept == "".join(piece.text for piece in pieces)
    assert reply.ended == ("stop string" if places else "stop") == pieces[-1].ended
    assert chat_tokenizer().decode(reply.ids) == kept
    assert [piece.ended for piece in pieces[:-1]] == [None] * (len(pieces) - 1)


def test_of_a_text_only_what_may_begin_a_stop_string_is_held_back():
    assert _begun("and the", ("then",)) == 3
    assert _begun("and the", ("hell", "e")) == 2
    assert _begun("and the", ()) == _begun("and the", ("x",)) == _begun("", ("then",)) == 0


def test_more_requests_than_may_wait_are_refused_and_rows_come_free():
    engine = parrot(max_batch=2, max_waiting=1)
    jobs = [engine.submit(asked()) for _ in range(3)]
    with pytest.raises(QueueFullError, match="requests wait"):
        engine.submit(asked())
    engine.step()
    assert (engine.running, engine.waiting) == (2, 1)
    assert [reply.text for reply in finished(engine, *jobs)] == [SAID] * 3
    assert finished(engine, engine.submit(asked()))[0].text == SAID
    assert engine.counts["refused"] == 1


def test_time_runs_out_in_the_queue_and_in_the_batch():
    clock = Clock()
    engine = parrot(max_batch=1, clock=clock)
    first, second = engine.submit(asked(seconds=10)), engine.submit(asked(seconds=5))
    third = engine.submit(asked())
    engine.step(), engine.step()
    clock.now = 5
    engine.step()
    assert (first.ended, second.ended) == (None, "timeout")
    clock.now = 10
    engine.step()
    assert first.ended == "timeout"
    assert SAID.startswith(first.text)
    assert first.result(0).ended == "timeout"
    assert finished(engine, third)[0].text == SAID
    assert engine.counts["timeout"] == 2


def test_whoever_is_cancelled_leaves_before_the_next_token_and_others_go_on():
    engine = parrot(max_batch=2)
    runs, stays, waits = (engine.submit(asked()) for _ in range(3))
    engine.step()
    runs.cancel(), waits.cancel()
    engine.step()
    assert (runs.ended, waits.ended, engine.running) == ("cancelled", "cancelled", 1)
    assert finished(engine, stays)[0].text == SAID
    assert engine.counts["cancelled"] == 2


def test_a_listener_that_fails_costs_its_own_reply_alone():
    def gone(piece):
        raise RuntimeError("nobody there")

    engine = parrot()
    lost, kept = engine.submit(asked(), gone), engine.submit(asked())
    [reply] = finished(engine, kept)
    assert (lost.ended, reply.text) == ("cancelled", SAID)


def test_an_error_ends_the_batch_and_not_the_engine(monkeypatch):
    engine = parrot()
    job = engine.submit(asked())
    engine.step()
    with monkeypatch.context() as patch:
        patch.setattr(engine._batch, "write", lambda count: 1 / 0)
        assert not engine.step()
    with pytest.raises(RuntimeError, match="division by zero"):
        job.result(0)
    assert finished(engine, engine.submit(asked()))[0].text == SAID


def test_what_does_not_fit_is_refused_and_a_long_reply_is_cut():
    engine = parrot(max_length=20)
    with pytest.raises(TooLongError, match="has 20 tokens; prompt and reply together may have 20"):
        engine.submit(asked(ids=[1] * 20))
    with pytest.raises(ValueError, match="no tokens"):
        engine.submit(asked(ids=[]))
    with pytest.raises(ValueError, match="outside the vocabulary"):
        engine.submit(asked(ids=[10**6]))
    [reply] = finished(engine, engine.submit(asked()))
    assert (reply.text, reply.ended) == (SAID[:9], "length")
    for wrong in ({"max_new_tokens": 0}, {"sampler": Beam(2)}, {"sampler": Sampling(repetition_penalty=1.1)}):
        with pytest.raises(ValueError, match=r"max_new_tokens|penalty"):
            asked(**wrong)
    for wrong in ({"seconds": 0}, {"seed": -1}, {"stop_strings": ("",)}, {"alternatives": 21}):
        with pytest.raises(ValueError, match=r"seconds|seed|stop_strings|alternatives"):
            asked(**wrong)


def test_a_thread_serves_many_at_once_and_stops_when_all_are_served():
    engine = parrot(max_batch=4)
    engine.start()
    with pytest.raises(RuntimeError, match="started already"):
        engine.start()
    found = []

    def ask():
        found.append("".join(piece.text for piece in engine.submit(asked()).pieces()))

    threads = [threading.Thread(target=ask) for _ in range(9)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert found == [SAID] * 9
    late = engine.submit(asked())
    engine.stop(60)
    assert late.result(0).text == SAID
    assert not engine.alive
    with pytest.raises(StoppedError):
        engine.submit(asked())


def test_to_stop_at_once_cancels_who_is_served():
    engine = parrot("very long " * 2000)
    engine.start()
    jobs = [engine.submit(asked(max_new_tokens=4000)) for _ in range(10)]
    next(jobs[0].pieces())
    engine.stop(0)
    assert {job.result(60).ended for job in jobs} == {"cancelled"}
    assert engine.running == engine.waiting == 0
