"""The events a store holds of the last weeks, to be played once more from now on.

Rule 1: what came from outside comes again, as much later as the window is long; what the engine made is left out, for
it makes that itself. Whole weeks where there are any, so that a Monday stays a Monday.
Rule 2: who was new in the window comes as somebody new, under another name; everybody else as who they are.
Rule 3: nothing is scaled: what the store does not hold is not there, and how much it holds is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec import structs

from engine.core.instants import format_instant
from engine.core.model import DAY, Event
from engine.insight.sampling import short
from engine.ports import EventLog, Record

WEEK = 7
FEED = "plan"
AGAIN = "~again"
"""What the name of somebody new is marked with."""


@dataclass(frozen=True)
class Window:
    """Which events are played once more."""

    held_from: int | None  #: engine clock at the oldest event the store holds; None: it holds none
    now: int  #: the store's clock
    days: int  #: played, up to ``now``; 0: none

    @property
    def length(self) -> int:
        """Microseconds."""
        return self.days * DAY

    @classmethod
    def of(cls, store: EventLog, now: int, asked: int) -> Window:
        """The newest days of a store: at most as many as asked, whole weeks from one week on."""
        first = store.decided_from()
        if first is None:
            return cls(None, now, 0)
        days = min(asked, -(-(now - first) // DAY))
        return cls(first, now, days if days < WEEK else days // WEEK * WEEK)

    def row(self, asked: int) -> dict[str, object]:
        """Ready for JSON."""
        held = None if self.held_from is None else format_instant(self.held_from)
        return {
            "asked_days": asked,
            "held_from": held,
            "held_until": format_instant(self.now),
            "days": self.days,
            "from": format_instant(self.now - self.length),
            "until": format_instant(self.now),
        }


@dataclass
class Again:
    """Plays a window once more. ``store`` is a copy that may be written.

    Parameters
    ----------
    store, window: what to read.
    batch: records handed out at once.
    """

    store: EventLog
    window: Window
    batch: int = 10_000
    events: int = 0  #: handed out
    left_out: int = 0  #: made by the engine or put in by a verb
    newcomers: int = 0
    _met: set[int] = field(default_factory=set)  #: users that came, as short numbers
    _fresh: set[str] = field(default_factory=set)  #: those of them who are new

    def records(self) -> Iterator[list[Record]]:
        """The events, as records of a feed."""
        some: list[Event] = []
        for event, _ in self.store.decided(self.window.now - self.window.length):
            if event.internal or event.history:
                self.left_out += 1
                continue
            some.append(event)
            if len(some) >= self.batch:
                yield self._shifted(some)
                some = []
        if some:
            yield self._shifted(some)

    def _shifted(self, events: list[Event]) -> list[Record]:
        users = {user: short(user) for event in events if (user := event.user) is not None}
        first = [user for user, mark in users.items() if mark not in self._met]
        fresh = self.store.unheard(first, self.window.now - self.window.length)
        self._fresh |= fresh
        self._met.update(users.values())
        self.newcomers += len(fresh)
        later, records = self.window.length, []
        for event in events:
            self.events += 1
            user = event.user + AGAIN if event.user in self._fresh else event.user
            moved = structs.replace(
                event, id=f"{FEED}:{event.id}", time=event.time + later, user=user, depth=0, maker=None
            )
            records.append(Record(FEED, self.events, b"", moved))
        return records
