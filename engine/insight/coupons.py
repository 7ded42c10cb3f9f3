"""Coupons for people: stock, what became of what was given, what it cost, and how long the rest will last.

Rule 1: figures come from the codes as they stand, by the store's own clock; nothing is estimated but the forecast.
Rule 2: a forecast says what it goes by, and where there is too little to go by it says that instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.coupons import OPEN, Coupon, CouponPool, PoolState
from engine.core.model import DAY
from engine.core.plan import Plan
from engine.errors import UsageError
from engine.insight.subject import instant
from engine.ports import CouponSum, Store
from engine.registry import nearest

LOOKED_AT = 7
"""Days a forecast goes by at most."""

ENOUGH = 10
"""Coupons that must have been given in these days for a forecast."""

_STATES = ("redeemed", "expired", "returned")
_FAR = 3650  # days: what lasts longer than ten years lasts


def rows(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Every pool of the program, and those that gave something and have left it, ready for JSON."""
    clock = store.clock()
    sums: dict[str, list[CouponSum]] = {}
    for it in store.coupon_sums(clock):
        sums.setdefault(it.pool, []).append(it)
    days, first = store.coupon_days(clock - LOOKED_AT * DAY, clock), store.first_coupons()
    resources, imported = store.resources(), store.code_counts()
    found = []
    for name in dict.fromkeys([*plan.pools, *sums, *imported]):
        pool = plan.pools.get(name)
        row = _row(name, pool, sums.get(name, ()), imported.get(name, 0), _state(name, resources))
        row["forecast"] = forecast(row, None if pool is None else pool.cost, days.get(name, {}), clock, first.get(name))
        found.append(row)
    return found


def _state(name: str, resources: Mapping[str, bytes]) -> PoolState:
    raw = resources.get(f"coupon:{name}")
    return PoolState() if raw is None else msgspec.msgpack.decode(raw, type=PoolState)


def stock(pool: CouponPool, imported: int) -> int | None:
    """Coupons a pool has in all, given ones included; None: as many as are asked for."""
    there = imported if pool.imported else (None if pool.prefix is not None else len(pool.codes))
    return min((it for it in (there, pool.total) if it is not None), default=None)


def _row(
    name: str, pool: CouponPool | None, sums: Iterable[CouponSum], imported: int, state: PoolState
) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    cost: dict[str, Decimal] = {"redeemed": Decimal(0), "open": Decimal(0)}
    for it in sums:
        counts[it.status] += it.count
        kind = "open" if it.status in OPEN else it.status
        if kind in cost:
            cost[kind] += (it.amount or 0) * it.count
    total = None if pool is None else stock(pool, imported)
    budget = None if pool is None else pool.budget
    value = {} if pool is None or pool.value is None else pool.value
    return {
        "pool": name,
        "codes": "gone" if pool is None else _source(pool),
        "stock": total,
        "issued": state.issued,
        "left": None if total is None else max(0, total - state.issued),
        "open": sum(counts[it] for it in OPEN),
        **{it: counts[it] for it in _STATES},
        "reversed": state.reversed,
        "cost": cost,
        "spent": state.spent,
        "budget": budget,
        "budget_left": None if budget is None else budget - state.spent,
        "currency": value.get("currency"),
    }


def _source(pool: CouponPool) -> str:
    if pool.imported:
        return "imported"
    return "generated" if pool.prefix is not None else "file"


def forecast(
    row: Mapping[str, Any], cost: Decimal | None, days: Mapping[int, int], clock: int, first: int | None
) -> dict[str, Any]:
    """How long a pool lasts at the rate of the last days: ``until``, or ``why`` nobody can tell.

    Parameters
    ----------
    row: of the pool.
    cost: what a coupon takes of the budget.
    days: days before the clock (1: the last 24 hours) -> coupons given.
    clock: where the store stands.
    first: when the pool gave its first coupon.
    """
    left, ends = row["left"], "stock"
    if row["budget_left"] is not None and cost:
        paid = max(0, int(row["budget_left"] / cost))
        left, ends = min((left, ends) if left is not None else (paid, "budget"), (paid, "budget"))
    if left is None:
        return {"why": "nothing limits it"}
    if not left:
        return {"why": "used up", "ends": ends}
    if first is None:
        return {"why": "too little data: no coupon was given yet"}
    given = sum(days.values())
    span = min(LOOKED_AT * DAY, max(1, clock - first))
    if span < DAY or given < ENOUGH:
        hours = span * 24 // DAY
        age = f"{hours} hours" if span < 2 * DAY else f"{span // DAY} days"
        return {"why": f"too little data: {given} coupons in the last {age}"}
    rate = Decimal(given * DAY) / span
    lasts = left / rate
    by = f"{given} coupons in {Decimal(span) / DAY:.1f} days"
    told = {"rate": rate.quantize(Decimal("0.1")), "by": by, "ends": ends}
    if lasts > _FAR:
        return {**told, "why": "more than ten years"}
    return {**told, "until": instant(clock + int(lasts * DAY))}


def report(store: Store, playbook: str | None = None) -> list[dict[str, Any]]:
    """What became of the coupons of each playbook and pool, ready for JSON."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for it in store.coupon_sums(store.clock()):
        if playbook is not None and it.playbook != playbook:
            continue
        row = found.setdefault(
            (it.playbook or "", it.pool),
            {
                "playbook": it.playbook, "pool": it.pool, "issued": 0, "open": 0, "redeemed": 0, "expired": 0,
                "returned": 0, "cost": Decimal(0), "redemption_percent": None,
            },
        )  # fmt: skip
        row["open" if it.status in OPEN else it.status] += it.count
        row["issued"] += it.count if it.status != "returned" else 0
        row["cost"] += (it.amount or 0) * it.count if it.status == "redeemed" else 0
    for row in found.values():
        if row["issued"]:
            row["redemption_percent"] = (Decimal(100 * row["redeemed"]) / row["issued"]).quantize(Decimal("0.1"))
    return [found[place] for place in sorted(found)]


def refusals(store: Store) -> dict[str, int]:
    """Reason -> redemptions and reversals that feeds told of and that changed nothing."""
    start = "coupons.refused."
    return {name.removeprefix(start): n for name, n in store.counts().items() if name.startswith(start)}


def coupon_row(coupon: Coupon) -> dict[str, Any]:
    """One coupon, ready for JSON."""
    return {
        "code": coupon.code,
        "pool": coupon.pool,
        "user": coupon.subject or None,
        "status": coupon.status,
        "given": instant(coupon.at),
        "expires_at": None if coupon.until is None else instant(coupon.until),
        "moved": instant(coupon.moved),
        "cost": coupon.amount,
        "playbook": coupon.playbook,
        "step": coupon.step,
    }


def story(store: Store, coupon: Coupon) -> list[dict[str, Any]]:
    """The entries of the ledger about a code, in order, ready for JSON."""
    entries = store.ledger(subject=coupon.subject, book="coupon", name=coupon.pool)
    return [
        {"time": instant(it.time), "what": it.what, "key": it.key, "origin": it.origin}
        for it in entries
        if it.unit == coupon.code
    ]


def known_pool(plan: Plan, name: str) -> CouponPool:
    """A pool of the program; raises UsageError."""
    if name not in plan.pools:
        near = nearest(name, plan.pools)
        listed = "the program has: " + ", ".join(plan.pools) if plan.pools else "the program defines no coupons"
        raise UsageError(f"there is no coupon '{name}'", hint=f"did you mean '{near}'?" if near else listed)
    pool: CouponPool = plan.pools[name]
    return pool
