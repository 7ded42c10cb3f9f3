"""The catalog's calendars: what the packages know, what the catalog changes, and what ``validate`` says about it."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from engine.core.calendars import Calendar
from engine.language import daytables
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.language.diagnostics import render_text

YEARS = range(2024, 2031)


def program(root: Path, calendars: str, playbook: str = "", head: str = "") -> Compiled:
    (root / "playbooks/catalog").mkdir(parents=True, exist_ok=True)
    (root / "drumbeat.yaml").write_text(f"program: p\ntimezone: Asia/Shanghai\n{head}", encoding="utf-8")
    text = "".join(f"  {line}\n" for line in calendars.strip().splitlines())
    (root / "playbooks/catalog/a.yaml").write_text(f"calendars:\n{text}", encoding="utf-8")
    if playbook:
        (root / "playbooks/p.yaml").write_text(playbook, encoding="utf-8")
    return compile_program(root)


def calendars(root: Path, text: str) -> dict[str, Calendar]:
    made = program(root, text)
    assert made.plan is not None, made.problems
    return dict(made.plan.calendars)


def told(made: Compiled) -> list[tuple[str, str]]:
    return [(problem.code, problem.message) for problem in made.problems]


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def test_both_packages_agree_on_workdays() -> None:
    """Two packages name the same workdays on every day of 2024 to 2030 that is announced; where not, it is told."""
    import chinese_calendar
    import holidays

    table = daytables.table("CN")
    other = holidays.country_holidays("CN", years=YEARS, language="zh_CN")
    official = date.fromordinal(table.known_to)
    assert date(2026, 12, 31) <= official
    last = min(official, date(2030, 12, 31))
    different = [
        day for day in days(date(2024, 1, 1), last)
        if chinese_calendar.is_workday(day)
        != (day in other.weekend_workdays or (day.weekday() < 5 and day not in other))
    ]  # fmt: skip
    assert different == [date.fromordinal(day) for day in table.disputed]


def test_years_nobody_announced_are_worked_out(tmp_path: Path) -> None:
    """Behind the official years the statutory days are holidays, by the lunar calendar, and nobody works a weekend."""
    cn = calendars(tmp_path, "cn: {holidays: CN}")["cn"]
    last = date.fromordinal(cn.work.known_to or 0).year
    for year in range(last + 1, 2031):
        assert {(1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3)} <= {
            (day.month, day.day) for day in days(date(year, 1, 1), date(year, 12, 31)) if cn.is_holiday(day)
        }
        assert not any(day.weekday() > 4 and cn.is_workday(day) for day in days(date(year, 1, 1), date(year, 12, 31)))
    import lunar_python

    for year in YEARS:
        new_year = lunar_python.Lunar.fromYmd(year, 1, 1).getSolar()
        day = date(new_year.getYear(), new_year.getMonth(), new_year.getDay())
        assert cn.is_holiday(day)
        assert not cn.is_workday(day)
    assert not cn.is_holiday(date(2060, 1, 1))
    assert cn.is_workday(date(2060, 1, 1)), "a Thursday of a year no table has"


@pytest.mark.parametrize(
    ("day", "holiday", "workday"),
    [
        ("2026-02-14", False, True),  # a Saturday worked for the Spring Festival
        ("2026-02-15", True, False),
        ("2026-02-23", True, False),
        ("2026-02-24", False, True),
        ("2026-10-10", False, True),  # a Saturday
        ("2026-10-11", False, False),  # a Sunday like any other
        ("2025-10-06", True, False),
    ],
)
def test_known_days(tmp_path: Path, day: str, holiday: bool, workday: bool) -> None:
    """Make-up workdays (调休) are workdays, days of the holiday are not, whatever weekday they are.

    Semantics: calendar.holidays
    """
    cn = calendars(tmp_path, "cn: {holidays: CN}")["cn"]
    assert (cn.is_holiday(date.fromisoformat(day)), cn.is_workday(date.fromisoformat(day))) == (holiday, workday)


def test_one_holiday_begins_once(tmp_path: Path) -> None:
    """A stretch of days off begins once; cut to a name it begins once a year, also with another feast in its middle."""
    made = calendars(
        tmp_path,
        "cn: {holidays: CN}\nspring: {holidays: CN, names: [春节]}\nnational: {holidays: CN, names: [国庆节]}\n"
        "moon: {holidays: CN, names: [中秋]}\nmakeup: {makeup_workdays: CN}",
    )
    year = (date(2025, 1, 1), date(2025, 12, 31))
    assert made["national"].starts(*year) == [date(2025, 10, 1)]
    assert made["moon"].starts(*year) == [date(2025, 10, 6)]
    assert [day.isoformat() for day in made["cn"].starts(*year)] == [
        "2025-01-01", "2025-01-28", "2025-04-04", "2025-05-01", "2025-05-31", "2025-10-01",
    ]  # fmt: skip
    assert [len(made["spring"].starts(date(y, 1, 1), date(y, 12, 31))) for y in YEARS] == [1] * len(YEARS)
    assert [day.isoformat() for day in made["makeup"].starts(*year)] == [
        "2025-01-26", "2025-02-08", "2025-04-27", "2025-09-28", "2025-10-11",
    ]  # fmt: skip


def test_windows_and_member_days(tmp_path: Path) -> None:
    """Dates and ranges are windows that begin once; a rule names day by day."""
    made = calendars(
        tmp_path, 'double-11: {dates: [2026-11-08..2026-11-12, 2027-11-11]}\nmember: {cron: "0 0 8 * *"}'
    )
    assert made["double-11"].starts(date(2026, 1, 1), date(2027, 12, 31)) == [date(2026, 11, 8), date(2027, 11, 11)]
    assert made["double-11"].contains(date(2026, 11, 12))
    assert not made["double-11"].contains(date(2026, 11, 13))
    assert made["member"].starts(date(2026, 1, 9), date(2026, 3, 8)) == [date(2026, 2, 8), date(2026, 3, 8)]
    assert not made["double-11"].is_workday(date(2026, 11, 8)), "a Sunday"
    assert not made["double-11"].is_holiday(date(2026, 11, 9))


def test_the_catalog_has_the_last_word(tmp_path: Path) -> None:
    """Overridden official days are told with their place; days of a year to come are filled in without a word.

    Semantics: calendar.holidays
    """
    made = program(
        tmp_path,
        "cn:\n  holidays: CN\n  days_off: [2026-10-08..2026-10-09, 2034-02-17]\n  workdays: [2026-10-02, 2034-02-11]",
    )
    assert made.plan is not None
    cn = made.plan.calendars["cn"]
    assert cn.is_holiday(date(2026, 10, 8))
    assert cn.is_workday(date(2026, 10, 2))
    assert not cn.is_holiday(date(2026, 10, 2))
    assert cn.is_workday(date(2034, 2, 11)), "a Saturday made up for"
    assert cn.starts(date(2034, 2, 1), date(2034, 2, 28)) == [date(2034, 2, 17)]
    assert told(made) == [
        ("calendar-override", "calendar 'cn' makes 2026-10-08..2026-10-09 a day off, against the official table"),
        ("calendar-override", "calendar 'cn' makes 2026-10-02 a workday, against the official table"),
    ]
    assert [(problem.line, problem.col) for problem in made.problems] == [(4, 16), (5, 16)]


def test_an_override_is_silenced_with_a_reason(tmp_path: Path) -> None:
    """A reason on the line is what an override needs, and all it needs."""
    made = program(
        tmp_path, "cn:\n  holidays: CN\n  days_off:\n    - 2026-10-08 # allow: calendar-override — the shop's birthday"
    )
    assert told(made) == []


def test_idle_and_contradicting_overrides(tmp_path: Path) -> None:
    """An entry that changes nothing is told; a day cannot be both."""
    idle = program(tmp_path, "cn: {holidays: CN, days_off: [2026-10-01], workdays: [2026-10-12]}")
    assert [code for code, _ in told(idle)] == ["idle-override", "idle-override"]
    both = program(tmp_path, "cn: {holidays: CN, days_off: [2026-10-08], workdays: [2026-10-08]}")
    assert "conflict" in [code for code, _ in told(both)]


def test_disputed_days_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the packages disagree, validate names the days until the catalog says what holds."""
    import holidays

    daytables.table.cache_clear()
    real = holidays.country_holidays

    def wrong(*args, **kwargs):  # type: ignore[no-untyped-def]
        found = real(*args, **kwargs)
        found.pop(date(2026, 10, 7))
        return found

    monkeypatch.setattr(holidays, "country_holidays", wrong)
    try:
        open_ = program(tmp_path, "cn: {holidays: CN}")
        assert told(open_) == [
            ("calendar-disputed", "calendar 'cn': the tables of holidays disagree about 2026-10-07")
        ]
        said = program(tmp_path, "cn: {holidays: CN, workdays: [2026-10-07]}")
        assert [code for code, _ in told(said)] == ["calendar-override"]
        assert said.plan is not None
        assert said.plan.calendars["cn"].is_workday(date(2026, 10, 7))
    finally:
        daytables.table.cache_clear()


