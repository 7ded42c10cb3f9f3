"""What every store promises. One suite over all of them.

``postgres`` is one on a server of its own; ``folding`` is SQLite that folds before every commit, ``gentle`` is as the
daemon opens it, putting a row or two in order at a time.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import postgres_server
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.model import Answer, Decision, Effect, Entry, Event, GoalWatch, Journey, State, Why
from engine.errors import InternalError, StoreError
from engine.ports import Batch, Rejected, Settlement, Store, Version
from engine.stores import STORES, memory, postgres, sqlite
from engine.stores.memory import MemoryStore
from engine.stores.postgres import PgStore
from engine.stores.sql import queries
from engine.stores.sqlite import SqliteStore

KINDS = ("memory", "sqlite", "folding", "gentle", "postgres")


class Planted(Exception):
    """A failure put there by a test."""


class Bench:
    """A store under test, which can be closed and opened again."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self.path = path
        self.url = postgres_server.server().schema() if kind == "postgres" else ""
        self.store: Any = MemoryStore() if kind == "memory" else self._open()

    def reopen(self) -> Any:
        """The same store after the end of the process, where it outlives it."""
        if self.kind != "memory":
            self.store.close()
            self.store = self._open()
        return self.store

    def reader(self) -> Any:
        """A session beside it that only reads."""
        if self.kind == "postgres":
            return PgStore.open(self.url, read_only=True)
        return SqliteStore.open(self.path, read_only=True)

    def _open(self) -> Any:
        if self.kind == "postgres":
            return PgStore.open(self.url)
        return SqliteStore.open(self.path, gentle=self.kind == "gentle")


