"""What would bind: stock and budgets, entry limits, caps and quotas, seats and rewards, as a trial found them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from engine.core.instants import format_instant
from engine.core.plan import Plan
from engine.insight.planning.trial import Refusals, Trial
from engine.insight.report import pool_row
from engine.ports import Store

LIMITS: Final = {
    "cap": "frequency cap", "quota": "channel quota", "sold_out": "stock", "budget": "budget", "per_day": "per day",
    "per_user": "per user", "full": "seats", "daily_cap": "points a day",
}  # fmt: skip
"""Reason of a refused effect -> what bound; every other reason is no limit (consent, no_address ...)."""


def refused(found: Trial) -> list[dict[str, Any]]:
    """Refused effects by playbook, kind and reason; ``limit``: what bound, None where it is no limit."""
    return [
        {
            "playbook": playbook or None,
            "kind": kind,
            "status": status,
            "reason": reason,
            "of": what or None,
            "limit": LIMITS.get(reason),
            "count": row.count,
            "users": len(row.users),
            "first": format_instant(row.first),
        }
        for (playbook, kind, status, reason, what), row in sorted(found.later.refused.items())
    ]


def entry_limits(found: Trial) -> list[dict[str, Any]]:
    """Playbooks that reach their entry limit, and in how many windows."""
    return [
        {"playbook": playbook, "limit": limit, "windows": number}
        for (playbook, limit), number in sorted(found.later.windows.items())
    ]


def pools(plan: Plan, store: Store, found: Trial) -> list[dict[str, Any]]:
    """Every coupon somebody asked for: stock and budget now, what was asked for, what is left at the end."""
    given: defaultdict[str, int] = defaultdict(int)
    denied: defaultdict[str, list[Refusals]] = defaultdict(list)
    for (_, name), number in found.later.coupons.items():
        given[name] += number
    for (_, kind, _, reason, name), row in found.later.refused.items():
        if kind == "coupon" and reason in LIMITS:
            denied[name].append(row)
    after = store.resources()
    rows = []
    for name in sorted(given.keys() | denied.keys()):
        pool = plan.pools.get(name)
        if pool is None:
            continue
        now, later = (pool_row(pool, kept, found.codes.get(name, 0)) for kept in (found.before, after))
        refusals = denied[name]
        rows.append(
            {
                "pool": name,
                "each": pool.cost,
                "currency": now["currency"],
                "left_now": now["left"],
                "budget_left_now": None if now["budget"] is None else now["budget"] - now["spent"],
                "given": given[name],
                "denied": sum(it.count for it in refusals),
                "cost": pool.cost * given[name],
                "left_after": later["left"],
                "budget_left_after": None if later["budget"] is None else later["budget"] - later["spent"],
                "first_denied": format_instant(min(it.first for it in refusals)) if refusals else None,
            }
        )
    return rows
