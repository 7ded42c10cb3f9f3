"""How fast a channel may be used: a bucket of tokens, one a message. Time is an argument, in microseconds.

Rule 1: in no window of one period more messages go than the rate says, whatever went before: what the bucket may hold
for a burst is taken off what flows into it.
Rule 2: a new bucket holds one token, so a process that is started again and again is no faster than one that goes on.
Rule 3: a clock that goes back gives no tokens and takes none.
Rule 4: a provider that says "too many" all the same counts otherwise than we do: each time the flow gets 3 % less, down
to four fifths, and 1 % more after every minute in which it says nothing.
"""

from __future__ import annotations

from engine.core.model import MINUTE, SECOND

_BURSTS = 20
"""Parts of a second's messages that may go at once: it is how often the bucket wants to be looked at."""

_WHOLE, _LEAST, _LESS, _MORE = 100, 80, 3, 1  # percent of the flow


class Bucket:
    """The tokens of one channel.

    Parameters
    ----------
    rate: (messages, microseconds): at most so many in any such time.
    now: microseconds.
    """

    def __init__(self, rate: tuple[int, int], now: int) -> None:
        self._set(rate)
        self._share = _WHOLE  #: percent of the flow that the provider puts up with
        self._parts = self._token
        self._at = now
        self._changed = now  #: instant of the last change of the share

    def _set(self, rate: tuple[int, int]) -> None:
        most, period = rate
        self._size = max(1, most * SECOND // (period * _BURSTS))  #: tokens it holds
        self._flow = most - (self._size - 1)  #: tokens that come in a period
        self._token = period * _WHOLE  #: parts of a token; ``flow * share`` of them come in a microsecond

    def change(self, rate: tuple[int, int]) -> None:
        """Another rate from now on; the bucket has no token more than before, and at most the one of a new bucket."""
        parts, token = min(self._parts, self._token), self._token
        self._set(rate)
        self._parts = parts * self._token // token

    def full(self, now: int) -> bool:
        """Whether it holds all it can: a new one would hold no more."""
        return self.tokens(now) >= self._size

    def tokens(self, now: int) -> int:
        """Messages that may go now."""
        gone = now - self._at
        if gone > 0:
            self._parts = min(self._size * self._token, self._parts + gone * self._flow * self._share)
        self._at = now
        if self._share < _WHOLE and now - self._changed >= MINUTE:
            self._share, self._changed = self._share + _MORE, now
        return max(0, self._parts // self._token)

    def take(self, number: int) -> None:
        """So many messages go."""
        self._parts -= number * self._token

    def refused(self, now: int) -> None:
        """The provider has said that it was too many."""
        self.tokens(now)
        self._share, self._changed = max(_LEAST, self._share - _LESS), now

    def opens_at(self, now: int) -> int:
        """Instant at which a message may go."""
        if self.tokens(now) > 0:
            return now
        return now - (self._parts - self._token) // (self._flow * self._share)  # rounded up
