"""Turned around: what a condition asks of the past, in one more event, one less, or one at another time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from jinja2 import nodes

from engine.core.instants import parse_duration
from engine.insight.change import DATA, DAYS, EVENTS, FEWER, FIGURE, MOVED, TRAIT, Change, Run
from engine.insight.leaves import (
    base_of,
    called,
    edge_of,
    is_number,
    recorded,
    small,
    unit_of,
    whole_for,
)

_PULLS: Final = (0, 2, 20, 2000)
"""How far beyond an average one more value is tried, in distances to it."""
_SHIFTS: Final = (1, 2, 8, 64)
"""How many times what is missing an event is moved; an interval follows it, so once may not be enough."""


class Past(ABC):
    """What one leaf asks of the past."""

    text: str
    seen: Mapping[str, Any]

    @abstractmethod
    def value(self, node: nodes.Node) -> Any:
        """What a part was, as far as the decision saw it."""

    @abstractmethod
    def must(self, where: nodes.Node | None) -> dict[str, Any] | None:
        """What an event must bring for ``where=`` to hold; None: that cannot be told."""

    @abstractmethod
    def points(self, account: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        """A balance."""

    @abstractmethod
    def to_hold(self, kind: str, name: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        """A field."""

    def of_history(self, node: nodes.Call, op: str, target: Any) -> Iterator[Change]:
        name, has = called(node), self.value(node)
        if isinstance(node.node, nodes.Getattr):  # user.get('x')
            if node.args and isinstance(node.args[0], nodes.Const):
                yield from self.to_hold(TRAIT, str(node.args[0].value), has, op, target)
            return
        if not node.args or not isinstance(node.args[0], nodes.Const):
            return
        first = str(node.args[0].value)
        if name == "metric":
            yield from self._figure(node, first, has, op, target)
            return
        if name == "points" and is_number(target) and is_number(has):
            yield from self.points(first, has, op, target)
            return
        where = next((one.value for one in node.kwargs if isinstance(one, nodes.Keyword) and one.key == "where"), None)
        must = self.must(where)
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
            yield from self._streak(node, first, has, op, target)
        elif name == "since":
            yield from self._since(first, has, op, target)
        elif name == "interval":
            yield from self._interval(first, has, op, target)

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

    def _streak(self, node: nodes.Call, type_: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        """The day at hand may still count; of days that are over, those that were left out."""
        needs = whole_for(op, target, has)
        savers = next((self.value(one.value) for one in node.kwargs if one.key == "savers"), 0)
        if needs is None or needs < 0:
            return
        if needs == has + 1:
            yield Change(EVENTS, self.text, type_, has=has)
        if needs > has:
            for today in (False, True):
                yield Change(DAYS, self.text, type_, Run(needs, savers if is_number(savers) else 0, today), has)
        elif needs < has:
            yield Change(FEWER, self.text, type_, has=has)

    def _since(self, type_: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        """How long ago: one more event now, or the newest one at another time."""
        there, wanted = micros_of(has), micros_of(target)
        if op in ("lt", "lteq", "eq", "ne"):
            yield Change(EVENTS, self.text, type_, has=has)
        if there is not None and wanted is not None and op in ("gt", "gteq"):
            lacks = -(-(wanted - there) // _SECOND) + (op == "gt")
            yield from (Change(MOVED, self.text, type_, lacks * often, has) for often in _SHIFTS)

    def _interval(self, type_: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        """How far apart they usually are: more of them, or the newest at another time."""
        there, wanted = micros_of(has), micros_of(target)
        if there is None or op in ("lt", "lteq"):
            for times in (1, 2, 3, 4):
                yield Change(EVENTS, self.text, type_, has=has, times=times)
        if there is None or wanted is None:
            return
        lacks = max(1, -(-abs(wanted - there) // _SECOND)) + (op in ("gt", "lt"))
        for often in _SHIFTS:
            yield Change(MOVED, self.text, type_, lacks * often, has)
            yield Change(MOVED, self.text, type_, -lacks * often, has)

    def _figure(self, node: nodes.Call, name: str, has: Any, op: str, target: Any) -> Iterator[Change]:
        """A number about everybody: what it would have been."""
        ago = next((self.value(one.value) for one in node.kwargs if one.key == "ago"), 0)
        for one in self.to_hold(FIGURE, name, has, op, target):
            yield replace(one, data={"ago": ago} if is_number(ago) else {})

    def of_last(self, node: nodes.Node, op: str, target: Any) -> Iterator[Change]:
        """``last('x').amount``: one more event that brings it; what the first one was cannot be helped."""
        type_, name = recorded(node)
        if type_ is None or name in (None, "time") or called(base_of(node)) != "last":
            return
        for one in self.to_hold(DATA, str(name), self.value(node), op, target):
            yield Change(EVENTS, self.text, type_, has=one.has, data={str(name): one.value})


_SECOND: Final = 1_000_000


def micros_of(value: Any) -> int | None:
    """A duration in microseconds, as a value or as it is shown; None: it is none."""
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if not isinstance(value, str):
        return None
    try:
        return parse_duration(value)
    except ValueError:
        number = value.removesuffix("s")
        return int(Decimal(number) * _SECOND) if number.replace(".", "", 1).isdecimal() else None
