"""Subjects in parts give the bytes of one process, or are not decided in parts at all."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flow_program import compiled, lines_of, make_events, write_feed, write_program, write_program_files
from shard_kit import by_many, by_one, same

from engine.language.compiled import Compiled
from engine.runtime.shards import Coupled, coupled_by

ROOT = Path(__file__).resolve().parents[2]

QUEUED = {
    "drumbeat.yaml": """\
program: queued
timezone: Asia/Shanghai
profile: {city: text | none}
events: {"*": open}
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {consent: {marketing: none, service: none}, quiet_hours: {from: "22:00", to: "08:00"},
                     caps: [{purpose: marketing, max: 2, per: 7d}]}}
""",
    "playbooks/orders.yaml": """\
playbook: orders
title: A coupon for each order
trigger: {event: order.paid}
entry: {mode: parallel, limit: %(limit)s}
goal: {event: app.opened, within: 2d, then: exit}
steps:
  - {coupon: {pool: gift, on_exhausted: stop}, id: gift}
  - wait: 1d
  - message: {template: hi, via: box, purpose: marketing}
  - emit: {type: nudged}
  - {message: {template: hi, via: box, purpose: service}, id: again}
""",
    "playbooks/quiet.yaml": """\
playbook: quiet
title: Two days of silence
trigger: {inactivity: 2d}
entry: {mode: single, again_after: 1d, limit: %(limit)s}
holdout: {percent: 25}
steps:
  - wait_for: {event: app.opened, up_to: 1d, then: [{points: 5}], else: [{tag: {add: [quiet]}}]}
  - {redeem: mug, id: mug, if: user.points >= 5}
""",
    "playbooks/nudged.yaml": """\
playbook: nudged
title: An event of its own
trigger: {event: nudged}
entry: {mode: queue, limit: unlimited}
steps: [{badge: nudged}, {wait: 3h}, {points: 1}]
""",
    "playbooks/catalog/c.yaml": """\
coupons:
  gift: {value: {off: 5, currency: CNY}, codes: {generate: G}, valid_for: 3d,
         limits: {per_user: 4, total: %(total)s, per_day: 200}}
badges: {nudged: {title: Nudged, once: true}}
points: {main: {title: Points}}
rewards: {mug: {title: Mug, points: 5, stock: 500, per_user: 2}}
""",
    "templates/hi.box.j2": "hi {{ user.id }}",
}


def queued(folder: Path, limit: str = "500/hour", total: int = 10_000) -> Compiled:
    values = {"limit": limit, "total": total}
    return compiled(write_program_files(folder, {name: text % values for name, text in QUEUED.items()}))


@pytest.mark.parametrize("seed", range(4))
def test_generated_feeds(tmp_path: Path, seed: int) -> None:
    """Limits, stocks and quiet hours nobody runs into: rows, verdicts and figures of 2 and 3 parts are those of one.

    Semantics: order.batches
    """
    program = queued(tmp_path / "p")
    feed = [write_feed(tmp_path, lines_of(make_events(seed, 400, users=25)))]
    check = same(program, feed, batch_size=37)
    for number in (2, 3):
        check(number)
    effects, verdicts, outcome = by_one(program, feed)
    assert effects.count(b"\n") > 100
    assert verdicts.count(b"\n") > 400
    assert outcome.effects.keys() >= {"coupon", "message", "points", "redeem"}


TIMED = {
    "playbooks/morning.yaml": """\
playbook: morning
title: A word in the morning of everybody's own zone
trigger: {schedule: {cron: "30 9 * * *", zone: user, audience: 'count("order.paid", within="10d") >= 1'}}
entry: {mode: single, again_after: 2d}
holdout: {percent: 20}
steps:
  - {message: {template: hi, via: box, purpose: marketing}}
  - wait: 30m
  - {coupon: {pool: gift, on_exhausted: stop}, id: gift}
  - wait_for: {event: app.opened, up_to: 1d, then: [{points: 5}], else: [{tag: {add: [quiet]}}]}
""",
    "playbooks/hourly.yaml": """\
playbook: hourly
title: Points at noon, and what follows at the same instant
trigger: {schedule: {every: 6h, audience: 'user.points < 40 and not ("fed" in user.tags)'}}
entry: {mode: parallel, limit: unlimited}
steps:
  - {points: 7}
  - {emit: {type: nudged}}
""",
    "playbooks/noon.yaml": """\
