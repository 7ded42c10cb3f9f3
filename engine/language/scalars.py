"""Reads single values along their shapes: words, numbers, names, times."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any

from engine.core import localtime
from engine.core import shapes as sh
from engine.core.instants import parse_duration
from engine.core.plan import Span
from engine.core.waits import Until, WorkSpan
from engine.language.diagnostics import Located
from engine.language.nodes import MapNode, Node, ScalarNode
from engine.language.services import FAULT, LETTERS, Services, _Fault, kind_word, with_article
from engine.registry import nearest

_NEARLY_WALL = re.compile(r"[0-9０-９]+[:：][0-9０-９]+")
_DURATION = re.compile(r"-?[0-9]+[smhdw]")
_WALL = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")

CALENDAR = sh.Map(
    {
        "days": sh.required(sh.Int(low=0, high=3660), "local days"),
        "at": sh.optional(sh.WallTime(), "wall time of that day"),
    }
)


WORKDAYS = sh.Map(
    {**CALENDAR.fields, "calendar": sh.optional(sh.Text(("workdays",)), "count workdays only")},
)
"""The same where something waits."""


class ScalarReading:
    """The readers of single values; ``Reading`` adds those of everything else."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.problems = services.problems

    def read(self, node: Node, shape: sh.Shape, what: str) -> Any:
        """The value of ``node`` as ``shape`` wants it."""
        raise NotImplementedError

    def error(self, where: Located, code: str, message: str, hint: str = "") -> _Fault:
        """Report an error; returns FAULT so that readers can ``return self.error(...)``."""
        self.problems.error(where, code, message, hint=hint)
        return FAULT

    def wrong_type(self, node: Node, what: str, need: str, hint: str = "") -> _Fault:
        """Report a node of the wrong kind; one that was reported already is left alone."""
        if node.broken:
            return FAULT
        return self.error(node, "wrong-type", f"'{what}' needs {need}, got {kind_word(node)}", hint)

    def scalar(self, node: Node, what: str, need: str, hint: str = "") -> ScalarNode | _Fault:
        """The node as a scalar with a value."""
        if not isinstance(node, ScalarNode) or (node.value is None and not node.style):
            return self.wrong_type(node, what, need, hint)
        return node

    # ------------------------------------------------------------------ words and numbers

    def _text(self, node: Node, shape: sh.Text, what: str) -> Any:
        need = "one of " + ", ".join(shape.choices) if shape.choices else with_article(shape.what)
        found = self.scalar(node, what, need)
        if isinstance(found, _Fault):
            return found
        text = found.text
        if shape.only_text and not found.style and not isinstance(found.value, str):
            return self._not_meant(found, what, need)
        if shape.choices and text not in shape.choices:
            near = nearest(text, shape.choices)
            hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(shape.choices)
            return self.error(found, "wrong-value", f"'{what}' cannot be '{text}'", hint)
        if shape.pattern and re.fullmatch(shape.pattern, text) is None:
            hint = LETTERS.get(shape.pattern, "")
            return self.error(found, "wrong-value", f"'{what}' needs {need}, got '{text}'", hint)
        if shape.what == sh.USER_FIELD and not self.services.user_field(found):
            return FAULT
        return text

    def _flag(self, node: Node, shape: sh.Flag, what: str) -> Any:
        if node.broken:
            return FAULT
        if isinstance(node, ScalarNode) and isinstance(node.value, bool) and not node.style:
            if shape.only is not None and node.value is not shape.only:
                message = f"'{what}' can only be {str(shape.only).lower()}; else leave it out"
                return self.error(node, "wrong-value", message)
            return node.value
        if shape.only is not None:
            return self.error(node, "wrong-type", f"'{what}' can only be {str(shape.only).lower()}", "without quotes")
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
            bounds = f"{need} of at least {shape.low}"
            if shape.high is not None:
                bounds = f"{shape.low}" if shape.low == shape.high else f"{need} from {shape.low} to {shape.high}"
            return self.error(found, "out-of-range", f"'{what}' needs {bounds}{words}, got {found.text}")
        return value

    # ------------------------------------------------------------------ names

    def _not_meant(self, node: ScalarNode, what: str, need: str) -> _Fault:
        """Report a bare value that would be taken for a word it was hardly meant to be."""
        hint = f'if it is called so, put it in quotes: "{node.text}"'
        return self.error(node, "wrong-type", f"'{what}' needs {need}, got {node.text}", hint)

    def _event(self, node: Node, shape: sh.EventName, what: str) -> Any:
        found = self.scalar(node, what, "an event type")
        if isinstance(found, _Fault):
            return found
        if not found.style and (not isinstance(found.value, str) or _DURATION.fullmatch(found.text)):
            return self._not_meant(found, what, "an event type")
        self.services.event_type(found)
        return found.text

    def _ref(self, node: Node, shape: sh.Ref, what: str) -> Any:
        found = self.scalar(node, what, f"the name of {with_article(shape.kind)}")
        if isinstance(found, _Fault):
            return found
        known = list(self.services.known(shape.kind))
        if found.text not in known:
            if self.services.doubtful(shape.kind, found.text):
                return FAULT
            near = nearest(found.text, known)
            defined = "defined: " + ", ".join(sorted(known)[:8]) if known else f"the program defines no {shape.kind}"
            hint = f"did you mean '{near}'?" if near else defined
            return self.error(found, f"unknown-{shape.kind}", f"unknown {shape.kind} '{found.text}' in '{what}'", hint)
        self.services.used(shape.kind, found.text)
        return found.text

    # ------------------------------------------------------------------ time

    def _wall(self, node: Node, shape: sh.WallTime, what: str) -> Any:
        found = self.scalar(node, what, 'a wall time such as "10:00"')
        if isinstance(found, _Fault):
            return found
        if found.text in shape.or_words:
            return found.text
        if _WALL.fullmatch(found.text) is None:
            words = "".join(f" or '{word}'" for word in shape.or_words)
            message = f"'{what}' needs a wall time HH:MM{words}, got '{found.text}'"
            return self.error(found, "bad-time", message, 'for example "09:30"')
        return found.text

    def _date(self, node: Node, shape: sh.DateText, what: str) -> Any:
        found = self.scalar(node, what, "a date such as 2026-12-31")
        if isinstance(found, _Fault):
            return found
        try:
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", found.text):
                return date.fromisoformat(found.text)
        except ValueError:  # a day the calendar does not have
            pass
        return self.error(found, "bad-date", f"'{what}' needs a date YYYY-MM-DD, got '{found.text}'")

    def span(self, node: Node, what: str) -> Span | _Fault:
        """``3d``."""
        found = self.scalar(node, what, "a duration such as 3d")
        if isinstance(found, _Fault):
            return found
        try:
            return Span(text=found.text, elapsed=parse_duration(found.text))
        except ValueError:
            hint = "a whole number from 1 and one of s m h d w, like 7d"
            return self.error(found, "bad-duration", f"'{what}' needs a duration, got '{found.text}'", hint)

    def _duration(self, node: Node, shape: sh.Duration, what: str) -> Any:
        if not isinstance(node, MapNode):
            return self.span(node, what)
        if shape.until and "until" in node:
            return self._until(node, what)
        if not shape.calendar:
            return self.wrong_type(node, what, "elapsed time such as 3d")
        fields = self.read(node, WORKDAYS if shape.until else CALENDAR, what)
        if fields is FAULT:
            return FAULT
        if "calendar" in fields:
            return WorkSpan(fields["days"], fields.get("at"))
        at = fields.get("at")
        text = f"{{days: {fields['days']}}}" if at is None else f"{{days: {fields['days']}, at: {at}}}"
        return Span(text=text, days=fields["days"], at=at)

    def _until(self, node: MapNode, what: str) -> Any:
        inner, calendar = node.get("until"), node.get("calendar")
        extra = [key for key, _ in node if key.text not in ("until", "calendar")]
        if extra or inner is None:
            message = f"beside 'until' only 'calendar' may stand in '{what}'"
            return self.error(extra[0] if extra else node, "unknown-key", message)
        if calendar is not None and self.read(calendar, WORKDAYS.fields["calendar"].shape, f"{what}.calendar") is FAULT:
            return FAULT
        found = self.scalar(inner, f"{what}.until", "a wall time or an expression")
        if isinstance(found, _Fault):
            return found
        if _WALL.fullmatch(found.text):
            return Until(found.text, None, calendar is not None)
        if _NEARLY_WALL.fullmatch(found.text):
            message = f"'{what}.until' needs a wall time HH:MM or an expression, got '{found.text}'"
            return self.error(found, "bad-time", message, 'for example "09:30"')
        value = self.services.expression(found, sh.Expr("step"))
        return value if isinstance(value, _Fault) else Until(None, value, calendar is not None)


def zone_exists(name: str) -> bool:
    """Is it the name of a time zone?"""
    return localtime.zone(name) is not None
