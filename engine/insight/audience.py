"""An audience looked at before anybody is written to: how many, who for example, and what a coupon for all would cost.

Rule 1: everything here is read; nothing is decided and nothing is written.
Rule 2: the sample is drawn by a hash of the names, so it is the same at every look and favours nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from heapq import nsmallest
from typing import Any

from engine.core.chance import effect_key
from engine.core.plan import Plan
from engine.core.predicate import Filter, Selection
from engine.errors import ProgramError
from engine.insight.report import pool_row
from engine.insight.subject import instant
from engine.ports import Store
from engine.registry import nearest

PAGE = 10_000
_SHOWN = 5


def pages(store: Store, chosen: Filter, now: int, size: int = PAGE) -> Iterator[Selection]:
    """The whole audience, page by page."""
    after: str | None = ""
    while after is not None:
        page = store.audience(chosen, now, after, size)
        yield page
        after = page.last


def audience(plan: Plan, store: Store, chosen: Filter, now: int, sample: int, pool: str | None) -> dict[str, Any]:
    """The figures of an audience, ready for JSON.

    Parameters
    ----------
    chosen, now: who, at which instant.
    sample: how many to name.
    pool: a coupon everybody would get, or None.
    """
    if pool is not None:
        known_coupon(plan, pool)
    plan.env.figures.load(store.slots())
    ids: list[str] = []
    errors: list[tuple[str, str]] = []
    asked = 0
    for page in pages(store, chosen, now):
        ids += page.ids
        errors += page.errors
        asked += page.asked
    everybody = store.head_count()
    return {
        "condition": chosen.text,
        "at": instant(now),
        "count": len(ids),
        "of": everybody,
        "percent": (Decimal(100 * len(ids)) / everybody).quantize(Decimal("0.1")) if everybody else None,
        "sample": sorted(nsmallest(sample, ids, key=lambda one: effect_key("audience", one))),
        "errors": {"count": len(errors), "first": [{"user": one, "reason": why} for one, why in errors[:_SHOWN]]},
        "answered_by": chosen.way,
        "asked_of_python": asked,
        "not_in_sql": [{"part": one.text, "reason": one.reason} for one in chosen.asks],
        "coupon": None if pool is None else _coupon(plan, store, pool, len(ids)),
        "same_program": store.get_meta("plan") in (None, plan.digest),
    }


def known_coupon(plan: Plan, pool: str) -> None:
    """Raise ProgramError, with the nearest name there is, when the catalog has no such coupon."""
    if pool not in plan.pools:
        near = nearest(pool, plan.pools)
        hint = f"did you mean '{near}'?" if near else "coupons: " + (", ".join(sorted(plan.pools)) or "none")
        raise ProgramError(f"there is no coupon '{pool}'", hint=hint)


def _coupon(plan: Plan, store: Store, name: str, count: int) -> dict[str, Any]:
    """What one coupon each would cost, and how far stock and budget reach."""
    pool = plan.pools[name]
    row = pool_row(pool, store.resources(), store.code_count(name))
    left = row["left"]
    budget = None if row["budget"] is None else row["budget"] - row["spent"]
    reach = [count]
    if left is not None:
        reach.append(max(0, left))
    if budget is not None and pool.cost:
        reach.append(max(0, int(budget // pool.cost)))
    return {
        "pool": name,
        "each": pool.cost,
        "cost": pool.cost * count,
        "currency": row["currency"],
        "stock_left": left,
        "budget_left": budget,
        "per_day": pool.per_day,
        "enough_for": min(reach),
    }
