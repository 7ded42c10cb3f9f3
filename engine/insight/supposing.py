"""Other events than came: the changes of ``levers.py`` as what the engine reads, and as words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from msgspec import structs

from engine.core.model import Event, State
from engine.core.subjects import GROUP, PROGRAM, kind_of, receiver_of
from engine.insight import levers
from engine.insight.levers import Change, settled
from engine.insight.subject import instant


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


def apply(
    changes: Sequence[Change],
    events: Sequence[tuple[Event, int]],
    place: Placed,
    subject: str,
    account: str,
    cause: str | None = None,
) -> Made | None:
    """The events as they would have been; None when a change cannot be made there.

    Parameters
    ----------
    events, place: those of the subject, and where others come in.
    subject, account: whose, and the account that is meant where none is named.
    cause: id of the event at hand, which others leave in its place.
    """
    kept = list(events)
    more: list[Event] = []
    edits: list[Callable[[State], None]] = []
    dropped: set[str] = set()
    for change in changes:
        if change.kind == levers.DATA:
            at = next((n for n, (event, _) in enumerate(kept) if event.id == cause and not event.internal), None)
            if at is None:
                return None
            event, clock = kept[at]
            value = settled(change.value, place.time, change.has)
            kept[at] = (structs.replace(event, data={**event.data, change.name: value}), clock)
        elif change.kind == levers.FEWER:
            theirs = [e.id for e, _ in kept[: place.index] if e.type == change.name and e.id not in dropped]
            if len(theirs) < change.times:
                return None
            dropped.update(theirs[-change.times :])
        elif change.kind in (levers.TAG, levers.UNTAG):
            edits.append(_tagging(change.name, put_on=change.kind == levers.TAG))
        else:
            made = _events(change, kept[: place.index], place, subject, account, len(more))
            if made is None:
                return None
            more += made
    if edits and (place.index >= len(kept)):
        return None
    out = [*kept[: place.index], *((event, place.clock) for event in more), *kept[place.index :]]
    hook = kept[place.index][0].id if edits else ""
    return Made([it for it in out if it[0].id not in dropped], {hook: _all(edits)} if edits else {})


def _all(edits: Sequence[Callable[[State], None]]) -> Callable[[State], None]:
    def change(state: State) -> None:
        for edit in edits:
            edit(state)

    return change


def _tagging(name: str, *, put_on: bool) -> Callable[[State], None]:
    def change(state: State) -> None:
        others = [tag for tag in state.tags if tag != name]
        state.tags = [*others, name] if put_on else others

    return change


def _events(
    change: Change, before: Sequence[tuple[Event, int]], place: Placed, subject: str, account: str, count: int
) -> list[Event] | None:
    """The events that make a change; None where no event does."""
    if subject == PROGRAM and change.kind != levers.EVENTS:
        return None
    kind = kind_of(subject)
    types = {
        levers.TRAIT: "group.updated" if kind == GROUP else "user.updated",
        levers.JOIN: "group.joined", levers.LEAVE: "group.left", levers.POINTS: "points.changed",
        levers.BADGE: "badge.earned",
    }  # fmt: skip
    type_ = types.get(change.kind, change.name)
    user, group = receiver_of(subject)
    data: dict[str, Any] = {}
    if change.kind == levers.EVENTS:
        # as the newest of its type, so that what the condition does not ask for is as usual
        like = next((event for event, _ in reversed(before) if event.type == type_ and not event.internal), None)
        data = {**(like.data if like is not None else {}), **change.data}
    elif change.kind == levers.TRAIT:
        data = {change.name: settled(change.value, place.time, change.has)}
    elif change.kind in (levers.JOIN, levers.LEAVE):
        group = change.name
    elif change.kind == levers.POINTS:
        data = {"account": change.name or account, "delta": change.value}
    elif change.kind == levers.BADGE:
        data = {"badge": change.name}
    made = []
    for number in range(change.times):
        own = data if change.fresh is None else {**data, change.fresh: _new(data.get(change.fresh), number)}
        id_ = f"supposed:{count + number}"
        made.append(Event(id=id_, type=type_, time=place.time, user=user, group=group, data=own))
    return made


def _new(like: Any, number: int) -> Any:
    """Something nobody had before."""
    return 1_000_000_007 + number if isinstance(like, (int, Decimal)) else f"another {number + 1}"


# ---------------------------------------------------------------------- words


def row(change: Change, account: str, place: Placed) -> dict[str, Any]:
    """A change, ready for JSON."""
    value = settled(change.value, place.time, change.has)
    name = change.name or (account if change.kind == levers.POINTS else "")
    return {
        "change": change.kind,
        "name": name,
        "times": change.times,
        "data": dict(change.data),
        "fresh": change.fresh,
        "value": value,
        "example": change.other,
        "has": change.has,
        "part": change.leaf,
        "at": instant(place.time),
        "text": _words(change, name, value),
    }


def _words(change: Change, name: str, value: Any) -> str:
    kind = change.kind
    if kind == levers.EVENTS:
        brings = [f"{key} {_shown(one)}" for key, one in change.data.items()]
        brings += [f"another {change.fresh} each"] if change.fresh else []
        more = "" if change.leaf == "trigger" else " more"
        return f"{change.times}{more} {name}" + (f" with {', '.join(brings)}" if brings else "")
    if kind == levers.FEWER:
        return f"{change.times} fewer {name}"
    if kind == levers.POINTS:
        return f"{abs(int(value))} {'more' if value > 0 else 'fewer'} points in {name}"
    fixed = {
        levers.JOIN: f"a member of group {name}", levers.LEAVE: f"no member of group {name}",
        levers.BADGE: f"the badge {name}", levers.TAG: f"the tag {name}", levers.UNTAG: f"without the tag {name}",
    }  # fmt: skip
    if kind in fixed:
        return fixed[kind]
    root = "event" if kind == levers.DATA else "trait"
    if change.other:
        return f"{root} {name} anything but {_shown(change.has)}"
    return f"{root} {name} {_shown(value)} instead of {_shown(change.has)}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) else str(value)
