"""The pages of what can be wrong with calendars and dates."""

from __future__ import annotations

from typing import Final

from engine.language.diagnostics import Page

CALENDAR_PAGES: Final[dict[str, Page]] = {
    "bad-calendar": Page(
        "a rule for days that cannot be read",
        "A calendar's cron line names days: minute and hour are '0 0', then day of the month, month and weekday. The "
        "trigger's 'at' says at what time of these days. A rule that names no day of any year is refused, too.",
        'calendars:\n  member-day: {cron: "0 9 8 * *"}',
        'calendars:\n  member-day: {cron: "0 0 8 * *"}',
    ),
    "unknown-country": Page(
        "a country without a table of holidays",
        "Holidays come from tables by the country's ISO code, two capitals. For a country without one, write the days "
        "under 'dates'.",
        "calendars:\n  cn: {holidays: ZZ}",
        "calendars:\n  cn: {holidays: CN}",
    ),
    "unknown-holiday": Page(
        "a holiday the country does not have",
        "'names' cuts a calendar of holidays down to some of them, by the names of the table. The message lists them.",
        "calendars:\n  spring: {holidays: CN, names: [春结]}",
        "calendars:\n  spring: {holidays: CN, names: [春节]}",
    ),
    "calendar-override": Page(
        "the catalog changes an official day",
        "'days_off' and 'workdays' have the last word over the table of holidays. Where they contradict days that were "
        "announced officially, that should be meant: say why on the line. Days of years nobody has announced yet are "
        "filled in without a word. The same holds for 'lunar_months', which moves the first day of a lunar month: "
        "tables differ about 2089-8 (new moon at midnight of 2089-09-04) and 2097-7 (2097-08-07).",
        "calendars:\n  cn:\n    holidays: CN\n    days_off:\n      - 2026-10-08",
        "calendars:\n  cn:\n    holidays: CN\n    days_off:\n      - 2026-10-08 # allow: calendar-override — own day",
        "warning",
    ),
    "idle-override": Page(
        "an entry of 'days_off' or 'workdays' changes nothing",
        "The table has it that way already. Often a slip of the year, or the package of tables was updated since.",
        "calendars:\n  cn:\n    holidays: CN\n    days_off: [2026-10-01]",
        "calendars:\n  cn:\n    holidays: CN",
        "warning",
    ),
    "calendar-horizon": Page(
        "the table of holidays runs out",
        "Official days are announced year by year, in China each November with the make-up workdays of the next year. "
        "Behind the last announced year the statutory days are worked out, and nobody works on weekends. Within 30 "
        "days of that, 'validate' says so: update the package 'chinesecalendar' ('holidays' for other countries), or "
        "write the next year's days under 'days_off' and 'workdays'.",
        "(a calendar of holidays, and a table that ends this month)",
        "(the same calendar with the next year's days under 'days_off' and 'workdays')",
        "warning",
    ),
    "calendar-disputed": Page(
        "the tables of holidays disagree",
        "Two packages are asked about the days from 2024 to the last year that is announced. Where they disagree on "
        "whether people work, somebody has to look it up: write the day under 'days_off' or 'workdays'.",
        "(a calendar of holidays, and two packages that disagree about one of its days)",
        "(the same calendar with that day under 'days_off' or 'workdays')",
        "warning",
    ),
}
