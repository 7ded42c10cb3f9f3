"""A program that is edited while people are in it: written, run day by day, edited, run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flow_program import SECRET, Wall

from engine import wiring
from engine.core.instants import format_instant
from engine.core.model import DAY, Effect, Journey, State
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.runtime.outbox import Outbox
from engine.runtime.pump import Done, Pump
from engine.stores.sqlite import SqliteStore

BASE = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z

HEAD = """\
program: edited
profile: {city: text | none}
events: {order.paid: {amount: money}, app.opened: {}, "*": open}
feeds: [{file: feed/*.jsonl}]
channels: {box: {via: file, path: out/box.jsonl, mode: at_least_once}}
policies:
  default:
    consent: {marketing: none, community: none, service: none, transactional: none}
    quiet_hours: never
"""


class World:
    """One program on one store; ``files`` is what stands in its folder."""

    def __init__(self, root: Path, files: Mapping[str, str]) -> None:
        self.root = root
        self.events: list[dict[str, Any]] = []
        self.told_of: dict[str, int] = {}  #: user -> its events so far
        self.write({"drumbeat.yaml": HEAD, "templates/hi.box.j2": "hi {{ user.id }}", **files})

    def write(self, files: Mapping[str, str | None]) -> None:
        """Change files of the program; None takes one away."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text, encoding="utf-8")

    def copy(self, root: Path) -> World:
        """The same world once more, elsewhere."""
        shutil.copytree(self.root, root)
        made = World.__new__(World)
        made.root, made.events, made.told_of = root, list(self.events), dict(self.told_of)
        return made

    def compiled(self) -> Compiled:
        """The program as it stands, without what the store keeps."""
        found = compile_program(self.root)
        assert found.plan is not None, [str(problem) for problem in found.problems]
        return found

    def happen(self, type_: str, day: float, users: Iterable[str], *, write: bool = True, **data: Any) -> None:
        """Put events into the feed, one a user; not ``write``: with the next that is written."""
        time = BASE + int(day * DAY)
        for user in users:
            self.told_of[user] = number = self.told_of.get(user, 0) + 1
            id_ = f"{user}/{number}"  # the same whoever else is in the world
            row = {"id": id_, "type": type_, "time": format_instant(time), "user": user, "data": data}
            self.events.append(row)
        if not write:
            return
        feed = self.root / "feed" / "a.jsonl"
        feed.parent.mkdir(exist_ok=True)
        feed.write_text("".join(json.dumps(row) + "\n" for row in self.events), encoding="utf-8")

    def run(self, *, deliver: bool = True, fault: Any = None, batch: int = 500) -> Done:
        """``drumbeat run --until-idle``."""
        found = self.compiled()
        watch = fault or (lambda point: None)
        store = SqliteStore.open(self.root / "s.db", fault=watch)
        channels = wiring.open_channels(found.settings, self.root)
        try:
            found = wiring.with_older(found, store)
            assert found.plan is not None
            outbox = Outbox(store, channels, Wall()) if deliver else None
            pump = Pump(
                found.plan, store, wiring.open_feeds(found.settings, self.root), outbox, Wall(), secret=SECRET,
                known_types=found.known_types, batch=batch, fault=watch,
            )  # fmt: skip
            return pump.until_idle()
        finally:
            for channel in channels.values():
                channel.close()
            store.close()

    def until(self, day: float, **more: Any) -> Done:
        """Let time pass up to a day, by an event of nobody's interest, and run."""
        self.happen("tick", day, ["clock"])
        return self.run(**more)

    # ------------------------------------------------------------------ looking

    def store(self) -> SqliteStore:
        return SqliteStore.open(self.root / "s.db", read_only=True)

    def states(self) -> dict[str, State]:
        store = self.store()
        try:
            return {state.id: state for state in store.subjects()}
        finally:
            store.close()

    def journeys(self, user: str) -> list[Journey]:
        return list(self.states()[user].journeys)

    def effects(self, user: str | None = None) -> list[tuple[Effect, str]]:
        store = self.store()
        try:
            return [it for it in store.effects(user) if it[0].user != "clock"]
        finally:
            store.close()

    def did(self, user: str) -> list[tuple[float, str | None, str]]:
        """(day, step, text or kind) of everything that was done for a user."""
        return [
            ((it.time - BASE) / DAY, it.step, it.reason or it.detail.get("text") or it.kind)
            for it, _ in self.effects(user)
        ]

    def told(self, user: str) -> list[tuple[str, str]]:
        """(verdict, text) of what publications did to a user's journeys."""
        store = self.store()
        try:
            found = [it for it in store.decisions(user) if it.cause == {"wake": "publish"}]
            return [(it.verdict, it.why[0].text) for it in found]
        finally:
            store.close()

    def summary(self, playbook: str) -> dict[str, int]:
        store = self.store()
        try:
            return store.summary().get(playbook, {})
        finally:
            store.close()

    def versions(self, *, used: bool = True) -> list[tuple[str, str]]:
        store = self.store()
        try:
            return [(it.playbook, it.hash) for it in store.versions(used=used)]
        finally:
            store.close()


def playbook(id_: str, body: str) -> dict[str, str]:
    """A playbook as a file of the program."""
    return {f"playbooks/{id_}.yaml": f"playbook: {id_}\ntitle: t\n{body}"}
