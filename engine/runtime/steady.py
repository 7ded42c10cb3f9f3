"""The clock a daemon trusts: the machine's, as long as it does not jump.

The wall clock is compared with one that never jumps, once a turn of the loop.

Rule 1: small steps, either way, are followed: clocks are set right all the time.
Rule 2: a jump of more than ten minutes ahead is not believed at once. Meanwhile time goes on as it was, and whoever
asks is told to fire nothing (``paused``).
Rule 3: it is believed by hand (``trust``), or after five minutes in which the wall clock stood still against the other
one and a second source agreed: an event from outside that bears the new time. A wall clock that comes back ends it.
Rule 4: a jump back is followed at once. It is harmless: the engine's own clock never goes back, so nothing fires a
second time; it stands until the wall clock has come up to it.
"""

from __future__ import annotations

from typing import Protocol

from engine.core.model import MINUTE, SECOND

JUMP = 10 * MINUTE
"""How far the wall clock may be off before it is not believed."""

STEADY = 5 * MINUTE
"""How long it must stand still against the other clock before it is believed again."""


class TwoClocks(Protocol):
    """A wall clock, and one that never jumps."""

    def now(self) -> int:
        """Microseconds UTC."""
        ...

    def elapsed(self) -> float:
        """Seconds since some instant."""
        ...


class SteadyClock:
    """The machine's clock without its jumps ahead.

    Parameters
    ----------
    clocks: what the machine shows.
    believing: jumps are told, and believed at once.
    """

    def __init__(self, clocks: TwoClocks, *, believing: bool = False) -> None:
        self._clocks = clocks
        self._believing = believing
        self._offset = self._read_offset()  #: wall minus steady clock, as believed
        self._other = self._offset  #: while paused: as the wall clock has it
        self._since = 0.0  #: when it was first seen so, by the steady clock
        self._agreed = False
        self.paused = False  #: the wall clock jumped ahead and is not believed yet

    def now(self) -> int:
        """Microseconds UTC: the wall clock as it was looked at last, gone on since then by the one that never jumps."""
        return self._steady() + self._offset

    def elapsed(self) -> float:
        """Seconds on the clock that never jumps."""
        return self._clocks.elapsed()

    def ticks(self) -> int:
        """Microseconds on the clock that never jumps."""
        return self._steady()

    @property
    def ahead(self) -> int:
        """Microseconds by which the wall clock is ahead of what is believed; 0 while it is believed."""
        return self._other - self._offset if self.paused else 0

    def look(self) -> str | None:
        """Compare the clocks, once a turn; a sentence for the operator when something changed."""
        offset = self._read_offset()
        if not self.paused:
            jumped, self._offset = offset - self._offset, offset
            if jumped > JUMP and self._believing:
                return f"the machine's clock jumped {jumped // SECOND} seconds ahead, and it is trusted"
            if jumped > JUMP:
                self._offset -= jumped
                self._pause(offset)
                return f"the machine's clock jumped {jumped // SECOND} seconds ahead: wake-ups and schedules are paused"
            if jumped < -JUMP:
                return f"the machine's clock jumped {-jumped // SECOND} seconds back: nothing is done twice"
            return None
        if offset - self._offset <= JUMP:
            return self._believe(offset, "the machine's clock came back: wake-ups and schedules go on")
        if abs(offset - self._other) > SECOND * 10:
            self._pause(offset)
        elif self._agreed and self._clocks.elapsed() - self._since >= STEADY / SECOND:
            return self._believe(offset, "the machine's clock is steady and events agree with it: all goes on")
        return None

    def heard(self, time: int) -> None:
        """An event from outside bears this time: whether it speaks for the clock that jumped."""
        if self.paused and abs(time - (self._steady() + self._other)) <= JUMP:
            self._agreed = True

    def trust(self) -> None:
        """The operator says that the wall clock is right."""
        self._believe(self._read_offset(), "")

    def _pause(self, offset: int) -> None:
        self._other, self._since, self._agreed = offset, self._clocks.elapsed(), False
        self.paused = True

    def _believe(self, offset: int, words: str) -> str:
        self._offset = self._other = offset
        self.paused = False
        return words

    def _steady(self) -> int:
        return int(self._clocks.elapsed() * SECOND)

    def _read_offset(self) -> int:
        return self._clocks.now() - self._steady()