@pytest.mark.parametrize(
    ("text", "code", "caret"),
    [
        ("x: {dates: [2026-02-30]}", "bad-date", "2026-02-30"),
        ("x: {dates: [2026-03-05..2026-03-01]}", "bad-date", "2026-03-05..2026-03-01"),
        ("x: {dates: [2016-03-05..2036-03-01]}", "bad-date", "2016-03-05..2036-03-01"),
        ("x: {dates: [soon]}", "wrong-value", "soon"),
        ('x: {cron: "0 10 8 * *"}', "bad-calendar", '"0 10 8 * *"'),
        ("x: {holidays: QQ}", "unknown-country", "QQ"),
        ("x: {holidays: CN, names: [春结]}", "unknown-holiday", "春结"),
        ("x: {dates: [2026-01-01], workdays: [2026-01-02]}", "conflict", "workdays"),
        ("x: {makeup_workdays: CN, names: [春节]}", "conflict", "names"),
        ("x: {dates: [2026-01-01], holidays: CN}", "conflict", "holidays"),
        ("x: {lunar: [13-1]}", "wrong-value", "13-1"),
        ("x: {dates: [2026-01-01], lunar_months: {2089-8: 2089-09-04}}", "conflict", "lunar_months"),
        ("x: {title: none at all}", "missing-key", "{title: none at all}"),
    ],
)
def test_refused(tmp_path: Path, text: str, code: str, caret: str) -> None:
    """What is no calendar is refused at its very word."""
    made = program(tmp_path, text)
    assert made.plan is None
    problem = made.problems[0]
    assert problem.code == code
    line = made.sources[problem.file].splitlines()[problem.line - 1]
    assert line[problem.col - 1 :].startswith(caret), render_text(made.problems, made.sources)


