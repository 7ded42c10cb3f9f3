"""The one loop that decides: events and wake-ups of many subjects, merged by time, over a store.

``simulate``, ``run`` and the tests all use it. It loads states, calls the core, answers reservations, routes emitted
events, and hands one ``Batch`` to the store.

Rule 1: order is (time, position); at one instant events come first, then wake-ups by subject, then slots (``walk``).
How many events a batch holds can never change an outcome.
Rule 2: an event made by the engine is handled right after the one that caused it.
Rule 3: the engine's clock never goes back. History (``ingest --history``) does not move it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import ClassVar

from engine.core.fuse import slow
from engine.core.fuse_wakes import slow_wake
from engine.core.history import long_history
from engine.core.links import signing_key
from engine.core.model import Answer, Event, Out, Reserve, State, Why, new_state
from engine.core.plan import Plan
from engine.core.scarce import Desk
from engine.core.slots import NEVER, Due
from engine.core.step import ALL, DONE, SILENT, SLOW, Turn
from engine.core.subjects import SIGN, kind_of
from engine.core.unnaming import state_without
from engine.ports import Batch, Rejected, Store
from engine.runtime.alarms import Alarms, Entry
from engine.runtime.census import Census
from engine.runtime.figuring import guarded, guarded_wake
from engine.runtime.records import CouponRecords
from engine.runtime.referring import KINDS, Referring
from engine.runtime.walk import Walk

KEPT = 60_000
"""Subjects held from one transaction to the next, so that those who come again are not read again."""

HISTORY_UNTIL = "history_until"
"""Name under which a store keeps the time of the newest event of its history."""

WAKES_AT_ONCE = 5_000
"""How many due subjects one transaction takes."""


_FOREVER = 1 << 63
_DEEPEST = 30
"""Wake-ups fired inside of one another."""


def _up_to(events: Sequence[Event], instant: int) -> Sequence[Event]:
    """The events before the first one that lies after an instant."""
    for place, event in enumerate(events):
        if event.time > instant:
            return events[:place]
    return events


class Session:
    """A plan at work on a store.

    Parameters
    ----------
    plan: the compiled program.
    store: where subjects live.
    secret: key of generated coupon codes and of signed links.
    tracing: see ``engine.core.step``.
    resident: keep every subject and its wake-up in this session for good, and write no states: for a store that would
        only hand the same objects back (``simulate``).
    log: hand the decided events over too; False for a store that keeps none.
    marking: hand over what became of journeys too.
    """

    desk_kind: ClassVar[type[Desk]] = Desk

    def __init__(
        self,
        plan: Plan,
        store: Store,
        *,
        secret: bytes,
        tracing: int = SILENT,
        log: bool = True,
        resident: bool = False,
        marking: bool = False,
    ) -> None:
        self.plan = plan
        self.marking = marking
        self.log = log
        self.resident = resident
        self.states: dict[str, State] = {}
        self.alarms = Alarms()
        self.stop = _FOREVER  #: what lies after this instant waits: a walk over others goes first
        self.horizon = _FOREVER  #: wake-ups from here on are left to the store
        self.strangers = 0  #: users that only events of others made known
        plan.fuse()
        self.routing = bool(plan.parts)  #: events may be decided for groups and the program, too
        #: entries wait for a window, so wake-ups of one instant have an order
        self.queues = any(it.per != "run" for it in plan.limits.values())
        self.quick = tracing != ALL  # when every verdict is wanted, there is no short way
        self.wakes_at_once = WAKES_AT_ONCE
        self.kept = KEPT
        self.most: int | None = None  #: values of history held from one transaction to the next; None: any number
        self._held = 0  #: about how many they are
        self.present = 0  #: the machine's clock, for ``take_fresh``: nobody is woken early by an event ahead of it
        self.fair = False  #: events may go ahead of what is due for others, see ``take_fresh``
        self.ways = {type_: dispatch.way for type_, dispatch in plan.dispatch.items()} if self.quick else {}
        self.default = plan.default.way if self.quick else slow
        self.wake = plan.wake if self.quick else slow_wake
        if plan.scored:
            self.ways = {type_: guarded(way, plan.scored, plan.env) for type_, way in self.ways.items()}
            self.default = guarded(self.default, plan.scored, plan.env)
            self.wake = guarded_wake(self.wake, plan.scored, plan.env)
        self.store = store
        self.tracing = tracing
        self.clock = store.clock()
        # newest event taken in as history: what time alone would have started before it starts nothing
        self.history_until = int(store.get_meta(HISTORY_UNTIL) or 0)
        plan.env.history["until"] = self.history_until
        self._signing = signing_key(secret)
        self.desk = self._new_desk(secret)
        self._secret = secret
        self._referring = Referring(self, secret)
        self._used: dict[str, int] = {}  #: entry slots of this run, as they stood at the last hand-over
        self._begin()
        self.walk = self._new_walk()
        self._stop_at_spreads()

    def _stop_at_spreads(self) -> None:
        """Nothing later goes before events for many that were decided."""
        open_ = self.walk is not None and not self.fair and self.walk.spreads.next_at < NEVER
        self.stop = self.walk.spreads.next_at if self.walk is not None and open_ else _FOREVER

    def _new_walk(self) -> Walk | None:
        # rows of schedules that left the plan must go, or they would go on where they stood when they come back
        rows = self.store.slots()
        self.plan.env.figures.load(rows)
        return Walk(self) if self.plan.schedules or self.plan.turnings or rows else None

    def _new_desk(self, secret: bytes) -> Desk:
        plan = self.plan
        return self.desk_kind(
            pools=plan.pools,
            records=CouponRecords(self.store, lambda: self.out),
            entries=lambda: self.out.entries,
            groups=plan.rooms,
            limits=plan.limits,
            zone=plan.env.zone,
            rewards=plan.rewards,
            secret=secret,
            kept=self.store.resources(),
            census=Census(self).take,
        )

    def _begin(self) -> None:
        self.out = Out(marks=[] if self.marking else None)
        self.turn = self._new_turn(self.plan)
        self.turns = {kind: self._new_turn(part) for kind, part in self.plan.parts.items()}
        if not self.resident and (len(self.states) > self.kept or (self.most is not None and self._held > self.most)):
            self.states = {}
            self._held = 0
        if not self.resident:
            self.alarms.clear()
        self.touched: dict[str, State] = {}
        self.decided: list[tuple[Event, int]] = []
        self.others: list[tuple[int, str]] = []  #: (place in ``decided``, subject) of what others than its user heard
        self.askers: dict[str, str] = {}
        self.late = 0
        self.firing: str | None = None  #: the subject whose wake-up is being decided
        self._nested = 0  #: wake-ups being fired inside of one another
        self._offering = False  #: seats that came free are being offered
        self._forgotten = 0  #: erased subjects whom the desk has forgotten
        self._unnamed = 0  #: those whom groups and the program have forgotten

    def _new_turn(self, plan: Plan) -> Turn:
        turn = Turn(plan, self.out, self.tracing)
        turn.signing = self._signing
        return turn

    def turn_of(self, subject: str) -> Turn:
        """Who decides for a subject."""
        return self.turns.get(kind_of(subject), self.turn) if subject[0] == SIGN else self.turn

    def abandon(self) -> None:
        """Forget what was decided since the last commit (a transaction failed)."""
        self.desk = self._new_desk(self._secret)
        self._referring = Referring(self, self._secret)
        self.desk.run_slots = dict(self._used)
        self.clock = self.store.clock()
        self.states = {}
        self._held = 0
        self.alarms.clear()
        self._begin()
        before, self.walk = self.walk, self._new_walk()
        if self.walk is not None and before is not None:
            self.walk.follow(before)
        self._stop_at_spreads()

    # ------------------------------------------------------------------ deciding

    def take(self, events: Sequence[Event]) -> int:
        """Decide a run of events, and the wake-ups due before each; how many events were taken.

        Fewer than all (maybe none) are taken when more wake-ups are due than one transaction should hold: commit and
        call again with the rest.
        """
        if not events:
            return 0
        if self.walk is not None or not self.resident:
            horizon = max(self.clock, max([event.time for event in events if not event.history], default=0))
            if self.walk is not None:
                events = self.walk.before(events, horizon)
                if not events:
                    return 0
            if not self.resident:
                self.horizon = horizon
            full, last = self._load_due(horizon)
            if not full and last is not None:
                events = _up_to(events, last[0])
                if not events:
                    self._wake_through(last)
                    return 0
        self._load_all(events)
        if self.routing:
            return self._take_routed(events)
        turn, states, touched, alarms = self.turn, self.states, self.touched, self.alarms
        resident = self.resident
        m, ways, default = turn.m, self.ways.get, self.default
        clock, decided = self.clock, self.decided if self.log else None
        for event in events:
            time = event.time
            if time > clock and not event.history:
                if alarms.next < time:
                    self._wake_before(time)
                clock = self.clock = time
            elif event.history:
                self.history_until = self.plan.env.history["until"] = max(self.history_until, time)
            if decided is not None:
                decided.append((event, clock))
            user = event.user
            if user is None:
                continue
            state = states.get(user)
            if state is None:
                state = states[user] = new_state(user)
            before = state.wake_at
            place = ways(event.type, default)(m, state, event, clock)
            if place != DONE:
                self._turn(state, event, place, before)
                continue
            if not resident:
                touched[user] = state
            if state.wake_at is not before and state.wake_at is not None and state.wake_at < self.horizon:
                alarms.put(state.wake_at, user)
        return len(events)

    def _load_all(self, events: Sequence[Event]) -> None:
        """Read the subjects of events."""
        if self.resident:
            return
        subjects = {event.user for event in events}
        if self.routing:
            subjects.update(it for event in events for it in self.plan.others(event))
        self._load(subjects)

    def _take_routed(self, events: Sequence[Event]) -> int:
        """The rest of ``take``, where events have other subjects than their user, too."""
        for place, event in enumerate(events):
            time = event.time
            if time > self.clock and not event.history:
                if time > self.stop:
                    return place
                if self.alarms.next < time:
                    self._wake_before(time)
                    if time > self.stop:
                        return place
                self.clock = time
            elif event.history:
                self.history_until = self.plan.env.history["until"] = max(self.history_until, time)
            if self.log:
                self.decided.append((event, self.clock))
            self._route(event)
        return len(events)

    def _route(self, event: Event) -> None:
        """Decide an event for its user, and then for its group and for the program, as far as they are subjects."""
        place = len(self.decided) - 1
        self._new_root()
        if event.user is not None:
            self._event(event, event.user)
        for subject in self.plan.others(event):
            self._hears(event, subject, place)
        if len(self.out.erased) > self._unnamed:
            self._unname()

    def _unname(self) -> None:
        """Groups and the program forget the names of who was erased just now."""
        gone = [subject for subject, _ in self.out.erased[self._unnamed :]]
        self._unnamed = len(self.out.erased)
        for kind in self.plan.parts:
            for state in Census(self).people(kind):
                kept = state
                for subject in gone:
                    kept = state_without(kept, subject)
                if kept is not state:
                    self.states[kept.id] = self.touched[kept.id] = kept

    def _hears(self, event: Event, subject: str, place: int) -> None:
        """Decide an event for a group or the program; ``place``: where it stands in ``decided``."""
        self._load((subject,))
        state = self._state(subject)
        if state.created_at is None:
            state.created_at = event.time
        if self.log:
            self.others.append((place, subject))
        self._once(state, event, SLOW, state.wake_at)
        if self.out.emits:
            self._drain(subject)
        self._offer()

    def take_fresh(self, events: Sequence[Event]) -> int:
        """As ``take``, for a process that must not keep new events waiting; takes all of them.

        When more wake-ups are due by ``present`` than one transaction should hold, only those of the subjects at hand
        go first, each before the event it precedes; everybody else's, and slots, wait for ``settle``. Events may lie
        before the engine's clock: a subject's own wake-ups and events come in order of time all the same.
        """
        if self.walk is not None:
            self.walk.arriving(events)
        latest: dict[str | None, int] = {}  #: of each subject at hand: up to when its own wake-ups go first
        for event in events:
            for subject in (event.user, *self.plan.others(event)) if self.routing else (event.user,):
                latest[subject] = max(latest.get(subject, 0), 0 if event.history else event.time)
        horizon = self.horizon = max(self.clock, max(latest.values(), default=0))
        visible = min(horizon, self.present)
        full, due = self._due(visible)
        mine = [subject for _, subject in due] if full else []
        mine += [user for user in latest if user is not None]
        self._load(mine)
        for subject in dict.fromkeys(mine):
            state = self.states.get(subject)
            before = max(visible if full else 0, latest.get(subject, 0))
            if state is not None and state.wake_at is not None and state.wake_at < before:
                self.alarms.put(state.wake_at, subject)
        for event in events:
            if event.history:
                self.history_until = self.plan.env.history["until"] = max(self.history_until, event.time)
            else:
                if self.alarms.next < event.time:
                    self._wake_before(event.time)
                self.clock = max(self.clock, event.time)
            if self.log:
                self.decided.append((event, self.clock))
            if self.routing:
                self._route(event)
            elif event.user is not None:
                self._event(event, event.user)
        return len(events)

    def _event(self, event: Event, user: str) -> None:
        """Decide one event of a user, the short way where there is one."""
        state = self.states.get(user)
        if state is None:
            state = self.states[user] = new_state(user)
        before = state.wake_at
        if user[:1] == SIGN:
            self._turn(state, event, SLOW, before)
            return
        place = self.ways.get(event.type, self.default)(self.turn.m, state, event, self.clock)
        if place != DONE:
            self._turn(state, event, place, before)
            return
        self.touched[user] = state
        if state.wake_at is not before and state.wake_at is not None and state.wake_at < self.horizon:
            self.alarms.put(state.wake_at, user)

    def settle(self, until: int) -> bool:
        """Fire the wake-ups and slots due at or before ``until``; False when more remain (commit and call again)."""
        if self.walk is not None and self.walk.next_at <= until:
            self.walk.step(until)
            return False
        return self.wake_up_to(until)

    def missed(self, until: int) -> None:
        """The engine was down from its clock to ``until``: slots between are caught up as their triggers say."""
        if self.walk is not None:
            self.walk.table.missed(self.clock, until)

    def wake_up_to(self, until: int) -> bool:
        """As ``settle``, wake-ups alone."""
        if not self.resident:
            self.horizon = until + 1
        full, last = self._load_due(until + 1)
        if not full and last is not None:
            self._wake_through(last)
            return False
        self._wake_before(until + 1)
        self.clock = max(self.clock, min(until, self.stop))
        return until <= self.stop

    def bring(self, users: Iterable[str]) -> None:
        """Read subjects that are to be looked at."""
        self._load(users)

    def _load(self, users: Iterable[str | None]) -> None:
        if self.resident:
            return
        missing = {user for user in users if user is not None and user not in self.states}
        if missing:
            self.states.update(self.store.load(missing))

    def _load_due(self, before: int) -> tuple[bool, tuple[int, str] | None]:
        """Bring the subjects due before an instant in; (whether these are all, the last of them)."""
        full, due = (True, []) if self.resident else self._due(before)
        if not due:
            return True, None
        self._load(subject for _, subject in due)
        for _, subject in due:
            # what was decided since the last commit is newer than what the store has
            state = self.states.get(subject)
            if state is not None and state.wake_at is not None:
                self.alarms.put(state.wake_at, subject)
        return full, due[-1]

    def _due(self, before: int) -> tuple[bool, list[tuple[int, str]]]:
        """Subjects due before an instant; whether these are all. Where entries queue, no instant is cut in two."""
        size = self.wakes_at_once
        due = self.store.wakes(before, size)
        if not self.queues:
            return len(due) < size, due
        while len(due) == size and due[0][0] == due[-1][0]:
            size *= 2
            due = self.store.wakes(before, size)
        if len(due) < size:
            return True, due
        return False, [it for it in due if it[0] < due[-1][0]]

    def _wake_through(self, last: Entry) -> None:
        self._wake((last[0], last[1] + "\0"))

    def _wake_before(self, instant: int) -> None:
        if self.queues or self.stop < _FOREVER or not self.quick:
            self._wake((instant, ""))
        else:
            self._wake_quickly(instant)

    def _wake(self, before: Entry) -> None:
        pop, fire = self.alarms.pop, self._fire_all if self.queues else self._fire
        while (entry := pop(before if before[0] <= self.stop else (self.stop + 1, ""))) is not None:
            fire(*entry)

    def _wake_quickly(self, before: int) -> None:
        """As ``_wake``, for the case of every day: users whose wake-ups mostly find nothing but clocks."""
        states, wake, m, put = self.states, self.wake, self.turn.m, self.alarms.put
        touched, horizon, outer = self.touched, self.horizon, self.firing
        for instant, subject in self.alarms.until(before):
            state = states.get(subject)
            if state is None or state.wake_at != instant:
                continue
            self.firing = subject
            if instant > self.clock:
                self.clock = instant
            if subject[0] != SIGN and wake(m, state, self.clock):
                touched[subject] = state
                wake_at = state.wake_at
                if wake_at is not None and wake_at < horizon:
                    put(wake_at, subject)
                self.firing = outer
                continue
            state.wake_at = None
            self._fire_long(state)
            self.firing = outer
            if self.stop < before:  # events for many go first
                self._wake((before, ""))
                return

    def _fire_all(self, instant: int, first: str) -> None:
        """The wake-ups of one instant: those who waited for their entry come last, in the order of arrival."""
        due = {first}
        while (entry := self.alarms.pop((instant + 1, ""))) is not None:
            due.add(entry[1])
        for subject in sorted(due, key=lambda it: self._place(it, instant)) if len(due) > 1 else due:
            self._fire(instant, subject)

    def _place(self, subject: str, instant: int) -> tuple[int, int, str, str]:
        state = self.states.get(subject)
        waits = [j.waiting for j in state.journeys if j.waiting is not None] if state is not None else []
        places = [(it.since, it.key or "") for it in waits if it.kind == "slot" and (it.until or 0) <= instant]
        return (1, *min(places), subject) if places else (0, 0, "", subject)

    def _fire(self, instant: int, subject: str) -> None:
        state = self.states.get(subject)
        if state is None or state.wake_at != instant:
            return
        clock = self.clock
        if instant > clock:
            clock = self.clock = instant
        state.wake_at = None
        outer, self.firing = self.firing, subject
        if subject[0] != SIGN and self.wake(self.turn.m, state, clock):
            self.touched[subject] = state
            wake_at = state.wake_at
            if wake_at is not None and wake_at < self.horizon:
                self.alarms.put(wake_at, subject)
        else:
            self._fire_long(state)
        self.firing = outer

    def _fire_long(self, state: State) -> None:
        """A wake-up at which something may happen."""
        if state.id[0] == SIGN:
            self._fire_other(state, kind_of(state.id))
        else:
            self._woken(state)

    def _woken(self, state: State) -> None:
        """One wake-up of a subject and everything it leads to, for others too."""
        self._new_root()
        self._once(state, None, SLOW, None)
        if self.out.emits:
            self._drain(state.id)
        self._offer()

    def _fire_other(self, state: State, kind: str) -> None:
        """The wake-up of a group or of the program; one of which the program has nothing any more sleeps on."""
        if kind in self.turns:
            self._woken(state)
        else:
            self.touched[state.id] = state

    def put_off(self, subject: str, until: int) -> None:
        """Look at a subject again later than it asked for: its wake-up cannot be decided."""
        self._load((subject,))
        state = self._state(subject)
        state.wake_at = until
        self.touched[subject] = state

    def change(self, subject: str, taken: frozenset[str]) -> None:
        """Bring a subject in line with a plan that was published, see ``engine.core.changing``."""
        self._load((subject,))
        state = self._state(subject)
        turn = self.turn_of(subject)
        self._new_root()
        self._answer(turn, state, turn.change(state, self.clock, taken), None)
        if self.out.emits:
            self._drain(state.id)
        self._offer()

    def _drain(self, source: str) -> None:
        """Handle the events the engine made for ``source``, first come first served."""
        queue = deque((source, event) for event in self.out.emits)
        self.out.emits.clear()
        while queue:
            maker, event = queue.popleft()
            place = -1  #: where it stands in ``decided``
            for subject in self._receivers(event):
                self._load((subject,))
                if subject != maker and self.log:
                    # a replay of one subject makes its own events again, but not those of others
                    if place < 0:
                        place = len(self.decided)
                        self.decided.append((event, self.clock))
                    if subject != event.user:
                        self.others.append((place, subject))
                state = self._state(subject)
                if subject[:1] == SIGN and state.created_at is None:
                    state.created_at = event.time
                if self.fair:
                    self._own_first(state, event.time)
                self._once(state, event, SLOW, state.wake_at)
                queue.extend((subject, made) for made in self.out.emits)
                self.out.emits.clear()

    def _receivers(self, event: Event) -> list[str]:
        """For whom an event the engine made is decided, in order."""
        found = [] if event.user is None else [event.user]
        return [*found, *self.plan.others(event)] if self.routing else found

    def _new_root(self) -> None:
        """What is decided from here on follows from another event or wake-up."""
        self.out.root, self.out.stormed = len(self.out.effects), False

    def _offer(self) -> None:
        """Seats that came free go to who waits for one, at this very instant."""
        if self._offering:
            return
        self._offering = True
        while (event := self.desk.seats.offer(self.clock)) is not None:
            self.out.emits.append(event)
            self._drain("")
        self._offering = False

    def _own_first(self, state: State, before: int) -> None:
        """Fire what a subject has due before an event that another subject sends it."""
        if self._nested >= _DEEPEST:
            return  # a chain of subjects each of whom wakes the next: the rest fires when its turn comes
        out = self.out
        root, stormed, there = out.root, out.stormed, len(out.effects)
        self._nested += 1
        for _ in range(_DEEPEST):
            if state.wake_at is None or state.wake_at >= before:
                break
            self._fire(state.wake_at, state.id)
        self._nested -= 1
        out.root, out.stormed = root + len(out.effects) - there, stormed  # what was due made these, not the event

    def _state(self, subject: str) -> State:
        state = self.states.get(subject)
        if state is None:
            state = self.states[subject] = new_state(subject)
            self.strangers += subject[:1] != SIGN
        return state

    def _turn(self, state: State, event: Event, place: int, before: int | None) -> None:
        """One event of a subject and everything it leads to, for others too."""
        self._new_root()
        self._once(state, event, place, before)
        if self.clock - event.time > self.plan.act_within:
            self.late += 1
        if self.out.emits:
            self._drain(state.id)
        self._offer()

    def enter_at(self, state: State, due: Due, why: list[Why]) -> None:
        """A subject in the audience of a slot, and everything it leads to, for others too."""
        self._new_root()
        self._once(state, None, SLOW, state.wake_at, (due, why))
        if self.out.emits:
            self._drain(state.id)
        self._offer()

    def _once(
        self,
        state: State,
        event: Event | None,
        place: int,
        before: int | None,
        slot: tuple[Due, list[Why]] | None = None,
    ) -> None:
        """Every call of the core; ``place``: where ``Turn.quick`` left off; ``before``: ``wake_at`` before all that."""
        turn = self.turn_of(state.id)
        if slot is not None:
            ask = turn.slot(state, *slot, self.clock)
        elif place == SLOW or event is None:
            ask = turn.go(state, event, self.clock)
        else:
            ask = turn.enter(state, event, self.clock, place)
        self._answer(turn, state, ask, before)

    def _answer(self, turn: Turn, state: State, ask: Reserve | None, before: int | None) -> None:
        """Answer what a call of the core asks for until it is done, and see when the subject is due."""
        while ask is not None:
            self.askers[ask.key] = ask.subject
            ask = turn.answer(self._take(ask))
        if self.out.releases:
            for release in self.out.releases:
                self.desk.give_back(release)
            self.out.releases.clear()
        for subject, _ in self.out.erased[self._forgotten :]:
            self.desk.seats.forget(subject)
        self._forgotten = len(self.out.erased)
        self.touched[state.id] = state
        if self.out.spreads:
            self._spread()
        if self.walk is not None:
            self.walk.moved(state.id)
        if state.wake_at is not None and state.wake_at != before and state.wake_at < self.horizon:
            self.alarms.put(state.wake_at, state.id)

    def _take(self, ask: Reserve) -> Answer:
        """Answer what a call of the core asks for."""
        if ask.kind in KINDS:
            return self._referring.take(ask, self.clock)
        return self.desk.take(ask, self.clock)

    def _spread(self) -> None:
        """Events for many were decided: nothing later goes before them, unless events may go ahead of what is due."""
        if self.walk is None:
            self.walk = Walk(self)
        for spread in self.out.spreads:
            self.walk.spreads.add(spread)
            if not self.fair:
                self.stop = min(self.stop, spread.at)
        self.out.spreads.clear()

    def hand_out(self, event: Event, user: str) -> None:
        """One event of a spread, and everything it leads to, for others too; who emitted it does not hear it."""
        if self.log:
            self.decided.append((event, self.clock))
        place = len(self.decided) - 1
        self._turn(self._state(user), event, SLOW, self.states[user].wake_at)
        for subject in self.plan.others(event):
            if subject != event.maker:
                self._hears(event, subject, place)

    # ------------------------------------------------------------------ handing over

    def batch(
        self,
        *,
        positions: dict[str, int] | None = None,
        rejected: list[Rejected] | None = None,
        inbox_done: int = 0,
        counts: dict[str, int] | None = None,
    ) -> Batch:
        """All that was decided since the last call, as one transaction; the session goes on afterwards."""
        out = self.out
        if len(out.erased) > self._unnamed and self.plan.parts:
            self._unname()
        if self.stop < _FOREVER:
            self._stop_at_spreads()
        totals = dict(counts or {})
        alerts = [*self.desk.alerts, *out.alerts]
        for alert in alerts:
            totals[f"limit.{alert.playbook}"] = totals.get(f"limit.{alert.playbook}", 0) + 1
        for reason, number in self.desk.coupons.refused.items():
            totals[f"coupons.refused.{reason}"] = number
        if self.late:
            totals["late"] = totals.get("late", 0) + self.late
        batch = Batch(
            clock=self.clock,
            states=[] if self.resident else list(self.touched.values()),
            events=self.decided,
            effects=out.effects,
            answers=self.desk.answers,
            resources=self.desk.changed(),
            decisions=out.trace,
            goals=out.goals,
            rejected=rejected or [],
            positions=positions or {},
            inbox_done=inbox_done,
            counts=totals,
            lives=out.lives,
            milestones=out.milestones,
            worth=out.worth,
            errors=out.errors,
            askers=self.askers,
            slots=self.walk.handed_over() if self.walk is not None else {},
            marks=out.marks or [],
            cancels=out.cancels,
            erased=out.erased,
            others=self.others,
            alerts=alerts,
            entries=out.entries,
            pool_alerts=self.desk.coupons.alerts,
            waits=out.waits,
        )
        self.desk.coupons.handed_over()
        self.desk.answers, self.desk.alerts = [], []
        self._used = dict(self.desk.run_slots)
        self._referring.handed_over()
        if self.most is not None:
            self._held += sum(map(long_history, self.touched.values()))
        self._begin()
        return batch
