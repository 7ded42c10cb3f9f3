"""Inactivity, wake-ups, the end of the clock and ``--until`` against ``oracle_inactivity``."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracle_inactivity as inactivity
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
    spelt,
    write_feed,
)

DAY = clock.DAY
PARALLEL = {"mode": "parallel", "limit": "unlimited"}


@dataclass
class Case:
    """One playbook on idleness: ``rest`` and the length of the journey never let its end meet a firing."""

    name: str
    after: str
    activity: list[str] | None
    when: bool = False
    rest: str | None = None
    length: str = "2d"
    goal: bool = False

    def playbook(self) -> dict[str, Any]:
        """The YAML of it."""
        trigger: dict[str, Any] = {"inactivity": self.after}
        if self.activity:
            trigger["activity"] = self.activity
        out: dict[str, Any] = {"playbook": self.name, "trigger": trigger}
        if self.when:
            out["when"] = ['count("pay") >= 2', 'count("pay", within="30d") >= 1']
        out["entry"] = {"mode": "single"}
        if self.rest:
            out["entry"]["again_after"] = self.rest
        if self.goal:
            out["goal"] = {"event": "buy", "within": "4d"}
        out["steps"] = [
            {"id": "a", "tag": {"add": ["a"]}},
            {"id": "w", "wait": self.length},
            {"id": "b", "tag": {"add": ["b"]}},
        ]
        return out

    def rows(self, story: list[Ev], user: str, horizon: int, default: list[str] | None) -> list[Row]:
        """The oracle's rows for one user."""
        after = clock.span(self.after)
        fired = inactivity.spells(story, self.activity or default, lambda last: last + after, horizon)

        def when(known: Any, now: int) -> bool:
            often = windows.count(known, now, "pay") >= 2
            lately = windows.count(known, now, "pay", 30 * DAY) >= 1
            return not self.when or (often and lately)

        rest = clock.span(self.rest) if self.rest else None
        length = clock.span(self.length)
        goal = "buy" if self.goal else None
        found = inactivity.campaign(story, fired, when, rest, length, goal, 4 * DAY, horizon)
        return [row(time, self.name, name, "tag", user, {"add": [name]}) for name, time in found]


CASES = [
    Case("pay-1d", "1d", ["pay"], length="7h"),
    Case("pay-3d", "3d", ["pay"], length="31h"),
    Case("pay-60d", "60d", ["pay"], length="31h"),
    Case("many-3d", "3d", ["pay", "view"], length="31h"),
    Case("any-2d", "2d", None, length="31h"),
    Case("when-3d", "3d", ["pay"], when=True, length="31h"),
    Case("rest-3d", "3d", ["pay"], rest="113h", length="31h"),
    Case("goal-3d", "3d", ["pay"], goal=True, length="103h"),
    Case("goal-rest", "2d", ["pay", "view"], rest="113h", goal=True, length="103h"),
    Case("hours", "12h", ["view"], length="7h"),
]


def feed(seed: int, users: int) -> list[Ev]:
    """Day and hour grids, so that activities stand exactly at deadlines; some users have no activity at all."""
    rng = random.Random(seed)
    events = []
    for number in range(users):
        step, days = rng.choice([(clock.HOUR * 12, 8), (DAY, 25), (DAY, 60), (60 * DAY, 300), (DAY, 12)])
        jitter = number % 2 == 1
        kinds = rng.choice([["pay"], ["pay", "view", "buy"], ["pay", "pay", "buy"], ["view", "buy", "noise"]])
        for _ in range(rng.randrange(1, 14)):
            events.append(Ev(grid(rng, days, step, jitter), rng.choice(kinds), f"u{number:04d}"))
    return shuffled(rng, events)


def oracle(events: list[Ev], horizon: int, default: list[str] | None) -> list[Row]:
    """All rows of all playbooks up to the end of the clock."""
    return [
        item
        for user, story in by_user(event for event in events if event.time <= horizon).items()
        for case in CASES
        for item in case.rows(story, user, horizon, default)
    ]


