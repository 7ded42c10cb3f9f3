"""A whole plan in figures, ready for JSON; and the gates it must pass.

Rule 1: a gate counts what the change may reach: people whose journeys move or stop, who are let in at once, or for whom
a playbook that is added, changed or touched does something in the window; and the coupons these playbooks give.
Rule 2: what cannot be estimated passes no gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.core.instants import format_instant
from engine.core.plan import Plan
from engine.insight.planning import binding
from engine.insight.planning.changes import SAME, Changes
from engine.insight.planning.trial import Tally, Trial, shaken
from engine.ports import Store

FORMAT = 1


@dataclass(frozen=True)
class Gates:
    """How far a change may reach."""

    audience: int | None = None  #: people
    cost: Decimal | None = None  #: of coupons, in each currency
    allow_over: bool = False  #: it is meant to be over


@dataclass(frozen=True)
class Tried:
    """The plan tried on a copy, and that copy."""

    plan: Plan
    trial: Trial
    copy: Store
    running: Trial | None  #: the plan the store runs, tried alike; None: it is not known as a whole


def changes_row(found: Changes) -> dict[str, Any]:
    """What differs."""
    return {
        "known": found.known,
        "unknown": found.unknown or None,
        "playbooks": [
            {"playbook": it.playbook, "what": it.what, "parts": list(it.parts), "before": it.before or None,
             "after": it.after or None}
            for it in found.playbooks
        ],
        "catalog": [{"section": section, "name": name, "what": what} for section, name, what in found.catalog],
        "program": list(found.program),
    }  # fmt: skip


def figures(found: Changes, tried: Tried | None, asked_days: int, gates: Gates) -> dict[str, Any]:
    """Everything that is said about a plan but where it comes from."""
    row: dict[str, Any] = {"changes": found.any, "difference": changes_row(found)}
    if tried is None:
        return row | {"journeys": [], "at_once": None, "estimate": None, "gates": _gates(found, None, gates)}
    trial = tried.trial
    row["at"] = format_instant(trial.now)
    row["journeys"] = trial.standing.rows()
    row["stands_still"] = [{"version": name, "why": why} for name, why in sorted(trial.stuck.items())]
    row["at_once"] = _part(trial.at_once, found)
    row["estimate"] = _estimate(tried, found, asked_days)
    row["gates"] = _gates(found, tried, gates)
    return row


def _estimate(tried: Tried, found: Changes, asked_days: int) -> dict[str, Any]:
    trial = tried.trial
    return {
        "window": trial.window.row(asked_days),
        "events": trial.events,
        "events_left_out": trial.left_out,
        "newcomers": trial.newcomers,
        "refused_events": dict(sorted(trial.later.quarantined.items())),
        "plan": _part(trial.later, found),
        "running": None if tried.running is None else _part(tried.running.later, found),
        "pools": binding.pools(tried.plan, tried.copy, trial),
        "entry_limits": binding.entry_limits(trial),
        "refused": binding.refused(trial),
    }


def _part(tally: Tally, found: Changes) -> dict[str, Any]:
    """What a part of a trial does, as a whole and by playbook."""
    messages: dict[str, int] = {}
    for (_, channel), number in sorted(tally.messages.items()):
        messages[channel] = messages.get(channel, 0) + number
    what = {it.playbook: it.what for it in found.playbooks}
    names = sorted({*tally.entered, *tally.held_out, *(name for name, _ in tally.done if name), *tally.errors})
    return {
        "entered": sum(tally.entered.values()),
        "messages": messages,
        "coupons": sum(tally.coupons.values()),
        "cost": _money(tally.cost),
        "points": dict(sorted(tally.points.items())),
        "playbooks": [
            {
                "playbook": name,
                "what": what.get(name, SAME),
                "entered": tally.entered[name],
                "held_out": tally.held_out[name],
                "sample": tally.samples[name].names() if name in tally.samples else [],
                "effects": {kind: n for (one, kind), n in sorted(tally.done.items()) if one == name},
                "messages": {via: n for (one, via), n in sorted(tally.messages.items()) if one == name},
                "coupons": {pool: n for (one, pool), n in sorted(tally.coupons.items()) if one == name},
                "errors": tally.errors[name],
            }
            for name in names
        ],
    }


def _money(sums: dict[str, Decimal]) -> list[dict[str, Any]]:
    return [{"currency": currency or None, "amount": amount} for currency, amount in sorted(sums.items())]


def _gates(found: Changes, tried: Tried | None, gates: Gates) -> dict[str, Any]:
    """Which gates there are, and which the plan is over."""
    wanted = gates.audience is not None or gates.cost is not None
    people = 0 if tried is None else len(shaken(tried.trial))
    cost = {} if tried is None else tried.trial.later.cost_concerned
    blind = wanted and found.any and tried is not None and not tried.trial.window.days and bool(tried.copy.head_count())
    over = []
    if gates.audience is not None and people > gates.audience:
        over.append(f"it reaches {people:,} people, --max-audience is {gates.audience:,}")
    for currency, amount in sorted(cost.items()):
        if gates.cost is not None and amount > gates.cost:
            over.append(f"its coupons may cost {amount:,f}{' ' + currency if currency else ''}, "
                        f"--max-cost is {gates.cost:,f}")  # fmt: skip
    if blind:
        over.append("nothing can be estimated: no day is played once more, because the store holds no events "
                    "or --days is 0")  # fmt: skip
    return {
        "max_audience": gates.audience,
        "max_cost": gates.cost,
        "audience": people,
        "cost": _money(cost),
        "over": over,
        "allowed": not over or gates.allow_over,
    }
