"""Why something was decided: the life of one subject once more, through the very core that decided it.

What a store keeps of a subject is enough to decide everything about it again: its events with the engine's clock at
each decision, and the answers to its reservations. Nothing of the verdicts themselves has to be stored.

Rule 1: it is the same ``Session``; only scarce units are answered from the record, and other subjects are left out.
Rule 2: wake-ups fire where the run fired them: those due before the clock of a decision come before it.
Rule 3: where one event was cut because it made too many effects, also for others, it is cut after as many of the
subject's own as stand on record at that instant. Of somebody whom the others sent several events in such a storm it is
not known which of them were cut; then what differs is counted (``Course.unmatched``).
Rule 4: what happened first at one and the same instant is not recorded when several subjects (or several runs, or
several slots) had a part in it. The usual order is tried first; where it does not give the effects on record, the
others are.
Rule 5: each part of a life is decided by the program that was at work then, as far as the store kept it (``eras``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

from engine.core.changing import PUBLISH
from engine.core.existing import Standing
from engine.core.model import MOST_EFFECTS, Answer, Decision, Effect, Event, Reserve, State, Why
from engine.core.plan import Plan
from engine.core.scarce import Desk
from engine.core.slots import Due, SlotTable, replayed
from engine.core.step import ALL
from engine.core.subjects import SIGN, subject_of
from engine.insight.eras import Era, distinct, era_at, reopenings, take_over
from engine.insight.judged import Glimpse, placed, watching
from engine.insight.record import Asked, Record, RecordedDesk
from engine.ports import Store
from engine.runtime.arming import met_before
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


def replay(
    plan: Plan, store: Store, user: str, until: int | None = None, *, fresh: Callable[[], Store]
) -> list[Decision]:
    """Every verdict about a user up to an instant, in order.

    Parameters
    ----------
    plan, store, user: by what, from where, about whom.
    until: the last instant that counts; None: where the engine stands.
    fresh: makes an empty store in memory.
    """
    return course(plan, store, user, until, fresh=fresh).decisions


def course(plan: Plan, store: Store, user: str, until: int | None = None, *, fresh: Callable[[], Store]) -> Course:
    """As ``replay``, with effects, their causes, and the state at the end."""
    return Life(plan, store, user, fresh).course(until)


class Life:
    """What a store keeps of one subject, to be decided once more: as it was, and as it would be with other events.

    Parameters
    ----------
    plan, store, user, fresh: as for ``replay``.
    eras: the programs that were at work, in order, the last one that of ``plan``; none: it decided everything.
    """

    def __init__(
        self, plan: Plan, store: Store, user: str, fresh: Callable[[], Store], eras: Sequence[Era] = ()
    ) -> None:
        self.plan = plan
        self.eras = tuple(eras) or (Era(0, plan),)
        self.fresh = fresh
        self.subject = user
        self.passes = 0  #: how often it was supposed to have been otherwise
        record = Record.read(plan, store, user)
        playbooks = {it.id for one in distinct(self.eras) for it in one.playbooks}
        record.published = {id_: int(store.get_meta(f"published:{id_}") or 0) for id_ in playbooks}
        reopened = {id_: int(store.get_meta(f"opened:{id_}") or 0) for id_ in playbooks}
        # a store keeps when a playbook was opened again last; the times before are told by the programs themselves
        openings = {(at, id_) for id_, at in reopened.items() if at} | set(reopenings(self.eras))
        turns: list[Turn] = [(at, id_, None) for at, id_ in sorted(openings)]
        turns += [(era.since, "", era) for era in self.eras[1:]]
        met = met_before(store)
        for era, after in pairwise((*self.eras, Era(record.end + 1, plan))):
            for it in era.plan.part(user).admitting:
                at = met.get(it.met_as())
                if at is not None and (era is self.eras[0] or era.since <= at) and at < after.since:
                    turns.append((at, it.playbook, it))
        record.turns = sorted(turns, key=lambda it: (it[0], 0 if it[2] is None else 1 if isinstance(it[2], Era) else 2))
        self._record = record
        self._slots = store.slots()
        self._early: Early = {}

    def course(self, until: int | None = None) -> Course:
        """As it was, up to an instant; None: where the engine stands."""
        with self._put_to_work():
            self._early, found = _best(self.eras, self._record, self.fresh)
            if until is not None and until < self._record.end:
                found = _pass(self.eras, self._record, self._early, self.fresh, until)
        return found

    @property
    def events(self) -> Sequence[tuple[Event, int]]:
        """The events on record, with the engine's clock at each."""
        return self._record.events

    def suppose(
        self,
        events: Sequence[tuple[Event, int]],
        until: int,
        *,
        glimpse: Glimpse | None = None,
        edits: Mapping[str, Callable[[State], None]] | None = None,
    ) -> Course:
        """What would have been decided with other events; ``course`` was asked before.

        Parameters
        ----------
        events: all of them, with the clock at each.
        until: the last instant that counts.
        glimpse: what else is to be looked at.
        edits: id of an event -> what is done to the state right before it.
        """
        self.passes += 1
        record = replace(self._record, events=list(events), edits=dict(edits or {}), supposed=True)
        record.end, record.settled = max(record.end, until), max(record.settled, until)
        with self._put_to_work(glimpse):
            return _pass(self.eras, record, _moved(self._early, self._record.events, events), self.fresh, until)

    def era(self, instant: int) -> Era:
        """The program that decided what happened at an instant."""
        return era_at(self.eras, instant)

    @contextmanager
    def _put_to_work(self, glimpse: Glimpse | None = None) -> Iterator[None]:
        with ExitStack() as all_:
            for plan in distinct(self.eras):
                all_.enter_context(self._at_work(plan, glimpse))
            yield

    @contextmanager
    def _at_work(self, plan: Plan, glimpse: Glimpse | None) -> Iterator[None]:
        before = dict(plan.env.published)
        figures = plan.env.figures
        taken = dict(figures.taken)
        figures.load(self._slots)  # what was seen at each decision is found by its instant
        plan.env.published.clear()
        plan.env.published.update(self._record.published)
        try:
            with watching(plan, glimpse):
                yield
        finally:
            plan.env.published.clear()
            plan.env.published.update(before)
            figures.taken.clear()
            figures.taken.update(taken)


