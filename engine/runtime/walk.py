"""Walks what is due at a slot over everybody the store knows, in order of id, a chunk a transaction.

Rule 1: a slot goes after the events and the wake-ups of its instant; slots of one instant by rank, then as written.
Rule 2: who is known when its turn comes is looked at, also somebody whom an earlier entry of the same slot made known.
Rule 3: before a walk everything is committed, and each chunk is committed with its cursor: so the store knows
everybody, and after a crash the walk goes on behind the last subject that was committed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from engine.core.model import Event
from engine.core.slots import Due, SlotTable
from engine.core.step import ALL

if TYPE_CHECKING:
    from engine.runtime.session import Session

CHUNK = 5_000
"""Subjects a transaction looks at."""

Spot = tuple[str, int, str]
"""(schedule, slot, subject)"""

_ZONED = ("user.signup", "user.updated")


class Walk:
    """The slots of a session; a plan without schedules needs none.

    Parameters
    ----------
    session: decides, and knows who is waiting to be committed.
    table: rows other than those of the store (a replay has its own).
    ends: for a replay: name of a row -> the last slot that was decided.
    """

    def __init__(
        self, session: Session, table: SlotTable | None = None, ends: dict[str, int] | None = None
    ) -> None:
        self.session = session
        plan, store = session.plan, session.store
        self.table = table or SlotTable(plan.schedules, plan.env, store.slots(), session.clock)
        self.ends = ends
        self.passed: set[Spot] = set()  #: what cannot be decided or written
        self.at: Spot | None = None  #: what is being decided
        self.entered: list[Spot] = []  #: who was let in since the last hand-over
        self.handed: list[Spot] = []  #: who is in the transaction being written
        self.most = CHUNK  #: subjects let in by a transaction
        self.part: int | None = None
        """Somebody may kill the process: so many subjects are looked at, in a transaction of their own; 0: none,
        wake-ups before the slot alone. None: nobody is suspected."""
        self._begun = table is not None or bool(session.clock)
        self._order: list[str] = []
        self._ahead: list[str] = []  #: subjects of the chunk still to be looked at, a heap
        self._now = ""  #: the subject at hand
        self._end: str | None = None  #: the last subject of the chunk; None: it is the last chunk
        self._look_for_zones()

    @property
    def next_at(self) -> int:
        """The earliest slot that is not done."""
        return self.table.next_at

    def before(self, events: Sequence[Event], horizon: int) -> Sequence[Event]:
        """The events that go before the next slot; without any, a piece of what is due by the slot is done instead.

        ``horizon``: the newest of all events (or the engine's clock, when that is newer).
        """
        self.arriving(events)
        slot = self.next_at
        if slot >= horizon:
            return events
        for place, event in enumerate(events):
            if event.time > slot and not event.history:
                if place == 0:
                    self.step(event.time - 1)
                return events[:place]
        self.step(horizon - 1)  # the engine's clock has passed it already
        return ()

    def arriving(self, events: Sequence[Event]) -> None:
        """These events come next: the table begins with the first, and knows the zones they name."""
        if not self._begun:
            first = next((event.time for event in events if not event.history), None)
            if first is not None:
                self._begun = True
                self.table.begin(first - 1)
                self._look_for_zones()
        if self.table.by_zone:
            zones = {str(event.data["zone"]) for event in events if event.type in _ZONED and event.data.get("zone")}
            self.table.meet(zones, self.session.clock)

    # ------------------------------------------------------------------ told by the session

    def moved(self, subject: str) -> None:
        """Something was decided for a subject: it may be known only now, or live in another zone."""
        if self.table.by_zone:
            state = self.session.states.get(subject)
            zone = state.traits.get("zone") if state is not None else None
            if zone is not None and zone not in self.table.zones:
                self.table.meet((str(zone),), self.session.clock)
        if self.at is not None and subject > self._now and (self._end is None or subject <= self._end):
            heappush(self._ahead, subject)

    def _look_for_zones(self) -> None:
        """A trigger that goes by the zones of users is new: everybody the store knows is asked for its own."""
        if not self.table.strange_zones():
            return
        after, zones = "", {self.table.program_zone}
        while subjects := self.session.store.population(after, CHUNK):
            found = self.session.store.load(subjects)
            zones.update(str(it.traits["zone"]) for it in found.values() if it.traits.get("zone"))
            after = subjects[-1]
        self.table.meet(zones, self.session.clock)

    # ------------------------------------------------------------------ walking

    def step(self, until: int) -> None:
        """A piece of what is due up to ``until``: first the wake-ups before the slot, then a chunk of the slot.

        It goes on with later slots while nothing comes of them. Call again after a commit.
        """
        session, left = self.session, CHUNK
        while left > 0 and not session.touched and self.next_at <= until:
            due = self.table.due()
            if not session.wake_up_to(due.instant) or session.touched:
                return
            if self.part is not None:
                if self.part:
                    self._chunk(due, self.part)
                return
            left -= self._chunk(due, left)

    def coming(self, most: int) -> list[Spot]:
        """Who is looked at next, at most so many, at the slot that is due."""
        due = self.table.due()
        subjects = self._population(due, self.table.place(due), most)
        return [(due.scheduled.name, due.instant, subject) for subject in subjects]

    def handed_over(self) -> dict[str, bytes | None]:
        """Rows of the slot table for the transaction that begins now."""
        self.handed, self.entered = self.entered, []
        if self.session.fair:
            self.table.overtaken(self.session.clock)
        return self.table.changes()

    def follow(self, before: Walk) -> None:
        """Know what a walk knew whose transaction was given up."""
        self.passed, self.most, self.part = before.passed, before.most, before.part

    def suspect(self, found: list[Spot]) -> Spot | None:
        """A transaction with these entries could not be written: the one at fault; None: fewer are tried next."""
        self.most = CHUNK if len(found) == 1 else len(found) // 2
        return found[0] if len(found) == 1 else None

    def one(self) -> None:
        """A chunk of the slot that is due, whatever else is (a replay knows better)."""
        self._chunk(self.table.due(), CHUNK)

    def _chunk(self, due: Due, most: int) -> int:
        """Look at some subjects; how many."""
        session, place = self.session, self.table.place(due)
        name = due.scheduled.name
        if self.ends is not None and due.instant > self.ends.get(name, 0):
            self.table.walked(due, None)
            return 0
        if due.instant <= session.history_until and self.table.skip(due):
            return 0  # history came in up to later: what time alone would have started before, it does not
        subjects = self._population(due, place, most)
        count = len(subjects)
        full = count >= most
        self._end = subjects[-1] if full else None
        self._ahead = list(subjects)  # sorted, so it is a heap
        session.bring(subjects)
        last = place
        while self._ahead and len(self.entered) < self.most:
            subject = heappop(self._ahead)
            if subject > last:
                self._look(due, subject)
                last = subject
        full = full or bool(self._ahead)
        self.at = None
        self.table.walked(due, last if full else None)
        return count + 1

    def _look(self, due: Due, subject: str) -> None:
        session = self.session
        state = session.states.get(subject)
        self._now = subject
        self.at = (due.scheduled.name, due.instant, subject)
        if state is None or self.at in self.passed:
            return
        why = session.turn.invited(state, due, session.clock)
        if why is not None:
            self.entered.append(self.at)
            session.enter_at(state, due, why)

    def _population(self, due: Due, after: str, most: int) -> list[str]:
        session = self.session
        if not session.resident:
            # with every verdict wanted, those outside the audience are looked at too
            audience = due.scheduled.filter if session.tracing != ALL else None
            return session.store.population(after, most, audience, session.clock)
        if len(self._order) != len(session.states):
            self._order = sorted(session.states)
        place = bisect_right(self._order, after)
        return self._order[place : place + most]
