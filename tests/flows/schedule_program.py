"""A program with schedules of every kind, feeds for it, and an oracle of who is entered at which slot."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flow_program import BASE, compiled

from engine.core import localtime
from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR, MINUTE
from engine.language.compiled import Compiled

PROGRAM_ZONE = "Asia/Shanghai"
ZONES = ("America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "Europe/Berlin")

FILES = {
    "drumbeat.yaml": """\
program: slots
timezone: Asia/Shanghai
profile: {city: text | none, friend: text | none}
events:
  "*": open
feeds: [{file: feed/*.jsonl}]
channels:
  ads: {via: file, path: out/ads.jsonl, mode: at_most_once}
  box: {via: file, path: out/box.jsonl, mode: at_least_once}
policies:
  default:
    consent: {marketing: none, community: none, service: none, transactional: none}
    quiet_hours: never
""",
    # every day, for those in one city, with codes that run out: the order of ids decides who gets one
    "playbooks/daily.yaml": """\
playbook: daily
title: Every day at ten
priority: 60
trigger: {schedule: {cron: "0 10 * * *", audience: user.city == "上海"}}
entry: {mode: parallel, limit: unlimited}
steps:
  - coupon: {pool: few, on_exhausted: skip}
    id: gift
  - points: 1
  - message: {template: hello, via: box, purpose: service}
""",
    # in everybody's own morning
    "playbooks/own.yaml": """\
playbook: own
title: Own morning
trigger: {schedule: {cron: "30 9 * * mon-fri", zone: user, audience: count("app.opened") >= 1}}
entry: {mode: parallel, limit: unlimited}
steps:
  - points: 10
""",
    # makes others known in the middle of a walk, and leaves a wake-up behind
    "playbooks/friend.yaml": """\
playbook: friend
title: Told by a friend
trigger: {schedule: {every: 12h, audience: user.friend is not none}}
entry: {mode: single, again_after: 2d, limit: 3/day}
steps:
  - emit: {type: told, user: "{{ user.friend }}"}
  - wait: 12h
  - points: 100
""",
    # two triggers that fall together on the first of a month
    "playbooks/both.yaml": """\
playbook: both
title: Two triggers
trigger:
  - {schedule: {cron: "0 10 * * fri", audience: user.points >= 10}}
  - {schedule: {cron: "0 10 1 * *", audience: user.points >= 0}}
entry: {mode: parallel, limit: unlimited}
steps:
  - tag: {add: [seen]}
""",
    "playbooks/told.yaml": """\
playbook: told
title: Heard of it
trigger: {event: told}
entry: {mode: parallel, limit: unlimited}
steps:
  - set: {user.city: 上海}
""",
    "playbooks/catalog/catalog.yaml": """\
coupons:
  few: {title: Few, value: {off: 5}, codes: {file: lists/few.csv}, valid_for: 7d,
        limits: {per_user: "1/2d", total: 40}}
points: {main: {title: Points}}
""",
    "templates/hello.box.j2": "hello {{ user.id }}",
    "lists/few.csv": "".join(f"F{n:03d}\n" for n in range(40)),
}


def write_schedules(root: Path, **more: str) -> Compiled:
    """The program, compiled."""
    for name, text in {**FILES, **more}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return compiled(root)


def make_schedule_events(seed: int, count: int, users: int = 12) -> list[dict[str, Any]]:
    """Sign-ups, moves to other zones and cities, visits; many at the very instants of slots."""
    rng = random.Random(seed)
    steps = [0, 0, MINUTE, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY]
    at, events, known = BASE + 2 * HOUR, [], []  # 10:00 in Shanghai
    for number in range(count):
        at += rng.choice(steps)
        if rng.random() < 0.2:
            at = -(-(at - BASE) // (12 * HOUR)) * 12 * HOUR + BASE + rng.choice([2 * HOUR, 90 * MINUTE])
        user = f"u{rng.randrange(users):02d}"
        kind, data = rng.choice(["app.opened", "user.updated", "order.paid"]), {}
        if user not in known:
            kind, data = "user.signup", {"city": rng.choice(["上海", "杭州", None])}
            known.append(user)
            if rng.random() < 0.5:
                data["friend"] = rng.choice([*known, f"x{rng.randrange(9)}"])
        if kind != "order.paid" and rng.random() < 0.6:
            data["zone"] = rng.choice([*ZONES, PROGRAM_ZONE])
        if kind == "user.updated":
            data["city"] = rng.choice(["上海", "杭州"])
        events.append({"id": f"e{number:05d}", "type": kind, "time": format_instant(at), "user": user, "data": data})
    return events


# ---------------------------------------------------------------------- the oracle


def daily(wall: str, zone: str, begin: int, end: int, weekdays: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)) -> list[int]:
    """The instants of a daily wall time in ``[begin, end]``, day by day."""
    place, found = ZoneInfo(zone), []
    day = localtime.local_date(begin, place) - timedelta(days=1)
    while (at := localtime.at_wall(day, wall, place)) <= end:
        if at >= begin and day.isoweekday() in weekdays:
            found.append(at)
        day += timedelta(days=1)
    return found


def weekday(day: date) -> int:
    return day.isoweekday()
