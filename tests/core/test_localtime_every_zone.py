"""Local time in every zone of the database, on every day that clocks are changed from 2024 to 2030.

The oracle is a list of changes, (instant, offset from it on), read from plain zoneinfo day by day; everything else is
counted from that list by the words of semantics.md: a wall time that does not exist is shifted by the length of the
gap, one that occurs twice is the first. Zones that behave alike in these years are one case.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import localtime as lt
from engine.core.model import DAY, HOUR, MINUTE, SECOND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
_EPOCH_DAY = EPOCH.toordinal()
FIRST, LAST = date(2024, 1, 1), date(2030, 12, 31)
START = lt.parse_instant("2023-12-25T00:00:00Z")
END = lt.parse_instant("2031-01-08T00:00:00Z")
NEAR = (0, 1, SECOND, MINUTE, 29 * MINUTE, HOUR, 90 * MINUTE, 2 * HOUR, 5 * HOUR, 23 * HOUR, DAY)


class Zone:
    """The changes of one zone and what follows from them."""

    def __init__(self, name: str, first: int, changes: tuple[tuple[int, int], ...]) -> None:
        self.name = name
        self.tz = _zone(name)
        self.instants = [instant for instant, _ in changes]
        self.offsets = [first, *(offset for _, offset in changes)]

    def offset(self, t: int) -> int:
        return self.offsets[bisect_right(self.instants, t)]

    def local(self, t: int) -> int:
        return t + self.offset(t)

    def instant(self, wall: int) -> int:
        """The first instant that shows a wall time; none: the wall time as the offset before the gap would have it."""
        shown = [wall - offset for offset in set(self.offsets) if self.local(wall - offset) == wall]
        if shown:
            return min(shown)
        before = [
            self.offsets[place] for place, at in enumerate(self.instants)
            if at + self.offsets[place] <= wall < at + self.offsets[place + 1]
        ]  # fmt: skip
        assert len(before) == 1, (self.name, wall)
        return wall - before[0]

    def days(self) -> Iterator[int]:
        """Ordinals of the days on and around each change."""
        for place, at in enumerate(self.instants):
            here = (at + self.offsets[place]) // DAY
            yield from range(here - 2 + _EPOCH_DAY, here + 3 + _EPOCH_DAY)


def _zone(name: str) -> ZoneInfo:
    found = lt.zone(name)
    assert found is not None, name
    return found


def _asked(t: int, tz: ZoneInfo) -> int:
    gone = datetime.fromtimestamp(t // SECOND, tz).utcoffset()
    assert gone is not None
    return gone // MICRO


def _changes(tz: ZoneInfo) -> tuple[tuple[int, int], ...]:
    """Every change of the offset, found by looking at each day and then for the second."""
    out = []
    before = _asked(START, tz)
    for t in range(START, END, DAY):
        after = _asked(t + DAY, tz)
        if after == before:
            continue
        low, high = t, t + DAY
        while high - low > SECOND:
            middle = (low + high) // 2 // SECOND * SECOND
            low, high = (middle, high) if _asked(middle, tz) == before else (low, middle)
        out.append((high, after))
        before = after
    return tuple(out)


@cache
def zones() -> tuple[Zone, ...]:
    """One zone of each way to behave, and all others checked to be like one of them."""
    found: dict[tuple[int, tuple[tuple[int, int], ...]], str] = {}
    for name in sorted(available_timezones() - {"localtime", "posixrules", "Factory"}):
        tz = ZoneInfo(name)
        found.setdefault((_asked(START, tz), _changes(tz)), name)
    return tuple(Zone(name, first, changes) for (first, changes), name in found.items())


def text(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def test_there_is_something_to_test() -> None:
    """The database has zones with and without changes, gaps and overlaps of an hour and of other lengths."""
    lengths = {b - a for zone in zones() for a, b in pairwise(zone.offsets)}
    assert {HOUR, -HOUR, 30 * MINUTE, -30 * MINUTE} <= lengths
    assert len(zones()) > 50
    assert sum(len(zone.instants) for zone in zones()) > 300
    width = 1 << 38  # what localtime.py caches as one piece, which may hold one change
    assert all(later - one > width for zone in zones() for one, later in pairwise(zone.instants))


def test_reading_a_clock() -> None:
    """Offset, day and hour are right to the microsecond on both sides of every change; local days never go back."""
    for zone in zones():
        for at in zone.instants:
            times = sorted({at + sign * near + more for near in NEAR for sign in (1, -1) for more in (0, -1)})
            for t in times:
                local = zone.local(t)
                assert lt.offset(t, zone.tz) == zone.offset(t), (zone.name, t)
                assert lt.day_number(t, zone.tz) == local // DAY + _EPOCH_DAY, (zone.name, t)
                assert lt.local_hour(t, zone.tz) == local // HOUR % 24, (zone.name, t)
            days = [lt.day_number(t, zone.tz) for t in times]
            assert days == sorted(days), zone.name


def test_setting_a_clock() -> None:
    """Every quarter of an hour of every day around every change: the first instant, or shifted by the gap's length.

    Semantics: duration.gap, duration.overlap
    """
    for zone in zones():
        for day in zone.days():
            shifted = 0
            for minute in range(0, 1440, 15):
                wall = (day - _EPOCH_DAY) * DAY + minute * MINUTE
                got = lt.at_wall(date.fromordinal(day), text(minute), zone.tz)
                assert got == zone.instant(wall), (zone.name, date.fromordinal(day), text(minute))
                if zone.local(got) == wall:
                    assert lt.day_number(got, zone.tz) == day  # there and back
                else:
                    shifted += 1
                    gap = zone.offset(got) - zone.offset(got - DAY)
                    assert zone.local(got) - wall == gap > 0, (zone.name, day, minute)
            assert shifted * 15 * MINUTE <= 2 * HOUR


def test_days_later() -> None:
    """From instants around every change, some days on or back, at the same clock or another: as counted by hand.

    Semantics: duration.calendar
    """
    for zone in zones():
        for at in zone.instants:
            for t in (at - DAY - HOUR, at - 1, at, at + 30 * MINUTE, at + DAY):
                for n in (-2, -1, 1, 2, 7):
                    wall = zone.local(t) + n * DAY
                    assert lt.add_days(t, n, None, zone.tz) == zone.instant(wall), (zone.name, t, n)
                    for minute in (0, 30, 90, 150, 1425):
                        wall = zone.local(t) // DAY * DAY + n * DAY + minute * MINUTE
                        assert lt.add_days(t, n, text(minute), zone.tz) == zone.instant(wall), (zone.name, t, n)
                assert lt.add_days(t, 0, None, zone.tz) == t


def test_the_next_day_and_hour() -> None:
    """The next local day and the next local hour begin at the first instant that lies in another one."""
    units: list[tuple[Callable[[int, ZoneInfo], int], int]] = [(lt.next_midnight, DAY), (lt.next_hour, HOUR)]
    for zone in zones():
        for at in zone.instants:
            for start in (at - DAY, at - 61 * MINUTE, at - 15 * MINUTE, at - 1, at, at + 7 * MINUTE, at + HOUR):
                for find, unit in units:
                    assert find(start, zone.tz) == _walk(zone, start, unit), (zone.name, start, unit)


def _walk(zone: Zone, start: int, unit: int) -> int:
    """The oracle: from change to change, the first one at which the unit of the local clock is another."""
    now = zone.local(start) // unit
    t = start
    while True:
        place = bisect_right(zone.instants, t)
        end = zone.instants[place] if place < len(zone.instants) else 1 << 60
        if zone.local(t) // unit != now:
            return t
        edge = (now + 1) * unit - zone.offset(t)
        if edge < end:
            return edge
        t = end


def test_every_day_begins_once() -> None:
    """Seven years from midnight to midnight: each day of the calendar once, in order, none left out, in every zone."""
    for zone in zones():
        t = lt.at_wall(FIRST, "00:00", zone.tz)
        for day in range(FIRST.toordinal(), LAST.toordinal() + 1):
            assert lt.day_number(t, zone.tz) == day, (zone.name, date.fromordinal(day))
            assert lt.day_number(t - 1, zone.tz) == day - 1, (zone.name, date.fromordinal(day))
            t = lt.next_midnight(t, zone.tz)


def test_a_wall_time_comes_once_a_day() -> None:
    """Seven years of 02:30 in New York, 00:30 in Santiago, 02:00 on Lord Howe, 00:00 in Cairo: each day once."""
    for name, at in (
        ("America/New_York", "02:30"), ("America/New_York", "01:30"), ("America/Santiago", "00:30"),
        ("America/Santiago", "23:30"), ("Australia/Lord_Howe", "02:00"), ("Africa/Cairo", "00:00"),
        ("America/Havana", "00:30"), ("Asia/Beirut", "00:00"),
    ):  # fmt: skip
        tz = _zone(name)
        times = [lt.at_wall(date.fromordinal(day), at, tz) for day in range(FIRST.toordinal(), LAST.toordinal() + 1)]
        assert all(20 * HOUR < later - one < 28 * HOUR for one, later in pairwise(times)), name
        assert [lt.day_number(t, tz) for t in times] == list(range(FIRST.toordinal(), LAST.toordinal() + 1)), name


@given(
    name=st.sampled_from(sorted(available_timezones() - {"localtime", "posixrules", "Factory"})),
    t=st.integers(START, END - 400 * DAY),
    n=st.integers(0, 400),
    minute=st.integers(0, 1439),
)
@settings(max_examples=300, deadline=None)
def test_anywhere(name: str, t: int, n: int, minute: int) -> None:
    """Any zone by name, any instant: later days are later, and the clock shows what was asked or was shifted."""
    tz = _zone(name)
    later = [lt.add_days(t, days, text(minute), tz) for days in (n, n + 1, n + 2)]
    assert later == sorted(set(later))
    for got in later:
        local = (EPOCH + timedelta(microseconds=got)).astimezone(tz)
        assert lt.offset(got, tz) == _asked(got, tz)
        missed = local.hour * 60 + local.minute - minute
        assert missed == 0 or missed * MINUTE == _asked(got, tz) - _asked(got - DAY, tz) > 0
        assert lt.local_date(got, tz) == local.date()
