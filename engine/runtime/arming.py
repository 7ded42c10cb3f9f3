"""Wakes the subjects for whom a new or changed timed trigger has to find its next instant.

Most wake-ups are set by events. A timed trigger (``date``, ``inactivity``), a watched segment or a ladder that is new
must also find those who were there before it was written, or whom it reads in another way since the last run.

Rule 1: it only brings wake-ups forward; deciding stays with the core.
Rule 2: it may be done twice (after a crash): waking a subject too early is harmless.
"""

from __future__ import annotations

import json

from engine.core.kinds import Trigger
from engine.core.plan import Plan
from engine.ports import Batch, Store

_AT_ONCE = 5_000
_ARMED = "armed"


def arm(plan: Plan, store: Store) -> int:
    """Wake all who wait for what stands otherwise than at the last run; how many subjects that were."""
    # kept whole, so that a playbook that was paused meanwhile is a new one when it comes back
    stamps = {trigger.place: f"{trigger.stamp}|{plan.env.zone}" for trigger in _timed(plan)}
    # by name alone: a condition that was edited moves people when something happens to them, not all at once
    placed = [f"segment {it.name}" for it in plan.watched] + [f"ladder {it.name}" for it in plan.ladders]
    stamps |= dict.fromkeys(placed, "")
    before = json.loads(store.get_meta(_ARMED) or "{}")
    if stamps == before:
        return 0
    changed = [trigger for trigger in _timed(plan) if before.get(trigger.place) != stamps[trigger.place]]
    everybody = any(name not in before for name in placed)
    count = _wake(store, changed, everybody) if changed or everybody else 0
    store.set_meta(_ARMED, json.dumps(stamps, sort_keys=True))
    return count


def _wake(store: Store, triggers: list[Trigger], everybody: bool) -> int:
    clock = store.clock()
    waiting = [
        state.id
        for state in store.subjects()
        if (state.wake_at is None or state.wake_at > clock)
        and (everybody or any(trigger.awaits(state) for trigger in triggers))
    ]
    for first in range(0, len(waiting), _AT_ONCE):
        states = list(store.load(waiting[first : first + _AT_ONCE]).values())
        for state in states:
            state.wake_at = clock
        store.commit(
            Batch(
                clock=clock, states=states, events=[], effects=[], answers=[], resources={}, decisions=[], goals=[],
                rejected=[], positions={},
            )
        )  # fmt: skip
    return len(waiting)


def _timed(plan: Plan) -> list[Trigger]:
    open_ = [playbook for playbook in plan.playbooks if not playbook.paused]
    return [it for playbook in open_ for it in playbook.triggers if it.own and it.stamp]
