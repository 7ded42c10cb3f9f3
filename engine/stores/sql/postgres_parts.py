"""A PostgreSQL store on which many decide, each a part of the subjects at a time.

Rule 1: the row of a part is held from the first word that is read of it to the commit, so nobody else decides it
meanwhile, and whoever lost its connection cannot commit. There are no leases.
Rule 2: what all parts share (stock, seats, limits, codes) is held from the moment it is asked for to the commit. Who
holds something waits for nothing that stands before it in order of names, so nobody waits in a circle: it begins anew,
and takes all it asked for in that order.
Rule 3: of a log exactly those events are taken away that were read. So one that becomes visible late, with a smaller
number than others, is not lost; what one feed gave is in order, for it is put in by one transaction after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from engine.core.coupons import Coupon
from engine.core.model import Event, State
from engine.core.predicate import Filter
from engine.core.slots import GONE, NEVER, merged
from engine.core.subjects import part_of
from engine.ports import Batch, Rejected
from engine.stores import codec, tally
from engine.stores.postgres import PgStore, rejected_row
from engine.stores.sql.postgres_file import PgFile
from engine.stores.sql.postgres_session import Role, nothing

_STICKY = 2_000_000  #: microseconds by which a session prefers the parts it decided last: what it knows of them counts
_NOTHING = b""
_PAGE = 5_000  #: events of the inbox read at a time


class _Held(dict[str, bytes]):
    """States of scarce resources, each read and held as it is asked for."""

    def __init__(self, file: PgFile) -> None:
        super().__init__()
        self._file = file
        self._asked: set[str] = set()
        self._bodies: dict[str, bytes] = {}

    def get(self, name: str, default: Any = None) -> Any:
        known = self._bodies.get(name)
        return (self._hold(name) if known is None else known) or default

    def hold(self, names: Iterable[str]) -> None:
        """Hold these, in order."""
        for name in sorted(names):
            self._hold(name)

    def saved(self, bodies: Mapping[str, bytes]) -> None:
        """They were written, by this transaction."""
        self._bodies.update((name, bodies[name]) for name in self._asked & bodies.keys())

    @property
    def asked(self) -> set[str]:
        """What was asked for."""
        return self._asked

    def _hold(self, name: str) -> bytes:
        query = "hold_resource" if not self._asked or name > max(self._asked) else "hold_resource_now"
        self._asked.add(name)
        if not (rows := self._file.rows(query, name)):
            self._file.send("make_resource", [(name, _NOTHING)])
            rows = self._file.rows(query, name)
        body = self._bodies[name] = bytes(rows[0][0])
        return body


class PgPart(PgStore):
    """One part, for whoever holds its row; what it is not asked about alone, the whole store answers."""

    def __init__(self, file: PgFile, number: int) -> None:
        super().__init__(file)
        self.number = number
        self.turn = 0
        self._at = 0
        self._slot_at: int | None = None
        self._upto = 0
        self._read: list[int] = []  #: numbers of the events read by this transaction
        self._durable: list[Callable[[], None]] = []
        self._held = _Held(file)
        self._failed = False  #: the last transaction was not committed: what it asked for is held from the beginning

    def begin(self, turn: int, at: int, slot_at: int | None, upto: int) -> None:
        """The row is held."""
        self.turn, self._at, self._slot_at, self._upto = turn, at, slot_at, upto
        self._read, self._durable = [], []
        wanted, self._held = self._held.asked if self._failed else (), _Held(self._file)
        self._failed = True
        self._held.hold(wanted)

    def sealed_as(self, store: PgStore) -> None:
        """Coupon codes stand under the seal of another session."""
        self._coupons.seal = store._coupons.seal

    def leave(self, worker: int) -> None:
        """The last words of the transaction."""
        self._file.send("leave_part", [(self.number, self._at, self._slot_at, worker)])

    def durable(self) -> None:
        """It was committed."""
        self._failed = False
        self.turn += 1
        for call in self._durable:
            call()

    # -- as one part sees it

    def log(self, after: int, limit: int) -> list[tuple[int, Event, int]]:
        """At most ``limit`` events of the part's log behind a place: (place, event, engine clock there)."""
        found = []
        for seq, body, stamp in self._file.rows("read_log", self.number, after, limit):
            event = codec.decode_event(body)
            found.append((seq, event, event.time if stamp is None else stamp))
        self._read.extend(seq for seq, _, _ in found)
        return found

    def frontier(self, now: int) -> int:
        """As it was before the log was read: what came in since is before nothing that may go now."""
        return self._upto

    def sleep(self, until: int) -> None:
        """No slot is due before an instant."""
        self._slot_at = None if until >= NEVER else until

    def clock(self) -> int:
        return self._at

    def position(self, feed: str) -> int:
        """What was decided is not in the log any more."""
        return 0

    def due(self, before: int, limit: int) -> list[State]:
        order = [subject for _, subject in self.wakes(before, limit)]
        found = self.load(order)
        return [found[subject] for subject in order]

    def wakes(self, before: int, limit: int) -> list[tuple[int, str]]:
        return self._file.rows("part_wakes", self.number, before, limit)

    def next_wake(self) -> int | None:
        return next((at for (at,) in self._file.rows("part_next_wake", self.number)), None)

    def population(self, after: str, limit: int, audience: Filter | None = None, now: int = 0) -> list[str]:
        return [row[0] for row in self._file.rows("part_subjects_after", self.number, after, limit)]

    def slots(self) -> dict[str, bytes]:
        return dict(self._file.rows("part_slots", self.number))

    def resources(self) -> dict[str, bytes]:
        return self._held

    def coupon(self, code: str) -> Coupon | None:
        self._file.rows("hold_coupon", self._coupons.seal.close(code))
        return super().coupon(code)

    def set_meta(self, name: str, value: str) -> None:
        self._file.send("save_meta", [(name, value)])

    def commit(self, batch: Batch) -> int:
        kept, committed = self.write(batch)
        self._durable.append(committed)
        self._at = batch.clock
        self._held.saved(batch.resources)
        put_letters(self._file, batch.letters)
        return len(batch.effects) - kept()

    def _save_progress(self, batch: Batch, cancelled: int) -> None:
        part = self.number
        self._step("inbox")
        done = [seq for seq in self._read if seq <= batch.inbox_done]
        if done:
            self._file.call("clear_log", done)
        self._step("positions")
        self._step("slots")
        rows = [(name, row) for name, row in batch.slots.items() if row is not None]
        if rows:
            self._file.call("save_part_slots", part, *map(list, zip(*rows, strict=True)))
        if gone := [name for name, row in batch.slots.items() if row is None]:
            self._file.call("drop_part_slots", part, gone)
        self._step("counters")
        counters = sorted(tally.counters(batch, cancelled).items())
        if counters:
            self._file.call("add_part_counters", part, *map(list, zip(*counters, strict=True)))
        self._step("figures")
        figures = [(*it, n) for it, n in sorted(tally.figures(batch).items())]
        if figures:
            self._file.call("add_part_figures", part, *map(list, zip(*figures, strict=True)))
        self._step("clock")


