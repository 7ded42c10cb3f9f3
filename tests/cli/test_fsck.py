"""``drumbeat fsck``: a sound store passes, and each planted error is found by its name."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

CATALOG = """coupons:
  tea: {codes: {generate: TEA}, limits: {total: 50, per_user: 9}, valid_for: 30d, value: {off: 5}}
groups:
  club:
    title: 茶友
    rooms: [{id: r1, link: "https://g.example/1", capacity: 20}]
points:
  main:
    expires: 60d
    earn:
      - {event: order.paid, points: 7, pending: 2d, reverse_on: {event: order.refunded, match: order_id}}
      - {event: checkin, points: 3, per_day: 1}
rewards:
  mug: {points: 2, stock: 9, per_user: 3}
"""

BOOK = """playbook: gift
title: 礼物
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps:
  - points: 5
  - coupon: tea
  - invite: club
  - message: {template: thanks, via: box, purpose: service}
  - redeem: mug
    id: mug
  - wait: 3d
  - redeem: {confirm: mug}
  - points: -2
"""


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """A program whose store has a little of everything: balances, codes, seats, journeys on their way, an inbox."""
    found = make({"playbooks/gift.yaml": BOOK, "playbooks/catalog/all.yaml": CATALOG})
    times = [("u1", "01T01"), ("u2", "02T01"), ("u1", "03T01"), ("u3", "09T01")]
    lines = [
        json.dumps({"id": f"x{n}", "type": "order.paid", "user": user, "time": f"2026-03-{time}:00:00Z"}) + "\n"
        for n, (user, time) in enumerate(times)
    ]
    lines.append('{"id": "c1", "type": "checkin", "user": "u3", "time": "2026-03-09T01:30:00Z"}\n')
    lines.append('{"id": "gone", "type": "user.deleted", "user": "u2", "time": "2026-03-09T02:00:00Z"}\n')
    (found / "feed.jsonl").write_text("".join(lines), encoding="utf-8")
    drumbeat("ingest", found / "feed.jsonl", "--program", found)
    assert drumbeat("run", "--until-idle", "--program", found).code == 0
    return found


def fold(root: Path) -> None:
    """States go to their places, so that they can be tampered with there."""
    from engine.stores.sqlite import SqliteStore

    store = SqliteStore.open(root / "drumbeat.db")
    store.fold()
    store.close()


def found(root: Path, drumbeat: Drumbeat) -> list[str]:
    """Names of the checks that found something."""
    said = drumbeat("fsck", "--program", root, "--format", "json")
    assert said.code == (0 if said.json["ok"] else 1)
    return [it["check"] for it in said.json["faults"]]


def test_a_sound_store(root: Path, drumbeat: Drumbeat) -> None:
    """What the engine wrote keeps every promise, folded or not.

    Semantics: store.fsck
    """
    assert found(root, drumbeat) == []
    fold(root)
    assert found(root, drumbeat) == []
    assert drumbeat("fsck", "--program", root).out.startswith("ok          3 users, 6 events")


PLANTED = {
    "wake-index": "update subject set wake_at = wake_at + 1 where id = 'u3'",
    "state-name": """update subject set state = cast(replace(cast(state as text), '"id":"u3"', '"id":"u4"') as blob)
        where id = 'u3'""",
    "orphan-effect": "delete from subject where id = 'u3'",
    "effect-subject": "update effect set subject = 'u3' where subject = 'u1'",
    "coupon-code": "update coupon_grant set code = 'stolen' where code = (select min(code) from coupon_grant)",
    "coupon-pool": "insert into coupon_grant values ('NEW-1', 'tea', (select key from effect limit 1))",
    "points": """update effect set body = cast(replace(cast(body as text), '"delta":5', '"delta":6') as blob)
        where subject = 'u3' and cast(body as text) like '%"delta":5%'""",
    "points-balance": """update subject
        set state = cast(replace(cast(state as text), '"points":{"main":', '"points":{"main":9') as blob)
        where id = 'u3'""",
    "ledger-key": """insert into entry_block (seq, body)
        select max(seq) + 1, cast(json_array(cast(body as text) -> '$[0]') as blob) from entry_block""",
    "ledger-pool": """update entry_block
        set body = cast(replace(cast(body as text), '"issued",1', '"opening",1') as blob)""",
    "ledger-room": """update entry_block
        set body = cast(replace(cast(body as text), '"club","held",1', '"club","held",2') as blob)""",
    "points-balance waiting": """update entry_block
        set body = cast(replace(cast(body as text), '"main pending","pending",7',
            '"main pending","pending",8') as blob)""",
    "points-balance reserved": """update entry_block
        set body = cast(replace(cast(body as text), '"main held","held",2', '"main held","held",1') as blob)""",
    "ledger-pool reward": """update entry_block
        set body = cast(replace(cast(body as text), '"mug","held",1', '"mug","held",2') as blob)""",
    "counter": "update counter set n = n + 1 where name = 'events'",
    "figure": "update figure set n = n - 1 where name = 'effects' and playbook = 'gift'",
    "inbox": "insert into inbox (id, body) values ('x0', x'00')",
    "delivery": "update effect set delivery = 'pending', channel = null where delivery = 'sent'",
    "trail": "insert into trail values ('nobody', 1, 1)",
    "clock": "update clock set at = 1",
    "event-id": "delete from decided_id where id = (select min(id) from decided_id)",
    "version": "delete from version",
    "schema": "update migration set sha256 = 'x' where version = 2",
    "seats": "room",
}


def plant(root: Path, name: str) -> None:
    """Make one promise of the file untrue."""
    db = sqlite3.connect(root / "drumbeat.db")
    if name == "seats":
        empty = msgspec.msgpack.encode({"taken": {}, "turn": 0})
        done = db.execute("update resource set body = ? where name = 'seat:club'", (empty,)).rowcount
    else:
        done = db.execute(PLANTED[name]).rowcount
    assert done > 0
    db.commit()
    db.close()


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_error_is_found(root: Path, drumbeat: Drumbeat, name: str) -> None:
    """A check that never failed proves nothing: each finds its error, and its name is among what is said.

    Semantics: store.fsck, ledger.sums — mutants
    Failure: fsck.finds
    """
    fold(root)
    plant(root, name)
    assert name.split()[0] in found(root, drumbeat)


def test_a_damaged_file_is_told_alone(root: Path, drumbeat: Drumbeat) -> None:
    """Where SQLite itself finds damage, or cannot read on, that is the one thing said, without a traceback."""
    path = root / "drumbeat.db"
    fold(root)
    db = sqlite3.connect(path)
    db.execute("pragma wal_checkpoint(truncate)")
    page = db.execute("select rootpage from sqlite_schema where name = 'effect_key'").fetchone()[0]
    db.close()
    raw = bytearray(path.read_bytes())
    raw[(page - 1) * 4096 + 40 : page * 4096] = b"\x55" * (4096 - 40)
    path.write_bytes(raw)
    said = drumbeat("fsck", "--program", root)
    assert said.code in (1, 3)
    assert "Traceback" not in said.err
    assert "file:" in said.out or "cannot be read" in said.err
