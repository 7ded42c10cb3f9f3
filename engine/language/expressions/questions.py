"""From the tree of a condition on the subject to questions a store can ask (engine/core/predicate.py).

What has no question becomes an ``Ask`` with its reason, so every condition has a predicate, and a part that a store
can judge still spares the others. Constants are the ones the Python compiler folds: both read the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from jinja2 import nodes

from engine.core import predicate as q
from engine.core import values
from engine.core.history import HistoryBook
from engine.core.instants import from_datetime, parse_duration
from engine.core.moment import Condition, Env
from engine.core.plan import Segment
from engine.errors import ExpressionError
from engine.language.expressions import runtime
from engine.language.expressions.calling import bound
from engine.language.expressions.compiler import Compiler, chain
from engine.language.expressions.operators import _SWAPPED
from engine.language.expressions.parse import parse
from engine.language.expressions.places import NoQuestion, Places, called, plain_place
from engine.language.expressions.scope import Scope
from engine.language.expressions.testing import TESTS
from engine.language.expressions.unparse import unparse

MAX_PARTS: Final = 2000
"""Questions of one condition; a larger one (segments asking for segments) is left to Python."""

_MICRO: Final = timedelta(microseconds=1)
_COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": values.eq, "lt": values.lt, "lteq": values.le, "gt": values.gt, "gteq": values.ge,
}  # fmt: skip
_OPS: Final = {"lt": "lt", "lteq": "le", "gt": "gt", "gteq": "ge", "eq": "eq"}


@dataclass(frozen=True)
class Setting:
    """What a condition is read in: the program's names and history."""

    scope: Scope
    book: HistoryBook
    env: Env
    segments: Mapping[str, Segment]


def question(condition: Condition, setting: Setting) -> q.Predicate:
    """The predicate of a compiled condition on the subject alone."""
    return _Questions(setting).of(condition)


class _Questions:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.parts = 0
        self.inside: list[str] = []  #: segments being read

    def of(self, condition: Condition) -> q.Predicate:
        """``and``, ``or`` and ``not`` are split by the condition itself; each leaf is read from its normal form."""
        parts = tuple(self.of(part) for part in condition.parts)
        if condition.op == "and":
            return q.All(parts)
        if condition.op == "or":
            return q.AnyOf(parts)
        if condition.op == "not":
            return q.Not(parts[0])
        parsed = parse(condition.text)
        if parsed.node is None:
            return q.Ask(condition.text, "its normal form cannot be read again")
        compiler = Compiler(parsed, self.setting.scope, self.setting.book)
        return _Leaf(self, compiler).truth(parsed.node)

    def segment(self, name: str) -> q.Predicate:
        """Membership of a segment: its list, or its own condition in place."""
        segment = self.setting.segments.get(name)
        if segment is None or name in self.inside:
            raise NoQuestion(f"the plan has no segment '{name}'")
        if segment.members is not None:
            return q.Named(segment.members)
        if segment.selection is not None:
            return q.Has(q.Place(("selections",), (), own=True), segment.selection)
        if segment.test is None:
            return q.Fixed(False)
        self.inside.append(name)
        try:
            return self.of(segment.test)
        finally:
            self.inside.pop()


