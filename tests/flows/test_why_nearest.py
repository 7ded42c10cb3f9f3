"""The nearest change ``why`` names is enough, and nothing less is: tried in feeds of their own, by the simulation."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from nearest_kit import World, feed, program, proven

from engine import wiring
from engine.insight.replay import replay
from engine.runtime.rows import decision_row
from engine.stores.memory import MemoryStore

ORDER = {"event": "order.paid"}
WHEN = {
    "second": (ORDER, 'count("order.paid") >= 3'),
    "window": (ORDER, 'count("order.paid", within="3d") >= 3'),
    "few": (ORDER, 'not (count("order.paid", within="3d") > 1)'),
    "spent": (ORDER, 'sum("order.paid", "amount") > 150.5 and user.city == "上海"'),
    "big": (ORDER, 'event.amount >= 60 or count("order.paid", within="2d", where="event.amount >= 50") >= 2'),
    "mixed": (
        ORDER, 'user.city != "上海" and (sum("order.paid", "amount", within="4d") >= 90 or "vip" in user.tags)'
    ),
    "kinds": (ORDER, 'distinct("page.seen", "page") >= 2 and max("order.paid", "amount") >= 80'),
    "mean": (ORDER, 'avg("order.paid", "amount", within="6d") >= 70'),
    "small": (ORDER, 'avg("order.paid", "amount") < 55'),
    "daily": (ORDER, 'streak("page.seen") >= 2'),
    "old": (ORDER, 'user.created_at is older_than("4d") and user.level in ["a", "b"]'),
    "fresh": (ORDER, 'last("page.seen").time is newer_than("1h") or last("page.seen").page == "help"'),
    "gold": (ORDER, 'user.tier is at_least("gold") and points("main") >= 20'),
    "busy": (ORDER, 'in_segment("busy") and not in_group("club")'),
    "since": (ORDER, 'since("page.seen") < duration("1d") and user.born is not none'),
    "three": ({"count": {"event": "order.paid", "at_least": 3, "where": "event.amount >= 50", "within": "9d"}}, None),
    "idle": ({"inactivity": "2d", "activity": ["order.paid"]}, 'count("order.paid") >= 3 and user.city == "Bern"'),
    "slot": ({"schedule": {"cron": "0 10 * * *", "audience": 'count("order.paid", within="3d") >= 2'}}, None),
    "never": ({"event": "order.returned"}, 'user.city == "Bern" and count("order.paid") >= 4'),
}  # fmt: skip
CATALOG = {
    "segments": {"busy": {"if": 'count("order.paid", within="2d") >= 2'}},
    "tiers": {"level": {"metric": 'sum("order.paid", "amount", within="4d")', "levels": {"none": 0, "gold": 100}}},
    "points": {"main": {"title": "t"}},
    "groups": {"club": {"title": "t", "rooms": [{"id": "r1", "link": "https://x.example/1", "capacity": 99}]}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    return program(tmp_path_factory.mktemp("nearest"), WHEN, CATALOG, feed(random.Random(11), 7))


def test_the_named_change_flips_the_verdict_and_one_less_does_not(folder: Path, tmp_path: Path) -> None:
    """Counts, sums, windows, fields, tiers, segments, points, groups, by events, time and slots; each one tried.

    Semantics: why.nearest
    """
    world = World(folder, tmp_path)
    flipped, kinds = proven(world, folder, [f"u{number}" for number in range(4)], list(WHEN))
    assert kinds >= {"events", "trait", "data", "fewer", "points"}
    assert set(WHEN) <= set(flipped), sorted(set(WHEN) - set(flipped))
    assert {"window by time", "few by time", "old by time"} & set(flipped)


def test_why_says_of_every_look_what_the_run_decided(folder: Path, tmp_path: Path) -> None:
    """The verdicts of a whole run, one by one, are those of the replay that ``why`` rests on."""
    world = World(folder, tmp_path)
    wanted: dict[str, list[bytes]] = {}
    for it in world.decisions(world.rows):
        wanted.setdefault(it["user"], []).append(json.dumps(it, sort_keys=True).encode())
    assert world.found.plan is not None
    store = wiring.open_store(world.found.settings, folder, read_only=True)
    for user, lines in wanted.items():
        own = replay(world.found.plan, store, user, fresh=lambda: MemoryStore(keep_log=False))
        assert [json.dumps(json.loads(decision_row(it)), sort_keys=True).encode() for it in own] == lines
    store.close()
