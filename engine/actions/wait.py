"""``wait``: let time pass."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.plan import Node, Span
from engine.core.shapes import Duration, Map, required
from engine.core.waits import Until, in_words, instant_of


class Wait(Action):
    """Wait: ``3d`` is 72 elapsed hours, ``{days: 3, at: "10:00"}`` the third local day at that wall time.

    ``{until: "10:00"}`` waits for that wall time, ``{until: expression}`` for an instant. What is not ahead goes on
    at once.

    Example:
        wait: {days: 1, at: "10:00"}
    """

    word = "wait"
    shape = Map({"for": required(Duration(calendar=True, until=True), "how long, or until when")}, short="for")

    def __init__(self, when: Span | Until) -> None:
        self.when = when

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Wait:
        """The checked duration is a Span or an Until already."""
        return cls(fields["for"])

    def gist(self) -> str:
        return in_words(self.when)

    def run(self, run: Run) -> Node | Pause | None:
        return run.wait_until(instant_of(self.when, run))
