#!/usr/bin/env python3
"""Whole engines on workload W1: Drumbeat with all 20 rules, the others with the eight simple conditions alone.

    python bench/engines.py [--events 200000] [--rounds 3]

needs ``make bench-others``, and Java 17 for Drools. Every way reads the same file, decodes its lines and says how often
each rule fired; the others do it as their manuals show, in memory, with one session. Time is the processor time of all
threads, from the import of the engine to the last line; of Drumbeat and of the rules by hand it is that of the whole
process. Rules that both have must have fired equally often.

- durable_rules: ``post`` of each event; one that no rule takes is an exception of its own, and one that a rule takes is
  gone for the others, so r02 and r07 fire less often there
- Drools, as ansible-rulebook uses it: its parser, its generator and its bridge to the JVM, without its actions
- Bytewax: a dataflow with one operator, written by hand with the lambdas of ``conditions.py``
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from conditions import CONDITIONS, LAMBDAS, OTHERS
from measure import BENCH, ChildFailed, drumbeat, measure, script

Json = dict[str, Any]


def lines(feed: Path) -> Iterator[Json]:
    """Events, with their fields beside their type: what an engine without records takes."""
    with feed.open("rb") as file:
        for line in file:
            event = json.loads(line)
            yield {"id": event["id"], "type": event["type"], "user": event["user"], **event["data"]}


def durable_rules(feed: Path) -> Counter[str]:
    from durable.engine import MessageNotHandledException
    from durable.lang import m, post, ruleset, when_all

    found: Counter[str] = Counter()
    compare: dict[str, Callable[[Any, Any], Any]] = {
        ">=": lambda it, value: it >= value, "<": lambda it, value: it < value, "==": lambda it, value: it == value,
    }  # fmt: skip

    def asked(type_: str, atoms: list[Any]) -> Any:
        made = m.type == type_
        for field, op, value in atoms:
            one = getattr(m, field)
            if op == "in":
                either = one == value[0]
                for it in value[1:]:
                    either = either | (one == it)
                made = made & either
            else:
                made = made & compare[op](one, value)
        return made

    def counting(name: str) -> Callable[[Any], None]:
        def fired(_: Any) -> None:
            found[name] += 1

        return fired

    with ruleset("w1"):
        for name, (type_, atoms) in CONDITIONS.items():
            when_all(asked(type_, atoms))(counting(name))
    for event in lines(feed):
        with suppress(MessageNotHandledException):
            post("w1", event)
    return found


def drools(feed: Path) -> Counter[str]:
    java = shutil.which("java")
    if java is not None:  # the bridge asks for the home of a JVM, not for its command
        os.environ.setdefault("JAVA_HOME", str(Path(java).resolve().parents[1]))
    from ansible_rulebook.json_generator import generate_dict_rulesets
    from ansible_rulebook.rules_parser import parse_rule_sets
    from drools.rule import Rule
    from drools.ruleset import Ruleset, post, shutdown

    found: Counter[str] = Counter()
    rules = [
        {"name": name, "condition": _rulebook(type_, atoms), "action": {"none": {}}}
        for name, (type_, atoms) in CONDITIONS.items()
    ]
    book = [{"name": "w1", "hosts": "all", "sources": [{"range": {"limit": 1}}], "rules": rules}]
    (parsed,) = generate_dict_rulesets(parse_rule_sets(book), {})
    # every rule that matches fires; by default only the first one would
    ruleset = Ruleset(name="w1", serialized_ruleset=json.dumps({**parsed["RuleSet"], "match_multiple_rules": True}))
    for name in CONDITIONS:
        ruleset.add_rule(Rule(name, lambda _, name=name: found.update([name])))
    for event in lines(feed):
        post("w1", event)
    shutdown()
    return found


def _rulebook(type_: str, atoms: list[Any]) -> str:
    parts = [f'event.type == "{type_}"']
    for field, op, value in atoms:
        # its numbers are of one kind: a fraction is never greater than a whole number
        word = json.dumps(float(value)) if field == "amount" else json.dumps(value)
        parts.append(f"event.{field} {op} {word}")
    return " and ".join(parts)


def bytewax(feed: Path) -> Counter[str]:
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    by_type: dict[str, list[tuple[str, Callable[[Json], bool]]]] = {}
    for name, (type_, _) in CONDITIONS.items():
        by_type.setdefault(type_, []).append((name, LAMBDAS[name]))
    hits: list[str] = []
    flow = Dataflow("w1")
    stream = op.input("events", flow, TestingSource(lines(feed), batch_size=1_000))
    stream = op.flat_map("rules", stream, lambda it: [name for name, test in by_type[it["type"]] if test(it)])
    op.output("out", stream, TestingSink(hits))
    run_main(flow)
    return Counter(hits)


OTHER_WAYS = {"durable_rules": durable_rules, "Drools (ansible-rulebook)": drools, "Bytewax": bytewax}
RULES = {"by hand": 20, "Drumbeat": 20} | dict.fromkeys(OTHER_WAYS, len(CONDITIONS))


def one_way(name: str, feed: Path) -> Json:
    begun = time.process_time()
    found = OTHER_WAYS[name](feed)
    return {"cpu": time.process_time() - begun, "hits": dict(found)}


def ask(name: str, feed: Path, folder: Path) -> Json:
    if name == "by hand":
        taken = measure(script("reference.py", feed), folder)
        return {"cpu": taken.cpu, "hits": taken.report["effects"], "peak": taken.peak}
    if name == "Drumbeat":
        argv = drumbeat("simulate", "--workers", "1", "--program", BENCH / "w1", "--events", feed, "--format", "json")
        taken = measure(argv, folder)
        hits = {rule: it["effects"] for rule, it in taken.report["playbooks"].items()}
        return {"cpu": taken.cpu, "hits": hits, "peak": taken.peak}
    argv = [str(OTHERS), str(Path(__file__).resolve()), "--way", name, "--feed", str(feed)]
    taken = measure(argv, folder)
    return {**taken.report, "peak": taken.peak}


def rounds(args: argparse.Namespace, folder: Path) -> list[dict[str, Json]]:
    feed = folder / "w1.jsonl"
    measure(script("gen_w1.py", "--events", str(args.events), "--users", str(args.events // 10), "--out", feed), folder)
    found = []
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
        found.append({name: ask(name, feed, folder) for name in RULES})
    return found


def table(found: list[dict[str, Json]], events: int) -> Iterator[str]:
    yield "| engine | rules | events/s of processor time | x Drumbeat | peak MB |"
    yield "|---|---:|---:|---:|---:|"
    for name, rules in RULES.items():
        rate = median(events / one[name]["cpu"] for one in found)
        ratio = median(one["Drumbeat"]["cpu"] / one[name]["cpu"] for one in found)
        peak = max(one[name]["peak"] for one in found)
        yield f"| {name} | {rules} | {rate:,.0f} | {ratio:.2f} | {peak:,.0f} |"


def differences(found: list[dict[str, Json]]) -> set[str]:
    """Ways that fired otherwise than by hand, as far as they have the rules; r08 asks for the history too."""
    same = [name for name in CONDITIONS if name != "r08"]
    wrong = set()
    for one in found:
        for name, said in one.items():
            hits, want = said["hits"], one["by hand"]["hits"]
            # in durable_rules an event is gone with the first rule that takes it
            fits = int.__le__ if name == "durable_rules" else int.__eq__
            if not all(fits(hits.get(rule, 0), want.get(rule, 0)) for rule in same):
                wrong.add(f"{name}: {hits} and not {want}")
    return wrong


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--events", type=int, default=200_000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--way", choices=OTHER_WAYS, help=argparse.SUPPRESS)
    p.add_argument("--feed", type=Path, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.way:
        print(json.dumps(one_way(args.way, args.feed)))
        return 0
    if not OTHERS.exists():
        p.error("bench/.venv is missing: make bench-others")
    with TemporaryDirectory() as folder:
        try:
            found = rounds(args, Path(folder))
        except ChildFailed as error:
            print(error, file=sys.stderr)
            return 3
    print("\n".join(table(found, args.events)))
    wrong = differences(found)
    if wrong:
        print("other verdicts than by hand:", *sorted(wrong), sep="\n  ", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
