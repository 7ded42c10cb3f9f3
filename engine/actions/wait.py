"""``wait``: let time pass."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.plan import Node, Span
from engine.core.shapes import Duration, Map, required
from engine.core.waits import Until, WorkSpan, in_words, instant_of


class Wait(Action):
    """Wait: ``3d`` is 72 elapsed hours, ``{days: 3, at: "10:00"}`` the third local day at that wall time.

    ``{until: "10:00"}`` waits for that wall time, ``{until: expression}`` for an instant. What is not ahead goes on
    at once.

    ``calendar: workdays`` beside them counts workdays only, by the program's calendar of holidays, else Monday to
    Friday: ``{days: 3, at: "10:00", calendar: workdays}`` is the third workday after today, ``{until: "10:00",
    calendar: workdays}`` the next 10:00 of a workday, and an instant on another day moves to the next workday at the
    same wall time.

    Example:
        wait: {days: 1, at: "10:00"}
    """

    word = "wait"
    shape = Map({"for": required(Duration(calendar=True, until=True), "how long, or until when")}, short="for")

    def __init__(self, when: Span | Until | WorkSpan) -> None:
        self.when = when

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Wait:
        """The checked duration is a Span, an Until or a WorkSpan already."""
        return cls(fields["for"])

    def gist(self) -> str:
        return in_words(self.when)

    def run(self, run: Run) -> Node | Pause | None:
        return run.wait_until(instant_of(self.when, run))
