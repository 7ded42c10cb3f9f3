"""The outermost layer: limits on headers, a quiet end for connections, and no exception that gets out.

Rule: an answer given before the body was read closes the connection, and reads and drops a bounded rest of the body
first, since a socket closed with bytes unread takes the answer away from the sender.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.api.answers import Refused, busy, json_answer, plain_error, refusal
from engine.api.limits import Limits
from engine.api.meters import OTHER, Meters

_log = logging.getLogger(__name__)


def application(routes: Sequence[BaseRoute], limits: Limits, meters: Meters) -> ASGIApp:
    """The server's application."""
    inner = Starlette(routes=routes, exception_handlers=_HANDLERS)
    inner.router.redirect_slashes = False
    return Guard(inner, limits, meters)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {404: f"there is nothing at {request.url.path}", 405: f"{request.method} is not taken here"}
    answer = plain_error(status, words.get(status, "the request cannot be served"))
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


async def _refused(request: Request, error: Exception) -> Response:
    return error.answer() if isinstance(error, Refused) else _broken()


async def _fault(request: Request, error: Exception) -> Response:
    return _broken()  # the guard logs it: it is raised on from here


_HANDLERS = {HTTPException: _no_route, Refused: _refused, Exception: _fault}


def _broken() -> Response:
    message = "the request met a fault of ours; nothing was taken"
    return json_answer(500, refusal("internal", message, "the log of the daemon says more"))


class Guard:
    """Wraps an application."""

    def __init__(self, app: ASGIApp, limits: Limits, meters: Meters) -> None:
        self._app = app
        self._limits = limits
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        elapsed = asyncio.get_running_loop().time
        begun = elapsed()
        exchange = _Exchange(scope, receive, send, self._limits)
        try:
            await self._serve(scope, exchange)
        finally:
            self._meters.request(_route(scope), exchange.status, elapsed() - begun)

    async def _serve(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            wrong = _unfit(scope, self._limits)
            if wrong is not None:
                await wrong.answer()(scope, exchange.receive, exchange.send)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            # The daemon is leaving and waits no longer: whoever asked is told so, and may ask again.
            if not exchange.answered:
                gone = busy("stopping", "the engine is shutting down", 5)
                await gone.answer()(scope, exchange.receive, exchange.send)
        except Exception as error:  # nothing of it may reach whoever asked
            _log.error("%s %s failed: %s", scope["method"], _route(scope), type(error).__name__, exc_info=error)
            if not exchange.answered:
                await _broken()(scope, exchange.receive, exchange.send)
            elif not exchange.complete:
                raise  # the server cuts the connection: half an answer must not look whole


def _route(scope: Scope) -> str:
    """The route, without what was sent in its place."""
    route, endpoint = scope.get("route"), scope.get("endpoint")
    if route is None and endpoint is not None:  # older versions of Starlette tell only where it leads
        routes = getattr(scope.get("router"), "routes", ())
        route = next((it for it in routes if getattr(it, "endpoint", None) is endpoint), None)
    return str(getattr(route, "path", OTHER))


def _unfit(scope: Scope, limits: Limits) -> Refused | None:
    """What is wrong with the head of a request."""
    names = [name for name, _ in scope["headers"]]
    head = len(scope["method"]) + len(scope.get("raw_path", b"")) + len(scope["query_string"]) + 12
    if head + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > limits.header:
        return Refused(431, "headers", f"the headers have more than {limits.header} bytes", "send fewer")
    if scope["http_version"] not in ("1.0", "1.1"):
        return Refused(505, "version", "HTTP 1.0 and 1.1 are spoken here", headers={"connection": "close"})
    if b"transfer-encoding" in names and b"content-length" in names:
        # Two servers in a row could disagree on where such a request ends.
        return Refused(400, "framing", "a request has a content-length or a transfer-encoding, never both")
    return None


class _Exchange:
    """One request and its answer, seen from outside."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        headers = dict(scope["headers"])
        self.answered = False
        self.status = 0
        self.complete = False
        self._receive = receive
        self._send = send
        self._limits = limits
        self._unread = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
        self._asks_first = b"expect" in headers  # such a sender holds its body back until it is asked for

    async def receive(self) -> Message:
        message = await self._receive()
        self._asks_first = False
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answered = True
            self.status = int(message["status"])
            if self._unread:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
        elif self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            if not self._asks_first:
                await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)
        self.complete = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def _drain(self) -> None:
        left = self._limits.drain
        try:
            async with asyncio.timeout(self._limits.drain_seconds):
                while self._unread and left > 0:
                    got: dict[str, Any] = dict(await self.receive())
                    left -= len(got.get("body", b""))
        except TimeoutError:
            return
