"""``run``: feeds -> decide -> one transaction -> outbox, until everything that is there is done.

Rule 1: a batch is all or nothing: states, effects, reservations, ids and feed positions are one transaction.
Rule 2: nothing is sent that is not committed, and nothing is acknowledged before it is.
Rule 3: the engine's clock follows the feeds (the newest event time seen, never back), so a backlog is decided as it
would have been decided then. Events that lie ahead of the machine's clock are refused: they would drag it along.
Rule 4: an event that breaks the deciding is put in quarantine alone, and a subject whose wake-up breaks it is looked at
a day later; neither stops the feed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import msgspec

from engine.core.admission import EventTypes
from engine.core.fold import TRAIT_TYPES
from engine.core.instants import format_instant
from engine.core.model import DAY, Alert, Event, PoolAlert
from engine.core.plan import Plan
from engine.core.slots import NEVER
from engine.core.step import NOTABLE
from engine.errors import CannotRun, InternalError
from engine.ports import UNSCRUBBED, Batch, Clock, Feed, Lag, LiveFeed, Record, Rejected, Store
from engine.runtime import tracing
from engine.runtime.arming import arm
from engine.runtime.intake import AHEAD, HISTORY, Taken, first_copies, left_out, refusal
from engine.runtime.lanes import Lanes
from engine.runtime.merge import Merge, present
from engine.runtime.publish import Published, announce, publish
from engine.runtime.rows import event_row
from engine.runtime.session import HISTORY_UNTIL, Session
from engine.runtime.walk import Spot

INBOX = "inbox"

_MOST_PUT_OFFS = 200

FAULT_POINTS = tuple(f"{verb}.{edge}" for verb in ("load", "decide", "deliver") for edge in ("before", "after"))
"""Names given to ``fault``; the store and the channels have their own."""


class InboxFeed:
    """What ``drumbeat ingest`` and HTTP put into the store, as a feed."""

    name = INBOX

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read = 0  #: the last number that was read

    def read(self, position: int, limit: int) -> Iterator[Record]:
        """Records after a position, read in pieces so that a large inbox does not fill the memory."""
        while True:
            found = self._store.inbox(position, min(limit, 5_000))
            for number, event in found:
                self._read = position = number
                yield Record(feed=INBOX, position=number, raw=b"", event=event)
            if not found:
                return

    def acknowledge(self, position: int) -> None:
        """Nothing to tell: what is decided left the inbox in the same transaction."""

    def lag(self) -> Lag:
        """Where it stands; behind are the events that were taken in and not decided yet."""
        first, waiting = self._store.waiting()
        return Lag(position=first - 1 if waiting else self._read, behind=waiting)

    def close(self) -> None:
        """Nothing is open here."""


@dataclass
class Done(Taken):
    """What one run did."""

    late: int = 0
    conflicts: int = 0  #: effect keys that existed already; must be 0
    sent: dict[str, int] = field(default_factory=dict)  #: deliveries by how they ended
    limits: dict[str, int] = field(default_factory=dict)  #: playbook -> windows in which its entry limit was reached
    pools: dict[str, PoolAlert] = field(default_factory=dict)  #: coupon pools that run low: the newest warning of each
    published: Published = field(default_factory=Published)  #: what publishing the program did to journeys


@dataclass
class _Work:
    """Records taken from the feeds, sorted into what is to be decided and what is not; places count from 0."""

    records: Sequence[Record]
    events: list[tuple[int, Event]] = field(default_factory=list)
    rejected: list[tuple[int, Rejected]] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    start: int = 0  #: records before this place are committed
    limit: int | None = None  #: events the next transaction may hold
    trying: int = 0  #: events the present transaction holds
    alone: bool = False  #: the next event goes alone, after all that is due before it
    proving: bool = False  #: the present transaction holds that event and nothing else


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
    known_types: what is let in; None: anything.
    batch: records a transaction holds; never changes an outcome.
    progress: told how many records were handled.
    fault: called with each name of ``FAULT_POINTS`` as it is passed; crash tests kill the process there.
    watch: handed each batch after it is committed; scenario tests look on.
    alert: told, after the commit, of what the operator should know.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        feeds: Sequence[Feed],
        outbox: Lanes | None,
        clock: Clock,
        *,
        secret: bytes,
        known_types: EventTypes | None = None,
        batch: int = 5_000,
        progress: Callable[[int], None] | None = None,
        fault: Callable[[str], object] = lambda point: None,
        watch: Callable[[Batch], object] | None = None,
        alert: Callable[[Alert | PoolAlert], object] = lambda alert: None,
    ) -> None:
        self.plan = plan
        self.store = store
        self.outbox = outbox
        self.clock = clock
        self.known_types = known_types
        self.batch = batch
        self.progress = progress
        self.fault = fault
        self.watch = watch
        self.alert = alert
        self.fresh = False  #: new events may go ahead of what is due for others, see ``Session.take_fresh``
        self.done = Done()
        self._put_offs: dict[str, int] = {}  #: subject -> how often its wake-up was put off by this run
        self._feeds: list[Feed] = [InboxFeed(store), *feeds]
        self.session = self._begin(secret)
        self._history = self.session.history_until  #: as the store has it

    def _begin(self, secret: bytes) -> Session:
        """The session that decides; the program is published."""
        announce(self.plan, self.store)
        arm(self.plan, self.store)
        session = Session(self.plan, self.store, secret=secret, tracing=NOTABLE, marking=self.watch is not None)
        self.done.published = publish(self.plan, self.store, session)
        return session

    def until_idle(self) -> Done:
        """Do everything that is there: events of all feeds, wake-ups up to the newest event, deliveries."""
        cancelled = self._taken_back()
        if self.outbox is not None:
            self._count(self.outbox.recover())
            self._deliver()
        self._read_all()
        self._handle_wakes(self.session.clock)
        while self.outbox is not None and self.store.inbox(0, 1):  # answers to what was sent meanwhile
            self._read_all()
            self._handle_wakes(self.session.clock)
        self._count({"cancelled": n} if (n := self._taken_back() - cancelled) else {})
        return self.done

    def settle(self, until: int) -> Done:
        """As ``until_idle`` at an instant, for a clock that is moved by hand: what was due before it comes first."""
        self._handle_wakes(max(until - 1, self.session.clock))
        self.session.clock = max(until, self.session.clock)  # an event may carry an earlier time: it is late then
        self._read_all()
        self._handle_wakes(self.session.clock)
        return self.done

    def decide(self, records: list[Record]) -> None:
        """Decide these records, the next ones of their feeds: the daemon's part of ``until_idle``."""
        self._handle(records)

    def settle_some(self, until: int) -> bool:
        """Fire what is due up to an instant, at most one transaction of it; True: nothing is left."""
        work = _Work(())
        try:
            with tracing.span("wakes") as span:
                finished = self.session.settle(until)
                if not self._commit(work, 0):
                    span.forget()
        except CannotRun:
            raise
        except Exception as error:  # found out which subject's wake-up it was
            finished = False
            self._isolate(work, error)
        return finished

    def catch_up(self, now: int) -> None:
        """The engine did not run up to now: note which slots it missed, durably, and let its clock go on from here."""
        session = self.session
        session.missed(now)
        self._commit(_Work(()), 0)
        session.clock = max(session.clock, now)

    def put_off(self, subject: str, why: str) -> None:
        """Look at a subject later: its wake-up cannot be decided."""
        self._put_off(_Work(()), subject, InternalError(why))

    def pass_over(self, spot: Spot, why: str) -> None:
        """Leave a subject out of a slot: looking at it cannot be done."""
        work = _Work(())
        self._pass_over(work, spot, InternalError(why))
        self._commit(work, 0)

    def stamp(self, now: int) -> None:
        """Write the engine's clock down, although nothing happened."""
        self.session.clock = max(self.session.clock, now)
        self.store.commit(self.session.batch())

    def abandon(self) -> None:
        """Forget what was decided and not committed: the store could not be written. The records are read again."""
        self.session.abandon()

    def next_due(self) -> int | None:
        """The next instant at which something may happen without any further event."""
        retry = self.outbox.next_due() if self.outbox is not None else None
        walk = self.session.walk
        slot = walk.next_at if walk is not None and walk.next_at < NEVER else None
        return min((it for it in (self.store.next_wake(), retry, slot) if it is not None), default=None)

    def _read_all(self) -> None:
        merge = Merge(self._feeds, self.store.position)
        while True:
            self.fault("load.before")
            records = merge.take(self.batch)
            self.fault("load.after")
            if not records:
                break
            self._handle(records)
            self._acknowledge({record.feed for record in records})

    def _acknowledge(self, names: set[str]) -> None:
        """Tell live feeds what of them is committed."""
        for feed in present(self._feeds):
            if feed.name in names and isinstance(feed, LiveFeed):
                feed.acknowledge(self.store.position(feed.name))

    def _taken_back(self) -> int:
        """Deliveries that exits and goals ever cancelled on this store."""
        return self.store.counts().get("cancelled", 0)

    # ------------------------------------------------------------------ one batch

    def _handle(self, records: list[Record]) -> None:
        work = self._sift(records)
        while work.start < len(records):
            try:
                with tracing.span("events"):
                    self._decide(work)
            except CannotRun:
                raise
            except Exception as error:  # found out which event, or which subject's wake-up, it was
                self._isolate(work, error)
            # after each transaction, so that what goes out does not hang on how many there are
            self._deliver()
        self.done.read += len(records)
        if self.progress is not None:
            self.progress(len(records))

    def _handle_wakes(self, until: int) -> None:
        """Fire what is due up to an instant, in several transactions when it is much."""
        finished = False
        while not finished:
            finished = self.settle_some(until)
            self._deliver()

    def _decide(self, work: _Work) -> None:
        """Decide and commit one transaction: less than all when many wake-ups are due on the way."""
        self.fault("decide.before")
        if work.alone:
            self._clear_way(work)
        upto = len(work.records)
        if work.events:
            part = [event for _, event in work.events[: work.limit]]
            work.trying = len(part)
            taken = self.session.take_fresh(part) if self.fresh else self.session.take(part)
            work.trying = taken
            if taken < len(work.events):
                upto = work.events[taken - 1][0] + 1 if taken else work.start
        self.fault("decide.after")
        work.proving = work.alone and work.trying == 1
        self._commit(work, upto)
        work.limit, work.alone, work.proving = None, False, False

    def _clear_way(self, work: _Work) -> None:
        """Commit all that comes before the next event, so that its transaction holds nothing else."""
        work.trying, (place, event) = 0, work.events[0]
        finished = event.history or event.time <= self.session.clock
        while not finished:
            finished = self.session.settle(event.time - 1)
            self._commit(work, work.start)
        self._commit(work, place)

    def _commit(self, work: _Work, upto: int) -> bool:
        """One transaction: what was decided, and the positions after the records before a place; False: nothing was."""
        positions = {record.feed: record.position for record in work.records[work.start : upto]}
        inbox = positions.pop(INBOX, 0)
        rejected = [it for place, it in work.rejected if place < upto]
        duplicates = sum(place < upto for place in work.repeated)
        counts = {"duplicate": duplicates} if duplicates else {}
        batch = self.session.batch(positions=positions, rejected=rejected, inbox_done=inbox, counts=counts)
        if self.session.history_until > self._history:
            self._history = self.session.history_until
            self.store.set_meta(HISTORY_UNTIL, str(self._history))
        full = bool(batch.events or batch.states or batch.rejected or batch.slots or positions or inbox)
        if full:
            self._set_deadlines(batch)
            with tracing.span("commit") as span:
                span.batch(batch)
                self.done.conflicts += self.store.commit(batch)
            if self.session.walk is not None:
                self.session.walk.handed = []
            if self.watch is not None:
                self.watch(batch)
            self.done.accepted += sum(not event.depth for event, _ in batch.events)  # the engine's own have a depth
            self.done.quarantined += len(rejected)
            self.done.reasons.update(it.reason for it in rejected)
            self.done.duplicate += duplicates
            self.done.late += batch.counts.get("late", 0)
            for alert in batch.alerts:
                self.done.limits[alert.playbook] = self.done.limits.get(alert.playbook, 0) + 1
                self.alert(alert)
            for warning in batch.pool_alerts:
                self.done.pools[warning.pool] = warning
                self.alert(warning)
        work.start = upto
        work.events = [it for it in work.events if it[0] >= upto]
        work.rejected = [it for it in work.rejected if it[0] >= upto]
        work.repeated = [place for place in work.repeated if place >= upto]
        return full

    def _set_deadlines(self, batch: Batch) -> None:
        """From here on ``until`` of a message is an instant of the machine's clock, by which its sending goes."""
        now = self.clock.now()
        for effect in batch.effects:
            if effect.until is not None:
                effect.until = now + effect.until - effect.time

    # ------------------------------------------------------------------ what breaks

    def _isolate(self, work: _Work, error: Exception) -> None:
        """Give up the transaction; its events before the fault go first, then what is at fault is set aside."""
        session = self.session
        subject = session.firing
        slot = session.walk.at if session.walk is not None else None
        handed = session.walk.handed if session.walk is not None else []
        begun = sum(not event.depth for event, _ in session.decided)
        proven, work.proving = work.proving, False
        session.abandon()
        if slot is None and handed and session.walk is not None:
            slot = session.walk.suspect(handed)
        if slot is not None:
            self._pass_over(work, slot, error)
        if slot is not None or handed:
            return
        if subject is not None:
            before = begun
        else:
            # begun but never ended: the event; nothing begun: the commit failed, and halving comes near the reason
            before = begun - 1 if begun else work.trying // 2
        # where all of them were begun, it was a wake-up of somebody the last one sends an event to
        if 0 < before < work.trying:
            work.limit = before
        elif subject is not None:
            self._put_off(work, subject, error)
        elif work.events and not begun and not work.alone:
            work.limit, work.alone = 1, True  # its transaction may hold wake-ups too, and records of others
        elif work.events and (begun or proven):
            place, event = work.events[0]
            words = f"deciding it failed: {type(error).__name__}: {error}"
            work.events = work.events[1:]
            work.rejected.append((place, self._reject(work.records[place], event, "poison", words)))
            self._commit(work, place + 1)
            work.limit, work.alone = None, False
        else:
            raise InternalError(f"a transaction without events failed: {type(error).__name__}: {error}") from error

    def _pass_over(self, work: _Work, slot: Spot, error: Exception) -> None:
        """A subject that breaks a slot is left out of it; quarantine says so, in the transaction of its chunk."""
        walk, (schedule, instant, subject) = self.session.walk, slot
        if walk is None or slot in walk.passed:
            raise InternalError(f"slot {format_instant(instant)} of {schedule!r} failed: {error}") from error
        walk.passed.add(slot)
        words = f"deciding a slot failed: {type(error).__name__}: {error}"
        raw = msgspec.json.encode({"subject": subject, "schedule": schedule, "slot": format_instant(instant)})
        work.rejected.append((work.start - 1, Rejected("slot", 0, "broken_slot", words, raw, self.clock.now())))

    def _put_off(self, work: _Work, subject: str, error: Exception) -> None:
        """A subject whose wake-up breaks is looked at a day later, then two, four ...; quarantine says so."""
        session = self.session
        words = f"its wake-up failed: {type(error).__name__}: {error}"
        times = self._put_offs.get(subject, 0)
        if times >= _MOST_PUT_OFFS:
            raise InternalError(f"subject {subject!r} was put off {times} times in one run: {words}") from error
        self._put_offs[subject] = times + 1
        found = self.store.load([subject]).get(subject)
        due = found.wake_at if found is not None and found.wake_at is not None else session.clock
        until = max(due, session.clock) + (DAY << min(times, 6))
        session.put_off(subject, until)
        raw = msgspec.json.encode({"subject": subject, "wake": format_instant(due), "again": format_instant(until)})
        work.rejected.append((work.start - 1, Rejected("wake", 0, "broken_wake", words, raw, self.clock.now())))
        self._commit(work, work.start)

    # ------------------------------------------------------------------ sorting records

    def _sift(self, records: Sequence[Record]) -> _Work:
        """Which records are to be decided, which go to quarantine, and which were there before."""
        work = _Work(records)
        now = self.clock.now()
        if self.fresh:  # a machine's clock that was set back makes no event a future one
            now = max(now, self.session.clock)
        latest, known = now + AHEAD, self.known_types
        candidates: list[tuple[int, Event]] = []
        for place, record in enumerate(records):
            event = record.event
            if event is not None and event.time <= latest and (known is None or known.plain(event.type)):
                candidates.append((place, event))  # the case of every day, see ``refusal``
                continue
            if event is None:
                words: tuple[str, str] | None = (record.reason or "unreadable", record.message)
            else:
                words = refusal(event, now, known)
            if words is not None:
                work.rejected.append((place, self._reject(record, event, *words)))
            elif event is not None:
                candidates.append((place, event))
        seen = self._met(records, candidates)
        gone = self.store.erased(event.user for _, event in candidates if event.user is not None)
        if seen or gone or len({event.id for _, event in candidates}) < len(candidates):
            if any(event.time <= gone.get(event.user or "", event.time - 1) for _, event in candidates):
                self.store.set_meta(UNSCRUBBED, "yes")  # what is dropped has left its bytes where it waited
            candidates, work.repeated = first_copies(candidates, seen, gone)
        work.events = candidates
        for place, event in candidates:
            if event.type in TRAIT_TYPES:
                fields = left_out(event)
                if fields is not None:
                    work.rejected.append((place, self._reject(records[place], event, *fields)))
        work.rejected.sort(key=itemgetter(0))
        return work

    def _met(self, records: Sequence[Record], events: list[tuple[int, Event]]) -> set[str]:
        """Ids met before. One of the inbox counts as met only when it was decided; there it waits anyway."""
        ours = {event.id for place, event in events if records[place].feed == INBOX}
        others = [event.id for _, event in events if event.id not in ours] if ours else [it.id for _, it in events]
        seen = self.store.known(others) if others else set()
        return seen | self.store.known(list(ours), waiting=False) if ours else seen

    def _reject(self, record: Record, event: Event | None, reason: str, words: str) -> Rejected:
        raw = record.raw if record.raw or event is None else event_row(event)
        feed = HISTORY + record.feed if event is not None and event.history else record.feed
        return Rejected(feed=feed, position=record.position, reason=reason, message=words, raw=raw, at=self.clock.now())

    # ------------------------------------------------------------------ sending

    def _deliver(self) -> None:
        if self.outbox is not None:
            self.fault("deliver.before")
            self._count(self.outbox.drain())
            self.fault("deliver.after")

    def _count(self, ended: dict[str, int]) -> None:
        for status, number in ended.items():
            self.done.sent[status] = self.done.sent.get(status, 0) + number
