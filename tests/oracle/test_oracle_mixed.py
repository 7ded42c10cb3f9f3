"""Things that meet: wake-ups of one user and events of another, playbooks that share a pool, a cap, traits, events."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import oracle_journeys as journeys
import oracle_policies as policies
import oracle_scarce as scarce
import oracle_segments as segments
import oracle_shop as shop
import oracle_time as clock
import oracle_windows as windows
import pytest
from oracle_harness import (
    BASE,
    SEEDS,
    Ev,
    Program,
    Row,
    by_user,
    check_file_shape,
    compare,
    end_of,
    grid,
    in_order,
    numbered,
    row,
    rows_of,
    scaled,
    shuffled,
    simulate,
    write_feed,
)

DAY = clock.DAY
PARALLEL = {"mode": "parallel", "limit": "unlimited"}
WAITS: dict[str, str | None] = {"now": None, "noon": "12h", "day": "1d", "week": "7d"}


def asks(seed: int, users: int) -> list[Ev]:
    """Asks on a twelve-hour grid with milliseconds, so that wake-ups fall on events of others but not on each other."""
    rng = random.Random(seed)
    waits = {name: shop.span_or_zero(text) for name, text in WAITS.items()}
    events = []
    for number in range(users):
        for _ in range(rng.randrange(1, 7)):
            instant = grid(rng, 12, DAY // 2, False) + rng.randrange(40)
            events.append(Ev(instant, rng.choice(list(WAITS)), rng.choice([f"{number:05d}", str(number)])))
    return numbered(shop.without_double_wakes(shuffled(rng, events), waits))


def books_for(step: dict[str, Any]) -> list[dict[str, Any]]:
    """One playbook for each kind of ask; two of them keep some subjects out."""
    out: list[dict[str, Any]] = []
    for name, wait in WAITS.items():
        steps: list[dict[str, Any]] = [{"id": "w", "wait": wait}] if wait else []
        book: dict[str, Any] = {"playbook": name, "trigger": {"event": name}, "entry": PARALLEL}
        if name in ("now", "day"):
            book["holdout"] = {"percent": 30}
        out.append(book | {"steps": [*steps, step]})
    return out


@pytest.mark.parametrize("seed", SEEDS)
def test_wake_ups_and_events_of_all_users_share_a_pool_in_time_order(tmp_path: Path, seed: int) -> None:
    """A wake-up due before another user's event is served first, at the same instant after it; held out takes none.

    Semantics: coupon.order, scarce.exact
    """
    books = books_for({"id": "c", "coupon": {"pool": "p", "on_exhausted": "skip"}})
    limits = {"per_user": "2/7d", "per_day": 17, "total": 140}
    pool = {"title": "t", "codes": {"generate": "PP"}, "valid_for": "7d", "limits": limits}
    events = asks(seed, scaled(100))
    program = Program(books, {"coupons": {"p": pool}})
    run = simulate(program.write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    held = {book["playbook"]: book for book in books}
    order = shop.decisions(events, {name: shop.span_or_zero(text) for name, text in WAITS.items()}, end_of(events))
    expected, reasons = shop.coupons(
        order,
        scarce.Pool(total=140, per_user=2, per_user_window=7 * DAY, per_day=17),
        lambda book, user: journeys.held_out(held[book], user),
        "p",
    )

    def plain(item: Row) -> Row:
        return (*item[:6], None, tuple(pair for pair in item[7] if pair[0] == "pool"))

    compare(map(plain, expected), map(plain, rows_of(run)), events, f"seed {seed}")
    for record in run.rows:
        if record["status"] == "denied":
            assert record["reason"] in reasons[clock.at(record["time"]), record["playbook"], record["user"]]
    for size in (1, 13):
        again = simulate(tmp_path, [tmp_path / "feed.jsonl"], "--batch", str(size))
        assert (again.effects, again.decisions) == (run.effects, run.decisions), f"batch {size}"


@pytest.mark.parametrize("seed", SEEDS)
def test_playbooks_share_the_slots_of_a_cap(tmp_path: Path, seed: int) -> None:
    """Messages of four playbooks, by events and by wake-ups, take the slots of one rolling cap; held out takes none.

    Semantics: gates.slot
    """
    body = {"template": "x", "via": "box", "purpose": "service", "on_cap": "skip"}
    books = books_for({"id": "m", "message": body})
    rules = {"marketing": "none", "community": "none", "service": "none", "transactional": "none"}
    policy = {"consent": rules, "quiet_hours": "never", "caps": [{"purpose": "service", "max": 2, "per": "3d"}]}
    events = asks(seed, scaled(100))
    run = simulate(Program(books, policy=policy).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    held = {book["playbook"]: book for book in books}
    order = shop.decisions(events, {name: shop.span_or_zero(text) for name, text in WAITS.items()}, end_of(events))
    cap = policies.Cap(2, 3 * DAY, purpose="service")
    expected = shop.messages(order, cap, lambda book, user: journeys.held_out(held[book], user), rules)
    compare(expected, rows_of(run), events, f"seed {seed}")
    check_file_shape(run)


@pytest.mark.parametrize("seed", SEEDS)
def test_several_triggers_emits_and_segments_at_the_door(tmp_path: Path, seed: int) -> None:
    """Any-of triggers with ``if`` and ``id``; emitted events start journeys and count; entry in and not_in segments.

    Semantics: trigger.any-of
    """
    books: list[dict[str, Any]] = [
        {
            "playbook": "any-of",
            "trigger": [{"event": "a", "id": "one", "if": "event.n >= 3"}, {"event": "b", "id": "two"}],
            "entry": PARALLEL,
            "steps": [
                {"id": "one", "tag": {"add": ["x"]}, "if": 'trigger.id == "one"'},
                {"id": "two", "tag": {"add": ["x"]}, "if": 'trigger.id == "two"'},
                {"id": "e", "emit": {"type": "ping", "data": {"n": "{{ event.n }}"}}},
                {"id": "w", "wait": "1d"},
                {"id": "f", "emit": {"type": "pong"}, "if": "event.n == 5"},
            ],
        },
        {
            "playbook": "pinged",
            "trigger": {"event": "ping"},
            "when": "event.n >= 2",
            "entry": PARALLEL,
            "steps": [{"id": "v", "set": {"user.v": '{{ count("ping") }}'}}],
        },
        {
            "playbook": "ponged",
            "trigger": {"count": {"event": "pong", "at_least": 2, "within": "2d"}},
            "entry": PARALLEL,
            "steps": [{"id": "t", "tag": {"add": ["x"]}}],
        },
        {
            "playbook": "inside",
            "trigger": {"event": "a"},
            "entry": {**PARALLEL, "in": ["vip"]},
            "steps": [{"id": "t", "tag": {"add": ["x"]}}],
        },
        {
            "playbook": "outside",
            "trigger": {"event": "a"},
            "entry": {**PARALLEL, "not_in": ["vip", "busy"]},
            "steps": [{"id": "t", "tag": {"add": ["x"]}}],
        },
    ]
    catalog = {"segments": {"vip": {"if": "user.vip"}, "busy": {"if": 'count("b", within="2d") >= 2'}}}
    head = {
        "profile": {"vip": "bool | none", "v": "integer | none"},
        "events": {kind: {"n": "integer"} for kind in ("a", "b", "ping")},
    }
    rng = random.Random(seed)
    events = []
    for number in range(scaled(80)):
        step, days = rng.choice([(clock.HOUR, 3), (DAY, 12), (DAY // 2, 8)])
        for _ in range(rng.randrange(1, 15)):
            kind = rng.choice(["a", "a", "b", "b", "user.updated"])
            data: dict[str, Any] = {"n": rng.randrange(1, 6)} if kind != "user.updated" else {"vip": rng.random() < 0.6}
            events.append(Ev(grid(rng, days, step, number % 2 == 1), kind, f"u{number:04d}", data))
    events = shuffled(rng, events)
    run = simulate(Program(books, catalog, head=head).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    horizon = end_of(events)
    expected: list[Row] = []
    for user, story in by_user(events).items():
        pings, pongs = 0, []
        for index, event in enumerate(story):
            known, now = story[: index + 1], event.time
            if event.type == "a":
                vip = segments.trait(known, "vip") is True
                busy = windows.count(known, now, "b", 2 * DAY) >= 2
                if vip:
                    expected.append(row(now, "inside", "t", "tag", user, {"add": ["x"]}))
                if not vip and not busy:
                    expected.append(row(now, "outside", "t", "tag", user, {"add": ["x"]}))
            if (event.type == "a" and event.data["n"] >= 3) or event.type == "b":
                name = "one" if event.type == "a" else "two"
                expected.append(row(now, "any-of", name, "tag", user, {"add": ["x"]}))
                expected.append(row(now, "any-of", "e", "emit", user, {"type": "ping"}))
                pings += 1
                if event.data["n"] >= 2:
                    expected.append(row(now, "pinged", "v", "set", user, {"field": "v", "value": pings}))
                if event.data["n"] == 5 and now + DAY <= horizon:
                    expected.append(row(now + DAY, "any-of", "f", "emit", user, {"type": "pong"}))
                    pongs.append(now + DAY)
        for index, pong in enumerate(pongs):
            if sum(1 for other in pongs[: index + 1] if pong - 2 * DAY < other <= pong) >= 2:
                expected.append(row(pong, "ponged", "t", "tag", user, {"add": ["x"]}))
    compare(expected, rows_of(run), events, f"seed {seed}")
    check_file_shape(run)


@pytest.mark.parametrize("seed", SEEDS)
def test_changed_traits_tags_and_local_clock(tmp_path: Path, seed: int) -> None:
    """``changed`` with from and to; tags put on and off; hour(now), today and bucket() in the user's zone."""
    books: list[dict[str, Any]] = [
        {
            "playbook": "moved",
            "trigger": {"changed": "user.city", "from": "north", "to": "south"},
            "entry": PARALLEL,
            "steps": [{"id": "t", "tag": {"add": ["x"]}}],
        },
        {
            "playbook": "moved-in",
            "trigger": {"changed": "user.city", "to": "west"},
            "entry": PARALLEL,
            "steps": [{"id": "t", "tag": {"add": ["x"]}}],
        },
        {
            "playbook": "put-on",
            "trigger": {"event": "on"},
            "entry": PARALLEL,
            "steps": [
                {"id": "was", "tag": {"add": ["seen"]}, "if": '"lamp" in user.tags'},
                {"id": "t", "tag": {"add": ["lamp"]}},
            ],
        },
        {
            "playbook": "put-off",
            "trigger": {"event": "off"},
            "entry": PARALLEL,
            "steps": [
                {"id": "was", "tag": {"add": ["seen"]}, "if": '"lamp" in user.tags'},
                {"id": "t", "tag": {"remove": ["lamp"]}},
            ],
        },
        {
            "playbook": "clock",
            "trigger": {"event": "on"},
            "entry": PARALLEL,
            "steps": [
                {"id": "hour", "set": {"user.hour": "{{ hour(now) }}"}},
                {"id": "bucket", "set": {"user.bucket": '{{ bucket("x") }}'}},
                {"id": "w", "wait": {"days": 1, "at": "09:30"}},
                {"id": "nine", "set": {"user.hour": "{{ hour(now) }}"}},
            ],
        },
    ]
    zones = ["America/New_York", "Asia/Shanghai", "Europe/Berlin", "UTC", "Asia/Kathmandu"]
    rng = random.Random(seed)
    events, zone_of = [], {}
    for number in range(scaled(80)):
        user = f"u{number:04d}"
        zone_of[user] = rng.choice(zones)
        start = clock.at(rng.choice(["2026-03-05T00:00:00Z", "2026-10-22T00:00:00Z"]))
        events.append(Ev(start - DAY, "user.signup", user, {"zone": zone_of[user]}))
        step, days = rng.choice([(clock.HOUR, 3), (DAY, 12), (DAY // 4, 8)])
        for _ in range(rng.randrange(1, 15)):
            kind = rng.choice(["on", "off", "user.updated", "user.updated", "user.signup"])
            data = {} if kind in ("on", "off") else {"city": rng.choice(["north", "south", "west"])}
            events.append(Ev(grid(rng, days, step, number % 2 == 1) - BASE + start, kind, user, data))
    events = shuffled(rng, events)
    run = simulate(
        Program(books, head={"profile": "open"}).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)]
    )
    horizon = end_of(events)
    expected: list[Row] = []
    born_west: set[tuple[int, str]] = set()
    for user, story in by_user(events).items():
        city: str | None = None
        lamp = False
        zone = ZoneInfo(zone_of[user])
        for event in story:
            now = event.time
            if "city" in event.data:
                new = event.data["city"]
                if (city, new) == ("north", "south"):
                    expected.append(row(now, "moved", "t", "tag", user, {"add": ["x"]}))
                if city is None and new == "west":
                    born_west.add((now, user))  # is the first value a change? not written down
                if city in ("north", "south") and new == "west":
                    expected.append(row(now, "moved-in", "t", "tag", user, {"add": ["x"]}))
                city = new
            if event.type in ("on", "off"):
                book = f"put-{event.type}"
                if lamp:
                    expected.append(row(now, book, "was", "tag", user, {"add": ["seen"]}))
                lamp = event.type == "on"
                expected.append(row(now, book, "t", "tag", user, {"add": ["lamp"] if lamp else []}))
            if event.type == "on":
                hour = clock.moment_of(now).astimezone(zone).hour
                expected.append(row(now, "clock", "hour", "set", user, {"field": "hour", "value": hour}))
                drawn = journeys.bucket("x", user)
                expected.append(row(now, "clock", "bucket", "set", user, {"field": "bucket", "value": drawn}))
                tomorrow = clock.moment_of(now).astimezone(zone).date() + timedelta(days=1)
                due = clock.wall(tomorrow, clock.hands("09:30"), zone_of[user])
                if due <= horizon:
                    expected.append(row(due, "clock", "nine", "set", user, {"field": "hour", "value": 9}))

    def settled(record: dict[str, Any]) -> bool:
        return record["playbook"] != "moved-in" or (clock.at(record["time"]), record["user"]) not in born_west

    kept = [item for item in expected if item[1] != "moved-in" or (item[0], item[4]) not in born_west]
    compare(kept, rows_of(run, settled), events, f"seed {seed}")
    check_file_shape(run)


@pytest.mark.parametrize("seed", SEEDS)
def test_leaving_a_segment_ends_the_journey(tmp_path: Path, seed: int) -> None:
    """``exit: {leaves}`` by a trait ends the journey at that event; ``exit: {enters}`` likewise."""
    steps = [{"id": "a", "tag": {"add": ["a"]}}, {"id": "w", "wait": "2d"}, {"id": "b", "tag": {"add": ["b"]}}]
    books: list[dict[str, Any]] = [
        {
            "playbook": "while-vip",
            "trigger": {"event": "go"},
            "when": "user.vip",
            "entry": {"mode": "single"},
            "exit": [{"leaves": "vip"}],
            "steps": steps,
        },
        {
            "playbook": "until-vip",
            "trigger": {"event": "go"},
            "when": "not user.vip",
            "entry": {"mode": "single"},
            "exit": [{"enters": "vip"}, {"event": "quit"}],
            "steps": steps,
        },
    ]
    catalog = {"segments": {"vip": {"if": "user.vip"}}}
    rng = random.Random(seed)
    events = []
    for number in range(scaled(100)):
        step, days = rng.choice([(clock.HOUR * 6, 5), (DAY, 12), (DAY // 2, 8)])
        for _ in range(rng.randrange(1, 14)):
            kind = rng.choice(["go", "go", "user.updated", "user.updated", "quit"])
            data = {"vip": rng.random() < 0.5} if kind == "user.updated" else {}
            events.append(Ev(grid(rng, days, step, number % 2 == 1), kind, f"u{number:04d}", data))
    events = shuffled(rng, events)
    head = {"profile": {"vip": "bool | none"}}
    run = simulate(Program(books, catalog, head=head).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    horizon = end_of(events)
    expected: list[Row] = []
    for user, story in by_user(events).items():
        for book in ("while-vip", "until-vip"):
            ends: int | None = None
            vip = False
            for event in story:
                if ends is not None and ends < event.time:
                    expected.append(row(ends, book, "b", "tag", user, {"add": ["b"]}))
                    ends = None
                if event.type == "user.updated":
                    was, vip = vip, event.data["vip"]
                    if was != vip and vip == (book == "until-vip"):
                        ends = None
                if event.type == "quit" and book == "until-vip":
                    ends = None
                if event.type == "go" and ends is None and vip == (book == "while-vip"):
                    expected.append(row(event.time, book, "a", "tag", user, {"add": ["a"]}))
                    ends = event.time + 2 * DAY
            if ends is not None and ends <= horizon:
                expected.append(row(ends, book, "b", "tag", user, {"add": ["b"]}))
    compare(expected, rows_of(run), events, f"seed {seed}")


def test_ids_with_leading_zeros_are_different_people(tmp_path: Path) -> None:
    """7, 07, 007 and 7.0 are four users; nothing makes a number of an id."""
    book = {
        "playbook": "p",
        "trigger": {"count": {"event": "x", "at_least": 2}},
        "entry": {"mode": "once"},
        "steps": [{"id": "t", "tag": {"add": ["x"]}}],
    }
    people = ["7", "07", "007", "7.0"]
    events = numbered([Ev(BASE + place * DAY, "x", user) for place, user in enumerate([*people, *people[::-1]])])
    run = simulate(Program([book]).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    expected = [row(event.time, "p", "t", "tag", event.user, {"add": ["x"]}) for event in in_order(events)[4:]]
    compare(expected, rows_of(run), events)
    assert run.summary["users"] == 4
