"""Questions about states (engine/core/predicate.py) as SQL: one expression, 1 yes, -1 no, 0 *ask*.

Every constant is a bound parameter; only words of ours stand in the text. What a database says differently lies in
its dialect. Where a database has no exact numbers, those that are no 64-bit integers are compared as binary ones with
a margin far beyond their error: outside the margin the answer is certain, inside it is open. A single question is true,
false or null for open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from engine.core import predicate as q
from engine.core import values
from engine.core.model import DAY
from engine.errors import ExpressionError
from engine.stores.sql.dialect import Dialect

_MARK: Final = re.compile("\x01([0-9]+)\x02")
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
_SIGNS: Final = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "="}
_JUDGE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": values.lt, "le": values.le, "gt": values.gt, "ge": values.ge, "eq": values.eq,
}  # fmt: skip
_SCALES: Final = 7
"""Sums with up to so many digits after the point, less one, are compared in whole numbers; others are asked about."""

_OPEN: Final = "cast(null as boolean)"  #: typed, since some databases want one type in all arms of a case
_DIGITS: Final = 10_000
"""Places before and after the point beyond which no exact number is put to a database."""
_MOST: Final = 90
_REACH: Final = Decimal("1e300")
_ZONES: Final = DAY + DAY // 2
"""No zone of any time was ever further from UTC: a local midnight lies within this of the one in UTC."""

@dataclass
class Written:
    """An expression and its parameters, the first of which has the number ``first``."""

    sql: str
    parameters: list[Any] = field(default_factory=list)  #: a constant, or a ``When`` that moves

    def bind(self, now: int) -> list[Any]:
        """The parameters for an instant."""
        return [now + one.micros if isinstance(one, q.When) else one for one in self.parameters]


def write(predicate: q.Predicate, dialect: Dialect, first: int, room: int = 40) -> Written:
    """A predicate as SQL, with numbered placeholders from ``first`` on.

    Parameters
    ----------
    room: how many parts may stand inside each other, since databases limit expressions; what is deeper is asked about.
    """
    writer = _Writer(dialect)
    sql = writer.write(predicate, room)
    used = list(dict.fromkeys(int(mark) for mark in _MARK.findall(sql)))  # what was dropped on the way is not bound
    places = {mark: dialect.placeholder(first + place) for place, mark in enumerate(used)}
    return Written(_MARK.sub(lambda found: places[int(found[1])], sql), [writer.parameters[mark] for mark in used])


class _Writer:
    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.parameters: list[Any] = []
        self._known: dict[tuple[type, Any], str] = {}

    def put(self, value: Any) -> str:
        """A mark for a parameter, which a placeholder takes the place of in the end."""
        key = (value.__class__, value)
        if key not in self._known:
            self._known[key] = f"\x01{len(self.parameters)}\x02"
            self.parameters.append(value)
        return self._known[key]

    def write(self, it: q.Predicate, room: int) -> str:
        """1 yes, -1 no, 0 ask; ``room`` is how many parts may still stand inside each other."""
        if isinstance(it, q.Fixed):
            return "1" if it.value else "-1"
        if room < 1 or isinstance(it, q.Ask):
            return "0"
        if isinstance(it, q.Not):
            return f"(- {self.write(it.part, room - 1)})"  # the blank keeps two signs from being a comment
        if isinstance(it, (q.All, q.AnyOf)):
            return self._joined(it.parts, isinstance(it, q.All), room)
        if isinstance(it, q.Choice):
            test, yes, no = (self.write(one, room - 1) for one in (it.test, it.yes, it.no))
            return f"(case {test} when 1 then {yes} when -1 then {no} else 0 end)"
        try:
            return f"(case {_LEAVES[type(it)](self, it)} when true then 1 when false then -1 else 0 end)"
        except (_Unwritten, ExpressionError):
            return "0"

    def _joined(self, parts: Sequence[q.Predicate], every: bool, room: int) -> str:
        """The first part that decides, or is open, in order.

        Behind an open part that never errs a later one may still decide: that is the least of all answers for
        ``and``, the greatest for ``or``.
        """
        go = "1" if every else "-1"
        found: list[str] = []
        for place, part in enumerate(parts):
            written = self.write(part, room - 1)
            if place + 1 < len(parts) and q.total(part) and None in q.outcomes(part):
                rest = self._joined(parts[place + 1 :], every, room - 1) if room > 1 else "0"
                name = self.dialect.least if every else self.dialect.greatest
                found.append(f"{name}({written}, {rest})")
                break
            found.append(written)
        return _first(found, go)

    # -- values

    def place(self, path: tuple[str | int, ...]) -> str:
        written = self.dialect.path(path)
        if written is None:
            raise _Unwritten
        return self.put(written)

    def json(self, value: Any) -> str:
        """A constant to compare with ``raw``."""
        return self.dialect.constant(self.listed(value))

    def listed(self, value: Any) -> str:
        """A constant as JSON text."""
        written = self.dialect.json(value)
        if written is None:
            raise _Unwritten
        return self.put(written)

    def cases(self, place: q.Place, missing: str, **by_kind: str) -> str:
        """An answer by the kind of value; other kinds are errors, so they are asked about."""
        kind = self.dialect.kind(self.place(place.path))
        when = "".join(f" when '{one.rstrip('_')}' then {answer}" for one, answer in by_kind.items())
        other = by_kind.pop("else_", None)
        when = when if other is None else when.replace(f" when 'else' then {other}", f" else {other}")
        found = f"(case coalesce({kind}, 'null') when 'null' then {missing}{when} end)"
        for above in place.inside:
            kind = self.dialect.kind(self.place(above))
            found = f"(case when coalesce({kind}, 'null') in ('null', 'object') then {found} end)"
        return found

    def safe_text(self, place: str, answer: str) -> str:
        return f"(case when {self.dialect.plain(self.dialect.raw(place))} then {answer} end)"

    def whole(self, value: str, op: str, limit: Any) -> str:
        """A 64-bit integer against any exact number."""
        exact = Decimal(limit)
        if op == "eq":
            if exact != exact.to_integral_value() or not _LOW <= exact <= _HIGH:
                return "false"
            return f"({value} = {self.put(int(exact))})"
        # x < 2.5 and x <= 2.5 are x <= 2; x > 2.5 and x >= 2.5 are x >= 3
        if exact == exact.to_integral_value():
            border = int(exact)
        else:
            up = op in ("gt", "ge")
            border = int(exact.to_integral_value(ROUND_CEILING if up else ROUND_FLOOR))
            op = "ge" if up else "le"
        if not _LOW <= border <= _HIGH:
            return _bit((border > 0) is (op in ("lt", "le")))
        return f"({value} {_SIGNS[op]} {self.put(border)})"

    def near(self, value: str, op: str, limit: Any) -> str:
        """A binary number against any exact one, null where they are too close to tell."""
        exact = Decimal(limit)
        if abs(exact) > _REACH or 0 < abs(exact) < 1 / _REACH:
            return _OPEN
        margin = abs(exact) * Decimal("1e-9") or 1 / _REACH
        low, high = self.put(float(exact - margin)), self.put(float(exact + margin))
        if op == "eq":
            return f"(case when {value} < {low} or {value} > {high} then false end)"
        below = op in ("lt", "le")
        return f"(case when {value} < {low} then {_bit(below)} when {value} > {high} then {_bit(not below)} end)"

    def number(self, value: str, op: str, limit: Any) -> str:
        """Any number of the database against an exact one."""
        if self.dialect.exact:
            return self.exactly(value, op, Decimal(limit))
        exact, near = self.whole(value, op, limit), self.near(value, op, limit)
        return f"(case when {self.dialect.is_whole(value)} then {exact} else {near} end)"

    def exactly(self, value: str, op: str, limit: Decimal) -> str:
        """An exact number of the database against another."""
        if limit and (abs(limit.adjusted()) > _DIGITS or len(limit.as_tuple().digits) > _DIGITS):
            raise _Unwritten
        return f"({value} {_SIGNS[op]} {self.put(limit)})"

    def nonzero(self, value: str) -> str:
        """Is a number of the database another one than 0?"""
        d = self.dialect
        if d.exact:
            return f"({value} <> 0)"
        return f"(case when {d.is_whole(value)} then {value} <> 0 else {self.near(f'abs({value})', 'gt', 0)} end)"

    def when(self, at: q.When) -> str:
        return self.put(at if at.moving else at.micros)


def _first(answers: list[str], go: str) -> str:
    """The first answer that is not ``go``; functions take a limited number of arguments."""
    if len(answers) == 1:
        return answers[0]
    if len(answers) > _MOST:
        answers = [*answers[:_MOST], _first(answers[_MOST:], go)]
    return f"coalesce({', '.join(f'nullif({one}, {go})' for one in answers)}, {go})"


class _Unwritten(Exception):
    """A constant or a path has no form in this database."""


def _bit(value: bool) -> str:
    return "true" if value else "false"


def _default(it: Any, judge: Callable[[Any], bool], missing: str = "false") -> str:
    """The answer for a missing value, where a default stands for it."""
    return missing if it.default is None else _bit(judge(it.default))


def _missing(w: _Writer, it: q.Missing) -> str:
    return w.cases(it.place, "true", else_="false")


def _truth(w: _Writer, it: q.Truth) -> str:
    at = w.place(it.place.path)
    d = w.dialect
    number = w.nonzero(d.number(at))
    return w.cases(
        it.place, _default(it.place, bool), true="true", false="false", text=f"({d.raw(at)} <> {w.json('')})",
        integer=number, real=number, array=f"({d.size(at, 'array')} > 0)", object=f"({d.size(at, 'object')} > 0)",
    )  # fmt: skip


def _equal(w: _Writer, it: q.Equal) -> str:
    if isinstance(it.place, q.SubjectId):
        if it.value.__class__ is not str or not _plain(it.value):
            return "false"
        return f"({w.dialect.subject} = {w.put(it.value)})"
    value, d = it.value, w.dialect
    at = w.place(it.place.path)
    missing = _default(it.place, lambda other: values.eq(other, value), _bit(value is None))
    if value is None:
        return w.cases(it.place, missing, else_="false")
    if value.__class__ is bool:
        return w.cases(it.place, missing, **{"true" if value else "false": "true"}, else_="false")
    if value.__class__ is str:
        return w.cases(it.place, missing, text=f"({d.raw(at)} = {w.json(value)})", else_="false")
    number = w.number(d.number(at), "eq", value)
    return w.cases(it.place, missing, integer=number, real=number, else_="false")


def _one_of(w: _Writer, it: q.OneOf) -> str:
    raw = w.dialect.raw(w.place(it.place.path))
    missing = _default(it.place, lambda other: other in it.texts)
    return w.cases(it.place, missing, text=f"({raw} in ({', '.join(map(w.json, it.texts))}))", else_="false")


def _order(w: _Writer, it: q.Order) -> str:
    sign, judge = _SIGNS[it.op], _JUDGE[it.op]
    if isinstance(it.place, q.SubjectId):
        if it.value.__class__ is not str or not _plain(it.value):
            raise _Unwritten
        return f"({w.dialect.subject} {sign} {w.put(it.value)})"
    at = w.place(it.place.path)
    missing = _default(it.place, lambda other: judge(other, it.value))
    if it.value.__class__ is str:
        if not _plain(it.value):
            raise _Unwritten
        return w.cases(it.place, missing, text=w.safe_text(at, f"({w.dialect.text(at)} {sign} {w.put(it.value)})"))
    number = w.number(w.dialect.number(at), it.op, it.value)
    return w.cases(it.place, missing, integer=number, real=number)


def _plain(text: str) -> bool:
    """Text every database can be handed."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _folded(w: _Writer, it: q.Folded) -> str:
    if not _plain(it.value):
        raise _Unwritten
    d, at = w.dialect, w.place(it.place.path)
    answer = f"{d.fold(it.fold, d.text(at))} {_SIGNS[it.op]} {w.put(it.value)}"
    return w.cases(it.place, "false", text=f"(case when {d.folds(d.raw(at))} then {answer} end)")


