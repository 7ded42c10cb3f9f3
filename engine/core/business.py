"""Business hours: how long people at work take, counted in the time they are there.

Rule 1: ``h``, ``m`` and ``s`` count open time only: four hours from Friday 17:00, closing at 18:00, end on Monday
three hours after opening.
Rule 2: ``d`` and ``{days: n}`` count working days: the n-th one after, at the same wall time; ``w`` is five of them.
What begins outside the hours begins at the next opening.
Rule 3: the zone is the program's, where the people are; days off come from a calendar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core.calendars import WEEKDAYS
from engine.core.instants import MAX_DURATION
from engine.core.model import DAY
from engine.core.plan import Span
from engine.errors import ExpressionError

_MOST_DAYS = 2 * MAX_DURATION // DAY * 24
"""Days looked at before it is certain that nobody ever works."""

_ONE = timedelta(days=1)


def weekday(day: date) -> bool:
    """Monday to Friday: what holds without a calendar."""
    return WEEKDAYS.works(day.toordinal())


@dataclass(frozen=True, kw_only=True)
class BusinessHours:
    """When people are at work."""

    opens: str  #: ``HH:MM``
    closes: str  #: ``HH:MM``, after ``opens`` on the same day
    zone: str  #: the zone of both
    works: Callable[[date], bool] = weekday  #: is it a working day?

    def after(self, instant: int, span: Span) -> int:
        """The instant a span of business time after an instant."""
        zone = localtime.zone(self.zone) or localtime.UTC
        start = self._open_at(instant, zone)
        if span.days is not None:
            return self._days(start, span.days, span.at, zone)
        if span.text.endswith("d"):
            return self._days(start, span.elapsed // DAY, None, zone)
        if span.text.endswith("w"):
            return self._days(start, span.elapsed // (7 * DAY) * 5, None, zone)
        return self._open_time(start, span.elapsed, zone)

    def _open_at(self, instant: int, zone: ZoneInfo) -> int:
        """The instant itself while they are there, else the next opening."""
        day = localtime.local_date(instant, zone)
        if self.works(day) and instant < localtime.at_wall(day, self.closes, zone):
            return max(instant, localtime.at_wall(day, self.opens, zone))
        return localtime.at_wall(self._next(day), self.opens, zone)

    def _next(self, day: date) -> date:
        """The first working day after a day."""
        for _ in range(_MOST_DAYS):
            day += _ONE
            if self.works(day):
                return day
        raise ExpressionError("the calendar of the business hours has no working days")

    def _days(self, start: int, count: int, at: str | None, zone: ZoneInfo) -> int:
        day = localtime.local_date(start, zone)
        first = day
        for _ in range(count):
            day = self._next(day)
        if at is not None:
            return localtime.at_wall(day, at, zone)
        return localtime.add_days(start, day.toordinal() - first.toordinal(), None, zone)

    def _open_time(self, start: int, left: int, zone: ZoneInfo) -> int:
        day = localtime.local_date(start, zone)
        closes = localtime.at_wall(day, self.closes, zone)
        while left > closes - start:
            left -= closes - start
            day = self._next(day)
            start, closes = (localtime.at_wall(day, wall, zone) for wall in (self.opens, self.closes))
        return start + left
