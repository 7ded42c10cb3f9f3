"""``tag``: add and remove tags."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Alters, Build, Pause
from engine.core.model import State
from engine.core.plan import Node
from engine.core.shapes import NAME, Many, Map, Text, optional

_TAG = Text(pattern=NAME, what="tag", only_text=True)


class Tag(Action):
    """Add and remove tags of the user. The row lists what the step names, whether or not the user had it.

    Example:
        tag: {add: [vip], remove: [newcomer]}
    """

    word = "tag"
    shape = Map({"add": optional(Many(_TAG), "tags to add"), "remove": optional(Many(_TAG), "tags to remove")})

    def __init__(self, add: list[str], remove: list[str]) -> None:
        self.add = add
        self.remove = remove

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Tag:
        """At least one of the two must stand."""
        if not fields:
            build.problem("tag", "missing-key", "'tag' needs 'add' or 'remove'")
        return cls(fields.get("add", []), fields.get("remove", []))

    def alters(self) -> list[Alters]:
        none, some = State(id=""), State(id="", tags=list(self.add))
        added = [Alters("tags", f"tags {' '.join(self.add)}", none, some)] if self.add else []
        had = State(id="", tags=list(self.remove))
        return [*added, Alters("tags", f"untags {' '.join(self.remove)}", had, none)] if self.remove else added

    def gist(self) -> str:
        return " ".join([*(f"+{name}" for name in self.add), *(f"-{name}" for name in self.remove)])

    def run(self, run: Run) -> Node | Pause | None:
        if run.effect("tag", {"add": self.add, "remove": self.remove}):
            kept = [tag for tag in run.state.tags if tag not in self.remove]
            run.state.tags = kept + [tag for tag in self.add if tag not in kept]
        return run.node.next
