"""The outbox of a run that ends: as ``Lanes``, but it waits for what it has sent.

Rule 1: a drain is over when nothing is on its way and nothing can be sent now. A rate, of a channel or of a host, is
waited for: it says how fast, not whether. What a provider has put off, and what is to be tried again later, is left for
the next run.
Rule 2: answers come when the engine's clock stands, which follows the feeds: they never drag it to the present.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from engine.ports import Channel, Clock, Store
from engine.runtime.claims import Claims
from engine.runtime.hosts import Hosts
from engine.runtime.lane import Crew, Threads
from engine.runtime.lanes import BATCH, Lanes
from engine.runtime.verdicts import MAX_ATTEMPTS, backoff

__all__ = ["BATCH", "MAX_ATTEMPTS", "Outbox", "backoff"]


class Outbox(Lanes):
    """Sends what the store holds, over these channels; ``claims`` judges once more what is about to be sent.

    Parameters
    ----------
    pause: lets so many microseconds pass, for a rate; None: what a rate holds back is left for the next drain.
    """

    def __init__(
        self,
        store: Store,
        channels: Mapping[str, Channel],
        clock: Clock,
        claims: Claims | None = None,
        *,
        pause: Callable[[int], None] | None = None,
        crew: Callable[[str, int], Crew] = Threads,
        hosts: Hosts | None = None,
    ) -> None:
        super().__init__(store, channels, clock, claims, crew=crew, hosts=hosts)
        self._pause = pause

    def drain(self, limit: int | None = None) -> dict[str, int]:
        """Send until nothing is pending, or at most ``limit`` messages; how many ended how."""
        total: Counter[str] = Counter()
        left = limit
        while True:
            total.update(self._collect())
            left = self._turn(left, total)
            self._tidy()
            if self.in_flight():
                self._wait()
            elif left == 0 or not self._slow():
                self._dissolve()
                return dict(total)

    def _stamp(self) -> int:
        return self._store.clock()

    def _wait(self) -> None:
        """Until an answer is there."""
        with self._arrived:
            self._arrived.wait_for(lambda: not self._results.empty())

    def _slow(self) -> bool:
        """Let time pass until a rate lets something through again; False when no rate holds anything back."""
        if self._pause is None or self._stopped:
            return False
        ticks, now = self._ticks(), self._clock.now()
        slow = [lane for lane in self._lanes.values() if lane.only_slow(ticks) and self._store.waits(lane.name, now)]
        found = [*(lane.opens_at(ticks) for lane in slow), *(lane.calls_at(ticks) for lane in self._lanes.values())]
        instants = [at for at in found if at is not None]
        if not instants:
            return False
        self._pause(max(1, min(instants) - ticks))
        return True
