"""A store with messages that went out, and the door to their links on a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from api_kit import Desk, served

from engine.api.engine import Engine
from engine.api.links import LinkDoor
from engine.api.server import MoreWays
from engine.core.instants import format_instant
from engine.core.links import signing_key
from engine.core.model import Effect, Event
from engine.door import read_event
from engine.language.compile import compile_program
from engine.ports import Outgoing, Sent
from engine.runtime.clock import SystemClock
from engine.runtime.outbox import Outbox
from engine.runtime.pump import Pump
from engine.stores.sqlite import SqliteStore

SECRET = bytes(range(32))
SIGNING = signing_key(SECRET)
BASE = "https://go.shop.example"
TARGET = "https://shop.example/sale?u=u1"

FILES = {
    "drumbeat.yaml": (
        "program: tea\n"
        f"links: {{base: {BASE}, hosts: [shop.example]}}\n"
        "channels:\n"
        "  box:\n"
        "    via: file\n"
        "    path: o\n"
        "    receipts:\n"
        "      {id: data.id | mail, status: kind, time: at, time_unit: s, statuses: {ok: delivered, seen: opened,\n"
        "       dead: bounced_permanent, soft: bounced, spam: complained, off: unsubscribed, tap: clicked}}\n"
        "  plain: {via: file, path: p}\n"
        "policies: {default: {consent: {marketing: opt_out}, quiet_hours: never}}\n"
    ),
    "templates/tea.box.j2": (
        '---\nlink_sale: "https://shop.example/sale?u={{ user.id }}"\n---\n{{ links.sale }} {{ links.unsubscribe }}'
    ),
    "playbooks/tea.yaml": (
        "playbook: news\ntitle: t\nowner: o\ntrigger: {event: go}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps: [{message: {template: tea, purpose: marketing, via: box}}]\n"
    ),
}


class Provider:
    """A channel that takes everything and gives each message an id of its own."""

    name, once = "box", True

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        """Its ids are those of the users."""
        return [Sent(ok=True, receipt=f"m-{item.effect.user}-{item.key[:4]}") for item in items]

    def close(self) -> None:
        """Nothing is open."""


class World:
    """The store, between two times at which it is served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = folder / "sent"
        for name, text in FILES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        found = compile_program(root)
        assert found.plan is not None, found.problems
        self.plan = found.plan
        self.path = folder / "tea" / "drumbeat.db"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def decide(self, *rows: Mapping[str, Any]) -> None:
        """Put records in, decide all there is, and send what is to be sent."""
        store = SqliteStore.open(self.path)
        try:
            raws = [json.dumps(row).encode() for row in rows]
            store.ingest([(read_event(raw), raw) for raw in raws], [])
            clock = SystemClock()
            Pump(self.plan, store, [], Outbox(store, {"box": Provider()}, clock), clock, secret=SECRET).until_idle()
        finally:
            store.close()

    def read(self, question: Callable[[SqliteStore], Any]) -> Any:
        """Ask the store."""
        store = SqliteStore.open(self.path, read_only=True)
        try:
            return question(store)
        finally:
            store.close()

    def effects(self) -> list[Effect]:
        """What was decided, in order of time."""
        return self.read(lambda store: [it for it, _ in store.effects()])

    def events(self, user: str = "u1") -> list[Event]:
        """What was decided of a user, in order."""
        return self.read(lambda store: [event for event, _ in store.events(user)])

    def waiting(self) -> list[Event]:
        """What lies in the inbox and is not decided yet."""
        return self.read(lambda store: [event for _, event in store.inbox(store.position("inbox"), 1_000)])

    def allowed(self, user: str = "u1") -> Mapping[str, bool]:
        """Consents of a user."""
        return self.read(lambda store: store.load([user])[user].consents)

    @contextmanager
    def open(
        self, *settings: Mapping[str, Any], env: Mapping[str, str] | None = None, signing: bytes = SIGNING
    ) -> Iterator[Desk]:
        """The door, open."""

        def door(engine: Engine) -> MoreWays:
            return lambda gathering, meters: [*LinkDoor(engine, gathering, signing, meters).ways()]

        program = compile_program(self.folder / "sent")
        with served(self.folder, *settings, env=env, door=door, running=program) as desk:
            yield desk


def go(id_: str, user: str = "u1", time: str = "2026-03-01T10:00:00Z") -> dict[str, Any]:
    """The event at which a message is sent."""
    return {"id": id_, "type": "go", "time": time, "user": user, "data": {}}


def now() -> str:
    """The present, for what happens after something the door took."""
    return format_instant(SystemClock().now())


def path_of(url: str) -> str:
    """The path of a link, as the daemon is asked for it."""
    assert url.startswith(BASE)
    return url.removeprefix(BASE)
