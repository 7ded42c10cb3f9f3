"""What compiled expressions call while they run: everything that looks at the moment, not only at values."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core import points as purses
from engine.core.chance import bucket as draw
from engine.core.groups import NO_CARD, has_role, holders, role_ends
from engine.core.instants import from_datetime, parse_duration, parse_instant, to_datetime
from engine.core.model import DAY
from engine.core.moment import Moment, zone_of_groups
from engine.core.subjects import name_of
from engine.core.values import MAX_TEXT, shown
from engine.errors import ExpressionError

Change = Callable[[Moment], "int | None"]

_UTC: Final = cast("ZoneInfo", localtime.zone("UTC"))
_ZONES: Final[dict[str, ZoneInfo]] = {}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MICRO: Final = timedelta(microseconds=1)


def fault(error: Exception) -> ExpressionError:
    """Any failure inside an expression, as the one kind of error callers know."""
    said = str(error) or error.__class__.__name__
    return ExpressionError(f"the expression cannot be judged: {said[:200]}")


def earliest(changes: Iterable[Change]) -> Change:
    """The earliest of several instants; one that cannot be told does not hide the others."""
    every = tuple(changes)

    def next_change(m: Moment) -> int | None:
        best: int | None = None
        for change in every:
            try:
                at = change(m)
            except ExpressionError:
                continue
            if at is not None and (best is None or at < best):
                best = at
        return best

    return next_change


# -- the subject


def tz(m: Moment) -> ZoneInfo:
    """The subject's zone: its own when valid, else the program's."""
    own = m.state.traits.get("zone")
    name = own if own.__class__ is str else m.env.zone
    found = _ZONES.get(name) if own.__class__ is str or not m.env.zones else localtime.zone(zone_name(m))
    if found is None:
        # Only valid names are remembered, so what users write cannot fill the table.
        found = localtime.zone(zone_name(m)) or _UTC
        if found.key == name:
            _ZONES[name] = found
    return found


def zone_name(m: Moment) -> str:
    """The name of that zone."""
    own = m.state.traits.get("zone")
    return str(own) if localtime.zone(own) is not None else zone_of_groups(m.state, m.env)


def locale_of(m: Moment) -> str:
    """The subject's locale, else the program's."""
    return m.state.traits.get("locale") or m.env.locale


def tier_of(m: Moment) -> str | None:
    """The subject's level in the program's ladder."""
    found = m.state.tiers.get(m.env.ladder) if m.env.ladder is not None else None
    return found[0] if found else None


def at_least(m: Moment, level: Any, wanted: str, beyond: int = 0) -> bool:
    """Is a level of the program's ladder ``wanted`` or higher (``beyond`` 1: higher, -1: lower)?"""
    if level is None:
        return False
    env = m.env
    try:
        ranks = env.ranks[env.ladder]  # type: ignore[index]  # no ladder is a KeyError like any other
        gap = ranks[level] - ranks[wanted]
    except (KeyError, TypeError):
        raise ExpressionError(f"{shown(level)} or {wanted!r} is no level of the ladder {env.ladder!r}") from None
    return gap < 0 if beyond < 0 else gap >= beyond


def group_id(m: Moment) -> str | None:
    """The group the event, or the one that began the journey, happened in."""
    for event in (m.event, m.entry):
        if event is not None and event.group is not None:
            return event.group
    return None


def group_name(m: Moment) -> str:
    """The id of the group that is the subject."""
    return name_of(m.state.id)


def card_of(m: Moment, name: str) -> Any:
    """A field of the group: what was written to it, else what the catalog says."""
    found = m.state.traits.get(name)
    return m.env.cards.get(name_of(m.state.id), NO_CARD).get(name) if found is None else found


def roles_of(m: Moment) -> dict[str, list[str]]:
    """Role -> who holds it in the group."""
    return holders(m.state, m.time)


def holds_role(m: Moment, name: str) -> bool:
    """Does the user hold a role in any group, or anybody hold it in the group?"""
    return has_role(m.state, name, m.time)


def role_change(m: Moment) -> int | None:
    """When the next term ends."""
    return role_ends(m.state, m.time)


def silent_days(m: Moment) -> int | None:
    """Whole days of silence; None where nothing was ever heard."""
    last = m.state.last_active
    return None if last is None else max(0, m.time - last) // DAY


