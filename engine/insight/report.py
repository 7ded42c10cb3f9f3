"""What a program did with its users, as figures; read from the store alone.

Rule 1: every figure is a count, or follows from counts shown beside it.
Rule 2: a share of fewer than ``ENOUGH`` entries is not shown: it would be read as more than it is.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.model import DAY
from engine.core.plan import Plan
from engine.core.scarce import CouponPool, GroupInfo, GroupState, PoolState
from engine.core.subjects import GROUP, name_of, span
from engine.insight.subject import instant
from engine.insight.worth import point_rows, reward_rows
from engine.ports import Store

ENOUGH = 100
"""Entries on a side from which on its conversion is shown."""

NOT_ENOUGH = "not enough data"

_SURE = Decimal("1.96")  # 95 per cent of a normal distribution


def report(plan: Plan, store: Store) -> dict[str, Any]:
    """All figures, ready for JSON."""
    counts = store.counts()
    seen = _Effects.read(store)
    resources = store.resources()
    return {
        "program": plan.program,
        "clock": instant(store.clock()),
        "same_program": store.get_meta("plan") in (None, plan.digest),
        "events": {name: counts.get(name, 0) for name in ("events", "duplicate", "late", "quarantined")},
        "playbooks": _playbooks(plan, store.summary(), counts),
        "effects": _effects(counts),
        "refused": seen.refused_rows(),
        "coupons": [pool_row(plan.pools[name], resources) for name in sorted(plan.pools)],
        "points": point_rows(store),
        "rewards": reward_rows(plan, resources),
        "groups": _groups(plan, store, resources),
        "deliveries": seen.delivery_rows(),
        "quarantine": dict(sorted(Counter(it.reason for it in store.quarantine()).items())),
    }


class _Effects:
    """What one walk over all effects finds."""

    def __init__(self) -> None:
        self.refused: Counter[tuple[str, str, str]] = Counter()  #: (kind, status, reason)
        self.deliveries: Counter[tuple[str, str]] = Counter()  #: (channel, status)

    @classmethod
    def read(cls, store: Store) -> _Effects:
        found = cls()
        for effect, delivery in store.effects():
            if effect.status in ("suppressed", "denied"):
                found.refused[effect.kind, effect.status, effect.reason or "unknown"] += 1
            if delivery:
                found.deliveries[effect.deliver or "", delivery] += 1
        return found

    def refused_rows(self) -> list[dict[str, Any]]:
        return [
            {"kind": kind, "status": status, "reason": reason, "count": number}
            for (kind, status, reason), number in sorted(self.refused.items())
        ]

    def delivery_rows(self) -> dict[str, dict[str, int]]:
        shown: dict[str, dict[str, int]] = {}
        for (channel, status), number in sorted(self.deliveries.items()):
            shown.setdefault(channel, {})[status] = number
        return shown


def _effects(counts: dict[str, int]) -> dict[str, dict[str, int]]:
    shown: dict[str, dict[str, int]] = {}
    for name, number in sorted(counts.items()):
        if name.startswith("effects."):
            _, kind, status = name.split(".", 2)
            shown.setdefault(kind, {})[status] = number
    return shown


# ---------------------------------------------------------------------- playbooks


def _playbooks(plan: Plan, summary: dict[str, Any], counts: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Figures of every playbook of the program, and of those it had before."""
    shown = {}
    for name in sorted({*plan.by_id, *summary}):
        figures = summary.get(name, {})
        playbook = plan.by_id.get(name)
        entered, held = figures.get("entered", 0), figures.get("held", 0)
        goals, goals_held = figures.get("goals", 0), figures.get("goals_held", 0)
        has_goal = playbook is None or playbook.goal is not None
        shown[name] = {
            "title": playbook.title if playbook is not None else None,
            "status": playbook.status if playbook is not None else "removed",
            "entered": entered,
            "held_out": held,
            "finished": figures.get("finished", 0),
            "exited": figures.get("exited", 0),
            "effects": figures.get("effects", 0),
            "limited": counts.get(f"limit.{name}", 0),  # windows in which the entry limit was reached
            "treated": _side(entered - held, goals - goals_held) if has_goal else None,
            "holdout": _side(held, goals_held) if has_goal and (held or _holds_out(plan, name)) else None,
            "difference": _difference(entered - held, goals - goals_held, held, goals_held) if has_goal else None,
        }
    return shown


