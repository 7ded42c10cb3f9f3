"""The kinds of kept history, each one series of one event type; :mod:`engine.core.history` hands them out.

Rule 1: what is kept lives in ``State.series[key]`` as plain data, so the same subject reads the same everywhere.
Rule 2: entries are sorted by event time, equal times in order of arrival; late ones are put in their place.
Rule 3: windows are half-open, ``(t - W, t]``; what lies after ``t`` is not seen by a windowed read.
Rule 4: an entry that no window can reach any more (not even for an event ``late`` old) is dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import sub as minus
from typing import Any, ClassVar, Final, Protocol, cast

from engine.core.chance import effect_key
from engine.core.localtime import day_number
from engine.core.localtime import zone as zone_named
from engine.core.model import Event, State
from engine.core.numerals import Number, exact, number, packed, scaled, text_key
from engine.core.values import ROUGH
from engine.errors import ExpressionError

_UTC: Final = zone_named("UTC")


class Use(Protocol):
    """The function being written, as ``Series.lines`` needs it."""

    def __call__(self, value: Any, /) -> str:
        """Make a value a constant; its name."""
        raise NotImplementedError  # a protocol

    def on_data(self, where: Where, /) -> str | None:
        """A condition as source over the local name ``data``; None when it asks for more than that."""
        raise NotImplementedError  # a protocol


@dataclass(frozen=True)
class Where:
    """A condition on the event alone; an error of it counts as False."""

    text: str  #: normal form: equal texts mean equal conditions
    test: Callable[[Event], bool]
    body: str | None = None  #: Python source of it, an expression of ``m``, for ``core/fuse.py``
    names: Mapping[str, Any] = field(default_factory=dict)  #: the constants that source names

WHO: Final = "\x01"
OWN: Final = {"user": WHO + "user", "group": WHO + "group"}
"""Fields of an event itself that ``distinct`` can count -> the path they are kept by; no field of data is called so."""



class Series:
    """One kept series of one event type. ``keep`` grows with the largest window asked for."""

    __slots__ = ("keep", "key", "path", "type", "where", "written")
    kind: ClassVar[str] = ""

    def __init__(self, key: str, type_: str, path: tuple[str, ...], where: Where | None) -> None:
        self.key = key
        self.type = type_
        self.path = path
        self.where = where.test if where is not None else None
        self.written = where
        self.keep = 0

    def counts(self, event: Event) -> bool:
        """Does ``where`` let the event in?"""
        try:
            return self.where is None or self.where(event)
        except ExpressionError:
            return False

    def value(self, event: Event) -> Any:
        """The field of the event this series keeps."""
        if self.path[0][0] == WHO:
            whose = event.user if self.path[0] == OWN["user"] else event.group
            # told apart is all they must be, and whoever is erased is not to be found in the state of a group
            return None if whose is None else effect_key(whose)[:16]
        found: Any = event.data
        for name in self.path:
            if found.__class__ is not dict:
                return None
            found = found.get(name)
        return found

    def update(self, state: State, event: Event, zone: str) -> None:
        """Take the event in; ``zone`` is the IANA name of the subject's zone."""
        raise NotImplementedError

    def lines(self, use: Use) -> list[str]:
        """``update`` as Python source over the names ``state series event data time zone``, for ``core/fuse.py``.

        What is written out is the case of every day; the rest is left to ``update``.
        """
        return [f"{use(self.update)}(state, event, zone)"]

    def _if_counted(self, lines: list[str], use: Use) -> list[str]:
        if self.written is None:
            return lines
        source = use.on_data(self.written)
        if source is None:
            return [f"if {use(self.counts)}(event):", *(f" {line}" for line in lines)]
        return [
            f"try: counts = {source}",
            "except Exception: counts = False",
            "if counts:",
            *(f" {line}" for line in lines),
        ]


