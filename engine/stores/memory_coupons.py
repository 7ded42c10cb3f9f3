"""Coupons of the store in memory: where each stands that was given, and the codes that were imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import structs

from engine.core.coupons import OPEN, RETURNED, Coupon
from engine.core.model import DAY, Entry
from engine.errors import InternalError
from engine.ports import CouponSum, Imported
from engine.stores import tally
from engine.stores.memory_outbox import Row


class MemoryCoupons:
    """The part of the store that has to do with coupons; ``_rows`` are the effects, where they are kept."""

    _rows: dict[str, Row]
    _coupons: dict[str, Coupon]
    _imported: dict[str, list[str]]
    _pool_of: dict[str, str]  #: imported code -> its pool

    def _book(self, entries: Sequence[Entry], *, only_check: bool = False) -> None:
        """Follow the ledger; refuse a code that is given twice."""
        fresh, moved = tally.coupons(entries)
        for code in fresh:
            before = self._coupons.get(code)
            status = None if before is None else moved.get(code, before).status
            if status not in (None, RETURNED):
                raise InternalError("the store refused a batch: a coupon code was given twice")
        if only_check:
            return
        for code, it in moved.items():
            if code in self._coupons:
                known = self._coupons[code]
                self._coupons[code] = structs.replace(known, status=it.status, moved=it.moved, by=it.by)
        self._coupons.update(fresh)

    def coupon(self, code: str) -> Coupon | None:
        found = self._coupons.get(code)
        return None if found is None else structs.replace(found)

    def coupons(self, pool: str | None = None) -> Iterator[Coupon]:
        found = [it for it in self._coupons.values() if pool is None or it.pool == pool]
        return iter(sorted(found, key=lambda it: (it.pool, it.at, it.code)))

    def carriers(self, subject: str, code: str) -> list[tuple[str, str]]:
        rows = self._rows.values()
        return [
            (row.effect.key, row.delivery or "sent")
            for row in rows
            if code in row.effect.carries and row.effect.user == subject
        ]

    def coupon_sums(self, now: int) -> list[CouponSum]:
        found = Counter(
            (
                it.pool, it.playbook, it.amount,
                "expired" if it.status in OPEN and it.until is not None and it.until < now else it.status,
            )
            for it in self._coupons.values()
        )  # fmt: skip
        order = sorted(found, key=lambda it: (it[0], it[1] or "", it[2] or 0, it[3]))
        return [CouponSum(*it, found[it]) for it in order]

    def coupon_days(self, since: int, until: int) -> dict[str, dict[int, int]]:
        found: dict[str, dict[int, int]] = {}
        for it in self._coupons.values():
            if since < it.at <= until and it.status != RETURNED:
                days, day = found.setdefault(it.pool, {}), (until - it.at) // DAY + 1
                days[day] = days.get(day, 0) + 1
        return found

    def first_coupons(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for it in self._coupons.values():
            found[it.pool] = min(it.at, found.get(it.pool, it.at))
        return found

    def codes(self, pool: str, after: int, limit: int) -> list[tuple[int, str]]:
        return list(enumerate(self._imported.get(pool, ())[after : after + limit], after + 1))

    def code_count(self, pool: str) -> int:
        return len(self._imported.get(pool, ()))

    def code_counts(self) -> dict[str, int]:
        return {pool: len(codes) for pool, codes in self._imported.items()}

    def add_codes(self, pool: str, codes: Sequence[str]) -> Imported:
        added = elsewhere = 0
        for code in dict.fromkeys(codes):
            given = self._coupons.get(code)
            owner = self._pool_of.get(code) or (None if given is None else given.pool)
            if owner is None:
                self._imported.setdefault(pool, []).append(code)
                self._pool_of[code] = pool
                added += 1
            else:
                elsewhere += owner != pool
        return Imported(added, len(codes) - added - elsewhere, elsewhere)
