"""A journey on its way: from step to step, waiting, resumed, ended."""

from __future__ import annotations

from engine.core import rewards
from engine.core.couponing import Couponing
from engine.core.journeys import Run
from engine.core.judging import ALL, failed
from engine.core.kinds import STOP, WAIT, Pause
from engine.core.model import Answer, Event, Journey, Waiting, Why
from engine.core.moment import Moment
from engine.core.plan import Node, Playbook
from engine.core.tasks import withdraw
from engine.core.watch import watch
from engine.errors import MissingVariable

_STEP_LIMIT = 1_000
MOVES = {"enters": "segment.entered", "leaves": "segment.left"}
"""How an exit names a move -> the event of it."""


class Moving(Couponing):
    """Moves journeys; every fault of a step stays with its own journey."""

    __slots__ = ()

    def _resume(self, playbook: Playbook, journey: Journey, node: Node, cause: Event | Answer | None) -> None:
        journey.waiting = None
        if self.full:
            self.overflow(playbook, node.path or node.id)
            self._hold_still(journey)
            return
        m = self._inside(playbook, journey)
        run = Run(self, playbook, journey, node, m)
        if cause.__class__ is Answer:
            run.known = cause.key  # what was asked for under the step's own key
        try:
            following = node.action.resume(run, cause)
        except Exception as error:  # as above
            following = self._rescue(run, error)
        if self.tracing == ALL and not isinstance(cause, Answer):
            self.note(playbook, "advanced", [])
        self._go_on(playbook, journey, following, m)

    def _go_on(self, playbook: Playbook, journey: Journey, following: Node | Pause | None, m: Moment) -> None:
        if following is WAIT:
            return
        if following is STOP:
            self.end(journey, "finished", "stop")
            return
        self._advance(playbook, journey, following, m)  # type: ignore[arg-type]  # a Pause is WAIT or STOP

    def _advance(self, playbook: Playbook, journey: Journey, node: Node | None, m: Moment | None = None) -> None:
        """Walk step by step until the journey waits or ends; ``m``: this journey at this instant, if it is at hand."""
        if m is None:
            m = self._inside(playbook, journey)
        for _ in range(_STEP_LIMIT):
            if node is None:
                self.end(journey, "finished", "end", playbook)
                return
            journey.at = node.id
            if journey.passed and node.id in journey.passed:  # taken on the version it came from
                node = node.next
                continue
            if node.guard is not None and not (journey.rounds and node.id in journey.rounds):
                try:
                    open_ = node.guard.test(m)
                except Exception as error:  # as above
                    self._park(playbook, journey, node, error)
                    return
                if not open_:
                    node = node.next
                    continue
            if self.full:
                self.overflow(playbook, node.path or node.id)
                self._hold_still(journey)
                return
            run = Run(self, playbook, journey, node, m)
            try:
                following = node.action.run(run)
            except Exception as error:  # as above
                following = self._rescue(run, error)
            if self.moved:
                self._climb(run)
            if following is WAIT:
                return
            if following is STOP:
                self.end(journey, "finished", "stop")
                return
            node = following  # type: ignore[assignment]  # a Pause is WAIT or STOP
        self.end(journey, "exited", f"more than {_STEP_LIMIT} steps at one instant")

    def _climb(self, run: Run) -> None:
        """A step changed what ladders and segments look at: they move at once."""
        self.moved = False
        if self.plan.watching:
            watch(self, run.key())

    def _rescue(self, run: Run, error: Exception) -> Node | Pause | None:
        """A step failed: ``parks`` for conditions, else it has its row and goes on as its ``on_error`` says."""
        node = run.node
        self.note(run.playbook, "error", [failed(f"{node.path or node.id}", node.id, error)])
        if getattr(error, "parks", False):
            return self._hold_still(run.journey)
        node.action.failed(run, "missing_variable" if isinstance(error, MissingVariable) else "error")
        if node.on_error == "stop":
            return STOP
        if node.rescue is not None and node.rescue.first is not None:
            return node.rescue.first
        return node.next

    def _park(self, playbook: Playbook, journey: Journey, node: Node, error: Exception) -> None:
        self.note(playbook, "error", [failed(f"{node.path or node.id}.if", node.id, error)])
        self._hold_still(journey)

    def _hold_still(self, journey: Journey) -> Pause:
        journey.waiting = Waiting(kind="parked")
        return WAIT

    def _drop(self, journey: Journey) -> None:
        journeys = self.state.journeys
        alone = len(journeys) == 1 and journeys[0] is journey
        self.state.journeys = () if alone else [it for it in journeys if it is not journey]

    def end(self, journey: Journey, verdict: str, reason: str, playbook: Playbook | None = None) -> None:
        """End a journey; the next one in its queue begins. ``playbook``: the version it is on, where that is known."""
        state = self.state
        self._drop(journey)
        if state.tasks:
            withdraw(state, journey)
        if journey.grants:
            self.give_back(journey)
        if journey.reserved:
            rewards.end(self, journey)
            if self.plan.watching and reason != "user.deleted":
                watch(self, f"{journey.occurrence}:{journey.playbook}|{journey.key}:released")
        newest = self.plan.by_id.get(journey.playbook)
        playbook = playbook or self.plan.of(journey) or newest or self.plan.archived.get(journey.playbook)
        if playbook is None:
            return
        if journey.at is None and journey.waiting is not None:  # it never began
            self.note(playbook, "skipped", [Why(at="entry", value=False, text=reason)])
            return
        if journey.queued:
            self._queue_of(playbook, journey, verdict, reason)
        # entry goes by the playbook and not by its version: the newest may ask for an end that this one does not need
        entry = playbook.entry if newest is None else newest.entry
        if entry.again_after is not None or playbook.entry.again_after is not None:
            state.ends = {**state.ends, f"{journey.playbook}|{journey.key}": self.now}
        self.out.lives.append((playbook.id, verdict, journey.held is not None))
        if verdict == "exited":
            self.out.milestones.append((playbook.id, journey.occurrence, state.id, verdict, reason, self.now))
        if self.tracing == ALL:
            self.note(playbook, verdict, [Why(at="end", value=True, text=reason)])
        if self.out.marks is not None:
            self.mark(journey, verdict, reason)
        if "journey.finished" in self.plan.told:
            data = {"playbook": playbook.id, "reason": reason}
            key = f"{journey.occurrence}:{journey.playbook}|{journey.key}:finished"
            self.tell("journey.finished", data, key, None)
        queued = entry.mode == "queue" or playbook.entry.mode == "queue"
        if queued and newest is not None and not newest.paused:
            self._next_in_queue(newest, journey.key)

    def _queue_of(self, playbook: Playbook, journey: Journey, verdict: str, reason: str) -> None:
        """What it gave to the outbox is taken back when it ends early, and left to its goal when it ends by itself."""
        if verdict == "exited" or reason == "goal":
            self.cancel(journey.queued, reason)
        elif playbook.goal is not None and playbook.goal.then == "exit":
            for goal in self.state.goals:
                if goal.playbook == playbook.id and goal.occurrence == journey.occurrence:
                    goal.queued = [*goal.queued, *journey.queued]

    def cancel(self, keys: list[str], reason: str) -> None:
        """These effects are not to be sent any more, where that is not too late."""
        self.out.cancels.extend((key, reason) for key in keys)

    def _next_in_queue(self, playbook: Playbook, key: str) -> None:
        """The next waiting entry of a playbook and key begins; see ``entering``."""
        raise NotImplementedError  # a journey ends in a Turn, which knows how to enter

    def _exits(self, playbook: Playbook, journey: Journey, event: Event | None) -> bool:
        """Judge the exits; True when the journey is over (or parked by an error in an exit)."""
        for place_, spec in enumerate(playbook.exits):
            if spec.segment is not None:
                moved = event is not None and event.data.get("segment") == spec.segment
                hit = moved and event is not None and event.type == MOVES[spec.moves or ""]
            elif spec.events:
                hit = event is not None and event.type in spec.events
            else:
                hit = True
            if not hit:
                continue
            if spec.test is not None:
                m = self._arriving(playbook, event, journey.entry)
                m.steps = journey.results
                why: list[Why] = []
                verdict = self._judge(spec.test, m, f"exit[{place_}].if", why, playbook)
                if verdict is None:
                    self._hold_still(journey)
                    return True
                if not verdict:
                    continue
            self.end(journey, "exited", f"exit[{place_}]")
            return True
        return False
