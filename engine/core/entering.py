"""Into a journey: trigger, conditions, segments, entry mode, limit, holdout."""

from __future__ import annotations

from typing import Any

from engine.core.chance import effect_key
from engine.core.instants import format_instant
from engine.core.judging import ALL, PUBLISHED, failed
from engine.core.kinds import Trigger
from engine.core.model import Answer, Event, GoalWatch, Journey, Reserve, Waiting, Why
from engine.core.moment import Moment
from engine.core.moving import Moving
from engine.core.plan import Playbook, zone_of

_NO_STEPS: dict[str, Any] = {}


class Entering(Moving):
    """Lets subjects in, or says why not."""

    __slots__ = ()

    def _enter_any(self, playbook: Playbook, triggers: tuple[Trigger, ...]) -> None:
        """The first trigger of a playbook that fires settles the matter."""
        m, event = self.m, self.event
        if event is None:
            return
        m.vars = playbook.variables
        why: list[Why] = []
        for trigger in triggers:
            m.trigger = trigger.id
            try:
                fires = trigger.fires(m)
            except Exception as error:  # one playbook's fault must not stop the others
                self.note(playbook, "error", [*why, failed(trigger.path, "trigger", error)])
                return
            if not fires:
                if self.tracing == ALL:
                    text, seen = trigger.silence(m)
                    why.append(Why(at=trigger.path, value=False, text=text, seen=seen))
            elif self._enter(playbook, trigger, event, event.id, why):
                return
        if why:
            self.note(playbook, "skipped", why)

    def _enter(
        self,
        playbook: Playbook,
        trigger: Trigger,
        event: Event | None,
        occurrence: str,
        why: list[Why],
        *,
        judged: bool = False,
    ) -> bool:
        """Judge one entry; True when this trigger settled the matter, False when its ``if`` left it to the others.

        ``judged``: ``if`` and ``when`` are known to hold.
        """
        m = self.m
        m.vars, m.steps, m.trigger = playbook.variables, _NO_STEPS, trigger.id
        since = self.plan.env.published.get(playbook.id, 0)
        # it comes late, from a time in which there was no playbook; what a verb asks for is meant for now
        if event is not None and event.time < since and not event.internal:
            why.append(Why(at=PUBLISHED, value=False, text=f"published, since {format_instant(since)}"))
            self.note(playbook, "skipped", why)
            return True
        if self.full:
            self.overflow(playbook, trigger.path)
            return True
        if trigger.condition is not None and not judged:
            verdict = self._judge(trigger.condition, m, f"{trigger.path}.if", why, playbook)
            if verdict is None:
                return True
            if not verdict:
                return False
        if not judged and not self._when(playbook, m, why):
            return True
        entry = playbook.entry
        if (entry.inside or entry.outside) and not self._membership(playbook, m, why):
            return True
        try:
            key = _text(entry.key.get(m)) if entry.key is not None else ""
        except Exception as error:
            self.note(playbook, "error", [*why, failed("entry.key", "key", error)])
            return True
        place_ = f"{playbook.id}|{key}"
        slot = self._slot_kept(playbook, key) if entry.mode == "restart" else None
        refused, queue = self._refused(playbook, place_, key)
        if refused is not None:
            why.append(Why(at="entry", value=False, text=refused))
            self.note(playbook, "skipped", why)
            return True
        journey = Journey(
            playbook=playbook.id, key=key, occurrence=occurrence, started=self.now, at=None,
            trigger=trigger.id, entry=event,
        )  # fmt: skip
        if queue:
            journey.waiting = Waiting(kind="queue")
            self.state.journeys = [*self.state.journeys, journey]
            why.append(Why(at="entry", value=True, text="queue: waits for the running journey to end"))
            self.note(playbook, "skipped", why)
            return True
        self.state.journeys = [*self.state.journeys, journey]
        if slot is None and entry.limit is None:
            self._start(playbook, journey, why)
        elif slot is None:
            self._admit(playbook, journey, why)
        else:
            journey.waiting = slot
            text = f"keeps the place of the entry it restarts: waits until {format_instant(slot.until or self.now)}"
            self.note(playbook, "capped", [*why, Why(at="entry.limit", value=False, text=text)])
        return True

    def _conditions(self, playbook: Playbook, m: Moment, why: list[Why]) -> bool:
        """``when`` and the segments of ``entry``; False when refused (and noted)."""
        return self._when(playbook, m, why) and self._membership(playbook, m, why)

    def _when(self, playbook: Playbook, m: Moment, why: list[Why]) -> bool:
        for place_, condition in enumerate(playbook.when):
            verdict = self._judge(condition, m, f"when[{place_}]", why, playbook)
            if not verdict:
                if verdict is False:
                    self.note(playbook, "skipped", why)
                return False
        return True

    def _membership(self, playbook: Playbook, m: Moment, why: list[Why]) -> bool:
        entry = playbook.entry
        for names, wanted, word in ((entry.inside, True, "in"), (entry.outside, False, "not_in")):
            for name in names:
                try:
                    inside = self.plan.env.segments[name](m)
                except Exception as error:
                    self.note(playbook, "error", [*why, failed(f"entry.{word}", name, error)])
                    return False
                if self.tracing == ALL:
                    why.append(
                        Why(
                            at=f"entry.{word}",
                            value=inside == wanted,
                            text=f"in_segment('{name}')",
                            seen={name: inside},
                        )
                    )
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
        running = state.journeys and [j for j in state.journeys if j.playbook == playbook.id and j.key == key]
        if running and entry.mode in ("once", "single"):
            return f"{entry.mode}: a journey is running", False
        pause = entry.again_after
        if pause is not None and (not running or entry.mode == "parallel"):
            end = state.ends.get(place_)
            if end is not None:
                free = pause.after(end, zone_of(state, self.plan.env))
                if self.now < free:
                    # the instant is only written out for those who read it
                    at = format_instant(free) if self.tracing == ALL else ""
                    return f"again_after {pause.text}: not before {at}", False
        if running and entry.mode == "queue":
            return None, True
        if entry.mode == "restart":
            for journey in running:
                self.end(journey, "exited", "restart")
        return None, False

    def _slot_kept(self, playbook: Playbook, key: str) -> Waiting | None:
        """What an entry waits for that ``restart`` is about to end: the new one takes its place in the window."""
        if playbook.entry.mode != "restart" or playbook.entry.limit is None:
            return None
        for journey in self.state.journeys:
            waiting = journey.waiting
            mine = journey.playbook == playbook.id and journey.key == key and journey.at is None
            if mine and waiting is not None and waiting.kind == "slot":
                return waiting
        return None

    def _admit(self, playbook: Playbook, journey: Journey, why: list[Why]) -> None:
        """Through the limit into the journey."""
        if playbook.entry.limit is None:
            self._start(playbook, journey, why)
            return
        key = effect_key(playbook.id, "entry", self.state.id, journey.key, journey.occurrence)
        journey.waiting = Waiting(kind="answer", key=key)
        self.why = why
        match = "drop" if playbook.entry.on_limit == "drop" else "wait"
        self.asks.append(Reserve(key=key, subject=self.state.id, kind="slot", names=[playbook.id], match=match))

    def _slot_answered(self, playbook: Playbook, journey: Journey, answer: Answer) -> None:
        limit = playbook.entry.limit
        text = f"limit {limit.count}/{limit.per}" if limit is not None else "limit"
        judged, self.why = self.why, []
        if not answer.granted:
            self._drop(journey)
            self.note(playbook, "capped", [*judged, Why(at="entry.limit", value=False, text=text)])
        elif answer.at is not None and answer.at > self.now:
            place_ = f"{answer.data.get('place', 0):012d}"
            journey.waiting = Waiting(kind="slot", until=answer.at, key=place_, since=self.now)
            why = Why(at="entry.limit", value=False, text=f"{text}: waits until {format_instant(answer.at)}")
            self.note(playbook, "capped", [*judged, why])
        else:
            self._start(playbook, journey, judged)

    def _answered(self, journey: Journey, answer: Answer) -> None:
        playbook = self.plan.of(journey)
        if playbook is None:
            return
        if journey.at is None:
            self._slot_answered(playbook, journey, answer)
            return
        self._resume(playbook, journey, playbook.nodes[journey.at], answer)

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
        journey.version = playbook.version
        if playbook.entry.mode == "once":
            state.entered = [*state.entered, f"{playbook.id}|{journey.key}"]
        if playbook.status == "shadow":
            journey.held = "shadow"
        elif playbook.holdout is not None:
            drawn = self.plan.env.draw(playbook.id, playbook.holdout.salt, state.id)
            journey.held = "holdout" if drawn < playbook.holdout.percent else None
        if playbook.goal is not None:
            until = playbook.goal.within.after(now, zone_of(state, self.plan.env))
            watch_ = GoalWatch(
                playbook=playbook.id, key=journey.key, occurrence=journey.occurrence, started=now, until=until,
                held=journey.held is not None, entry=journey.entry, version=journey.version,
            )  # fmt: skip
            state.goals = [*(goal for goal in state.goals if goal.until >= now), watch_]
        self.out.lives.append((playbook.id, "entered", journey.held is not None))
        self.out.milestones.append((playbook.id, journey.occurrence, state.id, "entered", journey.held, now))
        if self.tracing or self.out.marks is not None:
            verdict = "held_out" if journey.held == "holdout" else "entered"
            self.note(playbook, verdict, why)
            self.mark(journey, verdict, journey.held or "")
        if "journey.started" in self.plan.told:
            key = f"{journey.occurrence}:{playbook.id}|{journey.key}:started"
            self.tell("journey.started", {"playbook": playbook.id}, key, None)
        self._advance(playbook, journey, playbook.body.first)

    def _next_in_queue(self, playbook: Playbook, key: str) -> None:
        for journey in self.state.journeys:
            waiting = journey.waiting
            if (
                journey.playbook == playbook.id
                and journey.key == key
                and waiting is not None
                and waiting.kind == "queue"
            ):
                self._rest(playbook, journey)
                return

    def _rest(self, playbook: Playbook, journey: Journey) -> None:
        """The next of a queue begins, after the rest that ``again_after`` asks for."""
        pause = playbook.entry.again_after
        free = self.now if pause is None else pause.after(self.now, zone_of(self.state, self.plan.env))
        if free > self.now:
            journey.waiting = Waiting(kind="rest", until=free)
            return
        journey.waiting = None
        self._admit(playbook, journey, [])

    def _rested(self, playbook: Playbook, journey: Journey) -> None:
        """A queued entry has waited long enough: its conditions are judged once more, then it is let in."""
        m = self._inside(playbook, journey)
        why: list[Why] = []
        if self._conditions(playbook, m, why):
            self._admit(playbook, journey, why)
        else:
            self._drop(journey)


def _text(value: object) -> str:
    return "" if value is None else str(value)
