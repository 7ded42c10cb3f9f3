"""Routes: each says who may ask, how much it reads and what it answers; the parts of the server are lists of them.

Rule: a route is closed unless it says ``public``, and its key is checked before its body is parsed. A bearer token is
looked at before the body is read at all; a signature covers the body, so that is read first, within the same limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.api.answers import Refused, busy
from engine.api.keys import Keyring, Seen, Signature, signature_of, values
from engine.api.limits import Limits
from engine.api.rates import Buckets
from engine.core.model import SECOND
from engine.feeds.http import is_loopback
from engine.ports import Clock


@dataclass
class Ask:
    """One request, its sender known and its body read."""

    request: Request
    body: bytes
    who: str  #: name of the key it showed, or "" where none is needed
    signed_id: str | None  #: ``webhook-id`` of a signed request: the same on each try of its sender
    buckets: Buckets

    @property
    def source(self) -> str:
        """The address it came from."""
        return self.request.client.host if self.request.client is not None else "local"

    def charge(self, records: int) -> None:
        """Count records towards the rate of the key and of the address."""
        for name in self.names:
            self.buckets.charge(name, records)

    def wait(self) -> int:
        """Seconds until it may send; 0: now."""
        return max(self.buckets.debt(name) for name in self.names)

    @property
    def names(self) -> tuple[str, str]:
        """Of the key and the address, as rates know them."""
        return f"key:{self.who}", f"from:{self.source}"


@dataclass(frozen=True, kw_only=True)
class Way:
    """A route.

    ``spec`` is its operation in openapi.json, without what all routes share.
    """

    method: str
    path: str  #: with ``{name}`` for a part that varies
    answer: Callable[[Ask], Awaitable[Response]]
    spec: Mapping[str, Any]
    public: bool = False  #: nobody has to show a key
    local: bool = False  #: no key is needed where only this machine can ask
    body: bool = False  #: it reads a body
    keys: Keyring | None = None  #: None: any key of the listener
    buckets: Buckets | None = None  #: None: no limit


@dataclass
class Gate:
    """What the routes of one listener share."""

    keys: Keyring
    limits: Limits
    clock: Clock
    elapsed: Callable[[], float]
    local: bool  #: can only this machine reach it?
    trusted: bool = False  #: the Unix socket: whoever can open it may do what it offers
    held: int = 0  #: bytes of bodies in memory
    seen: Seen = field(default_factory=Seen)

    def route(self, way: Way) -> Route:
        """A way as a route of the server."""

        async def endpoint(request: Request) -> Response:
            return await self._serve(way, request)

        return Route(way.path, endpoint, methods=[way.method])

    async def _serve(self, way: Way, request: Request) -> Response:
        keys = self.keys if way.keys is None else way.keys
        open_ = way.public or self.trusted
        named = open_ or _names_this_machine(request)
        needed = bool(keys) and not (open_ or (way.local and self.local and named))
        if not (needed or named):
            message = "without keys only a host of this machine is served"
            raise Refused(421, "host", message, "send it to 127.0.0.1, or give the feed an auth")
        who, signature = self._look(keys, request) if needed else ("", None)
        ask = Ask(request, b"", who or "", None, way.buckets or _NO_LIMIT)
        if who is not None or ask.buckets.debt(f"from:{ask.source}"):
            _check_rate(ask)
        size = 0
        try:
            if way.body or signature is not None:
                ask.body = await self._read(request)
                size = len(ask.body)
            if signature is not None:
                return await self._signed(way, ask, keys, signature)
            return await way.answer(ask)
        finally:
            self.held -= size

    async def _signed(self, way: Way, ask: Ask, keys: Keyring, signature: Signature) -> Response:
        who = keys.signed(signature, ask.body)
        if who is None:
            raise _unauthorized("the signature does not fit", keys)
        if self.seen.full(self.elapsed()):
            raise busy("busy", "more signed requests came than can be told from copies", 60)
        if not self.seen.claim(signature.mark, self.elapsed()):
            raise _unauthorized("this very request was taken before", keys)
        taken = False
        try:
            ask.who, ask.signed_id = who, signature.id.decode("ascii")
            _check_rate(ask)
            answer = await way.answer(ask)
            taken = answer.status_code < 300
            return answer
        finally:
            if not taken:
                self.seen.release(signature.mark)

    # ------------------------------------------------------------------ keys

    def _look(self, keys: Keyring, request: Request) -> tuple[str | None, Signature | None]:
        """The name of the key, or the signature by which it will be known."""
        headers = request.scope["headers"]
        if values(headers, b"authorization") or not keys.signs or not values(headers, b"webhook-signature"):
            who = keys.bearer(headers)
            if who is None:
                raise _unauthorized("no key, or one that does not fit", keys)
            return who, None
        signature = signature_of(headers, self.clock.now() // SECOND)
        if isinstance(signature, str):
            raise _unauthorized(signature, keys)
        return None, signature

    # ------------------------------------------------------------------ bodies

    async def _read(self, request: Request) -> bytes:
        """The body; raises Refused when it is too large, packed, too slow, or too much is held already."""
        most = self.limits.admin if self.trusted else self.limits.body
        headers = request.scope["headers"]
        packed = values(headers, b"content-encoding")
        if packed and packed != [b"identity"]:
            raise Refused(415, "compressed", "compressed bodies are not read", "send it without content-encoding")
        length = values(headers, b"content-length")
        if length and length[0].isdigit() and int(length[0]) > most:
            raise _too_large(most)
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                return await self._gather(request, most)
        except TimeoutError:
            message = f"the body did not come within {self.limits.body_seconds:g} s"
            raise Refused(408, "slow", message, "send smaller batches", {"connection": "close"}) from None

    async def _gather(self, request: Request, most: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                self.held += len(part)
                if size > most:
                    raise _too_large(most)
                if self.held > max(self.limits.buffered, most):
                    raise busy("busy", "too many large requests are being read")
                parts.append(part)
        except BaseException:
            self.held -= size
            raise
        return b"".join(parts)


def _names_this_machine(request: Request) -> bool:
    """Is it asked by a name of this machine? A site in a browser can point its own name here, and a proxy can pass on
    what comes from outside: neither may do what needs no key."""
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return is_loopback(name.strip("[]"))


def _unauthorized(why: str, keys: Keyring) -> Refused:
    hint = "Authorization: Bearer TOKEN" + (", or the three headers of a signed webhook" if keys.signs else "")
    return Refused(401, "unauthorized", why, hint, {"www-authenticate": "Bearer"})


def _too_large(most: int) -> Refused:
    return Refused(413, "too_large", f"the body has more than {most} bytes", "send smaller batches")


def _check_rate(ask: Ask) -> None:
    seconds = ask.wait()
    if seconds:
        message = "more records were sent than the feed's rate lets in"
        raise Refused(429, "rate", message, f"send it again in {seconds} s", {"retry-after": str(seconds)})


_NO_LIMIT = Buckets(None, lambda: 0.0)
