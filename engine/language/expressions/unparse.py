"""The normal form of an expression: one spelling for equal conditions, with single-quoted text.

It is shown by ``why``, it names series of the history, and reading it again gives the same tree.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from jinja2 import nodes

from engine.core.numerals import number_text
from engine.core.values import duration_text

_OPERATORS: Final = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "lteq": "<=",
    "gt": ">",
    "gteq": ">=",
    "in": "in",
    "notin": "not in",
}
_BINARY: Final[dict[type[nodes.Node], tuple[str, int]]] = {
    nodes.Or: ("or", 1),
    nodes.And: ("and", 2),
    nodes.Add: ("+", 5),
    nodes.Sub: ("-", 5),
    nodes.Mul: ("*", 7),
    nodes.Div: ("/", 7),
    nodes.FloorDiv: ("//", 7),
    nodes.Mod: ("%", 7),
    nodes.Pow: ("**", 8),
}
# A test without arguments takes a following word as its argument, so tests hold weaker than anything but and, or, not.
_ANY, _NOT, _TEST, _COMPARE, _CONCAT, _FILTER, _UNARY, _POSTFIX = 0, 3, 3.5, 4, 6, 8, 9, 10


def quoted(text: str) -> str:
    """Text as a single-quoted constant."""
    out = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + out.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + "'"


def constant(value: Any) -> str:
    """A constant as it is written."""
    if value is None:
        return "none"
    if value.__class__ is bool:
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, timedelta):
        return f"duration('{duration_text(value)}')"
    shown = number_text(value)
    # A whole Decimal such as 1E+2 is written plainly, and then it is a whole number: the same value.
    return shown if not isinstance(value, Decimal) or "E" not in shown else str(value)


def unparse(node: nodes.Node) -> str:
    """The normal form of a tree that ``parse`` gave."""
    return _write(node, _ANY)


def _write(node: nodes.Node, outside: float) -> str:
    body, strength = _plain(node)
    return f"({body})" if strength < outside else body


def _plain(node: nodes.Node) -> tuple[str, float]:
    """Text of a node and how strongly its parts hold together."""
    if isinstance(node, nodes.Const):
        negative = isinstance(node.value, (int, Decimal)) and not isinstance(node.value, bool) and node.value < 0
        return constant(node.value), _UNARY if negative else _POSTFIX
    if isinstance(node, nodes.Name):
        return node.name, _POSTFIX
    if type(node) in _BINARY:
        return _binary(node)
    if isinstance(node, nodes.Compare):
        return _compare(node), _COMPARE
    if isinstance(node, nodes.Not):
        return _negation(node)
    if isinstance(node, (nodes.Neg, nodes.Pos)):
        return ("-" if isinstance(node, nodes.Neg) else "+") + _write(node.node, _UNARY), _UNARY
    if isinstance(node, nodes.CondExpr):
        return _choice(node), _ANY
    if isinstance(node, nodes.Concat):
        return " ~ ".join(_write(one, _CONCAT + 1) for one in node.nodes), _CONCAT
    return _postfix(node)


def _binary(node: nodes.Node) -> tuple[str, int]:
    sign, strength = _BINARY[type(node)]
    parts = _chain(node) if strength <= 2 else [_write(node.left, strength)]  # type: ignore[attr-defined]
    if strength > 2:
        parts.append(_write(node.right, strength + 1))  # type: ignore[attr-defined]
    return f" {sign} ".join(parts), strength


def _chain(node: nodes.Node) -> list[str]:
    """Parts of a chain of ``and`` or ``or``, without recursion along the chain."""
    strength = _BINARY[type(node)][1]
    parts = []
    here = node
    while type(here) is type(node):
        parts.append(_write(here.right, strength + 1))  # type: ignore[attr-defined]
        here = here.left  # type: ignore[attr-defined]
    parts.append(_write(here, strength))
    return parts[::-1]


def _compare(node: nodes.Compare) -> str:
    out = _write(node.expr, _COMPARE + 1)
    for operand in node.ops:
        out += f" {_OPERATORS[operand.op]} {_write(operand.expr, _COMPARE + 1)}"
    return out


def _negation(node: nodes.Not) -> tuple[str, float]:
    if isinstance(node.node, nodes.Test):
        return _test(node.node, "is not"), _TEST
    return "not " + _write(node.node, _NOT), _NOT


def _choice(node: nodes.CondExpr) -> str:
    out = f"{_write(node.expr1, _COMPARE)} if {_write(node.test, _COMPARE)}"
    return out if node.expr2 is None else f"{out} else {_write(node.expr2, _ANY)}"


def _test(node: nodes.Test, word: str) -> str:
    return f"{_write(node.node, _FILTER)} {word} {node.name}{_arguments(node) if node.args or node.kwargs else ''}"


def _arguments(node: nodes.Call | nodes.Filter | nodes.Test) -> str:
    parts = [_write(one, _ANY) for one in node.args or ()]
    parts += [f"{one.key}={_write(one.value, _ANY)}" for one in node.kwargs or () if isinstance(one, nodes.Keyword)]
    return "(" + ", ".join(parts) + ")"


def _postfix(node: nodes.Node) -> tuple[str, float]:
    if isinstance(node, nodes.Getattr):
        return f"{_write(node.node, _POSTFIX)}.{node.attr}", _POSTFIX
    if isinstance(node, nodes.Getitem):
        return f"{_write(node.node, _POSTFIX)}[{_write(node.arg, _ANY)}]", _POSTFIX
    if isinstance(node, nodes.Call):
        return _write(node.node, _POSTFIX) + _arguments(node), _POSTFIX
    if isinstance(node, nodes.Filter) and node.node is not None:
        return f"{_write(node.node, _FILTER)} | {node.name}{_arguments(node) if node.args else ''}", _FILTER
    if isinstance(node, nodes.Test):
        return _test(node, "is"), _TEST
    if isinstance(node, nodes.List):
        return "[" + ", ".join(_write(one, _ANY) for one in node.items) + "]", _POSTFIX
    if isinstance(node, nodes.Tuple):
        comma = "," if len(node.items) == 1 else ""
        return "(" + ", ".join(_write(one, _ANY) for one in node.items) + comma + ")", _POSTFIX
    if isinstance(node, nodes.Dict):
        pairs = (f"{_write(one.key, _ANY)}: {_write(one.value, _ANY)}" for one in node.items)
        return "{" + ", ".join(pairs) + "}", _POSTFIX
    return "...", _POSTFIX
