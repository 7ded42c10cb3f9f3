"""Days of the catalog's calendars as a trigger: on time, once a window, for those in the audience."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from flow_program import compiled as compile_folder
from flow_program import effects_of, lines_of, run, simulated, write_feed
from hypothesis import given, settings
from hypothesis import strategies as st
from semantics_kit import HEAD, event, play

from engine.core import localtime
from engine.core.calendars import Calendar, windows_of
from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR
from engine.core.moment import Condition
from engine.insight.replay import course
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore
from engine.triggers.calendar import CalendarDay

HI = "entry: {mode: parallel, limit: unlimited}\nsteps:\n  - message: {template: hi, via: box, purpose: service}\n"
CATALOG = """\
calendars:
  sale: {dates: [2026-03-08..2026-03-12, 2026-06-18]}
  cn: {holidays: CN}
  member-day: {cron: "0 0 8 * *"}
  qixi: {lunar: 7-7}
"""


def book(name: str, at: str = "10:00", offset: str = "", audience: str = "user.city == '上海'") -> str:
    more = f", offset: {offset}" if offset else ""
    return f'trigger: {{calendar: {{name: {name}, at: "{at}"{more}, audience: {audience}}}}}\n{HI}'


FEED = [
    event("1", "user.signup", "2026-01-02T00:00:00Z", "u1", city="上海"),
    event("2", "user.signup", "2026-01-02T00:00:00Z", "u2", city="杭州"),
    event("3", "user.updated", "2026-03-10T00:00:00Z", "u2", city="上海"),
]
UNTIL = parse_instant("2026-12-31T00:00:00Z")


@pytest.mark.parametrize("batch", [1, 500])
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("sale",), ["2026-03-08T10:00:00Z u1", "2026-06-18T10:00:00Z u1", "2026-06-18T10:00:00Z u2"]),
        (("sale", "20:00", "-1d"), ["2026-03-07T20:00:00Z u1", "2026-06-17T20:00:00Z u1", "2026-06-17T20:00:00Z u2"]),
        (("sale", "01:00", "-2h"), ["2026-03-07T23:00:00Z u1", "2026-06-17T23:00:00Z u1", "2026-06-17T23:00:00Z u2"]),
        (("sale", "23:30", "45m"), ["2026-03-09T00:15:00Z u1", "2026-06-19T00:15:00Z u1", "2026-06-19T00:15:00Z u2"]),
        (("qixi", "09:00", "1w"), ["2026-08-26T09:00:00Z u1", "2026-08-26T09:00:00Z u2"]),
        (("member-day", "08:00", "", "user.id == 'u1'"), [f"2026-{m:02d}-08T08:00:00Z u1" for m in range(1, 13)]),
    ],
)
def test_when_and_who(tmp_path: Path, words: tuple[str, ...], wanted: list[str], batch: int) -> None:
    """A window fires once, on its first day, at the wall time and offset, for those in the audience then.

    Semantics: calendar.when
    """
    seen = play(tmp_path, {"p": book(*words)}, FEED, catalog=CATALOG, until=UNTIL, batch=batch, traced=batch == 1)
    assert sorted(f"{row['time']} {row['user']}" for row in seen.effects) == wanted
    assert {str(row["cause"]) for row in seen.decisions} <= {"{'wake': 'calendar'}"}


def test_holidays(tmp_path: Path) -> None:
    """The first day of each stretch of days off of 2026, in the program's zone.

    Semantics: calendar.holidays
    """
    head = HEAD + "timezone: Asia/Shanghai\n"
    seen = play(tmp_path, {"p": book("cn", audience="user.id == 'u1'")}, FEED, catalog=CATALOG, until=UNTIL, head=head)
    assert "2026-10-01T02:00:00Z" in [row["time"] for row in seen.effects]
    assert "2026-10-02T02:00:00Z" not in [row["time"] for row in seen.effects]
    assert 5 <= len(seen.effects) <= 8


def test_run_and_why(tmp_path: Path) -> None:
    """``run`` decides what ``simulate`` decides, and ``why`` decides it again."""
    files = {
        "drumbeat.yaml": HEAD + "feeds: [{file: feed/*.jsonl}]\n", "playbooks/catalog/c.yaml": CATALOG,
        "playbooks/p.yaml": f"playbook: p\ntitle: t\n{book('sale')}", "templates/hi.box.j2": "hi",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    program = compile_folder(tmp_path)
    feed = [*FEED, event("4", "x", "2026-12-01T00:00:00Z", "u3")]
    wanted = simulated(program, write_feed(tmp_path, lines_of(feed)))
    run(program, tmp_path, batch=1, deliver=False)
    assert effects_of(tmp_path) == wanted
    assert len(wanted) == 3
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    assert program.plan is not None
    for user, count in (("u1", 2), ("u2", 1), ("u3", 0)):
        found = course(program.plan, store, user, fresh=lambda: MemoryStore(keep_log=False))
        assert (len(found.effects), found.unmatched) == (count, 0)
    store.close()


NOBODY = Condition(text="false", test=lambda m: False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dates(date(2024, 1, 1), date(2030, 12, 31)), max_size=12),
    st.sampled_from(["UTC", "America/New_York", "Asia/Shanghai", "America/Santiago", "Pacific/Apia", "Asia/Beirut"]),
    st.sampled_from(["00:00", "00:30", "02:30", "10:00", "23:59"]),
    st.integers(-400, 400),
    st.sampled_from([0, -30 * HOUR, 45 * HOUR // 60, 500 * HOUR]),
    st.data(),
)
def test_every_start_once(
    days: list[date], zone: str, at: str, offset: int, elapsed: int, data: st.DataObject
) -> None:
    """From any instant on every beginning of a window comes once and in order, wherever the offset puts it.

    Semantics: calendar.when
    """
    calendar = Calendar(name="c", windows=windows_of(day.toordinal() for day in days))
    place, trigger = ZoneInfo(zone), CalendarDay(calendar, offset, elapsed, at, NOBODY)
    starts = [date.fromordinal(first) for first, _ in calendar.windows]
    wanted = sorted({localtime.at_wall(day + timedelta(days=offset), at, place) + elapsed for day in starts})
    begin = data.draw(st.sampled_from([0, *(it + shift for it in wanted for shift in (-DAY, -1, 0, 1))]))
    found, instant = [], begin
    while (following := trigger.after(instant, place)) is not None:
        found.append(following)
        instant = following
    assert found == [it for it in wanted if it > begin], format_instant(begin)