def silent_change(m: Moment) -> int | None:
    """When the next day of silence is full."""
    last = m.state.last_active
    return None if last is None else last + (max(0, m.time - last) // DAY + 1) * DAY


def in_segment(m: Moment, name: str) -> bool:
    """Membership of a segment at this moment."""
    test = m.env.segments.get(name)
    if test is None:
        raise ExpressionError(f"the plan has no segment {name!r}")
    return test(m)


def segment_change(m: Moment, name: str) -> int | None:
    """When passing time alone may change that membership."""
    change = m.env.segment_changes.get(name)
    return change(m) if change is not None else None


def points_pending(m: Moment) -> int:
    """Points of the program's first account that wait to be settled."""
    purse = m.state.purses.get(m.env.account)
    return 0 if purse is None else purse.waiting()


def expiring(m: Moment, account: str, length: int) -> int:
    """Points that lapse within a time."""
    return purses.expiring(m.state, account, m.now, length)


def expiring_change(m: Moment, account: str, length: int) -> int | None:
    """When passing time adds to ``expiring``."""
    return purses.expiring_change(m.state, account, m.now, length)


def bucket(m: Moment, salt: Any) -> int | None:
    """The subject's number 0..9999 under a salt."""
    if salt is None:
        return None
    if salt.__class__ is not str:
        raise ExpressionError(f"the salt of bucket() is text, not {shown(salt)}")
    return draw(salt, m.state.id)


# -- figures


def metric(m: Moment, name: str, ago: int) -> Any:
    """The number of the last full period, or of one so many before it."""
    return m.env.figures.value(name, m.now, ago)


def baseline(m: Moment, name: str, periods: int, every: int) -> Any:
    """The median of periods before the last full one."""
    return m.env.figures.baseline(name, m.now, periods, every)


def score(m: Moment, name: str, part: int | None) -> int | None:
    """The subject's frozen score."""
    return m.env.figures.score(name, m.state, m.now, m.env, part)


def score_values(m: Moment, name: str) -> Any:
    """What the subject is scored by, for ``why``."""
    return m.env.figures.values(name, m.state, m.now, m.env)


def score_borders(m: Moment, name: str) -> Any:
    """The frozen borders, for ``why``."""
    return m.env.figures.borders(name, m.now)


def figure_change(m: Moment, name: str) -> int | None:
    """When the next figure is seen."""
    return m.env.figures.next_turn(name, max(m.now, m.time))


# -- times


def moment_of(instant: int | None) -> datetime | None:
    """An instant as an aware datetime."""
    return None if instant is None else to_datetime(instant)


def as_time(value: Any) -> datetime | None:
    """A value declared as a time: RFC 3339 text, an instant, or a time already."""
    if value is None:
        return None
    if value.__class__ is str:
        return to_datetime(parse_instant(value))
    if value.__class__ is int:
        return to_datetime(value)
    if value.__class__ is datetime and value.tzinfo is not None:
        return value.astimezone(UTC)
    raise ExpressionError(f"{shown(value)} is not a time")


def as_date(value: Any) -> date | None:
    """A value declared as a date: ``YYYY-MM-DD``, or a date already."""
    if value is None or value.__class__ is date:
        return value
    if value.__class__ is str and _DATE.fullmatch(value):
        return date.fromisoformat(value)
    raise ExpressionError(f"{shown(value)} is not a date")


def micros(m: Moment, value: Any) -> int | None:
    """A time as an instant (a date: its local midnight), a duration as microseconds."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return from_datetime(value)
    if isinstance(value, timedelta):
        return value // _MICRO
    if isinstance(value, str):
        if not _DATE.fullmatch(value):
            return parse_instant(value)
        value = date.fromisoformat(value)
    if value.__class__ is date:
        return localtime.at_wall(value, "00:00", tz(m))
    raise ExpressionError(f"{shown(value)} is neither a time nor a date")


def span(value: Any) -> int | None:
    """A duration as microseconds, also from text."""
    if value is None:
        return None
    if isinstance(value, str):
        return parse_duration(value)
    if not isinstance(value, timedelta):
        raise ExpressionError(f"{shown(value)} is not a duration")
    return value // _MICRO


def age(m: Moment, value: Any) -> int | None:
    """How long before the moment, in microseconds; negative for what is still ahead."""
    at = micros(m, value)
    return None if at is None else m.time - at


def older(m: Moment, value: Any, length: int | None) -> bool:
    """``is older_than``: inclusive, and False for a missing time."""
    gone = age(m, value)
    return gone is not None and length is not None and gone >= length


def newer(m: Moment, value: Any, length: int | None) -> bool:
    """``is newer_than``: the opposite, and False for a missing time too."""
    gone = age(m, value)
    return gone is not None and length is not None and gone < length


def since(m: Moment, latest: int | None) -> timedelta | None:
    """The time gone since an instant; never negative."""
    return None if latest is None else timedelta(microseconds=max(0, m.time - latest))


def today(m: Moment) -> date:
    """The subject's local date at the moment."""
    return localtime.local_date(m.time, tz(m))


def day_number(m: Moment) -> int:
    """The number of that date."""
    return localtime.day_number(m.time, tz(m))


def hour_of(m: Moment, value: Any) -> int | None:
    """The hour 0..23 of a time in the subject's zone."""
    at = as_time(value)
    return None if at is None else localtime.local_hour(from_datetime(at), tz(m))


def hour_at(m: Moment, instant: int | None) -> int | None:
    """The same for an instant."""
    return None if instant is None else localtime.local_hour(instant, tz(m))


def day_of(m: Moment, value: Any) -> date | None:
    """The local date of a time; a date is one already."""
    if value is None or value.__class__ is date:
        return value
    if value.__class__ is str and _DATE.fullmatch(value):
        return date.fromisoformat(value)
    at = as_time(value)
    return None if at is None else localtime.local_date(from_datetime(at), tz(m))


def weekday(m: Moment, value: Any) -> int | None:
    """1 (Monday) to 7 (Sunday)."""
    day = day_of(m, value)
    return None if day is None else day.isoweekday()


def is_workday(m: Moment, value: Any) -> bool:
    """Is it a working day: by the program's calendar, else Monday to Friday?"""
    day = day_of(m, value)
    if day is None:
        return False
    return m.env.workdays(day) if m.env.workdays is not None else day.isoweekday() <= 5


def is_holiday(m: Moment, value: Any) -> bool:
    """Is it a holiday of the program's calendar?"""
    if m.env.holidays is None:
        raise ExpressionError("the program has no calendar of holidays")
    day = day_of(m, value)
    return day is not None and m.env.holidays(day)


# -- when time alone changes something


def midnight(m: Moment) -> int:
    """The next local midnight."""
    return localtime.next_midnight(m.time, tz(m))


def now_midnight(m: Moment) -> int:
    """The same for the engine's clock, which may stand before or after the moment."""
    return max(m.time + 1, localtime.next_midnight(min(m.now, m.time), tz(m)))


def now_hour(m: Moment) -> int:
    """The next full hour of the local clock, for the engine's clock."""
    return max(m.time + 1, localtime.next_hour(min(m.now, m.time), tz(m)))


def cross(m: Moment, plus: tuple[Any, ...], minus: tuple[Any, ...]) -> int | None:
    """When a clock passes the instant ``plus - minus`` (times, dates and durations).

    A comparison with that instant may turn at it or one microsecond later, so both are candidates.
    """
    at = 0
    for values, sign in ((plus, 1), (minus, -1)):
        for value in values:
            part = value if value.__class__ is int else micros(m, value)
            if part is None:
                return None
            at += sign * part
    if at > m.time or at + 1 > m.time:
        return at if at > m.time else at + 1
    return m.time + 1 if at + 1 > m.now else None


# -- text


def glob(pattern: str) -> Callable[[str], object]:
    """The matcher of a pattern of ``*``, ``?`` and ``[...]``; its time grows evenly with the text."""
    return re.compile(fnmatch.translate(pattern)).match


def matching(value: Any, matcher: Callable[[str], object]) -> bool:
    """``is matching``: text against a pattern; a missing value matches nothing."""
    if value is None:
        return False
    if value.__class__ is not str:
        raise ExpressionError(f"cannot match {shown(value)}; 'matching' is for text")
    if len(value) > MAX_TEXT:
        raise ExpressionError(f"a text longer than {MAX_TEXT}")
    return matcher(value) is not None
