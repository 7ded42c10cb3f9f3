#!/usr/bin/env python3
"""Everything that shows what a failure costs, at full size, one after the other; a table at the end.

    python bench/reliability.py [--only crash,load] [--share 0.1] [--json FILE] [--list]

Takes some two hours on two cores and needs loopback only (but pip for the wheel); ``--share`` shrinks every size. The
suite runs the same at the size of CI. Exit 1 when anything does not hold.
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


def _tests(file: str, which: str = "") -> Callable[[float, Path], Sequence[str]]:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *file.split(), *(["-k", which] if which else [])]
    return lambda share, out: [*words, f"--junitxml={out}"]


def _sizes(**full: int) -> Callable[[float], Mapping[str, str]]:
    return lambda share: {f"DRUMBEAT_{name.upper()}": _size(size, share) for name, size in full.items()}


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
        _sizes(crash_points=5_000, kills=1_400),  # some come when the work is done: a thousand meet it alive
    ),
    "writers": Part(
        "two processes on one store where the lock does not hold",
        _tests("tests/flows/test_two_writers.py"),
        _of_tests,
        _sizes(writers=200),
    ),
    "lifecycle": Part(
        "told to leave, killed and replaced under load",
        _bench("lifecycle", terms=100, kills=50),
        _of_bench,
        aims={"handover_max_s": 2, "lost": 0, "doubled": 0, "in_doubt": 0},
    ),
    "lock": Part(
        "somebody else holds the lock of the store",
        _tests("tests/cli/test_daemon.py", "holds_the_lock"),
        _of_tests,
        _sizes(lock_seconds=30),
    ),
    "disk": Part(
        "a small disk that is full again and again; a log that cannot be written",
        _tests("tests/e2e/test_small_disk.py"),
        _of_tests,
        _sizes(disk_events=60_000),
        aims={"recovered_max_ms": 5_000},
    ),
    "torn": Part(
        "write-ahead logs that are cut, flipped, zeroed and overwritten; full disks",
        _tests("tests/flows/test_power.py"),
        _of_tests,
        _sizes(torn=1_000),
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
    "blast": Part(
        "a blast to everybody, killed while it goes out",
        _bench("blast", subjects=1_000_000, kills=100),
        _of_bench,
    ),
    "doubles": Part("every event many times, and events in any order", _bench("doubles", events=1_000_000), _of_bench),
    "records": Part(
        "damaged records at the door",
        _tests("tests/contracts/test_door.py"),
        _of_tests,
        _sizes(records=1_000_000),
    ),
    "kafka": Part(
        "readers of Kafka that are killed, and brokers that go",
        _tests("tests/contracts/test_kafka_feed.py", "decided_once"),
        _of_tests,
        _sizes(kafka_events=20_000, kafka_kills=20),
    ),
    "rabbitmq": Part(
        "readers of RabbitMQ that are killed, and connections that are cut",
        _tests("tests/contracts/test_rabbit_feed.py", "decided_once"),
        _of_tests,
        _sizes(rabbit_events=20_000, rabbit_kills=20),
    ),
    "nats": Part(
        "three nodes of NATS, whose leader is killed",
        _tests("tests/contracts/test_nats_cluster.py"),
        _of_tests,
        _sizes(nats_events=20_000, nats_kills=10),
    ),
    "crowd": Part(
        "people on their way while every kind of step is edited, and others moved by a map",
        _tests("tests/flows/test_editing_crowd.py tests/flows/test_editing_crowd_moved.py"),
        _of_tests,
        _sizes(crowd=1_500),
    ),
    "edits": Part(
        "mutated files, each compiled in turn",
        _tests("tests/flows/test_daemon_reload.py", "storm"),
        _of_tests,
        _sizes(edits=1_000),
    ),
    "reload_storm": Part(
        "mutated files swapped in under load",
        _bench("reload_storm", edits=1_000),
        _of_bench,
        aims={"lost": 0, "twice": 0},
    ),
    "outage": Part(
        "half an hour without a provider; limits; the horizon of keys",
        _tests("tests/flows/test_provider_sim.py", "outage or limit or horizon or burst"),
        _of_tests,
        _sizes(provider_messages=50_000),  # the outage has twice as many
    ),
    "expressions": Part(
        "random conditions on random payloads; patterns made to be slow",
        _tests("tests/language/test_expressions_fuzz.py", "evil or thousand"),
        _of_tests,
        _sizes(expressions=1_000_000, patterns=1_000),
    ),
    "codes": Part(
        "codes that cannot be guessed from others",
        _tests("tests/flows/test_semantics_incentives.py", "cannot_be_worked_out"),
        _of_tests,
        _sizes(codes=1_000_000),
    ),
    "strangers": Part(
        "strangers, slow clients and bodies without end",
        _tests("tests/e2e/test_strangers.py"),
        _of_tests,
        _sizes(strangers=1_000_000, capped=1_000_000, slow_clients=1_000, body_mib=10_240),
    ),
    "erase": Part(
        "people who were erased, looked for in the bytes",
        _bench("erase", users=10_000, erased=1_000),
        _of_bench,
        aims={"found_of_erased": 0},
    ),
    "supply": Part("the wheel built twice; the time of a wrong token", _bench("supply", tries=10_000), _of_bench),
    "soak": Part("memory under steady load", _bench("soak", minutes=15), _of_bench),
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
