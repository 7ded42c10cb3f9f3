"""The instants at which subjects must be looked at again, the earliest first."""

from __future__ import annotations

from heapq import heappop, heappush


class Wakes:
    """A heap of (instant, subject); an entry that no longer holds is skipped when it comes up."""

    __slots__ = ("_at", "_heap")

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def put(self, subject: str, wake_at: int | None) -> None:
        """The subject must be looked at then, and only then; None: not at all."""
        if wake_at is None:
            self._at.pop(subject, None)
        elif self._at.get(subject) != wake_at:
            self._at[subject] = wake_at
            heappush(self._heap, (wake_at, subject))

    def at(self, subject: str) -> int | None:
        """When the subject must be looked at."""
        return self._at.get(subject)

    def first(self) -> int | None:
        """The earliest instant."""
        heap, at = self._heap, self._at
        while heap:
            wake_at, subject = heap[0]
            if at.get(subject) == wake_at:
                return wake_at
            heappop(heap)
        return None

    def due(self, before: int, limit: int) -> list[tuple[int, str]]:
        """At most ``limit`` entries before an instant, in order; they stay where they are until put anew."""
        heap, at = self._heap, self._at
        found: list[tuple[int, str]] = []
        while heap and len(found) < limit and heap[0][0] < before:
            entry = heappop(heap)
            # A subject put away from an instant and back to it stands in the heap twice.
            if at.get(entry[1]) == entry[0] and (not found or found[-1] != entry):
                found.append(entry)
        for entry in found:
            heappush(heap, entry)
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._at.clear()
        self._heap.clear()
