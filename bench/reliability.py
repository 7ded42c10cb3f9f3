#!/usr/bin/env python3
"""Everything that shows what a failure costs, at full size, one after the other; a table at the end.

    python bench/reliability.py [--only crash,load] [--share 0.1] [--json FILE] [--list]

Takes the better part of an hour on two cores and needs loopback only; ``--share`` shrinks every size. The suite runs
the same at the size of CI. Exit 1 when anything does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One thing that is shown."""

    about: str
    command: Callable[[float, Path], Sequence[str]]  #: from the share of the full size, and where figures go
    told: Callable[[Path], Figures]  #: figures, from where they went
    env: Callable[[float], Mapping[str, str]] = field(default=lambda share: {})
    aims: Mapping[str, float] = field(default_factory=dict)  #: figure -> the most it may be


def _tests(file: str) -> Callable[[float, Path], Sequence[str]]:
    return lambda share, out: ["-m", "pytest", "-q", "-p", "no:cacheprovider", file, f"--junitxml={out}"]


def _bench(name: str, **sizes: int) -> Callable[[float, Path], Sequence[str]]:
    def command(share: float, out: Path) -> Sequence[str]:
        asked = [word for size, full in sizes.items() for word in (f"--{size}", _size(full, share))]
        return [f"bench/{name}.py", *asked, "--json", str(out)]

    return command


def _of_tests(out: Path) -> Figures:
    """Tests, and the sizes they state."""
    suite = next(ElementTree.parse(out).iter("testsuite"))  # noqa: S314  # pytest wrote it a moment ago
    sizes: Counter[str] = Counter()
    for found in suite.iter("property"):
        if (found.get("value") or "").isdigit():
            sizes[str(found.get("name"))] += int(str(found.get("value")))
    return {"tests": int(suite.get("tests", 0)), **sizes}


def _of_bench(out: Path) -> Figures:
    found: Figures = json.loads(out.read_text(encoding="utf-8"))
    return found


def _of_load(out: Path) -> Figures:
    found, channels = _of_bench(out), ("letter", "notice", "push", "sms")
    words = ("messages", "sent", "dead", "unknown", "doubled")
    sums = {word: sum(found[name][word] for name in channels) for word in words}
    kept = ("events", "kills", "kills_while_it_began", "fsck_green", "requests", "seconds")
    doubled = {"doubled_at_most_once": found["notice"]["doubled"] + found["sms"]["doubled"]}
    return {word: found[word] for word in kept} | sums | doubled


def _of_providers(out: Path) -> Figures:
    words = ("messages", "requests", "doubtful", "kills", "doubles", "lost", "unknown")
    rows = json.loads(out.read_text(encoding="utf-8"))
    return {f"{row['mode']}, {row['provider']}": ", ".join(f"{word} {row[word]:,}" for word in words) for row in rows}


def _size(full: int, share: float) -> str:
    return str(max(1, round(full * share)))


PARTS = {
    "crash": Part(
        "killed at every durable step, and from outside at instants nobody chose",
        _tests("tests/flows/test_crash.py"),
        _of_tests,
        lambda share: {"DRUMBEAT_CRASH_POINTS": _size(5_000, share), "DRUMBEAT_KILLS": _size(1_000, share)},
    ),
    "torn": Part(
        "write-ahead logs that are cut, flipped, zeroed and overwritten; full disks",
        _tests("tests/flows/test_power.py"),
        _of_tests,
        lambda share: {"DRUMBEAT_TORN": _size(1_000, share)},
    ),
    "load": Part(
        "clients over HTTP, receivers that lie, kills at random",
        _bench("under_load", events=50_000, kills=50),
        _of_load,
    ),
    "ledger": Part(
        "coupons, seats, rewards and points reserved from everywhere at once, kills at random",
        _bench("ledger", operations=2_000_000, kills=100),
        _of_bench,
    ),
    "wakeups": Part(
        "wake-ups due at once, and fresh events meanwhile",
        _bench("wakeups", subjects=1_000_000),
        _of_bench,
        aims={"seconds": 60, "fresh_p99_ms": 1_000, "peak_rss_mb": 200},
    ),
    "providers": Part(
        "a provider that lies, in all four worlds; processes that die",
        _bench("provider_sim", messages=100_000),
        _of_providers,
    ),
}


def carry_out(name: str, part: Part, share: float) -> Figures:
    """Run one part; its figures, with how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures"
        env = {**os.environ, "PYTHONPATH": str(ROOT), **part.env(share)}
        begun = time.perf_counter()
        code = subprocess.run([sys.executable, *part.command(share, out)], cwd=ROOT, env=env, check=False).returncode
        figures = {"seconds": round(time.perf_counter() - begun, 1), **(part.told(out) if out.exists() else {})}
    missed = [word for word, most in part.aims.items() if figures.get(word, most) > most]
    return {"part": name, "holds": code == 0 and not missed, "missed": missed, **figures}


def table(rows: Sequence[Figures]) -> str:
    """What was found, for people."""
    lines = []
    for row in rows:
        name = row["part"]
        verdict = "holds" if row["holds"] else f"DOES NOT HOLD {', '.join(row['missed'])}".rstrip()
        lines.append(f"{name:<10} {verdict}: {PARTS[name].about}")
        for word, value in row.items():
            if word not in ("part", "holds", "missed"):
                lines.append(f"{'':<12}{word.replace('_', ' ')}: {f'{value:,}' if isinstance(value, int) else value}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--share", type=float, default=1.0, help="of the full size")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(f"{name:<10} {part.about}" for name, part in PARTS.items()))
        return 0
    names = asked.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    rows = [carry_out(name, PARTS[name], asked.share) for name in names]
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, share {asked.share:g} of the full size\n")
    print(table(rows))
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
