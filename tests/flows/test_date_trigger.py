"""The trigger ``date``: who is greeted when, against plain dates counted by hand and by a second calendar package."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semantics_kit import HEAD, Row, Seen, event, play

ZONES = ("Asia/Shanghai", "America/New_York", "America/Santiago", "Pacific/Apia")
STEPS = "entry: {mode: parallel, limit: unlimited}\nsteps: [{tag: {add: [hi]}}]\n"


def birthday(extra: str = "", at: str = "09:00", repeat: str = "yearly") -> dict[str, str]:
    more = f", {extra}" if extra else ""
    return {"b": f'trigger: {{date: {{field: user.birthday, at: "{at}", repeat: {repeat}{more}}}}}\n' + STEPS}


def end(time: str) -> Row:
    return event("end", "end", time, "zz")


def greeted(seen: Seen, user: str = "u1") -> list[str]:
    return [row["time"] for row in seen.effects if row["user"] == user]


def local(time: str, zone: str) -> datetime:
    return datetime.fromisoformat(time).astimezone(ZoneInfo(zone))


def test_a_birthday(tmp_path: Path) -> None:
    """The day of the field each year at the wall time of the user's zone, from the next one on.

    Semantics: date.when
    """
    feed = [event("1", "user.signup", "2024-05-10T00:00:00Z", birthday="1990-05-20", zone="Asia/Shanghai")]
    seen = play(tmp_path, birthday(), [*feed, end("2026-05-21T00:00:00Z")])
    assert greeted(seen) == [f"{year}-05-20T01:00:00Z" for year in (2024, 2025, 2026)]


@pytest.mark.parametrize("zone", ZONES)
def test_every_birthday_once_a_year(tmp_path: Path, zone: str) -> None:
    """Semantics: date.when — all 366 birthdays from 2024 to 2032: one greeting a local year each, at 09:00, on the
    day."""
    births = [date(1992, 1, 1) + timedelta(days=n) for n in range(366)]
    feed = [
        event(f"{day}", "user.signup", "2023-12-30T00:00:00Z", f"{day}", birthday=f"{day}", zone=zone) for day in births
    ]
    seen = play(tmp_path, birthday(), [*feed, end("2033-01-02T00:00:00Z")], traced=False)
    by_user: dict[str, list[datetime]] = {}
    for row in seen.effects:
        by_user.setdefault(row["user"], []).append(local(row["time"], zone))
    for born in births:
        times = [at for at in by_user[born.isoformat()] if 2024 <= at.year <= 2032]
        assert [at.year for at in times] == list(range(2024, 2033))
        for at in times:
            leap = at.year % 4 == 0
            day = (2, 28) if (born.month, born.day) == (2, 29) and not leap else (born.month, born.day)
            assert (at.month, at.day, at.hour, at.minute) == (*day, 9, 0)


@pytest.mark.parametrize(("choice", "day"), [("", "02-28"), ("leap_day: feb28", "02-28"), ("leap_day: mar1", "03-01")])
def test_leap_day(tmp_path: Path, choice: str, day: str) -> None:
    """Semantics: date.leap-day — 29 February is 28 February in plain years unless `leap_day: mar1`; itself in leap
    years."""
    feed = [event("1", "user.signup", "2022-06-01T00:00:00Z", birthday="1996-02-29")]
    seen = play(tmp_path, birthday(choice), [*feed, end("2025-12-31T00:00:00Z")])
    assert greeted(seen) == [f"2023-{day}T09:00:00Z", "2024-02-29T09:00:00Z", f"2025-{day}T09:00:00Z"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "missing"), ("", "no date"), ("1990-02-30", "no date"), ("soon", "no date"), (19900520, "no date"),
        (["x"], "no date"), ("0000-05-20", "no date"), ("1990-05-20T10:00:00", "no date"),
    ],
)  # fmt: skip
def test_missing_and_bad_dates_start_nothing(tmp_path: Path, value: object, words: str) -> None:
    """Semantics: date.missing — missing or bad date: skipped with a reason, never "now"; the trace of the event says
    why."""
    seen = play(tmp_path, birthday(), [event("1", "user.signup", "10:00", birthday=value), end("2028-05-21T00:00:00Z")])
    assert seen.effects == []
    assert [row["verdict"] for row in seen.decisions] == ["skipped"]
    assert seen.decisions[0]["why"][0]["text"] == f"date: user.birthday is {words}"


def test_the_trace_names_the_day(tmp_path: Path) -> None:
    """``why`` shows at the sign-up when the greeting comes, and that a day of the past comes no more."""
    feed = [event("1", "user.signup", "10:00", birthday="1990-05-20")]
    seen = play(tmp_path, birthday(), [*feed, end("2026-05-01T00:00:00Z")])
    assert seen.decisions[0]["why"][0]["text"] == "date: comes at 2026-05-20T09:00:00Z"
    assert seen.decisions[0]["why"][0]["seen"] == {"user.birthday": "1990-05-20"}
    over = play(tmp_path / "over", birthday(repeat="once"), [*feed, end("2026-05-01T00:00:00Z")])
    assert over.decisions[0]["why"][0]["text"] == "date: its day is over"


def test_a_day_that_is_over_waits_for_the_next_year(tmp_path: Path) -> None:
    """Never "now": what becomes known after the hour of the day waits a year; at that very instant it is in time."""
    for time, first in (("2024-05-20T09:00:00Z", 2024), ("2024-05-20T09:00:01Z", 2025)):
        feed = [event("1", "user.signup", time, birthday="1990-05-20")]
        seen = play(tmp_path / str(first), birthday(), [*feed, end("2026-01-01T00:00:00Z")])
        assert greeted(seen)[0] == f"{first}-05-20T09:00:00Z"


def test_the_day_itself_is_no_anniversary(tmp_path: Path) -> None:
    """Who becomes a member today is not congratulated on no year of membership."""
    feed = [event("1", "user.signup", "2024-05-20T01:00:00Z", birthday="2024-05-20")]
    assert greeted(play(tmp_path, birthday(), [*feed, end("2026-05-21T00:00:00Z")])) == [
        "2025-05-20T09:00:00Z", "2026-05-20T09:00:00Z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("-3d", "2026-03-05T14:00:00Z"),  # before the clocks change on 8 March: still 09:00 in New York
        ("-1d", "2026-03-07T14:00:00Z"),
        ("1d", "2026-03-09T13:00:00Z"),
        ("+1w", "2026-03-15T13:00:00Z"),
        ("-24h", "2026-03-07T13:00:00Z"),  # elapsed: 08:00 local
        ("-90m", "2026-03-08T11:30:00Z"),
    ],
)
def test_offsets(tmp_path: Path, offset: str, expected: str) -> None:
    """Days of an offset are local days at the same wall time; hours and minutes are elapsed time.

    Semantics: date.when
    """
    feed = [event("1", "user.signup", "2026-01-10T00:00:00Z", birthday="1990-03-08", zone="America/New_York")]
    assert greeted(play(tmp_path, birthday(f"offset: {offset}"), [*feed, end("2026-06-01T00:00:00Z")])) == [expected]


def test_an_offset_may_cross_the_year(tmp_path: Path) -> None:
    """Three days before 1 January is in the year before, and still one greeting an anniversary."""
    feed = [event("1", "user.signup", "2024-02-01T00:00:00Z", birthday="1990-01-01")]
    assert greeted(play(tmp_path, birthday("offset: -3d"), [*feed, end("2027-01-05T00:00:00Z")])) == [
        "2024-12-29T09:00:00Z", "2025-12-29T09:00:00Z", "2026-12-29T09:00:00Z",
    ]  # fmt: skip


def test_once(tmp_path: Path) -> None:
    """``once`` fires on the very day; a new day in the field fires again, the same one does not.

    Semantics: date.when
    """
    feed = [
        event("1", "user.signup", "2026-01-01T00:00:00Z", birthday="2026-02-01"),
        event("2", "user.updated", "2026-02-02T00:00:00Z", birthday="2026-03-01"),
        event("3", "user.updated", "2026-02-20T00:00:00Z", birthday="2026-02-01"),
        event("4", "user.updated", "2026-02-21T00:00:00Z", birthday="2026-03-05"),
    ]
    assert greeted(play(tmp_path, birthday(repeat="once"), [*feed, end("2027-12-01T00:00:00Z")])) == [
        "2026-02-01T09:00:00Z", "2026-03-05T09:00:00Z",
    ]  # fmt: skip


def test_an_instant_names_its_local_day(tmp_path: Path) -> None:
    """A field of type time is the local day of that instant."""
    feed = [event("1", "user.signup", "2026-01-01T00:00:00Z", birthday="2026-02-01T20:00:00Z", zone="Asia/Shanghai")]
    assert greeted(play(tmp_path, birthday("offset: -1d", repeat="once"), [*feed, end("2026-06-01T00:00:00Z")])) == [
        "2026-02-01T01:00:00Z"
    ]


@pytest.mark.parametrize("traced", [True, False])
def test_timed_anew_when_the_field_or_the_zone_changes(tmp_path: Path, traced: bool) -> None:
    """A corrected birthday and a move are followed at once, also by ``set``, and nobody is greeted twice in a year."""
    playbooks = {
        **birthday(),
        "s": "trigger: {event: fix}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps: [{set: {user.birthday: '{{ event.to }}'}}]\n",
    }
    feed = [
        event("1", "user.signup", "2026-01-01T00:00:00Z", birthday="1990-05-20", zone="Asia/Shanghai"),
        event("2", "user.updated", "2026-02-01T00:00:00Z", birthday="1990-03-10"),  # earlier than before
        event("3", "user.updated", "2026-03-05T00:00:00Z", zone="America/New_York"),
        # greeted on 10 March 2026, 09:00 in New York; what follows is no second greeting of that year
        event("4", "user.updated", "2026-04-01T00:00:00Z", birthday="1990-04-10", zone="Pacific/Apia"),
        event("5", "fix", "2027-01-02T00:00:00Z", to="1990-02-03"),
        event("6", "user.updated", "2027-06-01T00:00:00Z", birthday="unknown"),
        event("7", "fix", "2029-01-02T00:00:00Z", to="1990-02-04"),
    ]
    seen = play(tmp_path, playbooks, [*feed, end("2029-12-31T00:00:00Z")], traced=traced)
    assert [row["time"] for row in seen.effects if row["kind"] == "tag"] == [
        "2026-03-10T13:00:00Z", "2027-02-02T20:00:00Z", "2029-02-03T20:00:00Z",
    ]  # fmt: skip


@pytest.mark.parametrize("traced", [True, False])
def test_days_that_a_step_writes(tmp_path: Path, traced: bool) -> None:
    """``set`` with ``today`` or ``now`` gives a day like any other, by the user's zone."""
    steps = "steps: [{set: {user.birthday: '{{ today }}', user.at: '{{ now }}'}}]\n"
    playbooks = {
        **birthday(),
        "s": "trigger: {event: fix}\nentry: {mode: parallel, limit: unlimited}\n" + steps,
        "t": 'trigger: {date: {field: user.at, at: "09:00", repeat: once, offset: 3d}}\n' + STEPS,
    }
    feed = [
        event("0", "user.updated", "2026-02-01T00:00:00Z", zone="Asia/Shanghai"),
        event("1", "fix", "2026-03-01T20:00:00Z"),
    ]
    seen = play(tmp_path, playbooks, [*feed, end("2028-03-01T00:00:00Z")], traced=traced)
    assert [(row["playbook"], row["time"]) for row in seen.effects if row["kind"] == "tag"] == [
        ("t", "2026-03-05T01:00:00Z"), ("b", "2027-03-02T01:00:00Z"),
    ]  # fmt: skip


