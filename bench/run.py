#!/usr/bin/env python3
"""Measure Drumbeat on workload W1 against its yardsticks, all in one go.

    python bench/run.py [--events 1000000] [--users 100000] [--rounds 5] [--json FILE] [--cpu] [--write-docs]

In every round each of these runs once, in turn, so that a machine that drifts drifts for all of them:

- raw insert: the same events into a bare SQLite table (only the inserts are timed)
- decode: bare JSON decode, with msgspec and with the standard library (only the loop is timed)
- by hand: the 20 rules as dictionaries, nothing durable (the whole process)
- simulate: `drumbeat simulate --workers 1` (the whole process)
- simulate, 2 workers: the same in two processes
- run: `drumbeat run --until-idle` on a fresh SQLite store, synchronous FULL (the whole process)

Rates go by the clock, or with --cpu by processor time, where others use the machine too (then two workers say nothing:
see workers.py). Ratios are taken within a round; shown is their median. Exit 1 when those that decide disagree.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from measure import BENCH, ROOT, ChildFailed, Taken, drumbeat, measure, script

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"

TWO = "simulate, 2 workers"
GOALS = (("run / raw insert", 0.18), ("simulate / by hand", 1.3), (f"{TWO} / simulate", 1.9))
PEAK_GOAL = 400.0  # MB

Effects = dict[str, int]
"""playbook -> number of effects"""


@dataclass(frozen=True)
class Sample:
    """One measurement in one round."""

    taken: Taken
    events: int
    seconds: float  #: what the rate is computed from: the timed part, or the whole process
    effects: Effects | None = None  #: None where nothing is decided

    @property
    def rate(self) -> float:
        return self.events / self.seconds


@dataclass(frozen=True)
class Place:
    """Where one measurement of one round may write."""

    feed: Path
    events: int
    folder: Path
    cpu: bool  #: rates go by processor time

    def seconds(self, taken: Taken) -> float:
        """What a whole process took."""
        return taken.cpu if self.cpu else taken.wall


Round = dict[str, Sample]
Runner = Callable[[Place], Sample]


# What is measured


def timed_inside(place: Place, argv: list[str]) -> Sample:
    """A script that times its own essential part."""
    taken = measure(argv, place.folder)
    return Sample(taken, place.events, float(taken.report["cpu" if place.cpu else "seconds"]))


def raw_insert(place: Place) -> Sample:
    return timed_inside(place, script("raw_insert.py", place.feed, "--db", place.folder / "raw.db"))


def decode_msgspec(place: Place) -> Sample:
    return timed_inside(place, script("decode.py", place.feed))


def decode_json(place: Place) -> Sample:
    return timed_inside(place, script("decode.py", place.feed, "--with", "json"))


def by_hand(place: Place) -> Sample:
    taken = measure(script("reference.py", place.feed), place.folder)
    return Sample(taken, place.events, place.seconds(taken), taken.report["effects"])


def simulate(place: Place, workers: int = 1) -> Sample:
    shared = ("--workers", str(workers))
    argv = drumbeat("simulate", "--program", BENCH / "w1", "--events", place.feed, "--format", "json", *shared)
    taken = measure(argv, place.folder)
    counts = {name: figures["effects"] for name, figures in taken.report["playbooks"].items()}
    return Sample(taken, place.events, place.seconds(taken), counts)


def durable(place: Place) -> Sample:
    program = fresh_program(place)
    taken = measure(drumbeat("run", "--until-idle", "--program", program), place.folder)
    return Sample(taken, place.events, place.seconds(taken), stored_effects(program))


RUNNERS: dict[str, Runner] = {
    "raw insert": raw_insert,
    "decode, msgspec": decode_msgspec,
    "decode, json": decode_json,
    "by hand": by_hand,
    "simulate": simulate,
    TWO: lambda place: simulate(place, 2),
    "run": durable,
}
DRUMBEAT = ("simulate", TWO, "run")


def fresh_program(place: Place) -> Path:
    """A copy of the program with the workload as its only feed and no store yet."""
    program = place.folder / "w1"
    shutil.copytree(BENCH / "w1", program)
    (program / "feed").mkdir()
    (program / "feed" / "w1.jsonl").symlink_to(place.feed)
    return program


def stored_effects(program: Path) -> Effects:
    """What stands in the store, not what the program says of itself; and every message must have left the house."""
    with closing(sqlite3.connect(program / "w1.db")) as link:
        counts = dict(link.execute("select playbook, n from figure where name = 'effects'"))
        (stored,) = link.execute("select count(*) from effect").fetchone()
        (planned,) = link.execute("select count(*) from effect where delivery is not null").fetchone()
    if stored != sum(counts.values()):
        raise ChildFailed(f"run: {stored} effects stored, {sum(counts.values())} counted")
    with (program / "out" / "messages.jsonl").open("rb") as lines:
        sent = sum(1 for _ in lines)
    if sent != planned:
        raise ChildFailed(f"run: {planned} messages planned, {sent} in the channel's file")
    return counts


# Rounds


def one_round(feed: Path, args: argparse.Namespace, names: Iterable[str], work: Path) -> Round:
    samples = {}
    for name in names:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            samples[name] = RUNNERS[name](Place(feed, args.events, Path(folder), args.cpu))
        os.sync()  # what one wrote must not be flushed in the next one's time
    return samples


def disagreements(rounds: list[Round]) -> list[str]:
    """Playbooks whose number of effects is not the same everywhere."""
    found = set()
    for samples in rounds:
        decided = {name: sample.effects for name, sample in samples.items() if sample.effects is not None}
        for playbook in sorted(set().union(*decided.values())):
            seen = {name: effects.get(playbook, 0) for name, effects in decided.items()}
            if len(set(seen.values())) > 1:
                found.add(f"{playbook}: " + ", ".join(f"{name} {n}" for name, n in seen.items()))
    return sorted(found)


# Figures


@dataclass(frozen=True)
class Figure:
    """Medians of one measurement over all rounds."""

    name: str
    rate: float
    slowest: float
    fastest: float
    wall: float
    cpu: float
    peak: float


def figure(name: str, samples: list[Sample]) -> Figure:
    rates = [sample.rate for sample in samples]
    return Figure(
        name,
        rate=median(rates),
        slowest=min(rates),
        fastest=max(rates),
        wall=median(sample.taken.wall for sample in samples),
        cpu=median(sample.taken.cpu for sample in samples),
        peak=median(sample.taken.peak for sample in samples),
    )


def ratio(rounds: list[Round], above: str, below: str) -> float:
    """Median over the rounds of the ratio within a round."""
    return median(samples[above].rate / samples[below].rate for samples in rounds)


def table(rounds: list[Round]) -> list[str]:
    """The measurements as a Markdown table, which also reads well as text."""
    figures = [figure(name, [samples[name] for samples in rounds]) for name in rounds[0]]
    lines = [
        f"| {'':<19} | {'events/s':>9} | {'slowest-fastest':>19} | {'wall s':>6} | {'CPU s':>6} | {'peak MB':>7} "
        f"| {'x raw insert':>12} | {'x by hand':>9} |",
        f"|{'-' * 21}|{'-' * 10}:|{'-' * 20}:|{'-' * 7}:|{'-' * 7}:|{'-' * 8}:|{'-' * 13}:|{'-' * 10}:|",
    ]
    for it in figures:
        spread = f"{it.slowest:,.0f}-{it.fastest:,.0f}"
        lines.append(
            f"| {it.name:<19} | {it.rate:>9,.0f} | {spread:>19} | {it.wall:>6.2f} | {it.cpu:>6.2f} | {it.peak:>7.0f} "
            f"| {ratio(rounds, it.name, 'raw insert'):>12.3f} | {ratio(rounds, it.name, 'by hand'):>9.3f} |"
        )
    return lines


def goals(rounds: list[Round]) -> list[str]:
    """The goals of the project beside what was reached."""
    lines = []
    for title, wanted in GOALS:
        above, _, below = title.partition(" / ")
        if above not in rounds[0]:
            continue
        got = ratio(rounds, above, below)
        lines.append(f"- {title}: {got:.3f} (goal: at least {wanted}, {'met' if got >= wanted else 'missed'})")
    for name in (name for name in DRUMBEAT if name in rounds[0]):
        peak = max(samples[name].taken.peak for samples in rounds)
        met = "met" if peak < PEAK_GOAL else "missed"
        lines.append(f"- peak memory of {name}: {peak:.0f} MB (goal: below {PEAK_GOAL:.0f} MB, {met})")
    return lines


def setting(args: argparse.Namespace) -> str:
    workload = f"{args.events:,} events of {args.users:,} users, 20 rules; medians of {args.rounds} rounds"
    by = "processor time" if args.cpu else "the clock"
    machine = f"by {by}; {os.cpu_count()} cores, {platform.system()}"
    return f"{workload}; {machine}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}."


def text(args: argparse.Namespace, rounds: list[Round]) -> str:
    lines = [setting(args), "", *table(rounds)]
    if "run" in rounds[0]:
        lines += ["", *goals(rounds)]
    return "\n".join(lines)


def as_json(args: argparse.Namespace, rounds: list[Round], wrong: list[str]) -> dict[str, Any]:
    figures = [figure(name, [samples[name] for samples in rounds]) for name in rounds[0]]
    return {
        "events": args.events,
        "users": args.users,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "figures": [asdict(it) for it in figures],
        "ratios": {
            f"{name} / {below}": ratio(rounds, name, below) for name in rounds[0] for below in ("raw insert", "by hand")
        },
        "rounds": [{name: asdict(sample) for name, sample in samples.items()} for samples in rounds],
        "disagreements": wrong,
    }


def write_docs(body: str) -> None:
    """Put the figures between the markers of the page, and leave the rest of it alone."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}\n{body}\n{END}{tail}", encoding="utf-8")


