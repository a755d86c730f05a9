"""The API as clients meet it: the official client of OpenAI, and requests that are wrong in every way."""

import json
import socket
import time

import httpx
import openai
import pytest
from serving_models import KEY, Parrot, chat_template, chat_tokenizer, numbers_tokenizer, tiny_gpt

from kerasllm.generation import Chat, generate
from kerasllm.serving import Engine
from kerasllm.serving.app import Served

SAID = "Let me see.\nOne 你好, two."
CALL = 'I add. <tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
ASK = [{"role": "user", "content": "What is 1 + 2?"}]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
SOURCES = [{"title": "Sums", "text": "1 + 2 is 3.", "url": "http://127.0.0.1/sums"}]


def parrot(said, **settings):
    return Engine(Parrot(chat_tokenizer(), said), chat_tokenizer(), **settings)


def looked_up(question):
    return SOURCES if "1 + 2" in question else []


@pytest.fixture
def server(running):
    """A server of models that chat, that call a tool, that look things up, and that only go on with a text."""
    models = {
        "says": Served(parrot(SAID), chat_template()),
        "calls": Served(parrot(CALL), chat_template()),
        "looks up": Served(parrot("[1]"), chat_template(), lambda question: SOURCES),
        "knows": Served(parrot("[1]"), chat_template(), looked_up, unknown="I do not know."),
        "writes": Served(Engine(tiny_gpt(), numbers_tokenizer())),
    }
    return running(models, key=KEY, most_bytes=20_000, most_tokens=100, body_seconds=1.0)


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def test_the_client_of_openai_chats(client):
    ask = {"model": "says", "messages": ASK, "temperature": 0}
    reply = client.chat.completions.create(**ask)
    [choice] = reply.choices
    model = Parrot(chat_tokenizer(), SAID)
    assert choice.message.content == SAID == Chat(model, chat_tokenizer(), template=chat_template()).say("Hi").text
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    prompt = len(chat_template().encode(ASK, open_reply=True))
    usage = (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens)
    assert usage == (prompt, len(SAID), prompt + len(SAID))
    cut = client.chat.completions.create(**ask, max_tokens=4, stop="see", logprobs=True, top_logprobs=2)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == (SAID[:4], "length")
    scores = cut.choices[0].logprobs.content
    assert "".join(one.token for one in scores) == SAID[:4]
    assert all(one.top_logprobs[0].token == one.token and len(one.top_logprobs) == 2 for one in scores)
    stopped = client.chat.completions.create(**ask, stop=["see", "never"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("Let me ", "stop")


def test_the_client_of_openai_streams(client):
    ask = {"model": "says", "messages": ASK, "stream": True, "stream_options": {"include_usage": True}}
    *events, usage = client.chat.completions.create(**ask, logprobs=True)
    deltas = [event.choices[0].delta for event in events]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == SAID
    assert len([delta for delta in deltas if delta.content]) > 2
    scores = [one for event in events for one in (event.choices[0].logprobs or ONE).content]
    assert "".join(one.token for one in scores) == SAID
    assert [event.choices[0].finish_reason for event in events] == [None] * (len(events) - 1) + ["stop"]
    assert (usage.choices, usage.usage.completion_tokens) == ([], len(SAID))


class ONE:
    """An event without log-probabilities."""

    content = ()


@pytest.mark.parametrize("stream", [False, True])
def test_the_client_of_openai_calls_a_tool(client, stream):
    ask = {"model": "calls", "messages": ASK, "stream": stream}
    reply = client.chat.completions.create(**ask, tools=TOOLS)
    if stream:
        events = [event.choices[0] for event in reply]
        said = "".join(event.delta.content or "" for event in events)
        [call] = [one for event in events for one in event.delta.tool_calls or []]
        finished = events[-1].finish_reason
    else:
        [choice] = reply.choices
        said, [call], finished = choice.message.content, choice.message.tool_calls, choice.finish_reason
    assert (said, call.function.name, json.loads(call.function.arguments)) == ("I add. ", "add", {"a": 1, "b": 2})
    assert finished == "tool_calls"
    if not stream:
        answer = {"role": "tool", "tool_call_id": call.id, "content": "3"}
        again = client.chat.completions.create(model="says", messages=[*ASK, choice.message, answer], tools=TOOLS)
        assert again.choices[0].message.content == SAID
        plain = client.chat.completions.create(**ask, tools=TOOLS, tool_choice="none")
        assert (plain.choices[0].message.content, plain.choices[0].finish_reason) == (CALL, "stop")


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_looked_up_stands_in_the_prompt_and_beside_the_reply(client, stream):
    reply = client.chat.completions.create(model="looks up", messages=ASK, stream=stream)
    said = next(iter(reply)).choices[0].delta if stream else reply.choices[0].message
    assert said.sources == SOURCES
    if not stream:
        alone = client.chat.completions.create(model="says", messages=ASK)
        assert reply.usage.prompt_tokens - alone.usage.prompt_tokens > len(SOURCES[0]["text"])


@pytest.mark.parametrize("stream", [False, True])
def test_where_nothing_is_found_the_model_is_not_asked(client, server, stream):
    def said(content, **more):
        turns = [{"role": "user", "content": content}]
        reply = client.chat.completions.create(model="knows", messages=turns, stream=stream, **more)
        if not stream:
            return reply.choices[0].message.content, reply.choices[0].message.sources, reply.choices[0].finish_reason
        events = [event.choices[0] for event in reply if event.choices]
        text = "".join(event.delta.content or "" for event in events)
        return text, events[0].delta.sources, events[-1].finish_reason

    assert said("What is 1 + 2?") == ("[1]", SOURCES, "stop")
    [engine] = {one for one in server.engines if one.counts["submitted"]}
    for asked in ("What is 2 + 2?", "", "x" * 5_000):
        assert said(asked) == ("I do not know.", [], "stop")
    assert engine.counts["submitted"] == 1
    assert said("What is 2 + 2?", tools=TOOLS)[0] == "[1]"  # a tool may know
    if stream:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        *_, last = client.chat.completions.create(
            model="knows", messages=[{"role": "user", "content": "2?"}], **options
        )
        assert (last.choices, last.usage.total_tokens) == ([], 0)


def test_the_client_of_openai_goes_on_with_a_text_as_generate_does(client):
    ask = {"model": "writes", "prompt": "ABC", "max_tokens": 8}
    tokenizer = numbers_tokenizer()
    alone = generate(tiny_gpt(), "ABC", 8, tokenizer=tokenizer)[3:]
    reply = client.completions.create(**ask, temperature=0, logprobs=2)
    assert reply.choices[0].text == alone
    assert "".join(reply.choices[0].logprobs.tokens).replace("<unk>", "") == alone.replace("<unk>", "")
    assert (
        client.completions.create(**{**ask, "prompt": tokenizer.encode("ABC")}, temperature=0).choices[0].text == alone
    )
    events = list(client.completions.create(**ask, temperature=0, stream=True))
    assert "".join(event.choices[0].text for event in events) == alone
    first, second = (client.completions.create(**ask, seed=4).choices[0].text for _ in range(2))
    assert first == second != alone


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["says", "calls", "looks up", "knows", "writes"]
    assert client.models.retrieve("says").id == "says"
    with pytest.raises(openai.NotFoundError, match="There is no model 'none'"):
        client.models.retrieve("none")


CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"
FINE = {"model": "says", "messages": ASK}
WRONG = {
    "no JSON": (CHAT, b"{", 400, "JSON"),
    "nested JSON": (CHAT, b"[" * 10_000, 400, ""),
    "no UTF-8": (CHAT, b'"\xff"', 400, ""),
    "no object": (CHAT, [], 400, ""),
    "no messages": (CHAT, {"model": "says"}, 400, "messages"),
    "empty messages": (CHAT, {**FINE, "messages": []}, 400, "messages"),
    "a strange role": (CHAT, {**FINE, "messages": [{"role": "robot", "content": "x"}]}, 400, "role"),
    "no content": (CHAT, {**FINE, "messages": [{"role": "user"}]}, 400, "no content"),
    "turns out of order": (CHAT, {**FINE, "messages": ASK * 2}, 400, "should be by the assistant"),
    "a lone surrogate": (CHAT, b'{"model": "says", "messages": [{"role": "user", "content": "\\ud800"}]}', 400, ""),
    "an unknown model": (CHAT, {**FINE, "model": "none"}, 404, "There is no model"),
    "an unknown field": (CHAT, {**FINE, "best": 1}, 400, "best"),
    "several replies": (CHAT, {**FINE, "n": 2}, 400, "n"),
    "a penalty": (CHAT, {**FINE, "presence_penalty": 1}, 400, "presence_penalty"),
    "a temperature": (CHAT, {**FINE, "temperature": 3}, 400, "temperature"),
    "no number": (CHAT, b'{"model": "says", "messages": [], "temperature": NaN}', 400, ""),
    "too many stops": (CHAT, {**FINE, "stop": ["a", "b", "c", "d", "e"]}, 400, "stop"),
    "an empty stop": (CHAT, {**FINE, "stop": ""}, 400, "stop"),
    "no tokens": (CHAT, {**FINE, "max_tokens": 0}, 400, "max_tokens"),
    "a forced tool": (CHAT, {**FINE, "tool_choice": "required"}, 400, "tool_choice"),
    "no chat": (CHAT, {**FINE, "model": "writes"}, 400, "not trained on conversations"),
    "a long prompt": (COMPLETE, {"model": "writes", "prompt": "A" * 64}, 400, "64 tokens"),
    "a large body": (CHAT, {**FINE, "user": "x" * 30_000}, 413, "20,000 bytes"),
    "ids that are none": (COMPLETE, {"model": "writes", "prompt": [10**6]}, 400, "outside the vocabulary"),
    "several prompts": (COMPLETE, {"model": "writes", "prompt": ["A", "B"]}, 400, "prompt"),
    "nowhere": ("/v1/nothing", {}, 404, "nothing at"),
    "another method": ("/v1/models", {}, 405, "does not take POST"),
}


def test_what_is_wrong_has_its_status_and_a_word_on_it(server):
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with httpx.Client(base_url=server.address, headers=headers) as client:
        for name, (path, body, status, word) in WRONG.items():
            reply = client.post(path, content=body if isinstance(body, bytes) else json.dumps(body))
            assert reply.status_code == status, name
            error = reply.json()["error"]
            assert word in error["message"], name
            assert set(error) == {"message", "type", "param", "code"}, name
        assert client.post(CHAT, json=FINE).status_code == 200


def test_without_the_key_or_from_another_page_nobody_is_served(server):
    fine = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=server.address) as client:
        for path in ("/v1/models", "/metrics", "/v1/nothing"):
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": KEY}):
                reply = client.get(path, headers=headers)
                assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        assert client.get("/health").json()["status"] == "ok"
        assert client.get("/v1/models", headers={**fine, "origin": "http://elsewhere.test"}).status_code == 403
        assert client.get("/v1/models", headers={**fine, "host": "elsewhere.test"}).status_code == 403
        assert client.get("/v1/models", headers={**fine, "origin": server.address}).status_code == 200


def test_the_metrics_count_what_was_done(server, client):
    client.chat.completions.create(model="says", messages=ASK)
    metrics = httpx.get(f"{server.address}/metrics", headers={"authorization": f"Bearer {KEY}"}).text
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert values['kerasllm_http_requests_total{path="/v1/chat/completions",status="200"}'] == "1"
    assert values['kerasllm_requests_ended_total{model="says",ended="stop"}'] == "1"
    assert values['kerasllm_written_tokens_total{model="says"}'] == str(len(SAID))
    assert values['kerasllm_requests_running{model="says"}'] == "0"


def test_the_page_asks_nobody_else(server):
    with httpx.Client(base_url=server.address) as client:
        page, style, script = (client.get(path) for path in ("/", "/page.css", "/page.js"))
    assert [one.headers["content-type"].split(";")[0] for one in (page, style, script)] == [
        "text/html",
        "text/css",
        "text/javascript",
    ]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for text in (page.text, style.text, script.text):
        assert "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")
    assert "innerHTML" not in script.text
    assert "prefers-color-scheme: dark" in style.text


