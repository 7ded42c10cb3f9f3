"""Streaks of local days against ``oracle_streak``."""

from __future__ import annotations

import random
from pathlib import Path

import oracle_streak as streak
import oracle_time as clock
import pytest
from oracle_harness import (
    SEEDS,
    Ev,
    Program,
    Row,
    by_user,
    compare,
    row,
    rows_of,
    scaled,
    shuffled,
    simulate,
    write_feed,
)

DAY = clock.DAY
ZONES = ["Asia/Shanghai", "America/New_York", "UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Auckland"]
STARTS = ["2026-03-02T00:00:00Z", "2026-10-26T00:00:00Z", "2026-06-01T00:00:00Z", "2026-09-21T00:00:00Z"]
LENGTHS = [1, 2, 3, 7]
PARALLEL = {"mode": "parallel", "limit": "unlimited"}


def check_ins(rng: random.Random, user: str, start: int, days: int, jitter: bool) -> list[Ev]:
    """Events that love local and UTC midnights of all the zones."""
    events = []
    for day in range(days):
        if rng.random() < 0.22:
            continue
        for _ in range(rng.choice([1, 1, 2])):
            hour = rng.choice([0, 3, 4, 5, 6, 7, 12, 15, 16, 18.25, 22, 23])
            instant = start + day * DAY + round(hour * clock.HOUR)
            events.append(Ev(instant + (rng.choice([0, -1, 1]) if jitter else 0), "in", user))
    return events


def feed(seed: int, users: int) -> list[Ev]:
    """Half the users move to another zone, after a gap that breaks any streak; some zones are nonsense."""
    rng = random.Random(seed)
    events = []
    for number in range(users):
        user, jitter = f"u{number}", number % 2 == 0
        start = clock.at(rng.choice(STARTS))
        kind = rng.choice(["signup", "signup", "updated", "bad", "nothing"])
        if kind in ("signup", "updated"):
            events.append(Ev(start - 3 * DAY, f"user.{kind}", user, {"zone": rng.choice(ZONES)}))
        elif kind == "bad":
            events.append(Ev(start - 3 * DAY, "user.signup", user, {"zone": rng.choice(["Mars/Base", "+08:00x", ""])}))
        events += check_ins(rng, user, start, 21, jitter)
        if rng.random() < 0.5:
            later = start + 27 * DAY
            name = rng.choice([*ZONES, "Mars/Base"])
            events.append(Ev(later - 3 * DAY, "user.updated", user, {"zone": name}))
            events += check_ins(rng, user, later, 14, jitter)
    return shuffled(rng, events)


@pytest.mark.parametrize("default", ["UTC", "America/New_York"])
@pytest.mark.parametrize("seed", SEEDS)
def test_streaks_follow_the_local_days_of_each_user(tmp_path: Path, seed: int, default: str) -> None:
    """The trigger fires at the first event of the N-th day in a row, streak() counts the days, over DST and zones.

    Semantics: streak.fires, streak.days
    """
    events = feed(seed, scaled(80))
    playbooks: list[dict[str, object]] = [
        {
            "playbook": f"row{days}",
            "trigger": {"streak": {"event": "in", "days": days}},
            "entry": PARALLEL,
            "steps": [{"id": "t", "tag": {"add": ["x"]}}],
        }
        for days in LENGTHS
    ]
    playbooks.append(
        {
            "playbook": "length",
            "trigger": {"event": "in"},
            "entry": PARALLEL,
            "steps": [{"id": "v", "set": {"user.v": '{{ streak("in") }}'}}],
        }
    )
    program = Program(playbooks, head={"timezone": default, "profile": "open"})
    run = simulate(program.write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    expected: list[Row] = []
    for user, story in by_user(events).items():
        for item in streak.check_ins(story, "in", default):
            now = item.event.time
            expected.append(row(now, "length", "v", "set", user, {"field": "v", "value": item.length}))
            if item.first and item.length in LENGTHS:
                expected.append(row(now, f"row{item.length}", "t", "tag", user, {"add": ["x"]}))
    compare(expected, rows_of(run), events, f"seed {seed} default {default}")
