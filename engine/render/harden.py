"""Routes every operation of a checked template through ``operations.py``.

Jinja2 would compile ``a * b`` and ``a < b`` to Python's own operators. Here each becomes an internal filter whose name
begins with ``!``; so the compiled code holds look-ups, branches, loops and calls of our own functions, nothing else.
"""

from __future__ import annotations

from typing import Any, cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from engine.render.check import is_get
from engine.render.needs import describe
from engine.render.sandbox import Sandbox
from engine.render.trees import walk

_REMOVED = (nodes.Call, nodes.BinExpr, nodes.UnaryExpr, nodes.Compare, nodes.Concat)
_KEPT = (nodes.And, nodes.Or, nodes.Not)


def harden(tree: nodes.Template, env: Sandbox, addresses: frozenset[int], plain: str = "!out") -> nodes.Template:
    """Rewrite a checked template in place.

    ``addresses`` are ids of printed nodes that are whole web addresses; ``plain`` prints the others.
    """
    _Hardener(env, addresses, plain).visit(tree)
    for node in walk(tree):
        if isinstance(node, _REMOVED) and not isinstance(node, _KEPT):  # a promise of this file, kept before any run
            raise ValueError(f"{type(node).__name__} was not routed")
    return tree


class _Hardener(NodeTransformer):
    def __init__(self, env: Sandbox, addresses: frozenset[int], plain: str) -> None:
        self.env = env
        self.plain = plain
        self.addresses = addresses

    def _route(self, name: str, at: nodes.Node, value: nodes.Expr, *rest: Any) -> nodes.Filter:
        """``value|name(*rest)``; texts and numbers in ``rest`` become constants."""
        args = [part if isinstance(part, nodes.Node) else nodes.Const(part) for part in rest]
        made = nodes.Filter(value, name, args, [], None, None)
        made.set_lineno(at.lineno, override=False)
        made.set_environment(self.env)
        return made

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        for place, child in enumerate(node.nodes):
            if isinstance(child, nodes.TemplateData):
                continue
            name = "!url" if id(child) in self.addresses else self.plain
            told = describe(child)
            node.nodes[place] = self._route(name, child, cast("nodes.Expr", self.visit(child)), told)
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        # the weight of one round, reckoned before the body grows by the routing
        weight = 1 + sum(1 for part in (*node.body, node.test) if part for _ in walk(part))
        told = describe(node.iter)
        self.generic_visit(node)
        node.iter = self._route("!each", node, cast("nodes.Expr", node.iter), weight, told)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        rest = [part for operand in node.ops for part in (operand.op, operand.expr)]
        return self._route("!compare", node, node.expr, *rest)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._route("!glue", node, node.nodes[0], *node.nodes[1:])

    def visit_Neg(self, node: nodes.Neg) -> nodes.Node:
        self.generic_visit(node)
        return self._route("!negate", node, node.node)

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        if isinstance(node.value, float):
            return self._route("!exact", node, nodes.Const(repr(node.value)))
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        if not is_get(node):
            return node  # found by the check at the end of harden()
        assert isinstance(node.node, nodes.Getattr)  # noqa: S101  # is_get says so; for the type checker
        made = nodes.Getitem(node.node.node, node.args[0], "load")
        made.set_lineno(node.lineno)
        made.set_environment(self.env)
        return made

    def _reckon(self, node: nodes.BinExpr) -> nodes.Node:
        self.generic_visit(node)
        return self._route("!reckon", node, node.left, node.operator, node.right)

    visit_Add = visit_Sub = visit_Mul = visit_Div = visit_FloorDiv = _reckon  # names Jinja2 looks for
