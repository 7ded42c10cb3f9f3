"""One way through the life of a subject: its events in order, with the wake-ups and slots between them.

The rules are those of ``replay.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engine.core.changing import PUBLISH
from engine.core.existing import Standing
from engine.core.model import MOST_EFFECTS, Answer, Decision, Effect, Event, Reserve, State, Why
from engine.core.plan import Plan
from engine.core.scarce import Desk
from engine.core.slots import Due, SlotTable, of_then, replayed
from engine.core.step import ALL
from engine.core.subjects import SIGN, subject_of
from engine.insight.eras import Era, distinct, take_over
from engine.insight.judged import placed
from engine.insight.record import Asked, Record, RecordedDesk
from engine.ports import Store
from engine.runtime.session import Session
from engine.runtime.walk import Walk

_MOST_PASSES = 64
"""How many orders are tried at most; each takes some milliseconds."""


@dataclass
class Course:
    """Everything about one subject, decided once more."""

    decisions: list[Decision] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    causes: dict[str, dict[str, str]] = field(default_factory=dict)  #: effect key -> {"event": id} or {"wake": reason}
    events: dict[str, Event] = field(default_factory=dict)  #: all events of the subject, those the engine made included
    makers: dict[str, dict[str, str]] = field(default_factory=dict)  #: id of an event the engine made -> its cause
    asked: list[Asked] = field(default_factory=list)
    state: State | None = None  #: the subject at the end
    clock: int = 0  #: the end
    ties: dict[int, int] = field(default_factory=dict)  #: instant -> events decided there beside wake-ups and slots
    slots: dict[int, int] = field(default_factory=dict)  #: instant with ties -> slots of it
    unmatched: int = 0  #: effects on record and not here, or here and not on record
    under: dict[int, Era] = field(default_factory=dict)  #: ``id`` of a decision -> the program that made it


Turn = tuple[int, str, Standing | Era | None]
"""As in ``Record.turns``."""

Early = Mapping[int, tuple[int, int]]
"""Instant -> (before which of its events, 0 the first, its wake-ups fired; how many of its slots did, too).

