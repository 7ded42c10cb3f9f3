"""``emit``: send an event to this or another subject."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.moment import Condition, Value
from engine.core.plan import Node
from engine.core.shapes import Cond, EventName, Map, Table, Text, Val, optional, required
from engine.core.sizes import kept_small
from engine.core.subjects import GROUP, PROGRAM_KIND
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
            "to": optional(Text(("members",)), "in a playbook of a group: each of its members, once"),
            "audience": optional(
                Cond("users", everybody=True), "in a playbook of the program: each user of whom this holds, once"
            ),
            "group": optional(Val(single=True), "the group it happens in"),
        }
    )

    def __init__(
        self,
        type_: str,
        data: dict[str, Value],
        user: Value | None,
        group: Value | None,
        to: str | None = None,
        audience: Condition | None = None,
    ) -> None:
        self.type = type_
        self.data = data
        self.user = user
        self.group = group
        self.to = to if audience is None else "audience"
        self.audience = audience

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> EmitEvent:
        """All parts but the type may be computed. Who it is for is said once."""
        said = [name for name in ("to", "audience", "user", "group") if name in fields]
        if len(said) > 1 and said[:1] != ["user"]:
            build.problem(said[1], "conflict", f"'{said[0]}' and '{said[1]}' of one emit", "say once who gets it")
        for name, kind in (("to", GROUP), ("audience", PROGRAM_KIND)):
            if name in fields and build.subject != kind:
                message = f"'emit.{name}' stands in playbooks of a {kind} alone"
                build.problem(name, "wrong-subject", message, f"subject: {kind}")
        parts = [fields.get(name) for name in ("user", "group", "to", "audience")]
        return cls(fields["type"], fields.get("data", {}), *parts)

    def says(self) -> tuple[tuple[str, bool], ...]:
        return ((self.type, True),)

    def gist(self) -> str:
        return self.type

    def failed(self, run: Run, reason: str) -> None:
        run.effect("emit", {"type": self.type, "data": {}}, status="suppressed", reason=reason)

    def run(self, run: Run) -> Node | Pause | None:
        data = kept_small({name: value.get(run.m) for name, value in self.data.items()}, "emit.data")
        if self.to is not None:
            run.emit_to_all(self.to, self.type, data)
            return run.node.next
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
