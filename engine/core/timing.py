"""When a subject is looked at again, and the short ways for events and wake-ups that find nothing but clocks.

Rule 1: waking a subject too early is harmless, too late is not: between wake-ups ``wake_at`` is only lowered.
Rule 2: a short way decides nothing: it either proves that nobody is let in, or leaves the matter to the long way.
"""

from __future__ import annotations

from typing import Any

from engine.core.entering import Entering
from engine.core.fold import Folding
from engine.core.kinds import Trigger
from engine.core.model import Event, State
from engine.core.plan import Sieve, zone_of
from engine.core.watch import next_move

DONE, SLOW = -1, -2
"""What ``Turn.quick`` says when no sieve let the event through, and when the event needs the long way."""

_NOTHING: dict[str, Any] = {}
_NOBODY: frozenset[str] = frozenset()


class Timing(Entering):
    """Clocks of a subject."""

    __slots__ = ()

    def _face(self, state: State, event: Event | None, now: int) -> None:
        """Turn to a subject and what happened to it."""
        self.state, self.event, self.now = state, event, now
        self.touched = self.moved = False
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

    def quick(self, state: State, event: Event, now: int) -> int:
        """The short way for an event that finds no journey: history, then the tests of those who may enter.

        ``DONE`` when nobody enters, ``SLOW`` when the event needs ``go`` (nothing has happened yet), else the place of
        the first sieve that lets it through: then call ``enter``.
        """
        dispatch = self.dispatch.get(event.type) or self.plan.default
        time = event.time
        if not dispatch.short or state.journeys or state.goals or event.history or now - time > self.act_within:
            return SLOW
        fold, series, local, active, clocks, idle, probes = dispatch.fast
        m = self.m
        m.changes = None
        if fold is not None:
            folding = Folding(_NOBODY, _NOBODY, _NOBODY)
            fold(state, event, folding)
            m.changes = folding.changes
            if folding.changes is not None and "zone" in folding.changes:
                state.wake_at = now  # looked at again at once, so that every timer is found anew
        if series:
            zone = zone_of(state, self.plan.env) if local else ""
            for one in series:
                one.update(state, event, zone)
        if active and not event.internal:
            last = state.last_active
            if last is None or time > last:
                state.last_active = time
        for clock in clocks:
            if time > state.memory.get(clock, -1):
                state.memory[clock] = time
        if idle is not None:
            wake_at = state.wake_at
            if wake_at is None or time + idle < wake_at:
                state.wake_at = time + idle
        if not probes:
            return DONE
        m.state, m.event, m.data, m.time, m.now = state, event, event.data, time, now
        place_ = 0
        try:
            for first, rest in probes:
                if first(m):
                    for test in rest:
                        if not test(m):
                            break
                    else:
                        if not _rests(dispatch.sieves[place_], state, now):
                            return place_
                place_ += 1
        except Exception:  # the long way judges it again and tells the error
            return place_
        return DONE

    def quick_wake(self, state: State, now: int) -> bool:
        """The short way for a wake-up that finds nothing but inactivity clocks, none of which lets anybody in.

        False when the wake-up needs ``go`` (nothing has happened yet that ``go`` would not do again).
        """
        if self.plan.watching or state.journeys or state.holds:
            return False
        self._face(state, None, now)
        m, earliest = self.m, None
        spent: list[Trigger] = []
        for timer in self.plan.timers:
            trigger = timer.triggers[0]
            deadline = trigger.deadline(m)
            if deadline is None:
                continue
            if deadline > now:
                earliest = _sooner(earliest, deadline)
                continue
            m.trigger, m.vars = timer.trigger, timer.variables
            try:
                if timer.first is None or (timer.first(m) and all(test(m) for test in timer.rest)):
                    return False
            except Exception:  # the long way judges it again and tells the error
                return False
            spent.append(trigger)
        for trigger in spent:
            trigger.due(m)
        state.wake_at = earliest
        state.clock = max(state.clock, now)
        return True

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


def _rests(sieve: Sieve, state: State, now: int) -> bool:
    """Is it certain that ``entry`` refuses: entered once before, or too soon after the last journey?

    Only asked where no journey runs, so ``again_after`` is all that modes but ``once`` go by.
    """
    if sieve.rest_time is not None:
        end = state.ends.get(sieve.place)
        if end is not None and now < end + sieve.rest_time:
            return True
    return bool(sieve.place) and sieve.playbook.entry.mode == "once" and sieve.place in state.entered


def _sooner(one: int | None, other: int | None) -> int | None:
    if one is None:
        return other
    return one if other is None or one < other else other
