"""What one part must not lose, or keep wrongly, for being decided apart from the others: on a PostgreSQL store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("psycopg")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contracts"))
import postgres_server
from flow_program import SECRET, Wall, compiled, write_program_files
from test_parts import Lines, picture

from engine import wiring
from engine.cli import onepart
from engine.core.coupons import PoolState
from engine.core.instants import parse_instant
from engine.core.model import Event
from engine.language.compiled import Compiled
from engine.language.keeping import pack
from engine.runtime import applied
from engine.runtime.parts import PartSession, PartWorker
from engine.runtime.pump import Pump
from engine.stores.memory import MemoryStore
from engine.stores.postgres import PgStore
from engine.stores.sql.postgres_parts import PgDoor, PgParts, history_waits, join, part

BEFORE = parse_instant("2025-01-01T10:00:00+08:00")
BASE = {
    "drumbeat.yaml": """\
program: apart
timezone: Asia/Shanghai
profile: {city: text | none}
events: {"*": open}
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {consent: {service: none}}}
""",
    "playbooks/catalog/c.yaml": """\
coupons:
  gift: {value: {off: 5, currency: CNY}, codes: {generate: G}, valid_for: 3d, limits: {per_user: unlimited, total: 5}}
points: {main: {title: Points}}
""",
    "playbooks/templates/hi.md": "Hi.\n",
}
MORNING = """\
playbook: morning
title: A point a day for everybody
trigger: {schedule: {cron: "30 9 * * *", audience: true}}
entry: {mode: parallel, limit: unlimited}
steps: [{points: 1}]
"""
ORDERS = """\
playbook: orders
title: A coupon for each order
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps: [{coupon: {pool: gift, on_exhausted: stop}, id: gift}]
"""


def program_of(folder: Path, **playbooks: str) -> Compiled:
    found = compiled(write_program_files(folder, BASE | {f"playbooks/{k}.yaml": text for k, text in playbooks.items()}))
    assert found.plan is not None, [str(it) for it in found.problems]
    return found


def event(number: int, user: str, type_: str, time: str, **data: Any) -> Event:
    return Event(f"e{number:03d}", type_, parse_instant(time), user=user, data=data)


@contextmanager
def by_parts(found: Compiled, store: PgStore, url: str, sessions: int = 1) -> Iterator[tuple[PgDoor, list[PartWorker]]]:
    """The store in parts, and some who decide; whole again afterwards."""
    assert found.plan is not None
    Pump(found.plan, store, (), None, Wall(), secret=SECRET)
    part(store)
    parts = [PgParts.open(url) for _ in range(sessions)]
    yield PgDoor(store), [PartWorker(found.plan, it, Wall(), secret=SECRET) for it in parts]
    for it in parts:
        it.close()
    assert store.check() == []
    join(store)


def test_slots_of_those_who_are_silent(tmp_path: Path) -> None:
    """A run that brings news of one user alone goes over everybody in its slots: schedules are not only for parts in
    whose log something is.
    """
    found = program_of(tmp_path / "p", morning=MORNING)
    assert found.plan is not None
    first = [event(n, f"u{n}", "user.signup", "2026-01-01T10:00:00+08:00") for n in range(6)]
    more = [event(9, "u0", "app.opened", "2026-01-03T10:00:00+08:00")]
    one = MemoryStore()
    for events in (first, first + more):
        Pump(found.plan, one, [Lines(events)], None, Wall(), secret=SECRET).until_idle()
    url = postgres_server.server().schema()
    store = PgStore.open(url)
    for events in (first, more):
        with by_parts(found, store, url) as (door, (worker,)):
            door.take_in(events, (), {}, ended=True)
            while worker.turn():
                pass
            assert door.idle(Wall().now())
    assert len(picture(one)["states"]) == 6
    mine, wanted = picture(store), picture(one)
    for name in ("states", "effects", "ledger"):
        assert mine[name] == wanted[name], name
    store.close()


def test_what_is_due_waits_for_what_comes_in(tmp_path: Path) -> None:
    """Many begin where one ended: before the feeds are read to their end, nothing goes that is due by the machine's
    clock alone, and what is late for one engine is late for all parts.
    """
    found = program_of(tmp_path / "p", morning=MORNING)
    assert found.plan is not None
    first = [event(n, f"u{n}", "user.signup", "2026-01-01T10:00:00+08:00") for n in range(3)]
    more = [event(9, "u0", "app.opened", "2025-12-30T10:00:00+08:00")]
    one = MemoryStore()
    for events in (first, first + more):
        Pump(found.plan, one, [Lines(events)], None, Wall(), secret=SECRET).until_idle()
    url = postgres_server.server().schema()
    store = PgStore.open(url)
    Pump(found.plan, store, [Lines(first)], None, Wall(), secret=SECRET).until_idle()
    with by_parts(found, store, url) as (door, (worker,)):
        while worker.turn():
            pass
        assert store.counts().get("effects", 0) == 0
        door.take_in(more, (), {}, ended=True)
        while worker.turn():
            pass
        assert door.idle(Wall().now())
    assert store.clock() == one.clock()
    assert picture(store)["states"] == picture(one)["states"]
    store.close()


def test_what_waits_has_its_place(tmp_path: Path) -> None:
    """Events that waited in the inbox are decided by the clock at their place, so what came late is late; an answer
    that is newer than all the feeds had makes everybody's time go on.
    """
    found = program_of(tmp_path / "p", morning=MORNING, orders=ORDERS)
    assert found.plan is not None
    waiting = [
        event(1, "u1", "user.signup", "2026-01-01T10:00:00+08:00"),
        event(2, "u2", "user.signup", "2026-01-20T10:00:00+08:00"),
        event(3, "u3", "order.paid", "2026-01-02T10:00:00+08:00"),
    ]
    answer = event(4, "u1", "app.opened", "2026-01-21T10:00:00+08:00")
    one = MemoryStore()
    Pump(found.plan, one, [Lines([*waiting, answer])], None, Wall(), secret=SECRET).until_idle()
    url = postgres_server.server().schema()
    store = PgStore.open(url)
    Pump(found.plan, store, (), None, Wall(), secret=SECRET)
    with store.file.transaction("ingest"):
        store.file.put(waiting)
    with by_parts(found, store, url) as (door, (worker,)):
        door.take_in((), (), {}, ended=True)
        while worker.turn():
            pass
        assert door.idle(Wall().now())
        with store.file.transaction("ingest"):
            store.file.put([answer])
        while not door.idle(Wall().now()):
            worker.turn()
    mine, wanted = picture(store), picture(one)
    for name in ("states", "effects", "ledger"):
        assert mine[name] == wanted[name], name
    with store.file.transaction("ingest"):
        store.file.put([Event("e005", "app.opened", BEFORE, user="u1", data={})])
        assert not history_waits(store)
        store.file.put([Event("e006", "app.opened", BEFORE, user="u1", data={}, history=True)])
    assert history_waits(store)
    store.close()


def test_a_fault_does_not_oversell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that breaks the deciding is set aside; what was given before it in the same transaction counts after
    it, too.
    """

    def broken(*args: Any) -> None:
        raise ValueError("no")

    def begun(self: PartSession, *args: Any, **options: Any) -> None:
        first(self, *args, **options)
        self.ways["bad"] = broken

    first = PartSession.__init__
    monkeypatch.setattr(PartSession, "__init__", begun)
    found = program_of(tmp_path / "p", orders=ORDERS)
    kinds = ["order.paid"] * 3 + ["bad"] + ["order.paid"] * 4
    events = [event(n, "u1", kind, "2026-01-01T10:00:00+08:00", amount=1) for n, kind in enumerate(kinds)]
    url = postgres_server.server().schema()
    store = PgStore.open(url)
    with by_parts(found, store, url) as (door, (worker,)):
        door.take_in(events, (), {}, ended=True)
        while worker.turn():
            pass
        assert worker.done.reasons == {"poison": 1}
    assert len(list(store.coupons("gift"))) == 5
    assert msgspec.msgpack.decode(store.resources()["coupon:gift"], type=PoolState).issued == 5
    store.close()


