"""Ideas: what may turn one line of a verdict around, or set a trigger off. Whether it does, the engine finds out.

Rule: an idea costs nothing but a try; what is not understood gives none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

from jinja2 import nodes

from engine.core import localtime
from engine.core.kinds import Trigger
from engine.core.model import Decision, State, Why
from engine.core.moment import Moment
from engine.core.plan import Plan, Playbook, Segment, zone_of
from engine.core.starts import CALLED, MANUAL, WEBHOOK
from engine.insight import change as kinds
from engine.insight.change import Change, Run
from engine.insight.judged import Branch, judge, tree_of
from engine.insight.leaves import called, others_than
from engine.insight.levers import brings, levers
from engine.insight.needs import Set, Sight, first_text, needs
from engine.language.expressions.parse import parse, walk
from engine.language.expressions.unparse import quoted, unparse
from engine.triggers.changed import ANY, Changed
from engine.triggers.count import Count
from engine.triggers.date import OnDate
from engine.triggers.segment import SegmentMove
from engine.triggers.streak import Streak
from engine.triggers.tier_change import TierChange


@dataclass(frozen=True)
class Here:
    """What is known where a verdict fell."""

    playbook: Playbook
    part: Plan  #: of the kind of subject
    segments: Mapping[str, Segment]
    sight: Sight
    state: State | None
    at: int
    began: Sequence[tuple[str, str, int]] = ()  #: (id, type, time) of the events that began journeys before

    def moment(self) -> Moment | None:
        """To judge something there."""
        return None if self.state is None else Moment(self.state, None, self.at, self.at, self.part.env)


def failing(decision: Decision) -> list[Why]:
    """The lines that refused: of several triggers any, of conditions the last."""
    return [line for line in decision.why if line.value is not True]


def ways(line: Why, want: bool, here: Here) -> list[Set]:
    """Sets of changes each of which may be enough for a line to be ``want``."""
    tree = tree_of(line)
    if tree is not None:
        return needs(tree, want, here.sight)
    if line.at == "entry":
        return [(Change(kinds.WITHOUT, line.text, type_, id_),) for id_, type_, _ in here.began[:1]] if want else []
    if line.at.startswith("entry.limit") or not isinstance(line.value, bool):
        return []
    leaf = Branch(op="leaf", text=line.text, value=line.value, seen=dict(line.seen))
    if line.at in ("entry.in", "entry.not_in"):
        inside = next(iter(line.seen.values()), line.value)
        leaf = replace(leaf, value=inside)
        return needs(leaf, want if line.at == "entry.in" else not want, here.sight)
    trigger = next((it for it in here.playbook.triggers if it.path == line.at), None)
    if trigger is None:
        return []
    if not isinstance(trigger, Count):
        # a timed one fires at no event, so nothing makes it fire at this one
        return list(sets_off(trigger, here)) if want and not trigger.own else []
    counted = f"count('{trigger.event}')"
    has = line.seen.get(counted)
    if trigger.where is not None and has is not None:
        text = f"count('{trigger.event}', where={quoted(trigger.where.text)})"
        leaf = Branch(f"{text} >= {trigger.at_least}", line.value, "leaf", {text: has})
    elif trigger.where is not None:  # the event at hand is none of those that count
        leaf = judged_again(trigger.where.text, line)
    return needs(leaf, want, here.sight)


def judged_again(text: str, line: Why) -> Branch:
    """A condition on the event at hand that a trigger asked."""
    return Branch(op="leaf", text=text, value=line.value, seen=dict(line.seen))


# ---------------------------------------------------------------------- triggers


def sets_off(trigger: Trigger, here: Here) -> Iterator[Set]:
    """What may set a trigger off, as far as something from outside does."""
    if isinstance(trigger, SegmentMove):
        yield from _moves(trigger, here)
    elif isinstance(trigger, TierChange):
        yield from _climbs(trigger, here)
    elif isinstance(trigger, Changed):
        yield from _changes(trigger, here)
    elif isinstance(trigger, OnDate):
        yield from _dates(trigger, here)
    elif isinstance(trigger, Streak):
        for today in (True, False):
            run = Run(trigger.days if today else trigger.days - 1, trigger.savers)
            end: Set = () if today else (Change(kinds.EVENTS, "trigger", trigger.event),)
            yield (Change(kinds.DAYS, "trigger", trigger.event, run), *end)
    elif trigger.own and trigger.clock() is not None:
        for type_ in sorted(trigger.clock()[1]):  # type: ignore[index] # asked for right above
            yield (Change(kinds.EVENTS, "trigger", type_, has=0),)
    elif trigger.own:
        yield (Change(kinds.EVENTS, "trigger", "", has=0),)
    else:
        yield from _heard(trigger)


def _heard(trigger: Trigger) -> Iterator[Set]:
    """An event it listens to, with what its condition asks of it."""
    where = getattr(trigger, "where", None) or trigger.condition
    node = parse(where.text).node if where is not None else None
    data = (brings(node) or {}) if node is not None else {}
    times = trigger.at_least if isinstance(trigger, Count) else 1
    for type_ in sorted(trigger.listens() or ()):
        if type_.startswith((MANUAL, WEBHOOK)):
            yield (Change(kinds.BY_HAND, "trigger", type_, data=data),)
        elif type_.startswith(CALLED) or of_the_engine(type_):
            yield (Change(kinds.TOLD, "trigger", type_, data=data),)
        else:
            yield (Change(kinds.EVENTS, "trigger", type_, data=data, has=0, times=times),)


def _moves(trigger: SegmentMove, here: Here) -> Iterator[Set]:
    held, m = here.segments.get(trigger.segment), here.moment()
    if held is None or m is None:
        return
    if held.test is None:
        yield (Change(kinds.LISTED if trigger.of_members else kinds.UNLISTED, "trigger", trigger.segment),)
        return
    tree = judge(held.test, m)
    found = [it for it in needs(tree, trigger.of_members, here.sight) if it]
    yield from found
    if tree.value is trigger.of_members:  # it is there already: out, and in again
        for out in needs(tree, not trigger.of_members, here.sight)[:3]:
            for one in out:
                yield from _there_and_back(out, one)


def _there_and_back(out: Set, one: Change) -> Iterator[Set]:
    if one.kind == kinds.TRAIT:
        yield (*out, replace(one, value=one.has, has=one.value, other=False))
    elif one.kind in (kinds.JOIN, kinds.LEAVE):
        yield (*out, replace(one, kind=kinds.LEAVE if one.kind == kinds.JOIN else kinds.JOIN))
    else:
        yield out


def _climbs(trigger: TierChange, here: Here) -> Iterator[Set]:
    """The metric of a ladder at another level."""
    m, state = here.moment(), here.state
    for ladder in here.part.ladders:
        if m is None or state is None or trigger.ladder not in (None, ladder.name):
            continue
        node = parse(ladder.metric.text).node
        with suppress(Exception):  # a metric that cannot be judged reaches nothing
            value = ladder.metric.get(m)
            here_at = state.tiers.get(ladder.name, [None])[0]
            names = [name for name, _ in ladder.levels]
            rank = names.index(here_at) if here_at in names else -1
            for place, (name, threshold) in enumerate(ladder.levels):
                if place == rank or (trigger.to and name not in trigger.to) or node is None:
                    continue
                if place > rank and trigger.direction != "down":
                    yield from _reaches(unparse(node), value, ">=", threshold)
                elif place < rank and trigger.direction != "up":
                    above = ladder.keeps.get(names[place + 1], ladder.levels[place + 1][1])
                    yield from _reaches(unparse(node), value, "<", above)


def _reaches(metric: str, value: Any, op: str, threshold: Any) -> Iterator[Set]:
    step = Branch(op="leaf", text=f"{metric} {op} {threshold}", value=False, seen={metric: value or 0})
    found = levers(step, True)
    yield from ((one,) for one in found)
    if found or op != ">=":
        return
    node = parse(metric).node
    for call in walk(node) if node is not None else ():  # each of what makes a metric up may reach it alone
        if not isinstance(call, nodes.Call):
            continue
        type_ = first_text(call) if call.args else None
        lack = math.ceil(threshold - (value or 0))
        if called(call) == "count" and type_ is not None and lack <= _MOST_EVENTS:
            yield (Change(kinds.EVENTS, step.text, type_, times=lack),)
        elif called(call) == "sum" and type_ is not None and isinstance(call.args[1], nodes.Const):
            yield (Change(kinds.EVENTS, step.text, type_, data={str(call.args[1].value): lack}),)


_MOST_EVENTS: Final = 5_000


def _changes(trigger: Changed, here: Here) -> Iterator[Set]:
    has = here.state.traits.get(trigger.field) if here.state is not None else None
    wanted = _first(trigger.after)
    if wanted is None or wanted == has:
        values: list[Any] = [it for it in list(others_than(has)) if trigger.after is ANY or wanted is None]
    else:
        values = [wanted]
    before = _first(trigger.before)
    for value in values:
        made = Change(kinds.TRAIT, "trigger", trigger.field, value, has, other=trigger.after is ANY)
        if before is not None and has != before and not (isinstance(trigger.before, list) and has in trigger.before):
            yield (Change(kinds.TRAIT, "trigger", trigger.field, before, has), replace(made, has=before))
        else:
            yield (made,)
    if wanted is not None and wanted == has:  # it is that already: away, and there again
        else_ = before if before is not None else next(iter(others_than(has)))
        away = Change(kinds.TRAIT, "trigger", trigger.field, else_, has)
        yield (away, Change(kinds.TRAIT, "trigger", trigger.field, wanted, away.value))


def _first(wanted: object) -> Any:
    if wanted is ANY:
        return None
    return wanted[0] if isinstance(wanted, list) and wanted else wanted


_DAYS_TRIED: Final = (1, 0, 2, 3, 8, 31)


def _dates(trigger: OnDate, here: Here) -> Iterator[Set]:
    """A field that names a day on which the trigger is still to come."""
    if here.state is None:
        return
    has = here.state.traits.get(trigger.field)
    tz = localtime.zone(zone_of(here.state, here.part.env)) or localtime.UTC
    today = localtime.local_date(here.at, tz)
    for ahead in _DAYS_TRIED:
        day = today + timedelta(days=ahead - trigger.days)
        if trigger.yearly:
            day = _years_before(day)
        yield (Change(kinds.TRAIT, "trigger", trigger.field, day.isoformat(), has, other=False),)
    if trigger.lunar is not None:  # the same day falls on others by the moon
        for ahead in (59, 120, 240):
            day = today - timedelta(days=366 * 20 - ahead)
            yield (Change(kinds.TRAIT, "trigger", trigger.field, day.isoformat(), has),)


def _years_before(day: date) -> date:
    """The same day twenty years before, or the one after it where that year has none."""
    try:
        return day.replace(year=day.year - 20)
    except ValueError:
        return date(day.year - 20, 3, 1)


def of_the_engine(type_: str) -> bool:
    """Does only the engine say so?"""
    return type_ in _ENGINES or type_.split(".")[0] in ("segment", "journey", "selection", "draw")


_ENGINES: Final = frozenset(
    {"tier.changed", "points.expiring", "survey.due", "role.expiring", "coupon.expiring", "coupon.expired",
     "coupon.unsent", "message.sent", "group.target_met", "invite.offered", "webhook.answered"}
)  # fmt: skip
"""What no feed tells."""
