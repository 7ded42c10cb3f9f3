"""``set``: write traits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.moment import Value
from engine.core.plan import Node
from engine.core.shapes import USER_FIELD, Map, Table, Val, required
from engine.core.sizes import kept_small
from engine.core.subjects import GROUP, USER


class SetTraits(Action):
    """Write traits of the user, or of the group the playbook is about; one row a field.
    ``trigger: {changed: ...}`` hears of it.

    Example:
        set: {user.stage: active, user.first_amount: "{{ event.amount }}"}
    """

    word = "set"
    about = (USER, GROUP)
    shape = Map(
        {
            "fields": required(
                Table(Val(), pattern=r"(user|group)\.[A-Za-z_][A-Za-z0-9_]*", what=USER_FIELD),
                "trait -> value",
            )
        },
        short="fields",
    )

    def __init__(self, fields: dict[str, Value], whose: str = USER) -> None:
        self.fields = fields
        self.whose = whose

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> SetTraits:
        """Field names lose their ``user.``; they are those of the subject."""
        for name in fields["fields"]:
            whose, _, field = name.partition(".")
            if whose != build.subject:
                message = f"'{name}' is a field of a {whose}, and this playbook is about a {build.subject}"
                build.problem(name, "wrong-subject", message, f"did you mean '{build.subject}.{field}'?")
        return cls({name.partition(".")[2]: value for name, value in fields["fields"].items()}, build.subject)

    def writes(self) -> Iterable[tuple[str, Value]]:
        return self.fields.items()

    def gist(self) -> str:
        return ", ".join(f"{self.whose}.{name}: {value.text}" for name, value in self.fields.items())

    def tells(self) -> list[tuple[str, str | None]]:
        return [(f"{self.whose}.updated", name) for name in self.fields]

    def failed(self, run: Run, reason: str) -> None:
        for name in self.fields:
            detail = {"field": f"{self.whose}.{name}", "value": None}
            run.effect("set", detail, status="suppressed", reason=reason, index=self._index(name))

    def _index(self, name: str) -> str:
        """What tells the rows of one step apart."""
        return name if len(self.fields) > 1 else ""

    def run(self, run: Run) -> Node | Pause | None:
        values = {name: kept_small(value.get(run.m), f"{self.whose}.{name}") for name, value in self.fields.items()}
        changes: dict[str, tuple[Any, Any]] = {}
        for name, value in values.items():
            if run.effect("set", {"field": f"{self.whose}.{name}", "value": value}, index=self._index(name)):
                before = run.state.traits.get(name)
                run.state.traits = {**run.state.traits, name: value}
                if before != value or before.__class__ is not value.__class__:
                    changes[name] = (before, value)
        if not run.plan.retimed.isdisjoint(changes):
            run.turn.touched = True  # every timer that goes by local days or by such a field is found anew
        if changes:
            run.tell(f"{self.whose}.updated", {name: after for name, (_, after) in changes.items()}, changes)
        return run.node.next
