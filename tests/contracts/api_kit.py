"""The HTTP side on a real socket, before a real store, with a thread that serves its jobs as the daemon does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from engine.api.engine import Engine, Trouble
from engine.api.limits import Limits
from engine.api.server import Api, MoreWays
from engine.core.instants import format_instant
from engine.feeds.http import HttpFeed
from engine.language.compile import compile_program
from engine.runtime.clock import SystemClock
from engine.runtime.jobs import Jobs
from engine.site import Site
from engine.stores.sqlite import SqliteStore

PROGRAM = {
    "drumbeat.yaml": "program: tea\nprofile: {city: text | none}\n",
    "playbooks/hook.yaml": (
        "playbook: hook-me\ntitle: 回访\ntrigger: {webhook: true}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps: [{set: {user.city: '{{ event.city }}'}}]\n"
    ),
    "playbooks/call.yaml": (
        "playbook: by-hand\ntitle: 回访\ntrigger: {manual: true}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps: [{set: {user.city: '{{ event.city }}'}}]\n"
    ),
}

JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}
TOKEN = "t" * 32
BEARER = {"authorization": f"Bearer {TOKEN}"}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        """The short word of an error; everything about its form is looked at."""
        body = self.json
        assert set(body) == {"error"}, body
        assert set(body["error"]) == {"code", "message", "hint"}
        assert "Traceback" not in self.raw.decode()
        return str(body["error"]["code"])


@dataclass
class Desk:
    """The running server, and what a test may turn."""

    api: Api
    jobs: Jobs
    path: Path
    clock: SystemClock
    troubles: list[Trouble]
    hold: Event  #: cleared: the engine's thread does no jobs
    faults: list[Callable[[SqliteStore], None]] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        """Where the first listener is."""
        return self.api.addresses[0]

    def now(self, ahead: int = 0) -> str:
        """The present as a record writes it, some microseconds ahead."""
        return format_instant(self.clock.now() + ahead)

    def event(self, id_: str | None, **more: Any) -> dict[str, Any]:
        """An event of now."""
        record = {"id": id_, "type": "order.paid", "user": "u1", "time": self.now(), **more}
        return {name: value for name, value in record.items() if value is not None}

    def call(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            got = connection.getresponse()
            return Answer(got.status, {name.lower(): it for name, it in got.getheaders()}, got.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET."""
        return self.call("GET", path, headers=headers)

    def send(self, record: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """One event as JSON; bytes go as they are."""
        body = record if isinstance(record, bytes) else json.dumps(record).encode()
        return self.call("POST", "/v1/events", body, {**JSON, **(headers or {})})

    def batch(self, records: Sequence[Any], headers: Mapping[str, str] | None = None) -> Answer:
        """Several records as JSON lines; bytes go as they are."""
        lines = [it if isinstance(it, bytes) else json.dumps(it).encode() for it in records]
        return self.call("POST", "/v1/events", b"\n".join(lines), {**LINES, **(headers or {})})

    def dial(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(self.address, timeout=30)

    def say(self, *parts: bytes) -> bytes:
        """Write bytes, read until the server closes."""
        with self.dial() as wire:
            for part in parts:
                try:
                    wire.sendall(part)
                except OSError:
                    break
            return drained(wire)

    def ids(self) -> list[str]:
        """What lies in the inbox, in order."""
        store = SqliteStore.open(self.path, read_only=True)
        try:
            return [event.id for _, event in store.inbox(0, 1_000_000)]
        finally:
            store.close()

    def quarantined(self) -> list[tuple[str, int, str, bytes]]:
        """(feed, position, reason, bytes) of what was refused."""
        store = SqliteStore.open(self.path, read_only=True)
        try:
            return [(it.feed, it.position, it.reason, it.raw) for it in store.quarantine()]
        finally:
            store.close()


def drained(wire: socket.socket) -> bytes:
    """Everything that still comes."""
    parts = []
    try:
        while part := wire.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def signed(secret: str, body: bytes, *, id_: str, at: int) -> dict[str, str]:
    """The three headers of Standard Webhooks, made here from its text alone."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.new(key, f"{id_}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


@contextmanager
def served(
    folder: Path,
    *settings: Mapping[str, Any],
    env: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    admin: bool = False,
    more: MoreWays = lambda gathering, meters: (),
    door: Callable[[Engine], MoreWays] | None = None,
    running: Any = None,
    grace: float = 5,
    broke: Callable[[], object] = lambda: None,
) -> Iterator[Desk]:
    """A server with a feed for each setting (one on a free port when none is given); ``running``: another program."""
    root = folder / "tea"
    for name, text in PROGRAM.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    found = compile_program(root)
    assert found.plan is not None, found.problems
    program: Any = running or found  # a compiled program has a plan and the types it knows
    path = root / "drumbeat.db"
    site = Site(root, env or {})
    feeds = [HttpFeed({"port": 0, **setting}, site) for setting in settings or ({},)]
    jobs, clock, troubles = Jobs(), SystemClock(), list[Trouble]()
    registry = CollectorRegistry()
    Counter("drumbeat_tests", "what tests look for", registry=registry).inc()
    engine = Engine(jobs, clock, lambda: program, lambda: list(troubles))
    socket_ = path.with_name(path.name + ".sock") if admin else None
    more = more if door is None else door(engine)
    api = Api(engine, feeds, socket=socket_, registry=registry, limits=limits, more=more, grace=grace, broke=broke)
    hold, over = Event(), Event()
    hold.set()
    desk = Desk(api, jobs, path, clock, troubles, hold)
    ready = Event()

    def work() -> None:
        store = SqliteStore.open(path)
        ready.set()
        while not over.is_set():
            jobs.wait(0.2)
            hold.wait()
            while desk.faults:
                desk.faults.pop()(store)
            jobs.do(store)
        jobs.close()
        jobs.do(store)
        store.close()

    thread = Thread(target=work, name="engine", daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        with api.serving():
            yield desk
    finally:
        over.set()
        hold.set()
        jobs.ring()
        thread.join(30)
        assert not thread.is_alive()


def main() -> None:
    """Serve in a process of its own, to be killed: ``python api_kit.py FOLDER`` prints its port."""
    with served(Path(sys.argv[1]), admin=True) as desk:
        print(desk.address[1], flush=True)
        sys.stdin.read()


def free_port() -> int:
    """A port nobody has now, for feeds that must share one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


if __name__ == "__main__":
    main()
