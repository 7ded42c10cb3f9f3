"""What a store forgets when it is old, on every store: what goes, what stays, and what is known of it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_store import Bench, batch, decision, event

from engine.core.model import State
from engine.core.subjects import PROGRAM, of_group
from engine.ports import Rejected
from engine.stores import sqlite

PER_BATCH, BATCHES = 30, 12
ALL = ("events", "ids", "decisions", "quarantine")


@pytest.fixture(params=("memory", "sqlite", "folding", "postgres"))
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A store with twelve transactions: number n was decided at n, about user u{n % 3} and the user of its own."""
    if request.param == "folding":
        monkeypatch.setattr(sqlite, "FOLD_SUBJECTS", 0)
        monkeypatch.setattr(sqlite, "TRAIL_ROWS", 0)
        monkeypatch.setattr(sqlite, "KEY_ROWS", 0)
    made = Bench(request.param, tmp_path / "s.db")
    made.store.set_meta("secret", "ab" * 32)
    for n in range(1, BATCHES + 1):
        add(made.store, n)
    yield made
    made.store.close()


def add(store: Any, n: int) -> None:
    users = [f"u{n % 3}", f"own{n}"]
    events = [(event(f"e{n}-{k}", users[k % 2], time=n), n) for k in range(PER_BATCH)]
    store.commit(
        batch(
            clock=n,
            events=events,
            states=[State(id=user) for user in users],
            decisions=[decision(users[0], time=n)],
            rejected=[Rejected("f", n, "json", "no", b"{", n)],
        )
    )


def ids(*numbers: int) -> list[str]:
    return [f"e{n}-{k}" for n in numbers for k in range(PER_BATCH)]


def all_gone(store: Any, before: dict[str, int], limit: int = 200) -> dict[str, int]:
    """Forget until nothing is left to be forgotten; how many went in all."""
    total = dict.fromkeys(before, 0)
    while any((went := store.forget(before, limit)).values()):
        for kind, n in went.items():
            assert n <= limit
            total[kind] += n
    return total


def whole(store: Any) -> None:
    """The file keeps every promise."""
    if hasattr(store, "check"):
        assert store.check() == []


