"""Two books of the ledger: units of a benefit that are used or lapse, and places of entry limits."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from semantics_kit import HEAD, Row, event
from steps_kit import Live

from engine.core.points import PENDING
from engine.stores.sqlite import SqliteStore

CATALOG = """points:
  main: {}
  lounge:
    book: entitlement
    expires: 10d
    remind: 2d
    earn: [{event: month.paid, points: 2, reverse_on: {event: month.refunded, match: month}}]
  later: {book: entitlement, expires: 30d, earn: [{event: promise, points: 1, pending: 3d}]}
"""
ANY = "entry: {mode: parallel, limit: unlimited}\n"
BOOKS = {
    "grant": "trigger: {event: vip.began}\n" + ANY + "steps:\n  - points: {add: 3, account: lounge}\n  - points: 5\n",
    "use": "trigger: {event: lounge.used}\nwhen: points(\"lounge\") >= 1\n" + ANY
    + "steps:\n  - points: {take: 1, account: lounge}\n",
    "hurry": "trigger: {event: points.expiring}\nwhen: points_expiring(\"3d\", account=\"lounge\") >= 1\n" + ANY
    + "steps:\n  - tag: {add: [hurry]}\n",
}  # fmt: skip


def day(n: int, id_: str, type_: str, **data: str) -> Row:
    """An event on a day of March."""
    return event(id_, type_, f"2026-03-{n:02}T09:00:00Z", **data)


def test_a_benefit_is_granted_used_taken_back_and_lapses(tmp_path: Path) -> None:
    """Units of an account with ``book: entitlement`` are entries of that book, linked as points are; conditions read
    them, what is left lapses, and no more is used than there is.

    Semantics: ledger.entitlements
    """
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=HEAD)
    live.store = SqliteStore.open(tmp_path / "store.db")  # type: ignore[assignment]
    live.run(
        day(1, "v", "vip.began"), day(1, "m", "month.paid", month="3"), day(2, "p", "promise"),
        *[day(3, f"u{n}", "lounge.used") for n in range(4)], day(4, "r", "month.refunded", month="3"),
        day(20, "end", "x"), day(21, "late", "lounge.used"),
    )  # fmt: skip
    booked = [(it.name, it.what, it.delta) for it in live.store.ledger(book="entitlement")]
    assert booked == [
        ("lounge", "earned", 3), ("lounge", "earned", 2), ("later" + PENDING, "pending", 1),
        *[("lounge", "taken", -1)] * 4, ("lounge", "reversed", -1),
        ("later", "settled", 1), ("later" + PENDING, "settled", -1),
    ]  # fmt: skip
    assert {it.name for it in live.store.ledger(book="points")} == {"main"}
    entries = {it.key: it for it in live.store.ledger(book="entitlement")}
    (back,) = [it for it in entries.values() if it.what == "reversed"]
    assert entries[back.origin or ""].what == "earned"
    assert (live.state().points["lounge"], live.state().points["later"]) == (0, 1)
    assert live.store.check() == []
    live.store.close()


def test_what_is_not_used_lapses(tmp_path: Path) -> None:
    """What was not used until the period ended is gone, and it was told of before; each is an entry or an event."""
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=HEAD)
    live.run(day(1, "v", "vip.began"), day(5, "u", "lounge.used"), day(20, "end", "x"), day(20, "late", "lounge.used"))
    booked = [(it.what, it.delta) for it in live.store.ledger(book="entitlement")]
    assert booked == [("earned", 3), ("taken", -1), ("expired", -2)]
    assert live.state().tags == ["hurry"]
    live.check_replay("u1")


def limited(tmp_path: Path, name: str, limit: str) -> Live:
    """A playbook with a limit in a store that is a file, and people who came in three days."""
    book = f"trigger: {{event: come}}\nentry: {{mode: parallel, limit: {limit}}}\nsteps:\n  - tag: {{add: [in]}}\n"
    root = tmp_path / name
    root.mkdir()
    live = Live(root, {"door": book}, head=HEAD)
    live.store = SqliteStore.open(root / "store.db")  # type: ignore[assignment]
    rows = [event(f"{d}.{n}", "come", f"2026-03-0{d}T0{n}:00:00Z", f"u{n}") for d, n in PEOPLE]
    live.run(*rows, event("end", "x", "2026-03-09T09:00:00Z", "u9"))
    return live


PEOPLE = [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (3, 1), (4, 1)]


@pytest.mark.parametrize(
    ("limit", "used"), [("2/day", [2, 2, 2]), ("{limit}", [2, 1]), ("9/day", [5, 1])], ids=["waits", "drops", "room"]
)
def test_a_window_of_a_limit_is_one_entry(tmp_path: Path, limit: str, used: list[int]) -> None:
    """Each window that is over is one entry: how many places were taken, and how many there were.

    Semantics: ledger.caps
    """
    limit = "2/day, on_limit: drop" if limit == "{limit}" else limit
    live = limited(tmp_path, "door", limit)
    caps = list(live.store.ledger(book="cap"))
    assert [it.delta for it in caps] == used
    assert {it.amount for it in caps} == {Decimal(limit[0])}
    assert {(it.name, it.what, it.subject) for it in caps} == {("door", "used", None)}
    assert live.store.check() == []
    assert len({it.key for it in caps}) == len(caps)
    live.store.close()


@pytest.mark.parametrize(("field", "said"), [("used", "door: 3 of 2"), ("total", "door: 9 counted, 7 in the ledger")])
def test_a_limit_that_let_in_too_many_is_found(tmp_path: Path, field: str, said: str) -> None:
    """Planted: a window with more places taken than there were, and a count that is not the ledger's.

    Semantics: ledger.caps — planted
    """
    live = limited(tmp_path, "door", "2/day")
    state = msgspec.msgpack.decode(live.store.resources()["slot:door"])
    raw = msgspec.msgpack.encode({**state, field: {"used": 3, "total": 9}[field]})
    live.store._file.db.execute("update resource set body = ? where name = 'slot:door'", [raw])  # type: ignore[attr-defined]
    live.store._file.db.commit()  # type: ignore[attr-defined]
    (fault,) = live.store.check()
    assert (fault.check, said in fault.examples) == ("ledger-cap", True)
    live.store.close()


def test_without_limits_there_is_no_such_book(tmp_path: Path) -> None:
    """A program that limits nobody's entry writes none of it."""
    live = limited(tmp_path, "door", "unlimited")
    assert list(live.store.ledger(book="cap")) == []
    live.store.close()
