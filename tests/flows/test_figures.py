"""Metrics of the catalog: taken when a period turns, the same however the feed is cut, and read by every condition."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantics_kit import HEAD, Row, event, play
from steps_kit import Live, write

from engine.core.figures import Figures, Taken
from engine.core.instants import format_instant, parse_instant
from engine.core.localtime import at_wall, local_date, zone
from engine.core.model import DAY, HOUR, MINUTE
from engine.core.periods import PERIODS, Calendar

ANY = "entry: {mode: parallel, limit: unlimited}\n"
OSLO = ZoneInfo("Europe/Oslo")
ZONED = HEAD + "timezone: Europe/Oslo\nprofile: open\n"
CATALOG = """\
metrics:
  dau: {count_users: any, per: day}
  wau: {count_users: [a, b], within: 7d}
  buyers: {count_users: order.paid, if: user.city == "Oslo"}
  weekly: {count_users: any, per: week}
  stickiness: {value: 'metric("dau") / metric("wau")'}
  orders: {value: 'count("order.paid", within="1d")'}
  income: {value: 'sum("order.paid", "amount", within="1d")'}
  d1: {retention: 1d}
  again: {retention: 2d, event: order.paid}
"""
BOOKS = {
    "watch": "subject: program\ntrigger: {schedule: {cron: \"0 6 * * *\", audience: metric(\"dau\") is not none}}\n"
    + ANY + "steps:\n" + "".join(
        f"  - task: {{assign: li, title: \"{name} {{{{ {call} }}}}\"}}\n" for name, call in (
            *((it, f"metric('{it}')") for it in ("dau", "wau", "buyers", "weekly", "stickiness", "orders", "income",
                                                 "d1", "again")),
            ("before", "metric('dau', ago=1)"), ("usual", "baseline('dau', periods=4)"),
        )
    ),
}  # fmt: skip
START = parse_instant("2026-03-24T00:00:00Z")


def crowd(seed: int, size: int = 160) -> list[Row]:
    """People sign up, do things and buy over the days on which the clocks change, many of them at midnight sharp."""
    rng, rows, at = random.Random(seed), [], START
    for number in range(size):
        at += rng.choice([0, MINUTE, HOUR, 2 * HOUR, 5 * HOUR])
        if rng.random() < 0.2:
            at = Calendar("day", OSLO).after(at) or at
        type_ = rng.choice(["a", "a", "b", "order.paid", "order.paid", "user.signup"])
        city = rng.choice(["Oslo", "Bergen"])
        data: dict[str, Any] = {"city": city} if type_ == "user.signup" else {"amount": rng.choice([5, 7.25])}
        rows.append(event(f"e{number:03d}", type_, format_instant(at), f"u{rng.randrange(12)}", **data))
    return rows


def told(rows: list[Row]) -> dict[str, dict[str, str]]:
    """Local day -> metric -> what was told on that morning."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        name, _, value = row["detail"]["title"].partition(" ")
        found[str(local_date(parse_instant(row["time"]), OSLO))][name] = value
    return found


