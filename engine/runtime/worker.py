"""One piece of work after the other: what stands in the feeds, then what is due.

Rule 1: what is due at an instant goes when no event up to that instant stands unread in a feed.
Rule 2: everything comes in pieces, so that jobs, events and wake-ups have their turn however much there is of each.
Rule 3: while more is due than one transaction holds, new events go ahead of what is due for *others*; the wake-ups of
their own subjects come before them in order of time. While little is due, the order is exact for everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.core.slots import NEVER
from engine.ports import Record, Store
from engine.runtime.gather import Gather
from engine.runtime.intake import AHEAD
from engine.runtime.pump import Pump
from engine.runtime.suspects import PART, TRIES, Suspects, name_of, slot_of, wake_of

PIECE = 2_000
"""Records of one transaction."""

MOMENT = 0.2
"""Seconds that a piece of what is due should take at most."""

_LEAST, _MOST = 250, 5_000  # wake-ups of one transaction
_KEPT = 10_000  # subjects held from one transaction to the next: a daemon lives long, and beside others
_VALUES = 500_000  # values of long histories among them, some 20 MB: a window of a month may hold thousands for each

_STEPS = 4
"""Transactions that events wait for a slot before them: wake-ups, the slot, what follows of it, and the rest."""


class Worker:
    """A pump and its feeds, worked piece by piece.

    Parameters
    ----------
    pump: decides and commits; delivers nothing itself.
    gather: reads the feeds, the inbox included.
    suspects: who may have killed the last process.
    elapsed: seconds on a steady clock.
    piece: records of one transaction.
    """

    def __init__(
        self, pump: Pump, gather: Gather, suspects: Suspects, elapsed: Callable[[], float], piece: int = PIECE
    ) -> None:
        self.pump = pump
        self.gather = gather
        self._store: Store = pump.store
        self._suspects = suspects
        self._piece = piece
        self._elapsed = elapsed
        self._until: int | None = None
        self._present = 0  #: what is due before this instant may go
        pump.fresh = pump.session.fair = True
        pump.session.wakes_at_once = min(piece, 2 * _LEAST)
        pump.session.kept, pump.session.most = _KEPT, _VALUES

    def events(self, now: int, *, paused: bool = False, until: int | None = None) -> list[Record]:
        """Decide a piece of what stands in the feeds; the records handled.

        Parameters
        ----------
        now: the machine's clock.
        paused: the clock is in doubt: events ahead of it wait in their feeds, and slots between events wait, too.
        until: events after this instant are left in their feeds; None: none are.
        """
        self._until = now + AHEAD if paused else until
        self.pump.session.present = self._present = 0 if paused else now + 1
        records = self.gather.take(self._piece, self._until)
        if records:
            self._take(records)
            self.gather.acknowledge(self._store.position, {it.feed for it in records})
        return records

    def due(self, now: int) -> bool:
        """Do a piece of what is due by now, as far as no unread event comes before it; True: there is more to do."""
        frontier = self.gather.frontier(self._piece)
        until = now if frontier is None else min(now, frontier - 1)
        held = self._store.held_back()
        until = until if held is None else min(until, held - 1)
        if self._suspects.careful or self._suspects.careful_when_due:
            finished = self._due_with_care(until)
            if finished and frontier is None:
                self._suspects.over()
        else:
            begun = self._elapsed()
            finished = self.pump.settle_some(until)
            self._adapt(self._elapsed() - begun, finished)
        return not finished or (frontier is not None and (self._until is None or frontier <= self._until))

    def _due_with_care(self, until: int) -> bool:
        """As ``due`` after a death: few wake-ups at once, or few subjects of a slot, noted before."""
        suspects, session = self._suspects, self.pump.session
        slot = self._slot()
        subjects = [subject for _, subject in self._store.wakes(min(until, slot) + 1, PART)]
        names = [wake_of(subject) for subject in subjects]
        if not names and slot <= until:
            return self._slot_with_care(until)
        if names and suspects.guilty(names[0]):
            suspects.tell(names[0])
            self.pump.put_off(subjects[0], f"the process died {TRIES} times of it")
            suspects.went_well(names[:1], due=True)
            return False
        size = suspects.part(names)
        suspects.trying(names[:size])
        before, session.wakes_at_once = session.wakes_at_once, max(1, size)
        finished = self._settle(until, 0)
        session.wakes_at_once = before
        suspects.went_well(names[:size], due=True)
        return finished

    def _slot_with_care(self, until: int) -> bool:
        """A few subjects of the slot that is due; no wake-up comes before it."""
        suspects, walk = self._suspects, self.pump.session.walk
        spots = walk.coming(PART) if walk is not None else []
        names = [slot_of(it) for it in spots]
        if names and suspects.guilty(names[0]):
            suspects.tell(names[0])
            self.pump.pass_over(spots[0], f"the process died {TRIES} times of it")
        size = suspects.part(names)
        suspects.trying(names[:size])
        finished = self._settle(until, max(1, size))
        suspects.went_well(names[:size], due=True)
        return finished

    def _settle(self, until: int, part: int) -> bool:
        """As ``Pump.settle_some``, with so many subjects of a slot at most."""
        walk = self.pump.session.walk
        if walk is not None:
            walk.part = part
        try:
            return self.pump.settle_some(until)
        finally:
            walk = self.pump.session.walk  # a transaction that was given up leaves another one
            if walk is not None:
                walk.part = None

    def _adapt(self, seconds: float, finished: bool) -> None:
        """How many wake-ups the next piece holds: as many as keep a new event waiting for a moment only."""
        session = self.pump.session
        if seconds > MOMENT:
            session.wakes_at_once = max(_LEAST, session.wakes_at_once // 2)
        elif not finished and seconds < MOMENT / 2:
            session.wakes_at_once = min(_MOST, session.wakes_at_once * 2)

    def next_due(self) -> int | None:
        """The next instant at which something is due without any further event."""
        wake, slot = self._store.next_wake(), self._slot()
        first = wake if slot == NEVER else slot if wake is None else min(wake, slot)
        held = self._store.held_back()  # looked at again with the next turn, not at an instant that is over
        return None if first is not None and held is not None and held <= first else first

    def again(self) -> None:
        """The store failed: forget what was not committed, and read it again."""
        self.pump.abandon()
        self.gather.reset()

    # ------------------------------------------------------------------ events

    def _take(self, records: Sequence[Record]) -> None:
        suspects = self._suspects
        rest = records
        while rest and suspects.careful:
            names = [name_of(it) for it in rest[:PART]]
            size = suspects.part(names)
            suspects.trying(names[:size])
            self._decide(suspects.judge(rest[:size]), names[:size])
            suspects.went_well(names[:size])
            rest = rest[size:]
        if rest:
            self._decide(list(rest))

    def _decide(self, records: list[Record], names: Sequence[str] = ()) -> None:
        """Decide records; where a slot lies between them it goes between them, or a piece of it.

        ``names``: the records are suspected, and noted under these.
        """
        slot = self._slot()
        cut = len(records) if slot >= self._present else _behind(records, slot)
        if cut:
            self.pump.decide(records[:cut])
        if cut < len(records):
            for _ in range(_STEPS):  # a slot that takes longer is overtaken by the events behind it
                if self._due_with_care(slot) if names else self.pump.settle_some(slot):
                    break
            if names:
                self._suspects.trying(names)  # what came between was noted in their place
            self.pump.decide(records[cut:])

    def _slot(self) -> int:
        walk = self.pump.session.walk
        return NEVER if walk is None else walk.next_at


def _behind(records: Sequence[Record], slot: int) -> int:
    """How many records stand before the first event after a slot."""
    for place, record in enumerate(records):
        if record.event is not None and record.event.time > slot and not record.event.history:
            return place
    return len(records)
