"""A clock that is moved by hand, and channels that only write down: what tests give the pump instead of the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.ports import Clock, Outgoing, Sent


class VirtualClock:
    """The present of a test."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        return self._now

    def advance(self, instant: int) -> None:
        """Move to an instant; never back."""
        self._now = max(self._now, instant)


@dataclass(frozen=True)
class Handed:
    """A message as a channel was handed it, and what the channel said."""

    time: int
    channel: str
    item: Outgoing
    attempt: int  #: counts from 1
    answer: Sent


class RecordingChannel:
    """Stands in for a channel: keeps what it is handed, and refuses what it is told to."""

    once = True
    mode = "at_least_once"

    def __init__(self, name: str, clock: Clock, answer: Callable[[str, Outgoing, int], Sent]) -> None:
        self.name = name
        self.handed: list[Handed] = []
        self._clock = clock
        self._answer = answer

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        """Answer each message and remember it."""
        answers = []
        for item in items:
            attempt = item.attempts + 1
            answer = self._answer(self.name, item, attempt)
            self.handed.append(Handed(self._clock.now(), self.name, item, attempt, answer))
            answers.append(answer)
        return answers

    def close(self) -> None:
        """Nothing is held."""