def test_conditions_of_the_playbook_hold_on_the_day(tmp_path: Path) -> None:
    """``if`` and ``when`` are judged at the wake-up; a refusal is traced and the next year comes all the same."""
    playbooks = {"b": birthday()["b"].replace("}}\n", "}, if: user.get('vip') == true}\n", 1)}
    feed = [
        event("1", "user.signup", "2026-01-01T00:00:00Z", birthday="1990-05-20"),
        event("2", "user.updated", "2026-12-01T00:00:00Z", vip=True),
    ]
    for traced in (True, False):
        seen = play(tmp_path / str(traced), playbooks, [*feed, end("2028-01-01T00:00:00Z")], traced=traced)
        assert greeted(seen) == ["2027-05-20T09:00:00Z"]
    seen = play(tmp_path / "again", playbooks, [*feed, end("2028-01-01T00:00:00Z")])
    assert ("2026-05-20T09:00:00Z", "skipped") in seen.verdicts("b")


# ---------------------------------------------------------------- lunar


@cache
def lunar_months(year: int) -> dict[tuple[int, bool], tuple[date, int]]:
    """The oracle: (month, leap) -> (first day, days) of a lunar year, by the second package."""
    from lunar_python import LunarYear, Solar

    out = {}
    for month in LunarYear.fromYear(year).getMonths():
        if month.getYear() == year:
            first = Solar.fromJulianDay(month.getFirstJulianDay())
            day = date(first.getYear(), first.getMonth(), first.getDay())
            out[(abs(month.getMonth()), month.getMonth() < 0)] = (day, month.getDayCount())
    return out


