"""The HTTP API: what OpenAI's clients ask for, over engines."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse

from kerasllm.serving.engine import Engine, QueueFullError, StoppedError, TooLongError
from kerasllm.serving.guard import Guard
from kerasllm.serving.jobs import GOOD_ENDS, Piece
from kerasllm.serving.metrics import prometheus
from kerasllm.serving.replies import DONE, ChatWriting, TextWriting, error_event, failure
from kerasllm.serving.schemas import ChatRequest, CompletionRequest, RequestError
from kerasllm.tasks.passages import Passage, with_sources
from kerasllm.text import ChatTemplate
from kerasllm.text.tool_calls import prompt_ids

PAGE = Path(__file__).parent / "page"
FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
LOOK = 0.25  # seconds between two looks whether a client is still there
# The page runs its own script, asks its own server, and nothing else.
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"


@dataclass(frozen=True)
class Served:
    """A model that is served.

    Args:
        engine: its `Engine`.
        template: its `kerasllm.text.ChatTemplate`; None for a model that does not chat.
        sources: a function from the last turn of a user to what the model is to answer from, a list of dictionaries
            with "title" and "text", and if wanted "url". It is called in a thread.
        unknown: what is said where `sources` finds nothing and no tools are offered; the model is then not asked. None
            lets it answer all the same.
    """

    engine: Engine
    template: ChatTemplate | None = None
    sources: Callable[[str], list[dict]] | None = None
    unknown: str | None = None

    @property
    def chat_stops(self) -> tuple[int, ...]:
        """Ids that end a turn."""
        ends = [*self.engine.tokenizer.stop_ids, self.template.end_id]
        return tuple(dict.fromkeys(id for id in ends if id is not None))


def make_app(
    models: Mapping[str, Served],
    *,
    key: str | None = None,
    hosts: tuple[str, ...] | None = None,
    most_bytes: int = 1 << 20,
    most_tokens: int = 1024,
    seconds: float = 120.0,
    body_seconds: float = 30.0,
    drain_seconds: float = 5.0,
) -> FastAPI:
    """The application of a server, for uvicorn or another server of ASGI.

    It starts the engines that are not started, and stops them all at its end.

    Args:
        models: from the names of models to `Served`.
        key: what clients must have, as ``Authorization: Bearer KEY``; None for nothing.
        hosts: the names by which it may be called; any when None.
        most_bytes: the largest body of a request.
        most_tokens: the largest number of tokens of a reply.
        seconds: the longest time of a request, waiting included.
        body_seconds: the longest time in which a request has to come.
        drain_seconds: how long replies that are under way may still take when it stops.

    Returns:
        A FastAPI application.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_characters(["abc "])
        >>> settings = models.gpt_settings(tokenizer.vocabulary_size, num_layers=1, num_heads=2, embedding_dim=8)
        >>> app = make_app({"tiny": Served(Engine(models.GPT(settings), tokenizer))})
        >>> sorted(route.path for route in app.routes if route.path.startswith("/v1"))
        ['/v1/chat/completions', '/v1/completions', '/v1/models', '/v1/models/{name}']
    """
    seen = Counter()

    @contextlib.asynccontextmanager
    async def lifespan(app):
        for one in models.values():
            if not one.engine.alive:
                one.engine.start()
        yield
        await asyncio.gather(*(asyncio.to_thread(one.engine.stop, drain_seconds) for one in models.values()))

    app = FastAPI(title="kerasllm", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, key=key, most_bytes=most_bytes, seconds=body_seconds, hosts=hosts, seen=seen)
    _add_errors(app)
    _add_pages(app, models, seen)
    _add_models(app, models)
    _add_completions(app, models, most_tokens, seconds)
    return app


def _add_errors(app):
    @app.exception_handler(RequestError)
    async def refused(request, error):
        headers = {"Retry-After": "1"} if error.status in (429, 503) else None
        return JSONResponse(error.body, error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request, error):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return await refused(request, RequestError(400, f"{place}: {first['msg']}".lstrip(": "), param=place or None))

    @app.exception_handler(400)
    async def unreadable(request, error):
        return await refused(request, RequestError(400, f"{error.detail}. It has to be JSON in UTF-8."))

    @app.exception_handler(404)
    async def nothing(request, error):
        return await refused(request, RequestError(404, f"There is nothing at {request.url.path}.", code="not_found"))

    @app.exception_handler(405)
    async def method(request, error):
        return await refused(request, RequestError(405, f"{request.url.path} does not take {request.method}."))

    @app.exception_handler(Exception)
    async def bug(request, error):
        return await refused(request, RequestError(500, "The server failed on this request.", "server_error"))


def _add_pages(app, models, seen):
    engines = {name: one.engine for name, one in models.items()}
    for path in FILES:
        app.add_api_route(path, _page(PAGE / FILES[path]), include_in_schema=False)

    @app.get("/health")
    async def health():
        state = {name: "ok" if engine.alive else "stopped" for name, engine in engines.items()}
        fine = all(one == "ok" for one in state.values())
        return JSONResponse({"status": "ok" if fine else "stopped", "models": state}, 200 if fine else 503)

    @app.get("/metrics")
    async def metrics():
        return PlainTextResponse(prometheus(engines, seen), media_type="text/plain; version=0.0.4")


def _page(file):
    async def page():
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return FileResponse(file, headers={**headers, "Cache-Control": "no-cache"})

    return page


def _add_models(app, models):
    def card(name):
        chats = models[name].template is not None
        return {"id": name, "object": "model", "created": 0, "owned_by": "kerasllm", "chat": chats}

    @app.get("/v1/models")
    async def every():
        return {"object": "list", "data": [card(name) for name in models]}

    @app.get("/v1/models/{name}")
    async def one(name: str):
        _found(models, name)
        return card(name)


def _add_completions(app, models, most_tokens, seconds):
    @app.post("/v1/completions")
    async def complete(asked: CompletionRequest, request: Request):
        served = _found(models, asked.model)
        ids = await _readable(_prompt, served.engine.tokenizer, asked.prompt)
        writing = TextWriting(asked, served.engine.tokenizer, len(ids))
        return await _answer(request, asked, served.engine, asked.asked(ids, most_tokens, seconds), writing)

    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, request: Request):
        served = _found(models, asked.model)
        if served.template is None:
            message = f"{asked.model} was not trained on conversations: use /v1/completions."
            raise RequestError(400, message, code="no_chat_template", param="model")
        turns, sources = asked.turns(), None
        if served.sources is not None:
            turns, sources = await asyncio.to_thread(_with_sources, turns, served.sources)
        if sources == [] and served.unknown is not None and not asked.offered:
            return _said(asked, ChatWriting(asked, served.engine.tokenizer, 0, sources), served.unknown)
        ids = await _readable(prompt_ids, served.template, turns, asked.offered)
        writing = ChatWriting(asked, served.engine.tokenizer, len(ids), sources)
        stops = served.chat_stops
        return await _answer(request, asked, served.engine, asked.asked(ids, most_tokens, seconds, stops), writing)


def _found(models, name) -> Served:
    if name not in models:
        message = f"There is no model {name!r:.80}. There are: {', '.join(models)}."
        raise RequestError(404, message, code="model_not_found", param="model")
    return models[name]


async def _readable(function, *arguments):
    """What a function makes of texts, in a thread: a long one takes a while. Its complaints are the client's."""
    try:
        return await asyncio.to_thread(function, *arguments)
    except (TypeError, ValueError) as error:
        raise RequestError(400, str(error)) from error


