"""Coupons against the playbooks that hand them out."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from engine.actions.coupon import GiveCoupon
from engine.actions.redeem import Redeem
from engine.core.scarce import CouponPool
from engine.language.diagnostics import Page
from engine.language.lint.registry import Check
from engine.language.lint.world import World
from engine.language.nodes import MapNode

PAGES: Final[dict[str, Page]] = {
    "small-stock": Page(
        "more people may enter than there are coupons",
        "'entry.limit' lets more people in at one go than the coupon's limits can serve, and nothing says what the "
        "others get. Write 'on_exhausted' at the step or at the coupon, or lower the limit.",
        "# file: playbooks/catalog/a.yaml\ncoupons:\n  tea:\n    codes: {generate: TEA}\n"
        "    limits: {per_user: 1, per_day: 100, total: 5000}\n"
        "# file: playbooks/tea.yaml\nentry: {mode: once, limit: 20000/day}\nsteps:\n  - coupon: tea",
        "# file: playbooks/catalog/a.yaml\ncoupons:\n  tea:\n    codes: {generate: TEA}\n"
        "    limits: {per_user: 1, per_day: 100, total: 5000}\n"
        "# file: playbooks/tea.yaml\nentry: {mode: once, limit: 100/day}\nsteps:\n  - coupon: tea",
        "warning",
    ),
    "unconfirmed": Page(
        "a reward that is never confirmed, or nothing to confirm",
        "'redeem' only reserves: what no step confirms goes back when the journey ends. Give the step an id, and "
        "confirm it once the reward is on its way; 'confirm' and 'release' name a 'redeem' step of the same playbook.",
        "steps:\n  - redeem: tea-mug\n  - task: {assign: ops, title: send the mug}",
        "steps:\n  - redeem: {reward: tea-mug, on_denied: stop}\n    id: mug\n"
        "  - task: {assign: ops, title: send the mug}\n  - redeem: {confirm: mug}",
        "warning",
    ),
    "short-budget": Page(
        "a budget that ends before the coupons do",
        "'total' coupons at 'value.off' each cost more than 'budget', so the total is never reached. Write the number "
        "that is meant to end it.",
        "coupons:\n  tea:\n    value: {off: 20}\n    codes: {generate: TEA}\n"
        "    limits: {per_user: 1, total: 1000, budget: 5000}",
        "coupons:\n  tea:\n    value: {off: 20}\n    codes: {generate: TEA}\n"
        "    limits: {per_user: 1, total: 250, budget: 5000}",
        "warning",
    ),
}


def _budget(pool: CouponPool) -> int | None:
    """How many coupons the budget pays for."""
    if pool.budget is None or not pool.cost or pool.cost <= Decimal(0):
        return None
    return int(pool.budget / pool.cost)


def look_stock(world: World) -> None:
    """What one window of ``entry.limit`` may ask for, against what the coupon can give."""
    for book in world.books:
        limit = book.plan.entry.limit
        if limit is None:
            continue
        for step in book.steps:
            action = step.node.action
            if not isinstance(action, GiveCoupon) or step.node.guard is not None or step.parent is not None:
                continue
            body = step.body
            pool = world.catalog.pools.get(action.pool)
            said = isinstance(body, MapNode) and "on_exhausted" in body
            if pool is None or said or pool.fallback is not None:
                continue
            stock = [("total", pool.total), ("budget", _budget(pool))]
            stock += [("per_day", pool.per_day)] if limit.per in ("hour", "day") else []
            least = min(((count, word) for word, count in stock if count is not None), default=None)
            if least is not None and least[0] < limit.count:
                message = (
                    f"entry lets in {limit.count} a {limit.per}, and '{least[1]}' of coupon '{pool.name}' is enough "
                    f"for {least[0]}"
                )
                world.say(step.at("pool"), "small-stock", message, "write on_exhausted: skip, stop or steps")


def look_budgets(world: World) -> None:
    """Totals a budget cuts short."""
    for catalog in world.catalogs:
        section = catalog.get("coupons")
        for key, value in section if isinstance(section, MapNode) else ():
            pool = world.catalog.pools.get(key.text)
            paid = _budget(pool) if pool is not None else None
            if pool is None or paid is None or pool.total is None or paid >= pool.total:
                continue
            limits = value.get("limits") if isinstance(value, MapNode) else None
            where = limits.get("budget") if isinstance(limits, MapNode) else None
            message = f"the budget of '{key.text}' pays for {paid} coupons, and 'total' says {pool.total}"
            world.say(where or key, "short-budget", message, f"budget: {pool.total * pool.cost}, or total: {paid}")


def look_rewards(world: World) -> None:
    """Reservations nobody confirms, and confirmations of nothing."""
    for book in world.books:
        found = [(step, step.node.action) for step in book.steps if isinstance(step.node.action, Redeem)]
        reserving = {step.node.id for step, action in found if action.reward is not None}
        confirmed = {action.confirm for _, action in found}
        for step, action in found:
            named = action.confirm or action.release
            if named is not None and named not in reserving:
                message = f"no step '{named}' of this playbook reserves a reward"
                word = "confirm" if action.confirm else "release"
                world.say(step.at(word), "unconfirmed", message, "name the id of a 'redeem' step")
            elif action.reward is not None and step.node.id not in confirmed:
                message = f"no step confirms the reward '{action.reward}', so it always goes back"
                hint = "give the step an id, and write redeem: {confirm: <id>} where it is on its way"
                world.say(step.at("reward"), "unconfirmed", message, hint)


CHECKS: Final = (
    Check(("unconfirmed",), look_rewards),
    Check(("small-stock",), look_stock),
    Check(("short-budget",), look_budgets),
)
