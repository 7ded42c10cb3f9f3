"""Coupons, seats, badges and points: one ledger for all users, in the order of the feed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import oracle_scarce as scarce
import oracle_time as clock
import pytest
from oracle_harness import (
    SEEDS,
    Ev,
    Program,
    Row,
    compare,
    end_of,
    grid,
    in_order,
    row,
    rows_of,
    scaled,
    shuffled,
    simulate,
    write_feed,
)

DAY = clock.DAY
PARALLEL = {"mode": "parallel", "limit": "unlimited"}

Pools = dict[str, scarce.Pool]

LIMITS: dict[str, dict[str, Any]] = {
    "stock": {"per_user": "unlimited", "total": 40},
    "own": {"per_user": 1, "total": "unlimited"},
    "quarter": {"per_user": "1/90d", "total": "unlimited"},
    "twice": {"per_user": "2/7d", "total": "unlimited"},
    "daily": {"per_user": "unlimited", "per_day": 3, "total": "unlimited"},
    "mixed": {"per_user": "1/30d", "per_day": 2, "total": 25},
}


def pools() -> Pools:
    """The same limits in the oracle's words."""
    return {
        "stock": scarce.Pool(total=40),
        "own": scarce.Pool(per_user=1),
        "quarter": scarce.Pool(per_user=1, per_user_window=90 * DAY),
        "twice": scarce.Pool(per_user=2, per_user_window=7 * DAY),
        "daily": scarce.Pool(per_day=3),
        "mixed": scarce.Pool(total=25, per_user=1, per_user_window=30 * DAY, per_day=2),
    }


def coupon(limits: dict[str, Any], prefix: str, **more: Any) -> dict[str, Any]:
    """A generated pool."""
    return {
        "title": "t",
        "value": {"off": 5},
        "codes": {"generate": prefix},
        "valid_for": "7d",
        "limits": limits,
        **more,
    }


