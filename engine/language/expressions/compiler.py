"""From a tree to Python source: checks every part, reports all problems, and knows what each part depends on.

One visit gives a part's :class:`Code`; on the way the compiler notes the leaves ``why`` shows and the instants at which
passing time alone may change the answer. The families of nodes live in ``paths``, ``operators`` and ``functions``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final

from jinja2 import nodes

from engine.core.history import HistoryBook
from engine.core.instants import parse_duration
from engine.language.expressions import filtering, functions, operators, paths, testing
from engine.language.expressions.code import UNKNOWN, Code, Module
from engine.language.expressions.issues import Issues, did_you_mean
from engine.language.expressions.parse import Parsed, walk
from engine.language.expressions.scope import Scope
from engine.language.expressions.unparse import unparse


class Compiler:
    """Compiles one text.

    Parameters
    ----------
    parsed: the text and its tree.
    scope: the names that exist.
    book: where history is asked for.
    time_free: report every way in which time could pass unseen.
    """

    def __init__(self, parsed: Parsed, scope: Scope, book: HistoryBook, *, time_free: bool = False) -> None:
        self.parsed = parsed
        self.issues: Issues = parsed.issues
        self.scope = scope
        self.book = book
        self.time_free = time_free
        self.functions = functions.FUNCTIONS
        self.module = Module()
        self.bare = False  #: functions take an event instead of a moment
        self.negated = False  #: an odd number of ``not`` stands around the part
        self.beside: list[tuple[str, str]] = []  #: what is shown beside the function being built
        self.leaves: list[tuple[str, str]] = []  #: (text, source) of the non-constant leaves
        self.changes: list[str] = []  #: sources of the instants at which time changes something
        self.guarded: frozenset[str] = frozenset()  #: fields the text asks about with ``is none`` itself
        if parsed.node is not None:
            self.guarded = frozenset(_guards(parsed.node))

    def inner(self, parsed: Parsed, scope: Scope) -> Compiler:
        """A compiler for a ``where=`` inside this text, the functions of which take the event alone."""
        compiler = Compiler(parsed, scope, self.book)
        compiler.bare = True
        return compiler

    # -- for the families of nodes

    def say(self, where: nodes.Node | tuple[int, int], code: str, message: str, hint: str = "") -> Code:
        """Report a problem; what has it is of unknown kind, so that nothing follows from it."""
        span = where if isinstance(where, tuple) else self.parsed.span(where)
        self.issues.add(span, code, message, hint)
        return UNKNOWN

    def visit(self, node: nodes.Node) -> Code:
        """The code of any part."""
        handler = _HANDLERS.get(type(node))
        if handler is None:
            return self.say(node, "not-allowed", "expressions have no such construct")
        return handler(self, node)

    def still(self, node: nodes.Node) -> Code:
        """The code of a part from which no evenly moving value may come."""
        code = self.visit(node)
        self.freeze(code, node)
        return code

    def value(self, node: nodes.Node) -> Code:
        """The code of a part that is handed on as a value: an event becomes a map."""
        code = self.still(node)
        if code.kind != "event":
            return code
        return Code(f"view({code.src})", "map", code.missing, code.nullable)

    def freeze(self, code: Code, node: nodes.Node) -> None:
        """A moving value is used in a way that hides when the result changes."""
        if code.line is not None and self.time_free:
            hint = "compare it with a time or duration, or use older_than, newer_than, hour(now), weekday(now), today"
            self.say(node, "raw-now", "here time passes unseen, and nobody would look again", hint)

    def leaf(self, node: nodes.Node, code: Code, mark: int) -> Code:
        """Note a leaf; leaves noted since ``mark`` are inside it."""
        del self.leaves[mark:]
        if not code.const:
            self.leaves.append((unparse(node), code.src))
        return code

    def change(self, src: str) -> None:
        """Note an instant at which passing time changes something."""
        if src not in self.changes:
            self.changes.append(src)

    def known(self, family: str, name: str, where: tuple[int, int]) -> None:
        """Report a name its family does not have."""
        names = self.scope.family(family)
        if names is None or name in names:
            return
        word = "tier level" if family == "level" else family
        hint = did_you_mean(name, names, self.scope.elsewhere(name))
        self.say(where, f"unknown-{family}", f"there is no {word} '{name}'", hint)

    def text_of(self, node: nodes.Node, what: str) -> str | None:
        """A constant text argument."""
        if isinstance(node, nodes.Const) and isinstance(node.value, str) and node.value:
            return node.value
        hint = f"write '{unparse(node)}'" if isinstance(node, (nodes.Name, nodes.Getattr)) else ""
        self.say(node, "wrong-arguments", f"{what} must be text in quotes", hint)
        return None

    def duration_of(self, node: nodes.Node) -> int | None:
        """A constant duration argument, in microseconds: text, or ``duration('7d')``."""
        if isinstance(node, nodes.Call):
            code = self.visit(node)
            if code.const and isinstance(code.value, timedelta):
                return code.value // timedelta(microseconds=1)
            if code is UNKNOWN:
                return None
        if not isinstance(node, nodes.Const) or not isinstance(node.value, str):
            self.say(node, "bad-duration", "a duration must be text in quotes", "such as '7d'")
            return None
        try:
            return parse_duration(node.value)
        except ValueError as error:
            self.say(node, "bad-duration", str(error))
            return None

    def fold(self, node: nodes.Node, operation: Callable[..., Any], parts: Iterable[Code]) -> Code:
        """The constant an operator makes of constants."""
        try:
            return self.module.const(operation(*(part.value for part in parts)))
        except Exception as error:  # whatever it is, it would happen every time
            return self.say(node, "constant-error", f"this cannot be computed: {error}")


def _guards(node: nodes.Node) -> Iterable[str]:
    """Texts of the fields an expression itself asks to be there."""
    for one in walk(node):
        if isinstance(one, nodes.Test) and one.name == "none":
            yield unparse(one.node)
        elif isinstance(one, nodes.Compare) and len(one.ops) == 1:
            sides = (one.expr, one.ops[0].expr)
            for side, other in (sides, sides[::-1]):
                if isinstance(other, nodes.Const) and other.value is None:
                    yield unparse(side)
        elif isinstance(one, (nodes.And, nodes.Or)):
            for side in (one.left, one.right):
                if isinstance(side, (nodes.Name, nodes.Getattr)):
                    yield unparse(side)


def _constant(c: Compiler, node: Any) -> Code:
    return c.module.const(node.value)


def _list(c: Compiler, node: Any) -> Code:
    items = tuple(c.value(one) for one in node.items)
    return Code("[" + ", ".join(one.src for one in items) + "]", "list", missing=False, sure=True, items=items)


def _map(c: Compiler, node: Any) -> Code:
    parts = []
    for pair in node.items:
        key = c.still(pair.key)
        if not key.const or key.kind != "text":
            c.say(pair.key, "not-allowed", "names in a map are text in quotes")
        parts.append(f"{key.src}: {c.value(pair.value).src}")
    return Code("{" + ", ".join(parts) + "}", "map", missing=False, sure=True)


def _choice(c: Compiler, node: Any) -> Code:
    test, yes = c.still(node.test), c.value(node.expr1)
    no = c.value(node.expr2) if node.expr2 is not None else c.module.const(None)
    same = yes.kind if yes.kind == no.kind else "any"
    if "none" in (yes.kind, no.kind):
        same = yes.kind if no.kind == "none" else no.kind
    return Code(
        f"({yes.src} if {test.src} else {no.src})", same, yes.missing or no.missing, yes.nullable or no.nullable
    )


def _logic(c: Compiler, node: Any) -> Code:
    word = "and" if isinstance(node, nodes.And) else "or"
    parts = [c.value(one) for one in chain(node)]
    kinds = {part.kind for part in parts}
    src = "(" + f" {word} ".join(part.src for part in parts) + ")"
    certain = all(part.sure and not part.missing for part in parts)
    return Code(src, kinds.pop() if len(kinds) == 1 else "any", not certain, sure=certain)


def _not(c: Compiler, node: Any) -> Code:
    c.negated = not c.negated
    try:
        return Code(f"(not {c.still(node.node).src})", "bool", missing=False, sure=True)
    finally:
        c.negated = not c.negated


def chain(node: Any) -> list[nodes.Node]:
    """Operands of a chain of ``and`` or of ``or``, in order."""
    parts = []
    here = node
    while type(here) is type(node):
        parts.append(here.right)
        here = here.left
    return [here, *reversed(parts)]


def _slice(c: Compiler, node: Any) -> Code:
    return c.say(node, "not-allowed", "expressions have no slices")


def _power(c: Compiler, node: Any) -> Code:
    return c.say(node, "not-allowed", "expressions have no powers", "write the product")


_HANDLERS: Final[dict[type[nodes.Node], Callable[[Compiler, Any], Code]]] = {
    nodes.Const: _constant,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Dict: _map,
    nodes.CondExpr: _choice,
    nodes.And: _logic,
    nodes.Or: _logic,
    nodes.Not: _not,
    nodes.Slice: _slice,
    nodes.Pow: _power,
    nodes.Name: paths.path,
    nodes.Getattr: paths.path,
    nodes.Getitem: paths.path,
    nodes.Compare: operators.compare,
    nodes.Add: operators.arithmetic,
    nodes.Sub: operators.arithmetic,
    nodes.Mul: operators.arithmetic,
    nodes.Div: operators.arithmetic,
    nodes.FloorDiv: operators.arithmetic,
    nodes.Mod: operators.arithmetic,
    nodes.Neg: operators.sign,
    nodes.Pos: operators.sign,
    nodes.Concat: operators.concat,
    nodes.Call: functions.call,
    nodes.Test: testing.test,
    nodes.Filter: filtering.filtered,
}

__all__ = ["Compiler", "chain"]
