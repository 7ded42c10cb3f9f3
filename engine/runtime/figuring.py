"""Takes the figures of the catalog's metrics when a period turns, and has them written with the slot that says so.

Rule 1: figures, and the row that says their turn is done, are one transaction: none is taken twice or left out.
Rule 2: a session knows what its store keeps; what was taken since the last commit is forgotten with the rest of it
when that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.core.localtime import UTC
from engine.core.localtime import zone as zone_named
from engine.core.metrics import Computed, Span, ordered, take
from engine.core.model import State, new_state
from engine.core.moment import Env
from engine.core.periods import Calendar
from engine.core.subjects import GROUP, PROGRAM, PROGRAM_KIND, USER
from engine.core.turns import Turning
from engine.runtime.census import Census

if TYPE_CHECKING:
    from engine.runtime.session import Session


def turn(session: Session, turning: Turning, at: int) -> None:
    """Take the figures of all metrics of one length that turn at an instant."""
    plan, figures = session.plan, session.plan.env.figures
    mine = [it for it in plan.metrics if it.per == turning.per]
    calendar = Calendar(turning.per, zone_named(plan.env.zone) or UTC)
    span = Span(begin=calendar.begin(calendar.number(at) - 1), end=at)
    decided = max(session.clock, at)
    for kind in (USER, GROUP):
        asked = [it for it in mine if it.subject == kind]
        if asked:
            people = Census(session).people(kind)
            for name, value in take(asked, span, people, plan.parts.get(kind, plan)).items():
                figures.put(name, at, decided, value)
    computed = [it for it in mine if isinstance(it, Computed)]
    if computed:
        session.bring((PROGRAM,))
        state, env = session.states.get(PROGRAM) or new_state(PROGRAM), plan.parts[PROGRAM_KIND].env
        for metric in ordered(computed):
            figures.put(metric.name, at, decided, metric.compute(state, at, decided + 1, env))


def guarded(way: Callable[..., Any], names: tuple[str, ...], env: Env) -> Callable[..., Any]:
    """A short way of events that keeps what the subject is scored by, before it does anything."""
    stash = env.figures.stash

    def first(m: Any, state: State, event: Any, now: int) -> Any:
        stash(names, state, now, env)
        return way(m, state, event, now)

    return first


def guarded_wake(way: Callable[..., Any], names: tuple[str, ...], env: Env) -> Callable[..., Any]:
    """The same for wake-ups."""
    stash = env.figures.stash

    def first(m: Any, state: State, now: int) -> Any:
        stash(names, state, now, env)
        return way(m, state, now)

    return first
