"""Comparisons, ``in``, arithmetic and ``~``: checks of kinds, and source that is fast where the kinds are certain."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from jinja2 import nodes

from engine.core import values
from engine.errors import ExpressionError
from engine.language.expressions import runtime
from engine.language.expressions.code import UNKNOWN, WORDS, Code, Line
from engine.language.expressions.issues import did_you_mean
from engine.language.expressions.unparse import unparse

if TYPE_CHECKING:
    from engine.language.expressions.compiler import Compiler

_ORDER: Final = {"lt": "<", "lteq": "<=", "gt": ">", "gteq": ">="}
_HELPER: Final = {"lt": "lt", "lteq": "le", "gt": "gt", "gteq": "ge"}
_SWAPPED: Final = {"lt": "gt", "lteq": "gteq", "gt": "lt", "gteq": "lteq"}
_ORDERED: Final = frozenset({"number", "text", "time", "date", "duration", "any"})


def compare(c: Compiler, node: Any) -> Code:
    """A comparison, or a chain of them such as ``1 <= x < 5``."""
    left_node, left = node.expr, c.visit(node.expr)
    parts: list[str] = []
    for place, operand in enumerate(node.ops):
        right_node, right = operand.expr, c.visit(operand.expr)
        if place + 1 < len(node.ops) and not right.const:
            temp = c.module.temp()
            stored = _renamed(right, f"({temp}:={right.src})")
            parts.append(pair(c, operand.op, (left, left_node), (stored, right_node)))
            right = _renamed(right, temp)
        else:
            parts.append(pair(c, operand.op, (left, left_node), (right, right_node)))
        left_node, left = right_node, right
    src = parts[0] if len(parts) == 1 else "(" + " and ".join(parts) + ")"
    return Code(src, "bool", missing=False, sure=True)


def _renamed(code: Code, src: str) -> Code:
    """The same value under another source."""
    return Code(
        src, code.kind, code.missing, code.nullable, code.sure, choices=code.choices, family=code.family, line=code.line
    )


Side = tuple[Code, nodes.Node]


def pair(c: Compiler, op: str, left: Side, right: Side) -> str:
    """Source of one comparison of two sides."""
    left, right = _coerced(c, left, right), _coerced(c, right, left)
    a, b = left[0], right[0]
    if a is UNKNOWN or b is UNKNOWN:
        return "False"
    if op in ("in", "notin"):
        c.freeze(a, left[1])
        c.freeze(b, right[1])
        src = _inside(c, left, right)
        return src if op == "in" else f"(not {src})"
    moves(c, left, right)
    if op in ("eq", "ne"):
        _can_be_equal(c, left, right)
        return _equal(a, b, op == "ne")
    if _ordered(c, op, left, right):
        _nullable(c, left, right)
    return _order(c, op, a, b)


def _coerced(c: Compiler, side: Side, other: Side) -> Side:
    """Text written next to a time or a date is read as one."""
    code, node = side
    kind = other[0].kind
    if kind not in ("time", "date") or not code.const or code.kind != "text":
        return side
    try:
        value = runtime.as_time(code.value) if kind == "time" else runtime.as_date(code.value)
    except (ExpressionError, ValueError):
        example = "2026-05-01T10:00:00+08:00" if kind == "time" else "2026-05-01"
        return c.say(node, "bad-time", f"'{code.value}' is not {WORDS[kind]}", f"write it as '{example}'"), node
    return c.module.const(value), node


def line_of(code: Code) -> Line:
    """How a value moves; one that stands still is a line too."""
    return code.line if code.line is not None else Line(0, (code.instant or code.src,))


def moves(c: Compiler, left: Side, right: Side) -> None:
    """Note the instant at which passing time turns a comparison."""
    a, b = left[0], right[0]
    if a.line is None and b.line is None:
        return
    gap = line_of(a).minus_line(line_of(b))
    if gap.factor == 0:
        return
    if gap.factor not in (1, -1):
        c.freeze(a, left[1])
        c.freeze(b, right[1])
        return
    # factor * clock + plus - minus turns sign where the clock is (minus - plus) / factor.
    plus, minus = (gap.minus, gap.plus) if gap.factor == 1 else (gap.plus, gap.minus)
    c.change(f"cross(m, {_tuple(plus)}, {_tuple(minus)})")


def _tuple(sources: tuple[str, ...]) -> str:
    return "(" + "".join(f"{one}, " for one in sources) + ")"


# -- equality


def _equal(a: Code, b: Code, negative: bool) -> str:
    if a.const and b.const:
        return str(values.eq(a.value, b.value) is not negative)
    for one, other in ((a, b), (b, a)):
        if other.const and (other.value is None or other.value.__class__ is bool):
            return f"({one.src} {'is not' if negative else 'is'} {other.src})"
        # 0 and 1 are equal to false and true in Python, so they take the careful way.
        if other.const and not (other.kind == "number" and other.value in (0, 1)):
            return f"({one.src} {'!=' if negative else '=='} {other.src})"
    if a.sure and b.sure and "bool" not in (a.kind, b.kind):
        return f"({a.src} {'!=' if negative else '=='} {b.src})"
    return f"{'ne' if negative else 'eq'}({a.src}, {b.src})"


def _can_be_equal(c: Compiler, left: Side, right: Side) -> None:
    for (code, _), (other, node) in ((left, right), (right, left)):
        if other.const:
            _possible(c, code, other, node)
    kinds = {_plain(left[0].kind), _plain(right[0].kind)}
    if len(kinds) == 2 and not kinds & {"any", "none"}:
        a, b = WORDS[left[0].kind], WORDS[right[0].kind]
        c.say(right[1], "never-equal", f"{a} is never equal to {b}")


def _plain(kind: str) -> str:
    return "text" if kind == "tier" else kind


def _possible(c: Compiler, code: Code, const: Code, node: nodes.Node) -> None:
    """Report a constant the other side cannot have."""
    if const.value is None or const.kind != "text":
        return
    if code.family is not None and code.kind in ("tier", "text"):
        c.known(code.family, const.value, c.parsed.span(node))
    elif code.choices is not None and const.value not in code.choices:
        hint = did_you_mean(const.value, code.choices, "it can be " + ", ".join(map(str, code.choices[:8])))
        c.say(node, "impossible-value", f"'{const.value}' is none of its values", hint)


# -- order


def _ordered(c: Compiler, op: str, left: Side, right: Side) -> bool:
    a, b = left[0].kind, right[0].kind
    for code, node in (left, right):
        if code.kind == "tier":
            other = right if node is left[1] else left
            hint = f"write {unparse(node)} is at_least({unparse(other[1])})"
            c.say(node, "tier-order", "tier levels have an order of their own, not the alphabet's", hint)
            return False
        if code.kind not in _ORDERED:
            c.say(node, "type-mismatch", f"{WORDS[code.kind]} has no order, so '{_ORDER[op]}' cannot compare it")
            return False
    if a != b and "any" not in (a, b):
        _mismatch(c, right[1], "compare", left[0], right[0])
        return False
    return True


def _mismatch(c: Compiler, node: nodes.Node, verb: str, a: Code, b: Code) -> Code:
    hint = ""
    if {a.kind, b.kind} == {"duration", "number"} or {a.kind, b.kind} == {"duration", "text"}:
        hint = "a duration is written duration('7d')"
    return c.say(node, "type-mismatch", f"cannot {verb} {WORDS[a.kind]} and {WORDS[b.kind]}", hint)


def _nullable(c: Compiler, *sides: Side) -> None:
    for code, node in sides:
        nullable(c, code, node)


def nullable(c: Compiler, code: Code, node: nodes.Node) -> None:
    """Under ``not``, a comparison with a missing value is true: say so."""
    if c.negated and code.nullable and unparse(node) not in c.guarded:
        shown = unparse(node)
        hint = f"add '{shown} is not none and', or ask the other way round"
        c.say(node, "nullable-under-not", f"'{shown}' may be missing, and then this is true", hint)


def _order(c: Compiler, op: str, a: Code, b: Code) -> str:
    if a.const and not b.const:
        return _order(c, _SWAPPED[op], b, a)
    certain = a.sure and b.sure and not a.missing and not b.missing and a.kind == b.kind
    if certain and a.kind in ("number", "text", "date", "duration"):
        return f"({a.src} {_ORDER[op]} {b.src})"
    if b.const and b.kind == "number":
        return _order_number(c, op, a, b)
    if a.instant is not None and b.instant is not None:
        return f"{_HELPER[op]}({a.instant}, {b.instant})"
    return f"{_HELPER[op]}({a.src}, {b.src})"


def _order_number(c: Compiler, op: str, a: Code, b: Code) -> str:
    """Against a constant number: whole and fractional numbers at once, anything else by the careful way."""
    value, kind, sign = c.module.temp(), c.module.temp(), _ORDER[op]
    fraction = c.module.name(Decimal(b.value))
    return (
        f"({value} {sign} {b.src} if ({kind}:=({value}:={a.src}).__class__) is I"
        f" else {value} {sign} {fraction} if {kind} is D else {_HELPER[op]}({value}, {b.src}))"
    )


# -- membership


def _inside(c: Compiler, left: Side, right: Side) -> str:
    a, b = left[0], right[0]
    if b.kind not in ("list", "text", "map", "any"):
        c.say(right[1], "type-mismatch", f"nothing is in {WORDS[b.kind]}; 'in' needs a list, text or map")
    elif b.kind == "text" and a.kind not in ("text", "tier", "any"):
        _mismatch(c, left[1], "look for", a, b)
    if a.const and a.kind == "text" and b.family is not None:
        c.known(b.family, a.value, c.parsed.span(left[1]))
    if b.items is None:
        return f"({a.src} in {b.src})" if b.sure and a.const and a.kind == "text" else f"contains({a.src}, {b.src})"
    places = right[1].items if isinstance(right[1], (nodes.List, nodes.Tuple)) else []
    for item, node in zip(b.items, places, strict=False):
        if item.const:
            _possible(c, a, item, node)
    if all(one.const and (one.kind == "text" or one.value is None) for one in b.items):
        return f"({a.src} in ({''.join(one.src + ', ' for one in b.items)}))"
    return f"contains({a.src}, {b.src})"


# -- arithmetic

_ARITHMETIC: Final[dict[type[nodes.Node], tuple[str, str, Callable[[Any, Any], Any]]]] = {
    nodes.Add: ("add", "add", values.add),
    nodes.Sub: ("sub", "subtract", values.sub),
    nodes.Mul: ("mul", "multiply", values.mul),
    nodes.Div: ("div", "divide", values.div),
    nodes.FloorDiv: ("floordiv", "divide", values.floordiv),
    nodes.Mod: ("mod", "divide", values.mod),
}
_DURATION: Final = "duration"
_RESULTS: Final[dict[str, dict[tuple[str, str], str]]] = {
    "add": {
        ("number", "number"): "number",
        ("text", "text"): "text",
        ("list", "list"): "list",
        (_DURATION, _DURATION): _DURATION,
        **{pair_: kind for kind in ("time", "date") for pair_ in ((kind, _DURATION), (_DURATION, kind))},
    },
    "sub": {
        ("number", "number"): "number",
        (_DURATION, _DURATION): _DURATION,
        ("time", "time"): _DURATION,
        ("date", "date"): _DURATION,
        ("time", _DURATION): "time",
        ("date", _DURATION): "date",
    },
    "mul": {("number", "number"): "number", (_DURATION, "number"): _DURATION, ("number", _DURATION): _DURATION},
    "div": {("number", "number"): "number", (_DURATION, "number"): _DURATION, (_DURATION, _DURATION): "number"},
    "mod": {("number", "number"): "number", (_DURATION, _DURATION): _DURATION},
}


def arithmetic(c: Compiler, node: Any) -> Code:
    """``+ - * / // %``."""
    name, verb, operation = _ARITHMETIC[type(node)]
    a, b = c.visit(node.left), c.visit(node.right)
    if a is UNKNOWN or b is UNKNOWN:
        return UNKNOWN
    kind = "any"
    if "none" not in (a.kind, b.kind) and "any" not in (a.kind, b.kind):
        found = _RESULTS["div" if name == "floordiv" else name].get((a.kind, b.kind))
        if found is None:
            if any(isinstance(one, (nodes.Test, nodes.Not)) for one in (node.left, node.right)):
                hint = "'is' binds closer than the sign before it: put brackets around what it asks about"
                return c.say(node, "type-mismatch", f"cannot {verb} {WORDS[a.kind]} and {WORDS[b.kind]}", hint)
            return _mismatch(c, node, verb, a, b)
        kind = found
    if a.const and b.const:
        return c.fold(node, operation, (a, b))
    line = None
    if name in ("add", "sub") and kind in ("time", _DURATION, "any") and (a.line or b.line) is not None:
        one, other = line_of(a), line_of(b)
        line = one.plus_line(other) if name == "add" else one.minus_line(other)
    else:
        c.freeze(a, node.left)
        c.freeze(b, node.right)
    sure = a.sure and b.sure and kind != "any"
    return Code(f"{name}({a.src}, {b.src})", kind, a.missing or b.missing, a.nullable or b.nullable, sure, line=line)


def sign(c: Compiler, node: Any) -> Code:
    """``-x`` and ``+x``."""
    code = c.still(node.node)
    negative = isinstance(node, nodes.Neg)
    if code.kind not in ("number", _DURATION, "any", "none"):
        return c.say(node, "type-mismatch", f"{WORDS[code.kind]} takes no sign")
    if code.const:
        return c.fold(node, values.neg if negative else values.pos, (code,))
    return Code(f"{'neg' if negative else 'pos'}({code.src})", code.kind, code.missing, code.nullable, code.sure)


def concat(c: Compiler, node: Any) -> Code:
    """``~``: everything as one text."""
    parts = [c.still(one) for one in node.nodes]
    return Code(f"f_concat({', '.join(one.src for one in parts)})", "text", missing=False, sure=True)
