"""``simulate --workers N`` against one process: processor time of each process, wall clock and memory.

    python bench/workers.py [EVENTS [WORKERS ...]]        (1,000,000, and 1 and 2, by default)

Workload W1 (``bench/gen_w1.py``, ``bench/w1``), effects written to a file. On a machine that others use, too, the wall
clock says little: what counts is the processor time of the busiest process, for all run at once where there are cores.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def inside(feed: Path, out: Path, number: int) -> dict[str, Any]:
    """One simulation, from the first import on, in this process."""
    from engine.cli.common import compiled, quick_garbage
    from engine.cli.workers import Feed, together
    from engine.feeds.replay import Replay
    from engine.runtime.simulate import simulate
    from engine.stores.memory import MemoryStore

    found = compiled(HERE / "w1")
    parts: list[tuple[float, float]] = []
    with quick_garbage(), out.open("wb", buffering=1 << 20) as rows:
        if number == 1:
            replay = Replay([feed], types=found.known_types)
            store = MemoryStore(keep_log=False)
            simulate(found.plan, replay, store, effects=rows, known_types=found.known_types)
        else:
            done = together(found, Feed([feed]), number, effects=rows, decisions=None, progress=None)
            parts = [(it.cpu_seconds, it.peak_mb) for it in done.parts]
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"own": (used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), "parts": parts}


def main() -> None:
    """Measure and print."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    numbers = [int(word) for word in sys.argv[2:]] or [1, 2]
    with tempfile.TemporaryDirectory() as folder:
        feed, out = Path(folder) / "w1.jsonl", Path(folder) / "out.jsonl"
        make = ["--events", str(events), "--users", str(events // 10), "--out", str(feed)]
        subprocess.run([sys.executable, str(HERE / "gen_w1.py"), *make], check=True, capture_output=True)
        wanted, alone = None, 0.0
        for number in numbers:
            begun = time.perf_counter()
            words = [sys.executable, __file__, "--inside", str(feed), str(out), str(number)]
            said = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
            wall = time.perf_counter() - begun
            rows = hashlib.sha256(out.read_bytes()).hexdigest()
            wanted = wanted or rows
            assert rows == wanted, "the rows differ"
            busiest = max([said["own"][0], *(cpu for cpu, _ in said["parts"])])
            alone = alone or busiest
            print(f"{number} worker(s)  wall {wall:.1f} s, load {os.getloadavg()[0]:.1f}")
            for name, (cpu, peak) in zip(["own", *["part"] * number], [said["own"], *said["parts"]], strict=False):
                print(f"  {name:<5} {cpu:6.2f} CPU s  {peak:6.0f} MB")
            print(f"  busiest: {busiest / alone:.2f} of the first run's")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(inside(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
