"""One piece of work after the other: what stands in the feeds, then what is due.

Rule 1: what is due at an instant goes when no event up to that instant stands unread in a feed.
Rule 2: everything comes in pieces, so that jobs, events and wake-ups have their turn however much there is of each.
Rule 3: while more is due than one transaction holds, new events go ahead of what is due for *others*; the wake-ups of
their own subjects come before them in order of time. While little is due, the order is exact for everybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.slots import NEVER
from engine.ports import Record, Store
from engine.runtime.gather import Gather
from engine.runtime.intake import AHEAD
from engine.runtime.pump import Pump
from engine.runtime.suspects import Suspects

PIECE = 2_000
"""Records, or wake-ups, of one transaction."""

_STEPS = 4
"""Transactions that events wait for a slot before them: wake-ups, the slot, what follows of it, and the rest."""


class Worker:
    """A pump and its feeds, worked piece by piece.

    Parameters
    ----------
    pump: decides and commits; delivers nothing itself.
    gather: reads the feeds, the inbox included.
    suspects: who may have killed the last process.
    """

    def __init__(self, pump: Pump, gather: Gather, suspects: Suspects, piece: int = PIECE) -> None:
        self.pump = pump
        self.gather = gather
        self._store: Store = pump.store
        self._suspects = suspects
        self._piece = piece
        pump.fresh = True
        pump.session.wakes_at_once = piece

    def piece(self, now: int, *, paused: bool = False, until: int | None = None) -> tuple[bool, list[Record]]:
        """A piece of events and a piece of what is due; (whether there is more right now, the records handled).

        Parameters
        ----------
        now: the machine's clock.
        paused: the clock is in doubt: nothing that is due goes, and events ahead of it wait in their feeds.
        until: events after this instant are left in their feeds; None: none are.
        """
        if paused:
            until = now + AHEAD
        records = self.gather.take(self._piece, until)
        if records:
            self._take(records, paused)
            self.gather.acknowledge(self._store.position, {it.feed for it in records})
        if self._suspects.careful and len(records) < self._piece:
            self._suspects.over()
        if paused:
            return len(records) == self._piece, records
        frontier = self.gather.frontier(self._piece)
        finished = self.pump.settle_some(now if frontier is None else min(now, frontier - 1))
        waiting = frontier is not None and (until is None or frontier <= until)
        return waiting or not finished or len(records) == self._piece, records

    def next_due(self) -> int | None:
        """The next instant at which something is due without any further event."""
        wake, slot = self._store.next_wake(), self._slot()
        if slot == NEVER:
            return wake
        return slot if wake is None else min(wake, slot)

    def again(self) -> None:
        """The store failed: forget what was not committed, and read it again."""
        self.pump.abandon()
        self.gather.reset()

    # ------------------------------------------------------------------ events

    def _take(self, records: Sequence[Record], paused: bool) -> None:
        suspects = self._suspects
        rest = records
        while rest and suspects.careful:
            size = suspects.part(rest)
            part = suspects.judge(rest[:size])
            suspects.trying(part)
            self._decide(part, paused)
            suspects.went_well(rest[:size])
            rest = rest[size:]
        if rest:
            self._decide(list(rest), paused)

    def _decide(self, records: list[Record], paused: bool) -> None:
        """Decide records; where a slot lies between them it goes between them, or a piece of it."""
        slot = self._slot()
        cut = len(records) if paused or slot == NEVER else _behind(records, slot)
        if cut:
            self.pump.decide(records[:cut])
        if cut < len(records):
            for _ in range(_STEPS):  # a slot that takes longer is overtaken by the events behind it
                if self.pump.settle_some(slot):
                    break
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
