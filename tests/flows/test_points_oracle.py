"""Points against brute force: every point is a thing of its own, and the rules are written down as they are said."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from semantics_kit import event, play
from steps_kit import Live

from engine.core.instants import parse_instant
from engine.core.model import Entry
from engine.core.points import PENDING

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Point:
    """One point."""

    until: datetime  #: when its time ends
    spendable: datetime  #: from when it can be spent
    came: bool = False  #: it can be spent
    gone: bool = False

    @property
    def lapses(self) -> datetime:
        """When it goes if nobody spends it: one whose time ended while it waited has come first."""
        return max(self.until, self.spendable)


@dataclass
class Order:
    """What an order earned."""

    left: int
    points: list[Point]
    at: datetime


@dataclass
class Oracle:
    """One account of one subject, point by point."""

    zone: ZoneInfo
    expires: int | None  #: days
    pending: int | None  #: days, of orders
    cap: int | None
    negative: bool
    points: list[Point] = field(default_factory=list)
    below: int = 0  #: below zero
    owed: int = 0
    orders: dict[str, list[Order]] = field(default_factory=lambda: defaultdict(list))
    days: dict[Any, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    log: list[tuple[datetime, int]] = field(default_factory=list)  #: (time, change of the balance)
    times: dict[datetime, int] = field(default_factory=dict)

    def there(self) -> list[Point]:
        return [it for it in self.points if it.came and not it.gone]

    def balance(self) -> int:
        return len(self.there()) - self.below

    def waiting(self) -> int:
        return sum(not it.came and not it.gone for it in self.points)

    def note(self, at: datetime, change: int) -> None:
        if change:
            self.log.append((at, change))

    def midnight(self, at: datetime) -> datetime:
        day = at.astimezone(self.zone).date() + timedelta(days=1)
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)

    def pass_to(self, now: datetime) -> None:
        """All that is due before ``now``; at one instant points come before others lapse."""
        while True:
            due = [(it.spendable, 0) for it in self.points if not it.came and not it.gone]
            due += [(it.lapses, 1) for it in self.there()]
            due = [it for it in due if it[0] < now]
            if not due:
                return
            at, lapses = min(due)
            if lapses:
                mine = [it for it in self.there() if it.lapses == at]
                for it in mine:
                    it.gone = True
                self.note(at, -len(mine))
                continue
            new = [it for it in self.points if not it.came and not it.gone and it.spendable == at]
            self.come(new, at)

    def come(self, new: list[Point], at: datetime) -> None:
        for it in new:
            it.came = True
            if self.below:
                self.below -= 1
                it.gone = True
        self.note(at, len(new))
        paid = min(self.owed, max(0, self.balance()))
        self.owed -= paid
        self.use(paid)
        self.note(at, -paid)

    def use(self, n: int, first: datetime | None = None) -> None:
        """Those that lapse first go first; ``first``: those that lapse then before all others."""
        there = sorted(self.there(), key=lambda it: (it.until != first, it.until))
        for it in there[:n]:
            it.gone = True
        self.below += max(0, n - len(there))

    def new(self, n: int, at: datetime) -> list[Point]:
        until = NEVER if self.expires is None else self.midnight(at + timedelta(days=self.expires))
        return [Point(until, at) for _ in range(n)]

    def allowed(self, rule: str, n: int, at: datetime, per_day: int | None = None) -> int:
        day = self.days[at.astimezone(self.zone).date()]
        if per_day is not None and day[rule] >= per_day:
            return 0
        n = n if self.cap is None else min(n, self.cap - day[""])
        if n > 0:
            day[rule] += 1
            day[""] += n
        return max(0, n)

    # what happens

    def checkin(self, at: datetime) -> None:
        new = self.new(self.allowed("checkin", 3, at, 2), at)
        self.points += new
        self.come(new, at)

    def order(self, name: str, amount: int, at: datetime) -> None:
        new = self.new(self.allowed("order", amount // 10, at), at)
        if not new:
            return
        self.points += new
        self.orders[name].append(Order(len(new), new, at))
        if self.pending is None:
            self.come(new, at)
        else:
            for it in new:
                it.spendable = self.midnight(at + timedelta(days=self.pending))

    def refund(self, name: str, at: datetime) -> None:
        for order in self.orders[name]:
            part, order.left = order.left, 0
            if not part or at > order.at + timedelta(days=90):
                continue
            if not order.points[0].came:
                for it in order.points:
                    it.gone = True
            elif order.points[0].until > at:
                taken = part if self.negative else min(part, max(0, self.balance()))
                self.use(taken, order.points[0].until)
                self.note(at, -taken)
                self.owed += part - taken

    def given(self, n: int, at: datetime) -> None:
        new = self.new(n, at)
        self.points += new
        for it in new:
            it.came = True
            if self.below:
                self.below -= 1
                it.gone = True
        self.note(at, n)

    def taken(self, n: int, at: datetime) -> None:
        if self.negative or n <= self.balance():
            self.use(n)
            self.note(at, -n)


def catalog(it: Oracle) -> str:
    expires = "" if it.expires is None else f"expires: {it.expires}d, "
    pending = "" if it.pending is None else f"pending: {it.pending}d, "
    more = ("" if it.cap is None else f"daily_cap: {it.cap}, ") + ("negative: allowed, " if it.negative else "")
    return (
        f"points:\n  main:\n    {{{expires}{more}earn: [\n"
        "      {event: checkin, points: 3, per_day: 2},\n"
        '      {event: order.paid, points: "{{ event.amount // 10 }}", ' + pending +
        "reverse_on: {event: order.refunded, match: order_id}}]}\n"
    )  # fmt: skip


OPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 7, 24, 24, 48, 120]),  # hours since the one before
        st.sampled_from(["checkin", "checkin", "order", "order", "refund", "give", "take", "take"]),
        st.sampled_from(["A", "B", "C"]),
        st.sampled_from([5, 20, 40, 90]),
    ),
    max_size=40,
)
WORLDS = st.builds(
    Oracle,
    zone=st.sampled_from([ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York"), UTC]),
    expires=st.sampled_from([None, 2, 5, 30]),
    pending=st.sampled_from([None, 1, 3]),
    cap=st.sampled_from([None, 7]),
    negative=st.booleans(),
)


def happen(world: Oracle, ops: list[tuple[int, str, str, int]]) -> list[dict[str, Any]]:
    """Everything by the oracle; the feed that says the same."""
    at, feed = BEGIN, [event("0", "user.updated", "2026-02-20T00:00:00Z", zone=str(world.zone))]
    for n, (hours, what, name, amount) in enumerate(ops, 1):
        at += timedelta(hours=hours)
        world.pass_to(at)
        time = at.isoformat().replace("+00:00", "Z")
        if what == "checkin":
            world.checkin(at)
            feed.append(event(str(n), "checkin", time))
        elif what == "order":
            world.order(name, amount, at)
            feed.append(event(str(n), "order.paid", time, amount=amount, order_id=name))
        elif what == "refund":
            world.refund(name, at)
            feed.append(event(str(n), "order.refunded", time, order_id=name))
        else:
            delta = amount // 5 if what == "give" else -(amount // 5)
            (world.given if what == "give" else world.taken)(abs(delta), at)
            feed.append(event(str(n), "points.changed", time, account="main", delta=delta))
    end = at + timedelta(days=3)
    world.pass_to(end + timedelta.resolution)  # nothing follows, so what is due at the last instant happens, too
    feed.append(event("end", "end", end.isoformat().replace("+00:00", "Z"), "zz"))
    return feed


def changes(entries: list[Entry]) -> list[tuple[int, int]]:
    """(time, change) of the balance, what happens at one instant in one order."""
    return sorted((it.time, it.delta) for it in entries if it.name == "main")


def joined(log: list[tuple[datetime, int]]) -> dict[int, int]:
    """Instant -> change of the balance in all."""
    found: dict[int, int] = defaultdict(int)
    for at, change in log:
        found[parse_instant(at.isoformat().replace("+00:00", "Z"))] += change
    return {at: n for at, n in found.items() if n}


def summed(entries: list[Entry]) -> dict[int, int]:
    found: dict[int, int] = defaultdict(int)
    for at, change in changes(entries):
        found[at] += change
    return {at: n for at, n in found.items() if n}


OUTLIVED = Oracle(zone=ZoneInfo("Asia/Shanghai"), expires=2, pending=3, cap=None, negative=False)
"""Points whose time ends before they can be spent: they come and go at one instant."""


@example(world=OUTLIVED, ops=[(0, "order", "A", 20), (24, "checkin", "A", 5)])
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(world=WORLDS, ops=OPS)
def test_every_point_by_itself(world: Oracle, ops: list[tuple[int, str, str, int]]) -> None:
    """Lots, limits of days, points that wait, lapse or are taken back: each change of the balance is that of points
    counted one by one, and the ledger, the state and the rows say the same.

    Semantics: points.ledger — rules, limits, expiry and reversals, against points one by one
    """
    world.points, world.log, world.orders = [], [], defaultdict(list)
    world.days, world.below, world.owed = defaultdict(lambda: defaultdict(int)), 0, 0
    feed = happen(world, ops)
    with tempfile.TemporaryDirectory() as folder:
        live = Live(Path(folder), {}, catalog=catalog(world))
        live.run(*feed)
        entries = list(live.store.ledger())
        assert summed(entries) == joined(world.log)
        balances: dict[str, int] = defaultdict(int)
        for it in entries:
            balances[it.name] += it.delta
        assert balances["main"] == world.balance()
        assert balances["main" + PENDING] == world.waiting()
        if "u1" in {state.id for state in live.store.subjects()}:
            state = live.state()
            assert state.points.get("main", 0) == world.balance()
            purse = state.purses.get("main")
            lots = sorted({it.until for it in world.there() if it.until != NEVER})
            lapsing = [sum(it.until == until for it in world.there()) for until in lots]
            assert [n for _, n in (purse.lots if purse else ())] == lapsing
            assert (sum(n for _, n in purse.owed) if purse else 0) == world.owed
        keys = [it.key for it in entries]
        assert len(keys) == len(set(keys))
        known = set(keys)
        assert all(it.origin in known for it in entries if it.origin is not None)
        rows = [it for it in live.effects("points") if it.status == "planned"]
        outside = sum(it.delta for it in entries if len(it.key) < 32)
        assert sum(it.detail["delta"] for it in rows) == world.balance() - outside
        live.check_replay("u1")
        for size in (1, 7):
            other = Live(Path(folder) / str(size), {}, catalog=catalog(world))
            other.run(*feed, batch=size)
            assert list(other.store.ledger()) == entries


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(world=WORLDS, ops=OPS)
def test_simulate_gives_the_same_points(world: Oracle, ops: list[tuple[int, str, str, int]]) -> None:
    """`simulate` has the very rows of points that `run` has."""
    world.points, world.log, world.orders = [], [], defaultdict(list)
    world.days, world.below, world.owed = defaultdict(lambda: defaultdict(int)), 0, 0
    feed = happen(world, ops)
    with tempfile.TemporaryDirectory() as folder:
        live = Live(Path(folder), {}, catalog=catalog(world))
        live.run(*feed)
        for traced in (True, False):
            seen = play(Path(folder) / "s", {}, feed, catalog=catalog(world), traced=traced)
            assert {row["key"]: row["detail"] for row in seen.effects} == {
                it.key: it.detail for it in live.effects("points")
            }


@pytest.mark.parametrize("size", [1, 7, 500])
def test_late_and_repeated_events(tmp_path: Path, size: int) -> None:
    """A late event counts on the day it happened and lapses by its own time; a repeated one earns nothing.

    Semantics: points.rules — late and repeated
    """
    text = "points: {main: {expires: 3d, daily_cap: 10, earn: [{event: checkin, points: 4, per_day: 2}]}}\n"
    live = Live(tmp_path, {}, catalog=text)
    rows = [
        event("a", "checkin", "2026-03-01T10:00:00Z"), event("b", "checkin", "2026-03-02T10:00:00Z"),
        event("c", "checkin", "2026-03-01T11:00:00Z"), event("d", "checkin", "2026-03-01T12:00:00Z"),
        event("a", "checkin", "2026-03-01T10:00:00Z"), event("z", "end", "2026-03-09T00:00:00Z", "zz"),
    ]  # fmt: skip
    for row in rows:
        live.run(row, batch=size)
    lapsed = [(it.time, it.delta) for it in live.store.ledger() if it.what == "expired"]
    first, second = parse_instant("2026-03-05T00:00:00Z"), parse_instant("2026-03-06T00:00:00Z")
    assert lapsed == [(first, -8), (second, -4)]
    earned = [(it.time, it.delta) for it in live.store.ledger() if it.what == "earned"]
    assert earned == [(parse_instant(rows[n]["time"]), 4) for n in (0, 1, 2)]
