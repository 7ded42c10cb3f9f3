"""What the store in PostgreSQL does beside deciding: several who claim, parts of tables that go whole, scrubbing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import postgres_server
import pytest
from test_erasure import gone, known
from test_outbox import plan
from test_retention import add, all_gone
from test_store import batch, event

from engine.core.model import HOUR, State
from engine.core.subjects import PROGRAM
from engine.ports import Settlement
from engine.runtime.housekeeping import Housekeeping, Wishes
from engine.runtime.state import DaemonState
from engine.stores.postgres import PgStore
from engine.stores.sqlite import SqliteStore

PART = 1 << 22  #: numbers of a part of the table of events


@pytest.fixture
def url() -> str:
    return postgres_server.server().schema()


@pytest.fixture
def store(url: str) -> Iterator[PgStore]:
    made = PgStore.open(url)
    yield made
    made.close()


def test_workers_share_the_outbox(url: str, store: PgStore) -> None:
    """Four sessions that claim and settle at once send each delivery once, and each claims in order of decision."""
    keys = [f"k{n:04}" for n in range(1200)]
    for start in range(0, len(keys), 400):
        plan(store, *keys[start : start + 200])
        plan(store, *keys[start + 200 : start + 400], channel="mail")
    claimed: list[list[str]] = [[] for _ in range(4)]
    failed: list[BaseException] = []

    def work(place: int) -> None:
        mine = PgStore.open(url, beside=True)
        try:
            while found := mine.claim(["sms", "mail"], 100, 17):
                got = [it.key for it in found]
                assert got == sorted(got)
                claimed[place] += got
                mine.settle([Settlement(key, "sent", receipt=key) for key in got])
        except BaseException as error:
            failed.append(error)
        finally:
            mine.close()

    workers = [Thread(target=work, args=(place,)) for place in range(4)]
    for it in workers:
        it.start()
    for it in workers:
        it.join()
    assert failed == []
    assert sorted(key for part in claimed for key in part) == keys
    assert sum(1 for _ in store.outbox("sent")) == len(keys)
    assert store.by_receipt("mail", "k0300") == "k0300"


def test_what_is_claimed_is_passed_over(url: str, store: PgStore) -> None:
    """A session that holds deliveries it is claiming keeps nobody waiting: others take those behind."""
    plan(store, *(f"k{n}" for n in range(6)))
    other = PgStore.open(url, beside=True)
    with store._file.transaction("claim"):
        assert [row[3] for row in store._claimed(["sms"], 100, 2)] == ["k0", "k1"]
        assert [it.key for it in other.claim(["sms"], 100, 3)] == ["k2", "k3", "k4"]
        assert [it.key for it in other.claim(["sms"], 100, 3)] == ["k5"]
    assert [it.key for it in store.stuck()] == [f"k{n}" for n in range(6)]
    other.close()


def test_a_claim_needs_no_statistics(store: PgStore) -> None:
    """However much was sent, a claim looks at what waits for its channel alone: by the index, and also where the server
    knows nothing of the table."""
    plan(store, *(f"k{n}" for n in range(2000)))
    store.settle([Settlement(f"k{n}", "sent") for n in range(1990)])
    rows = store._file.db.execute("explain " + _claim_text(), (["sms"], 100, 5)).fetchall()
    words = "\n".join(row[0] for row in rows)
    assert "effect_pending" in words
    assert "Tid Scan" in words
    assert "Seq Scan" not in words
    assert [it.key for it in store.claim(["sms"], 100, 5)] == [f"k{n}" for n in range(1990, 1995)]


def _claim_text() -> str:
    from engine.stores.sql.postgres_schema import Q

    return Q["claim"]


def parts(store: PgStore) -> list[str]:
    """Parts of the table of events."""
    found = store._file.db.execute(
        "select relname from pg_inherits join pg_class on pg_class.oid = inhrelid where inhparent = 'event'::regclass"
    )
    return sorted(row[0] for row in found.fetchall())


def decide(store: PgStore, n: int, at: int) -> None:
    """An event of a user that the program hears too, numbered ``n``."""
    store._file.db.execute("select setval('event_number', $1, false)", (n,))
    store._file.db.execute("select event_room()")
    events = [(event(f"e{n}", f"u{n}", time=at), at)]
    store.commit(batch(clock=at, events=events, others=[(0, PROGRAM)], states=[State(id=f"u{n}")]))


def test_an_old_part_goes_as_a_whole(store: PgStore) -> None:
    """A part of the table that is old as a whole is dropped in one step, whatever the limit; its room is given back. One
    that is not loses its oldest rows, and goes when it is empty.

    Semantics: retention.forgets
    """
    for n, at in ((1, 1), (2, 2), (PART, 3), (PART + 1, 4), (2 * PART, 5)):
        decide(store, n, at)
    assert parts(store)[:3] == ["event_0", "event_1", "event_2"]
    assert store.forget({"events": 2}, 1) == {"events": 1}
    assert store.forget({"events": 4}, 1) == {"events": 1}
    assert "event_0" not in parts(store)
    assert store.forget({"events": 4}, 1) == {"events": 1}
    assert store.forget({"events": 4}, 1) == {"events": 0}
    assert "event_1" in parts(store)
    assert store.forget({"events": 6}, 1) == {"events": 1}
    assert "event_1" not in parts(store)
    assert [it.id for it, _ in store.events(PROGRAM)] == [f"e{2 * PART}"]
    assert [store.forgotten(f"u{n}") for n in (1, 2, PART, PART + 1, 2 * PART)] == [4, 4, 4, 4, None]
    assert store.known([f"e{n}" for n in (1, 2, PART)]) == {f"e{n}" for n in (1, 2, PART)}
    assert store.check() == []


def test_whoever_reads_keeps_a_part(url: str, store: PgStore) -> None:
    """While somebody looks at the events a part of the table stays for the moment: nobody is kept waiting for him."""
    for n, at in ((1, 1), (PART, 2)):
        decide(store, n, at)
    reader = PgStore.open(url, read_only=True)
    with reader._file.snapshot():
        assert len(list(reader.decided(0))) == 2
        assert store.forget({"events": 2}, 9) == {"events": 1}
        assert "event_0" in parts(store)
    reader.close()
    decide(store, PART + 1, 3)
    assert store.forget({"events": 3}, 9) == {"events": 1}
    assert "event_0" not in parts(store)


def test_samples_of_people_are_not_kept(store: PgStore) -> None:
    """The server gathers no statistics of columns that hold names, texts or states, also of parts made later."""
    decide(store, 3 * PART, 1)
    store.commit(batch(clock=2, **known("u1")))
    store._file.db.execute("analyze")
    kept = {
        row[0]
        for row in store._file.db.execute(
            "select tablename || '.' || attname from pg_stats where schemaname = current_schema() "
            "and attname in ('id', 'subject', 'state', 'body', 'raw', 'message', 'user', 'occurrence', 'receipt')"
        ).fetchall()
    }
    assert kept == set()


def test_the_daemon_scrubs_at_night(store: PgStore) -> None:
    """After an erasure the tables are written anew in the small hours; by day nobody has to wait for that.

    Semantics: erasure.records — by housekeeping
    """
    store.set_meta("secret", "cd" * 32)
    store.commit(batch(clock=3, **known("u1")))
    store.commit(gone("u1", 5))
    clock = [0.0]
    house = Housekeeping(store, DaemonState(), lambda: clock[0])
    for hour, due in ((13, True), (3, False)):
        clock[0] += 2 * HOUR / 1_000_000
        house.call()
        while house.piece(Wishes({}, "UTC", hour * HOUR)):
            pass
        assert store.unscrubbed() is due


@pytest.mark.parametrize("ids", [0, 2, 5, 9])
def test_a_copy_knows_what_was_forgotten(store: PgStore, tmp_path: Path, ids: int) -> None:
    """Wherever forgetting stands, also in the middle of a round, a copy in a file remembers the same ids, keeps every
    promise, and forgets on."""
    for n in range(1, 9):
        add(store, n)
    store.forget({"events": 4}, 999)
    store.forget({"ids": ids}, 77)
    store.copy(tmp_path / "copy.db")
    copy = SqliteStore.open(tmp_path / "copy.db")
    every = [f"e{n}-{k}" for n in range(1, 9) for k in range(30)]
    assert copy.known(every) == store.known(every)
    assert copy.check() == store.check() == []
    for n in range(9, 15):
        add(copy, n)
    all_gone(copy, {"events": 12, "ids": 12}, 999)
    assert copy.known(every) == set()
    assert copy.check() == []
    copy.close()