def feed(seed: int, users: int, kinds: list[str]) -> list[Ev]:
    """Asks of many users on day and month grids; many at one instant, ordered by line."""
    rng = random.Random(seed)
    events = []
    for number in range(users):
        step, days = rng.choice([(clock.HOUR, 4), (DAY // 2, 20), (DAY, 40), (30 * DAY, 240), (7 * DAY, 70)])
        own = rng.sample(kinds, min(2, len(kinds)))
        for _ in range(rng.randrange(1, 9)):
            events.append(Ev(grid(rng, days, step, number % 2 == 1), rng.choice(own), f"u{number:04d}"))
    return shuffled(rng, events)


def unnamed(items: Iterable[Row]) -> list[Row]:
    """Rows without their reason, for where several would be right."""
    return [(*item[:6], None, item[7]) for item in items]


@pytest.mark.parametrize("seed", SEEDS)
def test_pools_are_given_out_in_feed_order_within_their_limits(tmp_path: Path, seed: int) -> None:
    """total, per_user for ever and per window, per_day, all at once; denied rows carry a true reason, no code.

    Semantics: coupon.order, coupon.limits, scarce.exact
    Failure: unit.oversold — coupons
    """
    books = [
        {
            "playbook": f"p-{name}",
            "trigger": {"event": f"ask_{name}"},
            "entry": PARALLEL,
            "steps": [
                {"id": "c", "coupon": {"pool": name, "on_exhausted": "skip"}},
                {"id": "t", "tag": {"add": ["after"]}},
                {"id": "got", "tag": {"add": ["got"]}, "if": "steps.c is not none"},
            ],
        }
        for name in LIMITS
    ]
    catalog = {"coupons": {name: coupon(limits, name[:2].upper()) for name, limits in LIMITS.items()}}
    events = feed(seed, scaled(80), [f"ask_{name}" for name in LIMITS])
    run = simulate(Program(books, catalog).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])

    ledger = pools()
    expected: list[Row] = []
    reasons: dict[tuple[int, str, str], list[set[str]]] = {}
    for event in in_order(events):
        name, user = event.type.removeprefix("ask_"), event.user or ""
        refused = ledger[name].ask(event.time, user)
        detail = {"pool": name, "expires_at": clock.show(event.time + 7 * DAY)}
        status = "denied" if refused else "planned"
        expected.append(row(event.time, f"p-{name}", "c", "coupon", user, detail, status))
        expected.append(row(event.time, f"p-{name}", "t", "tag", user, {"add": ["after"]}))
        if refused:
            reasons.setdefault((event.time, name, user), []).append(refused)
        else:
            expected.append(row(event.time, f"p-{name}", "got", "tag", user, {"add": ["got"]}))
    compare(unnamed(expected), unnamed(rows_of(run)), events, f"seed {seed}")

    codes = [
        record["detail"]["code"] for record in run.rows if record["status"] == "planned" and "code" in record["detail"]
    ]
    assert len(set(codes)) == len(codes) == sum(len(pool.grants) for pool in ledger.values())
    assert all(isinstance(code, str) and code for code in codes), "a granted coupon has its code"
    for record in run.rows:
        if record["status"] == "denied":
            key = (clock.at(record["time"]), record["playbook"].removeprefix("p-"), record["user"])
            assert any(record["reason"] in true for true in reasons[key]), (
                f"wrong reason in {record}, true: {reasons[key]}"
            )
            assert not (record["detail"] or {}).get("code"), "a denied coupon shows no code"
    counted = run.summary["effects"]["coupon"]
    assert counted["planned"] == len(codes)
    assert counted.get("denied", 0) == sum(map(len, reasons.values()))


def test_on_exhausted_skips_stops_or_does_something_else(tmp_path: Path) -> None:
    """Three playbooks over pools of two: after the second user ``skip`` goes on, ``stop`` ends, steps run instead.

    Semantics: coupon.exhausted, coupon.validity
    """
    ways: dict[str, Any] = {"skip": "skip", "stop": "stop", "steps": [{"id": "instead", "tag": {"add": ["instead"]}}]}
    books = [
        {
            "playbook": name,
            "trigger": {"event": "go"},
            "entry": {"mode": "once"},
            "steps": [
                {"id": "c", "coupon": {"pool": f"pool-{name}", "on_exhausted": way}},
                {"id": "after", "tag": {"add": ["after"]}},
            ],
        }
        for name, way in ways.items()
    ]
    limits = {"per_user": 1, "total": 2}
    catalog = {"coupons": {f"pool-{name}": coupon(limits, name[:3].upper()) for name in ways}}
    base = clock.at("2026-01-01T00:00:00Z")
    events = [Ev(base, "go", f"u{number}", id=f"e{number}", line=number) for number in range(4)]
    expected = []
    for number in range(4):
        for name in ways:
            detail = {"pool": f"pool-{name}", "expires_at": clock.show(base + 7 * DAY)}
            user, gone = f"u{number}", number >= 2
            expected.append(
                row(base, name, "c", "coupon", user, detail, "denied", "sold_out")
                if gone
                else row(base, name, "c", "coupon", user, detail)
            )
            if gone and name == "steps":
                expected.append(row(base, name, "instead", "tag", user, {"add": ["instead"]}))
            if not (gone and name == "stop"):
                expected.append(row(base, name, "after", "tag", user, {"add": ["after"]}))
    run = simulate(Program(books, catalog).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    compare(expected, rows_of(run), events)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sold_out_pool_falls_back_to_the_next(tmp_path: Path, seed: int) -> None:
    """``on_exhausted: {use: pool}``: the first hundred from one, the next thirty from the other, then nobody.

    Semantics: coupon.exhausted
    """
    book = {
        "playbook": "p",
        "trigger": {"event": "go"},
        "entry": {"mode": "once"},
        "steps": [{"id": "c", "coupon": {"pool": "first", "on_exhausted": "skip"}}],
    }
    catalog = {
        "coupons": {
            "first": coupon({"per_user": 1, "total": 100}, "FI", on_exhausted={"use": "second"}),
            "second": coupon({"per_user": 1, "total": 30}, "SE"),
        }
    }
    rng = random.Random(seed)
    events = shuffled(rng, [Ev(grid(rng, 5, clock.HOUR, False), "go", f"u{number}") for number in range(160)])
    granted = {"first": 0, "second": 0}
    expected = []
    for event in in_order(events):
        pool = "first" if granted["first"] < 100 else "second"
        if granted["second"] == 30:
            break
        granted[pool] += 1
        detail = {"pool": pool, "expires_at": clock.show(event.time + 7 * DAY)}
        expected.append(row(event.time, "p", "c", "coupon", event.user, detail))
    run = simulate(Program([book], catalog).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    compare(expected, rows_of(run, lambda record: record["status"] == "planned"), events, f"seed {seed}")
    late = {event.user for event in in_order(events)[130:]}
    denied = {record["user"] for record in run.rows if record["status"] == "denied" and record["user"] in late}
    assert denied == late, "who got nothing has a denied row"


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_rooms_fill_in_order_and_seats_come_back(tmp_path: Path, seed: int, soft: bool) -> None:
    """Rooms fill in the order of writing; a hold ends after 47h30m unless the user joined; all full: denied, full.

    Semantics: group.rooms, group.hold
    Failure: unit.oversold — seats
    """
    rng = random.Random(seed)
    if soft:  # never more people than soft seats: what happens above the soft limits is not settled
        rooms = [
            {"id": "r1", "link": "https://g.example/1", "capacity": 50, "soft": 20},
            {"id": "r2", "link": "https://g.example/2", "capacity": 40, "soft": 40},
            {"id": "r3", "link": "https://g.example/3", "capacity": 200},
        ]
        sizes = [("r1", 20), ("r2", 40), ("r3", 200)]
    else:
        rooms = [
            {"id": f"r{place}", "link": f"https://g.example/{place}", "capacity": place + 3} for place in range(1, 4)
        ]
        sizes = [("r1", 4), ("r2", 5), ("r3", 6)]
    book = {
        "playbook": "club",
        "trigger": {"event": "go"},
        "entry": {"mode": "once"},
        "steps": [
            {"id": "i", "invite": {"groups": ["runners"], "on_full": "skip"}},
            {"id": "t", "tag": {"add": ["invited"]}, "if": "steps.i is not none"},
        ],
    }
    group = {
        "title": "t",
        "topic": "running",
        "platform": "wecom",
        "rotate": "fill_first",
        "hold": "2850m",
        "rooms": rooms,
        "owner": "ops",
    }
    events = []
    for number in range(scaled(150) if not soft else 150):
        user, start = f"u{number:04d}", grid(rng, 20, 3 * clock.HOUR, False)
        events.append(Ev(start, "go", user))
        if rng.random() < 0.35:
            events.append(Ev(start + rng.randrange(1, 47) * clock.HOUR, "group.joined", user, group="runners"))
    events = shuffled(rng, events)
    ledger = scarce.Rooms(sizes, 2850 * clock.MINUTE)
    expected: list[Row] = []
    outside: set[str] = set()
    for event in in_order(events):
        user = event.user or ""
        if event.type == "group.joined":
            if user not in outside:
                ledger.joined(event.time, user)
            continue
        room = ledger.invite(event.time, user)
        if room is None:
            outside.add(user)
            expected.append(row(event.time, "club", "i", "invite", user, {}, "denied", "full"))
        else:
            expected.append(row(event.time, "club", "i", "invite", user, {"group": "runners", "room": room}))
            expected.append(row(event.time, "club", "t", "tag", user, {"add": ["invited"]}))
    # who joins without a seat: whether that takes one is not written down, so nobody does
    events = [event for event in events if not (event.type == "group.joined" and event.user in outside)]
    run = simulate(
        Program([book], {"groups": {"runners": group}}).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)]
    )
    compare(expected, rows_of(run), events, f"seed {seed}")
    link_of = {str(room["id"]): room["link"] for room in rooms}
    for record in run.rows:
        if record["kind"] == "invite" and record["status"] == "planned":
            assert record["detail"]["link"] == link_of[record["detail"]["room"]]


def test_an_expired_room_is_never_shown(tmp_path: Path) -> None:
    """The first room's link expired long ago: everybody is led to the second.

    Semantics: group.expired
    """
    book = {
        "playbook": "club",
        "trigger": {"event": "go"},
        "entry": {"mode": "once"},
        "steps": [{"id": "i", "invite": "runners"}],
    }
    group = {
        "title": "t",
        "topic": "running",
        "platform": "wecom",
        "rooms": [
            {"id": "old", "link": "https://g.example/1", "capacity": 50, "expires": "2025-06-30"},
            {"id": "new", "link": "https://g.example/2", "capacity": 50, "expires": "2031-06-30"},
        ],
        "owner": "ops",
    }
    base = clock.at("2026-01-01T00:00:00Z")
    events = [Ev(base, "go", f"u{number}", id=f"e{number}", line=number) for number in range(5)]
    run = simulate(
        Program([book], {"groups": {"runners": group}}).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)]
    )
    expected = [row(base, "club", "i", "invite", event.user, {"group": "runners", "room": "new"}) for event in events]
    compare(expected, rows_of(run), events)


