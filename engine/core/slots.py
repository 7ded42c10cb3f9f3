"""Slots: instants at which a playbook looks at everybody it knows. Which there are, and how far each was walked.

Rule 1: a slot belongs to the program, not to a subject: (playbook, trigger, instant). ``SlotTable`` keeps one row a
trigger, and the runtime writes it in the very transaction that holds what was decided.
Rule 2: a slot before the engine's clock is done, or its row names it as the one to be gone on with, behind the last
subject it was decided for. Slots after that one follow, also when the clock has passed them (``overtaken``).
Rule 3: slots at or before the row began (publication, or the first event of all) never fire.
Rule 4: what fell into a time in which the engine was down is caught up as the trigger says, within a day.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from engine.core import localtime
from engine.core.instants import format_instant
from engine.core.kinds import Trigger
from engine.core.model import DAY
from engine.core.moment import Condition, Env, Moment
from engine.core.plan import Playbook, zone_of
from engine.core.predicate import Filter

NEVER: Final = 1 << 62

_GAPS_KEPT: Final = 100


class Slotted(Trigger):
    """A trigger that fires at instants of its own, for everybody in its audience."""

    audience: Condition  #: who; judged on the user alone
    by_user: bool = False  #: the wall time is that of each user's own zone
    catch_up: str = "last"  #: of the slots missed while the engine was down: last | all | none

    @abstractmethod
    def after(self, instant: int, tz: ZoneInfo) -> int | None:
        """The first slot after an instant; None when there is none any more."""

    def wall(self, instant: int, tz: ZoneInfo) -> int | None:
        """The wall clock reading meant by the slot at an instant, as if it were UTC; None when there is no slot.

        It is what makes the slots of two zones one and the same. Only asked of triggers with ``by_user``.
        """
        return None

    def listens(self) -> frozenset[str]:
        return frozenset()

    def deadline(self, m: Moment) -> int | None:
        """The next slot, for ``why``."""
        return self.after(m.now, _tz(zone_of(m.state, m.env) if self.by_user else m.env.zone))


class SlotRow(msgspec.Struct, omit_defaults=True):
    """How far the slots of one trigger are walked."""

    since: int  #: slots up to this instant never fire
    done: int  #: newest slot that is done, or ``since``
    at: int | None = None  #: the slot being walked
    after: str = ""  #: the last subject it was decided for
    gaps: list[tuple[int, int]] = []  #: (after, before): while the engine was down
    zones: list[str] = []  #: zones of the users met so far, for ``by_user``


@dataclass(frozen=True, eq=False)
class Scheduled:
    """A playbook that is entered at slots."""

    playbook: Playbook
    trigger: Slotted
    name: str  #: ``playbook/trigger id``, the name of its row
    alone: bool  #: no other trigger of the playbook fires at slots
    filter: Filter | None = None  #: the audience in a form the store can ask; None: everybody is judged


@dataclass(eq=False)
class Due:
    """A slot that is due."""

    scheduled: Scheduled
    instant: int
    gaps: list[tuple[int, int]]
    walls: dict[str, int | None] = field(default_factory=dict)  #: zone -> reading meant; None: no slot of that zone

    def wall(self, zone: str) -> int | None:
        """The wall clock reading meant in a zone, None when this is no slot of it."""
        try:
            return self.walls[zone]
        except KeyError:
            tz, trigger = _tz(zone), self.scheduled.trigger
            wall = trigger.wall(self.instant, tz)
            if wall is not None and not _caught_up(trigger, self.instant, tz, self.gaps):
                wall = None
            self.walls[zone] = wall
            return wall

    def occurrence(self, wall: int | None) -> str:
        """What every effect key of an entry at this slot carries; the same in all zones for one wall time."""
        when = format_instant(self.instant) if wall is None else format_instant(wall).removesuffix("Z")
        return f"slot:{when}" if self.scheduled.alone else f"slot:{when}:{self.scheduled.trigger.id}"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SlotRow).decode
_decode_gone = msgspec.json.Decoder(list[SlotRow]).decode

GONE: Final = "\x01gone:"
"""What names of rows begin with that tell how far triggers were walked that left the plan, the oldest first."""
_GONE_KEPT = 50  #: of one trigger


class SlotTable:
    """The slots of a plan.

    Parameters
    ----------
    schedules: in the order in which they go at one instant.
    env: has the program's zone.
    kept: name -> row, as stored.
    clock: the engine's clock; 0: it has not begun.
    """

    def __init__(self, schedules: Iterable[Scheduled], env: Env, kept: Mapping[str, bytes], clock: int) -> None:
        self.schedules = tuple(schedules)
        self.by_zone = any(it.trigger.by_user for it in self.schedules)
        self.program_zone = env.zone
        self.next_at = NEVER  #: the earliest slot that is not done
        self.zones: set[str] = {env.zone}
        names = {it.name for it in self.schedules}
        self.rows = {name: _decode(raw) for name, raw in kept.items() if name in names}
        self.gone = {name: _decode_gone(raw) for name, raw in kept.items() if name.startswith(GONE)}
        # A trigger that left the plan, if only for a while, begins anew when it comes back.
        self._changed: set[str] = kept.keys() - names - self.gone.keys()
        for name in sorted(self._changed):
            with suppress(msgspec.DecodeError):  # a row nobody can read tells nothing, and goes
                self._retire(name, _decode(kept[name]))
        self._next: dict[str, int] = {}
        for row in self.rows.values():
            self.zones.update(row.zones)
        if clock:
            self.begin(clock)

    def _retire(self, name: str, row: SlotRow) -> None:
        """Remember how far it was walked, for ``why``; whom a walk that was cut off had reached is not kept."""
        past = SlotRow(since=row.since, done=row.done, gaps=row.gaps, zones=row.zones)
        self.gone[GONE + name] = [*self.gone.get(GONE + name, ()), past][-_GONE_KEPT:]
        self._changed = self._changed | {GONE + name}

    def begin(self, clock: int) -> None:
        """The engine's clock stands here: rows that are new begin, and what is next is found."""
        for it in self.schedules:
            row = self.rows.get(it.name)
            if row is None:
                row = self.rows[it.name] = SlotRow(since=clock, done=clock)
                self._changed.add(it.name)
            self._find(it, max(row.done, clock - 1))
        self._soonest()

    def begin_all(self, clock: int, end: int) -> None:
        """As ``begin``, for a replay: nothing before ``clock``, and of a row nobody kept nothing before ``end``."""
        for it in self.schedules:
            row = self.rows.setdefault(it.name, SlotRow(since=end, done=end))
            row.since = row.done = max(row.done, clock)
        self.begin(clock)

    def strange_zones(self) -> bool:
        """Have the zones of users not been looked for yet (a trigger that goes by them is new)?"""
        return any(it.trigger.by_user and not self.rows[it.name].zones for it in self.schedules if it.name in self.rows)

    def meet(self, zones: Iterable[str], clock: int) -> None:
        """Users of these zones are known from now on."""
        fresh = {zone for zone in zones if zone not in self.zones and localtime.zone(zone) is not None}
        self.zones |= fresh
        for it in self.schedules:
            row = self.rows.get(it.name)
            if not it.trigger.by_user or row is None or self.zones == set(row.zones):
                continue
            row.zones = sorted(self.zones)
            self._changed.add(it.name)
            for zone in fresh:
                found = _next(it.trigger, row, max(row.done, clock - 1), zone)
                self._next[it.name] = min(self._next[it.name], found)
        self._soonest()

    def missed(self, clock: int, until: int) -> None:
        """The engine was down from its clock to ``until``: what fell between is caught up as each trigger says."""
        for it in self.schedules:
            row = self.rows.get(it.name)
            if row is None:
                continue
            if row.at is not None and row.at < until - DAY:  # begun, and too old to be gone on with
                row.done, row.at, row.after = row.at, None, ""
            start = max(row.done, clock - 1)
            if self._next[it.name] < until:
                row.gaps = [*row.gaps, (start, until)][-_GAPS_KEPT:]
                self._changed.add(it.name)
            if row.at is None:
                self._find(it, start)
        self._soonest()

    # ------------------------------------------------------------------ walking

    def due(self) -> Due:
        """The slot at ``next_at``: by order of the schedules, one that was begun goes on."""
        for it in self.schedules:
            if self._next[it.name] == self.next_at:
                return Due(it, self.next_at, self.rows[it.name].gaps)
        raise LookupError("no slot is due")

    def due_at(self, instant: int) -> int:
        """How many slots of an instant are not done."""
        return sum(found == instant for found in self._next.values()) if self.next_at <= instant else 0

    def place(self, due: Due) -> str:
        """The subject behind which the walk goes on."""
        row = self.rows[due.scheduled.name]
        return row.after if row.at == due.instant else ""

    def walked(self, due: Due, after: str | None) -> None:
        """It was decided for everybody up to a subject; None: for all."""
        row = self.rows[due.scheduled.name]
        self._changed.add(due.scheduled.name)
        if after is not None:
            row.at, row.after = due.instant, after
            return
        row.done, row.at, row.after = due.instant, None, ""
        self._find(due.scheduled, due.instant)
        self._soonest()

    def skip(self, due: Due) -> bool:
        """Leave a slot out for good, when the row has not begun to fire; else False."""
        row = self.rows[due.scheduled.name]
        if row.done > row.since or row.at is not None:
            return False
        row.since = row.done = due.instant
        self._changed.add(due.scheduled.name)
        self._find(due.scheduled, due.instant)
        self._soonest()
        return True

    def overtaken(self, clock: int) -> None:
        """The engine's clock goes past slots that are not done: their rows say so, or a crash would lose them."""
        if self.next_at >= clock:
            return
        for it in self.schedules:
            row = self.rows.get(it.name)
            if row is not None and row.at is None and self._next[it.name] < clock:
                row.at, row.after = self._next[it.name], ""
                self._changed.add(it.name)

    def changes(self) -> dict[str, bytes | None]:
        """Rows that changed since the last call; None: one that goes."""
        changed, self._changed = self._changed, set()
        found = {name: self.gone.get(name) or self.rows.get(name) for name in sorted(changed)}
        return {name: None if row is None else _encode(row) for name, row in found.items()}

    # ------------------------------------------------------------------ finding

    def _find(self, it: Scheduled, after: int) -> None:
        row = self.rows[it.name]
        if row.at is not None:
            self._next[it.name] = row.at
            return
        zones = self.zones if it.trigger.by_user else (self.program_zone,)
        self._next[it.name] = min(_next(it.trigger, row, after, zone) for zone in zones)

    def _soonest(self) -> None:
        self.next_at = min(self._next.values(), default=NEVER)


