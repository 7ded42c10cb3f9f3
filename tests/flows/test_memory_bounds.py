"""What a process that lives long holds is bounded in bytes, however few the subjects and however long their history."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from daemon_kit import FILES, Life

from engine.core.history import long_history
from engine.core.model import SECOND, State, new_state
from engine.ports import Batch
from engine.runtime import worker
from engine.stores import sqlite
from engine.stores.sqlite import SqliteStore

REGULAR = """\
playbook: regular
title: The hundredth order within a month
trigger: {event: order.paid, if: 'count("order.paid", within="30d") >= 100'}
entry: {mode: once, limit: unlimited}
steps:
  - message: {template: hello, via: box, purpose: service}
"""


def batch(clock: int, state: State) -> Batch:
    """A transaction that writes one state."""
    return Batch(
        clock=clock,
        states=[state],
        events=[],
        effects=[],
        answers=[],
        resources={},
        decisions=[],
        goals=[],
        rejected=[],
        positions={},
    )


@pytest.mark.parametrize("gentle", [False, True])
def test_the_log_of_states_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gentle: bool) -> None:
    """However few the subjects who come again and again, the log of their states is folded at so many bytes."""
    monkeypatch.setattr(sqlite, "GENTLE_BYTES" if gentle else "FOLD_BYTES", 5_000)
    path = tmp_path / "s.db"
    store = SqliteStore.open(path, gentle=gentle)
    state, sizes = new_state("u1"), []
    for number in range(200):
        state.traits = {"number": number, "text": "x" * 100}
        store.commit(batch(number, state))
        with contextlib.closing(sqlite3.connect(path)) as db:
            sizes += db.execute("select sum(length(body)) from state_log").fetchone()
    assert 4_000 < max(sizes) < 6_000
    assert len(store._states) == 1
    store.close()
    store = SqliteStore.open(path, gentle=gentle)
    assert store.load(["u1"])["u1"].traits["number"] == 199
    store.close()


def test_a_long_log_is_opened_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gentle store that finds a log of many bytes never holds more of it than it may."""
    path = tmp_path / "s.db"
    store = SqliteStore.open(path)
    for number in range(50):
        state = new_state(f"u{number}")
        state.traits = {"text": "x" * 1_000}
        store.commit(batch(number, state))
    store.close()
    monkeypatch.setattr(sqlite, "GENTLE_BYTES", 10_000)
    store = SqliteStore.open(path, gentle=True)
    assert store._states.written < 11_500
    assert len(list(store.subjects())) == 50
    store.close()


def test_people_with_a_long_history_are_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few people with many events each are let go as many people with few are, and nothing is decided otherwise."""
    monkeypatch.setattr(worker, "_VALUES", 500)
    life = Life(tmp_path, {**FILES, "playbooks/regular.yaml": REGULAR})
    daemon = life.start()
    session, held = daemon._worker.pump.session, []
    for number in range(120):
        for user in ("u1", "u2", "u3"):
            life.say("order.paid", user, amount=number)
        life.clocks.pass_(SECOND)
        life.quiet()
        held.append(sum(map(long_history, session.states.values())))
    assert 100 < max(held) < 900
    assert held.count(0) > 60
    assert sorted(life.sent()) == [("u1", "hello"), ("u2", "hello"), ("u3", "hello")]
    life.end()
