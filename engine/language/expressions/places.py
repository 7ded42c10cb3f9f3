"""What stands on one side of a question: fields of the stored state, and numbers the engine keeps of its history."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from jinja2 import nodes

from engine.core import predicate as q
from engine.core.moment import Env
from engine.language.expressions.calling import bound
from engine.language.expressions.compiler import Compiler
from engine.language.expressions.functions import FUNCTIONS, where_scope
from engine.language.expressions.functions import judged as judged_where
from engine.language.expressions.parse import parse
from engine.language.expressions.unparse import unparse

_OWN_TIMES: Final = {"created_at": "created_at", "last_active_at": "last_active"}
_OWN_LISTS: Final = ("tags", "badges", "groups")
_OWN_EVENT: Final = ("type", "time", "id", "user", "group", "data")


class NoQuestion(Exception):
    """A part no store can be asked; the message says why."""

    def __init__(self, reason: str, *, total: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.total = total


class Places:
    """Finds places in one text.

    Parameters
    ----------
    c: folds constants and knows the kinds of fields.
    env: the program's account and ladder.
    """

    def __init__(self, c: Compiler, env: Env) -> None:
        self.c = c
        self.env = env

    def missing(self, node: nodes.Node) -> q.Predicate:
        """``x is none``."""
        if isinstance(node, nodes.Call) and called(node) in ("first", "last", "since"):
            return q.Missing(q.Place(("series", self.reader(node).key), own=True))
        if self.c.visit(node).instant is not None or self.c.visit(node).kind not in ("time", "date"):
            if self.measurable(node):
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
        if called(node) in ("first", "last") and names and names[0] not in _OWN_EVENT:
            return q.Place(("series", self.reader(node).key, 5, *names), base=3)
        raise NoQuestion(f"{called(node)}()")

    def _field(self, name: str, below: tuple[str, ...]) -> q.Place | q.SubjectId:
        if name in ("zone", "locale"):
            raise NoQuestion(f"'{name}' falls back to the program's", total=not below and name == "zone")
        own: q.Place | q.SubjectId | None = None
        if name == "id":
            own = q.SubjectId()
        elif name == "tier" and self.env.ladder is not None:
            own = q.Place(("tiers", self.env.ladder, 0), own=True)
        elif name == "points_pending":
            raise NoQuestion("a computed value")
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

    def measurable(self, node: nodes.Node) -> bool:
        if isinstance(node, nodes.Filter):
            return node.name == "length"
        return called(node) in FUNCTIONS and called(node) not in ("first", "last", "since")

    def measure(self, node: nodes.Node) -> Any:
        """A number the engine computes: history, or a length."""
        if isinstance(node, nodes.Filter) and node.name == "length" and node.node is not None:
            return q.Length(plain_place(self.place(node.node)))
        name = called(node)
        if name == "bucket":
            salt = self.c.visit(self.given(node)["salt"])
            raise NoQuestion("bucket() is a hash", total=salt.const and salt.value.__class__ is str)
        if name not in ("count", "sum", "min", "max"):
            raise NoQuestion(f"{name}() is worked out in Python")
        window = self.given(node).get("within")
        path = ("series", self.reader(node).key)
        if name == "count":
            return q.Within(path, self._micros(window)) if window is not None else q.Place(path, 0, own=True)
        if window is None:
            return q.Total(path, {"sum": 2, "min": 3, "max": 4}[name])
        raise NoQuestion(f"{name}() over a window is quicker in Python")  # in SQL, a sum took five times as long

    def given(self, node: nodes.Node) -> dict[str, nodes.Expr]:
        """The arguments of a call, by name."""
        name = called(node)
        return bound(self.c, node, FUNCTIONS[name], name, (0, 1)) or {}

    def _micros(self, node: nodes.Node) -> int:
        found = self.c.duration_of(node)
        if found is None:
            raise NoQuestion("a computed duration")
        return found

    def reader(self, node: Any) -> Any:
        """The series of a call, asked of the book with the very arguments the compiler used."""
        name, book, given = called(node), self.c.book, self.given(node)
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


def plain_place(place: q.Place | q.SubjectId) -> q.Place:
    """A place without a default of its own."""
    if isinstance(place, q.SubjectId) or place.default not in (None, ()):
        raise NoQuestion("a default inside a larger part")
    return place


def called(node: Any) -> str:
    """The function a call names, or ""."""
    target = node.node if isinstance(node, nodes.Call) else None
    return target.name if isinstance(target, nodes.Name) else ""
