"""``wait_for``: wait until something happens, or time is up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import STOP, Action, Build, Pause
from engine.core.model import Answer, Event
from engine.core.moment import Condition, Moment
from engine.core.plan import Block, Node
from engine.core.shapes import Cond, Duration, Either, EventName, Many, Map, Steps, Text, optional, required
from engine.core.waits import in_words, instant_of


class WaitFor(Action):
    """Wait for an event after this step was reached; exactly at the ``up_to`` deadline is in time.

    A deadline that is not ahead goes on at once, as ``else`` says.

    In ``if``, ``event`` is the arriving event and ``entry`` the one that began the journey.

    Example:
        wait_for: {event: order.paid, if: event.amount >= 100, up_to: 3d, then: [{points: 50}], else: stop}
    """

    word = "wait_for"
    shape = Map(
        {
            "event": required(Many(EventName()), "event type, or a list: any of them"),
            "if": optional(Cond("arriving"), "only an event for which this holds"),
            "up_to": required(Duration(calendar=True, until=True), "how long to wait"),
            "then": optional(Steps(), "steps when it came"),
            "else": optional(Either(scalar=Text(("stop",)), seq=Steps()), "steps when time is up, or stop"),
        }
    )

    def __init__(
        self, types: frozenset[str], test: Condition | None, up_to: Any, then: Block, otherwise: Block | None
    ) -> None:
        self.types = types
        self.test = test
        self.up_to = up_to
        self.then = then
        self.otherwise = otherwise  #: None: stop

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> WaitFor:
        """``else: stop`` becomes no block at all."""
        otherwise = fields.get("else", Block())
        return cls(
            frozenset(fields["event"]),
            fields.get("if"),
            fields["up_to"],
            fields.get("then", Block()),
            None if otherwise == "stop" else otherwise,
        )

    def gist(self) -> str:
        asked = f" if {self.test.text}" if self.test is not None else ""
        return f"{', '.join(sorted(self.types))}{asked}, up to {in_words(self.up_to)}"

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        return [("it came", self.then), ("time is up", STOP if self.otherwise is None else self.otherwise)]

    def blocks(self) -> Iterable[Block]:
        return (self.then,) if self.otherwise is None else (self.then, self.otherwise)

    def hears(self) -> frozenset[str]:
        return self.types

    def run(self, run: Run) -> Node | Pause | None:
        deadline = instant_of(self.up_to, run)
        return run.wait_for_event(deadline) if deadline > run.now else self.resume(run, None)

    def wants(self, run: Run, m: Moment) -> bool:
        return self.test is None or self.test.test(m)

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if isinstance(cause, Event):
            return self.then.first or run.node.next
        if self.otherwise is None:
            return STOP
        return self.otherwise.first or run.node.next
