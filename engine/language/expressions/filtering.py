"""The filters of the language (``user.name | lower``), one entry of a table each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.language.expressions import filters
from engine.language.expressions.calling import Arguments, Word, bound
from engine.language.expressions.code import UNKNOWN, WORDS, Code
from engine.language.expressions.issues import did_you_mean

if TYPE_CHECKING:
    from engine.language.expressions.compiler import Compiler


@dataclass(frozen=True)
class Filter:
    """One filter: its source name, the kinds it takes and the kind it gives ("" : the one it was given)."""

    call: Callable[..., Any]
    src: str
    takes: tuple[str, ...]
    gives: str
    options: tuple[str, ...] = ()


def filtered(c: Compiler, node: Any) -> Code:
    """``x | name`` or ``x | name(...)``."""
    where = _span(c, node)
    word = FILTERS.get(node.name)
    if word is None:
        hints = {"upper_case": "upper", "size": "length", "len": "length", "count": "length", "d": "default"}
        near = f"did you mean '{hints[node.name]}'?" if node.name in hints else did_you_mean(node.name, FILTERS)
        return c.say(where, "unknown-filter", f"unknown filter '{node.name}'", near)
    code = c.still(node.node)
    arguments = bound(c, node, word, f"the filter '{node.name}'", where)
    if arguments is None or code is UNKNOWN:
        return UNKNOWN
    return word.build(c, node, code, arguments)


def _span(c: Compiler, node: Any) -> tuple[int, int]:
    token = c.parsed.token(node.lineno)
    return (token.start, token.end) if token is not None else c.parsed.span(node)


def _simple(name: str) -> Callable[..., Code]:
    entry = _SIMPLE[name]

    def build(c: Compiler, node: Any, code: Code, arguments: Arguments) -> Code:
        if code.kind not in (*entry.takes, "any", "none"):
            takes = " or ".join(WORDS[kind] for kind in entry.takes)
            return c.say(_span(c, node), "type-mismatch", f"the filter '{name}' is for {takes}, not {WORDS[code.kind]}")
        parts = [code, *(c.still(arguments[option]) for option in entry.options if option in arguments)]
        if all(part.const for part in parts):
            return c.fold(node, entry.call, parts)
        gives = entry.gives or (code.kind if code.kind != "none" else "any")
        sources = ", ".join(part.src for part in parts)
        missing = code.missing or gives == "any"
        return Code(f"f_{entry.src}({sources})", gives, missing, code.nullable, sure=gives != "any")

    return build


def _default(c: Compiler, node: Any, code: Code, arguments: Arguments) -> Code:
    """``x | default(y)``: y where x is missing; with a second ``true`` also where x is empty, 0 or false."""
    other = c.still(arguments["value"])
    empty = c.still(arguments["empty"]) if "empty" in arguments else None
    if empty is not None and not (empty.const and empty.value.__class__ is bool):
        return c.say(arguments["empty"], "wrong-arguments", "the second argument of 'default' is true or false")
    temp = c.module.temp()
    test = f"({temp}:={code.src})" if empty is not None and empty.value else f"({temp}:={code.src}) is not None"
    kind = code.kind if code.kind == other.kind else other.kind if code.kind == "none" else "any"
    src = f"({temp} if {test} else {other.src})"
    return Code(src, kind, other.missing, other.nullable, code.sure and other.sure, choices=None)


_TEXT: Final = ("text", "tier")
_SIMPLE: Final[dict[str, Filter]] = {
    "lower": Filter(filters.lower, "lower", _TEXT, "text"),
    "upper": Filter(filters.upper, "upper", _TEXT, "text"),
    "length": Filter(filters.length, "length", ("text", "list", "map"), "number"),
    "round": Filter(filters.rounded, "rounded", ("number",), "number", ("digits",)),
    "int": Filter(filters.whole, "whole", ("number", "text"), "number"),
    "float": Filter(filters.exact, "exact", ("number", "text"), "number"),
    "first": Filter(filters.first, "first", ("list", "text"), "any"),
    "last": Filter(filters.last, "last", ("list", "text"), "any"),
    "join": Filter(filters.join, "join", ("list",), "text", ("between",)),
    "abs": Filter(filters.absolute, "absolute", ("number",), "number"),
}

FILTERS: Final[dict[str, Word]] = {
    "default": Word(_default, ("value",), ("empty",), subject=False),
    **{name: Word(_simple(name), options=entry.options, subject=False) for name, entry in _SIMPLE.items()},
}
