"""The tests of the language (``x is older_than('30d')``), one entry of a table each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from jinja2 import nodes

from engine.language.expressions import operators, runtime
from engine.language.expressions.calling import Arguments, Word, bound
from engine.language.expressions.code import UNKNOWN, WORDS, Code
from engine.language.expressions.issues import did_you_mean

if TYPE_CHECKING:
    from engine.language.expressions.compiler import Compiler


def test(c: Compiler, node: Any) -> Code:
    """``x is name`` or ``x is name(...)``."""
    where = _name_span(c, node)
    word = TESTS.get(node.name)
    if word is None:
        hint = "whether a value is there: is none, is not none" if node.name in ("defined", "undefined", "null") else ""
        hint = hint or did_you_mean(node.name, TESTS, f"write == {node.name}" if node.name in ("true", "false") else "")
        return c.say(where, "unknown-test", f"unknown test '{node.name}'", hint)
    if word.subject and c.scope.where:
        return c.say(where, "not-here", f"'is {node.name}' is not known in where=", "where= looks at the event alone")
    arguments = bound(c, node, word, f"'is {node.name}'", where)
    if arguments is None:
        return UNKNOWN
    if node.name == "in_segment":
        return _in_segment(c, node, arguments)
    code = c.visit(node.node)
    return code if code is UNKNOWN else word.build(c, (code, node.node), arguments)


def _name_span(c: Compiler, node: Any) -> tuple[int, int]:
    """Span of the test's name, which follows ``is`` or ``is not``."""
    start, end = c.parsed.after(node.lineno)
    return c.parsed.after(node.lineno, 2) if c.parsed.text[start:end] == "not" else (start, end)


def _answer(src: str) -> Code:
    return Code(src, "bool", missing=False, sure=True)


def _none(c: Compiler, side: operators.Side, arguments: Arguments) -> Code:
    # Whether a value is missing does not move with time, even where the value itself does.
    if side[0].const:
        return _answer(str(side[0].value is None))
    return _answer(f"({side[0].instant or side[0].src} is None)")


def _aged(helper: str, sign: str) -> Callable[..., Code]:
    """``older_than`` and ``newer_than``: the age at the moment against a duration."""

    def build(c: Compiler, side: operators.Side, arguments: Arguments) -> Code:
        code, node = side
        c.freeze(code, node)
        if code.kind not in ("time", "date", "text", "any"):
            return c.say(node, "type-mismatch", f"{WORDS[code.kind]} has no age", "only times and dates have")
        length = _length(c, arguments["duration"])
        if length is None:
            return UNKNOWN
        operators.nullable(c, code, node)
        c.change(f"cross(m, ({code.instant or code.src}, {length}, ), ())")
        if code.instant is None or not length.isdigit():
            return _answer(f"{helper}(m, {code.src}, {length})")
        temp = c.module.temp()
        return _answer(f"(({temp}:={code.instant}) is not None and m.time - {temp} {sign} {length})")

    return build


def _length(c: Compiler, node: nodes.Expr) -> str | None:
    """Source of a duration in microseconds."""
    if isinstance(node, (nodes.Const, nodes.Call)):
        length = c.duration_of(node)
        return None if length is None else str(length)
    code = c.still(node)
    if code.const and isinstance(code.value, timedelta):
        return str(code.value // timedelta(microseconds=1))
    if code.kind not in ("duration", "text", "any"):
        c.say(node, "bad-duration", f"{WORDS[code.kind]} is no duration", "such as '7d'")
        return None
    return f"span({code.src})"


def _at_least(c: Compiler, side: operators.Side, arguments: Arguments) -> Code:
    return _ranked(c, side, arguments["level"], 0)


def _ranked(c: Compiler, side: operators.Side, node: nodes.Expr, beyond: int) -> Code:
    code = side[0]
    level = c.text_of(node, "a tier level")
    if level is None:
        return UNKNOWN
    if code.kind not in ("tier", "text", "any"):
        return c.say(side[1], "type-mismatch", f"{WORDS[code.kind]} is no tier level", "such as user.tier")
    c.known("level", level, c.parsed.span(node))
    operators.nullable(c, *side)
    return _answer(f"at_least(m, {code.src}, {level!r}, {beyond})")


def _beyond(op: str, beyond: int) -> Callable[..., Code]:
    """``above`` and ``below``: of levels by rank, of anything else by order."""

    def build(c: Compiler, side: operators.Side, arguments: Arguments) -> Code:
        node = arguments["x"]
        if side[0].kind == "tier":
            return _ranked(c, side, node, beyond)
        other = c.visit(node)
        return UNKNOWN if other is UNKNOWN else _answer(operators.pair(c, op, side, (other, node)))

    return build


def _matching(c: Compiler, side: operators.Side, arguments: Arguments) -> Code:
    code, node = side
    pattern = c.text_of(arguments["pattern"], "the pattern")
    if pattern is None:
        return UNKNOWN
    if code.kind not in ("text", "tier", "any"):
        return c.say(node, "type-mismatch", f"'matching' is for text, not for {WORDS[code.kind]}")
    return _answer(f"matching({code.src}, {c.module.name(runtime.glob(pattern))})")


def _in_segment(c: Compiler, node: Any, arguments: Arguments) -> Code:
    """``user is in_segment('x')``: the subject itself stands before the test."""
    if not isinstance(node.node, nodes.Name) or node.node.name != c.scope.subject:
        shown = c.scope.subject
        return c.say(node.node, "type-mismatch", f"only '{shown}' is in segments", f"write {shown} is in_segment(...)")
    name = c.text_of(arguments["name"], "the name of a segment")
    if name is None:
        return UNKNOWN
    c.known("segment", name, c.parsed.span(arguments["name"]))
    c.change(f"segment_change(m, {name!r})")
    return c.leaf(node, _answer(f"in_segment(m, {name!r})"), len(c.leaves))


TESTS: Final[dict[str, Word]] = {
    "none": Word(_none, subject=False),
    "older_than": Word(_aged("older", ">="), ("duration",)),
    "newer_than": Word(_aged("newer", "<"), ("duration",)),
    "at_least": Word(_at_least, ("level",)),
    "above": Word(_beyond("gt", 1), ("x",), subject=False),
    "below": Word(_beyond("lt", -1), ("x",), subject=False),
    "in_segment": Word(_in_segment, ("name",)),
    "matching": Word(_matching, ("pattern",), subject=False),
}