playbook: noon
title: The same instant as another slot
trigger: {schedule: {every: 12h, audience: 'user.points >= 7'}}
entry: {mode: parallel, limit: 5000/day}
steps: [{tag: {add: [fed]}}, {message: {template: hi, via: box, purpose: service}}]
""",
}


@pytest.mark.parametrize("seed", range(3))
def test_schedules_go_over_each_part(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots of the program's zone and of users' own, several at one instant, walked in small pieces: the same effects
    and figures in parts. Where verdicts are wanted, whose order hangs on everybody, one core decides.
    """
    monkeypatch.setattr("engine.runtime.walk.CHUNK", 4)
    folder = write_program_files(
        tmp_path / "p", {**{k: v % {"limit": "500/hour", "total": 10_000} for k, v in QUEUED.items()}, **TIMED}
    )
    program = compiled(folder)
    events, zones = make_events(seed, 300, users=25), ("Asia/Kolkata", "America/New_York", "Pacific/Auckland", None)
    for place, event in enumerate(events):
        if event["type"] == "user.signup" and (zone := zones[place % 4]):
            event["data"]["zone"] = zone
        elif place % 29 == 0:  # some move
            event.update(type="user.updated", data={"zone": "Europe/Paris"})
    feed = [write_feed(tmp_path, lines_of(events))]
    check = same(program, feed, traced=False, batch_size=37)
    for number in (2, 3):
        check(number)
    outcome = by_one(program, feed, traced=False)[2]
    for name in ("morning", "hourly", "noon"):
        assert outcome.playbooks[name]["entered"] > 5, name
    with pytest.raises(Coupled, match="verdicts of playbook hourly"):
        by_many(program, feed, 2)


def test_the_twenty_rules(tmp_path: Path) -> None:
    """Workload W1, ids that come again included, where nearly every event goes the short way: the same bytes."""
    feed = tmp_path / "w1.jsonl"
    script = [sys.executable, str(ROOT / "bench" / "gen_w1.py"), "--events", "8000", "--users", "300"]
    subprocess.run([*script, "--dup", "0.02", "--out", str(feed)], check=True, capture_output=True)
    program = compiled(ROOT / "bench" / "w1")
    for traced in (False, True):
        check = same(program, [feed], traced=traced)
        check(2)
        check(3)


def test_the_purchase_log(tmp_path: Path) -> None:
    """Two real files, with tiers, caps, waits and rooms: the same. Where rooms are narrow, one is named."""
    feed = []
    for name in ("cdnow_orders", "cdnow_signups_derived"):
        with gzip.open(ROOT / "examples" / "cdnow" / "feed" / f"{name}.jsonl.gz", "rb") as packed:
            feed.append(tmp_path / f"{name}.jsonl")
            feed[-1].write_bytes(b"".join(line for _, line in zip(range(2_500), packed, strict=False)))
    shipped = ROOT / "examples" / "cdnow"
    same(compiled(shipped), feed)(2)
    shutil.copytree(shipped, tmp_path / "narrow", ignore=shutil.ignore_patterns("feed"))
    for path in (tmp_path / "narrow" / "playbooks" / "catalog").glob("*.yaml"):
        path.write_text(re.sub(r"(capacity|soft): \d+", r"\1: 4", path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(Coupled, match=r"group \w+ has \d seats in room|group \w+ gives its seats in turn"):
        by_many(compiled(tmp_path / "narrow"), feed, 2)


def test_what_runs_out_is_named(tmp_path: Path) -> None:
    """Parts that take more together than there is give up, and say of what, though none of them met the end alone."""
    feed = [write_feed(tmp_path, lines_of(make_events(1, 400, users=25)))]
    given = by_one(queued(tmp_path / "a"), feed)[2].effects["coupon"]["planned"]
    same(queued(tmp_path / "b", total=given), feed)(3)
    with pytest.raises(Coupled, match=f"coupon gift has a total of {given - 1}"):
        by_many(queued(tmp_path / "c", total=given - 1), feed, 3)
    with pytest.raises(Coupled, match=r"playbook (orders|quiet) takes 1 an hour"):
        by_many(queued(tmp_path / "d", limit="1/hour"), feed, 2)


def test_what_hangs_together_from_the_start(tmp_path: Path) -> None:
    """A program that is about groups, or gives codes of a list in turn, is not decided in parts, and says why."""
    library = coupled_by(compiled(ROOT).plan)  # type: ignore[arg-type]  # a shipped program is valid
    assert library is not None
    assert re.match(r"playbook [\w-]+ is about the (group|program)|groups are subjects", library)
    program = compiled(write_program(tmp_path))
    feed = [write_feed(tmp_path, lines_of(make_events(1, 100)))]
    words = r"coupon hello gives the codes of a list in turn|goes from one user to another"
    with pytest.raises(Coupled, match=words):
        by_many(program, feed, 2)