def _prompt(tokenizer, prompt):
    if isinstance(prompt, list) and all(isinstance(one, int) for one in prompt):
        return prompt
    [text] = [prompt] if isinstance(prompt, str) else prompt
    ids = list(tokenizer.encode(text))
    return ids if ids or tokenizer.bos_id is None else [tokenizer.bos_id]


def _with_sources(turns, look_up):
    """The turns with what was found for the last one of the user in the system's, and what was found."""
    asked = next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), "")
    found = look_up(asked)
    return with_sources(turns, [Passage(one["title"], one["text"]) for one in found]), found


class Stream:
    """The pieces of a job, for an event loop; made in it.

    Args:
        engine: the `Engine`.
        asked: the `Asked`.
        request: the request, to see whether its client is still there.

    Raises:
        RequestError: if the engine does not take it.
    """

    def __init__(self, engine, asked, request):
        loop, self._pieces, self._request = asyncio.get_running_loop(), asyncio.Queue(), request
        try:
            self.job = engine.submit(asked, lambda piece: loop.call_soon_threadsafe(self._pieces.put_nowait, piece))
        except TooLongError as error:
            raise RequestError(400, str(error), code="context_length_exceeded", param="messages") from error
        except QueueFullError as error:
            raise RequestError(429, str(error), "rate_limit_error", "queue_full") from error
        except StoppedError as error:
            raise RequestError(503, str(error), "server_error", "stopping") from error
        except (TypeError, ValueError) as error:
            raise RequestError(400, str(error)) from error

    async def next(self):
        """The next piece; None if the client has gone, and then nobody needs it."""
        while True:
            try:
                return await asyncio.wait_for(self._pieces.get(), LOOK)
            except TimeoutError:
                if await self._request.is_disconnected():
                    self.job.cancel()
                    return None


class Events(StreamingResponse):
    """A stream of events that lets its job go however it ends, even before it began."""

    def __init__(self, events, job):
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self.job = job

    async def __call__(self, scope, receive, send):
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.job.cancel()


def _said(asked, writing, text):
    """A reply that no model has written."""
    piece = Piece(text, (), "stop")
    if not asked.stream:
        return writing.reply([piece], 0)
    usage = [writing.usage_event(0)] if asked.counts_usage else []
    events = [*writing.begin(), *writing.events(piece), *usage, DONE]
    return StreamingResponse(iter(events), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _answer(request, asked, engine, wanted, writing):
    stream = Stream(engine, wanted, request)
    try:
        piece = await stream.next()
        if asked.stream and piece is not None and piece.ended in (None, *GOOD_ENDS):
            return Events(_events(stream, piece, asked, writing), stream.job)
        pieces = [piece]
        while piece is not None and piece.ended is None:
            pieces.append(piece := await stream.next())
    except BaseException:  # such as a client that is gone
        stream.job.cancel()
        raise
    if piece is None:
        return PlainTextResponse("", 499)  # nobody reads it; the metrics do
    if piece.ended not in GOOD_ENDS:
        raise failure(piece.ended)
    return writing.reply(pieces, stream.job.written)


async def _events(stream, piece, asked, writing):
    for event in writing.begin():
        yield event
    while piece is not None and piece.ended in (None, *GOOD_ENDS):
        for event in writing.events(piece):
            yield event
        if piece.ended is not None:
            if asked.counts_usage:
                yield writing.usage_event(stream.job.written)
            yield DONE
            return
        piece = await stream.next()
    if piece is not None:
        yield error_event(failure(piece.ended))