@cache
def lunar_of(day: date) -> tuple[int, int, bool, int]:
    for year in (day.year, day.year - 1):
        for (month, leap), (first, length) in lunar_months(year).items():
            if 0 <= (day - first).days < length:
                return year, month, leap, (day - first).days + 1
    raise AssertionError(day)


def lunar_day(year: int, born: tuple[int, int, bool, int]) -> date:
    """The rule as it is written: the leap month where there is one, else the plain one; at most its last day."""
    months = lunar_months(year)
    _, month, leap, day = born
    first, length = months[(month, leap)] if (month, leap) in months else months[(month, False)]
    return first + timedelta(days=min(day, length) - 1)


def test_every_lunar_birthday_once_a_lunar_year(tmp_path: Path) -> None:
    """Lunar birthdays of three years, leap months too, 2024 to 2032, against a second package: one a lunar year.

    Semantics: date.lunar
    """
    births = [date(1990, 1, 1) + timedelta(days=n) for n in range(1096)]
    assert any(lunar_of(day)[2] for day in births), "somebody is born in a leap month"
    feed = [
        event(day.isoformat(), "user.signup", "2023-12-30T00:00:00Z", day.isoformat(), birthday=day.isoformat())
        for day in births
    ]
    head = HEAD + "timezone: Asia/Shanghai\n"
    seen = play(tmp_path, birthday("calendar: lunar"), [*feed, end("2033-02-15T00:00:00Z")], head=head, traced=False)
    by_user: dict[str, list[date]] = {}
    for row in seen.effects:
        at = local(row["time"], "Asia/Shanghai")
        assert at.hour == 9
        by_user.setdefault(row["user"], []).append(at.date())
    for born in births:
        expected = [lunar_day(year, lunar_of(born)) for year in range(2023, 2034)]
        assert by_user[born.isoformat()] == [day for day in expected if date(2023, 12, 30) <= day < date(2033, 2, 15)]


