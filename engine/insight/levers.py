"""What would have to be otherwise for one leaf of a condition to have another verdict.

The normal form of a leaf is read once more and turned around: ``count('order.paid') >= 2`` with 1 asks for one more
event. Whether that is enough is not decided here: ``nearest.py`` lets the engine decide everything once more with it.
Rule: what is not understood gives nothing; nobody guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from jinja2 import nodes

from engine.core.instants import parse_duration
from engine.core.model import DAY
from engine.insight.change import (
    BADGE,
    DATA,
    EVENTS,
    FEWER,
    JOIN,
    LEAVE,
    LISTED,
    MEMBERS,
    POINTS,
    TAG,
    TRAIT,
    UNLISTED,
    UNTAG,
    Age,
    Change,
)
from engine.insight.judged import Branch
from engine.insight.leaves import (
    MIRROR,
    UNKNOWN,
    called,
    computed,
    divided,
    field_of,
    is_fixed,
    is_number,
    others_like,
    recorded,
    values_for,
    whole_for,
)
from engine.insight.past_levers import Past
from engine.language.expressions.parse import parse
from engine.language.expressions.unparse import unparse

_FLIP: Final = {"gteq": "lt", "lt": "gteq", "gt": "lteq", "lteq": "gt", "eq": "ne", "ne": "eq", "in": "notin",
                "notin": "in"}  # fmt: skip
_PLAIN: Final = ("default", "round", "int", "float", "lower", "upper")


def levers(leaf: Branch, want: bool) -> list[Change]:
    """Changes each of which may be enough for a leaf to be ``want``."""
    node = parse(leaf.text).node
    return [] if node is None else list(_Leaf(leaf).truth(node, want))


class _Leaf(Past):
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
        if of is not None and of[1] == ["last_active_at"] and of[0] in ("user", "group"):
            yield Change(FEWER if old else EVENTS, self.text, "", Age(micros, old) if old else None, self.value(node))
        elif of is not None and of[0] in ("user", "group", "event") and len(of[1]) == 1:
            kind = DATA if of[0] == "event" else TRAIT
            yield Change(kind, self.text, of[1][0], Age(micros, old), self.value(node))

    def called(self, node: nodes.Call, want: bool) -> Iterator[Change]:
        name = called(node)
        first = self.value(node.args[0]) if node.args else None
        if name == "in_segment":
            yield Change(LISTED if want else UNLISTED, self.text, str(first), has=not want)
        elif name == "in_group":
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
        elif isinstance(node, nodes.Filter) and node.node is not None and node.name == "length":
            yield from self.of_length(node.node, op, target)
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

    # ------------------------------------------------------------------ fields

    def of_members(self, has: Any, op: str, target: Any) -> Iterator[Change]:
        """More of them, or fewer."""
        needs = whole_for(op, target, has)
        if needs is not None and needs >= 0 and needs != has:
            yield Change(MEMBERS, self.text, "", int(needs - has), has)

    def of_silence(self, has: Any, op: str, target: Any) -> Iterator[Change]:
        """A sign of life, or what there was of them not."""
        needs = whole_for(op, target, has)
        if needs is None or needs < has:
            yield Change(EVENTS, self.text, "", has=has)
        else:
            yield Change(FEWER, self.text, "", Age(needs * DAY, old=True), has)

    def of_length(self, node: nodes.Node, op: str, target: Any) -> Iterator[Change]:
        """A list of another length: so many more entries, or so many less."""
        has, of = self.value(node), field_of(node)
        there = len(has) if isinstance(has, (list, tuple, str)) else 0
        needs = whole_for(op, target, there)
        if of is None or needs is None or needs < 0 or needs == there:
            return
        root, names = of[0], [name for name in of[1] if (of[0], name) != ("event", "data")]
        if has is UNKNOWN or has is None:
            has = []
        more = needs - there
        if len(names) == 1 and root in ("user", "group") and names[0] in ("tags", "groups"):
            up, down = (TAG, UNTAG) if names[0] == "tags" else (JOIN, LEAVE)
            yield Change(up if more > 0 else down, self.text, "", list(has)[needs:] or None, there, abs(more))
        elif root == "event" or names[0] not in _OWN:
            kept = list(has)[:needs]
            filled: Any = [*kept, *others_like(kept, max(more, 0))]
            if isinstance(has, str):
                filled = has[:needs].ljust(needs, "x")
            kind = DATA if root == "event" else TRAIT
            if kind == DATA or len(names) == 1:
                yield Change(kind, self.text, ".".join(names), filled, has, other=False)

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
                    yield from self.points("", has, op, target)
            elif names[0] == "members":
                yield from self.of_members(has, op, target)
            elif names[0] == "silent_days":
                yield from self.of_silence(has, op, target)
            elif names[0] == "last_active_at":
                yield Change(EVENTS, self.text, "", has=has)
            elif names[0] not in _OWN:
                yield from self.to_hold(TRAIT, names[0], has, op, target)
        elif root == "event" and names[0] not in _OWN_EVENT:
            yield from self.to_hold(DATA, ".".join(names), has, op, target)

    def points(self, account: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        needs = whole_for(op, target, has)
        if needs is not None and needs != has:
            yield Change(POINTS, self.text, account, int(needs - has), has)

    def must(self, where: nodes.Node | None) -> dict[str, Any] | None:
        if where is None:
            return {}
        text = where.value if isinstance(where, nodes.Const) else unparse(where)
        node = parse(str(text)).node
        return None if node is None else brings(node)

    def to_hold(self, kind: str, name: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        for value in values_for(op, target, has):
            yield Change(kind, self.text, name, value, has, other=op in ("ne", "notin"))


_OWN: Final = frozenset({"id", "tier", "tags", "badges", "groups", "created_at", "last_active_at", "points_pending",
                         "members", "roles", "silent_days"})  # fmt: skip
"""Fields of a subject that no event sets."""
_OWN_EVENT: Final = frozenset({"type", "time", "id", "user", "group", "data"})


# ---------------------------------------------------------------------- reading nodes


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
    return None if found is None or isinstance(found.value, Age) else {found.name: found.value}


