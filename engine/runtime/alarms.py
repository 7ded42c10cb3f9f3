"""Which subject wants to be looked at next: a calendar queue, one unsorted list an hour, sorted when its hour comes.

A heap of everybody costs a dozen comparisons in cold memory for each push and pop; here a push is an append, and only
the hour at hand is a heap, which is small and warm.

Rule 1: entries come out in the order of (instant, subject).
Rule 2: an entry may be stale (the subject's ``wake_at`` has moved since); the caller looks before it wakes anybody.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from engine.core.model import HOUR

_WIDTH = HOUR
_NEVER = 1 << 63

Entry = tuple[int, str]
"""(instant, subject)"""


class Alarms:
    """Subjects by the instant of their wake-up. ``next`` is a lower bound of the earliest one."""

    __slots__ = ("_hours", "_now", "_open", "_waiting", "next")

    def __init__(self) -> None:
        self.next: int = _NEVER
        self._now: int | None = None  # number of the hour that is open
        self._open: list[Entry] = []  # its entries and those of earlier hours, as a heap
        self._hours: dict[int, list[Entry]] = {}
        self._waiting: list[int] = []  # numbers of the hours not open yet, as a heap

    def put(self, instant: int, subject: str) -> None:
        """Wake a subject at an instant."""
        number = instant // _WIDTH
        if self._now is not None and number <= self._now:
            heappush(self._open, (instant, subject))
        else:
            hour = self._hours.get(number)
            if hour is not None:
                hour.append((instant, subject))
                return
            self._hours[number] = [(instant, subject)]
            heappush(self._waiting, number)
            instant = number * _WIDTH
        if instant < self.next:
            self.next = instant

    def pop(self, before: Entry) -> Entry | None:
        """Take out the first entry that sorts before the given one; None when there is none."""
        heap = self._open
        while not heap:
            if not self._waiting or self._waiting[0] * _WIDTH > before[0]:
                return None
            self._now = heappop(self._waiting)
            heap = self._open = self._hours.pop(self._now)
            heapify(heap)
        self.next = heap[0][0]
        if heap[0] >= before:
            return None
        entry = heappop(heap)
        if heap:
            self.next = heap[0][0]
        else:
            self.next = self._waiting[0] * _WIDTH if self._waiting else _NEVER
        return entry

    def clear(self) -> None:
        """Forget everybody."""
        self.__init__()  # type: ignore[misc]  # nothing is kept
