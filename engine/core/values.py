"""What operators mean on the values of expressions: exact numbers, missing values, no silent conversions.

Rule 1: None is a missing value. Ordering with it is False, arithmetic with it is None, ``==`` treats it as a value.
Rule 2: numbers are ``int`` and ``Decimal`` and stay exact; a result that cannot be exact is an error, except that
division rounds to 28 significant digits. A bool is not a number and a float is nothing at all.
Rule 3: what cannot be judged raises ExpressionError; nothing else leaves this module.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Any, Final, NoReturn

import msgspec

from engine.core.instants import format_instant, from_datetime, to_datetime
from engine.core.model import DAY, HOUR, MINUTE, SECOND, Event
from engine.core.numerals import number_text
from engine.errors import ExpressionError

_TRAPS: Final = [InvalidOperation, DivisionByZero, Overflow]
EXACT: Final = Context(prec=100, Emin=-999_999, Emax=999_999, traps=[*_TRAPS, Inexact])
"""For ``+ - * // %``: a result that does not fit 100 digits is an error, never rounded."""

ROUGH: Final = Context(prec=28, Emin=-999_999, Emax=999_999, traps=_TRAPS)
"""For ``/`` and averages: 28 significant digits."""

MAX_TEXT: Final = 65_536
"""Longest text or list an expression may build."""

_MAX_BITS: Final = 4096
_MICRO: Final = timedelta(microseconds=1)
_JSON: Final = msgspec.json.Encoder(decimal_format="number")

_KINDS: Final[dict[type, str]] = {
    type(None): "nothing",
    bool: "true/false",
    int: "a number",
    Decimal: "a number",
    float: "a binary float",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "a map",
    datetime: "a time",
    date: "a date",
    timedelta: "a duration",
    Event: "an event",
}
_OWN_FIELDS: Final = frozenset({"id", "type", "time", "user", "group", "data"})
_OWN_CLASS_ORDER: Final = frozenset({str, datetime, date, timedelta})


def kind(value: object) -> str:
    """The word for a value's kind in messages."""
    return _KINDS.get(value.__class__, f"a {value.__class__.__name__}")


def shown(value: object) -> str:
    """A value short enough for a message; numbers and text only, anything else by its kind."""
    if value.__class__ is str:
        body = str(value)
        return f"text {body if len(body) <= 30 else body[:27] + '...'!r}"
    if value.__class__ is int or value.__class__ is Decimal:
        body = str(value) if not isinstance(value, int) or value.bit_length() < 400 else "..."
        return f"a number ({body[:40]})"
    return kind(value)


def is_number(value: object) -> bool:
    """Exact numbers only: neither a bool nor a float."""
    return value.__class__ is int or value.__class__ is Decimal


def _refuse(verb: str, a: object, b: object) -> NoReturn:
    raise ExpressionError(f"cannot {verb} {shown(a)} and {shown(b)}")


# -- comparing


def _comparable(a: Any, b: Any) -> None:
    left, right = a.__class__, b.__class__
    if left is right and left in _OWN_CLASS_ORDER:
        if left is datetime and (a.tzinfo is None) != (b.tzinfo is None):
            raise ExpressionError("cannot compare a time without a zone")
        return
    if not (is_number(a) and is_number(b)):
        _refuse("compare", a, b)
    for number in (a, b):
        if number.__class__ is Decimal and number.is_nan():
            raise ExpressionError("NaN is not a number")


def lt(a: Any, b: Any) -> bool:
    """``a < b``; False with a missing value."""
    if a is None or b is None:
        return False
    _comparable(a, b)
    return bool(a < b)


def le(a: Any, b: Any) -> bool:
    """``a <= b``; False with a missing value."""
    if a is None or b is None:
        return False
    _comparable(a, b)
    return bool(a <= b)


def gt(a: Any, b: Any) -> bool:
    """``a > b``; False with a missing value."""
    if a is None or b is None:
        return False
    _comparable(a, b)
    return bool(a > b)


def ge(a: Any, b: Any) -> bool:
    """``a >= b``; False with a missing value."""
    if a is None or b is None:
        return False
    _comparable(a, b)
    return bool(a >= b)


def eq(a: Any, b: Any) -> bool:
    """``a == b``: None is a value, true is not 1, and different kinds are simply different."""
    if (a.__class__ is bool) is not (b.__class__ is bool):
        return False
    try:
        return bool(a == b)
    except InvalidOperation:  # a number that is none (sNaN) equals nothing
        return False


