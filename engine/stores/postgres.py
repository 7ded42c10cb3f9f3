"""The store of many machines: a schema of a PostgreSQL database, see ``sql/postgres_file``.

Rule 1: one session decides; others take events in, work at the outbox and read beside it.
Rule 2: whatever a verb changes, it changes in one transaction; an exception leaves the store as it was.
Rule 3: a verb whose connection is lost is done again from its beginning, unless it was done after all; so nothing is
kept in memory of what is not committed.
Rule 4: a connection belongs to the thread that opened it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from hashlib import blake2b
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from engine.core.model import Answer, Decision, Effect, Entry, Event, State
from engine.core.predicate import Filter, Selection
from engine.core.subjects import part_of, subject_of
from engine.errors import StoreError, StoreHeld
from engine.ports import Batch, Fault, Rejected, Version
from engine.stores import codec, exporting, tally
from engine.stores.sql import postgres_audience
from engine.stores.sql.coupons import Coupons, CouponSide
from engine.stores.sql.points import FAULT_POINTS
from engine.stores.sql.postgres_check import PgCheck
from engine.stores.sql.postgres_erasure import PgErasure
from engine.stores.sql.postgres_events import PgEvents, PgLedger
from engine.stores.sql.postgres_file import PgFile
from engine.stores.sql.postgres_forgetting import PgForgetting
from engine.stores.sql.postgres_moving import PgMoving
from engine.stores.sql.postgres_outbox import PgOutbox
from engine.stores.sql.postgres_session import Lost, Role, nothing
from engine.stores.sql.postgres_states import PgStates
from engine.stores.sql.sweep import Sweep

__all__ = ["FAULT_POINTS", "PgStore", "Role"]

_PAGE = 1000  #: events or entries a report reads at a time
_LONG = 5.0  #: seconds a transaction may be open before that is worth a word
_TRIES = 5  #: how often a verb is begun when its connection is lost again and again

P = ParamSpec("P")
T = TypeVar("T")


def again(verb: Callable[Concatenate[PgStore, P], T]) -> Callable[Concatenate[PgStore, P], T]:
    """Begin a verb anew where its connection was lost before anything was committed."""

    @wraps(verb)
    def tried(self: PgStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_TRIES - 1):
            try:
                return verb(self, *args, **kwargs)
            except Lost:
                self._file.again_if_gone()
        return verb(self, *args, **kwargs)

    return tried


class PgStore(PgOutbox, CouponSide):
    """A store in PostgreSQL. Open it with ``PgStore.open``."""

    _file: PgFile

    def __init__(self, file: PgFile) -> None:
        self._file = file
        self._states = PgStates(file)
        self._events = PgEvents(file)
        self._ledger = PgLedger(file)
        self._erasure = PgErasure(file)
        self._coupons = Coupons(file)
        self._forgetting = PgForgetting(file)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        read_only: bool = False,
        beside: bool = False,
        gentle: bool = False,
        fault: Callable[[str], object] = nothing,
        durable: bool = True,
    ) -> PgStore:
        """Open a store; to decide, its schema is made or migrated, and no other session may decide.

        Parameters
        ----------
        url: ``postgresql://...`` with its secrets filled in; ``schema=`` names the schema.
        read_only: the session only reads.
        beside: where another session decides, this one takes events in and works at the outbox.
        gentle: for a process that lives long and comes back to what it cannot read yet.
        durable: what is committed survives the loss of power.
        """
        role = Role.READS if read_only else Role.DECIDES
        try:
            file = PgFile.open(url, role=role, fault=fault, durable=durable)
        except StoreHeld:
            if not beside or read_only:
                raise
            file = PgFile.open(url, role=Role.SERVES, fault=fault, durable=durable)
        file.waits = not gentle
        try:
            return cls(file)
        except BaseException:
            file.close()
            raise

    @property
    def file(self) -> PgFile:
        """The connection, for what is about parts."""
        return self._file

    @property
    def fault(self) -> Callable[[str], object]:
        """Called with each name of ``FAULT_POINTS`` as it is passed; crash tests kill the process there."""
        return self._file.fault

    @fault.setter
    def fault(self, call: Callable[[str], object]) -> None:
        self._file.fault = call

    @property
    def parted(self) -> bool:
        """Do many decide on it, each a part at a time?"""
        return bool(self._file.rows("has_parts")[0][0])

    def close(self) -> None:
        self._file.close()

    def mark(self) -> str:
        """What tells this schema of this server from a copy of it."""
        return blake2b("\n".join(self._file.rows("cluster")[0]).encode(), digest_size=16).hexdigest()

    def cautions(self) -> list[tuple[str, str]]:
        """What the operator should know of the server that no store can mend, each with the next move."""
        found = []
        copies, waited_for, commit = self._file.rows("standbys")[0]
        if copies and (not waited_for or commit == "local"):
            words = f"{copies} server(s) copy the store's, and no commit waits for them: "
            words += "after a fail-over, events that were acknowledged may be missing"
            found.append((words, "set synchronous_standby_names, and synchronous_commit to on"))
        for seconds, who in self._file.rows("oldest_open"):
            if seconds > _LONG:
                words = f"{who or 'a session'} has been writing for {seconds:.0f} s: "
                words += "events that came in since wait for it"
                found.append((words, "end what it does, or its session (pg_terminate_backend)"))
        return found

    def check(self) -> list[Fault]:
        """Every promise of the store that does not hold; see ``check``."""
        return list(self._checks().run())

    def sums(self) -> list[Fault]:
        """What of ``check`` is about the ledger."""
        return list(self._checks().ledger())

    def _checks(self) -> PgCheck:
        return PgCheck(self._file, self._states, self._erasure, self._ledger, self._coupons)

    def anew(self) -> PgStore:
        """The same store, once it took records."""
        return PgStore(self._file)

    def backup(self, target: str | os.PathLike[str], marks: dict[str, str]) -> int:
        """Copy this moment of the store into a new file; see ``exporting``. Returns its size in bytes."""
        return exporting.backup(self, Path(target), marks)

    def copy(self, target: Path) -> None:
        """Copy this moment of the store into a new file, to try something on."""
        exporting.write(self, target, {})

    def moving(self) -> PgMoving:
        """Everything in it as records, see ``stores/moving``; raises StoreError while it is in parts."""
        if self.parted:
            raise StoreError(
                f"store {self._file.place} is in parts: a run with --workers is at work, or was cut short",
                hint="when it has ended, or when drumbeat run --until-idle has finished it",
            )
        return PgMoving(self._file)

    def sweep(self) -> Sweep:
        """The way to read all of it once, for a report."""
        return Sweep(self._file, _PAGE)

    # -- deciding

    def load(self, subjects: Iterable[str]) -> dict[str, State]:
        return self._erasure.load(self._states.load, subjects)

    def erased(self, subjects: Iterable[str]) -> dict[str, int]:
        if self._file.role is not Role.DECIDES:
            self._erasure.follow()
        return self._erasure.at(subjects)

    def scrub(self) -> None:
        self._erasure.scrub()

    def unscrubbed(self) -> bool:
        """Was anybody erased since the last ``scrub``?"""
        return self._erasure.unscrubbed()

    @again
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
        return {row[0] for row in self._file.rows("known_ids" if waiting else "decided_ids", list(ids))}

    def strangers(self, subjects: Sequence[str]) -> set[str]:
        return self._states.strangers(subjects)

    @again
    def commit(self, batch: Batch) -> int:
        durable: list[Callable[[], None]] = []
        with self._file.transaction("commit", lambda: durable[0]()):
            kept, committed = self.write(batch)
            durable.append(committed)
        return len(batch.effects) - kept()

    def write(self, batch: Batch) -> tuple[Callable[[], int], Callable[[], None]]:
        """What a batch holds, inside a transaction.

        Gives what tells the number of effects whose keys are new, and what is to be called once all is durable.
        """
        written, revived = batch.states, list[str]()
        if batch.erased or self._erasure:
            written = self._erasure.disguised(written, batch.erased)
            revived = self._erasure.revived(written)

        def committed() -> None:
            self._erasure.committed(batch.erased, revived, written)
            self._events.added(len(batch.events))

        self._step("states")
        for name in (*revived, *(subject for subject, _ in batch.erased)):
            self._erasure.drop_state(name)
        self._states.save(written)
        self._step("cancels")
        cancelled, unsent = self._coupons.cancel(batch.cancels, batch.clock)
        self._file.put(unsent)
        kept = self._save_log(batch)
        self._save_scarce(batch)
        self._save_verdicts(batch)
        self._save_progress(batch, cancelled)
        self._step("erased")
        for subject, at in batch.erased:
            self._erasure.erase(subject, at)
            self._ledger.erase(subject, at, self._erasure.alias)
            self._coupons.renamed(self._ledger.read(self._erasure.alias(subject), "coupon", None))
        return kept, committed

    def _step(self, name: str) -> None:
        self._file.fault("commit." + name)

    def _save_log(self, batch: Batch) -> Callable[[], int]:
        """Events and effects; what tells the number of effects whose keys are new."""
        self._step("events")
        self._events.add(batch.events, batch.others)
        self._step("effects")
        return self._file.send("add_effects", [_effect_row(it) for it in batch.effects])

    def _save_scarce(self, batch: Batch) -> None:
        asked, send = tally.askers(batch), self._file.send
        self._step("answers")
        answers = {it.key: (it.key, asked.get(it.key), codec.encode_answer(it)) for it in batch.answers}
        send("save_answers", answers.values())
        self._step("grants")
        self._coupons.book(batch.entries)
        self._step("resources")
        send("save_resources", batch.resources.items())
        self._step("entries")
        self._ledger.add(batch.entries)

    def _save_verdicts(self, batch: Batch) -> None:
        send = self._file.send
        self._step("decisions")
        self._ledger.judge(batch.decisions)
        self._step("goals")
        worth = dict(batch.worth)
        send("add_goals", [(*it, str(worth[n]) if n in worth else None) for n, it in enumerate(batch.goals)])
        send("add_milestones", [tuple(it) for it in batch.milestones])
        self._step("quarantine")
        send("add_rejected", map(rejected_row, batch.rejected))

    def _save_progress(self, batch: Batch, cancelled: int) -> None:
        send = self._file.send
        self._step("inbox")
        if batch.inbox_done:
            send("clear_inbox", [(batch.inbox_done,)])
        self._step("positions")
        send("save_positions", batch.positions.items())
        self._step("slots")
        send("save_slots", [(name, row) for name, row in batch.slots.items() if row is not None])
        send("drop_slots", [(name,) for name, row in batch.slots.items() if row is None])
        self._step("counters")
        send("add_counters", sorted(tally.counters(batch, cancelled).items()))
        self._step("figures")
        send("add_figures", [(*it, n) for it, n in sorted(tally.figures(batch).items())])
        self._step("clock")
        send("save_clock", [(batch.clock,)])

    def clock(self) -> int:
        return int(self._file.rows("clock")[0][0])

    def position(self, feed: str) -> int:
        rows = self._file.rows("position", feed)
        return int(rows[0][0]) if rows else 0

    def resources(self) -> dict[str, bytes]:
        return dict(self._file.rows("all_resources"))

    def get_meta(self, name: str) -> str | None:
        rows = self._file.rows("meta", name)
        return str(rows[0][0]) if rows else None

    @again
    def set_meta(self, name: str, value: str) -> None:
        with self._file.transaction("meta"):
            self._file.fault("meta.save")
            self._file.send("save_meta", [(name, value)])

    def wire(self, modes: Mapping[str, str | None]) -> None:
        """No notes are taken of what is about to be sent: there is no file beside the store that would be found again
        by whoever goes on elsewhere. So all that is claimed is in doubt after a crash, and each channel's mode says
        what becomes of it."""

    def fold(self) -> None:
        """Everything is at its place always."""
        if self._file.read_only:
            with self._file.transaction("fold"):
                """Refused."""

    # -- versions of playbooks

    def versions(self, *, used: bool = True) -> list[Version]:
        return [Version(*row) for row in self._file.rows("versions", used)]

    @again
    def keep_versions(self, versions: Sequence[Version]) -> None:
        with self._file.transaction("version"):
            self._file.fault("version.save")
            rows = {(it.playbook, it.hash): (it.since, it.sources, it.used) for it in versions}
            self._file.send("save_versions", [(*name, *row) for name, row in rows.items()])

    def in_flight(self) -> Iterator[State]:
        return self._states.in_flight()

    # -- the outbox and coupons, begun anew where the connection was lost

    claim = again(PgOutbox.claim)
    settle = again(PgOutbox.settle)
    redrive = again(PgOutbox.redrive)
    drop = again(PgOutbox.drop)
    add_codes = again(CouponSide.add_codes)

    # -- ingest

    @again
    def ingest(self, events: Sequence[tuple[Event, bytes]], rejected: Sequence[Rejected]) -> tuple[int, int]:
        with self._file.transaction("ingest"):
            accepted, duplicates = self._take_in("ingest", events)
            self._file.fault("ingest.quarantine")
            self._file.send("add_rejected", map(rejected_row, rejected))
            self._file.fault("ingest.counters")
            counts = {"duplicate": duplicates, "quarantined": len(rejected)}
            self._file.send("add_counters", [(name, n) for name, n in counts.items() if n])
        return accepted, duplicates

    def _take_in(self, verb: str, events: Sequence[tuple[Event, bytes]]) -> tuple[int, int]:
        """Put events into the inbox; (accepted, duplicates)."""
        fresh = tally.first_copies(events, set())
        self._file.fault(verb + ".inbox")
        return (taken := self._file.put(fresh)), len(events) - taken

    def waiting(self) -> tuple[int, int]:
        first, number = self._file.rows("inbox_waiting")[0]
        return first, number

    def inbox(self, after: int, limit: int) -> list[tuple[int, Event]]:
        return [(seq, codec.decode_event(body)) for seq, body in self._file.settled(after, limit)]

    def held_back(self) -> int | None:
        return min((codec.decode_event(body).time for body in self._file.held), default=None)

    # -- quarantine

    def quarantine(self) -> Iterator[Rejected]:
        for row in self._file.pages("all_rejected"):
            yield Rejected(*row)

    def rejected(self, number: int) -> Rejected | None:
        rows = self._file.rows("one_rejected", number)
        return Rejected(*rows[0]) if rows else None

    @again
    def release(self, numbers: Sequence[int], events: Sequence[tuple[Event, bytes]] = ()) -> tuple[int, int]:
        with self._file.transaction("release"):
            self._file.fault("release.quarantine")
            self._file.send("drop_rejected", [(number,) for number in numbers])
            accepted, duplicates = self._take_in("release", events)
            self._file.fault("release.counters")
            self._file.send("add_counters", [("duplicate", duplicates)] if duplicates else [])
        return accepted, duplicates

    # -- reading

    def effects(self, user: str | None = None) -> Iterator[tuple[Effect, str]]:
        rows: Iterable[Any] = (
            self._file.pages("all_effects") if user is None else self._file.rows("effects_of", user)
        )
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
        return self._events.unheard(subjects, until)

    def answers(self, user: str) -> dict[str, Answer]:
        return {key: codec.decode_answer(body) for key, body in self._file.rows("answers_of", user)}

    def asker(self, key: str) -> str | None:
        return next((subject for (subject,) in self._file.rows("asker_of", key)), None)

    def decisions(self, user: str) -> Iterator[Decision]:
        for (body,) in self._file.rows("decisions_of", user):
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

    def candidates(self, filter: Filter, now: int, after: str, limit: int) -> list[str]:
        return postgres_audience.candidates(self._file, filter, now, after, limit)

    def audience(self, filter: Filter, now: int, after: str = "", limit: int = 1000) -> Selection:
        return postgres_audience.select(self._file, filter, now, after, limit)

    def counts(self) -> dict[str, int]:
        return dict.fromkeys(tally.COUNTERS, 0) | dict(self._file.rows("counters"))

    def summary(self) -> dict[str, Any]:
        return tally.summary(self._file.rows("figures"))


def _effect_row(it: Effect) -> tuple[Any, ...]:
    carries = codec.names(it.carries).decode() if it.carries else None
    subject = subject_of(it.user, it.group)
    delivery = tally.first_delivery(it)
    return (part_of(subject), it.key, subject, it.time, it.deliver, codec.effect_body(it), delivery, carries)


def rejected_row(it: Rejected) -> tuple[Any, ...]:
    """A record in quarantine, as it is written."""
    return (it.feed, it.position, it.reason, it.message, it.raw, it.at)