def test_who_was_erased_by_another_comes_back(tmp_path: Path) -> None:
    """One session erases, another decides when the person comes back: there is one state, under the person's name."""
    found = program_of(tmp_path / "p", orders=ORDERS)
    url = postgres_server.server().schema()
    store = PgStore.open(url)
    days = [
        event(1, "u1", "order.paid", "2026-01-01T10:00:00+08:00", amount=1),
        event(2, "u1", "user.deleted", "2026-01-02T10:00:00+08:00"),
        event(3, "u1", "order.paid", "2026-01-03T10:00:00+08:00", amount=1),
    ]
    with by_parts(found, store, url, sessions=2) as (door, (one, other)):
        for it, worker in zip(days, (other, one, other), strict=True):
            door.take_in([it], (), {}, ended=True)
            while worker.turn():
                pass
    assert [state.id for state in store.subjects()] == ["u1"]
    store.close()


def test_windows_of_entry_limits_have_no_second_life(tmp_path: Path) -> None:
    """One engine and many take turns within one window: it lets in as many as its limit says, whoever decides."""
    limited = ORDERS.replace("limit: unlimited", "limit: 2/day")
    limited = limited.replace("{coupon: {pool: gift, on_exhausted: stop}, id: gift}", "{points: 1}")
    found = program_of(tmp_path / "p", orders=limited)
    assert found.plan is not None
    events = [event(n, f"u{n}", "order.paid", f"2026-01-01T1{n}:00:00+08:00", amount=1) for n in range(5)]
    events += [event(8, "u8", "app.opened", "2026-01-09T10:00:00+08:00")]
    one = MemoryStore()
    Pump(found.plan, one, [Lines(events)], None, Wall(), secret=SECRET).until_idle()
    url = postgres_server.server().schema()
    store = PgStore.open(url)
    for place, it in enumerate(events):
        if place % 2 == 0:
            Pump(found.plan, store, [Lines(events[: place + 1])], None, Wall(), secret=SECRET).until_idle()
            continue
        with by_parts(found, store, url) as (door, (worker,)):
            door.take_in([it], (), {"lines": place + 1}, ended=True)
            while worker.turn():
                pass
    assert store.check() == []
    mine, wanted = picture(store), picture(one)
    for name in ("states", "effects"):
        assert mine[name] == wanted[name], name
    assert [len(state.points) for state in store.subjects()] == [1] * 5 + [0]
    store.close()


def test_a_worker_takes_the_applied_plan(tmp_path: Path) -> None:
    """Where a plan was applied, who decides takes that, whatever the files say by then."""
    files = {**BASE, "playbooks/orders.yaml": ORDERS}
    url = postgres_server.server().schema()
    folder = write_program_files(tmp_path / "p", files)
    plan = compiled(folder).plan
    assert plan is not None
    store = PgStore.open(url)
    Pump(plan, store, (), None, Wall(), secret=wiring.secret_of(store))
    assert applied.apply(store, applied.Apply(applied.base_of(store), plan.digest, pack(folder))) is None
    (folder / "playbooks" / "orders.yaml").write_text("broken")
    part(store)
    words = [sys.executable, "-m", onepart.__name__]
    for digest, error in ((plan.digest, None), ("another", "the program was changed while it began (run it again)")):
        asked = msgspec.json.encode(onepart.Request(root=str(folder), digest=digest, store=url, batch=7))
        out = subprocess.run(words, input=asked + b"\n", capture_output=True, check=False).stdout
        assert msgspec.json.decode(out, type=onepart.Done).error == error
    store.close()
