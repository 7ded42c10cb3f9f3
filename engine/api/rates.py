"""Token buckets: how many records a key and an address may send.

Rule: a request is let in while the bucket is not in debt, and then takes what it holds, so that a large batch goes
through at once and is paid for afterwards. The mean rate is kept exactly, whatever the size of batches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import ceil

from engine.core.model import SECOND

MOST = 10_000
"""Buckets remembered. Who is forgotten begins with a full one; an address that costs no more than a connection could
otherwise fill the memory."""


class Buckets:
    """One bucket for each who.

    Parameters
    ----------
    rate: (records, microseconds), also what a full bucket holds; None: no limit.
    elapsed: seconds on a clock that never jumps.
    """

    def __init__(self, rate: tuple[int, int] | None, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._full = float(rate[0]) if rate else 0.0
        self._per_second = rate[0] * SECOND / rate[1] if rate else 0.0
        self._limited = rate is not None
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # who -> level, at

    def debt(self, who: str) -> int:
        """Whole seconds until ``who`` may send again; 0: now."""
        if not self._limited:
            return 0
        level = self._level(who, self._elapsed())
        return 0 if level > 0 else max(1, ceil(-level / self._per_second))

    def charge(self, who: str, records: int) -> None:
        """Take what was sent out of the bucket."""
        if not self._limited:
            return
        now = self._elapsed()
        self._levels[who] = (self._level(who, now) - records, now)
        self._levels.move_to_end(who)
        if len(self._levels) > MOST:
            self._levels.popitem(last=False)

    def _level(self, who: str, now: float) -> float:
        level, at = self._levels.get(who, (self._full, now))
        return min(self._full, level + (now - at) * self._per_second)