def put_letters(file: PgFile, letters: Sequence[tuple[Event, int]]) -> int:
    """Put events into the logs of their parts, each with the engine's clock; how many were not known."""
    if not letters:
        return 0
    rows = [(part_of(it.user or it.group), it.id, codec.encode_event(it), stamp) for it, stamp in letters]
    return file.put_rows("add_letters", rows)


class PgParts:
    """All parts of a store, for one who decides beside others. Open it with ``PgParts.open``."""

    def __init__(self, file: PgFile) -> None:
        self.store = PgStore(file)  #: all of it, for who only reads
        self._file = file
        self._parts: dict[int, PgPart] = {}
        self._worker = int(file.rows("myself")[0][0])
        self._busy: deque[int] = deque()

    @classmethod
    def open(cls, url: str, *, fault: Callable[[str], object] = nothing, durable: bool = True) -> PgParts:
        """Open a store whose schema is there and whose program is published; nobody may decide all of it meanwhile."""
        return cls(PgFile.open(url, role=Role.SHARES, fault=fault, durable=durable))

    def close(self) -> None:
        """End the session."""
        self._file.close()

    @contextmanager
    def claim(self, now: int) -> Iterator[PgPart | None]:
        """A part with something to do that nobody else decides just now."""
        self._file.again_if_gone()
        if not self._busy:  # who has something to do is asked once for many claims
            self._busy.extend(self.busy(now))
        if not self._busy:
            yield None
            return
        part: PgPart | None = None
        with self._file.transaction("decide", lambda: part.durable() if part is not None else None):
            part = self._hold(now)
            yield part
            if part is not None:
                part.leave(self._worker)

    def _hold(self, now: int) -> PgPart | None:
        while self._busy:
            number = self._busy.popleft()
            upto = int(self._file.rows("time_of_log", now)[0][0])
            for turn, at, slot_at in self._file.rows("hold_part", number):
                part = self._parts.get(number) or self._made(number)
                part.begin(turn, at, slot_at, upto)
                return part
        return None

    def _made(self, number: int) -> PgPart:
        part = self._parts[number] = PgPart(self._file, number)
        part.sealed_as(self.store)
        return part

    def busy(self, now: int) -> list[int]:
        """The parts with something to do, those first that waited longest."""
        return [part for part, _ in self._file.rows("busy_parts", now, self._worker, _STICKY)]


