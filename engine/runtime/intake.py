"""The way in: which events are let in, and putting records into the inbox of a store.

Rule 1: what is refused goes to quarantine with feed, position, reason and its bytes; nothing is lost, nothing stops.
Rule 2: a batch is durable as a whole before the next is read; read again after a crash, it holds only duplicates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from engine.core.admission import EventTypes
from engine.core.fold import bad_fields
from engine.core.model import MINUTE, Event
from engine.errors import EventRejected
from engine.ports import Clock, Record, Rejected, Store

AHEAD = 5 * MINUTE
"""How far an event may lie ahead of the machine's clock."""

HISTORY = "history:"
"""What the feed of a record begins with whose event must only change state."""


def refusal(event: Event, now: int, known_types: EventTypes | None) -> tuple[str, str] | None:
    """Why a well-formed event is not let in, as reason and sentence; None when it is."""
    if event.time > now + AHEAD:
        return "future", "its time is more than 5 minutes ahead of the clock"
    return None if known_types is None else known_types.refusal(event)


def left_out(event: Event) -> tuple[str, str] | None:
    """Which fields of an event that is let in are no good, as reason and sentence; None when all are."""
    bad = bad_fields(event)
    if not bad:
        return None
    words = ", ".join(f"{name!r} is no {what}" for name, what in bad)
    return "bad_field", f"{words}; the rest of the event was taken"


def first_copies(
    events: Iterable[tuple[int, Event]], seen: set[str], gone: Mapping[str, int]
) -> tuple[list[tuple[int, Event]], list[int]]:
    """Events with their places: (those that were not there before, places of the others); adds their ids to ``seen``.

    ``gone``: user -> instant up to which nothing of him is taken any more.
    """
    fresh, repeated = [], []
    for place, event in events:
        if event.id in seen or (gone and event.time <= gone.get(event.user or "", event.time - 1)):
            repeated.append(place)
        else:
            seen.add(event.id)
            fresh.append((place, event))
    return fresh, repeated


@dataclass
class Taken:
    """What became of records."""

    read: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  #: reason -> records in quarantine


class Intake:
    """Puts records into the inbox of a store.

    Parameters
    ----------
    store: opened for writing.
    clock: the machine's clock.
    known_types: what is let in; None: anything.
    history: the events only change state and start nothing.
    batch: records a transaction holds.
    progress: told how many records were handled.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        known_types: EventTypes | None = None,
        history: bool = False,
        batch: int = 2_000,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.taken = Taken()
        self._store = store
        self._clock = clock
        self._known_types = known_types
        self._history = history
        self._batch = batch
        self._progress = progress

    def take(self, records: Iterable[Record]) -> None:
        """Take in all records, batch by batch."""
        gathered: list[Record] = []
        for record in records:
            gathered.append(record)
            if len(gathered) >= self._batch:
                self._put(gathered)
                gathered = []
        if gathered:
            self._put(gathered)

    def _put(self, records: list[Record]) -> None:
        now = self._clock.now()
        events: list[tuple[Event, bytes]] = []
        rejected: list[Rejected] = []
        for record in records:
            event = record.event
            if event is None:
                words: tuple[str, str] | None = (record.reason or "unreadable", record.message)
            else:
                words = refusal(event, now, self._known_types)
            if event is not None and words is None:
                event.history = self._history
                events.append((event, record.raw))
            elif words is not None:
                rejected.append(self._rejected(record, *words, now))
        accepted, duplicate = self._store.ingest(events, rejected)
        taken = self.taken
        taken.read += len(records)
        taken.accepted += accepted
        taken.duplicate += duplicate
        taken.quarantined += len(rejected)
        taken.reasons.update(it.reason for it in rejected)
        if self._progress is not None:
            self._progress(len(records))

    def _rejected(self, record: Record, reason: str, message: str, now: int) -> Rejected:
        feed = HISTORY + record.feed if self._history else record.feed
        return Rejected(feed=feed, position=record.position, reason=reason, message=message, raw=record.raw, at=now)


def retry(
    store: Store,
    numbers: Iterable[int],
    read: Callable[[bytes], Event],
    now: int,
    known_types: EventTypes | None,
    shaped: Callable[[str, bytes], bytes] = lambda feed, raw: raw,
) -> tuple[Taken, dict[int, tuple[str, str]]]:
    """Read records in quarantine again; what is an event now goes into the inbox, the rest stays where it is.

    Parameters
    ----------
    numbers: the records; those that are not there are passed over.
    read: bytes to event; raises EventRejected.
    shaped: feed and payload to the bytes of an event, for feeds with ``map``; raises EventRejected.

    Returns what became of them, and number -> (reason, sentence) of those that stay.
    """
    taken = Taken()
    stay: dict[int, tuple[str, str]] = {}
    for number in dict.fromkeys(numbers):
        kept = store.rejected(number)
        if kept is None:
            continue
        taken.read += 1
        try:
            raw = shaped(kept.feed.removeprefix(HISTORY), kept.raw)
            event = read(raw)
        except EventRejected as error:
            words: tuple[str, str] | None = (error.reason, error.message)
        else:
            event.history = kept.feed.startswith(HISTORY)
            words = refusal(event, now, known_types)
        if words is not None:
            stay[number] = words
            taken.quarantined += 1
            taken.reasons[words[0]] += 1
            continue
        accepted, duplicate = store.release([number], [(event, raw)])
        taken.accepted += accepted
        taken.duplicate += duplicate
    return taken, stay