def little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gentle store has something to put in order at every commit."""
    for name, number in (("GENTLE_SUBJECTS", 2), ("GENTLE_ROWS", 2), ("KEY_ROWS", 3), ("KEY_PIECE", 1)):
        monkeypatch.setattr(sqlite, name, number)


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    if request.param == "folding":
        monkeypatch.setattr(sqlite, "FOLD_SUBJECTS", 0)
        monkeypatch.setattr(sqlite, "TRAIL_ROWS", 0)
        monkeypatch.setattr(sqlite, "KEY_ROWS", 0)
    if request.param == "gentle":
        little_at_a_time(monkeypatch)
    made = Bench(request.param, tmp_path / "s.db")
    yield made
    made.store.close()


@pytest.fixture
def store(bench: Bench) -> Any:
    return bench.store


def event(id: str, user: str | None = "u1", time: int = 1, **more: Any) -> Event:
    return Event(id=id, type="order.paid", time=time, user=user, data={"amount": Decimal("12.50")}, **more)


def effect(key: str, user: str = "u1", time: int = 1, **more: Any) -> Effect:
    fields: dict[str, Any] = {
        "playbook": "welcome",
        "step": "hello",
        "kind": "message",
        "group": None,
        "status": "planned",
        "reason": None,
        "detail": {"text": "你好", "price": Decimal("1.10")},
        "deliver": "sms",
        "purpose": "marketing",
        "to": "+100",
        **more,
    }
    return Effect(key=key, time=time, user=user, **fields)


def decision(user: str = "u1", verdict: str = "entered", time: int = 1) -> Decision:
    why = [Why("when[0]", True, "count('x') >= 2", {"count": Decimal("2.5")}), Why("when[1]", None, "?")]
    return Decision(time, "welcome", user, None, {"event": "e1"}, verdict, why)


def batch(**more: Any) -> Batch:
    fields: dict[str, Any] = {
        "clock": 1,
        "states": [],
        "events": [],
        "effects": [],
        "answers": [],
        "resources": {},
        "decisions": [],
        "goals": [],
        "rejected": [],
        "positions": {},
        **more,
    }
    return Batch(**fields)


def issued(key: str, code: str, *, pool: str = "p", time: int = 1, subject: str = "u1") -> Entry:
    """The entry of a coupon that was given."""
    return Entry(key, time, "coupon", pool, "issued", 1, subject, code)


def full_batch(n: int) -> Batch:
    """A batch with something of everything; two different ``n`` do not collide."""
    return batch(
        clock=10 * n,
        states=[State(id="u1", wake_at=100 + n, points={"main": n}), State(id=f"v{n}", wake_at=50)],
        events=[(event(f"e{n}", time=n), 10 * n)],
        effects=[effect(f"k{n}"), effect(f"c{n}", kind="coupon", detail={"pool": "p", "code": f"C{n}"}, deliver=None)],
        answers=[Answer(f"c{n}", True, name="p", unit=f"C{n}")],
        resources={"coupon:p": bytes([n])},
        decisions=[decision(time=n)],
        goals=[("welcome", f"e{n}", "u1", n % 2 == 0, n)],
        lives=[("welcome", "entered", False)],
        rejected=[Rejected("f", n, "json", "not JSON", b"\xff{", 10 * n)],
        positions={"f": n},
        counts={"late": 1},
        entries=[Entry(f"k{n}", n, "points", "main", "earned", n, "u1"), issued(f"c{n}", f"C{n}", time=n)],
    )


def picture(store: Store) -> dict[str, Any]:
    """Everything a store shows."""
    users = ["u1", "u2", *(f"v{n}" for n in range(5))]
    return {
        "subjects": list(store.subjects()),
        "load": store.load(users),
        "due": store.due(10**9, 100),
        "next": store.next_wake(),
        "effects": list(store.effects()),
        "pending": store.deliveries("pending"),
        "sending": store.deliveries("sending"),
        "sent": store.deliveries("sent"),
        "events": [list(store.events(user)) for user in users],
        "answers": [store.answers(user) for user in users],
        "decisions": [list(store.decisions(user)) for user in users],
        "ledger": [list(store.ledger()), *(list(store.ledger(subject=user)) for user in users)],
        "quarantine": list(store.quarantine()),
        "inbox": store.inbox(0, 100),
        "known": store.known([f"e{n}" for n in range(9)] + ["i1", "i2", "i3"]),
        "resources": store.resources(),
        "counts": store.counts(),
        "summary": store.summary(),
        "clock": store.clock(),
        "position": store.position("f"),
        "meta": store.get_meta("word"),
        "versions": store.versions(used=False),
        "in flight": list(store.in_flight()),
        "coupons": list(store.coupons()),
        "codes": store.codes("p", 0, 100),
    }


# -- all stores


def test_registered() -> None:
    """Every store in the folder stands in the table, and is a Store."""
    assert list(STORES) == ["memory", "postgresql", "sqlite"]
    for name in STORES:
        assert all(hasattr(STORES.get(name), verb) for verb in ("commit", "claim", "deliveries"))


def test_protocol(store: Any) -> None:
    """A store has every verb of the port."""
    assert isinstance(store, Store)


def test_new_store_is_empty(store: Any) -> None:
    """A new store has clock 0, position 0, no wake-up and zeroes in its counters."""
    assert store.clock() == 0
    assert store.position("f") == 0
    assert store.next_wake() is None
    assert store.due(10**18, 10) == []
    assert store.counts() == {"duplicate": 0, "events": 0, "late": 0, "quarantined": 0}
    assert store.summary() == {}
    assert store.load(["u1"]) == {}
    assert store.known([]) == set()
    assert store.strangers(["u1"]) == {"u1"}


def test_commit_shows_everything(bench: Bench) -> None:
    """What a batch holds is shown by the reading verbs, also after opening again."""
    assert bench.store.commit(full_batch(1)) == 0
    for opened in (lambda: bench.store, bench.reopen):
        seen = picture(opened())
        assert [state.id for state in seen["subjects"]] == ["u1", "v1"]
        assert seen["load"]["u1"].points == {"main": 1}
        assert [state.id for state in seen["due"]] == ["v1", "u1"]
        assert seen["next"] == 50
        assert {(it.key, delivery) for it, delivery in seen["effects"]} == {("k1", "pending"), ("c1", "")}
        assert seen["events"][0] == [(event("e1", time=1), 10)]
        assert seen["answers"][0] == {"c1": Answer("c1", True, name="p", unit="C1")}
        assert seen["decisions"][0] == [decision()]
        assert seen["quarantine"] == [Rejected("f", 1, "json", "not JSON", b"\xff{", 10, 1)]
        assert seen["resources"] == {"coupon:p": b"\x01"}
        assert seen["clock"] == 10
        assert seen["position"] == 1
        assert seen["counts"] == {
            "duplicate": 0,
            "events": 1,
            "late": 1,
            "quarantined": 1,
            "effects.coupon.planned": 1,
            "effects.message.planned": 1,
        }
        figures = {"entered": 1, "held": 0, "goals": 1, "goals_held": 0, "finished": 0, "exited": 0, "effects": 2}
        assert seen["summary"] == {"welcome": figures}


def test_reopening_changes_nothing(bench: Bench) -> None:
    """After several batches the store shows the same before and after opening again."""
    for n in range(1, 4):
        bench.store.commit(full_batch(n))
    before = picture(bench.store)
    opened = bench.reopen()
    assert picture(opened) == before
    assert opened.strangers(["u1", "x"]) == {"x"}
    if isinstance(opened, SqliteStore):
        opened.fold()
        assert opened.strangers(["u1", "x"]) == {"x"}


def test_due_is_ordered_and_half_open(store: Any) -> None:
    """Due states come by (instant, subject), none at ``before`` itself, and stay due until they are committed."""
    states = [State(id=name, wake_at=at) for name, at in [("b", 5), ("a", 5), ("c", 3), ("d", 7), ("e", None)]]
    store.commit(batch(states=states))
    assert [state.id for state in store.due(7, 10)] == ["c", "a", "b"]
    assert [state.id for state in store.due(7, 2)] == ["c", "a"]
    assert [state.id for state in store.due(8, 10)] == ["c", "a", "b", "d"]
    assert store.next_wake() == 3


def test_wake_moves(store: Any) -> None:
    """A wake-up that was moved, withdrawn or moved back is due once, at its newest instant."""
    for wakes in ({"a": 1, "b": 2}, {"a": 9}, {"a": 1}, {"b": None}, {"a": 4}):
        store.commit(batch(states=[State(id=name, wake_at=at) for name, at in wakes.items()]))
    assert [(state.id, state.wake_at) for state in store.due(10, 10)] == [("a", 4)]
    assert store.next_wake() == 4


def test_figures_count_lives(bench: Bench) -> None:
    """Figures count entries and the held ones among them, ends, goals and effects; traces do not count."""
    lives = [
        ("welcome", "entered", False), ("welcome", "entered", True), ("other", "entered", False),
        ("welcome", "finished", True), ("welcome", "exited", False),
    ]  # fmt: skip
    goals = [("welcome", "e1", "u1", True, 1), ("welcome", "e2", "u1", False, 1)]
    bench.store.commit(batch(lives=lives, goals=goals, decisions=[decision(), decision(verdict="held_out")]))
    bench.store.commit(batch(lives=[("welcome", "entered", False)], effects=[effect("k1")]))
    figures = {"entered": 3, "held": 1, "goals": 2, "goals_held": 1, "finished": 1, "exited": 1, "effects": 1}
    shown = bench.reopen().summary()
    assert shown == {"other": {**dict.fromkeys(figures, 0), "entered": 1}, "welcome": figures}


def test_conflicts_are_counted(store: Any) -> None:
    """An effect whose key exists, in the store or in the batch, is counted and leaves the first one as it is."""
    assert store.commit(batch(effects=[effect("k1"), effect("k2")])) == 0
    assert store.commit(batch(effects=[effect("k1", time=9), effect("k3"), effect("k3")])) == 2
    assert [(it.key, it.time) for it, _ in store.effects()] == [("k1", 1), ("k2", 1), ("k3", 1)]
    assert len(store.deliveries("pending")) == 3


@pytest.mark.parametrize("size", [1, 39, 40, 41, 80, 203])
def test_batches_of_any_size(store: Any, size: int) -> None:
    """Whatever the size of a batch, everything in it is kept in order and conflicts are counted exactly."""
    keys = [f"k{n}" for n in range(size)]
    whole = batch(
        states=[State(id=key) for key in keys],
        events=[(event(key), n) for n, key in enumerate(keys)],
        effects=[effect(key) for key in keys],
        decisions=[decision(time=n) for n in range(size)],
    )
    assert store.commit(whole) == 0
    assert [it.id for it, _ in store.events("u1")] == keys
    assert [it.time for it in store.decisions("u1")] == list(range(size))
    assert [it.key for it in store.claim(["sms"], 1, 999)] == keys
    assert store.known([*keys, "x"]) == set(keys)
    assert len(store.load(keys)) == size
    assert store.commit(batch(effects=[*(effect(key) for key in keys), effect("new")])) == size


def test_event_twice_is_refused(store: Any) -> None:
    """A batch with an event that was decided before is refused whole."""
    store.commit(batch(events=[(event("e1"), 1)]))
    with pytest.raises(InternalError):
        store.commit(batch(clock=5, events=[(event("e2"), 2), (event("e1"), 2)]))
    assert store.known(["e1", "e2"]) == {"e1"}
    assert store.clock() == 1


def test_code_twice_is_refused(store: Any) -> None:
    """A batch that gives away a coupon code once more is refused whole.

    Semantics: coupon.codes
    Failure: unit.oversold — one code
    """
    store.commit(full_batch(1))
    again = effect("other", kind="coupon", detail={"pool": "q", "code": "C1"}, deliver=None)
    with pytest.raises(InternalError):
        store.commit(batch(clock=99, effects=[again], entries=[issued("other", "C1", pool="q")]))
    assert store.clock() == 10
    held = effect("held", kind="coupon", detail={"pool": "q", "code": "C1"}, deliver=None, status="held_out")
    assert store.commit(batch(effects=[held])) == 0


def test_answers_by_asker(store: Any) -> None:
    """An answer belongs to the subject the batch names, else to the subject of the effect with its key."""
    answers = [Answer("slot", True, at=7), Answer("k1", False, reason="sold_out"), Answer("nobody", True)]
    store.commit(batch(answers=answers, effects=[effect("k1", user="u2")], askers={"slot": "u1"}))
    assert store.answers("u1") == {"slot": answers[0]}
    assert store.answers("u2") == {"k1": answers[1]}


def test_group_events(store: Any) -> None:
    """What happens to a group without a user is found under the group."""
    store.commit(batch(events=[(event("e1", user=None, group="g1"), 1), (event("e2", user="u1", group="g1"), 1)]))
    assert [it.id for it, _ in store.events("g1")] == ["e1"]
    assert [it.id for it, _ in store.events("u1")] == ["e2"]


def test_effects_are_ordered(store: Any) -> None:
    """Effects come by (time, key), all or those of one user."""
    store.commit(batch(effects=[effect("b", time=2), effect("z", time=1, user="u2"), effect("a", time=2)]))
    assert [it.key for it, _ in store.effects()] == ["z", "a", "b"]
    assert [it.key for it, _ in store.effects("u1")] == ["a", "b"]
    assert next(iter(store.effects("u2")))[0] == effect("z", time=1, user="u2")


def test_events_keep_order_of_decision(store: Any) -> None:
    """Events of a user come in order of decision, whatever their own times, over several commits."""
    for n, time in enumerate([5, 1, 3]):
        store.commit(batch(events=[(event(f"e{n}", time=time), 10 + n), (event(f"x{n}", user="u2"), 10 + n)]))
    assert [(it.id, it.time, at) for it, at in store.events("u1")] == [("e0", 5, 10), ("e1", 1, 11), ("e2", 3, 12)]


def test_ingest(bench: Bench) -> None:
    """Ingested events wait in order; copies of decided, waiting or just ingested ones are counted and dropped."""
    store = bench.store
    store.commit(batch(events=[(event("e1"), 1)]))
    bad = Rejected("http", 0, "json", "not JSON", b"{", 5)
    assert store.ingest([(event(name), b"") for name in ("e1", "i1", "i2", "i1")], [bad]) == (2, 2)
    assert store.ingest([(event("i2"), b"")], []) == (0, 1)
    store = bench.reopen()
    assert [it.id for _, it in store.inbox(0, 10)] == ["i1", "i2"]
    assert store.known(["e1", "i1", "i3"]) == {"e1", "i1"}
    assert store.counts()["duplicate"] == 3
    assert store.counts()["quarantined"] == 1
    assert [it.reason for it in store.quarantine()] == ["json"]


def test_inbox_numbers_grow_for_ever(bench: Bench) -> None:
    """Events decided leave the inbox; later ones have higher numbers, also when it was empty between. How many wait,
    and the first of them, is known all the time."""
    assert bench.store.waiting() == (0, 0)
    bench.store.ingest([(event("i1"), b""), (event("i2"), b"")], [])
    ((first, one), (second, _)) = bench.store.inbox(0, 10)
    assert bench.store.waiting() == (first, 2)
    assert [seq for seq, _ in bench.store.inbox(first, 10)] == [second]
    assert [seq for seq, _ in bench.store.inbox(0, 1)] == [first]
    bench.store.commit(batch(events=[(one, 1)], inbox_done=first))
    assert [seq for seq, _ in bench.store.inbox(0, 10)] == [second]
    assert bench.store.waiting() == (second, 1)
    bench.store.commit(batch(inbox_done=second))
    assert bench.store.waiting() == (0, 0)
    store = bench.reopen()
    store.ingest([(event("i3"), b"")], [])
    assert store.inbox(0, 10)[0][0] > second
    assert store.known(["i1"]) == {"i1"}


def test_known_without_the_inbox(store: Any) -> None:
    """Asked so, ids that only wait in the inbox are not known; decided ones are."""
    store.commit(batch(events=[(event("e1"), 1)]))
    store.ingest([(event("i1"), b"")], [])
    assert store.known(["e1", "i1"], waiting=False) == {"e1"}


def bad_record(position: int, reason: str = "json") -> Rejected:
    return Rejected("f", position, reason, "words", b"\xff" + bytes([position]), 5)


def test_quarantine(bench: Bench) -> None:
    """Records in quarantine are numbered for ever; each is shown by its number with its very bytes."""
    store = bench.store
    store.ingest([], [bad_record(1), bad_record(2)])
    store.commit(batch(rejected=[bad_record(3)]))
    first, second, third = store.quarantine()
    assert [it.position for it in (first, second, third)] == [1, 2, 3]
    assert store.rejected(second.number) == second
    assert second.raw == b"\xff\x02"
    assert store.rejected(10**6) is None
    store.release([third.number])
    store = bench.reopen()
    store.ingest([], [bad_record(4)])
    assert [it.number for it in store.quarantine()][:2] == [first.number, second.number]
    assert list(store.quarantine())[2].number > third.number


def test_release(bench: Bench) -> None:
    """What leaves quarantine goes into the inbox in the same step; known ids are counted as duplicates."""
    store = bench.store
    store.commit(batch(events=[(event("e1"), 1)], rejected=[bad_record(n) for n in range(1, 5)]))
    numbers = [it.number for it in store.quarantine()]
    assert store.release(numbers[:2], [(event("i1"), b""), (event("e1"), b"")]) == (1, 1)
    assert store.release(numbers[2:3]) == (0, 0)
    assert store.release([10**6]) == (0, 0)
    store = bench.reopen()
    assert [it.number for it in store.quarantine()] == numbers[3:]
    assert [it.id for _, it in store.inbox(0, 9)] == ["i1"]
    assert store.counts()["duplicate"] == 1
    assert store.counts()["quarantined"] == 4


def test_meta(bench: Bench) -> None:
    """A word of the runtime is kept and replaced."""
    assert bench.store.get_meta("word") is None
    bench.store.set_meta("word", "a")
    bench.store.set_meta("word", "二")
    assert bench.reopen().get_meta("word") == "二"


def test_claim_in_order_of_decision(bench: Bench) -> None:
    """Deliveries are claimed in order of decision, once, and only for the channels asked; suppressed ones never."""
    effects = [effect("z"), effect("a"), effect("m", deliver="email"), effect("s", status="suppressed")]
    bench.store.commit(batch(effects=effects))
    bench.store.commit(batch(effects=[effect("b")]))
    assert [(it.key, it.channel, it.attempts) for it in bench.store.claim(["sms"], 1, 2)] == [
        ("z", "sms", 0),
        ("a", "sms", 0),
    ]
    assert [it.key for it in bench.store.claim(["sms"], 1, 9)] == ["b"]
    assert bench.store.claim(["sms"], 1, 9) == []
    store = bench.reopen()
    assert [it.key for it in store.stuck()] == ["z", "a", "b"]
    assert [(it.key, it.effect) for it in store.claim(["sms", "email"], 1, 9)] == [("m", effects[2])]


def test_settle(bench: Bench) -> None:
    """A settled delivery is sent, dead, unknown, or due again not before its instant with one more attempt."""
    store = bench.store
    store.commit(batch(effects=[effect(key) for key in "abcd"]))
    store.claim(["sms"], 1, 9)
    store.settle(
        [
            Settlement("a", "sent"),
            Settlement("b", "retry", "busy", 50),
            Settlement("c", "dead", "no such number"),
            Settlement("d", "unknown", "time-out"),
            Settlement("nobody", "sent"),
        ]
    )
    store = bench.reopen()
    assert {it.key: delivery for it, delivery in store.effects()} == {
        "a": "sent",
        "b": "pending",
        "c": "dead",
        "d": "unknown",
    }
    assert [(it.key, why) for it, why in store.deliveries("dead")] == [("c", "no such number")]
    assert [(it.key, why) for it, why in store.deliveries("unknown")] == [("d", "time-out")]
    assert store.stuck() == []
    assert store.claim(["sms"], 49, 9) == []
    assert [(it.key, it.attempts) for it in store.claim(["sms"], 50, 9)] == [("b", 1)]


def test_settle_brings_back_the_dead(store: Any) -> None:
    """A dead or parked delivery that is settled for a retry is claimed again, at its old place in the order."""
    store.commit(batch(effects=[effect("a"), effect("b")]))
    store.claim(["sms"], 1, 1)
    store.settle([Settlement("a", "dead", "x")])
    store.settle([Settlement("a", "retry", None, 1)])
    assert [(it.key, it.attempts) for it in store.claim(["sms"], 1, 9)] == [("a", 1), ("b", 0)]


def test_dropping_a_pending_delivery(store: Any) -> None:
    """A pending delivery that is settled as dead is never claimed."""
    store.commit(batch(effects=[effect("a")]))
    store.settle([Settlement("a", "dead", "dropped by hand")])
    assert store.claim(["sms"], 1, 9) == []


def test_cancelled_delivery(bench: Bench) -> None:
    """A delivery that is cancelled while it is pending is never claimed; one that went out stays as it was."""
    store = bench.store
    store.commit(batch(effects=[effect("a"), effect("b", deliver="box"), effect("c")]))
    assert [it.key for it in store.claim(["box"], 1, 9)] == ["b"]
    store.commit(batch(cancels=[("a", "goal"), ("b", "goal"), ("nobody", "goal")]))
    store = bench.reopen()
    assert [it.key for it in store.claim(["sms", "box"], 1, 9)] == ["c"]
    assert [(it.key, why) for it, why in store.deliveries("cancelled")] == [("a", "goal")]
    assert [it.key for it, _ in store.deliveries("sending")] == ["b", "c"]
    store.settle([Settlement("b", "sent")])
    assert {it.key: how for it, how in store.effects()} == {"a": "cancelled", "b": "sent", "c": "sending"}


def test_versions_are_kept(bench: Bench) -> None:
    """A version keeps the sources and the instant it was first kept with; only whether it is used changes."""
    store = bench.store
    first = [Version("p", "v2", 20, b"two"), Version("p", "v1", 10, "一".encode()), Version("a", "v9", 30, b"")]
    store.keep_versions(first)
    store.keep_versions([Version("p", "v1", 99, b"other", used=False), Version("p", "v2", 99, b"other")])
    store = bench.reopen()
    assert [(it.playbook, it.hash, it.since, it.sources, it.used) for it in store.versions(used=False)] == [
        ("a", "v9", 30, b"", True), ("p", "v1", 10, "一".encode(), False), ("p", "v2", 20, b"two", True),
    ]  # fmt: skip
    assert [it.hash for it in store.versions()] == ["v9", "v2"]


def test_in_flight(bench: Bench) -> None:
    """Exactly the subjects with journeys or goals are in flight, in order, whatever the data of others looks like."""
    journey = Journey(playbook="p", key="", occurrence="e", started=1, at="a", trigger="0", version="v1")
    goal = GoalWatch(playbook="p", key="", occurrence="e", started=1, until=9, held=False)
    states = [
        State(id="u3", journeys=[journey]),
        State(id="u1", goals=[goal]),
        State(id="u2", traits={"journeys": [["x"]], "goals": [["y"]]}),
        State(id="u4"),
        State(id="u5", journeys=[]),
    ]
    bench.store.commit(batch(states=states))
    store = bench.reopen()
    assert [state.id for state in store.in_flight()] == ["u1", "u3"]
    assert next(it for it in store.in_flight() if it.id == "u3").journeys[0].version == "v1"


def before_the_end(kind: str) -> list[str]:
    """Fault points at which a verb is not done yet."""
    table = {"memory": memory.FAULT_POINTS, "sqlite": sqlite.FAULT_POINTS, "postgres": postgres.FAULT_POINTS}[kind]
    return [it for it in table if not it.startswith("migrate") and not it.endswith((".after", ".after_commit"))]


def act(store: Any, verb: str) -> None:
    """Do something that passes the fault points of a verb."""
    verbs: dict[str, Callable[[], object]] = {
        "commit": lambda: store.commit(full_batch(2)),
        "fold": lambda: store.fold(),
        "ingest": lambda: store.ingest([(event("i2"), b"")], [Rejected("h", 1, "json", "", b"", 1)]),
        "release": lambda: store.release([1], [(event("i3"), b"")]),
        "claim": lambda: store.claim(["sms"], 1, 9),
        "settle": lambda: store.settle([Settlement("k1", "sent", receipt="r")], [event("i4")]),
        "redrive": lambda: store.redrive(["k1"]),
        "drop": lambda: store.drop(["k1"], [event("i5")]),
        "meta": lambda: store.set_meta("word", "new"),
        "version": lambda: store.keep_versions([Version("p", "v2", 5, b"two")]),
        "import": lambda: store.add_codes("p", ["I1", "I2"]),
        "forget": lambda: store.forget(dict.fromkeys(("events", "ids", "decisions", "quarantine"), 11), 100),
    }
    verbs[verb]()


def prepare(store: Any, verb: str) -> None:
    """What a verb needs to have anything to do."""
    store.commit(full_batch(1))
    if verb == "forget":
        store.commit(full_batch(2))
    if verb == "redrive":
        store.settle([Settlement("k1", "dead", "no such number")])


@pytest.mark.parametrize(
    ("kind", "point"), [(kind, point) for kind in ("memory", "sqlite", "postgres") for point in before_the_end(kind)]
)
def test_failure_leaves_no_trace(kind: str, point: str, tmp_path: Path) -> None:
    """An exception at any point of a verb leaves the store as it was, and the same call succeeds afterwards."""
    bench = Bench(kind, tmp_path / "s.db")
    verb = point.split(".")[0]
    prepare(bench.store, verb)
    bench.store.ingest([(event("i1"), b"")], [])
    before = picture(bench.store)

    def fault(name: str) -> None:
        if name == point:
            raise Planted(name)

    bench.store.fault = fault
    with pytest.raises(Planted):
        act(bench.store, verb)
    assert picture(bench.store) == before
    bench.store.fault = lambda name: None
    act(bench.store, verb)
    after = picture(bench.store)
    assert (after == before) is (verb == "fold" or (verb == "settle" and after["sent"] == before["sent"]))
    assert picture(bench.reopen()) == after
    bench.store.close()


# -- SQLite alone


@pytest.mark.parametrize("point", [point for point in sqlite.FAULT_POINTS if not point.startswith("migrate")])
def test_killed_at_any_point(point: str, tmp_path: Path) -> None:
    """A process killed at any point leaves either all of a verb or nothing of it.

    Semantics: store.atomic
    """
    path = tmp_path / "s.db"
    pictures = []
    for done in (False, True):
        store = SqliteStore.open(tmp_path / f"{done}.db")
        prepare(store, point.split(".")[0])
        if done:
            act(store, point.split(".")[0])
        pictures.append(picture(store))
        store.close()
    store = SqliteStore.open(path)
    prepare(store, point.split(".")[0])
    store.close()
    child = os.fork()
    if child == 0:
        victim = SqliteStore.open(path)
        victim.fault = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None
        act(victim, point.split(".")[0])
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    store = SqliteStore.open(path)
    assert picture(store) == pictures[point.endswith("after_commit")]
    store.close()


def test_every_point_is_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every declared fault point is passed, and no other."""
    monkeypatch.setattr(sqlite, "FOLD_SUBJECTS", 1)
    monkeypatch.setattr(sqlite, "TRAIL_ROWS", 1)
    monkeypatch.setattr(sqlite, "KEY_ROWS", 1)
    passed: list[str] = []
    store = SqliteStore.open(tmp_path / "s.db", fault=passed.append)
    store.commit(full_batch(1))
    store.commit(full_batch(2))
    for verb in ("ingest", "release", "claim", "settle", "redrive", "drop", "meta", "version", "forget", "import"):
        act(store, verb)
    store.close()
    assert set(passed) == set(sqlite.FAULT_POINTS)


