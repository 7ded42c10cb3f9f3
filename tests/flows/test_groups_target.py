"""A group meets its target: every one of ten thousand members is rewarded exactly once, whoever dies on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_world import World, killer, without_disk
from flow_program import BASE, compiled, effects_of, lines_of, simulated, write_feed
from group_program import write_program

from engine.core.instants import format_instant
from engine.core.model import HOUR, SECOND
from engine.stores.sqlite import SqliteStore

MEMBERS = 10_000
AFTER = 5  #: members who join when the target is met already

FILES = {
    "drumbeat.yaml": """\
program: target
feeds: [{file: feed/*.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
""",
    "playbooks/target.yaml": """\
playbook: quarterly-target
title: 季度目标达成，人人有奖
subject: group
trigger: {event: group.kpi, if: event.value >= 100}
entry: once
steps:
  - emit: {type: group.target_met, to: members, data: {bonus: 50}}
""",
    "playbooks/reward.yaml": """\
playbook: reward
title: The reward of a member
trigger: {event: group.target_met}
entry: {mode: parallel, limit: unlimited}
steps: [{points: "{{ event.bonus }}"}]
""",
}


def feed() -> bytes:
    """Everybody joins, some leave, the target is met, a few come late, a day passes."""
    rows: list[tuple[int, str, str | None]] = [(BASE + n, "group.joined", f"m{n:05d}") for n in range(MEMBERS)]
    rows += [(BASE + MEMBERS + n, "group.left", f"m{n:05d}") for n in range(0, MEMBERS, 1_000)]
    rows += [(BASE + HOUR, "group.kpi", None)]
    rows += [(BASE + HOUR + SECOND, "group.joined", f"late{n}") for n in range(AFTER)]
    rows += [(BASE + 2 * HOUR, "group.kpi", None)]
    return lines_of(
        {"id": f"e{place}", "type": type_, "user": user, "group": "shanghai", "time": format_instant(at),
         "data": {"value": 120} if user is None else {}}
        for place, (at, type_, user) in enumerate(rows)
    )  # fmt: skip


class TargetWorld(World):
    """As ``World``, of this program."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inbox, self.batch, self.classes = folder, False, 5_000, {}
        self.program = compiled(write_program(folder / "program", FILES))
        self.filed = feed()
        self.passes = []
        self.work(self.fresh("undisturbed"), self.passes.append)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TargetWorld:
    return TargetWorld(tmp_path_factory.mktemp("target"))


def rewarded(root: Path) -> Counter[str]:
    """How often each user was given points."""
    return Counter(str(it.user) for it in effects_of(root) if it.kind == "points" and it.status == "planned")


def everybody() -> Counter[str]:
    """Who is a member when the target is met, once each."""
    left = set(range(0, MEMBERS, 1_000))
    return Counter(f"m{number:05d}" for number in range(MEMBERS) if number not in left)


@pytest.mark.parametrize("part", range(3))
def test_each_member_once(world: TargetWorld, part: int) -> None:
    """Killed anywhere between the target and the last reward, each of 9,990 members has its reward, once.

    Semantics: group.members
    Failure: kill.anywhere — in the middle of a walk over members
    """
    late = len(world.passes) - len(world.passes) // 3
    moment = late + part * (len(world.passes) - late) // 3
    with world.folder_for("killed") as root:
        world.killed(root, killer(moment))
        world.work(root)
        assert rewarded(root) == everybody()
        store = SqliteStore.open(root / "s.db", read_only=True)
        try:
            assert store.slots() == {}
            assert store.load(["\x01group:shanghai"])["\x01group:shanghai"].members == MEMBERS - 10 + AFTER
        finally:
            store.close()


def test_simulated(world: TargetWorld, tmp_path: Path) -> None:
    """``simulate`` rewards the same members, once each.

    Semantics: group.members
    """
    found = simulated(world.program, write_feed(tmp_path, world.filed))
    given = Counter(str(it.user) for it in found if it.kind == "points")
    assert given == everybody()
    assert [it.detail["to"] for it in found if it.kind == "emit"] == ["members"]
