"""What opening an older, a newer or an interrupted SQLite store promises."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.core.model import Event, State
from engine.errors import InternalError, StoreError
from engine.ports import Batch
from engine.stores import moving
from engine.stores.sql import Migration, migrations, parse, queries, sqlite_file, sqlite_schema
from engine.stores.sqlite import SqliteStore

NEXT = Migration(
    len(migrations("sqlite")) + 1,
    "nicknames",
    """
    create table nickname (id text primary key, name text not null); -- a semicolon; in a comment
    insert into nickname (id, name) select name, 'old; ' || value from meta;
    create trigger keep after delete on nickname begin select 1; select 2; end;
    """,
)


class Planted(Exception):
    """A failure put there by a test."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of today's schema, with something in it."""
    path = tmp_path / "s.db"
    store = SqliteStore.open(path)
    store.set_meta("u1", "周")
    store.close()
    return path


def upgrade(path: Path, fault: object = None) -> None:
    """Apply today's migrations and the next one."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        call = fault if callable(fault) else lambda point: None
        sqlite_schema.migrate(db, path, read_only=False, fault=call, steps=[*migrations("sqlite"), NEXT])
    finally:
        db.close()


def tables(path: Path) -> set[str]:
    db = sqlite3.connect(path)
    try:
        return {row[0] for row in db.execute("select name from sqlite_schema where type = 'table'")}
    finally:
        db.close()


def test_old_store_is_migrated_with_its_data(old: Path) -> None:
    """A newer program brings an old store to its schema and keeps what is in it, once."""
    upgrade(old)
    upgrade(old)
    db = sqlite3.connect(old)
    assert db.execute("select id, name from nickname where id <> 'epoch'").fetchall() == [("u1", "old; 周")]
    assert db.execute("select value from meta where name <> 'epoch'").fetchall() == [("周",)]
    records = db.execute("select version, name, sha256 from migration order by version").fetchall()
    assert records[-1] == (NEXT.version, "nicknames", NEXT.digest)
    assert [row[0] for row in records] == list(range(1, NEXT.version + 1))
    db.close()


def test_a_store_without_versions_is_migrated_with_its_journeys(tmp_path: Path) -> None:
    """A store from before versions were kept opens with its people, whose journeys name no version."""
    path = tmp_path / "s.db"
    db = sqlite3.connect(path, isolation_level=None)
    before = [it for it in migrations("sqlite") if it.version < _number("versions")]
    sqlite_schema.migrate(db, path, read_only=False, fault=lambda point: None, steps=before)
    journey = b'["welcome","","e1",5,"wait[1]","0",null,null,["time",9,null,0],{},null]'
    goal = b'["welcome","","e1",5,99,false,null]'
    state = b'{"id":"u1","wake_at":9,"journeys":[' + journey + b'],"goals":[' + goal + b"]}"
    db.execute("insert into subject (id, state, wake_at) values ('u1', ?, 9)", (state,))
    db.close()
    store = SqliteStore.open(path)
    (found,) = store.in_flight()
    assert (found.journeys[0].at, found.journeys[0].version, found.journeys[0].passed) == ("wait[1]", "", ())
    assert (found.journeys[0].waiting.until, found.goals[0].until, found.goals[0].version) == (9, 99, "")
    assert store.versions(used=False) == []
    store.close()


def test_a_log_of_states_is_migrated(tmp_path: Path) -> None:
    """A store whose log of states was written before it had lines opens with the newest state of each subject."""
    path = tmp_path / "s.db"
    db = sqlite3.connect(path, isolation_level=None)
    before = [it for it in migrations("sqlite") if it.version < _number("log_lines")]
    sqlite_schema.migrate(db, path, read_only=False, fault=lambda point: None, steps=before)
    db.execute("insert into subject (id, state, wake_at) values ('a', ?, 3)", (b'{"id":"a","wake_at":3}',))
    db.execute("insert into subject (id, state, wake_at) values ('z', ?, 8)", (b'{"id":"z","wake_at":8}',))
    for body in (
        b'[["a",4,{"id":"a","wake_at":4,"traits":{"n":1.10}}],["\xe5\x91\xa8",null,{"id":"\xe5\x91\xa8"}]]',
        b'[["a",5,{"id":"a","wake_at":5,"traits":{"n":2.50,"t":"\\u2028\\n\xe5\x91\xa8"}}]]',
    ):
        db.execute("insert into state_log (body) values (?)", (body,))
    db.close()
    store = SqliteStore.open(path)
    found = store.load(["a", "z", "\u5468"])
    assert {name: state.wake_at for name, state in found.items()} == {"a": 5, "z": 8, "\u5468": None}
    assert str(found["a"].traits["n"]) == "2.50"
    assert found["a"].traits["t"] == "\u2028\n\u5468"
    assert store.wakes(10, 10) == [(5, "a"), (8, "z")]
    store.close()


def test_events_are_migrated_to_blocks(tmp_path: Path) -> None:
    """A store with a row for each event opens with the same events, ids and trail, and goes on behind them."""
    path = tmp_path / "s.db"
    db = sqlite3.connect(path, isolation_level=None)
    before = [it for it in migrations("sqlite") if it.version < _number("blocks")]
    sqlite_schema.migrate(db, path, read_only=False, fault=lambda point: None, steps=before)
    data = ['{"n":1.10}', '{"t":"\u2028 \\\\ \u5468"}', "{}"]
    rows = [
        (f'e"{n}', f"u{n % 3}", n, n + 1, f'["shop.bought","u{n % 3}",null,{data[n % 3]}]'.encode()) for n in range(250)
    ]
    rows.append(("made", "g", 250, 251, b'["x.made",null,"g",{},1,true,false,{"city":[null,"Riga"]}]'))
    db.executemany("insert into event (id, subject, time, decided_at, body) values (?, ?, ?, ?, ?)", rows)
    db.execute("insert into trail (subject, log, seq) select subject, 1, seq from event where seq <= 120")
    db.execute("update trailed set seq = 120 where log = 1")
    db.close()
    store = SqliteStore.open(path)
    for n in range(3):
        found = list(store.events(f"u{n}"))
        assert [(it.id, it.time, at) for it, at in found] == [(f'e"{k}', k, k + 1) for k in range(n, 250, 3)]
        assert {it.type for it, _ in found} == {"shop.bought"}
    assert str(next(store.events("u0"))[0].data["n"]) == "1.10"
    assert next(store.events("u1"))[0].data == {"t": "\u2028 \\ \u5468"}
    ((made, _),) = store.events("g")
    assert (made.group, made.user, made.depth, made.internal) == ("g", None, 1, True)
    assert made.changes == {"city": (None, "Riga")}
    assert store.known([row[0] for row in rows] + ["new"]) == {row[0] for row in rows}
    store.commit(make_batch(Event("new", "x", 300, "u1"), 300))
    store.fold()
    assert [it.id for it, _ in store.events("u1")][-2:] == ['e"247', "new"]
    assert {fault.check for fault in store.check()} <= {"counter"}  # the rows were put there without their count
    store.close()


def test_keys_of_effects_get_their_places(tmp_path: Path) -> None:
    """A store with an index of keys opens with its effects found by their keys, and knows each key that comes again."""
    path = tmp_path / "s.db"
    db = sqlite3.connect(path, isolation_level=None)
    before = [it for it in migrations("sqlite") if it.version < _number("effect_places")]
    sqlite_schema.migrate(db, path, read_only=False, fault=lambda point: None, steps=before)
    body = b'["p","s","message","u1",null,"planned",null,{},null,null]'
    rows = [(f"k{n}", "u1", n, "sms", body, "pending") for n in range(30)]
    db.executemany("insert into effect (key, subject, time, channel, body, delivery) values (?, ?, ?, ?, ?, ?)", rows)
    db.close()
    store = SqliteStore.open(path)
    batch = make_batch(Event("new", "x", 300, "u1"), 300)
    batch.effects = [found for found, _ in store.effects() if found.key in ("k0", "k29")]
    batch.cancels = [("k3", "goal")]
    assert store.commit(batch) == 2
    assert {it.item.key for it in store.outbox("cancelled")} == {"k3"}
    assert [store.delivery(key) is not None for key in ("k7", "k30")] == [True, False]
    assert not [fault for fault in store.check() if fault.check == "effect-key"]
    store.close()


def make_batch(event: Event, clock: int) -> Batch:
    """One decided event."""
    return Batch(
        clock=clock, states=[State(id=event.user or "")], events=[(event, clock)], effects=[], answers=[], resources={},
        decisions=[], goals=[], rejected=[], positions={},
    )  # fmt: skip


def _number(name: str) -> int:
    return next(it.version for it in migrations("sqlite") if it.name == name)


@pytest.mark.parametrize("read_only", [False, True])
def test_newer_store_is_refused(old: Path, read_only: bool) -> None:
    """A store of a newer program is refused with exit code 3, both versions named, and left as it is.

    Failure: migration.cut — newer
    """
    upgrade(old)
    with pytest.raises(StoreError, match=rf"schema {NEXT.version}, this program knows up to {NEXT.version - 1}") as got:
        SqliteStore.open(old, read_only=read_only)
    assert got.value.exit_code == 3
    assert "nickname" in tables(old)


def test_older_store_is_not_read_without_migration(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader does not migrate: it says that the store must be opened for writing first."""
    monkeypatch.setattr(sqlite_schema, "migrations", lambda dialect: [*migrations(dialect), NEXT])
    with pytest.raises(StoreError, match="this program needs") as caught:
        SqliteStore.open(old, read_only=True)
    assert "writing" in caught.value.hint
    SqliteStore.open(old).close()
    SqliteStore.open(old, read_only=True).close()


