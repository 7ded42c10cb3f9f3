"""``count``: something happened often enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.core.history import Reader
from engine.core.kinds import Build, Trigger
from engine.core.moment import Condition, Moment
from engine.core.shapes import Cond, Duration, EventName, Int, Map, optional, required


class Count(Trigger):
    """Fire at the event that makes ``at_least`` matching events stand in the window, and at each further one.

    ``entry`` decides what firing again means: with ``mode: single`` and ``again_after: 30d`` it stays quiet a month.

    Example:
        trigger: {count: {event: order.paid, where: event.amount >= 100, at_least: 3, within: 30d}}
    """

    word = "count"
    shape = Map(
        {
            "count": required(
                Map(
                    {
                        "event": required(EventName(), "the event type that is counted"),
                        "where": optional(Cond("where"), "only events for which this holds"),
                        "at_least": required(Int(low=1), "how many must stand in the window"),
                        "within": optional(Duration(), "length of the window, (t - within, t]; without it: ever"),
                    }
                )
            )
        }
    )

    def __init__(self, event: str, where: Condition | None, at_least: int, reader: Reader) -> None:
        self.event = event
        self.where = where
        self.at_least = at_least
        self.reader = reader
        self.read = reader.count  #: (state, instant) -> number of matching events in the window
        self.window = ""  #: as it is written, for pictures

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Count:
        """Ask for the history of the event type within the window."""
        spec = fields["count"]
        where, within = spec.get("where"), spec.get("within")
        text = where.text if where is not None else ""
        reader = build.times(spec["event"], where, text, within.elapsed if within is not None else None)
        found = cls(spec["event"], where, spec["at_least"], reader)
        found.window = f" within {within.text}" if within is not None else ""
        return found

    def gist(self) -> str:
        asked = f" where {self.where.text}" if self.where is not None else ""
        return f"{self.event}{asked}, at least {self.at_least}{self.window}"

    def listens(self) -> frozenset[str]:
        return frozenset({self.event})

    def fires(self, m: Moment) -> bool:
        if self.where is not None and not self.where.test(m):
            return False
        return bool(self.read(m.state, m.time) >= self.at_least)

    def bare(self) -> tuple[str, Mapping[str, Any]] | None:
        body, names = self.reader.at_least(self.at_least)
        if self.where is None:
            return body, names
        if self.where.body is None:
            return None
        return f"({self.where.body}) and {body}", {**names, **self.where.names}

    def silence(self, m: Moment) -> tuple[str, dict[str, Any]]:
        asked = f"count('{self.event}')"
        if self.where is not None and not self.where.test(m):
            return self.where.text, self.where.seen(m)
        return f"{asked} >= {self.at_least}", {asked: self.read(m.state, m.time)}