def test_second_writer_is_refused(tmp_path: Path) -> None:
    """A second writer is told which process holds the store; after closing it may write.

    Semantics: store.one-writer
    Failure: two.daemons — refused
    """
    path = tmp_path / "s.db"
    store = SqliteStore.open(path)
    with pytest.raises(StoreError, match=f"process {os.getpid()}") as caught:
        SqliteStore.open(path)
    assert caught.value.exit_code == 3
    store.close()
    SqliteStore.open(path).close()


def test_lock_dies_with_its_process(tmp_path: Path) -> None:
    """A writer killed without closing holds no lock afterwards.

    Semantics: store.one-writer
    """
    path = tmp_path / "s.db"
    child = os.fork()
    if child == 0:
        SqliteStore.open(path)
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    store = SqliteStore.open(path)
    assert store.clock() == 0
    store.close()


def test_reader_takes_no_lock_and_cannot_write(tmp_path: Path) -> None:
    """A reader opens beside the writer, sees each commit and each fold, and is refused when it writes."""
    path = tmp_path / "s.db"
    writer = SqliteStore.open(path)
    reader = SqliteStore.open(path, read_only=True)
    assert list(reader.subjects()) == []
    for n in range(1, 4):
        writer.commit(full_batch(n))
        assert picture(reader) == picture(writer)
        if n == 2:
            writer.fold()
            assert picture(reader) == picture(writer)
    for write in (lambda: reader.commit(batch()), lambda: reader.claim(["sms"], 1, 1), reader.fold):
        with pytest.raises(StoreError, match="reading only"):
            write()
    writer.close()
    assert reader.clock() == 30
    reader.close()


