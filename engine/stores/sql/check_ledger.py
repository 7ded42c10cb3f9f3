"""The sums of the ledger against what states and resources say.

Rule 1: what the ledger says somebody has, his state has: points of each account, what is not settled yet, seats.
Rule 2: what the ledger says was given is what the resource counts: codes and money of a pool, seats of a room.
Rule 3: somebody who was erased is one with his pseudonym.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from engine.core.coupons import PoolState
from engine.core.model import State
from engine.core.points import PENDING
from engine.core.rewards import HELD, RewardState
from engine.core.scarce import SlotState
from engine.core.seats import GroupState
from engine.stores.sql.erasure import Erasure
from engine.stores.sql.filed import QueryFile, ReadsEntries

_GIVEN = {"issued": 1, "returned": -1}


class LedgerSums:
    """The sums of one ledger; ``compare`` every state, then ask for what does not agree."""

    def __init__(self, file: QueryFile, ledger: ReadsEntries, erasure: Erasure) -> None:
        self._file = file
        self._ledger = ledger
        self._erasure = erasure
        self._had: Counter[tuple[str, str, str]] = Counter()  #: (book, name, subject) -> sum
        self._rooms: Counter[str] = Counter()
        self._rewards: Counter[str] = Counter()
        self._given: Counter[str] = Counter()  #: pool -> codes given and not returned
        self._spent: dict[str, Decimal] = {}
        self._caps: Counter[str] = Counter()  #: playbook -> places taken in windows that are over
        self._over: list[str] = []  #: windows in which more were taken than there were
        self._read()
        self._wrong: list[str] = []

    def _read(self) -> None:
        for it in self._ledger.read(None, None, None):
            if it.subject is not None:
                book = "points" if it.book == "entitlement" else it.book  # a state holds both as units of accounts
                self._had[book, it.name, self._same(it.subject)] += it.delta
            if it.book == "reward":
                self._rewards[it.name] += it.delta
            elif it.book == "cap":
                self._caps[it.name] += it.delta
                self._within(it.name, it.delta, int(it.amount or it.delta))
            elif it.book == "seat":
                self._rooms[f"{it.name}/{it.unit}"] += it.delta
            elif it.book == "coupon" and it.what in _GIVEN:
                self._given[it.name] += _GIVEN[it.what]
                amount = (it.amount or Decimal(0)) * _GIVEN[it.what]
                self._spent[it.name] = self._spent.get(it.name, Decimal(0)) + amount

    def _within(self, playbook: str, used: int, most: int) -> None:
        if most and used > most:  # 0: a window that was open when this was not counted yet
            self._over.append(f"{playbook}: {used} of {most}")

    def _same(self, subject: str) -> str:
        return self._erasure.alias(subject) if self._erasure.at([subject]) else subject

    def compare(self, state: State) -> None:
        """Take a state in."""
        who, says = self._same(state.id), Counter[tuple[str, str]]()
        for account, balance in state.points.items():
            says["points", account] += balance
        for account, purse in state.purses.items():
            says["points", account + PENDING] += purse.waiting()
        for journey in state.journeys:
            for it in journey.reserved:
                says["points", it.account + HELD] += it.points
        for reward, n in state.rewards.items():
            says["reward", reward] += n
        for hold in state.holds:
            says["seat", hold.group] += 1
        for (book, name), n in says.items():
            booked = self._had.pop((book, name, who), 0)
            if booked != n:
                self._wrong.append(f"{state.id} {name}: {n}, booked {booked}")

    def balances(self) -> Iterator[str]:
        """Balances and seats that are not the sum of their entries."""
        yield from self._wrong
        for (book, name, subject), n in sorted(self._had.items()):
            if n and book in ("points", "seat", "reward"):
                yield f"{subject} {name}: 0, booked {n}"

    def pools(self) -> Iterator[str]:
        """Pools and rewards that count other units, or another sum of money, than the ledger says they gave."""
        for name, raw in self._file.rows("all_resources"):
            kind, _, pool = name.partition(":")
            if kind == "reward":
                taken = msgspec.msgpack.decode(raw, type=RewardState).taken
                if taken != self._rewards[pool]:
                    yield f"{pool}: {taken} counted, {self._rewards[pool]} in the ledger"
            if kind != "coupon":
                continue
            state = msgspec.msgpack.decode(raw, type=PoolState)
            given, spent = self._given[pool], self._spent.get(pool, Decimal(0))
            if state.issued != given:
                yield f"{pool}: {state.issued} counted, {given} in the ledger"
            elif state.spent != spent:
                yield f"{pool}: {state.spent} spent, {spent} in the ledger"

    def caps(self) -> Iterator[str]:
        """Limits of playbooks that let more in than they should, or other than the ledger says."""
        for name, raw in self._file.rows("all_resources"):
            kind, _, playbook = name.partition(":")
            if kind == "slot":
                state = msgspec.msgpack.decode(raw, type=SlotState)
                self._within(playbook, state.used, state.most)
                booked = self._caps[playbook] + state.used
                if state.total and state.total != booked:
                    yield f"{playbook}: {state.total} counted, {booked} in the ledger"
        yield from self._over

    def rooms(self) -> Iterator[str]:
        """Rooms that count other seats than the ledger says are taken."""
        counted: Counter[str] = Counter()
        for name, raw in self._file.rows("all_resources"):
            kind, _, group = name.partition(":")
            if kind == "seat":
                taken = msgspec.msgpack.decode(raw, type=GroupState).taken
                counted.update({f"{group}/{room}": n for room, n in taken.items()})
        for place in sorted(counted.keys() | self._rooms.keys()):
            if counted[place] != self._rooms[place]:
                yield f"{place}: {counted[place]} counted, {self._rooms[place]} in the ledger"

    def repeated(self) -> Iterator[str]:
        """Keys that stand in the ledger more than once."""
        yield from (str(row[0]) for row in self._file.rows("check_entry_keys"))
