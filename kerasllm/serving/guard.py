"""What stands before every request: who may ask, how large a request may be, how long it may take to come."""

import asyncio
import hmac
import json
import time
from collections import Counter
from urllib.parse import urlsplit

from kerasllm.serving.schemas import RequestError

OPEN_PATHS = ("/", "/health", "/page.css", "/page.js")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Guard:
    """Middleware that refuses what should not reach the models.

    Args:
        app: the application behind it.
        key: what ``Authorization: Bearer`` must say for the API and the metrics; None for nothing.
        most_bytes: the largest body.
        seconds: the longest time in which a body has to come.
        hosts: the names by which the server may be called; None for any. A page of somebody else that has a name of
            its own point to this machine is refused by them.
        seen: a Counter of (path, status) that it keeps.
    """

    def __init__(self, app, *, key=None, most_bytes=1 << 20, seconds=30.0, hosts=None, seen=None):
        self.app, self.key, self.most_bytes, self.seconds, self.hosts = app, key, most_bytes, seconds, hosts
        self.seen = Counter() if seen is None else seen

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counted(message):
            if message["type"] == "http.response.start":
                self.seen[_label(scope), message["status"]] += 1
            await send(message)

        try:
            self._check(scope, dict(scope["headers"]))
            body = await self.body_of(receive)
        except RequestError as error:
            await _refuse(error, counted)
            return
        if body is None:  # the client is gone
            return
        await self.app(scope, _replayed(body, receive), counted)

    def _check(self, scope, headers):
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise RequestError(403, f"This server is not called {_name(host)!r}.", "permission_error", "wrong_host")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and urlsplit(origin).netloc != host:
            raise RequestError(403, "Pages of other servers may not ask this one.", "permission_error", "wrong_origin")
        if self.key is not None and scope["path"] not in OPEN_PATHS:
            said = headers.get(b"authorization", b"")
            if not hmac.compare_digest(said, b"Bearer " + self.key.encode("utf-8")):
                message = "This server wants a key: Authorization: Bearer KEY."
                raise RequestError(401, message, "authentication_error", "invalid_api_key")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.most_bytes:
            raise self._too_large()

    def _too_large(self):
        return RequestError(413, f"A request may have {self.most_bytes:,} bytes.", code="request_too_large")

    async def body_of(self, receive):
        """The body, or None if the client went away meanwhile."""
        parts, size, until = [], 0, time.monotonic() + self.seconds
        while True:
            try:
                message = await asyncio.wait_for(receive(), until - time.monotonic())
            except TimeoutError:
                raise RequestError(408, f"A request has to come within {self.seconds:g} seconds.") from None
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.most_bytes:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(parts)


def _replayed(body, receive):
    """`receive` for the application: the body that was read, then what comes behind it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay():
        return waiting.pop() if waiting else await receive()

    return replay


def _name(host):
    """The name in a header "Host", without the port."""
    return urlsplit(f"//{host}").hostname or ""


def _label(scope):
    """The path for the metrics: what anybody may ask for is one."""
    path = scope["path"]
    known = (*OPEN_PATHS, "/metrics", "/v1/models", "/v1/completions", "/v1/chat/completions")
    return path if path in known else "other"


async def _refuse(error, send):
    body = json.dumps(error.body).encode("utf-8")
    # What of the request has not been read is left on the line, so the line is closed.
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
