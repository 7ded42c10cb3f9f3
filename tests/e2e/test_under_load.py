"""The daemon under load, with receivers that fail, hang, ask to wait and lie, and killed at random."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from load_kit import CHANNELS, Load, Size, account, load
from receivers import MOODS

SPOILT: dict[str, Callable[[Load], object]] = {
    "accepted is not": lambda it: it.told.accepted.add("999999"),
    "at_most_once: twice": lambda it: it.posts.taken["sms"].update([next(iter(it.posts.taken["sms"]))]),
    "never taken": lambda it: it.mails.taken["letter"].clear(),
    "nobody decided": lambda it: it.posts.taken["push"].update(["another key"]),
    "under two keys": lambda it: next(iter(it.posts.texts.values())).add("another key"),
    "not parked": lambda it: it.posts.silent.update(it.posts.taken["sms"]),
}
"""What could be wrong afterwards, and what the account then says."""


def _is_found_out(found: Load, says: str, spoil: Callable[[Load], object]) -> None:
    ledgers = [(it, deepcopy(it.taken), deepcopy(it.texts), set(it.silent)) for it in (found.mails, found.posts)]
    accepted = set(found.told.accepted)
    spoil(found)
    with pytest.raises(AssertionError, match=says):
        account(found)
    found.told.accepted = accepted
    for ledger, taken, texts, silent in ledgers:
        ledger.taken, ledger.texts, ledger.silent = taken, texts, silent


def test_under_load(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """What was answered 202 is decided exactly once; every message is sent, unknown or dead with a reason; twice comes
    only what ``at_least_once`` may send again, and under the same key; the store is whole after every kill.

    Semantics: store.atomic, outbox.once, effect-key.given
    Failure: kill.anywhere — under load
    Failure: send.unknown — under load
    """
    with load(tmp_path, Size(events=2_000, kills=6, quick=True)) as found:
        found.run()
        figures = account(found)
        for says, spoil in SPOILT.items():
            _is_found_out(found, says, spoil)
    assert figures["fsck_green"] >= figures["kills"]
    assert set(figures["moods"]) == {*MOODS, "well"}, "not everything was met"
    assert sum(figures[name]["doubtful"] for name in CHANNELS) > 50
    assert all(figures[name]["dead"] > 0 for name in CHANNELS)
    record_property("figures", figures)
