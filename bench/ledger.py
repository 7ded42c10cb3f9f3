#!/usr/bin/env python3
"""Reserve, confirm, give back, earn and refund from threads of several processes at once, and kill the daemon.

    python bench/ledger.py [--operations 2000000] [--kills 100] [--processes 4] [--threads 4] [--json FILE]

Every operation is an event over HTTP, sent again under its id until it is answered 202. At the end the ledger is read
from its beginning: no coupon, seat or reward was ever given that was not there, no balance was ever negative, and each
operation is booked once. Exit 1 when that does not hold.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from ledger_kit import Size, World


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--operations", type=int, default=2_000_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--keep", type=Path, help="folder to work in, kept afterwards")
    asked = parser.parse_args()
    root = asked.keep or Path(tempfile.mkdtemp(prefix="ledger-"))
    root.mkdir(parents=True, exist_ok=True)
    size = Size(
        asked.operations, asked.kills, asked.processes, asked.threads, seed=asked.seed, seconds=900,
        stock=max(300, asked.operations // 20),
    )  # fmt: skip
    try:
        figures = World(root, size).run()
    except AssertionError as error:
        print(f"broken: {error}", file=sys.stderr)
        return 1
    finally:
        if asked.keep is None:
            shutil.rmtree(root)
    print(json.dumps(figures, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
