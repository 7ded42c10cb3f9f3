"""What the operators of a template do, in the words of the conditions (language.md, semantics.md).

Rule 1: ordering with null is false, arithmetic and ``~`` with null are null, ``==`` treats null as a value.
Rule 2: a wrong type is an error, never a guess.
Rule 3: the size of a result is bounded before or as it is made.

The names begin with ``!``, which no template can write: ``harden.py`` puts them in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from jinja2 import pass_context

from engine.errors import MissingVariable, RenderError, TemplateLimit
from engine.render.htmlscan import is_web_address
from engine.render.sandbox import Metered, gone, kind
from engine.render.values import RULES, bounded, number, shown

MAX_ITEMS = 1000
_SHORT = 1 << 62  # a number of this size needs no closer look
_NUMBERS = (int, Decimal, float)
_DEFAULT = "give it a default: {{ ...|default('...') }}, or ask with {% if %}"


@pass_context
def out(context: Metered, value: object, name: str) -> str:
    """The text of a printed value; null is never printed."""
    if type(value) is str:
        return value
    if type(value) is int and -_SHORT < value < _SHORT:
        return str(value)
    text = shown(value, context)
    if text is None:
        raise MissingVariable(f"{name} is missing", hint=_DEFAULT)
    return text


@pass_context
def part(context: Metered, value: object, name: str) -> str:
    """The text of a value inside an address: encoded, so that it stays one part of it."""
    return quote(out(context, value, name), safe="")


@pass_context
def url(context: Metered, value: object, name: str) -> str:
    """The text of a value that is a whole address in HTML; http, https and mailto only."""
    text = out(context, value, name)
    if not is_web_address(text):
        raise RenderError(f"{name} is not an http, https or mailto address")
    return text


@pass_context
def each(context: Metered, value: object, weight: int, name: str) -> Any:
    """The items of a loop, paid for in advance: items times the parts of the loop's body."""
    if gone(value):
        raise MissingVariable(f"{name}, which {{% for %}} walks over, is missing", hint=_DEFAULT)
    if not isinstance(value, (list, tuple, Mapping)):
        raise RenderError(f"{{% for %}} walks over lists, got {kind(value)}")
    if len(value) > MAX_ITEMS:
        raise TemplateLimit(f"{{% for %}} over {len(value)} items, at most {MAX_ITEMS} are allowed")
    context.charge(weight * len(value))
    return list(value) if isinstance(value, Mapping) else value


def _add(a: int | Decimal, b: int | Decimal) -> int | Decimal:
    return a + b if isinstance(a, int) and isinstance(b, int) else RULES.add(a, b)


def _sub(a: int | Decimal, b: int | Decimal) -> int | Decimal:
    return a - b if isinstance(a, int) and isinstance(b, int) else RULES.subtract(a, b)


def _mul(a: int | Decimal, b: int | Decimal) -> int | Decimal:
    return a * b if isinstance(a, int) and isinstance(b, int) else RULES.multiply(a, b)


def _div(a: int | Decimal, b: int | Decimal) -> int | Decimal:
    if b == 0:
        raise RenderError("division by zero")
    exact = RULES.divide(a, b)
    # 10 / 2 is 5, not 5.000 or 5E+0: a whole result of whole numbers is whole
    return int(exact) if isinstance(a, int) and isinstance(b, int) and exact == exact.to_integral_value() else exact


def _floordiv(a: int | Decimal, b: int | Decimal) -> int | Decimal:
    if b == 0:
        raise RenderError("division by zero")
    return a // b if isinstance(a, int) and isinstance(b, int) else RULES.divide_int(a, b)


_ARITHMETIC = {"+": _add, "-": _sub, "*": _mul, "/": _div, "//": _floordiv}


@pass_context
def reckon(context: Metered, left: object, operator: str, right: object) -> int | Decimal | None:
    """Arithmetic on numbers; null when a side is null."""
    if gone(left) or gone(right):
        return None
    result = _ARITHMETIC[operator](number(left), number(right))
    return number(result)


@pass_context
def negate(context: Metered, value: object) -> int | Decimal | None:
    """``-x``."""
    return None if gone(value) else number(-number(value))


@pass_context
def exact(context: Metered, digits: str) -> Decimal:
    """A number written with a point: never a binary float."""
    return Decimal(digits)


@pass_context
def glue(context: Metered, *values: object) -> str | None:
    """``a ~ b``; null when a part is null."""
    parts = [shown(value, context) for value in values]
    if any(part is None for part in parts):
        return None
    text = "".join(part for part in parts if part is not None)
    context.charge(len(text) >> 4)
    return bounded(text)


def equal(context: Metered, left: object, right: object) -> bool:
    """``==``: null equals null; values of different sorts are different."""
    if gone(left) or gone(right):
        return gone(left) and gone(right)
    if isinstance(left, bool) != isinstance(right, bool):
        return False  # Python says 1 == True
    if isinstance(left, (list, tuple, Mapping)) and isinstance(right, (list, tuple, Mapping)):
        context.charge(1000)  # may walk the whole payload
    elif isinstance(left, str):
        context.charge(len(left) >> 4)
    return bool(left == right)


def _ordered(context: Metered, left: Any, right: Any, operator: str) -> bool:
    if gone(left) or gone(right):
        return False
    if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
        left, right = number(left), number(right)
    elif isinstance(left, str) and isinstance(right, str):
        context.charge(len(left) >> 4)
    elif not (type(left) is type(right) and isinstance(left, (date, datetime, time))):
        raise RenderError(f"{kind(left)} and {kind(right)} have no order")
    if operator == "lt":
        return bool(left < right)
    if operator == "lteq":
        return bool(left <= right)
    return bool(left > right) if operator == "gt" else bool(left >= right)


def _inside(context: Metered, item: object, box: object) -> bool:
    if gone(box):
        return False
    if isinstance(box, str):
        context.charge(len(box) >> 4)
        return isinstance(item, str) and item in box
    if isinstance(box, Mapping):
        return isinstance(item, str) and item in box
    if not isinstance(box, (list, tuple)):
        raise RenderError(f"'in' needs a list or text, got {kind(box)}")
    context.charge(len(box))
    return any(equal(context, item, other) for other in box)


def _judge(context: Metered, left: object, operator: str, right: object) -> bool:
    if operator in ("eq", "ne"):
        return equal(context, left, right) is (operator == "eq")
    if operator in ("in", "notin"):
        return _inside(context, left, right) is (operator == "in")
    return _ordered(context, left, right, operator)


@pass_context
def compare(context: Metered, first: object, *rest: Any) -> bool:
    """``a < b <= c``: operators and values in turn, all must hold."""
    left = first
    for place in range(0, len(rest), 2):
        if not _judge(context, left, rest[place], rest[place + 1]):
            return False
        left = rest[place + 1]
    return True


OPERATIONS: dict[str, Callable[..., Any]] = {
    "!out": out,
    "!part": part,
    "!url": url,
    "!each": each,
    "!reckon": reckon,
    "!negate": negate,
    "!exact": exact,
    "!glue": glue,
    "!compare": compare,
}
TESTS: dict[str, Callable[[Any], bool]] = {"none": gone, "defined": lambda value: not gone(value)}
