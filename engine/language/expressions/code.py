"""The pieces a compiled expression is made of: a part's Python source with all that is known about its value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import count
from types import CodeType
from typing import Any, Final

from engine.core import values
from engine.errors import ExpressionError
from engine.language.expressions import filters, runtime

WORDS: Final = {
    "number": "a number",
    "text": "text",
    "bool": "true/false",
    "time": "a time",
    "date": "a date",
    "duration": "a duration",
    "list": "a list",
    "map": "a map",
    "event": "an event",
    "tier": "a tier level",
    "none": "none",
}
"""Kind -> how it is called in messages."""


@dataclass(frozen=True, slots=True)
class Line:
    """A value that moves evenly with time: ``factor * clock + plus - minus`` (sources of times and durations)."""

    factor: int
    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()

    def minus_line(self, other: Line) -> Line:
        """The difference of two lines."""
        return Line(self.factor - other.factor, self.plus + other.minus, self.minus + other.plus)

    def plus_line(self, other: Line) -> Line:
        """The sum of two lines."""
        return Line(self.factor + other.factor, self.plus + other.plus, self.minus + other.minus)


@dataclass(slots=True)
class Code:
    """One part of an expression."""

    src: str
    kind: str = "any"
    missing: bool = True  #: may be None at run time
    nullable: bool = False  #: is declared to be absent sometimes, or is none over an empty history
    sure: bool = False  #: we compute it, so its kind is certain (payloads may lie about theirs)
    const: bool = False
    value: Any = None  #: of a constant
    choices: tuple[Any, ...] | None = None  #: the values it may have
    family: str | None = None  #: what its texts name: level, badge, group
    instant: str | None = None  #: source of the same time as whole microseconds, or None
    line: Line | None = None  #: it moves with every instant
    events: tuple[str, ...] | None = None  #: of an event: the types it may have
    items: tuple[Code, ...] | None = None  #: of a written list


UNKNOWN: Final = Code("None")


def literal(value: Any) -> str | None:
    """A constant as Python source, when it is simple enough."""
    if value is None or value.__class__ is bool or value.__class__ is str or value.__class__ is int:
        return repr(value)
    return None


def kind_of(value: Any) -> str:
    """The kind of a constant."""
    kinds = {
        type(None): "none",
        bool: "bool",
        int: "number",
        Decimal: "number",
        str: "text",
        timedelta: "duration",
        datetime: "time",
        date: "date",
        list: "list",
    }
    return kinds.get(value.__class__, "any")


_numbers: Final = count()
"""Constants of all modules have names of their own, so that the sources of several can stand in one function."""

_NAMES: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\bK\d+\b""")
"""Texts and names of constants in a source; what looks like a name inside a text is part of the text."""


@dataclass
class Module:
    """The Python module of one expression: its constants and functions, compiled in one go."""

    names: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    temps: int = 0
    _known: dict[str, str] = field(default_factory=dict)
    _shared: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def temp(self) -> str:
        """A fresh local name."""
        self.temps += 1
        return f"v{self.temps}"

    def name(self, value: Any, key: tuple[Any, ...] | None = None) -> str:
        """The global name of a value; values of one key are one."""
        known = self._shared.get(key) if key is not None else None
        if known is not None:
            return known
        name = f"K{next(_numbers)}"
        self.names[name] = value
        if key is not None:
            self._shared[key] = name
        return name

    def const(self, value: Any) -> Code:
        """A constant."""
        src = literal(value) or self.name(value)
        return Code(src, kind_of(value), value is None, sure=True, const=True, value=value)

    def function(self, body: str) -> str:
        """Define a function of the moment; equal bodies are one function."""
        name = self._known.get(body)
        if name is None:
            name = self._known[body] = f"f{len(self._known)}"
            self.lines.append(
                f"def {name}(m):\n try: return {body}\n"
                " except E: raise\n except Exception as e: raise fault(e) from e\n"
            )
        return name

    def build(self, text: str) -> dict[str, Callable[[Any], Any]]:
        """Compile all functions."""
        own: dict[str, str] = {}

        def short(found: re.Match[str]) -> str:
            word = found[0]
            return own.setdefault(word, f"k{len(own)}") if word in self.names else word

        source = _NAMES.sub(short, "".join(self.lines))  # counted from 0, or no two sources would ever be the same
        file = f"<expression {text[:60]!r}>"
        space: dict[str, Any] = {**HELPERS, **{name: self.names[word] for word, name in own.items()}}
        exec(_compiled(source, file), space)  # noqa: S102 - the source is ours, made from a checked tree
        return {name: space[name] for name in self._known.values()}


@lru_cache(maxsize=4096)
def _compiled(source: str, file: str) -> CodeType:
    """Python's own compiling; the same condition often stands in many playbooks."""
    return compile(source, file, "exec")


HELPERS: Final[dict[str, Any]] = {
    "E": ExpressionError,
    "I": int,
    "D": Decimal,
    **{
        name: getattr(values, name)
        for name in (
            *(
                "lt",
                "le",
                "gt",
                "ge",
                "eq",
                "ne",
                "contains",
                "add",
                "sub",
                "mul",
                "div",
                "floordiv",
                "mod",
                "neg",
                "pos",
            ),
            *("field", "item", "plain", "view"),
        )
    },
    **{
        name: getattr(runtime, name)
        for name in (
            *("fault", "zone_name", "locale_of", "tier_of", "at_least", "group_id", "in_segment", "segment_change"),
            *("points_pending", "expiring", "expiring_change"),
            *("group_name", "card_of", "roles_of", "role_change", "holds_role", "silent_days", "silent_change"),
            *("bucket", "moment_of", "as_time", "as_date", "span", "older", "newer", "since", "today", "day_number"),
            *("hour_of", "hour_at", "weekday", "is_workday", "is_holiday", "midnight", "now_midnight", "now_hour"),
            *("cross", "matching", "metric", "baseline", "score", "score_values", "score_borders", "figure_change"),
        )
    },
    **{
        f"f_{name}": getattr(filters, name)
        for name in (
            "lower",
            "upper",
            "length",
            "first",
            "last",
            "join",
            "concat",
            "absolute",
            "rounded",
            "whole",
            "exact",
        )
    },
}
