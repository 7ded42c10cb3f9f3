"""Connections: the kept HTTP server with a time for headers, a cap that cannot be sat on, and errors in JSON."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, ClassVar

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.api.answers import refusal

_silent = logging.Logger("engine.api.silent", logging.CRITICAL + 1)  # by this name nobody finds it

_LINGER = 1.0
"""Seconds a connection that was answered outside of any application may still send into nothing."""

_PHRASES = {400: b"Bad Request", 431: b"Request Header Fields Too Large", 501: b"Not Implemented"}


class Connection(H11Protocol):
    """One connection. ``cap`` and the times are set on a class made for each listener, see ``connection_class``."""

    cap = 500
    header_seconds = 5.0
    stuck_seconds = 30.0
    _leaving: ClassVar[set[Connection]] = set()  #: answered without an application, waiting for the other side to close
    _waiting: ClassVar[dict[Connection, None]] = {}  #: those without a request at work, the oldest first

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.logger = _silent
        self.access_log = False
        self._header_timer: asyncio.TimerHandle | None = None
        self._stuck_timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """No request of it is being worked at."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the server has it
        super().connection_made(transport)
        if len(self.connections) > self.cap and not self._make_room():
            self._refuse(503, "connections", "too many connections are open", "try again in a moment")
            return
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._header_timer)
        _cancel(self._stuck_timer)
        self._leaving.discard(self)
        self._waiting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or self in self._leaving:
            return
        super().data_received(data)
        if not self.idle:
            _cancel(self._header_timer)
            self._header_timer = None
            self._waiting.pop(self, None)
        elif self._header_timer is None and not self.transport.is_closing():
            self._await_header()

    def on_response_complete(self) -> None:
        _cancel(self._header_timer)
        self._header_timer = None
        self._waiting[self] = None
        super().on_response_complete()
        if not self.idle:  # the next request had come already
            self._waiting.pop(self, None)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck_timer = self.loop.call_later(self.stuck_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._stuck_timer)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP."""
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.ProtocolError) else 400
        status = status if status in _PHRASES else 400
        self._refuse(status, "http", "the request is not HTTP as we read it", "")

    # ------------------------------------------------------------------ timers and the cap

    def _await_header(self) -> None:
        self._header_timer = self.loop.call_later(self.header_seconds, self._too_slow)
        self._waiting.setdefault(self)

    def _too_slow(self) -> None:
        self._header_timer = None
        if self.idle and not self.transport.is_closing():
            self.transport.abort()

    def _make_room(self) -> bool:
        """Close the connection that has waited longest without a request, so that good senders come in."""
        for oldest in self._waiting:
            del self._waiting[oldest]
            oldest.transport.abort()
            self.connections.discard(oldest)
            return True
        return False

    def _refuse(self, status: int, code: str, message: str, hint: str) -> None:
        """Answer outside of any application, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and self.idle:
            body = msgspec.json.encode(refusal(code, message, hint))
            head = f"HTTP/1.1 {status} {_PHRASES.get(status, b'Service Unavailable').decode()}\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode("ascii") + body)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._linger()

    def _linger(self) -> None:
        """Close gently: bytes that are still on their way would otherwise take the answer away from its reader."""
        self.connections.discard(self)
        self._waiting.pop(self, None)
        if self.transport.can_write_eof() and len(self._leaving) < self.cap:
            self.transport.write_eof()
            self._leaving.add(self)
            self._header_timer = self.loop.call_later(_LINGER, self.transport.abort)
        else:
            self.transport.close()


def connection_class(cap: int, header_seconds: float, stuck_seconds: float) -> type[Connection]:
    """Connections of one listener."""
    fields = {
        "cap": cap, "header_seconds": header_seconds, "stuck_seconds": stuck_seconds,
        "_leaving": set[Any](), "_waiting": dict[Any, None](),
    }  # fmt: skip
    return type("Connection", (Connection,), fields)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
