"""Compiles the catalog's metrics."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.core.history import HistoryBook
from engine.core.metrics import (
    Computed,
    CountUsers,
    Metric,
    Retention,
    Score,
    counted,
    of_value,
    ordered,
    recency,
    summed,
)
from engine.core.model import DAY
from engine.core.subjects import GROUP, PROGRAM_KIND, USER
from engine.language.expressions.metering import PARTS
from engine.language.nodes import MapNode, Node, ScalarNode
from engine.language.workshop import Workshop

_ASKED: Final = re.compile(r"""\b(?:metric|baseline)\s*\(\s*["']([^"']*)["']""")

_KINDS: Final = ("count_users", "retention", "value", "score", "rfm")
_BESIDE: Final = {
    "within": ("count_users",),
    "event": ("retention",),
    "parts": ("score", "rfm"),
    "subject": ("score",),
    "if": ("count_users", "retention", "score", "rfm"),
}
"""Key -> the kinds of metrics it says something about."""


def whose(node: Node) -> str:
    """Whose score a metric is, "" of one that is none."""
    if not isinstance(node, MapNode):
        return ""
    if "rfm" in node:
        return USER
    if "score" not in node:
        return ""
    subject = node.get("subject")
    return GROUP if isinstance(subject, ScalarNode) and subject.text == GROUP else USER


def spoken_of(node: Node) -> str:
    """What the expressions of a metric are about."""
    if isinstance(node, MapNode) and "value" in node:
        return PROGRAM_KIND
    return whose(node) or USER


class MetricMaker:
    """Compiles the entries of ``metrics``.

    Parameters
    ----------
    shop: the compiler's bench.
    """

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.made: dict[str, Metric] = {}
        self._nodes: dict[str, Node] = {}

    def make(self, name: str, fields: dict[str, Any], node: Node) -> None:
        """One entry; its shape was checked."""
        kind = next(it for it in _KINDS if it in fields)
        for key, kinds in _BESIDE.items():
            if key in fields and kind not in kinds:
                where = node.key(key) if isinstance(node, MapNode) else None
                message = f"'{key}' says nothing about '{kind}'"
                self.shop.problems.error(where or node, "conflict", message, hint=f"it goes with {' or '.join(kinds)}")
        makers: dict[str, Callable[..., Metric]] = {
            "count_users": self._count, "retention": self._retention, "value": self._value, "score": self._score,
            "rfm": self._rfm,
        }  # fmt: skip
        base = {
            "name": name,
            "title": fields.get("title"),
            "per": fields.get("per", "month" if whose(node) else "day"),
            "only": fields.get("if"),
            "meaning": _meaning(fields),
        }
        self._nodes[name] = node
        self.made[name] = makers[kind](base, fields, node)

    def finish(self) -> None:
        """Those made of others are made of some that are there first."""
        computed = [it for it in self.made.values() if isinstance(it, Computed)]
        circle = {it.name for it in computed} - {it.name for it in ordered(computed)}
        for name in sorted(circle):
            message = f"metric '{name}' is made of others that are made of it"
            self.shop.problems.error(_at(self._nodes[name], "value"), "metric-cycle", message)

    # ------------------------------------------------------------------ kinds

    @property
    def _book(self) -> HistoryBook:
        return self.shop.book

    def _count(self, base: dict[str, Any], fields: dict[str, Any], node: Node) -> Metric:
        types = fields["count_users"]
        named = [it for it in types if it != "any"]
        if named and len(named) < len(types):
            message = "'any' is every type already"
            self.shop.problems.error(_at(node, "count_users"), "conflict", message, hint="name types, or any alone")
        within = fields.get("within")
        latest = tuple(self._book.latest(it) for it in named)
        return CountUsers(**base, latest=latest, within=None if within is None else within.elapsed)

    def _retention(self, base: dict[str, Any], fields: dict[str, Any], node: Node) -> Metric:
        days, rest = divmod(fields["retention"].elapsed, DAY)
        if rest or not days:
            message = f"'retention' is in whole days, got {fields['retention'].text}"
            self.shop.problems.error(_at(node, "retention"), "bad-duration", message, hint="such as 1d, 7d or 30d")
        event = fields.get("event")
        first = None if event is None else self._book.first(event)
        latest = None if event is None else self._book.latest(event)
        return Retention(**base, days=days, first=first, latest=latest)

    def _value(self, base: dict[str, Any], fields: dict[str, Any], node: Node) -> Metric:
        self._number(node, "value")
        asks = tuple(sorted(set(_ASKED.findall(fields["value"].text))))
        return Computed(**base, value=fields["value"], asks=asks)

    def _score(self, base: dict[str, Any], fields: dict[str, Any], node: Node) -> Metric:
        self._number(node, "score")
        values = (of_value(fields["score"]),)
        return Score(**base, subject=whose(node), values_of=values, parts=fields.get("parts", 5))

    def _rfm(self, base: dict[str, Any], fields: dict[str, Any], node: Node) -> Metric:
        spec = fields["rfm"]
        type_, within = spec["event"], spec["within"].elapsed if "within" in spec else None
        declared = self.shop.schema.events.get(type_)
        if declared is not None and spec["amount"] not in declared:
            where = _at(_at(node, "rfm"), "amount")
            message = f"event '{type_}' has no field '{spec['amount']}'"
            self.shop.problems.error(where, "unknown-field", message, hint="fields: " + ", ".join(sorted(declared)))
        values = (
            recency(self._book.latest(type_)),
            counted(self._book.count(type_, within)),
            summed(self._book.numbers("sum", type_, spec["amount"], within)),
        )
        return Score(**base, values_of=values, parts=fields.get("parts", 5), names=PARTS)

    def _number(self, node: Node, key: str) -> None:
        written = node.get(key) if isinstance(node, MapNode) else None
        if isinstance(written, ScalarNode) and not self.shop.is_number(written, "user"):
            message = f"'{key}' of a metric is a number, and this is none"
            self.shop.problems.error(written, "type-mismatch", message, hint='such as count("order.paid", within="1d")')


def _at(node: Node, key: str) -> Node:
    found = node.get(key) if isinstance(node, MapNode) else None
    return found or node


def _meaning(fields: Mapping[str, Any]) -> str:
    """What a metric means, as text: titles are none of it."""
    return "; ".join(f"{key}: {_text(value)}" for key, value in sorted(fields.items()) if key != "title")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + _meaning(value) + "}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(getattr(value, "text", value))