def merged(rows: Iterable[bytes]) -> bytes:
    """One row for those of several parts, none of which has begun a slot: what any of them has walked is done."""
    found = [_decode(raw) for raw in rows]
    zones = sorted({zone for row in found for zone in row.zones})
    gaps = max((row.gaps for row in found), key=len)
    return _encode(SlotRow(min(row.since for row in found), max(row.done for row in found), gaps=gaps, zones=zones))


def replayed(kept: Mapping[str, bytes], subject: str) -> tuple[dict[str, bytes], dict[str, int]]:
    """Rows as they were at their beginning, and up to which slot each was decided for a subject."""
    rows, ends = {}, {}
    for name, raw in kept.items():
        row = _decode(raw)
        ends[name] = row.at if row.at is not None and row.after >= subject else row.done
        rows[name] = _encode(SlotRow(since=row.since, done=row.since, gaps=row.gaps, zones=row.zones))
    return rows, ends


def of_then(kept: Mapping[str, bytes], since: int) -> dict[str, bytes]:
    """Rows as a replay from an instant on needs them: of a trigger that left the plan later, the one it had then."""
    rows = {name: raw for name, raw in kept.items() if not name.startswith(GONE)}
    for name, raw in kept.items():
        if name.startswith(GONE):
            past = next((row for row in _decode_gone(raw) if row.done > since), None)
            if past is not None:
                rows[name.removeprefix(GONE)] = _encode(past)
    return rows


