"""A judged scenario as rows for people and for JSON: expected and got, in the words of the scenario language."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR, MINUTE, SECOND
from engine.insight.matching import SNAPSHOT, TEXTS, Fact
from engine.insight.rehearsal import Judged
from engine.language.scenario_forms import EFFECTS, WORDS
from engine.language.scenario_model import Scenario

_SIZES = (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND))
_TIMES = ("at", "expires_at")
_TAIL = ("playbook", "step", "reason", "user")


@dataclass(frozen=True)
class Row:
    """One line of the two columns."""

    sign: str  #: ~ otherwise, - missing, + too much, = as expected, "" a detail of the row above
    expected: str
    got: str


def rows(judged: Judged, scenario: Scenario, stored: Callable[[str], str | None]) -> list[Row]:
    """The rows of one ``expect``: the nearest miss first, what came as expected last.

    Parameters
    ----------
    scenario: its times are counted from its clock; its only user or playbook need not be named again and again.
    stored: the snapshots there are.
    """
    verdict, clock = judged.verdict, scenario.clock
    hidden = {"user"} if len(scenario.people) == 1 else set()
    hidden |= {"playbook"} if len(scenario.playbooks) == 1 else set()

    def told(fact: Fact) -> str:
        return fact_text(fact, clock, hidden)

    out: list[Row] = []
    for miss in verdict.misses:
        if miss.nearest is None:
            out.append(Row("-", miss.expected.text, "(did not happen)"))
            continue
        out.append(Row("~", miss.expected.text, told(miss.nearest)))
        for it in miss.differences:
            wanted, got = _side(it.key, it.wanted, clock, stored), _side(it.key, it.got, clock, stored)
            out.append(Row("", f"  {it.key}: {wanted}", f"  {it.key}: {got}"))
    nothing = "nothing" if not (verdict.met or verdict.misses) else "(not expected)"
    out += [Row("+", nothing, told(fact)) for fact in verdict.unexpected]
    sign = "~" if verdict.disordered else "="
    out += [Row(sign, wanted.text, told(fact)) for wanted, fact in verdict.met]
    return out


def since(instant: int, clock: int) -> str:
    """``+20d``, as a scenario writes it."""
    left, out = abs(instant - clock), ""
    for unit, size in _SIZES:
        number, left = divmod(left, size)
        out += f"{number}{unit}" if number else ""
    if left:
        return format_instant(instant)
    return ("-" if instant < clock else "+") + (out or "0s")


def fact_text(fact: Fact, clock: int, hidden: Collection[str] = ()) -> str:
    """What happened, as one would expect it; ``hidden``: keys that go without saying."""
    pairs = {name: value for name, value in _pairs(fact) if name not in hidden or name == fact.kind}
    return f"{since(fact.time, clock)} " + _flow(pairs, clock)


def _pairs(fact: Fact) -> Iterator[tuple[str, Any]]:
    fields, spec = fact.fields, WORDS[fact.kind]
    status = fields.get("status")
    if status in ("suppressed", "denied"):
        yield status, fact.kind
    yield (spec.of if status in ("suppressed", "denied") else fact.kind), fields.get(spec.of)
    names = dict.fromkeys([*spec.keys, *_TAIL])
    if fact.kind not in EFFECTS:
        names.pop(spec.of, None)
    for name in names:
        value = fields.get(name)
        if value is not None and value != []:
            yield name, value
    if status == "held_out":
        yield "status", status


def _flow(value: Any, clock: int, key: str = "") -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(one, clock, name)}" for name, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(one, clock) for one in value) + "]"
    if key in _TIMES and isinstance(value, int):
        return since(value, clock)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return format(value, "f")
    if key in TEXTS:
        return '"' + " ".join(str(value).split()) + '"'
    return " ".join(str(value).split()) if isinstance(value, str) else str(value)


def _side(key: str, value: Any, clock: int, stored: Callable[[str], str | None]) -> str:
    if key in TEXTS and isinstance(value, Mapping) and SNAPSHOT in value:
        kept = stored(value[SNAPSHOT])
        return kept if kept is not None else f"(no snapshot '{value[SNAPSHOT]}' yet: --update writes it)"
    if key in TEXTS and isinstance(value, str):
        return value.rstrip("\n")
    return _flow(value, clock, key)


def as_json(judged: Judged, clock: int) -> dict[str, Any]:
    """One ``expect``, ready for JSON."""
    verdict = judged.verdict

    def fact(it: Fact) -> dict[str, Any]:
        shown = {name: format_instant(value) if name in _TIMES and isinstance(value, int) else value
                 for name, value in it.fields.items()}  # fmt: skip
        return {"kind": it.kind, "at": format_instant(it.time), **shown}

    return {
        "line": judged.mark.line,
        "at": format_instant(judged.at),
        "ok": verdict.ok,
        "missing": [
            {
                "expected": miss.expected.text,
                "line": miss.expected.mark.line,
                "nearest": None if miss.nearest is None else fact(miss.nearest),
                "differences": [
                    {"key": it.key, "expected": it.wanted, "got": it.got} for it in miss.differences
                ],
            }
            for miss in verdict.misses
        ],
        "unexpected": [fact(it) for it in verdict.unexpected],
        "out_of_order": verdict.disordered,
        "why_not": list(judged.whys),
    }
