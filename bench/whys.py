"""What ``why`` cannot say, counted: the shipped library, asked about everybody of its scenarios and of a real feed.

    python bench/whys.py [--customers N] [--only scenarios|feed] [--show WORD] [--scenario PART]

Each scenario runs as ``drumbeat test`` runs it; then, about each of its people and groups, the nearest change of every
playbook of it is asked for, at the end and in the middle. The feed is that of ``examples/cdnow``: the whole library
over the first ``N`` customers (3), asked about the first. What is printed: how often a change was named, how often an
instant, how often why it is neither.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine import wiring
from engine.cli.common import replayed
from engine.core.plan import Plan
from engine.core.subjects import kind_of
from engine.insight.rehearsal import laid_down, rehearse
from engine.insight.why import answer
from engine.language.compile import compile_program
from engine.ports import Store
from engine.stores.memory import MemoryStore

ROOT = Path(__file__).resolve().parent.parent


class Census:
    """How often what was said."""

    def __init__(self, show: str | None) -> None:
        self.said: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.where: dict[str, list[str]] = defaultdict(list)
        self.show = show
        self.slowest: list[tuple[float, str]] = []

    def ask(
        self, plan: Plan, store: Store, subject: str, playbook: str, until: int | None, segments: Any, at: str
    ) -> None:
        """Ask once."""
        began = time.process_time()
        said = answer(
            plan, store, subject, playbook=playbook, until=until, fresh=lambda: MemoryStore(keep_log=False),
            segments=segments,
        )  # fmt: skip
        took = time.process_time() - began
        self.slowest = sorted([*self.slowest, (took, f"{at} {subject!r} {playbook}")], reverse=True)[:5]
        near = said["playbooks"][playbook]["nearest_change"]
        if near is None:
            self.said["silent"] += 1
            self.where["silent"].append(f"{at} {subject!r} {playbook}")
            return
        if near["options"]:
            self.said["a change, tried"] += 1
        elif near["from"] is not None:
            self.said["an instant" + (", tried" if near["from"]["proved"] else "")] += 1
        else:
            self.said["cannot say"] += 1
            reason = kind(near["of"], near["cannot_say"])
            self.reasons[reason] += 1
            self.where[reason].append(f"{at} {subject!r} {playbook} [{near['of']}]: {near['cannot_say']}")

    def print(self) -> None:
        """The table."""
        asked = sum(self.said.values())
        print(f"asked {asked}")
        for what, number in self.said.most_common():
            print(f"  {number:6,}  {what}")
        print("cannot say:")
        for reason, number in self.reasons.most_common():
            print(f"  {number:6,}  {reason}")
            if self.show is not None and self.show in reason:
                for line in self.where[reason][:40]:
                    print(f"            {line}")
        if self.show == "silent":
            print("\n".join(self.where["silent"][:60]))
        print("slowest:", *(f"\n  {took:.2f} s {what}" for took, what in self.slowest))


def kind(of: str | None, reason: str) -> str:
    """A reason without what is of one case alone."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "T", reason)
    text = re.sub(r"(when|trigger|exit|steps)\[[^ ]*\]?", r"\1[]", text)
    text = re.sub(r"( cannot be turned around): .*", r"\1: ...", text)
    return f"{'never looked' if of is None else of}: {text}"


def scenarios(census: Census, part: str) -> None:
    """Everybody of each scenario."""
    compiled = compile_program(ROOT, scenarios=True)
    assert compiled.audiences is not None
    for scenario in compiled.scenarios:
        if part not in scenario.file:
            continue
        with tempfile.TemporaryDirectory() as folder:
            store = wiring.scratch_store(Path(folder))
            rehearse(compiled, scenario, store, fresh=lambda: MemoryStore(keep_log=False), stored=None)
            assert compiled.rehearse is not None
            plan = laid_down(compiled.rehearse(scenario.playbooks), scenario)
            middle = (scenario.clock + store.clock()) // 2
            segments = compiled.audiences.segments
            for subject in sorted(it.id for it in store.subjects()):
                for book in plan.playbooks:
                    if book.subject != kind_of(subject):
                        continue
                    for until in (None, middle):
                        census.ask(plan, store, subject, book.id, until, segments, scenario.file)
            store.close()


def rows(most: int) -> Iterator[dict[str, Any]]:
    """The feed of the first customers."""
    found = []
    for name in ("cdnow_signups_derived.jsonl.gz", "cdnow_orders.jsonl.gz"):
        with gzip.open(ROOT / "examples/cdnow/feed" / name, "rt", encoding="utf-8") as lines:
            found += [json.loads(line) for line in lines]
    users = set(sorted({row["user"] for row in found})[:most])
    yield from sorted((row for row in found if row["user"] in users), key=lambda row: row["time"])


def feed(census: Census, customers: int) -> None:
    """The library over a real feed."""
    compiled = compile_program(ROOT)
    assert compiled.plan is not None
    assert compiled.audiences is not None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "feed.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows(customers)), encoding="utf-8")
        store = replayed(compiled, (str(file),), None)
    users = sorted(it.id for it in store.subjects() if kind_of(it.id) == "user")
    for user in users[:1]:
        for book in compiled.plan.playbooks:
            if book.subject == kind_of(user):
                census.ask(compiled.plan, store, user, book.id, None, compiled.audiences.segments, "feed")


def main() -> None:
    """Ask, count, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=3)
    parser.add_argument("--only", choices=("scenarios", "feed"))
    parser.add_argument("--show")
    parser.add_argument("--scenario", default="")
    asked = parser.parse_args()
    parts: dict[str, Callable[[Census], None]] = {
        "scenarios": lambda census: scenarios(census, asked.scenario),
        "feed": lambda census: feed(census, asked.customers),
    }
    for name, ask in parts.items():
        if asked.only in (None, name):
            census = Census(asked.show)
            began = time.process_time()
            ask(census)
            print(f"-- {name}: {time.process_time() - began:.0f} s of processor time")
            census.print()


if __name__ == "__main__":
    main()
