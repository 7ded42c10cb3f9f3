#!/usr/bin/env python3
"""The yardstick of durable runs: a raw SQLite insert of the same events, with nothing else around it.

    python bench/raw_insert.py w1.jsonl [--db raw.db]

Stdlib `sqlite3`, `executemany`, a transaction for every 1,000 rows, WAL, synchronous NORMAL, one table without indexes.
The rows stand decoded in memory before the clock starts: only the inserts are timed.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import msgspec

BATCH = 1_000
Row = tuple[str, str, str, str, str]


class Line(msgspec.Struct, gc=False):
    """One event; the payload stays as the bytes it came in."""

    id: str
    type: str
    user: str
    time: str
    data: msgspec.Raw


def rows(feed: Path) -> list[Row]:
    decode = msgspec.json.Decoder(Line).decode
    with feed.open("rb") as lines:
        return [(e.id, e.type, e.user, e.time, bytes(e.data).decode()) for e in map(decode, lines)]


def insert(db: Path, batches: list[list[Row]]) -> float:
    """Seconds it takes to insert and commit all batches into a fresh file."""
    link = sqlite3.connect(db)
    try:
        link.execute("pragma journal_mode=wal")
        link.execute("pragma synchronous=normal")
        link.execute("create table events (id text, type text, user text, time text, data text)")
        link.commit()
        start = time.perf_counter(), time.process_time()
        for batch in batches:
            link.executemany("insert into events values (?, ?, ?, ?, ?)", batch)
            link.commit()
        return time.perf_counter() - start[0], time.process_time() - start[1]
    finally:
        link.close()


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("feed", type=Path)
    p.add_argument("--db", type=Path, help="file to insert into; must not exist (default: a temporary one)")
    args = p.parse_args()
    if args.db is not None and args.db.exists():
        p.error(f"{args.db} exists already")
    events = rows(args.feed)
    batches = [events[i : i + BATCH] for i in range(0, len(events), BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        seconds, cpu = insert(args.db or Path(folder) / "raw.db", batches)
    rate = len(events) / seconds
    print(json.dumps({"events": len(events), "seconds": seconds, "cpu": cpu, "events_per_second": rate}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
