"""Random small programs and histories: each nearest change ``why`` names flips the verdict, and none smaller does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from nearest_kit import BASE, Row, World, program, proven

from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR

CATALOG = {
    "segments": {"keen": {"if": 'count("order.paid", within="4d") >= 3'}},
    "tiers": {"level": {"metric": 'sum("order.paid", "amount", within="9d")', "levels": {"none": 0, "gold": 400}}},
    "points": {"main": {"title": "t"}},
    "groups": {
        name: {"title": "t", "rooms": [{"id": "r", "link": "https://x.example/1", "capacity": 99}]}
        for name in ("club", "den", "hall")
    },
}
LEAVES = (
    'count("order.paid", within="{d}d") >= {n}',
    'sum("order.paid", "amount", within="{d}d") > {n}50.5',
    'since("page.seen") > duration("{d}d")',
    'since("page.seen") > interval("page.seen", 50)',
    'interval("order.paid", 50) < duration("{n}d")',
    'streak("page.seen") >= {n}',
    'streak("page.seen", savers=1) >= {n}',
    "user.likes|length >= {n}",
    "user.groups|length >= 2",
    'user.city == "Bern"',
    "event.basket.size >= {n}",
    'user.born is older_than("{n}00d")',
    'points("main") >= {n}0',
    'distinct("page.seen", "page") >= {n}',
    'in_segment("keen")',
    'user.last_active_at is newer_than("{d}d")',
)
TRIGGERS: tuple[Any, ...] = (
    {"event": "order.paid"},
    {"event": "order.paid"},
    {"streak": {"event": "page.seen", "days": 4}},
    {"changed": "user.city", "to": "Basel"},
    {"date": {"field": "user.born", "at": "10:00", "repeat": "yearly"}},
    {"tier_change": {"direction": "up", "to": ["gold"]}},
    {"segment": {"enters": "keen"}},
    {"inactivity": "3d", "activity": ["order.paid"]},
    {"count": {"event": "order.paid", "at_least": 4, "within": "6d"}},
)


def condition(rng: random.Random, depth: int = 0) -> str:
    """A condition of one to three leaves."""
    if depth < 2 and rng.random() < 0.4:
        joined = f" {rng.choice(['and', 'or'])} ".join(f"({condition(rng, depth + 1)})" for _ in range(2))
        return f"not ({joined})" if rng.random() < 0.2 else joined
    return rng.choice(LEAVES).format(n=rng.randrange(2, 5), d=rng.randrange(2, 9))


def history(rng: random.Random, users: int) -> list[Row]:
    """Some days of orders and pages, in no order of their own."""
    found: list[tuple[int, str, str, Row]] = []
    for number in range(users):
        user, city = f"u{number}", rng.choice(["Bern", "上海"])
        found.append((BASE, "user.signup", user, {"city": city, "likes": ["tea"]}))
        for day in range(9):
            at = BASE + day * DAY + rng.randrange(6, 20) * HOUR
            if rng.random() < 0.5:
                found.append((at, "page.seen", user, {"page": rng.choice(["home", "shop"])}))
            if rng.random() < 0.5:
                data = {"amount": rng.choice([20, 45.5, 60]), "basket": {"size": rng.randrange(4)}}
                found.append((at + HOUR, "order.paid", user, data))
    found.append((BASE + 12 * DAY, "page.seen", "end", {"page": "end"}))
    found.sort(key=lambda it: it[0])
    return [
        {"id": f"e{n}", "time": format_instant(at), "type": type_, "user": user, "data": data}
        for n, (at, type_, user, data) in enumerate(found)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_change_of_a_random_program_flips_its_verdict(seed: int, tmp_path: Path) -> None:
    """Other times, missing days, lists, dates, levels, intervals, deep fields; what is named is tried by ``simulate``.

    Semantics: why.nearest
    """
    rng = random.Random(seed)
    books: dict[str, tuple[Any, str | None]] = {}
    for number, trigger in enumerate(rng.sample(TRIGGERS, 6)):
        own = trigger.get("event") is not None
        leaf = condition(rng)
        books[f"b{number}"] = (trigger, leaf if own or "event." not in leaf else None)
    folder = program(tmp_path / "shop", books, CATALOG, history(rng, 2))
    flipped, kinds = proven(World(folder, tmp_path), folder, ["u0", "u1"], list(books))
    assert len(flipped) >= 3, (flipped, books)
    assert kinds & {"moved", "days", "data", "trait", "join", "events"}
