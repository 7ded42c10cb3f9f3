"""What a store promises to people who look after the outbox, over every store: see it, try again, drop, find."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_outbox import plan, statuses
from test_store import Bench

from engine.core.model import Event
from engine.ports import Delivery, Settlement
from engine.stores import codec
from engine.stores.memory import MemoryStore
from engine.stores.sql import migrations, sqlite_schema
from engine.stores.sql.sqlite_file import nothing
from engine.stores.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(request.param, tmp_path / "s.db")
    yield made
    made.store.close()


@pytest.fixture
def store(bench: Bench) -> Any:
    return bench.store


def everything(store: Any) -> None:
    """A delivery in each status."""
    plan(store, "dead", "unknown", "sent", "sending", "again", "new")
    store.claim(["sms"], 100, 5)
    store.settle(
        [
            Settlement("dead", "dead", "no such number"),
            Settlement("unknown", "unknown", "time-out"),
            Settlement("sent", "sent", receipt="r1"),
            Settlement("again", "retry", "busy", 900),
        ]
    )


def seen(it: Delivery | None) -> tuple[Any, ...]:
    assert it is not None
    return (it.item.key, it.status, it.reason, it.item.attempts, it.item.first, it.next_at, it.receipt)


def test_what_stands_in_the_outbox(bench: Bench) -> None:
    """Each status shows its deliveries in order of decision, with reason, tries, and when it is tried again."""
    everything(bench.store)
    for opened in (lambda: bench.store, bench.reopen):
        store = opened()
        assert [seen(it) for it in store.outbox("pending")] == [
            ("again", "pending", "busy", 1, 100, 900, None),
            ("new", "pending", None, 0, None, None, None),
        ]
        assert [seen(it) for it in store.outbox("dead")] == [("dead", "dead", "no such number", 1, 100, None, None)]
        assert [seen(it) for it in store.outbox("sending")] == [("sending", "sending", None, 1, 100, None, None)]
        assert [seen(it) for it in store.outbox("sent")] == [("sent", "sent", None, 1, 100, None, "r1")]
        assert list(store.outbox("held")) == []
        assert seen(store.delivery("unknown")) == ("unknown", "unknown", "time-out", 1, 100, None, None)
        assert store.delivery("nobody") is None
        assert store.tries() == [900]
        assert store.waits("sms", 899) is True
        assert store.waits("mail", 10**6) is False


def test_what_waits_is_what_can_be_claimed(store: Any) -> None:
    """`waits` says whether a claim would find something."""
    plan(store, "a")
    store.claim(["sms"], 1, 1)
    assert not store.waits("sms", 10**9)
    store.settle([Settlement("a", "retry", None, 50)])
    assert [store.waits("sms", at) for at in (49, 50)] == [False, True]


def test_redrive(bench: Bench) -> None:
    """Dead and unknown deliveries go again, under their keys, with all their tries and all their time; others do not.

    Semantics: outbox.verbs
    """
    everything(bench.store)
    keys = ["dead", "unknown", "sent", "sending", "again", "new", "nobody", "dead"]
    assert bench.store.redrive(keys) == 2
    store = bench.reopen()
    assert [seen(store.delivery(key))[1:6] for key in ("dead", "unknown")] == [
        ("pending", "no such number", 0, None, None),
        ("pending", "time-out", 0, None, None),
    ]
    claimed = {it.key: (it.attempts, it.first) for it in store.claim(["sms"], 500, 9)}
    assert claimed == {"dead": (0, 500), "unknown": (0, 500), "new": (0, 500)}
    assert store.redrive(["dead"]) == 0


def test_drop(bench: Bench) -> None:
    """What is not on its way and did not go out is dropped for good; what follows from that is in the inbox.

    Semantics: outbox.verbs
    """
    everything(bench.store)
    event = Event("answer:dead", "x", 5, "u1", internal=True)
    assert bench.store.drop(["dead", "unknown", "sent", "sending", "again", "new", "nobody", "new"], [event]) == 4
    store = bench.reopen()
    assert statuses(store) == {
        **dict.fromkeys(["dead", "unknown", "again", "new"], "cancelled"), "sent": "sent", "sending": "sending"
    }  # fmt: skip
    assert {it.reason for it in store.outbox("cancelled")} == {"dropped"}
    assert store.claim(["sms"], 10**9, 9) == []
    assert store.redrive(["dead", "new"]) == 0
    assert [it for _, it in store.inbox(0, 9)] == [event]


def test_events_of_a_settlement_come_once(bench: Bench) -> None:
    """A settlement and its events are there together; the same event again changes nothing."""
    plan(bench.store, "a")
    event = Event("answer:a", "webhook.answered", 5, "u1", data={"status": None}, internal=True)
    for _ in range(2):
        bench.store.settle([Settlement("a", "dead", "x")], [event])
    store = bench.reopen()
    assert [it for _, it in store.inbox(0, 9)] == [event]
    assert store.counts()["duplicate"] == 0
    assert statuses(store) == {"a": "dead"}


def test_what_was_cancelled_stays_so(bench: Bench) -> None:
    """A delivery cancelled while a channel had it is not tried again; if it went out after all, that is said."""
    store = bench.store
    plan(store, "a", "b", "c", "d")
    store.claim(["sms"], 1, 9)
    store.settle([Settlement(key, "cancelled", "erased") for key in "abcd"])
    store.settle([Settlement("d", "dead", "no such number")])
    store.settle([Settlement("a", "retry", "busy", 5), Settlement("b", "sent")])
    store.settle([Settlement("c", "passed_on", "no", channel="mail")])
    assert statuses(bench.reopen()) == {"a": "cancelled", "b": "sent", "c": "cancelled", "d": "cancelled"}
    assert bench.store.claim(["sms", "mail"], 10**9, 9) == []


def test_no_try_is_counted_that_was_none(store: Any) -> None:
    """A settlement that says so takes the try back that the claim has counted; the first try stays the first."""
    plan(store, "a")
    for now in (100, 200):
        store.claim(["sms"], now, 1)
        store.settle([Settlement("a", "retry", "429", now, uncounted=True)])
    (item,) = store.claim(["sms"], 300, 1)
    assert (item.attempts, item.first) == (0, 100)


def test_the_next_channel_has_its_own_time(store: Any) -> None:
    """Passed on, a message has its first try by the next channel still before it, and no receipt."""
    plan(store, "a")
    store.claim(["sms"], 100, 1)
    store.settle([Settlement("a", "passed_on", "no", channel="mail")])
    assert seen(store.delivery("a"))[3:] == (0, None, None, None)
    (item,) = store.claim(["mail"], 700, 1)
    assert (item.attempts, item.first, item.channel) == (0, 700, "mail")


def test_by_receipt(bench: Bench) -> None:
    """A provider's id leads to the newest delivery of its channel that got it."""
    plan(bench.store, "a", "b")
    plan(bench.store, "m", channel="mail")
    bench.store.claim(["sms", "mail"], 1, 9)
    bench.store.settle([Settlement(key, "sent", receipt="1") for key in "abm"])
    store = bench.reopen()
    asked = [("sms", "1"), ("mail", "1"), ("sms", "2")]
    assert [store.by_receipt(channel, receipt) for channel, receipt in asked] == ["b", "m", None]