@pytest.mark.parametrize(
    ("born", "days"),
    [
        # the last day of the year (除夕), a 30th: it is a 29th in the lunar years 2024 and 2025
        ("1990-01-26", ["2024-02-09", "2025-01-28", "2026-02-16", "2027-02-05"]),
        # 闰六月初一 of 1987: 2025 has a leap sixth month, the other years have not
        ("1987-07-26", ["2024-07-06", "2025-07-25", "2026-07-14"]),
        # 六月初一 of 2006, a plain month: kept in the plain sixth month of 2025
        ("2006-06-26", ["2024-07-06", "2025-06-25", "2026-07-14"]),
    ],
)
def test_leap_and_short_months_by_hand(tmp_path: Path, born: str, days: list[str]) -> None:
    """The written rule on dates anybody can look up."""
    feed = [event("1", "user.signup", "2023-12-30T00:00:00Z", birthday=born, zone="Asia/Shanghai")]
    seen = play(tmp_path, birthday("calendar: lunar"), [*feed, end(f"{days[-1]}T12:00:00Z")])
    assert [local(time, "Asia/Shanghai").date().isoformat() for time in greeted(seen)] == days


def test_outside_the_lunar_table(tmp_path: Path) -> None:
    """A birth before the table begins starts nothing, and the trace says so."""
    feed = [event("1", "user.signup", "10:00", birthday="1890-05-20")]
    seen = play(tmp_path, birthday("calendar: lunar"), [*feed, end("2030-01-01T00:00:00Z")])
    assert seen.effects == []
    assert seen.decisions[0]["why"][0]["text"] == "date: user.birthday lies outside the lunar table"


@given(
    births=st.lists(st.dates(date(1950, 1, 1), date(2023, 12, 30)), min_size=1, max_size=6),
    moves=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 2 * 365), st.sampled_from([*ZONES, None])), max_size=8
    ),
    offset=st.sampled_from(["", "offset: -10d", "offset: 3d", "offset: -5h"]),
)
@settings(max_examples=15, deadline=None)
def test_any_changes_of_field_and_zone(
    tmp_path_factory: pytest.TempPathFactory,
    births: list[date],
    moves: list[tuple[int, int, str | None]],
    offset: str,
) -> None:
    """Whatever becomes of field and zone: at most one greeting a year, on a day the field named; the same ones traced
    or not, in any batches."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    feed = [event("0", "user.signup", "2024-01-01T00:00:00Z", birthday=births[0].isoformat(), zone=ZONES[0])]
    for number, (which, hours, zone) in enumerate(sorted(moves, key=lambda it: it[1]), start=1):
        data: Row = {"birthday": births[which % len(births)].isoformat()} if zone is None else {"zone": zone}
        feed.append(event(str(number), "user.updated", (start + timedelta(hours=12 * hours)).isoformat(), **data))
    feed.append(end("2027-01-01T00:00:00Z"))
    root = tmp_path_factory.mktemp("any")
    whole = play(root, birthday(offset), feed)
    for traced, batch in ((False, 500), (False, 1)):
        assert play(root, birthday(offset), feed, traced=traced, batch=batch).effects == whole.effects
    times = [datetime.fromisoformat(time) for time in greeted(whole)]
    shift = {"": 0, "offset: -10d": 10, "offset: 3d": -3, "offset: -5h": 0}[offset]
    years = [(time + timedelta(days=shift)).year for time in times]
    near = {day for born in births for day in [(born.month, born.day), (2, 28)]}
    assert len(set(years)) >= len(years) - 1, "two only where the zones put one anniversary on both sides of new year"
    for time in times:
        around = {(time + timedelta(days=shift + days)) for days in (-1, 0, 1)}
        assert near & {(day.month, day.day) for day in around}