@pytest.mark.parametrize("default", [None, ["pay", "buy"]])
@pytest.mark.parametrize("seed", SEEDS)
def test_idle_spells_fire_once_at_the_exact_deadline(tmp_path: Path, seed: int, default: list[str] | None) -> None:
    """Ties at the deadline, several types, the default activity, when, again_after, goals, the end of the feed.

    Semantics: inactivity.once, inactivity.tie, inactivity.rearmed
    """
    events = feed(seed, scaled(120))
    program = Program([case.playbook() for case in CASES], head={"activity": default} if default else {})
    run = simulate(program.write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    compare(oracle(events, end_of(events), default), rows_of(run), events, f"seed {seed}")
    check_file_shape(run)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_until_reads_no_later_event_and_fires_what_is_due(tmp_path: Path, shift: int) -> None:
    """``--until T``: events after T are not read; wake-ups up to and including T fire, also past the end."""
    events = feed(5, scaled(60))
    program = Program([case.playbook() for case in CASES]).write(tmp_path)
    path = write_feed(tmp_path / "feed.jsonl", events)
    for day in (10, 400):
        horizon = clock.at("2026-01-01T00:00:00Z") + day * DAY + shift
        run = simulate(program, [path], "--until", spelt(horizon, "+08:00"))
        compare(oracle(events, horizon, None), rows_of(run), events, f"until day {day} {shift:+d} ms")


def test_calendar_inactivity_uses_local_wall_clock(tmp_path: Path) -> None:
    """``{days: n, at}``: n local days after the last activity at that wall clock, in gaps and folds too."""
    rng = random.Random(3)
    zones = ["America/New_York", "Asia/Shanghai", "Europe/Berlin", "UTC"]
    forms: dict[str, dict[str, Any]] = {
        "d3": {"days": 3},
        "d3at": {"days": 3, "at": "10:00"},
        "d1gap": {"days": 1, "at": "02:30"},
        "d2fold": {"days": 2, "at": "01:30"},
    }
    playbooks: list[dict[str, Any]] = [
        {
            "playbook": name,
            "trigger": {"inactivity": form, "activity": ["pay"]},
            "entry": PARALLEL,
            "steps": [{"id": "t", "tag": {"add": ["x"]}}],
        }
        for name, form in forms.items()
    ]
    events, zone_of = [], {}
    for number in range(scaled(60)):
        user = f"u{number}"
        zone_of[user] = rng.choice(zones)
        start = clock.at(rng.choice(["2026-03-04T00:00:00Z", "2026-10-21T00:00:00Z", "2026-03-25T00:00:00Z"]))
        events.append(Ev(start - DAY, "user.signup", user, {"zone": zone_of[user]}))
        for _ in range(rng.randrange(1, 7)):
            events.append(
                Ev(start + rng.randrange(14 * 24) * clock.HOUR + rng.choice([0, 30 * clock.MINUTE]), "pay", user)
            )
    events = shuffled(rng, events)
    horizon = end_of(events)
    expected = []
    for user, story in by_user(events).items():
        for name, form in forms.items():

            def deadline(last: int, zone: str = zone_of[user], form: dict[str, Any] = form) -> int:
                return clock.days_later(last, zone, form["days"], form.get("at"))

            for due in inactivity.spells(story, ["pay"], deadline, horizon):
                expected.append(row(due, name, "t", "tag", user, {"add": ["x"]}))
    run = simulate(Program(playbooks).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    compare(expected, rows_of(run), events)


def test_emitted_events_are_no_activity(tmp_path: Path) -> None:
    """The default activity is external: what a journey emits neither prevents nor re-arms idleness.

    Semantics: inactivity.external
    """
    base = clock.at("2026-01-01T00:00:00Z")
    playbooks: list[dict[str, Any]] = [
        {
            "playbook": "nudge",
            "trigger": {"event": "go"},
            "entry": PARALLEL,
            "steps": [
                {"id": "w", "wait": "2d"},
                {"id": "e", "emit": {"type": "ping", "data": {"n": 1}}},
            ],
        },
        {
            "playbook": "idle",
            "trigger": {"inactivity": "3d"},
            "entry": PARALLEL,
            "steps": [{"id": "t", "tag": {"add": ["idle"]}}],
        },
        {
            "playbook": "pinged",
            "trigger": {"event": "ping"},
            "entry": PARALLEL,
            "steps": [{"id": "t", "tag": {"add": ["pinged"]}, "if": "event.n == 1"}],
        },
    ]
    events = [Ev(base, "go", "u1", id="1", line=0), Ev(base + 20 * DAY, "go", "u2", id="2", line=1)]
    run = simulate(Program(playbooks).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    expected = [
        row(base + 2 * DAY, "nudge", "e", "emit", "u1", {"type": "ping"}),
        row(base + 2 * DAY, "pinged", "t", "tag", "u1", {"add": ["pinged"]}),
        row(base + 3 * DAY, "idle", "t", "tag", "u1", {"add": ["idle"]}),
    ]
    compare(expected, rows_of(run), events)
