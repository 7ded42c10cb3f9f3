"""The safety belts of messages, as values and arithmetic: consent rules, quiet hours, freeze, control group, caps.

Rule 1: nothing here decides alone; ``actions/message`` asks in the order of the gates.
Rule 2: a belt speaks of the user's local time, so every instant is worked out over real offsets, a stretch at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core.chance import BUCKETS, bucket
from engine.core.model import DAY, MINUTE, SECOND

DEFAULT_CONSENT: Final = {
    "marketing": "required",
    "community": "required",
    "service": "opt_out",
    "transactional": "none",
}
"""Rule of each purpose a policy does not name."""

EXEMPT: Final = "transactional"
"""The purpose quiet hours and freezes let through: a receipt or a code is of use at once or not at all."""

MOST_JITTER: Final = 30 * MINUTE
"""Messages held back overnight go out within this time after the end of the window, not all at one instant."""

DRAW: Final = {"control_group": "/control_group", "quiet_hours": "/quiet_hours"}
"""What is drawn for a subject as a whole -> its place in ``Env.draw``; no playbook and no step is called so."""

NEVER: Final = 1 << 62
"""The instant at which a cap of ``max: never`` leaves room."""


def consents(rule: str, given: bool | None) -> bool:
    """Does a rule let a message through, given the newest word of the user (None: not a word)?"""
    if rule == "required":
        return given is True
    return rule == "none" or given is not False


# ---------------------------------------------------------------------- quiet hours


@dataclass(frozen=True)
class Quiet:
    """A daily window of the local clock without messages: half-open, may cross midnight."""

    start: int  #: microseconds after local midnight
    end: int  #: the first that is no longer quiet; before ``start`` when the window crosses midnight
    text: str  #: ``22:00-08:00``

    @classmethod
    def of(cls, start: str, end: str) -> Quiet:
        """The window between two wall times ``HH:MM``."""
        return cls(localtime.parse_wall(start), localtime.parse_wall(end), f"{start}-{end}")

    def covers(self, wall: int) -> bool:
        """Is this reading of the local clock (microseconds after midnight) in the window?"""
        if self.start <= self.end:
            return self.start <= wall < self.end
        return wall >= self.start or wall < self.end

    def ends(self, instant: int, tz: ZoneInfo) -> int:
        """The first instant from ``instant`` on at which the local clock reads a time outside the window."""
        at = instant
        while True:  # one turn for each stretch of constant offset: one, or two in a night the clocks are changed
            ahead = localtime.offset(at, tz)
            wall = (at + ahead) % DAY
            if not self.covers(wall):
                return at
            edge = at + (self.end - wall) % DAY
            if localtime.offset(edge, tz) == ahead:
                return edge
            at = _switch(at, edge, ahead, tz)

    def release(self, instant: int, subject: str, tz: ZoneInfo, drawn: int | None = None) -> int:
        """When a message decided now may go: now, or after the window and the subject's own jitter.

        The jitter is the same every night and for every message of a subject, so that they are released together and
        the more important one takes the slot. It is shorter than ``MOST_JITTER`` and than the open part of the day.
        ``drawn``: the bucket it hangs on, when a test lays it down.
        """
        end = self.ends(instant, tz)
        if end == instant:
            return instant
        spread = min(MOST_JITTER, (self.start - self.end) % DAY)
        share = bucket("quiet_hours", subject) if drawn is None else drawn
        return end + spread * share // BUCKETS // SECOND * SECOND


def _switch(low: int, high: int, before: int, tz: ZoneInfo) -> int:
    """The first instant after ``low`` at which the offset is no longer ``before``; at ``high`` it is not."""
    # offsets change at whole seconds
    start, stop = low // SECOND, -(-high // SECOND)
    while stop - start > 1:
        middle = (start + stop) // 2
        if localtime.offset(middle * SECOND, tz) == before:
            start = middle
        else:
            stop = middle
    return stop * SECOND


DEFAULT_QUIET: Final = Quiet.of("22:00", "08:00")
"""What a policy that says nothing of quiet hours keeps."""


# ---------------------------------------------------------------------- freeze and control group


@dataclass(frozen=True)
class Freeze:
    """Days on which some purposes stay silent."""

    calendars: tuple[str, ...]  #: names in the catalog
    purposes: frozenset[str]


@dataclass(frozen=True)
class Control:
    """The users no message of some purposes reaches, in any playbook."""

    percent: int  #: in hundredths of a percent: 0..10000
    salt: str
    purposes: frozenset[str]

    def holds(self, subject: str, purpose: str, drawn: int | None = None) -> bool:
        """Is this subject kept from messages of this purpose? ``drawn``: its bucket, when a test lays it down."""
        if purpose not in self.purposes:
            return False
        return (bucket(self.salt, subject) if drawn is None else drawn) < self.percent


# ---------------------------------------------------------------------- caps


@dataclass(frozen=True, kw_only=True)
class Cap:
    """At most ``most`` messages in a window, by purpose and channel; without either: of the whole program."""

    most: int
    per: int | None  #: rolling window, microseconds; None: a calendar window of the user's zone
    purpose: str | None = None
    channel: str | None = None
    unit: str = "day"  #: day | week | month, when ``per`` is None

    def concerns(self, purpose: str, channel: str) -> bool:
        """Does it speak of such messages?"""
        return self.purpose in (None, purpose) and self.channel in (None, channel)

    @property
    def reach(self) -> int:
        """How long a slot may matter, microseconds; a little more for days the clocks make longer."""
        return self.per if self.per is not None else _REACH[self.unit]

    def counted(self, slots: Iterable[tuple[int, str, str]], now: int, tz: ZoneInfo) -> list[int]:
        """Places, among slots in order of time, of those that it counts at an instant."""
        mine = [(place, it[0]) for place, it in enumerate(slots) if it[0] <= now and self.concerns(it[1], it[2])]
        if self.per is not None:
            return [place for place, at in mine if at > now - self.per]
        first, after = _window(self.unit, localtime.day_number(now, tz))
        return [place for place, at in mine if first <= localtime.day_number(at, tz) < after]

    def full_until(self, slots: Iterable[tuple[int, str, str]], now: int, tz: ZoneInfo) -> int | None:
        """None when it leaves room now; else the instant at which it may."""
        if not self.most:
            return NEVER
        mine = [at for at, purpose, channel in slots if self.concerns(purpose, channel)]
        if self.per is not None:
            taken = [at for at in mine if at > now - self.per]
            return None if len(taken) < self.most else taken[len(taken) - self.most] + self.per
        first, after = _window(self.unit, localtime.day_number(now, tz))
        if sum(first <= localtime.day_number(at, tz) < after for at in mine) < self.most:
            return None
        if self.unit == "day":
            return localtime.next_midnight(now, tz)
        return localtime.at_wall(date.fromordinal(after), "00:00", tz)


@dataclass(frozen=True)
class Quota:
    """What a channel itself takes for a user in a window: a limit of the platform, so it holds for every purpose.

    The last slots of a window may be kept: a playbook of lower priority stops before them, whoever took the others.
    """

    whole: Cap
    text: str  #: ``4/month``, as people say it
    kept: tuple[tuple[int, int], ...] = ()  #: (priority from which they are open, slots) of those kept back

    def open_to(self, priority: int) -> Cap:
        """The cap a playbook of a priority stands under; it may be one of no messages at all."""
        kept = sum(slots for least, slots in self.kept if priority < least)
        return replace(self.whole, most=max(0, self.whole.most - kept)) if kept else self.whole


_REACH: Final = {"day": 2 * DAY, "week": 9 * DAY, "month": 33 * DAY}
UNITS: Final = tuple(_REACH)


def _window(unit: str, day: int) -> tuple[int, int]:
    """(first day, day after the last) of the calendar window a day lies in, as ordinals; a week begins on Monday."""
    if unit == "day":
        return day, day + 1
    if unit == "week":
        monday = day - (day - 1) % 7
        return monday, monday + 7
    first = date.fromordinal(day).replace(day=1)
    return first.toordinal(), (first + timedelta(days=32)).replace(day=1).toordinal()