def _measure(w: _Writer, it: q.Measure) -> str:
    source, d = it.source, w.dialect
    if isinstance(source, q.Length):
        at = w.place(source.place.path)
        empty = 0 if source.place.default == () else None
        return w.cases(
            source.place, _bit(_JUDGE[it.op](empty, it.value)),
            text=w.safe_text(at, w.whole(f"length({d.text(at)})", it.op, it.value)),
            array=w.whole(d.size(at, "array"), it.op, it.value),
            object=w.whole(d.size(at, "object"), it.op, it.value),
        )  # fmt: skip
    at = w.place(source.path)
    if isinstance(source, q.Within):
        return w.whole(_within(w, at, source.window), it.op, it.value)
    if isinstance(source, q.Since):
        then = d.number(at)
        gone = f"{d.greatest}(0, {w.put(q.When(0, moving=True))} - {then})"
        return f"(case when {then} is null then false else {w.whole(gone, it.op, it.value)} end)"
    scale, amount = d.number(w.place((*source.path, 0))), d.number(w.place((*source.path, source.entry)))
    missing = _JUDGE[it.op](0 if source.entry == 2 else None, it.value)
    return _scaled(w, d.kind(at), scale, amount, it, missing)


def _within(w: _Writer, at: str, window: int) -> str:
    low, high = w.put(q.When(-window, moving=True)), w.put(q.When(0, moving=True))
    d = w.dialect
    return f"(select count(*) from {d.entries(at)} where {d.entry_number} > {low} and {d.entry_number} <= {high})"  # noqa: S608 - our words and placeholders


