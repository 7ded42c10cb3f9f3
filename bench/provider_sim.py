#!/usr/bin/env python3
"""Deliver to a provider that lies, and count: doubles, losses, and what nobody knows.

    python bench/provider_sim.py [--messages 100000] [--kills 0.02] [--json FILE]

The provider takes a message and drops the answer in 5 % of the requests, loses 1 %, hangs in 0.2 %, fails in 3 % and
is slow in 1 %; the process that sends dies again and again. The clock is virtual (a day passes in seconds), the store
is a real SQLite file, the lanes are those of the daemon. Every mode meets a provider that knows keys and one that does
not.
Exit 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from engine.core.model import SECOND
from engine.ports import Pace
from engine.stores.sqlite import SqliteStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "flows"))
from provider_world import START, Moods, Provider, Time, World, planned

MOODS = Moods(swallowed=500, lost=100, hanging=20, failing=300, slow=100)
PACE = Pace(concurrency=16, batch=20, attempts=30)


def once(mode: str, aware: bool, messages: int, kills: float) -> dict[str, Any]:
    """One world; what became of it, and which promises were broken."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore.open(Path(folder) / "s.db", durable=False)
        time = Time()
        world = World(store, time, Provider(time, MOODS, aware), PACE, mode)
        keys = planned(store, messages)
        begun = perf_counter()
        world.run(kills=kills)
        seconds = perf_counter() - begun
        statuses, unknown = world.statuses(), world.keys("unknown")
        store.close()
    outgoing, doubtful = world.provider.outgoing, world.provider.doubtful
    doubles = outgoing.total() - len(outgoing)
    lost = len(keys) - len(outgoing.keys() | unknown)
    exact = unknown == doubtful if mode == "at_most_once" else not unknown
    broken = lost > 0 or statuses["sent"] + len(unknown) != messages or not exact
    if mode == "at_most_once" or aware:
        broken = broken or doubles > 0
    else:
        broken = broken or doubles != world.provider.unconfirmed
    return {
        "mode": mode, "provider": "knows keys" if aware else "knows none", "messages": messages,
        "requests": world.provider.asked.total(), "doubtful": len(doubtful), "kills": world.kills,
        "doubles": doubles, "lost": lost, "unknown": len(unknown), "sent": statuses["sent"],
        "virtual_seconds": (time.at - START) // SECOND, "seconds": round(seconds, 1), "kept": not broken,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--kills", type=float, default=0.02, help="how likely the process dies at each turn")
    parser.add_argument("--json", type=Path, help="write the figures there")
    asked = parser.parse_args()
    found = []
    for mode in ("at_least_once", "at_most_once"):
        for aware in (True, False):
            row = once(mode, aware, asked.messages, asked.kills)
            found.append(row)
            words = ("requests", "doubtful", "kills", "doubles", "lost", "unknown", "sent", "seconds")
            print(f"{mode:<14} {row['provider']:<11}", *(f"{word} {row[word]:,}" for word in words), sep="  ")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["kept"] for row in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
