"""What a subject did, kept exactly and no more of it than some condition asks for.

A condition asks the book at compile time and gets a :class:`Reader`; equal needs share one series. The series of an
event type are updated with each event of it, also a late one, before any condition is judged:
``for series in book.by_type.get(event.type, ()): series.update(state, event, zone)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar, cast

from engine.core.hours import Hours
from engine.core.model import DAY, Event, State
from engine.core.series import (
    Count,
    Distinct,
    First,
    Gaps,
    Last,
    Latest,
    Seen,
    Series,
    Streak,
    StreakDays,
    Sums,
    Times,
    Totals,
    Where,
    bounds,
)

__all__ = ["HistoryBook", "Reader", "Series", "Streak", "Where"]

S = TypeVar("S", bound=Series)


@dataclass(frozen=True)
class Reader:
    """One question to the history, as (state, instant) -> answer."""

    key: str  #: the series it reads
    read: Callable[[State, int], Any]
    src: str | None = None  #: the same as Python source, an expression of ``m``
    next_change: Callable[[State, int], int | None] | None = None
    """Earliest instant after the given one at which passing time alone changes the answer; None: it never does."""

    def __call__(self, state: State, time: int) -> Any:
        return self.read(state, time)

    def count(self, state: State, time: int) -> int:
        """The answer of a counting reader."""
        return cast("int", self.read(state, time))

    def at_least(self, number: int) -> tuple[str, dict[str, Any]]:
        """"At least so many" of a counting reader, as source of ``m`` and the constants it names."""
        if self.src is not None:
            return f"{self.src} >= {number}", {}
        name = f"R{blake2b(f'{self.key}/{id(self)}'.encode(), digest_size=8).hexdigest()}"
        # a series shorter than that need not be searched
        short = f"len(m.state.series.get({self.key!r}, ())) >= {number}"
        return f"({short} and {name}(m.state, m.time) >= {number})", {name: self.read}


class HistoryBook:
    """Every series some condition of the program asks for.

    Parameters
    ----------
    late: how old an event may be and still be judged, microseconds; windows are kept that much longer.
    """

    def __init__(self, late: int = DAY) -> None:
        self.late = late
        self.by_type: dict[str, tuple[Series, ...]] = {}
        self.everywhere: tuple[Series, ...] = ()  #: updated with every type
        self._series: dict[str, Series] = {}
        self._readers: dict[tuple[Any, ...], Reader] = {}

    def _want(self, kind: type[S], type_: str, path: str, where: Where | None, window: int = 0) -> S:
        key = f"{kind.kind}:{type_}" + (f":{path}" if path else "")
        if where is not None:
            key += "?" + blake2b(where.text.encode(), digest_size=8).hexdigest()
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = kind(key, type_, tuple(path.split(".")) if path else (), where)
            self.by_type[type_] = (*self.by_type.get(type_, ()), series)
        series.keep = max(series.keep, window + self.late)
        return cast("S", series)

    def count(self, type_: str, within: int | None = None, where: Where | None = None) -> Reader:
        """How many events, ever or within a window."""

        def make() -> Reader:
            if within is None:
                key = self._want(Count, type_, "", where).key
                return Reader(key, lambda state, time: state.series.get(key, 0), f"m.state.series.get({key!r}, 0)")
            times = self._want(Times, type_, "", where, within)
            return Reader(times.key, times.within(within), next_change=_moves(times.key, within, None))

        return self._shared("count", type_, "", within, where, make)

    def numbers(
        self, what: str, type_: str, field: str, within: int | None = None, where: Where | None = None
    ) -> Reader:
        """``sum``, ``avg``, ``min`` or ``max`` of a field; what is no number is left out."""

        def make() -> Reader:
            if within is None:
                totals = self._want(Totals, type_, field, where)
                return Reader(totals.key, totals.ever(what))
            sums = self._want(Sums, type_, field, where, within)
            return Reader(sums.key, sums.within(what, within), next_change=_moves(sums.key, within, 1))

        return self._shared(what, type_, field, within, where, make)

    def _shared(
        self, what: str, type_: str, field: str, within: int | None, where: Where | None, make: Callable[[], Reader]
    ) -> Reader:
        """One reader for equal questions, so that the short ways can tell that they are equal."""
        question = (what, type_, field, within, where.text if where is not None else None)
        found = self._readers.get(question)
        if found is None:
            found = self._readers[question] = make()
        return found

    def distinct(self, type_: str, field: str, within: int | None = None, where: Where | None = None) -> Reader:
        """How many different values a field had; lists, maps and missing values are left out."""
        if within is None:
            key = self._want(Distinct, type_, field, where).key
            return Reader(key, lambda state, time: len(state.series.get(key, ())))
        seen = self._want(Seen, type_, field, where, within)
        return Reader(seen.key, seen.within(within), next_change=_moves(seen.key, within, 0))

    def first(self, type_: str) -> Reader:
        """The earliest event of the type, or None."""
        return _event_reader(self._want(First, type_, "", None).key)

    def last(self, type_: str) -> Reader:
        """The newest event of the type, or None."""
        return _event_reader(self._want(Last, type_, "", None).key)

    def latest(self, type_: str) -> Reader:
        """The instant of the newest event of the type, or None."""
        key = self._want(Latest, type_, "", None).key
        return Reader(key, lambda state, time: state.series.get(key))

    def interval(self, type_: str, percent: int) -> Reader:
        """The subject's own usual time between two events of the type, or None."""

        def make() -> Reader:
            gaps = self._want(Gaps, type_, "", None)
            return Reader(gaps.key, gaps.percentile(percent))

        return self._shared(f"interval{percent}", type_, "", None, None, make)

    def streak(self, type_: str) -> Streak:
        """The local days on which the type happened."""
        return self._want(Streak, type_, "", None)

    def streak_days(self, type_: str) -> StreakDays:
        """The same, and which event was the first of its day: for triggers."""
        return self._want(StreakDays, type_, "", None)

    def hours(self, types: frozenset[str]) -> Hours:
        """The hours at which events of some types happened; without a type: of any, from outside."""
        key = "hours:" + ",".join(sorted(types))
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Hours(key, "", (), None)
            for type_ in sorted(types):
                self.by_type[type_] = (*self.by_type.get(type_, ()), series)
            if not types:
                self.everywhere = (*self.everywhere, series)
        return cast("Hours", series)

    def of(self, type_: str) -> tuple[Series, ...]:
        """Every series to update with an event of a type."""
        return self.by_type.get(type_, ()) + self.everywhere


def _event_reader(key: str) -> Reader:
    def read(state: State, time: int) -> Event | None:
        data = state.series.get(key)
        if data is None:
            return None
        at, id_, type_, user, group, payload = data
        return Event(id=id_, type=type_, time=at, user=user, group=group, data=payload)

    return Reader(key, read)


def _moves(key: str, window: int, place: int | None) -> Callable[[State, int], int | None]:
    """When time alone changes a windowed read: the oldest entry inside leaves, or one ahead comes in."""

    def next_change(state: State, time: int) -> int | None:
        data = state.series.get(key)
        if data is None:
            return None
        times = data if place is None else data[place]
        low, high = bounds(times, time, window)
        found: int | None = times[low] + window if low < high else None
        if high < len(times) and (found is None or times[high] < found):
            found = times[high]
        return found

    return next_change


_USUAL = 64
"""Values of one series that are not worth a count."""


def long_history(state: State) -> int:
    """About how many values the long series of a subject hold: what it takes beyond what every subject does."""
    held = 0
    for data in state.series.values():
        if type(data) is list and data:
            inner = data[-1]  # times alone, or columns of equal length
            size = len(inner) * 2 if type(inner) is list else len(data)
            if size > _USUAL:
                held += size
    return held
