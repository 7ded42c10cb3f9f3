"""``drumbeat doctor`` and the ledger: sums that do not hold are bad, limits that are exceeded are told."""

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
  tea: {codes: {generate: TEA}, limits: {total: 50, per_user: 9, budget: 100}, valid_for: 30d, value: {off: 5}}
groups:
  club: {title: 茶友, rooms: [{id: r1, link: "https://g.example/1", capacity: 20}]}
points: {main: {earn: [{event: order.paid, points: 9}]}}
rewards: {mug: {points: 2, stock: 9, per_user: 3}}
"""
BOOK = """playbook: gift
title: 礼物
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps:
  - coupon: tea
  - invite: club
  - redeem: mug
    id: mug
  - redeem: {confirm: mug}
"""


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """A program that gave something of everything, folded."""
    from engine.stores.sqlite import SqliteStore

    found = make({"playbooks/gift.yaml": BOOK, "playbooks/catalog/all.yaml": CATALOG})
    lines = [
        json.dumps({"id": f"x{n}", "type": "order.paid", "user": f"u{n}", "time": f"2026-03-0{n + 1}T01:00:00Z"}) + "\n"
        for n in range(3)
    ]
    (found / "feed.jsonl").write_text("".join(lines), encoding="utf-8")
    drumbeat("ingest", found / "feed.jsonl", "--program", found)
    assert drumbeat("run", "--until-idle", "--program", found).code == 0
    store = SqliteStore.open(found / "drumbeat.db")
    store.fold()
    store.close()
    return found


def said(root: Path, drumbeat: Drumbeat, name: str) -> list[tuple[str, str]]:
    """(verdict, text) of the doctor's findings of a name."""
    rows = drumbeat("doctor", "--program", root, "--format", "json").json["findings"]
    return [(it["verdict"].strip(), it["text"]) for it in rows if it["name"] == name]


def test_a_ledger_that_adds_up(root: Path, drumbeat: Drumbeat) -> None:
    """All is well: one line says so, and no limit is spoken of.

    Semantics: ledger.sums — the doctor
    """
    ((verdict, text),) = said(root, drumbeat, "ledger")
    assert (verdict.lower(), "sum of its entries" in text) == ("ok", True)
    assert said(root, drumbeat, "limits") == []


def test_a_sum_that_does_not_hold_is_bad(root: Path, drumbeat: Drumbeat) -> None:
    """A balance that nobody booked is found, named, and makes the exit code 1.

    Semantics: ledger.sums — a planted drift
    """
    db = sqlite3.connect(root / "drumbeat.db")
    db.execute("""update subject set state = cast(replace(cast(state as text), '"main":7', '"main":8') as blob)
        where id = 'u1'""")  # fmt: skip
    db.commit()
    db.close()
    (bad,) = said(root, drumbeat, "ledger")
    assert "u1 main: 8, booked 7" in bad[1]
    assert drumbeat("doctor", "--program", root).code == 1


PLANTED = {
    "coupon": ("coupon:tea", {"issued": 51, "spent": "255"}, ["tea: 51 of 50", "tea: 255 of 100"]),
    "reward": ("reward:mug", {"taken": 10}, ["mug: 10 of 9"]),
    "seat": ("seat:club", {"taken": {"r1": 21}}, ["club/r1: 21 of 20"]),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_limit_that_is_exceeded_is_told(root: Path, drumbeat: Drumbeat, name: str) -> None:
    """More than the catalog allows is told with both numbers: total, budget, stock, seats."""
    place, state, words = PLANTED[name]
    db = sqlite3.connect(root / "drumbeat.db")
    assert db.execute("update resource set body = ? where name = ?", (msgspec.msgpack.encode(state), place)).rowcount
    db.commit()
    db.close()
    told = [text for _, text in said(root, drumbeat, "limits")]
    assert [word for word in words if any(word in text for text in told)] == words


def test_a_balance_below_zero_is_told_unless_declared(root: Path, drumbeat: Drumbeat) -> None:
    """A negative balance is told, and no more once the account allows it."""
    db = sqlite3.connect(root / "drumbeat.db")
    db.execute("""update subject set state = cast(replace(cast(state as text), '"main":7', '"main":-7') as blob)
        where id = 'u1'""")  # fmt: skip
    db.commit()
    db.close()
    assert ["u1 main: -7" in text for _, text in said(root, drumbeat, "limits")] == [True]
    path = root / "playbooks/catalog/all.yaml"
    path.write_text(path.read_text("utf-8").replace("{main: {", "{main: {negative: allowed, "), encoding="utf-8")
    assert said(root, drumbeat, "limits") == []


def test_the_report_has_points_and_rewards(root: Path, drumbeat: Drumbeat) -> None:
    """Sums of points by what moved them, and what is left of each reward, as JSON and for people."""
    figures = drumbeat("report", "--program", root, "--format", "json").json
    rows = {(it["account"], it["what"]): (it["points"], it["entries"]) for it in figures["points"]}
    assert rows == {
        ("main", "earned"): (27, 3), ("main", "held"): (-6, 3),
        ("main held", "held"): (6, 3), ("main held", "redeemed"): (-6, 3),
    }  # fmt: skip
    assert figures["rewards"] == [{"reward": "mug", "given": 3, "stock": 9, "left": 6, "points": 2}]
    text = drumbeat("report", "--program", root).out
    assert "main held" in text
    assert "6 of 9" in text


def test_a_user_is_shown_with_what_waits_and_lapses(root: Path, drumbeat: Drumbeat) -> None:
    """`drumbeat user` names rewards, and points that wait or lapse, where there are any."""
    path = root / "playbooks/catalog/all.yaml"
    rule = "earn: [{event: order.paid, points: 9}, {event: checkin, points: 4, pending: 3d}], expires: 10d"
    path.write_text(path.read_text("utf-8").replace("earn: [{event: order.paid, points: 9}]", rule), encoding="utf-8")
    lines = [f'{{"id": "k{n}", "type": "{type_}", "user": "u9", "time": "2026-03-09T01:00:00Z"}}\n'
             for n, type_ in enumerate(("checkin", "order.paid"))]  # fmt: skip
    (root / "more.jsonl").write_text("".join(lines), encoding="utf-8")
    drumbeat("ingest", root / "more.jsonl", "--program", root)
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    seen = drumbeat("user", "u9", "--program", root, "--format", "json").json
    assert (seen["points"], seen["points_pending"], seen["rewards"]) == ({"main": 7}, {"main": 4}, {"mug": 1})
    assert seen["points_lapse"] == {"main": [{"at": "2026-03-19T16:00:00Z", "points": 7}]}
    text = drumbeat("user", "u9", "--program", root).out
    assert "main 7 on 2026-03-19T16:00:00Z" in text
