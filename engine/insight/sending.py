"""What went out and what did not: deliveries, refusals, coupons and points, and who lost to whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from engine.core.policies import Cap
from engine.insight.tables import Source, Span, rounded

STATES = ("sent", "pending", "sending", "dead", "unknown", "cancelled")
RECEIPTS = ("delivered", "opened", "clicked", "bounced", "complained", "unsubscribed")

NOBODY = "?"
"""Stands for whoever cannot be told any more: the caps of the program have changed since."""


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
    givers: dict[str, dict[str, dict[str, Any]]] = {}
    for pool, playbook, given, back, used, paid in source.tables.rows("coupon_givers", span.first, span.last):
        share = rounded(100 * used / (given - back), 1) if given > back else None
        givers.setdefault(pool, {})[playbook] = {
            "issued": given, "redeemed": used, "percent": share, "cost": rounded(paid, 2)
        }  # fmt: skip
    found = []
    rows = source.tables.rows("coupons", span.first, span.last, source.clock)
    for name, issued, worth, redeemed, cost, expired, returned in rows:
        pool = source.plan.pools.get(name)
        kept = issued - returned
        found.append(
            {
                "pool": name,
                "issued": issued,
                "worth": rounded(worth, 2),
                "redeemed": redeemed,
                "cost": rounded(cost, 2),
                "expired": expired,
                "returned": returned,
                "open": issued - redeemed - expired - returned,
                "percent": rounded(100 * redeemed / kept, 1) if kept else None,
                "currency": (getattr(pool, "value", None) or {}).get("currency"),
                "playbooks": givers.get(name, {}),
            }
        )
    return found


def points(source: Source, span: Span) -> list[dict[str, Any]]:
    """Points booked in the period, by account and what it was."""
    return [
        {"account": account, "what": what, "entries": entries, "points": int(total)}
        for account, what, entries, total in source.tables.rows("points", span.first, span.last)
    ]


# ---------------------------------------------------------------------- who lost to whom

_Lost = tuple[str, int, str, str, str, str]  # user, instant, playbook, purpose, channel, reason
_Slot = tuple[str, int, str, str, str]  # user, instant, playbook, purpose, channel


def collisions(source: Source, span: Span) -> list[dict[str, Any]]:
    """For each two playbooks how often one was refused because the other had taken the place.

    A message that found a cap or quota used up lost to every playbook whose messages had filled it, each counted once;
    a coupon that a user might have once only lost to whoever gave it; a coupon or seat of which none was left lost to
    every playbook that had taken some.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    window = source.plan.cap_window
    slots = _by_user(source.tables.pages("capped_slots", span.first, span.last, window))
    user, held = next(slots, (None, []))
    for loser, rows in _by_user(source.tables.pages("capped", span.first, span.last)):
        while user is not None and user < loser:
            user, held = next(slots, (None, []))
        for lost in rows:
            for winner in _winners(source, lost, held if user == loser else []):
                counts[lost[2], winner, lost[5]] += 1
    for lost_by, winner, count in source.tables.rows("used_up", span.first, span.last):
        counts[lost_by, winner, "per_user"] += count
    for lost_by, winner, reason, count in source.tables.rows("taken", span.first, span.last):
        counts[lost_by, winner, reason] += count
    return [
        {"lost": loser, "to": winner, "reason": reason, "count": count}
        for (loser, winner, reason), count in sorted(counts.items(), key=lambda it: (-it[1], it[0]))
    ]


def _by_user(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    for user, own in groupby(rows, key=lambda it: it[0]):
        yield user, list(own)


def _winners(source: Source, lost: tuple[Any, ...], held: list[tuple[Any, ...]]) -> set[str]:
    """Whose messages filled the caps that refused one."""
    user, now, name, purpose, channel, reason = lost
    zone = source.zone_of(user) or source.zone
    before = [(it[1], it[3], it[4]) for it in held]
    found: set[str] = set()
    for cap in _limits(source, name, purpose, channel, reason):
        taken = cap.counted(before, now, zone)
        if len(taken) >= cap.most:
            found |= {held[place][2] for place in taken}
    return found or {NOBODY}


def _limits(source: Source, name: str, purpose: str, channel: str, reason: str) -> list[Cap]:
    book = source.plan.by_id.get(name)
    if book is None:
        return []
    if reason == "cap":
        return [cap for cap in book.policy.caps if cap.concerns(purpose, channel)]
    info = source.plan.channels.get(channel)
    return [] if info is None or info.quota is None else [info.quota.open_to(book.priority)]
