"""What must be true of a store whatever happened to it: each promise one check, each breach named.

Rule 1: only reading; in one snapshot, so a writer may go on.
Rule 2: what two places say must agree: index and state, ledger and balance, pool and codes, counter and log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import msgspec

from engine.core.model import State
from engine.core.seats import GroupState
from engine.errors import StoreError
from engine.ports import Fault
from engine.stores.sql import migrations
from engine.stores.sql.check_coupons import CouponStory
from engine.stores.sql.check_ledger import LedgerSums
from engine.stores.sql.coupons import Coupons
from engine.stores.sql.erasure import Erasure
from engine.stores.sql.filed import QueryFile, ReadsEntries

_SHOWN = 5

QUERIES: Mapping[str, tuple[str, str]] = {
    "check_wakes": ("wake-index", "the index of wake-ups does not say what the state says"),
    "check_names": ("state-name", "a state stands at another subject's place"),
    "check_subjects": ("effect-subject", "an effect is found under another name than the one it is about"),
    "check_keys": ("effect-key", "the key of an effect does not lead to it"),
    "check_counters": ("counter", "a counter does not say what the log holds"),
    "check_figures": ("figure", "a figure of a playbook does not say what the log holds"),
    "check_inbox": ("inbox", "an event waits that was decided"),
    "check_delivery": ("delivery", "a delivery stands in the outbox that cannot be sent"),
    "check_trail": ("trail", "the trail of a subject leads to a row that is not its own"),
    "check_ids": ("event-id", "the memory of ids does not say what was decided"),
    "check_clock": ("clock", "an event was decided later than the engine's clock stands"),
}
"""Query -> name of the check and what it means when it finds rows."""


class ReadsStates(Protocol):
    """The states of a store."""

    def all(self) -> Iterator[State]: ...


class Check:
    """Checks one store."""

    dialect: str  #: whose queries and migrations they are
    damaged: str  #: what it means when the database itself finds something
    queries: Mapping[str, tuple[str, str]] = QUERIES

    def __init__(
        self,
        file: QueryFile,
        states: ReadsStates,
        erasure: Erasure,
        ledger: ReadsEntries,
        coupons: Coupons,
    ) -> None:
        self._file = file
        self._states = states
        self._erasure = erasure
        self._ledger = ledger
        self._coupons = coupons

    def run(self) -> Iterator[Fault]:
        """Every breach there is; a damaged file is the only one told, the others would follow from it."""
        checks: list[Callable[[], Iterator[Fault]]] = [
            self._queries, self._orphans, self._schema, self._pools, self._points, self._people, self._own,
        ]  # fmt: skip
        with self._file.snapshot():
            damage = self._damage()
            if damage:
                yield Fault("file", self.damaged, len(damage), damage[:_SHOWN])
                return
            for check in checks:
                yield from check()

    def ledger(self) -> Iterator[Fault]:
        """The sums of the ledger alone."""
        with self._file.snapshot():
            sums = LedgerSums(self._file, self._ledger, self._erasure)
            for state in self._states.all():
                sums.compare(state)
            yield from _sums(sums)

    def _own(self) -> Iterator[Fault]:
        """What one database alone must keep."""
        yield from ()

    def _elsewhere(self) -> list[str]:
        """Subjects whose state is not in the table."""
        return []

    def _damage(self) -> list[str]:
        """What the database finds; it may find it while it looks."""
        try:
            return [str(row[0]) for row in self._file.rows("integrity") if row[0] != "ok"]
        except StoreError as error:
            return [error.message]

    def _queries(self) -> Iterator[Fault]:
        for query, (name, message) in self.queries.items():
            yield from told(name, message, (str(row[0]) for row in self._file.rows(query)))

    def _orphans(self) -> Iterator[Fault]:
        rows = self._file.rows("check_orphans", self._file.names(self._elsewhere()))
        yield from told("orphan-effect", "an effect is about a user without a state", (str(row[0]) for row in rows))

    def _schema(self) -> Iterator[Fault]:
        known = {it.version: it.digest for it in migrations(self.dialect)}
        rows = self._file.rows("check_migrations")
        wrong = [str(version) for version, digest in rows if known.get(version) != digest]
        yield from told("schema", "a migration was applied in another wording than this program's", wrong)

    def _pools(self) -> Iterator[Fault]:
        story = CouponStory(self._file, self._ledger, self._coupons)
        yield from told("coupon-code", "codes given away, coupon effects and the ledger do not agree", story.codes())
        yield from told("coupon-pool", "a pool counted something else than happened to its coupons", story.pools())

    def _points(self) -> Iterator[Fault]:
        """Each booking follows from the one before; where a feed books too, only our own arithmetic cannot be held."""
        foreign = {row[0] for row in self._file.rows("check_booked")}
        wrong, before = [], ("", "")
        balance = 0
        for subject, account, delta, after, key in self._file.pages("check_points"):
            if (subject, account) != before:
                before = (subject, account)
                balance = 0 if not self._erasure.at([subject]) else after - delta
            if subject not in foreign and balance + delta != after:
                wrong.append(str(key))
            balance = after
        yield from told("points", "a balance is not the sum of its bookings", wrong)

    def _people(self) -> Iterator[Fault]:
        """What states say, against the ledger and versions."""
        sums = LedgerSums(self._file, self._ledger, self._erasure)
        known = {(row[0], row[1]) for row in self._file.rows("versions", False)}
        held: Counter[str] = Counter()
        lost = []
        for state in self._states.all():
            held.update(f"{it.group}/{it.room}" for it in state.holds)
            sums.compare(state)
            lost += [state.id for it in state.journeys if it.version and (it.playbook, it.version) not in known]
        yield from _sums(sums)
        yield from told("version", "a journey runs on a version the store does not have", lost)
        yield from told("seats", "more seats are held than the room counts as taken", self._overfull(held))

    def _overfull(self, held: Counter[str]) -> Iterator[str]:
        taken: Counter[str] = Counter()
        for name, raw in self._file.rows("all_resources"):
            kind, _, group = name.partition(":")
            if kind == "seat":
                rooms = msgspec.msgpack.decode(raw, type=GroupState).taken
                taken.update({f"{group}/{room}": n for room, n in rooms.items()})
        for place, n in sorted(held.items()):
            if n > taken[place]:
                yield f"{place}: {n} held, {taken[place]} taken"


def _sums(sums: LedgerSums) -> Iterator[Fault]:
    """What the ledger says otherwise than states and resources, which were compared."""
    yield from told("points-balance", "what a user has is not the sum of the ledger", sums.balances())
    yield from told("ledger-pool", "a pool gave something else than the ledger says", sums.pools())
    yield from told("ledger-cap", "a limit let in more than it may, or than the ledger says", sums.caps())
    yield from told("ledger-room", "a room counts other seats than the ledger says", sums.rooms())
    yield from told("ledger-key", "a key stands in the ledger twice", sums.repeated())


def told(name: str, message: str, found: Iterable[str]) -> Iterator[Fault]:
    """One breach, where there are rows of it."""
    rows = list(found)
    if rows:
        yield Fault(name, message, len(rows), rows[:_SHOWN])