def test_what_is_old_goes(bench: Bench) -> None:
    """Events, verdicts and records in quarantine from before an instant go, what is newer stays, counters stay true.

    Semantics: retention.forgets
    """
    counts = bench.store.counts()
    assert all_gone(bench.store, {"events": 7, "decisions": 5, "quarantine": 3}) == {
        "events": 6 * PER_BATCH, "decisions": 4, "quarantine": 2
    }  # fmt: skip
    store = bench.reopen()
    assert [at for _, at in store.events("u0")] == [at for at in (9, 12) for _ in range(PER_BATCH // 2)]
    assert list(store.events("own2")) == []
    assert [it.time for user in ("u0", "u1", "u2") for it in store.decisions(user)] == [6, 9, 12, 7, 10, 5, 8, 11]
    assert [it.at for it in store.quarantine()] == list(range(3, BATCHES + 1))
    assert store.counts() == counts
    whole(store)
    add(store, BATCHES + 1)
    assert [at for _, at in store.events(f"own{BATCHES + 1}")] == [BATCHES + 1] * (PER_BATCH // 2)
    whole(store)


def test_ids_outlive_their_events(bench: Bench) -> None:
    """An id is remembered as long as is asked for, whether its event is there or not; older ones are cleared away.

    Semantics: event.remembered-configurable, event.remembered
    """
    all_gone(bench.store, {"events": 7})
    store = bench.reopen()
    assert store.known(ids(*range(1, BATCHES + 1))) == set(ids(*range(1, BATCHES + 1)))
    assert all_gone(store, {"ids": 4}) == {"ids": 3 * PER_BATCH}
    store = bench.reopen()
    assert store.known(ids(*range(1, BATCHES + 1))) == set(ids(*range(4, BATCHES + 1)))
    whole(store)
    assert all_gone(store, {"ids": 9}) == {"ids": 5 * PER_BATCH}  # of 7 and 8 the events are still there
    assert store.known(ids(6, 7, 8, 9)) == set(ids(9))
    assert sum(1 for _ in store.events("own8")) == PER_BATCH // 2
    whole(store)
    all_gone(store, {"events": 10})
    whole(store)
    assert store.known(ids(8, 9, 10)) == set(ids(9, 10))
    assert all_gone(store, dict.fromkeys(ALL, 11)) == {
        "events": PER_BATCH, "ids": 2 * PER_BATCH, "decisions": 10, "quarantine": 10
    }  # fmt: skip
    whole(bench.reopen())


def test_a_forgotten_id_can_come_again(bench: Bench) -> None:
    """What is sent again after its id was cleared away is a new event, beside the old one."""
    store = bench.store
    all_gone(store, {"ids": 5})
    store.commit(batch(clock=20, events=[(event("e4-1", "own4", time=20), 20)], states=[State(id="own4")]))
    assert store.known(["e4-1", "e4-3"]) == {"e4-1"}
    whole(store)
    all_gone(store, {"events": 5})
    whole(store)
    assert [it.id for it, _ in store.events("own4")] == ["e4-1"]


def test_it_is_known_of_whom(bench: Bench) -> None:
    """Of whom events are gone is known, and until when; of nobody else.

    Semantics: retention.told
    """
    assert bench.store.forgotten("own2") is None
    all_gone(bench.store, {"events": 4})
    store = bench.reopen()
    assert [store.forgotten(user) for user in ("own1", "own3", "u0", "u1", "u2")] == [3] * 5
    assert [store.forgotten(user) for user in ("own4", "own12", "nobody")] == [None] * 3


def test_an_erasure_takes_forgotten_ids_too(bench: Bench) -> None:
    """Whoever is erased after the events went leaves no id behind, and no mark.

    Semantics: erasure.records — after retention
    """
    all_gone(bench.store, {"events": 7})
    rest = State(id="u1", memory={"erased": 30}, clock=30)
    bye = (event("bye", "u1", time=30), 30)
    bench.store.commit(batch(clock=30, states=[rest], events=[bye], erased=[("u1", 30)]))
    store = bench.reopen()
    assert store.forgotten("u1") is None
    gone = {f"e{n}-{k}" for n in (1, 4, 7, 10) for k in range(0, PER_BATCH, 2)}
    assert store.known(sorted(gone)) == set()
    others = set(ids(*range(1, BATCHES + 1))) - gone
    assert store.known(sorted(others)) == others
    whole(store)
    all_gone(store, {"ids": 100, "events": 100})
    whole(store)


def test_nothing_asked_for_nothing_gone(bench: Bench) -> None:
    """What is not named stays, and so does the newest of everything."""
    assert bench.store.forget({}, 100) == {}
    all_gone(bench.store, dict.fromkeys(ALL, 1))
    assert sum(1 for _ in bench.store.events("own1")) == PER_BATCH // 2
    assert bench.store.forgotten("own1") is None
    add(bench.reopen(), BATCHES + 1)


def test_what_groups_heard_is_forgotten_too(bench: Bench) -> None:
    """An event that a group and the program heard goes for them as well, and every promise is kept after it."""
    club = of_group("club")
    for n in (20, 21):
        heard = (event(f"g{n}", "u1", time=n, group="club"), n)
        bench.store.commit(batch(clock=n, events=[heard], others=[(0, club), (0, PROGRAM)], states=[State(id=club)]))
    assert [it.id for it, _ in bench.store.events(club)] == ["g20", "g21"]
    all_gone(bench.store, {"events": 21})
    store = bench.reopen()
    assert [it.id for it, _ in store.events(club)] == ["g21"]
    assert store.forgotten(club) is not None
    whole(store)
    all_gone(store, {"ids": 21})
    whole(store)
