"""Instants and durations as text: RFC 3339 in, microseconds since 1970 inside, RFC 3339 out.

Rule 1: an instant always names its offset; text without one is refused (``naive_time``), never guessed.
Rule 2: digits below a microsecond are cut off, never rounded: a record must not move past a window edge.
Rule 3: the common shapes are sums of table look-ups; a table only knows valid pieces, so a hit is a proof.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from engine.core.model import DAY, HOUR, MINUTE, SECOND

EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
"""Proleptic ordinal of 1970-01-01."""

MAX_DURATION: Final = 3660 * DAY
"""Longest duration a program may write: ten years and a bit. Longer ones are slips of the pen."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOWEST: Final = (date.min.toordinal() - EPOCH_DAY) * DAY
_HIGHEST: Final = (date.max.toordinal() + 1 - EPOCH_DAY) * DAY - 1

_SHAPE: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_OFFSET: Final = re.compile(r"([+-])([0-9]{2}):([0-9]{2})")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_UNITS: Final = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}

_WHOLE: Final = {f"{n:02d}": n * SECOND for n in range(60)}  # "42" -> microseconds
_POINTED: Final = {f"{n:02d}.": n * SECOND for n in range(60)}  # "42." -> microseconds
_MILLIS: Final = {f"{n:03d}": n * 1000 for n in range(1000)}
_MICROS: Final = {f"{n:03d}": n for n in range(1000)}
_CLOCK: Final = {f"{n // 60:02d}:{n % 60:02d}:": n * MINUTE for n in range(1440)}  # "00:01:" -> microseconds
_DAYS: dict[str, int] = {}  # "2025-01-01T" -> microseconds, filled as met
_OFFSETS: dict[str, int] = {}  # "+08:00" -> microseconds, at most 2,880
_MINUTES: dict[str, int] = {}  # "2025-01-01T00:01:" -> microseconds, filled as met: events of one minute come together
_HEADS: dict[int, str] = {}  # minute since 1970 -> "2025-01-01T00:01:", filled as met
_TABLE_LIMIT: Final = 8192


class InstantError(ValueError):
    """Text that is no instant; ``reason`` is ``naive_time`` (no offset) or ``time`` (anything else)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def parse_instant(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 text with offset or ``Z``; raises InstantError."""
    # Tables hold every valid piece and nothing else, so a KeyError only means "not one of the common shapes".
    try:
        head = text[:17]
        minutes = _MINUTES.get(head)
        if minutes is None:
            minutes = _DAYS[head[:11]] + _CLOCK[head[11:]]
            if len(_MINUTES) >= _TABLE_LIMIT:
                _MINUTES.clear()
            _MINUTES[head] = minutes
        if len(text) == 24 and text[23] == "Z":
            return minutes + _POINTED[text[17:20]] + _MILLIS[text[20:23]]
        if text[-1] == "Z":
            rest = text[17:-1]
        else:
            minutes -= _OFFSETS[text[-6:]]
            rest = text[17:-6]
        length = len(rest)
        if length == 2:
            return minutes + _WHOLE[rest]
        if length == 6:
            return minutes + _POINTED[rest[:3]] + _MILLIS[rest[3:]]
        if length == 9:
            return minutes + _POINTED[rest[:3]] + _MILLIS[rest[3:6]] + _MICROS[rest[6:]]
    except KeyError:
        pass
    return _parse_any(text)


def _parse_any(text: str) -> int:
    """Every accepted shape, slowly and with exact reasons; feeds the tables of the fast way."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise InstantError("time", f"{_shown(text)} is not an RFC 3339 time such as 2026-03-01T02:00:00Z")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - EPOCH_DAY
    except ValueError:
        raise InstantError("time", f"{_shown(text)} names a day that does not exist") from None
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        raise InstantError("time", f"{_shown(text)} names a time of day beyond 23:59:59")
    if zone is None:
        raise InstantError("naive_time", f"{_shown(text)} has no offset; write Z or for example +08:00")
    minutes = days * DAY + int(hour) * HOUR + int(minute) * MINUTE
    micros = int((fraction or "")[:6].ljust(6, "0"))
    instant = minutes + int(second) * SECOND + micros - _offset(zone, text)
    if not _LOWEST <= instant <= _HIGHEST:
        raise InstantError("time", f"{_shown(text)} is outside the years 0001 to 9999")
    # The outermost days stay on the slow way, where an offset is checked against the limits.
    if _LOWEST + DAY <= days * DAY <= _HIGHEST - 2 * DAY:
        if len(_DAYS) >= _TABLE_LIMIT:
            _DAYS.clear()
        _DAYS[text[:11]] = days * DAY
    return instant


def _offset(zone: str, text: str) -> int:
    if zone in "Zz":
        return 0
    known = _OFFSETS.get(zone)
    if known is not None:
        return known
    found = _OFFSET.fullmatch(zone)
    if found is None or int(found[2]) > 23 or int(found[3]) > 59:
        raise InstantError("time", f"{_shown(text)} has an offset beyond 23:59")
    value = int(found[2]) * HOUR + int(found[3]) * MINUTE
    _OFFSETS[zone] = -value if found[1] == "-" else value
    return _OFFSETS[zone]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def format_instant(t_us: int) -> str:
    """``2026-03-01T02:00:00Z``; three digits of fraction when they are not zero, six when three would lose some."""
    minute, rest = divmod(t_us, MINUTE)
    head = _HEADS.get(minute) or _head(minute)
    micros = rest % SECOND
    if not micros:
        return f"{head}{rest // SECOND:02d}Z"
    if micros % 1000:
        return f"{head}{rest // SECOND:02d}.{micros:06d}Z"
    return f"{head}{rest // SECOND:02d}.{micros // 1000:03d}Z"


def _head(minute: int) -> str:
    """``2026-03-01T02:00:`` of a minute since 1970, remembered."""
    days, rest = divmod(minute, 1440)
    try:
        day = date.fromordinal(days + EPOCH_DAY)
    except (ValueError, OverflowError):
        raise OverflowError(f"an instant on day {days} is outside the years 0001 to 9999") from None
    if len(_HEADS) >= _TABLE_LIMIT:
        _HEADS.clear()
    _HEADS[minute] = head = f"{day.isoformat()}T{rest // 60:02d}:{rest % 60:02d}:"
    return head


def parse_duration(text: str) -> int:
    """Microseconds of ``30s 15m 12h 7d 2w`` (elapsed time, a day is 24 hours); raises ValueError with a sentence."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{_shown(text)} is not a duration; write a whole number from 1 and one of s m h d w, like 7d")
    value = int(found[1]) * _UNITS[found[2]]
    if value > MAX_DURATION:
        raise ValueError(f"{_shown(text)} is longer than {MAX_DURATION // DAY}d, the longest duration there is")
    return value


def to_datetime(t_us: int) -> datetime:
    """The aware UTC datetime of an instant; OverflowError outside the years 0001 to 9999."""
    return _EPOCH + timedelta(microseconds=t_us)


def from_datetime(moment: datetime) -> int:
    """The instant of an aware datetime; exact, and refuses a naive one."""
    if moment.utcoffset() is None:
        raise ValueError("a datetime without a zone names no instant")
    gone = moment - _EPOCH
    return (gone.days * 86_400 + gone.seconds) * SECOND + gone.microseconds