Without an entry wake-ups and slots come after all events.
"""


def moved(early: Early, before: Sequence[tuple[Event, int]], after: Sequence[tuple[Event, int]]) -> Early:
    """The same order at one instant where events came to it or went."""
    found = {}
    for instant, (first, slots) in early.items():
        ids = [event.id for event, clock in before if clock == instant]
        there = {event.id: place for place, (event, _) in enumerate(it for it in after if it[1] == instant)}
        behind = next((there[one] for one in ids[first:] if one in there), len(there) + 1)
        found[instant] = (behind if first < len(ids) else first + len(there) - len(ids), slots)
    return found


class _One(Session):
    """A session in which one subject is alone."""

    def __init__(self, plan: Plan, store: Store, record: Record, course: Course, since: int = 0) -> None:
        self.course = course
        self.since = since  #: from when on it decides
        self.user = record.user
        self.record = record
        self.answers = record.answers
        super().__init__(plan, store, secret=b"", tracing=ALL)
        self.history_until = plan.env.history["until"] = record.history_until

    def _new_desk(self, secret: bytes) -> Desk:
        return RecordedDesk(self.plan, self.answers, self.course.asked, supposed=self.record.supposed)

    def _new_walk(self) -> Walk | None:
        """The slots of the record, up to the last one that was decided for this subject."""
        plan, record = self.plan, self.record
        if not plan.schedules:
            return None
        kept, ends = replayed(of_then(record.slots, self.since), self.user)
        begun = record.events[0][1] - 1 if record.events else record.end
        if record.user[:1] == SIGN:  # one that is known to the catalog may have had a slot before it heard of anything
            begun = min([begun, *(at - 1 for at in record.times.values())])
        table = SlotTable(plan.schedules, plan.env, kept, 0)
        table.begin_all(max(begun, self.since), record.end)
        return Walk(self, table, ends, only=self.user)

    def _route(self, event: Event) -> None:
        """An event of the record, for this subject alone."""
        if event.user == self.user:
            self._event(event, self.user)
        elif self.user in self.plan.others(event):
            self._hears(event, self.user, -1)

    def _receivers(self, event: Event) -> list[str]:
        return [self.user] if self.user in super()._receivers(event) else []

    def _spread(self) -> None:
        """Events for others are none of its own."""
        self.out.spreads.clear()

    def _take(self, ask: Reserve) -> Answer:
        return self.desk.take(ask, self.clock)

    def note(self, standing: Standing, at: int) -> None:
        """As publication did where the subject was in the segment."""
        self.bring((self.user,))
        state = self.states.get(self.user)
        if state is not None and standing.noted(state, at, at, self.plan.env):
            state.wake_at = at if state.wake_at is None else min(at, state.wake_at)
            self.touched[self.user] = state

    def edit(self, change: Callable[[State], None]) -> None:
        """Have something of the subject be otherwise from here on."""
        self.bring((self.user,))
        state = self._state(self.user)
        change(state)
        self.touched[self.user] = state

    def slots_at(self, instant: int) -> int:
        """How many slots of an instant are not done."""
        return self.walk.table.due_at(instant) if self.walk is not None else 0

    def one_slot(self) -> None:
        """Decide the next slot alone."""
        if self.walk is not None:
            self.walk.one()

    def _once(
        self,
        state: State,
        event: Event | None,
        place: int,
        before: int | None,
        slot: tuple[Due, list[Why]] | None = None,
    ) -> None:
        """One call of the core; what it decided is given its cause, and what it tells others is dropped."""
        out, course, record = self.out, self.course, self.record
        if self.clock in record.storms:
            there = sum(at == self.clock for at in record.times.values())
            made = sum(record.times.get(key) == self.clock for key in course.causes)
            out.root = len(out.effects) + there - made - MOST_EFFECTS
        effects, verdicts = len(out.effects), len(out.trace)
        if event is not None:
            course.events[event.id] = event
        super()._once(state, event, place, before, slot)
        reason = slot[0].scheduled.trigger.reason if slot is not None else "time"
        cause = {"event": event.id} if event is not None else {"wake": reason}
        own = {verdict.playbook: verdict.cause for verdict in out.trace[verdicts:]}
        for effect in out.effects[effects:]:
            course.causes[effect.key] = own.get(effect.playbook or "", cause)
        own_events = [made for made in out.emits if self._receivers(made)]
        course.makers.update((made.id, cause) for made in own_events)
        out.emits[:] = own_events


# ---------------------------------------------------------------------- one way through


class _Passage:
    """All events of a record in order, with the wake-ups between them."""

    def __init__(
        self, eras: Sequence[Era], record: Record, early: Early, fresh: Callable[[], Store], until: int | None
    ) -> None:
        self.eras = eras
        self.record = record
        self.early = early
        self.found = Course()
        self.store = fresh()
        self.era = eras[0]
        self.session = _One(self.era.plan, self.store, record, self.found)
        self.end = record.end if until is None else min(until, record.end)
        self.ahead = deque(record.turns)
        self.place = 0  #: events of the instant at hand that were decided
        for one in distinct(eras):
            one.env.published.update(record.published)

    def run(self) -> Course:
        """Decide everything up to the end."""
        found, record = self.found, self.record
        for event, clock in record.events:
            if clock > self.end:
                break
            self._reach(clock)
            self._wakes_before(clock)
            if event.id in record.edits:
                self.session.edit(record.edits[event.id])
                self._hand_over()
            self.session.take([event])
            self._hand_over()
            self.place += 1
        self._settle(min(self.end, record.settled))
        found.state = self.store.load([record.user]).get(record.user)
        found.clock = self.end
        found.unmatched = _unmatched(found.effects, record, self.end)
        return found

    def _reach(self, clock: int) -> None:
        """Let time pass up to the instant of the next event."""
        session, ahead = self.session, self.ahead
        if clock > session.clock:
            self._settle(clock - 1)
            session = self.session
            session.clock, self.place = clock, 0
            while ahead and ahead[0][2] is None and ahead[0][0] <= clock:
                self._turn(*ahead.popleft())

    def _wakes_before(self, clock: int) -> None:
        """Wake-ups and slots of this instant that the run decided before this event of it."""
        record, found, place = self.record, self.found, self.place
        state = self.store.load([record.user]).get(record.user)
        slots = self.session.slots_at(clock)
        if not (slots or (state is not None and state.wake_at is not None and state.wake_at <= clock)):
            return
        found.ties[clock] = place + 1
        found.slots[clock] = max(slots, found.slots.get(clock, 0))
        first, count = self.early.get(clock, (place + 1, 0))
        if first == place or (first < place and not count):
            while not self.session.wake_up_to(clock):
                self._hand_over()
            self._hand_over()
            for _ in range(min(count, slots)):
                self.session.one_slot()
                self._hand_over()

    def _hand_over(self) -> None:
        batch, found = self.session.batch(), self.found
        for it in batch.decisions:
            if it.cause != PUBLISH:  # that is on record
                found.decisions.append(placed(it, self.era.plan))
                found.under[id(it)] = self.era
        found.effects.extend(it for it in batch.effects if subject_of(it.user, it.group) == self.record.user)
        self.store.commit(batch)

    def _settle(self, instant: int) -> None:
        ahead = self.ahead
        while ahead and ahead[0][0] <= instant:
            at, _, standing = ahead[0]
            self._settle_up_to(at - 1 if standing is None else at)
            self._turn(*ahead.popleft())
        self._settle_up_to(instant)

    def _settle_up_to(self, instant: int) -> None:
        while not self.session.settle(instant):
            self._hand_over()
        self._hand_over()

    def _turn(self, at: int, playbook: str, standing: Standing | Era | None) -> None:
        if standing is None:
            for one in distinct(self.eras):
                one.env.published[playbook] = at
            return
        if isinstance(standing, Era):
            before, self.era = self.era, standing
            self.session = _One(standing.plan, self.store, self.record, self.found, at)
            taken = frozenset(key for key, time in self.record.times.items() if time <= at)
            take_over(self.session, self.record.user, before.plan, at, taken)
        else:
            self.session.note(standing, at)
        self._hand_over()


def passage(
    eras: Sequence[Era], record: Record, early: Early, fresh: Callable[[], Store], until: int | None = None
) -> Course:
    """All events in order, with the wake-ups between them."""
    return _Passage(eras, record, early, fresh, until).run()


def _unmatched(effects: Sequence[Effect], record: Record, end: int) -> int:
    here = {(it.key, it.status) for it in effects}
    there = {(key, status) for key, status in record.effects.items() if record.times[key] <= end}
    return len(here ^ there)


def best(eras: Sequence[Era], record: Record, fresh: Callable[[], Store]) -> tuple[Early, Course]:
    """The order of what happened at one instant that gives the effects on record, or comes nearest."""
    early: dict[int, tuple[int, int]] = {}
    nearest = passage(eras, record, early, fresh)
    left = _MOST_PASSES
    while nearest.unmatched and left > 0:
        nearer = None
        # the one change that helps most, so that a wrong one is not taken for being the first that helps at all
        trials = [
            {**early, instant: (place, slots)}
            for instant, count in nearest.ties.items()
            for place in range(count)
            for slots in range(nearest.slots.get(instant, 0) + 1)
        ]
        for trial in [it for it in trials if it != early][:left]:
            found = passage(eras, record, trial, fresh)
            left -= 1
            if found.unmatched < (nearer[1] if nearer is not None else nearest).unmatched:
                nearer = (trial, found)
            if not found.unmatched:
                break
        if nearer is None:
            break
        early, nearest = nearer
    return early, nearest
