"""How fast a channel may be used: a bucket of tokens, one a message. Time is an argument, in microseconds.

Rule 1: in no window of one period more messages go than the rate says, whatever went before: what the bucket may hold
for a burst is taken off what flows into it.
Rule 2: a new bucket holds one token, so a process that is started again and again is no faster than one that goes on.
Rule 3: a clock that goes back gives no tokens and takes none.
"""

from __future__ import annotations

from engine.core.model import SECOND

_BURSTS = 20
"""Parts of a second's messages that may go at once: it is how often the bucket wants to be looked at."""


class Bucket:
    """The tokens of one channel.

    Parameters
    ----------
    rate: (messages, microseconds): at most so many in any such time.
    now: microseconds.
    """

    def __init__(self, rate: tuple[int, int], now: int) -> None:
        most, self._period = rate
        self._size = max(1, most * SECOND // (self._period * _BURSTS))
        self._flow = most - (self._size - 1)  #: tokens that come in a period
        self._parts = self._period  #: what is there, in parts of a token: a token has as many as a period microseconds
        self._at = now

    def tokens(self, now: int) -> int:
        """Messages that may go now."""
        gone = now - self._at
        if gone > 0:
            self._parts = min(self._size * self._period, self._parts + gone * self._flow)
        self._at = now
        return max(0, self._parts // self._period)

    def take(self, number: int) -> None:
        """So many messages go."""
        self._parts -= number * self._period

    def opens_at(self, now: int) -> int:
        """Instant at which a message may go."""
        if self.tokens(now) > 0:
            return now
        return now - (self._parts - self._period) // self._flow  # rounded up
