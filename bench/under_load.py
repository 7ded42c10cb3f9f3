#!/usr/bin/env python3
"""Post events to the daemon from several clients while it sends to receivers that lie, and kill it at random.

    python bench/under_load.py [--events 50000] [--kills 50] [--clients 6] [--seed 1] [--json FILE] [--keep FOLDER]

A mail server and a provider over HTTP fail, hang, answer 429 and take messages without an answer. Everything is checked
at the end, and the store after every kill: what was answered 202 is decided exactly once, every message is sent,
unknown or dead with a reason, and only ``at_least_once`` sends twice, under one key. Exit 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from load_kit import Size, account, load


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--keep", type=Path, help="folder to work in, kept afterwards")
    asked = parser.parse_args()
    root = asked.keep or Path(tempfile.mkdtemp(prefix="under-load-"))
    root.mkdir(parents=True, exist_ok=True)
    size = Size(asked.events, asked.kills, asked.clients, seed=asked.seed, seconds=600)
    begun = time.perf_counter()
    try:
        with load(root, size) as found:
            found.run()
            figures = account(found)
    except AssertionError as error:
        print(f"broken: {error}", file=sys.stderr)
        return 1
    finally:
        if asked.keep is None:
            shutil.rmtree(root)
    figures["seconds"] = round(time.perf_counter() - begun, 1)
    print(json.dumps(figures, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
