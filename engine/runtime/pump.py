"""``run``: feeds -> decide -> one transaction -> outbox, until everything that is there is done.

Rule 1: a batch is all or nothing: states, effects, reservations, ids and feed positions are one transaction.
Rule 2: nothing is sent that is not committed, and nothing is acknowledged before it is.
Rule 3: the engine's clock follows the feeds (the newest event time seen, never back), so a backlog is decided as it
would have been decided then. Events that lie ahead of the machine's clock are refused: they would drag it along.
Rule 4: an event that breaks the deciding is put in quarantine alone; it never stops the feed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.core.model import MINUTE, Event
from engine.core.plan import Plan
from engine.core.step import NOTABLE
from engine.errors import DrumbeatError
from engine.ports import Clock, Feed, Record, Rejected, Store
from engine.runtime.merge import Merge
from engine.runtime.outbox import Outbox
from engine.runtime.session import Session

AHEAD = 5 * MINUTE
"""How far an event may lie ahead of the machine's clock."""

INBOX = "inbox"


class InboxFeed:
    """What ``drumbeat ingest`` put into the store, as a feed."""

    name = INBOX

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, position: int, limit: int) -> object:
        """Records after a position, read in pieces so that a large inbox does not fill the memory."""
        while True:
            found = self._store.inbox(position, min(limit, 5_000))
            for position, event in found:  # noqa: B020 - the last one is where the next piece begins
                yield Record(feed=INBOX, position=position, raw=b"", event=event)
            if not found:
                return


@dataclass
class Done:
    """What one run did."""

    read: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    conflicts: int = 0  #: effect keys that existed already; must be 0
    sent: dict[str, int] = field(default_factory=dict)  #: deliveries by how they ended


