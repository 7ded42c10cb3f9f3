"""Walks a YAML node along a shape: checked values out, every problem reported at its very word.

Rule 1: reading never stops at the first problem; ``FAULT`` stands for a value that could not be read, and nothing more
is said about it.
Rule 2: an unknown key that is like a missing one silences "missing key" for that one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.core import shapes as sh
from engine.language.diagnostics import Mark
from engine.language.expressions import combine
from engine.language.forms import RESERVED
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.scalars import CALENDAR, ScalarReading, zone_exists
from engine.language.services import FAULT, LETTERS, Services, _Fault, keys_hint, with_article
from engine.language.slips import Slip, cut_expression, line_slip, mend_flow_list, mend_flow_map, slip_for_scalar
from engine.registry import nearest

_MOST_GUESSES = 50  # unknown keys of one mapping that are worth a search for what was meant

__all__ = ["CALENDAR", "FAULT", "Reading", "Services", "_Fault", "zone_exists"]


class Reading(ScalarReading):
    """Reads nodes along shapes."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
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

    # ------------------------------------------------------------------ expressions

    def _cond(self, node: Node, shape: sh.Cond, what: str) -> Any:
        if isinstance(node, SeqNode):
            return self._combine(node, "and", shape, what)
        if isinstance(node, MapNode):
            mended, slips = mend_flow_map(node) if node.flow else (node, [])
            self.problems.extend(slips)
            return FAULT if slips else self._cond_map(mended, shape, what)
        found = self.scalar(node, what, "a condition")
        return found if isinstance(found, _Fault) else self.services.condition(found, shape)

    def _cond_map(self, node: MapNode, shape: sh.Cond, what: str) -> Any:
        ops = {"all": "and", "any": "or", "none": "not"}
        wrong = next((key for key, _ in node if key.text not in ops), None)
        if wrong is not None:
            near = nearest(wrong.text, ops)
            known = "a condition is an expression, a list, or {all|any|none: [...]}"
            hint = f"did you mean '{near}'?" if near else known
            return self.error(wrong, "unknown-key", f"'{what}' needs one of all, any, none", hint)
        if len(node) != 1:
            where = node.entries[1][0] if len(node) else node
            message, hint = f"'{what}' needs one of all, any, none", "nest them: {all: [..., {any: [...]}]}"
            return FAULT if node.broken else self.error(where, "conflict", message, hint)
        word, inner = node.keys()[0], node.entries[0][1]
        if not isinstance(inner, SeqNode):
            return self.wrong_type(inner, f"{what}.{word}", "a list of conditions")
        if word != "none":
            return self._combine(inner, ops[word], shape, what)
        self.services.turned()
        found = self._combine(inner, "not", shape, what)
        self.services.turned()
        return found

    def _combine(self, node: SeqNode, op: str, shape: sh.Cond, what: str) -> Any:
        if not node.items:
            return FAULT if node.broken else self.error(node, "empty", f"'{what}' is an empty list")
        if node.flow:
            node, slips = mend_flow_list(node)
            self.problems.extend(slips)
            if slips:
                return FAULT
        parts = [self.read(item, shape, what) for item in node.items]
        if node.broken or any(part is FAULT for part in parts):
            return FAULT
        joined = combine(op, parts)
        return replace(joined, listed=True) if op == "and" and len(parts) > 1 else joined

    def _expr(self, node: Node, shape: sh.Expr, what: str) -> Any:
        found = self.scalar(node, what, "an expression")
        return found if isinstance(found, _Fault) else self.services.expression(found, shape)

    def _val(self, node: Node, shape: sh.Val, what: str) -> Any:
        if shape.single and isinstance(self.scalar(node, what, "a single value"), _Fault):
            return FAULT
        return FAULT if node.broken else self.services.value(node)

    def _plain(self, node: Node, shape: sh.Plain, what: str) -> Any:
        return node.plain()

    # ------------------------------------------------------------------ structures

    def _many(self, node: Node, shape: sh.Many, what: str) -> Any:
        if not isinstance(node, SeqNode):
            if shape.only_list:
                return self.wrong_type(node, what, "a list", "put '- ' before each entry, or [ ... ]")
            one = self.read(node, shape.of, what)
            return FAULT if one is FAULT else [one]
        if len(node) < shape.at_least:
            return FAULT if node.broken else self.error(node, "empty", f"'{what}' is an empty list")
        found = [self.read(item, shape.of, f"{what}[{place}]") for place, item in enumerate(node.items)]
        return FAULT if node.broken or any(item is FAULT for item in found) else found

    def _table(self, node: Node, shape: sh.Table, what: str) -> Any:
        mapping = self.mapping(node, what)
        if isinstance(mapping, _Fault):
            return mapping
        out: dict[str, Any] = {}
        good = not mapping.broken
        for key, value in mapping:
            good = self.name(key, shape) and good
            found = self.read(value, shape.of, f"{what}.{key.text}")
            good = good and found is not FAULT
            out[key.text] = found
        return out if good else FAULT

    def name(self, key: ScalarNode, shape: sh.Table) -> bool:
        """Is the key of a table a name as the table wants it? If not, it was reported."""
        if not shape.pattern or re.fullmatch(shape.pattern, key.text) is not None:
            return self.services.user_field(key) if shape.what == sh.USER_FIELD else True
        if shape.what == sh.USER_FIELD:
            hint = f"write user.{key.text}" if re.fullmatch(r"\w+", key.text) else "a field of the user: user.city"
            self.error(key, "bad-name", f"'{key.text}' is no user.<field>", hint)
        else:
            hint = LETTERS.get(shape.pattern, "letters, digits and _")
            self.error(key, "bad-name", f"'{key.text}' is no name of {with_article(shape.what)}", hint)
        return False

    def _steps(self, node: Node, shape: sh.Steps, what: str) -> Any:
        if not isinstance(node, SeqNode):
            return self.wrong_type(node, what, "a list of steps", "put '- ' before each step")
        if not node.items and not shape.empty and not node.broken:
            return self.error(node, "empty", f"'{what}' has no steps")
        return self.services.steps(node)

    def _either(self, node: Node, shape: sh.Either, what: str) -> Any:
        by_kind = {ScalarNode: shape.scalar, SeqNode: shape.seq, MapNode: shape.map}
        words = {ScalarNode: "a single value", SeqNode: "a list", MapNode: "a mapping"}
        chosen = by_kind[type(node)]
        if chosen is None:
            wanted = " or ".join(words[kind] for kind, it in by_kind.items() if it is not None)
            return self.wrong_type(node, what, wanted)
        return self.read(node, chosen, what)

    def mapping(self, node: Node, what: str, hint: str = "") -> MapNode | _Fault:
        """The node as a mapping; slips that explain why it is none are told in their own words."""
        if isinstance(node, MapNode):
            if not node.flow:
                return node
            mended, slips = mend_flow_map(node)
            self.problems.extend(slips)
            if slips:
                mended.broken = True
            return mended
        slip = None if node.broken else slip_for_scalar(node)
        if slip is not None:
            self.problems.extend([slip])
            return FAULT
        return self.wrong_type(node, what, "a mapping", hint)

    def _map(self, node: Node, shape: sh.Map, what: str) -> Any:
        short = shape.short
        if short is not None and (not isinstance(node, MapNode) or _takes_maps(shape.fields[short].shape)):
            found = self.read(node, shape.fields[short].shape, what)
            return FAULT if found is FAULT else {short: found}
        if shape.flag and isinstance(node, ScalarNode) and node.value is True:
            return {}
        mapping = self.mapping(node, what, keys_hint(shape))
        if isinstance(mapping, _Fault):
            return mapping
        return self.fields(mapping, shape, what)

    def fields(self, node: MapNode, shape: sh.Map, what: str, ignore: tuple[str, ...] = ()) -> Any:
        """The keys of a mapping along its shape; ``ignore``: keys read elsewhere."""
        good = not node.broken
        meant: set[str] = set()
        known = [*shape.fields, *ignore]
        unknown = [key for key, _ in node if key.text not in known]
        for place, key in enumerate(unknown):
            good = False
            meant.update(self._unknown_key(key, known if place < _MOST_GUESSES else [], node, what))
        for name, field in shape.fields.items():
            if field.required and name not in node and not node.broken:
                good = False
                if name not in meant:
                    self.error(node, "missing-key", f"'{what}' needs '{name}'", field.note)
        out: dict[str, Any] = {}
        for name in _reading_order(node, shape):
            good = self._field(node, name, shape, what, out) and good
        self.services.arriving(None)
        for group in shape.one_of:
            good = self._one_of(node, group, what, meant) and good
        return out if good else FAULT

    def _field(self, node: MapNode, name: str, shape: sh.Map, what: str, out: dict[str, Any]) -> bool:
        value = node.get(name)
        if value is None:
            return True
        found = self.read(value, shape.fields[name].shape, f"{what}.{name}")
        if found is FAULT:
            return False
        out[name] = found
        if name == "event" and isinstance(found, (str, list)):
            self.services.arriving((found,) if isinstance(found, str) else tuple(found))
        return True

    def _unknown_key(self, key: ScalarNode, known: list[str], node: MapNode, what: str) -> list[str]:
        """Report a key nobody knows; what it was meant to be, so that it is not called missing."""
        slip = None if key.style else line_slip(key.text)
        if slip is not None:
            self.problems.extend([_without_rest(slip).at(Mark(key.mark.file, *key.locate(slip.offset)))])
            return [key.text[: slip.offset]]
        if key.text in RESERVED:
            self.error(key, "not-yet", f"'{key.text}' is kept for a later version")
            return []
        near = nearest(key.text, [name for name in known if name not in node]) if known else None
        hint = f"did you mean '{near}'?" if near else f"known keys: {', '.join(known)}" if known else ""
        if cut_expression(key.text):
            hint = "this looks like a piece of an expression cut at a comma: put the whole expression in quotes"
        self.error(key, "unknown-key", f"unknown key '{key.text}' in '{what}'", hint)
        return [near] if near else []

    def _one_of(self, node: MapNode, group: tuple[str, ...], what: str, meant: set[str]) -> bool:
        present = [name for name in group if name in node]
        if len(present) == 1 or (not present and node.broken):
            return True
        words = " or ".join(f"'{name}'" for name in group)
        if present:
            self.error(node.key(present[1]) or node, "conflict", f"'{what}' takes {words}, not both")
        elif not meant.intersection(group):
            self.error(node, "missing-key", f"'{what}' needs {words}")
        return False


def _reading_order(node: MapNode, shape: sh.Map) -> list[str]:
    """As written, but ``event`` first: the conditions beside it speak of that event. ``until`` last: of the steps.

    ``reverse_on`` has an event of its own, so it is last too.
    """
    names = [key.text for key, _ in node if key.text in shape.fields]
    names.sort(key=lambda name: name in ("until", "reverse_on"))
    return ["event", *(name for name in names if name != "event")] if "event" in names else names


def _takes_maps(shape: sh.Shape) -> bool:
    return isinstance(shape, (sh.Table, sh.Duration))


def _without_rest(slip: Slip) -> Slip:
    """A key ends at the first bracket, so what follows cannot be shown in full."""
    return slip._replace(hint="write ': ', with a space") if slip.code == "yaml-space" else slip