def test_the_end_of_the_table_is_told(tmp_path: Path) -> None:
    """Within 30 days of the last official day, validate says so, until the catalog has days of the time behind it."""
    program(tmp_path, "cn: {holidays: CN}")
    last = date.fromordinal(daytables.table("CN").known_to)
    for today, codes in ((last - timedelta(days=31), []), (last - timedelta(days=30), ["calendar-horizon"])):
        assert [it[0] for it in told(compile_program(tmp_path, today=today))] == codes
    assert told(compile_program(tmp_path, today=last + timedelta(days=90)))[0][1] == (
        f"calendar 'cn': the official days are known up to {last}; later ones are worked out"
    )
    program(tmp_path, f"cn: {{holidays: CN, workdays: [{last.year + 1}-01-02, {last.year + 1}-01-03]}}")
    assert "calendar-horizon" not in [it[0] for it in told(compile_program(tmp_path, today=last))]


def test_both_packages_agree_on_lunar_months() -> None:
    """Two packages begin the lunar months of 1900 to 2100 on the same days, but for those that are named."""
    from lunar_python import LunarYear, Solar

    table = daytables.lunar({})
    ours = {month: date.fromordinal(table.firsts[place]) for place, month in enumerate(table.months)}
    theirs = {}
    for year in (*range(2020, 2041), 1900, 1954, 1978, 1984, 2057, 2089, 2097, 2100):
        for month in LunarYear.fromYear(year).getMonths():
            if month.getYear() == year:
                first = Solar.fromJulianDay(month.getFirstJulianDay())
                day = date(first.getYear(), first.getMonth(), first.getDay())
                theirs[(year, abs(month.getMonth()), month.getMonth() < 0)] = day
    different = {month: day.isoformat() for month, day in theirs.items() if ours[month] != day}
    assert different == daytables.LUNAR_DISPUTED
    lengths = {later - one for one, later in pairwise(table.firsts)}
    assert lengths == {29, 30}


