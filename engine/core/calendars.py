"""Calendars of days: named windows, holidays with their make-up workdays, member days. Plain tables, no clock.

Rule 1: a calendar knows local days only; which instant a day begins at is a matter of the zone (core/localtime.py).
Rule 2: an occurrence is a window. It begins on its first day, however long it is: seven days of holidays are one.
Rule 3: days are kept as proleptic ordinals (``date.toordinal``), so a question costs one look-up.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from engine.core.dayrules import DayRule

__all__ = ["WEEKDAYS", "Calendar", "DayRule", "WorkDays", "windows_of"]

Window = tuple[int, int]
"""(first, last) day of a window, both inside."""

_WEEKEND: Final = frozenset({6, 7})


@dataclass(frozen=True, kw_only=True)
class WorkDays:
    """Which days people work on: a week with its weekend, days off on top of it, and make-up workdays (调休)."""

    weekend: frozenset[int] = _WEEKEND  #: ISO weekdays, 1 (Monday) to 7
    off: frozenset[int] = frozenset()  #: holidays, weekends inside them included
    makeup: frozenset[int] = frozenset()  #: days of a weekend on which people work
    known_from: int | None = None  #: first day the tables know; None: they know every day
    known_to: int | None = None  #: last day of which the tables are official; later ones are worked out or unknown

    def works(self, day: int) -> bool:
        """Is it a working day?"""
        if day in self.makeup:
            return True
        return day not in self.off and (day - 1) % 7 + 1 not in self.weekend  # day 1 was a Monday


WEEKDAYS: Final = WorkDays()
"""Monday to Friday: what holds where a program names no calendar of holidays."""


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """A named calendar of the catalog.

    It is made of windows (dates, holidays, lunar days), or of a rule that names days one by one (``cron``).
    """

    name: str
    windows: tuple[Window, ...] = ()  #: in order, none touching the next
    rule: DayRule | None = None  #: days that are windows of their own
    work: WorkDays = WEEKDAYS
    _firsts: tuple[int, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_firsts", tuple(first for first, _ in self.windows))

    def starts(self, first: date, last: date) -> list[date]:
        """The days from ``first`` to ``last``, both inside, on which an occurrence begins, in order."""
        low, high = first.toordinal(), last.toordinal()
        if self.rule is not None:
            rule = self.rule
            return [day for day in map(date.fromordinal, range(low, high + 1)) if rule.matches(day)]
        begins, ends = bisect_left(self._firsts, low), bisect_right(self._firsts, high)
        return [date.fromordinal(day) for day in self._firsts[begins:ends]]

    def contains(self, day: date) -> bool:
        """Does the day lie in a window?"""
        if self.rule is not None:
            return self.rule.matches(day)
        number = day.toordinal()
        place = bisect_right(self._firsts, number) - 1
        return place >= 0 and number <= self.windows[place][1]

    def is_workday(self, day: date) -> bool:
        """Do people work on that day? Of a calendar without holidays: is it one of Monday to Friday?"""
        return self.work.works(day.toordinal())

    def is_holiday(self, day: date) -> bool:
        """Is it a day off by a holiday, its weekend days and days given for make-up work included?"""
        return day.toordinal() in self.work.off


def windows_of(days: Iterable[int]) -> tuple[Window, ...]:
    """Days in any order -> windows: days that follow each other are one."""
    out: list[Window] = []
    for day in sorted(set(days)):
        if out and day == out[-1][1] + 1:
            out[-1] = (out[-1][0], day)
        else:
            out.append((day, day))
    return tuple(out)
