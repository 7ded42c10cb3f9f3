#!/usr/bin/env python3
"""A daemon under steady load for a while: does its memory grow?

    python bench/soak.py [--minutes 15] [--rate 200] [--users 20000] [--warm-up 7.5] [--late 2m]
                         [--known] [--json FILE]

Events come in over HTTP at a steady rate, always from the same users, who sign up, order, wait and are written to.
An event is kept for its window and for as long as late ones are judged: 4 minutes here, so that what is known of people
stops growing soon; with the 24 hours of a program that says nothing it would grow for a day (``--late 24h``).
Memory is looked at every second. Stated is its slope by least squares over the time after the warm-up (default: the
first half), in per cent an hour; and how the store grew an event. Aim: 0 +- 1 %.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from service_kit import Service, signups, stamp

from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": """\
program: soak
feeds: [{http: {port: 0}}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never, consent: {service: none}}}
late_events: {act_within: 2m}
""",
    "playbooks/order.yaml": """\
playbook: order
title: Thanks, and a minute later a point
trigger: {event: order.paid, if: 'count("order.paid", within="2m") >= 2'}
entry: {mode: restart, limit: unlimited}
steps:
  - message: {template: thanks, via: box, purpose: service}
  - wait_for: {event: app.opened, up_to: 1m, then: [{points: 1}], else: [{tag: {add: [quiet]}}]}
""",
    "playbooks/catalog.yaml": "points: {main: {title: Points}}\n",
    "templates/thanks.box.j2": "thanks {{ user.id }}",
}


def slope(points: list[tuple[float, float]]) -> float:
    """MB a second, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def name(number: int) -> str:
    """A user, in order of number."""
    return f"u{number:08d}"


def crowd(service: Service, people: int) -> None:
    """So many users are in the store, each as the first one stands after its sign-up; they have no past but that."""
    service.start()
    status, _, _ = service.post(signups([name(0)]))
    assert status == 202
    service.end()
    store = SqliteStore.open(service.store)
    store.fold()
    store.close()
    with closing(sqlite3.connect(service.store)) as db, db:
        (state,) = db.execute("select cast(state as text) from subject where id = ?", (name(0),)).fetchone()
        before, behind = state.split(name(0))
        rows = ((name(n), f"{before}{name(n)}{behind}".encode()) for n in range(1, people))
        db.executemany("insert into subject (id, state) values (?, ?)", rows)


def work(
    root: Path, minutes: float, rate: int, users: int, warm_up: float, late: str, known: bool = False
) -> dict[str, Any]:
    files = {name: text.replace("act_within: 2m", f"act_within: {late}") for name, text in FILES.items()}
    service, rng = Service(root, files), random.Random(1)  # noqa: S311 - load, no secrets
    if known:
        crowd(service, users)
    service.start()
    begun, number, memory, sizes = time.monotonic(), 0, [], []
    connection = service.connection()
    try:
        while (now := time.monotonic() - begun) < minutes * 60:
            at, lines = stamp(), []
            for _ in range(rate):
                number += 1
                kind = rng.choice(("order.paid", "app.opened", "order.paid"))
                row = {"id": f"e{number}", "type": kind, "user": name(rng.randrange(users)), "time": at}
                lines.append(json.dumps(row | {"data": {"amount": rng.randrange(100)}}))
            status, said, _ = service.post("\n".join(lines).encode(), connection)
            assert (status, said["accepted"]) == (202, rate), said
            memory.append((now, service.memory()))
            sizes.append((number, service.store.stat().st_size))
            time.sleep(max(0.0, begun + now + 1 - time.monotonic()))
        service.end()
    finally:
        service.stop()
    later = [it for it in memory if it[0] > warm_up * 60]
    held = sum(it for _, it in later) / len(later)
    halves = [slope(it) * 3_600 for it in (later[: len(later) // 2], later[len(later) // 2 :])]
    (first, small), (last, large) = sizes[len(sizes) // 2], sizes[-1]
    return {
        "minutes": minutes, "warm_up_minutes": warm_up, "events": number, "users": users, "rss_mb": round(held, 1),
        "rss_begin_mb": round(memory[0][1], 1), "rss_end_mb": round(memory[-1][1], 1),
        "rss_slope_mb_per_hour": round(slope(later) * 3_600, 2),
        "rss_slope_percent_per_hour": round(slope(later) * 3_600 / held * 100, 2),
        "slopes_of_halves_mb_per_hour": [round(it, 2) for it in halves], "rss_at": [  # every two minutes
            round(it[1], 1) for it in memory[:: max(1, 120 * len(memory) // max(1, int(memory[-1][0])))]
        ], "store_bytes_per_event": round((large - small) / max(1, last - first)), "store_mb": large >> 20,
        "sound": None if known else service.sound(),  # a check of millions takes longer than anybody waits
    }  # fmt: skip


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--minutes", type=float, default=15)
    p.add_argument("--rate", type=int, default=200, help="events a second")
    p.add_argument("--users", type=int, default=20_000)
    p.add_argument("--warm-up", type=float, help="minutes before memory is judged; default: half of them")
    p.add_argument("--late", default="2m", help="how old an event may be and still begin something")
    p.add_argument("--known", action="store_true", help="all users are in the store before it begins")
    p.add_argument("--json", type=Path, help="write the figures there")
    given = p.parse_args()
    root = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        found = work(
            root, given.minutes, given.rate, given.users, given.warm_up or given.minutes / 2, given.late, given.known
        )
    finally:
        shutil.rmtree(root)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return 1 if found["sound"] is False else 0


if __name__ == "__main__":
    sys.exit(main())