def test_interrupted_migration_leaves_no_trace(old: Path) -> None:
    """A failure at any statement of a migration leaves the old schema, and the next try succeeds.

    Failure: migration.cut — refused
    """
    passed: list[str] = []
    before = tables(old)
    steps = (
        1 + sum(1 for _ in sqlite_schema.statements(NEXT.text)) + 3
    )  # begin, statements, begin again, record, commit

    for stop in range(steps):
        passed.clear()

        def fault(point: str, stop: int = stop) -> None:
            if len(passed) == stop:
                raise Planted(point)
            passed.append(point)

        with pytest.raises(Planted):
            upgrade(old, fault)
        assert tables(old) == before
    upgrade(old)
    assert "nickname" in tables(old)


def test_killed_while_a_store_is_made(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """A process killed at any statement while it makes a store leaves a file that the next one opens and completes.

    Failure: migration.cut — killed
    """
    passed: list[str] = []
    SqliteStore.open(tmp_path / "whole.db", fault=passed.append).close()
    moments = len(passed)
    assert moments > 80
    for stop in range(1, moments + 1):
        path = tmp_path / f"{stop}.db"
        child = os.fork()
        if child == 0:
            left = iter(range(stop - 1, -1, -1))

            def fault(point: str, left: Iterator[int] = left) -> None:
                if next(left) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            SqliteStore.open(path, fault=fault)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), stop
        store = SqliteStore.open(path)
        store.set_meta("a", "b")
        assert store.check() == []
        store.close()
    record_property("moments", moments)


