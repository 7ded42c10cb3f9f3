#!/usr/bin/env python3
"""Measure what it takes to reward every member of a group that met its target, exactly once.

    python bench/target.py [--members 10000] [--rounds 3]

A real store on disk (synchronous FULL). The members join first; then the clock runs from the target to the last reward.
Exit 1 when a member was missed or rewarded twice.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

from measure import drumbeat, measure

START = "2026-01-01T00:00:00Z"
FILES = {
    "drumbeat.yaml": "program: target\nfeeds: [{file: feed/*.jsonl}]\nchannels: {box: {via: file, path: out.jsonl}}\n",
    "playbooks/target.yaml": """\
playbook: target
title: Target met
subject: group
trigger: {event: group.kpi}
entry: once
steps: [{emit: {type: group.target_met, to: members, data: {bonus: 50}}}]
""",
    "playbooks/reward.yaml": """\
playbook: reward
title: Reward
trigger: {event: group.target_met}
entry: {mode: parallel, limit: unlimited}
steps: [{points: "{{ event.bonus }}"}]
""",
}


def main() -> int:
    """Run the rounds and say what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    times = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as name:
            seconds, given = _round(Path(name), asked.members)
        if len(given) != asked.members or set(given.values()) != {1}:
            print(f"FAILED: {len(given)} of {asked.members} members rewarded, at most {max(given.values())} times")
            return 1
        times.append(seconds)
    best = median(times)
    each = best / asked.members * 1e6
    print(f"{asked.members:,} members rewarded exactly once in {best:.2f} s: {each:.0f} us a member")
    return 0


def _round(root: Path, members: int) -> tuple[float, Counter[str]]:
    """(seconds of the run that rewards, rewards of each member)."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "feed").mkdir()
    joined = (_line(f"j{n}", "group.joined", START, f"m{n:07d}") for n in range(members))
    (root / "feed" / "a.jsonl").write_text("".join(joined), encoding="utf-8")
    run = drumbeat("run", "--until-idle", "--program", root)
    measure(run, root)
    idle = measure(run, root).wall  # starting, compiling and opening the store are no part of it
    (root / "feed" / "b.jsonl").write_text(_line("kpi", "group.kpi", "2026-01-01T01:00:00Z", None), encoding="utf-8")
    return max(0.0, measure(run, root).wall - idle), _given(root)


def _line(id_: str, type_: str, at: str, user: str | None) -> str:
    row = {"id": id_, "type": type_, "group": "g", "time": at, **({} if user is None else {"user": user})}
    return json.dumps(row) + "\n"


def _given(root: Path) -> Counter[str]:
    from engine.stores.sqlite import SqliteStore

    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    try:
        return Counter(str(it.user) for it, _ in store.effects() if it.kind == "points")
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(main())
