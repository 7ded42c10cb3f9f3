"""Coupons at the desk: who gets the next one, and what becomes of one that was given.

Rule 1: a code is given, redeemed, reversed, expired and returned at one place, in one order, inside the transaction
that decides. So whatever is asked twice is granted once.
Rule 2: the life of a coupon: issued -> redeemed | expired | returned; redeemed -> reversed, and what is reversed may be
redeemed once more until it lapses. A report of a redemption that happened in time counts, however late it comes.
Rule 3: a returned coupon leaves stock, budget and the limits of its day and of its user as if it had never been given;
a code from a list goes to the next who asks, one that was generated is never used again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from decimal import Decimal
from typing import Any

from engine.core import localtime
from engine.core.coupons import (
    EXPIRED,
    ISSUED,
    LAPSE,
    LEVELS,
    LOOK,
    OPEN,
    REDEEM,
    REDEEMED,
    RETURN,
    RETURNED,
    REVERSE,
    REVERSED,
    Coupon,
    CouponPool,
    PoolFigures,
    PoolState,
    Records,
    code_for,
)  # fmt: skip
from engine.core.model import Answer, Entry, PoolAlert, Reserve

_AHEAD = 500  # imported codes read at once


class CouponDesk:
    """Gives coupons out, one at a time, and books what becomes of them.

    Parameters
    ----------
    pools: what the plan defines.
    zone: the program's zone, for ``per_day``.
    secret: key of generated codes.
    state: the state of a pool, by name; the caller keeps it.
    records: what the store knows of coupons.
    changed: called with the name of a pool whose state is to be written.
    entries: what the ledger is to hold of what was decided since the last commit.
    """

    def __init__(
        self,
        pools: Mapping[str, CouponPool],
        zone: str,
        secret: bytes,
        state: Callable[[str], PoolState],
        records: Records,
        changed: Callable[[str], object],
        entries: Callable[[], Sequence[Entry]],
    ) -> None:
        self.pools = pools
        self.alerts: list[PoolAlert] = []
        self.refused: dict[str, int] = {}  #: reason -> redemptions and reversals refused, since the last hand-over
        self._zone = localtime.zone(zone) or localtime.UTC
        self._secret = secret
        self._state = state
        self._records = records
        self.moved: set[str] = set()  #: pools that changed since somebody last told their figures
        self._tell_changed = changed
        self._entries = entries
        self._read = 0  #: entries looked at since the last commit
        self._given: dict[str, Coupon | None] = {}  #: those looked at since the last commit
        self._places: dict[str, dict[str, int]] = {}  #: pool -> code of its file -> its line
        self._ahead: dict[str, deque[tuple[int, str]]] = {}  #: pool -> the next imported codes
        self._counts: dict[str, int] = {}

    def handed_over(self) -> None:
        """What was decided is in the store."""
        self._given.clear()
        self._counts.clear()
        self._read = 0
        self.alerts, self.refused = [], {}

    def _changed(self, name: str) -> None:
        self.moved.add(name)
        self._tell_changed(name)

    # ------------------------------------------------------------------ giving

    def give(self, ask: Reserve, now: int) -> Answer:
        """A coupon of the first pool that has one; else denied, with the reason of the pool asked for first."""
        reason = "sold_out"
        for place, name in enumerate(ask.names):
            pool, state = self.pools[name], self._state(name)
            refused = self._refusal(pool, state, now)
            if refused is None:
                return self._issue(pool, state, ask, now)
            if place == 0:
                reason = refused
        return Answer(key=ask.key, granted=False, reason=reason, name=ask.names[0])

    def _refusal(self, pool: CouponPool, state: PoolState, now: int) -> str | None:
        if pool.total is not None and state.issued >= pool.total:
            return "sold_out"
        if pool.prefix is None and not state.free and not self._has_code(pool, state):
            return "sold_out"
        if pool.budget is not None and state.spent + pool.cost > pool.budget:
            return "budget"
        if pool.per_day is not None:
            today = self._today(state, now)
            if state.day == today and state.today >= pool.per_day:
                return "per_day"
        return None

    def _today(self, state: PoolState, now: int) -> int:
        """The local day an instant counts for: where many decide, one that lags behind does not begin a day anew."""
        return max(state.day, localtime.day_number(now, self._zone))

    def _issue(self, pool: CouponPool, state: PoolState, ask: Reserve, now: int) -> Answer:
        code = code_for(pool.prefix, ask.key, self._secret) if pool.prefix is not None else self._code(pool, state)
        state.issued += 1
        state.spent += pool.cost
        if pool.per_day is not None:
            today = self._today(state, now)
            state.day, state.today = today, (state.today if state.day == today else 0) + 1
        self._watch(pool, state, now)
        self._changed(pool.name)
        self._given[code] = Coupon(code, pool.name, ask.key, ask.subject, now, amount=pool.cost)
        return Answer(key=ask.key, granted=True, name=pool.name, unit=code)

    def _follow(self) -> None:
        """Learn from the ledger what the steps said of the coupons that were given since the last commit."""
        entries = self._entries()
        for it in entries[self._read :]:
            coupon = self._given.get(it.unit or "")
            if it.book == "coupon" and it.what == ISSUED and coupon is not None:
                coupon.until, coupon.playbook, coupon.step, coupon.by = it.until, it.playbook, it.step, it.key
        self._read = len(entries)

    # ------------------------------------------------------------------ codes of lists

    def _has_code(self, pool: CouponPool, state: PoolState) -> bool:
        if pool.imported:
            return self._next_imported(pool, state) is not None
        return self._line(pool, state) < len(pool.codes)

    def _code(self, pool: CouponPool, state: PoolState) -> str:
        if state.free:
            state.free, code = state.free[1:], state.free[0]
            return code
        if not pool.imported:
            state.last = pool.codes[self._line(pool, state)]
            return state.last
        found = self._next_imported(pool, state)
        if found is None:
            raise LookupError(pool.name)
        self._ahead[pool.name].popleft()
        state.cursor = found[0]
        return found[1]

    def _next_imported(self, pool: CouponPool, state: PoolState) -> tuple[int, str] | None:
        ahead = self._ahead.setdefault(pool.name, deque())
        if not ahead:
            ahead.extend(self._records.codes(pool.name, state.cursor, _AHEAD))
        return ahead[0] if ahead else None

    def _line(self, pool: CouponPool, state: PoolState) -> int:
        """Place of the next code of a file: behind the newest given one, also when lines were put in before it."""
        taken = state.issued + len(state.free)
        if state.last is None:
            return taken
        places = self._places.get(pool.name)
        if places is None:
            places = self._places[pool.name] = {code: place for place, code in enumerate(pool.codes)}
        return places.get(state.last, taken - 1) + 1

    # ------------------------------------------------------------------ warnings

    def stock(self, pool: CouponPool) -> int | None:
        """Coupons there are in all, given ones included; None: as many as are asked for."""
        there: int | None = None
        if pool.imported:
            if pool.name not in self._counts:
                self._counts[pool.name] = self._records.code_count(pool.name)
            there = self._counts[pool.name]
        elif pool.prefix is None:
            there = len(pool.codes)
        return min((it for it in (there, pool.total) if it is not None), default=None)

    def figures(self, names: Set[str] | None = None) -> dict[str, PoolFigures]:
        """How each pool stands; or each of these that the plan still has."""
        found = {}
        for name in self.pools if names is None else sorted(self.pools.keys() & names):
            pool = self.pools[name]
            state, stock = self._state(name), self.stock(pool)
            left = None if stock is None else max(0, stock - state.issued)
            budget = None if pool.budget is None else pool.budget - state.spent
            found[name] = PoolFigures(state.issued, state.redeemed - state.reversed, left, budget)
        return found

    def _watch(self, pool: CouponPool, state: PoolState, now: int) -> None:
        """Tell the operator, once each, when little or nothing is left."""
        stock = self.stock(pool)
        level, what = _level(state.issued, stock), "stock"
        if pool.budget is not None:
            spent = 100 if state.spent + pool.cost > pool.budget else _level(state.spent, pool.budget)
            level, what = max((level, what), (spent, "budget"), key=lambda it: it[0])
        if level > state.told:
            self.alerts.append(PoolAlert(pool.name, now, what, level))
        state.told = level

    # ------------------------------------------------------------------ what becomes of them

    def move(self, ask: Reserve, now: int) -> Answer:
        """Redeem, reverse, lapse or return a coupon, or just look whether it is open; see ``MOVES``.

        ``ask.at``: when it happened. Granted, the answer's ``data`` has what the ledger's entry is made of.
        """
        code, at = ask.names[0], now if ask.at is None else ask.at
        self._follow()
        coupon = self.coupon(code)
        reason = self._objection(ask, coupon, at)
        if reason is not None or coupon is None:
            if ask.kind in (REDEEM, REVERSE):
                self.refused[reason or "unknown"] = self.refused.get(reason or "unknown", 0) + 1
            return Answer(key=ask.key, granted=False, reason=reason, name=None if coupon is None else coupon.pool)
        # whether the ledger has it as lapsed, or what is reversed lapses at once: then its owner's sum does not change
        over = coupon.until is not None and at > coupon.until
        lapsed = coupon.status == EXPIRED or (ask.kind == REVERSE and over)
        origin = coupon.by if ask.kind == REVERSE else coupon.key
        data: dict[str, Any] = {"key": coupon.key, "origin": origin, "lapsed": lapsed}
        for name in ("playbook", "step", "until", "amount", "at"):
            value = getattr(coupon, name)
            if value is not None:
                data[name] = value
        if ask.kind != LOOK:
            self._book(ask, coupon, now, data)
        return Answer(key=ask.key, granted=True, name=coupon.pool, unit=code, data=data)

    def coupon(self, code: str) -> Coupon | None:
        """A code that was given, as it stands now."""
        if code not in self._given:
            self._given[code] = self._records.coupon(code)
        return self._given[code]

    def _objection(self, ask: Reserve, coupon: Coupon | None, at: int) -> str | None:
        if coupon is None:
            return "unknown"
        if coupon.subject != ask.subject:
            return "not_yours"
        if coupon.status == RETURNED:
            return "cancelled"
        if ask.kind == REVERSE:
            return None if coupon.status == REDEEMED else "not_redeemed"
        if coupon.status == REDEEMED:
            return "redeemed"
        if ask.kind == REDEEM:
            return "expired" if coupon.until is not None and at > coupon.until else None
        if ask.kind == RETURN:
            return self._not_returned(ask, coupon)
        return None if coupon.status in OPEN else coupon.status

    def _not_returned(self, ask: Reserve, coupon: Coupon) -> str | None:
        """Only what nobody has seen goes back. ``match`` is "unsent" when a message that told of it failed."""
        if coupon.status not in (ISSUED, EXPIRED):
            return coupon.status
        if ask.match != "unsent":
            return None
        standing = self._records.carriers(coupon.subject, coupon.code)
        return "seen" if any(delivery not in ("dead", "cancelled") for _, delivery in standing) else None

    def _book(self, ask: Reserve, coupon: Coupon, now: int, data: dict[str, Any]) -> None:
        what = {REDEEM: REDEEMED, REVERSE: REVERSED, LAPSE: EXPIRED, RETURN: RETURNED}[ask.kind]
        coupon.status, coupon.moved, coupon.by = what, now, ask.key
        state = self._state(coupon.pool)
        setattr(state, what, getattr(state, what) + 1)
        if ask.kind == RETURN:
            self._take_back(self.pools.get(coupon.pool), state, coupon)
            if ask.match == "unsent":
                data["messages"] = [key for key, _ in self._records.carriers(coupon.subject, coupon.code)]
        self._changed(coupon.pool)

    def _take_back(self, pool: CouponPool | None, state: PoolState, coupon: Coupon) -> None:
        state.issued -= 1
        state.spent -= coupon.amount or 0
        if pool is None:  # it has left the catalog
            return
        if pool.per_day is not None and state.day == localtime.day_number(coupon.at, self._zone):
            state.today -= 1
        if pool.prefix is None:
            state.free = [*state.free, coupon.code]


def _level(part: int | Decimal, whole: int | Decimal | None) -> int:
    """The highest of ``LEVELS`` that is reached; 0: none."""
    if whole is None or part * 100 < whole * LEVELS[0]:
        return 0
    return max(level for level in LEVELS if part * 100 >= whole * level)