class Book:
    """What a person with a pencil says, from the events alone."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = [(parse_instant(it["time"]), it) for it in rows]
        self.days = Calendar("day", OSLO)

    def inside(self, begin: int, end: int, *types: str) -> list[Row]:
        return [row for at, row in self.rows if begin < at <= end and (not types or row["type"] in types)]

    def users(self, begin: int, end: int, *types: str) -> set[str]:
        return {row["user"] for row in self.inside(begin, end, *types)}

    def first(self, type_: str, until: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for at, row in self.rows:
            if row["type"] == type_ and at <= until:
                found.setdefault(row["user"], at)
        return found

    def city(self, user: str, until: int) -> str | None:
        signed = [row["data"]["city"] for at, row in self.rows if at <= until and row["user"] == user and
                  row["type"] == "user.signup"]  # fmt: skip
        return signed[-1] if signed else None

    def back(self, end: int, days: int, type_: str, *types: str) -> str:
        number = self.days.number(end)
        begin, first, last = (self.days.begin(it) for it in (number - 1, number - 1 - days, number - days))
        cohort = {user for user, at in self.first(type_, end).items() if first < at <= last}
        share = Decimal(len(cohort & self.users(begin, end, *types))) / len(cohort) if cohort else None
        return "" if share is None else f"{share.quantize(Decimal('0.0001')).normalize():f}"

    def of(self, morning: str) -> dict[str, str]:
        end = at_wall(date.fromisoformat(morning), "00:00", OSLO)
        begin = self.days.begin(self.days.number(end) - 1)
        orders = self.inside(end - DAY, end, "order.paid")
        return {
            "dau": str(len(self.users(begin, end))),
            "wau": str(len(self.users(end - 7 * DAY, end, "a", "b"))),
            "buyers": str(sum(self.city(it, end) == "Oslo" for it in self.users(begin, end, "order.paid"))),
            "orders": str(len(orders)),
            "income": f"{sum((Decimal(str(it['data']['amount'])) for it in orders), Decimal(0)).normalize():f}",
            "d1": self.back(end, 1, "user.signup"),
            "again": self.back(end, 2, "order.paid", "order.paid"),
        }


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_what_a_pencil_says(tmp_path: Path, seed: int) -> None:
    """Semantics: metric.figures — counts of users, shares that came back, sums of the program: as counted by hand."""
    rows = crowd(seed)
    seen = [play(tmp_path / str(n), BOOKS, rows, catalog=CATALOG, head=ZONED, batch=n).effects for n in (1, 7, 500)]
    assert seen[0] == seen[1] == seen[2]
    book, days = Book(rows), told(seen[0])
    assert len(days) > 8
    dau: list[Decimal] = []
    for morning, values in days.items():
        wanted = book.of(morning)
        assert {name: values[name] for name in wanted} == wanted, morning
        assert values["before"] == (str(dau[-1]) if dau else ""), morning
        usual = median(dau[-4:]) if len(dau) >= 2 else None
        assert values["usual"] == ("" if usual is None else f"{usual.normalize():f}"), morning
        dau.append(Decimal(wanted["dau"]))


def test_run_takes_the_same_figures_and_why_finds_them_again(tmp_path: Path) -> None:
    """Semantics: metric.figures — ``run`` keeps each figure once, whatever a transaction holds, and ``why`` replays."""
    rows = crowd(7)
    simulated = play(tmp_path / "s", BOOKS, rows, catalog=CATALOG, head=ZONED).effects
    kept: list[dict[str, list[Taken]]] = []
    for batch in (1, 7, 500):
        live = Live(tmp_path / str(batch), BOOKS, catalog=CATALOG, head=ZONED)
        for place in range(0, len(rows), 40):
            live.run(*rows[place : place + 40], batch=batch)
        assert [it.detail for it in live.effects()] == [it["detail"] for it in simulated]
        live.check_replay("\x01program")
        live.plan.env.figures.load(live.store.slots())
        kept.append(dict(live.plan.env.figures.taken))
    assert kept[0] == kept[1] == kept[2]
    assert len({row.number for row in kept[0]["dau"]}) == len(kept[0]["dau"])


def test_a_decision_sees_what_was_taken_before_it(tmp_path: Path) -> None:
    """Semantics: metric.turn — an event at midnight belongs to the day that ends, and does not see its figure yet."""
    book = {"say": "trigger: {event: a}\n" + ANY + "steps: [{set: {user.n: \"{{ metric('dau') }}\"}}]\n"}
    times = ("2026-03-02T10:00:00Z", "2026-03-03T00:00:00Z", "2026-03-03T00:00:01Z", "2026-03-04T12:00:00Z")
    rows = [event(f"e{n}", "a", time, f"u{n}") for n, time in enumerate(times)]
    seen = play(tmp_path, book, rows, catalog="metrics: {dau: {count_users: any}}\n", head=HEAD + "profile: open\n")
    assert [it["detail"]["value"] for it in seen.effects] == [None, None, 2, 1]


def test_an_alert_goes_out_when_a_figure_falls_below_its_baseline(tmp_path: Path) -> None:
    """Semantics: metric.baseline — the median of the same weekdays before; none until half of them are there."""
    catalog = 'metrics: {orders: {value: \'count("order.paid", within="1d")\'}}\n'
    condition = 'metric("orders") < baseline("orders", periods=3, every=7) * 0.5'
    trigger = f"trigger: {{schedule: {{cron: \"0 9 * * *\", audience: '{condition}'}}}}\n"
    book = {"drop": "subject: program\n" + trigger + ANY + "steps: [{task: {assign: li, title: drop}}]\n"}
    base, rows = parse_instant("2026-03-02T08:00:00Z"), []  # a Monday; Sundays are quiet each week
    for day in range(30):
        for n in range(1 if day % 7 == 6 else 2 if day == 23 else 8):
            when = format_instant(base + day * DAY + n * MINUTE)
            rows.append(event(f"o{day}-{n}", "order.paid", when, f"u{n}", amount=1))
    seen = play(tmp_path, book, rows, catalog=catalog)
    assert [it["time"] for it in seen.effects] == ["2026-03-26T09:00:00Z"]  # the morning after the 23rd day of it
    asked = next(it for it in seen.decisions if it["verdict"] == "entered" or it["verdict"] == "finished")
    assert asked["why"][0]["seen"] == {"metric('orders')": 2, "baseline('orders', periods=3, every=7)": 8}


# ---------------------------------------------------------------------- periods


@given(
    at=st.integers(parse_instant("2000-01-01T00:00:00Z"), parse_instant("2060-01-01T00:00:00Z")),
    per=st.sampled_from(PERIODS),
    name=st.sampled_from(["UTC", "Europe/Oslo", "Asia/Shanghai", "America/Havana"]),
)
def test_periods_follow_each_other_without_gaps(at: int, per: str, name: str) -> None:
    """Each instant lies in one period; turns before and after it are the two ends of it, in any zone."""
    tz = zone(name)
    assert tz is not None
    calendar = Calendar(per, tz)
    number, following = calendar.number(at), calendar.after(at)
    assert calendar.begin(number) <= at < calendar.begin(number + 1) == following
    assert calendar.before(at + 1) == calendar.begin(number)
    assert calendar.number(calendar.begin(number)) == number


def test_quarters_and_weeks_begin_where_people_say() -> None:
    """A quarter in January, April, July and October; a week on Monday."""
    quarter, week = Calendar("quarter", OSLO), Calendar("week", OSLO)
    at = parse_instant("2026-05-20T12:00:00Z")
    assert [local_date(quarter.begin(quarter.number(at) + n), OSLO).isoformat() for n in (0, 1)] == [
        "2026-04-01",
        "2026-07-01",
    ]
    assert local_date(week.begin(week.number(at)), OSLO).isoformat() == "2026-05-18"


def test_a_changed_metric_begins_anew() -> None:
    """Figures of another meaning are none of this one; those of a metric that left the catalog are taken away."""
    before = Figures(meanings={"a": "1", "b": "1"}, calendars={it: Calendar("day", OSLO) for it in "ab"})
    for name in "ab":
        before.put(name, START, START, Decimal("1.5"))
    rows = {name: row for name, row in before.changes().items() if row is not None}
    after = Figures(meanings={"a": "2", "c": "1"}, calendars={it: Calendar("day", OSLO) for it in "ac"})
    after.load(rows)
    assert after.value("a", START + 1) is None
    assert after.changes() == {"\x01figures:b": None}
    before.load(rows)
    assert before.value("a", START + 1) == Decimal("1.5")


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        ("{count_user: any}", "unknown-key", "count_users"),
        ("{count_users: any, per: dya}", "wrong-value", "day"),
        ("{count_users: [any, a]}", "conflict", "any alone"),
        ("{retention: 12h}", "bad-duration", "whole days"),
        ("{retention: 7d, parts: 3}", "conflict", "score or rfm"),
        ("{value: 'metric(\"dua\")'}", "unknown-metric", "dau"),
        ("{value: '\"three\"'}", "type-mismatch", "number"),
        ("{value: 'metric(\"x\") + 1'}", "metric-cycle", "made of"),
        ("{rfm: {event: order.paid, amuont: amount}}", "unknown-key", "amount"),
        ("{rfm: {event: order.paid, amount: total}}", "unknown-field", "amount"),
        ("{count_users: any, retention: 7d}", "conflict", "not both"),
    ],
)
def test_what_is_wrong_with_a_metric_is_said(tmp_path: Path, entry: str, code: str, said: str) -> None:
    """Misspelt keys, names and values are told with the nearest right one, all in one pass."""
    catalog = f"metrics:\n  dau: {{count_users: any}}\n  x: {entry}\n"
    head = HEAD + "events: {order.paid: {amount: money}}\n"
    found = write(tmp_path, {}, catalog=catalog, head=head).problems
    assert any(code == it.code and said in f"{it.message} {it.hint}" for it in found), [str(it) for it in found]


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        ("metric('spned')", "unknown-metric", "spend"),
        ("metric('spend')", "not-here", "score('spend')"),
        ("score('dau')", "not-here", "metric('dau')"),
        ("score('spned')", "unknown-metric", "spend"),
        ("score('spend', part='mony')", "wrong-arguments", "money"),
        ("score('worth')", "not-here", "each group"),
        ("baseline('dau', periods=0)", "type-mismatch", "from 1"),
        ("baseline('dau', periods=100, every=7)", "type-mismatch", "400"),
        ("metric('dau', ago=user.n)", "type-mismatch", "whole number"),
    ],
)
def test_what_is_wrong_with_a_question_is_said(tmp_path: Path, call: str, code: str, said: str) -> None:
    """A number of the program and a score of each user are told apart, with the right word beside it."""
    catalog = """metrics:
  dau: {count_users: any}
  spend: {score: 'count("a")'}
  worth: {subject: group, score: 'count("a")'}
"""
    book = {"p": f"trigger: {{event: a}}\nentry: once\nwhen: \"{call} >= 1\"\nsteps: [{{points: 1}}]\n"}
    found = write(tmp_path, book, catalog=catalog, head=HEAD + "profile: open\n").problems
    assert any(code == it.code and said in f"{it.message} {it.hint}" for it in found), [str(it) for it in found]
