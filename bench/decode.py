#!/usr/bin/env python3
"""The floor under everything that reads the workload: bare JSON decode, line by line.

python bench/decode.py w1.jsonl [--with msgspec|json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

DECODERS: dict[str, Callable[[bytes], Any]] = {"msgspec": msgspec.json.Decoder().decode, "json": json.loads}


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("feed", type=Path)
    p.add_argument("--with", dest="decoder", choices=DECODERS, default="msgspec")
    args = p.parse_args()
    decode, events = DECODERS[args.decoder], 0
    start, used = time.perf_counter(), time.process_time()
    with args.feed.open("rb") as lines:
        for line in lines:
            decode(line)
            events += 1
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    print(json.dumps({"events": events, "seconds": seconds, "cpu": cpu, "events_per_second": events / seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
