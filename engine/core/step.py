"""The one decision function of Drumbeat.

Rule 1: windows are measured at the event's own time, decisions happen at ``now`` (in ``simulate`` the two are equal).
Rule 2: a playbook that fails for one subject is recorded as ``error`` for it, and the others go on; an error is
neither true nor false, so it never sends.
Rule 3: order within one event: state first (traits, history, tiers, segments), then playbooks by (priority descending,
id), of each first its goal, its exits, its waits, then new entries.
Rule 4: at a Reserve the turn stops and goes on with the Answer; nothing else happens in between.

``Turn`` takes one event or one wake-up of one subject at a time; it keeps nothing of the one before. The caller loops::

    ask = turn.go(state, event, now)
    while ask is not None:
        ask = turn.answer(desk.take(ask, now))
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

from engine.core import earning
from engine.core.changing import Changing
from engine.core.couponing import MOVING
from engine.core.fold import Folding, seat
from engine.core.fuse import DONE, SLOW, unsure
from engine.core.groups import MEMBER
from engine.core.instants import format_instant
from engine.core.journeys import Run
from engine.core.judging import ALL, NOTABLE, SILENT, Task
from engine.core.kinds import Trigger
from engine.core.model import Answer, Event, GoalWatch, Journey, Release, Reserve, State, Why
from engine.core.moment import Moment, Value
from engine.core.plan import Dispatch, Playbook, Sieve, zone_of
from engine.core.slots import Due
from engine.core.slotting import Slotting
from engine.core.tasks import escalate
from engine.core.terms import end_terms
from engine.core.watch import forget, place, watch

__all__ = ["ALL", "DONE", "NOTABLE", "SILENT", "SLOW", "Turn"]

_WAKES = {"time": "wait"}
"""What a wake-up is called in traces, by what the journey waited for; the others are called by their own name."""


class Turn(Slotting, Changing):
    """Decides events and wake-ups, one at a time.

    Parameters
    ----------
    plan: what to decide by.
    out: where decisions go; the caller empties it.
    tracing: SILENT, NOTABLE or ALL.
    """

    __slots__ = ()

    # ------------------------------------------------------------------ driving

    def go(self, state: State, event: Event | None, now: int) -> Reserve | None:
        """Begin with an event, or a wake-up (None); the first request for a scarce unit, or None at the end."""
        self._face(state, event, now)
        if now > state.clock:
            state.clock = now
        if event is None:
            self._wake()
        else:
            self._event(event)
        return self._drive()

    def enter(self, state: State, event: Event, now: int, place_: int) -> Reserve | None:
        """Go on after the short way, at what it said."""
        changes = self.m.changes
        self._face(state, event, now)
        self.m.changes = changes
        if now > state.clock:
            state.clock = now
        self._sieve(self.dispatch.get(event.type, self.plan.default), place_)
        return self._drive()

    def slot(self, state: State, due: Due, why: list[Why], now: int) -> Reserve | None:
        """Let a subject in at a slot; ``why`` is what ``invited`` gave."""
        self._face(state, None, now)
        if now > state.clock:
            state.clock = now
        if self.plan.watching:
            place(self.plan, self.m)
        self._slot(due, why)
        return self._drive()

    def answer(self, answer: Answer) -> Reserve | None:
        """Go on with the answer to the last request."""
        promised = self.promised.pop(answer.key, None)
        if promised is not None:
            promised(answer)
            return self._drive()
        for journey in list(self.state.journeys):
            waiting = journey.waiting
            if waiting is not None and waiting.kind == "answer" and waiting.key == answer.key:
                self._answered(journey, answer)
                break
        return self._drive()

    def _occurrence(self) -> str:
        """What is being decided, as part of effect keys."""
        return self.event.id if self.event is not None else f"wake:{format_instant(self.now)}"

    def _drive(self) -> Reserve | None:
        while not self.asks:
            if not self.tasks:
                self._retime()
                return None
            self.tasks.popleft()()
        return self.asks.pop(0)

    # ------------------------------------------------------------------ one event

    def _event(self, event: Event) -> None:
        plan, state = self.plan, self.state
        dispatch = plan.dispatch.get(event.type, plan.default)
        if plan.watching:
            if event.history:
                for standing in plan.admitting:
                    standing.told_by_history(state)
            place(plan, self.m)
        changes = self._fold(event, dispatch)
        if not self._acts(event, dispatch):
            return
        if event.type == "user.deleted":
            forget(state)
        elif plan.watching:
            watch(self, self._occurrence())
        self.m.changes = changes
        if self.tracing == ALL:
            self._plan_event(event, dispatch, all_of_them=True)
        elif state.journeys or state.goals:
            self._plan_event(event, dispatch, all_of_them=False)
        elif dispatch.sieves:
            self._sieve_from(dispatch, 0)

    def _sieve(self, dispatch: Dispatch, place_: int) -> None:
        """New entries, when nobody wants to know why not: only what passes every test is looked at closer.

        ``place_``: the first sieve that lets the event in, or that cannot be judged, as ``following`` tells it.
        """
        m, event, sieves = self.m, self.event, dispatch.sieves
        while place_ != DONE:
            certain = place_ >= 0
            here = place_ if certain else unsure(place_)
            sieve = sieves[here]
            m.trigger, m.vars = sieve.trigger, sieve.variables
            if certain and sieve.single and event is not None:
                self._enter(sieve.playbook, sieve.triggers[0], event, event.id, [], judged=True)
            else:
                self._enter_any(sieve.playbook, sieve.triggers)
            if self.asks:
                if here + 1 < len(sieves):
                    self.tasks.append(partial(self._sieve_from, dispatch, here + 1))
                return
            place_ = dispatch.following(m, here + 1)

    def _sieve_from(self, dispatch: Dispatch, start: int) -> None:
        self._sieve(dispatch, dispatch.following(self.m, start))

    def _fold(self, event: Event, dispatch: Dispatch) -> dict[str, tuple[Any, Any]] | None:
        state, changes = self.state, event.changes
        if dispatch.fold is not None and (dispatch.fold_internal or not event.internal):
            plan = self.plan
            groups = None if plan.grouped else plan.groups
            folding = Folding(plan.badges, groups, plan.accounts, plan.lapses, plan.roles)
            if event.type == "user.deleted":
                # those that have yet to begin first, so that none of them begins now
                for journey in sorted(state.journeys, key=lambda it: it.at is not None):
                    self.end(journey, "exited", "user.deleted")
                for goal in state.goals:
                    self.cancel(goal.queued, "user.deleted")
                self.out.erased.append((state.id, event.time))
                earning.forget(self, event)
                if plan.grouped:
                    self._leave_all(event)
            dispatch.fold(state, event, folding)
            self.out.releases.extend(folding.releases)
            self.out.entries.extend(folding.entries)
            changes = folding.changes
            if event.type in MOVING:
                self.coupon_event(event)
            # other traits than these move no timer
            self.touched = changes is None or not self.plan.retimed.isdisjoint(changes)
        if dispatch.series:
            zone = zone_of(state, self.plan.env) if dispatch.local else self.plan.env.zone
            for series in dispatch.series:
                series.update(state, event, zone)
        if dispatch.activity and not event.internal and (state.last_active is None or event.time > state.last_active):
            state.last_active = event.time
        for clock in dispatch.clocks:
            if event.time > state.memory.get(clock, -1):
                state.memory[clock] = event.time
        if dispatch.rules:
            earning.follow(self, event, dispatch.rules)
        return changes

    def _leave_all(self, event: Event) -> None:
        """The groups of somebody who is erased are told that it left."""
        for group in self.state.groups:
            self.out.emits.append(
                Event(
                    id=f"{event.id}:left:{group}", type="group.left", time=event.time, user=self.state.id,
                    group=group, depth=event.depth + 1, internal=True, changes={MEMBER: (True, False)},
                )
            )  # fmt: skip

    def _acts(self, event: Event, dispatch: Dispatch) -> bool:
        """May it start or move anything? History and events older than ``act_within`` only change state."""
        if event.history:
            self.touched = True
            forget(self.state)
            return False
        if self.now - event.time <= self.plan.act_within:
            return True
        self.touched = True
        for sieve in dispatch.sieves:
            # one that goes by time alone would not have started here
            if not all(trigger.own and not trigger.listens() for trigger in sieve.triggers):
                self.note(sieve.playbook, "late", [])
        return False

    def _plan_event(self, event: Event, dispatch: Dispatch, *, all_of_them: bool) -> None:
        """Line up what this event may do, by rank of the playbooks."""
        todo: list[tuple[int, int, Task]] = []
        state, of, type_ = self.state, self.plan.of, event.type
        for goal in state.goals:
            playbook = of(goal)
            if playbook is not None and playbook.goal is not None and type_ in playbook.goal.events:
                todo.append((playbook.rank, 0, self._goal_task(playbook, goal, event)))
        for journey in state.journeys:
            playbook = of(journey)
            if playbook is not None and self._concerns(playbook, journey, type_):
                todo.append((playbook.rank, 1, self._journey_task(playbook, journey, event)))
        if not todo and not all_of_them:
            if dispatch.sieves:
                self._sieve_from(dispatch, 0)
            return
        for sieve in dispatch.sieves:
            todo.append((sieve.playbook.rank, 2, self._enter_task(sieve)))
        if len(todo) > 1:
            todo.sort(key=_by_rank)
        self.tasks.extend(task for _, _, task in todo)

    def _concerns(self, playbook: Playbook, journey: Journey, type_: str) -> bool:
        """May an event of this type do anything to the journey? It does nothing to one that has yet to begin."""
        if journey.at is None and journey.waiting is not None:
            return False
        if playbook.always or type_ in playbook.exit_events:
            return True
        waiting = journey.waiting
        if waiting is None or waiting.kind != "event":
            return False
        node = playbook.nodes.get(journey.at or "")
        return node is not None and type_ in node.action.hears()

    def _goal_task(self, playbook: Playbook, goal: GoalWatch, event: Event) -> Task:
        def judge() -> None:
            spec = playbook.goal
            if spec is None or not goal.started <= event.time <= goal.until:
                return
            m = self._arriving(playbook, event, goal.entry)
            reached = self._judge(spec.test, m, "goal.if", [], playbook) if spec.test is not None else True
            if not reached:
                return
            self.state.goals = [it for it in self.state.goals if it is not goal]
            self.out.goals.append((playbook.id, goal.occurrence, self.state.id, goal.held, self.now))
            if spec.value is not None and (worth := _worth(spec.value, m)) is not None:
                self.out.worth.append((len(self.out.goals) - 1, worth))
            running = self._find(playbook.id, goal.occurrence)
            if spec.then != "exit":
                return
            self.cancel(goal.queued, "goal")
            if running is not None:
                self.end(running, "finished", "goal")

        return judge

    def _journey_task(self, playbook: Playbook, journey: Journey, event: Event) -> Task:
        def move() -> None:
            if not self._alive(journey) or event.time < journey.started:
                return
            if self._exits(playbook, journey, event):
                return
            waiting = journey.waiting
            if waiting is None or waiting.kind != "event" or event.time < waiting.since:
                return
            node = playbook.nodes.get(journey.at or "")
            if node is None or event.type not in node.action.hears():
                return
            m = self._arriving(playbook, event, journey.entry)
            m.steps = journey.results
            run = Run(self, playbook, journey, node, m)
            try:
                wanted = node.action.wants(run, m)
            except Exception as error:  # one playbook's fault must not stop the others
                self._park(playbook, journey, node, error)
                return
            if wanted and not playbook.paused:
                self._resume(playbook, journey, node, event)
            elif wanted and waiting.event is None and (waiting.until is None or event.time <= waiting.until):
                waiting.until, waiting.event = self.now, event  # it goes on with it when it is live again

        return move

    def _enter_task(self, sieve: Sieve) -> Task:
        return lambda: self._enter_any(sieve.playbook, sieve.triggers)

    # ------------------------------------------------------------------ one wake-up

    def _wake(self) -> None:
        plan, state = self.plan, self.state
        self.touched = True
        if state.holds:
            self._free_seats()
        if state.tasks:
            escalate(self)
        if state.lapses:
            self.lapse()
        if state.roles:
            end_terms(self)
        if plan.watching:
            self._place_before()
        if state.purses:
            earning.wake(self)
        if plan.watching and self.now >= plan.env.history.get("until", 0):
            watch(self, self._occurrence())
        todo: list[tuple[int, int, int, int, Task]] = []
        for journey in state.journeys:
            playbook = plan.of(journey)
            waiting = journey.waiting
            if playbook is None or (waiting is not None and waiting.kind == "queue"):
                continue
            until = self.now
            if waiting is not None and waiting.until is not None and waiting.until < until:
                until = waiting.until
            todo.append((-playbook.priority, until, playbook.rank, 1, self._due_task(playbook, journey)))
        if plan.timers:
            self._spend_timers(todo)
        if len(todo) > 1:
            todo.sort(key=_by_due)
        for it in todo:
            self.tasks.append(it[4])

    def _spend_timers(self, todo: list[tuple[int, int, int, int, Task]]) -> None:
        due: dict[str, list[Trigger]] = {}
        m = self.m
        for timer in self.plan.timers:
            trigger = timer.triggers[0]
            if trigger.due(m):
                due.setdefault(timer.playbook.id, []).append(trigger)
        for id_, triggers in due.items():
            playbook = self.plan.by_id[id_]
            todo.append((-playbook.priority, self.now, playbook.rank, 2, self._timer_task(playbook, triggers)))

    def _place_before(self) -> None:
        """Put a subject where it stood until now.

        Somebody known from history alone stands there, or this very move would be lost; but not where it stood before
        the end of the history, whose moves are nobody's.
        """
        self.m.time = self.m.now = max(self.now - 1, self.plan.env.history.get("until", 0))
        place(self.plan, self.m)
        self.m.time = self.m.now = self.now

    def _free_seats(self) -> None:
        state = self.state
        for hold in list(state.holds):
            if hold.until is not None and hold.until <= self.now:
                state.holds = [it for it in state.holds if it is not hold]
                self.out.releases.append(Release(key=hold.key, kind="seat", name=hold.group, unit=hold.room))
                self.out.entries.append(seat(state, hold, "released", -1, self.now))

    def _due_task(self, playbook: Playbook, journey: Journey) -> Task:
        def move() -> None:
            if not self._alive(journey):
                return
            self.cause = {"wake": "time"}
            if playbook.always and journey.at is not None and self._exits(playbook, journey, None):
                return
            waiting = journey.waiting
            if waiting is None or waiting.until is None or waiting.until > self.now or playbook.paused:
                return
            if waiting.kind == "slot":
                self.cause = {"wake": "slot"}
                self._rejudge(playbook, journey)
                return
            if waiting.kind == "rest":
                self.cause = {"wake": "again_after"}
                self._rested(playbook, journey)
                return
            node = playbook.nodes.get(journey.at or "")
            if node is None:
                self.end(journey, "exited", "step is gone")
                return
            if waiting.kind == "begin":
                self._begin(playbook, journey, node)
                return
            word = node.action.word if waiting.kind == "event" else _WAKES.get(waiting.kind, waiting.kind)
            self.cause = {"wake": word}
            self._resume(playbook, journey, node, waiting.event)

        return move

    def _timer_task(self, playbook: Playbook, triggers: list[Trigger]) -> Task:
        def enter() -> None:
            why: list[Why] = []
            for trigger in triggers:
                self.cause = {"wake": trigger.reason}
                if self._enter(playbook, trigger, None, self._occurrence(), why):
                    return
            if why:
                self.note(playbook, "skipped", why)

        return enter


def _by_due(todo: tuple[int, int, int, int, Task]) -> tuple[int, int, int, int]:
    """Order of work of one wake-up, and so of cap slots: priority, due time, playbook; new entries last."""
    return todo[:4]


def _by_rank(todo: tuple[int, int, Task]) -> tuple[int, int]:
    """Order of work within one instant: rank of the playbook, then goals, journeys, new entries."""
    return todo[0], todo[1]


def _worth(value: Value, m: Moment) -> Decimal | None:
    """What a goal is worth; None where that is no number: a goal that was reached stays one."""
    try:
        found = value.get(m)
    except Exception:
        return None
    if isinstance(found, bool) or not isinstance(found, int | Decimal):
        return None
    worth = Decimal(found)
    return worth if worth.is_finite() else None
