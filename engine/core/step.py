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

from collections import deque
from collections.abc import Callable
from typing import Any

from engine.core.chance import bucket, effect_key
from engine.core.fold import Folding
from engine.core.instants import format_instant
from engine.core.journeys import Run
from engine.core.kinds import STOP, WAIT, Pause, Trigger
from engine.core.model import (
    MAX_DEPTH,
    Answer,
    Decision,
    Effect,
    Event,
    GoalWatch,
    Journey,
    Out,
    Release,
    Reserve,
    State,
    Waiting,
    Why,
)
from engine.core.moment import Condition, Moment
from engine.core.plan import Dispatch, Node, Plan, Playbook, Sieve, zone_of
from engine.core.watch import forget, next_move, place, watch

Task = Callable[[], None]

SILENT, NOTABLE, ALL = 0, 1, 2
"""How much is traced: nothing, what is out of the ordinary (errors, limits, late), every verdict."""

DONE, SLOW = -1, -2
"""What ``Turn.quick`` says when no sieve let the event through, and when the event needs the long way."""

_STEP_LIMIT = 1_000
_NOTABLE = frozenset({"error", "capped", "late"})


class Turn:
    """Decides events and wake-ups, one at a time.

    Parameters
    ----------
    plan: what to decide by.
    out: where decisions go; the caller empties it.
    tracing: SILENT, NOTABLE or ALL.
    """

    __slots__ = (
        "asks", "cause", "depth", "dispatch", "event", "m", "now", "out", "plan", "state", "tasks", "touched", "tracing",
    )  # fmt: skip

    def __init__(self, plan: Plan, out: Out, tracing: int = SILENT) -> None:
        self.plan = plan
        self.dispatch = plan.dispatch
        self.out = out
        self.tracing = tracing
        self.asks: list[Reserve] = []
        self.tasks: deque[Task] = deque()
        self.touched = False  #: something with a timer changed, so ``wake_at`` must be found anew
        self.depth = 0
        self.now = 0
        self.event: Event | None = None
        self.cause: dict[str, str] = {}
        self.state = State(id="")
        self.m = Moment(self.state, None, 0, 0, plan.env)

    # ------------------------------------------------------------------ driving

    def go(self, state: State, event: Event | None, now: int) -> Reserve | None:
        """Begin with an event, or a wake-up (None); the first request for a scarce unit, or None when all is decided."""
        self._face(state, event, now)
        if now > state.clock:
            state.clock = now
        if event is None:
            self._wake()
        else:
            self._event(event)
        return self._drive()

    def _face(self, state: State, event: Event | None, now: int) -> None:
        """Turn to a subject and what happened to it."""
        self.state, self.event, self.now = state, event, now
        self.touched = False
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
        if not dispatch.short or state.journeys or state.goals or event.history or now - time > self.plan.act_within:
            return SLOW
        if dispatch.series:
            zone = zone_of(state, self.plan.env) if dispatch.local else ""
            for series in dispatch.series:
                series.update(state, event, zone)
        if dispatch.activity and not event.internal:
            last = state.last_active
            if last is None or time > last:
                state.last_active = time
        for clock in dispatch.clocks:
            if time > state.memory.get(clock, -1):
                state.memory[clock] = time
        idle = dispatch.idle
        if idle is not None and (state.wake_at is None or time + idle < state.wake_at):
            state.wake_at = time + idle
        if not dispatch.sieves:
            return DONE
        m = self.m
        m.state, m.event, m.data, m.time, m.now = state, event, event.data, time, now
        place_ = 0
        try:
            for sieve in dispatch.sieves:
                if sieve.needs:
                    m.trigger, m.vars = sieve.trigger, sieve.variables
                if sieve.first is None:
                    return place_
                if sieve.first(m):
                    for test in sieve.rest:
                        if not test(m):
                            break
                    else:
                        return place_
                place_ += 1
        except Exception:  # the long way judges it again and tells the error
            return place_
        return DONE

    def enter(self, state: State, event: Event, now: int, place_: int) -> Reserve | None:
        """Go on after ``quick`` at the sieve it named."""
        self._face(state, event, now)
        if now > state.clock:
            state.clock = now
        self._sieve(self.dispatch.get(event.type, self.plan.default).sieves, place_)
        return self._drive()

    def answer(self, answer: Answer) -> Reserve | None:
        """Go on with the answer to the last request."""
        for journey in list(self.state.journeys):
            waiting = journey.waiting
            if waiting is not None and waiting.kind == "answer" and waiting.key == answer.key:
                self._answered(journey, answer)
                break
        return self._drive()

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
            place(plan, self.m)
        changes = self._fold(event, dispatch)
        if not self._acts(event, dispatch):
            return
        if plan.watching:
            watch(self, event.id)
        self.m.changes = changes
        if self.tracing == ALL:
            self._plan_event(event, dispatch, all_of_them=True)
        elif state.journeys or state.goals:
            self.touched = True
            self._plan_event(event, dispatch, all_of_them=False)
        elif dispatch.sieves:
            self._sieve(dispatch.sieves, 0)

    def _sieve(self, sieves: tuple[Sieve, ...], start: int) -> None:
        """New entries, when nobody wants to know why not: only what passes every test is looked at closer."""
        m = self.m
        for place_ in range(start, len(sieves)):
            sieve = sieves[place_]
            m.trigger, m.vars = sieve.trigger, sieve.variables
            try:
                passed = sieve.first is None or (sieve.first(m) and all(test(m) for test in sieve.rest))
            except Exception:  # judged again below, where the error is told
                passed = True
            if not passed:
                continue
            self._enter_any(sieve.playbook, sieve.triggers)
            if self.asks:
                if place_ + 1 < len(sieves):
                    self.tasks.append(lambda: self._sieve(sieves, place_ + 1))
                return

    def _fold(self, event: Event, dispatch: Dispatch) -> dict[str, tuple[Any, Any]] | None:
        state, changes = self.state, event.changes
        if dispatch.fold is not None and (dispatch.fold_internal or not event.internal):
            folding = Folding(self.plan.badges, self.plan.groups, self.plan.accounts)
            if event.type == "user.deleted":
                for journey in list(state.journeys):
                    self.end(journey, "exited", "user.deleted")
            dispatch.fold(state, event, folding)
            self.out.releases.extend(folding.releases)
            changes = folding.changes
            self.touched = True
        if dispatch.series:
            zone = zone_of(state, self.plan.env) if dispatch.local else self.plan.env.zone
            for series in dispatch.series:
                series.update(state, event, zone)
        if dispatch.activity and not event.internal and (state.last_active is None or event.time > state.last_active):
            state.last_active = event.time
        for clock in dispatch.clocks:
            if event.time > state.memory.get(clock, -1):
                state.memory[clock] = event.time
        return changes

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
            self.note(sieve.playbook, "late", [])
        return False

    def _plan_event(self, event: Event, dispatch: Dispatch, *, all_of_them: bool) -> None:
        """Line up what this event may do, by rank of the playbooks."""
        todo: list[tuple[int, int, Task]] = []
        state, by_id, type_ = self.state, self.plan.by_id, event.type
        for goal in state.goals:
            playbook = by_id.get(goal.playbook)
            if playbook is not None and playbook.goal is not None and type_ in playbook.goal.events:
                todo.append((playbook.rank, 0, self._goal_task(playbook, goal, event)))
        for journey in state.journeys:
            playbook = by_id.get(journey.playbook)
            if playbook is not None and self._concerns(playbook, journey, type_):
                todo.append((playbook.rank, 1, self._journey_task(playbook, journey, event)))
        if not todo and not all_of_them:
            if dispatch.sieves:
                self._sieve(dispatch.sieves, 0)
            return
        for sieve in dispatch.sieves:
            todo.append((sieve.playbook.rank, 2, self._enter_task(sieve)))
        if len(todo) > 1:
            todo.sort(key=_by_rank)
        self.tasks.extend(task for _, _, task in todo)

    def _concerns(self, playbook: Playbook, journey: Journey, type_: str) -> bool:
        """May an event of this type do anything to the journey?"""
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
            running = self._find(playbook.id, goal.occurrence)
            if spec.then == "exit" and running is not None:
                self.end(running, "finished", "goal")

        return judge

    def _journey_task(self, playbook: Playbook, journey: Journey, event: Event) -> Task:
        def move() -> None:
            if not self._alive(journey) or event.time < journey.started:
                return
            if journey.at is None and journey.waiting is not None and journey.waiting.kind in ("queue", "slot"):
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
            if wanted:
                self._resume(playbook, journey, node, event)

        return move

    def _exits(self, playbook: Playbook, journey: Journey, event: Event | None) -> bool:
        """Judge the exits; True when the journey is over (or parked by an error in an exit)."""
        for place_, spec in enumerate(playbook.exits):
            if spec.segment is not None:
                moved = event is not None and event.data.get("segment") == spec.segment
                hit = moved and event is not None and event.type == _MOVES[spec.moves or ""]
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

    def _arriving(self, playbook: Playbook, event: Event | None, entry: Event | None) -> Moment:
        time = event.time if event is not None else self.now
        return Moment(
            self.state, event, time, self.now, self.plan.env, entry=entry, variables=playbook.variables
        )

    def _alive(self, journey: Journey) -> bool:
        return any(it is journey for it in self.state.journeys)

    def _find(self, playbook: str, occurrence: str) -> Journey | None:
        for journey in self.state.journeys:
            if journey.playbook == playbook and journey.occurrence == occurrence:
                return journey
        return None

    # ------------------------------------------------------------------ one wake-up

    def _wake(self) -> None:
        plan, state, now = self.plan, self.state, self.now
        self.touched = True
        self._free_seats()
        if plan.watching:
            place(plan, self.m)
            watch(self, f"wake:{format_instant(now)}")
        todo: list[tuple[int, int, Task]] = []
        for journey in state.journeys:
            playbook = plan.by_id.get(journey.playbook)
            if playbook is not None:
                todo.append((playbook.rank, 1, self._due_task(playbook, journey)))
        for playbook, trigger in plan.timed:
            if trigger.due(self.m):
                todo.append((playbook.rank, 2, self._timer_task(playbook, trigger)))
        todo.sort(key=_by_rank)
        self.tasks.extend(task for _, _, task in todo)

    def _free_seats(self) -> None:
        state = self.state
        for hold in list(state.holds):
            if hold.until is not None and hold.until <= self.now:
                state.holds = [it for it in state.holds if it is not hold]
                self.out.releases.append(Release(key=hold.key, kind="seat", name=hold.group, unit=hold.room))

    def _due_task(self, playbook: Playbook, journey: Journey) -> Task:
        def move() -> None:
            if not self._alive(journey):
                return
            if playbook.always and journey.at is not None and self._exits(playbook, journey, None):
                return
            waiting = journey.waiting
            if waiting is None or waiting.until is None or waiting.until > self.now:
                return
            if waiting.kind == "slot":
                self.cause = {"wake": "slot"}
                self._rejudge(playbook, journey)
                return
            node = playbook.nodes.get(journey.at or "")
            if node is None:
                self.end(journey, "exited", "step is gone")
                return
            self.cause = {"wake": "wait_for" if waiting.kind == "event" else "wait"}
            self._resume(playbook, journey, node, None)

        return move

    def _timer_task(self, playbook: Playbook, trigger: Trigger) -> Task:
        def enter() -> None:
            self.cause = {"wake": trigger.reason}
            self._enter(playbook, trigger, None, f"wake:{format_instant(self.now)}")

        return enter

    # ------------------------------------------------------------------ entering

    def _enter_task(self, sieve: Sieve) -> Task:
        return lambda: self._enter_any(sieve.playbook, sieve.triggers)

    def _enter_any(self, playbook: Playbook, triggers: tuple[Trigger, ...]) -> None:
        """The first trigger of a playbook that fires settles the matter."""
        m, event = self.m, self.event
        if event is None:
            return
        m.vars = playbook.variables
        for trigger in triggers:
            m.trigger = trigger.id
            try:
                fires = trigger.fires(m)
            except Exception as error:  # one playbook's fault must not stop the others
                self.note(playbook, "error", [_failed(trigger.path, "trigger", error)])
                return
            if fires and self._enter(playbook, trigger, event, event.id):
                return

    def _enter(self, playbook: Playbook, trigger: Trigger, event: Event | None, occurrence: str) -> bool:
        """Judge one entry; True when this trigger settled the matter (another trigger need not be asked)."""
        m = self.m
        m.vars, m.steps, m.trigger = playbook.variables, {}, trigger.id
        why: list[Why] = []
        if trigger.condition is not None:
            verdict = self._judge(trigger.condition, m, f"{trigger.path}.if", why, playbook)
            if verdict is None:
                return True
            if not verdict:
                self.note(playbook, "skipped", why)
                return False
        if not self._conditions(playbook, m, why):
            return True
        try:
            key = _text(playbook.entry.key.get(m)) if playbook.entry.key is not None else ""
        except Exception as error:
            self.note(playbook, "error", [*why, _failed("entry.key", "key", error)])
            return True
        place_ = f"{playbook.id}|{key}"
        refused, queue = self._refused(playbook, place_, key)
        if refused is not None:
            why.append(Why(at="entry", value=False, text=refused))
            self.note(playbook, "skipped", why)
            return True
        journey = Journey(
            playbook=playbook.id, key=key, occurrence=occurrence, started=self.now, at=None, trigger=trigger.id, entry=event
        )
        self.touched = True
        if queue:
            journey.waiting = Waiting(kind="queue")
            self.state.journeys = [*self.state.journeys, journey]
            why.append(Why(at="entry", value=True, text="queue: waits for the running journey to end"))
            self.note(playbook, "skipped", why)
            return True
        self.state.journeys = [*self.state.journeys, journey]
        self._admit(playbook, journey, why)
        return True

    def _conditions(self, playbook: Playbook, m: Moment, why: list[Why]) -> bool:
        """``when`` and the segments of ``entry``; False when refused (and noted)."""
        for place_, condition in enumerate(playbook.when):
            verdict = self._judge(condition, m, f"when[{place_}]", why, playbook)
            if not verdict:
                if verdict is False:
                    self.note(playbook, "skipped", why)
                return False
        entry = playbook.entry
        for names, wanted, word in ((entry.inside, True, "in"), (entry.outside, False, "not_in")):
            for name in names:
                try:
                    inside = self.plan.env.segments[name](m)
                except Exception as error:
                    self.note(playbook, "error", [*why, _failed(f"entry.{word}", name, error)])
                    return False
                if self.tracing == ALL:
                    why.append(Why(at=f"entry.{word}", value=inside == wanted, text=f"in_segment('{name}')", seen={name: inside}))
                # 'in' asks for one of several, 'not_in' for none
                if wanted and inside:
                    break
                if not wanted and inside:
                    self.note(playbook, "skipped", why)
                    return False
            else:
                if wanted and names:
                    self.note(playbook, "skipped", why)
                    return False
        return True

    def _refused(self, playbook: Playbook, place_: str, key: str) -> tuple[str | None, bool]:
        """(why the entry mode refuses or None, must wait in the queue)."""
        entry, state = playbook.entry, self.state
        if entry.mode == "once" and place_ in state.entered:
            return "once: entered before", False
        running = [j for j in state.journeys if j.playbook == playbook.id and j.key == key]
        if running and entry.mode in ("once", "single"):
            return f"{entry.mode}: a journey is running", False
        if not running or entry.mode == "parallel":
            end = state.ends.get(place_)
            if entry.again_after is not None and end is not None:
                free = entry.again_after.after(end, zone_of(state, self.plan.env))
                if self.now < free:
                    return f"again_after {entry.again_after.text}: not before {format_instant(free)}", False
        if running and entry.mode == "queue":
            return None, True
        if entry.mode == "restart":
            for journey in running:
                self.end(journey, "exited", "restart")
        return None, False

    def _admit(self, playbook: Playbook, journey: Journey, why: list[Why]) -> None:
        """Through the limit into the journey."""
        if playbook.entry.limit is None:
            self._start(playbook, journey, why)
            return
        key = effect_key(playbook.id, "entry", self.state.id, journey.key, journey.occurrence)
        journey.waiting = Waiting(kind="answer", key=key)
        match = "drop" if playbook.entry.on_limit == "drop" else "wait"
        self.asks.append(Reserve(key=key, subject=self.state.id, kind="slot", names=[playbook.id], match=match))

    def _slot_answered(self, playbook: Playbook, journey: Journey, answer: Answer) -> None:
        limit = playbook.entry.limit
        text = f"limit {limit.count}/{limit.per}" if limit is not None else "limit"
        if not answer.granted:
            self._drop(journey)
            self.note(playbook, "capped", [Why(at="entry.limit", value=False, text=text)])
        elif answer.at is not None and answer.at > self.now:
            journey.waiting = Waiting(kind="slot", until=answer.at)
            why = Why(at="entry.limit", value=False, text=f"{text}: waits until {format_instant(answer.at)}")
            self.note(playbook, "capped", [why])
        else:
            self._start(playbook, journey, [])

    def _rejudge(self, playbook: Playbook, journey: Journey) -> None:
        """A waiting entry has its slot: its conditions are judged once more, then it begins."""
        m = Moment(
            self.state, journey.entry, self.now, self.now, self.plan.env,
            entry=journey.entry, trigger=journey.trigger, variables=playbook.variables,
        )  # fmt: skip
        why: list[Why] = []
        if self._conditions(playbook, m, why):
            self._start(playbook, journey, why)
        else:
            self._drop(journey)

    def _start(self, playbook: Playbook, journey: Journey, why: list[Why]) -> None:
        state, now = self.state, self.now
        journey.started, journey.waiting = now, None
        place_ = f"{playbook.id}|{journey.key}"
        if playbook.entry.mode == "once":
            state.entered = [*state.entered, place_]
        if playbook.status == "shadow":
            journey.held = "shadow"
        elif playbook.holdout is not None and bucket(playbook.holdout.salt, state.id) < playbook.holdout.percent:
            journey.held = "holdout"
        if playbook.goal is not None:
            until = playbook.goal.within.after(now, zone_of(state, self.plan.env))
            watch_ = GoalWatch(
                playbook=playbook.id, key=journey.key, occurrence=journey.occurrence, started=now, until=until,
                held=journey.held is not None, entry=journey.entry,
            )  # fmt: skip
            state.goals = [*(goal for goal in state.goals if goal.until >= now), watch_]
        self.out.lives.append((playbook.id, "entered", journey.held is not None))
        self.note(playbook, "held_out" if journey.held == "holdout" else "entered", why)
        self.tell("journey.started", {"playbook": playbook.id}, f"{journey.occurrence}:{place_}:started", None)
        self._advance(playbook, journey, playbook.body.first)

    # ------------------------------------------------------------------ moving

    def _resume(self, playbook: Playbook, journey: Journey, node: Node, cause: Event | Answer | None) -> None:
        journey.waiting = None
        run = Run(self, playbook, journey, node, self._inside(playbook, journey))
        try:
            following = node.action.resume(run, cause)
        except Exception as error:  # as above
            following = self._rescue(playbook, journey, node, error)
        if not isinstance(cause, Answer):
            self.note(playbook, "advanced", [])
        self._go_on(playbook, journey, following)

    def _answered(self, journey: Journey, answer: Answer) -> None:
        playbook = self.plan.by_id[journey.playbook]
        if journey.at is None:
            self._slot_answered(playbook, journey, answer)
            return
        self._resume(playbook, journey, playbook.nodes[journey.at], answer)

    def _inside(self, playbook: Playbook, journey: Journey) -> Moment:
        return Moment(
            self.state, journey.entry, self.now, self.now, self.plan.env,
            entry=journey.entry, steps=journey.results, trigger=journey.trigger, variables=playbook.variables,
        )  # fmt: skip

    def _go_on(self, playbook: Playbook, journey: Journey, following: Node | Pause | None) -> None:
        if following is WAIT:
            return
        if following is STOP:
            self.end(journey, "finished", "stop")
            return
        self._advance(playbook, journey, following)  # type: ignore[arg-type]  # a Pause is WAIT or STOP

    def _advance(self, playbook: Playbook, journey: Journey, node: Node | None) -> None:
        """Walk step by step until the journey waits or ends."""
        m = self._inside(playbook, journey)
        for _ in range(_STEP_LIMIT):
            if node is None:
                self.end(journey, "finished", "end")
                return
            journey.at = node.id
            if node.guard is not None:
                try:
                    open_ = node.guard.test(m)
                except Exception as error:  # as above
                    self._park(playbook, journey, node, error)
                    return
                if not open_:
                    node = node.next
                    continue
            run = Run(self, playbook, journey, node, m)
            try:
                following = node.action.run(run)
            except Exception as error:  # as above
                following = self._rescue(playbook, journey, node, error)
            if following is WAIT:
                return
            if following is STOP:
                self.end(journey, "finished", "stop")
                return
            node = following  # type: ignore[assignment]  # a Pause is WAIT or STOP
        self.end(journey, "exited", f"more than {_STEP_LIMIT} steps at one instant")

    def _rescue(self, playbook: Playbook, journey: Journey, node: Node, error: Exception) -> Node | Pause | None:
        """A step failed: ``parks`` for conditions, else as its ``on_error`` says."""
        self.note(playbook, "error", [_failed(f"{node.path or node.id}", node.id, error)])
        if getattr(error, "parks", False):
            return self._hold_still(journey)
        if node.on_error == "stop":
            return STOP
        if node.rescue is not None and node.rescue.first is not None:
            return node.rescue.first
        return node.next

    def _park(self, playbook: Playbook, journey: Journey, node: Node, error: Exception) -> None:
        self.note(playbook, "error", [_failed(f"{node.path or node.id}.if", node.id, error)])
        self._hold_still(journey)

    def _hold_still(self, journey: Journey) -> Pause:
        journey.waiting = Waiting(kind="parked")
        return WAIT

    def _drop(self, journey: Journey) -> None:
        self.state.journeys = [it for it in self.state.journeys if it is not journey]
        self.touched = True

    def end(self, journey: Journey, verdict: str, reason: str) -> None:
        """End a journey; the next one in its queue begins."""
        self._drop(journey)
        playbook = self.plan.by_id.get(journey.playbook)
        if playbook is None:
            return
        place_ = f"{journey.playbook}|{journey.key}"
        if playbook.entry.again_after is not None:
            self.state.ends = {**self.state.ends, place_: self.now}
        self.out.lives.append((playbook.id, verdict, journey.held is not None))
        self.note(playbook, verdict, [Why(at="end", value=True, text=reason)])
        data = {"playbook": playbook.id, "reason": reason}
        self.tell("journey.finished", data, f"{journey.occurrence}:{place_}:finished", None)
        if playbook.entry.mode == "queue":
            self._next_in_queue(playbook, journey.key)

    def _next_in_queue(self, playbook: Playbook, key: str) -> None:
        for journey in self.state.journeys:
            waiting = journey.waiting
            if journey.playbook == playbook.id and journey.key == key and waiting is not None and waiting.kind == "queue":
                journey.waiting = None
                self._admit(playbook, journey, [])
                return

    # ------------------------------------------------------------------ judging, telling, time

    def _judge(self, condition: Condition, m: Moment, at: str, why: list[Why], playbook: Playbook) -> bool | None:
        """True, False, or None for an error (which is noted)."""
        try:
            verdict = condition.test(m)
        except Exception as error:  # an error is neither true nor false
            failed = Why(at=at, value=None, text=condition.text, seen={**condition.seen(m), "error": _words(error)})
            self.note(playbook, "error", [*why, failed])
            return None
        if self.tracing == ALL:
            why.append(Why(at=at, value=verdict, text=condition.text, seen=condition.seen(m)))
        return verdict

    def note(self, playbook: Playbook, verdict: str, why: list[Why]) -> None:
        """Trace a verdict."""
        if self.tracing == ALL or (self.tracing == NOTABLE and verdict in _NOTABLE):
            self.out.trace.append(
                Decision(
                    time=self.now, playbook=playbook.id, user=self.state.id, group=None,
                    cause=self.cause, verdict=verdict, why=why,
                )  # fmt: skip
            )

    def tell(self, type_: str, data: dict[str, Any], key: str, changes: dict[str, tuple[Any, Any]] | None) -> None:
        """Make an event of something the engine did, when somebody listens and the chain is not too long."""
        if type_ in self.plan.told and self.depth < MAX_DEPTH:
            self.out.emits.append(
                Event(
                    id=key, type=type_, time=self.now, user=self.state.id, data=data,
                    depth=self.depth + 1, internal=True, changes=changes,
                )  # fmt: skip
            )

    def record(self, kind: str, key: str, detail: dict[str, Any]) -> None:
        """Record an effect that no playbook made (a ladder's move)."""
        self.out.effects.append(
            Effect(
                key=key, time=self.now, playbook=None, step=None, kind=kind, user=self.state.id, group=None,
                status="planned", reason=None, detail=detail,
            )  # fmt: skip
        )

    def _retime(self) -> None:
        """Set ``wake_at``. Without anything changed it can only be lowered by an inactivity clock, lazily."""
        state, plan = self.state, self.plan
        event = self.event
        if not self.touched and not plan.watching and event is not None:
            dispatch = plan.dispatch.get(event.type, plan.default)
            if not dispatch.retimes:
                if dispatch.idle is not None and not event.internal:
                    deadline = event.time + dispatch.idle
                    if state.wake_at is None or deadline < state.wake_at:
                        state.wake_at = deadline
                return
        earliest = next_move(self.m) if plan.watching else None
        for hold in state.holds:
            earliest = _sooner(earliest, hold.until)
        for journey in state.journeys:
            if journey.waiting is not None:
                earliest = _sooner(earliest, journey.waiting.until)
        self.m.time = self.now
        for _, trigger in plan.timed:
            earliest = _sooner(earliest, trigger.deadline(self.m))
        state.wake_at = earliest


_NOTHING: dict[str, Any] = {}

_MOVES = {"enters": "segment.entered", "leaves": "segment.left"}


def _by_rank(todo: tuple[int, int, Task]) -> tuple[int, int]:
    """Order of work within one instant: rank of the playbook, then goals, journeys, new entries."""
    return todo[0], todo[1]


def _sooner(one: int | None, other: int | None) -> int | None:
    if one is None:
        return other
    return one if other is None or one < other else other


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _failed(at: str, text: str, error: Exception) -> Why:
    return Why(at=at, value=None, text=text, seen={"error": _words(error)})


def _text(value: object) -> str:
    return "" if value is None else str(value)
