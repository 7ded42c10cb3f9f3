"""``streak``: day after day."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.moment import Moment
from engine.core.shapes import EventName, Int, Map, required


class Streak(Trigger):
    """Fire at the first event of the N-th consecutive local day; again after the streak broke and was rebuilt.

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
                    }
                )
            )
        }
    )

    def __init__(self, event: str, days: int, series: Any) -> None:
        self.event = event
        self.days = days
        self.series = series

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Streak:
        """Ask for the local days of the event type."""
        spec = fields["streak"]
        return cls(spec["event"], spec["days"], build.streak(spec["event"]))

    def gist(self) -> str:
        return f"{self.event}, {self.days} days in a row"

    def listens(self) -> frozenset[str]:
        return frozenset({self.event})

    def fires(self, m: Moment) -> bool:
        return m.event is not None and bool(self.series.reached(m.state, m.event, self.days))
