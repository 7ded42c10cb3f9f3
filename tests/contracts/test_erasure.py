"""What an erasure takes away and what it leaves, on every store; and that no byte stays in a file."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import postgres_server
import pytest
from test_store import Bench, batch, decision, effect, event

from engine.core.model import Answer, State
from engine.ports import Rejected
from engine.stores import sqlite
from engine.stores.erasing import ALIAS
from engine.stores.postgres import PgStore
from engine.stores.sqlite import SqliteStore

CANARY = "canary-7531"


@pytest.fixture(params=("memory", "sqlite", "folding", "postgres"))
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    if request.param == "folding":
        monkeypatch.setattr(sqlite, "FOLD_SUBJECTS", 0)
        monkeypatch.setattr(sqlite, "TRAIL_ROWS", 0)
        monkeypatch.setattr(sqlite, "KEY_ROWS", 0)
    made = Bench(request.param, tmp_path / "s.db")
    made.store.set_meta("secret", "ab" * 32)
    yield made
    made.store.close()


def key(letter: str, user: str) -> str:
    """An effect key: a hash, as the engine makes them."""
    return letter + sha256(user.encode()).hexdigest()[:8]


def known(user: str, word: str = CANARY) -> dict[str, Any]:
    """Something of everything a store keeps of a person."""
    mail = f"{user}@{word}.example"
    return {
        "states": [State(id=user, wake_at=9, traits={"email": mail}, points={"main": 5}, entered=["p|"])],
        "events": [(event(f"{word}-{user}", user, time=3), 3)],
        "effects": [
            effect(key("m", user), user, time=3, detail={"template": "hi", "text": f"Dear {word}"}, to=mail),
            effect(key("p", user), user, time=3, kind="points", deliver=None, to=None, purpose=None,
                   detail={"account": "main", "delta": 5, "balance": 5, "reason": None}),
        ],
        "answers": [Answer(key("m", user), True, name="p")],
        "decisions": [decision(user, time=3)],
        "goals": [("welcome", f"{word}-{user}", user, False, 3)],
        "milestones": [("welcome", f"{word}-{user}", user, "entered", None, 3)],
        "rejected": [Rejected("f", 1, "json", "no", f'{{"user": "{user}", "x": "{word}"}}'.encode(), 3)],
    }  # fmt: skip


def gone(user: str, at: int, clock: int = 5) -> Any:
    """The commit that decides an erasure."""
    rest = State(id=user, memory={"erased": at}, points={"main": 5}, entered=["p|"], clock=at)
    return batch(clock=clock, states=[rest], events=[(event(f"bye-{user}", user, time=at), clock)], erased=[(user, at)])


def test_everything_goes_but_the_amounts(bench: Bench) -> None:
    """Events, verdicts, texts, addresses and records in quarantine go; amounts stay under a pseudonym.

    Semantics: erasure.records — in the store
    """
    bench.store.commit(batch(clock=3, **known("u1")))
    bench.store.commit(batch(clock=4, **known("u2")))
    before = [effect for effect, _ in bench.store.effects("u2")]
    bench.store.commit(gone("u1", 5))
    store = bench.reopen()
    assert (list(store.events("u1")), list(store.decisions("u1")), store.answers("u1")) == ([], [], {})
    assert list(store.effects("u1")) == []
    aliases = {it.user for it, _ in store.effects()} - {"u2"}
    assert len(aliases) == 1
    (alias,) = aliases
    assert alias.startswith(ALIAS)
    kept = {it.kind: (it.detail, it.to, delivery) for it, delivery in store.effects(alias)}
    assert kept == {
        "message": ({"template": "hi"}, None, "cancelled"),
        "points": ({"account": "main", "delta": 5, "balance": 5, "reason": None}, None, ""),
    }
    assert [it.raw for it in store.quarantine()] == [known("u2")["rejected"][0].raw]
    assert store.claim(["sms"], 99, 9)[0].key == key("m", "u2")
    assert [it for it, _ in store.effects("u2")] == before
    assert len(list(store.events("u2"))) == len(list(store.decisions("u2"))) == 1


def test_the_person_is_known_by_hash_alone(bench: Bench) -> None:
    """No list of subjects names the person; asked by the id, the store knows when it was erased and what is left."""
    bench.store.commit(batch(clock=3, **known("u1")))
    bench.store.commit(gone("u1", 5))
    store = bench.reopen()
    assert [it.id.startswith(ALIAS) for it in store.subjects()] == [True]
    assert store.population("", 9) == [it.id for it in store.subjects()]
    assert store.next_wake() is None
    assert store.erased(["u1", "u2"]) == {"u1": 5}
    assert store.load(["u1"])["u1"].points == {"main": 5}
    assert store.known([f"{CANARY}-u1"]) == set()


def test_who_comes_back_is_somebody_again(bench: Bench) -> None:
    """What happens after the erasure is kept as of anybody, and only what happened before is dropped."""
    bench.store.commit(batch(clock=3, **known("u1")))
    bench.store.commit(gone("u1", 5))
    (state,) = bench.reopen().load(["u1"]).values()
    state.traits, state.last_active = {"name": "Ada"}, 7
    bench.store.commit(batch(clock=7, states=[state], events=[(event("new", "u1", time=7), 7)], effects=[effect("n")]))
    store = bench.reopen()
    assert [it.id for it, _ in store.events("u1")] == ["new"]
    assert [it.key for it, _ in store.effects("u1")] == ["n"]
    assert store.load(["u1"])["u1"].traits == {"name": "Ada"}
    assert [it.id for it in store.subjects()] == ["u1"]
    store.commit(gone("u1", 9, clock=9))
    store = bench.reopen()
    assert list(store.events("u1")) == []
    assert store.erased(["u1"]) == {"u1": 9}


def test_what_is_newer_than_the_erasure_stays(bench: Bench) -> None:
    """A new life that begins in the very transaction of the erasure is not touched by it."""
    bench.store.commit(batch(clock=3, **known("u1")))
    alive = State(id="u1", last_active=7, traits={"name": "Bea"}, memory={"erased": 5})
    both = gone("u1", 5, clock=7)
    both.states = [alive]
    both.events.append((event("after", "u1", time=7), 7))
    both.effects.append(effect("after", time=7))
    bench.store.commit(both)
    store = bench.reopen()
    assert [it.id for it, _ in store.events("u1")] == ["after"]
    assert [it.key for it, _ in store.effects("u1")] == ["after"]
    assert [it.id for it in store.subjects()] == ["u1"]


@pytest.mark.parametrize("folds", [False, True])
def test_no_byte_is_left_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: bool) -> None:
    """After ``scrub`` neither the file nor its write-ahead log holds a word of the erased.

    Semantics: erasure.records — on the disk
    Threat: erase.whole
    """
    if folds:
        monkeypatch.setattr(sqlite, "FOLD_SUBJECTS", 0)
    path = tmp_path / "s.db"
    store = SqliteStore.open(path)
    store.set_meta("secret", "cd" * 32)
    users = [f"{CANARY}-{n}" for n in range(200)]
    for n, user in enumerate(users):
        store.commit(batch(clock=3 + n, **known(user)))
        store.commit(batch(clock=3 + n, states=[State(id=user, traits={"name": CANARY * 9})]))
    store.commit(batch(clock=900, **known("other", "somebody-else")))
    for n, user in enumerate(users):
        store.commit(gone(user, 1000 + n, clock=1000 + n))
    store.scrub()
    held = b"".join(it.read_bytes() for it in tmp_path.iterdir())
    assert CANARY.encode() not in held
    assert held.count(b"somebody-else") >= 5
    assert len(list(store.effects())) == 2 * len(users) + 2
    store.close()


def test_no_byte_is_left_in_the_tables(tmp_path: Path) -> None:
    """After ``scrub`` no file of PostgreSQL's tables holds a word of the erased; while somebody looks at what was there
    before it is due again.

    Semantics: erasure.records — on the disk
    """
    server, word = postgres_server.server(), f"{CANARY}-in-tables"
    url = server.schema()
    store = PgStore.open(url)
    store.set_meta("secret", "cd" * 32)
    users = [f"{word}-{n}" for n in range(20)]
    for n, user in enumerate(users):
        store.commit(batch(clock=3 + n, **known(user, word)))
        store.commit(batch(clock=3 + n, states=[State(id=user, traits={"name": word * 9})]))
    store.commit(batch(clock=900, **known("other", "somebody-else")))
    store.forget({"events": 5}, 1)
    with server.connect() as beside:
        beside.execute("analyze")
        beside.autocommit = False
        beside.execute("set transaction isolation level repeatable read")
        beside.execute("select count(*) from pg_class")
        for n, user in enumerate(users):
            store.commit(gone(user, 1000 + n, clock=1000 + n))
        assert store.unscrubbed()
        store.scrub()
        assert store.unscrubbed()
        beside.rollback()
        store.scrub()
        assert not store.unscrubbed()
        assert len(list(store.effects())) == 2 * len(users) + 2
        beside.execute("checkpoint")
        beside.rollback()
    files = [it for it in (server.folder / "data" / "base").rglob("*") if it.is_file()]
    assert [it for it in files if word.encode() in it.read_bytes()] == []
    assert any(b"somebody-else" in it.read_bytes() for it in files)
    store.close()
