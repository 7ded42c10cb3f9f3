"""The filters of the template language: ``{{ user.name|trim|default("friend") }}``.

Rule 1: a filter of null is null (only ``default`` gives something else); a missing value is named where it is printed.
Rule 2: a filter never makes a text longer than ``values.MAX_TEXT``, and pays for long texts from the budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from jinja2 import pass_context

from engine.errors import RenderError, TemplateLimit
from engine.render.sandbox import Metered, gone, kind
from engine.render.values import MAX_TEXT, RULES, bounded, local, number, shown

_NUMERAL = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,10})?", re.ASCII)
_CENT = Decimal("0.01")
_DATE_PART = re.compile(r"%(-?)(.)|%", re.DOTALL)
_MAX_FORMAT = 100


class Filter(NamedTuple):
    """A filter and how many arguments it takes."""

    apply: Callable[..., Any]
    least: int = 0
    most: int = 0


def _text(context: Metered, value: object, what: str) -> str:
    text = shown(value, context)
    if text is None:
        raise RenderError(f"{what} is missing")
    context.charge(len(text) >> 4)
    return text


def _of_text(change: Callable[[str], str]) -> Callable[..., Any]:
    """A filter from text to text; numbers and dates are taken as they print."""

    @pass_context
    def apply(context: Metered, value: object) -> str | None:
        return None if gone(value) else bounded(change(_text(context, value, "the text")))

    return apply


@pass_context
def default(context: Metered, value: object, other: object = "", also_empty: object = False) -> object:
    """``x|default(y)``: y when x is null; ``x|default(y, true)``: also when x is empty, zero or false."""
    if gone(value) or (also_empty and not value):
        return other
    return value


@pass_context
def length(context: Metered, value: object) -> int | None:
    """Characters of a text, items of a list."""
    if gone(value):
        return None
    if isinstance(value, (str, list, tuple, Mapping)):
        return len(value)
    raise RenderError(f"|length needs text or a list, got {kind(value)}")


def _whole(value: object, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RenderError(f"{what} must be a whole number from {low} to {high}")
    return value


@pass_context
def rounded(context: Metered, value: object, places: object = 0) -> int | Decimal | None:
    """Half up, to ``places`` decimals."""
    if gone(value):
        return None
    digits = _whole(places, "the places of |round", 0, 12)
    exact = Decimal(number(value)).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP, context=RULES)
    return exact if digits else int(exact)


def _numeral(value: object) -> Decimal | None:
    if gone(value):
        return None
    if isinstance(value, str):
        text = value.strip() if len(value) <= 64 else ""
        return Decimal(text) if _NUMERAL.fullmatch(text) else None
    return Decimal(number(value))


@pass_context
def to_int(context: Metered, value: object) -> int | None:
    """The whole part of a number or of text that is one; null for other text."""
    exact = _numeral(value)
    return None if exact is None else int(exact)


@pass_context
def to_float(context: Metered, value: object) -> Decimal | None:
    """A number, also from text; exact, never a binary float; null for other text."""
    return _numeral(value)


@pass_context
def absolute(context: Metered, value: object) -> int | Decimal | None:
    """The number without its sign."""
    if gone(value):
        return None
    size = number(value)
    return -size if size < 0 else size


def _end(value: object, place: int, word: str) -> object:
    if gone(value):
        return None
    if isinstance(value, (str, list, tuple)):
        return value[place] if value else None
    raise RenderError(f"|{word} needs text or a list, got {kind(value)}")


@pass_context
def first(context: Metered, value: object) -> object:
    """The first item or character; null when there is none."""
    return _end(value, 0, "first")


@pass_context
def last(context: Metered, value: object) -> object:
    """The last item or character; null when there is none."""
    return _end(value, -1, "last")


@pass_context
def join(context: Metered, value: object, between: object = "") -> str | None:
    """The items as text, one after the other; null when the list or an item is null."""
    if gone(value):
        return None
    if not isinstance(value, (list, tuple)):
        raise RenderError(f"|join needs a list, got {kind(value)}")
    glue = _text(context, between, "what |join puts between")
    size, parts = 0, []
    for item in value:
        part = shown(item, context)
        if part is None:
            return None
        size += len(part) + len(glue)
        if size > MAX_TEXT + len(glue):
            raise TemplateLimit(f"|join makes more than {MAX_TEXT} characters")
        parts.append(part)
    context.charge(len(parts) + (size >> 4))
    return bounded(glue.join(parts))


@pass_context
def replace(context: Metered, value: object, old: object, new: object) -> str | None:
    """Every ``old`` replaced by ``new``; the size is reckoned before the work."""
    if gone(value):
        return None
    text, was, now = (_text(context, part, "a text of |replace") for part in (value, old, new))
    if not was:
        raise RenderError("|replace needs a text to look for")
    if len(text) + text.count(was) * (len(now) - len(was)) > MAX_TEXT:
        raise TemplateLimit(f"|replace makes more than {MAX_TEXT} characters")
    return text.replace(was, now)


@pass_context
def truncate(context: Metered, value: object, size: object, end: object = "…") -> str | None:
    """At most ``size`` characters, the mark at the end included."""
    if gone(value):
        return None
    most = _whole(size, "the length of |truncate", 1, MAX_TEXT)
    text, mark = _text(context, value, "the text"), _text(context, end, "the mark of |truncate")
    return text if len(text) <= most else (text[: max(0, most - len(mark))] + mark)[:most]


@pass_context
def money(context: Metered, value: object) -> str | None:
    """Two decimals, half up: 19.9 is ``19.90``."""
    if gone(value):
        return None
    return format(Decimal(number(value)).quantize(_CENT, rounding=ROUND_HALF_UP, context=RULES), "f")


def _directives(when: datetime | date) -> dict[str, tuple[int, int] | str]:
    """Letter -> (number, width) or text. Our own: strftime depends on the platform and pads without bound."""
    hour, minute, second = (when.hour, when.minute, when.second) if isinstance(when, datetime) else (0, 0, 0)
    return {
        "Y": (when.year, 4),
        "y": (when.year % 100, 2),
        "m": (when.month, 2),
        "d": (when.day, 2),
        "H": (hour, 2),
        "I": (hour % 12 or 12, 2),
        "M": (minute, 2),
        "S": (second, 2),
        "j": (when.timetuple().tm_yday, 3),
        "u": (when.isoweekday(), 1),
        "p": "AM" if hour < 12 else "PM",
        "%": "%",
    }


_KNOWN = frozenset(_directives(date(2000, 1, 1)))


def date_format_fault(pattern: object) -> str:
    """What is wrong with the format of ``date``, or ""."""
    if not isinstance(pattern, str) or not pattern:
        return "the format of |date is a text like '%Y-%m-%d'"
    if len(pattern) > _MAX_FORMAT:
        return f"the format of |date is longer than {_MAX_FORMAT} characters"
    for found in _DATE_PART.finditer(pattern):
        if found[2] not in _KNOWN or (found[1] and found[2] in "p%"):
            return f"the format of |date does not know {found[0]!r}"
    return ""


def _read_date(text: str) -> datetime | date | None:
    # the error of the parser quotes the text, which may be personal: it must not become the cause of ours
    try:
        return datetime.fromisoformat(text) if len(text) > 10 else date.fromisoformat(text)
    except ValueError:
        return None


def _when(value: object, context: Metered) -> datetime | date:
    if isinstance(value, str):
        value = _read_date(value)
        if value is None:
            raise RenderError("|date cannot read the text as a date", hint="write it like 2026-11-11")
    if isinstance(value, datetime):
        return local(value, context)
    if isinstance(value, date):
        return value
    raise RenderError(f"|date needs a date, got {kind(value)}")


@pass_context
def date_text(context: Metered, value: object, pattern: object = "%Y-%m-%d") -> str | None:
    """An instant (in the subject's zone), a date, or text that is one, in the format given."""
    if gone(value):
        return None
    fault = date_format_fault(pattern)
    if fault or not isinstance(pattern, str):
        raise RenderError(fault)
    parts = _directives(_when(value, context))

    def one(found: re.Match[str]) -> str:
        part = parts[found[2]]
        if isinstance(part, str):
            return part
        return str(part[0]) if found[1] else f"{part[0]:0{part[1]}d}"

    return _DATE_PART.sub(one, pattern)


FILTERS: dict[str, Filter] = {
    "abs": Filter(absolute),
    "date": Filter(date_text, 0, 1),
    "default": Filter(default, 0, 2),
    "first": Filter(first),
    "float": Filter(to_float),
    "int": Filter(to_int),
    "join": Filter(join, 0, 1),
    "last": Filter(last),
    "length": Filter(length),
    "lower": Filter(_of_text(str.lower)),
    "money": Filter(money),
    "replace": Filter(replace, 2, 2),
    "round": Filter(rounded, 0, 1),
    "title": Filter(_of_text(str.title)),
    "trim": Filter(_of_text(str.strip)),
    "truncate": Filter(truncate, 1, 2),
    "upper": Filter(_of_text(str.upper)),
}
"""Name -> filter: all there are."""
