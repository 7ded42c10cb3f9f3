"""Which values a template needs: a message is not sent when one of them is missing.

Best effort, before any data is seen: a path printed outside ``|default`` and outside the branch that asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinja2 import nodes

from engine.render.check import ROOTS, is_get, targets
from engine.render.trees import children

_NOTHING: frozenset[str] = frozenset()


def path_of(node: nodes.Node) -> str | None:
    """``with.coupon.code`` for a chain of look-ups by fixed names; None for anything else."""
    parts: list[str] = []
    if is_get(node) and isinstance(node, nodes.Call) and isinstance(node.args[0], nodes.Const):
        return f"user.{node.args[0].value}"
    while not isinstance(node, nodes.Name):
        if isinstance(node, nodes.Getattr):
            parts.append(node.attr)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            parts.append(node.arg.value)
        else:
            return None
        node = node.node
    return ".".join([node.name, *reversed(parts)])


def _leaves(node: nodes.Node) -> Iterator[str]:
    """The paths an expression looks up, longest only, in order."""
    path = path_of(node)
    if path is not None:
        yield path
        return
    for child in children(node):
        yield from _leaves(child)


def describe(node: nodes.Node) -> str:
    """The paths behind a printed value, for the message that one of them is missing."""
    return " or ".join(dict.fromkeys(repr(path) for path in _leaves(node))) or "the value"


def needs(trees: Iterable[nodes.Template]) -> frozenset[str]:
    """Dotted paths the pieces of a template need."""
    walker = _Walker()
    for tree in trees:
        walker.body(tree.body, _NOTHING, {})
    return frozenset(walker.found)


def steps_read(trees: Iterable[nodes.Template]) -> frozenset[str]:
    """Ids of the steps whose results a template reads; "*" when it cannot be told which."""
    found: set[str] = set()
    for tree in trees:
        named = 0
        links: list[nodes.Getattr | nodes.Getitem] = [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]
        for link in links:
            if isinstance(link.node, nodes.Name) and link.node.name == "steps":
                path = path_of(link)
                found.add("*" if path is None else path.removeprefix("steps."))
                named += 1
        if named < sum(name.name == "steps" for name in tree.find_all(nodes.Name)):
            found.add("*")
    return frozenset(found)


class _Walker:
    """Collects needed paths; ``guarded`` are those a branch has asked for, ``alias`` what set and for stand for."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def body(self, body: list[nodes.Node], guarded: frozenset[str], alias: dict[str, str | None]) -> None:
        for node in body:
            if isinstance(node, nodes.Output):
                for child in node.nodes:
                    self.need(child, guarded, alias)
            elif isinstance(node, nodes.If):
                self._if(node, guarded, alias)
            elif isinstance(node, nodes.For):
                self._for(node, guarded, alias)
            elif isinstance(node, nodes.Assign):
                self._assign(node, guarded, alias)

    def _assign(self, node: nodes.Assign, guarded: frozenset[str], alias: dict[str, str | None]) -> None:
        path = path_of(node.node)
        if path is None:  # made to be printed, most likely
            self.need(node.node, guarded, alias)
        for name in targets(node.target):
            alias[name.name] = _real(path, alias) if isinstance(node.target, nodes.Name) else None

    def _if(self, node: nodes.If, guarded: frozenset[str], alias: dict[str, str | None]) -> None:
        for part in (node, *node.elif_):
            self.body(part.body, guarded | _present(part.test, True, alias), alias)
            guarded |= _present(part.test, False, alias)
        self.body(node.else_, guarded, alias)

    def _for(self, node: nodes.For, guarded: frozenset[str], alias: dict[str, str | None]) -> None:
        self.need(node.iter, guarded, alias)
        inner = {**alias, **{name.name: None for name in targets(node.target)}, "loop": None}
        if node.test is not None:
            guarded |= _present(node.test, True, inner)
        self.body(node.body, guarded, inner)
        self.body(node.else_, guarded, alias)

    def need(self, node: nodes.Node, guarded: frozenset[str], alias: dict[str, str | None]) -> None:
        """Note what a printed expression needs."""
        path = path_of(node)
        if path is not None:
            real = _real(path, alias)
            if real is not None and not _covered(real, guarded):
                self.found.add(real)
        elif isinstance(node, nodes.Filter) and node.name == "default":
            for arg in node.args[:1]:
                self.need(arg, guarded, alias)
        elif isinstance(node, nodes.Or):
            self.need(node.right, guarded | _present(node.left, False, alias), alias)
        elif isinstance(node, nodes.CondExpr):
            self.need(node.expr1, guarded | _present(node.test, True, alias), alias)
            if node.expr2 is not None:
                self.need(node.expr2, guarded | _present(node.test, False, alias), alias)
        elif not isinstance(node, (nodes.Compare, nodes.Test, nodes.Not)):
            for child in children(node):
                self.need(child, guarded, alias)


def _real(path: str | None, alias: dict[str, str | None]) -> str | None:
    """A path from one of the given roots, aliases resolved; None for a local name."""
    if path is None:
        return None
    root, dot, rest = path.partition(".")
    if root in alias:
        behind = alias[root]
        return None if behind is None else behind + dot + rest
    return path if root in ROOTS else None


def _covered(path: str, guarded: frozenset[str]) -> bool:
    """Asked for, itself or the mapping it is in."""
    return any(path == asked or path.startswith(asked + ".") or asked.startswith(path + ".") for asked in guarded)


def _present(test: nodes.Node, holds: bool, alias: dict[str, str | None]) -> frozenset[str]:
    """Paths certainly present when a test holds (or does not)."""
    path = _real(path_of(test), alias)
    if path is not None:
        return frozenset({path}) if holds else _NOTHING
    if isinstance(test, nodes.Not):
        return _present(test.node, not holds, alias)
    if isinstance(test, (nodes.And, nodes.Or)):
        both = isinstance(test, nodes.And) is holds
        left, right = _present(test.left, holds, alias), _present(test.right, holds, alias)
        return left | right if both else left & right
    if isinstance(test, nodes.Test):
        inner = _real(path_of(test.node), alias)
        return frozenset({inner}) if inner is not None and (test.name == "defined") is holds else _NOTHING
    if isinstance(test, nodes.Compare) and holds:
        return _compared(test, alias)
    return _NOTHING


def _compared(test: nodes.Compare, alias: dict[str, str | None]) -> frozenset[str]:
    """An ordering with null is false, and null equals no constant: the paths compared are there."""
    found: set[str] = set()
    left: nodes.Node = test.expr
    for operand in test.ops:
        sides = (left, operand.expr)
        fixed = any(isinstance(side, nodes.Const) and side.value is not None for side in sides)
        if operand.op in ("lt", "lteq", "gt", "gteq") or (operand.op == "eq" and fixed):
            found |= {path for side in sides if (path := _real(path_of(side), alias)) is not None}
        left = operand.expr
    return frozenset(found)
