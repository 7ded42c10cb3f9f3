"""The instants at which subjects must be looked at again, the earliest first.

A calendar: one unsorted list an hour, sorted when its hour comes. A heap of everybody costs a dozen comparisons in cold
memory for each entry that goes in or out.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

from engine.core.model import HOUR

_WIDTH: Final = HOUR
_BEGIN: Final = -(1 << 63)

Entry = tuple[int, str]
"""(instant, subject)"""


class Wakes:
    """Subjects by instant; an entry that no longer holds is skipped when it comes up."""

    __slots__ = ("_at", "_edge", "_hours", "_near", "_numbers", "_sorted")

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._edge = _BEGIN  #: entries before this instant are in ``_near``
        self._near: list[Entry] = []  #: the latest first, so that the earliest is taken off the end
        self._sorted = True
        self._hours: dict[int, list[Entry]] = {}  #: the others by number of the hour
        self._numbers: list[int] = []  #: numbers of these hours, as a heap

    def put(self, subject: str, wake_at: int | None) -> None:
        """The subject must be looked at then, and only then; None: not at all."""
        self.put_all([(subject, wake_at)])

    def put_all(self, entries: Iterable[tuple[str, int | None]]) -> None:
        """As ``put``, for many."""
        at, hours = self._at, self._hours
        get, hour_of = at.get, hours.get
        for subject, wake_at in entries:
            if wake_at is None:
                at.pop(subject, None)
            elif get(subject) != wake_at:
                at[subject] = wake_at
                if wake_at < self._edge:
                    self._near.append((wake_at, subject))
                    self._sorted = False
                    continue
                number = wake_at // _WIDTH
                hour = hour_of(number)
                if hour is None:
                    hours[number] = [(wake_at, subject)]
                    heappush(self._numbers, number)
                else:
                    hour.append((wake_at, subject))

    def at(self, subject: str) -> int | None:
        """When the subject must be looked at."""
        return self._at.get(subject)

    def first(self) -> int | None:
        """The earliest instant."""
        at = self._at
        while True:
            near = self._in_order()
            while near:
                wake_at, subject = near[-1]
                if at.get(subject) == wake_at:
                    return wake_at
                near.pop()
            if not self._open_hour(None):
                return None

    def due(self, before: int, limit: int) -> list[Entry]:
        """At most ``limit`` entries before an instant, in order; they stay where they are until put anew."""
        at = self._at
        found: list[Entry] = []
        while len(found) < limit:
            near = self._in_order()
            while near and len(found) < limit and near[-1][0] < before:
                entry = near.pop()
                # A subject put away from an instant and back to it stands here twice.
                if at.get(entry[1]) == entry[0] and (not found or found[-1] != entry):
                    found.append(entry)
            if near or not self._open_hour(before):
                break
        self._near.extend(reversed(found))
        return found

    def _in_order(self) -> list[Entry]:
        if not self._sorted:
            self._near.sort(reverse=True)
            self._sorted = True
        return self._near

    def _open_hour(self, before: int | None) -> bool:
        """Take the next hour that begins before an instant; called when there is nothing near."""
        if not self._numbers or (before is not None and self._numbers[0] * _WIDTH >= before):
            return False
        number = heappop(self._numbers)
        self._near = self._hours.pop(number)
        self._edge, self._sorted = (number + 1) * _WIDTH, False
        return True

    def clear(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]  # nothing is kept
