"""Which subject wants to be looked at next: a calendar queue, one unsorted list an hour, sorted when its hour comes.

A heap of everybody costs a dozen comparisons in cold memory for each push and pop; here a push is an append, and an
hour is sorted at once and then read from its end. Few are put into the hour at hand while it is read: they are a heap.

Rule 1: entries come out in the order of (instant, subject).
Rule 2: an entry may be stale (the subject's ``wake_at`` has moved since); the caller looks before it wakes anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from engine.core.model import HOUR

_WIDTH = HOUR
_NEVER = 1 << 63

Entry = tuple[int, str]
"""(instant, subject)"""


class Alarms:
    """Subjects by the instant of their wake-up. ``next`` is a lower bound of the earliest one."""

    __slots__ = ("_hours", "_late", "_now", "_open", "_waiting", "next")

    def __init__(self) -> None:
        self.next: int = _NEVER
        self._now: int | None = None  # number of the hour that is open
        self._open: list[Entry] = []  # its entries, the latest first
        self._late: list[Entry] = []  # what was put into it or into an earlier one since, as a heap
        self._hours: dict[int, list[Entry]] = {}
        self._waiting: list[int] = []  # numbers of the hours not open yet, as a heap

    def put(self, instant: int, subject: str) -> None:
        """Wake a subject at an instant."""
        number = instant // _WIDTH
        hour = self._hours.get(number)
        if hour is not None:
            hour.append((instant, subject))
            return
        if self._now is not None and number <= self._now:
            heappush(self._late, (instant, subject))
        else:
            self._hours[number] = [(instant, subject)]
            heappush(self._waiting, number)
            instant = number * _WIDTH
        if instant < self.next:
            self.next = instant

    def pop(self, before: Entry) -> Entry | None:
        """Take out the first entry that sorts before the given one; None when there is none."""
        opened, late = self._open, self._late
        while not opened and not late:
            if not self._waiting:
                self.next = _NEVER
                return None
            if self._waiting[0] * _WIDTH > before[0]:
                self.next = self._waiting[0] * _WIDTH
                return None
            self._now = heappop(self._waiting)
            opened = self._open = self._hours.pop(self._now)
            opened.sort(reverse=True)
        if late and (not opened or late[0] < opened[-1]):
            entry = late[0]
            if entry < before:
                return heappop(late)
        else:
            entry = opened[-1]
            if entry < before:
                return opened.pop()
        self.next = entry[0]
        return None

    def until(self, before: int) -> Iterator[Entry]:
        """Take out the entries before an instant, one after the other; what is put in meanwhile comes in its place.

        As ``pop`` again and again, without the price of a call for each.
        """
        while True:
            opened, late = self._open, self._late
            while opened and not late:
                entry = opened[-1]
                if entry[0] >= before:
                    self.next = entry[0]
                    return
                del opened[-1]
                yield entry
            found = self.pop((before, ""))
            if found is None:
                return
            yield found

    def clear(self) -> None:
        """Forget everybody."""
        self.__init__()  # type: ignore[misc]  # nothing is kept
