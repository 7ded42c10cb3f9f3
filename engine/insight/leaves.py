"""The parts of a leaf: what a node names, and which values lie on the near side of a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from jinja2 import nodes

from engine.core.instants import format_instant, from_datetime

UNKNOWN: Final = object()
"""The value of a part that the decision did not see."""
MIRROR: Final = {"gteq": "lteq", "lteq": "gteq", "gt": "lt", "lt": "gt", "eq": "eq", "ne": "ne"}


def called(node: Any) -> str:
    target = node.node if isinstance(node, nodes.Call) else None
    return str(target.name) if isinstance(target, nodes.Name) else ""


def base_of(node: nodes.Node) -> nodes.Node:
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        node = node.node
    return node


def links_of(node: nodes.Node) -> list[str] | None:
    names: list[str] = []
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        if isinstance(node, nodes.Getattr):
            names.append(node.attr)
        elif isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            names.append(node.arg.value)
        else:
            return None
        node = node.node
    return names[::-1]


def field_of(node: nodes.Node) -> tuple[str, list[str]] | None:
    """(root, names) of ``user.city``."""
    base, names = base_of(node), links_of(node)
    return (base.name, names) if isinstance(base, nodes.Name) and names else None


def recorded(node: nodes.Node) -> tuple[str | None, str | None]:
    """(event type, field or None) of ``last('x').amount``."""
    base, names = base_of(node), links_of(node)
    if called(base) not in ("first", "last", "since") or names is None or len(names) > 1:
        return None, None
    first = base.args[0] if isinstance(base, nodes.Call) and base.args else None
    type_ = first.value if isinstance(first, nodes.Const) else None
    return (str(type_), names[0] if names else None) if type_ is not None else (None, None)


# ---------------------------------------------------------------------- values


def is_number(value: Any) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def is_fixed(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) or called(node) == "duration"


def computed(node: nodes.BinExpr, a: Any, b: Any) -> Any:
    if a is UNKNOWN or b is UNKNOWN or a is None or b is None:
        return UNKNOWN
    turn: dict[type, Callable[[Any, Any], Any]] = {
        nodes.Add: lambda x, y: x + y, nodes.Sub: lambda x, y: x - y, nodes.Mul: lambda x, y: x * y,
    }  # fmt: skip
    try:
        return turn[type(node)](a, b)
    except (TypeError, ArithmeticError):
        return UNKNOWN


def divided(target: Any, by: Any) -> Any:
    if not is_number(by) or by <= 0:
        raise ArithmeticError
    return Decimal(target) / Decimal(by)


def whole_for(op: str, target: Any, has: Any) -> int | None:
    """The whole number nearest to ``has`` with ``number op target``."""
    if not is_number(target) or not is_number(has):
        return None
    low = int(Decimal(target).to_integral_value(ROUND_FLOOR))
    high = int(Decimal(target).to_integral_value(ROUND_CEILING))
    needs = {"gteq": high, "gt": low + 1, "lteq": low, "lt": high - 1, "eq": low if low == high else None,
             "ne": int(has) + 1}.get(op)  # fmt: skip
    return needs


def unit_of(*values: Any) -> Decimal:
    """The smallest step between amounts as they are written here; at least a hundredth."""
    digits = [-int(it.as_tuple().exponent) for it in values if isinstance(it, Decimal) and it.is_finite()]
    return Decimal(1).scaleb(-max([2, *digits]))


def edge_of(op: str, target: Any, unit: Decimal, has: Any) -> Decimal | None:
    edge = Decimal(target)
    if op in ("gteq", "lteq", "eq"):
        return edge
    if op in ("gt", "lt"):
        return edge + unit if op == "gt" else edge - unit
    return Decimal(has) + unit if op == "ne" and Decimal(has) == edge else None


def small(value: Decimal) -> int | Decimal:
    """A number in its plainest form."""
    return int(value) if value == value.to_integral_value() else value.normalize()


def values_for(op: str, target: Any, has: Any) -> Iterator[Any]:
    """What a field may hold so that ``field op target``."""
    if op == "notin":
        yield from (it for it in others_than(target[0] if target else None) if it not in target)
    elif op == "ne":
        yield from others_than(target)
    elif op == "eq":
        yield as_json(target)
    elif is_number(target):
        whole = isinstance(target, int) and (has is None or isinstance(has, int))
        edge = edge_of(op, target, Decimal(1) if whole else unit_of(target, has), has)
        if edge is not None:
            yield small(edge)
    elif isinstance(target, (date, timedelta, str)):
        step = timedelta(seconds=1) if isinstance(target, (datetime, timedelta)) else timedelta(days=1)
        if op in ("gteq", "lteq"):
            yield as_json(target)
        elif not isinstance(target, str):
            yield as_json(target + step if op == "gt" else target - step)
        elif op == "gt":
            yield target + " "


def others_than(target: Any) -> Iterator[Any]:
    """Something else than a value, of its kind."""
    if isinstance(target, bool):
        yield not target
    elif is_number(target):
        yield small(Decimal(target) + 1)
    elif isinstance(target, str):
        yield f"not {target}"
    else:
        yield from ("x", 1, True)


def as_json(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, datetime):
        return format_instant(from_datetime(value))
    return value.isoformat() if isinstance(value, date) else value


def others_like(kept: Any, number: int) -> list[Any]:
    """So many entries more for a list, of the kind of its first and none of them in it."""
    like = kept[0] if kept else "x"
    if is_number(like):
        top = max(Decimal(one) for one in kept if is_number(one))
        return [small(top + step) for step in range(1, number + 1)]
    made = [f"another {step}" for step in range(1, number + len(kept) + 1)]
    return [one for one in made if one not in kept][:number]
