"""Until when a step waits: a span from now, a wall time, or an instant an expression gives.

An expression may also give RFC 3339 text, or a date: its midnight.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from engine.core import localtime
from engine.core.instants import parse_instant
from engine.core.moment import Value
from engine.core.plan import Span
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from engine.core.journeys import Run

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Until:
    """``{until: "HH:MM"}`` or ``{until: expression}``."""

    def __init__(self, wall: str | None, value: Value | None) -> None:
        self.wall = wall
        self.value = value


def in_words(when: Span | Until) -> str:
    """As it was written, for pictures."""
    if isinstance(when, Span):
        return when.text
    return f"until {when.wall or (when.value.text if when.value is not None else '')}"


def instant_of(when: Span | Until, run: Run) -> int:
    """The instant a wait ends, counted from now; a missing one is now."""
    if isinstance(when, Span):
        return when.after(run.now, run.zone)
    if when.wall is not None:
        zone = localtime.zone(run.zone) or localtime.UTC
        today = localtime.at_wall(localtime.local_date(run.now, zone), when.wall, zone)
        return today if today >= run.now else localtime.add_days(run.now, 1, when.wall, zone)
    found = when.value.get(run.m) if when.value is not None else None
    if found is None:
        return run.now
    if isinstance(found, str):
        return parse_instant(found)
    if found.__class__ is date:
        return localtime.at_wall(found, "00:00", localtime.zone(run.zone) or localtime.UTC)
    if not isinstance(found, datetime):
        raise ExpressionError(f"'until' needs an instant, got {found!r}")
    return (found - _EPOCH) // timedelta(microseconds=1)
