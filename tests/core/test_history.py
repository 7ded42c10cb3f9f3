"""History against brute force: every kind of series, over any order of arrival, walked from the whole list again."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.history import HistoryBook, Where
from engine.core.localtime import day_number
from engine.core.model import DAY, HOUR, Event, State
from engine.errors import ExpressionError

KIND = "order.paid"
# A coarse grid makes ties and exact window edges common.
instants = st.integers(0, 120).map(lambda n: n * HOUR)
amounts: st.SearchStrategy[Any] = st.one_of(
    st.integers(-50, 50),
    st.decimals(-100, 100, places=2),
    st.sampled_from(
        [None, "12", True, Decimal("0.001"), Decimal("1E+30"), 10**25, -(10**25), Decimal("2.50"), 1.5, []]
    ),
)
rows = st.lists(st.tuples(instants, amounts), max_size=25)
windows = st.sampled_from([HOUR, 2 * HOUR, 24 * HOUR, 3 * DAY, 30 * DAY])


def event(number: int, time: int, amount: Any = 1, kind: str = KIND) -> Event:
    return Event(id=f"e{number}", type=kind, time=time, user="u", data={"amount": amount})


def fed(book: HistoryBook, entries: Sequence[tuple[int, Any]], zone: str = "UTC", *, store: bool = True) -> State:
    """A state that saw the entries in order of arrival, through a store after each."""
    state = State(id="u")
    for number, (time, amount) in enumerate(entries):
        one = event(number, time, amount)
        for series in book.by_type.get(one.type, ()):
            series.update(state, one, zone)
        if store:
            state.series = msgspec.msgpack.decode(msgspec.msgpack.encode(state.series))
    return state


def numeric(value: Any) -> bool:
    return value.__class__ is int or value.__class__ is Decimal


def standing(entries: Sequence[tuple[int, Any]], time: int, window: int | None) -> list[Any]:
    """Amounts in ``(t - W, t]``."""
    return [amount for at, amount in entries if window is None or time - window < at <= time]


def expected(what: str, found: list[Any]) -> Any:
    only = [one for one in found if numeric(one)]
    if what == "count":
        return len(found)
    if what == "distinct":
        return len(
            {
                (one.__class__ is bool, one.__class__ is str, one)
                for one in found
                if numeric(one) or one.__class__ in (str, bool)
            }
        )
    if what == "sum":
        return sum(map(Fraction, only))
    if not only:
        return None
    return {"min": min(only), "max": max(only), "avg": None}[what]


def reader(book: HistoryBook, what: str, window: int | None, where: Where | None = None) -> Any:
    if what == "count":
        return book.count(KIND, window, where)
    if what == "distinct":
        return book.distinct(KIND, "amount", window, where)
    return book.numbers(what, KIND, "amount", window, where)


WHAT = ["count", "sum", "min", "max", "distinct"]


@pytest.mark.parametrize("what", WHAT)
@settings(max_examples=60, deadline=None)
@given(entries=rows, window=windows, other=windows, ago=st.integers(0, 24))
def test_windows_equal_a_full_walk(
    what: str, entries: list[tuple[int, Any]], window: int, other: int, ago: int
) -> None:
    """Any window, at any instant not older than what may still act, equals the walk over all events; a second window
    asked for on the same series changes nothing."""
    book = HistoryBook(late=DAY)
    asked, also = reader(book, what, window), reader(book, what, other)
    state = fed(book, entries)
    newest = max((at for at, _ in entries), default=0)
    time = newest - ago * HOUR
    assert asked.read(state, time) == expected(what, standing(entries, time, window))
    assert also.read(state, newest + HOUR) == expected(what, standing(entries, newest + HOUR, other))
    assert asked.key == also.key


@pytest.mark.parametrize("what", WHAT)
@settings(max_examples=40, deadline=None)
@given(entries=rows)
def test_totals_equal_a_full_walk(what: str, entries: list[tuple[int, Any]]) -> None:
    """Without a window everything counts, in whatever order it came."""
    book = HistoryBook()
    asked = reader(book, what, None)
    state = fed(book, entries)
    assert asked.read(state, 0) == expected(what, standing(entries, 0, None))
    assert asked.next_change is None


@settings(max_examples=60, deadline=None)
@given(entries=st.lists(st.tuples(instants, st.one_of(st.none(), st.integers(-9, 9))), max_size=20), window=windows)
def test_averages_leave_out_what_is_no_number(entries: list[tuple[int, Any]], window: int) -> None:
    """avg is the sum over the numbers divided by how many numbers there are."""
    book = HistoryBook()
    asked, ever = reader(book, "avg", window), reader(book, "avg", None)
    state = fed(book, entries)
    newest = max((at for at, _ in entries), default=0)
    for read, found in ((asked, standing(entries, newest, window)), (ever, standing(entries, 0, None))):
        only = [one for one in found if one is not None]
        answer = read.read(state, newest)
        if not only:
            assert answer is None
        else:
            assert abs(answer * len(only) - sum(only)) < Decimal("1E-20")


@pytest.mark.parametrize("what", WHAT)
@settings(max_examples=40, deadline=None)
@given(entries=rows, window=windows, ago=st.integers(0, 24))
def test_the_next_change_is_never_late(what: str, entries: list[tuple[int, Any]], window: int, ago: int) -> None:
    """Before the announced instant, passing time changes no windowed answer."""
    book = HistoryBook(late=DAY)
    asked = reader(book, what, window)
    state = fed(book, entries)
    time = max((at for at, _ in entries), default=0) - ago * HOUR
    announced = asked.next_change(state, time)
    before = asked.read(state, time)
    assert announced is None or announced > time
    for later in sorted({at + extra for at, _ in entries for extra in (0, window)}):
        if later > time and (announced is None or later < announced):
            assert asked.read(state, later) == before


def test_windows_are_half_open_to_the_microsecond() -> None:
    """An entry counts at its own instant and until just before W has passed.

    Semantics: window.half-open
    """
    book = HistoryBook()
    week = book.count(KIND, 7 * DAY)
    state = fed(book, [(1_000_000, 1)])
    assert week.read(state, 999_999) == 0
    assert week.read(state, 1_000_000) == 1
    assert week.read(state, 1_000_000 + 7 * DAY - 1) == 1
    assert week.read(state, 1_000_000 + 7 * DAY) == 0
    assert week.next_change is not None
    assert week.next_change(state, 1_000_000) == 1_000_000 + 7 * DAY


def test_equal_needs_share_one_series() -> None:
    """Windows of any size over the same events are one list; another where is another."""
    book = HistoryBook()
    where = Where("event.amount >= 5", lambda one: one.data["amount"] >= 5)
    keys = {
        book.count(KIND, DAY).key,
        book.count(KIND, 9 * DAY).key,
        book.numbers("sum", KIND, "amount", DAY).key,
        book.numbers("max", KIND, "amount", 2 * DAY).key,
        book.count(KIND, DAY, where).key,
        book.count(KIND, DAY, Where("event.amount >= 5", where.test)).key,
    }
    assert len(keys) == 3
    assert [series.key for series in book.by_type[KIND]] == sorted(keys, key=[s.key for s in book.by_type[KIND]].index)


def test_old_entries_are_dropped_and_nothing_that_counts() -> None:
    """What is kept is bounded by what the largest window can reach."""
    book = HistoryBook(late=DAY)
    readers = [
        book.count(KIND, 3 * DAY),
        book.numbers("sum", KIND, "amount", 3 * DAY),
        book.distinct(KIND, "amount", DAY),
    ]
    state = fed(book, [(n * HOUR, n) for n in range(3000)], store=False)
    now = 2999 * HOUR
    assert [one.read(state, now) for one in readers] == [72, sum(range(2928, 3000)), 24]
    assert len(state.series[readers[0].key]) <= 96 * 8 / 7 + 1
    assert len(state.series[readers[1].key][1]) <= 96 * 8 / 7 + 1
    assert len(state.series[readers[2].key][0]) <= 48 * 8 / 7 + 1


@settings(max_examples=40, deadline=None)
@given(entries=rows)
def test_where_is_judged_on_the_event_and_its_errors_count_for_nothing(entries: list[tuple[int, Any]]) -> None:
    """Events that where cannot judge are not counted, and do not stop the update."""

    def test(one: Event) -> bool:
        if not numeric(one.data["amount"]):
            raise ExpressionError("no number")
        return bool(one.data["amount"] > 0)

    book = HistoryBook()
    where = Where("event.amount > 0", test)
    asked = [reader(book, what, None, where) for what in WHAT]
    state = fed(book, entries)
    kept = [(at, amount) for at, amount in entries if numeric(amount) and amount > 0]
    assert [one.read(state, 0) for one in asked] == [expected(what, standing(kept, 0, None)) for what in WHAT]


@settings(max_examples=60, deadline=None)
@given(entries=rows)
def test_first_last_and_latest(entries: list[tuple[int, Any]]) -> None:
    """The earliest and the newest event, ties by order of arrival, and the newest instant."""
    book = HistoryBook()
    first, last, latest = book.first(KIND), book.last(KIND), book.latest(KIND)
    state = fed(book, entries, store=False)
    order = sorted(range(len(entries)), key=lambda n: (entries[n][0], n))
    if not entries:
        assert first.read(state, 0) is last.read(state, 0) is latest.read(state, 0) is None
        return
    assert first.read(state, 0).id == f"e{order[0]}"
    assert last.read(state, 0).id == f"e{order[-1]}"
    assert latest.read(state, 0) == entries[order[-1]][0]


ZONES = ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe"]
SPRING = (
    1_774_656_000_000_000  # 2026-03-28T00:00:00Z: clocks change in Europe the night after, elsewhere a few days off
)


@settings(max_examples=100, deadline=None)
@given(hours=st.lists(st.integers(0, 24 * 14), max_size=30), zone=st.sampled_from(ZONES), ask=st.integers(-24, 24 * 15))
def test_streaks_are_runs_of_local_days(hours: list[int], zone: str, ask: int) -> None:
    """The length of the run that ends today, or yesterday while nothing happened today, in the user's zone."""
    book = HistoryBook()
    streak = book.streak(KIND)
    state = fed(book, [(SPRING + hour * HOUR, 1) for hour in hours], zone)
    days = {day_number(SPRING + hour * HOUR, ZoneInfo(zone)) for hour in hours}
    today = day_number(SPRING + ask * HOUR, ZoneInfo(zone))
    day = today if today in days else today - 1
    length = 0
    while day - length in days:
        length += 1
    assert streak.length(state, today) == length
    runs = state.series.get(streak.key, [])
    assert runs == sorted(runs)
    assert sum(runs[n + 1] - runs[n] + 1 for n in range(0, len(runs), 2)) == len(days)


def test_a_late_day_joins_two_runs() -> None:
    """The day between two runs makes them one."""
    book = HistoryBook()
    streak = book.streak(KIND)
    state = fed(book, [(0, 1), (DAY, 1), (3 * DAY, 1), (4 * DAY, 1), (2 * DAY, 1)])
    today = day_number(4 * DAY, ZoneInfo("UTC"))
    assert streak.length(state, today) == streak.length(state) == 5
    assert len(state.series[streak.key]) == 2


def test_an_unknown_zone_does_not_stop_the_update() -> None:
    """A zone nobody knows is read as UTC."""
    book = HistoryBook()
    streak = book.streak(KIND)
    state = fed(book, [(0, 1)], "Mars/Olympus")
    assert streak.length(state) == 1


def test_nested_fields() -> None:
    """A dotted field is read inside maps; anything else in its way is a missing value."""
    book = HistoryBook()
    total = book.numbers("sum", KIND, "amount.value")
    state = fed(book, [(0, {"value": 5}), (1, 7), (2, {"value": None}), (3, {"value": 6})])
    assert total.read(state, 0) == 11
