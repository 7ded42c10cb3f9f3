"""A user's own measure: how long it usually takes, levels that are easier to keep than to get, streaks with savers."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantics_kit import HEAD, Row, event, play
from steps_kit import Live, write

from engine.core.history import HistoryBook
from engine.core.localtime import UTC, day_number
from engine.core.model import DAY, HOUR, Event, State
from engine.core.plan import Ladder, Span
from engine.core.series import ENOUGH_GAPS, MOST_GAPS, streaks

OPEN = HEAD + "profile: open\n"
ANY = "entry: {mode: parallel, limit: unlimited}\n"


def at(day: int, hour: int = 9) -> str:
    return f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}T{hour:02d}:00:00Z"


def orders(*days: int) -> list[Row]:
    return [event(f"o{day}", "order.paid", at(day)) for day in days]


# ---------------------------------------------------------------------- how long it usually takes


def test_who_stays_away_longer_than_usual_is_seen_at_that_instant(tmp_path: Path) -> None:
    """Semantics: history.interval — those later than their own p90 enter a segment by time alone, exactly then."""
    catalog = 'segments: {late: {if: \'since("order.paid") > interval("order.paid", 90)\'}}\n'
    book = "trigger: {segment: {enters: late}}\n" + ANY + "steps: [{tag: {add: [late]}}]\n"
    feed = [*orders(0, 4, 7, 12), event("x", "noise", at(27), "u9")]
    seen = play(tmp_path, {"care": book}, feed, head=OPEN, catalog=catalog)
    tags = [row["time"] for row in seen.effects if row["kind"] == "tag"]
    assert len(tags) == 1
    assert tags[0].startswith("2026-01-18T09:00:00")  # the longest of 4, 3 and 5 days after the twelfth


def test_few_orders_are_no_habit(tmp_path: Path) -> None:
    """Semantics: history.interval — with fewer than three gaps it is none, and nobody is late."""
    catalog = 'segments: {late: {if: \'since("order.paid") > interval("order.paid", 50)\'}}\n'
    book = "trigger: {segment: {enters: late}}\n" + ANY + "steps: [{tag: {add: [late]}}]\n"
    feed = [*orders(0, 4, 7), event("x", "noise", at(50), "u9")]
    assert play(tmp_path, {"care": book}, feed, head=OPEN, catalog=catalog).effects == []


@given(
    hours=st.lists(st.integers(0, 2_000), min_size=1, max_size=120),
    percent=st.integers(1, 100),
    seed=st.randoms(use_true_random=False),
)
def test_intervals_are_what_a_sorted_list_says(hours: list[int], percent: int, seed: Any) -> None:
    """Nearest rank of the gaps between the newest occasions, whatever the order in which events come."""
    history = HistoryBook()
    reader = history.interval("a", percent)
    state = State(id="u")
    shuffled = list(hours)
    seed.shuffle(shuffled)
    for number, hour in enumerate(shuffled):
        for series in history.of("a"):
            series.update(state, Event(id=str(number), type="a", time=hour * HOUR), "UTC")
    occasions = sorted(set(hours))[-MOST_GAPS:]
    gaps = sorted(later - earlier for earlier, later in pairwise(occasions))
    wanted = None if len(gaps) < ENOUGH_GAPS else timedelta(hours=gaps[math.ceil(percent / 100 * len(gaps) - 1e-9) - 1])
    assert reader(state, 10**15) == wanted


@pytest.mark.parametrize("percent", ["0", "101", "2.5", '"90"', "user.n"])
def test_a_percentile_is_a_whole_number(tmp_path: Path, percent: str) -> None:
    """Anything else is said at its place."""
    book = f'trigger: {{event: a}}\nentry: once\nwhen: since("a") > interval("a", {percent})\nsteps: [{{points: 1}}]\n'
    assert "type-mismatch" in [it.code for it in write(tmp_path, {"p": book}, head=OPEN).problems]


# ---------------------------------------------------------------------- levels that are kept


LADDER = """\
tiers:
  member:
    metric: 'sum("order.paid", "amount", within="30d")'
    levels: {bronze: 0, silver: {reach: 500, keep: 300}, gold: {reach: 2000, keep: 1500}}