@pytest.mark.parametrize("seed", SEEDS)
def test_badges_once_and_points_add_up(tmp_path: Path, seed: int) -> None:
    """A badge already held is denied, ``already``; a balance is the sum of what was added before it.

    Semantics: badge.once, points.integers
    """
    book = {
        "playbook": "p",
        "trigger": {"event": "go"},
        "entry": PARALLEL,
        "steps": [
            {"id": "b", "badge": "star"},
            {"id": "plus", "points": {"add": 7, "reason": "go"}},
        ],
    }
    catalog = {
        "badges": {"star": {"title": "Star", "once": True}},
        "points": {"main": {"expires": "3650d"}},
    }
    events = feed(seed, scaled(60), ["go", "noise"])
    expected: list[Row] = []
    times: dict[str, int] = {}
    for event in in_order(events):
        if event.type != "go":
            continue
        user = event.user or ""
        times[user] = times.get(user, 0) + 1
        if times[user] == 1:
            expected.append(row(event.time, "p", "b", "badge", user, {"name": "star"}))
        else:
            expected.append(row(event.time, "p", "b", "badge", user, {}, "denied", "already"))
        expected.append(row(event.time, "p", "plus", "points", user, {"delta": 7, "balance": 7 * times[user]}))
    run = simulate(Program([book], catalog).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    compare(expected, rows_of(run), events, f"seed {seed}")
    assert end_of(events) == clock.at(run.summary["clock"]["until"])


COMBINED = list(product(("unlimited", 1, "2/7d"), (None, 2), ("unlimited", 12), (None, 9), (False, True)))
"""per_user, per_day, total, coupons the budget pays for, with a fall-back."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_combination_of_limits(tmp_path: Path, seed: int) -> None:
    """Each of ``per_user`` (for ever, in a window), ``per_day``, ``total``, ``budget`` and a fall-back with each of the
    others: who gets a coupon, from which pool, and a true reason for who does not.

    Semantics: coupon.limits, coupon.budget, coupon.exhausted
    """
    books, coupons, ledger = [], {}, {}
    for number, (per_user, per_day, total, budget, spare) in enumerate(COMBINED):
        name, other = f"c{number}", f"c{number}-spare"
        limits: dict[str, Any] = {"per_user": per_user, "total": total}
        limits |= {} if per_day is None else {"per_day": per_day}
        limits |= {} if budget is None else {"budget": 5 * budget + 3}
        coupons[name] = coupon(limits, f"C{number}", **({"on_exhausted": {"use": other}} if spare else {}))
        if spare:
            coupons[other] = coupon({"per_user": 1, "total": 5}, f"S{number}")
        books.append(
            {
                "playbook": f"p-{name}", "trigger": {"event": f"ask_{name}"}, "entry": PARALLEL,
                "steps": [{"id": "c", "coupon": {"pool": name, "on_exhausted": "skip"}}],
            }
        )  # fmt: skip
        count, _, window = str(per_user).partition("/")
        ledger[name] = scarce.Pool(
            total=None if total == "unlimited" else total, per_user=None if count == "unlimited" else int(count),
            per_user_window=7 * DAY if window else None, per_day=per_day, budget=budget,
        )  # fmt: skip
        ledger[other] = scarce.Pool(total=5, per_user=1)
    rng = random.Random(seed)
    kinds = [f"ask_c{number}" for number in range(len(COMBINED))]
    # few people, who ask often: every limit is met
    events = [
        Ev(grid(rng, 12, DAY // 4, number % 2 == 1), rng.choice(kinds), f"u{rng.randrange(9)}")
        for number in range(scaled(1500))
    ]
    events = shuffled(rng, events)
    run = simulate(Program(books, {"coupons": coupons}).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    expected, reasons = [], []
    for event in in_order(events):
        name, user = event.type.removeprefix("ask_"), event.user or ""
        spare = ledger[f"{name}-spare"] if COMBINED[int(name[1:])][4] else None
        gave, why = scarce.ask_with_fallback(ledger[name], spare, event.time, user)
        pool = name if gave is not spare or gave is None else f"{name}-spare"
        expected.append((event.time, f"p-{name}", user, gave is not None, pool))
        reasons.append(why)
    got = [
        (clock.at(it["time"]), it["playbook"], it["user"], it["status"] == "planned", it["detail"]["pool"])
        for it in run.rows
    ]
    assert sorted(got) == sorted(expected)
    true: dict[tuple[Any, ...], set[str]] = {}
    for place, why in zip(expected, reasons, strict=True):
        true.setdefault(place, set()).update(why)
    for found, it in zip(got, run.rows, strict=True):
        if it["status"] == "denied":
            assert it["reason"] in true[found]
    met = {it["reason"] for it in run.rows if it["status"] == "denied"}
    assert met == {"sold_out", "budget", "per_user", "per_day"}
    assert any(pool.endswith("-spare") for *_, given, pool in expected if given)
