"""A daemon that hears events as they happen decides what ``simulate`` decides over the same feed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from daemon_kit import Life
from flow_program import BASE, FILES, compiled, lines_of, make_events, simulated, write_feed
from schedule_program import FILES as SLOTS
from schedule_program import make_schedule_events

from engine.core.instants import parse_instant
from engine.core.model import Effect


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("slots", [False, True], ids=["events", "slots"])
def test_daemon_equals_simulate(tmp_path: Path, seed: int, slots: bool) -> None:
    """Wake-ups, waits, limits, coupons, seats, caps, schedules: every effect at its instant, with its key and status.

    Semantics: clock.daemon — turn by turn, against the virtual clock
    """
    if slots:
        files, events = SLOTS, make_schedule_events(seed, 60)
    else:
        files = FILES | {"drumbeat.yaml": FILES["drumbeat.yaml"] % {"others": "open"}}
        events = make_events(seed, 150)
    life = Life(tmp_path, files, at=BASE - 1)
    (tmp_path / "feed" / "a.jsonl").touch()
    daemon = life.start()
    for row in events:
        at = parse_instant(row["time"])
        if at > life.clocks.wall:  # events of one instant come together
            _live_until(life, at - 1)
            life.clocks.pass_(at - life.clocks.wall)
        with (tmp_path / "feed" / "a.jsonl").open("a") as feed:
            feed.write(json.dumps(row) + "\n")
    _live_until(life, life.clocks.wall)
    found = [_seen(it) for it, _ in life.store.effects()] if life.store else []
    assert daemon.state.counts.get("conflicts", 0) == 0
    life.end()
    wanted = simulated(compiled(tmp_path), write_feed(tmp_path, lines_of(events), "whole.txt.jsonl"))
    assert found == sorted((_seen(it) for it in wanted), key=lambda it: (it[0], it[1]))


def _live_until(life: Life, instant: int) -> None:
    """Everything that is due up to an instant, each thing when it is."""
    daemon = life.daemon
    assert daemon is not None
    while True:
        daemon._last_turn = life.clocks.wall  # it has not slept meanwhile
        life.quiet()
        due = daemon.state.next_due
        if due is None or due > instant:
            break
        life.clocks.pass_(due - life.clocks.wall)
    life.clocks.pass_(instant - life.clocks.wall)


def _seen(effect: Effect) -> tuple[int, str, str, str | None]:
    return effect.time, effect.key, effect.status, effect.reason
