"""Other events than came: the changes of ``levers.py`` as what the engine reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from msgspec import structs

from engine.core import localtime
from engine.core.fold import NOT_THEIR_DOING
from engine.core.groups import MEMBER
from engine.core.model import DAY, Event, State
from engine.core.subjects import GROUP, PROGRAM, kind_of, name_of, receiver_of
from engine.insight import change as kinds
from engine.insight.change import Age, Change, Run, settled

SUPPOSED = "supposed:"
"""What ids of events begin with that never came."""


@dataclass(frozen=True)
class Placed:
    """Where other events come in."""

    index: int  #: before which of the events
    clock: int  #: the engine's clock then
    time: int  #: their own time


@dataclass
class Made:
    """A life with changes in it."""

    events: list[tuple[Event, int]]
    edits: dict[str, Callable[[State], None]] = field(default_factory=dict)
    world: tuple[Change, ...] = ()  #: what is otherwise beside the subject


@dataclass(frozen=True)
class Setting:
    """Of whom it is, and what a change must know to be made."""

    subject: str
    account: str  #: that is meant where none is named
    zone: str = "UTC"
    groups: tuple[str, ...] = ()  #: of the catalog
    active: Callable[[str], bool] = lambda type_: True  #: does an event of this type say that somebody is active?
    usual: str = ""  #: a type that does, for somebody who never was


def apply(
    changes: Sequence[Change],
    events: Sequence[tuple[Event, int]],
    place: Placed,
    setting: Setting,
    cause: str | None = None,
) -> Made | None:
    """The events as they would have been; None when a change cannot be made there.

    Parameters
    ----------
    events, place: those of the subject, and where others come in.
    setting: whose they are.
    cause: id of the event at hand, which others leave in its place.
    """
    it = _Applied(list(events), place, setting, cause)
    if not all(it.make(change) for change in changes):
        return None
    return it.made()


class _Applied:
    """Changes, made one after another."""

    def __init__(self, kept: list[tuple[Event, int]], place: Placed, setting: Setting, cause: str | None) -> None:
        self.kept = kept
        self.place = place
        self.setting = setting
        self.cause = cause
        self.before = kept[: place.index]
        self.more: list[Event] = []
        self.past: list[tuple[Event, int]] = []  #: events at instants of their own
        self.edits: list[Callable[[State], None]] = []
        self.world: list[Change] = []
        self.dropped: set[str] = set()

    def make(self, change: Change) -> bool:
        """Make one; False where it cannot be made."""
        kind = change.kind
        if kind in kinds.BESIDE:
            self.world.append(change)
        elif kind == kinds.DATA:
            return self._data(change)
        elif kind in (kinds.FEWER, kinds.WITHOUT):
            return self._drop(change)
        elif kind == kinds.MOVED:
            return self._move(change)
        elif kind == kinds.DAYS:
            return self._days(change)
        elif kind in (kinds.TAG, kinds.UNTAG):
            self.edits.append(_tagging(change))
        else:
            found = _events(change, self.before, self.place, self.setting, len(self.more))
            self.more += found or ()
            return found is not None
        return True

    def made(self) -> Made | None:
        """Everything together; None where tags have no event to go with."""
        kept, place = self.kept, self.place
        behind = self.more[0] if self.more else kept[place.index][0] if place.index < len(kept) else None
        if self.edits and behind is None:
            return None
        out = [*kept[: place.index], *((event, place.clock) for event in self.more), *kept[place.index :]]
        out = [it for it in out if it[0].id not in self.dropped]
        for event, clock in sorted(self.past, key=lambda it: it[1]):
            at = next((n for n, (other, its) in enumerate(out) if its > clock or other.id == self.cause), len(out))
            out.insert(at, (event, clock))
        edits = {behind.id: _all(self.edits)} if self.edits and behind is not None else {}
        return Made(out, edits, tuple(self.world))

    def _data(self, change: Change) -> bool:
        at = next((n for n, (one, _) in enumerate(self.kept) if one.id == self.cause and not one.internal), None)
        if at is None:
            return False
        event, clock = self.kept[at]
        value = settled(change.value, self.place.time, change.has)
        self.kept[at] = (structs.replace(event, data=put(event.data, change.name, value)), clock)
        return True

    def _drop(self, change: Change) -> bool:
        if change.kind == kinds.WITHOUT:
            self.dropped.add(str(change.value))
            return any(event.id == change.value for event, _ in self.kept)
        theirs = [e.id for e, _ in self.before if _is_of(e, change.name, self.setting) and e.id not in self.dropped]
        if len(theirs) < change.times:
            return False
        self.dropped.update(theirs[-change.times :])
        return True

    def _move(self, change: Change) -> bool:
        """The newest event of the type at another time, earlier or up to the place at hand."""
        newest = next((event for event, _ in reversed(self.before) if event.type == change.name), None)
        if newest is None or newest.internal or newest.id in self.dropped:
            return False
        at = newest.time - int(change.value) * 1_000_000
        if not 0 < at <= self.place.time:
            return False
        self.dropped.add(newest.id)
        self.past.append((structs.replace(newest, id=f"{SUPPOSED}moved:{newest.id}", time=at), at))
        return True

    def _days(self, change: Change) -> bool:
        like = _like(self.before, change.name)
        if like is None and self.cause is not None:
            like = next((event for event, _ in self.kept if event.id == self.cause and event.type == change.name), None)
        user, group = receiver_of(self.setting.subject)
        for back in change.value:
            at = day_before(self.place.time, back, self.setting.zone)
            data = dict(like.data) if like is not None else {}
            made = Event(id=f"{SUPPOSED}day:{back}", type=change.name, time=at, user=user, group=group, data=data)
            if back:
                self.past.append((made, at))
            else:
                self.more.append(made)
        return True


def put(data: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Data with another value at a path of names."""
    name, dot, rest = path.partition(".")
    inner = data.get(name)
    return {**data, name: put(inner if isinstance(inner, dict) else {}, rest, value) if dot else value}