class Times(Series):
    """Instants within a window: a sorted list."""

    __slots__ = ()
    kind = "times"

    def update(self, state: State, event: Event, zone: str) -> None:
        if self.where is not None and not self.counts(event):
            return
        time = event.time
        times = state.series.get(self.key)
        if times is None:
            state.series[self.key] = [time]
        elif time >= times[-1]:
            times.append(time)
            if not len(times) & 7 and times[len(times) >> 3] <= time - self.keep:
                dropped(times, self.keep)
        else:
            times.insert(bisect_right(times, time), time)

    def lines(self, use: Use) -> list[str]:
        drop = f"{use(dropped)}(times, {self.keep})"
        lines = [
            f"times = series.get({self.key!r})",
            f"if times is None: series[{self.key!r}] = [time]",
            "elif time >= times[-1]:",
            " times.append(time)",
            f" if not len(times) & 7 and times[len(times) >> 3] <= time - {self.keep}: {drop}",
            f"else: times.insert({use(bisect_right)}(times, time), time)",
        ]
        return self._if_counted(lines, use)

    def within(self, window: int) -> Callable[[State, int], int]:
        """How many entries lie in ``(t - window, t]``."""
        key = self.key

        def read(state: State, time: int) -> int:
            times = state.series.get(key)
            if times is None:
                return 0
            edge = time - window
            low = 0 if times[0] > edge else bisect_right(times, edge)
            return (len(times) if times[-1] <= time else bisect_right(times, time)) - low

        return read


def dropped(times: list[int], keep: int) -> int:
    """Forget what lies ``keep`` before the newest instant; how many were forgotten.

    Callers ask only once an eighth of the list is old, so that shifting the rest costs nothing in the long run. Where
    it is instants alone they ask with every eighth entry: the eldest are long out of the cache.
    """
    gone = bisect_right(times, times[-1] - keep)
    del times[:gone]
    return gone


class Sums(Series):
    """Numbers within a window: data is ``[scale, times, sums]``, running sums in whole numbers of ``10 ** -scale``."""

    __slots__ = ()
    kind = "sums"

    def update(self, state: State, event: Event, zone: str) -> None:
        if self.where is not None and not self.counts(event):
            return
        data = state.series.get(self.key)
        found = scaled(self.value(event), data[0] if data is not None else 0)
        if found is None:
            return
        amount, scale = found
        if data is None:
            state.series[self.key] = [scale, [event.time], [packed(amount)]]
            return
        if scale > data[0]:
            more = 10 ** (scale - data[0])
            data[0], data[2] = scale, [packed(int(one) * more) for one in data[2]]
        times, sums, time = data[1], data[2], event.time
        if time >= times[-1]:
            times.append(time)
            sums.append(packed(int(sums[-1]) + amount))
        else:
            place = bisect_right(times, time)
            times.insert(place, time)
            sums.insert(place, sums[place - 1] if place else 0)
            sums[place:] = [packed(int(one) + amount) for one in sums[place:]]
        if times[len(times) >> 3] <= times[-1] - self.keep:
            gone = dropped(times, self.keep)
            base = int(sums[gone - 1])
            data[2] = [packed(int(one) - base) for one in sums[gone:]]

    def within(self, what: str, window: int) -> Callable[[State, int], Any]:
        """``sum avg min max`` of the numbers in ``(t - window, t]``."""
        key, answer, empty = self.key, _ANSWERS[what], 0 if what == "sum" else None

        def read(state: State, time: int) -> Any:
            data = state.series.get(key)
            if data is None:
                return empty
            low, high = bounds(data[1], time, window)
            return answer(data[0], data[2], low, high) if low < high else empty

        return read


def _sum(scale: int, sums: list[Any], low: int, high: int) -> Number:
    return number(int(sums[high - 1]) - (int(sums[low - 1]) if low else 0), scale)


def _avg(scale: int, sums: list[Any], low: int, high: int) -> Number:
    return ROUGH.divide(_sum(scale, sums, low, high), high - low)


