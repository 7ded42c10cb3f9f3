"""Coupons in a database: where each stands that was given, and the codes that were imported.

Rule 1: a row says what the newest entry of the ledger about its code says; both change in one transaction.
Rule 2: imported codes of a pool are numbered without a gap, and none is ever taken out: how many were given is one
number in the state of the pool.
Rule 3: codes pass the seal on their way in and out; nothing here knows whether they are encrypted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from engine.core.couponing import unsent
from engine.core.coupons import Coupon
from engine.core.model import Entry, Event
from engine.errors import InternalError
from engine.ports import CouponSum, Imported
from engine.stores import codec, sealing, tally
from engine.stores.sql.filed import QueryFile


class Coupons:
    """Reads and writes coupons; what writes is called inside a transaction."""

    def __init__(self, file: QueryFile) -> None:
        self._file = file
        self.seal: sealing.Seal = sealing.Plain()

    def sealed(self, seal: sealing.Seal) -> None:
        """Work with this seal from now on; raises CannotRun when the codes there are stand under another."""
        if isinstance(seal, sealing.Locked):
            self.seal = seal
            return
        kept = self._file.rows("meta", sealing.CHECK)
        there = bool(self._file.rows("any_code")[0][0])
        if sealing.suits(seal, str(kept[0][0]) if kept else None, there) and not self._file.read_only:
            with self._file.transaction("meta"):
                self._file.write("save_meta", [(sealing.CHECK, seal.check())])
        self.seal = seal

    # ------------------------------------------------------------------ with a batch

    def book(self, entries: Sequence[Entry]) -> None:
        """Follow the ledger."""
        fresh, moved = tally.coupons(entries)
        close, write = self.seal.close, self._file.write
        if moved:
            write("move_grant", [(it.status, it.moved, it.by, close(code)) for code, it in moved.items()])
        if fresh:
            rows = [_row(it, close) for it in fresh.values()]
            if write("add_grant", rows) != len(rows):
                raise InternalError(f"store {self._file.place} refused a batch: a coupon code was given twice")

    def renamed(self, entries: Iterable[Entry]) -> None:
        """Entries of somebody who was erased have other keys."""
        newest = {it.unit: it.key for it in entries if it.unit is not None}
        self._file.write("rename_move", [(key, self.seal.close(code)) for code, key in newest.items()])

    def cancel(self, cancels: Sequence[tuple[str, str]], now: int) -> tuple[int, list[Event]]:
        """Take deliveries back where that is not too late; (how many, what their coupons are to be told)."""
        if not cancels:
            return 0, []
        rows = {row[0]: row for row in self._file.rows("cancellable", codec.names_in_pairs(cancels))}
        self._file.write("cancel", [(reason, seq) for seq, reason, *_ in rows.values()])
        events = [
            event
            for _, reason, key, time, channel, body in rows.values()
            if key is not None and reason != tally.RETURNED
            for event in unsent(codec.effect_from(key, time, channel, body), now)
        ]
        return len(rows), events

    # ------------------------------------------------------------------ given ones

    def coupon(self, code: str) -> Coupon | None:
        """A code that was given."""
        rows = self._file.rows("coupon", self.seal.close(code))
        return self._coupon(rows[0]) if rows else None

    def coupons(self, pool: str | None) -> Iterator[Coupon]:
        """Those that were given, of one pool or all."""
        return map(self._coupon, self._file.pages("coupons", pool))

    def _coupon(self, row: Sequence[Any]) -> Coupon:
        code, pool, key, subject, at, until, amount, *rest = row
        cost = None if amount is None else Decimal(amount)
        return Coupon(self.seal.open(code), pool, key, subject or "", at, until, cost, *rest)

    def carriers(self, subject: str, code: str) -> list[tuple[str, str]]:
        """What told a subject of a code, with its delivery."""
        return [(key, delivery or "sent") for key, delivery in self._file.rows("carriers", subject, code)]

    def sums(self, now: int) -> list[CouponSum]:
        """How many coupons stand how at an instant."""
        rows = self._file.rows("coupon_sums", now)
        return [CouponSum(pool, by, None if it is None else Decimal(it), how, n) for pool, by, it, how, n in rows]

    def days(self, since: int, until: int) -> dict[str, dict[int, int]]:
        """Pool -> days before ``until`` (1: the last 24 hours) -> coupons given then, from ``since`` on."""
        found: dict[str, dict[int, int]] = {}
        for pool, day, n in self._file.rows("coupon_days", since, until):
            found.setdefault(pool, {})[day] = n
        return found

    def first(self) -> dict[str, int]:
        """When each pool gave its first coupon."""
        return dict(self._file.rows("first_grant"))

    # ------------------------------------------------------------------ imported ones

    def codes(self, pool: str, after: int, limit: int) -> list[tuple[int, str]]:
        """Imported codes behind a place."""
        return [(place, self.seal.open(code)) for place, code in self._file.rows("coupon_codes", pool, after, limit)]

    def code_count(self, pool: str) -> int:
        """How many were imported."""
        return int(self._file.rows("coupon_code_count", pool)[0][0])

    def code_counts(self) -> dict[str, int]:
        """Pool -> how many were imported."""
        return dict(self._file.rows("pools_with_codes"))

    def add_codes(self, pool: str, codes: Sequence[str]) -> Imported:
        """Put codes behind those of a pool; what is there already, here or in another pool, is passed over."""
        wanted = {self.seal.close(code): None for code in codes}
        known = dict(self._file.rows("known_codes", self._file.names(wanted)))
        fresh = [text for text in wanted if text not in known]
        place = self.code_count(pool)
        rows = [(pool, place + number, text) for number, text in enumerate(fresh, 1)]
        self._file.insert("add_code", rows)
        elsewhere = sum(other != pool for other in known.values())
        return Imported(len(fresh), len(codes) - len(fresh) - elsewhere, elsewhere)


def _row(it: Coupon, close: Any) -> tuple[Any, ...]:
    amount = None if it.amount is None else str(it.amount)
    return (
        close(it.code), it.pool, it.key, it.at, it.until, amount, it.playbook, it.step, it.status, it.moved, it.by,
    )  # fmt: skip


class CouponSide:
    """The part of the store that has to do with coupons."""

    _file: QueryFile
    _coupons: Coupons

    def seal(self, seal: sealing.Seal) -> None:
        """Have coupon codes stand under this seal; raises CannotRun when those there are stand under another."""
        self._coupons.sealed(seal)

    def coupon(self, code: str) -> Coupon | None:
        return self._coupons.coupon(code)

    def coupons(self, pool: str | None = None) -> Iterator[Coupon]:
        return self._coupons.coupons(pool)

    def carriers(self, subject: str, code: str) -> list[tuple[str, str]]:
        return self._coupons.carriers(subject, code)

    def coupon_sums(self, now: int) -> list[CouponSum]:
        return self._coupons.sums(now)

    def coupon_days(self, since: int, until: int) -> dict[str, dict[int, int]]:
        return self._coupons.days(since, until)

    def first_coupons(self) -> dict[str, int]:
        return self._coupons.first()

    def codes(self, pool: str, after: int, limit: int) -> list[tuple[int, str]]:
        return self._coupons.codes(pool, after, limit)

    def code_count(self, pool: str) -> int:
        return self._coupons.code_count(pool)

    def code_counts(self) -> dict[str, int]:
        return self._coupons.code_counts()

    def add_codes(self, pool: str, codes: Sequence[str]) -> Imported:
        with self._file.transaction("import"):
            self._file.fault("import.codes")
            return self._coupons.add_codes(pool, codes)
