#!/usr/bin/env python3
"""Erase some of many people, replay the feed, and look for them in the bytes of the store.

    python bench/erase.py [--users 10000] [--erased 1000] [--json FILE]

Everybody has an event, a trait, a message and points; then some are deleted (``user.deleted`` in the feed, and the last
by ``drumbeat users erase``), the old feed is taken in again, and every file of the store is searched, its log too.
Exit 1 when a byte of somebody who was erased is found, somebody else's is not, or the sums of points changed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from engine.stores.sqlite import SqliteStore  # noqa: E402

FILES = {
    "drumbeat.yaml": "program: erase\nchannels: {box: {via: file, path: out/box.jsonl}}\n"
    "policies: {default: {consent: {service: none}, quiet_hours: never}}\n",
    "playbooks/gift.yaml": "playbook: gift\ntitle: Gift\ntrigger: {event: order.paid}\n"
    "entry: {mode: parallel, limit: unlimited}\nsteps:\n  - points: 5\n"
    "  - message: {template: thanks, via: box, purpose: service}\n",
    "playbooks/catalog.yaml": "points: {main: {title: Points}}\n",
    "templates/thanks.box.j2": "Dear {{ user.get('name') }}, thanks for {{ event.note }}",
}


def drumbeat(root: Path, *words: str) -> str:
    command = [sys.executable, "-m", "engine", *words, "--program", str(root)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout


def lines(users: range, mark: str, prefix: str = "") -> str:
    """Each user signs up and orders once."""
    rows = []
    for n in users:
        user, word = f"{mark}-{n:05d}", f"{mark}-{n:05d}"
        rows.append(("user.signup", f"{prefix}s{n}", user, {"name": f"name-{word}", "mail": f"{word}@x.example"}))
        rows.append(("order.paid", f"{prefix}o{n}", user, {"note": f"note-{word}"}))
    return "".join(
        json.dumps({"id": id_, "type": type_, "user": user, "time": "2026-03-01T00:00:00Z", "data": data}) + "\n"
        for type_, id_, user, data in rows
    )


def taken(root: Path, text: str) -> None:
    (root / "in.jsonl").write_text(text, encoding="utf-8")
    drumbeat(root, "ingest", str(root / "in.jsonl"))
    drumbeat(root, "run", "--until-idle", "--quiet")


def points(root: Path) -> Counter[str]:
    """How many effects of points there are, and their sum."""
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    try:
        deltas = [effect.detail["delta"] for effect, _ in store.effects() if effect.kind == "points"]
        assert store.check() == []
    finally:
        store.close()
    return Counter(rows=len(deltas), sum=sum(deltas))


def work(root: Path, users: int, erased: int) -> dict[str, int | bool]:
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    gone, kept = range(erased), range(erased, users)
    old = lines(gone, "canary")
    taken(root, old + lines(kept, "stays"))
    before = points(root)
    end = {"type": "user.deleted", "time": "2026-03-05T00:00:00Z"}
    bye = [{"id": f"bye{n}", "user": f"canary-{n:05d}"} | end for n in gone]
    taken(root, "".join(json.dumps(row) + "\n" for row in bye[:-1]))
    drumbeat(root, "users", "erase", f"canary-{erased - 1:05d}")
    taken(root, lines(gone, "canary", "again-"))  # the same, under other ids: from before the erasure
    after = points(root)
    drumbeat(root, "run", "--once", "--quiet")  # what is dropped leaves bytes; the daemon's rounds write the file anew
    raw = b"".join(it.read_bytes() for it in sorted(root.glob("drumbeat.db*")))
    return {
        "users": users, "erased": erased, "bytes_searched": len(raw), "found_of_erased": raw.count(b"canary"),
        "found_of_others": min(raw.count(f"stays-{n:05d}".encode()) for n in kept[:: max(1, len(kept) // 50)]),
        "points_before": before["sum"], "points_after": after["sum"], "same_sums": before == after,
    }  # fmt: skip


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--users", type=int, default=10_000)
    p.add_argument("--erased", type=int, default=1_000)
    p.add_argument("--json", type=Path, help="write the figures there")
    given = p.parse_args()
    root = Path(tempfile.mkdtemp(prefix="erase-"))
    try:
        found = work(root, given.users, given.erased)
    finally:
        shutil.rmtree(root)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return 0 if found["same_sums"] and not found["found_of_erased"] and found["found_of_others"] else 1


if __name__ == "__main__":
    sys.exit(main())
