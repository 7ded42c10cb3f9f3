"""Deliveries against a provider that is slow, hangs, fails and lies: doubles, losses and doubts, exactly.

The world is virtual (``provider_world.py``), the store is real; bench/provider_sim.py runs the same with 100,000.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from provider_world import START, Moods, Provider, Time, World, busiest, planned

from engine.core.model import HOUR, MINUTE, SECOND
from engine.ports import Pace
from engine.runtime.breaker import LAST, PROBE_EVERY
from engine.stores.sqlite import SqliteStore

COUNT = int(os.environ.get("DRUMBEAT_PROVIDER_MESSAGES", "3000"))
LIES = Moods(swallowed=500, lost=100, hanging=20, failing=300, slow=100)
PACE = Pace(concurrency=8, batch=5, attempts=30)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    made = SqliteStore.open(tmp_path / "s.db", durable=False)
    yield made
    made.close()


def world_of(store: Any, mode: str, *, aware: bool, moods: Moods = LIES, pace: Pace = PACE, **more: Any) -> World:
    time = Time()
    return World(store, time, Provider(time, moods, aware, **more), pace, mode)


@pytest.mark.parametrize("kills", [0, 0.02], ids=["calm", "killed"])
def test_at_least_once_to_a_provider_that_knows_keys(store: Any, kills: float) -> None:
    """Answers lost in 5 % and processes killed: every message goes out, and none twice.

    Semantics: effect-key.unknown, effect-key.given
    Failure: send.unknown — at least once
    """
    world = world_of(store, "at_least_once", aware=True)
    keys = planned(store, COUNT)
    world.run(kills=kills)
    assert world.statuses() == {"sent": COUNT}
    assert world.provider.outgoing == dict.fromkeys(keys, 1)
    assert len(world.provider.doubtful) > COUNT / 25
    assert world.kills > 5 or not kills


@pytest.mark.parametrize("kills", [0, 0.02], ids=["calm", "killed"])
def test_at_least_once_to_a_provider_that_knows_none(store: Any, kills: float) -> None:
    """Nothing is lost; what goes out twice is exactly what went out unheard the time before.

    Semantics: effect-key.unknown
    Failure: send.unknown
    """
    world = world_of(store, "at_least_once", aware=False)
    keys = planned(store, COUNT)
    world.run(kills=kills)
    outgoing = world.provider.outgoing
    assert world.statuses() == {"sent": COUNT}
    assert set(outgoing) == set(keys)
    assert outgoing.total() - COUNT == world.provider.unconfirmed > 0
    assert {key for key, times in outgoing.items() if times > 1} <= world.provider.doubtful


@pytest.mark.parametrize("aware", [True, False])
@pytest.mark.parametrize("kills", [0, 0.02], ids=["calm", "killed"])
def test_at_most_once(store: Any, aware: bool, kills: float) -> None:
    """Nothing goes out twice; what stands as unknown is exactly what nobody was told the end of, the rest is sent.

    Semantics: effect-key.unknown
    Failure: send.unknown — at most once
    """
    world = world_of(store, "at_most_once", aware=aware)
    planned(store, COUNT)
    world.run(kills=kills)
    outgoing, unknown = world.provider.outgoing, world.keys("unknown")
    assert max(outgoing.values()) == 1
    assert unknown == world.provider.doubtful
    assert world.statuses() == {"sent": COUNT - len(unknown), "unknown": len(unknown)}
    assert all(outgoing[effect.key] == 1 for effect, how in store.effects() if how == "sent")


@pytest.mark.parametrize("rate", [(50, SECOND), None], ids=["rate told", "rate not told"])
def test_a_provider_with_a_limit(store: Any, rate: tuple[int, int] | None) -> None:
    """A provider that takes 50 a second gets 45 to 50 a second, few more in vain, and none is given up for that.

    Where the rate is told, less than 5 % are in vain; where it is not, five at a time run against the limit.

    Semantics: outbox.rates
    Failure: provider.busy
    """
    pace = Pace(rate=rate, concurrency=5 if rate is None else 8, batch=1, attempts=3)
    world = world_of(store, "at_least_once", aware=False, moods=Moods(), pace=pace, limit=50)
    planned(store, 1_000)
    world.run()
    arrivals = world.provider.arrivals
    taken = [at for at, mood in arrivals if mood == "well"]
    seconds = (taken[-1] - taken[0]) / SECOND
    assert world.statuses() == {"sent": 1_000}
    assert 45 <= (len(taken) - 1) / seconds <= 50
    assert len(arrivals) - len(taken) < len(arrivals) / (20 if rate else 10)
    assert busiest(taken) <= 50


def test_an_outage(store: Any) -> None:
    """In half an hour without an answer a probe goes at most every five seconds; then all go, at the rate, none lost.

    Semantics: outbox.rates
    Failure: provider.down
    """
    pace = Pace(rate=(500, SECOND), concurrency=8, batch=20, attempts=8)
    world = world_of(store, "at_least_once", aware=False, moods=Moods(), pace=pace)
    world.provider.outage = (START + 2 * SECOND, START + 30 * MINUTE)
    planned(store, 2 * COUNT)
    world.run()
    failing = [at for at, mood in world.provider.arrivals if mood == "failing"]
    probes = [at for at in failing if at > START + 5 * SECOND]
    assert len(failing) - len(probes) <= LAST + pace.concurrency * pace.batch
    assert 300 < len(probes) <= 30 * 60 / 5
    # a call takes 50 to 100 ms
    assert all(later - earlier > PROBE_EVERY - SECOND // 10 for earlier, later in pairwise(probes))
    assert world.statuses() == {"sent": 2 * COUNT}
    assert set(world.provider.outgoing.values()) == {1}
    assert busiest([at for at, _ in world.provider.arrivals]) <= 500 * 11 // 10  # a call takes longer or shorter


def test_no_burst_after_restarts(store: Any) -> None:
    """A process that dies again and again sends no faster than its rate.

    Semantics: outbox.rates
    """
    pace = Pace(rate=(20, SECOND), concurrency=4, batch=5)
    world = world_of(store, "at_least_once", aware=True, moods=Moods(), pace=pace)
    planned(store, 400)
    world.run(kills=0.2)
    assert world.kills > 20
    assert busiest([at for at, _ in world.provider.arrivals]) <= 20 + 10
    assert world.statuses() == {"sent": 400}


def test_the_horizon(store: Any) -> None:
    """What failed once and could be tried again only after the provider has forgotten its key is parked, not resent.

    Semantics: outbox.horizon
    Failure: send.horizon
    """
    world = world_of(store, "at_least_once", aware=False, moods=Moods(failing=10_000), pace=Pace(attempts=100))
    planned(store, 3)
    world.run(until=START + MINUTE)
    tried = len(world.provider.arrivals)
    assert tried >= 3
    world.time.at = START + 25 * HOUR
    world.provider.moods.failing = 0
    world.run()
    assert len(world.provider.arrivals) == tried
    assert {it.reason for it in store.outbox("dead")} == {"retry horizon: its next try would come too late"}
    assert store.redrive(sorted(world.keys("dead"))) == 3
    world.run()
    assert world.statuses() == {"sent": 3}
