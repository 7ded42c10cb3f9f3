"""Streaks of local days.

Design lines encoded (semantics.md, "count / streak", "traits and zone"; language.md, ``streak(type)`` (local
days)):

* the trigger fires at the first event of the N-th consecutive local day, again after the streak broke and was
  rebuilt;
* the zone is the user's trait ``zone`` (from ``user.signup`` / ``user.updated``), else the program's ``timezone``;
  a zone nobody knows is a bad field, not a bad record; the offset inside ``time`` is never a zone.

Silent in the design, kept out of the tests: whether days already counted are recounted when the zone changes inside
a living streak; what ``streak()`` says on a day without an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import oracle_time as clock
from oracle_harness import Ev


def known_zone(name: object) -> bool:
    """Is this the name of a time zone?"""
    if not isinstance(name, str) or not name:
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def zone_at(history: Sequence[Ev], index: int, default: str) -> str:
    """The user's zone when the event at ``index`` has happened."""
    zone = default
    for event in history[: index + 1]:
        if event.type in ("user.signup", "user.updated") and known_zone(event.data.get("zone")):
            zone = event.data["zone"]
    return zone


def day_of(history: Sequence[Ev], index: int, default: str) -> date:
    """The local day of an event, in the zone the user has at that event."""
    return clock.local_day(history[index].time, zone_at(history, index, default))


def run_length(history: Sequence[Ev], index: int, kind: str, default: str) -> int:
    """How many consecutive local days, ending with the day of the event at ``index``, have an event of the type."""
    days = {day_of(history, place, default) for place in range(index + 1) if history[place].type == kind}
    day = day_of(history, index, default)
    length = 0
    while day in days:
        length += 1
        day -= timedelta(days=1)
    return length


def firings(history: Sequence[Ev], kind: str, days: int, default: str) -> list[Ev]:
    """The events at which ``streak: {event, days}`` fires."""
    fired = []
    seen: set[date] = set()
    for index, event in enumerate(history):
        if event.type != kind:
            continue
        today = day_of(history, index, default)
        if today not in seen and run_length(history, index, kind, default) == days:
            fired.append(event)
        seen.add(today)
    return fired
