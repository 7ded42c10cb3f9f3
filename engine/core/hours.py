"""At which hours of the local clock a user is active: what ``at: best_hour`` goes by.

Rule 1: 24 numbers a user, and only where some message of the program asks for them.
Rule 2: what is long past counts less: at ``_MOST`` entries all numbers are halved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine.core import localtime
from engine.core.model import HOUR, Event, State
from engine.core.series import Series

ENOUGH: Final = 5
"""Entries below which a user's own hours say nothing yet."""

_MOST: Final = 200


class Hours(Series):
    """Events from outside by hour of the local clock: 24 counts."""

    __slots__ = ()
    kind = "hours"

    def update(self, state: State, event: Event, zone: str) -> None:
        """Count one event at its own time."""
        if event.internal:
            return
        counts = state.series.get(self.key)
        if counts is None:
            counts = state.series[self.key] = [0] * 24
        counts[localtime.local_hour(event.time, localtime.zone(zone) or localtime.UTC)] += 1
        if sum(counts) >= _MOST:
            counts[:] = [count // 2 for count in counts]

    def best(self, state: State, open_at: Callable[[int], bool]) -> int | None:
        """The hour with most entries among those that are open, the earliest of equals; None: too little is known.

        ``open_at``: may a message go at this reading of the local clock (microseconds after midnight)?
        """
        counts: list[Any] = state.series.get(self.key) or []
        if sum(counts) < ENOUGH:
            return None
        found = [(-count, hour) for hour, count in enumerate(counts) if count and open_at(hour * HOUR)]
        return min(found)[1] if found else None