class PgDoor:
    """What is asked of a store in parts by who takes events in; its session decides nothing."""

    def __init__(self, store: PgStore) -> None:
        self._file = store.file

    def take_in(
        self, events: Sequence[Event], rejected: Sequence[Rejected], positions: Mapping[str, int], *, ended: bool | None
    ) -> int:
        """Put events into the logs of their parts, with the positions of their feeds, in one transaction.

        Parameters
        ----------
        ended: nothing more comes, so all that is due by the newest time may go; False: what is due at it waits for
            more. None: the machine's clock says what is due.

        Returns how many were not known.
        """
        file = self._file
        with file.transaction("ingest"):
            clock = int(file.rows("hold_log")[0][0])
            letters = []
            for event in events:
                if not event.history:
                    clock = max(clock, event.time)
                letters.append((event, clock))
            taken = put_letters(file, letters)
            file.send("add_rejected", map(rejected_row, rejected))
            file.send("save_positions", positions.items())
            numbers = {"duplicate": len(letters) - taken, "quarantined": len(rejected)}
            file.send("add_counters", sorted((name, n) for name, n in numbers.items() if n))
            file.call("grow_log", clock, None if ended is None else clock - (not ended))
        return taken

    def idle(self, now: int) -> bool:
        """No part has anything to do."""
        if self._file.rows("log_behind")[0][0]:  # an answer came that is newer than all the feeds had
            self.take_in((), (), {}, ended=True)
        return not self._file.rows("busy_parts", now, 0, 0)


def part(store: PgStore) -> None:
    """Let many decide; until ``join`` no one may decide all of it. What is in parts already stays as it is."""
    if not store.parted:
        clock, stamps = store.clock(), list[tuple[int, int]]()
        for seq, event in _waiting(store):
            clock = clock if event.history else max(clock, event.time)
            stamps.append((seq, clock))
        with store.file.transaction("meta"):
            store.file.send("begin_log", [(clock,)])
            store.file.send("make_parts", [()])
            store.file.send("stamp_inbox", stamps)
    store.file.share()


def history_waits(store: PgStore) -> bool:
    """Is history among what waits in the inbox of a store that is not in parts?"""
    return not store.parted and any(event.history for _, event in _waiting(store))


def _waiting(store: PgStore) -> Iterator[tuple[int, Event]]:
    after = 0
    while found := store.inbox(after, _PAGE):
        yield from found
        after = found[-1][0]


def join(store: PgStore) -> None:
    """The parts are at rest, and one may decide all of it again. Nobody else may be at work on it."""
    store.file.be_alone()
    with store.file.transaction("meta"):
        rows: dict[str, list[bytes]] = {}
        for name, body in store.file.rows("all_part_slots"):
            if not name.startswith(GONE):  # of triggers that left the program, which parts do not walk
                rows.setdefault(name, []).append(bytes(body))
        store.file.send("save_slots", [(name, merged(bodies)) for name, bodies in rows.items()])
        store.file.send("join_clock", [()])
        store.file.send("drop_slots_of_parts", [()])
        store.file.send("drop_parts", [()])
