"""``date``: a day of the user's own, such as a birthday."""

from __future__ import annotations

import re
from datetime import date, datetime
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core.instants import InstantError, format_instant, from_datetime, parse_duration, parse_instant
from engine.core.kinds import Build, Trigger
from engine.core.lunar import Lunar, LunarDay
from engine.core.model import DAY, State
from engine.core.moment import Moment
from engine.core.plan import zone_of
from engine.core.shapes import USER_FIELD, Map, Text, WallTime, optional, required
from engine.core.subjects import GROUP, USER

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OFFSET = r"[+-]?[1-9][0-9]{0,6}[smhdw]"
_LONGEST = 366 * DAY
_LATE = DAY  # a greeting found due only later than that (the playbook was paused) is none any more
_STAMP, _DAY, _ZONE, _DUE, _MARK, _KEPT = range(6)  # places in what it remembers


class OnDate(Trigger):
    """Fire on a day that a field of the user names, at a wall time of the user's zone.

    ``repeat: yearly`` fires on each anniversary, from the first on, once a year for a user whatever becomes of the
    field or the zone meanwhile; ``repeat: once`` fires once on the very day. ``offset: -3d`` and ``offset: 1w`` are
    local days before or behind that day, ``offset: -2h`` is elapsed time. A field that holds an instant names the local
    day of it.

    29 February is 28 February in other years, unless ``leap_day: mar1``. With ``calendar: lunar`` the field is still
    written as a date of the usual calendar, and its anniversaries are counted by the Chinese lunar calendar: who was
    born in a leap month is greeted in that leap month where the year has it, else in the plain month of the same
    number; day 30 of a month that has 29 days is its day 29.

    A missing field, or one that is no date, starts nothing, and the trace of ``user.signup`` and ``user.updated`` says
    so. A day that is over when the field becomes known waits for the next year.

    Example:
        trigger: {date: {field: user.birthday, offset: -3d, at: "09:00", repeat: yearly}}
    """

    word = "date"
    about = (USER, GROUP)
    own = True
    reason = "date"
    tells = frozenset({"user.signup", "user.updated"})
    shape = Map(
        {
            "date": required(
                Map(
                    {
                        "field": required(
                            Text(pattern=r"(user|group)\.[A-Za-z_][A-Za-z0-9_]*", what=USER_FIELD),
                            "field with the date",
                        ),
                        "offset": optional(
                            Text(pattern=_OFFSET, what="duration with a sign, such as -3d"), "before or behind the day"
                        ),
                        "at": required(WallTime(), "wall time in the user's zone"),
                        "repeat": required(Text(("yearly", "once")), "each year, or on the very day"),
                        "calendar": optional(Text(("gregorian", "lunar")), "how years are counted (gregorian)"),
                        "leap_day": optional(Text(("feb28", "mar1")), "29 February in other years (feb28)"),
                    }
                )
            )
        }
    )

    def __init__(self, spec: dict[str, Any], place: str, playbook: str, lunar: Lunar | None) -> None:
        self.field: str = spec["field"].partition(".")[2]
        self.at: str = spec["at"]
        self.yearly = spec["repeat"] == "yearly"
        self.mar1 = spec.get("leap_day") == "mar1"
        self.lunar = lunar
        self.days, self.elapsed = _offset(spec.get("offset", ""))
        self.text = " ".join(filter(None, (spec["field"], spec.get("offset"), self.at, spec["repeat"])))
        if lunar is not None:
            self.text += ", lunar"
        self.place = place  #: key of what it remembers
        self.playbook = playbook
        self.traits = frozenset({self.field, "zone"})
        words = "|".join(f"{key}={value}" for key, value in sorted(spec.items()))
        self.stamp = blake2b(words.encode(), digest_size=4).hexdigest()

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> OnDate:
        """Ask for the lunar table when it is needed, and refuse what cannot be meant."""
        spec = fields["date"]
        lunar = spec.get("calendar") == "lunar"
        whose, _, field = spec["field"].partition(".")
        declared = build.field_type(field) if whose == USER else "any"
        if declared not in ("date", "time", "any"):
            message = f"'{spec['field']}' is declared as {declared}, and 'date' needs a date"
            build.problem("field", "type-mismatch", message, "declare it as 'date | none' under 'profile'")
        if "leap_day" in spec and (lunar or spec["repeat"] == "once"):
            hint = "it is for repeat: yearly by the usual calendar"
            build.problem("leap_day", "conflict", "'leap_day' has no meaning here", hint)
        if lunar and spec["repeat"] == "once":
            hint = "lunar anniversaries are for repeat: yearly; the field itself is a date of the usual calendar"
            build.problem("calendar", "conflict", "'calendar: lunar' has no meaning with 'repeat: once'", hint)
        days, elapsed = _offset(spec.get("offset", ""))
        if abs(days) * DAY > _LONGEST or abs(elapsed) > _LONGEST:
            build.problem("offset", "out-of-range", f"'offset' of {spec['offset']} is longer than a year")
        return cls(spec, f"{build.playbook}/{build.step}", build.playbook, build.lunar() if lunar else None)

    def gist(self) -> str:
        return self.text

    def listens(self) -> frozenset[str]:
        return frozenset()

    def awaits(self, state: State) -> bool:
        return state.traits.get(self.field) is not None

    # ------------------------------------------------------------------ when

    def deadline(self, m: Moment) -> int | None:
        """The next day that was not kept yet; found anew when the field, the zone or the playbook changed."""
        state = m.state
        known = state.memory.get(self.place)
        value = state.traits.get(self.field)
        if known is None and value is None:
            return None
        zone = zone_of(state, m.env)
        day = _day(value, zone)
        if known is None or known[_DAY] != day or known[_ZONE] != zone or known[_STAMP] != self.stamp:
            kept = known[_KEPT] if known is not None else None
            known = state.memory[self.place] = self._found(m, day, zone, kept)
        due: int | None = known[_DUE]
        return due

    def due(self, m: Moment) -> bool:
        deadline = self.deadline(m)
        if deadline is None or deadline > m.time:
            return False
        known = m.state.memory[self.place]
        m.state.memory[self.place] = self._found(m, known[_DAY], known[_ZONE], known[_MARK])
        return deadline >= m.env.since(self.playbook) and m.time - deadline <= _LATE

    def _found(self, m: Moment, day: int | None, zone: str, kept: int | None) -> list[Any]:
        """What is remembered: settings, day and zone it was found for; when it comes, its mark, the last mark kept."""
        since = max(m.time, m.env.since(self.playbook))
        found = self._next(day, localtime.zone(zone) or localtime.UTC, since, kept) if day is not None else None
        due, mark = found or (None, None)
        return [self.stamp, day, zone, due, mark, kept]

    def _next(self, day: int, zone: ZoneInfo, since: int, kept: int | None) -> tuple[int, int] | None:
        """(instant, mark) of the first day from ``since`` on that was not kept; a yearly one's mark is its year."""
        if not self.yearly:
            due = self._instant(day, zone)
            return None if due is None or due < since or day == kept else (due, day)
        born = date.fromordinal(day)
        lunar = self.lunar.of(born) if self.lunar is not None else None
        if self.lunar is not None and lunar is None:
            return None
        if kept is not None and kept > date.max.year:
            kept = None  # the playbook was once ``repeat: once``
        first = localtime.local_date(since, zone).year - 2
        first = max(first, (born.year if lunar is None else lunar.year) + 1, -1 if kept is None else kept + 1)
        for year in range(first, first + 5):
            on = self._anniversary(born, lunar, year)
            due = self._instant(on, zone) if on is not None else None
            if due is not None and due >= since:
                return due, year
        return None

    def _anniversary(self, born: date, lunar: LunarDay | None, year: int) -> int | None:
        if self.lunar is not None and lunar is not None:
            return self.lunar.day_in(year, lunar)
        if year > date.max.year:
            return None
        try:
            return born.replace(year=year).toordinal()
        except ValueError:  # 29 February
            return date(year, 3, 1).toordinal() if self.mar1 else date(year, 2, 28).toordinal()

    def _instant(self, day: int, zone: ZoneInfo) -> int | None:
        try:
            return localtime.at_wall(date.fromordinal(day + self.days), self.at, zone) + self.elapsed
        except (ValueError, OverflowError):  # before the year 1, or behind 9999
            return None

    # ------------------------------------------------------------------ why not

    def fires(self, m: Moment) -> bool:
        return False  # no event fires it; time does

    def silence(self, m: Moment) -> tuple[str, dict[str, Any]]:
        """What the field is good for: when its next day comes, or why none does."""
        name, value = f"user.{self.field}", m.state.traits.get(self.field)
        zone = zone_of(m.state, m.env)
        day = _day(value, zone)
        if value is None:
            text = f"date: {name} is missing"
        elif day is None:
            text = f"date: {name} is no date"
        elif self.lunar is not None and self.lunar.of(date.fromordinal(day)) is None:
            text = f"date: {name} lies outside the lunar table"
        else:
            known = m.state.memory.get(self.place)
            due = self._found(m, day, zone, known[_KEPT] if known is not None else None)[_DUE]
            text = "date: its day is over" if due is None else f"date: comes at {format_instant(due)}"
        return text, {name: value}


def _day(value: object, zone: str) -> int | None:
    """The ordinal of the day a value names; None when it names none."""
    if isinstance(value, datetime):  # a step wrote it, and it has not been through the store yet
        return localtime.day_number(from_datetime(value), localtime.zone(zone) or localtime.UTC)
    if isinstance(value, date):
        return value.toordinal()
    if isinstance(value, str):
        try:
            if _DATE.fullmatch(value):
                return date.fromisoformat(value).toordinal()
            return localtime.day_number(parse_instant(value), localtime.zone(zone) or localtime.UTC)
        except (InstantError, ValueError):
            return None
    return None


def _offset(text: str) -> tuple[int, int]:
    """(local days, elapsed microseconds) of ``-3d`` or ``2h``."""
    if not text:
        return 0, 0
    sign = -1 if text[0] == "-" else 1
    length = sign * parse_duration(text.lstrip("+-"))
    return (length // DAY, 0) if text[-1] in "dw" else (0, length)
