"""What went out and what did not: deliveries, refusals, coupons and points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.insight.tables import Source, Span, rounded

STATES = ("sent", "pending", "sending", "dead", "unknown", "cancelled")
RECEIPTS = ("delivered", "opened", "clicked", "bounced", "complained", "unsubscribed")


def channels(source: Source, span: Span) -> list[dict[str, Any]]:
    """Messages by channel: where their delivery stands, and what came back of them."""
    found: dict[str, dict[str, Any]] = {}
    for channel, delivery, count in source.tables.rows("deliveries", span.first, span.last):
        row = found.setdefault(channel, {"channel": channel, "messages": 0, **dict.fromkeys((*STATES, *RECEIPTS), 0)})
        row[delivery] = row.get(delivery, 0) + count
        row["messages"] += count
    for channel, type_, count in source.tables.rows("receipts", span.first, span.last):
        word = type_.removeprefix("message.")
        if channel in found and word in RECEIPTS:
            found[channel][word] = count
    return sorted(found.values(), key=lambda it: (-it["messages"], it["channel"]))


def refusals(source: Source, span: Span) -> list[dict[str, Any]]:
    """What was not done, by kind and reason, the most frequent first, and for which playbooks."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for kind, status, reason, playbook, count in source.tables.rows("refusals", span.first, span.last):
        empty: dict[str, Any] = {"kind": kind, "status": status, "reason": reason, "count": 0, "playbooks": {}}
        row = found.setdefault((kind, status, reason), empty)
        row["count"] += count
        row["playbooks"][playbook] = count
    return sorted(found.values(), key=lambda it: (-it["count"], it["kind"], it["reason"]))


def coupons(source: Source, span: Span) -> list[dict[str, Any]]:
    """Coupons given in the period and what became of them since; ``cost``: what those redeemed took off."""
    costs: dict[str, dict[str, Cost]] = {}
    for pool, playbook, *sums in source.tables.rows("coupon_costs", span.first, span.last):
        value = getattr(source.plan.pools.get(pool), "value", None)
        costs.setdefault(pool, {})[playbook] = Cost.of(percent_off(value), *sums)
    givers: dict[str, dict[str, dict[str, Any]]] = {}
    for pool, playbook, given, back, used in source.tables.rows("coupon_givers", span.first, span.last):
        share = rounded(100 * used / (given - back), 1) if given > back else None
        own = costs.get(pool, {}).get(playbook, Cost())
        givers.setdefault(pool, {})[playbook] = {"issued": given, "redeemed": used, "percent": share, **own.shown()}
    found = []
    rows = source.tables.rows("coupons", span.first, span.last, source.clock)
    for name, issued, worth, redeemed, expired, returned in rows:
        pool = source.plan.pools.get(name)
        kept = issued - returned
        found.append(
            {
                "pool": name,
                "title": getattr(pool, "title", None),
                "issued": issued,
                "worth": rounded(worth, 2),
                "redeemed": redeemed,
                **sum(costs.get(name, {}).values(), Cost()).shown(),
                "expired": expired,
                "returned": returned,
                "open": issued - redeemed - expired - returned,
                "percent": rounded(100 * redeemed / kept, 1) if kept else None,
                "currency": (getattr(pool, "value", None) or {}).get("currency"),
                "playbooks": givers.get(name, {}),
            }
        )
    return found


@dataclass(frozen=True)
class Cost:
    """What redeemed coupons took off."""

    known: float = 0.0  #: said by the redemption, or fixed by the pool
    estimated: float = 0.0  #: the pool's share of what the orders came to
    estimates: int = 0  #: coupons the estimate is of
    unknown: int = 0  #: coupons of which nothing tells

    @classmethod
    def of(cls, percent: float | None, known: float, paid: float, orders: int, silent: int) -> Cost:
        """From sums: ``paid`` is what ``orders`` orders came to, whose redemption did not say what was taken off."""
        if percent is None:
            return cls(known, 0.0, 0, silent + orders)
        return cls(known, paid * percent / 100, orders, silent)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.known + other.known, self.estimated + other.estimated, self.estimates + other.estimates,
                    self.unknown + other.unknown)  # fmt: skip

    def shown(self) -> dict[str, Any]:
        """Ready for JSON; ``cost`` has all that is known or estimated."""
        return {"cost": rounded(self.known + self.estimated, 2), "cost_estimated": rounded(self.estimated, 2),
                "cost_estimates": self.estimates, "cost_unknown": self.unknown}  # fmt: skip


def percent_off(value: Mapping[str, Any] | None) -> float | None:
    """The share of an order a coupon takes off, in per cent: ``{percent: 10}`` or ``{off: "10%"}``; None: no such."""
    found = (value or {}).get("percent")
    if found is None and isinstance(off := (value or {}).get("off"), str) and off.strip().endswith("%"):
        found = off.strip(" %")
    try:
        share = float(found)  # type: ignore[arg-type]  # what is no number is refused by it
    except (TypeError, ValueError):
        return None
    return share if 0 < share <= 100 else None


def points(source: Source, span: Span) -> list[dict[str, Any]]:
    """Points booked in the period, by account and what it was."""
    return [
        {"account": account, "what": what, "entries": entries, "points": int(total)}
        for account, what, entries, total in source.tables.rows("points", span.first, span.last)
    ]