"""


def moves(rows: list[Row]) -> list[tuple[str, str, str]]:
    return [(row["time"][:10], row["detail"]["from"], row["detail"]["to"]) for row in rows if row["kind"] == "tier"]


def paid(day: int, amount: int) -> Row:
    return event(f"p{day}", "order.paid", at(day), amount=amount)


def test_a_level_is_kept_down_to_its_lower_threshold(tmp_path: Path) -> None:
    """Semantics: tier.hysteresis — 1,600 keep gold and would not earn it; 300 keep silver, below that it is lost."""
    feed = [
        paid(0, 600),
        paid(5, 1600),
        event("x", "noise", at(34), "u1"),
        paid(34, 250),
        event("y", "noise", at(80), "u1"),
    ]
    rows = play(tmp_path, {}, feed, head=OPEN, catalog=LADDER).effects
    # 600 silver; 2,200 gold; after 30 days 1,600: gold; then 250 alone: below both
    assert moves(rows) == [
        ("2026-01-01", "bronze", "silver"),
        ("2026-01-06", "silver", "gold"),
        ("2026-02-05", "gold", "bronze"),
    ]


def test_who_falls_stops_at_what_he_may_keep(tmp_path: Path) -> None:
    """Semantics: tier.hysteresis — from gold to silver, which 400 keep, though they would not earn it."""
    feed = [paid(0, 2000), paid(20, 400), event("x", "noise", at(40), "u1")]
    rows = play(tmp_path, {}, feed, head=OPEN, catalog=LADDER).effects
    assert moves(rows) == [("2026-01-01", "bronze", "gold"), ("2026-01-31", "gold", "silver")]


def test_keep_is_never_more_than_reach(tmp_path: Path) -> None:
    """A level that is harder to keep than to get is a mistake."""
    wrong = LADDER.replace("keep: 300", "keep: 501")
    assert "out-of-range" in [it.code for it in write(tmp_path, {}, catalog=wrong, head=OPEN).problems]


@given(metrics=st.lists(st.integers(0, 120), max_size=40))
def test_a_ladder_with_hysteresis_is_a_row_of_switches(metrics: list[int]) -> None:
    """Against the plainest model: each level is a switch, on from its reach, off below its keep; the highest that is
    on counts, and a higher one holds the lower ones on."""
    reach, keep = {"a": 0, "b": 20, "c": 60, "d": 100}, {"a": 0, "b": 10, "c": 50, "d": 55}
    keeps = {name: keep[name] for name in reach if keep[name] < reach[name]}
    ladder = Ladder(
        name="l",
        metric=None,
        levels=tuple(reach.items()),
        grace=Span(text="0"),
        keeps=keeps,  # type: ignore[arg-type]  # no metric is asked
    )
    here: str | None = "a"
    on = {"a"}
    for metric in metrics:
        here = ladder.settled(metric, here)
        on = {name for name in reach if metric >= (keep[name] if name in on else reach[name])}
        highest = max(on, key=lambda name: reach[name])
        on |= {name for name in reach if reach[name] <= reach[highest]}
        assert here == highest


# ---------------------------------------------------------------------- streaks with savers


def checkins(*days: int) -> list[Row]:
    return [event(f"c{day}", "checkin", at(day)) for day in days]


def test_a_saver_carries_a_streak_over_a_day(tmp_path: Path) -> None:
    """Semantics: streak.savers — one day left out of seven is made good; the second breaks the streak."""
    book = "trigger: {streak: {event: checkin, days: 4, savers: 1}}\n" + ANY + "steps: [{badge: b}]\n"
    seen = play(
        tmp_path,
        {"s": book},
        checkins(0, 1, 3, 4, 5, 7, 8, 9, 10, 12, 14),
        head=OPEN,
        catalog="badges: {b: {once: false}}\n",
    )
    # 1 2 _ 4 5: the fifth day is the fourth; then a second day is missing, and a new streak begins at the eighth
    assert [row["time"][:10] for row in seen.effects] == ["2026-01-05", "2026-01-11"]


def test_streak_with_savers_in_a_condition(tmp_path: Path) -> None:
    """Semantics: streak.savers — `streak("checkin", savers=1)` counts the days there were, and lives on meanwhile."""
    book = "trigger: {event: ask}\n" + ANY + "steps: [{set: {user.n: \"{{ streak('checkin', savers=1) }}\"}}]\n"
    asks = [event(f"a{day}", "ask", at(day, 20)) for day in (1, 3, 4, 5, 6)]
    rows = sorted([*checkins(0, 1, 3), *asks], key=lambda row: row["time"])
    seen = play(tmp_path, {"s": book}, rows, head=OPEN)
    assert [row["detail"]["value"] for row in seen.effects] == [2, 3, 3, 0, 0]


@given(days=st.sets(st.integers(0, 40), max_size=30), savers=st.integers(0, 4))
def test_streaks_are_what_a_calendar_on_the_wall_says(days: set[int], savers: int) -> None:
    """Against going through the days one by one, crossing off savers."""
    wanted: list[tuple[int, int, int]] = []
    length = left = first = last = 0
    for day in range(42):
        if day in days:
            if not length:
                first, left = day, savers
            length, last = length + 1, day
            missed = 0
        elif length:
            missed = day - last
            if missed > left or day == 41:
                wanted.append((first, last, length))
                length = 0
            elif day + 1 in days:
                left -= missed
    runs: list[int] = []
    for day in sorted(days):
        if runs and runs[-1] == day - 1:
            runs[-1] = day
        else:
            runs += [day, day]
    assert [(it.first, it.last, it.days) for it in streaks(runs, savers)] == wanted


@given(days=st.sets(st.integers(0, 30)), wanted=st.integers(1, 6), savers=st.integers(0, 3))
def test_each_long_streak_fires_once_on_its_day(days: set[int], wanted: int, savers: int) -> None:
    """Day after day, a streak fires on the very day that is its N-th, and on no other."""
    history = HistoryBook()
    series = history.streak_days("a")
    state, fired, seen = State(id="u"), [], []
    for day in sorted(days):
        happened = Event(id=f"e{day}", type="a", time=day * DAY)
        series.update(state, happened, "UTC")
        seen.append(day)
        if series.reached(state, happened, wanted, savers):
            fired.append(day)
    ends = []
    for streak in streaks(state.series.get(series.key, []), savers):
        own = [day for day in seen if streak.first <= day + EPOCH <= streak.last]
        ends += own[wanted - 1 : wanted]
    assert ends == fired


EPOCH = day_number(0, UTC)


def test_a_badge_that_may_be_earned_again(tmp_path: Path) -> None:
    """Semantics: badge.again — `once: false` gives it again and tells of it; it is held once all the same."""
    book = "trigger: {event: a}\n" + ANY + "steps: [{badge: b}]\n"
    live = Live(tmp_path, {"p": book}, catalog="badges: {b: {once: false}}\n", head=OPEN)
    live.run(event("1", "a", "01:00"), event("2", "a", "02:00"))
    assert [effect.status for effect in live.effects("badge")] == ["planned", "planned"]
    assert live.state().badges == ["b"]
