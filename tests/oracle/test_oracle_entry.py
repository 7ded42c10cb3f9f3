"""Entry modes and the count trigger against ``oracle_entry``."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracle_entry as entry
import oracle_time as clock
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


@dataclass
class Case:
    """One playbook: when it fires, how one enters, how long a journey is."""

    name: str
    trigger: dict[str, Any]
    mode: str
    wait: str | None
    again_after: str | None = None
    key: bool = False
    at_least: int = 1
    within: str | None = None
    dear: bool = False

    def playbook(self) -> dict[str, Any]:
        """The YAML of it."""
        how: dict[str, Any] = {"mode": self.mode}
        if self.key:
            how["key"] = "event.shop"
        if self.again_after:
            how["again_after"] = self.again_after
        how["limit"] = "unlimited"
        steps: list[dict[str, Any]] = [{"id": "a", "tag": {"add": ["a"]}}]
        if self.wait:
            steps.append({"id": "w", "wait": self.wait})
        steps.append({"id": "b", "tag": {"add": ["b"]}})
        return {"playbook": self.name, "trigger": self.trigger, "entry": how, "steps": steps}

    def rows(self, story: list[Ev], user: str, horizon: int) -> list[Row]:
        """The oracle's rows for one user."""
        within = clock.span(self.within) if self.within else None
        where = (lambda event: bool(event.data["n"] >= 3)) if self.dear else None
        fired = entry.count_firings(story, "pay", self.at_least, within, where)
        firings = [entry.Firing(event.time, event.data["shop"] if self.key else "") for event in fired]
        length = clock.span(self.wait) if self.wait else 0
        rest = clock.span(self.again_after) if self.again_after else None
        return [
            row(time, self.name, name, "tag", user, {"add": [name]})
            for name, time in entry.journeys(firings, self.mode, length, rest, horizon)
        ]


def plain(name: str, mode: str, wait: str | None, again_after: str | None = None, key: bool = False) -> Case:
    """A playbook on every ``pay``."""
    return Case(name, {"event": "pay"}, mode, wait, again_after, key)


def counted(name: str, at_least: int, within: str | None, mode: str, wait: str | None, **more: Any) -> Case:
    """A playbook on the N-th ``pay`` in a window."""
    body: dict[str, Any] = {"event": "pay"}
    if more.get("dear"):
        body["where"] = "event.n >= 3"
    body["at_least"] = at_least
    if within:
        body["within"] = within
    return Case(name, {"count": body}, mode, wait, at_least=at_least, within=within, **more)


# again_after goes with restart, queue and parallel only when journeys are over at once: what it means while one runs
# is not written down.
CASES = [
    plain("once", "once", "5d"),
    plain("once-key", "once", "5d", key=True),
    plain("single", "single", "5d"),
    plain("single-now", "single", None),
    plain("single-rest", "single", "5d", "30d"),
    plain("single-rest-now", "single", None, "30d"),
    plain("single-rest-key", "single", "2d", "7d", key=True),
    plain("restart", "restart", "5d"),
    plain("restart-key", "restart", "3d", key=True),
    plain("restart-rest-now", "restart", None, "7d"),
    plain("queue", "queue", "5d"),
    plain("queue-key", "queue", "2d", key=True),
    plain("queue-rest-now", "queue", None, "7d"),
    plain("parallel", "parallel", "5d"),
    plain("parallel-key", "parallel", "1d", key=True),
    plain("parallel-rest-now", "parallel", None, "30d"),
    counted("count3-single", 3, "7d", "single", "2d"),
    counted("count3-rest", 3, "7d", "single", None, again_after="30d"),
    counted("count2-parallel", 2, "2d", "parallel", None),
    counted("count4-ever", 4, None, "parallel", "1d"),
    counted("count2-day", 2, "1d", "restart", "1d"),
    counted("count3-queue", 3, "7d", "queue", "2d"),
    counted("count2-dear-once", 2, "7d", "once", "1d", dear=True),
    counted("count5-60d", 5, "60d", "single", "5d", again_after="60d"),
]


def feed(seed: int, users: int) -> list[Ev]:
    """Days and half days; several events at one instant are common."""
    rng = random.Random(seed)
    events = []
    for number in range(users):
        step, days = rng.choice([(clock.HOUR * 6, 6), (DAY // 2, 20), (DAY, 40), (DAY, 120), (30 * DAY, 240)])
        jitter = number % 2 == 1
        for _ in range(rng.randrange(1, 20)):
            data = {"n": rng.randrange(1, 6), "shop": rng.choice(["north", "south"])}
            kind = rng.choice(["pay"] * 5 + ["noise"])
            events.append(Ev(grid(rng, days, step, jitter), kind, f"{number:06d}", data))
    return shuffled(rng, events)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_entry_mode_equals_the_walk_through_all_instants(tmp_path: Path, seed: int) -> None:
    """once single restart queue parallel, with key and again_after, by event and by count, to the exact instant.

    Semantics: entry.once, entry.single, entry.restart, entry.queue, entry.parallel, entry.key, entry.again-after
    Semantics: count.fires
    """
    events = feed(seed, scaled(80))
    program = Program([case.playbook() for case in CASES])
    run = simulate(program.write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    horizon = end_of(events)
    expected = [
        item for user, story in by_user(events).items() for case in CASES for item in case.rows(story, user, horizon)
    ]
    compare(expected, rows_of(run), events, f"seed {seed}")
    check_file_shape(run)
    starts = sum(1 for item in expected if item[2] == "a")
    journeys = run.summary["journeys"]
    assert journeys["started"] == starts
    assert journeys["started"] == journeys["finished"] + journeys["running"]
    verdicts = Counter(
        (clock.at(record["time"]), record["playbook"], record["user"])
        for record in map(json.loads, run.decisions.decode().splitlines())
        if record["verdict"] == "entered"
    )
    assert verdicts == Counter((item[0], item[1], item[4]) for item in expected if item[2] == "a")
    for case in CASES:
        entered = sum(1 for item in expected if item[2] == "a" and item[1] == case.name)
        assert run.summary["playbooks"][case.name]["entered"] == entered
