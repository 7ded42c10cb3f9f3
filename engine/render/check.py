"""The language of templates: every part of a parsed template is on the list here, or the template is refused at load.

Rule 1: a list of what is allowed, never of what is forbidden.
Rule 2: every fault of a template is reported in one pass.
Rule 3: the walk uses no recursion, so a template made to nest deep cannot exhaust the stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jinja2 import nodes

from engine.registry import nearest
from engine.render.filters import FILTERS, date_format_fault
from engine.render.operations import TESTS
from engine.render.problem import Site, TemplateProblem
from engine.render.trees import children

ROOTS = frozenset({"with", "user", "group", "event", "steps", "vars", "now", "today", "links"})
"""The names a template is given."""
MAX_DEPTH = 40
MAX_LOOPS = 4
MAX_NODES = 10_000
MAX_LITERAL = 10**15
_MAX_PROBLEMS = 50
_TARGET = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_TAKEN = ROOTS | {"loop", "self", "super", "caller", "varargs", "kwargs", "context", "environment"}
_PLAIN: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict,
    nodes.Pair, nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Div, nodes.FloorDiv, nodes.Neg,
    nodes.Concat, nodes.Compare, nodes.Operand,
)  # fmt: skip
_OPERATORS: dict[type[nodes.Node], tuple[str, str]] = {
    nodes.Pow: ("**", "write the product out"),
    nodes.Mod: ("%", "there is no remainder and no %-formatting; join text with ~"),
    nodes.Pos: ("unary +", "leave it out"),
    nodes.Slice: ("a slice [a:b]", "cut text with |truncate(n)"),
}
_STATEMENTS: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from ... import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter",
    nodes.With: "with",
    nodes.AssignBlock: "set without a value",
    nodes.ScopedEvalContextModifier: "autoescape",
    nodes.NSRef: "set of a field",
}


class _Spot(NamedTuple):
    node: nodes.Node
    depth: int
    loops: int


def targets(target: nodes.Node) -> Iterator[nodes.Name]:
    """The names a ``set`` or ``for`` makes."""
    if isinstance(target, nodes.Name):
        yield target
    elif isinstance(target, nodes.Tuple):
        yield from (item for item in target.items if isinstance(item, nodes.Name))


def is_get(node: nodes.Node) -> bool:
    """True for ``user.get("x")``, which is only another spelling of ``user.x``."""
    return (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Getattr)
        and node.node.attr == "get"
        and isinstance(node.node.node, nodes.Name)
        and node.node.node.name == "user"
        and len(node.args) == 1
        and isinstance(node.args[0], nodes.Const)
        and isinstance(node.args[0].value, str)
        and not (node.kwargs or node.dyn_args or node.dyn_kwargs)
    )


def _too_big(value: object) -> bool:
    return isinstance(value, (int, float)) and abs(value) > MAX_LITERAL  # infinite ones too


def check(tree: nodes.Template, site: Site, roots: frozenset[str] = ROOTS) -> tuple[list[TemplateProblem], int]:
    """(every fault of a parsed template, how deep it nests); no fault means it may be compiled."""
    checker = _Checker(site, roots)
    return checker.run(tree), checker.deepest


class _Checker:
    def __init__(self, site: Site, roots: frozenset[str]) -> None:
        self.site = site
        self.roots = roots
        self.problems: list[TemplateProblem] = []
        self.made: set[str] = set()
        self.used: list[tuple[nodes.Name, int]] = []
        self.deepest = 0
        self.rules: dict[type[nodes.Node], Callable[[_Spot], None]] = {
            nodes.Name: self._name,
            nodes.Getattr: self._getattr,
            nodes.Getitem: self._getitem,
            nodes.Filter: self._filter,
            nodes.Test: self._test,
            nodes.Call: self._call,
            nodes.CondExpr: self._cond,
            nodes.Mul: self._mul,
            nodes.For: self._for,
            nodes.Assign: self._assign,
        }

    def refuse(self, code: str, node: nodes.Node, message: str, hint: str = "", needle: str = "") -> None:
        problem = self.site.problem(code, node.lineno, message, hint, needle)
        if len(self.problems) < _MAX_PROBLEMS and problem not in self.problems:
            self.problems.append(problem)

    def run(self, tree: nodes.Template) -> list[TemplateProblem]:
        stack = [_Spot(tree, 0, 0)]
        seen = 0
        while stack:
            spot = stack.pop()
            seen += 1
            if seen > MAX_NODES:
                self.refuse("template-size", spot.node, f"the template has more than {MAX_NODES} parts")
                return self.problems
            if spot.depth > MAX_DEPTH or spot.loops > MAX_LOOPS:
                self.refuse("template-depth", spot.node, f"nested deeper than {MAX_DEPTH} ({MAX_LOOPS} for loops)")
                return self.problems
            self._judge(spot)
            depth, loops = spot.depth + 1, spot.loops + isinstance(spot.node, nodes.For)
            self.deepest = max(self.deepest, depth)
            stack.extend([_Spot(child, depth, loops) for child in children(spot.node)])
        self._names()
        self.problems.sort(key=lambda problem: problem.line)
        return self.problems

    def _judge(self, spot: _Spot) -> None:
        sort = type(spot.node)
        rule = self.rules.get(sort)
        if rule is not None:
            rule(spot)
        elif sort in _OPERATORS:
            word, hint = _OPERATORS[sort]
            self.refuse("template-operator", spot.node, f"{word} is not allowed", hint, word)
        elif sort not in _PLAIN:
            word = _STATEMENTS.get(sort, sort.__name__)
            self.refuse("template-statement", spot.node, f"{word!r} is not part of the template language",
                        "known: if, elif, else, for, set, raw", word)  # fmt: skip
        elif isinstance(spot.node, nodes.Const) and _too_big(spot.node.value):
            self.refuse("template-operator", spot.node, "a number has at most 15 digits before the point")

    def _names(self) -> None:
        known = self.roots | self.made
        for node, loops in self.used:
            if node.name in known or (node.name == "loop" and loops):
                continue
            near = nearest(node.name, known)
            hint = f"did you mean {near!r}?" if near else "known: " + ", ".join(sorted(known))
            code = "template-private" if node.name.startswith("_") else "template-word"
            self.refuse(code, node, f"unknown name {node.name!r}", hint, node.name)

    def _name(self, spot: _Spot) -> None:
        assert isinstance(spot.node, nodes.Name)  # noqa: S101  # for the type checker; the table keys by type
        if spot.node.ctx == "load":
            self.used.append((spot.node, spot.loops))

    def _getattr(self, spot: _Spot) -> None:
        assert isinstance(spot.node, nodes.Getattr)  # noqa: S101
        self._key(spot.node, spot.node.attr)
        if isinstance(spot.node.node, (nodes.Const, nodes.List, nodes.Tuple)):
            self.refuse("template-private", spot.node, f"a literal has no field {spot.node.attr!r}")

    def _getitem(self, spot: _Spot) -> None:
        assert isinstance(spot.node, nodes.Getitem)  # noqa: S101
        if isinstance(spot.node.arg, nodes.Const) and isinstance(spot.node.arg.value, str):
            self._key(spot.node, spot.node.arg.value)

    def _key(self, node: nodes.Node, key: str) -> None:
        if key.startswith("_"):
            self.refuse("template-private", node, f"{key!r} begins with an underscore", "only data is looked up", key)

    def _filter(self, spot: _Spot) -> None:
        node = spot.node
        assert isinstance(node, nodes.Filter)  # noqa: S101
        known, name = FILTERS.get(node.name), node.name
        if known is None:
            near = nearest(node.name, FILTERS)
            hint = f"did you mean {near!r}?" if near else "known: " + ", ".join(sorted(FILTERS))
            self.refuse("template-filter", node, f"unknown filter {node.name!r}", hint, node.name)
        elif node.kwargs or node.dyn_args or node.dyn_kwargs:
            self.refuse("template-filter", node, f"{name!r} takes its arguments in order, without names", "", name)
        elif not known.least <= len(node.args) <= known.most:
            takes = str(known.most) if known.least == known.most else f"{known.least} to {known.most}"
            self.refuse("template-filter", node, f"{name!r} takes {takes} arguments, got {len(node.args)}", "", name)
        elif node.name == "date" and node.args:
            form = node.args[0]
            fault = date_format_fault(form.value if isinstance(form, nodes.Const) else None)
            if fault:
                self.refuse("template-date", node, fault, "known: %Y %y %m %d %H %I %M %S %p %j %u %%, and %-m", "date")

    def _test(self, spot: _Spot) -> None:
        node = spot.node
        assert isinstance(node, nodes.Test)  # noqa: S101
        if node.name not in TESTS or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
            message = f"unknown test 'is {node.name}'"
            self.refuse("template-test", node, message, "known: is none, is defined", node.name)

    def _call(self, spot: _Spot) -> None:
        if not is_get(spot.node):
            self.refuse("template-call", spot.node, "nothing can be called in a template",
                        "print a value, or change it with a |filter", "(")  # fmt: skip

    def _cond(self, spot: _Spot) -> None:
        assert isinstance(spot.node, nodes.CondExpr)  # noqa: S101
        if spot.node.expr2 is None:
            self.refuse("template-else", spot.node, "an inline 'if' without 'else'", 'add: else ""', " if ")

    def _mul(self, spot: _Spot) -> None:
        assert isinstance(spot.node, nodes.Mul)  # noqa: S101
        for side in (spot.node.left, spot.node.right):
            texts = isinstance(side, nodes.Const) and isinstance(side.value, str)
            if texts or isinstance(side, (nodes.List, nodes.Tuple, nodes.Dict, nodes.Concat)):
                self.refuse("template-operator", spot.node, "'*' is for numbers only", "join text with ~", "*")

    def _for(self, spot: _Spot) -> None:
        assert isinstance(spot.node, nodes.For)  # noqa: S101
        if spot.node.recursive:
            message = "'recursive' is not part of the template language"
            self.refuse("template-statement", spot.node, message, "", "recursive")
        self._make(spot.node, spot.node.target)

    def _assign(self, spot: _Spot) -> None:
        assert isinstance(spot.node, nodes.Assign)  # noqa: S101
        self._make(spot.node, spot.node.target)

    def _make(self, node: nodes.Node, target: nodes.Node) -> None:
        names = list(targets(target))
        if isinstance(target, nodes.Tuple) and len(names) != len(target.items):
            self.refuse("template-set", node, "only names can be set")
        for name in names:
            if name.name in _TAKEN or _TARGET.fullmatch(name.name) is None:
                self.refuse("template-set", node, f"the name {name.name!r} cannot be set",
                            "take another name of small letters", name.name)  # fmt: skip
            else:
                self.made.add(name.name)
