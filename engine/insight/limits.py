"""What was given against what the catalog allows: stock, budgets, seats, balances.

A catalog that was tightened later is exceeded without anybody's fault; so this is told, and no promise of the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.core.plan import Plan
from engine.core.scarce import Desk
from engine.ports import Fault, Store

_SHOWN = 5


def exceeded(plan: Plan, store: Store) -> list[Fault]:
    """Every limit of the catalog that is exceeded.

    Parameters
    ----------
    plan, store: by what program, and what it did.
    """
    desk = Desk(
        pools=plan.pools, groups=plan.rooms, limits=plan.limits, zone=plan.env.zone, secret=b"", kept=store.resources()
    )  # fmt: skip
    found = [
        ("coupon-total", "a coupon was given more often than its total", _coupons(plan, desk)),
        ("coupon-budget", "coupons cost more than their budget", _budgets(plan, desk)),
        ("reward-stock", "a reward was given more often than its stock", _rewards(plan, desk)),
        ("room-capacity", "more seats are taken than a room has", _rooms(plan, desk)),
        ("points-negative", "a balance is below zero where the account does not allow it", _negative(plan, store)),
    ]
    return [Fault(name, words, len(rows), rows[:_SHOWN]) for name, words, it in found if (rows := list(it))]


def _coupons(plan: Plan, desk: Desk) -> Iterator[str]:
    for name, pool in sorted(plan.pools.items()):
        state: Any = desk.state("coupon", name)
        if pool.total is not None and state.issued > pool.total:
            yield f"{name}: {state.issued} of {pool.total}"


def _budgets(plan: Plan, desk: Desk) -> Iterator[str]:
    for name, pool in sorted(plan.pools.items()):
        state: Any = desk.state("coupon", name)
        if pool.budget is not None and state.spent > pool.budget:
            yield f"{name}: {state.spent} of {pool.budget}"


def _rewards(plan: Plan, desk: Desk) -> Iterator[str]:
    for name, reward in sorted(plan.rewards.items()):
        taken = desk.state("reward", name).taken
        if reward.stock is not None and taken > reward.stock:
            yield f"{name}: {taken} of {reward.stock}"


def _rooms(plan: Plan, desk: Desk) -> Iterator[str]:
    for name, group in sorted(plan.rooms.items()):
        taken = desk.state("seat", name).taken
        for room in group.rooms:
            if taken.get(room.id, 0) > room.capacity:
                yield f"{name}/{room.id}: {taken[room.id]} of {room.capacity}"


def _negative(plan: Plan, store: Store) -> Iterator[str]:
    for state in store.subjects():
        for account, balance in state.points.items():
            known = plan.accounts.get(account)
            if balance < 0 and (known is None or not known.negative):
                yield f"{state.id} {account}: {balance}"
