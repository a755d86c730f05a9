"""Two hundred requests, most of them wrong, slow or given up: each gets a proper status, and nothing is left."""

import concurrent.futures
import gc
import random
import time

import httpx
from serving_models import KEY, Parrot, chat_template, chat_tokenizer

from kerasllm.serving import Engine, Job
from kerasllm.serving.app import Served, Stream

REQUESTS, AT_ONCE = 200, 12
CHAT = "/v1/chat/completions"
SAID = "One, two, three."
ASK = {"messages": [{"role": "user", "content": "Hi"}]}
GONE = "gone"  # the client did not wait for a status


def whole(client, model="quick", **more):
    return client.post(CHAT, json={**ASK, "model": model, **more}).status_code


def streamed(client, model="quick", pieces=None):
    """Read a stream, or only so many pieces of it."""
    with client.stream("POST", CHAT, json={**ASK, "model": model, "stream": True}) as reply:
        for place, _ in enumerate(reply.iter_text()):
            if place == pieces:
                return GONE
        return reply.status_code


def given_up(client):
    try:
        return whole(httpx.Client(base_url=client.base_url, headers=client.headers, timeout=0.05), "slow")
    except httpx.TimeoutException:
        return GONE


KINDS = {
    "whole": (whole, {200, 429}),
    "streamed": (streamed, {200, 429}),
    "left in a stream": (lambda client: streamed(client, "slow", 1), {GONE, 429, 504}),
    "given up": (given_up, {GONE, 429}),
    "too slow": (lambda client: whole(client, "slow"), {504, 429}),
    "too long": (lambda client: whole(client, messages=[{"role": "user", "content": "x" * 5000}]), {400}),
    "too large": (lambda client: whole(client, user="x" * 20_000), {413}),
    "no JSON": (lambda client: client.post(CHAT, content=b'{"model": ').status_code, {400}),
    "wrong key": (lambda client: client.get("/v1/models", headers={"authorization": "Bearer x"}).status_code, {401}),
    "no such model": (lambda client: whole(client, "none"), {404}),
}


def objects():
    gc.collect()
    return gc.get_objects()


def test_two_hundred_requests_leave_nothing_behind(running):
    engines = {  # for the quick one time stands still: it is never too slow, on whatever machine
        "quick": Engine(
            Parrot(chat_tokenizer(), SAID), chat_tokenizer(), max_batch=4, max_waiting=8, clock=lambda: 0.0
        ),
        "slow": Engine(Parrot(chat_tokenizer(), "very " * 2000), chat_tokenizer(), max_batch=2, max_waiting=3),
    }
    models = {name: Served(engine, chat_template()) for name, engine in engines.items()}
    server = running(models, key=KEY, most_bytes=15_000, most_tokens=10_000, seconds=4.0)
    kinds = [name for _ in range(REQUESTS // len(KINDS)) for name in KINDS]
    random.Random(0).shuffle(kinds)
    headers = {"authorization": f"Bearer {KEY}"}

    def one(kind):
        with httpx.Client(base_url=server.address, headers=headers, timeout=120) as client:
            return kind, KINDS[kind][0](client)

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(one, kinds))
    assert len(found) == REQUESTS
    for kind, status in found:
        assert status in KINDS[kind][1], (kind, status)
    assert server.settled()
    for engine in engines.values():
        ended = sum(engine.counts[end] for end in ("stop", "stop string", "length", "timeout", "cancelled"))
        assert ended == engine.counts["submitted"]
        assert not engine.counts["error"]
        assert engine._batch.data is None
    assert (engines["quick"].counts["stop"], engines["slow"].counts["stop"]) == (
        sum(status == 200 for _, status in found),
        0,
    )
    assert one("whole")[1] == one("streamed")[1] == 200
    assert server.settled()
    until = time.monotonic() + 30  # the tasks that answered end a moment after their answers
    while (kept := [one for one in objects() if isinstance(one, Job | Stream)]) and time.monotonic() < until:
        del kept
        time.sleep(0.2)
    assert kept == []
    before = len(objects())
    for _ in range(15):
        one("whole"), one("left in a stream"), one("too long")
    assert server.settled()
    assert len(objects()) < before + 400  # a request that left as much as its answer would leave more
