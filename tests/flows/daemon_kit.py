"""A daemon on a real store and real files, with clocks that are moved by hand and turns that are taken one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine import serving, wiring
from engine.core.instants import format_instant, parse_instant
from engine.core.model import MINUTE, SECOND, Effect
from engine.language.compile import compile_program
from engine.runtime.daemon import Daemon
from engine.runtime.jobs import Jobs
from engine.runtime.lanes import Lanes
from engine.runtime.steady import SteadyClock
from engine.stores.sqlite import SqliteStore

BASE = parse_instant("2026-03-02T00:00:00Z")

FILES = {
    "drumbeat.yaml": """\
program: daemon
feeds: [{file: feed/a.jsonl}, {file: feed/b.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never, consent: {service: none, marketing: none}}}
""",
    "playbooks/hello.yaml": """\
playbook: hello
title: Hello, and again an hour later
trigger: {signup: true}
entry: {mode: once, limit: unlimited}
exit: [{event: app.left}]
steps:
  - message: {template: hello, via: box, purpose: service}
  - wait: 1h
  - message: {template: again, via: box, purpose: service}
""",
    "templates/hello.box.j2": "hello",
    "templates/again.box.j2": "again",
}


class Clocks:
    """A wall clock and one that never jumps."""

    def __init__(self, at: int = BASE) -> None:
        self.wall = at
        self.steady = 1_000.0

    def now(self) -> int:
        return self.wall

    def elapsed(self) -> float:
        return self.steady

    def pass_(self, microseconds: int) -> None:
        """Time goes by."""
        self.wall += microseconds
        self.steady += microseconds / SECOND

    def jump(self, microseconds: int) -> None:
        """Somebody sets the wall clock."""
        self.wall += microseconds


class Life:
    """A program in a folder, and daemons that work on it one after the other."""

    def __init__(self, root: Path, files: Mapping[str, str] = FILES, at: int = BASE) -> None:
        self.root = root
        self.clocks = Clocks(at)
        self.steady = SteadyClock(self.clocks)
        self.number = 0
        self.jobs = Jobs()
        for name, text in files.items():
            self.write(name, text)
        (root / "feed").mkdir(exist_ok=True)
        self.store: SqliteStore | None = None
        self.daemon: Daemon | None = None
        self.deadly: set[str] = set()  #: subjects whose place in a slot kills the process

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def start(
        self, *, piece: int = 100, fault: Callable[[str], object] | None = None, busy_seconds: float = 10, **more: Any
    ) -> Daemon:
        """Begin a daemon; turns are taken by ``quiet`` or by hand."""
        watch = fault or (lambda point: None)
        store = self.store = self.opened(watch, busy_seconds)
        self.jobs = Jobs()
        program, _ = serving.first_program(self.root, store, lambda found: None)
        adapters = serving.Adapters(wiring.site_of(self.root, final=False))
        self.steady = SteadyClock(self.clocks)
        daemon = self.daemon = Daemon(
            program, store, adapters,
            lambda channels, claims: Lanes(store, channels, self.steady, claims, self.jobs.ring),
            self.steady, secret=b"one key", jobs=self.jobs, piece=piece, fault=watch, **more,
        )  # fmt: skip
        daemon._begin()
        return daemon

    def opened(self, watch: Callable[[str], object], busy_seconds: float) -> Any:
        """The store of the folder."""
        return SqliteStore.open(self.root / "s.db", fault=watch, durable=False, busy_seconds=busy_seconds)

    def end(self) -> None:
        """The daemon leaves in order."""
        assert self.daemon is not None
        self.daemon._orderly = True
        self.daemon._leave()
        self.crash()

    def crash(self) -> None:
        """The daemon is gone without a word."""
        assert self.daemon is not None
        assert self.store is not None
        self.daemon._fittings.close()
        self.store.close()
        self.daemon = self.store = None

    def quiet(self) -> int:
        """Turn until there is nothing more to do; how many turns that were."""
        assert self.daemon is not None
        for turn in range(1, 1_000):
            if not self.daemon.turn():
                return turn
        raise AssertionError("the daemon does not come to rest")

    def pass_(self, microseconds: int, step: int = MINUTE) -> None:
        """Time goes by, with a turn each minute."""
        left = microseconds
        while left > 0:
            self.clocks.pass_(min(step, left))
            left -= step
            self.quiet()

    def say(self, type_: str, user: str, *, ago: int = 0, feed: str = "a", id_: str = "", **data: Any) -> str:
        """Append an event to a feed."""
        self.number += 1
        row = {
            "id": id_ or f"{feed}{self.number}", "type": type_, "user": user, "data": data,
            "time": format_instant(self.clocks.wall - ago),
        }  # fmt: skip
        with (self.root / "feed" / f"{feed}.jsonl").open("a") as out:
            out.write(json.dumps(row) + "\n")
        return str(row["id"])

    # -- looking

    def effects(self, kind: str = "message") -> list[Effect]:
        assert self.store is not None
        return [it for it, _ in self.store.effects() if it.kind == kind]

    def texts(self) -> list[tuple[str, str]]:
        """(user, text) of the messages decided, by time."""
        return [(str(it.user), str(it.detail["text"])) for it in self.effects()]

    def sent(self) -> list[tuple[str, str]]:
        """(user, text) of the messages that went out, in order."""
        path = self.root / "out" / "box.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [(row["user"], row["text"]) for row in rows]


def recompiled(life: Life) -> Any:
    """What the reloader would hand over for the files as they are."""
    assert life.store is not None
    return serving.program_of(compile_program(life.root, life.store.versions()), serving.pack(life.root))
