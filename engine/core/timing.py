"""When a subject is looked at again.

Waking a subject too early is harmless, too late is not: between wake-ups ``wake_at`` is only lowered.
"""

from __future__ import annotations

from typing import Any

from engine.core import points
from engine.core.entering import Entering
from engine.core.model import Event, State
from engine.core.terms import next_term
from engine.core.watch import next_move

_NOTHING: dict[str, Any] = {}


class Timing(Entering):
    """Clocks of a subject."""

    __slots__ = ()

    def _face(self, state: State, event: Event | None, now: int) -> None:
        """Turn to a subject and what happened to it."""
        self.state, self.event, self.now = state, event, now
        self.touched = self.moved = False
        if self.plan.scored:
            self.plan.env.figures.stash(self.plan.scored, state, now, self.plan.env)
        m = self.m
        m.state, m.event, m.now = state, event, now
        m.entry = m.changes = m.trigger = None
        m.steps, m.vars = _NOTHING, _NOTHING
        if event is None:
            self.depth = 0
            self.cause = {"wake": "time"}
            m.time, m.data = now, {}
        else:
            self.depth = event.depth
            self.cause = {"event": event.id}
            m.time, m.data = event.time, event.data

    def _retime(self) -> None:
        """Set ``wake_at``: exactly after a wake-up, else only lowered. Waking early is harmless, waking late is not."""
        state, plan, event = self.state, self.plan, self.event
        if event is not None and not (self.touched or plan.watching or plan.exact):
            dispatch = plan.dispatch.get(event.type, plan.default)
            earliest = state.wake_at
            if dispatch.idle is not None:
                earliest = _sooner(earliest, event.time + dispatch.idle)
            if dispatch.retimes:
                earliest = self._soonest_timer(earliest)
        else:
            earliest = next_move(self.m) if plan.watching else None
            earliest = self._soonest_timer(earliest)
        for hold in state.holds:
            earliest = _sooner(earliest, hold.until)
        for task in state.tasks:
            earliest = _sooner(earliest, task.escalate_at)
        for lapse in state.lapses:
            earliest = _sooner(earliest, lapse.at)
        if state.purses:
            earliest = _sooner(earliest, points.next_move(state, plan.reminds))
        if state.roles:
            earliest = _sooner(earliest, next_term(state, plan))
        for journey in state.journeys:
            # a journey whose playbook is not in the plan stands still: nobody would move it on
            if journey.waiting is not None:
                playbook = plan.of(journey)
                if playbook is not None and playbook.status != "paused":
                    earliest = _sooner(earliest, journey.waiting.until)
        state.wake_at = earliest

    def _soonest_timer(self, earliest: int | None) -> int | None:
        self.m.time = self.now
        for timer in self.plan.timers:
            earliest = _sooner(earliest, timer.triggers[0].deadline(self.m))
        return earliest


def _sooner(one: int | None, other: int | None) -> int | None:
    if one is None:
        return other
    return one if other is None or one < other else other
