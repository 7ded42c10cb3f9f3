"""Segments entered and left against a full recompute at every instant."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracle_segments as segments
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
    end_of,
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


def last_active(history: Sequence[Ev]) -> int | None:
    """``user.last_active_at`` when the program names no activity: the last external event."""
    return max((event.time for event in history), default=None)


def dormant(history: Sequence[Ev], now: int) -> bool:
    """Ten days without any event, and at least one purchase."""
    last = last_active(history)
    return last is not None and now - last >= 10 * DAY and windows.count(history, now, "pay") >= 1


def lapsed(history: Sequence[Ev], now: int) -> bool:
    """The last purchase is older than seven days."""
    event = windows.last(history, "pay")
    return event is not None and now - event.time >= 7 * DAY


@dataclass
class Case:
    """A segment as YAML and as a function; ``lags`` are the distances at which time alone can move it."""

    name: str
    text: str
    member: segments.Member
    lags: list[int]


CASES = [
    Case("busy", 'count("pay", within="7d") >= 3', lambda h, t: windows.count(h, t, "pay", 7 * DAY) >= 3, [7 * DAY]),
    Case(
        "spender",
        'sum("pay", "amount", within="30d") >= 100',
        lambda h, t: windows.total(h, t, "pay", "amount", 30 * DAY) >= 100,
        [30 * DAY],
    ),
    Case(
        "indebted",
        'sum("pay", "amount", within="7d") < -0.3',
        lambda h, t: windows.total(h, t, "pay", "amount", 7 * DAY) < Decimal("-0.3"),
        [7 * DAY],
    ),
    Case("vip", "user.vip", lambda h, t: segments.trait(h, "vip") is True, []),
    Case("shanghai", 'user.city == "上海"', lambda h, t: segments.trait(h, "city") == "上海", []),
    Case(
        "busy-vip",
        'user.vip and count("pay", within="7d") >= 2',
        lambda h, t: segments.trait(h, "vip") is True and windows.count(h, t, "pay", 7 * DAY) >= 2,
        [7 * DAY],
    ),
    Case(
        "one-day",
        'count("pay") >= 1 and count("pay", within="1d") == 0',
        lambda h, t: windows.count(h, t, "pay") >= 1 and windows.count(h, t, "pay", DAY) == 0,
        [DAY],
    ),
    Case(
        "two-windows",
        'count("pay", within="30d") >= 3 and not (count("pay", within="7d") >= 1)',
        lambda h, t: windows.count(h, t, "pay", 30 * DAY) >= 3 and windows.count(h, t, "pay", 7 * DAY) == 0,
        [7 * DAY, 30 * DAY],
    ),
    Case("dormant", 'user.last_active_at is older_than("10d") and count("pay") >= 1', dormant, [10 * DAY]),
    Case("lapsed", 'last("pay").time is older_than("7d")', lapsed, [7 * DAY]),
    Case("since", 'count("pay") >= 1 and since("pay") >= duration("7d")', lapsed, [7 * DAY]),
]


def program() -> Program:
    """Two playbooks for each segment, and one that asks for membership at an event."""
    playbooks: list[dict[str, Any]] = []
    for case in CASES:
        for way in ("enters", "leaves"):
            playbooks.append(
                {
                    "playbook": f"{case.name}-{way}",
                    "trigger": {"segment": {way: case.name}},
                    "entry": PARALLEL,
                    "steps": [{"id": "t", "tag": {"add": ["x"]}}],
                }
            )
        playbooks.append(
            {
                "playbook": f"{case.name}-in",
                "trigger": {"event": "ask"},
                "when": f'in_segment("{case.name}")',
                "entry": PARALLEL,
                "steps": [{"id": "t", "tag": {"add": ["x"]}}],
            }
        )
    catalog = {"segments": {case.name: {"if": case.text} for case in CASES}}
    head = {
        "profile": {"vip": "bool | none", "city": "text | none"},
        "events": {"pay": {"amount": "money"}},
    }
    return Program(playbooks, catalog, head=head)


def feed(seed: int, users: int) -> list[Ev]:
    """Grids on which 1, 7, 10 and 30 days end exactly at other events; traits that come and go."""
    rng = random.Random(seed)
    events = []
    for number in range(users):
        step, days = rng.choice([(DAY, 20), (DAY, 40), (DAY // 2, 14), (7 * DAY, 70), (30 * DAY, 200), (10 * DAY, 100)])
        jitter = number % 2 == 1
        for _ in range(rng.randrange(1, 14)):
            kind = rng.choice(["pay"] * 6 + ["user.updated", "user.updated", "user.signup", "ask", "ask"])
            data: dict[str, Any] = {}
            if kind == "pay":
                amount = rng.choice(["10", "50", "50", "100", "-50", "-0.1", "-0.2", "0.3"])
                data = {"amount": Decimal(amount)}
            elif kind.startswith("user."):
                data = rng.choice(
                    [{"vip": True}, {"vip": False}, {"vip": None}, {"city": "上海"}, {"city": "北京"}, {}]
                )
            events.append(Ev(grid(rng, days, step, jitter), kind, f"u{number:04d}", data))
    return shuffled(rng, events)


@pytest.mark.parametrize("seed", SEEDS)
def test_segments_equal_a_full_recompute_at_every_instant(tmp_path: Path, seed: int) -> None:
    """Entered and left at the very instant of an event, a trait or a decay; in_segment says the same at an event.

    Semantics: segment.recompute, threshold.inclusive
    """
    events = feed(seed, scaled(150))
    run = simulate(program().write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    horizon = end_of(events)
    expected: list[Row] = []
    unsettled: set[tuple[str, str]] = set()
    for user, story in by_user(events).items():
        for case in CASES:
            readings = [segments.crossings(story, case.member, case.lags, horizon, True)]
            if case.lags:
                readings.append(segments.crossings(story, case.member, case.lags, horizon, False))
            if any(reading != readings[0] for reading in readings):
                unsettled.add((user, case.name))
                continue
            for time, way in readings[0]:
                expected.append(row(time, f"{case.name}-{way}", "t", "tag", user, {"add": ["x"]}))
            for index, event in enumerate(story):
                if event.type == "ask" and case.member(story[: index + 1], event.time):
                    expected.append(row(event.time, f"{case.name}-in", "t", "tag", user, {"add": ["x"]}))

    def settled(record: dict[str, Any]) -> bool:
        return (record["user"], record["playbook"].rsplit("-", 1)[0]) not in unsettled

    compare(expected, rows_of(run, settled), events, f"seed {seed}")
    check_file_shape(run)
    assert len(unsettled) < 0.25 * len(CASES) * len(by_user(events)), "too little is compared"
