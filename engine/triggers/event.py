"""``event``: something happened."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.shapes import EventName, Many, Map, required


class OnEvent(Trigger):
    """Fire for each event of a type, on the state that includes it.

    Example:
        trigger: {event: order.paid, if: event.amount >= 100}
    """

    word = "event"
    shape = Map({"event": required(Many(EventName()), "one event type, or a list: any of them")})

    def __init__(self, types: frozenset[str]) -> None:
        self.types = types

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> OnEvent:
        """Listen to the named types."""
        return cls(frozenset(fields["event"]))

    def listens(self) -> frozenset[str]:
        return self.types
