"""Points and rewards in figures, read from the ledger."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from engine.core.plan import Plan
from engine.core.rewards import RewardState
from engine.ports import Store


def point_rows(store: Store) -> list[dict[str, Any]]:
    """Of each account (what waits, or is reserved, is one of its own): points and entries by what moved them."""
    sums: Counter[tuple[str, str]] = Counter()
    entries: Counter[tuple[str, str]] = Counter()
    for book in ("points", "entitlement"):
        for it in store.ledger(book=book):
            sums[it.name, it.what] += it.delta
            entries[it.name, it.what] += 1
    return [
        {"account": name, "what": what, "points": sums[name, what], "entries": number}
        for (name, what), number in sorted(entries.items())
    ]


def reward_rows(plan: Plan, resources: dict[str, bytes]) -> list[dict[str, Any]]:
    """What of each reward is reserved or given, and what is left."""
    rows = []
    for name, reward in sorted(plan.rewards.items()):
        raw = resources.get(f"reward:{name}")
        taken = 0 if raw is None else msgspec.msgpack.decode(raw, type=RewardState).taken
        left = None if reward.stock is None else reward.stock - taken
        rows.append({"reward": name, "given": taken, "stock": reward.stock, "left": left, "points": reward.points})
    return rows