def ne(a: Any, b: Any) -> bool:
    """``a != b``."""
    return not eq(a, b)


def contains(item: Any, container: Any) -> bool:
    """``item in container``; nothing is in a missing container, and a missing value is in no text."""
    if container is None:
        return False
    if container.__class__ is str:
        if item is None:
            return False
        if item.__class__ is not str:
            _refuse("look for", item, container)
        return item in container
    if container.__class__ is dict:
        return item.__class__ is str and item in container
    if container.__class__ is not list and container.__class__ is not tuple:
        raise ExpressionError(f"cannot look inside {shown(container)}; 'in' needs a list, text or map")
    return any(eq(item, other) for other in container)


# -- arithmetic


def _exactly(operation: Callable[[Any, Any], Any], verb: str, a: Any, b: Any) -> Any:
    """Arithmetic of two exact numbers that are not both whole."""
    if not (is_number(a) and is_number(b)):
        _refuse(verb, a, b)
    if not all(one.__class__ is int or one.is_finite() for one in (a, b)):
        raise ExpressionError(f"cannot {verb} {shown(a)} and {shown(b)}: not a finite number")
    try:
        return operation(a, b)
    except Inexact:
        raise ExpressionError(f"cannot {verb} two numbers of so different size exactly") from None
    except ArithmeticError:
        raise ExpressionError(f"cannot {verb} {shown(a)} and {shown(b)}: not a finite number") from None


def _timed(operation: Callable[[], Any]) -> Any:
    """Arithmetic with times and durations."""
    try:
        return operation()
    except OverflowError:
        raise ExpressionError("a time or duration is outside the years 0001 to 9999") from None
    except TypeError:
        raise ExpressionError("cannot reckon with a time without a zone") from None


def add(a: Any, b: Any) -> Any:
    """``a + b`` of numbers, times with durations, texts or lists."""
    if a is None or b is None:
        return None
    left, right = a.__class__, b.__class__
    if left is int and right is int:
        return a + b
    if right is timedelta and (left is timedelta or left is datetime or left is date):
        return _timed(lambda: a + b)
    if left is timedelta and (right is datetime or right is date):
        return _timed(lambda: b + a)
    if left is right and (left is str or left is list):
        if len(a) + len(b) > MAX_TEXT:
            raise ExpressionError(f"a text or list longer than {MAX_TEXT}")
        return a + b
    return _exactly(EXACT.add, "add", a, b)


def sub(a: Any, b: Any) -> Any:
    """``a - b`` of numbers, times, or a time and a duration."""
    if a is None or b is None:
        return None
    left, right = a.__class__, b.__class__
    if left is int and right is int:
        return a - b
    if left in (timedelta, datetime, date) and (right is timedelta or (right is left)):
        return _timed(lambda: a - b)
    return _exactly(EXACT.subtract, "subtract", a, b)


def mul(a: Any, b: Any) -> Any:
    """``a * b`` of numbers, or of a duration and a whole number. Texts and lists are never repeated."""
    if a is None or b is None:
        return None
    left, right = a.__class__, b.__class__
    if left is int and right is int:
        if a.bit_length() + b.bit_length() > _MAX_BITS:
            raise ExpressionError("a number of more than a thousand digits")
        return a * b
    if (left is timedelta and right is int) or (left is int and right is timedelta):
        return _timed(lambda: a * b)
    return _exactly(EXACT.multiply, "multiply", a, b)


def _nonzero(b: Any) -> None:
    if not b and (is_number(b) or b.__class__ is timedelta):
        raise ExpressionError("division by zero")


