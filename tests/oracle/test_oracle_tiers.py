"""Tier ladders and the tier_change trigger against ``oracle_tiers``."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracle_tiers as tiers
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


@dataclass
class Ladder:
    """A ladder as YAML and as arithmetic."""

    name: str
    text: str
    metric: tiers.Metric
    levels: dict[str, Decimal | int]
    within: str | None = None
    grace: str | None = None

    def catalog(self) -> dict[str, Any]:
        """The catalog entry."""
        levels = {name: float(value) if isinstance(value, Decimal) else value for name, value in self.levels.items()}
        out: dict[str, Any] = {"metric": self.text, "levels": levels}
        if self.grace:
            out["grace"] = self.grace
        return out

    def changes(self, story: list[Ev], horizon: int) -> list[tiers.Change] | None:
        """The moves of a user, None when the design leaves room for more than one answer."""
        found = tiers.readings(
            story,
            self.levels,
            self.metric,
            clock.span(self.within) if self.within else None,
            clock.span(self.grace) if self.grace else 0,
            horizon,
        )
        return found[0] if all(reading == found[0] for reading in found) else None


def spend(within: str | None) -> tiers.Metric:
    """``sum("pay", "amount", within=)``"""
    length = clock.span(within) if within else None
    return lambda history, now: windows.total(history, now, "pay", "amount", length)


def ladders() -> list[Ladder]:
    """With and without window, grace, null at the bottom, negative thresholds, a level called none, other metrics."""
    return [
        Ladder("ever", 'sum("pay", "amount")', spend(None), {"bronze": 0, "silver": 50, "gold": 200}),
        Ladder(
            "month", 'sum("pay", "amount", within="30d")', spend("30d"), {"bronze": 0, "silver": 50, "gold": 200}, "30d"
        ),
        Ladder("week", 'sum("pay", "amount", within="7d")', spend("7d"), {"low": Decimal("12.5"), "high": 100}, "7d"),
        Ladder("graced", 'sum("pay", "amount", within="7d")', spend("7d"), {"base": 0, "top": 50}, "7d", "3d"),
        Ladder(
            "graced3", 'sum("pay", "amount", within="30d")', spend("30d"), {"a": 10, "b": 50, "c": 100}, "30d", "10d"
        ),
        Ladder("slow", 'sum("pay", "amount")', spend(None), {"base": 0, "top": 50}, None, "5d"),
        Ladder("debt", 'sum("pay", "amount", within="7d")', spend("7d"), {"owing": -100, "none": 0, "rich": 100}, "7d"),
        Ladder("deep", 'sum("pay", "amount")', spend(None), {"abyss": -1000, "red": -20, "none": Decimal("0.3")}),
        Ladder(
            "often",
            'count("pay", within="7d")',
            lambda history, now: windows.count(history, now, "pay", 7 * DAY),
            {"new": 0, "seen": 2, "regular": 4},
            "7d",
        ),
        Ladder(
            "mean",
            'avg("pay", "amount", within="7d")',
            lambda history, now: windows.average(history, now, "pay", "amount", 7 * DAY),
            {"small": -50, "mid": 10, "big": 50},
            "7d",
        ),
        Ladder(
            "best",
            'max("pay", "amount")',
            lambda history, now: windows.largest(history, now, "pay", "amount"),
            {"none": 0, "fan": 50},
        ),
    ]


LADDERS = {ladder.name: ladder for ladder in ladders()}

LISTENERS: list[tuple[str, dict[str, Any]]] = [
    ("all-month", {"ladder": "month"}),
    ("up-month", {"ladder": "month", "direction": "up"}),
    ("down-month", {"ladder": "month", "direction": "down"}),
    ("to-gold", {"ladder": "month", "to": "gold"}),
    ("to-some", {"ladder": "month", "direction": "up", "to": ["silver", "gold"]}),
    ("from-gold", {"ladder": "month", "from": "gold"}),
    ("gold-silver", {"ladder": "month", "from": ["gold"], "to": "silver", "direction": "any"}),
    ("up-week", {"ladder": "week", "direction": "up"}),
    ("down-week", {"ladder": "week", "direction": "down"}),
    ("to-none", {"ladder": "debt", "to": "none"}),
    ("from-none", {"ladder": "deep", "from": "none"}),
    ("down-graced", {"ladder": "graced", "direction": "down"}),
    ("up-mean", {"ladder": "mean", "direction": "up"}),
]

CENTS = [1000, 2000, 5000, 5000, 10000, 20000, 1250, 10, 20, -1000, -5000, -5000, -10000, -1250, 30000]
AMOUNTS = [Decimal(cents) / 100 for cents in CENTS]


def playbooks() -> list[dict[str, Any]]:
    """One for every listener."""
    return [
        {
            "playbook": name,
            "trigger": {"tier_change": body},
            "entry": PARALLEL,
            "steps": [{"id": "t", "tag": {"add": ["x"]}}],
        }
        for name, body in LISTENERS
    ]


def wanted(body: dict[str, Any], ladder: Ladder, change: tiers.Change) -> bool:
    """Does a listener fire for a change?"""

    def meets(name: str, value: str | None) -> bool:
        asked = body.get(name)
        return asked is None or value in ([asked] if isinstance(asked, str) else asked)

    way = body.get("direction", "any")
    return (
        meets("from", change[1]) and meets("to", change[2]) and way in ("any", tiers.direction(ladder.levels, change))
    )


def feed(seed: int, users: int) -> list[Ev]:
    """Grids on which windows of 7 and 30 days, and graces of 3, 5 and 10, end exactly at other events."""
    rng = random.Random(seed)
    events = []
    for number in range(users):
        step, days = rng.choice([(DAY, 20), (DAY, 40), (DAY // 2, 16), (7 * DAY, 70), (30 * DAY, 240), (10 * DAY, 120)])
        jitter = number % 2 == 1
        taken: set[int] = set()
        for _ in range(rng.randrange(1, 12)):
            instant = grid(rng, days, step, jitter)
            if instant in taken and rng.random() < 0.8:
                continue
            taken.add(instant)
            kind = "pay" if rng.random() < 0.85 else "noise"
            data = {"amount": rng.choice(AMOUNTS)} if kind == "pay" else {}
            events.append(Ev(instant, kind, f"u{number:04d}", data))
    return shuffled(rng, events)


@pytest.mark.parametrize("seed", SEEDS)
def test_ladders_and_their_listeners_move_at_the_exact_instant(tmp_path: Path, seed: int) -> None:
    """Rows of kind tier with playbook null, and journeys of tier_change by ladder, direction, from and to.

    Semantics: threshold.inclusive, tier-change.up, tier-change.down, tier-change.filters, tier.before, tier.one-row
    Semantics: tier.no-decay, tier.grace
    """
    events = feed(seed, scaled(120))
    catalog = {"tiers": {ladder.name: ladder.catalog() for ladder in LADDERS.values()}}
    run = simulate(Program(playbooks(), catalog).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    horizon = end_of(events)
    expected: list[Row] = []
    open_questions: set[tuple[str, str]] = set()
    for user, story in by_user(events).items():
        for ladder in LADDERS.values():
            changes = ladder.changes(story, horizon)
            if changes is None:
                open_questions.add((user, ladder.name))
                continue
            for change in changes:
                detail = {"ladder": ladder.name, "from": change[1], "to": change[2]}
                expected.append(row(change[0], None, None, "tier", user, detail))
                for name, body in LISTENERS:
                    if body["ladder"] == ladder.name and wanted(body, ladder, change):
                        expected.append(row(change[0], name, "t", "tag", user, {"add": ["x"]}))

    ladder_of = {name: body["ladder"] for name, body in LISTENERS}

    def settled(record: dict[str, Any]) -> bool:
        ladder = record["detail"]["ladder"] if record["kind"] == "tier" else ladder_of[record["playbook"]]
        return (record["user"], ladder) not in open_questions

    compare(expected, rows_of(run, settled), events, f"seed {seed}")
    check_file_shape(run)
    assert len(open_questions) < 0.2 * len(LADDERS) * len(by_user(events)), "too little is compared"


def test_an_unused_ladder_is_computed_and_user_tier_reads_it(tmp_path: Path) -> None:
    """No playbook names the ladder, its rows stand all the same; user.tier in a condition is the level of then.

    Semantics: tier.unused
    """
    base = clock.at("2026-01-01T00:00:00Z")
    book = {
        "playbook": "p",
        "trigger": {"event": "ask"},
        "entry": PARALLEL,
        "steps": [
            {"id": "is_gold", "tag": {"add": ["x"]}, "if": 'user.tier == "gold"'},
            {"id": "at_least_silver", "tag": {"add": ["x"]}, "if": 'user.tier is at_least("silver")'},
        ],
    }
    catalog = {
        "tiers": {
            "member": {
                "metric": 'sum("pay", "amount", within="30d")',
                "levels": {"bronze": 0, "silver": 50, "gold": 200},
            }
        }
    }
    events = [
        Ev(base, "ask", "u", id="1", line=0),
        Ev(base + DAY, "pay", "u", {"amount": 200}, id="2", line=1),
        Ev(base + DAY, "ask", "u", id="3", line=2),
        Ev(base + 2 * DAY, "pay", "u", {"amount": 60}, id="4", line=3),
        Ev(base + 31 * DAY, "ask", "u", id="5", line=4),
        Ev(base + 33 * DAY, "ask", "u", id="6", line=5),
    ]
    expected = [
        row(base + DAY, None, None, "tier", "u", {"ladder": "member", "from": "bronze", "to": "gold"}),
        row(base + 31 * DAY, None, None, "tier", "u", {"ladder": "member", "from": "gold", "to": "silver"}),
        row(base + 32 * DAY, None, None, "tier", "u", {"ladder": "member", "from": "silver", "to": "bronze"}),
        row(base + DAY, "p", "is_gold", "tag", "u", {"add": ["x"]}),
        row(base + DAY, "p", "at_least_silver", "tag", "u", {"add": ["x"]}),
    ]

    def settled(record: dict[str, Any]) -> bool:
        at_decay = (
            clock.at(record["time"]) == base + 31 * DAY
        )  # the ask of that very instant: before or after the move?
        return not (at_decay and record["kind"] == "tag")

    run = simulate(Program([book], catalog).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    compare(expected, rows_of(run, settled), events)
