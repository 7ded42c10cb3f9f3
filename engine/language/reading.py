"""Walks a YAML node along a shape: checked values out, every problem reported at its very word.

Rule 1: reading never stops at the first problem; ``FAULT`` stands for a value that could not be read, and nothing more
is said about it.
Rule 2: an unknown key that is like a missing one silences "missing key" for that one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from engine.core import localtime
from engine.core import shapes as sh
from engine.core.instants import parse_duration
from engine.core.moment import Condition, Value
from engine.core.plan import Span
from engine.core.waits import Until
from engine.language.diagnostics import Located, Problems
from engine.language.expressions import combine
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.slips import cut_expression, mend_flow_list, mend_flow_map, slip_for_scalar
from engine.registry import nearest


class _Fault:
    """What stands for a value that could not be read."""

    def __repr__(self) -> str:
        return "FAULT"


FAULT: Final = _Fault()

_WALL = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_KIND_WORDS = {ScalarNode: "a single value", SeqNode: "a list", MapNode: "a mapping"}


class Services:
    """What reading needs from the compiler: names, and the compilation of what is inside."""

    problems: Problems

    def known(self, kind: str) -> Iterable[str]:
        """The names of a kind that the program defines."""
        raise NotImplementedError

    def used(self, kind: str, name: str) -> None:
        """A defined name was used."""

    def condition(self, node: ScalarNode, shape: sh.Cond) -> Condition | _Fault:
        """Compile a condition."""
        raise NotImplementedError

    def expression(self, node: ScalarNode, shape: sh.Expr) -> Value | _Fault:
        """Compile a bare expression."""
        raise NotImplementedError

    def value(self, node: Node) -> Value | _Fault:
        """Compile a literal or text with expressions."""
        raise NotImplementedError

    def steps(self, node: SeqNode) -> Any:
        """Read a list of steps."""
        raise NotImplementedError

    def arriving(self, types: tuple[str, ...] | None) -> None:
        """Set the types of the event that arrives in this mapping (None: left it)."""

    def event_type(self, node: ScalarNode) -> None:
        """An event type was named."""


class Reading:
    """Reads nodes along shapes."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.problems = services.problems
        self._readers: dict[type[sh.Shape], Callable[[Node, Any, str], Any]] = {
            sh.Text: self._text,
            sh.Flag: self._flag,
            sh.Int: self._int,
            sh.Number: self._number,
            sh.Duration: self._duration,
            sh.WallTime: self._wall,
            sh.DateText: self._date,
            sh.Cond: self._cond,
            sh.Expr: self._expr,
            sh.Val: self._val,
            sh.Plain: self._plain,
            sh.Ref: self._ref,
            sh.EventName: self._event,
            sh.Many: self._many,
            sh.Table: self._table,
            sh.Steps: self._steps,
            sh.Map: self._map,
            sh.Either: self._either,
        }

    def read(self, node: Node, shape: sh.Shape, what: str) -> Any:
        """The value of ``node`` as ``shape`` wants it, or FAULT after a problem was reported.

        Parameters
        ----------
        what: how messages call the place, for example ``message.via``.
        """
        if node.broken and not isinstance(node, (MapNode, SeqNode)):
            return FAULT
        return self._readers[type(shape)](node, shape, what)

    def error(self, where: Located, code: str, message: str, hint: str = "") -> _Fault:
        """Report an error; returns FAULT so that readers can ``return self.error(...)``."""
        self.problems.error(where, code, message, hint=hint)
        return FAULT

    # ------------------------------------------------------------------ scalars

    def scalar(self, node: Node, what: str, need: str) -> ScalarNode | _Fault:
        """The node as a scalar with a value."""
        if not isinstance(node, ScalarNode):
            return self.error(node, "wrong-type", f"'{what}' needs {need}, got {_KIND_WORDS[type(node)]}")
        if node.value is None and not node.style:
            return self.error(node, "wrong-type", f"'{what}' needs {need}, got nothing")
        return node

    def _text(self, node: Node, shape: sh.Text, what: str) -> Any:
        found = self.scalar(node, what, f"{shape.what} ({', '.join(shape.choices)})" if shape.choices else shape.what)
        if isinstance(found, _Fault):
            return found
        text = found.text
        if shape.choices and text not in shape.choices:
            near = nearest(text, shape.choices)
            hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(shape.choices)
            return self.error(found, "wrong-value", f"'{what}' cannot be '{text}'", hint)
        if shape.pattern and re.fullmatch(shape.pattern, text) is None:
            return self.error(found, "wrong-value", f"'{what}' needs {shape.what}, got '{text}'")
        return text

    def _flag(self, node: Node, shape: sh.Flag, what: str) -> Any:
        if isinstance(node, ScalarNode) and isinstance(node.value, bool) and not node.style:
            if shape.only is not None and node.value is not shape.only:
                return self.error(node, "wrong-value", f"'{what}' can only be {str(shape.only).lower()}; else leave it out")
            return node.value
        return self.error(node, "wrong-type", f"'{what}' needs true or false", "write true or false without quotes")

    def _int(self, node: Node, shape: sh.Int, what: str) -> Any:
        return self._numeric(node, shape, what, int, "a whole number")

    def _number(self, node: Node, shape: sh.Number, what: str) -> Any:
        return self._numeric(node, shape, what, (int, Decimal), "a number")

    def _numeric(self, node: Node, shape: sh.Int | sh.Number, what: str, kinds: Any, need: str) -> Any:
        words = "".join(f" or '{word}'" for word in shape.or_words)
        found = self.scalar(node, what, need + words)
        if isinstance(found, _Fault):
            return found
        if found.text in shape.or_words:
            return found.text
        value = found.value
        if not isinstance(value, kinds) or isinstance(value, bool):
            return self.error(found, "wrong-type", f"'{what}' needs {need}{words}, got '{found.text}'")
        if (shape.low is not None and value < shape.low) or (shape.high is not None and value > shape.high):
            bounds = f"at least {shape.low}" if shape.high is None else f"from {shape.low} to {shape.high}"
            return self.error(found, "out-of-range", f"'{what}' needs {need} {bounds}{words}, got {found.text}")
        return value

    def _wall(self, node: Node, shape: sh.WallTime, what: str) -> Any:
        found = self.scalar(node, what, "a wall time such as \"10:00\"")
        if isinstance(found, _Fault):
            return found
        if _WALL.fullmatch(found.text) is None:
            return self.error(found, "bad-time", f"'{what}' needs a wall time HH:MM, got '{found.text}'", "for example \"09:30\"")
        return found.text

    def _date(self, node: Node, shape: sh.DateText, what: str) -> Any:
        found = self.scalar(node, what, "a date such as 2026-12-31")
        if isinstance(found, _Fault):
            return found
        try:
            return date.fromisoformat(found.text) if len(found.text) == 10 else self._bad_date(found, what)
        except ValueError:
            return self._bad_date(found, what)

    def _bad_date(self, node: ScalarNode, what: str) -> _Fault:
        return self.error(node, "bad-date", f"'{what}' needs a date YYYY-MM-DD, got '{node.text}'")

    def _event(self, node: Node, shape: sh.EventName, what: str) -> Any:
        found = self.scalar(node, what, "an event type")
        if isinstance(found, _Fault):
            return found
        self.services.event_type(found)
        return found.text

    def _ref(self, node: Node, shape: sh.Ref, what: str) -> Any:
        found = self.scalar(node, what, f"the name of a {shape.kind}")
        if isinstance(found, _Fault):
            return found
        known = list(self.services.known(shape.kind))
        if found.text not in known:
            near = nearest(found.text, known)
            hint = f"did you mean '{near}'?" if near else (
                "defined: " + ", ".join(sorted(known)[:8]) if known else f"the program defines no {shape.kind}"
            )
            return self.error(found, f"unknown-{shape.kind}", f"unknown {shape.kind} '{found.text}' in '{what}'", hint)
        self.services.used(shape.kind, found.text)
        return found.text

    # ------------------------------------------------------------------ time

    def span(self, node: Node, what: str) -> Span | _Fault:
        """``3d``."""
        found = self.scalar(node, what, "a duration such as 3d")
        if isinstance(found, _Fault):
            return found
        try:
            return Span(text=found.text, elapsed=parse_duration(found.text))
        except ValueError as error:
            return self.error(found, "bad-duration", f"'{what}' needs a duration, got '{found.text}'", str(error))

    def _duration(self, node: Node, shape: sh.Duration, what: str) -> Any:
        if not isinstance(node, MapNode):
            return self.span(node, what)
        if shape.until and "until" in node:
            return self._until(node, what)
        if not shape.calendar:
            return self.error(node, "wrong-type", f"'{what}' needs elapsed time such as 3d, got a mapping")
        fields = self.read(node, _CALENDAR, what)
        if fields is FAULT:
            return FAULT
        at = fields.get("at")
        text = f"{{days: {fields['days']}}}" if at is None else f"{{days: {fields['days']}, at: {at}}}"
        return Span(text=text, days=fields["days"], at=at)

    def _until(self, node: MapNode, what: str) -> Any:
        inner = node.get("until")
        if node.get("calendar") is not None:
            key = node.key("calendar")
            return self.error(key or node, "not-yet", f"'{what}.calendar' comes with a later version")
        extra = [key for key, _ in node if key.text != "until"]
        if extra or inner is None:
            return self.error(extra[0] if extra else node, "unknown-key", f"'until' stands alone in '{what}'")
        found = self.scalar(inner, f"{what}.until", "a wall time or an expression")
        if isinstance(found, _Fault):
            return found
        if _WALL.fullmatch(found.text):
            return Until(found.text, None)
        value = self.services.expression(found, sh.Expr("step"))
        return value if isinstance(value, _Fault) else Until(None, value)

    # ------------------------------------------------------------------ expressions

    def _cond(self, node: Node, shape: sh.Cond, what: str) -> Any:
        if isinstance(node, ScalarNode):
            found = self.scalar(node, what, "a condition")
            return found if isinstance(found, _Fault) else self.services.condition(found, shape)
        if isinstance(node, SeqNode):
            return self._combine(node, "and", shape, what)
        if isinstance(node, MapNode):
            mended, slips = mend_flow_map(node) if node.flow else (node, [])
            self.problems.extend(slips)
            if slips:
                return FAULT
            return self._cond_map(mended, shape, what)
        return FAULT

    def _cond_map(self, node: MapNode, shape: sh.Cond, what: str) -> Any:
        ops = {"all": "and", "any": "or", "none": "not"}
        if len(node) != 1 or node.keys()[0] not in ops:
            wrong = next((key for key, _ in node if key.text not in ops), None)
            near = nearest(wrong.text, ops) if wrong is not None else None
            hint = f"did you mean '{near}'?" if near else "a condition is an expression, a list, or {all|any|none: [...]}"
            return self.error(wrong or node, "unknown-key", f"'{what}' needs one of all, any, none", hint)
        word, inner = node.keys()[0], node.entries[0][1]
        if not isinstance(inner, SeqNode):
            return self.error(inner, "wrong-type", f"'{what}.{word}' needs a list of conditions")
        return self._combine(inner, ops[word], shape, what)

    def _combine(self, node: SeqNode, op: str, shape: sh.Cond, what: str) -> Any:
        if not node.items:
            return self.error(node, "empty", f"'{what}' is an empty list")
        if node.flow:
            node, slips = mend_flow_list(node)
            self.problems.extend(slips)
            if slips:
                return FAULT
        parts = [self.read(item, shape, what) for item in node.items]
        if any(part is FAULT for part in parts):
            return FAULT
        joined = combine(op, parts)
        return replace(joined, listed=True) if op == "and" and len(parts) > 1 else joined

    def _expr(self, node: Node, shape: sh.Expr, what: str) -> Any:
        found = self.scalar(node, what, "an expression")
        return found if isinstance(found, _Fault) else self.services.expression(found, shape)

    def _val(self, node: Node, shape: sh.Val, what: str) -> Any:
        return self.services.value(node)

    def _plain(self, node: Node, shape: sh.Plain, what: str) -> Any:
        return node.plain()

    # ------------------------------------------------------------------ structures

    def _many(self, node: Node, shape: sh.Many, what: str) -> Any:
        if not isinstance(node, SeqNode):
            if shape.only_list:
                return self.error(node, "wrong-type", f"'{what}' needs a list", "put '- ' before each entry, or [ ... ]")
            one = self.read(node, shape.of, what)
            return FAULT if one is FAULT else [one]
        if len(node) < shape.at_least:
            return self.error(node, "empty", f"'{what}' is an empty list")
        found = [self.read(item, shape.of, f"{what}[{place}]") for place, item in enumerate(node.items)]
        return FAULT if node.broken or any(item is FAULT for item in found) else found

    def _table(self, node: Node, shape: sh.Table, what: str) -> Any:
        mapping = self.mapping(node, what)
        if isinstance(mapping, _Fault):
            return mapping
        out: dict[str, Any] = {}
        good = not mapping.broken
        for key, value in mapping:
            if shape.pattern and re.fullmatch(shape.pattern, key.text) is None:
                self.error(key, "bad-name", f"'{key.text}' is no {shape.what}", f"a {shape.what} looks like {_like(shape)}")
                good = False
            found = self.read(value, shape.of, f"{what}.{key.text}")
            good = good and found is not FAULT
            out[key.text] = found
        return out if good else FAULT

    def _steps(self, node: Node, shape: sh.Steps, what: str) -> Any:
        if not isinstance(node, SeqNode):
            return self.error(node, "wrong-type", f"'{what}' needs a list of steps", "put '- ' before each step")
        if not node.items and not shape.empty:
            return self.error(node, "empty", f"'{what}' has no steps")
        return self.services.steps(node)

    def _either(self, node: Node, shape: sh.Either, what: str) -> Any:
        by_kind = {ScalarNode: shape.scalar, SeqNode: shape.seq, MapNode: shape.map}
        chosen = by_kind[type(node)]
        if chosen is None:
            wanted = " or ".join(_KIND_WORDS[kind] for kind, it in by_kind.items() if it is not None)
            return self.error(node, "wrong-type", f"'{what}' needs {wanted}, got {_KIND_WORDS[type(node)]}")
        return self.read(node, chosen, what)

    def mapping(self, node: Node, what: str) -> MapNode | _Fault:
        """The node as a mapping; slips that explain why it is none are told in their own words."""
        if isinstance(node, MapNode):
            if not node.flow:
                return node
            mended, slips = mend_flow_map(node)
            self.problems.extend(slips)
            if slips:
                mended.broken = True
            return mended
        slip = slip_for_scalar(node)
        if slip is not None:
            self.problems.extend([slip])
            return FAULT
        return self.error(node, "wrong-type", f"'{what}' needs a mapping, got {_KIND_WORDS[type(node)]}")

    def _map(self, node: Node, shape: sh.Map, what: str) -> Any:
        short = shape.short
        if short is not None and (not isinstance(node, MapNode) or _takes_maps(shape.fields[short].shape)):
            found = self.read(node, shape.fields[short].shape, what)
            return FAULT if found is FAULT else {short: found}
        if shape.flag and isinstance(node, ScalarNode) and node.value is True:
            return {}
        mapping = self.mapping(node, what)
        if isinstance(mapping, _Fault):
            return mapping
        return self.fields(mapping, shape, what)

    def fields(self, node: MapNode, shape: sh.Map, what: str, ignore: frozenset[str] = frozenset()) -> Any:
        """The keys of a mapping along its shape; ``ignore``: keys read elsewhere."""
        good = not node.broken
        missing = [name for name, field in shape.fields.items() if field.required and name not in node]
        for key, _ in node:
            if key.text not in shape.fields and key.text not in ignore:
                good = False
                missing = self._unknown_key(key, shape, node, what, missing)
        if missing and not node.broken:
            for name in missing:
                self.error(node, "missing-key", f"'{what}' needs '{name}'", shape.fields[name].note)
            good = False
        out: dict[str, Any] = {}
        for name in self._reading_order(node, shape):
            value = node.get(name)
            if value is None:
                continue
            found = self.read(value, shape.fields[name].shape, f"{what}.{name}")
            if found is FAULT:
                good = False
            else:
                out[name] = found
                if name == "event" and isinstance(found, (str, list)):
                    self.services.arriving((found,) if isinstance(found, str) else tuple(found))
        self.services.arriving(None)
        for group in shape.one_of:
            good = self._one_of(node, group, what) and good
        return out if good else FAULT

    def _reading_order(self, node: MapNode, shape: sh.Map) -> list[str]:
        """As written, but ``event`` first: the conditions beside it speak of that event."""
        names = [name for name in node.keys() if name in shape.fields]
        return ["event", *(n for n in names if n != "event")] if "event" in names else names

    def _unknown_key(
        self, key: ScalarNode, shape: sh.Map, node: MapNode, what: str, missing: list[str]
    ) -> list[str]:
        free = [name for name in shape.fields if name not in node]
        near = nearest(key.text, free)
        known = ", ".join(shape.fields)
        hint = f"did you mean '{near}'?" if near else f"known keys: {known}"
        if cut_expression(key.text):
            hint = "this looks like a piece of an expression cut at a comma: put the whole expression in quotes"
        self.error(key, "unknown-key", f"unknown key '{key.text}' in '{what}'", hint)
        return [name for name in missing if name != near]

    def _one_of(self, node: MapNode, group: tuple[str, ...], what: str) -> bool:
        present = [name for name in group if name in node]
        if len(present) == 1 or (not present and node.broken):
            return True
        words = " or ".join(f"'{name}'" for name in group)
        if present:
            self.error(node.key(present[1]) or node, "conflict", f"'{what}' takes {words}, not both")
        else:
            self.error(node, "missing-key", f"'{what}' needs {words}")
        return False


_CALENDAR = sh.Map(
    {
        "days": sh.required(sh.Int(low=0, high=3660), "local days"),
        "at": sh.optional(sh.WallTime(), "wall time of that day"),
    }
)


def _takes_maps(shape: sh.Shape) -> bool:
    return isinstance(shape, (sh.Table, sh.Duration))


def _like(shape: sh.Table) -> str:
    return "small letters, digits, - and _" if shape.pattern == sh.NAME else shape.what


def zone_exists(name: str) -> bool:
    """Is it the name of a time zone?"""
    return localtime.zone(name) is not None
