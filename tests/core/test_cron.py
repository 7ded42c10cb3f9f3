"""Cron expressions against an oracle that walks minute by minute, in zones and on days where clocks are changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import localtime as lt
from engine.core.cron import Cron, CronError, parse_cron
from engine.core.model import DAY, HOUR, MINUTE

_NAMES = """
UTC America/New_York America/Santiago America/Havana America/St_Johns Europe/Berlin Africa/Casablanca Asia/Shanghai
Asia/Beirut Asia/Kathmandu Australia/Lord_Howe Antarctica/Troll Pacific/Apia America/Nuuk America/Scoresbysund
"""
ZONES = _NAMES.split()

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# ---------------------------------------------------------------------- the oracle: by the book and slowly


def meant(field: str, value: int, low: int, high: int, names: tuple[str, ...] = (), first: int = 0) -> bool:
    """Is the value named by the field?"""

    def number(word: str) -> int:
        return names.index(word) + first if word in names else int(word)

    for part in field.split(","):
        body, _, step = part.partition("/")
        if body == "*":
            begin, end = low, high
        elif "-" in body:
            begin, end = map(number, body.split("-"))
        else:
            begin = end = number(body)
        if value in range(begin, end + 1, int(step or 1)):
            return True
    return False


def names_day(text: str, day: date) -> bool:
    """Does the expression name this day? (rule 2)"""
    _, _, dom, month, dow = text.split()
    if not meant(month, day.month, 1, 12, MONTHS, 1):
        return False
    last = (day + timedelta(days=1)).month != day.month
    without = ",".join(part for part in dom.split(",") if part != "L")
    by_date = (bool(without) and meant(without, day.day, 1, 31)) or ("L" in dom.split(",") and last)
    by_week = any(meant(dow, number, 0, 6, WEEKDAYS) for number in {day.isoweekday() % 7, day.isoweekday()})
    if dom.startswith("*") or dow.startswith("*"):
        return by_date and by_week
    return by_date or by_week


@cache
def minutes_of(zone: str, first: date, days: int) -> dict[datetime, int]:
    """Naive local minute -> the first instant at which the clock shows it, found by asking at every minute."""
    tz, shown = ZoneInfo(zone), {}
    start = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(hours=30)
    for number in range((days + 3) * 1440):
        at = start + timedelta(minutes=number)
        shown.setdefault(at.astimezone(tz).replace(tzinfo=None), (at - EPOCH) // timedelta(microseconds=1))
    return shown


def oracle(text: str, zone: str, first: date, days: int) -> list[int]:
    """All instants of the local days from ``first`` on."""
    minute, hour, *_ = text.split()
    clock, found = minutes_of(zone, first, days), set()
    for number in range(days):
        day = first + timedelta(days=number)
        if not names_day(text, day):
            continue
        for h in range(24):
            for m in range(60):
                if not (meant(hour, h, 0, 23) and meant(minute, m, 0, 59)):
                    continue
                wall = datetime(day.year, day.month, day.day, h, m)  # noqa: DTZ001 - a wall clock reading
                if wall not in clock:  # in a gap: as far behind its beginning as the wall time lies behind it
                    before = wall
                    while before not in clock:
                        before -= timedelta(minutes=1)
                    found.add(clock[before] + (wall - before) // timedelta(microseconds=1))
                else:
                    found.add(clock[wall])
    return sorted(found)


def tz(name: str) -> ZoneInfo:
    found = lt.zone(name)
    assert found is not None
    return found


@cache
def change_days(zone: str) -> list[date]:
    """Local days in 2024-2030 on which the clock is changed."""
    at, found = lt.parse_instant("2024-01-01T00:00:00Z"), []
    while at < lt.parse_instant("2030-12-31T00:00:00Z"):
        if lt.offset(at, tz(zone)) != lt.offset(at + DAY, tz(zone)):
            found.append(lt.local_date(at, tz(zone)))
        at += DAY
    return found


# ---------------------------------------------------------------------- strategies


def part(low: int, high: int, names: tuple[str, ...] = (), first: int = 0) -> st.SearchStrategy[str]:
    def spelled(number: int) -> str:
        place = number - first
        return names[place] if names and 0 <= place < len(names) and number % 2 else str(number)

    one = st.integers(low, high).map(spelled)
    two = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    span = two.map(lambda it: f"{spelled(it[0])}-{spelled(it[1])}")
    step = st.integers(1, max(2, high // 2))
    return st.one_of(
        one, span, st.tuples(span, step).map(lambda it: f"{it[0]}/{it[1]}"), step.map(lambda n: f"*/{n}"), st.just("*")
    )


def field(low: int, high: int, names: tuple[str, ...] = (), first: int = 0) -> st.SearchStrategy[str]:
    many = st.lists(part(low, high, names, first), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), part(low, high, names, first), many)


DAYS_OF_MONTH = st.one_of(field(1, 31), st.just("L"), st.just("1,L"))
CRONS = st.tuples(
    field(0, 59), field(0, 23), DAYS_OF_MONTH, field(1, 12, MONTHS, 1), field(0, 6, WEEKDAYS)
).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(CRONS, st.sampled_from(ZONES), st.data())
def test_as_the_oracle_says(text: str, zone: str, data: st.DataObject) -> None:
    """The instants around a change of the clock (or on any days) are those found minute by minute.

    Semantics: schedule.own-clock, duration.gap, duration.overlap
    """
    days = [*change_days(zone), date(2026, 2, 27), date(2028, 2, 28)]
    first = data.draw(st.sampled_from(days)) - timedelta(days=2)
    wanted = oracle(text, zone, first, 5)
    cron, place = parse_cron(text), tz(zone)
    # the outer days may share instants with their neighbours, which the oracle does not look at
    begin, end = (lt.at_wall(first + timedelta(days=number), "00:00", place) for number in (1, 4))
    inside = [it for it in wanted if begin < it <= end]
    found = list(cron.between(begin, end, place))
    assert [it for it in found if it < end - 2 * HOUR] == [it for it in inside if it < end - 2 * HOUR]
    for instant in found[:40]:
        wall = cron.wall(instant, place)
        assert wall is not None
        assert names_day(text, lt.local_date(wall, lt.UTC))
        assert cron.wall(instant + MINUTE // 2, place) is None


@settings(max_examples=60, deadline=None)
@given(CRONS, st.dates(date(2023, 1, 1), date(2031, 1, 1)))
def test_days(text: str, day: date) -> None:
    """A day is named when the rule of the two day fields says so, and the next one named is the next one there is."""
    cron = parse_cron(text)
    assert cron.on(day) == names_day(text, day)
    found = cron.next_day(day)
    if found is None:
        assert cron.never()
        return
    look = day
    while look < min(found, day + timedelta(days=400)):
        assert not names_day(text, look)
        look += timedelta(days=1)
    assert names_day(text, found)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("wall", ["30 0", "30 2", "45 23"])
def test_once_a_day(zone: str, wall: str) -> None:
    """A daily time comes exactly once a local day for seven years, also where a gap pushes it into the next day.

    Semantics: schedule.own-clock
    """
    cron, place = parse_cron(f"{wall} * * *"), tz(zone)
    begin, end = lt.parse_instant("2024-01-01T12:00:00Z"), lt.parse_instant("2031-01-01T12:00:00Z")
    found = list(cron.between(begin, end, place))
    days = [(cron.wall(it, place) or 0) // DAY for it in found]
    assert days == list(range(days[0], days[0] + len(days)))
    assert len(days) in (2557, 2558)
    assert found == sorted(set(found))


def test_nothing_comes_at_or_before() -> None:
    """``after`` is strictly after, from any instant, and always the next."""
    cron, place = parse_cron("*/20 * * * *"), tz("America/New_York")
    at = lt.parse_instant("2026-11-01T04:00:00Z")  # the night with two hours of one name
    found = list(cron.between(at, at + 6 * HOUR, place))
    assert [lt.format_instant(it)[11:16] for it in found] == [
        "04:20", "04:40", "05:00", "05:20", "05:40", "07:00", "07:20", "07:40", "08:00", "08:20", "08:40", "09:00",
        "09:20", "09:40", "10:00",
    ]  # fmt: skip
    for one, other in pairwise(found):
        assert cron.after(one, place) == other
        assert cron.after(other - 1, place) == other


def test_a_gap_holds_back_and_falls_together() -> None:
    """In a gap the times are shifted; what then falls on another time of the expression comes once."""
    place = tz("Europe/Berlin")  # 2026-03-29: 02:00 -> 03:00, which is 01:00Z
    begin = lt.parse_instant("2026-03-28T23:30:00Z")
    shown = [lt.format_instant(it)[11:16] for it in parse_cron("30 2,3 * * *").between(begin, begin + 5 * HOUR, place)]
    assert shown == ["01:30"]
    shown = [lt.format_instant(it)[11:16] for it in parse_cron("45 2 * * *").between(begin, begin + 5 * HOUR, place)]
    assert shown == ["01:45"]
    both = parse_cron("0,45 2-3 * * *")
    assert [lt.format_instant(it)[11:16] for it in both.between(begin, begin + 3 * HOUR, place)] == ["01:00", "01:45"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0 10 * * fri", "0 10 * * 5"),
        ("0 10 * * SUN", "0 10 * * 7"),
        ("0 10 * * sat-sun", "0 10 * * 0,6"),
        ("0 0 1 JAN,jul *", "0 0 1 1,7 *"),
        ("*/15 9-17/4 * * mon-fri", "0,15,30,45 9,13,17 * * 1,2,3,4,5"),
    ],
)
def test_spellings(text: str, same: str) -> None:
    """Names, ranges, steps and lists are ways to write numbers."""
    one, other = parse_cron(text), parse_cron(same)
    assert (one.walls, one.days, one.months, one.weekdays) == (other.walls, other.days, other.months, other.weekdays)


def test_the_last_day() -> None:
    """``L`` is the last day of the month, whichever it is."""
    begin = lt.parse_instant("2027-12-31T13:00:00Z")
    found = parse_cron("0 12 L * *").between(begin, begin + 100 * DAY, lt.UTC)
    assert [lt.format_instant(it)[:10] for it in found] == ["2028-01-31", "2028-02-29", "2028-03-31"]


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("0 0 31 2 *", True),
        ("0 0 30 feb *", True),
        ("0 0 31 4,6,9,11 *", True),
        ("0 0 29 2 *", False),
        ("0 0 31 2 mon", False),
        ("0 0 31 * */2", False),
        ("0 0 L 2 *", False),
    ],
)
def test_never(text: str, never: bool) -> None:
    """A day that no year has is known as such; one that comes every eight years at worst is not."""
    assert parse_cron(text).never() is never


def test_leap_days_are_found() -> None:
    """29 February is found over the eight years around 2100, and the calendar's end is no error."""
    cron = parse_cron("0 0 29 2 *")
    assert cron.after(lt.parse_instant("2096-03-01T00:00:00Z"), lt.UTC) == lt.parse_instant("2104-02-29T00:00:00Z")
    assert cron.after(lt.parse_instant("9998-01-01T00:00:00Z"), lt.UTC) is None
    assert parse_cron("* * * * *").after(lt.parse_instant("9999-12-31T00:00:00Z"), lt.UTC) is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("0 10 * *", "has 4 fields", "minute hour day month weekday"),
        ("0 0 10 * * fri", "has 6 fields", "without seconds"),
        ("@daily", "has 1 field", "write '0 0 * * *'"),
        ("", "has 0 fields", "minute hour"),
        ("60 10 * * *", "'60' is no minute", "from 0 to 59"),
        ("0 24 * * *", "'24' is no hour", "from 0 to 23"),
        ("0 10 0 * *", "'0' is no day of the month", "from 1 to 31"),
        ("0 10 ? * fri", "'?' is no day of the month", "write *"),
        ("0 10 * * fir", "'fir' is no day of the week", "or one of sun, mon"),
        ("0 10 * * friday", "'friday' is no day of the week", "or one of sun, mon"),
        ("0 10 * 13 *", "'13' is no month", "from 1 to 12"),
        ("0 10 * * fri-mon", "'fri-mon' runs backwards", "fri,sat,sun,mon"),
        ("0 22-6 * * *", "'22-6' runs backwards", "write 22-23,0-6"),
        ("*/0 * * * *", "'0' is no step", "from 1"),
        ("0/15 * * * *", "a step needs a range", "*/15"),
        ("0 10 * * 1,,2", "is no day of the week", ""),
        ("0 10 * * 五", "'五' is no day of the week", "sun"),
        ("1e3 0 * * *", "'1e3' is no minute", "from 0"),
        ("٣ 0 * * *", "is no minute", ""),
    ],
)
def test_slips(text: str, message: str, hint: str) -> None:
    """What is wrong is named with the piece, what it should be, and the next move."""
    with pytest.raises(CronError) as caught:
        parse_cron(text)
    assert message in str(caught.value)
    assert hint in caught.value.hint


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    """Any text is an expression or is refused with a sentence."""
    try:
        assert isinstance(parse_cron(text), Cron)
    except CronError as error:
        assert_sentence(error)


def assert_sentence(error: CronError) -> None:
    assert str(error)
