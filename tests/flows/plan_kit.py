"""A shop that is planned: people in it, coupons with little stock, an edit that moves, stops and lets in."""

from __future__ import annotations

import json
import random
from pathlib import Path

from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR

BASE = 1_772_409_600_000_000  # 2026-03-02T00:00:00Z, a Monday
PEOPLE, DAYS = 60, 17

PROGRAM = """\
program: shop
timezone: Asia/Shanghai
profile: {city: text | none}
feeds: [{file: feed/*.jsonl}]
channels:
  box: {via: file, path: out/box.jsonl}
  sms: {via: file, path: out/sms.jsonl, quota: {max: 4, per: month}}
policies:
  default:
    consent: {marketing: none, service: none}
    quiet_hours: never
    caps: [{purpose: marketing, max: 2, per: 7d}]
"""
CATALOG = """\
segments:
  loyal: {if: 'count("order.paid", within="30d") >= 3'}
coupons:
  gift: {title: 礼券, value: {off: 10, currency: CNY}, codes: {generate: G}, valid_for: 7d,
         limits: {per_user: 3, total: 40}}
points: {main: {}}
"""
WELCOME = """\
playbook: welcome
title: 欢迎
trigger: {signup: true}
entry: {mode: once, limit: unlimited}
steps:
  - id: hi
    message: {template: hi, via: box, purpose: service}
  - id: rest
    wait: 3d
  - id: more
    message: {template: hi, via: box, purpose: service}
"""
THANKS = """\
playbook: thanks
title: 谢谢
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps:
  - points: 5
  - id: pause
    wait: 36h
  - id: say
    message: {template: hi, via: sms, purpose: marketing}
"""
NUDGE = """\
playbook: nudge
title: 想你
trigger: {inactivity: 4d}
entry: {mode: single, limit: 10/day}
steps:
  - id: stay
    wait: 1d
  - id: say
    message: {template: hi, via: box, purpose: marketing}
"""
LOYAL = """\
playbook: loyal
title: 老友
trigger: {segment: {enters: loyal}, existing: enter}
entry: {mode: parallel, limit: unlimited}
holdout: {percent: 10}
steps:
  - id: gift
    coupon: {pool: gift, on_exhausted: skip}
  - id: say
    message: {template: hi, via: box, purpose: marketing}
"""

OLD = {
    "drumbeat.yaml": PROGRAM,
    "playbooks/catalog/all.yaml": CATALOG,
    "playbooks/welcome.yaml": WELCOME,
    "playbooks/thanks.yaml": THANKS,
    "playbooks/nudge.yaml": NUDGE,
    "templates/hi.box.j2": "hi {{ user.id }}\n",
    "templates/hi.sms.j2": "hi\n",
}
NEW = {
    "playbooks/welcome.yaml": WELCOME.replace("3d", "2d").replace("title: 欢迎\n", "title: 欢迎\non_change: move\n"),
    "playbooks/thanks.yaml": THANKS.replace("5\n", "6\n").replace("title: 谢谢\n", "title: 谢谢\non_change: cancel\n"),
    "playbooks/loyal.yaml": LOYAL,
}
"""What the edit changes: welcome moves, thanks stops, nudge stays as it is, loyal is new."""


def write(root: Path, files: dict[str, str]) -> Path:
    """Files of a program."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def life() -> list[dict[str, object]]:
    """What happened in the shop: sign-ups over the weeks, orders, visits."""
    chance = random.Random(7)
    rows: list[dict[str, object]] = []
    for number in range(PEOPLE):
        user, begun = f"u{number}", BASE + chance.randrange(DAYS * 24) * HOUR * 9 // 10
        happened = [(begun, "user.signup")]
        happened += [
            (begun + chance.randrange(1, DAYS * 24) * HOUR, chance.choice(["order.paid", "app.opened"]))
            for _ in range(chance.randrange(7))
        ]
        rows += [
            {"id": f"{user}/{place}", "type": type_, "user": user, "time": format_instant(at), "at": at}
            for place, (at, type_) in enumerate(happened)
            if at < BASE + DAYS * DAY
        ]
    rows.append({"id": "end", "type": "tick", "user": "clock", "at": BASE + DAYS * DAY,
                 "time": format_instant(BASE + DAYS * DAY)})  # fmt: skip
    return sorted(rows, key=lambda it: (it["at"], it["id"]))  # type: ignore[arg-type, return-value]


def feed(rows: list[dict[str, object]]) -> str:
    """As a file."""
    return "".join(json.dumps({name: it for name, it in row.items() if name != "at"}) + "\n" for row in rows)
