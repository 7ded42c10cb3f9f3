"""``calendar``: a day of the catalog's calendars, for everybody in an audience."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core.calendars import Calendar
from engine.core.instants import parse_duration
from engine.core.kinds import Build
from engine.core.model import DAY
from engine.core.moment import Condition
from engine.core.shapes import Cond, Map, Ref, Text, WallTime, optional, required
from engine.core.slots import Slotted

_OFFSET = r"[+-]?[1-9][0-9]{0,6}[smhdw]"
_LONGEST = 366 * DAY
_SPANS = (62, 800, 40_000)
"""Days looked ahead for the next occurrence, one after the other: most calendars have one soon."""


class CalendarDay(Slotted):
    """Fire when a window of a calendar begins, for everybody in an audience, one after the other in order of their ids.

    The days are those of the catalog: named windows, holidays (a stretch of days off is one window and fires once, on
    its first day), member days, lunar days. ``offset: -3d`` and ``offset: 1w`` are days before or behind the first day,
    ``offset: -2h`` is elapsed time. ``at`` is a wall time in the program's zone.

    Audience, chunks and what is made up for after the program was down (the last day missed, within a day) are as with
    ``schedule``.

    Example:
        # file: playbooks/catalog/calendars.yaml
        calendars: {double-11: {dates: [2026-11-08..2026-11-12, 2027-11-08..2027-11-12]}}
        # file: playbooks/eve.yaml
        trigger: {calendar: {name: double-11, offset: -1d, at: "20:00", audience: user.city == "上海"}}
    """

    word = "calendar"
    reason = "calendar"
    shape = Map(
        {
            "calendar": required(
                Map(
                    {
                        "name": required(Ref("calendar"), "a calendar of the catalog"),
                        "offset": optional(
                            Text(pattern=_OFFSET, what="duration with a sign, such as -3d"),
                            "before or behind the first day",
                        ),
                        "at": required(WallTime(), "wall time in the program's zone"),
                        "audience": required(Cond("user", everybody=True), "a condition on the user alone, or true"),
                    }
                )
            )
        }
    )

    def __init__(self, calendar: Calendar, days: int, elapsed: int, at: str, audience: Condition) -> None:
        self.calendar = calendar
        self.days = days  #: local days from the first day of the window
        self.elapsed = elapsed  #: microseconds from that wall time
        self.at = at
        self.audience = audience
        self.text = f"{calendar.name} {at}"

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> CalendarDay:
        """Ask for the calendar; an offset of more than a year is a slip."""
        spec = fields["calendar"]
        days, elapsed = _offset(spec.get("offset", ""))
        if abs(days) * DAY > _LONGEST or abs(elapsed) > _LONGEST:
            build.problem("offset", "out-of-range", f"'offset' of {spec['offset']} is longer than a year")
        made = cls(build.calendar(spec["name"]), days, elapsed, spec["at"], spec["audience"])
        made.text = " ".join(filter(None, (spec["name"], spec.get("offset"), spec["at"])))
        return made

    def gist(self) -> str:
        """When, in a few words, for pictures."""
        return self.text

    def after(self, instant: int, tz: ZoneInfo) -> int | None:
        last = date.max - timedelta(days=800)
        here = localtime.local_date(instant - self.elapsed, tz)
        if not date.min + timedelta(days=800) < here < last:
            return None
        first = here - timedelta(days=self.days + 2)  # a gap may push a wall time into the next day
        for span in _SPANS:
            for day in self.calendar.starts(first, min(first + timedelta(days=span), last)):
                found = localtime.at_wall(day + timedelta(days=self.days), self.at, tz) + self.elapsed
                if found > instant:
                    return found
        return None


def _offset(text: str) -> tuple[int, int]:
    """(local days, elapsed microseconds) of ``-3d`` or ``2h``."""
    if not text:
        return 0, 0
    length = parse_duration(text.lstrip("+-")) * (-1 if text[0] == "-" else 1)
    return (length // DAY, 0) if text[-1] in "dw" else (0, length)
