"""What must be true of coupons: the ledger, the codes, the effects and the figures of pools tell one story.

Rule 1: every coupon that an effect names was issued in the ledger under the same key, and the other way round.
Rule 2: a code stands as the newest entry of the ledger about it says.
Rule 3: a pool counted what the ledger holds: given less returned, and how often each thing happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from engine.core.coupons import PoolState
from engine.stores.sealing import Locked, Plain
from engine.stores.sql.coupons import Coupons
from engine.stores.sql.filed import QueryFile, ReadsEntries

_MOVES = ("redeemed", "reversed", "expired", "returned")


class CouponStory:
    """What the ledger of one store says about coupons, beside what the store says elsewhere."""

    def __init__(self, file: QueryFile, ledger: ReadsEntries, coupons: Coupons) -> None:
        self._file = file
        self._seal = Plain() if isinstance(coupons.seal, Locked) else coupons.seal
        self._blind = isinstance(coupons.seal, Locked)
        self._issued: dict[str, str] = {}  #: key -> code
        self._stands: dict[str, tuple[str, str, str, str]] = {}  #: code -> (pool, key, status, key of the newest entry)
        self._counts: Counter[tuple[str, str]] = Counter()  #: (pool, move) -> how often
        for it in ledger.read(None, "coupon", None):
            code = it.unit or ""
            self._counts[it.name, it.what] += 1
            if it.what == "issued":
                self._issued[it.key] = code
                self._stands[code] = (it.name, it.key, it.what, it.key)
            elif code in self._stands:
                pool, key, _, _ = self._stands[code]
                self._stands[code] = (pool, key, it.what, it.key)

    def codes(self) -> Iterator[str]:
        """Codes and keys that stand at one place and not at the other, or stand there differently."""
        told = dict(self._file.rows("coupon_effects"))
        yield from sorted(key for key in told.keys() | self._issued.keys() if told.get(key) != self._issued.get(key))
        there = {}
        for code, pool, key, status, by in self._file.pages("grants"):
            there[key if self._blind else self._seal.open(code)] = (pool, key, status, by)
        said = self._stands
        if self._blind:
            said = {it[1]: it for it in self._stands.values()}
        yield from sorted(code for code in there.keys() | said.keys() if there.get(code) != said.get(code))

    def pools(self) -> Iterator[str]:
        """Pools whose figures are not what the ledger and the codes say."""
        given: Counter[str] = Counter()
        spent: dict[str, Decimal] = {}
        for pool, amount, n in self._file.rows("check_pools"):
            given[pool] += n
            spent[pool] = spent.get(pool, Decimal(0)) + Decimal(amount or 0) * n
        imported = dict(self._file.rows("pools_with_codes"))
        for place, raw in self._file.rows("all_resources"):
            kind, _, name = place.partition(":")
            if kind == "coupon":
                state = msgspec.msgpack.decode(raw, type=PoolState)
                yield from self._pool(name, state, given[name], spent.get(name, Decimal(0)), imported.get(name, 0))

    def _pool(self, name: str, state: PoolState, given: int, spent: Decimal, imported: int) -> Iterator[str]:
        if state.issued != given:
            yield f"{name}: {state.issued} counted, {given} codes"
        if state.spent != spent:
            yield f"{name}: {state.spent} spent, its coupons cost {spent}"
        if state.cursor > imported:
            yield f"{name}: {state.cursor} codes taken, {imported} imported"
        for what in _MOVES:
            counted = getattr(state, what)
            if counted != self._counts[name, what]:
                yield f"{name}: {counted} {what} counted, {self._counts[name, what]} in the ledger"
        total = self._counts[name, "issued"] - self._counts[name, "returned"]
        if total != state.issued:
            yield f"{name}: {state.issued} counted, {total} in the ledger"
