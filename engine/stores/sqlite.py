"""The store of one machine: an SQLite file with one writer.

Rule 1: exactly one connection writes and checkpoints; every other one opens ``read_only``. A lock file says who writes.
Rule 2: whatever a verb changes, it changes in one transaction; an exception leaves the file as it was.
Rule 3: ``synchronous = FULL``: what was committed survives the loss of power.
Rule 4: a connection belongs to the thread that opened it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engine.core.model import Answer, Decision, Effect, Entry, Event, State
from engine.core.predicate import Filter, Selection
from engine.core.subjects import subject_of
from engine.ports import Batch, Fault, Rejected, Room, Version
from engine.stores import codec, tally, wirefile
from engine.stores.sql import sqlite_copy
from engine.stores.sql.coupons import Coupons, CouponSide
from engine.stores.sql.points import WITH_FOLDS as FAULT_POINTS
from engine.stores.sql.sqlite_check import SqliteCheck
from engine.stores.sql.sqlite_erasure import SqliteErasure
from engine.stores.sql.sqlite_events import SqliteEvents
from engine.stores.sql.sqlite_file import SqliteFile, nothing
from engine.stores.sql.sqlite_forgetting import SqliteForgetting
from engine.stores.sql.sqlite_keys import KEY_PIECE, KEY_ROWS, SqliteKeys
from engine.stores.sql.sqlite_ledger import SqliteLedger
from engine.stores.sql.sqlite_outbox import SqliteOutbox
from engine.stores.sql.sqlite_states import FOLD_BYTES, FOLD_SUBJECTS, GENTLE_BYTES, GENTLE_SUBJECTS, SqliteStates
from engine.stores.sql.sqlite_taking import SqliteTaking
from engine.stores.sql.sqlite_trail import ALL, GENTLE_ROWS, TRAIL_ROWS, SqliteTrail
from engine.stores.sql.sweep import Sweep
from engine.stores.wirefile import WireFile

_BLOCKS = 50  #: blocks of events or entries a report reads at a time

__all__ = ["FAULT_POINTS", "SqliteStore"]


class SqliteStore(SqliteOutbox, CouponSide):
    """A store in one SQLite file. Open it with ``SqliteStore.open``."""

    _file: SqliteFile

    def __init__(self, file: SqliteFile, *, gentle: bool = False) -> None:
        self._file = file
        self._gentle = gentle and not file.read_only
        self._states = SqliteStates(file, (GENTLE_SUBJECTS, GENTLE_BYTES) if self._gentle else None)
        self._erasure = SqliteErasure(file)
        self._events = SqliteEvents(file)
        self._ledger = SqliteLedger(file)
        self._coupons = Coupons(file)
        self._forgetting = SqliteForgetting(file)
        self._trail = SqliteTrail(file)
        self._keys = SqliteKeys(file)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        fault: Callable[[str], object] = nothing,
        busy_seconds: float = 10.0,
        durable: bool = True,
        gentle: bool = False,
    ) -> SqliteStore:
        """Open a store; for writing, the file is made or migrated, and no other process may be writing it.

        Not ``durable`` is a store that is thrown away afterwards: it need not survive the loss of power (rule 3).
        ``gentle`` is one for a process that lives long: it holds little, and keeps nobody waiting to put it in order.
        """
        file = SqliteFile.open(Path(path), read_only=read_only, fault=fault, busy_seconds=busy_seconds, durable=durable)
        try:
            return cls(file, gentle=gentle)
        except BaseException:
            file.close()
            raise

    @property
    def fault(self) -> Callable[[str], object]:
        """Called with each name of ``FAULT_POINTS`` as it is passed; crash tests kill the process there."""
        return self._file.fault

    @fault.setter
    def fault(self, call: Callable[[str], object]) -> None:
        self._file.fault = call

    def close(self) -> None:
        self._file.close()

    def check(self) -> list[Fault]:
        """Every promise of the file that does not hold; see ``sqlite_check``."""
        return list(self._checks().run())

    def sums(self) -> list[Fault]:
        """What of ``check`` is about the ledger."""
        return list(self._checks().ledger())

    def _checks(self) -> SqliteCheck:
        return SqliteCheck(self._file, self._states, self._erasure, self._ledger, self._coupons)

    def anew(self) -> SqliteStore:
        """The same store, once it took records."""
        return SqliteStore(self._file, gentle=self._gentle)

    def moving(self) -> SqliteTaking:
        """Everything in it as records, see ``stores/moving``; the store is open for writing. One that took records is
        opened anew before anything else is done with it."""
        self.fold()
        return SqliteTaking(self._file)

    def sweep(self) -> Sweep:
        """The way to read all of it once, for a report."""
        return Sweep(self._file, _BLOCKS)

    def backup(self, target: str | os.PathLike[str], marks: dict[str, str]) -> int:
        """Copy this moment of the store into a new file; see ``sqlite_copy``. Returns its size in bytes."""
        return sqlite_copy.copy(self._file.path, Path(target), marks)

    # -- deciding

    def load(self, subjects: Iterable[str]) -> dict[str, State]:
        return self._erasure.load(self._states.load, subjects)

    def erased(self, subjects: Iterable[str]) -> dict[str, int]:
        if self._file.read_only:
            self._erasure.follow()
        return self._erasure.at(subjects)

    def scrub(self) -> None:
        self.fold()
        try:
            self._erasure.scrub()
        finally:
            self._keys.gather()  # what belongs to the connection may have gone

    def unscrubbed(self) -> bool:
        return self._erasure.unscrubbed()

    def room(self) -> Room:
        return self._file.room()

    def checkpoint(self) -> None:
        self._file.checkpoint("passive")

    def shrink_log(self) -> None:
        self._file.shrink_log()

    @property
    def full(self) -> bool:
        return self._file.full

    def keep_reserve(self) -> bool:
        return self._file.keep_reserve()

    def count_day(self) -> None:
        self._file.count_epoch()

    def forget(self, before: Mapping[str, int], limit: int) -> dict[str, int]:
        with self._file.transaction("forget"):
            return self._forgetting.run(before, limit)

    def forgotten(self, user: str) -> int | None:
        return self._forgetting.of(user)

    def due(self, before: int, limit: int) -> list[State]:
        return self._states.due(before, limit)

    def wakes(self, before: int, limit: int) -> list[tuple[int, str]]:
        return self._states.wakes(before, limit)

    def next_wake(self) -> int | None:
        return self._states.next_wake()

    def population(self, after: str, limit: int, audience: Filter | None = None, now: int = 0) -> list[str]:
        if audience is not None:
            return self.candidates(audience, now, after, limit)
        return self._states.population(after, limit)

    def slots(self) -> dict[str, bytes]:
        return dict(self._file.rows("all_slots"))

    def known(self, ids: Sequence[str], *, waiting: bool = True) -> set[str]:
        if not ids:
            return set()
        wanted, rows = codec.names(list(ids)), self._file.rows
        return {row[0] for row in (rows("known_ids", wanted) if waiting else rows("decided_ids", wanted))}

    def strangers(self, subjects: Sequence[str]) -> set[str]:
        return self._states.strangers(subjects)

    def commit(self, batch: Batch) -> int:
        self.stirred += bool(batch.effects)
        # Before the batch, never after it: what fails here must not look like a batch that was not written.
        states, trail, keys = self._overdue()
        written, revived = batch.states, list[str]()
        if batch.erased or self._erasure:
            written = self._erasure.disguised(written, batch.erased)
            revived = self._erasure.revived(written)
        whole = bool(batch.erased or revived)  # what is taken away must stand at one place
        if states or trail or keys or whole:
            self._fold(states or whole, trail, keys)
        entries = self._states.entries(written)
        if batch.erased:
            self._erasure.overwrite()

        def committed() -> None:
            self._states.appended(entries)
            self._erasure.committed(batch.erased, revived, written)
            self._events.added(len(batch.events))
            self._keys.added()
            rows = len(batch.effects) + len(batch.decisions) + self._ledger.added(len(batch.entries))
            self._trail.added(len(batch.events), rows)

        with self._file.transaction("commit", committed):
            self._step("states")
            self._states.append(entries)
            self._step("cancels")
            cancelled, unsent = self._coupons.cancel(batch.cancels, batch.clock)
            self._file.write("add_inbox", ((it.id, codec.encode_event(it)) for it in unsent))
            conflicts = self._save_log(batch)
            self._save_scarce(batch)
            self._save_verdicts(batch)
            self._save_progress(batch, cancelled)
            self._step("erased")
            for alias in revived:
                self._erasure.drop_state(alias)
            for subject, at in batch.erased:
                self._erasure.drop_state(subject)
                self._events.erase(subject, at)
                self._erasure.erase(subject, at)
                self._ledger.erase(subject, at, self._erasure.alias)
                self._coupons.renamed(self._ledger.read(self._erasure.alias(subject), "coupon", None))
        return conflicts

    def _step(self, name: str) -> None:
        self._file.fault("commit." + name)

    def _save_log(self, batch: Batch) -> int:
        """Events and effects; the number of effect keys that existed already."""
        self._step("events")
        self._events.add(batch.events, batch.others)
        self._step("effects")
        return len(batch.effects) - self._keys.add([_effect_row(it) for it in batch.effects])

    def _save_scarce(self, batch: Batch) -> None:
        asked, write = tally.askers(batch), self._file.write
        self._step("answers")
        write("save_answer", ((it.key, asked.get(it.key), codec.encode_answer(it)) for it in batch.answers))
        self._step("grants")
        self._coupons.book(batch.entries)
        self._step("resources")
        write("save_resource", batch.resources.items())
        self._step("entries")
        self._ledger.add(batch.entries)

    def _save_verdicts(self, batch: Batch) -> None:
        write = self._file.write
        self._step("decisions")
        rows = [(subject_of(it.user, it.group), codec.decision_body(it)) for it in batch.decisions]
        self._file.insert("add_decision", rows)
        self._step("goals")
        worth = dict(batch.worth)
        write("add_goal", ((*it, str(worth[n]) if n in worth else None) for n, it in enumerate(batch.goals)))
        self._file.insert("add_milestone", batch.milestones)
        self._step("quarantine")
        write("add_rejected", map(_rejected_row, batch.rejected))

    def _save_progress(self, batch: Batch, cancelled: int) -> None:
        write = self._file.write
        self._step("inbox")
        if batch.inbox_done:
            write("clear_inbox", [(batch.inbox_done,)])
        self._step("positions")
        write("save_position", batch.positions.items())
        self._step("slots")
        write("save_slot", ((name, row) for name, row in batch.slots.items() if row is not None))
        write("drop_slot", ((name,) for name, row in batch.slots.items() if row is None))
        self._step("counters")
        write("add_counter", tally.counters(batch, cancelled).items())
        self._step("figures")
        write("add_figure", ((playbook, name, n) for (playbook, name), n in tally.figures(batch).items()))
        self._step("clock")
        write("save_clock", [(batch.clock,)])

    def fold(self) -> None:
        """Bring states and keys to their places and lay the trail. ``commit`` does each of them when it is due."""
        self._fold(True, ALL, ALL)

    def _overdue(self) -> tuple[bool, int, int]:
        """What ``_fold`` is to do before the next batch; one thing alone where nobody is to be kept waiting."""
        subjects, written = len(self._states), self._states.written
        rows, keys = self._trail.missing, self._keys.held
        if not self._gentle:
            full = subjects >= FOLD_SUBJECTS or written >= FOLD_BYTES
            return full, ALL * (rows >= TRAIL_ROWS), ALL * (keys >= KEY_ROWS)
        log = max(subjects / GENTLE_SUBJECTS, written / GENTLE_BYTES)
        waiting = (log, rows / GENTLE_ROWS, keys / max(1, KEY_ROWS))
        first = waiting.index(max(waiting)) if max(waiting) >= 1 else None
        return first == 0, GENTLE_ROWS * (first == 1), KEY_PIECE * (first == 2)

    def _fold(self, states: bool, trail: int, keys: int) -> None:
        """Bring states to their places; lay the trail of so many rows of each log; bring so many keys to theirs."""

        def folded() -> None:
            if states:
                self._states.folded()
            if trail:
                self._trail.laid()
            if keys:
                self._keys.placed()

        with self._file.transaction("fold", folded):
            if states:
                self._file.fault("fold.states")
                self._states.fold()
            if trail:
                self._file.fault("fold.trail")
                self._trail.lay(trail)
            if keys:
                self._file.fault("fold.keys")
                self._keys.place(keys)

    def clock(self) -> int:
        rows = self._file.rows("clock")
        return int(rows[0][0]) if rows else 0

    def position(self, feed: str) -> int:
        rows = self._file.rows("position", feed)
        return int(rows[0][0]) if rows else 0

    def resources(self) -> dict[str, bytes]:
        return dict(self._file.rows("all_resources"))

    def get_meta(self, name: str) -> str | None:
        rows = self._file.rows("meta", name)
        return str(rows[0][0]) if rows else None

    def set_meta(self, name: str, value: str) -> None:
        with self._file.transaction("meta"):
            self._file.fault("meta.save")
            self._file.write("save_meta", [(name, value)])

    def wire(self, modes: Mapping[str, str | None]) -> WireFile | None:
        """Notes of what is about to be sent, for a session with channels of these modes; None: none are taken."""
        known = self.get_meta(wirefile.ID)
        try:
            if self._file.counted and any(mode != "at_least_once" for mode in modes.values()):
                path = wirefile.place(self._file.path)
                return WireFile(path, known, modes, partial(self.set_meta, wirefile.ID), self._told)
        except OSError:
            pass  # without notes all that is claimed is in doubt, as long as the old ones are not believed
        if known:
            self.set_meta(wirefile.ID, "")
        return None

    def _told(self, point: str) -> None:
        self._file.fault(point)

    # -- versions of playbooks

    def versions(self, *, used: bool = True) -> list[Version]:
        rows = self._file.rows("versions", int(used))
        return [Version(playbook, hash_, since, sources, bool(yes)) for playbook, hash_, since, sources, yes in rows]

    def keep_versions(self, versions: Sequence[Version]) -> None:
        with self._file.transaction("version"):
            self._file.fault("version.save")
            rows = ((it.playbook, it.hash, it.since, it.sources, int(it.used)) for it in versions)
            self._file.write("save_version", rows)

    def in_flight(self) -> Iterator[State]:
        return self._states.in_flight()

    # -- ingest

    def ingest(self, events: Sequence[tuple[Event, bytes]], rejected: Sequence[Rejected]) -> tuple[int, int]:
        with self._file.transaction("ingest"):
            accepted, duplicates = self._take_in("ingest", events)
            self._file.fault("ingest.quarantine")
            self._file.write("add_rejected", map(_rejected_row, rejected))
            self._file.fault("ingest.counters")
            counts = {"duplicate": duplicates, "quarantined": len(rejected)}
            self._file.write("add_counter", ((name, n) for name, n in counts.items() if n))
        return accepted, duplicates

    def _take_in(self, verb: str, events: Sequence[tuple[Event, bytes]]) -> tuple[int, int]:
        """Put events into the inbox; (accepted, duplicates)."""
        fresh = tally.first_copies(events, self.known([event.id for event, _ in events]))
        self._file.fault(verb + ".inbox")
        self._file.write("add_inbox", ((it.id, codec.encode_event(it)) for it in fresh))
        return len(fresh), len(events) - len(fresh)

    def waiting(self) -> tuple[int, int]:
        first, last = self._file.rows("inbox_ends")[0]
        return (0, 0) if first is None else (first, last - first + 1)  # numbers come one by one

    def inbox(self, after: int, limit: int) -> list[tuple[int, Event]]:
        return [(seq, codec.decode_event(body)) for seq, body in self._file.rows("read_inbox", after, limit)]

    def held_back(self) -> int | None:
        return None

    # -- quarantine

    def quarantine(self) -> Iterator[Rejected]:
        for row in self._file.pages("all_rejected"):
            yield Rejected(*row)

    def rejected(self, number: int) -> Rejected | None:
        rows = self._file.rows("one_rejected", number)
        return Rejected(*rows[0]) if rows else None

    def release(self, numbers: Sequence[int], events: Sequence[tuple[Event, bytes]] = ()) -> tuple[int, int]:
        with self._file.transaction("release"):
            self._file.fault("release.quarantine")
            self._file.write("drop_rejected", ((number,) for number in numbers))
            accepted, duplicates = self._take_in("release", events)
            self._file.fault("release.counters")
            self._file.write("add_counter", [("duplicate", duplicates)] if duplicates else [])
        return accepted, duplicates

    # -- reading

    def effects(self, user: str | None = None) -> Iterator[tuple[Effect, str]]:
        rows = self._file.pages("all_effects") if user is None else self._file.pages("effects_of", user)
        for key, time, channel, body, delivery in rows:
            yield codec.effect_from(key, time, channel, body), delivery or ""

    def outcomes(self, user: str) -> dict[str, str]:
        return dict(self._file.rows("outcomes_of", user))

    def events(self, user: str) -> Iterator[tuple[Event, int]]:
        yield from self._events.of(user)

    def decided_from(self) -> int | None:
        return self._events.first()

    def decided(self, since: int) -> Iterator[tuple[Event, int]]:
        yield from self._events.since(since)

    def unheard(self, subjects: Sequence[str], until: int) -> set[str]:
        if not self._events.laid(until):
            self.fold()
        return self._events.unheard(subjects, until)

    def answers(self, user: str) -> dict[str, Answer]:
        return {key: codec.decode_answer(body) for key, body in self._file.rows("answers_of", user)}

    def asker(self, key: str) -> str | None:
        return next((subject for (subject,) in self._file.rows("asker_of", key)), None)

    def decisions(self, user: str) -> Iterator[Decision]:
        for (body,) in self._file.pages("decisions_of", user):
            yield codec.decision_from(body)

    def ledger(
        self, *, subject: str | None = None, book: str | None = None, name: str | None = None
    ) -> Iterator[Entry]:
        return self._ledger.read(subject, book, name)

    def subjects(self) -> Iterator[State]:
        return self._states.all()

    def places(self) -> Iterator[codec.Place]:
        """Where every subject stands."""
        return self._states.places()

    def head_count(self) -> int:
        return self._states.count()

    def audience(self, filter: Filter, now: int, after: str = "", limit: int = 1000) -> Selection:
        return self._states.audience(filter, now, after, limit)

    def candidates(self, filter: Filter, now: int, after: str, limit: int) -> list[str]:
        return self._states.candidates(filter, now, after, limit)

    def counts(self) -> dict[str, int]:
        return dict.fromkeys(tally.COUNTERS, 0) | dict(self._file.rows("counters"))

    def summary(self) -> dict[str, Any]:
        return tally.summary(self._file.rows("figures"))


def _effect_row(it: Effect) -> tuple[Any, ...]:
    carries = codec.names(it.carries).decode() if it.carries else None
    subject = subject_of(it.user, it.group)
    return (it.key, subject, it.time, it.deliver, codec.effect_body(it), tally.first_delivery(it), carries)


def _rejected_row(it: Rejected) -> tuple[Any, ...]:
    return (it.feed, it.position, it.reason, it.message, it.raw, it.at)
