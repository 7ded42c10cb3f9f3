"""What every store promises of its population and of the slot table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_store import Bench

from engine.core.model import State
from engine.ports import Batch
from engine.stores import sqlite
from engine.stores.sql import migrations, sqlite_schema
from engine.stores.sqlite import SqliteStore

KINDS = ("memory", "sqlite", "folding", "small", "postgres")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``folding``: every commit folds the log of states first; ``small``: after every five subjects."""
    if request.param in ("folding", "small"):
        monkeypatch.setattr(sqlite, "FOLD_SUBJECTS", 0 if request.param == "folding" else 5)
    made: Any = Bench(request.param, tmp_path / "s.db").store
    yield made
    made.close()


def commit(store: Any, *ids: str, slots: dict[str, bytes | None] | None = None) -> None:
    store.commit(
        Batch(
            clock=1, states=[State(id=id) for id in ids], events=[], effects=[], answers=[], resources={},
            decisions=[], goals=[], rejected=[], positions={}, slots=slots or {},
        )
    )  # fmt: skip


def walked(store: Any, limit: int) -> list[str]:
    """The whole population, page by page."""
    found: list[str] = []
    after = ""
    while page := store.population(after, limit):
        assert len(page) <= limit
        found += page
        after = page[-1]
    return found


IDS = st.lists(st.text("aZ0é王～𝔘-", min_size=1, max_size=4), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(batches=st.lists(IDS, min_size=1, max_size=5), limit=st.integers(1, 6))
def test_population(store: Any, batches: list[list[str]], limit: int) -> None:
    """Everybody with a state is named once, in order of code points, however it was committed and is read."""
    before = {state.id for state in store.subjects()}
    for ids in batches:
        commit(store, *dict.fromkeys(ids))
        before |= set(ids)
    assert walked(store, limit) == sorted(before)
    for after in ("", "Z", "王", "￿"):
        assert store.population(after, 3) == [it for it in sorted(before) if it > after][:3]


def test_population_of_nobody(store: Any) -> None:
    """A new store has no population."""
    assert store.population("", 10) == []
    commit(store, "u1")
    assert store.population("", 0) == []
    assert store.population("u1", 10) == []


def test_slots(store: Any) -> None:
    """Rows of the slot table are kept with the batch, replaced, and dropped; the others stay."""
    assert store.slots() == {}
    commit(store, slots={"b/x": b"1", "a/x": b"2", "王/x": b"3"})
    commit(store, "u1")
    commit(store, slots={"b/x": b"9", "a/x": None, "c/x": None})
    assert store.slots() == {"b/x": b"9", "王/x": b"3"}


def test_readers_see_the_population(tmp_path: Path) -> None:
    """A reader beside the writer sees who is in the log of states and in the table, and the slot table."""
    writer = SqliteStore.open(tmp_path / "s.db")
    commit(writer, "u2", "u4")
    reader = SqliteStore.open(tmp_path / "s.db", read_only=True)
    assert reader.population("", 9) == ["u2", "u4"]
    writer.fold()
    commit(writer, "u1", "u4", slots={"a/x": b"1"})
    assert reader.population("", 9) == ["u1", "u2", "u4"]
    assert reader.slots() == {"a/x": b"1"}
    reader.close()
    writer.close()


def test_an_older_store_gets_the_table(tmp_path: Path) -> None:
    """A store made before there were slots is migrated with everything in it."""
    path = tmp_path / "s.db"
    older = [it for it in migrations("sqlite") if it.name != "slots"][:1]
    db = sqlite3.connect(path, isolation_level=None)
    sqlite_schema.migrate(db, path, read_only=False, fault=lambda point: None, steps=older)
    db.execute("insert into subject (id, state) values ('u1', ?)", (b'{"id":"u1","points":{"main":7}}',))
    db.close()
    store = SqliteStore.open(path)
    assert store.population("", 9) == ["u1"]
    assert store.load(["u1"])["u1"].points == {"main": 7}
    commit(store, slots={"a/x": b"1"})
    store.close()
    store = SqliteStore.open(path)
    assert store.slots() == {"a/x": b"1"}
    store.close()
