"""Reading a feed larger than the memory for sorting: peak memory and processor time, in order and shuffled.

    python bench/big_feed.py [EVENTS]        (2,000,000 by default)

Events of ``bench/gen_w1.py``, once as they are, in order, and once with their lines shuffled. A process of its own
reads each with ``Replay`` and counts; the bound of what may be held to sort is that of ``simulate``, 64 MiB.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
READ, SHUFFLE = "--read", "--shuffle"


def read(path: Path, hopeful: bool) -> None:
    """Read a feed to its end and say what it took."""
    from engine.feeds.replay import Replay
    from engine.spill import BOUND

    replay = Replay([path])
    count = sum(map(len, replay.hopeful() if hopeful else replay.chunks()))
    used = resource.getrusage(resource.RUSAGE_SELF)
    size, seconds = path.stat().st_size, used.ru_utime + used.ru_stime
    print(
        f"{path.stem:<10} {count:,} events, {size / 1e6:,.0f} MB ({size / BOUND:.1f} x the bound):"
        f" {seconds:.1f} CPU s, peak {used.ru_maxrss / 1024:.0f} MB"
    )


def shuffle(path: Path) -> None:
    """Write the lines of a file in disorder beside it; in a process of its own, since children inherit a peak."""
    lines = path.read_bytes().splitlines(keepends=True)
    random.Random(1).shuffle(lines)  # noqa: S311 - the same disorder every time
    path.with_stem("shuffled").write_bytes(b"".join(lines))


def main() -> None:
    """Make the feeds, then read each in a process of its own."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory() as folder:
        ordered, shuffled = Path(folder) / "ordered.jsonl", Path(folder) / "shuffled.jsonl"
        make = ["--events", str(events), "--users", str(events // 10), "--out", str(ordered)]
        subprocess.run([sys.executable, str(HERE / "gen_w1.py"), *make], check=True, capture_output=True)
        subprocess.run([sys.executable, str(Path(__file__)), SHUFFLE, str(ordered)], check=True)
        for path in (ordered, shuffled):
            subprocess.run([sys.executable, str(Path(__file__)), READ, str(path)], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == [READ]:
        read(Path(sys.argv[2]), hopeful=Path(sys.argv[2]).stem == "ordered")
    elif sys.argv[1:2] == [SHUFFLE]:
        shuffle(Path(sys.argv[2]))
    else:
        main()
