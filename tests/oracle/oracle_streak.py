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
from dataclasses import dataclass
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


@dataclass
class CheckIn:
    """An event of the streak's type: is it the first of its local day, how long is the run ending there?"""

    event: Ev
    first: bool
    length: int


def check_ins(history: Sequence[Ev], kind: str, default: str) -> list[CheckIn]:
    """Every event of the type with the length of the run of consecutive local days it stands in."""
    out = []
    days: set[date] = set()
    for index, event in enumerate(history):
        if event.type != kind:
            continue
        today = day_of(history, index, default)
        first = today not in days
        days.add(today)
        length, day = 0, today
        while day in days:
            length += 1
            day -= timedelta(days=1)
        out.append(CheckIn(event, first, length))
    return out


def firings(history: Sequence[Ev], kind: str, days: int, default: str) -> list[Ev]:
    """The events at which ``streak: {event, days}`` fires."""
    return [item.event for item in check_ins(history, kind, default) if item.first and item.length == days]
