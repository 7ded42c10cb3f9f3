"""Local time: answers at any instant against plain zoneinfo. Days of change: test_localtime_every_zone.py."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import localtime as lt
from engine.core.model import DAY, HOUR

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)

_NAMES = """
UTC Etc/GMT+12 Etc/GMT-14 EST5EDT Africa/Cairo Africa/Casablanca Africa/El_Aaiun Africa/Johannesburg Africa/Lagos
Africa/Monrovia America/Adak America/Anchorage America/Argentina/Buenos_Aires America/Asuncion America/Bogota
America/Caracas America/Chicago America/Denver America/Halifax America/Havana America/Lima America/Los_Angeles
America/Mexico_City America/Miquelon America/New_York America/Noronha America/Nuuk America/Phoenix America/Santiago
America/Sao_Paulo America/Scoresbysund America/St_Johns Antarctica/Troll Asia/Almaty Asia/Amman Asia/Beirut Asia/Dhaka
Asia/Gaza Asia/Jerusalem Asia/Kathmandu Asia/Kolkata Asia/Pyongyang Asia/Shanghai Asia/Tehran Asia/Tokyo Asia/Urumqi
Asia/Yangon Atlantic/Azores Atlantic/Reykjavik Australia/Adelaide Australia/Darwin Australia/Eucla Australia/Lord_Howe
Australia/Sydney Europe/Berlin Europe/Chisinau Europe/Dublin Europe/Istanbul Europe/Lisbon Europe/London Europe/Moscow
Pacific/Apia Pacific/Auckland Pacific/Chatham Pacific/Easter Pacific/Kiritimati Pacific/Norfolk Pacific/Marquesas
"""
ZONES = _NAMES.split()

MODERN = st.integers(lt.parse_instant("1996-01-01T00:00:00Z"), lt.parse_instant("2040-01-01T00:00:00Z"))
ANY = st.integers(lt.parse_instant("1850-01-01T00:00:00Z"), lt.parse_instant("2200-01-01T00:00:00Z"))


def tz(name: str) -> ZoneInfo:
    found = lt.zone(name)
    assert found is not None
    return found


def shown(t_us: int, name: str) -> datetime:
    """The oracle: what zoneinfo says the local clock shows."""
    return (EPOCH + timedelta(microseconds=t_us)).astimezone(ZoneInfo(name))


def plain_offset(t_us: int, name: str) -> int:
    gone = shown(t_us, name).utcoffset()
    assert gone is not None
    return gone // MICRO


def test_chunks_hold_one_switch() -> None:
    """No zone of the database changes its offset twice within the width of one cached chunk."""
    width = 1 << 38
    step = width // 2
    for name in ZONES:
        times = range(lt.parse_instant("1996-01-01T00:00:00Z"), lt.parse_instant("2040-01-01T00:00:00Z"), step)
        last: int | None = None
        before = plain_offset(times[0], name)
        for t in times:
            now = plain_offset(t, name)
            if now != before:
                assert last is None or t - last > width + step, (name, t)
                last, before = t, now


@pytest.mark.parametrize(
    ("name", "day", "at", "expected"),
    [
        ("Europe/Berlin", date(2026, 3, 29), "02:30", "2026-03-29T03:30:00+02:00"),
        ("Europe/Berlin", date(2026, 10, 25), "02:30", "2026-10-25T02:30:00+02:00"),
        ("America/New_York", date(2026, 3, 8), "02:00", "2026-03-08T03:00:00-04:00"),
        ("America/New_York", date(2026, 11, 1), "01:59", "2026-11-01T01:59:00-04:00"),
        ("Australia/Lord_Howe", date(2026, 10, 4), "02:15", "2026-10-04T02:45:00+11:00"),
        ("Australia/Lord_Howe", date(2026, 4, 5), "01:45", "2026-04-05T01:45:00+11:00"),
        ("Pacific/Apia", date(2011, 12, 30), "10:00", "2011-12-31T10:00:00+14:00"),
        ("Asia/Shanghai", date(2026, 3, 1), "10:00", "2026-03-01T10:00:00+08:00"),
        ("Africa/Cairo", date(2026, 4, 24), "00:00", "2026-04-24T01:00:00+03:00"),
    ],
)
def test_at_wall_examples(name: str, day: date, at: str, expected: str) -> None:
    """A wall time in a gap is shifted by the gap's length; one that occurs twice is the first.

    Semantics: duration.gap, duration.overlap
    """
    assert lt.at_wall(day, at, tz(name)) == lt.parse_instant(expected)


@pytest.mark.parametrize(
    "text", ["", "24:00", "9:00", "09:60", "09:00:00", "0900", " 09:00", "09:00\n", "\u0660\u0669:00"]
)
def test_wall_refused(text: str) -> None:
    """A time of day is HH:MM from 00:00 to 23:59 and nothing else."""
    with pytest.raises(ValueError, match="HH:MM"):
        lt.at_wall(date(2026, 1, 1), text, tz("UTC"))


@given(ANY, st.sampled_from(ZONES))
def test_offset_anywhere(t_us: int, name: str) -> None:
    """The cached offset is zoneinfo's at any instant, also before standard time."""
    assert lt.offset(t_us, tz(name)) == plain_offset(t_us, name)
    assert lt.day_number(t_us, tz(name)) == shown(t_us, name).date().toordinal()


