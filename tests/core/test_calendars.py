"""Calendars of days: windows, rules and workdays against plain counting."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.calendars import Calendar, WorkDays, windows_of
from engine.core.dayrules import parse_day_rule

FIRST = date(2024, 1, 1)
DAYS = st.integers(FIRST.toordinal(), FIRST.toordinal() + 120)


def day(number: int) -> date:
    return date.fromordinal(number)


@given(st.sets(DAYS, max_size=60), DAYS, DAYS)
def test_windows_are_the_runs_of_days(days: set[int], low: int, high: int) -> None:
    """A day is in the calendar when it was put in, and begins an occurrence when the day before is not in it."""
    calendar = Calendar(name="x", windows=windows_of(days))
    for number in range(FIRST.toordinal() - 2, FIRST.toordinal() + 123):
        assert calendar.contains(day(number)) == (number in days)
    begins = [day(number) for number in sorted(days) if number - 1 not in days and low <= number <= high]
    assert calendar.starts(day(low), day(high)) == begins


@given(st.sets(DAYS, max_size=30), st.sets(DAYS, max_size=30))
def test_workdays(off: set[int], makeup: set[int]) -> None:
    """A make-up day is worked; else a day is worked when it is neither a day off nor one of the weekend."""
    work = WorkDays(off=frozenset(off), makeup=frozenset(makeup))
    calendar = Calendar(name="x", work=work)
    for number in range(FIRST.toordinal(), FIRST.toordinal() + 121):
        expected = number in makeup or (number not in off and day(number).weekday() < 5)
        assert calendar.is_workday(day(number)) == expected
        assert calendar.is_holiday(day(number)) == (number in off)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 8 * *", lambda d: d.day == 8),
        ("0 0 1,15 * *", lambda d: d.day in (1, 15)),
        ("0 0 */10 * *", lambda d: d.day in (1, 11, 21, 31)),
        ("0 0 10-20/5 3-5 *", lambda d: d.day in (10, 15, 20) and d.month in (3, 4, 5)),
        ("0 0 * * mon-fri", lambda d: d.weekday() < 5),
        ("0 0 * * 0", lambda d: d.isoweekday() == 7),
        ("0 0 * * 5-7", lambda d: d.isoweekday() >= 5),
        ("0 0 * feb,DEC *", lambda d: d.month in (2, 12)),
        ("0 0 13 * fri", lambda d: d.day == 13 or d.isoweekday() == 5),
        ("0 0 29 2 *", lambda d: (d.month, d.day) == (2, 29)),
        ("0 0 */2 * mon", lambda d: d.day % 2 == 1 and d.isoweekday() == 1),
    ],
)
def test_day_rules(text: str, expected) -> None:  # type: ignore[no-untyped-def]
    """A cron line names the days cron would name: two restricted fields mean either, one with * both."""
    calendar = Calendar(name="x", rule=parse_day_rule(text))
    last = date(2028, 12, 31)
    days = [FIRST + timedelta(days=n) for n in range((last - FIRST).days + 1)]
    assert calendar.starts(FIRST, last) == [one for one in days if expected(one)]
    assert all(calendar.contains(one) == expected(one) for one in days)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 9 8 * *", "minute and hour are '0 0'"),
        ("8 * *", "five fields"),
        ("0 0 32 * *", "from 1 to 31"),
        ("0 0 0 * *", "from 1 to 31"),
        ("0 0 8 13 *", "from 1 to 12"),
        ("0 0 8 * funday", "no weekday"),
        ("0 0 20-10 * *", "no day of the month"),
        ("0 0 */0 * *", "no day of the month"),
        ("0 0 31 2 *", "no year has such a day"),
        ("0 0 30,31 feb *", "no year has such a day"),
        ("0 0 8 xyz *", "one of jan"),
    ],
)
def test_day_rules_refused(text: str, words: str) -> None:
    """What names no day is refused with a sentence that says why."""
    with pytest.raises(ValueError, match=words.replace("*", r"\*")):
        parse_day_rule(text)
