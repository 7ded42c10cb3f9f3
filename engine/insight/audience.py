"""An audience looked at before anybody is written to: how many, who for example, and what a coupon for all would cost.

Rule 1: everything here is read; nothing is decided and nothing is written.
Rule 2: the sample is drawn by a hash of the names, so it is the same at every look and favours nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from engine.core.plan import Plan
from engine.core.predicate import Filter, Selection
from engine.errors import ProgramError
from engine.insight.reaching import Aim, CouponReach, Reach
from engine.insight.report import pool_row
from engine.insight.sampling import Sample
from engine.insight.sending import percent_off
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


@dataclass(frozen=True)
class Wanted:
    """What is to be found out beside how many fit."""

    sample: int = 10  #: how many to name
    pool: str | None = None  #: a coupon everybody would get
    aim: Aim | None = None  #: what they would be sent


def audience(plan: Plan, store: Store, chosen: Filter, now: int, wanted: Wanted) -> dict[str, Any]:
    """The figures of an audience, ready for JSON; the memory is that of a page, however many fit.

    Parameters
    ----------
    chosen, now: who, at which instant.
    wanted: what else.
    """
    if wanted.pool is not None:
        known_coupon(plan, wanted.pool)
    plan.env.figures.load(store.slots())
    seen = _Seen(Sample(wanted.sample))
    had = None if wanted.pool is None else CouponReach(plan.pools[wanted.pool], now)
    reach = None if wanted.aim is None else Reach(plan, wanted.aim, now)
    asked_of_states = [it.take for it in (had if had and had.pool.per_user is not None else None, reach) if it]
    for page in pages(store, chosen, now):
        seen.take(page)
        if asked_of_states:
            for state in store.load(page.ids).values():
                for ask in asked_of_states:
                    ask(state)
    everybody = store.head_count()
    return {
        "condition": chosen.text,
        "at": instant(now),
        "count": seen.count,
        "of": everybody,
        "percent": (Decimal(100 * seen.count) / everybody).quantize(Decimal("0.1")) if everybody else None,
        "sample": seen.sample.names(),
        "errors": {"count": seen.errors, "first": [{"user": one, "reason": why} for one, why in seen.first]},
        "answered_by": chosen.way,
        "asked_of_python": seen.asked,
        "not_in_sql": [{"part": one.text, "reason": one.reason} for one in chosen.asks],
        "coupon": None if had is None else _coupon(plan, store, had, seen.count),
        "reach": None if reach is None else reach.row(),
        "same_program": store.get_meta("plan") in (None, plan.digest),
    }


@dataclass
class _Seen:
    """What the pages held."""

    sample: Sample
    count: int = 0
    errors: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)
    asked: int = 0

    def take(self, page: Selection) -> None:
        """One more page."""
        for one in page.ids:
            self.sample.add(one)
        self.count += len(page.ids)
        self.errors += len(page.errors)
        self.first = [*self.first, *page.errors][:_SHOWN]
        self.asked += page.asked


def known_coupon(plan: Plan, pool: str) -> None:
    """Raise ProgramError, with the nearest name there is, when the catalog has no such coupon."""
    if pool not in plan.pools:
        near = nearest(pool, plan.pools)
        hint = f"did you mean '{near}'?" if near else "coupons: " + (", ".join(sorted(plan.pools)) or "none")
        raise ProgramError(f"there is no coupon '{pool}'", hint=hint)


def _coupon(plan: Plan, store: Store, had: CouponReach, everybody: int) -> dict[str, Any]:
    """What one coupon each would cost, and how far stock and budget reach. Who has had all a person may have of it
    gets none."""
    pool, name, count = had.pool, had.pool.name, everybody - had.reached
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
        "percent_off": percent_off(pool.value) if not pool.cost else None,
        "per_user": pool.per_user,
        "had_theirs": had.reached,
        "would_get": count,
        "cost": pool.cost * count,
        "currency": row["currency"],
        "stock_left": left,
        "budget_left": budget,
        "per_day": pool.per_day,
        "enough_for": min(reach),
    }
