"""``set``: write traits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Alters, Build, Pause
from engine.core.model import State
from engine.core.moment import Value
from engine.core.plan import Node
from engine.core.shapes import Map, Table, Val, required
from engine.core.sizes import kept_small


class SetTraits(Action):
    """Write traits of the user; one row a field. ``trigger: {changed: ...}`` hears of it.

    Example:
        set: {user.stage: active, user.first_amount: "{{ event.amount }}"}
    """

    word = "set"
    shape = Map(
        {
            "fields": required(
                Table(Val(), pattern=r"user\.[A-Za-z_][A-Za-z0-9_]*", what="user.<field>"), "trait -> value"
            )
        },
        short="fields",
    )

    def __init__(self, fields: dict[str, Value]) -> None:
        self.fields = fields

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> SetTraits:
        """Field names lose their ``user.``."""
        return cls({name.removeprefix("user."): value for name, value in fields["fields"].items()})

    def writes(self) -> Iterable[tuple[str, Value]]:
        return self.fields.items()

    def alters(self) -> list[Alters]:
        return [
            Alters(name, f"sets user.{name}", after=State(id="", traits={name: it.fixed()}) if it.constant else None)
            for name, it in self.fields.items()
        ]

    def gist(self) -> str:
        return ", ".join(f"user.{name}: {value.text}" for name, value in self.fields.items())

    def tells(self) -> list[tuple[str, str | None]]:
        return [("user.updated", name) for name in self.fields]

    def failed(self, run: Run, reason: str) -> None:
        for name in self.fields:
            detail = {"field": f"user.{name}", "value": None}
            run.effect("set", detail, status="suppressed", reason=reason, index=self._index(name))

    def _index(self, name: str) -> str:
        """What tells the rows of one step apart."""
        return name if len(self.fields) > 1 else ""

    def run(self, run: Run) -> Node | Pause | None:
        values = {name: kept_small(value.get(run.m), f"user.{name}") for name, value in self.fields.items()}
        changes: dict[str, tuple[Any, Any]] = {}
        for name, value in values.items():
            if run.effect("set", {"field": f"user.{name}", "value": value}, index=self._index(name)):
                before = run.state.traits.get(name)
                run.state.traits = {**run.state.traits, name: value}
                if before != value or before.__class__ is not value.__class__:
                    changes[name] = (before, value)
        if not run.plan.retimed.isdisjoint(changes):
            run.turn.touched = True  # every timer that goes by local days or by such a field is found anew
        if changes:
            run.tell("user.updated", {name: after for name, (_, after) in changes.items()}, changes)
        return run.node.next
