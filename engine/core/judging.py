"""What every part of a decision shares: judging conditions, tracing verdicts, telling of what the engine did."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from engine.core.model import (
    MAX_DEPTH,
    MOST_EFFECTS,
    Alert,
    Answer,
    Decision,
    Effect,
    Event,
    Journey,
    Mark,
    Out,
    Reserve,
    State,
    Why,
)
from engine.core.moment import Condition, Moment
from engine.core.plan import Plan, Playbook
from engine.core.subjects import receiver_of, shown_as

Task = Callable[[], None]

SILENT, NOTABLE, ALL = 0, 1, 2
"""How much is traced: nothing, what is out of the ordinary (errors, limits, late), every verdict."""

TOO_MANY = f"one event makes at most {MOST_EFFECTS:,} effects, with all that follows from it"
"""What stands in the verdict of a playbook that was cut."""

_NOTABLE = frozenset({"error", "capped", "late"})

PUBLISHED = "published"
"""``Why.at`` of what keeps a playbook out of the time before it was published."""


class Judging:
    """Holds the subject and the instant at hand."""

    __slots__ = (
        "act_within",
        "asks",
        "cause",
        "depth",
        "dispatch",
        "event",
        "m",
        "moved",
        "now",
        "out",
        "plan",
        "promised",
        "signing",
        "state",
        "tasks",
        "touched",
        "tracing",
        "why",
    )

    def __init__(self, plan: Plan, out: Out, tracing: int = SILENT) -> None:
        plan.fuse()
        self.plan = plan
        self.dispatch = plan.dispatch
        self.act_within = plan.act_within
        self.out = out
        self.tracing = tracing
        self.asks: list[Reserve] = []
        self.promised: dict[str, Callable[[Answer], None]] = {}  #: key of a request -> what its answer leads to
        self.tasks: deque[Task] = deque()
        self.touched = False  #: something with a timer changed, so ``wake_at`` must be found anew
        self.moved = False  #: a step changed what ladders and segments may look at
        self.why: list[Why] = []  #: what was judged of the entry that has asked for its slot
        self.signing = b""  #: key of signed links
        self.depth = 0
        self.now = 0
        self.event: Event | None = None
        self.cause: dict[str, str] = {}
        self.state = State(id="")
        self.m = Moment(self.state, None, 0, 0, plan.env)

    def _arriving(self, playbook: Playbook, event: Event | None, entry: Event | None) -> Moment:
        time = event.time if event is not None else self.now
        return Moment(self.state, event, time, self.now, self.plan.env, entry=entry, variables=playbook.variables)

    def _inside(self, playbook: Playbook, journey: Journey) -> Moment:
        entry, now = journey.entry, self.now
        return Moment(
            self.state, entry, now, now, self.plan.env, entry, journey.results, journey.trigger, playbook.variables
        )

    def _alive(self, journey: Journey) -> bool:
        for it in self.state.journeys:  # noqa: SIM110 - a generator costs several times as much
            if it is journey:
                return True
        return False

    def _find(self, playbook: str, occurrence: str) -> Journey | None:
        for journey in self.state.journeys:
            if journey.playbook == playbook and journey.occurrence == occurrence:
                return journey
        return None

    def _judge(self, condition: Condition, m: Moment, at: str, why: list[Why], playbook: Playbook) -> bool | None:
        """True, False, or None for an error (which is noted)."""
        try:
            verdict = condition.test(m)
        except Exception as error:  # an error is neither true nor false
            failed = Why(at=at, value=None, text=condition.text, seen={**condition.seen(m), "error": words(error)})
            self.note(playbook, "error", [*why, failed])
            return None
        if self.tracing == ALL:
            why.append(Why(at=at, value=verdict, text=condition.text, seen=condition.seen(m)))
        return verdict

    def note(self, playbook: Playbook, verdict: str, why: list[Why]) -> None:
        """Trace a verdict; errors are counted even when nothing is traced."""
        if verdict == "error":
            self.out.errors[playbook.id] = self.out.errors.get(playbook.id, 0) + 1
        if self.tracing == ALL and self._told_already(playbook, verdict, why):
            return
        if self.tracing == ALL or (self.tracing == NOTABLE and verdict in _NOTABLE):
            user, group = shown_as(self.state.id)
            self.out.trace.append(
                Decision(
                    time=self.now,
                    playbook=playbook.id,
                    user=user,
                    group=group,
                    cause=self.cause,
                    verdict=verdict,
                    why=why,
                )
            )

    def _told_already(self, playbook: Playbook, verdict: str, why: list[Why]) -> bool:
        """One object a playbook looked at: what begins and ends at once is ``entered``, a last step is ``finished``."""
        last = self._last_about(playbook)
        if last is None:
            return False
        if verdict in ("finished", "exited") and last.verdict in ("entered", "held_out"):
            return True
        if last.verdict == "advanced" and verdict in ("advanced", "finished", "exited"):
            last.verdict, last.why = verdict, [*last.why, *why]
            return True
        return False

    @property
    def full(self) -> bool:
        """Have the event at hand and all that followed from it made as many effects as one may?"""
        return len(self.out.effects) - self.out.root >= MOST_EFFECTS

    def overflow(self, playbook: Playbook, at: str) -> None:
        """Nothing more follows here: an error of the playbook, and a word to the operator, once an event."""
        self.note(playbook, "error", [Why(at=at, value=None, text=TOO_MANY, seen={})])
        if not self.out.stormed:
            self.out.stormed = True
            limit = f"{MOST_EFFECTS} effects/event"
            self.out.alerts.append(Alert(playbook=playbook.id, time=self.now, limit=limit, waits=False))

    def _last_about(self, playbook: Playbook) -> Decision | None:
        """The verdict at hand, where the last one told is about this playbook and this object of the subject."""
        last = self.out.trace[-1] if self.out.trace else None
        if last is None or last.cause is not self.cause or last.playbook != playbook.id:
            return None
        return last if (last.user, last.group) == shown_as(self.state.id) else None

    def mark(self, journey: Journey, verdict: str, reason: str) -> None:
        """Tell whoever watches what became of a journey."""
        if self.out.marks is not None:
            user, group = shown_as(self.state.id)
            mark = Mark(self.now, journey.playbook, user, verdict, reason, journey.trigger, group)
            self.out.marks.append(mark)

    def remark(self, playbook: Playbook, why: Why) -> None:
        """Add a line to the verdict at hand on a playbook, where everything is traced."""
        if self.tracing != ALL:
            return
        last = self._last_about(playbook)
        if last is None:
            self.note(playbook, "advanced", [why])
        else:
            last.why = [*last.why, why]

    def tell(self, type_: str, data: dict[str, Any], key: str, changes: dict[str, tuple[Any, Any]] | None) -> None:
        """Make an event of something the engine did, when somebody listens and the chain is not too long."""
        if type_ in self.plan.told and self.depth < MAX_DEPTH:
            user, group = receiver_of(self.state.id)
            self.out.emits.append(
                Event(
                    id=key,
                    type=type_,
                    time=self.now,
                    user=user,
                    group=group,
                    data=data,
                    depth=self.depth + 1,
                    internal=True,
                    changes=changes,
                )
            )

    def record(
        self, kind: str, key: str, detail: dict[str, Any], *, status: str = "planned", reason: str | None = None
    ) -> None:
        """Record an effect that no playbook made (a ladder's move, points of a rule)."""
        user, group = shown_as(self.state.id)
        self.out.effects.append(
            Effect(
                key=key,
                time=self.now,
                playbook=None,
                step=None,
                kind=kind,
                user=user,
                group=group,
                status=status,
                reason=reason,
                detail=detail,
            )
        )


def words(error: Exception) -> str:
    return str(error) or type(error).__name__


def failed(at: str, text: str, error: Exception) -> Why:
    return Why(at=at, value=None, text=text, seen={"error": words(error)})