def test_lunar_days(tmp_path: Path) -> None:
    """Days of the lunar calendar, by dates anybody can look up; ``*`` is every month, leap months too."""
    text = 'qixi: {lunar: 7-7}\nfeasts: {lunar: [1-1, 8-15]}\nnew: {lunar: "*-1"}\neve: {lunar: 12-30}'
    made = calendars(tmp_path, text)
    year = (date(2025, 1, 1), date(2025, 12, 31))
    assert made["qixi"].starts(*year) == [date(2025, 8, 29)]
    assert made["feasts"].starts(*year) == [date(2025, 1, 29), date(2025, 10, 6)]
    assert made["eve"].starts(*year) == [date(2025, 1, 28)], "a month of 29 days ends on its 29th"
    firsts = made["new"].starts(*year)
    assert len(firsts) == 12
    assert date(2025, 7, 25) in firsts, "the leap sixth month"


def test_lunar_months_are_overridden(tmp_path: Path) -> None:
    """The catalog decides where tables differ about a lunar month; it is told, and holds for every calendar."""
    made = program(tmp_path, 'early: {lunar: "8-1"}\nmoon: {lunar: "8-15", lunar_months: {2089-8: 2089-09-04}}')
    message = "calendar 'moon' begins lunar month '2089-8' on 2089-09-04, against the table's 2089-09-05"
    assert told(made) == [("calendar-override", message)]
    assert made.plan is not None
    year = (date(2089, 1, 1), date(2089, 12, 31))
    assert made.plan.calendars["moon"].starts(*year) == [date(2089, 9, 18)]
    assert made.plan.calendars["early"].starts(*year) == [date(2089, 9, 4)]


@pytest.mark.parametrize(
    ("months", "code"),
    [
        ("2089-闰8: 2089-09-04", "bad-date"),
        ("2189-8: 2089-09-04", "bad-date"),
        ("2089-8: 2089-09-14", "bad-date"),
        ("2089-8: 2089-09-05", "idle-override"),
        ("2089-08: 2089-09-04", "bad-name"),
    ],
)
def test_lunar_months_refused(tmp_path: Path, months: str, code: str) -> None:
    """A month there is not, or one moved by more than a day, is a slip."""
    assert [it[0] for it in told(program(tmp_path, f'moon: {{lunar: "8-15", lunar_months: {{{months}}}}}'))] == [code]


def test_other_countries(tmp_path: Path) -> None:
    """Any country of the tables will do, with its own weekend."""
    made = calendars(tmp_path, "de: {holidays: DE}\nae: {holidays: EG}")
    assert made["de"].is_holiday(date(2026, 10, 3))
    assert made["ae"].is_workday(date(2026, 3, 8)), "people work on Sundays in Egypt"
    assert not made["ae"].is_workday(date(2026, 3, 6)), "and not on Fridays"


