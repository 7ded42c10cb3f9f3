"""Feeds into the logs of the parts that many decide, and messages out: what one process does beside those who decide.

Rule 1: what a feed gave, and how far it was read, is one transaction; the feed is told after it.
Rule 2: while more may come at the newest instant, what is due at it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from engine.core.admission import EventTypes
from engine.core.fold import TRAIT_TYPES
from engine.core.model import Event
from engine.ports import Clock, Feed, LiveFeed, Record, Rejected, Store
from engine.runtime.intake import HISTORY, left_out, refusal
from engine.runtime.lanes import Lanes
from engine.runtime.merge import Merge
from engine.runtime.pump import Done
from engine.runtime.rows import event_row

_MOMENT = 20_000
"""Microseconds between two looks whether all is decided."""


class Door(Protocol):
    """What is asked of a store in parts by who takes events in."""

    def take_in(
        self, events: Sequence[Event], rejected: Sequence[Rejected], positions: Mapping[str, int], *, ended: bool | None
    ) -> int:
        """Put events into the logs of their parts, with the positions of their feeds; how many were not known."""
        ...

    def idle(self, now: int) -> bool:
        """No part has anything to do."""
        ...


class Porter:
    """Takes in what the feeds have, and delivers what was decided.

    Parameters
    ----------
    store: for positions and the outbox.
    door: the same store, for the logs.
    feeds: in order of precedence.
    outbox: where messages go out.
    known_types: what is let in; None: anything.
    batch: records a transaction holds.
    look: called while others decide; raises when they cannot.
    pause: lets so many microseconds pass.
    """

    def __init__(
        self,
        store: Store,
        door: Door,
        feeds: Sequence[Feed],
        outbox: Lanes,
        clock: Clock,
        *,
        known_types: EventTypes | None = None,
        batch: int = 2_000,
        progress: Callable[[int], None] | None = None,
        look: Callable[[], object] = lambda: None,
        pause: Callable[[int], object] = lambda moment: None,
    ) -> None:
        self._store, self._door, self._feeds, self._outbox = store, door, feeds, outbox
        self._clock, self._known_types, self._batch = clock, known_types, batch
        self._progress, self._look, self._pause = progress, look, pause
        self.done = Done()

    def until_idle(self) -> Done:
        """Take in everything that is there, and go on until all of it is decided and sent."""
        self._count(self._outbox.recover())
        merge = Merge(self._feeds, self._store.position)
        while records := merge.take(self._batch):
            self._take(records)
            self._look()
        self._door.take_in((), (), {}, ended=True)
        while True:
            while not self._door.idle(self._clock.now()):
                self._pause(_MOMENT)  # asking costs the server a look at every part
                self._look()
                self._count(self._outbox.drain())
            self._count(self._outbox.drain())  # answers to what is sent may be events again
            if self._door.idle(self._clock.now()):
                return self.done

    def _take(self, records: Sequence[Record]) -> None:
        now = self._clock.now()
        events: list[Event] = []
        rejected: list[Rejected] = []
        for record in records:
            event = record.event
            words = (record.reason or "unreadable", record.message) if event is None else None
            if event is not None:
                words = refusal(event, now, self._known_types)
                if words is None:
                    events.append(event)
                    words = left_out(event) if event.type in TRAIT_TYPES else None
            if words is not None:
                rejected.append(_rejected(record, *words, now))
        positions = {record.feed: record.position for record in records}
        taken = self._door.take_in(events, rejected, positions, ended=False)
        self.done.read += len(records)
        self.done.quarantined += len(rejected)
        self.done.reasons.update(it.reason for it in rejected)
        self.done.duplicate += len(events) - taken
        for feed in self._feeds:
            if feed.name in positions and isinstance(feed, LiveFeed):
                feed.acknowledge(positions[feed.name])
        if self._progress is not None:
            self._progress(len(records))

    def _count(self, ended: Mapping[str, int]) -> None:
        for status, number in ended.items():
            self.done.sent[status] = self.done.sent.get(status, 0) + number


def _rejected(record: Record, reason: str, words: str, now: int) -> Rejected:
    event = record.event
    raw = record.raw if record.raw or event is None else event_row(event)
    feed = HISTORY + record.feed if event is not None and event.history else record.feed
    return Rejected(feed=feed, position=record.position, reason=reason, message=words, raw=raw, at=now)
