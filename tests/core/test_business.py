"""Business hours against a walk over every minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import count as count_from
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import localtime
from engine.core.business import BusinessHours, weekday
from engine.core.instants import format_instant, parse_duration, parse_instant
from engine.core.model import MINUTE
from engine.core.plan import Span
from engine.errors import ExpressionError

ZONES = ["UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"]
OFF = frozenset({date(2026, 3, 27), date(2026, 3, 30), date(2026, 4, 3)})
MAKEUP = frozenset({date(2026, 3, 28), date(2026, 4, 4)})


def works(day: date) -> bool:
    """A calendar with holidays and make-up workdays, around both changes of the clocks in spring."""
    return day in MAKEUP or (weekday(day) and day not in OFF)


def span(text: str) -> Span:
    """``3d``."""
    return Span(text=text, elapsed=parse_duration(text))


STEP = 5 * MINUTE


def open_times(hours: BusinessHours, start: int) -> Iterator[int]:
    """The beginnings of all open stretches of five minutes from an instant on: the definition of open time."""
    zone = localtime.zone(hours.zone)
    assert zone is not None
    for at in count_from(start, STEP):
        local = localtime.local_datetime(at, zone)
        if hours.works(local.date()) and hours.opens <= f"{local.hour:02d}:{local.minute:02d}" < hours.closes:
            yield at


@settings(max_examples=30, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 10 * 24 * 12),
    opens=st.integers(5, 11),
    closes=st.integers(12, 22),
    length=st.integers(1, 300),
)
def test_open_time_is_what_a_walk_over_the_minutes_says(
    zone: str, start: int, opens: int, closes: int, length: int
) -> None:
    """``m`` and ``h`` end when that many open minutes have passed, whatever holidays and clocks do in between.

    Semantics: task.business-hours
    """
    hours = BusinessHours(opens=f"{opens:02d}:00", closes=f"{closes:02d}:30", zone=zone, works=works)
    begin = parse_instant("2026-03-25T00:00:00Z") + start * STEP
    last = next(islice(open_times(hours, begin), length - 1, None))
    assert hours.after(begin, span(f"{5 * length}m")) == last + STEP


@settings(max_examples=100, deadline=None)
@given(zone=st.sampled_from(ZONES), start=st.integers(0, 15 * 24 * 12), count=st.integers(1, 12))
def test_days_are_working_days(zone: str, start: int, count: int) -> None:
    """``3d`` is the third working day after, at the same wall time; outside the hours it begins at the next opening."""
    hours = BusinessHours(opens="09:00", closes="18:00", zone=zone, works=works)
    begin = parse_instant("2026-03-20T00:00:00Z") + start * STEP
    tz = localtime.zone(zone)
    assert tz is not None
    first = localtime.local_datetime(next(open_times(hours, begin)), tz)
    end = localtime.local_datetime(hours.after(begin, span(f"{count}d")), tz)
    passed = [first.date() + timedelta(n) for n in range(1, (end.date() - first.date()).days + 1)]
    assert sum(map(works, passed)) == count
    assert works(end.date())
    # 09:00 to 18:00 lies behind every gap of these zones, so the wall time is the same
    assert end.strftime("%H:%M:%S") == first.strftime("%H:%M:%S")


@pytest.mark.parametrize(
    ("start", "text", "end"),
    [
        ("2026-03-06T17:00:00", "4h", "2026-03-09T12:00:00"),  # Friday afternoon
        ("2026-03-06T17:00:00", "1h", "2026-03-06T18:00:00"),  # exactly at closing
        ("2026-03-07T12:00:00", "1h", "2026-03-09T10:00:00"),  # on a Saturday
        ("2026-03-06T18:00:00", "30m", "2026-03-09T09:30:00"),  # closing is outside
        ("2026-03-06T08:00:00", "30m", "2026-03-06T09:30:00"),
        ("2026-03-06T15:00:00", "1d", "2026-03-09T15:00:00"),
        ("2026-03-06T20:00:00", "1d", "2026-03-10T09:00:00"),
        ("2026-03-06T15:00:00", "2w", "2026-03-20T15:00:00"),
        ("2026-03-06T15:00:00", "24h", "2026-03-11T12:00:00"),  # hours are hours: not a day
    ],
)
def test_by_hand(start: str, text: str, end: str) -> None:
    """Cases an operator can check with a calendar: 6 March 2026 is a Friday."""
    hours = BusinessHours(opens="09:00", closes="18:00", zone="Asia/Shanghai")
    assert format_instant(hours.after(parse_instant(start + "+08:00"), span(text))) == format_instant(
        parse_instant(end + "+08:00")
    )


def test_local_days_with_a_time() -> None:
    """``{days: 2, at: "10:00"}`` is that wall time of the second working day after."""
    hours = BusinessHours(opens="09:00", closes="18:00", zone="Asia/Shanghai")
    found = hours.after(parse_instant("2026-03-06T15:00:00+08:00"), Span(text="", days=2, at="10:00"))
    assert found == parse_instant("2026-03-10T10:00:00+08:00")


def test_nobody_ever_works() -> None:
    """A calendar without working days is an error in words, not a search without end."""
    hours = BusinessHours(opens="09:00", closes="18:00", zone="UTC", works=lambda day: False)
    with pytest.raises(ExpressionError, match="no working days"):
        hours.after(0, span("1h"))
