"""What would have to be otherwise for one leaf of a condition to have another verdict.

The normal form of a leaf is read once more and turned around: ``count('order.paid') >= 2`` with 1 asks for one more
event. Whether that is enough is not decided here: ``nearest.py`` lets the engine decide everything once more with it.
Rule: what is not understood gives nothing; nobody guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from jinja2 import nodes

from engine.core.instants import format_instant, parse_duration
from engine.insight.judged import Branch
from engine.insight.leaves import (
    MIRROR,
    UNKNOWN,
    base_of,
    called,
    computed,
    divided,
    edge_of,
    field_of,
    is_fixed,
    is_number,
    recorded,
    small,
    unit_of,
    values_for,
    whole_for,
)
from engine.language.expressions.parse import parse
from engine.language.expressions.unparse import unparse

EVENTS, FEWER, TRAIT, DATA, JOIN, LEAVE, POINTS, BADGE, TAG, UNTAG = (
    "events", "fewer", "trait", "data", "join", "leave", "points", "badge", "tag", "untag",
)  # fmt: skip
"""More events of a type; fewer; a field of the user or group; one of the event at hand; and what the engine keeps."""


@dataclass(frozen=True)
class Change:
    """One thing that would be otherwise."""

    kind: str
    leaf: str  #: the part of the condition it is for
    name: str  #: event type, field, group, account, badge or tag
    value: Any = None  #: of a field: what it would be; of an account: points more
    has: Any = None  #: what there is
    times: int = 1  #: how many events
    data: Mapping[str, Any] = field(default_factory=dict)  #: what those events must bring
    fresh: str | None = None  #: the field in which each of them must bring something new
    other: bool = False  #: ``value`` is an example: anything else than what there is would do


_FLIP: Final = {"gteq": "lt", "lt": "gteq", "gt": "lteq", "lteq": "gt", "eq": "ne", "ne": "eq", "in": "notin",
                "notin": "in"}  # fmt: skip
_PULLS: Final = (0, 2, 20, 2000)
"""How far beyond an average one more value is tried, in distances to it."""
_PLAIN: Final = ("default", "round", "int", "float", "lower", "upper")


def levers(leaf: Branch, want: bool) -> list[Change]:
    """Changes each of which may be enough for a leaf to be ``want``."""
    node = parse(leaf.text).node
    return [] if node is None else list(_Leaf(leaf).truth(node, want))


class _Leaf:
    """One leaf with the values it saw."""

    def __init__(self, leaf: Branch) -> None:
        self.text = leaf.text
        self.seen = leaf.seen

    # ------------------------------------------------------------------ true or false

    def truth(self, node: nodes.Node, want: bool) -> Iterator[Change]:
        if isinstance(node, nodes.Not):
            yield from self.truth(node.node, not want)
        elif isinstance(node, (nodes.And, nodes.Or)):
            for part in (node.left, node.right):
                yield from self.truth(part, want)
        elif isinstance(node, nodes.Compare):
            yield from self.compared(node, want)
        elif isinstance(node, nodes.Test):
            yield from self.tested(node, want)
        elif isinstance(node, nodes.Call):
            yield from self.called(node, want)
        elif isinstance(node, (nodes.Getattr, nodes.Getitem)):
            yield from self.reach(node, "eq", want)

    def compared(self, node: nodes.Compare, want: bool) -> Iterator[Change]:
        left = node.expr
        for operand in node.ops:
            op = operand.op if want else _FLIP[operand.op]
            if op in ("in", "notin"):
                yield from self.inside(left, operand.expr, op == "in")
            else:
                yield from self.sides(left, op, operand.expr)
            left = operand.expr

    def sides(self, left: nodes.Node, op: str, right: nodes.Node) -> Iterator[Change]:
        a, b = self.value(left), self.value(right)
        if b is not UNKNOWN:
            yield from self.reach(left, op, b)
        if a is not UNKNOWN:
            yield from self.reach(right, MIRROR[op], a)

    def inside(self, item: nodes.Node, container: nodes.Node, want: bool) -> Iterator[Change]:
        if isinstance(container, (nodes.List, nodes.Tuple)):
            if want:
                for one in container.items:
                    if self.value(one) is not UNKNOWN:
                        yield from self.reach(item, "eq", self.value(one))
            else:
                yield from self.reach(item, "notin", [self.value(one) for one in container.items])
            return
        wanted, of = self.value(item), field_of(container)
        if wanted is UNKNOWN or of is None:
            return
        root, names = of
        if root in ("user", "group") and len(names) == 1:
            yield from self.listed(names[0], wanted, want, self.value(container))
        elif root == "event" and len(names) == 1 and not isinstance(has := self.value(container), str):
            kept = [one for one in (has if isinstance(has, (list, tuple)) else ()) if one != wanted]
            yield Change(DATA, self.text, names[0], [*kept, wanted] if want else kept, None if has is UNKNOWN else has)

    def listed(self, name: str, item: Any, want: bool, has: Any) -> Iterator[Change]:
        if name == "tags":
            yield Change(TAG if want else UNTAG, self.text, str(item), has=has)
        elif name == "groups":
            yield Change(JOIN if want else LEAVE, self.text, str(item), has=has)
        elif name == "badges":
            if want:
                yield Change(BADGE, self.text, str(item), has=has)
        elif has is None or isinstance(has, (list, tuple)):
            kept = [one for one in has or () if one != item]
            yield Change(TRAIT, self.text, name, [*kept, item] if want else kept, has)

    def tested(self, node: nodes.Test, want: bool) -> Iterator[Change]:
        given = [self.value(one) for one in node.args]
        if node.name == "none":
            yield from self.missing(node.node, want)
        elif node.name in ("at_least", "above", "below") and given and given[0] is not UNKNOWN:
            op = {"at_least": "gteq", "above": "gt", "below": "lt"}[node.name]
            yield from self.reach(node.node, op if want else _FLIP[op], given[0])
        elif node.name in ("older_than", "newer_than") and given and isinstance(given[0], (str, timedelta)):
            yield from self.aged(node.node, given[0], (node.name == "older_than") is want)
        elif node.name == "matching" and want and given and isinstance(given[0], str) and "[" not in given[0]:
            yield from self.reach(node.node, "eq", given[0].replace("*", "").replace("?", "x"))

    def missing(self, node: nodes.Node, want: bool) -> Iterator[Change]:
        type_, _ = recorded(node)
        if type_ is not None:
            if not want:
                yield Change(EVENTS, self.text, type_, has=None)
        elif want:
            yield from self.reach(node, "eq", None)
        else:
            yield from self.reach(node, "ne", None)

    def aged(self, node: nodes.Node, length: str | timedelta, old: bool) -> Iterator[Change]:
        """An age: a field that holds a time can hold another one; a newer event makes what is old new."""
        micros = parse_duration(length) if isinstance(length, str) else length // timedelta(microseconds=1)
        type_, name = recorded(node)
        if type_ is not None and name == "time" and not old:
            yield Change(EVENTS, self.text, type_, has=self.value(node))
        of = field_of(node)
        if of is not None and of[0] in ("user", "group", "event") and len(of[1]) == 1:
            kind = DATA if of[0] == "event" else TRAIT
            yield Change(kind, self.text, of[1][0], _Age(micros, old), self.value(node))

    def called(self, node: nodes.Call, want: bool) -> Iterator[Change]:
        name = called(node)
        first = self.value(node.args[0]) if node.args else None
        if name == "in_group":
            yield Change(JOIN if want else LEAVE, self.text, str(first), has=not want)
        elif name == "has_badge" and want:
            yield Change(BADGE, self.text, str(first), has=False)
        elif name in ("count", "sum", "distinct"):
            yield from self.reach(node, "gt" if want else "eq", 0)

    # ------------------------------------------------------------------ values

    def value(self, node: nodes.Node) -> Any:
        """What a part was, as far as the decision saw it."""
        if isinstance(node, nodes.Const):
            return node.value
        found = self.seen.get(unparse(node), UNKNOWN)
        if found is not UNKNOWN:
            return UNKNOWN if isinstance(found, str) and found.startswith("error: ") else found
        if isinstance(node, nodes.Call) and called(node) == "duration":
            text = getattr(node.args[0], "value", None) if node.args else None
            return timedelta(microseconds=parse_duration(text)) if isinstance(text, str) else UNKNOWN
        if isinstance(node, nodes.Neg):
            inner = self.value(node.node)
            return -inner if is_number(inner) else UNKNOWN
        if isinstance(node, (nodes.List, nodes.Tuple)):
            parts = [self.value(one) for one in node.items]
            return UNKNOWN if any(one is UNKNOWN for one in parts) else parts
        if isinstance(node, nodes.Filter) and node.node is not None and node.name == "default":
            inner = self.value(node.node)
            return self.value(node.args[0]) if inner is None else inner
        if isinstance(node, (nodes.Add, nodes.Sub, nodes.Mul)):
            return computed(node, self.value(node.left), self.value(node.right))
        return UNKNOWN

    def reach(self, node: nodes.Node, op: str, target: Any) -> Iterator[Change]:
        """What makes ``node op target`` true."""
        if isinstance(node, nodes.Filter) and node.node is not None and node.name in _PLAIN:
            yield from self.reach(node.node, op, target)
        elif isinstance(node, (nodes.Add, nodes.Sub, nodes.Mul)):
            yield from self.solved(node, op, target)
        elif isinstance(node, nodes.Call):
            yield from self.of_history(node, op, target)
        elif (of := field_of(node)) is not None:
            yield from self.of_field(node, *of, op, target)
        elif recorded(node)[1] is not None:
            yield from self.of_last(node, op, target)

    def solved(self, node: nodes.BinExpr, op: str, target: Any) -> Iterator[Change]:
        a, b = self.value(node.left), self.value(node.right)
        try:
            other = self.value(node.right), self.value(node.left)
            if isinstance(node, nodes.Add):
                needs: list[Callable[[], Any]] = [lambda: target - b, lambda: target - a]
            elif isinstance(node, nodes.Sub):
                needs = [lambda: target + b, lambda: a - target]
            else:
                needs = [lambda: divided(target, b), lambda: divided(target, a)]
            ops = (op, MIRROR[op] if isinstance(node, nodes.Sub) else op)
            for part, its, known, needed in zip((node.left, node.right), ops, other, needs, strict=True):
                if known is not UNKNOWN and known is not None and not is_fixed(part):
                    yield from self.reach(part, its, needed())
        except (ArithmeticError, TypeError, KeyError):
            return

    # ------------------------------------------------------------------ history

    def of_history(self, node: nodes.Call, op: str, target: Any) -> Iterator[Change]:
        name, has = called(node), self.value(node)
        if isinstance(node.node, nodes.Getattr):  # user.get('x')
            if node.args and isinstance(node.args[0], nodes.Const):
                yield from self.to_hold(TRAIT, str(node.args[0].value), has, op, target)
            return
        if not node.args or not isinstance(node.args[0], nodes.Const):
            return
        first = str(node.args[0].value)
        if name == "points" and is_number(target) and is_number(has):
            yield from self._points(first, has, op, target)
            return
        where = next((one.value for one in node.kwargs if isinstance(one, nodes.Keyword) and one.key == "where"), None)
        must = _brings(where)
        if must is None:
            return
        if name == "count" and is_number(target) and is_number(has):
            yield from self._counted(first, has, op, target, must, sure=where is None)
        elif name == "distinct" and len(node.args) > 1 and isinstance(node.args[1], nodes.Const):
            for one in self._counted(first, has, op, target, must, sure=False):
                yield replace(one, fresh=str(node.args[1].value))
        elif name in ("sum", "avg", "min", "max") and len(node.args) > 1 and isinstance(node.args[1], nodes.Const):
            yield from self._amounts(name, first, str(node.args[1].value), has, op, target, must)
        elif name == "streak" and is_number(target) and is_number(has):
            yield from self._streak(first, has, op, target)
        elif name == "since" and op in ("lt", "lteq"):
            yield Change(EVENTS, self.text, first, has=has)

    def _counted(
        self, type_: str, has: Any, op: str, target: Any, must: Mapping[str, Any], *, sure: bool
    ) -> Iterator[Change]:
        needs = whole_for(op, target, has)
        if needs is None:
            return
        if needs > has:
            yield Change(EVENTS, self.text, type_, has=has, times=int(needs - has), data=must)
        elif needs < has and needs >= 0 and sure:
            yield Change(FEWER, self.text, type_, has=has, times=int(has - needs))

    def _amounts(
        self, name: str, type_: str, of: str, has: Any, op: str, target: Any, must: Mapping[str, Any]
    ) -> Iterator[Change]:
        there = has if is_number(has) else Decimal(0)
        if not is_number(target):
            return
        if name == "sum":
            unit = unit_of(there, target)
            wanted = edge_of(op, target, unit, there)
            if wanted is not None and wanted > there:
                yield Change(EVENTS, self.text, type_, has=has, data={**must, of: small(wanted - there)})
        elif name == "avg":
            yield from self._average(type_, of, has, op, target, must)
        elif (name == "max" and op in ("gt", "gteq", "eq")) or (name == "min" and op in ("lt", "lteq", "eq")):
            wanted = edge_of(op, target, unit_of(there, target), there)
            if wanted is not None:
                yield Change(EVENTS, self.text, type_, has=has, data={**must, of: small(wanted)})

    def _average(
        self, type_: str, of: str, has: Any, op: str, target: Any, must: Mapping[str, Any]
    ) -> Iterator[Change]:
        """One more event pulls an average along; over how many it is, nobody saw, so several are tried."""
        there = has if is_number(has) else Decimal(target)
        edge = edge_of(op, target, unit_of(there, target), there)
        if edge is None:
            return
        pulls = [edge + (edge - there) * weight for weight in (_PULLS if is_number(has) else (0,))]
        kept = [it for it in dict.fromkeys(pulls) if it >= 0]
        for amount in kept if len(kept) == len(pulls) else [*kept, Decimal(0)]:
            yield Change(EVENTS, self.text, type_, has=has, data={**must, of: small(amount)})

    def _streak(self, type_: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        """The day at hand may still count; days that are over cannot be had any more."""
        needs = whole_for(op, target, has)
        if needs is not None and needs == has + 1:
            yield Change(EVENTS, self.text, type_, has=has)
        elif needs is not None and needs < has:
            yield Change(FEWER, self.text, type_, has=has)

    def of_last(self, node: nodes.Node, op: str, target: Any) -> Iterator[Change]:
        """``last('x').amount``: one more event that brings it; what the first one was cannot be helped."""
        type_, name = recorded(node)
        if type_ is None or name in (None, "time") or called(base_of(node)) != "last":
            return
        for one in self.to_hold(DATA, str(name), self.value(node), op, target):
            yield Change(EVENTS, self.text, type_, has=one.has, data={str(name): one.value})

    # ------------------------------------------------------------------ fields

    def of_field(self, node: nodes.Node, root: str, names: list[str], op: str, target: Any) -> Iterator[Change]:
        has = self.value(node)
        has = None if has is UNKNOWN else has
        if root == "event" and names[0] == "data":
            names = names[1:]
        if not names:
            return
        if root in ("user", "group") and len(names) == 1:
            if names[0] == "points":
                if is_number(target) and is_number(has):
                    yield from self._points("", has, op, target)
            elif names[0] not in _OWN:
                yield from self.to_hold(TRAIT, names[0], has, op, target)
        elif root == "event" and len(names) == 1 and names[0] not in _OWN_EVENT:
            yield from self.to_hold(DATA, names[0], has, op, target)

    def _points(self, account: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        needs = whole_for(op, target, has)
        if needs is not None and needs != has:
            yield Change(POINTS, self.text, account, int(needs - has), has)

    def to_hold(self, kind: str, name: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        for value in values_for(op, target, has):
            yield Change(kind, self.text, name, value, has, other=op in ("ne", "notin"))


_OWN: Final = frozenset({"id", "tier", "tags", "badges", "groups", "created_at", "last_active_at", "points_pending",
                         "members", "roles", "silent_days"})  # fmt: skip
"""Fields of a subject that no event sets."""
_OWN_EVENT: Final = frozenset({"type", "time", "id", "user", "group", "data"})


@dataclass(frozen=True)
class _Age:
    """A time of some age at the moment of the decision: what a field would have to hold."""

    micros: int
    old: bool  #: at least so old; else younger

    def at(self, instant: int, has: Any) -> str:
        """As text, in the form of what is there."""
        edge = instant - self.micros if self.old else instant - self.micros + 1_000_000
        day = isinstance(has, date) and not isinstance(has, datetime)
        return format_instant(edge)[:10] if day else format_instant(edge)


def settled(value: Any, instant: int, has: Any) -> Any:
    """The value of a change at the instant of a decision."""
    return value.at(instant, has) if isinstance(value, _Age) else value


def span(change: Change) -> tuple[Decimal, Decimal, Decimal] | None:
    """(what there is, what it would be, the smallest step towards it) of a change of a number."""
    if change.kind in (TRAIT, DATA) and is_number(change.value) and is_number(change.has):
        there, value = Decimal(change.has), Decimal(change.value)
    elif change.kind == POINTS:
        there, value = Decimal(0), Decimal(change.value)
    elif change.kind == EVENTS and (field_ := _amount_of(change)) is not None and change.data[field_] > 0:
        there, value = Decimal(0), Decimal(change.data[field_])
    else:
        return None
    whole = change.kind == POINTS or (isinstance(change.value, int) and isinstance(change.has, int))
    unit = Decimal(1) if whole else unit_of(there, value)
    return there, value, unit if value > there else -unit


def with_number(change: Change, value: Decimal) -> Change:
    """The same change with another number."""
    field_ = _amount_of(change)
    if change.kind == EVENTS and field_ is not None:
        return replace(change, data={**change.data, field_: small(value)})
    return replace(change, value=small(value))


def _amount_of(change: Change) -> str | None:
    numbers = [name for name, one in change.data.items() if is_number(one)]
    return numbers[-1] if numbers else None


# ---------------------------------------------------------------------- reading nodes


def _brings(where: nodes.Node | None) -> dict[str, Any] | None:
    """What an event must bring for ``where=`` to hold; None: that cannot be told."""
    if where is None:
        return {}
    text = where.value if isinstance(where, nodes.Const) else unparse(where)
    node = parse(str(text)).node
    return None if node is None else brings(node)


def brings(node: nodes.Node) -> dict[str, Any] | None:
    """Fields of an event with which a condition on the event alone holds; None: that cannot be told."""
    if isinstance(node, nodes.And):
        left, right = brings(node.left), brings(node.right)
        return None if left is None or right is None else {**left, **right}
    if isinstance(node, nodes.Or):
        left = brings(node.left)
        return brings(node.right) if left is None else left
    leaf = _Leaf(Branch(op="leaf", text="", value=False, seen={}))
    found = next((it for it in leaf.truth(node, True) if it.kind == DATA), None)
    return None if found is None or isinstance(found.value, _Age) else {found.name: found.value}


