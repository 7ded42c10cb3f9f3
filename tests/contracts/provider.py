"""A provider of HTTP for tests: a real server on 127.0.0.1 that does as it is told."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from engine.core.model import Effect
from engine.ports import Outgoing
from engine.site import Site

T = 1_772_330_400_000_000  # 2026-03-01T02:00:00Z


def item(key: str = "5f" * 16, attempts: int = 0, detail: dict[str, Any] | None = None, **more: Any) -> Outgoing:
    """An effect as the outbox hands it out."""
    fields: dict[str, Any] = {
        "time": T,
        "playbook": "welcome",
        "step": "hello",
        "kind": "message",
        "user": "u1",
        "group": None,
        "status": "planned",
        "reason": None,
        "deliver": "sms",
        "purpose": "service",
        "to": "+100",
        **more,
    }
    found = {"template": "welcome/hello", "via": "sms", "text": "你好 Ada"} if detail is None else detail
    return Outgoing(key, "sms", Effect(key=key, detail=found, **fields), attempts)


def poll(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What a condition gives as soon as it is true; the last it gave when it never is."""
    until = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.005)
    return found


def site(root: Path | None = None, **env: str) -> Site:
    """Surroundings with a clock that stands still, and one for deadlines that goes."""
    return Site(root or Path.cwd(), env, now=lambda: T, elapsed=time.monotonic)


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


Answer = Callable[["Handler"], None]


@dataclass
class Provider:
    """The server's address, what it was asked, and how it answers."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    answer: Answer = lambda handler: handler.reply(200)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Handler(BaseHTTPRequestHandler):
    """One conversation."""

    protocol_version = "HTTP/1.1"
    provider: Provider

    def handle_any(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.provider.requests.append(Request(self.command, self.path, headers, body))
        self.provider.answer(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def reply(self, status: int, body: bytes | object = b"", **headers: str) -> None:
        """A whole answer; a body that is no bytes goes as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)

    def raw(self, data: bytes) -> None:
        """Anything at all, then the end."""
        self.wfile.write(data)
        self.drop()

    def drop(self) -> None:
        """Hang up."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self.provider.over.wait(60)
        self.close_connection = True

    def dribble(self, data: bytes) -> int:
        """One byte at a time, often enough that no silence is long, until nobody listens; how many were said."""
        self.close_connection = True
        for place, byte in enumerate(data):
            if self.provider.over.wait(0.02):
                return place
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return place
        return len(data)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    provider: Provider

    def get_request(self) -> Any:
        self.provider.connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client went away: that is what some tests are about."""


@contextmanager
def serving(context: Any = None) -> Iterator[Provider]:
    """A provider that is there; ``context``: with TLS."""
    provider = Provider()
    server = _Server(("127.0.0.1", 0), type("H", (Handler,), {"provider": provider}))
    server.provider = provider
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    provider.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        provider.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