def test_time_that_runs_out_is_504_and_in_a_stream_an_error(running):
    engine = parrot("very long " * 200, max_batch=1)
    server = running({"slow": Served(engine, chat_template())}, seconds=0.5, most_tokens=4000)
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="-", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as found:
            client.chat.completions.create(model="slow", messages=ASK)
        assert found.value.status_code == 504
        with pytest.raises(openai.APIError, match="longer than this server allows"):
            list(client.chat.completions.create(model="slow", messages=ASK, stream=True))
    assert server.settled()


def test_who_goes_away_is_not_served_any_longer(running):
    engine = parrot("very long " * 2000, max_batch=1, max_waiting=1)
    server = running({"slow": Served(engine, chat_template())}, most_tokens=10_000)
    ask = {"model": "slow", "messages": ASK}
    with httpx.stream("POST", server.address + CHAT, json={**ask, "stream": True}) as reply:
        pieces = reply.iter_text()  # what is not kept is closed, and the stream with it
        next(pieces)
        with pytest.raises(httpx.ReadTimeout):  # waits behind the first one, and goes
            httpx.post(server.address + CHAT, json=ask, timeout=1.0)
        assert engine.running == 1
    assert server.settled()
    assert engine.counts["cancelled"] == 2


def test_a_full_queue_is_429(running):
    engine = parrot("very long " * 2000, max_batch=1, max_waiting=0)
    server = running({"slow": Served(engine, chat_template())}, most_tokens=10_000)
    ask = {"model": "slow", "messages": ASK, "stream": True}
    with httpx.stream("POST", server.address + CHAT, json=ask) as reply:
        pieces = reply.iter_text()  # what is not kept is closed, and the stream with it
        next(pieces)
        refused = httpx.post(server.address + CHAT, json=ask)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["code"] == "queue_full"


def test_a_body_that_does_not_come_is_408(server):
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 10\r\n\r\n{{"
        line.sendall(head.encode())
        line.settimeout(20)
        assert line.recv(100).startswith(b"HTTP/1.1 408")


def test_the_end_of_the_server_ends_streams_cleanly(running):
    engine = parrot("very long " * 2000)
    server = running({"slow": Served(engine, chat_template())}, most_tokens=10_000)
    with httpx.stream("POST", server.address + CHAT, json={"model": "slow", "messages": ASK, "stream": True}) as reply:
        pieces = reply.iter_text()  # what is not kept is closed, and the stream with it
        next(pieces)
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 30
    assert engine.running == engine.waiting == 0
    assert not engine.alive