def day_before(instant: int, back: int, zone: str) -> int:
    """The same time of day, so many local days before."""
    tz = localtime.zone(zone) or localtime.UTC
    wanted, at = localtime.day_number(instant, tz) - back, instant - back * DAY
    off = wanted - localtime.day_number(at, tz)
    return at + off * DAY // 12  # where the clocks changed: two hours are enough


def _is_of(event: Event, name: str, setting: Setting) -> bool:
    if name:
        return event.type == name
    return not event.internal and setting.active(event.type)


def _like(before: Sequence[tuple[Event, int]], type_: str) -> Event | None:
    """The newest of its type, so that what a condition does not ask for is as usual."""
    return next((event for event, _ in reversed(before) if event.type == type_ and not event.internal), None)


def _all(edits: Sequence[Callable[[State], None]]) -> Callable[[State], None]:
    def change(state: State) -> None:
        for edit in edits:
            edit(state)

    return change


def _tagging(change: Change) -> Callable[[State], None]:
    fresh = [change.name] if change.name else [f"another {n + 1}" for n in range(change.times)]
    gone = [change.name] if change.name else list(change.value or ())

    def edit(state: State) -> None:
        if change.kind == kinds.TAG:
            state.tags = [*(tag for tag in state.tags if tag not in fresh), *fresh]
        else:
            state.tags = [tag for tag in state.tags if tag not in gone]

    return edit


# ---------------------------------------------------------------------- events


def _events(
    change: Change, before: Sequence[tuple[Event, int]], place: Placed, setting: Setting, count: int
) -> list[Event] | None:
    """The events that make a change; None where no event does."""
    subject = setting.subject
    if subject == PROGRAM and change.kind not in (kinds.EVENTS, kinds.TOLD, kinds.BY_HAND):
        return None
    if change.kind == kinds.MEMBERS:
        return _members(change, before, place, subject, count)
    if not change.name and change.kind in (kinds.JOIN, kinds.LEAVE):
        return _groups(change, before, place, setting, count)
    event = _event(change, before, place, setting)
    if event is None:
        return None
    made = []
    for number in range(change.times):
        data = event.data
        if change.fresh is not None:
            data = {**data, change.fresh: _new(data.get(change.fresh), number)}
        made.append(structs.replace(event, id=f"{SUPPOSED}{count + number}", data=data))
    return made


def _event(
    change: Change, before: Sequence[tuple[Event, int]], place: Placed, setting: Setting
) -> Event | None:
    types = {
        kinds.TRAIT: "group.updated" if kind_of(setting.subject) == GROUP else "user.updated",
        kinds.JOIN: "group.joined", kinds.LEAVE: "group.left", kinds.POINTS: "points.changed",
        kinds.BADGE: "badge.earned",
    }  # fmt: skip
    type_ = types.get(change.kind, change.name)
    user, group = receiver_of(setting.subject)
    found = Event(id="", type=type_, time=place.time, user=user, group=group)
    if change.kind == kinds.EVENTS:
        like = _active(before, setting) if not type_ else _like(before, type_)
        found.type = type_ or (like.type if like is not None else setting.usual)
        found.data = dict(like.data) if like is not None else {}
        if like is not None:
            found.user, found.group = like.user, like.group
        for name, value in change.data.items():
            found.data = put(found.data, name, value)
    elif change.kind == kinds.TRAIT:
        found.data = {change.name: settled(change.value, place.time, change.has)}
    elif change.kind in (kinds.JOIN, kinds.LEAVE):
        found.group = change.name
    elif change.kind == kinds.POINTS:
        found.data = {"account": change.name or setting.account, "delta": change.value}
    elif change.kind == kinds.BADGE:
        found.data = {"badge": change.name}
    elif change.kind in (kinds.BY_HAND, kinds.TOLD):
        found.internal, found.data = True, dict(change.data)
        found.depth = 0 if change.kind == kinds.BY_HAND else 1
    return found if found.type else None


