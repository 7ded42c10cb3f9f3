"""The one module of local-time arithmetic: instants to wall clocks and back, in any zone.

Rule 1: durations are elapsed time (engine.core.instants); local days and wall times live here.
Rule 2: a wall time that does not exist is shifted by the length of the gap, one that occurs twice is the first.
Rule 3: an offset is looked up in segments cached per zone; ``zoneinfo`` is asked once for some three days of a zone.

Instants are microseconds since 1970 UTC, as everywhere in the core.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from engine.core.instants import (
    EPOCH_DAY,
    InstantError,
    format_instant,
    from_datetime,
    parse_duration,
    parse_instant,
    to_datetime,
)
from engine.core.model import DAY, HOUR, MINUTE, SECOND

__all__ = [
    "UTC",
    "InstantError",
    "add_days",
    "at_wall",
    "day_number",
    "format_instant",
    "from_datetime",
    "local_date",
    "local_datetime",
    "local_hour",
    "next_hour",
    "next_midnight",
    "offset",
    "parse_duration",
    "parse_instant",
    "parse_wall",
    "to_datetime",
    "zone",
]

UTC: Final = ZoneInfo("UTC")

_SHIFT: Final = 38
"""Chunks are 2**38 microseconds, 3.18 days: no zone of the tz database changes its offset twice in less than 3.98."""

_CHUNKS_KEPT: Final = 20_000
_NEVER: Final = 1 << 62

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9][A-Za-z0-9_+-]*){0,2}")
_NOT_A_ZONE: Final = frozenset({"localtime", "posixrules", "Factory"})  # what they mean differs by machine
_WALL: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")

_Chunk = tuple[int, int, int]  # (switch, offset before it, offset from it on)
_chunks: dict[ZoneInfo, dict[int, _Chunk]] = {}


def zone(name: object) -> ZoneInfo | None:
    """The zone of an IANA name, or None when there is none of that name; the name may come from anyone."""
    return _zone(name) if isinstance(name, str) else None


@lru_cache(maxsize=4096)
def _zone(name: str) -> ZoneInfo | None:
    # ``right/`` counts leap seconds and ``posix/`` repeats the plain names; neither is part of every installation.
    if len(name) > 64 or name in _NOT_A_ZONE or name.startswith(("right/", "posix/")) or not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, unreadable, or a folder such as "America"
        return None


def _chunk(index: int, tz: ZoneInfo) -> _Chunk:
    """The offsets within one chunk, which has at most one switch."""
    table = _chunks.setdefault(tz, {})
    known = table.get(index)
    if known is not None:
        return known
    if len(table) >= _CHUNKS_KEPT:
        table.clear()
    # Switches happen at whole seconds, so the search runs over seconds.
    low, high = (index << _SHIFT) // SECOND, -(-((index + 1) << _SHIFT) // SECOND)
    before, after = _ask(low * SECOND, tz), _ask(high * SECOND, tz)
    switch = _NEVER
    if before != after:
        while high - low > 1:
            middle = (low + high) // 2
            if _ask(middle * SECOND, tz) == before:
                low = middle
            else:
                high = middle
        switch = high * SECOND
    found = (switch, before, after)
    table[index] = found
    return found


def _ask(t_us: int, tz: ZoneInfo) -> int:
    gone = to_datetime(t_us).astimezone(tz).utcoffset()
    if gone is None:  # pragma: no cover - a ZoneInfo always answers
        return 0
    return (gone.days * 86_400 + gone.seconds) * SECOND


def offset(t_us: int, tz: ZoneInfo) -> int:
    """What the local clock is ahead of UTC at this instant, in microseconds."""
    try:
        switch, before, after = _chunks[tz][t_us >> _SHIFT]
    except KeyError:
        switch, before, after = _chunk(t_us >> _SHIFT, tz)
    return before if t_us < switch else after


def day_number(t_us: int, tz: ZoneInfo) -> int:
    """Proleptic ordinal of the local day (``date.toordinal``)."""
    # The body of ``offset`` again: this is called for every event, and a call costs as much as the work.
    try:
        switch, before, after = _chunks[tz][t_us >> _SHIFT]
    except KeyError:
        switch, before, after = _chunk(t_us >> _SHIFT, tz)
    return (t_us + (before if t_us < switch else after)) // DAY + EPOCH_DAY


def local_date(t_us: int, tz: ZoneInfo) -> date:
    """The local calendar day of an instant."""
    return date.fromordinal(day_number(t_us, tz))


def local_hour(t_us: int, tz: ZoneInfo) -> int:
    """The hour 0..23 the local clock shows."""
    return (t_us + offset(t_us, tz)) // HOUR % 24


def local_datetime(t_us: int, tz: ZoneInfo) -> datetime:
    """The aware local datetime of an instant, for showing."""
    return to_datetime(t_us).astimezone(tz)


@lru_cache(maxsize=1440)
def parse_wall(text: str) -> int:
    """Microseconds after midnight of ``HH:MM`` (00:00 to 23:59); raises ValueError with a sentence."""
    found = _WALL.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:20]!r} is not a time of day; write HH:MM from 00:00 to 23:59, like 10:00")
    return int(found[1]) * HOUR + int(found[2]) * MINUTE


def at_wall(day: date, at: str, tz: ZoneInfo) -> int:
    """The instant at which the local clock shows ``HH:MM`` on that day (rule 2)."""
    return _instant((day.toordinal() - EPOCH_DAY) * DAY + parse_wall(at), tz)


def _instant(wall: int, tz: ZoneInfo) -> int:
    """The instant of a wall clock reading, given as if it were UTC."""
    naive = to_datetime(wall).replace(tzinfo=tz, fold=0)
    gone = naive.utcoffset()
    if gone is None:  # pragma: no cover - a ZoneInfo always answers
        return wall
    # fold=0 takes the first of two; in a gap it takes the offset before it, which shifts by the gap's length.
    return wall - (gone.days * 86_400 + gone.seconds) * SECOND


def add_days(t_us: int, n: int, at: str | None, tz: ZoneInfo) -> int:
    """N local days later, at the same wall clock or at ``HH:MM``; zero days and no ``at`` is the instant itself."""
    if n == 0 and at is None:
        return t_us
    wall = t_us + offset(t_us, tz) + n * DAY
    if at is not None:
        wall = wall // DAY * DAY + parse_wall(at)
    return _instant(wall, tz)


def next_midnight(t_us: int, tz: ZoneInfo) -> int:
    """The first instant after ``t_us`` that lies in another local day."""
    return _next(t_us, DAY, tz)


def next_hour(t_us: int, tz: ZoneInfo) -> int:
    """The first instant after ``t_us`` that lies in another hour of the local clock."""
    return _next(t_us, HOUR, tz)


def _next(t_us: int, unit: int, tz: ZoneInfo) -> int:
    """The first instant after ``t_us`` at which ``local time // unit`` is another number."""
    now = (t_us + offset(t_us, tz)) // unit
    at = t_us
    while True:  # one turn for each stretch of constant offset: two or three
        index = at >> _SHIFT
        switch, before, after = _chunk(index, tz)
        ahead = before if at < switch else after
        if (at + ahead) // unit != now:
            return at
        edge = (now + 1) * unit - ahead
        end = switch if at < switch < (index + 1) << _SHIFT else (index + 1) << _SHIFT
        if edge < end:
            return edge
        at = end
