"""From the tree of a condition on the subject to questions a store can ask (engine/core/predicate.py).

What has no question becomes an ``Ask`` with its reason, so every condition has a predicate, and a part that a store
can judge still spares the others. Constants are the ones the Python compiler folds: both read the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from engine.language.expressions.functions import FUNCTIONS, where_scope
from engine.language.expressions.functions import judged as judged_where
from engine.language.expressions.operators import _SWAPPED
from engine.language.expressions.parse import parse
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
_OWN_TIMES: Final = {"created_at": "created_at", "last_active_at": "last_active"}
_OWN_LISTS: Final = ("tags", "badges", "groups")
_OWN_EVENT: Final = ("type", "time", "id", "user", "group", "data")


class NoQuestion(Exception):
    """A part no store can be asked; the message says why."""

    def __init__(self, reason: str, *, total: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.total = total


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
        if segment.test is None:
            return q.Fixed(False)
        self.inside.append(name)
        try:
            return self.of(segment.test)
        finally:
            self.inside.pop()


class _Leaf:
    """One text. ``c`` folds constants and knows the kinds of fields."""

    def __init__(self, questions: _Questions, c: Compiler) -> None:
        self.questions = questions
        self.c = c
        self.env = questions.setting.env

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
            return q.Day(_plain(self.place(node, times=True)), _OPS[op], value.isoformat())
        if isinstance(value, timedelta):
            return self._lasting(op, node, value // _MICRO)
        if kind in ("time", "date", "duration"):
            if value is None and op == "eq":
                return self.missing(node)
            raise NoQuestion("times are compared with times")
        if isinstance(node, nodes.Filter) and node.name in ("lower", "upper") and node.node is not None:
            if value.__class__ is not str:
                raise NoQuestion(f"'{node.name}' is compared with what is no text")
            return q.Folded(_plain(self.place(node.node)), node.name, _OPS[op], value)
        if self._measurable(node):
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
        if isinstance(node, nodes.Call) and _name(node) == "since":
            return q.Measure(q.Since(("series", self._reader(node).key)), _OPS[op], micros)
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
            return q.AnyOf(tuple(self._listed(left, one) for one in right.items))
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

    # -- what stands on one side

    def missing(self, node: nodes.Node) -> q.Predicate:
        """``x is none``."""
        if isinstance(node, nodes.Call) and _name(node) in ("first", "last", "since"):
            return q.Missing(q.Place(("series", self._reader(node).key), own=True))
        if self.c.visit(node).instant is not None or self.c.visit(node).kind not in ("time", "date"):
            if self._measurable(node):
                source = self.measure(node)
                if isinstance(source, q.Length):
                    raise NoQuestion("the length of a missing value")
                least = isinstance(source, q.Total) and source.entry > 2
                return q.Missing(q.Place(source.path, own=True)) if least else q.Fixed(False)
            place = self.place(node, times=True)
            if isinstance(place, q.SubjectId) or (place.default is not None and not place.inside):
                return q.Fixed(False)
            if place.default is not None:
                raise NoQuestion("a default of a field inside another")
            return q.Missing(place)
        raise NoQuestion("a declared time may be no time")

    def place(self, node: nodes.Node, *, times: bool = False) -> q.Place | q.SubjectId:
        """A field of the subject, ``user.get('x')``, a field of ``last('x')``; with ``| default(...)``.

        ``times``: declared times and dates too, whose text must be read before it means anything.
        """
        if not times and self.c.visit(node).kind in ("time", "date"):
            raise NoQuestion("a time is used as it is")
        if isinstance(node, nodes.Filter) and node.name == "default" and len(node.args) == 1 and not node.kwargs:
            other = self.c.visit(node.args[0])
            found = self.place(node.node) if node.node is not None else None
            if not isinstance(found, q.Place) or not other.const or found.default is not None:
                raise NoQuestion("a computed default")
            if other.value is not None and other.value.__class__ not in (int, Decimal, str, bool):
                raise NoQuestion("a default that is no simple value")
            return q.Place(found.path, other.value, found.own, found.base)
        names: list[str] = []
        while isinstance(node, (nodes.Getattr, nodes.Getitem)):
            if isinstance(node, nodes.Getattr):
                names.append(node.attr)
            elif isinstance(node.arg, nodes.Const) and node.arg.value.__class__ is str:
                names.append(node.arg.value)
            else:
                raise NoQuestion("a place in a list")
            node = node.node
        names.reverse()
        if isinstance(node, nodes.Name) and node.name == self.c.scope.subject and names:
            return self._field(names[0], tuple(names[1:]))
        if isinstance(node, nodes.Call):
            return self._called(node, names)
        raise NoQuestion("a computed value")

    def _called(self, node: nodes.Call, names: list[str]) -> q.Place | q.SubjectId:
        if isinstance(node.node, nodes.Getattr):  # user.get('x')
            return self._field(str(node.args[0].value), tuple(names))  # type: ignore[attr-defined]
        if _name(node) in ("first", "last") and names and names[0] not in _OWN_EVENT:
            return q.Place(("series", self._reader(node).key, 5, *names), base=3)
        raise NoQuestion(f"{_name(node)}()")

    def _field(self, name: str, below: tuple[str, ...]) -> q.Place | q.SubjectId:
        if name in ("zone", "locale"):
            raise NoQuestion(f"'{name}' falls back to the program's", total=not below and name == "zone")
        own: q.Place | q.SubjectId | None = None
        if name == "id":
            own = q.SubjectId()
        elif name == "tier" and self.env.ladder is not None:
            own = q.Place(("tiers", self.env.ladder, 0), own=True)
        elif name == "points":
            own = q.Place(("points", self.env.account), 0, own=True)
        elif name in _OWN_LISTS:
            own = q.Place((name,), (), own=True)
        elif name in _OWN_TIMES:
            own = q.Place((_OWN_TIMES[name],), own=True)
        elif name == "tier":
            raise NoQuestion("the program has no tiers")
        if own is None:
            return q.Place(("traits", name, *below))
        if below:
            raise NoQuestion(f"'{name}' has no fields")
        return own

    def instant(self, node: nodes.Node) -> tuple[q.Place, tuple[str, ...]]:
        """A time, and the forms in which it may be kept."""
        code = self.c.visit(node)
        place = self.place(node, times=True)
        if isinstance(place, q.SubjectId) or place.default not in (None, ()):
            raise NoQuestion("a time with a default")
        if place.own and code.instant is not None:
            return place, ("micros",)
        if code.kind == "time" and place.path[0] == "traits":
            return place, ("time",)
        if code.kind == "date" and place.path[0] == "traits":
            return place, ("date",)
        if code.kind in ("any", "text") and place.path[0] == "traits":
            return place, ("time", "date")
        raise NoQuestion("a computed time")

    def _measurable(self, node: nodes.Node) -> bool:
        if isinstance(node, nodes.Filter):
            return node.name == "length"
        return _name(node) in FUNCTIONS and _name(node) not in ("first", "last", "since")

    def measure(self, node: nodes.Node) -> Any:
        """A number the engine computes: history, or a length."""
        if isinstance(node, nodes.Filter) and node.name == "length" and node.node is not None:
            return q.Length(_plain(self.place(node.node)))
        name = _name(node)
        if name == "bucket":
            salt = self.c.visit(self.given(node)["salt"])
            raise NoQuestion("bucket() is a hash", total=salt.const and salt.value.__class__ is str)
        if name not in ("count", "sum", "min", "max"):
            raise NoQuestion(f"{name}() is worked out in Python")
        window = self.given(node).get("within")
        path = ("series", self._reader(node).key)
        if name == "count":
            return q.Within(path, self._micros(window)) if window is not None else q.Place(path, 0, own=True)
        if window is None:
            return q.Total(path, {"sum": 2, "min": 3, "max": 4}[name])
        raise NoQuestion(f"{name}() over a window is quicker in Python")  # in SQL, a sum took five times as long

    def given(self, node: nodes.Node) -> dict[str, nodes.Expr]:
        """The arguments of a call, by name."""
        name = _name(node)
        return bound(self.c, node, FUNCTIONS[name], name, (0, 1)) or {}

    def _micros(self, node: nodes.Node) -> int:
        found = self.c.duration_of(node)
        if found is None:
            raise NoQuestion("a computed duration")
        return found

    def _reader(self, node: Any) -> Any:
        """The series of a call, asked of the book with the very arguments the compiler used."""
        name, book, given = _name(node), self.c.book, self.given(node)
        type_ = str(given["type"].value)  # type: ignore[attr-defined]
        if name in ("first", "last"):
            return book.first(type_) if name == "first" else book.last(type_)
        if name == "since":
            return book.latest(type_)
        window = given.get("within")
        within = self._micros(window) if window is not None else None
        where = given.get("where")
        condition = None
        if where is not None:
            text = where.value if isinstance(where, nodes.Const) else unparse(where)
            condition = judged_where(self.c.inner(parse(text), where_scope(self.c.scope, (type_,))))
        if name == "count":
            return book.count(type_, within, condition)
        field = str(given["field"].value)  # type: ignore[attr-defined]
        return book.numbers(name, type_, field, within, condition)


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
    return q.Ranked(_plain(leaf.place(node.node)), high, frozenset(ranks))


def _plain(place: q.Place | q.SubjectId) -> q.Place:
    """A place without a default of its own."""
    if isinstance(place, q.SubjectId) or place.default not in (None, ()):
        raise NoQuestion("a default inside a larger part")
    return place


def _name(node: Any) -> str:
    """The function a call names, or ""."""
    target = node.node if isinstance(node, nodes.Call) else None
    return target.name if isinstance(target, nodes.Name) else ""


def _is_now(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "now"
