#!/usr/bin/env python3
"""A blast to everybody, killed at random again and again: is each subject written to exactly once?

    python bench/blast.py [--subjects 1000000] [--kills 100] [--seed 1] [--json FILE] [--keep FOLDER]

Everybody has signed up when the daemon finds that the slot of a schedule is due. While it walks through the audience it
is killed (SIGKILL) at instants nobody chose, and another begins; each kill falls while the walk goes on. Stated is what
became of every subject, and what ``fsck`` says. Exit 1 when one is left out, entered or written to twice.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from service_kit import Service

from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": """\
program: blast
feeds: [{file: feed/a.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never, consent: {service: none}}}
""",
    "playbooks/blast.yaml": """\
playbook: blast
title: To all
trigger: {schedule: {cron: "CRON", audience: user.vip == true, catch_up: last}}
entry: {mode: once, limit: unlimited}
steps:
  - points: 1
  - message: {template: hello, via: box, purpose: service}
""",
    "playbooks/catalog.yaml": "points: {main: {title: Points}}\n",
    "templates/hello.box.j2": "hello",
}


def entered(path: Path) -> int:
    """How many the walk has reached."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60) as db:
        row = db.execute("select n from figure where playbook = 'blast' and name = 'entered'").fetchone()
    db.close()
    return row[0] if row else 0


def work(root: Path, subjects: int, kills: int, seed: int) -> dict[str, float | bool]:
    now = datetime.now(UTC)
    slot = (now - timedelta(minutes=30)).replace(second=0)
    cron = f"{slot.minute} {slot.hour} {slot.day} {slot.month} *"
    service = Service(root, {**FILES, "playbooks/blast.yaml": FILES["playbooks/blast.yaml"].replace("CRON", cron)})
    (root / "feed").mkdir()
    at = (slot - timedelta(minutes=30)).isoformat().replace("+00:00", "Z")
    with (root / "feed" / "a.jsonl").open("w") as feed:
        for number in range(subjects):
            row = {"id": f"e{number}", "type": "user.signup", "user": f"u{number:07d}", "time": at}
            feed.write(json.dumps(row | {"data": {"vip": True}}) + "\n")
    words = [sys.executable, "-m", "engine", "run", "--until-idle", "--quiet", "--program", str(root)]
    subprocess.run(words, check=True)
    assert entered(service.store) == 0
    rng = random.Random(seed)  # noqa: S311 - moments of kills, not secrets
    begun, done, seen = time.monotonic(), 0, 0
    while done < kills and seen < subjects:
        service.start()
        # an equal share of what is left, give or take: so every kill meets the walk
        share = (subjects - seen) / (kills - done + 1)
        goal = min(subjects, seen + round(share * rng.uniform(0.2, 1.4)))
        service.until(lambda goal=goal: entered(service.store) >= goal)  # type: ignore[misc]
        time.sleep(rng.uniform(0, 0.02))
        service.end(signal.SIGKILL)
        done, seen = done + 1, entered(service.store)
    midway = seen < subjects
    service.start()
    service.until(lambda: entered(service.store) >= subjects, 3_600)
    box = root / "out" / "box.jsonl"
    service.until(lambda: box.exists() and sent_lines(box) >= subjects, 3_600)
    service.end()
    seconds = time.monotonic() - begun
    users = [user for user, _ in service.sent()]
    store = SqliteStore.open(service.store, read_only=True)
    points = Counter(effect.user for effect, _ in store.effects() if effect.kind == "points")
    store.close()
    return {
        "subjects": subjects, "kills": done, "kills_all_midway": midway, "seconds": round(seconds, 1),
        "left_out": subjects - len(set(users)), "twice": len(users) - len(set(users)),
        "entered_twice": points.total() - len(points), "not_entered": subjects - len(points), "sound": service.sound(),
    }  # fmt: skip


def sent_lines(path: Path) -> int:
    """Lines of a file, counted cheaply."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--subjects", type=int, default=1_000_000)
    p.add_argument("--kills", type=int, default=100)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", type=Path, help="write the figures there")
    p.add_argument("--keep", type=Path, help="folder to work in, kept afterwards")
    given = p.parse_args()
    root = given.keep or Path(tempfile.mkdtemp(prefix="blast-"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        found = work(root, given.subjects, given.kills, given.seed)
    finally:
        if given.keep is None:
            shutil.rmtree(root)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found) + "\n", encoding="utf-8")
    bad = ("left_out", "twice", "entered_twice", "not_entered")
    return 1 if any(found[word] for word in bad) or not found["sound"] or not found["kills_all_midway"] else 0


if __name__ == "__main__":
    sys.exit(main())
