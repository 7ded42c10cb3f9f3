"""What the daemon tells about itself: read by /healthz, /readyz, metrics and logs.

Only the engine's thread writes here. Each attribute is replaced as a whole, so any thread may read any of them at any
time without a lock.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.core.coupons import PoolFigures
from engine.ports import Lag, Room

Status = Literal["starting", "running", "paused", "draining", "stopped"]

_log = logging.getLogger(__name__)


@dataclass
class DaemonState:
    """The state of a running daemon."""

    status: Status = "starting"  #: ``paused``: the machine's clock jumped ahead, wake-ups and schedules wait
    ready: bool = False  #: takes events and makes progress
    reason: str = "starting"  #: why it is not ready, or paused, or not on the newest program; "" when all is well
    troubles: tuple[tuple[str, str], ...] = ()  #: (short word, sentence) of everything that keeps it from being ready
    plan: str = ""  #: hash of the plan at work
    reload_error: str = ""  #: why the newest state of the program's files was not taken; "" when it was
    held: str = ""  #: why nothing is sent: the store was restored, copied or moved; "" when it may send
    room: Room | None = None  #: of the store, as of the last minute; None: it is no file, or was not looked at yet
    low_disk: str = ""  #: that the disk of the store is nearly full; "" when it is not
    clock: int = 0  #: the engine's clock, microseconds UTC
    now: int = 0  #: the machine's clock as the daemon believes it, at its last turn
    next_due: int | None = None  #: when something is to be done without any further event
    in_flight: int = 0  #: deliveries handed to channels and not settled
    feeds: Mapping[str, Lag] = field(default_factory=dict)  #: live feeds: where each stands
    watermarks: Mapping[str, int] = field(default_factory=dict)  #: feed -> time of the newest event it brought
    broken_feeds: Mapping[str, str] = field(default_factory=dict)  #: feeds that cannot be read -> why
    pools: Mapping[str, PoolFigures] = field(default_factory=dict)  #: coupons: how each pool stands
    counts: Mapping[str, int] = field(default_factory=dict)
    """Counters since the start: ``events.read``, ``events.accepted``, ``events.duplicate``, ``events.quarantined``,
    ``events.late``, ``deliveries.<status>``, ``turns``, ``reloads``, ``reloads.failed``, ``store.errors``,
    ``forgotten.<kind>``, ``scrubs``, ``clock.jumps``, ``limits``, ``coupons.low``, ``poisoned``,
    ``conflicts`` (must stay 0)."""

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter."""
        self.add({name: n})

    def add(self, found: Mapping[str, int]) -> None:
        """Add to several counters at once."""
        if found:
            totals = Counter(self.counts)
            totals.update(found)
            self.counts = totals

    def shout(self, words: str, **fields: object) -> None:
        """An error the operator must see."""
        _log.error("%s", words, extra=fields)
