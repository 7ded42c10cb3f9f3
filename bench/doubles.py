#!/usr/bin/env python3
"""Every event many times, and events in any order: are the effects the same?

    python bench/doubles.py [--events 1000000] [--times 10] [--json FILE]

Workload W1 (see gen_w1.py) is simulated as it is, with every line several times (repeats shuffled in blocks), and with
all its lines shuffled. Stated are the digests of all effects. Exit 1 when they differ.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = 20_000  # lines shuffled together; repeated ones come up to a block later


def simulated(program: Path, feed: Path, out: Path) -> tuple[str, dict[str, int]]:
    """Digest of the effects, and the counts of events."""
    words = ["simulate", "--program", str(program), "--events", str(feed), "--effects", str(out), "--format", "json"]
    done = subprocess.run([sys.executable, "-m", "engine", *words], stdout=subprocess.PIPE, check=True, cwd=ROOT)
    found = json.loads(done.stdout)
    with out.open("rb") as file:
        digest = sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:16], {name: found["events"][name] for name in ("read", "accepted", "duplicate")}


def repeated(feed: Path, target: Path, times: int) -> None:
    """Every line several times: block by block, each first as it is and then shuffled."""
    rng = random.Random(1)  # noqa: S311 - an order, no secret
    with feed.open("rb") as lines, target.open("wb") as out:
        while block := [line for _, line in zip(range(BLOCK), lines, strict=False)]:
            out.writelines(block)
            for _ in range(times - 1):
                rng.shuffle(block)
                out.writelines(block)


def work(root: Path, events: int, times: int) -> dict[str, object]:
    program, feed, many = root / "w1", root / "one.jsonl", root / "many.jsonl"
    shutil.copytree(ROOT / "bench" / "w1", program)
    words = [sys.executable, str(ROOT / "bench" / "gen_w1.py"), "--events", str(events)]
    subprocess.run([*words, "--users", str(events // 10), "--out", str(feed)], check=True, capture_output=True)
    begun = time.monotonic()
    once, counts = simulated(program, feed, root / "a")
    repeated(feed, many, times)
    often, more = simulated(program, many, root / "b")
    shuffled = feed.read_bytes().splitlines(keepends=True)
    random.Random(2).shuffle(shuffled)  # noqa: S311 - an order, no secret
    (root / "mixed.jsonl").write_bytes(b"".join(shuffled))
    mixed, _ = simulated(program, root / "mixed.jsonl", root / "c")
    return {
        "events": events, "lines": more["read"], "accepted": more["accepted"], "duplicate": more["duplicate"],
        "digest": once, "digest_many_times": often, "digest_any_order": mixed,
        "same": once == often == mixed and counts["accepted"] == more["accepted"],
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--events", type=int, default=1_000_000)
    p.add_argument("--times", type=int, default=10)
    p.add_argument("--json", type=Path, help="write the figures there")
    given = p.parse_args()
    root = Path(tempfile.mkdtemp(prefix="doubles-"))
    try:
        found = work(root, given.events, given.times)
    finally:
        shutil.rmtree(root)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return 0 if found["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
