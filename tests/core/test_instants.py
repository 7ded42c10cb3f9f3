"""Instants as text: what is read, what is refused with which reason, and that writing loses nothing."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.instants import (
    MAX_DURATION,
    InstantError,
    format_instant,
    from_datetime,
    parse_duration,
    parse_instant,
    to_datetime,
)
from engine.core.model import DAY, HOUR, MINUTE, SECOND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
INSTANTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31))  # noqa: DTZ001 - made aware below
OFFSETS = st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))

GOOD = {
    "1970-01-01T00:00:00Z": 0,
    "1970-01-01T00:00:00-00:00": 0,
    "1970-01-01t00:00:01z": SECOND,
    "1970-01-01 00:00:01Z": SECOND,
    "1970-01-01T08:00:00+08:00": 0,
    "1970-01-01T08:00:00.5+08:00": SECOND // 2,
    "1970-01-01T00:00:00.1Z": 100_000,
    "1970-01-01T00:00:00.12Z": 120_000,
    "1970-01-01T00:00:00.123Z": 123_000,
    "1970-01-01T00:00:00.123456Z": 123_456,
    "1970-01-01T00:00:00.123456789Z": 123_456,
    "1969-12-31T23:59:59.999999999Z": -1,
    "1970-01-01T23:59:00+23:59": 0,
    "1969-12-31T00:01:00-23:59": 0,
    "2000-02-29T00:00:00Z": 951_782_400 * SECOND,
    "0001-01-01T00:00:00Z": -62_135_596_800 * SECOND,
    "9999-12-31T23:59:59.999999Z": 253_402_300_800 * SECOND - 1,
}

BAD = {
    "": "time",
    "Z": "time",
    "2026-03-01": "time",
    "2026-03-01T02:00Z": "time",
    "2026-03-01T02:00:00": "naive_time",
    "2026-03-01 02:00:00.123": "naive_time",
    "2026-03-01T02:00:00.Z": "time",
    "2026-03-01T02:00:00.1234567890Z": "time",
    "2026-03-01T02:00:00,5Z": "time",
    "2026-03-01T02:00:00 Z": "time",
    " 2026-03-01T02:00:00Z": "time",
    "2026-03-01T02:00:00Z\n": "time",
    "2026-03-01T02:00:00ZZ": "time",
    "2026-03-01T02:00:00Z+08:00": "time",
    "2026-03-01T02:00:00+0800": "time",
    "2026-03-01T02:00:00+08": "time",
    "2026-03-01T02:00:00+8:00": "time",
    "2026-03-01T02:00:00+24:00": "time",
    "2026-03-01T02:00:00+08:60": "time",
    "2026-03-01T02:00:00\u221208:00": "time",
    "2026-02-30T02:00:00Z": "time",
    "2025-02-29T02:00:00Z": "time",
    "2026-13-01T02:00:00Z": "time",
    "2026-00-01T02:00:00Z": "time",
    "2026-04-31T02:00:00": "time",
    "2026-03-01T24:00:00Z": "time",
    "2026-03-01T02:60:00Z": "time",
    "2026-12-31T23:59:60Z": "time",
    "26-03-01T02:00:00Z": "time",
    "02026-03-01T02:00:00Z": "time",
    "0000-03-01T02:00:00Z": "time",
    "-2026-03-01T02:00:00Z": "time",
    "20260301T020000Z": "time",
    "2026-W09-7T02:00:00Z": "time",
    "2026-03-01T+2:00:00Z": "time",
    "2026-03-01T02:00: 1Z": "time",
    "2026-03-01T02:0\u0660:00Z": "time",
    "\uff12\uff10\uff12\uff16-03-01T02:00:00Z": "time",
    "2026-03-01X02:00:00Z": "time",
    "2026/03/01T02:00:00Z": "time",
    "1772330400": "time",
    "now": "time",
    "0001-01-01T00:00:00+00:01": "time",
    "9999-12-31T23:59:59-00:01": "time",
    # pieces that fit the tables of the fast way, in the wrong places
    "2026-03-01T02:00:00.": "time",
    "2026-03-01T02:00:00Z543Z": "time",
    "2026-03-01T02:00:00Z543+08:00": "time",
    "2026-03-01T02:00:00.+08:00": "time",
    "2026-03-01T02:00:+08:00": "time",
    "2026-03-01T02:00:": "time",
    "2026-03-01T02:00:Z": "time",
    "2026-03-01T02:00:00.1.3Z": "time",
}


@pytest.fixture(autouse=True)
def _warm() -> None:
    """The tables of the fast way know the minute, so that both ways are met."""
    parse_instant("2026-03-01T02:00:00+08:00")


@pytest.mark.parametrize(("text", "instant"), GOOD.items())
def test_good(text: str, instant: int) -> None:
    """RFC 3339 with offset or Z is read exactly, the second time (from tables) as the first.

    Semantics: event.time
    """
    assert parse_instant(text) == instant
    assert parse_instant(text) == instant


@pytest.mark.parametrize(("text", "reason"), BAD.items())
def test_bad(text: str, reason: str) -> None:
    """Everything else is refused, a missing offset with its own reason.

    Semantics: event.time
    """
    for _ in range(2):
        with pytest.raises(InstantError) as caught:
            parse_instant(text)
        assert caught.value.reason == reason
        assert str(caught.value)


@given(INSTANTS, OFFSETS, st.sampled_from(["auto", "milliseconds", "microseconds", "seconds"]), st.sampled_from("T t"))
def test_agrees_with_datetime(naive: datetime, zone: timezone, spec: str, between: str) -> None:
    """Any instant in any offset and usual shape is what the datetime module says it is."""
    moment = naive.replace(tzinfo=zone)
    text = moment.isoformat(timespec=spec)
    expected = (datetime.fromisoformat(text) - EPOCH) // MICRO
    for _ in range(2):
        assert parse_instant(text.replace("T", between)) == expected
        assert parse_instant(text) == expected


@given(INSTANTS)
def test_round_trip(naive: datetime) -> None:
    """Reading what was written gives the same instant, down to the microsecond."""
    instant = (naive.replace(tzinfo=UTC) - EPOCH) // MICRO
    assert parse_instant(format_instant(instant)) == instant
    assert from_datetime(to_datetime(instant)) == instant
    assert to_datetime(instant) == naive.replace(tzinfo=UTC)


@given(st.text("0123456789-:+.TtZz \u0660", max_size=36))
def test_noise(text: str) -> None:
    """Text made of the right letters in the wrong order never crashes the reader."""
    with contextlib.suppress(InstantError):
        assert format_instant(parse_instant(text)).endswith("Z")


@given(INSTANTS, st.data())
def test_one_letter_off(naive: datetime, data: st.DataObject) -> None:
    """One changed letter gives an error or the instant the datetime module reads there, never a third thing."""
    text = list(naive.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    parse_instant("".join(text))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from("0123456789:-.+Z T"))
    changed = "".join(text)
    try:
        found = parse_instant(changed)
    except InstantError:
        return
    assert (datetime.fromisoformat(changed) - EPOCH) // MICRO == found


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (1000, "1970-01-01T00:00:00.001Z"),
        (500_000, "1970-01-01T00:00:00.500Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_772_330_400 * SECOND, "2026-03-01T02:00:00Z"),
    ],
)
def test_format(instant: int, text: str) -> None:
    """Fractions appear only when they are not zero: milliseconds, and microseconds when those would be lost."""
    assert format_instant(instant) == text


def test_format_outside() -> None:
    """An instant no calendar names is an error, not a strange text."""
    with pytest.raises(OverflowError):
        format_instant(10**18)
    with pytest.raises(OverflowError):
        format_instant(-(10**18))


@pytest.mark.parametrize(
    ("text", "micros"),
    {"1s": SECOND, "30s": 30 * SECOND, "15m": 15 * MINUTE, "12h": 12 * HOUR, "7d": 7 * DAY, "2w": 14 * DAY}.items(),
)
def test_duration(text: str, micros: int) -> None:
    """A duration is a whole number and one unit, and means elapsed time.

    Semantics: duration.elapsed
    """
    assert parse_duration(text) == micros


def test_longest_duration() -> None:
    """3660 days is the longest duration."""
    assert parse_duration("3660d") == MAX_DURATION == 3660 * DAY


NO_DURATIONS = "|7|d|0d|00s|07d|-1d|+1d|1.5h|1d12h|7 d| 7d|7d |7D|7days|1y|1M|3661d|523w|999999999w|1_0d|7d\n|P7D"


@pytest.mark.parametrize("text", NO_DURATIONS.split("|"))
def test_duration_refused(text: str) -> None:
    """Zero, signs, fractions, compounds, other units and absurd lengths are refused with a sentence."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_naive_datetime() -> None:
    """A datetime without zone is refused: it names no instant."""
    with pytest.raises(ValueError, match="zone"):
        from_datetime(datetime(2026, 1, 1))  # noqa: DTZ001 - the naive one is the point