@given(MODERN, st.integers(-400, 400), st.sampled_from(ZONES), st.none() | st.integers(0, 1439))
def test_add_days(t_us: int, n: int, name: str, minute: int | None) -> None:
    """N local days later the local date is N days on (unless a gap carries it over) at the same or the named clock.

    Semantics: duration.calendar
    """
    zone = tz(name)
    at = None if minute is None else f"{minute // 60:02d}:{minute % 60:02d}"
    got = lt.add_days(t_us, n, at, zone)
    if n == 0 and at is None:
        assert got == t_us
        return
    local = shown(t_us, name).replace(tzinfo=None, fold=0)
    wanted = local + timedelta(days=n)
    if minute is not None:
        wanted = datetime.combine(wanted.date(), datetime.min.time()) + timedelta(minutes=minute)
    shows = shown(got, name).replace(tzinfo=None)
    assert shows >= wanted
    if shows != wanted:  # a gap: the clock stands ahead by exactly the gap
        assert plain_offset(got, name) - plain_offset(got - DAY, name) == (shows - wanted) // MICRO
    else:
        assert shown(got, name).fold == 0


@given(MODERN, st.sampled_from(ZONES))
def test_next_is_next(t_us: int, name: str) -> None:
    """Just before the next midnight or hour it is still this one, and there it is another."""
    zone = tz(name)
    for find, unit in ((lt.next_midnight, DAY), (lt.next_hour, HOUR)):
        got = find(t_us, zone)
        assert t_us < got <= t_us + unit + 26 * HOUR

        def part(t: int, unit: int = unit) -> int:
            return (t + plain_offset(t, name)) // unit

        assert part(got) != part(t_us)
        assert part(got - 1) == part(t_us)


def test_days_that_begin_late() -> None:
    """A day whose midnight does not exist begins when it begins, also when the gap lies across midnight."""
    cairo = tz("Africa/Cairo")
    assert lt.next_midnight(lt.parse_instant("2026-04-23T12:00:00Z"), cairo) == lt.parse_instant("2026-04-23T22:00:00Z")
    toronto = tz("America/Toronto")  # 1919-03-30 23:30 -> 1919-03-31 00:30
    got = lt.next_midnight(lt.parse_instant("1919-03-31T03:00:00Z"), toronto)
    assert lt.format_instant(got) == "1919-03-31T04:30:00Z"
    apia = tz("Pacific/Apia")  # had no 2011-12-30
    got = lt.next_midnight(lt.parse_instant("2011-12-29T12:00:00-10:00"), apia)
    assert lt.local_date(got, apia) == date(2011, 12, 31)


NO_ZONES: list[object] = [
    *(
        "",
        "America",
        "Mars/Olympus",
        "../UTC",
        "/etc/localtime",
        "Europe/../UTC",
        "Asia/Shanghai\0",
        "UTC ",
        "x" * 5000,
    ),
    *("right/UTC", "posix/UTC", "localtime", "posixrules", "Factory", "a/b/c/d", "\u4e0a\u6d77", "\ud800", "UTC\n"),
    *(None, 8, 8.0, ["UTC"], {"zone": "UTC"}),
]


@pytest.mark.parametrize("name", NO_ZONES)
def test_no_such_zone(name: object) -> None:
    """A name from anywhere that is no zone gives None and never an error or a look at another file."""
    assert lt.zone(name) is None


def test_every_iana_zone() -> None:
    """Every zone of the installed database is found, and the same object each time."""
    for name in sorted(available_timezones() - {"localtime", "posixrules", "Factory"}):
        found = lt.zone(name)
        assert found is not None, name
        assert lt.zone(name) is found
        assert found.key == name
