#!/usr/bin/env python3
"""What growth costs: more users, more playbooks; and what a user takes on disk.

    python bench/growth.py [--rounds 3] [--only users,playbooks] [--users 10000 100000 1000000]

- users: ``run`` over W1 with so many users and two events each on average, durable: processor time an event, less what
  a run over nothing takes
- playbooks: ``simulate`` of 100,000 events of W1 with 20 playbooks, and with 980 more: all of them listening to a type
  of which nothing comes, or all of them to ``checkin``, each with a condition of its own that lets nobody in
- bytes: what the file holds once its log is folded, table by table

Processor time of whole processes, ratios within a round, medians of the rounds.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from measure import BENCH, ChildFailed, drumbeat, measure, script

MORE = """\
playbook: more{number:04}
title: One more
trigger: {{event: {type}, if: {test}}}
entry: {{mode: parallel, limit: unlimited}}
steps: [{{points: 1}}]
"""
ADDED = 980


def feed_of(folder: Path, events: int, users: int) -> Path:
    feed = folder / f"w1-{users}.jsonl"
    if not feed.exists():
        measure(script("gen_w1.py", "--events", str(events), "--users", str(users), "--out", feed), folder)
    return feed


def durable(feed: Path, folder: Path) -> tuple[float, Path]:
    """(processor seconds, the store) of a run over a feed."""
    program = folder / "run"
    shutil.rmtree(program, ignore_errors=True)
    shutil.copytree(BENCH / "w1", program)
    (program / "feed").mkdir()
    (program / "feed" / "w1.jsonl").symlink_to(feed)
    taken = measure(drumbeat("run", "--until-idle", "--program", program), folder)
    return taken.cpu, program / "w1.db"


def users(sizes: list[int], rounds: int, folder: Path) -> list[str]:
    empty = folder / "empty.jsonl"
    empty.touch()
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    bytes_: dict[int, str] = {}
    for _ in range(rounds):
        start, _store = durable(empty, folder)
        for size in sizes:
            seconds, store = durable(feed_of(folder, 2 * size, size), folder)
            costs[size].append((seconds - start) / (2 * size) * 1e6)
            bytes_[size] = on_disk(store)
    out = ["| users | microseconds an event | x the fewest | bytes a user |", "|---:|---:|---:|---|"]
    for size in sizes:
        over = median(here / least for here, least in zip(costs[size], costs[sizes[0]], strict=True))
        out.append(f"| {size:,} | {median(costs[size]):.1f} | {over:.2f} | {bytes_[size]} |")
    return out


def on_disk(store: Path) -> str:
    """Bytes a user of the states, of the events and effects, and of what the file keeps free."""
    with closing(sqlite3.connect(store)) as link:
        sizes = dict(link.execute("select name, sum(pgsize) from dbstat group by name"))
        (log,) = link.execute("select coalesce(sum(length(body)), 0) from state_log").fetchone()
        (people,) = link.execute("select count(*) from subject").fetchone()
        (free,) = link.execute(
            "select freelist_count * page_size from pragma_freelist_count, pragma_page_size"
        ).fetchone()
    if not people:
        return f"all still in the log ({log:,} bytes)"
    states = sum(sizes.pop(name, 0) for name in ("subject", "subject_wake"))
    logged = sizes.pop("state_log", 0)
    rest = sum(sizes.values())
    parts = {"states": states, "log": logged, "events and effects": rest, "free": free}
    return ", ".join(f"{name} {size / people:,.0f}" for name, size in parts.items())


def program_with(folder: Path, name: str, type_: str | None) -> Path:
    program = folder / name
    shutil.copytree(BENCH / "w1", program)
    settings = program / "drumbeat.yaml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("store:", "  quiet.type: {words: integer, venue: text}\nstore:"), encoding="utf-8")
    for number in range(ADDED if type_ else 0):
        test = f'event.venue == "v{number}"'
        book = MORE.format(number=number, type=type_, test=test)
        (program / "playbooks" / f"more{number:04}.yaml").write_text(book, encoding="utf-8")
    return program


def playbooks(rounds: int, folder: Path) -> list[str]:
    feed, small = feed_of(folder, 100_000, 10_000), folder / "small.jsonl"
    with feed.open("rb") as lines:
        small.write_bytes(next(lines))
    plans = {
        "20": program_with(folder, "few", None),
        "1,000, the added ones listen to another type": program_with(folder, "other", "quiet.type"),
        "1,000, the added ones listen to checkin": program_with(folder, "same", "checkin"),
    }
    costs: dict[str, list[float]] = {name: [] for name in plans}
    for _ in range(rounds):
        for name, program in plans.items():
            argv = [
                drumbeat("simulate", "--workers", "1", "--program", program, "--events", it) for it in (small, feed)
            ]
            start, whole = (measure(one, folder).cpu for one in argv)
            costs[name].append((whole - start) / 100_000 * 1e6)
    out = ["| playbooks | microseconds an event | x 20 |", "|---|---:|---:|"]
    for name, here in costs.items():
        over = median(one / least for one, least in zip(here, costs["20"], strict=True))
        out.append(f"| {name} | {median(here):.1f} | {over:.2f} |")
    return out


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", default="users,playbooks")
    p.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    args = p.parse_args()
    parts = {
        "playbooks": lambda it: playbooks(args.rounds, it),
        "users": lambda it: users(args.users, args.rounds, it),
    }
    for name in args.only.split(","):
        with TemporaryDirectory() as folder:
            try:
                print("\n".join(parts[name](Path(folder))), flush=True)
            except ChildFailed as error:
                print(error, file=sys.stderr)
                return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
