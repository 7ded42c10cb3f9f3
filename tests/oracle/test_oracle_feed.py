"""The door, and everything about a feed that must not matter: batches, order of lines, twins, files, compression."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import oracle_feed as door
import oracle_time as clock
import pytest
from oracle_harness import (
    BASE,
    SEEDS,
    Ev,
    Program,
    Run,
    compare,
    grid,
    line_of,
    numbered,
    row,
    rows_of,
    scaled,
    shuffled,
    simulate,
    write_feed,
    write_lines,
)

DAY = clock.DAY
PARALLEL = {"mode": "parallel", "limit": "unlimited"}


def everything() -> Program:
    """A program with a bit of all: shared coupons and rooms, caps, tiers, segments, idleness, waits, splits, emits."""
    books: list[dict[str, Any]] = [
        {
            "playbook": "gift",
            "trigger": {"event": "pay"},
            "entry": {"mode": "single", "again_after": "2d", "limit": "unlimited"},
            "holdout": {"percent": 20},
            "goal": {"event": "buy", "within": "2d"},
            "steps": [
                {"id": "c", "coupon": {"pool": "gifts", "on_exhausted": "skip"}},
                {"id": "m", "message": {"template": "x", "via": "box", "purpose": "service", "on_cap": "skip"}},
                {"id": "w", "wait": "1d"},
                {"id": "t", "tag": {"add": ["late"]}},
            ],
        },
        {
            "playbook": "idle",
            "trigger": {"inactivity": "3d", "activity": ["pay"]},
            "entry": {"mode": "parallel", "limit": "unlimited"},
            "steps": [
                {"id": "m", "message": {"template": "x", "via": "pad", "purpose": "marketing", "on_cap": "skip"}},
                {
                    "id": "f",
                    "wait_for": {
                        "event": "pay",
                        "up_to": "2d",
                        "then": [{"id": "p", "points": {"add": 5, "reason": "back"}}],
                        "else": [{"id": "e", "emit": {"type": "lost", "data": {"n": 1}}}],
                    },
                },
            ],
        },
        {
            "playbook": "lost",
            "trigger": {"event": "lost"},
            "entry": PARALLEL,
            "steps": [{"id": "t", "tag": {"add": ["lost"]}}],
        },
        {
            "playbook": "up",
            "trigger": {"tier_change": {"ladder": "member"}},
            "entry": PARALLEL,
            "steps": [
                {"id": "b", "badge": "star"},
                {
                    "id": "s",
                    "split": {
                        "arms": [
                            {"name": "a", "weight": 50, "do": [{"id": "ta", "tag": {"add": ["a"]}}]},
                            {"name": "b", "weight": 50, "do": [{"id": "tb", "tag": {"add": ["b"]}}]},
                        ]
                    },
                },
            ],
        },
        {
            "playbook": "club",
            "trigger": {"segment": {"enters": "busy"}},
            "entry": {"mode": "once"},
            "steps": [{"id": "i", "invite": {"groups": ["runners"], "on_full": "skip"}}],
        },
        {
            "playbook": "three",
            "trigger": {"count": {"event": "pay", "at_least": 3, "within": "7d"}},
            "entry": {"mode": "restart", "limit": "unlimited"},
            "steps": [{"id": "w", "wait": "12h"}, {"id": "v", "set": {"user.n": '{{ count("pay") }}'}}],
        },
    ]
    catalog = {
        "coupons": {
            "gifts": {
                "title": "t",
                "value": {"off": 5},
                "codes": {"generate": "GI"},
                "valid_for": "7d",
                "limits": {"per_user": "1/30d", "per_day": 9, "total": 60},
            }
        },
        "tiers": {
            "member": {
                "metric": 'sum("pay", "amount", within="7d")',
                "levels": {"bronze": 0, "silver": 50, "gold": 150},
                "grace": "1d",
            }
        },
        "segments": {"busy": {"if": 'count("pay", within="7d") >= 3'}},
        "badges": {"star": {"title": "Star", "once": True}},
        "points": {"main": {"expires": "365d"}},
        "groups": {
            "runners": {
                "title": "t",
                "topic": "running",
                "platform": "wecom",
                "hold": "2850m",
                "rooms": [
                    {"id": f"r{place}", "link": f"https://g.example/{place}", "capacity": 5} for place in range(3)
                ],
                "owner": "ops",
            }
        },
    }
    policy = {
        "consent": {"marketing": "required", "community": "none", "service": "opt_out", "transactional": "none"},
        "quiet_hours": "never",
        "caps": [{"purpose": "service", "max": 2, "per": "7d"}],
    }
    return Program(books, catalog, policy, head={"profile": "open", "events": {"pay": {"amount": "money"}}})


def feed(seed: int, users: int, distinct: bool) -> list[Ev]:
    """Users with purchases on a grid; ``distinct`` gives every event an instant of its own."""
    rng = random.Random(seed)
    events = []
    for number in range(users):
        user = f"{number:05d}"
        if number % 2:
            events.append(Ev(BASE, "consent.granted", user, {"purpose": "marketing"}))
        for _ in range(rng.randrange(1, 14)):
            kind = rng.choice(["pay", "pay", "pay", "buy", "group.joined", "consent.revoked"])
            data = {"amount": rng.choice([10, 25, 60, -10])} if kind == "pay" else {}
            group = "runners" if kind == "group.joined" else None
            events.append(Ev(grid(rng, 20, DAY // 2, False), kind, user, data, group))
    if distinct:
        for place, event in enumerate(sorted(events, key=lambda event: event.time)):
            event.time += place
    return shuffled(rng, events)


def same(one: Run, two: Run, note: str, counts: bool = True) -> None:
    """Byte for byte the same files, and the same summary but for the clock on the wall."""
    assert one.effects == two.effects, f"{note}: effects differ"
    assert one.decisions == two.decisions, f"{note}: decisions differ"
    if counts:
        first, second = dict(one.summary), dict(two.summary)
        for summary in (first, second):
            summary.pop("seconds"), summary.pop("events_per_second")
        assert first == second, f"{note}: summaries differ"


@pytest.mark.parametrize("seed", SEEDS)
def test_batches_never_change_a_byte(tmp_path: Path, seed: int) -> None:
    """``--batch`` 1, 7, 500 and 5000: identical effects and decisions, ties and all.

    Semantics: order.batches
    Failure: event.twice, event.order
    """
    program = everything().write(tmp_path)
    path = write_feed(tmp_path / "feed.jsonl", feed(seed, scaled(120), False))
    whole = simulate(program, [path], process=True)
    assert whole.effects
    assert whole.decisions
    for size in (1, 7, 500, 5000):
        same(whole, simulate(program, [path], "--batch", str(size)), f"batch {size}")


@pytest.mark.parametrize("seed", SEEDS)
def test_lines_files_twins_and_compression_do_not_matter(tmp_path: Path, seed: int) -> None:
    """Distinct times in any order of lines; twins after their firsts; two files; gzip: the same bytes."""
    program = everything().write(tmp_path)
    rng = random.Random(seed)
    events = feed(seed, scaled(70), True)
    lines = [line_of(event) for event in events]
    plain = simulate(program, [write_lines(tmp_path / "plain.jsonl", lines)], process=True)
    assert plain.effects

    mixed = list(lines)
    rng.shuffle(mixed)
    same(plain, simulate(program, [write_lines(tmp_path / "mixed.jsonl", mixed)]), "shuffled lines")

    by_time = [line_of(event) for event in sorted(events, key=lambda event: event.time)]
    same(plain, simulate(program, [write_lines(tmp_path / "sorted.jsonl", by_time)]), "sorted lines")

    half = rng.randrange(1, len(lines))
    parts = [write_lines(tmp_path / "a.jsonl", lines[:half]), write_lines(tmp_path / "b.jsonl", lines[half:])]
    same(plain, simulate(program, parts), "two files")
    same(plain, simulate(program, parts[::-1]), "two files the other way round")

    same(plain, simulate(program, [write_lines(tmp_path / "packed.jsonl.gz", lines)]), "gzip")

    twins = list(lines)
    last = max(events, key=lambda event: event.time).time
    for event in rng.sample(events, min(80, len(events))):
        place = next(at for at, line in enumerate(twins) if line == line_of(event))
        other = Ev(
            rng.choice([event.time, event.time - DAY, min(event.time + DAY, last)]),
            rng.choice(["pay", "buy", "noise"]),
            rng.choice([event.user, "00001", "nobody"]),
            {"amount": 1000},
            id=event.id,
            line=0,
        )
        twins.insert(rng.randrange(place + 1, len(twins) + 1), line_of(other))
    doubled = simulate(program, [write_lines(tmp_path / "twins.jsonl", twins)])
    same(plain, doubled, "twins", counts=False)
    assert doubled.summary["events"]["duplicate"] == len(twins) - len(lines)
    assert doubled.summary["events"]["accepted"] == len(lines) == plain.summary["events"]["accepted"]


def test_ties_between_files_follow_file_then_line(tmp_path: Path) -> None:
    """One pool of one code, three users at one instant in two files: the first line of the first file gets it.

    Semantics: order.key
    """
    book = {
        "playbook": "p",
        "trigger": {"event": "go"},
        "entry": {"mode": "once"},
        "steps": [{"id": "c", "coupon": {"pool": "one", "on_exhausted": "skip"}}],
    }
    catalog = {
        "coupons": {
            "one": {
                "title": "t",
                "codes": {"generate": "ON"},
                "valid_for": "7d",
                "limits": {"per_user": 1, "total": 1},
            }
        }
    }
    program = Program([book], catalog).write(tmp_path)
    events = numbered([Ev(BASE, "go", user) for user in ("zoe", "ann", "bob")])
    first = write_feed(tmp_path / "z.jsonl", events[:1])
    second = write_feed(tmp_path / "a.jsonl", events[1:])
    for files, winner in (([first, second], "zoe"), ([second, first], "ann")):
        run = simulate(program, files)
        assert [record["user"] for record in run.rows if record["status"] == "planned"] == [winner]
        assert {record["user"] for record in run.rows if record["status"] == "denied"} == {"zoe", "ann", "bob"} - {
            winner
        }


# ---------------------------------------------------------------- bad records

TAGGER = {
    "playbook": "p",
    "trigger": {"event": ["x", "y"]},
    "entry": PARALLEL,
    "steps": [{"id": "t", "tag": {"add": ["x"]}}],
}


def bad_lines(rng: random.Random, number: int) -> str:
    """One line that is no event, each with an id of its own."""
    good: dict[str, Any] = {"id": f"b{number}", "type": "x", "user": "u1", "time": "2026-01-05T00:00:00Z"}
    ways: list[dict[str, Any]] = [
        good | {"time": "2026-01-05T00:00:00"},
        good | {"time": "2026-13-05T00:00:00Z"},
        good | {"time": "yesterday"},
        good | {"time": None},
        good | {"time": 1767571200},
        good | {"user": None},
        good | {"user": None, "group": None},
        good | {"user": ""},
        good | {"id": ""},
        good | {"type": ""},
        good | {"type": 7},
        good | {"extra": 1},
        good | {"data": [1]},
        good | {"data": "text"},
        {key: value for key, value in good.items() if key != "user"},
        {key: value for key, value in good.items() if key != "type"},
        {key: value for key, value in good.items() if key != "time"},
    ]
    texts = [json.dumps(way) for way in ways]
    texts += [
        "not json",
        "[]",
        '"text"',
        "7",
        "{",
        json.dumps(good)[:-1] + ', "data": {"n": NaN}}',
        json.dumps(good)[:-1] + ', "data": {"n": Infinity}}',
        json.dumps(good)[:-1] + ', "type": "x"}',
        json.dumps(good)[:-1] + ', "data": {"a": 1, "a": 2}}',
    ]
    return rng.choice(texts)


@pytest.mark.parametrize("seed", SEEDS)
def test_bad_records_are_counted_and_change_nothing(tmp_path: Path, seed: int) -> None:
    """read = accepted + duplicate + quarantined, the good ones act as if alone, exit 0; ``--strict`` makes it 1.

    Semantics: event.bad-record
    """
    rng = random.Random(seed)
    files: list[list[str]] = [[], []]
    for number in range(300):
        lines = files[number % 2]
        pick = rng.random()
        if pick < 0.5:
            event: dict[str, Any] = {
                "id": f"g{number}",
                "type": rng.choice(["x", "y", "z"]),
                "user": rng.choice(["u1", "0007", "u3"]),
                "time": clock.show(grid(rng, 9, DAY, True)),
            }
            if rng.random() < 0.2:
                del event["id"]
            if rng.random() < 0.2:
                event["group"] = None
            if rng.random() < 0.3:
                event["data"] = {"n": rng.choice([1, None, "t", [1], {"a": {"b": 1}}])}
            lines.append(json.dumps(event))
        elif pick < 0.65 and any('"id": "g' in line for line in files[0]):
            old = json.loads(rng.choice([line for line in files[0] + files[1] if '"id": "g' in line]))
            lines.append(json.dumps(old | {"type": "y", "user": "other", "data": {"n": 9}}))
        else:
            lines.append(bad_lines(rng, number))
    verdicts = door.judge(files)
    program = Program([TAGGER]).write(tmp_path)
    paths = [write_lines(tmp_path / f"feed{place}.jsonl", lines) for place, lines in enumerate(files)]
    run = simulate(program, paths)
    expected = [
        row(record["instant"], "p", "t", "tag", record["user"], {"add": ["x"]})
        for record in verdicts.accepted
        if record["type"] in ("x", "y")
    ]
    compare(expected, rows_of(run), [], f"seed {seed}")
    counts = {name: run.summary["events"][name] for name in ("read", "accepted", "duplicate", "quarantined", "late")}
    assert counts == {
        "read": verdicts.read,
        "accepted": len(verdicts.accepted),
        "duplicate": verdicts.duplicate,
        "quarantined": verdicts.quarantined,
        "late": 0,
    }
    assert run.summary["users"] == len({record["user"] for record in verdicts.accepted})
    assert simulate(program, paths, "--strict", check=False).code == 1


def test_an_event_without_subject_moves_the_end_of_the_clock(tmp_path: Path) -> None:
    """The last well-formed event ends the clock, also when it names nobody; an ill-formed one does not."""
    book = {
        "playbook": "idle",
        "trigger": {"inactivity": "3d"},
        "entry": {"mode": "single"},
        "steps": [{"id": "t", "tag": {"add": ["x"]}}],
    }
    program = Program([book]).write(tmp_path)
    first = '{"id": "1", "type": "x", "user": "u", "time": "2026-01-01T00:00:00Z"}'
    nobody = '{"id": "2", "type": "x", "user": null, "time": "2026-01-04T00:00:00Z"}'
    broken = '{"id": "3", "type": "x", "time": "2026-02-04T00:00:00"}'
    run = simulate(program, [write_lines(tmp_path / "a.jsonl", [first, nobody, broken])])
    compare([row(BASE + 3 * DAY, "idle", "t", "tag", "u", {"add": ["x"]})], rows_of(run), [])
    assert clock.at(run.summary["clock"]["until"]) == BASE + 3 * DAY
    run = simulate(program, [write_lines(tmp_path / "b.jsonl", [first, broken])])
    assert run.rows == []


def test_exit_codes(tmp_path: Path) -> None:
    """No such file 1, an invalid program 1, wrong usage 2; the JSON summary is one object on stdout."""
    program = Program([TAGGER]).write(tmp_path / "good")
    path = write_lines(
        tmp_path / "feed.jsonl", ['{"id": "1", "type": "x", "user": "u", "time": "2026-01-01T00:00:00Z"}']
    )
    done = simulate(program, [path], process=True)
    assert isinstance(json.loads(done.stdout), dict)
    assert simulate(program, [tmp_path / "nothing.jsonl"], check=False, process=True).code == 1
    assert simulate(program, [path], "--no-such-option", check=False, process=True).code == 2
    broken = Program([TAGGER | {"steps": [{"id": "t", "tagg": {"add": ["x"]}}]}]).write(tmp_path / "broken")
    result = simulate(broken, [path], check=False, process=True)
    assert result.code == 1
    assert "Traceback" not in result.stderr + result.stdout