def test_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """An SQLite database that is no store of ours is refused and gets no table of ours."""
    path = tmp_path / "s.db"
    db = sqlite3.connect(path)
    db.execute("create table photos (id)")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="not a Drumbeat store"):
        SqliteStore.open(path)
    assert tables(path) == {"photos"}


def test_a_refused_store_is_not_locked(old: Path) -> None:
    """A store that could not be opened is not held by the one who tried."""
    upgrade(old)
    for _ in range(2):
        with pytest.raises(StoreError, match="schema"):
            SqliteStore.open(old)


def test_migrations_are_numbered_without_gap() -> None:
    """Migrations are numbered 1, 2, 3 ... and every one consists of whole statements."""
    found = migrations("sqlite")
    assert [it.version for it in found] == list(range(1, len(found) + 1))
    for it in found:
        rest = it.text
        for statement in sqlite_schema.statements(it.text):
            rest = rest.replace(statement, "", 1)
        assert rest.strip() == ""


OWN_WAY = {"sqlite": set[str](), "postgres": {"uncount", "untry", "check_keys"}}
"""Queries of the code both databases share that one of them answers otherwise."""


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_every_query_is_described_and_used(dialect: str) -> None:
    """Every named query is used by the store, and the store uses no other."""
    root = Path(sqlite_file.__file__).parents[1]
    other = {"sqlite": "postgres", "postgres": "sqlite"}[dialect]
    shared = [path for path in (root / "sql").glob("*.py") if not path.name.startswith(f"{other}_")]
    code = "".join(path.read_text("utf-8") for path in [root / f"{dialect}.py", *shared])
    calls = "rows|pages|write|insert|takes|filled|send|call|alone|_one"
    used = set(re.findall(rf'(?:{calls})\(\s*"(\w+)"|\bQ\["(\w+)"\]', code))
    named = {one or two for one, two in used} | set(re.findall(r'^    "(check_\w+)": \(', code, re.MULTILINE))
    written = named | set(re.findall(r'"(\w+)"', code)) | {f"whole_{kind}" for kind in moving.KINDS}
    assert written >= set(queries(dialect)) - OWN_WAY[dialect]
    assert named <= set(queries(dialect)) | OWN_WAY[dialect]


def test_queries_need_a_description() -> None:
    """A query without a description, or a name given twice, is refused."""
    assert parse("-- name: a\n-- What for.\nselect 1;\n", "x") == {"a": "select 1"}
    with pytest.raises(InternalError, match="no description"):
        parse("-- name: a\nselect 1;\n", "x")
    with pytest.raises(InternalError, match="twice"):
        parse("-- name: a\n-- b\nselect 1;\n-- name: a\n-- b\nselect 1;\n", "x")
