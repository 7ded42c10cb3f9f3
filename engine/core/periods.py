"""Periods: the days, weeks, months and quarters of a program, and the local midnights at which they turn.

Rule 1: a period is what lies between two turns, half-open as all windows are: an event at a turn belongs to the period
that ends there.
Rule 2: periods are numbered without gaps, so "the third before this one" is arithmetic on numbers, not on time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from engine.core import localtime

PERIODS: Final = ("day", "week", "month", "quarter")
"""Lengths, the shortest first; several that turn at one instant turn in this order."""

_MONTHS: Final = {"month": 1, "quarter": 3}
_FIRST_YEAR: Final = 2
_LAST_YEAR: Final = 9990


@dataclass(frozen=True)
class Calendar:
    """The turns of one length in one zone."""

    per: str  #: day | week | month | quarter
    tz: ZoneInfo

    def number(self, instant: int) -> int:
        """The period that an instant begins or lies in."""
        day = localtime.day_number(instant, self.tz)
        if self.per == "day":
            return day
        if self.per == "week":
            return (day - 1) // 7  # day 1 was a Monday
        here = date.fromordinal(day)
        return (here.year * 12 + here.month - 1) // _MONTHS[self.per]

    def begin(self, number: int) -> int:
        """The instant at which a period begins."""
        if self.per in _MONTHS:
            year, month = divmod(number * _MONTHS[self.per], 12)
            day = date(year, month + 1, 1)
        else:
            day = date.fromordinal(number if self.per == "day" else number * 7 + 1)
        return localtime.at_wall(day, "00:00", self.tz)

    def after(self, instant: int) -> int | None:
        """The first turn after an instant; None where the calendar ends."""
        year = localtime.local_date(instant, self.tz).year
        return self.begin(self.number(instant) + 1) if _FIRST_YEAR < year < _LAST_YEAR else None

    def before(self, instant: int) -> int:
        """The last turn before an instant; one at the very instant is not before it."""
        return self.begin(self.number(instant - 1))
