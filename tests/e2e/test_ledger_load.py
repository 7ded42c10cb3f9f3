"""The ledger under concurrent reservation, at the size of CI; ``bench/ledger.py`` does it in millions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger_kit import Size, World


def test_reserved_from_everywhere_while_killed(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Threads of several processes reserve at once, the daemon is killed: nothing oversold, nothing lost, no drift.

    Semantics: coupon.sum, ledger.sums, reward.once — from several processes, with kills
    Failure: ledger.race
    """
    figures = World(tmp_path, Size(operations=3_600, kills=4)).run()
    assert figures["coupons"] == 300
    assert figures["rewards"] > figures["rewards_confirmed"] > 0
    assert figures["rewards_given_back"] > 0
    assert figures["fsck_green"] >= 4
    record_property("operations", figures["operations"])
    record_property("kills", figures["kills"])