def _each(sums: list[Any], low: int, high: int) -> list[int]:
    """The single numbers behind the running sums."""
    after = [int(one) for one in sums[low:high]]
    before = [int(sums[low - 1]) if low else 0, *after[:-1]]
    return list(map(minus, after, before))


_ANSWERS: Final[dict[str, Callable[[int, list[Any], int, int], Number]]] = {
    "sum": _sum,
    "avg": _avg,
    "min": lambda scale, sums, low, high: number(min(_each(sums, low, high)), scale),
    "max": lambda scale, sums, low, high: number(max(_each(sums, low, high)), scale),
}


def bounds(times: list[int], time: int, window: int) -> tuple[int, int]:
    """Places of the first entry inside the window and of the first one after it."""
    high = len(times) if times and times[-1] <= time else bisect_right(times, time)
    return bisect_right(times, time - window), high


class Seen(Series):
    """Different values within a window: data is ``[times, values]``, each value as text."""

    __slots__ = ()
    kind = "seen"

    def update(self, state: State, event: Event, zone: str) -> None:
        value = text_key(self.value(event))
        if value is None or not self.counts(event):
            return
        data = state.series.get(self.key)
        if data is None:
            state.series[self.key] = [[event.time], [value]]
            return
        times, values = data
        place = bisect_right(times, event.time)
        times.insert(place, event.time)
        values.insert(place, value)
        if times[len(times) >> 3] <= times[-1] - self.keep:
            del values[: dropped(times, self.keep)]

    def within(self, window: int) -> Callable[[State, int], int]:
        """How many different values lie in ``(t - window, t]``."""
        key = self.key

        def read(state: State, time: int) -> int:
            data = state.series.get(key)
            if data is None:
                return 0
            low, high = bounds(data[0], time, window)
            return len(set(data[1][low:high]))

        return read


class Count(Series):
    """How many there ever were."""

    __slots__ = ()
    kind = "count"

    def update(self, state: State, event: Event, zone: str) -> None:
        if self.where is None or self.counts(event):
            state.series[self.key] = state.series.get(self.key, 0) + 1

    def lines(self, use: Use) -> list[str]:
        return self._if_counted([f"series[{self.key!r}] = series.get({self.key!r}, 0) + 1"], use)


class Totals(Series):
    """Sum, least and greatest number there ever was: data is ``[scale, count, sum, min, max]``."""

    __slots__ = ()
    kind = "totals"

    def update(self, state: State, event: Event, zone: str) -> None:
        if self.where is not None and not self.counts(event):
            return
        data = state.series.get(self.key)
        found = scaled(self.value(event), data[0] if data is not None else 0)
        if found is None:
            return
        amount, scale = found
        if data is None:
            unit = packed(amount)
            state.series[self.key] = [scale, 1, unit, unit, unit]
            return
        if scale > data[0]:
            more = 10 ** (scale - data[0])
            data[0] = scale
            data[2:] = [packed(int(one) * more) for one in data[2:]]
        _, count, whole, least, most = data
        data[1] = count + 1
        data[2] = packed((whole if whole.__class__ is int else int(whole)) + amount)
        if amount < (least if least.__class__ is int else int(least)):
            data[3] = packed(amount)
        elif amount > (most if most.__class__ is int else int(most)):
            data[4] = packed(amount)

    def ever(self, what: str) -> Callable[[State, int], Any]:
        """``sum avg min max`` of all numbers."""
        key, place = self.key, {"sum": 2, "avg": 2, "min": 3, "max": 4}[what]
        average = what == "avg"
        kept: list[Any] = [None, 0, None]  # several conditions ask for the same sum at one event

        def read(state: State, time: int) -> Any:
            data = state.series.get(key)
            if data is None:
                return 0 if what == "sum" else None
            whole, scale = data[place], data[0]
            if whole is not kept[0] or scale != kept[1]:
                kept[:] = whole, scale, exact(int(whole), scale)
            return ROUGH.divide(kept[2], data[1]) if average else kept[2]

        return read


