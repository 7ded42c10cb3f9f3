"""A slot and one subject: is it invited, and in it goes.

Rule 1: who is not in the audience is not touched: no field of its state changes.
Rule 2: with ``zone: user`` a wall time comes once for a subject, also when it moves to a zone where that time is still
ahead. Who moves to a zone where it has passed already misses it.
Rule 3: where several triggers of a playbook fall on one instant, the first that settles the matter for a subject is
the only one.
"""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.fold import is_erased
from engine.core.judging import ALL
from engine.core.model import State, Why
from engine.core.plan import zone_of
from engine.core.slots import Due
from engine.core.timing import Timing
from engine.core.watch import place


class Slotting(Timing):
    """Lets subjects in at slots."""

    __slots__ = ()

    def invited(self, state: State, due: Due, now: int) -> list[Why] | None:
        """What was judged when the subject is in the audience and has not had this slot; else None."""
        it = due.scheduled
        trigger, playbook = it.trigger, it.playbook
        if trigger.by_user and due.wall(zone_of(state, self.plan.env)) is None:
            return None
        if state.memory and (is_erased(state) or _had(state, due, zone_of(state, self.plan.env))):
            return None
        self._face(self._placed(state, now), None, now)
        self.cause = {"wake": trigger.reason}
        why: list[Why] = []
        inside = self._judge(trigger.audience, self.m, f"{trigger.path}.audience", why, playbook)
        if inside is False and self.tracing == ALL:
            self.note(playbook, "skipped", why)
        return why if inside else None

    def _placed(self, state: State, now: int) -> State:
        """The state, or where it stands on no ladder yet a copy that does (a ladder is new, or history came in)."""
        plan = self.plan
        if not plan.watching or (state.born and len(state.tiers) == len(plan.ladders)):
            return state
        copy = replace(state, memory=dict(state.memory))
        self._face(copy, None, now)
        place(plan, self.m)
        return copy

    def _slot(self, due: Due, why: list[Why]) -> None:
        """The subject faced is in the audience: let it in, or say why not."""
        it, state = due.scheduled, self.state
        wall, zone = None, ""
        if it.trigger.by_user:
            zone = zone_of(state, self.plan.env)
            wall = due.wall(zone)
        self.cause = {"wake": it.trigger.reason}
        if not self._enter(it.playbook, it.trigger, None, due.occurrence(wall), why):
            if why:
                self.note(it.playbook, "skipped", why)
            return
        if wall is not None:
            state.memory[it.name] = [wall, zone]
        if not it.alone:
            state.memory[f"{it.playbook.id}/slot"] = due.instant


def _had(state: State, due: Due, zone: str) -> bool:
    """Has the subject had this slot in another zone, or the playbook by another trigger at this instant?"""
    it = due.scheduled
    if not it.alone and state.memory.get(f"{it.playbook.id}/slot") == due.instant:
        return True
    last = state.memory.get(it.name) if it.trigger.by_user else None
    if last is None or last[1] == zone:
        return False
    wall = due.wall(zone)
    return wall is not None and wall <= int(last[0])
