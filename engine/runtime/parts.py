"""A part of the subjects at work on a log of its own, so that many workers may decide at once on one store.

Rule 1: order per subject is the log's. Each event in a log carries the engine's clock at its place (the newest time
that came in up to there, whoever it was about), so a part decides it at the very instant one engine for all would have.
Rule 2: what a subject sends to one of another part goes into that part's log, in the transaction that made it.
Rule 3: who decides a part holds its row from the first word it reads to the commit. What it knows of the part from
before counts only while nobody else decided it since.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final, Protocol

from engine.core.admission import EventTypes
from engine.core.model import Event
from engine.core.plan import Plan
from engine.core.slots import NEVER
from engine.core.step import NOTABLE
from engine.core.subjects import PARTS, part_of
from engine.errors import TryAgain
from engine.ports import Batch, Clock, Feed, Record, Store
from engine.runtime.publish import recall
from engine.runtime.pump import INBOX, Done, Pump
from engine.runtime.session import HISTORY_UNTIL, Session
from engine.runtime.shards import coupled_by
from engine.runtime.windows import PartDesk

TICK: Final = "\x01tick"
"""Type of what only says how far time had gone when the event behind it came in; no feed may send it."""


def joined_by(plan: Plan) -> str | None:
    """Why the subjects of a plan cannot be decided by many, in words; None: they can."""
    if (why := coupled_by(plan)) is not None:
        return why
    for name, limit in plan.limits.items():
        if limit.per == "run":
            return f"playbook {name} takes {limit.count} in a run, and many who decide have no run in common"
    return None


class Part(Store, Protocol):
    """What a store knows of one part; ``commit`` adds to the transaction that the claim began."""

    number: int
    turn: int  #: how often the part was decided so far, by anybody

    def log(self, after: int, limit: int) -> list[tuple[int, Event, int]]:
        """At most ``limit`` events of the part's log behind a place: (place, event, engine clock there)."""
        ...

    def frontier(self, now: int) -> int:
        """Up to which instant, at most now, nothing can come any more that is not in the log to be read."""
        ...

    def sleep(self, until: int) -> None:
        """No slot is due before an instant; wake-ups the store knows itself. Part of the transaction."""
        ...


class Parted(Protocol):
    """A store on which many decide, each a part at a time."""

    def claim(self, now: int) -> AbstractContextManager[Part | None]:
        """A part with something to do that nobody else decides just now; None: there is none.

        Its row is held until the block ends; then all that was handed to ``commit`` is there at once, or, when an error
        ends the block, nothing of it.
        """
        ...


class PartSession(Session):
    """A session of one part."""

    desk_kind = PartDesk

    def __init__(self, part: int, plan: Plan, store: Store, **options: Any) -> None:
        self.part = part
        self.stamps: dict[str, int] = {}  #: event id -> engine clock at its place in the log
        self._letters: list[tuple[Event, int]] = []
        self._guests: set[str] = set()
        super().__init__(plan, store, **options)

    def take(self, events: Sequence[Event]) -> int:
        """As always; before an event all goes that was due when it came in."""
        ticked: list[Event] = []
        ends: list[int] = []  #: behind each event
        clock = self.clock
        for event in events:
            stamp = self.stamps.get(event.id, event.time)
            if stamp > clock and (event.history or stamp > event.time):
                ticked.append(Event("", TICK, stamp))
            clock = max(clock, stamp)
            ticked.append(event)
            ends.append(len(ticked))
        return bisect_right(ends, super().take(ticked))

    def batch(self, **options: Any) -> Batch:
        batch = super().batch(**options)
        batch.letters, self._letters = self._letters, []
        if any(event.type == TICK for event, _ in batch.events):
            _without_ticks(batch)
        return batch

    def abandon(self) -> None:
        self._letters = []
        super().abandon()

    def bring(self, users: Iterable[str]) -> None:
        """As always; those of other parts are known for this transaction only."""
        users = list(users)
        self._guests.update(it for it in users if part_of(it) != self.part)
        super().bring(users)

    def reopen(self) -> None:
        """Others decided other parts since: what all parts share is asked for anew."""
        self.desk = self._new_desk(self._secret)
        self.history_until = self.plan.env.history["until"] = int(self.store.get_meta(HISTORY_UNTIL) or 0)
        for guest in self._guests:
            self.states.pop(guest, None)
        self._guests.clear()

    def _receivers(self, event: Event) -> list[str]:
        """Those of this part; the others hear of it in their own."""
        found = super()._receivers(event)
        mine = [it for it in found if part_of(it) == self.part]
        if len(mine) < len(found):
            self._letters.append((event, self.clock))
        return mine


