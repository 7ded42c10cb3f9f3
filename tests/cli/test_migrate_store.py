"""``drumbeat store migrate``: what was in the file is in PostgreSQL, and goes on there as it would have gone on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import postgres_server
import pytest
from test_fsck import BOOK, CATALOG
from test_store import batch, decision, event

from engine.core.slots import SlotRow
from engine.core.subjects import PROGRAM, of_group
from engine.errors import StoreError
from engine.ports import Rejected
from engine.runtime.standing import HELD
from engine.stores import moving, sealing
from engine.stores.postgres import PgStore
from engine.stores.relocating import relocate
from engine.stores.sqlite import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """A program whose store has something of everything, also erased, forgotten, refused and waiting."""
    found = make({"playbooks/gift.yaml": BOOK, "playbooks/catalog/all.yaml": CATALOG})
    times = [("u1", "01T01"), ("u2", "02T01"), ("u1", "03T01"), ("u3", "09T01")]
    lines = [
        json.dumps({"id": f"x{n}", "type": "order.paid", "user": user, "time": f"2026-03-{time}:00:00Z"})
        for n, (user, time) in enumerate(times)
    ]
    lines += [
        '{"id": "c1", "type": "checkin", "user": "u3", "time": "2026-03-09T01:30:00Z"}',
        '{"id": "gone", "type": "user.deleted", "user": "u2", "time": "2026-03-09T02:00:00Z"}',
        '{"id": "in", "type": "group.join", "user": "u3", "group": "club", "time": "2026-03-09T02:30:00Z"}',
        '{"id": "odd", "type": "order.paid", "user": "u4"}',
    ]
    (found / "feed.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    drumbeat("ingest", found / "feed.jsonl", "--program", found)
    assert drumbeat("run", "--until-idle", "--program", found).code == 0
    (found / "more.jsonl").write_text(
        '{"id": "w1", "type": "order.paid", "user": "u1", "time": "2026-03-10T01:00:00Z"}\n', encoding="utf-8"
    )
    drumbeat("ingest", found / "more.jsonl", "--program", found)
    store = SqliteStore.open(found / "drumbeat.db")
    clock = store.clock()
    for n in (1, 2):
        happened = [(event(f"late{n}{k}", "u1", time=clock + n), clock + n) for k in range(3)]
        store.commit(
            batch(
                clock=clock + n, events=happened, decisions=[decision("u1", time=clock + n)],
                goals=[("gift", "x0", "u1", False, clock + n)], worth=[(0, Decimal("7.50"))],
                slots={"gift/0": msgspec.json.encode(SlotRow(clock, clock))}, positions={"feed": n},
            )
        )  # fmt: skip
    store.add_codes("paper", ["P-1", "P-2"])
    assert store.forget({"events": clock + 2, "ids": clock - 30 * 86_400_000_000}, 200)["events"] > 0
    store.close()
    return found


def told(store: Any) -> dict[str, Any]:
    """All that a store tells anybody."""
    subjects = [it.id for it in store.subjects()]
    about = [*subjects, "u1", "u2", "u3", PROGRAM, of_group("club")]
    return {
        "states": list(store.subjects()),
        "loaded": store.load(["u1", "u2", "u3"]),
        "next": (store.next_wake(), store.wakes(1 << 62, 99)),
        "clock": store.clock(),
        "events": {it: list(store.events(it)) for it in about},
        "forgotten": {it: store.forgotten(it) for it in about},
        "erased": store.erased(about),
        "known": store.known(["x0", "x1", "x2", "x3", "c1", "gone", "in", "w1", "odd"]),
        "effects": list(store.effects()),
        "outcomes": {it: store.outcomes(it) for it in about},
        "outbox": {status: list(store.outbox(status)) for status in ("pending", "sent", "dead", "cancelled")},
        "answers": {it: store.answers(it) for it in about},
        "decisions": {it: list(store.decisions(it)) for it in about},
        "ledger": list(store.ledger()),
        "coupons": list(store.coupons()),
        "resources": store.resources(),
        "slots": store.slots(),
        "versions": store.versions(used=False),
        "figures": (store.counts(), store.summary(), store.head_count()),
        "inbox": [it for _, it in store.inbox(0, 99)],
        "quarantine": [(it.feed, it.position, it.reason, it.raw) for it in store.quarantine()],
        "plan": store.get_meta("plan"),
    }


def test_moved_it_is_the_same_and_goes_on(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """Everything a store tells is told by the new one; what is decided from there on is the same; the old one is held.

    Semantics: store.fsck
    """
    for rest in ("", "-wal"):
        if (root / f"drumbeat.db{rest}").exists():
            shutil.copy(root / f"drumbeat.db{rest}", root / f"stays.db{rest}")
    url = postgres_server.server().schema()
    said = drumbeat("store", "migrate", "sqlite:///drumbeat.db", url, "--program", root, "--format", "json")
    assert said.code == 0, said.err
    counts = {kind: it["count"] for kind, it in said.json["records"].items()}
    assert [kind for kind, n in counts.items() if not n] == []
    old, new = SqliteStore.open(root / "drumbeat.db"), PgStore.open(url, read_only=True)
    assert told(new) == told(old)
    assert str(old.get_meta(HELD)).startswith("it was moved to postgresql://")
    assert not new.get_meta(HELD)
    old.close()
    new.close()
    assert drumbeat("fsck", "--program", root, "--store", url).code == 0
    assert drumbeat("outbox", "release", "--program", root, "--store", "sqlite:///stays.db").code == 0
    for where in ("sqlite:///stays.db", url):
        said = drumbeat("run", "--until-idle", "--program", root, "--store", where)
        assert said.code == 0, said.err
    kept, new = SqliteStore.open(root / "stays.db"), PgStore.open(url, read_only=True)
    one, other = told(kept), told(new)
    assert {it.key for it, _ in one["effects"]} == {it.key for it, _ in other["effects"]}
    assert one["states"] == other["states"]
    assert one["ledger"] == other["ledger"]
    assert new.check() == []
    kept.close()
    new.close()
    for words in (
        ("report",), ("audience", "user.id != ''"), ("why", "--user", "u3", "--playbook", "gift"), ("user", "u1"),
        ("users", "export", "u3"),
        ("outbox", "list"), ("coupons", "list"),
    ):  # fmt: skip
        both = [
            drumbeat(*words, "--program", root, "--store", where, "--format", "json")
            for where in ("sqlite:///stays.db", url)
        ]
        assert both[0].code == both[1].code == 0, (words, both[0].err, both[1].err)
        one, other = ({**it.json, "seconds": None} for it in both)
        assert one == other, words
    said = drumbeat("users", "erase", "u3", "--program", root, "--store", url)
    assert said.code == 0, said.err
    with closing(PgStore.open(url)) as new:
        assert not new.unscrubbed()
        assert (new.check(), list(new.events("u3"))) == ([], [])
    again = drumbeat("store", "migrate", "sqlite:///drumbeat.db", url, "--program", root)
    assert (again.code, "is not empty" in again.err) == (3, True)


def test_there_and_back(root: Path, drumbeat: Drumbeat) -> None:
    """From a file into one schema, into another, and back into a file: each tells what the one before told.

    Semantics: store.fsck
    """
    server = postgres_server.server()
    stations = ["sqlite:///drumbeat.db", server.schema(), server.schema(), "sqlite:///back.db"]
    first = SqliteStore.open(root / "drumbeat.db", read_only=True)
    before = told(first)
    first.close()
    for old, new in pairwise(stations):
        said = drumbeat("store", "migrate", old, new, "--program", root, "--quiet")
        assert said.code == 0, said.err
    last = SqliteStore.open(root / "back.db")
    assert told(last) == before
    assert last.check() == []
    add = [(event("new", "u1", time=last.clock() + 1), last.clock() + 1)]
    last.commit(batch(clock=last.clock() + 1, events=add))
    assert last.check() == []
    assert [it.id for it, _ in last.events("u1")][-1] == "new"
    last.forget({"events": last.clock() + 1, "ids": last.clock() + 1}, 999)
    assert last.check() == []
    last.close()


def test_a_backup_of_postgresql_is_a_file(root: Path, drumbeat: Drumbeat) -> None:
    """A backup of a store in PostgreSQL is a file as of any store; put back into an empty schema it tells the same and
    sends nothing; a plan is tried on a copy of such a store.

    Semantics: store.fsck
    """
    server = postgres_server.server()
    url, other = server.schema(), server.schema()
    assert drumbeat("store", "migrate", "sqlite:///drumbeat.db", url, "--program", root).code == 0
    said = drumbeat("backup", root / "saved.db", "--program", root, "--store", url)
    assert said.code == 0, said.err
    assert sorted(it.name for it in root.glob("saved.db*")) == ["saved.db"]
    assert drumbeat("fsck", "--program", root, "--store", "sqlite:///saved.db").code == 0
    again = drumbeat("backup", root / "saved.db", "--program", root, "--store", url)
    assert (again.code, "exists" in again.err) == (3, True)
    said = drumbeat("restore", root / "saved.db", "--program", root, "--store", other)
    assert said.code == 0, said.err
    one, two = PgStore.open(url, read_only=True), PgStore.open(other, read_only=True)
    assert told(one) == told(two)
    assert "restored from the backup" in str(two.get_meta(HELD))
    one.close()
    two.close()
    refused = drumbeat("restore", root / "saved.db", "--program", root, "--store", other)
    assert (refused.code, "is not empty" in refused.err) == (3, True)
    planned = drumbeat("plan", "--program", root, "--store", url, "--format", "json")
    assert planned.code in (0, 10), planned.err
    assert planned.json["store"].startswith("postgresql://")


def test_what_the_program_hears_of_is_no_difference(make: Make, drumbeat: Drumbeat) -> None:
    """A program that counts orders alone hears of no other events; a backup and a plan take such a store, too.

    Semantics: store.fsck
    """
    metrics = 'metrics: {orders: {title: Orders, value: \'count("order.paid", within="1d")\'}}\n'
    root = make({"playbooks/gift.yaml": BOOK, "playbooks/catalog/all.yaml": CATALOG + metrics})
    types = ("checkin", "order.paid", "checkin")
    lines = [
        {"id": f"x{n}", "type": it, "user": "u1", "time": f"2026-03-0{n + 1}T01:00:00Z"} for n, it in enumerate(types)
    ]
    (root / "feed.jsonl").write_text("".join(json.dumps(it) + "\n" for it in lines), encoding="utf-8")
    url = postgres_server.server().schema()
    assert drumbeat("ingest", root / "feed.jsonl", "--program", root, "--store", url).code == 0
    assert drumbeat("run", "--until-idle", "--program", root, "--store", url).code == 0
    store = PgStore.open(url, read_only=True)
    assert {it.type for it, _ in store.events(PROGRAM) if not it.internal} == {"order.paid"}
    store.close()
    said = drumbeat("backup", root / "saved.db", "--program", root, "--store", url)
    assert said.code == 0, said.err
    said = drumbeat("plan", "--program", root, "--store", url)
    assert said.code == 0, said.err


def test_interrupted_anywhere_it_begins_again(root: Path) -> None:
    """Whenever a move is broken off, the next one begins anew or compares what is there; in the end all is there once.

    Semantics: store.fsck
    """

    class Broken(Exception):
        """Somebody pulled the plug."""

    def until(stop: int) -> Callable[[str], None]:
        heard: list[str] = []

        def hear(words: str) -> None:
            heard.append(words)
            if len(heard) == stop:
                raise Broken(words)

        return hear

    url, path = postgres_server.server().schema(), root / "drumbeat.db"
    names, resumed = ("sqlite:///drumbeat.db", "there"), []
    for stop in (1, 2, 9, 13, 2 + len(moving.KINDS), 9 + len(moving.KINDS), 2 + 2 * len(moving.KINDS), 999):
        old, new = SqliteStore.open(path), PgStore.open(url)
        try:
            resumed.append(relocate(old, new, names, sealing.Plain(), until(stop)).resumed)
        except Broken:
            assert old.get_meta(HELD) or stop == 1
            assert new.get_meta(HELD) or not list(new.subjects())
        finally:
            old.close()
            new.close()
    assert resumed == [True]
    old, new = SqliteStore.open(path), PgStore.open(url)
    assert moving.differing(moving.sums(old.moving()), moving.sums(new.moving())) == []
    assert not new.get_meta(HELD)
    with pytest.raises(StoreError, match="is not empty"), new.moving().whole():
        pass
    old.close()
    new.close()


def test_a_difference_is_found(root: Path) -> None:
    """A record that is missing, altered or out of order makes its kind differ.

    Semantics: store.fsck
    """
    url, path = postgres_server.server().schema(), root / "drumbeat.db"
    old, new = SqliteStore.open(path), PgStore.open(url)
    relocate(old, new, ("a", "b"), sealing.Plain(), lambda words: None)
    before = moving.sums(old.moving())
    assert moving.differing(before, moving.sums(new.moving())) == []
    new._file.db.execute("insert into heard (subject, seq) select $1, max(seq) from event", (of_group("other"),))
    assert moving.differing(before, moving.sums(new.moving())) == ["event"]
    changes = {
        "event": "update event set body = body || ' '::bytea where seq = (select max(seq) from event)",
        "effect": "delete from effect where key = (select min(key) from effect)",
        "entry": "update entry set seq = default where seq = 1",
        "counter": "update counter set n = n + 1 where name = 'events'",
    }
    for statement in changes.values():
        new._file.db.execute(statement)
    assert moving.differing(before, moving.sums(new.moving())) == ["event", "effect", "entry", "counter"]
    old.close()
    new.close()


def test_what_cannot_be_moved_is_said(root: Path, drumbeat: Drumbeat) -> None:
    """A store that is not there or broken, a move to itself or into a file: each is refused with what to do."""
    url = postgres_server.server().schema()
    for words, hint in (
        (("sqlite:///nothing.db", url), "there is no store"),
        (("sqlite:///drumbeat.db", "sqlite:///drumbeat.db"), "is moved to itself"),
        (("sqlite:///drumbeat.db", "sqlite:///other.db"), "are both files"),
        (("sqlite:///drumbeat.db", "postgresql://127.0.0.1:1/nobody"), "cannot be reached"),
    ):
        said = drumbeat("store", "migrate", *words, "--program", root)
        assert (said.code, hint in said.err) == (3, True), said.err
    store = SqliteStore.open(root / "drumbeat.db")
    assert not store.get_meta(HELD)
    store.commit(batch(clock=store.clock(), rejected=[Rejected("f", 9, "json", "a\0b", b"{", 1)]))
    store.close()
    said = drumbeat("store", "migrate", "sqlite:///drumbeat.db", url, "--program", root)
    assert (said.code, "no text with a NUL" in said.err) == (3, True), said.err
    store = SqliteStore.open(root / "drumbeat.db")
    assert str(store.get_meta(HELD)).startswith("it is being moved to")
    store._file.db.execute("update counter set n = n + 1 where name = 'events'")
    store.close()
    said = drumbeat("store", "migrate", "sqlite:///drumbeat.db", url, "--program", root)
    assert (said.code, "counter (1)" in said.err) == (3, True)


def changed(table: str, column: str, old: str, new: str, where: str = "true") -> str:
    """A statement that alters bytes."""
    said = f"convert_to(replace(convert_from({column}, 'UTF8'), '{old}', '{new}'), 'UTF8')"
    return f"update {table} set {column} = {said} where {where} and {column} <> {said}"  # noqa: S608 - the test's own


PLANTED = {
    "file": "update pg_index set indisvalid = false where indexrelid = 'subject_wake'::regclass",
    "wake-index": "update subject set wake_at = coalesce(wake_at, 0) + 1 where id = 'u3'",
    "part": "update subject set part = (part + 1) % 256 where id = 'u3'",
    "state-name": changed("subject", "state", '"id":"u3"', '"id":"u4"'),
    "orphan-effect": "delete from subject where id = 'u3'",
    "effect-subject": "update effect set subject = 'u3' where subject = 'u1'",
    "coupon-code": "update coupon_grant set code = 'stolen' where code = (select min(code) from coupon_grant)",
    "coupon-pool": "update coupon_grant set status = 'returned' where code = (select min(code) from coupon_grant)",
    "points": changed("effect", "body", '"delta":5', '"delta":6', "subject = 'u3'"),
    "points-balance": changed("subject", "state", '"points":{"main":', '"points":{"main":9', "id = 'u3'"),
    "ledger-key": "insert into entry (key, subject, book, name, time, body) "
    "select key, subject, book, name, time, body from entry where seq = 1",
    "ledger-pool": changed("entry", "body", '"issued",1', '"opening",1'),
    "ledger-room": changed("entry", "body", '"club","held",1', '"club","held",2'),
    "points-balance waiting": changed("entry", "body", '"main pending","pending",7', '"main pending","pending",8'),
    "points-balance reserved": changed("entry", "body", '"main held","held",2', '"main held","held",1'),
    "ledger-pool reward": changed("entry", "body", '"mug","held",1', '"mug","held",2'),
    "counter": "update counter set n = n + 1 where name = 'events'",
    "counter of effects": "update counter set n = n + 1 where name like 'effects.%'",
    "figure": "update figure set n = n - 1 where name = 'effects' and playbook = 'gift'",
    "inbox": "insert into inbox (part, seq, id, body) select 0, 1, min(id), '' from decided_id",
    "delivery": "update effect set delivery = 'pending', channel = null where delivery = 'sent'",
    "trail": "update event set subject = 'nobody' where subject = 'u1'",
    "trail of entries": "update entry set subject = 'u1' where subject = 'u3'",
    "trail of decisions": "update decision set time = time + 1",
    "trail of groups": "insert into heard values ('x', 99)",
    "clock": "update engine set at = 1",
    "event-id": "delete from decided_id where id = 'late21'",
    "event-id of none": "update decided_id set id = 'nobodys' where id = 'late21'",
    "version": "delete from version",
    "schema": "update migration set sha256 = 'x' where version = 2",
}


def test_fsck_finds_what_was_planted(root: Path) -> None:
    """Each promise that a store in PostgreSQL does not keep any more is found by its name; a sound one passes.

    Failure: fsck.finds
    """
    store = PgStore.open(postgres_server.server().schema())
    old = SqliteStore.open(root / "drumbeat.db")
    relocate(old, store, ("a", "b"), sealing.Plain(), lambda words: None)
    old.close()
    assert store.check() == []
    missed = []
    for name, statement in PLANTED.items():
        store._file.db.execute("begin")
        assert store._file.db.execute(statement).rowcount > 0, name
        found = [it.check for it in store.check()]
        store._file.db.execute("rollback")
        if name.partition(" ")[0] not in found:
            missed.append((name, found))
    assert missed == []
    store.close()
