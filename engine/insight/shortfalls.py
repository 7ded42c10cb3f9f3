"""How near a condition came to holding, over many verdicts: a few figures of each of its parts.

Rule: only what the verdicts had seen is told. A part that compares one value with a constant says how often it held
and which value came nearest; of any other the values are named, or that there never was one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from operator import ge, gt, le, lt
from typing import Any

from engine.core.moment import Condition

_MOST_VALUES = 3
_OPS: dict[str, Callable[[Any, Any], bool]] = {">=": ge, ">": gt, "<=": le, "<": lt}
_MIRROR = {">=": "<=", "<=": ">=", ">": "<", "<": ">", "==": "==", "!=": "!="}
_LONGEST = 60


@dataclass
class Part:
    """One part of an "and"."""

    text: str
    leaves: tuple[str, ...]  #: texts of what it looks at
    leaf: str = ""  #: of a comparison with a constant: what is compared
    op: str = ""
    right: Any = None
    met: int = 0  #: verdicts at which it held, as far as that can be told
    absent: int = 0  #: verdicts at which there was no value
    low: Any = None  #: smallest value of a comparison
    high: Any = None
    values: list[str] = field(default_factory=list)  #: some of the values, as texts
    more: bool = False  #: there were others

    def take(self, seen: dict[str, Any]) -> None:
        """One verdict more."""
        values = [seen.get(self.leaf)] if self.op else [seen.get(leaf) for leaf in self.leaves]
        if self.op and self._held(values[0]):
            self.met += 1
        elif all(value is None or value in ("", [], ()) for value in values):
            self.absent += 1
        elif self.op and self._ordered(values[0]):
            self.low = values[0] if self.low is None or values[0] < self.low else self.low
            self.high = values[0] if self.high is None or values[0] > self.high else self.high
        else:
            self._note(", ".join(map(_shown, values)))

    def _held(self, value: Any) -> bool:
        if self.op in ("==", "!="):
            return bool((value == self.right) is (self.op == "=="))
        return self._ordered(value) and _OPS[self.op](value, self.right)

    def _ordered(self, value: Any) -> bool:
        return isinstance(value, int | Decimal) and isinstance(self.right, Decimal) and self.op not in ("==", "!=")

    def _note(self, text: str) -> None:
        if text not in self.values and not self.more:
            if len(self.values) >= _MOST_VALUES:
                self.more = True
            else:
                self.values.append(text)

    def never(self, times: int) -> bool:
        """Is it known that it never held?"""
        return self.absent == times or (bool(self.op) and not self.met)

    def rank(self, times: int) -> tuple[int, int]:
        """How much it says of why somebody was kept out, least first."""
        if self.absent == times:
            return 0, 0
        return (1, self.met) if self.op else (2, 0)

    def blocks(self, times: int) -> bool:
        """May it have kept somebody out?"""
        return self.met < times

    def words(self, times: int) -> str:
        """What was missing."""
        if self.absent == times:
            return f"{_cut(self.leaf or ' and '.join(self.leaves) or self.text)} never had a value"
        if self.op and self.met:
            return f"{_cut(self.text)} held {self.met:,} of {times:,} times"
        if self.low is not None:
            reach = f"{_shown(self.low)}" if self.low == self.high else f"{_shown(self.low)} to {_shown(self.high)}"
            return f"{_cut(self.text)}, was {reach}"
        if not self.values:
            return _cut(self.text)
        others = " ..." if self.more else ""
        return f"{_cut(self.text)}, was {' / '.join(_cut(it, 24) for it in self.values)}{others}"


def parts_of(condition: Condition) -> tuple[Part, ...]:
    """The parts all of which must hold."""
    if condition.op == "and" and condition.parts:
        return tuple(found for part in condition.parts for found in parts_of(part))
    leaves = tuple(text for text, _ in condition.leaves)
    for leaf in leaves:
        for op in _MIRROR:
            left, right = f"{leaf} {op} ", f" {op} {leaf}"
            if condition.text.startswith(left):
                constant, found = _constant(condition.text[len(left) :]), op
            elif condition.text.endswith(right):
                constant, found = _constant(condition.text[: -len(right)]), _MIRROR[op]
            else:
                continue
            if constant is not _NONE:
                return (Part(condition.text, leaves, leaf, found, constant),)
    return (Part(condition.text, leaves),)


_NONE = object()


def _constant(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text in words:
        return words[text]
    if len(text) > 1 and text[0] == text[-1] == "'" and "'" not in text[1:-1]:
        return text[1:-1]
    try:
        return Decimal(text)
    except InvalidOperation:
        return _NONE


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value == value.to_integral_value() else f"{value:.4f}".rstrip("0")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, value[:4])) + (", ..." if len(value) > 4 else "") + "]"
    return _cut(str(value), 32)


def _cut(text: str, most: int = _LONGEST) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
