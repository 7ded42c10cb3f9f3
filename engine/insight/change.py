"""One thing that would have been otherwise: its kinds, and the numbers in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from engine.core.instants import format_instant
from engine.insight.leaves import is_number, small, unit_of

EVENTS, FEWER, TRAIT, DATA, JOIN, LEAVE, POINTS, BADGE, TAG, UNTAG = (
    "events", "fewer", "trait", "data", "join", "leave", "points", "badge", "tag", "untag",
)  # fmt: skip
"""More events of a type; fewer; a field of the user or group; one of the event at hand; and what the engine keeps."""
MOVED, WITHOUT, DAYS, MEMBERS = "moved", "without", "days", "members"
"""The newest event of a type at another time; one event had not come; events on days gone by; members of a group."""
FIGURE, LISTED, UNLISTED, BY_HAND, TOLD = "figure", "listed", "unlisted", "by_hand", "told"
"""A figure of a metric; a list of a segment; ``drumbeat trigger``; an event that only the engine makes."""

BESIDE: Final = frozenset({FIGURE, LISTED, UNLISTED})
"""What is no event: the world beside the subject."""


@dataclass(frozen=True)
class Change:
    """One thing that would be otherwise."""

    kind: str
    leaf: str  #: the part of the condition it is for
    name: str  #: event type, field, group, account, badge, tag, metric or segment; of an event "": any activity
    value: Any = None
    """Of a field or figure what it would be; of points and members how many more; of ``moved`` seconds earlier; of
    ``days`` how many days before; of ``without`` the event's id."""
    has: Any = None  #: what there is
    times: int = 1  #: how many events
    data: Mapping[str, Any] = field(default_factory=dict)  #: what those events must bring
    fresh: str | None = None  #: the field in which each of them must bring something new
    other: bool = False  #: ``value`` is an example: anything else than what there is would do


@dataclass(frozen=True)
class Age:
    """A time of some age at the moment of the decision: what a field would have to hold."""

    micros: int
    old: bool  #: at least so old; else younger

    def at(self, instant: int, has: Any) -> str:
        """As text, in the form of what is there."""
        edge = instant - self.micros if self.old else instant - self.micros + 1_000_000
        day = isinstance(has, date) and not isinstance(has, datetime)
        return format_instant(edge)[:10] if day else format_instant(edge)


@dataclass(frozen=True)
class Run:
    """Days in a row, as a condition or a trigger asks for them."""

    days: int
    savers: int = 0
    today: bool = True  #: the day of the decision is one of them


def settled(value: Any, instant: int, has: Any) -> Any:
    """The value of a change at the instant of a decision."""
    return value.at(instant, has) if isinstance(value, Age) else value


def span(change: Change) -> tuple[Decimal, Decimal, Decimal] | None:
    """(what there is, what it would be, the smallest step towards it) of a change of a number."""
    if change.kind in (TRAIT, DATA, FIGURE) and is_number(change.value) and is_number(change.has):
        there, value = Decimal(change.has), Decimal(change.value)
    elif change.kind in (POINTS, MEMBERS, MOVED):
        there, value = Decimal(0), Decimal(change.value)
    elif change.kind == EVENTS and (field_ := _amount_of(change)) is not None and change.data[field_] > 0:
        there, value = Decimal(0), Decimal(change.data[field_])
    else:
        return None
    whole = change.kind in (POINTS, MEMBERS, MOVED)
    whole = whole or (isinstance(change.value, int) and isinstance(change.has, int))
    unit = Decimal(1) if whole else unit_of(there, value)
    return there, value, unit if value > there else -unit


def with_number(change: Change, value: Decimal) -> Change:
    """The same change with another number."""
    field_ = _amount_of(change)
    if change.kind == EVENTS and field_ is not None:
        return replace(change, data={**change.data, field_: small(value)})
    return replace(change, value=small(value))


def _amount_of(change: Change) -> str | None:
    numbers = [name for name, one in change.data.items() if is_number(one)]
    return numbers[-1] if numbers else None
