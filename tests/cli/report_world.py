"""A slice of two real feeds as a program, run into a store, for the tests of ``drumbeat report``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FEED = ROOT / "examples" / "cdnow" / "feed"

PROGRAM = """
program: shop
timezone: Asia/Shanghai
locale: zh-CN
activity: [order.paid]
channels:
  app: {via: file, path: out/app.jsonl, quota: {max: 4, per: month}}
feeds: [{file: feed.jsonl}]
policies:
  default:
    consent: {marketing: none, service: none}
    quiet_hours: never
    caps: [{purpose: marketing, max: 1, per: 7d}]
"""
CATALOG = """
segments: {buyers: {if: 'count("order.paid") >= 3'}}
tiers: {member: {metric: 'sum("order.paid", "amount")', levels: {bronze: 0, silver: 100, gold: 300}, grace: 30d}}
coupons:
  gift:
    {title: t, value: {off: 5, currency: USD}, codes: {generate: G}, valid_for: 20d, limits: {per_user: 1, total: 700}}
"""
BOOKS = {
    "welcome": """
title: 新人 & <b>礼</b>
priority: 70
trigger: {signup: true}
entry: {mode: once}
holdout: {percent: 20}
goal: {event: order.paid, within: 60d, then: continue, value: event.amount, if: 'count("order.paid") >= 2'}
steps:
  - split: {arms: [{name: short, weight: 50, do: [{message: {template: hello, via: app, purpose: marketing}}]},
                   {name: long, weight: 50, do: [{coupon: {pool: gift, on_exhausted: skip}}]}]}
    id: way
  - message: {template: hello, via: app, purpose: service}
""",
    "again": """
title: again
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
exit: [{event: order.paid}]
goal: {event: order.paid, within: 30d, then: continue}
steps:
  - message: {template: hello, via: app, purpose: marketing}
  - coupon: {pool: gift, on_exhausted: skip}
  - wait: 30d
""",
    "buyer": """
title: buyer
trigger: {segment: {enters: buyers}}
entry: {mode: once}
steps: [{message: {template: hello, via: app, purpose: service}}]
""",
}


def purchases(every: int) -> list[dict[str, Any]]:
    """Sign-ups and orders of every so many-th customer of the shop, in order of time."""
    rows = []
    for name in ("cdnow_signups_derived", "cdnow_orders"):
        with gzip.open(FEED / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows += [row for row in map(json.loads, lines) if int(row["user"]) % every == 0]
    return sorted(rows, key=lambda it: it["time"])


def write_program(folder: Path, events: list[dict[str, Any]]) -> Path:
    """The program with its feed; nothing is run."""
    files = {
        "drumbeat.yaml": PROGRAM,
        "playbooks/catalog/all.yaml": CATALOG,
        "templates/hello.app.j2": "hi",
        "feed.jsonl": "".join(json.dumps(it) + "\n" for it in events),
        **{f"playbooks/{name}.yaml": f"playbook: {name}{text}" for name, text in BOOKS.items()},
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
