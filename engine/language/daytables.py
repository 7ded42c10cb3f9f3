"""Where tables of days come from: well-kept packages, read only when a program asks, turned into plain data.

Rule 1: a package is a table. It is imported inside the function that needs it, and nothing of it goes further.
Rule 2: the official days of mainland China, with their make-up workdays, are those of ``chinesecalendar``; ``holidays``
works out the statutory days of the years nobody has announced yet, and has the days of other countries.
Rule 3: where the two disagree on whether people work, somebody has to look: ``disputed`` names the days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Final

from engine.core.lunar import Lunar, Month

YEARS_AHEAD: Final = 8
"""How many years behind the official ones are worked out."""

_CHECKED_FROM: Final = 2024
"""Earlier days are past: no playbook will ever act on them again."""

_OTHER_COUNTRIES: Final = range(2015, 2036)

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "元旦": ("元旦",),
    "春节": ("春节", "除夕"),
    "清明": ("清明",),
    "劳动节": ("劳动节",),
    "端午": ("端午",),
    "中秋": ("中秋",),
    "国庆节": ("国庆",),
}
"""Name of a Chinese holiday -> the words by which the packages tell it."""


@dataclass(frozen=True)
class Table:
    """The days of one country, as the packages know them."""

    off: dict[int, str]  #: day off -> name of its holiday
    makeup: frozenset[int]  #: days of a weekend on which people work
    weekend: frozenset[int]  #: ISO weekdays
    known_from: int  #: first day the table knows
    known_to: int  #: last day of which it is official
    worked_out_to: int  #: last day it has any answer for
    disputed: tuple[int, ...] = ()  #: official days on which the packages disagree

LUNAR_DISPUTED: Final[dict[Month, str]] = {(2089, 8, False): "2089-09-04", (2097, 7, False): "2097-08-07"}
"""Lunar months that other tables begin on another day than ours: their new moons fall within minutes of midnight."""


def lunar(changed: Mapping[Month, int]) -> Lunar:
    """The lunar months of 1900 to 2100.

    Parameters
    ----------
    changed: month -> ordinal of its first day, where the catalog has another one.
    """
    from borax.calendars.lunardate import (  # type: ignore[import-untyped]
        MAX_LUNAR_YEAR,
        MIN_LUNAR_YEAR,
        MIN_SOLAR_DATE,
        LCalendars,
    )

    months: list[Month] = []
    firsts: list[int] = []
    day = MIN_SOLAR_DATE.toordinal()
    for year in range(MIN_LUNAR_YEAR, MAX_LUNAR_YEAR + 1):
        for month, length, leap in LCalendars.iter_year_month(year):
            months.append((year, month, bool(leap)))
            firsts.append(day)
            day += length
    for place, name in enumerate(months):
        firsts[place] = changed.get(name, firsts[place])
    return Lunar(tuple(months), (*firsts, day))


def countries() -> frozenset[str]:
    """Codes of the countries there are tables for."""
    import holidays

    return frozenset(code for code in holidays.list_supported_countries() if len(code) == 2)


@lru_cache(maxsize=8)
def table(country: str) -> Table:
    """The table of a country that ``countries`` names."""
    return _china() if country == "CN" else _other(country)


def _china() -> Table:
    from chinese_calendar import constants  # type: ignore[import-untyped]

    official = {day.toordinal(): str(constants.Holiday(name).chinese) for day, name in constants.holidays.items()}
    makeup = frozenset(day.toordinal() for day in constants.workdays)
    first, last = min(constants.holidays).year, max(constants.holidays).year
    ahead = _days("CN", range(_CHECKED_FROM, last + YEARS_AHEAD + 1))
    known_to = date(last, 12, 31).toordinal()
    checked = range(date(_CHECKED_FROM, 1, 1).toordinal(), known_to + 1)
    other_makeup = {day.toordinal() for day in getattr(ahead, "weekend_workdays", ())}
    others = {day.toordinal(): _chinese(name) for day, name in ahead.items()}
    disputed = tuple(
        day for day in checked if _works(day, official, makeup) != _works(day, others, other_makeup)
    )
    later = {day: name for day, name in others.items() if day > known_to}
    return Table(
        off={**official, **later},
        makeup=makeup,
        weekend=frozenset({6, 7}),
        known_from=date(first, 1, 1).toordinal(),
        known_to=known_to,
        worked_out_to=date(last + YEARS_AHEAD, 12, 31).toordinal(),
        disputed=disputed,
    )


def _other(country: str) -> Table:
    found = _days(country, _OTHER_COUNTRIES)
    years = _OTHER_COUNTRIES
    last = date(years[-1], 12, 31).toordinal()
    return Table(
        off={day.toordinal(): name for day, name in found.items() if day.year in years},
        makeup=frozenset(day.toordinal() for day in getattr(found, "weekend_workdays", ())),
        weekend=frozenset(day + 1 for day in found.weekend),
        known_from=date(years[0], 1, 1).toordinal(),
        known_to=last,
        worked_out_to=last,
    )


def _days(country: str, years: range) -> Any:
    import holidays

    return holidays.country_holidays(country, years=years, language="zh_CN" if country == "CN" else None)


def _works(day: int, off: Any, makeup: Any) -> bool:
    return day in makeup or (day not in off and (day - 1) % 7 < 5)


def _chinese(name: str) -> str:
    """The name a day has in ``NAMES``; of two in one day, the one the official notices put first."""
    return next((ours for ours, words in NAMES.items() if any(word in name for word in words)), name)