@pytest.mark.parametrize("limit", [1, 3, 9])
def test_several_channels_are_claimed_in_one_order(store: Any, limit: int) -> None:
    """Deliveries of several channels are claimed in the order of their decision, whatever the channel."""
    for number in range(9):
        plan(store, f"k{number}", channel="abc"[number % 3])
    found = [it.key for it in store.claim(["c", "a"], 1, limit)]
    assert found == ["k0", "k2", "k3", "k5", "k6", "k8"][:limit]


def _before(name: str, path: Path) -> sqlite3.Connection:
    """A store file as it was before a migration."""
    steps = migrations("sqlite")
    number = next(it.version for it in steps if it.name == name)
    db = sqlite3.connect(path, isolation_level=None)
    sqlite_schema.migrate(db, path, read_only=False, fault=nothing, steps=steps[: number - 1])
    return db


def test_an_older_store_keeps_its_outbox(tmp_path: Path) -> None:
    """A store from before lanes opens with every delivery where it stood; what was tried counts its time from then."""
    path = tmp_path / "s.db"
    db = _before("lanes", path)
    memory = MemoryStore()
    plan(memory, "again", "dead", "new", "sending", "sent")
    places: dict[str, tuple[str, int, int | None]] = {
        "again": ("pending", 2, 50),
        "dead": ("dead", 8, None),
        "sending": ("sending", 1, None),
        "sent": ("sent", 1, None),
    }
    for effect, _ in memory.effects():
        delivery, attempts, next_at = places.get(effect.key, ("pending", 0, None))
        row = (effect.key, "u1", effect.time, "sms", codec.effect_body(effect), delivery, attempts, next_at)
        db.execute(
            "insert into effect (key, subject, time, channel, body, delivery, attempts, next_at)"
            " values (?, ?, ?, ?, ?, ?, ?, ?)", row,
        )  # fmt: skip
    db.close()
    store = SqliteStore.open(path)
    assert statuses(store) == {key: place[0] for key, place in places.items()} | {"new": "pending"}
    assert [it.key for it in store.stuck()] == ["sending"]
    assert store.tries() == [50]
    assert [(it.key, it.attempts, it.first) for it in store.claim(["sms"], 60, 9)] == [("again", 2, 60), ("new", 0, 60)]
    store.settle([Settlement("again", "sent", receipt="r")])
    assert store.by_receipt("sms", "r") == "again"
    assert store.redrive(["dead"]) == 1
    store.close()
