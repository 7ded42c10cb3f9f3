"""A store that fails, and goes on failing, for another reason than a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemon_kit import Life

from engine.errors import StoreError


def test_who_asks_of_a_store_in_trouble_is_answered(tmp_path: Path) -> None:
    """A request that came in while no turn succeeds is refused, and does not wait for the trouble to end."""
    trouble: list[str] = []

    def fault(point: str) -> None:
        if trouble and point.endswith("before_begin"):
            raise StoreError(trouble[0])

    life = Life(tmp_path)
    daemon = life.start(fault=fault)
    life.quiet()
    trouble.append("disk I/O error")
    life.say("user.signup", "u1")
    assert daemon.try_turn() is False
    asked = life.jobs.submit(lambda store: store.clock())
    assert daemon.try_turn() is False
    with pytest.raises(StoreError, match="disk I/O error"):
        asked.result(timeout=0)
    trouble.clear()
    while daemon.try_turn():
        pass
    answered = life.jobs.submit(lambda store: store.clock())
    life.quiet()
    assert answered.result(timeout=0) == life.clocks.now()
    assert life.sent() == [("u1", "hello")]
    life.end()
