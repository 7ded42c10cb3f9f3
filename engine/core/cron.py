"""Cron: five fields of text, and the instants they name in a time zone.

Rule 1: ``minute hour day month weekday``; ``*``, numbers, names (``jan``, ``fri``), ranges ``a-b``, steps ``*/n`` and
``a-b/n``, lists with commas, and ``L`` for the last day of a month. 0 and 7 are Sunday.
Rule 2: when both day fields are restricted, a day that fits either counts, as cron always had it. A field that begins
with ``*`` is not restricted: it and the other field must both fit.
Rule 3: a wall time that does not exist is shifted by the length of the gap, one that occurs twice is the first; what
falls together then is one instant. So a daily time comes exactly once a day, in any zone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core.instants import EPOCH_DAY
from engine.core.model import DAY, HOUR, MINUTE

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_CYCLE: Final = 400
"""Years after which the Gregorian calendar begins again, weekdays included: what has not come by then never does."""

_FIRST: Final = date.min.toordinal() + 8
_LAST: Final = date.max.toordinal() - 8
"""Days from which and up to which zones can be asked about the days around."""

_SHORTHANDS: Final = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_PART: Final = re.compile(r"(?P<all>\*)(?:/(?P<every>.*))?|(?P<low>[^-/]+)(?:-(?P<high>[^-/]+))?(?:/(?P<step>.*))?")


class CronError(ValueError):
    """Text that is no cron expression, with the next move in ``hint``; ``word`` may be meant as one of ``words``."""

    def __init__(self, message: str, hint: str = "", word: str = "", words: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.hint = hint
        self.word = word
        self.words = words


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    first: int = 0  #: number of the first word


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of the week", 0, 7, _WEEKDAYS, 0),
)


@dataclass(frozen=True, eq=False)
class Cron:
    """A parsed expression; made by ``parse_cron``."""

    text: str  #: as written
    walls: tuple[int, ...]  #: times of the day, microseconds after midnight, ascending
    days: frozenset[int]  #: days of the month
    last_day: bool  #: the last day of the month too
    months: frozenset[int]
    weekdays: frozenset[int]  #: 0 is Sunday
    either: bool  #: both day fields are restricted: one of them is enough

    def on(self, day: date) -> bool:
        """Does it name this day?"""
        if day.month not in self.months:
            return False
        by_date = day.day in self.days or (self.last_day and _is_last(day))
        by_week = day.isoweekday() % 7 in self.weekdays
        return (by_date or by_week) if self.either else (by_date and by_week)

    def next_day(self, day: date) -> date | None:
        """The first day it names from ``day`` on; None when there is none in 400 years."""
        end = min(day.year + _CYCLE, date.max.year)
        while day.year <= end:
            if day.month in self.months:
                if self.on(day):
                    return day
                following = _tomorrow(day)
            else:
                following = _next_month(day)
            if following is None:
                return None
            day = following
        return None

    def never(self) -> bool:
        """Is there no such day in the calendar, as with 31 February?"""
        return self.next_day(date(2000, 1, 1)) is None

    def after(self, instant: int, tz: ZoneInfo) -> int | None:
        """The first instant after this one; None when the calendar ends before."""
        here = localtime.day_number(instant, tz)
        if not _FIRST <= here <= _LAST:
            return None
        found: list[int] = []
        # A gap may push a time of yesterday into today, and at most a day further.
        for number in range(here - 2, here + 2):
            times = _instants(self, number, tz)
            place = bisect_right(times, instant)
            found += times[place : place + 1]
        if found:
            return min(found)
        day = self.next_day(date.fromordinal(here + 2))
        return None if day is None or day.toordinal() > _LAST else _instants(self, day.toordinal(), tz)[0]

    def between(self, after: int, until: int, tz: ZoneInfo) -> Iterator[int]:
        """The instants in ``(after, until]``, in order."""
        found = self.after(after, tz)
        while found is not None and found <= until:
            yield found
            found = self.after(found, tz)

    def wall(self, instant: int, tz: ZoneInfo) -> int | None:
        """The wall clock reading that is meant at an instant, as if it were UTC; None when it is no instant of it.

        In a gap several readings may be meant at one instant: then it is the latest.
        """
        here = localtime.day_number(instant, tz)
        days = range(here - 2, here + 1) if _FIRST <= here <= _LAST else ()
        meant = [_walls(self, number, tz).get(instant) for number in days]
        return max((wall for wall in meant if wall is not None), default=None)


def parse_cron(text: str) -> Cron:
    """The expression behind a text; raises CronError."""
    words = text.split()
    if len(words) != 5:
        long = _SHORTHANDS.get(text.strip().lower())
        hint = f"write '{long}'" if long else "minute hour day month weekday, such as 0 10 * * fri"
        if len(words) == 6:
            hint = "five fields, without seconds and years: minute hour day month weekday"
        found = f"{len(words)} field{'' if len(words) == 1 else 's'}"
        raise CronError(f"a cron expression has five fields, '{_shown(text)}' has {found}", hint)
    minutes, hours, days, months, weekdays = (
        _numbers(word, field) for word, field in zip(words, _FIELDS, strict=True)
    )
    return Cron(
        text=" ".join(words),
        walls=tuple(sorted(hour * HOUR + minute * MINUTE for hour in hours for minute in minutes)),
        days=frozenset(days - {0}),
        last_day=0 in days,
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        either=not words[2].startswith("*") and not words[4].startswith("*"),
    )


def _numbers(word: str, field: _Field) -> set[int]:
    """All numbers of one field; 0 among the days of the month stands for the last one."""
    found: set[int] = set()
    for part in word.split(","):
        if field.name == "day of the month" and part in ("L", "l"):
            found.add(0)
        else:
            found.update(_part(part, word, field))
    return found


def _part(part: str, word: str, field: _Field) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise _stranger(part or word, field)
    if match["all"]:
        high = 6 if field.words is _WEEKDAYS else field.high
        return range(field.low, high + 1, _step(match["every"], field))
    low = _number(match["low"], field)
    if match["high"] is None:
        if match["step"] is not None:
            hint = f"write {match['low']}-{field.high}/{match['step']} or */{match['step']}"
            raise CronError(f"'{_shown(part)}': a step needs a range or '*' before it", hint)
        return range(low, low + 1)
    high = _number(match["high"], field)
    if high == 0 < low and field.words is _WEEKDAYS:
        high = 7  # sat-sun
    if low > high:
        both = f"{match['low']}-{field.high},{field.low}-{match['high']}"
        hint = "list the days one by one, such as fri,sat,sun,mon" if field.words is _WEEKDAYS else f"write {both}"
        raise CronError(f"'{_shown(part)}' runs backwards", hint)
    return range(low, high + 1, _step(match["step"], field))


def _step(text: str | None, field: _Field) -> int:
    if text is None:
        return 1
    if re.fullmatch(r"[0-9]{1,4}", text) is None or not 1 <= int(text) <= field.high:
        hint = f"a whole number from 1 to {field.high}, such as */5"
        raise CronError(f"'{_shown(text)}' is no step of a {field.name}", hint)
    return int(text)


def _number(text: str, field: _Field) -> int:
    lowered = text.lower()
    if lowered in field.words:
        return field.words.index(lowered) + field.first
    if re.fullmatch(r"[0-9]{1,4}", text) and field.low <= int(text) <= field.high:
        return int(text)
    raise _stranger(text, field)


def _stranger(text: str, field: _Field) -> CronError:
    hint = f"a number from {field.low} to {field.high}"
    if text == "?":
        hint = "write *"
    elif field.words and not text.isdigit():
        hint += f", or one of {', '.join(field.words)}"
    return CronError(f"'{_shown(text)}' is no {field.name}", hint, text.lower()[:3], field.words)


def _shown(text: str) -> str:
    return text if len(text) <= 30 else text[:27] + "..."


# ---------------------------------------------------------------------- days


@lru_cache(maxsize=4096)
def _instants(cron: Cron, number: int, tz: ZoneInfo) -> tuple[int, ...]:
    """The instants of a local day given by its ordinal, ascending and each once."""
    return tuple(sorted(_walls(cron, number, tz)))


@lru_cache(maxsize=256)
def _walls(cron: Cron, number: int, tz: ZoneInfo) -> dict[int, int]:
    """Instant -> wall clock reading meant (as if it were UTC), of a local day given by its ordinal."""
    if not cron.on(date.fromordinal(number)):
        return {}
    start = (number - EPOCH_DAY) * DAY
    # Wide enough for any offset on both sides; no zone changes its offset twice within this span.
    before, after = localtime.offset(start - 26 * HOUR, tz), localtime.offset(start + 50 * HOUR, tz)
    if before == after:
        return {start + wall - before: start + wall for wall in cron.walls}
    return {_at(number, wall, tz): start + wall for wall in cron.walls}  # of two readings the later one stays


def _at(number: int, wall: int, tz: ZoneInfo) -> int:
    text = f"{wall // HOUR:02d}:{wall % HOUR // MINUTE:02d}"
    return localtime.at_wall(date.fromordinal(number), text, tz)


def _tomorrow(day: date) -> date | None:
    return None if day == date.max else day + timedelta(days=1)


def _next_month(day: date) -> date | None:
    if (day.year, day.month) == (date.max.year, 12):
        return None
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def _is_last(day: date) -> bool:
    following = _tomorrow(day)
    return following is None or following.month != day.month
