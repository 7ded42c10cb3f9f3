"""``streak``: day after day."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.moment import Moment
from engine.core.shapes import EventName, Int, Map, optional, required


class Streak(Trigger):
    """Fire at the first event of the N-th consecutive local day; again after the streak broke and was rebuilt.

    With ``savers`` a streak goes on over so many days left out, in all; those do not count.

    Example:
        trigger: {streak: {event: checkin, days: 7}}
    """

    word = "streak"
    shape = Map(
        {
            "streak": required(
                Map(
                    {
                        "event": required(EventName(), "the event type"),
                        "days": required(Int(low=1), "how many local days in a row"),
                        "savers": optional(Int(low=1, high=31), "days each streak may leave out (none)"),
                    }
                )
            )
        }
    )

    def __init__(self, event: str, days: int, series: Any, savers: int = 0) -> None:
        self.event = event
        self.days = days
        self.savers = savers
        self.series = series

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Streak:
        """Ask for the local days of the event type."""
        spec = fields["streak"]
        return cls(spec["event"], spec["days"], build.streak(spec["event"]), spec.get("savers", 0))

    def gist(self) -> str:
        saved = f", {self.savers} may be left out" if self.savers else ""
        return f"{self.event}, {self.days} days in a row{saved}"

    def listens(self) -> frozenset[str]:
        return frozenset({self.event})

    def fires(self, m: Moment) -> bool:
        return m.event is not None and bool(self.series.reached(m.state, m.event, self.days, self.savers))
