"""Days by a rule: the day fields of a cron line, as a calendar such as ``member-day: {cron: "0 0 8 * *"}`` uses them.

Only days are named here, so minute and hour are ``0 0``; the trigger's ``at`` says when. Where both the day of the
month and the weekday are restricted, either is enough: that is what cron does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART: Final = re.compile(
    r"(?P<low>\*|[a-z]{3}|[0-9]{1,2})(?:-(?P<high>[a-z]{3}|[0-9]{1,2}))?(?:/(?P<step>[0-9]{1,2}))?"
)


@dataclass(frozen=True, kw_only=True)
class DayRule:
    """Which days a cron line names."""

    text: str  #: as written
    days: frozenset[int]  #: of the month
    months: frozenset[int]
    weekdays: frozenset[int]  #: ISO, 1 (Monday) to 7
    either: bool  #: both days and weekdays are restricted, so one of the two is enough

    def matches(self, day: date) -> bool:
        """Does the rule name the day?"""
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() in self.weekdays
        return by_month or by_week if self.either else by_month and by_week


def parse_day_rule(text: str) -> DayRule:
    """``0 0 8 * *`` as a rule; raises ValueError with a sentence."""
    fields = text.lower().split()
    if len(fields) != 5:
        raise ValueError(f"a cron line has five fields (minute hour day month weekday), this one has {len(fields)}")
    if fields[:2] != ["0", "0"]:
        raise ValueError("a calendar names days, so minute and hour are '0 0'; the trigger's 'at' says when")
    days = _field(fields[2], 1, 31, (), "day of the month")
    months = _field(fields[3], 1, 12, _MONTHS, "month")
    weekdays = frozenset(number % 7 or 7 for number in _field(fields[4], 0, 7, _DAYS, "weekday"))
    rule = DayRule(
        text=text, days=days, months=months, weekdays=weekdays, either=not (fields[2][0] == "*" or fields[4][0] == "*")
    )
    if not rule.either and not any(day <= _LENGTHS[month - 1] for month in months for day in days):
        raise ValueError("no year has such a day, so the calendar never begins")
    return rule


def _field(text: str, low: int, high: int, names: tuple[str, ...], what: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"'{part}' is no {what}; write a number, a range 1-5, a step */2 or a list 1,15")
        first = low if match["low"] == "*" else _number(match["low"], low, names, what)
        last = high if match["low"] == "*" or match["step"] else first
        if match["high"]:
            last = _number(match["high"], low, names, what)
        step = int(match["step"] or 1)
        if step < 1 or first < low or last > high or first > last:
            raise ValueError(f"'{part}' is no {what}: they go from {low} to {high}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, low: int, names: tuple[str, ...], what: str) -> int:
    if text.isdigit():
        return int(text)
    if text not in names:
        raise ValueError(f"'{text}' is no {what}" + (f"; write one of {', '.join(names)}" if names else ""))
    return names.index(text) + low
