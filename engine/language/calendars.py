"""Compiles the catalog section ``calendars``: days written out, holidays of a country, member days, lunar days.

Rule 1: what the packages know becomes plain tables here (language/daytables.py); the core never sees a package.
Rule 2: the catalog has the last word. ``workdays`` and ``days_off`` change the tables, and ``validate`` says which
official days they change; days nobody has announced yet are filled in without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from typing import Any, Final

from engine.core.calendars import Calendar, Window, WorkDays, windows_of
from engine.core.dayrules import parse_day_rule
from engine.core.lunar import LunarDay
from engine.language import daytables
from engine.language.nodes import MapNode, Node, SeqNode
from engine.language.workshop import Workshop
from engine.registry import nearest

_SOON: Final = 30
"""Days before the official days of a table run out that ``validate`` begins to say so."""

_LONGEST: Final = 3660
"""Days of the longest window: ten years. A longer one is a slip of the pen."""


class CalendarMaker:
    """Makes the calendars of a program, one after the other.

    Parameters
    ----------
    shop: the compiler's bench.
    """

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.made: dict[str, Calendar] = {}
        self._lunar: list[tuple[str, list[str]]] = []  #: calendars that wait for the table, and their days
        self.main: str | None = None  #: the program's calendar of holidays: the first one that is not cut to some

    def make(self, name: str, fields: dict[str, Any], node: Node) -> None:
        """Compile one entry."""
        self._conflicts(fields, node)
        if "cron" in fields:
            made = self._rule(name, fields["cron"], node)
        elif "dates" in fields:
            days = (day for days, _ in self._written(fields, node, "dates") for day in days)
            made = Calendar(name=name, windows=windows_of(days))
        elif "lunar" in fields:
            self._months(name, fields.get("lunar_months", {}), node)
            self._lunar.append((name, fields["lunar"]))
            return
        else:
            made = self._country(name, fields, node)
        if made is None:
            return
        self.made[name] = made
        if self.main is None and "holidays" in fields and "names" not in fields:
            self.main = name

    def _conflicts(self, fields: dict[str, Any], node: Node) -> None:
        country = "holidays" in fields or "makeup_workdays" in fields
        for key, fits, other in (
            ("days_off", country, "holidays"), ("workdays", country, "holidays"),
            ("names", "holidays" in fields, "holidays"), ("lunar_months", "lunar" in fields, "lunar"),
        ):  # fmt: skip
            if key in fields and not fits:
                message = f"'{key}' goes with '{other}'"
                hint = "a calendar of dates has its days in 'dates'"
                self.shop.problems.error(_key(node, key), "conflict", message, hint=hint)

    def _rule(self, name: str, text: str, node: Node) -> Calendar | None:
        try:
            return Calendar(name=name, rule=parse_day_rule(text))
        except ValueError as error:
            hint = '"0 0 8 * *": the 8th of each month'
            self.shop.problems.error(_value(node, "cron"), "bad-calendar", f"'cron': {error}", hint=hint)
            return None

    # ------------------------------------------------------------------ lunar days

    def _months(self, name: str, months: dict[str, date], node: Node) -> None:
        """First days the catalog gives lunar months; they hold for the whole program."""
        table = daytables.lunar({}) if months else None
        for text, first in months.items():
            year, _, month = text.partition("-")
            which = (int(year), int(month.removeprefix("闰")), month.startswith("闰"))
            where = _value(_value(node, "lunar_months"), text)
            place = table.place(*which) if table is not None else None
            if table is None or place is None:
                hint = "known are the years 1900 to 2100, and 闰 only where there is a leap month"
                self.shop.problems.error(where, "bad-date", f"there is no lunar month '{text}'", hint=hint)
            elif abs(table.firsts[place] - first.toordinal()) > 1:
                day = date.fromordinal(table.firsts[place])
                message = f"lunar month '{text}' begins about {day}, not on {first}"
                self.shop.problems.error(where, "bad-date", message, hint="tables differ by a day at most")
            elif table.firsts[place] == first.toordinal():
                message = f"calendar '{name}': the table begins lunar month '{text}' on {first} anyway"
                self.shop.problems.warning(where, "idle-override", message, hint="leave it out")
            else:
                self.shop.lunar_months[which] = first.toordinal()
                day = date.fromordinal(table.firsts[place])
                message = f"calendar '{name}' begins lunar month '{text}' on {first}, against the table's {day}"
                hint = "say why: # allow: calendar-override — reason"
                self.shop.problems.warning(where, "calendar-override", message, hint=hint)

    def finish(self) -> None:
        """Make what needed all entries to be read."""
        for name, days in self._lunar:
            table = self.shop.lunar()
            years = range(table.months[0][0], table.months[-1][0] + 1)
            found: list[int | None] = []
            for text in days:
                month, _, day = text.partition("-")
                for number in range(1, 13) if month == "*" else (int(month),):
                    born = LunarDay(0, number, int(day), False)
                    found.extend(table.day_in(year, born) for year in years)
                if month == "*":
                    found.extend(table.day_in(y, LunarDay(0, m, int(day), True)) for y, m, leap in table.months if leap)
            self.made[name] = Calendar(name=name, windows=windows_of(day for day in found if day is not None))

    # ------------------------------------------------------------------ days

    def _written(self, fields: dict[str, Any], node: Node, key: str) -> list[tuple[range, Node]]:
        """The days of each entry of a list, with its place; what is no day is reported and empty."""
        places = [_item(node, key, at) for at in range(len(fields.get(key, ())))]
        return [(self._days(text, where), where) for text, where in zip(fields.get(key, ()), places, strict=True)]

    def _days(self, text: str, where: Node) -> range:
        first, _, last = text.partition("..")
        try:
            days = range(date.fromisoformat(first).toordinal(), date.fromisoformat(last or first).toordinal() + 1)
            wrong = "the last day comes before the first" if not days else "longer than ten years"
        except ValueError:
            days, wrong = range(0), "the calendar has no such day"
        if 0 < len(days) <= _LONGEST:
            return days
        self.shop.problems.error(where, "bad-date", f"'{text}': {wrong}", hint="2026-11-08 or 2026-11-08..2026-11-12")
        return range(0)

    # ------------------------------------------------------------------ countries

    def _country(self, name: str, fields: dict[str, Any], node: Node) -> Calendar | None:
        key = "holidays" if "holidays" in fields else "makeup_workdays"
        country = fields[key]
        if country not in daytables.countries():
            near = nearest(country, daytables.countries())
            hint = f"did you mean '{near}'?" if near else "an ISO code of two capitals, such as CN"
            message = f"there are no holidays of a country '{country}'"
            self.shop.problems.error(_value(node, key), "unknown-country", message, hint=hint)
            return None
        table = daytables.table(country)
        off, makeup, said = self._override(name, table, fields, node)
        disputed = [day for day in table.disputed if day not in said]
        if disputed:
            message = f"calendar '{name}': the tables of holidays disagree about {_shown(disputed)}"
            hint = "write these days under 'days_off' or 'workdays'"
            self.shop.problems.warning(_value(node, key), "calendar-disputed", message, hint=hint)
        self._horizon(name, table, said, _value(node, key))
        _bridge(off, makeup, table.weekend)
        work = WorkDays(
            weekend=table.weekend, off=frozenset(off), makeup=frozenset(makeup),
            known_from=table.known_from, known_to=table.known_to,
        )  # fmt: skip
        if key == "makeup_workdays":
            return Calendar(name=name, windows=tuple((day, day) for day in sorted(makeup)), work=work)
        if "names" not in fields:
            return Calendar(name=name, windows=windows_of(off), work=work)
        self._check_names(fields["names"], country, {*off.values()} - {""}, node)
        return Calendar(name=name, windows=_named(off, fields["names"]), work=work)

    def _horizon(self, name: str, table: daytables.Table, said: set[int], where: Node) -> None:
        """Say that the official days run out, unless the catalog has some of the time behind them."""
        today = self.shop.today
        if today is None or table.known_to - today.toordinal() > _SOON or any(day > table.known_to for day in said):
            return
        last = date.fromordinal(table.known_to)
        message = f"calendar '{name}': the official days are known up to {last}; later ones are worked out"
        hint = "update the package of tables, or write days_off and workdays of the next year"
        self.shop.problems.warning(where, "calendar-horizon", message, hint=hint)

    def _check_names(self, names: list[str], country: str, known: set[str], node: Node) -> None:
        for place, name in enumerate(names):
            if name not in known:
                near = nearest(name, known)
                hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(sorted(known)[:12])
                message = f"'{country}' has no holiday '{name}'"
                self.shop.problems.error(_item(node, "names", place), "unknown-holiday", message, hint=hint)

    def _override(
        self, name: str, table: daytables.Table, fields: dict[str, Any], node: Node
    ) -> tuple[dict[int, str], set[int], set[int]]:
        """The catalog's days over those of the tables: (days off with names, make-up workdays, days it speaks of)."""
        off, makeup = dict(table.off), set(table.makeup)
        before = WorkDays(weekend=table.weekend, off=frozenset(off), makeup=table.makeup)
        said: dict[int, str] = {}
        for key in ("days_off", "workdays"):
            free = key == "days_off"
            for days, where in self._written(fields, node, key):
                if any(said.setdefault(day, key) != key for day in days):
                    message = "a day cannot stand in 'days_off' and in 'workdays'"
                    self.shop.problems.error(where, "conflict", message, hint="keep the one that is meant")
                    continue
                for day in days:
                    if free:
                        makeup.discard(day)
                        off.setdefault(day, "")
                    elif not before.works(day):
                        off.pop(day, None)
                        makeup.add(day)
                self._tell(name, table, days, [day for day in days if before.works(day) == free], free, where)
        return off, makeup, set(said)

    def _tell(
        self, name: str, table: daytables.Table, days: range, changed: list[int], free: bool, where: Node
    ) -> None:
        """Say which official days an entry changes, or that it changes nothing."""
        official = [day for day in changed if table.known_from <= day <= table.known_to]
        word = "a day off" if free else "a workday"
        if official:
            message = f"calendar '{name}' makes {_shown(official)} {word}, against the official table"
            hint = "say why: # allow: calendar-override — reason"
            self.shop.problems.warning(where, "calendar-override", message, hint=hint)
        elif days and not changed and (not free or all(day in table.off for day in days)):
            message = f"calendar '{name}' has {word} there anyway: this entry changes nothing"
            self.shop.problems.warning(where, "idle-override", message, hint="leave it out")


