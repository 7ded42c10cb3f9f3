"""``stop``: end the journey here."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import STOP, Action, Build, Pause
from engine.core.plan import Block, Node
from engine.core.shapes import Map, Text, required


class StopJourney(Action):
    """End the journey; the reason is for the reader.

    Example:
        stop: bought already
    """

    word = "stop"
    shape = Map({"reason": required(Text(), "why it ends here")}, short="reason")

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> StopJourney:
        """The reason is kept in the file only."""
        return cls()

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        return [("", STOP)]

    def run(self, run: Run) -> Node | Pause | None:
        return STOP