class _Leaf(Places):
    """One text. ``c`` folds constants and knows the kinds of fields."""

    def __init__(self, questions: _Questions, c: Compiler) -> None:
        super().__init__(c, questions.setting.env)
        self.questions = questions

    # -- true or false

    def truth(self, node: nodes.Node) -> q.Predicate:
        """What a part means where only true or false counts."""
        self.questions.parts += 1
        if self.questions.parts > MAX_PARTS:
            return q.Ask("...", "the condition is too large")
        if isinstance(node, nodes.And):
            return q.All(tuple(self.truth(one) for one in chain(node)))
        if isinstance(node, nodes.Or):
            return q.AnyOf(tuple(self.truth(one) for one in chain(node)))
        if isinstance(node, nodes.Not):
            return q.Not(self.truth(node.node))
        if isinstance(node, nodes.CondExpr):
            other = q.Fixed(False) if node.expr2 is None else self.truth(node.expr2)
            return q.Choice(self.truth(node.test), self.truth(node.expr1), other)
        try:
            return self._bare(node)
        except NoQuestion as open_:
            return q.Ask(unparse(node), open_.reason, open_.total)

    def _bare(self, node: nodes.Node) -> q.Predicate:
        code = self.c.visit(node)
        if code.const:
            return q.Fixed(bool(code.value))
        if isinstance(node, nodes.Compare):
            return self._comparison(node)
        if isinstance(node, nodes.Test):
            return _test(self, node)
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
            name = node.node.name
            if name == "has_role":
                raise NoQuestion("a role ends by time")
            if name in ("in_segment", "in_group", "has_badge"):
                wanted = str(self.given(node)["name"].value)  # type: ignore[attr-defined]  # the compiler saw that it is text
                if name == "in_segment":
                    return self.questions.segment(wanted)
                return q.Has(q.Place(("groups" if name == "in_group" else "badges",), (), own=True), wanted)
            if name in ("count", "sum"):
                return q.Not(self._measured(self.measure(node), "eq", 0))
        if code.kind == "time":
            time, forms = self.instant(node)
            # A time is there or not; what cannot be read as one is an error.
            return q.AnyOf((q.Instant(time, forms, "ge", q.When(0)), q.Instant(time, forms, "lt", q.When(0))))
        place = self.place(node)
        if isinstance(place, q.SubjectId):
            return q.Fixed(True)
        return q.Truth(place)

    # -- comparisons

    def _comparison(self, node: nodes.Compare) -> q.Predicate:
        parts: list[q.Predicate] = []
        left = node.expr
        for operand in node.ops:
            try:
                parts.append(self.pair(operand.op, left, operand.expr))
            except NoQuestion as open_:
                parts.append(q.Ask(unparse(node), open_.reason, open_.total))
            left = operand.expr
        return parts[0] if len(parts) == 1 else q.All(tuple(parts))

    def pair(self, op: str, left: nodes.Node, right: nodes.Node) -> q.Predicate:
        """One comparison of two sides."""
        if op == "notin":
            return q.Not(self.pair("in", left, right))
        if op == "ne":
            return q.Not(self.pair("eq", left, right))
        a, b = self.c.visit(left), self.c.visit(right)
        if op == "in":
            return self._inside(left, right)
        if a.const and not b.const:
            left, right, a, b, op = right, left, b, a, _SWAPPED.get(op, op)
        elif a.const:
            return self._constant(lambda: _COMPARED[op](a.value, b.value))
        for one, other, sign in ((left, right, op), (right, left, _SWAPPED.get(op, op))):
            when = self._moving(other)
            if when is not None:
                return self._at(one, sign, when)
        if not b.const:
            raise NoQuestion("two fields are compared")
        return self._against(op, left, a.kind, b.value)

    def _at(self, node: nodes.Node, op: str, when: q.When) -> q.Predicate:
        """A time against an instant; only ages read the text of undeclared fields."""
        place, forms = self.instant(node)
        if "date" in forms:
            raise NoQuestion("an undeclared field is compared with a time")
        return q.Instant(place, forms, _OPS[op], when)

    def _against(self, op: str, node: nodes.Node, kind: str, value: Any) -> q.Predicate:
        """A part against a constant."""
        if kind in ("time", "date") and value.__class__ is str:  # read as one, where the compiler does
            value = runtime.as_time(value) if kind == "time" else runtime.as_date(value)
        if isinstance(value, datetime):
            return self._at(node, op, q.When(from_datetime(value)))
        if isinstance(value, date):
            if kind != "date":
                raise NoQuestion("an undeclared field is compared with a date")
            return q.Day(plain_place(self.place(node, times=True)), _OPS[op], value.isoformat())
        if isinstance(value, timedelta):
            return self._lasting(op, node, value // _MICRO)
        if kind in ("time", "date", "duration"):
            if value is None and op == "eq":
                return self.missing(node)
            raise NoQuestion("times are compared with times")
        if isinstance(node, nodes.Filter) and node.name in ("lower", "upper") and node.node is not None:
            if value.__class__ is not str:
                raise NoQuestion(f"'{node.name}' is compared with what is no text")
            return q.Folded(plain_place(self.place(node.node)), node.name, _OPS[op], value)
        if self.measurable(node):
            source = self.measure(node)
            if not values.is_number(value):
                raise NoQuestion("a number is compared with what is none")
            return self._measured(source, _OPS[op], value)
        place = self.place(node)
        if isinstance(place, q.Place) and place.default == ():
            raise NoQuestion("a whole list is compared")
        if op == "eq":
            return q.Equal(place, value)
        if value is None:
            raise NoQuestion("an order with none")
        return q.Order(place, _OPS[op], value)

    def _lasting(self, op: str, node: nodes.Node, micros: int) -> q.Predicate:
        """A duration: ``since(type)``, or ``now - user.created_at``."""
        if isinstance(node, nodes.Call) and called(node) == "since":
            return q.Measure(q.Since(("series", self.reader(node).key)), _OPS[op], micros)
        if isinstance(node, nodes.Sub) and _is_now(node.left):
            place, forms = self.instant(node.right)
            if place.own:  # of a declared time the age may lie outside what a duration can hold
                return q.Instant(place, forms, _OPS[_SWAPPED.get(op, op)], q.When(-micros, moving=True))
        raise NoQuestion("a computed duration")

    def _moving(self, node: nodes.Node) -> q.When | None:
        """``now``, and ``now`` plus or minus a constant duration."""
        if _is_now(node):
            return q.When(0, moving=True)
        if isinstance(node, (nodes.Add, nodes.Sub)) and _is_now(node.left):
            code = self.c.visit(node.right)
            if code.const and isinstance(code.value, timedelta):
                micros = code.value // _MICRO
                return q.When(micros if isinstance(node, nodes.Add) else -micros, moving=True)
        return None

    def _inside(self, left: nodes.Node, right: nodes.Node) -> q.Predicate:
        if isinstance(right, (nodes.List, nodes.Tuple)):
            if self.c.visit(left).const or not right.items:
                raise NoQuestion("a constant is looked for in a written list, or the list is empty")
            texts = self._texts(left, right.items)
            return texts or q.AnyOf(tuple(self._listed(left, one) for one in right.items))
        item, container = self.c.visit(left), self.c.visit(right)
        if container.const and container.value.__class__ is str:
            raise NoQuestion("a field is looked for in a constant text")
        if not item.const:
            raise NoQuestion("one field is looked for in another")
        place = self.place(right)
        simple = item.value is None or item.value.__class__ in (str, int, Decimal, bool)
        if isinstance(place, q.SubjectId) or place.default.__class__ is str or not simple:
            raise NoQuestion("the inside of such a text")
        return q.Has(place, item.value)

    def _texts(self, node: nodes.Node, items: Sequence[nodes.Expr]) -> q.Predicate | None:
        """The usual list: texts, and a field."""
        found = tuple(one.value for one in items if isinstance(one, nodes.Const) and isinstance(one.value, str))
        if len(found) < len(items) or not isinstance(node, (nodes.Getattr, nodes.Name)):
            return None
        place = self.place(node)
        if isinstance(place, q.SubjectId):
            return q.Named(frozenset(found))
        return None if place.default is not None else q.OneOf(place, found)

    def _listed(self, node: nodes.Node, item: nodes.Expr) -> q.Predicate:
        """``contains`` in a written list compares by ``eq`` and reads no text as a time."""
        code, kind = self.c.visit(item), self.c.visit(node).kind
        if not code.const or kind in ("time", "date", "duration"):
            raise NoQuestion("a list of computed values")
        return self._against("eq", node, kind, code.value)

    def _constant(self, judge: Callable[[], bool]) -> q.Predicate:
        try:
            return q.Fixed(bool(judge()))
        except ExpressionError:
            raise NoQuestion("it always errs") from None

    def _measured(self, source: Any, op: str, value: Any) -> q.Predicate:
        if isinstance(source, q.Place):
            return q.Equal(source, value) if op == "eq" else q.Order(source, op, value)
        return q.Measure(source, op, value)


# -- tests


def _test(leaf: _Leaf, node: nodes.Test) -> q.Predicate:
    if node.name == "none":
        return leaf.missing(node.node)
    given = bound(leaf.c, node, TESTS[node.name], node.name, (0, 1)) or {}
    if node.name == "in_segment":
        return leaf.questions.segment(str(given["name"].value))  # type: ignore[attr-defined]
    if node.name in ("older_than", "newer_than"):
        place, forms = leaf.instant(node.node)
        length = leaf.c.visit(given["duration"])
        micros = _length(length.value if length.const else None)
        return q.Instant(place, forms, "le" if node.name == "older_than" else "gt", q.When(-micros, moving=True))
    if node.name in ("at_least", "above", "below"):
        word = given.get("level") or given["x"]
        if node.name == "at_least" or leaf.c.visit(node.node).kind == "tier":
            return _ranked(leaf, node, str(leaf.c.visit(word).value))
        return leaf.pair("gt" if node.name == "above" else "lt", node.node, word)
    pattern = str(given["pattern"].value)  # type: ignore[attr-defined]
    if "[" in pattern:
        raise NoQuestion("a pattern with [...]")
    place_ = leaf.place(node.node)
    if isinstance(place_, q.Place) and place_.default not in (None, ()):
        raise NoQuestion("a pattern on a default")
    return q.Matches(place_, pattern)


def _length(value: Any) -> int:
    """A constant duration in microseconds."""
    if isinstance(value, timedelta):
        return value // _MICRO
    if isinstance(value, str):
        return parse_duration(value)
    raise NoQuestion("a computed duration")


def _ranked(leaf: _Leaf, node: nodes.Test, wanted: str) -> q.Predicate:
    ranks = leaf.env.ranks.get(leaf.env.ladder or "", {})
    if wanted not in ranks:
        raise NoQuestion(f"'{wanted}' is no level of the program's ladder")
    border = ranks[wanted]
    fits: dict[str, Callable[[int], bool]] = {
        "at_least": lambda rank: rank >= border,
        "above": lambda rank: rank > border,
        "below": lambda rank: rank < border,
    }
    high = frozenset(level for level, rank in ranks.items() if fits[node.name](rank))
    return q.Ranked(plain_place(leaf.place(node.node)), high, frozenset(ranks))


def _is_now(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "now"