class Distinct(Series):
    """All values there ever were, as the names of a map."""

    __slots__ = ()
    kind = "distinct"

    def update(self, state: State, event: Event, zone: str) -> None:
        value = text_key(self.value(event))
        if value is not None and self.counts(event):
            state.series.setdefault(self.key, {})[value] = 1


class Latest(Series):
    """The newest instant."""

    __slots__ = ()
    kind = "latest"

    def update(self, state: State, event: Event, zone: str) -> None:
        time = state.series.get(self.key)
        if (time is None or event.time > time) and self.counts(event):
            state.series[self.key] = event.time


class First(Series):
    """The earliest event; of several at one instant the first to arrive."""

    __slots__ = ()
    kind = "first"

    def update(self, state: State, event: Event, zone: str) -> None:
        data = state.series.get(self.key)
        if data is None or event.time < data[0]:
            state.series[self.key] = _record(event)


class Last(Series):
    """The newest event; of several at one instant the last to arrive."""

    __slots__ = ()
    kind = "last"

    def update(self, state: State, event: Event, zone: str) -> None:
        data = state.series.get(self.key)
        if data is None or event.time >= data[0]:
            state.series[self.key] = _record(event)


def _record(event: Event) -> list[Any]:
    return [event.time, event.id, event.type, event.user, event.group, event.data]


class Streak(Series):
    """Local days with an event, as merged runs: ``[first, last, first, last ...]`` in day numbers.

    All runs are kept: a late event may join two of them.
    """

    __slots__ = ()
    kind = "streak"

    def update(self, state: State, event: Event, zone: str) -> None:
        day = day_number(event.time, zone_named(zone) or cast("Any", _UTC))
        runs = state.series.get(self.key)
        if runs is None:
            state.series[self.key] = [day, day]
            return
        place = bisect_right(runs, day)
        if place & 1 or (place and runs[place - 1] == day):
            return  # inside a run, or its last day
        joins_before = place > 0 and runs[place - 1] == day - 1
        joins_after = place < len(runs) and runs[place] == day + 1
        low, high = place - 1 if joins_before else place, place + 1 if joins_after else place
        runs[low:high] = [] if joins_before and joins_after else [day] if joins_before or joins_after else [day, day]

    def length(self, state: State, day: int | None = None) -> int:
        """Days of the run that ends on ``day``, or on the day before when nothing happened on it; else 0.

        Without a day: of the newest run.
        """
        runs = state.series.get(self.key)
        if not runs:
            return 0
        if day is None:
            return cast("int", runs[-1] - runs[-2] + 1)
        place = bisect_right(runs, day)
        if place & 1:
            return cast("int", day - runs[place - 1] + 1)
        if place and runs[place - 1] >= day - 1:
            return cast("int", runs[place - 1] - runs[place - 2] + 1)
        return 0


class StreakDays(Streak):
    """A streak that remembers, for the newest new day, which event made it and how long the runs beside it were."""

    __slots__ = ()
    kind = "streak-days"

    def update(self, state: State, event: Event, zone: str) -> None:
        day = day_number(event.time, zone_named(zone) or cast("Any", _UTC))
        runs = state.series.get(self.key, ())
        place = bisect_right(runs, day)
        if not place & 1 and not (place and runs[place - 1] == day):
            before = runs[place - 1] - runs[place - 2] + 1 if place and runs[place - 1] == day - 1 else 0
            after = runs[place + 1] - runs[place] + 1 if place < len(runs) and runs[place] == day + 1 else 0
            state.memory[self.key] = [event.id, before, after]
        super().update(state, event, zone)

    def reached(self, state: State, event: Event, days: int) -> bool:
        """Did this very event make a run of that many days, where there was none?"""
        mark = state.memory.get(self.key)
        if mark is None or mark[0] != event.id:
            return False
        before, after = mark[1], mark[2]
        return cast("bool", before < days and after < days and before + 1 + after >= days)
