#!/usr/bin/env python3
"""The wheel, built twice, byte by byte the same? And does comparing a token take as long whatever it shares with ours?

    python bench/supply.py [--tries 10000] [--json FILE] [--keep FOLDER] [--wheel-alone]

pip fetches what builds wheels, and nothing else. Exit 1 when the wheels differ, or when the time to refuse a token of
which all but the last letter is right is told apart from that of a wholly wrong one (Welch's t above 4.5).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from engine.api.keys import Keyring  # noqa: E402
from engine.site import Secret  # noqa: E402

TOKEN = "k7Qz" * 8


def wheel(folder: Path, keep: Path | None = None) -> tuple[str, str]:
    """Name and digest of a wheel built from a fresh copy of what is committed."""
    source, out = folder / "source", folder / "out"
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    source.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    when = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    env = {**os.environ, "SOURCE_DATE_EPOCH": when.stdout.strip()}
    words = ["-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), str(source)]
    subprocess.run([sys.executable, *words], env=env, check=True)
    (built,) = out.iterdir()
    if keep is not None:
        shutil.copy(built, keep / built.name)
    return built.name, sha256(built.read_bytes()).hexdigest()


def told_apart(tries: int) -> dict[str, float]:
    """Nanoseconds to refuse a nearly right and a wholly wrong token, and how sure the difference is (Welch's t)."""
    ring = Keyring(tokens=[Secret(TOKEN)])
    near, far = (f"Bearer {it}".encode() for it in (TOKEN[:-1] + "x", "x" * len(TOKEN)))
    rng, times = random.Random(1), {near: [], far: []}  # noqa: S311 - an order, no secret
    for shown in rng.sample([near, far] * tries, 2 * tries):
        begun = time.perf_counter_ns()
        assert ring.bearer([(b"authorization", shown)]) is None
        times[shown].append(time.perf_counter_ns() - begun)
    kept = [sorted(it)[: int(tries * 0.9)] for it in times.values()]  # without the machine's own pauses
    means = [statistics.fmean(it) for it in kept]
    spread = sum(statistics.variance(it) / len(it) for it in kept) ** 0.5
    sure = abs(means[0] - means[1]) / spread
    return {"near_ns": round(means[0], 1), "far_ns": round(means[1], 1), "t": round(sure, 2)}


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--tries", type=int, default=10_000)
    p.add_argument("--wheel-alone", action="store_true", help="time no token: that wants a quiet machine")
    p.add_argument("--keep", type=Path, help="put the wheel there")
    p.add_argument("--json", type=Path, help="write the figures there")
    given = p.parse_args()
    root = Path(tempfile.mkdtemp(prefix="supply-"))
    try:
        one, other = wheel(root / "one"), wheel(root / "other", given.keep)
    finally:
        shutil.rmtree(root)
    found = {"wheel": one[0], "digest": one[1][:16], "same": one == other}
    if not given.wheel_alone:
        found |= {"tries": given.tries, **told_apart(given.tries)}
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return 0 if found["same"] and found.get("t", 0) < 4.5 else 1


if __name__ == "__main__":
    sys.exit(main())