def _scaled(w: _Writer, kind: str, scale: str, amount: str, it: q.Measure, missing: bool) -> str:
    """Whole numbers of ``10 ** -scale`` against an exact number, for each scale that occurs."""
    by_scale = "".join(
        f" when {places} then {w.whole(amount, it.op, _shifted(it.value, places))}" for places in range(_SCALES)
    )
    known = f"(case when {w.dialect.is_whole(amount)} then case {scale}{by_scale} end end)"
    return f"(case when {kind} is null then {_bit(missing)} else {known} end)"


def _shifted(value: Any, places: int) -> Decimal:
    try:
        return values.EXACT.scaleb(Decimal(value), places)
    except ArithmeticError:
        raise _Unwritten from None


def _has(w: _Writer, it: q.Has) -> str:
    d, at, item = w.dialect, w.place(it.place.path), it.item
    missing = _bit(values.contains(item, it.place.default))
    entries = f"exists (select 1 from {d.entries(at)} where e.type = "  # noqa: S608 - our words and placeholders
    if item.__class__ is str:
        if not _plain(item):
            raise _Unwritten
        inside = w.dialect.path((*it.place.path, item))
        return w.cases(
            it.place, missing,
            text=w.safe_text(at, d.holds(d.text(at), w.put(item))),
            array=w.safe_text(at, f"{entries}'text' and {d.entry_text} = {w.put(item)})"),
            object=_OPEN if inside is None else f"({d.kind(w.put(inside))} is not null)",
        )  # fmt: skip
    if item is None:
        return w.cases(it.place, missing, text="false", object="false", array=f"{entries}'null')")
    if item.__class__ is bool:
        return w.cases(it.place, missing, object="false", array=f"{entries}'{'true' if item else 'false'}')")
    if d.exact:
        inside = f"{entries}'integer' and {w.number(d.entry_number, 'eq', item)})"
        return w.cases(it.place, missing, object="false", array=inside)
    exact = d.is_whole(d.entry_number)
    whole = f"{entries}'integer' and {exact} and {w.whole(d.entry_number, 'eq', item)})"
    odd = f"({entries}'real') or {entries}'integer' and not {exact}))"
    inside = f"(case when {whole} then true when {odd} then {_OPEN} else false end)"
    return w.cases(it.place, missing, object="false", array=inside)


