"""Wakes the subjects for whom a new or changed timed trigger has to find its next instant.

Most wake-ups are set by events. A timed trigger (``date``, ``inactivity``), a watched segment or a ladder that is new
must also find those who were there before it was written, or whom it reads in another way since the last run; and a
segment with ``existing: enter`` finds those who are in it already.

Rule 1: it only brings wake-ups forward and says where subjects stand; deciding stays with the core.
Rule 2: it may be done twice (after a crash): waking a subject too early is harmless, and nobody is noted twice.
Rule 3: where a subject stands when a segment or ladder is new is where it stands at publication: at the last instant
that was decided, with everything that happened by then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from engine.core.existing import Standing
from engine.core.kinds import Trigger
from engine.core.model import State
from engine.core.moment import Moment
from engine.core.plan import Plan
from engine.core.subjects import USER, kind_of
from engine.core.watch import place
from engine.ports import Batch, Store
from engine.runtime.session import HISTORY_UNTIL

_AT_ONCE = 5_000
_ARMED = "armed"
MET = "met"
"""Name under which a store keeps which playbooks and segments met: name -> instant, None where nobody was there."""


def arm(plan: Plan, store: Store) -> int:
    """Wake all who wait for what stands otherwise than at the last run; how many subjects that were."""
    # kept whole, so that a playbook that was paused meanwhile is a new one when it comes back
    stamps = {trigger.place: f"{trigger.stamp}|{plan.env.zone}" for _, trigger in _timed(plan)}
    # by name alone: a condition that was edited moves people when something happens to them, not all at once
    placed = [f"segment {it.name}" for part in (plan, *plan.parts.values()) for it in part.watched]
    placed += [f"ladder {it.name}" for it in plan.ladders]
    stamps |= dict.fromkeys(placed, "")
    before = json.loads(store.get_meta(_ARMED) or "{}")
    met = met_before(store)
    meeting = [it for it in _standing(plan) if it.met_as() not in met]
    if stamps == before and not meeting:
        return 0
    at = max(store.clock(), int(store.get_meta(HISTORY_UNTIL) or 0))
    changed: dict[str, list[Trigger]] = {}
    for kind, trigger in _timed(plan):
        if before.get(trigger.place) != stamps[trigger.place]:
            changed.setdefault(kind, []).append(trigger)
    everybody = any(name not in before for name in placed)
    arming = _Arming(plan, store, at, changed, everybody, [it for it in meeting if it.admits])
    count = arming.everybody_known()
    if meeting:
        met |= dict.fromkeys((it.met_as() for it in meeting), at if arming.met_somebody else None)
        store.set_meta(MET, json.dumps(met, sort_keys=True))
    store.set_meta(_ARMED, json.dumps(stamps, sort_keys=True))
    return count


def met_before(store: Store) -> dict[str, int | None]:
    """Playbook and segment -> the publication at which they met; None: nobody was there."""
    found: dict[str, int | None] = json.loads(store.get_meta(MET) or "{}")
    return found


@dataclass
class _Arming:
    """One walk over everybody, in transactions of bounded size."""

    plan: Plan
    store: Store
    at: int  #: the instant of the publication
    changed: dict[str, list[Trigger]]  #: kind of subject -> timed triggers that are new or read otherwise
    placing: bool  #: a segment or a ladder is new
    admitting: list[Standing]  #: those that let in who is in their segment now
    met_somebody: bool = False

    def everybody_known(self) -> int:
        """Do it; how many subjects were woken."""
        if not (self.changed or self.placing or self.admitting):
            return 0
        waiting = []
        for state in self.store.subjects():
            self.met_somebody = True
            if self.placing or self.admitting or self._waits(state):
                waiting.append(state.id)
        count, begun = 0, self.at <= self.store.clock()
        for first in range(0, len(waiting), _AT_ONCE):
            # each piece is woken at an instant of its own, so that no transaction has to hold them all; what they
            # decide is decided at the engine's clock, which is not before the last of these instants
            instant = self.at - (len(waiting) - first - 1) // _AT_ONCE if begun else self.at
            states = self.store.load(waiting[first : first + _AT_ONCE]).values()
            count += self._commit([state for state in states if self._arm(state, instant)])
        return count

    def _waits(self, state: State) -> bool:
        if state.wake_at is not None and state.wake_at <= self.at:
            return False
        changed = self.changed.get(kind_of(state.id), ())
        return self.placing or any(trigger.awaits(state) for trigger in changed)

    def _arm(self, state: State, instant: int) -> bool:
        """Bring one subject in line, to be woken at an instant; False when there was nothing to do."""
        part = self.plan.part(state.id)
        mine = [it for it in self.admitting if it in part.admitting]
        noted = [it.noted(state, self.at, instant, part.env) for it in mine]
        if self.placing and (part is not self.plan or kind_of(state.id) == USER):
            place(part, Moment(state, None, self.at, self.at, part.env))
        if self._waits(state) or any(noted):
            state.wake_at = instant if state.wake_at is None else min(instant, state.wake_at)
            return True
        return self.placing

    def _commit(self, states: list[State]) -> int:
        if states:
            self.store.commit(
                Batch(
                    clock=self.store.clock(), states=states, events=[], effects=[], answers=[], resources={},
                    decisions=[], goals=[], rejected=[], positions={},
                )
            )  # fmt: skip
        return len(states)


def _timed(plan: Plan) -> list[tuple[str, Trigger]]:
    open_ = [playbook for playbook in plan.playbooks if not playbook.paused]
    return [(playbook.subject, it) for playbook in open_ for it in playbook.triggers if it.own and it.stamp]


def _standing(plan: Plan) -> list[Standing]:
    open_ = [playbook for playbook in plan.playbooks if not playbook.paused]
    return [it for playbook in open_ for it in playbook.triggers if isinstance(it, Standing) and it.of_members]
