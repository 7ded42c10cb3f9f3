"""History windows of the engine against the slow walk of ``oracle_windows``."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracle_time as clock
import oracle_windows as windows
import pytest
from oracle_harness import (
    SEEDS,
    Ev,
    Program,
    Row,
    by_user,
    check_file_shape,
    compare,
    grid,
    row,
    rows_of,
    scaled,
    shuffled,
    simulate,
    write_feed,
)

DAY = clock.DAY
PARALLEL = {"mode": "parallel", "limit": "unlimited"}
Value = Callable[[list[Ev], int], Any]


def dear(event: Ev) -> bool:
    """``event.amount >= 10``"""
    return bool(event.data["amount"] >= 10)


def tea(event: Ev) -> bool:
    """``event.sku == "tea"``"""
    return bool(event.data["sku"] == "tea")


def gap(history: list[Ev], now: int) -> int | None:
    """``since("pay")`` in milliseconds."""
    event = windows.last(history, "pay")
    return None if event is None else now - event.time


VALUES: dict[str, tuple[str, Value]] = {
    "count_all": ('count("pay")', lambda h, t: windows.count(h, t, "pay")),
    "count_2d": ('count("pay", within="2d")', lambda h, t: windows.count(h, t, "pay", 2 * DAY)),
    "count_7d": ('count("pay", within="7d")', lambda h, t: windows.count(h, t, "pay", 7 * DAY)),
    "count_60d": ('count("pay", within="60d")', lambda h, t: windows.count(h, t, "pay", 60 * DAY)),
    "count_12h": ('count("pay", within="12h")', lambda h, t: windows.count(h, t, "pay", DAY // 2)),
    "dear_all": ('count("pay", where="event.amount >= 10")', lambda h, t: windows.count(h, t, "pay", None, dear)),
    "dear_7d": (
        'count("pay", within="7d", where="event.amount >= 10")',
        lambda h, t: windows.count(h, t, "pay", 7 * DAY, dear),
    ),
    "sum_all": ('sum("pay", "amount")', lambda h, t: windows.total(h, t, "pay", "amount")),
    "sum_7d": ('sum("pay", "amount", within="7d")', lambda h, t: windows.total(h, t, "pay", "amount", 7 * DAY)),
    "sum_60d": ('sum("pay", "amount", within="60d")', lambda h, t: windows.total(h, t, "pay", "amount", 60 * DAY)),
    "sum_tea": (
        'sum("pay", "amount", within="7d", where="event.sku == \'tea\'")',
        lambda h, t: windows.total(h, t, "pay", "amount", 7 * DAY, tea),
    ),
    "sum_qty": ('sum("pay", "qty", within="2d")', lambda h, t: windows.total(h, t, "pay", "qty", 2 * DAY)),
    "avg_all": ('avg("pay", "amount")', lambda h, t: windows.average(h, t, "pay", "amount")),
    "avg_7d": ('avg("pay", "amount", within="7d")', lambda h, t: windows.average(h, t, "pay", "amount", 7 * DAY)),
    "min_all": ('min("pay", "amount")', lambda h, t: windows.smallest(h, t, "pay", "amount")),
    "min_7d": ('min("pay", "amount", within="7d")', lambda h, t: windows.smallest(h, t, "pay", "amount", 7 * DAY)),
    "max_all": ('max("pay", "amount")', lambda h, t: windows.largest(h, t, "pay", "amount")),
    "max_2d": ('max("pay", "amount", within="2d")', lambda h, t: windows.largest(h, t, "pay", "amount", 2 * DAY)),
    "skus_all": ('distinct("pay", "sku")', lambda h, t: windows.distinct(h, t, "pay", "sku")),
    "skus_7d": ('distinct("pay", "sku", within="7d")', lambda h, t: windows.distinct(h, t, "pay", "sku", 7 * DAY)),
    "first_sku": ('first("pay").sku', lambda h, t: windows.field_of(windows.first(h, "pay"), "sku")),
    "last_amount": ('last("pay").amount', lambda h, t: windows.field_of(windows.last(h, "pay"), "amount")),
    "quiet_week": ('since("pay") >= duration("7d")', lambda h, t: (gap(h, t) or 0) >= 7 * DAY),
    "quiet_more": ('since("pay") > duration("7d")', lambda h, t: (gap(h, t) or 0) > 7 * DAY),
}

Verdict = Callable[[list[Ev], int], bool]

WHENS: dict[str, tuple[str, Verdict]] = {
    "cents": (
        'sum("pay", "amount", within="2d") == 0.3',
        lambda h, t: windows.total(h, t, "pay", "amount", 2 * DAY) == Decimal("0.3"),
    ),
    "zero": ('sum("pay", "amount") == 0', lambda h, t: windows.total(h, t, "pay", "amount") == 0),
    "spender": (
        'sum("pay", "amount", within="60d") >= 100.1',
        lambda h, t: windows.total(h, t, "pay", "amount", 60 * DAY) >= Decimal("100.1"),
    ),
    "below": ('sum("pay", "amount", within="7d") < 0', lambda h, t: windows.total(h, t, "pay", "amount", 7 * DAY) < 0),
    "pair": ('count("pay", within="7d") == 2', lambda h, t: windows.count(h, t, "pay", 7 * DAY) == 2),
    "mean": (
        'avg("pay", "amount", within="7d") <= 5',
        lambda h, t: at_most(windows.average(h, t, "pay", "amount", 7 * DAY), 5),
    ),
    "not_mean": (
        'not (avg("pay", "amount", within="7d") <= 5)',
        lambda h, t: not at_most(windows.average(h, t, "pay", "amount", 7 * DAY), 5),
    ),
    "least": (
        'min("pay", "amount", within="60d") == -2.5',
        lambda h, t: windows.smallest(h, t, "pay", "amount", 60 * DAY) == Decimal("-2.5"),
    ),
    "no_max": (
        'max("pay", "amount", within="2d") is none',
        lambda h, t: windows.largest(h, t, "pay", "amount", 2 * DAY) is None,
    ),
    "ratio": (
        'sum("pay", "amount", within="60d") >= 2 * sum("pay", "amount", within="7d")',
        lambda h, t: (
            windows.total(h, t, "pay", "amount", 60 * DAY) >= 2 * windows.total(h, t, "pay", "amount", 7 * DAY)
        ),
    ),
}


def at_most(value: Decimal | None, limit: int) -> bool:
    """Ordering with a missing value is false."""
    return value is not None and value <= limit


AMOUNTS = [
    *map(Decimal, ("0.1", "0.2", "0.1", "12.50", "-2.5", "-12.5", "100", "1E+2", "0.05", "99.99", "10", "9.99", "-0.3"))
]


def program() -> Program:
    """One playbook that writes every value, one for every condition."""
    steps = [{"id": name, "set": {f"user.v_{name}": f"{{{{ {text} }}}}"}} for name, (text, _) in VALUES.items()]
    playbooks: list[dict[str, Any]] = [
        {"playbook": "values", "trigger": {"event": ["pay", "probe"]}, "entry": PARALLEL, "steps": steps},
    ]
    for name, (text, _) in WHENS.items():
        playbooks.append(
            {
                "playbook": f"when-{name.replace('_', '-')}",
                "trigger": {"event": ["pay", "probe"]},
                "when": text,
                "entry": PARALLEL,
                "steps": [{"id": "t", "tag": {"add": ["x"]}}],
            }
        )
    head = {"profile": "open", "events": {"pay": {"amount": "money", "sku": "text", "qty": "integer"}}}
    return Program(playbooks, head=head)


def feed(seed: int, users: int) -> list[Ev]:
    """Users on hour, half-day, day and two-month grids, so that edges are hit exactly."""
    rng = random.Random(seed)
    events = []
    for number in range(users):
        step, days = rng.choice([(clock.HOUR, 4), (DAY // 2, 12), (DAY, 25), (DAY, 70), (60 * DAY, 240)])
        jitter = number % 2 == 1
        for _ in range(rng.randrange(1, 22)):
            data = {
                "amount": rng.choice(AMOUNTS),
                "sku": rng.choice(["tea", "cup", "pot"]),
                "qty": rng.randrange(-2, 4),
            }
            kind = rng.choice(["pay", "pay", "pay", "probe"])
            events.append(Ev(grid(rng, days, step, jitter), kind, f"u{number:04d}", data if kind == "pay" else {}))
    return shuffled(rng, events)


def expected(events: list[Ev]) -> list[Row]:
    """The rows of the oracle."""
    rows = []
    for user, story in by_user(events).items():
        for index, event in enumerate(story):
            known, now = story[: index + 1], event.time
            for name, (_, value) in VALUES.items():
                rows.append(row(now, "values", name, "set", user, {"field": f"v_{name}", "value": value(known, now)}))
            for name, (_, holds) in WHENS.items():
                if holds(known, now):
                    rows.append(row(now, f"when-{name.replace('_', '-')}", "t", "tag", user, {"add": ["x"]}))
    return rows


def blunt(item: Row) -> Row:
    """Means may be periodic decimals: twelve significant digits of them are compared."""
    if not (item[2] or "").startswith("avg_"):
        return item
    detail = tuple(
        (name, f"{Decimal(text[1:]):.11e}" if name == "value" and text.startswith("#") else text)
        for name, text in item[7]
    )
    return (*item[:7], detail)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_window_function_equals_a_walk_over_the_whole_history(tmp_path: Path, seed: int) -> None:
    """Values and conditions over count sum avg min max distinct first last since, at exact edges, row for row.

    Semantics: window.half-open, condition.empty, clock.event-time
    """
    events = feed(seed, scaled(50))
    run = simulate(program().write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    compare(map(blunt, expected(events)), map(blunt, rows_of(run)), events, f"seed {seed}")
    check_file_shape(run)
    assert run.summary["events"]["accepted"] == len(events)
    assert run.summary["users"] == len({event.user for event in events})


def test_sums_stay_exact_far_beyond_a_float(tmp_path: Path) -> None:
    """Eighteen digits before the point and ten behind it survive a sum, and cancel to exactly nothing.

    Semantics: event.numbers
    """
    big, small = Decimal("123456789012345678.01"), Decimal("0.0000000001")
    amounts = [big, small, -big, -small]
    base = clock.at("2026-02-01T00:00:00Z")
    events = [
        Ev(base + place * clock.HOUR, "pay", "u1", {"amount": amount, "sku": "tea", "qty": 1})
        for place, amount in enumerate(amounts)
    ]
    for line, event in enumerate(events):
        event.line, event.id = line, f"e{line}"
    run = simulate(program().write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])

    def mine(item: Row) -> bool:
        return item[2] == "sum_all" or item[1] == "when-zero"

    compare(filter(mine, expected(events)), filter(mine, rows_of(run)), events)
