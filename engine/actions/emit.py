"""``emit``: send an event to this or another subject."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.moment import Value
from engine.core.plan import Node
from engine.core.shapes import EventName, Map, Table, Val, optional, required
from engine.core.sizes import kept_small
from engine.errors import ExpressionError, MissingVariable


class EmitEvent(Action):
    """Emit an event, handled right after the one that caused it. A chain of 16 is cut (``suppressed``, ``depth``).

    Example:
        emit: {type: referral.qualified, user: "{{ user.invited_by }}", data: {invitee: "{{ user.id }}"}}
    """

    word = "emit"
    shape = Map(
        {
            "type": required(EventName(), "event type"),
            "data": optional(Table(Val(), what="field"), "payload"),
            "user": optional(Val(single=True), "the user it happens to; this one by default"),
            "group": optional(Val(single=True), "the group it happens in"),
        }
    )

    def __init__(self, type_: str, data: dict[str, Value], user: Value | None, group: Value | None) -> None:
        self.type = type_
        self.data = data
        self.user = user
        self.group = group

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> EmitEvent:
        """All parts but the type may be computed."""
        return cls(fields["type"], fields.get("data", {}), fields.get("user"), fields.get("group"))

    def says(self) -> tuple[tuple[str, bool], ...]:
        return ((self.type, True),)

    def gist(self) -> str:
        return self.type

    def failed(self, run: Run, reason: str) -> None:
        run.effect("emit", {"type": self.type, "data": {}}, status="suppressed", reason=reason)

    def run(self, run: Run) -> Node | Pause | None:
        data = kept_small({name: value.get(run.m) for name, value in self.data.items()}, "emit.data")
        user = _name(self.user, run, "user")
        group = _name(self.group, run, "group")
        run.emit(self.type, data, user, group)
        return run.node.next


def _name(value: Value | None, run: Run, what: str) -> str | None:
    if value is None:
        return None
    found = value.get(run.m)
    if found is None:
        raise MissingVariable(f"emit.{what} needs an id, and {value.text} is missing")
    if not isinstance(found, str) or not found:
        raise ExpressionError(f"emit.{what} needs an id, got {found!r}")
    return found