def _moved(early: Early, before: Sequence[tuple[Event, int]], after: Sequence[tuple[Event, int]]) -> Early:
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
        kept, ends = replayed(record.slots, self.user)
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


def _pass(
    eras: Sequence[Era], record: Record, early: Early, fresh: Callable[[], Store], until: int | None = None
) -> Course:
    """All events in order, with the wake-ups between them."""
    found = Course()
    store = fresh()
    era = eras[0]
    session = _One(era.plan, store, record, found)
    end = record.end if until is None else min(until, record.end)

    def hand_over() -> None:
        batch = session.batch()
        for it in batch.decisions:
            if it.cause != PUBLISH:  # that is on record
                found.decisions.append(placed(it, era.plan))
                found.under[id(it)] = era
        found.effects.extend(it for it in batch.effects if subject_of(it.user, it.group) == record.user)
        store.commit(batch)

    for one in distinct(eras):
        one.env.published.update(record.published)
    ahead = deque(record.turns)

    def settle(instant: int) -> None:
        while ahead and ahead[0][0] <= instant:
            at, _, standing = ahead[0]
            settle_up_to(at - 1 if standing is None else at)
            turn(*ahead.popleft())
        settle_up_to(instant)

    def settle_up_to(instant: int) -> None:
        while not session.settle(instant):
            hand_over()
        hand_over()

    def turn(at: int, playbook: str, standing: Standing | Era | None) -> None:
        nonlocal era, session
        if standing is None:
            for one in distinct(eras):
                one.env.published[playbook] = at
        elif isinstance(standing, Era):
            before, era = era, standing
            session = _One(era.plan, store, record, found, at)
            taken = frozenset(key for key, time in record.times.items() if time <= at)
            take_over(session, record.user, before.plan, at, taken)
            hand_over()
        else:
            session.note(standing, at)
            hand_over()

    place = 0
    for event, clock in record.events:
        if clock > end:
            break
        if clock > session.clock:
            settle(clock - 1)
            session.clock, place = clock, 0
            while ahead and ahead[0][2] is None and ahead[0][0] <= clock:
                turn(*ahead.popleft())
        state = store.load([record.user]).get(record.user)
        slots = session.slots_at(clock)
        if slots or (state is not None and state.wake_at is not None and state.wake_at <= clock):
            found.ties[clock] = place + 1
            found.slots[clock] = max(slots, found.slots.get(clock, 0))
            first, count = early.get(clock, (place + 1, 0))
            if first == place or (first < place and not count):
                while not session.wake_up_to(clock):
                    hand_over()
                hand_over()
                for _ in range(min(count, slots)):
                    session.one_slot()
                    hand_over()
        if event.id in record.edits:
            session.edit(record.edits[event.id])
            hand_over()
        session.take([event])
        hand_over()
        place += 1
    settle(min(end, record.settled))
    found.state = store.load([record.user]).get(record.user)
    found.clock = end
    found.unmatched = _unmatched(found.effects, record, end)
    return found


def _unmatched(effects: Sequence[Effect], record: Record, end: int) -> int:
    here = {(it.key, it.status) for it in effects}
    there = {(key, status) for key, status in record.effects.items() if record.times[key] <= end}
    return len(here ^ there)


def _best(eras: Sequence[Era], record: Record, fresh: Callable[[], Store]) -> tuple[Early, Course]:
    """The order of what happened at one instant that gives the effects on record, or comes nearest."""
    early: dict[int, tuple[int, int]] = {}
    best = _pass(eras, record, early, fresh)
    left = _MOST_PASSES
    while best.unmatched and left > 0:
        nearer = None
        # the one change that helps most, so that a wrong one is not taken for being the first that helps at all
        trials = [
            {**early, instant: (place, slots)}
            for instant, count in best.ties.items()
            for place in range(count)
            for slots in range(best.slots.get(instant, 0) + 1)
        ]
        for trial in [it for it in trials if it != early][:left]:
            found = _pass(eras, record, trial, fresh)
            left -= 1
            if found.unmatched < (nearer[1] if nearer is not None else best).unmatched:
                nearer = (trial, found)
            if not found.unmatched:
                break
        if nearer is None:
            break
        early, best = nearer
    return early, best


__all__ = ["Asked", "Course", "Life", "course", "replay"]
