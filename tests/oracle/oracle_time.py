"""Instants, durations and local calendars, by the book and slowly.

Design lines encoded (semantics.md, head; language.md, 0.6; cli.md, "Files of the contract"):

* durations ``30s 15m 12h 7d 2w`` are elapsed time, a day is 24 hours;
* ``{days: N}`` / ``{days: N, at: "HH:MM"}`` is N local days later at the same (or that) wall clock in the subject's
  zone; a wall time that does not exist is shifted by the length of the gap (02:30 -> 03:30), one that occurs twice
  is the first;
* effect times are UTC with ``Z``, milliseconds only when they are not zero.

An instant is a plain integer: milliseconds since 1970-01-01T00:00:00Z. Nothing here is shared with the engine.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ms_of(moment: datetime) -> int:
    """Milliseconds since the epoch of an aware datetime; exact, no floats."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment_of(instant: int) -> datetime:
    """The UTC datetime of an instant."""
    return EPOCH + timedelta(milliseconds=instant)


def at(text: str) -> int:
    """The instant of an RFC 3339 text with offset or Z."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"naive time {text!r}")
    return ms_of(moment)


def show(instant: int) -> str:
    """The contract's spelling: UTC, Z, milliseconds only when not zero."""
    moment = moment_of(instant)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    millis = instant % SECOND
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"


def span(text: str) -> int:
    """The length of ``30s 15m 12h 7d 2w`` in milliseconds."""
    return int(text[:-1]) * UNITS[text[-1]]


def local_day(instant: int, zone: str) -> date:
    """The local calendar day of an instant in a zone."""
    return moment_of(instant).astimezone(ZoneInfo(zone)).date()


def wall(day: date, clock: time, zone: str) -> int:
    """The instant of a wall clock time on a local day: gaps shift forward by their length, folds take the first."""
    return ms_of(datetime.combine(day, clock).replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC))


def hands(text: str) -> time:
    """The wall clock time of ``HH:MM``."""
    return time(int(text[:2]), int(text[3:]))


def days_later(instant: int, zone: str, days: int, clock: str | None = None) -> int:
    """``{days: N, at: "HH:MM"}`` seen from an instant."""
    local = moment_of(instant).astimezone(ZoneInfo(zone))
    shown = local.time() if clock is None else hands(clock)
    return wall(local.date() + timedelta(days=days), shown, zone)
