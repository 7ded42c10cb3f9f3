"""What a new version of a playbook means for those who are on their way.

Rule 1: a journey stays on the version it began with, unless the newest version says otherwise (``on_change``, and
``migrate`` for single steps). The newest version of the playbook decides, at its publication, once.
Rule 2: looking again changes nothing: who was moved stands on the newest version, who was cancelled is gone.
Rule 3: entry goes by the playbook, never by its version: nobody enters again because of a change.
Rule 4: nothing is done twice: a step that left an effect on the old version is passed over on the new one.
"""

from __future__ import annotations

from functools import partial

from engine.core.chance import effect_key
from engine.core.model import Decision, GoalWatch, Journey, Reserve, State, Waiting, Why
from engine.core.plan import Node, Plan, Playbook, zone_of
from engine.core.subjects import shown_as
from engine.core.timing import Timing

KEEP, CANCEL = "keep", "cancel"
PUBLISH = {"wake": "publish"}
"""Cause of everything that a publication does to a journey."""


def fate(plan: Plan, journey: Journey) -> tuple[str, str]:
    """(what happens to a journey at publication, why): ``keep``, ``cancel``, or the step of the newest version."""
    id_ = journey.playbook
    newest = plan.by_id.get(id_)
    if id_ in plan.archived:
        return CANCEL, "archived"
    if journey.at is None:
        return (KEEP, "") if id_ in plan.statuses else (CANCEL, "removed")
    if newest is None or plan.of(journey) is newest:
        return KEEP, ""
    target = newest.migrate.get(journey.at)
    if target is None and newest.on_change == "move" and journey.at in newest.nodes:
        target = journey.at
    if target is None:
        target = CANCEL if newest.on_change == "cancel" else KEEP
    return target, "changed"


def concerned(plan: Plan, state: State) -> bool:
    """Must a publication look at this subject: does a journey of it change, or was one asleep that may go on?"""
    for journey in state.journeys:
        if fate(plan, journey)[0] != KEEP:
            return True
        waiting, playbook = journey.waiting, plan.of(journey)
        if waiting is None or playbook is None or playbook.paused:
            continue
        if waiting.until is not None and (state.wake_at is None or state.wake_at > waiting.until):
            return True
        if waiting.kind == "queue" and _first_in_queue(state, journey):
            return True
    return False


def _first_in_queue(state: State, journey: Journey) -> bool:
    """Does nothing stand before a queued journey? (The one before it ended while the playbook was paused.)"""
    line = [it for it in state.journeys if it.playbook == journey.playbook and it.key == journey.key]
    return line[0] is journey


class Changing(Timing):
    """Brings a subject's journeys in line with a plan that was published."""

    __slots__ = ()

    def change(self, state: State, now: int, taken: frozenset[str]) -> Reserve | None:
        """As ``Turn.go``, for a publication.

        Parameters
        ----------
        state, now: who, and the engine's clock.
        taken: keys of the subject's effects on record.
        """
        self._face(state, None, now)
        state.clock = max(state.clock, now)
        self.touched = True
        # those that have yet to begin first, so that none of them begins when the one before it ends
        for journey in sorted(state.journeys, key=lambda it: it.at is not None):
            self.tasks.append(partial(self._change, journey, taken))
        self.tasks.append(self._wake_queues)
        return self._drive()

    def _drive(self) -> Reserve | None:
        raise NotImplementedError  # a Turn knows how to go on

    def _change(self, journey: Journey, taken: frozenset[str]) -> None:
        if not self._alive(journey):
            return
        self.cause = PUBLISH
        target, reason = fate(self.plan, journey)
        if target == CANCEL:
            self._cancel(journey, reason)
        elif target != KEEP:
            self._move_to(journey, self.plan.by_id[journey.playbook], target, taken)
        elif journey.waiting is not None and journey.waiting.kind == "slot":
            self._book_again(journey, journey.waiting)

    def _book_again(self, journey: Journey, waiting: Waiting) -> None:
        """Slots that passed unused while a playbook stood still are booked anew, or all would enter in one instant."""
        playbook = self.plan.of(journey)
        if playbook is not None and not playbook.paused and (waiting.until or self.now) < self.now:
            self._rested(playbook, journey)

    def _cancel(self, journey: Journey, reason: str) -> None:
        """End a journey, and take back what of it waits in the outbox."""
        self._tell_change(journey, "exited" if journey.at is not None else "skipped", reason)
        self.end(journey, "exited", reason)

    def _key(self, journey: Journey, node: Node) -> str:
        return effect_key(journey.playbook, node.id, self.state.id, journey.key, journey.occurrence, "")

    def _move_to(self, journey: Journey, newest: Playbook, target: str, taken: frozenset[str]) -> None:
        """Go on with the newest version at one of its steps."""
        old, stood = self.plan.of(journey), journey.at or ""
        journey.passed = tuple(node.id for node in newest.nodes.values() if self._key(journey, node) in taken)
        same = target == stood and old is not None and _same_verb(old.nodes.get(stood), newest.nodes[target])
        waiting = journey.waiting
        if not same or waiting is None or waiting.kind == "parked":
            journey.at, journey.waiting, journey.reached = target, Waiting(kind="begin", until=self.now), None
        text = f"moved from version {journey.version or '?'} at {stood} to {newest.version} at {target}"
        journey.version = newest.version
        self._move_goal(journey, old, newest)
        self._tell_change(journey, "advanced", text)

    def _move_goal(self, journey: Journey, old: Playbook | None, newest: Playbook) -> None:
        """The goal of the newest version counts from the beginning of the journey; one that was reached stays so."""
        goals = self.state.goals
        open_ = any(it.playbook == journey.playbook and it.occurrence == journey.occurrence for it in goals)
        goals = [it for it in goals if it.playbook != journey.playbook or it.occurrence != journey.occurrence]
        if newest.goal is not None and (open_ or old is None or old.goal is None):
            until = newest.goal.within.after(journey.started, zone_of(self.state, self.plan.env))
            goals.append(
                GoalWatch(
                    playbook=journey.playbook,
                    key=journey.key,
                    occurrence=journey.occurrence,
                    started=journey.started,
                    until=until,
                    held=journey.held is not None,
                    entry=journey.entry,
                    version=newest.version,
                )
            )
        self.state.goals = goals

    def _tell_change(self, journey: Journey, verdict: str, text: str) -> None:
        """Always on record: a replay of the subject's events cannot find it out."""
        user, group = shown_as(self.state.id)
        self.out.trace.append(
            Decision(
                time=self.now,
                playbook=journey.playbook,
                user=user,
                group=group,
                cause=dict(PUBLISH),
                verdict=verdict,
                why=[Why(at="version", value=True, text=text)],
            )
        )

    def _wake_queues(self) -> None:
        """Who is first in a queue begins, where nobody went before because the playbook was paused."""
        for journey in list(self.state.journeys):
            waiting, playbook = journey.waiting, self.plan.of(journey)
            if (
                waiting is not None
                and waiting.kind == "queue"
                and playbook is not None
                and not playbook.paused
                and _first_in_queue(self.state, journey)
            ):
                self.cause = PUBLISH
                self._rest(playbook, journey)

    def _begin(self, playbook: Playbook, journey: Journey, node: Node) -> None:
        """Take the step a journey was moved to."""
        journey.waiting = None
        self.cause = {"wake": "moved"}
        self.note(playbook, "advanced", [])
        self._advance(playbook, journey, node)


def _same_verb(old: Node | None, new: Node) -> bool:
    return old is not None and type(old.action) is type(new.action)
