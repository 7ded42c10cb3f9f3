"""What the metrics of a catalog mean: how each is taken of everybody when its period turns.

Rule 1: one walk over all subjects takes the figures of all metrics that turn together; each is looked at once.
Rule 2: subjects are looked at as they stand at the turn, and never changed.
Rule 3: who cannot be judged (a condition or value errs) is left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, ClassVar

from engine.core import localtime
from engine.core.census import exact, placed
from engine.core.choosing import Figure, figure
from engine.core.figures import STASH, borders
from engine.core.fold import is_erased
from engine.core.history import Reader
from engine.core.model import DAY, State
from engine.core.moment import Condition, Env, Moment, Value
from engine.core.plan import Plan
from engine.core.subjects import PROGRAM_KIND, USER

_SHORT = Context(prec=12)


@dataclass(frozen=True, kw_only=True)
class Span:
    """The period that ends at a turn."""

    begin: int
    end: int  #: the turn


class Tally(ABC):
    """Counts one metric of one period."""

    @abstractmethod
    def look(self, state: State) -> None:
        """Take one subject in."""

    @abstractmethod
    def result(self) -> Any:
        """The figure."""


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """One metric of the catalog."""

    kind: ClassVar[str] = ""
    name: str
    per: str  #: day | week | month | quarter
    meaning: str  #: its text in normal form: figures of another meaning are none of this one
    title: str | None = None
    subject: str = USER  #: who is looked at
    only: Condition | None = None  #: of them those for whom this holds

    def tally(self, span: Span, plan: Plan) -> Tally:
        """Begin to count."""
        raise NotImplementedError  # a metric that looks at nobody has none

    def lets(self, state: State, at: int, plan: Plan) -> bool:
        """Does ``only`` hold?"""
        if self.only is None:
            return True
        try:
            return self.only.test(placed(state, at, plan))
        except Exception:  # an error is neither true nor false: he is left out
            return False


@dataclass(frozen=True, kw_only=True)
class CountUsers(Metric):
    """How many did something in a window that ends at the turn."""

    kind: ClassVar[str] = "count_users"
    latest: tuple[Reader, ...] = ()  #: of what; (): of anything that is a sign of life
    within: int | None = None  #: microseconds; None: the period

    def tally(self, span: Span, plan: Plan) -> Tally:
        after = span.begin if self.within is None else span.end - self.within
        return _Counting(self, plan, after, span.end)


class _Counting(Tally):
    def __init__(self, metric: CountUsers, plan: Plan, after: int, end: int) -> None:
        self.metric, self.plan, self.after, self.end = metric, plan, after, end
        self.found = 0

    def look(self, state: State) -> None:
        if _active(state, self.metric.latest, self.after) and self.metric.lets(state, self.end, self.plan):
            self.found += 1

    def result(self) -> int:
        return self.found


def _active(state: State, latest: tuple[Reader, ...], after: int) -> bool:
    if not latest:
        return state.last_active is not None and state.last_active > after
    return any((at := it.read(state, after)) is not None and at > after for it in latest)


@dataclass(frozen=True, kw_only=True)
class Retention(Metric):
    """Of those who came so many days before, the share that was back in the period, as a fraction of one."""

    kind: ClassVar[str] = "retention"
    days: int = 7
    first: Reader | None = None  #: the first event of the type that brings them; None: their sign-up
    latest: Reader | None = None  #: what counts as being back; None: any sign of life

    def tally(self, span: Span, plan: Plan) -> Tally:
        tz = localtime.zone(plan.env.zone) or localtime.UTC
        born = Span(
            begin=localtime.add_days(span.begin, -self.days, "00:00", tz),
            end=localtime.add_days(span.end, -self.days, "00:00", tz),
        )
        return _Returning(self, plan, born, span)

    def came(self, state: State) -> int | None:
        """When it came."""
        if self.first is None:
            return state.created_at
        found = self.first.read(state, 0)
        return None if found is None else found.time


class _Returning(Tally):
    def __init__(self, metric: Retention, plan: Plan, born: Span, span: Span) -> None:
        self.metric, self.plan, self.born, self.span = metric, plan, born, span
        self.latest = () if metric.latest is None else (metric.latest,)
        self.cohort = self.back = 0

    def look(self, state: State) -> None:
        came = self.metric.came(state)
        if came is None or not self.born.begin < came <= self.born.end:
            return
        if self.metric.lets(state, self.span.end, self.plan):
            self.cohort += 1
            self.back += _active(state, self.latest, self.span.begin)

    def result(self) -> Figure | None:
        return share(self.back, self.cohort)


@dataclass(frozen=True, kw_only=True)
class Computed(Metric):
    """An expression on the program itself: its own history, and other metrics."""

    kind: ClassVar[str] = "value"
    subject: str = PROGRAM_KIND
    value: Value
    asks: tuple[str, ...] = ()  #: the metrics it looks at

    def compute(self, state: State, at: int, now: int, env: Env) -> Figure | None:
        """Its figure at a turn; None where it cannot be computed."""
        try:
            found = figure(self.value.get(Moment(state, None, at, now, env)))
        except Exception:  # an error is no figure
            return None
        return None if found is None else exact(_short(found))


@dataclass(frozen=True, kw_only=True)
class Score(Metric):
    """Who is how far up among all: equal parts by one value (or, for RFM, by three)."""

    kind: ClassVar[str] = "score"
    values_of: tuple[Callable[[State, int, Env], Figure | None], ...]  #: of each part, at an instant
    parts: int = 5
    names: tuple[str, ...] = ()  #: names of the values, where there are several

    def values(self, state: State, at: int, env: Env) -> list[Figure] | None:
        """What a subject is scored by at an instant; None: it is not."""
        if is_erased(state):
            return None
        if self.only is not None:
            try:
                if not self.only.test(Moment(state, None, at, at, env)):
                    return None
            except Exception:  # as in ``lets``
                return None
        found: list[Figure] = []
        for read in self.values_of:
            try:
                value = read(state, at, env)
            except Exception:  # it cannot be judged, so it has no score
                return None
            if value is None:
                return None
            found.append(exact(value))
        return found

    def tally(self, span: Span, plan: Plan) -> Tally:
        return _Scoring(self, plan, span.end)


class _Scoring(Tally):
    def __init__(self, metric: Score, plan: Plan, at: int) -> None:
        self.metric, self.plan, self.at = metric, plan, at
        self.columns: list[list[Figure]] = [[] for _ in metric.values_of]

    def look(self, state: State) -> None:
        env = self.plan.env
        for at, kept in state.memory.get(STASH, {}).get(self.metric.name, ()):
            if at == self.at:  # something was decided for it between the turn and now
                found = kept
                break
        else:
            found = self.metric.values(state, self.at, env)
        if found is not None:
            for column, value in zip(self.columns, found, strict=True):
                column.append(value)

    def result(self) -> dict[str, Any]:
        parts = self.metric.parts
        return {"users": len(self.columns[0]), "borders": [borders(column, parts) for column in self.columns]}


def of_value(value: Value) -> Callable[[State, int, Env], Figure | None]:
    """A value of a subject, as a part of a score is read."""
    return lambda state, at, env: figure(value.get(Moment(state, None, at, at, env)))


def recency(latest: Reader) -> Callable[[State, int, Env], Figure | None]:
    """Full days since the newest event, as a number that is higher for who was there later."""

    def read(state: State, at: int, env: Env) -> Figure | None:
        last = latest.read(state, at)
        return None if last is None else -max(0, (at - last) // DAY)

    return read


def counted(reader: Reader) -> Callable[[State, int, Env], Figure | None]:
    """What a reader of history says; None for nothing at all."""

    def read(state: State, at: int, env: Env) -> Figure | None:
        found = figure(reader.read(state, at))
        return found or None

    return read


def summed(reader: Reader) -> Callable[[State, int, Env], Figure | None]:
    """As ``counted``, where nothing is 0."""
    return lambda state, at, env: figure(reader.read(state, at)) or 0


def take(metrics: Sequence[Metric], span: Span, states: Iterable[State], plan: Plan) -> dict[str, Any]:
    """The figures of metrics that look at these subjects."""
    tallies = [(it.name, it.tally(span, plan)) for it in metrics]
    for state in states:
        if not is_erased(state):
            for _, tally in tallies:
                tally.look(state)
    return {name: tally.result() for name, tally in tallies}


def share(part: int, whole: int) -> Figure | None:
    """A fraction with four decimals; None of nothing."""
    return exact((Decimal(part) / whole).quantize(Decimal("0.0001")).normalize()) if whole else None


def _short(value: Figure) -> Figure:
    """Fractions to twelve significant digits: nobody reads more, and rows stay small."""
    return value if isinstance(value, int) or value == value.to_integral_value() else _SHORT.create_decimal(value)


def ordered(metrics: Iterable[Computed]) -> list[Computed]:
    """Those that look at others behind them; they go in no circle."""
    left = {it.name: it for it in metrics}
    found: list[Computed] = []
    while left:
        ready = [it for it in left.values() if not left.keys() & set(it.asks)]
        if not ready:
            break
        found += ready
        for it in ready:
            del left[it.name]
    return found
