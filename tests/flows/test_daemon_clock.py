"""The daemon's clock: what is due fires when the machine says so; one that jumps fires nothing early or twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemon_kit import Clocks, Life

from engine.core.model import DAY, HOUR, MINUTE, SECOND
from engine.runtime.steady import SteadyClock

BOTH = [("u1", "hello"), ("u1", "again")]


def test_due_by_the_machines_clock(tmp_path: Path) -> None:
    """A wake-up fires at its instant, without any further event, and is sent at once."""
    life = Life(tmp_path)
    life.start()
    life.say("user.signup", "u1")
    life.quiet()
    begun = life.effects()[0].time
    life.pass_(HOUR - SECOND)
    assert life.sent() == BOTH[:1]
    life.pass_(SECOND)
    assert life.sent() == BOTH
    assert life.effects()[1].time == begun + HOUR
    life.end()


def test_the_bell_is_set_to_what_is_next(tmp_path: Path) -> None:
    """The state names the next instant at which something is due."""
    life = Life(tmp_path)
    daemon = life.start()
    life.say("user.signup", "u1")
    life.quiet()
    assert daemon.state.next_due == life.effects()[0].time + HOUR
    life.end()


@pytest.mark.parametrize("jump", [DAY, 3_650 * DAY, 11 * MINUTE])
def test_a_jump_ahead_fires_nothing(tmp_path: Path, jump: int) -> None:
    """The clock jumps ahead: nothing that is due later fires, events are decided, the operator is told.

    Semantics: store.clock-jump — wake-ups pause and an alert is given at a jump of more than 10 minutes
    Failure: clock.ahead
    """
    life = Life(tmp_path)
    daemon = life.start()
    life.say("user.signup", "u1")
    life.quiet()
    life.pass_(HOUR - 10 * MINUTE)
    life.clocks.jump(jump)
    life.pass_(9 * MINUTE)
    assert life.sent() == BOTH[:1]
    assert (daemon.state.status, daemon.state.ready) == ("paused", True)
    assert "ahead" in daemon.state.reason
    assert daemon.state.counts["clock.jumps"] == 1
    life.clocks.jump(-jump)  # the clock is set right
    life.pass_(MINUTE)
    assert life.sent() == BOTH
    assert daemon.state.status == "running"
    life.end()


def test_events_go_on_while_the_clock_is_in_doubt(tmp_path: Path) -> None:
    """Events of the time that is believed are decided; those of the doubtful time wait, and are not refused.

    Semantics: store.clock-jump — what lies ahead of the clock that is believed waits in its feed
    """
    life = Life(tmp_path)
    daemon = life.start()
    life.quiet()
    life.clocks.jump(DAY)
    life.say("user.signup", "u1", ago=DAY)  # by the clock that is believed
    life.say("user.signup", "u2", feed="b")  # by the clock that jumped
    life.quiet()
    assert life.texts() == [("u1", "hello")]
    daemon.trust_clock()
    life.quiet()
    assert sorted(life.texts()) == [("u1", "again"), ("u1", "hello"), ("u2", "hello")]
    assert daemon.state.counts.get("events.quarantined", 0) == 0
    life.end()


def test_a_jump_that_events_confirm(tmp_path: Path) -> None:
    """After five steady minutes in which an event bore the new time, the new time holds; without one it never does.

    Semantics: store.clock-jump — it goes on when a second source agrees for five minutes
    """
    life = Life(tmp_path)
    daemon = life.start()
    life.say("user.signup", "u1")
    life.quiet()
    life.clocks.jump(DAY)
    life.pass_(HOUR - MINUTE)
    assert daemon.state.status == "paused"
    life.say("user.signup", "u2")
    life.quiet()
    life.pass_(MINUTE)
    assert daemon.state.status == "running"
    assert sorted(life.texts()) == [("u1", "again"), ("u1", "hello"), ("u2", "hello")]
    life.end()


@pytest.mark.parametrize("jump", [HOUR, DAY])
def test_a_jump_back_does_nothing_twice(tmp_path: Path, jump: int) -> None:
    """The clock is set back: what fired does not fire again, the engine's clock stands, and later it goes on.

    Semantics: store.clock — never behind the last commit, in the daemon too
    Failure: clock.back — in the daemon
    """
    life = Life(tmp_path)
    daemon = life.start()
    life.say("user.signup", "u1")
    life.quiet()
    life.pass_(HOUR)
    before = daemon.state.clock
    life.clocks.jump(-jump)
    life.say("user.signup", "u2", ago=-jump)
    life.pass_(30 * MINUTE)
    assert daemon.state.clock >= before
    assert daemon.state.counts["clock.jumps"] == 1
    life.end()
    life.start()
    life.pass_(jump, step=10 * MINUTE)
    life.pass_(HOUR)
    assert sorted(life.texts()) == [("u1", "again"), ("u1", "hello"), ("u2", "again"), ("u2", "hello")]
    life.end()


def test_small_steps_are_followed() -> None:
    """Minutes either way are an ordinary correction; between two looks time flows by the clock that never jumps."""
    clocks = Clocks()
    clock = SteadyClock(clocks)
    clocks.jump(9 * MINUTE)
    assert clock.now() == clocks.wall - 9 * MINUTE
    assert clock.look() is None
    assert clock.now() == clocks.wall
    clocks.jump(-9 * MINUTE)
    assert clock.look() is None
    assert clock.now() == clocks.wall


def test_a_clock_that_will_not_stand_still() -> None:
    """A wall clock that jumps again and again is not believed, whatever events say."""
    clocks = Clocks()
    clock = SteadyClock(clocks)
    clocks.jump(HOUR)
    assert "ahead" in str(clock.look())
    for _ in range(10):
        clocks.pass_(4 * MINUTE)
        clock.heard(clocks.wall)
        clocks.jump(MINUTE)
        assert clock.look() is None
        assert clock.paused
    clock.trust()
    assert clock.now() == clocks.wall
