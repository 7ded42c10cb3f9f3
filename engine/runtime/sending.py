"""What the daemon asks of whoever carries deliveries out (``lanes``).

Rule 1: ``drain`` never waits: it settles what came back and hands over what there is room for.
Rule 2: ``stop`` claims nothing more and waits for what is under way, so long and no longer; the rest stays ``sending``
in the store, and the next process finds out about it (``recover``).
"""

from __future__ import annotations

from typing import Protocol

from engine.runtime.lanes import BATCH

A_TURN = 10 * BATCH
"""Deliveries of one turn, sent by the engine's own thread."""


class Sending(Protocol):
    """Carries out what was decided."""

    def recover(self) -> dict[str, int]:
        """Settle what a process that died left ``sending``; once, before the first ``drain``."""
        ...

    def drain(self, limit: int | None = None) -> dict[str, int]:
        """Settle what came back, claim what there is room for; how many deliveries ended how."""
        ...

    def next_due(self) -> int | None:
        """The earliest instant after now at which something is to be tried again."""
        ...

    def in_flight(self) -> int:
        """Deliveries handed to channels and not settled."""
        ...

    def stop(self, seconds: float) -> dict[str, int]:
        """Claim nothing more, wait for what is in flight at most so long; what ended how."""
        ...

    def close(self) -> None:
        """Let go of threads. Channels are closed by whoever opened them."""
        ...
