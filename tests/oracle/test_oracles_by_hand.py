"""The oracles against examples worked out by hand: an oracle nobody checked proves nothing."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import oracle_entry as entry
import oracle_feed as feed
import oracle_inactivity as inactivity
import oracle_journeys as journeys
import oracle_policies as policies
import oracle_scarce as scarce
import oracle_segments as segments
import oracle_shop as shop
import oracle_streak as streak
import oracle_tiers as tiers
import oracle_time as clock
import oracle_windows as windows
import pytest
from oracle_harness import Ev, canonical, in_order, numbered, spelt

DAY = clock.DAY
T0 = clock.at("2026-01-01T00:00:00Z")


def ev(day: float, kind: str = "pay", **data: object) -> Ev:
    """An event some days after T0."""
    return Ev(T0 + round(day * DAY), kind, "u", data)


# ---------------------------------------------------------------- time


def test_times_are_spelt_as_the_contract_says() -> None:
    """UTC with Z, milliseconds only when not zero, and any offset reads as the same instant."""
    assert clock.show(clock.at("2026-03-01T10:00:00+08:00")) == "2026-03-01T02:00:00Z"
    assert clock.show(clock.at("2026-03-01T02:00:00.050Z")) == "2026-03-01T02:00:00.050Z"
    assert clock.at(spelt(T0 + 5, "+05:45")) == T0 + 5
    assert clock.at(spelt(T0, "-05:00")) == T0


def test_gap_shifts_forward_and_fold_takes_the_first() -> None:
    """New York 2026: 8 March 02:30 does not exist (03:30 EDT), 1 November 01:30 occurs twice (EDT first)."""
    gap = clock.days_later(clock.at("2026-03-07T17:00:00Z"), "America/New_York", 1, "02:30")
    assert clock.show(gap) == "2026-03-08T07:30:00Z"
    fold = clock.days_later(clock.at("2026-10-31T17:00:00Z"), "America/New_York", 1, "01:30")
    assert clock.show(fold) == "2026-11-01T05:30:00Z"
    same = clock.days_later(clock.at("2026-03-07T17:00:00Z"), "America/New_York", 1)
    assert clock.show(same) == "2026-03-08T16:00:00Z"


def test_local_day_belongs_to_the_zone() -> None:
    """16:00Z is already tomorrow in Shanghai and still today in New York."""
    assert clock.local_day(clock.at("2026-01-01T16:00:00Z"), "Asia/Shanghai") == date(2026, 1, 2)
    assert clock.local_day(clock.at("2026-01-01T04:59:59Z"), "America/New_York") == date(2025, 12, 31)


# ---------------------------------------------------------------- windows


def test_windows_are_half_open() -> None:
    """An event exactly W old is out, one of this instant is in."""
    history = [ev(0), ev(7)]
    assert windows.count(history, T0 + 7 * DAY, "pay", 7 * DAY) == 1
    assert windows.count(history, T0 + 7 * DAY - 1, "pay", 7 * DAY) == 1
    assert windows.count(history, T0 + 14 * DAY - 1, "pay", 7 * DAY) == 1
    assert windows.count(history, T0 + 14 * DAY, "pay", 7 * DAY) == 0


def test_money_is_exact_and_nothing_is_none_or_zero() -> None:
    """0.1 + 0.2 is 0.3; sums of nothing are 0, means of nothing are none."""
    history = [ev(0, amount=Decimal("0.1")), ev(1, amount=Decimal("0.2"))]
    assert windows.total(history, T0 + DAY, "pay", "amount") == Decimal("0.3")
    assert windows.average(history, T0 + DAY, "pay", "amount") == Decimal("0.15")
    assert windows.total([], T0, "pay", "amount") == 0
    assert windows.average([], T0, "pay", "amount") is None
    assert canonical(Decimal("1.50")) == canonical(Decimal("1.5")) == "#1.5"
    assert canonical(Decimal(200)) == "#200"


# ---------------------------------------------------------------- entry


def test_count_fires_at_the_nth_and_at_each_further_one() -> None:
    """Three in seven days: the third and fourth fire; the one exactly seven days after the second does not see it."""
    history = [ev(0), ev(1), ev(2), ev(3), ev(9)]
    fired = entry.count_firings(history, "pay", 3, 7 * DAY)
    assert [event.time for event in fired] == [T0 + 2 * DAY, T0 + 3 * DAY]


@pytest.mark.parametrize(
    ("mode", "rest", "days", "expected"),
    [
        ("once", None, [0, 9], "a0 b5"),
        ("single", None, [0, 5, 6], "a0 b5 a6 b11"),
        ("single", 3, [0, 7, 8, 16], "a0 b5 a8 b13 a16 b21"),
        ("restart", None, [0, 3, 8], "a0 a3 a8 b13"),
        ("queue", None, [0, 1, 5], "a0 b5 a5 b10 a10 b15"),
        ("parallel", None, [0, 0, 2], "a0 a0 b5 b5 a2 b7"),
    ],
)
def test_entry_modes(mode: str, rest: int | None, days: list[int], expected: str) -> None:
    """Journeys of five days: an event at the very end still finds one running; again_after is inclusive."""
    firings = [entry.Firing(T0 + day * DAY, "k") for day in days]
    rows = entry.journeys(firings, mode, 5 * DAY, rest * DAY if rest else None, T0 + 100 * DAY)
    assert sorted(f"{name}{(time - T0) // DAY}" for name, time in rows) == sorted(expected.split())


# ---------------------------------------------------------------- streaks


def test_streak_fires_once_for_each_run_of_days() -> None:
    """Days 0 1 2 3, a gap, 5 6 7: three in a row are reached on days 2 and 7, at the first event of the day."""
    history = [ev(day, "in") for day in (0, 1, 2, 2.5, 3, 5, 6, 7)]
    fired = streak.firings(history, "in", 3, "UTC")
    assert [(event.time - T0) / DAY for event in fired] == [2, 7]


def test_streak_lives_in_the_zone_of_the_user() -> None:
    """23:00 and 01:00 UTC are one day in Shanghai, two in UTC; an unknown zone changes nothing."""
    night = [ev(23 / 24, "in"), ev(25 / 24, "in")]
    assert len(streak.firings(night, "in", 2, "UTC")) == 1
    assert streak.firings(night, "in", 2, "Asia/Shanghai") == []
    signed = [Ev(T0, "user.signup", "u", {"zone": "Mars/Base"}), *night]
    assert len(streak.firings(signed, "in", 2, "UTC")) == 1


# ---------------------------------------------------------------- inactivity


def test_idle_spells_and_their_ties() -> None:
    """Three days: an activity exactly at the deadline prevents; the end of the clock is inclusive."""
    history = [ev(0), ev(3), ev(7)]
    due = inactivity.spells(history, ["pay"], lambda last: last + 3 * DAY, T0 + 10 * DAY)
    assert [(time - T0) // DAY for time in due] == [6, 10]
    assert inactivity.spells(history, ["pay"], lambda last: last + 3 * DAY, T0 + 10 * DAY - 1) == [T0 + 6 * DAY]
    assert inactivity.spells(history, ["view"], lambda last: last + 3 * DAY, T0 + 10 * DAY) == []


def test_campaign_rests_and_stops_at_the_goal() -> None:
    """A goal on the last day of its window ends the journey; the rest counts from there, inclusive."""
    fired = [T0, T0 + 10 * DAY, T0 + 20 * DAY]
    history = [ev(2, "buy")]
    rows = inactivity.campaign(history, fired, lambda *_: True, 18 * DAY, 3 * DAY, "buy", 2 * DAY, T0 + 30 * DAY)
    assert rows == [("a", T0), ("a", T0 + 20 * DAY), ("b", T0 + 23 * DAY)]


# ---------------------------------------------------------------- tiers


LEVELS = {"bronze": 0, "silver": 500, "gold": 2000}


def spent(within: int | None) -> tiers.Metric:
    """The usual metric."""
    return lambda history, now: windows.total(history, now, "pay", "amount", within)


def test_tiers_rise_at_the_event_and_fall_when_the_window_decays() -> None:
    """Two levels in one row up; one row down at exactly time + W."""
    history = [ev(0, amount=100), ev(1, amount=1900)]
    for rows in tiers.readings(history, LEVELS, spent(30 * DAY), 30 * DAY, 0, T0 + 99 * DAY):
        assert rows == [
            (T0 + DAY, "bronze", "gold"),
            (T0 + 30 * DAY, "gold", "silver"),
            (T0 + 31 * DAY, "silver", "bronze"),
        ]


def test_grace_keeps_a_level_and_a_purchase_in_time_saves_it() -> None:
    """Grace of ten days: a purchase within it, or exactly at its end, keeps gold."""
    for day in (35, 40):
        history = [ev(0, amount=2000), ev(day, amount=2000)]
        rows = tiers.readings(history, LEVELS, spent(30 * DAY), 30 * DAY, 10 * DAY, T0 + 60 * DAY)
        assert all(reading == [(T0, "bronze", "gold")] for reading in rows)
    late = tiers.readings([ev(0, amount=2000)], LEVELS, spent(30 * DAY), 30 * DAY, 10 * DAY, T0 + 60 * DAY)
    assert all(reading == [(T0, "bronze", "gold"), (T0 + 40 * DAY, "gold", "bronze")] for reading in late)


def test_metric_of_nothing_meets_no_threshold() -> None:
    """A mean of nothing is none: no level before the first event and none after the window has emptied."""
    metric: tiers.Metric = lambda history, now: windows.average(history, now, "pay", "amount", 5 * DAY)  # noqa: E731
    rows = tiers.readings([ev(0, amount=3)], {"low": 0, "high": 2}, metric, 5 * DAY, 0, T0 + 9 * DAY)
    assert all(reading == [(T0, None, "high"), (T0 + 5 * DAY, "high", None)] for reading in rows)
    assert tiers.direction({"low": 0, "high": 2}, (T0, "high", None)) == "down"


# ---------------------------------------------------------------- segments


def test_segment_is_left_at_the_instant_of_decay() -> None:
    """Two in seven days: in at the second, out exactly seven days after the first."""
    member: segments.Member = lambda history, now: windows.count(history, now, "pay", 7 * DAY) >= 2  # noqa: E731
    rows = segments.crossings([ev(0), ev(1)], member, [7 * DAY], T0 + 50 * DAY, True)
    assert rows == [(T0 + DAY, "enters"), (T0 + 7 * DAY, "leaves")]


# ---------------------------------------------------------------- journeys


def live(playbook: dict[str, object], events: list[Ev], days: float) -> list[tuple[float, str | None]]:
    """(day, step) of the rows of one playbook."""
    world = journeys.World("u", [playbook])
    rows = world.live(in_order(numbered(events)), T0 + round(days * DAY))
    return [((item[0] - T0) / DAY, item[2]) for item in rows]


def watching() -> dict[str, object]:
    """Wait for an ``a`` of at least 3 for two days."""
    return {
        "playbook": "p",
        "trigger": {"event": "go"},
        "entry": {"mode": "parallel"},
        "steps": [
            {
                "id": "w",
                "wait_for": {
                    "event": "a",
                    "if": "event.n >= 3",
                    "up_to": "2d",
                    "then": [{"id": "yes", "tag": {"add": ["y"]}}],
                    "else": [{"id": "no", "tag": {"add": ["n"]}}],
                },
            },
        ],
    }


def test_wait_for_sees_the_deadline_and_what_came_after_it_was_reached() -> None:
    """At the deadline is in time; one ms later is not; same instant counts only after the step was reached."""
    assert live(watching(), [ev(0, "go"), ev(2, "a", n=3)], 9) == [(2, "yes")]
    assert live(watching(), [ev(0, "go"), ev(2 + 1e-7, "a", n=3)], 9) == [(2, "no")]
    assert live(watching(), [ev(0, "go"), ev(0, "a", n=3)], 9) == [(0, "yes")]
    assert live(watching(), [ev(0, "a", n=3), ev(0, "go")], 9) == [(2, "no")]
    assert live(watching(), [ev(0, "go"), ev(1, "a", n=2)], 9) == [(2, "no")]
    assert live(watching(), [ev(0, "go")], 1.5) == []


def test_goal_at_its_deadline_stops_the_wake_up_of_the_same_instant() -> None:
    """Events first, then wake-ups: the goal at the very instant of the next step ends the journey before it."""
    playbook: dict[str, object] = {
        "playbook": "p",
        "trigger": {"event": "go"},
        "entry": {"mode": "parallel"},
        "goal": {"event": "buy", "within": "2d"},
        "steps": [{"id": "w", "wait": "2d"}, {"id": "t", "tag": {"add": ["x"]}}],
    }
    assert live(playbook, [ev(0, "go"), ev(2, "buy")], 9) == []
    assert live(playbook, [ev(0, "go"), ev(2 + 1e-7, "buy")], 9) == [(2, "t")]


def test_buckets_and_arms() -> None:
    """The formula of the design, worked out with sha256sum on a shell: first 16 hex digits mod 10000.

    Semantics: split.bucket
    """
    # printf 'pb/s:u1' | sha256sum | cut -c1-16
    assert journeys.bucket("pb/s", "u1") == int(SHA_PB_S_U1, 16) % 10_000
    arms = [{"weight": 30}, {"weight": 70}]
    for user in ("u1", "u2", "u3"):
        assert journeys.arm_of(arms, "pb/s", user) == (0 if journeys.bucket("pb/s", user) < 3000 else 1)


SHA_PB_S_U1 = "2cc460ca2a550fb9"


# ---------------------------------------------------------------- scarce things


def test_pools_refuse_for_the_right_reasons() -> None:
    """One each in 90 days, two a day, three in all; exactly 90 days later the user may have one again."""
    pool = scarce.Pool(total=3, per_user=1, per_user_window=90 * DAY, per_day=2)
    assert pool.ask(T0, "a") == set()
    assert pool.ask(T0 + 1, "a") == {"per_user"}
    assert pool.ask(T0 + 2, "b") == set()
    assert pool.ask(T0 + 3, "c") == {"per_day"}
    assert pool.ask(T0 + 90 * DAY - 1, "a") == {"per_user"}
    assert pool.ask(T0 + 90 * DAY, "a") == set()
    assert pool.ask(T0 + 90 * DAY, "c") == {"sold_out"}


def test_rooms_fill_in_order_and_holds_end() -> None:
    """Two rooms of one seat: full until the hold of the one who did not join ends."""
    rooms = scarce.Rooms([("r1", 1), ("r2", 1)], 2 * DAY)
    assert rooms.invite(T0, "a") == "r1"
    assert rooms.invite(T0, "b") == "r2"
    rooms.joined(T0 + DAY, "a")
    assert rooms.invite(T0 + DAY, "c") is None
    assert rooms.invite(T0 + 2 * DAY + 1, "c") == "r2"
    assert rooms.invite(T0 + 3 * DAY, "d") is None


def test_the_last_coupon_goes_to_whoever_decides_first() -> None:
    """A wake-up at noon loses to an event of noon and wins over one a millisecond later; held out takes none."""
    waits = {"now": 0, "half": DAY // 2}
    for late, winner in ((0, "b"), (1, "a")):
        asks = numbered([Ev(T0, "half", "a"), Ev(T0 + DAY // 2 + late, "now", "b"), Ev(T0, "now", "kept")])
        order = shop.decisions(asks, waits, T0 + DAY)
        rows, _ = shop.coupons(order, scarce.Pool(total=1), lambda _, user: user == "kept", "p")
        assert {item[4]: item[5] for item in rows} == {
            "kept": "held_out",
            winner: "planned",
            "ab".replace(winner, ""): "denied",
        }


# ---------------------------------------------------------------- policies


def test_consent_then_cap_and_suppressed_takes_no_slot() -> None:
    """One in seven days: the refused ones do not count, the slot is free exactly seven days later."""
    gate = policies.Gate({"marketing": "required"}, [policies.Cap(1, 7 * DAY, purpose="marketing")])
    none: list[Ev] = []
    given = [ev(0, "consent.granted", purpose="marketing")]
    assert gate.judge(none, T0, "marketing", "box") == "consent"
    assert gate.judge(given, T0 + 1, "marketing", "box") is None
    assert gate.judge(given, T0 + 7 * DAY, "marketing", "box") == "cap"
    assert gate.judge(given, T0 + 7 * DAY + 1, "marketing", "box") is None
    taken = [*given, ev(1, "consent.revoked", channel="box")]
    assert gate.judge(taken, T0 + 30 * DAY, "marketing", "box") == "consent"
    assert policies.consented(taken, "required", "marketing", "pad")
    assert policies.consented([], "opt_out", "service", "box")


# ---------------------------------------------------------------- the door


def test_the_door_counts_lines_as_the_design_says() -> None:
    """Naive, subjectless, empty and odd lines are quarantined; the second of an id is a duplicate at any time."""
    good = '{"id": "1", "type": "x", "user": "u", "time": "2026-01-02T00:00:00Z"}'
    lines = [
        good,
        '{"id": "1", "type": "y", "user": "v", "time": "2026-01-01T00:00:00Z"}',
        '{"id": "2", "type": "x", "user": "u", "time": "2026-01-02T00:00:00"}',
        '{"id": "3", "type": "x", "user": null, "time": "2026-01-09T00:00:00Z"}',
        '{"id": "", "type": "x", "user": "u", "time": "2026-01-02T00:00:00Z"}',
        '{"id": "4", "type": "x", "user": "u", "time": "2026-01-02T00:00:00Z", "extra": 1}',
        '{"id": "5", "id": "6", "type": "x", "user": "u", "time": "2026-01-02T00:00:00Z"}',
        "not json",
        '{"type": "x", "group": "g", "user": null, "time": "2026-01-01T01:00:00+01:00"}',
    ]
    verdicts = feed.judge([lines])
    assert (verdicts.read, len(verdicts.accepted), verdicts.duplicate, verdicts.quarantined) == (9, 2, 1, 6)
    assert verdicts.end == clock.at("2026-01-09T00:00:00Z")
    assert [record["instant"] for record in verdicts.accepted] == [T0, T0 + DAY]
