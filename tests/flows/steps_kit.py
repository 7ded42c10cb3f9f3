"""A program at work on a store in memory, fed by hand: the way of ``run`` for tests that need events of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from semantics_kit import HEAD, Row

from engine import wiring
from engine.core.instants import parse_instant
from engine.core.model import Effect, Event, State
from engine.door import read_event
from engine.insight.replay import course
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.runtime.outbox import Outbox
from engine.runtime.pump import Pump
from engine.stores.codec import decode_state, encode_states
from engine.stores.memory import MemoryStore


class At:
    """A machine clock that stands still."""

    def now(self) -> int:
        return parse_instant("2030-01-01T00:00:00Z")

    def elapsed(self) -> float:
        return 0.0


def write(root: Path, playbooks: Mapping[str, str], *, catalog: str = "", head: str = HEAD) -> Compiled:
    """A valid program of a few playbooks."""
    files = {"drumbeat.yaml": head, "templates/hi.box.j2": "hi {{ user.id }}"}
    files |= {f"playbooks/{id_}.yaml": f"playbook: {id_}\ntitle: t\n{text}" for id_, text in playbooks.items()}
    if catalog:
        files["playbooks/catalog/all.yaml"] = catalog
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return compile_program(root)


class Coded(MemoryStore):
    """A store that hands states out as one on a disk would: read from their bytes."""

    def load(self, subjects: Iterable[str]) -> dict[str, State]:
        return {name: decode_state(encode_states([it])) for name, it in super().load(subjects).items()}


class Live:
    """A store, and a program that decides what is put into it."""

    def __init__(self, root: Path, playbooks: Mapping[str, str], *, catalog: str = "", head: str = HEAD) -> None:
        self.program = write(root, playbooks, catalog=catalog, head=head)
        assert self.program.plan is not None, [str(problem) for problem in self.program.problems]
        self.plan = self.program.plan
        self.store = Coded()

    def put(self, *rows: Row, own: bool = False) -> None:
        """Records into the inbox; ``own``: put there by a verb of Drumbeat and not by a feed."""
        events = [event_of(row) for row in rows]
        for event in events:
            event.internal = own
        self.store.ingest([(event, b"") for event in events], [])

    def run(self, *rows: Row, own: bool = False, channels: Mapping[str, Any] | None = None, batch: int = 500) -> None:
        """Put records in and do everything that is there."""
        self.put(*rows, own=own)
        outbox = None if channels is None else Outbox(self.store, channels, At())
        self.plan = wiring.with_older(self.program, self.store).plan or self.plan
        pump = Pump(
            self.plan, self.store, [], outbox, At(), secret=b"x", known_types=self.program.known_types, batch=batch
        )
        pump.until_idle()

    def effects(self, *kinds: str) -> list[Effect]:
        """Effects so far, of all or some kinds, in order of time."""
        return [it for it, _ in self.store.effects() if not kinds or it.kind in kinds]

    def state(self, user: str = "u1") -> State:
        """A subject as it is stored."""
        return self.store.load([user])[user]

    def running(self, user: str = "u1") -> list[str]:
        """The playbooks a user is in."""
        return [journey.playbook for journey in self.state(user).journeys]

    def check_replay(self, *users: str) -> None:
        """``why`` decides the same again for each user."""
        for user in users:
            assert course(self.plan, self.store, user, fresh=MemoryStore).unmatched == 0


def event_of(row: Row) -> Event:
    """A record as the door reads it."""
    return read_event(msgspec.json.Encoder(decimal_format="number").encode(row))


def seen(effects: Sequence[Effect]) -> list[tuple[str, str | None, str]]:
    """(user, playbook, status or its reason) of effects."""
    return [(it.user or "", it.playbook, it.reason or it.status) for it in effects]