def _named(w: _Writer, it: q.Named) -> str:
    if not all(map(_plain, it.names)):
        raise _Unwritten
    return w.dialect.among(w.listed(sorted(it.names)))


def _ranked(w: _Writer, it: q.Ranked) -> str:
    raw = w.dialect.raw(w.place(it.place.path))
    high, known = (", ".join(w.json(level) for level in sorted(levels)) for levels in (it.high, it.known))
    inside = f"({raw} in ({high}))" if high else "false"
    return w.cases(it.place, "false", text=f"(case when {raw} in ({known}) then {inside} end)")


def _matches(w: _Writer, it: q.Matches) -> str:
    if not _plain(it.pattern):
        raise _Unwritten
    if isinstance(it.place, q.SubjectId):
        return w.dialect.matches(w.dialect.subject, w.put(w.dialect.pattern(it.pattern)))
    at = w.place(it.place.path)
    text = w.dialect.text(at)
    answer = w.dialect.matches(text, w.put(w.dialect.pattern(it.pattern)))
    fits = f"(case when length({text}) <= {values.MAX_TEXT} then {answer} end)"
    return w.cases(it.place, "false", text=w.safe_text(at, fits))


def _instant(w: _Writer, it: q.Instant) -> str:
    d, at, sign, border = w.dialect, w.place(it.place.path), _SIGNS[it.op], w.when(it.at)
    if "micros" in it.forms:
        return f"coalesce({d.number(at)} {sign} {border}, false)"
    value, found = d.text(at), []
    if "time" in it.forms:
        found.append(f"{d.instant(value)} {sign} {border}")
    if "date" in it.forms:
        day = d.midnight(value)
        below, above = _bit(it.op in ("lt", "le")), _bit(it.op in ("gt", "ge"))
        found.append(
            f"(case when {day} < {border} - {_ZONES} then {below} when {day} > {border} + {_ZONES} then {above} end)"
        )
    answer = found[0] if len(found) == 1 else f"coalesce({', '.join(found)})"
    return w.cases(it.place, "false", text=w.safe_text(at, answer))


def _day(w: _Writer, it: q.Day) -> str:
    d, at = w.dialect, w.place(it.place.path)
    value = d.text(at)
    answer = f"(case when {d.midnight(value)} is not null then {value} {_SIGNS[it.op]} {w.put(it.day)} end)"
    return w.cases(it.place, "false", text=w.safe_text(at, answer))


_LEAVES: Final[dict[type, Callable[[_Writer, Any], str]]] = {
    q.Missing: _missing,
    q.Truth: _truth,
    q.Equal: _equal,
    q.OneOf: _one_of,
    q.Folded: _folded,
    q.Order: _order,
    q.Measure: _measure,
    q.Has: _has,
    q.Named: _named,
    q.Ranked: _ranked,
    q.Matches: _matches,
    q.Instant: _instant,
    q.Day: _day,
}
