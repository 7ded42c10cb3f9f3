"""The programs a store was run by, one after another: a life is decided once more by each of them in its time.

Rule 1: an event or wake-up up to the instant of a publication belongs to the program before it.
Rule 2: what a publication does to a subject that was there before it (its journeys, timers, places in segments) is done
by the very functions that did it then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.core.changing import concerned
from engine.core.model import State
from engine.core.moment import Moment
from engine.core.plan import Plan, Segment
from engine.core.subjects import USER, kind_of
from engine.core.watch import place
from engine.runtime.session import Session


@dataclass(frozen=True, eq=False)
class Era:
    """A program at work."""

    since: int  #: engine clock at its publication
    plan: Plan
    segments: Mapping[str, Segment] = field(default_factory=dict)  #: of the program, to be shown part by part


def era_at(eras: Sequence[Era], instant: int) -> Era:
    """The program that decided what happened at an instant."""
    found = eras[0]
    for era in eras[1:]:
        if era.since < instant:
            found = era
    return found


def distinct(eras: Sequence[Era]) -> list[Plan]:
    """Their plans, each once."""
    return list({id(era.plan): era.plan for era in eras}.values())


def reopenings(eras: Sequence[Era]) -> list[tuple[int, str]]:
    """(instant, playbook) of each that was open to entries, then was not, and is again, as ``announce`` saw it."""
    found: list[tuple[int, str]] = []
    met: set[str] = set()
    before: set[str] = set()
    for era in eras:
        now = {id_ for id_, status in era.plan.statuses.items() if status in ("live", "shadow")}
        found += [(era.since, id_) for id_ in sorted((now - before) & met)]
        met |= {it.id for it in era.plan.playbooks}
        before = now
    return found


def take_over(session: Session, subject: str, before: Plan, since: int, taken: frozenset[str]) -> None:
    """Bring a subject in line with a program that was put to work, as its publication did.

    Parameters
    ----------
    session: of the new program, which begins.
    before: the plan that was at work.
    since: the instant of the publication.
    taken: keys of the subject's effects on record by then.
    """
    plan = session.plan
    session.clock = max(session.clock, since)
    session.bring((subject,))
    state = session.states.get(subject)
    if state is None:
        return
    _arm(plan, state, before, since)
    session.touched[subject] = state
    if concerned(plan, state):
        session.change(subject, taken)


def _arm(plan: Plan, state: State, before: Plan, since: int) -> None:
    """As ``runtime/arming.py`` did, for one subject; to wake it too early is harmless."""
    part, old = plan.part(state.id), before.part(state.id)
    fresh = {it.name for it in part.watched} - {it.name for it in old.watched}
    fresh |= {it.name for it in part.ladders} - {it.name for it in old.ladders}
    if fresh and (part is not plan or kind_of(state.id) == USER):
        place(part, Moment(state, None, since, since, part.env))
    kind = kind_of(state.id)
    mine = [it for it in part.playbooks if it.subject == kind and not it.paused]
    if any(it.own and it.stamp and it.awaits(state) for playbook in mine for it in playbook.triggers):
        state.wake_at = since if state.wake_at is None else min(since, state.wake_at)
