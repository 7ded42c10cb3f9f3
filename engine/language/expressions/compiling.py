"""The public way in: texts to conditions and values, with every problem of the text in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jinja2 import nodes

from engine.core.history import HistoryBook, Where
from engine.core.moment import Condition, Moment, Value
from engine.language.expressions.code import HELPERS
from engine.language.expressions.compiler import Compiler, chain
from engine.language.expressions.functions import judged, where_scope
from engine.language.expressions.issues import Issue
from engine.language.expressions.parse import parse
from engine.language.expressions.runtime import earliest
from engine.language.expressions.scope import Scope
from engine.language.expressions.unparse import unparse


@dataclass
class _Part:
    """One node of the tree ``why`` prints, before it is a condition."""

    op: str
    node: nodes.Node
    src: str
    certain: bool  #: the source gives True or False, nothing else
    leaves: list[tuple[str, str]]
    changes: list[str]
    parts: list[_Part]


def compile_condition(
    text: str, scope: Scope, book: HistoryBook, *, time_free: bool = False, negated: bool = False
) -> tuple[Condition | None, list[Issue]]:
    """Compile a condition; None when one of the issues is an error.

    Parameters
    ----------
    time_free: it is only looked at again at ``next_change`` (segments, tiers), so time must not pass unseen.
    negated: it stands under ``none:``, for the warning about missing values.
    """
    parsed = parse(text)
    compiler = Compiler(parsed, scope, book, time_free=time_free)
    compiler.negated = negated
    node = parsed.node
    if node is not None and isinstance(node, nodes.Const) and isinstance(node.value, str):
        hint = f"write {node.value}" if node.value.replace(".", "").isidentifier() else "compare it with a field"
        compiler.say(node, "only-text", "this condition is only a text, which is always true", hint)
    elif node is not None:
        part = _part(compiler, node)
        if not parsed.issues.found and not part.leaves:
            compiler.say(node, "constant-condition", "this condition looks at nothing and never changes")
        if not parsed.issues.fatal:
            return _built(compiler, part), parsed.issues.sorted()
    return None, parsed.issues.sorted()


def compile_expression(
    text: str, scope: Scope, book: HistoryBook, *, time_free: bool = False
) -> tuple[Value | None, list[Issue]]:
    """Compile an expression that gives a value (``key``, ``score``, ``metric``, ``until`` ...)."""
    parsed = parse(text)
    compiler = Compiler(parsed, scope, book, time_free=time_free)
    if parsed.node is None:
        return None, parsed.issues.sorted()
    code = compiler.value(parsed.node)
    if parsed.issues.fatal:
        return None, parsed.issues.sorted()
    module = compiler.module
    get = module.function(code.src)
    changes = [module.function(src) for src in compiler.changes]
    space = module.build(text)
    change = earliest(space[name] for name in changes) if changes else None
    value = Value(text=text, get=space[get], constant=not compiler.leaves, next_change=change, kind=code.kind)
    return value, parsed.issues.sorted()


def compile_where(
    text: str, scope: Scope, book: HistoryBook, types: tuple[str, ...]
) -> tuple[Where | None, list[Issue]]:
    """Compile a condition on the event alone, as history judges it; the same one in ``where=`` shares its series."""
    parsed = parse(text)
    compiler = Compiler(parsed, where_scope(scope, types), book)
    compiler.bare = True
    return judged(compiler), parsed.issues.sorted()


def _part(c: Compiler, node: nodes.Node) -> _Part:
    """Split at ``and``, ``or`` and ``not``; anything else is a leaf of the tree."""
    if isinstance(node, (nodes.And, nodes.Or)):
        op = "and" if isinstance(node, nodes.And) else "or"
        parts = [_part(c, one) for one in chain(node)]
        src = "(" + f" {op} ".join(one.src for one in parts) + ")"
        return _Part(op, node, src, all(one.certain for one in parts), _leaves(parts), _changes(parts), parts)
    if isinstance(node, nodes.Not) and not isinstance(node.node, nodes.Test):
        c.negated = not c.negated
        part = _part(c, node.node)
        c.negated = not c.negated
        return _Part("not", node, f"(not {part.src})", True, part.leaves, part.changes, [part])
    c.leaves, c.changes = [], []
    code = c.still(node)
    certain = code.kind == "bool" and code.sure and not code.missing
    return _Part("leaf", node, code.src, certain, list(dict(c.leaves).items()), c.changes, [])


def _leaves(parts: list[_Part]) -> list[tuple[str, str]]:
    """Leaves of all parts; one written twice is one."""
    return list(dict(leaf for part in parts for leaf in part.leaves).items())


def _changes(parts: list[_Part]) -> list[str]:
    return list(dict.fromkeys(change for part in parts for change in part.changes))


def _built(c: Compiler, root: _Part) -> Condition:
    names: dict[int, tuple[str, str, list[tuple[str, str]], list[str]]] = {}
    waiting = [root]
    while waiting:
        part = waiting.pop()
        waiting.extend(part.parts)
        body = part.src if part.certain else f"bool({part.src})"
        test = c.module.function(body)
        leaves = [(text, c.module.function(f"plain({src})")) for text, src in part.leaves]
        names[id(part)] = (body, test, leaves, [c.module.function(src) for src in part.changes])
    space = c.module.build(c.parsed.text)
    constants = {**HELPERS, **c.module.names}

    def make(part: _Part) -> Condition:
        body, test, leaves, changes = names[id(part)]
        return Condition(
            text=unparse(part.node),
            test=space[test],
            leaves=tuple((text, space[name]) for text, name in leaves),
            op=part.op,
            parts=tuple(make(one) for one in part.parts),
            body=body,
            names=constants,
            next_change=earliest(space[name] for name in changes) if changes else None,
        )

    return make(root)


def combine(op: str, parts: Sequence[Condition]) -> Condition:
    """The conditions of a list as one: ``and`` (all), ``or`` (any) or ``not`` (none of them)."""
    parts = tuple(parts)
    if len(parts) == 1 and op != "not":
        return parts[0]
    word = "and" if op == "and" else "or"
    text = f" {word} ".join(one.text if one.op in ("leaf", op) else f"({one.text})" for one in parts)
    if op == "not":
        text = f"not ({text})"
    changes = [one.next_change for one in parts if one.next_change is not None]
    body = f" {word} ".join(f"({one.body})" for one in parts) if all(one.body for one in parts) else None
    return Condition(
        text=text,
        body=f"(not ({body}))" if body and op == "not" else body,
        names={name: value for one in parts for name, value in one.names.items()},
        test=_joined(op, [one.test for one in parts]),
        leaves=tuple(dict(leaf for one in parts for leaf in one.leaves).items()),
        op=op,
        parts=parts if op != "not" or len(parts) == 1 else (combine("or", parts),),
        next_change=earliest(changes) if changes else None,
    )


def _joined(op: str, tests: list[Callable[[Moment], bool]]) -> Callable[[Moment], bool]:
    if op == "and":
        return lambda m: all(test(m) for test in tests)
    if op == "or":
        return lambda m: any(test(m) for test in tests)
    return lambda m: not any(test(m) for test in tests)


__all__ = ["combine", "compile_condition", "compile_expression", "compile_where"]