def _without_ticks(batch: Batch) -> None:
    places: dict[int, int] = {}
    kept: list[tuple[Event, int]] = []
    for place, (event, clock) in enumerate(batch.events):
        if event.type != TICK:
            places[place] = len(kept)
            kept.append((event, clock))
    batch.events = kept
    batch.others = [(places[place], subject) for place, subject in batch.others]


class _Log:
    """The log of a part, as a feed."""

    name = INBOX

    def __init__(self, part: Part, stamps: dict[str, int]) -> None:
        self._part = part
        self._stamps = stamps

    def read(self, position: int, limit: int) -> Iterator[Record]:
        """Records after a position."""
        for place, event, stamp in self._part.log(position, limit):
            self._stamps[event.id] = stamp
            yield Record(feed=INBOX, position=place, raw=b"", event=event)


class PartPump(Pump):
    """A program at work on one part."""

    session: PartSession

    def __init__(
        self, plan: Plan, part: Part, clock: Clock, *, secret: bytes, known_types: EventTypes | None, batch: int
    ) -> None:
        self.part = part
        self.moved = False  #: something was committed
        super().__init__(plan, part, (), None, clock, secret=secret, known_types=known_types, batch=batch)
        self._log: Feed = _Log(part, self.session.stamps)

    def _begin(self, secret: bytes) -> Session:
        """The program was published by whoever began the work."""
        return PartSession(self.part.number, self.plan, self.store, secret=secret, tracing=NOTABLE)

    def piece(self, now: int) -> bool:
        """Decide a piece of the log, and what is due where all of it was read; False: there was nothing of either."""
        self.session.stamps.clear()
        records = list(islice(self._log.read(self.store.position(INBOX), self.batch), self.batch))
        if records:
            self._handle(records)
        until = self.part.frontier(now)
        if len(records) >= self.batch or until < self.session.clock:
            return bool(records)  # what is due before the clock waits as it does for an engine that decides all
        self.moved = False
        return not self.settle_some(until) or self.moved or bool(records)

    def _commit(self, work: Any, upto: int) -> bool:
        full = super()._commit(work, upto)
        self.moved = self.moved or full
        return full


class PartWorker:
    """Decides whatever part has something to do, a transaction each.

    Parameters
    ----------
    plan: the compiled program, published on the store already.
    store: whose parts are decided.
    secret: key of generated coupon codes and of signed links.
    batch: events a transaction holds; never changes an outcome.
    kept: parts whose subjects are held from one transaction to the next.
    """

    def __init__(
        self,
        plan: Plan,
        store: Parted,
        clock: Clock,
        *,
        secret: bytes,
        known_types: EventTypes | None = None,
        batch: int = 1_000,
        kept: int = 256,
    ) -> None:
        self.done = Done()  #: what was decided in all
        self._plan = plan
        self._store = store
        self._clock = clock
        self._secret = secret
        self._known_types = known_types
        self._batch = batch
        self._kept = kept
        self._pumps: dict[int, tuple[int, PartPump]] = {}  #: part -> (its turn when we left it, who decides it)

    def turn(self) -> bool:
        """Decide a piece of one part; False: there is nothing to do in any that is free."""
        now = self._clock.now()
        for _ in range(PARTS):
            try:
                with self._store.claim(now) as part:
                    if part is None:
                        return False
                    pump = self._pump(part)
                    moved = pump.piece(now)
                    part.sleep(pump.session.walk.next_at if pump.session.walk is not None else NEVER)
            except TryAgain:
                return True  # nothing of it was written
            self._count(pump.done)
            if len(self._pumps) >= self._kept:
                del self._pumps[next(iter(self._pumps))]
            self._pumps[part.number] = (part.turn, pump)
            if moved:
                return True
        return False

    def _count(self, fresh: Done) -> None:
        """Add what is durable now."""
        done = self.done
        for name in ("accepted", "duplicate", "quarantined", "late", "conflicts"):
            setattr(done, name, getattr(done, name) + getattr(fresh, name))
        done.reasons.update(fresh.reasons)
        for playbook, windows in fresh.limits.items():
            done.limits[playbook] = done.limits.get(playbook, 0) + windows
        done.pools.update(fresh.pools)

    def _pump(self, part: Part) -> PartPump:
        """Who decides a part: taken out until the transaction is through, for what it knows may be given up."""
        turn, pump = self._pumps.pop(part.number, (-1, None))
        if pump is not None and pump.part is part and turn == part.turn:
            pump.session.reopen()
            pump.done = Done()
            return pump
        recall(self._plan, part)
        return PartPump(
            self._plan, part, self._clock, secret=self._secret, known_types=self._known_types, batch=self._batch
        )
