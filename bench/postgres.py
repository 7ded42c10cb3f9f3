#!/usr/bin/env python3
"""What a store in PostgreSQL costs beside one in a file, on workload W1, in processor time.

    python bench/postgres.py [--events 200000] [--users 20000] [--rounds 3] [--json FILE]

In every round `drumbeat run --until-idle` runs over a new SQLite file and over a new schema of a server of its own
(fsync and synchronous_commit on, 256 MB of buffers, both in the same folder), in turn. Counted is the processor time of
the process, and of the server with all its sessions; starting the process is in it. Exit 1 when their effects differ.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from measure import BENCH, ROOT, drumbeat, measure, script

sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "contracts")]


def server_seconds(pid: int) -> float:
    """Processor seconds of the server: its own, those of sessions that ended, and of those that run."""
    here = Path("/proc")
    fields = (here / str(pid) / "stat").read_text().rpartition(")")[2].split()
    ticks = sum(map(int, fields[11:15]))
    for child in (here / str(pid) / "task" / str(pid) / "children").read_text().split():
        try:
            fields = (here / child / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def effects_of(url: str, root: Path) -> list[str]:
    """The keys of all effects of a store."""
    from engine import wiring
    from engine.language.compile import compile_program

    store = wiring.open_store(compile_program(root).settings, root, read_only=True, override=url)
    try:
        return [effect.key for effect, _ in store.effects()]
    finally:
        store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    wishes = parser.parse_args()
    from postgres_server import PostgresServer

    rounds, same = [], True
    with tempfile.TemporaryDirectory(prefix="drumbeat-pg-bench-") as name:
        folder = Path(name)
        feed = folder / "w1.jsonl"
        size = ("--events", str(wishes.events), "--users", str(wishes.users))
        measure(script("gen_w1.py", *size, "--out", feed), folder)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.gettempdir()
        server = PostgresServer(shared_buffers="256MB", max_wal_size="2GB")
        try:
            server.start()
            for number in range(wishes.rounds):
                taken, keys = {}, []
                for kind, url in (("sqlite", "sqlite:///w1.db"), ("postgres", server.schema())):
                    root = folder / f"{kind}{number}"
                    shutil.copytree(BENCH / "w1", root)
                    (root / "feed").mkdir()
                    (root / "feed" / "w1.jsonl").symlink_to(feed)
                    before = server_seconds(server.pid)
                    cost = measure(drumbeat("run", "--until-idle", "--program", root, "--store", url), root)
                    taken[kind], taken[f"{kind} server"] = cost.cpu, server_seconds(server.pid) - before
                    keys.append(effects_of(url, root))
                    shutil.rmtree(root)
                same = same and sorted(keys[0]) == sorted(keys[1])
                rounds.append(taken)
                print({name: round(seconds, 2) for name, seconds in taken.items()}, flush=True)
        finally:
            server.remove()
    file = median(it["sqlite"] for it in rounds)
    ours = median(it["postgres"] for it in rounds)
    whole = median(it["postgres"] + it["postgres server"] for it in rounds)
    share = median((it["postgres"] + it["postgres server"]) / it["sqlite"] for it in rounds)
    figures = {
        "sqlite, events a processor second": round(wishes.events / file),
        "postgres, events a second of the process": round(wishes.events / ours),
        "postgres, events a second of process and server": round(wishes.events / whole),
        "postgres / sqlite, processor time": round(share, 2),
    }
    for what, figure in figures.items():
        print(f"{figure:>12,} {what}")
    if wishes.json:
        wishes.json.write_text(json.dumps({"figures": figures, "rounds": rounds, "same": same}), encoding="utf-8")
    if not same:
        print("the effects differ", file=sys.stderr)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