def test_packages_are_read_only_when_asked_for(tmp_path: Path) -> None:
    """A program without holidays starts none of the packages, and neither does the command line."""
    program(tmp_path, 'm: {cron: "0 0 8 * *"}')
    code = (
        "import sys; from pathlib import Path; import engine.cli.main;"
        "from engine.language.compile import compile_program;"
        f"assert compile_program(Path({str(tmp_path)!r})).plan is not None;"
        "print(sorted({'holidays', 'chinese_calendar', 'borax', 'lunar_python'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- the trigger ``date``

HEAD = "profile: {birthday: date | none, since: time | none, city: text | none}\n"


@pytest.mark.parametrize(
    ("text", "code", "caret"),
    [
        ('field: user.city, at: "09:00", repeat: yearly', "type-mismatch", "user.city"),
        ('field: user.birhtday, at: "09:00", repeat: yearly', "unknown-field", "birhtday"),
        ('field: birthday, at: "09:00", repeat: yearly', "wrong-value", "birthday"),
        ('field: user.birthday, at: "9:00", repeat: yearly', "bad-time", '"9:00"'),
        ("field: user.birthday, repeat: yearly", "missing-key", "{field"),
        ('field: user.birthday, at: "09:00"', "missing-key", "{field"),
        ('field: user.birthday, at: "09:00", repeat: monthly', "wrong-value", "monthly"),
        ('field: user.birthday, at: "09:00", repeat: yearly, offset: 3', "wrong-value", "3"),
        ('field: user.birthday, at: "09:00", repeat: yearly, offset: -400d', "out-of-range", "-400d"),
        ('field: user.birthday, at: "09:00", repeat: once, leap_day: mar1', "conflict", "mar1"),
        ('field: user.birthday, at: "09:00", repeat: yearly, calendar: lunar, leap_day: mar1', "conflict", "mar1"),
        ('field: user.birthday, at: "09:00", repeat: once, calendar: lunar', "conflict", "lunar"),
    ],
)
def test_date_refused(tmp_path: Path, text: str, code: str, caret: str) -> None:
    """Each slip is told at its very word."""
    playbook = (
        f"playbook: p\ntitle: t\ntrigger: {{date: {{{text}}}}}\nentry: {{mode: single}}\nsteps: [{{points: 1}}]\n"
    )
    made = program(tmp_path, "d: {dates: [2026-01-01]}", playbook, HEAD)
    problem = next(it for it in made.problems if it.file.endswith("p.yaml"))
    assert problem.code == code, render_text(made.problems, made.sources)
    line = made.sources[problem.file].splitlines()[problem.line - 1]
    assert line[problem.col - 1 :].startswith(caret), render_text(made.problems, made.sources)


def test_no_event_at_a_date(tmp_path: Path) -> None:
    """Time begins such a journey, so there is no ``event`` in its conditions."""
    playbook = (
        'playbook: p\ntitle: t\ntrigger: {date: {field: user.birthday, at: "09:00", repeat: yearly}}\n'
        "when: event.amount > 1\nentry: {mode: single}\nsteps: [{points: 1}]\n"
    )
    made = program(tmp_path, "d: {dates: [2026-01-01]}", playbook, HEAD)
    assert [it.severity for it in made.problems] == ["error"]
    assert "event" in made.problems[0].message


def test_the_manual_compiles(tmp_path: Path) -> None:
    """Each piece of YAML in docs/calendars.md is a valid part of a program, without a warning."""
    manual = (Path(__file__).parents[2] / "docs/calendars.md").read_text(encoding="utf-8")
    pieces = re.findall(r"```yaml\n(.*?)```", manual, re.DOTALL)
    assert len(pieces) >= 5
    for number, piece in enumerate(pieces):
        root = tmp_path / str(number)
        section = textwrap.dedent(piece.partition("\n")[2]) if piece.startswith("calendars") else "d: {lunar: 1-1}"
        made = program(root, section, "" if piece.startswith("calendars") else piece, HEAD)
        assert made.plan is not None
        assert told(made) == [], piece
