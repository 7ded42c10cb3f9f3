"""Leaves a provider alone that fails: one breaker a channel. Time is an argument, in microseconds.

Rule 1: it opens when of the last twenty answers, none older than five minutes, half or more were passing failures.
Rule 2: while it is open one message goes every five seconds, to see; its answer alone closes it or leaves it open.
Rule 3: a refusal for good is an answer of a provider that works.
"""

from __future__ import annotations

from collections import deque

from engine.core.model import MINUTE, SECOND

LAST = 20
"""Answers that are looked at; with fewer nothing is known yet."""

PROBE_EVERY = 5 * SECOND
"""Time from one probe to the next."""

_MEMORY = 5 * MINUTE


class Breaker:
    """Closed: everything goes. Open: a probe now and then."""

    def __init__(self) -> None:
        self._answers: deque[tuple[int, bool]] = deque(maxlen=LAST)
        self._next: int | None = None  #: instant of the next probe; None: closed
        self._probing = False  #: a probe is on its way

    @property
    def is_open(self) -> bool:
        """Whether the channel is left alone."""
        return self._next is not None

    def lets_through(self, now: int) -> int | None:
        """How many messages may go: None says any number."""
        if self._next is None:
            return None
        return 1 if now >= self._next and not self._probing else 0

    def opens_at(self) -> int | None:
        """Instant from which the next probe may go; None while one is on its way, or nothing stands against sending."""
        return None if self._probing else self._next

    def probe(self, now: int) -> None:
        """A message goes as the probe."""
        self._probing, self._next = True, now + PROBE_EVERY

    def answered(self, failed: bool, now: int) -> None:
        """A message that was no probe has got its answer."""
        if self._next is not None:
            return  # it was sent before the breaker opened: it says nothing new
        answers = self._answers
        answers.append((now, failed))
        while now - answers[0][0] > _MEMORY:
            answers.popleft()
        if len(answers) == LAST and 2 * sum(bad for _, bad in answers) >= LAST:
            self._next = now + PROBE_EVERY
            answers.clear()

    def probed(self, failed: bool) -> None:
        """The probe has got its answer."""
        self._probing = False
        if not failed:
            self._next = None