def _active(before: Sequence[tuple[Event, int]], setting: Setting) -> Event | None:
    """The newest event that says that somebody was active."""
    return next(
        (it for it, _ in reversed(before) if not it.internal and setting.active(it.type) and not _keeps_house(it)), None
    )


def _keeps_house(event: Event) -> bool:
    return event.type in NOT_THEIR_DOING or event.type.partition(".")[0] in ("user", "group", "consent", "role")


def _members(
    change: Change, before: Sequence[tuple[Event, int]], place: Placed, subject: str, count: int
) -> list[Event] | None:
    """Users who join a group, or leave it."""
    if kind_of(subject) != GROUP:
        return None
    wanted, group = int(change.value), name_of(subject)
    if wanted > 0:
        who = [f"somebody {count + number + 1}" for number in range(wanted)]
    else:
        who = _there(before, "user")[wanted:]
        if len(who) < -wanted:
            return None
    type_, after = ("group.joined", True) if wanted > 0 else ("group.left", False)
    return [
        Event(id=f"{SUPPOSED}{count + n}", type=type_, time=place.time, user=one, group=group,
              changes={MEMBER: (not after, after)})
        for n, one in enumerate(who)
    ]  # fmt: skip


def _groups(
    change: Change, before: Sequence[tuple[Event, int]], place: Placed, setting: Setting, count: int
) -> list[Event] | None:
    """Groups that a user joins or leaves, whichever they are."""
    inside = _there(before, "group")
    if change.kind == kinds.JOIN:
        names = [name for name in setting.groups if name not in inside][: change.times]
    else:
        names = inside[-change.times :]
    if len(names) < change.times:
        return None
    type_ = "group.joined" if change.kind == kinds.JOIN else "group.left"
    return [
        Event(id=f"{SUPPOSED}{count + n}", type=type_, time=place.time, user=setting.subject, group=name)
        for n, name in enumerate(names)
    ]


def _there(before: Sequence[tuple[Event, int]], whose: str) -> list[str]:
    """Who joined and did not leave: users of a group, or groups of a user."""
    found: dict[str, None] = {}
    for event, _ in before:
        name = str((event.user if whose == "user" else event.group or event.data.get("group")) or "")
        if event.type == "group.joined" and name:
            found[name] = None
        elif event.type == "group.left":
            found.pop(name, None)
    return list(found)


def _new(like: Any, number: int) -> Any:
    """Something nobody had before."""
    return 1_000_000_007 + number if isinstance(like, (int, Decimal)) else f"another {number + 1}"


# ---------------------------------------------------------------------- what hangs on the events that came


def concrete(
    change: Change, events: Sequence[tuple[Event, int]], place: Placed, setting: Setting, cause: str | None = None
) -> Change | None:
    """A change that names what of these events it means; None where there is nothing of it."""
    if change.kind == kinds.TRAIT and any(event.id == cause and _writes(event, change.name) for event, _ in events):
        return replace(change, kind=kinds.DATA)  # set before, the event at hand would write over it
    if change.kind == kinds.DAYS and isinstance(change.value, Run):
        missing = _missing(change.value, {e.time for e, _ in events if e.type == change.name}, place, setting.zone)
        return replace(change, value=missing, times=len(missing)) if 0 < len(missing) <= _MOST_DAYS else None
    if change.kind == kinds.FEWER and isinstance(change.value, Age):
        edge = place.time - change.value.micros
        newer = sum(_is_of(event, change.name, setting) and event.time > edge for event, _ in events[: place.index])
        return replace(change, value=None, times=newer) if newer else None
    return change


def _writes(event: Event, name: str) -> bool:
    """Does an event make its data traits, and has this one?"""
    return event.type in ("user.signup", "user.updated", "group.updated") and name in event.data


_MOST_DAYS = 400


def _missing(run: Run, times: set[int], place: Placed, zone: str) -> tuple[int, ...]:
    """Days before the one at hand that a run of so many days lacks, the farthest first; 0 is that day itself."""
    tz = localtime.zone(zone) or localtime.UTC
    here = localtime.day_number(place.time, tz)
    there = {here - localtime.day_number(at, tz) for at in times if at <= place.time}
    first = 0 if run.today or 0 in there else 1
    return tuple(sorted((back for back in range(first, first + run.days) if back not in there), reverse=True))
