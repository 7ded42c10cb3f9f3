"""Whole journeys, drawn at random, against the generators of ``oracle_journeys``."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import oracle_journeys as journeys
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
    numbered,
    row,
    rows_of,
    scaled,
    shuffled,
    simulate,
    write_feed,
)

DAY = clock.DAY
ZONES = ["UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin"]
ON_ENTRY = [
    'count("a", within="2d") >= 1',
    'count("a", within="1d") == 0',
    'count("b") >= 2',
    'not (count("b", within="3d") >= 1)',
    "event.n >= 3",
    "event.n == 1 or event.n == 4",
    'count("a") >= count("b")',
]
WAITS: list[Any] = [
    "6h",
    "12h",
    "1d",
    "2d",
    "3d",
    "90m",
    {"days": 1},
    {"days": 2},
    {"days": 1, "at": "10:00"},
    {"days": 0, "at": "10:00"},
    {"days": 2, "at": "02:30"},
    {"until": 'event.time + duration("2d")'},
]


class Maker:
    """Draws a playbook; every step has an id of its own."""

    def __init__(self, rng: random.Random, name: str) -> None:
        self.rng = rng
        self.name = name
        self.made = 0

    def fresh(self) -> str:
        """The next step id."""
        self.made += 1
        return f"s{self.made}"

    def row_step(self) -> dict[str, Any]:
        """A step that leaves a row."""
        step: dict[str, Any] = {"id": self.fresh()}
        if self.rng.random() < 0.7:
            step["tag"] = {"add": [step["id"]]}
        else:
            step["message"] = {"template": "x", "via": "box", "purpose": "service"}
        if self.rng.random() < 0.25:
            step["if"] = self.rng.choice(ON_ENTRY)
        return step

    def steps(self, depth: int) -> list[dict[str, Any]]:
        """One to three steps, nested at most ``depth`` deep."""
        return [self.step(depth) for _ in range(self.rng.choice([1, 2, 2, 3]))]

    def branch(self, depth: int) -> list[dict[str, Any]]:
        """The steps of an arm; sometimes it ends the journey."""
        out = self.steps(depth)
        if self.rng.random() < 0.15:
            out.append({"id": self.fresh(), "stop": "enough"})
        return out

    def step(self, depth: int) -> dict[str, Any]:
        """Any step."""
        kind = self.rng.choice(["row", "row", "wait", "wait", *(["wait_for", "choose", "split"] if depth else [])])
        if kind == "row":
            return self.row_step()
        if kind == "wait":
            step: dict[str, Any] = {"id": self.fresh(), "wait": self.rng.choice(WAITS)}
            if self.rng.random() < 0.15:
                step["if"] = self.rng.choice(ON_ENTRY)
            return step
        if kind == "wait_for":
            body: dict[str, Any] = {"event": self.rng.choice(["a", "b"])}
            if self.rng.random() < 0.5:
                body["if"] = self.rng.choice(["event.n >= 3", "event.n < 4", 'count("b") >= 2'])
            body["up_to"] = self.rng.choice(["6h", "1d", "2d", "3d", {"days": 1, "at": "10:00"}, {"days": 2}])
            if self.rng.random() < 0.8:
                body["then"] = self.branch(depth - 1)
            if self.rng.random() < 0.8:
                body["else"] = self.rng.choice(["stop", self.branch(depth - 1), self.branch(depth - 1)])
            return {"id": self.fresh(), "wait_for": body}
        if kind == "choose":
            texts = self.rng.sample(ON_ENTRY, self.rng.choice([1, 2]))
            branches: list[dict[str, Any]] = [{"when": text, "do": self.branch(depth - 1)} for text in texts]
            if self.rng.random() < 0.7:
                branches.append({"otherwise": self.branch(depth - 1)})
            return {"id": self.fresh(), "choose": branches}
        weights = self.rng.choice([[50, 50], [10, 90], [20, 30, 50], [1, 99], [34, 33, 33]])
        arms = [
            {"name": f"arm{place}", "weight": weight, "do": self.branch(depth - 1)}
            for place, weight in enumerate(weights)
        ]
        split: dict[str, Any] = {"arms": arms}
        if self.rng.random() < 0.5:
            split = {"salt": self.rng.choice(["2026H2", "盐"]), "arms": arms}
        return {"id": self.fresh(), "split": split}

    def playbook(self) -> dict[str, Any]:
        """A whole playbook."""
        rng = self.rng
        out: dict[str, Any] = {"playbook": self.name, "trigger": {"event": "go"}}
        exits: list[dict[str, Any]] | None = rng.choice(
            [
                None,
                None,
                [{"event": "quit"}],
                [{"event": "quit", "if": 'count("b") >= 2'}],
                [{"if": 'count("quit") >= 2'}],
            ]
        )
        if exits is not None and "event" not in exits[0]:
            out["when"] = 'count("quit") < 2'  # else the journey would begin with its exit already true: not settled
        elif rng.random() < 0.3:
            out["when"] = rng.choice(ON_ENTRY)
        mode = rng.choice(["parallel", "parallel", "single"])
        out["entry"] = {"mode": mode, "limit": "unlimited"}
        if rng.random() < 0.5:
            out["goal"] = {"event": "buy", "within": rng.choice(["1d", "2d", "5d"])}
            if rng.random() < 0.4:
                out["goal"]["if"] = "event.n >= 3"
        if exits is not None:
            out["exit"] = exits
        if rng.random() < 0.3:
            out["holdout"] = {"percent": rng.choice([10, 50, 30])}
            if rng.random() < 0.5:
                out["holdout"]["salt"] = "keep-out"
        out["steps"] = [self.row_step(), *self.steps(2), *self.steps(2), self.row_step()]
        return out


journeys.CONDITIONS['count("quit") < 2'] = lambda v: sum(1 for event in v.history if event.type == "quit") < 2


def feed(seed: int, users: int) -> tuple[list[Ev], dict[str, str]]:
    """Hour, six-hour and day grids around two DST changes; several events at one instant; ids with leading zeros."""
    rng = random.Random(seed)
    events, zone_of = [], {}
    for number in range(users):
        user = f"{number:06d}"
        zone_of[user] = rng.choice(ZONES)
        start = clock.at(rng.choice(["2026-03-05T00:00:00Z", "2026-10-28T00:00:00Z", "2026-03-26T00:00:00Z"]))
        events.append(Ev(start - DAY, "user.signup", user, {"zone": zone_of[user]}))
        step, days = rng.choice([(clock.HOUR, 3), (6 * clock.HOUR, 8), (DAY, 12), (DAY, 20)])
        jitter = number % 2 == 1
        for _ in range(rng.randrange(2, 18)):
            kind = rng.choice(["go", "go", "go", "a", "a", "b", "b", "buy", "quit"])
            instant = start + rng.randrange(days * DAY // step + 1) * step
            if jitter:
                instant += rng.choice([0, 0, 0, 1, -1, 250])
            events.append(Ev(instant, kind, user, {"n": rng.randrange(1, 6)}))
    return shuffled(rng, events), zone_of


def lenient(item: Row) -> Row:
    """Whether a tag of a held-out subject is ``planned`` or ``held_out`` is not written down."""
    return (*item[:5], "planned", *item[6:]) if item[3] == "tag" and item[5] == "held_out" else item


def check(folder: Path, books: Sequence[dict[str, Any]], events: list[Ev], zone_of: dict[str, str], note: str) -> None:
    """Run a program and compare it with the oracle."""
    numbers = {"n": "integer"}
    program = Program(list(books), head={"events": dict.fromkeys(("go", "a", "b", "buy", "quit"), numbers)})
    run = simulate(program.write(folder), [write_feed(folder / "feed.jsonl", events)])
    horizon = end_of(events)
    expected = []
    for user, story in by_user(events).items():
        expected += journeys.World(user, books, zone_of[user]).live(story, horizon)
    compare(expected, map(lenient, rows_of(run)), events, note)
    check_file_shape(run)


@pytest.mark.parametrize("draw", range(4))
@pytest.mark.parametrize("seed", SEEDS)
def test_random_playbooks_walk_as_their_text_says(tmp_path: Path, seed: int, draw: int) -> None:
    """Waits, wait_for, choose, split, stop, goals, exits, holdouts in zones: the same rows at the same instants.

    Semantics: exit.ends, wait-for.deadline, holdout.walks, split.bucket, split.salt
    """
    rng = random.Random(1000 * seed + draw)
    books = [Maker(rng, f"p{number}").playbook() for number in range(6)]
    events, zone_of = feed(seed * 77 + draw, scaled(60))
    check(tmp_path, books, events, zone_of, f"seed {seed} draw {draw}")


def test_a_holdout_arm_ends_in_nothing_and_the_others_get_their_share(tmp_path: Path) -> None:
    """Arms by cumulative weights in the order of writing, salt ``<playbook>/<step>``; the holdout arm does nothing.

    Semantics: split.bucket, split.salt, holdout.walks
    """
    arms = [
        {"name": "a", "weight": 20, "do": [{"id": "ta", "tag": {"add": ["a"]}}]},
        {"name": "none", "weight": 30, "holdout": True},
        {"name": "b", "weight": 50, "do": [{"id": "tb", "tag": {"add": ["b"]}}]},
    ]
    book = {
        "playbook": "shares",
        "trigger": {"event": "go"},
        "entry": {"mode": "parallel", "limit": "unlimited"},
        "steps": [{"id": "cut", "split": {"arms": arms}}],
    }
    base = clock.at("2026-01-01T00:00:00Z")
    events = [Ev(base, "go", f"{number:05d}", {"n": 1}, id=f"e{number}", line=number) for number in range(2000)]
    expected = []
    for event in events:
        arm = journeys.arm_of(arms, "shares/cut", event.user or "")
        if arm != 1:
            name = "ta" if arm == 0 else "tb"
            expected.append(row(base, "shares", name, "tag", event.user, {"add": [name[1]]}))
    run = simulate(Program([book]).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    compare(expected, rows_of(run), events)


@pytest.mark.parametrize("after", ["6h", "2d", "5d"])
def test_a_new_wake_up_replaces_the_deadline_of_a_watch_that_was_met(tmp_path: Path, after: str) -> None:
    """The event ends a three-day watch early: the next wait is due by its own length, whatever the deadline was."""
    base = clock.at("2026-01-01T00:00:00Z")
    book = {
        "playbook": "w",
        "trigger": {"event": "go"},
        "entry": {"mode": "single"},
        "steps": [
            {"id": "f", "wait_for": {"event": "a", "up_to": "3d"}},
            {"id": "w", "wait": after},
            {"id": "t", "tag": {"add": ["x"]}},
        ],
    }
    for end in (4, 30):
        events = numbered([Ev(base, "go", "u"), Ev(base + DAY, "a", "u"), Ev(base + end * DAY, "noise", "clock")])
        due = base + DAY + clock.span(after)
        expected = [row(due, "w", "t", "tag", "u", {"add": ["x"]})] if due <= end_of(events) else []
        run = simulate(Program([book]).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
        compare(expected, rows_of(run), events, f"wait {after}, end on day {end}")


def test_goals_are_counted_when_the_journey_still_runs(tmp_path: Path) -> None:
    """A goal at exactly its deadline counts and ends the journey; one millisecond later the journey goes on."""
    base = clock.at("2026-01-01T00:00:00Z")
    book = {
        "playbook": "g",
        "trigger": {"event": "go"},
        "entry": {"mode": "single"},
        "goal": {"event": "buy", "within": "2d"},
        "steps": [{"id": "w", "wait": "5d"}, {"id": "t", "tag": {"add": ["x"]}}],
    }
    events = []
    for user, late in (("in_time", 0), ("late", 1), ("early", -DAY), ("same", -2 * DAY)):
        events += [Ev(base, "go", user, {"n": 1}), Ev(base + 2 * DAY + late, "buy", user, {"n": 1})]
    events.append(Ev(base + 9 * DAY, "noise", "clock"))
    for line, event in enumerate(events):
        event.line, event.id = line, f"e{line}"
    run = simulate(Program([book]).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    compare([row(base + 5 * DAY, "g", "t", "tag", "late", {"add": ["x"]})], rows_of(run), events)
    assert run.summary["playbooks"]["g"]["goals"] == 3