def has_markers() -> bool:
    page = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    return 0 <= page.find(BEGIN) < page.find(END)


# The command


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--events", type=int, default=1_000_000)
    p.add_argument("--users", type=int, default=100_000)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    p.add_argument("--cpu", action="store_true", help="rates by processor time")
    p.add_argument("--write-docs", action="store_true", help="put the figures into docs/performance.md")
    p.add_argument("--yardsticks", action="store_true", help="leave simulate and run out")
    args = p.parse_args()
    if args.rounds < 1 or not 1 <= args.users <= args.events:
        p.error("at least one round, and from one user up to as many as events")
    if args.write_docs and (args.yardsticks or not has_markers()):
        p.error(f"--write-docs needs all measurements, and {BEGIN} and {END} in docs/performance.md")
    return args


def run_rounds(args: argparse.Namespace, work: Path) -> list[Round]:
    feed = work / "w1.jsonl"
    measure(script("gen_w1.py", "--events", str(args.events), "--users", str(args.users), "--out", feed), work)
    left_out = DRUMBEAT if args.yardsticks else (TWO,) if args.cpu else ()
    names = [name for name in RUNNERS if name not in left_out]
    rounds = []
    for number in range(1, args.rounds + 1):
        print(f"round {number} of {args.rounds}", file=sys.stderr, flush=True)
        rounds.append(one_round(feed, args, names, work))
    return rounds


def report(args: argparse.Namespace, rounds: list[Round]) -> int:
    wrong = disagreements(rounds)
    body = text(args, rounds)
    print(body)
    if args.json:
        args.json.write_text(json.dumps(as_json(args, rounds, wrong), indent=1) + "\n", encoding="utf-8")
    if wrong:
        print("\nthe results disagree:", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    if args.write_docs:
        write_docs(body)
    return 0


def main() -> int:
    args = parse_args()
    try:
        with tempfile.TemporaryDirectory() as work:
            rounds = run_rounds(args, Path(work))
    except ChildFailed as error:
        print(error, file=sys.stderr)
        return 3
    return report(args, rounds)


if __name__ == "__main__":
    sys.exit(main())
