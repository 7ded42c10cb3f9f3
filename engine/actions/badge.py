"""``badge``: give a badge."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.plan import Node
from engine.core.shapes import Map, Ref, required
from engine.core.subjects import GROUP, USER


class GiveBadge(Action):
    """Give a badge of the catalog; one held already is denied with ``already``.

    Example:
        badge: gold-club
    """

    word = "badge"
    about = (USER, GROUP)
    shape = Map({"name": required(Ref("badge"), "the badge")}, short="name")

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> GiveBadge:
        """The name is checked against the catalog."""
        return cls(fields["name"])

    def gist(self) -> str:
        return self.name

    def tells(self) -> list[tuple[str, str | None]]:
        return [("badge.earned", self.name)]

    def run(self, run: Run) -> Node | Pause | None:
        held = self.name in run.state.badges
        status, reason = ("denied", "already") if held else ("planned", None)
        if run.effect("badge", {"name": self.name}, status=status, reason=reason):
            run.state.badges = [*run.state.badges, self.name]
            run.tell("badge.earned", {"badge": self.name})
        return run.node.next
