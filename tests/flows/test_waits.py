"""Calendar waits: local days, wall times and workdays, on plain days and on those that clocks are changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semantics_kit import HEAD, Row, event, play

NEAR = '{until: now + duration("24h"), calendar: workdays}'
CN = "calendars: {cn: {holidays: CN}}\n"


def ends(
    root: Path, wait: str, starts: list[str], *, zone: str = "UTC", catalog: str = "", verb: str = "wait"
) -> list[str]:
    """When a journey begun at each instant goes on behind its wait."""
    step = f"{{wait: {wait}}}" if verb == "wait" else f"{{wait_for: {{event: never, up_to: {wait}}}}}"
    playbook = f"trigger: {{event: go}}\nentry: {{mode: once}}\nsteps: [{step}, {{tag: {{add: [on]}}}}]\n"
    users = range(len(starts))
    rows: list[Row] = [event(f"z{n}", "user.updated", "2020-01-01T00:00:00Z", f"u{n}", zone=zone) for n in users]
    rows += [event(f"e{n}", "go", at, f"u{n}") for n, at in enumerate(starts)]
    last = max(datetime.fromisoformat(at) for at in starts) + timedelta(days=80)
    rows.append(event("end", "end", last.isoformat(), "zz"))
    seen = play(root, {"p": playbook}, rows, head=HEAD, catalog=catalog)
    found = {row["user"]: row["time"] for row in seen.effects}
    return [found[f"u{n}"] for n in users]


@pytest.mark.parametrize(
    ("wait", "zone", "start", "end"),
    [
        ("3d", "America/New_York", "2026-03-07T12:00:00-05:00", "2026-03-10T17:00:00Z"),  # 72 elapsed hours
        ("{days: 3}", "America/New_York", "2026-03-07T12:00:00-05:00", "2026-03-10T16:00:00Z"),
        ('{days: 1, at: "10:00"}', "Asia/Shanghai", "2026-03-01T23:59:00+08:00", "2026-03-02T02:00:00Z"),
        ('{days: 1, at: "02:30"}', "America/New_York", "2026-03-07T12:00:00-05:00", "2026-03-08T07:30:00Z"),  # -> 03:30
        ('{days: 1, at: "01:30"}', "America/New_York", "2026-10-31T12:00:00-04:00", "2026-11-01T05:30:00Z"),  # first
        ('{days: 1, at: "00:30"}', "America/Santiago", "2026-09-05T12:00:00-04:00", "2026-09-06T04:30:00Z"),  # -> 01:30
        ('{days: 0, at: "10:00"}', "UTC", "2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z"),
        ('{days: 0, at: "10:00"}', "UTC", "2026-03-01T11:00:00Z", "2026-03-01T11:00:00Z"),  # not ahead: at once
        ('{until: "10:00"}', "Asia/Shanghai", "2026-03-01T09:59:00+08:00", "2026-03-01T02:00:00Z"),
        ('{until: "10:00"}', "Asia/Shanghai", "2026-03-01T10:00:00+08:00", "2026-03-01T02:00:00Z"),
        ('{until: "10:00"}', "Asia/Shanghai", "2026-03-01T10:00:01+08:00", "2026-03-02T02:00:00Z"),
        ('{until: now + duration("2h")}', "UTC", "2026-03-01T10:00:00Z", "2026-03-01T12:00:00Z"),
        ('{until: now - duration("2h")}', "UTC", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
        ('{until: user.get("x")}', "UTC", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
    ],
)
@pytest.mark.parametrize("verb", ["wait", "wait_for"])
def test_waits(tmp_path: Path, wait: str, zone: str, start: str, end: str, verb: str) -> None:
    """Semantics: wait.kinds, duration.elapsed, duration.calendar — elapsed, N local days later, a wall time, an
    instant; what is not ahead goes on at once."""
    assert ends(tmp_path, wait, [start], zone=zone, verb=verb) == [end]


@pytest.mark.parametrize(
    ("wait", "start", "end"),
    [
        ('{until: "10:00", calendar: workdays}', "2026-09-30T09:00:00+08:00", "2026-09-30T10:00:00+08:00"),
        ('{until: "10:00", calendar: workdays}', "2026-09-30T11:00:00+08:00", "2026-10-08T10:00:00+08:00"),
        ('{until: "10:00", calendar: workdays}', "2026-10-09T11:00:00+08:00", "2026-10-10T10:00:00+08:00"),  # made up
        ('{until: "10:00", calendar: workdays}', "2026-10-10T11:00:00+08:00", "2026-10-12T10:00:00+08:00"),
        ("{days: 1, calendar: workdays}", "2026-09-30T11:00:00+08:00", "2026-10-08T11:00:00+08:00"),
        ('{days: 3, at: "10:00", calendar: workdays}', "2026-10-08T11:00:00+08:00", "2026-10-12T10:00:00+08:00"),
        ('{days: 0, at: "10:00", calendar: workdays}', "2026-10-03T11:00:00+08:00", "2026-10-08T10:00:00+08:00"),
        ('{days: 0, at: "10:00", calendar: workdays}', "2026-10-08T11:00:00+08:00", "2026-10-08T11:00:00+08:00"),
        (NEAR, "2026-09-30T11:00:00+08:00", "2026-10-08T11:00:00+08:00"),
        (NEAR, "2026-10-09T11:00:00+08:00", "2026-10-10T11:00:00+08:00"),
        (NEAR.replace("+", "-"), "2026-10-03T11:00:00+08:00", "2026-10-03T11:00:00+08:00"),
    ],
)
def test_workdays(tmp_path: Path, wait: str, start: str, end: str) -> None:
    """``calendar: workdays`` goes by the program's holidays: the national week of 2026, a Saturday made up for.

    Semantics: wait.kinds
    """
    found = ends(tmp_path, wait, [start], zone="Asia/Shanghai", catalog=CN)
    assert [datetime.fromisoformat(at) for at in found] == [datetime.fromisoformat(end)]


def test_workdays_without_a_calendar(tmp_path: Path) -> None:
    """Without a calendar of holidays workdays are Monday to Friday."""
    starts = [f"2026-03-0{day}T12:00:00Z" for day in range(1, 8)]  # a Sunday to a Saturday
    assert [at[8:10] for at in ends(tmp_path, '{until: "10:00", calendar: workdays}', starts)] == [
        "02", "03", "04", "05", "06", "09", "09",
    ]  # fmt: skip


@given(
    starts=st.lists(st.integers(0, 700 * 1440), min_size=1, max_size=20),
    days=st.integers(0, 12),
    wall=st.times(),
    zone=st.sampled_from(["Asia/Shanghai", "America/New_York", "America/Santiago", "Pacific/Apia", "Asia/Kathmandu"]),
)
@settings(max_examples=12, deadline=None)
def test_workdays_against_counting(
    tmp_path_factory: pytest.TempPathFactory, starts: list[int], days: int, wall: time, zone: str
) -> None:
    """The n-th workday after today, counted one by one with the package itself."""
    import chinese_calendar

    tz = ZoneInfo(zone)
    begun = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=start) for start in starts]
    wait = f'{{days: {days}, at: "{wall:%H:%M}", calendar: workdays}}'
    root = tmp_path_factory.mktemp("waits")
    found = ends(root, wait, [start.isoformat() for start in begun], zone=zone, catalog=CN)
    for start, end in zip(begun, found, strict=True):
        here: date = start.astimezone(tz).date()
        left = days
        while left or not chinese_calendar.is_workday(here):
            here += timedelta(days=1)
            left -= left > 0 and chinese_calendar.is_workday(here)
        due = datetime(here.year, here.month, here.day, wall.hour, wall.minute, tzinfo=tz).timestamp()
        assert datetime.fromisoformat(end).timestamp() == max(due, start.timestamp())


def test_words_of_the_language(tmp_path: Path) -> None:
    """`is_workday(today)` and `is_holiday(today)` go by the program's calendar, on the user's own day."""
    steps = "steps: [{tag: {add: [work]}, if: is_workday(today)}, {tag: {add: [feast]}, if: is_holiday(today)}]\n"
    playbook = "trigger: {event: go}\nentry: {mode: parallel, limit: unlimited}\n" + steps
    rows = [
        event("0", "user.updated", "2026-09-01T00:00:00Z", zone="Asia/Shanghai"),
        event("1", "go", "2026-09-30T15:59:59Z"), event("2", "go", "2026-09-30T16:00:00Z"),  # midnight of 1 October
        event("3", "go", "2026-10-10T10:00:00Z"), event("4", "go", "2026-10-11T10:00:00Z"),
    ]  # fmt: skip
    seen = play(tmp_path, {"p": playbook}, rows, catalog=CN)
    assert [(row["time"][5:10], row["detail"]["add"][0]) for row in seen.effects] == [
        ("09-30", "work"), ("09-30", "feast"), ("10-10", "work"),
    ]  # fmt: skip
