"""What a playbook listens to, what of it came, and how far it is."""

from __future__ import annotations

from typing import Any

from engine.core import localtime
from engine.core.kinds import Trigger
from engine.core.moment import Moment
from engine.core.plan import Plan, zone_of
from engine.insight.replay import Course
from engine.insight.subject import instant
from engine.triggers.count import Count
from engine.triggers.streak import Streak


def listening(plan: Plan, trigger: Trigger, found: Course) -> dict[str, Any]:
    """A trigger: the events it hears, how many came, when time fires it, and how far one that counts is."""
    clock = trigger.clock()
    by_time = trigger.tells if trigger.traits is not None else None
    heard = (clock[1] if clock is not None else by_time) if trigger.own else trigger.listens()
    came = [it for it in found.events.values() if (not it.internal if heard is None else it.type in heard)]
    shown: dict[str, Any] = {
        "trigger": trigger.id,
        "kind": trigger.word,
        "events": None if heard is None else sorted(heard),  # None: any event from outside
        "came": len(came),
        "last": instant(max((it.time for it in came), default=None)),
        "next": None,
        "needs": None,
        "has": None,
    }
    if found.state is not None:
        m = Moment(found.state, None, found.clock, found.clock, plan.part(found.state.id).env)
        try:
            shown["next"] = instant(trigger.deadline(m))
            shown["needs"], shown["has"] = _progress(trigger, m)
        except Exception:  # a hint for people; the answer stands without it
            shown["next"] = None
    return shown


def _progress(trigger: Trigger, m: Moment) -> tuple[int | None, int | None]:
    """(needed, there) of triggers that count."""
    if isinstance(trigger, Count):
        return trigger.at_least, int(trigger.read(m.state, m.time))
    if isinstance(trigger, Streak):
        zone = localtime.zone(zone_of(m.state, m.env)) or localtime.UTC
        return trigger.days, int(trigger.series.length(m.state, localtime.day_number(m.now, zone)))
    return None, None