class Pump:
    """A program at work on its store.

    Parameters
    ----------
    plan: the compiled program.
    store: opened for writing.
    feeds: where events come from, in order of precedence; the inbox is added.
    outbox: where messages go out; None delivers nothing.
    clock: the machine's clock.
    secret: key of generated coupon codes.
    known_types: event types let in; None: any.
    batch: records a transaction holds; never changes an outcome.
    progress: told how many records were handled.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        feeds: Sequence[Feed],
        outbox: Outbox | None,
        clock: Clock,
        *,
        secret: bytes,
        known_types: frozenset[str] | None = None,
        batch: int = 5_000,
        progress: Callable[[int], None] | None = None,
        fault: Callable[[str], object] = lambda point: None,
    ) -> None:
        self.plan = plan
        self.store = store
        self.outbox = outbox
        self.clock = clock
        self.known_types = known_types
        self.batch = batch
        self.progress = progress
        self.fault = fault
        self.done = Done()
        self._reached: dict[str, int] = {}  #: feed -> position committed by this run
        self._feeds: list[Feed] = [InboxFeed(store), *feeds]  # type: ignore[list-item]  # read() is a generator
        self._publish()
        self.session = Session(plan, store, secret=secret, tracing=NOTABLE)

    def _publish(self) -> None:
        """A playbook starts journeys from its first run on this store."""
        for playbook in self.plan.playbooks:
            name = f"published:{playbook.id}"
            since = self.store.get_meta(name)
            if since is None:
                since = str(self.store.clock())
                self.store.set_meta(name, since)
            self.plan.env.published[playbook.id] = int(since)
        if self.store.get_meta("plan") != self.plan.digest:
            self.store.set_meta("plan", self.plan.digest)

    def until_idle(self) -> Done:
        """Do everything that is there: events of all feeds, wake-ups up to the newest event, deliveries."""
        if self.outbox is not None:
            self._count(self.outbox.recover())
            self._deliver()
        merge = Merge(self._feeds, self.store.position)
        while records := merge.take(self.batch):
            self.fault("load.before")
            self._handle(records)
            self._deliver()
        while not self.session.settle(self.session.clock):
            self._commit((), [], 0)
        self._commit((), [], 0)
        self._deliver()
        return self.done

    # ------------------------------------------------------------------ one batch

    def _handle(self, records: list[Record]) -> None:
        try:
            self._decide(records)
        except DrumbeatError:
            raise
        except Exception:  # found out one by one which event it was
            self.session.abandon()
            self._one_by_one(records)
        self.done.read += len(records)
        if self.progress is not None:
            self.progress(len(records))

    def _one_by_one(self, records: list[Record]) -> None:
        """Each record in a transaction of its own; what breaks the deciding goes to quarantine."""
        for record in records:
            if record.position <= self._reached.get(record.feed, -1):
                continue  # committed before the fault
            try:
                self._decide([record])
            except DrumbeatError:
                raise
            except Exception as error:
                self.session.abandon()
                words = f"deciding it failed: {type(error).__name__}: {error}"
                self._commit([record], [(0, self._reject(record, "poison", words))], 0)

    def _decide(self, records: list[Record]) -> None:
        """Decide a batch and commit it, in several transactions when many wake-ups are due on the way."""
        events, rejected, duplicates = self._sift(records)
        done = 0
        while done < len(events):
            taken = self.session.take([event for _, event in events[done:]])
            done += taken
            if done < len(events):
                upto = events[done - 1][0] + 1 if done else 0
                self._commit(records[:upto], [it for it in rejected if it[0] < upto], 0)
                rejected = [it for it in rejected if it[0] >= upto]
        self._commit(records, rejected, duplicates)

    def _sift(self, records: Sequence[Record]) -> tuple[list[tuple[int, Event]], list[tuple[int, Rejected]], int]:
        """(place, event) to be decided, (place, record) for quarantine, and how many were there before."""
        rejected: list[tuple[int, Rejected]] = []
        candidates: list[tuple[int, Event]] = []
        horizon = self.clock.now() + AHEAD
        for place, record in enumerate(records):
            event = record.event
            if event is None:
                words = (record.reason or "unreadable", record.message)
            elif event.time > horizon:
                words = ("future", "its time is more than 5 minutes ahead of the clock")
            elif self.known_types is not None and event.type not in self.known_types:
                words = ("unknown_type", f"event type {event.type!r} is not declared, and '*' is closed")
            else:
                candidates.append((place, event))
                continue
            rejected.append((place, self._reject(record, *words)))
        waiting = {record.event.id for record in records if record.feed == INBOX and record.event}
        fresh = self._fresh(candidates, waiting)
        return fresh, rejected, len(candidates) - len(fresh)

    def _fresh(self, events: list[tuple[int, Event]], waiting: set[str]) -> list[tuple[int, Event]]:
        """The events whose id was not met before; those of the inbox were checked when they came in."""
        asked = [event.id for _, event in events if event.id not in waiting]
        seen = self.store.known(asked) if asked else set()
        out = []
        for place, event in events:
            if event.id not in seen:
                seen.add(event.id)
                out.append((place, event))
        return out

    def _reject(self, record: Record, reason: str, words: str) -> Rejected:
        raw = record.raw
        if not raw and record.event is not None:
            from engine.runtime.rows import event_row

            raw = event_row(record.event)
        return Rejected(
            feed=record.feed, position=record.position, reason=reason, message=words, raw=raw, at=self.session.clock
        )

    def _commit(self, records: Sequence[Record], rejected: list[tuple[int, Rejected]], duplicates: int) -> None:
        """One transaction: what was decided, and the positions after these records."""
        positions = {record.feed: record.position for record in records}
        self._reached.update(positions)
        inbox = positions.pop(INBOX, 0)
        batch = self.session.batch(
            positions=positions,
            rejected=[it for _, it in rejected],
            inbox_done=inbox,
            counts={"duplicate": duplicates} if duplicates else {},
        )
        if not (batch.events or batch.states or batch.rejected or positions or inbox):
            return
        self.done.conflicts += self.store.commit(batch)
        self.done.accepted += sum(not event.internal for event, _ in batch.events)
        self.done.quarantined += len(batch.rejected)
        self.done.duplicate += duplicates

    # ------------------------------------------------------------------ sending

    def _deliver(self) -> None:
        if self.outbox is not None:
            self._count(self.outbox.drain())

    def _count(self, ended: dict[str, int]) -> None:
        for status, number in ended.items():
            self.done.sent[status] = self.done.sent.get(status, 0) + number