def _next(trigger: Slotted, row: SlotRow, after: int, zone: str) -> int:
    """The first slot after an instant that fires in a zone."""
    tz = _tz(zone)
    found = trigger.after(after, tz)
    while found is not None and not _caught_up(trigger, found, tz, row.gaps):
        end = max(before for start, before in row.gaps if start < found < before)
        far = end - 1 if trigger.catch_up == "none" else end - DAY - 1
        found = trigger.after(max(found, far), tz)
    return NEVER if found is None else found


def _caught_up(trigger: Slotted, instant: int, tz: ZoneInfo, gaps: list[tuple[int, int]]) -> bool:
    """Does a slot fire, though the engine may have been down at its time?"""
    for start, before in gaps:
        if start < instant < before:
            if trigger.catch_up == "none" or instant < before - DAY:
                return False
            if trigger.catch_up == "last":
                following = trigger.after(instant, tz)
                return following is None or following >= before
    return True


def _tz(zone: str) -> ZoneInfo:
    return localtime.zone(zone) or localtime.UTC


ANCHOR: Final = date(2024, 1, 1)
"""A Monday. Intervals are counted from its midnight in the program's zone, so that publishing never shifts them."""


def interval_after(instant: int, every: int, tz: ZoneInfo) -> int:
    """The first instant after this one that lies a whole number of intervals from the anchor."""
    anchor = localtime.at_wall(ANCHOR, "00:00", tz)
    return anchor + ((instant - anchor) // every + 1) * every
