"""Walks what is due at a slot over everybody the store knows, in order of id, a chunk a transaction.

Rule 1: a slot goes after the events and the wake-ups of its instant; slots of one instant by rank, then as written.
Rule 2: who is known when its turn comes is looked at, also somebody whom an earlier entry of the same slot made known.
Rule 3: before a walk everything is committed, and each chunk is committed with its cursor: so the store knows
everybody, and after a crash the walk goes on behind the last subject that was committed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from engine.core.figures import ROW
from engine.core.model import Event, State, new_state
from engine.core.moment import Env, Moment
from engine.core.predicate import Ask, Filter
from engine.core.slots import Due, SlotTable
from engine.core.spreads import PREFIX, Spread, Spreads, members_of
from engine.core.step import ALL
from engine.core.subjects import BEFORE_USERS, GROUP, PROGRAM, PROGRAM_KIND, USER, kind_of, of_group, span
from engine.core.turns import Turning
from engine.runtime.figuring import turn

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
    only: for a replay: the one subject there is.
    """

    def __init__(
        self,
        session: Session,
        table: SlotTable | None = None,
        ends: dict[str, int] | None = None,
        only: str | None = None,
    ) -> None:
        self.session = session
        plan, store = session.plan, session.store
        kept = store.slots() if table is None else {}
        rows = {name: row for name, row in kept.items() if not name.startswith((PREFIX, ROW))}
        self.table = table or SlotTable((*plan.turnings, *plan.schedules), plan.env, rows, session.clock)
        self.spreads = Spreads(kept)
        self._kind = USER  #: of the subjects at hand
        self.ends = ends
        self.only = only
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
        return min(self.table.next_at, self.spreads.next_at)

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
            self.table.meet(self.session.plan.env.zones.values(), self.session.clock)
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
        if self.at is None or subject <= self._now or kind_of(subject) != self._kind:
            return
        if self._end is None or subject <= self._end:
            heappush(self._ahead, subject)

    def _look_for_zones(self) -> None:
        """A trigger that goes by the zones of users is new: everybody the store knows is asked for its own."""
        if not self.table.strange_zones():
            return
        after, zones = BEFORE_USERS, {self.table.program_zone, *self.session.plan.env.zones.values()}
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
            if not session.wake_up_to(self.next_at) or session.touched:
                return
            if self.spreads.next_at <= self.table.next_at:
                left -= self._spread(left)
                continue
            due = self.table.due()
            if isinstance(due.scheduled, Turning):
                left -= self._turn(due)
                continue
            if self.part is not None:
                if self.part:
                    self._chunk(due, self.part)
                return
            left -= self._chunk(due, left)

    def coming(self, most: int) -> list[Spot]:
        """Who is looked at next, at most so many, at the slot that is due."""
        due = self.table.due()
        if isinstance(due.scheduled, Turning):
            return []
        subjects = self._population(due, self.table.place(due), most)
        return [(due.scheduled.name, due.instant, subject) for subject in subjects]

    def handed_over(self) -> dict[str, bytes | None]:
        """Rows of the slot table for the transaction that begins now."""
        self.handed, self.entered = self.entered, []
        if self.session.fair:
            self.table.overtaken(self.session.clock)
        return {**self.table.changes(), **self.spreads.changes(), **self.session.plan.env.figures.changes()}

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
        self._kind = due.scheduled.playbook.subject
        subjects = self._population(due, place, most)
        count = len(subjects)
        full = count >= most
        self._end = subjects[-1] if full else None
        session.bring(subjects)
        self._ahead = self._likely(due, subjects)  # sorted, so it is a heap
        last = place
        while self._ahead and len(self.entered) < self.most:
            subject = heappop(self._ahead)
            if subject > last:
                self._look(due, subject)
                last = subject
        if not self._ahead and self._end is not None:
            last = max(last, self._end)  # those behind the last likely one were looked at, too
        full = full or bool(self._ahead)
        self.at = None
        self.table.walked(due, last if full else None)
        return count + 1

    def _turn(self, due: Due) -> int:
        """A period turns: its figures are taken, of what everybody did up to here."""
        if due.instant > self.session.history_until or not self.table.skip(due):
            turn(self.session, due.scheduled, due.instant)  # type: ignore[arg-type]  # the caller saw what it is
            self.table.walked(due, None)
        return CHUNK

    def _spread(self, most: int) -> int:
        """Hand the events of a spread to some users; how many were looked at."""
        session, spread = self.session, self.spreads.first()
        judge = self._for_whom(spread)
        self._kind = USER
        subjects = [] if judge is None else self._known(spread.after, most, judge)
        full = len(subjects) >= most
        self._end = subjects[-1] if full else None
        self._ahead = list(subjects)
        session.bring(subjects)
        last = spread.after
        while judge is not None and self._ahead and len(self.entered) < self.most:
            subject = heappop(self._ahead)
            if subject > last:
                self._now = last = subject
                self.at = (spread.name, spread.at, subject)
                state = session.states.get(subject)
                if state is not None and self.at not in self.passed and judge.judge(state, session.clock):
                    self.entered.append(self.at)
                    session.hand_out(spread.event(subject, session.clock), subject)
        full = full or bool(self._ahead)
        self.at = None
        self.spreads.went(spread, last if full else None)
        return len(subjects) + 1

    def _for_whom(self, spread: Spread) -> Filter | None:
        """Who gets the events; None: the step that said so is gone."""
        if spread.group is not None:
            return members_of(spread.group)
        plan = self.session.plan
        playbook = plan.by_id.get(spread.playbook)
        if playbook is None or playbook.version != spread.version:
            playbook = plan.kept.get((spread.playbook, spread.version), playbook)
        node = playbook.nodes.get(spread.step) if playbook is not None else None
        audience = getattr(node.action, "audience", None) if node is not None else None
        if audience is None:
            return None
        env, test = plan.env, audience.test
        return Filter(audience.text, Ask(audience.text, "an audience of emit"), _judge(test, env), ())

    def _look(self, due: Due, subject: str) -> None:
        session = self.session
        state = session.states.get(subject)
        self._now = subject
        self.at = (due.scheduled.name, due.instant, subject)
        if state is None and self._kind != USER:  # one of the catalog nobody has heard of yet
            state = new_state(subject)
        if state is None or self.at in self.passed:
            return
        why = session.turn_of(subject).invited(state, due, session.clock)
        if why is not None:
            session.states[subject] = state
            self.entered.append(self.at)
            session.enter_at(state, due, why)

    def _likely(self, due: Due, subjects: list[str]) -> list[str]:
        """Those of some subjects whom the audience may let in: most slots let in next to nobody.

        Rule 1 of ``slotting`` makes it sound: who is not in the audience is not touched. Who cannot be judged, and who
        stands on no ladder yet, is looked at as usual; so is who changes while the chunk is walked (``moved``).
        """
        session, plan = self.session, self.session.plan
        if session.tracing == ALL or self._kind != USER:
            return list(subjects)
        states, test = session.states.get, due.scheduled.trigger.audience.test
        watching, ladders = plan.watching, len(plan.ladders)
        m = Moment(new_state(""), None, session.clock, session.clock, plan.env)
        found = []
        for subject in subjects:
            state = states(subject)
            if state is None:
                continue
            m.state = state
            try:
                if (watching and not (state.born and len(state.tiers) == ladders)) or test(m):
                    found.append(subject)
            except Exception:  # an error is noted where everybody is judged
                found.append(subject)
        return found

    def _population(self, due: Due, after: str, most: int) -> list[str]:
        if self.only is not None:
            return [self.only] if kind_of(self.only) == self._kind and self.only > after else []
        if self._kind == PROGRAM_KIND:
            return [PROGRAM] if after < PROGRAM else []
        # with every verdict wanted, those outside the audience are looked at too
        audience = due.scheduled.filter if self.session.tracing != ALL else None
        if self._kind == USER:
            return self._known(after, most, audience)
        named = {of_group(name) for name in self.session.plan.env.cards}
        low, high = span(GROUP)
        known = [it for it in self._known(max(after, low), most, None) if high is None or it < high]
        return sorted({*known, *(it for it in named if it > after)})[:most]

    def _known(self, after: str, most: int, audience: Filter | None) -> list[str]:
        """Subjects behind one that the store knows, or the session where it keeps them all."""
        session = self.session
        if self._kind == USER:
            after = max(after, BEFORE_USERS)
        if not session.resident:
            return session.store.population(after, most, audience, session.clock)
        if len(self._order) != len(session.states):
            self._order = sorted(session.states)
        place = bisect_right(self._order, after)
        return self._order[place : place + most]


def _judge(test: Callable[[Moment], bool], env: Env) -> Callable[[State, int], bool]:
    def judge(state: State, now: int) -> bool:
        try:
            return bool(test(Moment(state, None, now, now, env)))
        except Exception:  # an error is neither true nor false: it never sends
            return False

    return judge