def test_reader_keeps_its_moment(tmp_path: Path) -> None:
    """Subjects read by a reader are those of one instant, though the writer goes on meanwhile."""
    path = tmp_path / "s.db"
    writer = SqliteStore.open(path)
    writer.commit(batch(states=[State(id="a", points={"n": 1}), State(id="b", points={"n": 1})]))
    reader = SqliteStore.open(path, read_only=True)
    walk = reader.subjects()
    first = next(walk)
    writer.commit(batch(states=[State(id="a", points={"n": 2}), State(id="b", points={"n": 2})]))
    writer.fold()
    assert [first.points, *(state.points for state in walk)] == [{"n": 1}, {"n": 1}]
    assert [state.points for state in reader.subjects()] == [{"n": 2}, {"n": 2}]
    reader.close()
    writer.close()


def test_reading_without_a_store(tmp_path: Path) -> None:
    """Reading a store that is not there is refused and makes no file."""
    with pytest.raises(StoreError, match="there is no store"):
        SqliteStore.open(tmp_path / "s.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_not_a_database(tmp_path: Path, read_only: bool) -> None:
    """A file that is no SQLite database is refused in plain words and left as it is."""
    path = tmp_path / "s.db"
    path.write_text("events:\n" * 200)
    with pytest.raises(StoreError, match="is not an SQLite database"):
        SqliteStore.open(path, read_only=read_only)
    assert path.read_text() == "events:\n" * 200


def test_missing_folder(tmp_path: Path) -> None:
    """A store in a folder that is not there is refused in plain words."""
    with pytest.raises(StoreError, match="lock file"):
        SqliteStore.open(tmp_path / "no" / "s.db")


def test_a_new_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The file and its log can be read by nobody else; the rights of a file that is there are left alone."""
    store = SqliteStore.open(tmp_path / "s.db")
    store.commit(full_batch(1))
    assert {it.name: it.stat().st_mode & 0o077 for it in tmp_path.glob("s.db*") if not it.name.endswith(".lock")} == {
        "s.db": 0, "s.db-wal": 0, "s.db-shm": 0,
    }  # fmt: skip
    store.close()
    (tmp_path / "s.db").chmod(0o640)
    SqliteStore.open(tmp_path / "s.db").close()
    assert (tmp_path / "s.db").stat().st_mode & 0o777 == 0o640


def test_settings(tmp_path: Path) -> None:
    """The writer runs in WAL mode with full synchronisation.

    Semantics: store.durable
    """
    store = SqliteStore.open(tmp_path / "s.db")
    db = store._file.db
    assert db.execute("pragma journal_mode").fetchone() == ("wal",)
    assert db.execute("pragma synchronous").fetchone() == (2,)
    store.close()


def test_busy_file_is_a_store_error(tmp_path: Path) -> None:
    """A foreign process that holds the file makes a StoreError after the time-out, and nothing is lost.

    Failure: busy.lock — told
    """
    path = tmp_path / "s.db"
    store = SqliteStore.open(path, busy_seconds=0.01)
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("begin immediate")
    with pytest.raises(StoreError, match="cannot be written"):
        store.commit(full_batch(1))
    foreign.execute("rollback")
    foreign.close()
    assert store.commit(full_batch(1)) == 0
    store.close()


@pytest.mark.parametrize(
    ("query", "values", "index"),
    [
        ("due_subjects", (1, "a", 9, 5), "COVERING INDEX subject_wake"),
        ("claimable", (1, "sms", 5), "INDEX effect_pending (channel=?)"),
        ("claimable_numbers", (1, "sms", 5), "INDEX effect_pending (channel=?)"),
        ("tries", (), "SCAN effect USING INDEX effect_pending"),
        ("outbox_open", ("dead",), "INDEX effect_open (delivery=?)"),
        ("by_receipt", ("sms", "r1"), "INDEX effect_receipt (channel=? AND receipt=?)"),
        ("open_deliveries", ("sending",), "INDEX effect_open (delivery=?)"),
        ("known_ids", ("[]",), "SEARCH decided_id USING PRIMARY KEY (id=?)"),
        ("decided_ids", ("[]",), "SEARCH decided_id USING PRIMARY KEY (id=?)"),
        ("load_states", ("[]",), "PRIMARY KEY (id=?)"),
    ],
)
def test_hot_queries_use_their_index(tmp_path: Path, query: str, values: tuple[Any, ...], index: str) -> None:
    """What is asked for every batch is found by an index, without sorting."""
    store = SqliteStore.open(tmp_path / "s.db")
    plan = store._file.db.execute("explain query plan " + queries("sqlite")[query], values).fetchall()
    text = " ".join(row[3] for row in plan)
    assert index in text
    assert "TEMP B-TREE" not in text
    assert "SCAN effect USING INDEX effect_pending" in text or "SCAN effect" not in text
    store.close()


# -- memory alone


def test_simulation_keeps_figures_only() -> None:
    """Without a log the memory store keeps states, counters and figures, and no events, effects or decisions."""
    store = MemoryStore(keep_log=False)
    assert store.commit(full_batch(1)) == 0
    assert store.commit(batch(events=[(event("e1"), 1)], effects=[effect("k1")], decisions=[decision()])) == 0
    assert list(store.effects()) == []
    assert list(store.events("u1")) == []
    assert list(store.decisions("u1")) == []
    assert store.claim(["sms"], 9, 9) == []
    assert store.counts()["events"] == 2
    assert store.summary()["welcome"]["entered"] == 1
    assert [state.id for state in store.subjects()] == ["u1", "v1"]


def test_memory_hands_over_live_states() -> None:
    """The memory store hands over the very object that was committed."""
    store = MemoryStore()
    state = State(id="u1", wake_at=1)
    store.commit(batch(states=[state]))
    assert store.load(["u1"])["u1"] is state
    assert store.due(2, 1)[0] is state


# -- the stores against each other

subjects = st.sampled_from(["a", "b", "c", "d", "e", "f"])
wakes = st.none() | st.integers(0, 6)
steps = st.lists(
    st.tuples(
        st.sampled_from(["commit", "commit", "commit", "reopen", "fold"]),
        st.dictionaries(subjects, wakes, max_size=4),
        st.lists(subjects, max_size=3),
        st.integers(0, 7),
        st.integers(1, 4),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_stores_agree(steps: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is committed, folded and reopened in whatever order: the others show what the memory store shows."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        little_at_a_time(monkeypatch)
        for kind in ("sqlite", "gentle", "postgres"):
            agree(Bench(kind, tmp_path_factory.mktemp("agree") / "s.db"), steps)


def agree(bench: Bench, steps: list[Any]) -> None:
    """A store does as the memory store does, step by step."""
    model = MemoryStore()
    for n, (verb, states, owners, before, limit) in enumerate(steps):
        if verb == "reopen":
            bench.reopen()
        elif verb == "fold":
            bench.store.fold()
        for store in (bench.store, model):
            store.commit(
                batch(
                    clock=n,
                    states=[State(id=name, wake_at=at, clock=n) for name, at in states.items()],
                    events=[(event(f"{n}.{i}", user=name), n) for i, name in enumerate(owners)],
                    effects=[effect(f"{name}.{n % 3}", user=name, time=n) for name in owners],
                    decisions=[decision(user=name) for name in owners],
                )
            )
        assert bench.store.due(before, limit) == model.due(before, limit)
        assert bench.store.next_wake() == model.next_wake()
        assert bench.store.load("abc") == model.load("abc")
    assert list(bench.store.subjects()) == list(model.subjects())
    assert list(bench.store.effects()) == list(model.effects())
    for name in "abcdef":
        assert list(bench.store.events(name)) == list(model.events(name))
        assert list(bench.store.effects(name)) == list(model.effects(name))
        assert list(bench.store.decisions(name)) == list(model.decisions(name))
    # the other checks are broken by what was committed: keys that were there, users without a state
    assert {it.check for it in bench.store.check()}.isdisjoint({"file", "effect-key", "trail", "wake-index"})
    bench.store.close()
