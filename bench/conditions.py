#!/usr/bin/env python3
"""The eight simple conditions of workload W1, judged by Drumbeat and by what people would pick instead.

    python bench/conditions.py [--events 20000] [--rounds 3]

needs ``bench/requirements.txt`` in a venv of its own (``make bench-others`` makes it). Every way gets the same
conditions, compiled once, and the same events as dictionaries, decoded before the clock runs; each is a process of its
own, in turn, in every round. Time is processor time; a condition is asked of the events of its type only. What an
engine needs per event to look at it at all (a record of its own kind) is part of its time. All must find the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from measure import BENCH, ChildFailed, measure, script

Json = dict[str, Any]
Test = Callable[[Json], Any]
Atom = tuple[str, str, Any]
"""(field, operator, constant)"""

OTHERS = BENCH / ".venv" / "bin" / "python"

CONDITIONS: dict[str, tuple[str, list[Atom]]] = {
    "r01": ("order.paid", [("amount", ">=", 485)]),
    "r02": ("order.paid", [("city", "in", ["Riga", "Oslo"]), ("amount", ">=", 440)]),
    "r03": ("checkin", [("city", "==", "Porto"), ("venue", "==", "flagship")]),
    "r04": ("community.post", [("words", ">=", 790)]),
    "r05": ("app.open", [("platform", "==", "ios"), ("build", "<", 1010)]),
    "r06": ("user.signup", [("source", "==", "referral"), ("city", "==", "Lyon")]),
    "r07": ("order.paid", [("sku", "in", ["sku-7", "sku-77", "sku-177"])]),
    "r08": ("checkin", [("venue", "==", "popup")]),
}
"""Playbook of ``bench/w1`` -> what its trigger asks of its event."""

LAMBDAS: dict[str, Test] = {
    "r01": lambda data: data["amount"] >= 485,
    "r02": lambda data: data["city"] in ("Riga", "Oslo") and data["amount"] >= 440,
    "r03": lambda data: data["city"] == "Porto" and data["venue"] == "flagship",
    "r04": lambda data: data["words"] >= 790,
    "r05": lambda data: data["platform"] == "ios" and data["build"] < 1010,
    "r06": lambda data: data["source"] == "referral" and data["city"] == "Lyon",
    "r07": lambda data: data["sku"] in ("sku-7", "sku-77", "sku-177"),
    "r08": lambda data: data["venue"] == "popup",
}


def text(atoms: list[Atom], joint: str = "and", number: Callable[[Any], str] = json.dumps) -> str:
    """A condition as most expression languages write it."""
    return f" {joint} ".join(f"{field} {op} {number(value)}" for field, op, value in atoms)


# The ways. Each takes (name, atoms) and gives a test of the data of an event.


def by_hand() -> Callable[[str, list[Atom]], Test]:
    return lambda name, _: LAMBDAS[name]


def drumbeat() -> Callable[[str, list[Atom]], Test]:
    """What the trigger of the playbook became, called alone, as no playbook calls it: see ``drumbeat_written_out``."""
    from engine.cli.common import compiled
    from engine.core.model import State
    from engine.core.moment import Moment

    plan = compiled(BENCH / "w1").plan
    m = Moment(State(id="u"), None, 0, 0, plan.env)

    def made(name: str, _: list[Atom]) -> Test:
        trigger = plan.by_id[name].triggers[0]
        test = trigger.condition.test

        def asked(data: Json) -> bool:
            m.data = data
            return bool(test(m))

        return asked

    return made


def drumbeat_written_out() -> Callable[[str, list[Atom]], Test]:
    """The same source, written into a function that has the data at hand: how the short ways of a plan have it."""
    from engine.cli.common import compiled
    from engine.core.plan import sieve
    from engine.core.writing import Writer, bodies_of, once

    plan = compiled(BENCH / "w1").plan

    def made(name: str, _: list[Atom]) -> Test:
        playbook = plan.by_id[name]
        writer, one = Writer(), sieve(playbook, playbook.triggers)
        _looks, written, _bare = once([bodies_of(writer, one)[:1]], writer.names)
        writer.add([f"return {written[0][0]}"])
        found: Test = writer.build("def way(data):", name)
        return found

    return made


def jinja2() -> Callable[[str, list[Atom]], Test]:
    from jinja2 import Environment

    environment = Environment()  # noqa: S701 - an expression makes no HTML

    def made(_: str, atoms: list[Atom]) -> Test:
        return environment.compile_expression(text(atoms))

    return made


def zen_engine() -> Callable[[str, list[Atom]], Test]:
    import zen

    return lambda _, atoms: zen.compile_expression(text(atoms)).evaluate


def json_logic() -> Callable[[str, list[Atom]], Test]:
    from json_logic import jsonLogic

    def made(_: str, atoms: list[Atom]) -> Test:
        parts = [{op: [{"var": field}, value]} for field, op, value in atoms]
        rule = parts[0] if len(parts) == 1 else {"and": parts}
        return lambda data: jsonLogic(rule, data)

    return made


def business_rules() -> Callable[[str, list[Atom]], Test]:
    from business_rules.engine import check_conditions_recursively
    from business_rules.variables import BaseVariables, numeric_rule_variable, string_rule_variable

    words = {">=": "greater_than_or_equal_to", "<": "less_than", "==": "equal_to"}

    def one(field: str, op: str, value: Any) -> Json:
        if op == "in":
            return {"any": [one(field, "==", it) for it in value]}
        return {"name": field, "operator": words[op], "value": value}

    def reader(field: str) -> Callable[[Any], Any]:
        def read(self: Any) -> Any:
            return self.data[field]

        read.__name__ = field
        return read

    def made(_: str, atoms: list[Atom]) -> Test:
        space: Json = {}
        for field, _op, value in atoms:
            kind = numeric_rule_variable if isinstance(value, int) else string_rule_variable
            space[field] = kind(reader(field))
        variables = type("Seen", (BaseVariables,), space)()
        rule = {"all": [one(*atom) for atom in atoms]}

        def asked(data: Json) -> bool:
            variables.data = data
            return bool(check_conditions_recursively(rule, variables))

        return asked

    return made


def common_expression_language() -> Callable[[str, list[Atom]], Test]:
    import cel

    return lambda _, atoms: cel.compile(text(atoms, "&&")).execute


def rule_engine() -> Callable[[str, list[Atom]], Test]:
    from rule_engine import Context, Rule

    context = Context()
    return lambda _, atoms: Rule(text(atoms), context=context).matches


def cel_python() -> Callable[[str, list[Atom]], Test]:
    import celpy

    environment = celpy.Environment()

    def number(value: Any) -> str:
        return f"{value}.0" if value in (440, 485) else json.dumps(value)  # its doubles are compared with doubles

    def made(_: str, atoms: list[Atom]) -> Test:
        program = environment.program(environment.compile(text(atoms, "&&", number)))
        return lambda data: program.evaluate(celpy.json_to_cel(data))

    return made


WAYS: dict[str, tuple[Callable[[], Callable[[str, list[Atom]], Test]], bool]] = {
    "lambda, by hand": (by_hand, True),
    "Drumbeat, written out": (drumbeat_written_out, True),
    "Drumbeat, called alone": (drumbeat, True),
    "zen-engine": (zen_engine, False),
    "json-logic": (json_logic, False),
    "business-rules": (business_rules, False),
    "common-expression-language": (common_expression_language, False),
    "Jinja2": (jinja2, False),
    "rule-engine": (rule_engine, False),
    "cel-python": (cel_python, False),
}
"""Name -> (how a condition becomes a test, whether it runs in the project's own venv)."""


# One way, in a process of its own


def one_way(name: str, feed: Path) -> Json:
    by_type: dict[str, list[Json]] = {}
    exact = name.startswith("Drumbeat")
    with feed.open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            by_type.setdefault(event["type"], []).append(event["data"])
    if exact:  # fractions as the door of Drumbeat reads them
        from engine.door import read_event

        by_type.clear()
        with feed.open("rb") as lines:
            for line in lines:
                event = read_event(line.rstrip(b"\n"))
                by_type.setdefault(event.type, []).append(event.data)
    make = WAYS[name][0]()
    asked, hits, spent = 0, {}, 0.0
    for rule, (type_, atoms) in CONDITIONS.items():
        test, events, found = make(rule, atoms), by_type[type_], 0
        begun = time.process_time()
        for data in events:
            if test(data):
                found += 1
        spent += time.process_time() - begun
        asked += len(events)
        hits[rule] = found
    return {"microseconds": spent / asked * 1e6, "hits": hits}


# All of them


def rounds(args: argparse.Namespace, folder: Path) -> list[dict[str, Json]]:
    feed = folder / "w1.jsonl"
    measure(script("gen_w1.py", "--events", str(args.events), "--users", str(args.events // 10), "--out", feed), folder)
    found = []
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
        found.append({name: ask(name, own, feed, folder) for name, (_, own) in WAYS.items()})
    return found


def ask(name: str, own: bool, feed: Path, folder: Path) -> Json:
    python = sys.executable if own else str(OTHERS)
    return measure([python, str(Path(__file__).resolve()), "--way", name, "--feed", str(feed)], folder).report


def table(found: list[dict[str, Json]]) -> Iterable[str]:
    yield "| one condition | microseconds | x the lambda | x Drumbeat |"
    yield "|---|---:|---:|---:|"
    for name in found[0]:
        times = [one[name]["microseconds"] for one in found]
        over = [median(one[name]["microseconds"] / one[it]["microseconds"] for one in found) for it in (HAND, OURS)]
        yield f"| {name} | {median(times):.2f} | {over[0]:.2f} | {over[1]:.1f} |"


HAND, OURS = "lambda, by hand", "Drumbeat, written out"


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--events", type=int, default=20_000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
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
    print("\n".join(table(found)))
    wrong = {name for one in found for name in one if one[name]["hits"] != one[HAND]["hits"]}
    if wrong:
        print("other verdicts than by hand:", *sorted(wrong), sep="\n  ", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
