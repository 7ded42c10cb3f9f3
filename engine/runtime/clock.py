"""The only place where Drumbeat reads a clock, or waits for one."""

from __future__ import annotations

import time

# counts on while the machine sleeps, which CLOCK_MONOTONIC does not
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1_000

    def elapsed(self) -> float:
        """Seconds on a clock that never jumps, for measuring how long work took."""
        return time.clock_gettime(_STEADY)

    def ticks(self) -> int:
        """Microseconds on a clock that never jumps, for pauses and rates."""
        return time.clock_gettime_ns(_STEADY) // 1_000

    def pause(self, microseconds: int) -> None:
        """Let time pass."""
        time.sleep(microseconds / 1_000_000)
