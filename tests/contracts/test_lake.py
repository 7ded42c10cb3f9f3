"""The lake of a report: what batches and stores put into it, and what its queries make of that."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from engine.core.model import DAY, HOUR, Effect, Entry, Event
from engine.ports import Batch, Settlement
from engine.stores.lake import Lake
from engine.stores.sqlite import SqliteStore

ZONE = ZoneInfo("Asia/Shanghai")
START = 20_000 * DAY


def effect(key: str, time: int = START, **more: Any) -> Effect:
    """A message that goes out."""
    row: dict[str, Any] = {
        "playbook": "p", "step": "say", "kind": "message", "user": "u1", "group": None, "status": "planned",
        "reason": None, "detail": {"template": "t", "via": "app", "purpose": "service"}, "deliver": "app",
    }  # fmt: skip
    return Effect(key=key, time=time, **{**row, **more})


def filled() -> Batch:
    """A bit of everything; the second entry of u1 is held back later, that of u3 is drawn for an arm without steps."""
    clicked = {"channel": "app", "effect": "k1"}
    events = [
        Event("e1", "visit", START, "u1", data={"group": "tea"}),
        Event("e2", "visit", START + 20 * HOUR, "u1", data={"effect": 7}),  # the next day in Shanghai
        Event("e3", "message.clicked", START + HOUR, "u1", data=clicked),
        Event("e4", "message.clicked", START + 2 * HOUR, "u1", data=clicked),
        Event("e5", "group.joined", START, "u2", data={"group": "tea"}, internal=True),
        Event("e6", "visit", START + DAY, None, group="tea"),
    ]
    return Batch(
        clock=START + 9 * DAY, states=[], answers=[], resources={}, decisions=[], rejected=[], positions={},
        events=[(it, it.time) for it in events],
        effects=[
            effect("k1"), effect("k2", START + DAY, user="u2"),
            effect("k3", status="suppressed", reason="cap", deliver=None),
            effect("k4", kind="tier", playbook=None, step=None, deliver=None,
                   detail={"ladder": "member", "from": None, "to": "gold"}),
        ],
        goals=[("p", "o1", "u1", False, START + 5), ("p", "o3", "u3", True, START + 5)],
        worth=[(0, Decimal("12.50"))],
        milestones=[
            ("p", "o1", "u1", "entered", None, START), ("p", "o2", "u1", "entered", None, START),
            ("p", "o2", "u1", "held", "control_group", START + 1), ("p", "o3", "u3", "entered", None, START),
            ("p", "o3", "u3", "held", "arm", START + 2), ("p", "o3", "u3", "arm", "s=off", START + 2),
            ("p", "o1", "u1", "arm", "s=on", START + 2), ("p", "o2", "u1", "arm", "s=on", START + 2),
            ("p", "o1", "u1", "exited", "stop", START + 3), ("", "x", "u1", "segment.left", "vip", START),
        ],
        entries=[
            Entry("l1", START, "coupon", "gift", "issued", 1, "u1", "C1", Decimal(5), START + DAY, "p"),
            Entry("l2", START, "coupon", "gift", "issued", 1, "u2", "C2", Decimal(5), START + DAY, "p"),
            Entry("l3", START + 1, "coupon", "gift", "redeemed", 0, "u2", "C2"),
            Entry("l4", START, "points", "main", "earned", 7, "u1"),
        ],
    )  # fmt: skip


@pytest.mark.parametrize("way", ["batch", "store"])
def test_a_batch_and_a_store_say_the_same(way: str, tmp_path: Path) -> None:
    """Whether it is told a batch or reads the store that took it: people, sides, arms, exits, receipts, coupons."""
    with Lake(ZONE, lambda type_: type_ == "visit") as lake:
        if way == "batch":
            lake.take(filled())
            lake.begin_anew()  # what was told before is gone
            lake.take(filled())
        else:
            store = SqliteStore.open(tmp_path / "s.db")
            store.commit(filled())
            (first, second) = store.claim(["app"], START, 9)
            store.settle([Settlement(first.key, "sent"), Settlement(second.key, "dead", "no")])
            reader = SqliteStore.open(tmp_path / "s.db", read_only=True)  # beside the one who writes
            sweep = reader.sweep()
            sweep.fill(lake)
            assert (sweep.forgotten(), sweep.entries_since()) == (None, None)
            reader.close()
            store.close()
        lake.settle()
        span = (20_000, 20_009)
        assert lake.rows("span")[0] == (20_000, 20_001, 6, 1)
        assert lake.rows("daily", *span) == [(20_000, 1, 1), (20_001, 1, 0)]
        assert lake.rows("hours", *span) == [(4, 8, 1, 1), (5, 4, 1, 0)]  # a Friday, and the Saturday after it
        assert lake.rows("group_life", *span) == [("tea", 1, 1, 1, 0)]
        assert lake.rows("moves", *span) == [("vip", 0, 1)]
        assert lake.rows("climbs", *span) == [("member", None, "gold", 1)]
        assert lake.rows("sides", *span) == [
            ("p", "holdout", 2, 2, 1, None, None, 0), ("p", "treated", 1, 1, 1, 12.5, 156.25, 1)
        ]  # fmt: skip
        assert [it[:4] for it in lake.rows("arms", *span)] == [("p", "s=off", 1, 1), ("p", "s=on", 1, 1)]
        assert lake.rows("exits", *span) == [("p", "stop", 1)]
        sent = [("app", "pending", 2)] if way == "batch" else [("app", "dead", 1), ("app", "sent", 1)]
        assert lake.rows("deliveries", *span) == sent
        assert lake.rows("receipts", *span) == [("app", "message.clicked", 1)]
        assert lake.rows("refusals", *span) == [("message", "suppressed", "cap", "p", 1)]
        assert lake.rows("coupons", *span, START + 2 * DAY) == [("gift", 2, 10.0, 1, 1, 0)]
        assert lake.rows("coupon_costs", *span) == [("gift", "p", 5.0, 0, 0, 0)]
        assert lake.rows("points", *span) == [("main", "earned", 1, 7)]
        assert lake.cohorts("week", (1, 7), *span, 20_005) == [(19_996, 1, 1, 1, 0, 0)]


def test_an_erased_user_is_counted_on(tmp_path: Path) -> None:
    """Entries and goals of somebody who was erased stay, under the pseudonym, and still belong together."""
    store = SqliteStore.open(tmp_path / "s.db")
    store.commit(filled())
    gone = Batch(
        clock=START + 9 * DAY, states=[], events=[], effects=[], answers=[], resources={}, decisions=[], goals=[],
        rejected=[], positions={}, erased=[("u1", START + 8 * DAY)],
    )  # fmt: skip
    store.commit(gone)
    with Lake(ZONE, lambda type_: type_ == "visit") as lake:
        store.sweep().fill(lake)
        store.close()
        lake.settle()
        assert lake.rows("daily", 0, 30_000) == []
        assert sum(it[2] for it in lake.rows("sides", 0, 30_000)) == 3
        assert sum(it[4] for it in lake.rows("sides", 0, 30_000)) >= 2


def test_it_fetches_nothing_and_leaves_nothing() -> None:
    """No extension may be installed or loaded; its folder is gone when it is closed."""
    with Lake(ZONE, lambda type_: True) as lake:
        folder = lake._folder
        assert folder.exists()
        with pytest.raises(duckdb.Error):
            lake._db.execute("select * from sqlite_scan('x.db', 'event')")
    assert not folder.exists()
