"""Until when a step waits: a span from now, a wall time, or an instant an expression gives; also by workdays.

An expression may also give RFC 3339 text, or a date: its midnight. Workdays are those of the program's calendar of
holidays, else Monday to Friday.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core.instants import parse_instant
from engine.core.moment import Value
from engine.core.plan import Span
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from engine.core.journeys import Run

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_FARTHEST = 400
"""Days in a row on which nobody works, after which a calendar is thought broken."""


class Until:
    """``{until: "HH:MM"}`` or ``{until: expression}``; with ``workdays`` only a workday will do."""

    def __init__(self, wall: str | None, value: Value | None, workdays: bool = False) -> None:
        self.wall = wall
        self.value = value
        self.workdays = workdays


class WorkSpan:
    """``{days: 3, at: "10:00", calendar: workdays}``: the third workday after today; 0 is the first from today on."""

    def __init__(self, days: int, at: str | None) -> None:
        self.days = days
        self.at = at


def in_words(when: Span | Until | WorkSpan) -> str:
    """As it was written, for pictures."""
    if isinstance(when, Span):
        return when.text
    if isinstance(when, WorkSpan):
        return f"{when.days} workdays" + (f" at {when.at}" if when.at else "")
    words = f"until {when.wall or (when.value.text if when.value is not None else '')}"
    return f"{words}, on a workday" if when.workdays else words


def instant_of(when: Span | Until | WorkSpan, run: Run) -> int:
    """The instant a wait ends, counted from now; a missing one is now."""
    if isinstance(when, Span):
        return when.after(run.now, run.zone)
    zone = localtime.zone(run.zone) or localtime.UTC
    if isinstance(when, WorkSpan):
        return _workdays_later(when, run, zone)
    if when.wall is None:
        found = _asked(when, run, zone)
        if not when.workdays or found <= run.now:
            return found
        return localtime.add_days(found, _to_workday(localtime.local_date(found, zone), run), None, zone)
    today = localtime.local_date(run.now, zone)
    first = today if localtime.at_wall(today, when.wall, zone) >= run.now else today + timedelta(days=1)
    ahead = _to_workday(first, run) if when.workdays else 0
    return localtime.at_wall(first + timedelta(days=ahead), when.wall, zone)


def _to_workday(day: date, run: Run) -> int:
    """How many days from a day on the first workday is; 0 when it is one."""
    works = run.m.env.workdays
    for ahead in range(_FARTHEST):
        here = day + timedelta(days=ahead)
        if works(here) if works is not None else here.isoweekday() <= 5:
            return ahead
    raise ExpressionError(f"the calendar has no workday within {_FARTHEST} days of {day}")


def _workdays_later(when: WorkSpan, run: Run, zone: ZoneInfo) -> int:
    today = localtime.local_date(run.now, zone)
    ahead = _to_workday(today, run) if when.days == 0 else 0
    for _ in range(when.days):
        ahead += 1 + _to_workday(today + timedelta(days=ahead + 1), run)
    return localtime.add_days(run.now, ahead, when.at, zone)


def _asked(when: Until, run: Run, zone: ZoneInfo) -> int:
    """The instant an expression gives."""
    found = when.value.get(run.m) if when.value is not None else None
    if found is None:
        return run.now
    if isinstance(found, str):
        return parse_instant(found)
    if found.__class__ is date:
        return localtime.at_wall(found, "00:00", zone)
    if not isinstance(found, datetime):
        raise ExpressionError(f"'until' needs an instant, got {found!r}")
    return (found - _EPOCH) // timedelta(microseconds=1)