def _holds_out(plan: Plan, name: str) -> bool:
    playbook = plan.by_id.get(name)
    return playbook is not None and playbook.holdout is not None


def _side(entries: int, goals: int) -> dict[str, Any]:
    """One side of the comparison; ``percent`` is None when it has not enough entries."""
    return {"entries": entries, "goals": goals, "percent": _percent(goals, entries) if entries >= ENOUGH else None}


def _percent(part: int, whole: int) -> Decimal:
    return (Decimal(100 * part) / whole).quantize(Decimal("0.1"))


def _difference(entries: int, goals: int, held: int, goals_held: int) -> dict[str, Any] | None:
    """Treated less holdout in percentage points, with the half-width of its 95 per cent interval."""
    if entries < ENOUGH or held < ENOUGH:
        return None
    one, other = Decimal(goals) / entries, Decimal(goals_held) / held
    spread = (one * (1 - one) / entries + other * (1 - other) / held).sqrt()
    tenth = Decimal("0.1")
    return {"points": (100 * (one - other)).quantize(tenth), "give_or_take": (100 * _SURE * spread).quantize(tenth)}


# ---------------------------------------------------------------------- scarce units


def pool_row(pool: CouponPool, resources: dict[str, bytes]) -> dict[str, Any]:
    """What a coupon pool gave and has left."""
    raw = resources.get(f"coupon:{pool.name}")
    state = PoolState() if raw is None else msgspec.msgpack.decode(raw, type=PoolState)
    total = pool.total
    if pool.prefix is None:
        total = len(pool.codes) if total is None else min(total, len(pool.codes))
    return {
        "pool": pool.name,
        "given": state.issued,
        "total": total,
        "left": None if total is None else total - state.issued,
        "spent": state.spent,
        "budget": pool.budget,
        "currency": (pool.value or {}).get("currency"),
    }


def _groups(plan: Plan, store: Store, resources: dict[str, bytes]) -> list[dict[str, Any]]:
    """Groups with rooms; where groups are subjects, all that are known, with how they live."""
    rows = {name: _group(plan.rooms[name], resources) for name in sorted(plan.rooms) if plan.rooms[name].rooms}
    if not plan.grouped:
        return list(rows.values())
    after, end = span(GROUP)
    now = store.clock()
    while known := [it for it in store.population(after, _PAGE) if end is None or it < end]:
        for subject, state in sorted(store.load(known).items()):
            name, last = name_of(subject), state.last_active
            row = rows.setdefault(name, {"group": name, "taken": 0, "capacity": 0, "rooms": []})
            silent = None if last is None else max(0, now - last) // DAY
            row |= {"members": state.members, "last_active_at": instant(last), "silent_days": silent}
        after = known[-1]
    return [rows[name] for name in sorted(rows)]


_PAGE = 1_000


def _group(group: GroupInfo, resources: dict[str, bytes]) -> dict[str, Any]:
    raw = resources.get(f"seat:{group.name}")
    state = GroupState() if raw is None else msgspec.msgpack.decode(raw, type=GroupState)
    rooms = [
        {"room": room.id, "taken": state.taken.get(room.id, 0), "invites_stop_at": room.soft, "capacity": room.capacity}
        for room in group.rooms
    ]
    return {
        "group": group.name,
        "taken": sum(state.taken.get(room.id, 0) for room in group.rooms),
        "capacity": sum(room.capacity for room in group.rooms),
        "rooms": rooms,
    }
