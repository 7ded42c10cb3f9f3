"""The Chinese lunar calendar as a table of months; where the table comes from is the language's business.

Rule 1: a lunar month has 29 or 30 days. Day 30 of a month that has 29 is day 29, its last.
Rule 2: a leap month (闰月) follows the month whose number it has. Somebody born in one is greeted in that leap month in
the years that have it, and in the plain month of the same number in all others. Somebody born in a plain month is
greeted in the plain month, also when a leap month of its number follows.
Rule 3: outside the table there is no answer: None, never a guess.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple


class LunarDay(NamedTuple):
    """A day of the lunar calendar."""

    year: int
    month: int
    day: int
    leap: bool  #: the month is a leap month


Month = tuple[int, int, bool]
"""(year, number, is it a leap month)"""


@dataclass(frozen=True, eq=False)
class Lunar:
    """A table of lunar months that follow each other.

    Parameters
    ----------
    months: year, number and kind of each month.
    firsts: ordinal of the first day of each, and behind them that of the first day nobody knows.
    """

    months: tuple[Month, ...]
    firsts: tuple[int, ...]
    _place: dict[Month, int] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._place.update({month: place for place, month in enumerate(self.months)})

    def of(self, day: date) -> LunarDay | None:
        """The lunar day of a day; None outside the table."""
        number = day.toordinal()
        place = bisect_right(self.firsts, number) - 1
        if place < 0 or number >= self.firsts[-1]:
            return None
        year, month, leap = self.months[place]
        return LunarDay(year, month, number - self.firsts[place] + 1, leap)

    def day_in(self, year: int, born: LunarDay) -> int | None:
        """Ordinal of the day of a lunar year on which a lunar birthday is kept (rules 1 and 2); None outside."""
        place = self._place.get((year, born.month, True)) if born.leap else None
        if place is None:
            place = self._place.get((year, born.month, False))
        if place is None:
            return None
        length = self.firsts[place + 1] - self.firsts[place]
        return self.firsts[place] + min(born.day, length) - 1

    def place(self, year: int, month: int, leap: bool) -> int | None:
        """Where a month stands in the table."""
        return self._place.get((year, month, leap))