def _bridge(off: dict[int, str], makeup: set[int], weekend: frozenset[int]) -> None:
    """Weekend days between two days off belong to the holiday, and a day without a name to the one it touches."""
    days = sorted(off)
    for one, other in pairwise(days):
        between = range(one + 1, other)
        if 0 < len(between) <= 3 and all((day - 1) % 7 + 1 in weekend and day not in makeup for day in between):
            off.update(dict.fromkeys(between, off[one]))
    for first, last in windows_of(off):
        named = next((off[day] for day in range(first, last + 1) if off[day]), "")
        for day in range(first, last + 1):
            named = off[day] = off[day] or named


def _named(off: dict[int, str], wanted: Iterable[str]) -> tuple[Window, ...]:
    """The windows of some holidays: in each stretch of days off, from the first to the last day of the name."""
    days: list[int] = []
    for first, last in windows_of(off):
        for name in dict.fromkeys(wanted):
            own = [day for day in range(first, last + 1) if off[day] == name]
            if own:
                days.extend(range(own[0], own[-1] + 1))
    return windows_of(days)


def _shown(days: Iterable[int]) -> str:
    """Days as people write them, ranges as ranges."""
    texts = []
    for window in windows_of(days):
        first, last = (date.fromordinal(day).isoformat() for day in window)
        texts.append(first if first == last else f"{first}..{last}")
    return ", ".join(texts)


def _key(node: Node, key: str) -> Node:
    return (node.key(key) if isinstance(node, MapNode) else None) or node


def _value(node: Node, key: str) -> Node:
    return (node.get(key) if isinstance(node, MapNode) else None) or node


def _item(node: Node, key: str, place: int) -> Node:
    found = _value(node, key)
    return found.items[place] if isinstance(found, SeqNode) and place < len(found.items) else found
