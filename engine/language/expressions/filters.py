"""What the filters do to values while an expression runs. A missing value stays missing, except for ``default``."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any, Final

from engine.core.values import MAX_TEXT, shown, text
from engine.errors import ExpressionError

_LONGEST: Final = 100
_WIDE: Final = Context(prec=2 * _LONGEST + 50, rounding=ROUND_HALF_UP)


def _of_text(value: Any, name: str) -> str | None:
    if value is not None and value.__class__ is not str:
        raise ExpressionError(f"the filter {name!r} is for text, not for {shown(value)}")
    return value if value is None else str(value)


def lower(value: Any) -> str | None:
    """Text in small letters."""
    found = _of_text(value, "lower")
    return None if found is None else found.lower()


def upper(value: Any) -> str | None:
    """Text in capitals."""
    found = _of_text(value, "upper")
    return None if found is None else found.upper()


def length(value: Any) -> int | None:
    """Characters of a text, entries of a list or map."""
    if value is None:
        return None
    if value.__class__ not in (str, list, tuple, dict):
        raise ExpressionError(f"{shown(value)} has no length")
    return len(value)


def first(value: Any) -> Any:
    """The first entry; none of an empty one."""
    return _end(value, "first", 0)


def last(value: Any) -> Any:
    """The last entry; none of an empty one."""
    return _end(value, "last", -1)


def _end(value: Any, name: str, place: int) -> Any:
    if value is None:
        return None
    if value.__class__ not in (str, list, tuple):
        raise ExpressionError(f"the filter {name!r} is for lists, not for {shown(value)}")
    return value[place] if value else None


def join(value: Any, between: Any = "") -> str | None:
    """The entries as one text."""
    if value is None:
        return None
    if value.__class__ not in (list, tuple):
        raise ExpressionError(f"the filter 'join' is for lists, not for {shown(value)}")
    return bounded(text(between).join(text(one) for one in value))


def bounded(found: str) -> str:
    """The text itself, unless it has grown beyond all measure."""
    if len(found) > MAX_TEXT:
        raise ExpressionError(f"a text longer than {MAX_TEXT}")
    return found


def concat(*parts: Any) -> str:
    """``~``: everything as one text."""
    return bounded("".join(text(one) for one in parts))


def absolute(value: Any) -> Any:
    """The number without its sign."""
    if value is None or value.__class__ is int:
        return None if value is None else abs(value)
    if value.__class__ is not Decimal:
        raise ExpressionError(f"the filter 'abs' is for numbers, not for {shown(value)}")
    return value.copy_abs()


def rounded(value: Any, digits: Any = 0) -> Any:
    """The number with so many digits after the point, halves away from zero; a whole number for 0 digits."""
    if digits.__class__ is not int or not 0 <= digits <= 28:
        raise ExpressionError(f"the filter 'round' takes 0 to 28 digits, not {shown(digits)}")
    if value is None or value.__class__ is int:
        return value
    if value.__class__ is not Decimal or not value.is_finite() or value.adjusted() > _LONGEST:
        raise ExpressionError(f"the filter 'round' is for numbers, not for {shown(value)}")
    near = value.quantize(Decimal(1).scaleb(-digits), context=_WIDE)
    return int(near) if digits == 0 else near


def whole(value: Any) -> Any:
    """The whole number before the point, also of text that is a number."""
    found = exact(value)
    if found.__class__ is not Decimal:
        return found
    if found.adjusted() > _LONGEST:
        raise ExpressionError(f"cannot make {shown(value)} whole")
    return int(found.to_integral_value(rounding=ROUND_DOWN))


def exact(value: Any) -> Any:
    """The exact number, also of text that is one."""
    if value is None or value.__class__ is int:
        return value
    found = value
    if value.__class__ is str and len(value) <= _LONGEST:
        try:
            found = Decimal(value.strip())
        except InvalidOperation:
            found = value
    if found.__class__ is not Decimal or not found.is_finite():
        raise ExpressionError(f"{shown(value)} is not a number")
    return found