def div(a: Any, b: Any) -> Any:
    """``a / b``: 28 significant digits; two durations give a number."""
    if a is None or b is None:
        return None
    _nonzero(b)
    if a.__class__ is timedelta:
        if b.__class__ is timedelta:
            return ROUGH.divide(a // _MICRO, b // _MICRO)
        if b.__class__ is int:
            return _timed(lambda: a / b)
    return _exactly(ROUGH.divide, "divide", a, b)


def _divmod(a: Any, b: Any) -> tuple[int, Any]:
    """Floor quotient and remainder of two numbers, exactly, with the sign rules of whole numbers."""
    if a.__class__ is int and b.__class__ is int:
        return divmod(a, b)
    whole = int(_exactly(EXACT.divide_int, "divide", a, b))
    rest = _exactly(EXACT.remainder, "divide", a, b)
    if rest and (rest < 0) is not (b < 0):
        return whole - 1, _exactly(EXACT.add, "divide", rest, b)
    return whole, rest


def floordiv(a: Any, b: Any) -> Any:
    """``a // b``: a whole number, rounded down."""
    if a is None or b is None:
        return None
    _nonzero(b)
    if a.__class__ is timedelta and b.__class__ in (timedelta, int):
        return _timed(lambda: a // b)
    return _divmod(a, b)[0]


def mod(a: Any, b: Any) -> Any:
    """``a % b``: the rest of ``//``, with the sign of ``b``."""
    if a is None or b is None:
        return None
    _nonzero(b)
    if a.__class__ is timedelta and b.__class__ is timedelta:
        return a % b
    return _divmod(a, b)[1]


def neg(a: Any) -> Any:
    """``-a``."""
    if a is None:
        return None
    if a.__class__ is Decimal:
        return a.copy_negate() if a else a
    if a.__class__ is not int and a.__class__ is not timedelta:
        raise ExpressionError(f"cannot negate {shown(a)}")
    return _timed(lambda: -a)


def pos(a: Any) -> Any:
    """``+a``: the number itself."""
    if a is None or is_number(a) or a.__class__ is timedelta:
        return a
    raise ExpressionError(f"cannot put a plus sign before {shown(a)}")


# -- looking inside


def field(value: Any, name: str) -> Any:
    """``value.name`` of a map or an event; a field of a missing value is missing."""
    if value is None:
        return None
    if value.__class__ is dict:
        return value.get(name)
    if value.__class__ is Event:
        return event_view(value)[name] if name in _OWN_FIELDS else value.data.get(name)
    raise ExpressionError(f"{shown(value)} has no field {name!r}")


def item(value: Any, key: Any) -> Any:
    """``value[key]``; a place that does not exist is missing."""
    if value is None or key is None:
        return None
    if key.__class__ is str:
        return field(value, key)
    if key.__class__ is int and value.__class__ in (list, tuple, str):
        return value[key] if -len(value) <= key < len(value) else None
    raise ExpressionError(f"cannot take {shown(key)} as a place in {shown(value)}")


def event_view(event: Event) -> dict[str, Any]:
    """An event as a map: its data, and the event's own fields above them."""
    return {
        **event.data,
        "id": event.id,
        "type": event.type,
        "time": to_datetime(event.time),
        "user": event.user,
        "group": event.group,
        "data": event.data,
    }


def view(event: Event | None) -> dict[str, Any] | None:
    """The same for an event that may be missing."""
    return None if event is None else event_view(event)


# -- showing


def duration_text(value: timedelta) -> str:
    """``36h``: the largest unit that holds it without a fraction."""
    micros = value // _MICRO
    for unit, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")):
        if micros and micros % unit == 0:
            return f"{micros // unit}{letter}"
    return f"{Decimal(micros).scaleb(-6).normalize():f}s"


def text(value: Any) -> str:
    """A value as it stands inside a longer text: numbers plain, a missing value empty."""
    found = value.__class__
    if found is str:
        return str(value)
    if value is None:
        return ""
    if found is int or found is Decimal:
        return number_text(value)
    if found is bool:
        return "true" if value else "false"
    if found is list or found is tuple:
        return ", ".join(text(one) for one in value)
    simple = plain(value)
    try:
        return str(simple) if simple.__class__ is str else _JSON.encode(simple).decode()
    except (ValueError, TypeError, OverflowError):
        raise ExpressionError(f"{kind(value)} with something inside that has no text") from None


def plain(value: Any) -> Any:
    """A value as traces keep it: times and durations as text, events as maps."""
    found = value.__class__
    if found is datetime:
        return format_instant(from_datetime(value)) if value.tzinfo is not None else value.isoformat()
    if found is date:
        return value.isoformat()
    if found is timedelta:
        return duration_text(value)
    if found is Event:
        return plain(event_view(value))
    if found is list or found is tuple:
        return [plain(one) for one in value]
    if found is dict:
        return {name: plain(one) for name, one in value.items()}
    return value
