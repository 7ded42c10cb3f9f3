"""Points, refunds, rewards, coupons and seats while ``run`` is killed: no unit is lost, none is given twice.

``DRUMBEAT_CRASH_POINTS`` and ``DRUMBEAT_KILLS`` say how often, as in ``test_crash``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crash_world
import flow_program
import pytest
from crash_world import World, spread, without_disk

from engine.stores.sqlite import SqliteStore

MOMENTS = int(os.environ.get("DRUMBEAT_CRASH_POINTS", "340")) // 4
KILLS = int(os.environ.get("DRUMBEAT_KILLS", "34")) // 2
STOCK = 5

CATALOG = flow_program.FILES["playbooks/catalog/catalog.yaml"].replace(
    "points: {main: {title: Points}}\n",
    """points:
  main:
    expires: 4d
    daily_cap: 9
    earn:
      - {event: app.opened, points: 2, per_day: 2}
      - {event: order.paid, points: "{{ event.amount // 2 }}", pending: 1d,
         reverse_on: {event: order.refunded, match: amount, within: 5d}}
rewards: {mug: {points: 4, stock: 5, per_user: 2}}
""",
)
MALL = """\
playbook: mall
title: A mug for points
trigger: {event: app.opened}
entry: {mode: restart, limit: unlimited}
exit: [{event: user.signup}]
steps:
  - redeem: {reward: mug, on_denied: stop}
    id: mug
  - wait_for: {event: order.paid, up_to: 2d, then: [{redeem: {confirm: mug}}], else: stop}
"""


def refunds(seed: int, count: int, users: int = 12) -> list[dict[str, Any]]:
    """The usual feed; who looked at a page now gives an order back."""
    rng, events = random.Random(seed), flow_program.make_events(seed, count, users)
    for it in events:
        if it["type"] == "page.seen":
            it["type"], it["data"] = "order.refunded", {"amount": rng.choice([5, 12.5, 20])}
    return events


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    files = flow_program.FILES
    head = files["drumbeat.yaml"].replace("  app.opened: {}\n", "  app.opened: {}\n  order.refunded: {amount: money}\n")
    with without_disk(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(files, "drumbeat.yaml", head)
        patch.setitem(files, "playbooks/catalog/catalog.yaml", CATALOG)
        patch.setitem(files, "playbooks/mall.yaml", MALL)
        patch.setattr(crash_world, "make_events", refunds)
        yield World(tmp_path_factory.mktemp("ledger"), count=220)


def sound(root: Path) -> Counter[str]:
    """The store keeps every promise, and no reward was given too often; what stands in the ledger, by kind."""
    store = SqliteStore.open(root / "s.db", read_only=True)
    try:
        assert store.check() == []
        taken: Counter[str] = Counter()
        for it in store.ledger():
            if it.book == "reward":
                taken[it.name] += it.delta
                assert 0 <= taken[it.name] <= STOCK
        assert all(n >= 0 for state in store.subjects() for n in state.points.values())
        return Counter(f"{it.book} {it.what}" for it in store.ledger())
    finally:
        store.close()


def test_the_world_has_everything(world: World) -> None:
    """The undisturbed run equals the simulation, and points are earned, wait, lapse, are taken back and spent in it."""
    assert world.wanted["effects"] == world.simulated
    with world.folder_for("whole") as root:
        world.work(root)
        seen = sound(root)
    wanted = {f"points {what}" for what in ("earned", "pending", "settled", "expired", "reversed", "held", "released")}
    assert seen.keys() >= wanted | {"points redeemed", "reward held", "reward redeemed", "reward released"}
    assert seen.keys() >= {"coupon issued", "seat held", "seat released"}


def test_killed_anywhere(world: World) -> None:
    """Killed at any durable step the ledger, states and stocks are those of a run nobody disturbed.

    Semantics: points.ledger, reward.once — kills
    """
    moments = sorted(moment for of in spread(world.passes, MOMENTS).values() for moment in of)
    for moment in moments:
        with world.folder_for("kill") as root:
            kills = world.killed(root, crash_world.killer(moment))
            world.work(root)
            world.check(root, int(kills))
            sound(root)


def test_killed_again_and_again(world: World) -> None:
    """Killed from outside at instants nobody chose, over and over in one folder, until the work is done."""
    rng = random.Random(5)
    with world.folder_for("again") as root:
        kills = sum(world.killed_from_outside(root, rng.randrange(1, 60)) for _ in range(KILLS))
        world.work(root)
        world.check(root, kills)
        assert kills
        sound(root)
