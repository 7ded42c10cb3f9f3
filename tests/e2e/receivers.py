"""A provider over HTTP and a mail server that fail, hang, ask to wait and lie; each writes down what it really took.

What a request meets is a hash of its key and of how often that key came before: one seed, one world.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from engine.core.chance import bucket

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # aiosmtpd speaks of its own future while it is imported
    from aiosmtpd.controller import Controller

REFUSED, SILENT = "refused", ("swallowed", "lost", "hanging")
"""Moods of which the sender is told a clear no, and after which it knows nothing."""

MOODS = {"refused": 100, "swallowed": 500, "lost": 100, "hanging": 30, "failing": 300, "busy": 10}
"""How many requests of ten thousand meet what. A key that is refused is refused at every try."""


@dataclass
class Ledger:
    """What one receiver was asked, and what it took, for good."""

    taken: dict[str, Counter[str]] = field(default_factory=dict)  #: channel -> key -> how often it was taken
    texts: dict[str, set[str]] = field(default_factory=dict)  #: what was said -> keys it came under
    asked: Counter[str] = field(default_factory=Counter)  #: key -> requests
    met: Counter[str] = field(default_factory=Counter)  #: mood -> requests
    silent: set[str] = field(default_factory=set)  #: keys of requests that were left without an answer
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def mood(self, key: str) -> str:
        """What this request meets."""
        with self.lock:
            tries = self.asked[key]
            self.asked[key] += 1
            found = _drawn(key, tries)
            self.met[found] += 1
            if found in SILENT:
                self.silent.add(key)
        return found

    def take(self, channel: str, key: str, text: str) -> None:
        """The message goes out: nobody can call it back."""
        with self.lock:
            self.taken.setdefault(channel, Counter())[key] += 1
            self.texts.setdefault(f"{channel}/{text}", set()).add(key)

    def count(self) -> int:
        """Messages that went out."""
        with self.lock:
            return sum(it.total() for it in self.taken.values())


def _drawn(key: str, tries: int) -> str:
    if bucket("refused", key) < MOODS["refused"]:
        return REFUSED
    drawn = bucket(f"mood/{tries}", key)
    for mood, share in MOODS.items():
        if mood == REFUSED:
            continue
        if drawn < share:
            return mood
        drawn -= share
    return "well"


class _Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ledger: Ledger

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key, channel, ledger = self.headers["Idempotency-Key"], self.path.strip("/"), self.ledger
        mood = ledger.mood(key)
        if mood in ("well", "swallowed"):
            ledger.take(channel, key, body["text"].strip())
        if mood == "well":
            self._say(200)
        elif mood == "failing":
            self._say(503)
        elif mood == "busy":
            self._say(429, "1")
        elif mood == REFUSED:
            self._say(400)
        else:
            if mood == "hanging":
                ledger.over.wait(60)
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _say(self, status: int, wait: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if wait is not None:
            self.send_header("Retry-After", wait)
        self.end_headers()

    def handle(self) -> None:
        """The one who asks may be killed in the middle of a word."""
        with suppress(OSError, ValueError):
            super().handle()

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def http_receiver() -> Iterator[tuple[int, Ledger]]:
    """A provider over HTTP: its port, and what it took by path."""
    ledger = Ledger()
    server = _Server(("127.0.0.1", 0), type("Bound", (_Http,), {"ledger": ledger}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1], ledger
    finally:
        ledger.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _FreePort(Controller):  # type: ignore[misc]  # the library has no types
    """A controller that takes port 0: it calls its server once, and has to know where that is."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class _Mails:
    """Takes mails, or does not."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        raw: bytes = envelope.original_content
        head = BytesHeaderParser().parsebytes(raw)
        key, channel = head["Message-ID"].strip("<>"), head["X-Channel"]
        mood = self.ledger.mood(key)
        if mood in ("well", "swallowed"):
            self.ledger.take(channel, key, raw.partition(b"\r\n\r\n")[2].decode().strip())
        if mood == "hanging":
            while not self.ledger.over.is_set() and not server.transport.is_closing():
                await asyncio.sleep(0.05)
        if mood in SILENT:
            server.transport.abort()
        return {"well": "250 OK", "failing": "451 later", "busy": "452 later", REFUSED: "550 no such person"}.get(
            mood, "250 nobody hears it"
        )

    async def handle_exception(self, error: Exception) -> str:
        """The one who asks may be killed in the middle of a word."""
        return f"500 {error}"


@contextmanager
def mail_receiver() -> Iterator[tuple[int, Ledger]]:
    """A mail server: its port, and what it took by the header ``X-Channel``."""
    ledger = Ledger()
    controller = _FreePort(_Mails(ledger), hostname="127.0.0.1", port=0)
    controller.start()
    try:
        yield controller.port, ledger
    finally:
        ledger.over.set()
        controller.stop()
