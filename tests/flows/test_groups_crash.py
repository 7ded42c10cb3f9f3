"""A program of groups is killed at every durable step and starts again: nothing lost, nothing twice, nobody missed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_world import World, spread, without_disk
from flow_program import compiled, effects_of, lines_of, picture, sent_keys, simulated, write_feed
from group_program import make_events, write_program

from engine.runtime import walk

MOMENTS = 60


class GroupWorld(World):
    """As ``World``, of the program about groups; walks go two subjects a transaction."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inbox, self.batch, self.classes = folder, False, 7, {}
        self.program = compiled(write_program(folder / "program"))
        self.filed = lines_of(make_events(5, 120))
        self.simulated = simulated(self.program, write_feed(folder / "program", self.filed, "whole.jsonl"))
        self.passes = []
        root = self.fresh("undisturbed")
        self.work(root, self.passes.append)
        self.wanted = picture(root)
        self.sent = {channel: Counter(sent_keys(root, channel)) for channel in ("ads", "box", "wecom")}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "CHUNK", 2)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> GroupWorld:
    return GroupWorld(tmp_path_factory.mktemp("crash"))


def test_the_world_is_worth_crashing(world: GroupWorld) -> None:
    """The undisturbed run equals the simulation; events went out to members, in several transactions."""
    assert world.wanted["effects"] == world.simulated
    assert any(it.kind == "emit" and it.detail.get("to") == "members" for it in world.simulated)
    assert sum(it.playbook == "reward" and it.kind == "points" for it in world.simulated) > 4


@pytest.mark.parametrize("part", range(4))
def test_killed_at(world: GroupWorld, part: int) -> None:
    """Killed at each durable step of a program of groups: after a restart everything is there once."""
    moments = [it for found in spread(world.passes, MOMENTS).values() for it in found]
    for moment in moments[part::4]:
        world.crash([moment])


@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again(world: GroupWorld, seed: int) -> None:
    """Killed up to five times at random moments, also while it recovers."""
    rng = random.Random(seed)
    world.crash([rng.randint(1, len(world.passes)) for _ in range(rng.randint(2, 5))], "again")


def test_simulation_is_what_is_in_the_store(world: GroupWorld, tmp_path: Path) -> None:
    """Chunks of walks change no outcome."""
    root = world.fresh("large")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "CHUNK", 5_000)
        world.work(root)
    assert effects_of(root) == world.wanted["effects"]
