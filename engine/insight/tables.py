"""What the figures of a period are taken from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core.plan import Plan

_FIRST = date(1970, 1, 1)


class Tables(Protocol):
    """The tables of a report, see ``engine/stores/lake.py``."""

    def rows(self, query: str, *values: int, **parts: str) -> list[tuple[Any, ...]]: ...

    def pages(self, query: str, *values: int) -> Iterable[tuple[Any, ...]]: ...

    def cohorts(
        self, bucket: str, distances: Iterable[int], first: int, last: int, over: int
    ) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True)
class Standing:
    """How many users stand at each level and are in each segment that somebody listens for, as the store stands."""

    levels: Counter[tuple[str, str | None]] = field(default_factory=Counter)  #: (ladder, level) -> users
    segments: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A program, what happened, and what is known of how much of it is there."""

    plan: Plan
    tables: Tables
    clock: int  #: the engine's clock, microseconds UTC
    forgotten: int | None = None  #: instant up to which events were forgotten
    entries_since: int | None = None  #: instant before which entries of playbooks are not known
    groups: tuple[Mapping[str, Any], ...] = ()  #: as ``rooms.rows``
    standing: Standing = field(default_factory=lambda: Standing())  #: who stands where at the clock
    zone_of: Callable[[str], ZoneInfo | None] = field(default=lambda user: None)  #: own zone of a user, where known

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the program, by whose days everything is counted."""
        return localtime.zone(self.plan.env.zone) or localtime.UTC

    def day(self, instant: int) -> int:
        """The day of an instant, as the tables number days."""
        return (localtime.local_date(instant, self.zone) - _FIRST).days


@dataclass(frozen=True)
class Span:
    """Days from ``first`` to ``last``, both inside, numbered from 1970-01-01."""

    first: int
    last: int

    @property
    def days(self) -> int:
        return self.last - self.first + 1

    @property
    def grain(self) -> str:
        """How wide a point of a line is, so that there are some dozens of them."""
        return "day" if self.days <= 92 else "week" if self.days <= 740 else "month"

    def buckets(self, grain: str) -> list[tuple[int, int]]:
        """(first, last day) of each piece of the span, in order."""
        found: list[tuple[int, int]] = []
        start = self.first
        while start <= self.last:
            end = min(self.last, _end_of(start, grain))
            found.append((start, end))
            start = end + 1
        return found


def _end_of(day: int, grain: str) -> int:
    if grain == "day":
        return day
    if grain == "week":
        return day + 6 - (day + 3) % 7
    month = date_of(day).replace(day=1)
    following = (month + timedelta(days=32)).replace(day=1)
    return number_of(following) - 1


def date_of(day: int) -> date:
    """The date of a numbered day."""
    return _FIRST + timedelta(days=day)


def number_of(day: date) -> int:
    """The number of a date."""
    return (day - _FIRST).days


def rounded(value: float, places: int) -> float:
    """A figure as it is shown."""
    return round(value, places)
