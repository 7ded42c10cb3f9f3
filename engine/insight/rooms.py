"""Rooms of groups for people: seats taken, who waits, and when the last seat will be gone.

Rule 1: seats are those of the store as it stands; nothing is estimated but the forecast.
Rule 2: a forecast says what it goes by, and where there is too little to go by it says that instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.model import DAY
from engine.core.plan import Plan
from engine.core.seats import GroupInfo, GroupState
from engine.core.subjects import GROUP, name_of, span
from engine.insight.subject import instant
from engine.ports import Store

LOOKED_AT = 14
"""Days a forecast goes by at most: two weekends are in them."""

ENOUGH = 5
"""Seats that must have been taken in these days for a forecast."""


def rows(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Groups with rooms; where groups are subjects, all that are known, with how they live. Ready for JSON."""
    resources, clock = store.resources(), store.clock()
    taken: Counter[str] = Counter()
    first: dict[str, int] = {}
    for entry in store.ledger(book="seat"):
        first.setdefault(entry.name, entry.time)
        if entry.time > clock - LOOKED_AT * DAY:
            taken[entry.name] += entry.delta
    found = {
        name: group_row(plan.rooms[name], resources, taken[name], clock, first.get(name))
        for name in sorted(plan.rooms)
        if plan.rooms[name].rooms
    }
    if not plan.grouped:
        return list(found.values())
    after, end = span(GROUP)
    while known := [it for it in store.population(after, _PAGE) if end is None or it < end]:
        for subject, state in sorted(store.load(known).items()):
            name, last = name_of(subject), state.last_active
            row = found.setdefault(name, {"group": name, "taken": 0, "capacity": 0, "rooms": []})
            silent = None if last is None else max(0, clock - last) // DAY
            row |= {"members": state.members, "last_active_at": instant(last), "silent_days": silent}
        after = known[-1]
    return [found[name] for name in sorted(found)]


_PAGE = 1_000
"""Groups read at once."""


def group_row(
    group: GroupInfo, resources: Mapping[str, bytes], taken: int, clock: int, first: int | None
) -> dict[str, Any]:
    """What became of the seats of a group.

    Parameters
    ----------
    taken: seats taken less seats that came free, in the last ``LOOKED_AT`` days.
    clock: where the store stands, microseconds UTC.
    first: when the first seat was taken, microseconds UTC.
    """
    raw = resources.get(f"seat:{group.name}")
    state = GroupState() if raw is None else msgspec.msgpack.decode(raw, type=GroupState)
    open_rooms = [room for room in group.rooms if room.expires is None or clock < room.expires]
    left = sum(max(0, room.soft - state.taken.get(room.id, 0)) for room in open_rooms)
    return {
        "group": group.name,
        "taken": sum(state.taken.get(room.id, 0) for room in group.rooms),
        "capacity": sum(room.capacity for room in group.rooms),
        "left": left,
        "waiting": len(state.waiting),
        "forecast": _forecast(left, taken, clock, first),
        "rooms": [
            {
                "room": room.id,
                "taken": state.taken.get(room.id, 0),
                "invites_stop_at": room.soft,
                "capacity": room.capacity,
                "expired": room not in open_rooms,
            }
            for room in group.rooms
        ],
    }


def _forecast(left: int, taken: int, clock: int, first: int | None) -> dict[str, Any]:
    """``{"days", "per_day"}`` until the last seat is gone, or ``{"why"}`` nobody can tell."""
    if not left:
        return {"why": "full"}
    if first is None or clock - first < DAY:
        return {"why": "too little data: less than a day"}
    if taken < ENOUGH:
        return {"why": f"no growth to go by: {taken:+d} in {LOOKED_AT} days"}
    seen = min(Decimal(LOOKED_AT), Decimal(clock - first) / DAY)
    per_day = taken / seen
    tenth = Decimal("0.1")
    return {"days": (left / per_day).quantize(tenth), "per_day": per_day.quantize(tenth)}
