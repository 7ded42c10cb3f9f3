"""A change as JSON has it, and as words."""

from __future__ import annotations

from typing import Any

from engine.core.instants import format_instant
from engine.insight import change as kinds
from engine.insight.change import Change, settled
from engine.insight.subject import instant
from engine.insight.supposing import Placed, Setting, day_before


def row(change: Change, setting: Setting, place: Placed, names: dict[str, Any]) -> dict[str, Any]:
    """A change, ready for JSON.

    ``names``: of an event that is moved or missing, by id or type: what it is and when it came.
    """
    value = settled(change.value, place.time, change.has)
    name, at, has = change.name, place.time, change.has
    if change.kind == kinds.POINTS and not name:
        name = setting.account
    if not name and change.kind in (kinds.EVENTS, kinds.FEWER):
        name = names.get("active", "activity") if change.kind == kinds.EVENTS else "activity"
    if change.kind == kinds.MOVED:
        came = names.get(change.name, place.time)
        at = came - int(value) * 1_000_000
        value, has = instant(at), instant(came)
    elif change.kind == kinds.WITHOUT:
        at = names.get(str(change.value), place.time)
    elif change.kind == kinds.DAYS:
        value = [format_instant(day_before(place.time, back, setting.zone)) for back in change.value]
    return {
        "change": change.kind,
        "name": name,
        "times": change.times,
        "data": dict(change.data),
        "fresh": change.fresh,
        "value": value,
        "example": change.other,
        "has": has,
        "part": change.leaf,
        "at": instant(at),
        "text": _words(change, name, value, at),
    }


def _words(change: Change, name: str, value: Any, at: int) -> str:
    kind, times = change.kind, change.times
    if kind == kinds.EVENTS:
        brings = [f"{key} {_shown(one)}" for key, one in change.data.items()]
        brings += [f"another {change.fresh} each"] if change.fresh else []
        more = "" if change.leaf == "trigger" else " more"
        return f"{times}{more} {name}" + (f" with {', '.join(brings)}" if brings else "")
    if kind == kinds.POINTS:
        return f"{abs(int(value))} {'more' if value > 0 else 'fewer'} points in {name}"
    if kind == kinds.MEMBERS:
        return f"{abs(int(value))} {'more' if value > 0 else 'fewer'} members"
    if kind == kinds.DAYS:
        days = [it[:10] for it in value]
        shown = ", ".join(days) if len(days) <= _MOST_DAYS_SHOWN else f"{days[0]} ... {days[-1]} ({len(days)} days)"
        return f"{name} also on {shown}"
    if kind == kinds.FEWER and not change.name:
        return f"without the last {times} event(s)"
    fixed = {
        kinds.FEWER: f"{times} fewer {name}", kinds.MOVED: f"the last {name} already at {value}",
        kinds.WITHOUT: f"without the {name} of {instant(at)}",
        kinds.JOIN: f"a member of group {name}", kinds.LEAVE: f"no member of group {name}",
        kinds.BADGE: f"the badge {name}", kinds.TAG: f"the tag {name}", kinds.UNTAG: f"without the tag {name}",
        kinds.LISTED: f"on the list of segment {name}", kinds.UNLISTED: f"not on the list of segment {name}",
        kinds.BY_HAND: f"drumbeat trigger {name.partition(':')[2]}", kinds.TOLD: f"{name}, which the engine makes",
    }  # fmt: skip
    if not name and kind in _MANY:
        return f"{times} {'more' if kind in (kinds.TAG, kinds.JOIN) else 'fewer'} {_MANY[kind]}"
    if kind == kinds.MOVED and int(change.value) < 0:
        return f"the last {name} only at {value}"
    if kind in fixed:
        return fixed[kind]
    root = {kinds.DATA: "event", kinds.FIGURE: "metric"}.get(kind, "trait")
    if change.other:
        return f"{root} {name} anything but {_shown(change.has)}"
    return f"{root} {name} {_shown(value)} instead of {_shown(change.has)}"


_MOST_DAYS_SHOWN = 10
_MANY = {kinds.TAG: "tags", kinds.UNTAG: "tags", kinds.JOIN: "groups", kinds.LEAVE: "groups"}


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return f"'{value}'" if isinstance(value, str) else str(value)
