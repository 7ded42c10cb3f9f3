"""``run`` is killed at every durable step and starts again: nothing is lost, nothing is decided or sent twice.

``DRUMBEAT_CRASH_POINTS`` says at how many moments (default 340; a number larger than there are takes them all),
``DRUMBEAT_KILLS`` how often the process is killed from outside at an instant nobody chose (default 34).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import daemon_kit
import pytest
from crash_world import World, at_the_seam, killer, spread, without_disk
from daemon_kit import Life
from flow_program import effects_of

from engine import wiring
from engine.channels import file as file_channel
from engine.core.instants import format_instant
from engine.core.model import SECOND
from engine.ports import Batch, Outgoing
from engine.runtime import pump
from engine.runtime.intake import Intake
from engine.runtime.outbox import Outbox
from engine.stores import sqlite, wirefile
from engine.stores.sqlite import SqliteStore

MOMENTS = int(os.environ.get("DRUMBEAT_CRASH_POINTS", "340"))
RANDOM_RUNS = max(12, min(MOMENTS, 1_000) // 20)
KILLS = int(os.environ.get("DRUMBEAT_KILLS", "34"))

POINTS = [
    point
    for point in (*sqlite.FAULT_POINTS, *wirefile.FAULT_POINTS, *pump.FAULT_POINTS, *file_channel.FAULT_POINTS)
    if not point.startswith(("ingest", "release", "fold", "redrive", "drop", "forget", "import"))
]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("crash"), batch=7 if MOMENTS <= 1_000 else 2)


@pytest.fixture(scope="module")
def inbox_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("inbox"), inbox=True)


@cache
def chosen(world: World) -> dict[str, list[int]]:
    return spread(world.passes, MOMENTS)


def test_the_world_is_worth_crashing(world: World) -> None:
    """The undisturbed run equals the simulation, and has coupons that run out, seats, doubles and bad records."""
    assert world.wanted["effects"] == world.simulated
    seen = {(it.kind, it.status, it.reason) for it in world.simulated}
    assert {("coupon", "planned", None), ("coupon", "denied", "sold_out"), ("invite", "planned", None)} <= seen
    assert {("message", "planned", None), ("message", "held_out", "holdout"), ("tag", "planned", None)} <= seen
    assert {it.purpose for it in world.simulated} >= {"marketing", "service"}
    assert sum(world.sent["ads"].values()) > 10
    assert sum(world.sent["box"].values()) > 20
    assert world.wanted["counts"]["duplicate"] == 2
    assert {it.reason for it in world.wanted["quarantine"]} == {"json", "utf8", "time", "unknown_type"}


def test_every_point_is_passed(world: World) -> None:
    """An undisturbed run passes every declared fault point, so every one is crashed at."""
    assert set(POINTS) == set(world.passes)
    assert sum(map(len, chosen(world).values())) >= min(MOMENTS, len(world.passes))


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(world: World, point: str, record_property: Callable[[str, object], None]) -> None:
    """Killed at this point, whichever time it is passed: after a restart everything is there once.

    Semantics: store.atomic, effect-key.stable
    Failure: kill.anywhere — at each durable step
    """
    for moment in chosen(world)[point]:
        world.crash([moment], point)
    record_property("moments", len(chosen(world)[point]))


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_killed_while_writing_a_message(world: World, part: int) -> None:
    """Killed in the middle of a write to a channel's file: the torn line is no message and is written whole later."""
    with world.folder_for("torn") as root:
        writes = world.passes.count("send.before")
        assert world.killed(root, tearing(1 + part * (writes - 1) // 3))
        world.work(root)
        world.check(root, 1)


def tearing(which: int) -> Any:
    """A fault that lets only half of the n-th write to a channel reach the file."""
    left = which
    write = os.write

    def half(fd: int, data: Any) -> int:
        write(fd, data[: len(data) // 2])
        os.kill(os.getpid(), 9)
        return 0

    def fault(point: str) -> None:
        nonlocal left
        if point == "send.before":
            left -= 1
            if left == 0:
                os.write = half  # in the child alone

    return fault


@pytest.mark.parametrize("seed", range(RANDOM_RUNS))
def test_killed_again_and_again(world: World, seed: int) -> None:
    """Killed up to five times at random moments, also while it recovers.

    Semantics: store.atomic
    """
    rng = random.Random(seed)
    world.crash([rng.randint(1, len(world.passes)) for _ in range(rng.randint(2, 5))], "again")


@pytest.mark.parametrize("seed", range(RANDOM_RUNS))
def test_killed_on_the_way_in(inbox_world: World, seed: int) -> None:
    """Killed at random while events come by ``ingest`` and from a file: each is taken in and decided once."""
    rng = random.Random(1_000 + seed)
    inbox_world.crash([rng.randint(1, len(inbox_world.passes)) for _ in range(rng.randint(1, 3))], "inbox")


@pytest.mark.parametrize("seed", range(KILLS // 2))
def test_killed_from_outside(world: World, seed: int, record_property: Callable[[str, object], None]) -> None:
    """Killed by another process at an instruction nobody chose.

    Failure: kill.anywhere — at any instant
    """
    rng = random.Random(2_000 + seed)
    with world.folder_for("outside") as root:
        kills = sum(world.killed_from_outside(root, rng.randint(1, len(world.passes))) for _ in range(2))
        world.work(root)
        world.check(root, kills)
        assert effects_of(root) == world.simulated
    record_property("kills", kills)


def test_killed_while_folding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while states are brought from the log to their places."""
    monkeypatch.setattr(sqlite, "FOLD_SUBJECTS", 8)
    monkeypatch.setattr(sqlite, "TRAIL_ROWS", 20)
    monkeypatch.setattr(sqlite, "KEY_ROWS", 20)
    world = World(tmp_path, count=60)
    moments = [moment for moment, point in enumerate(world.passes, 1) if point.startswith("fold.")]
    assert {point for point in world.passes if point.startswith("fold.")} == {
        point for point in sqlite.FAULT_POINTS if point.startswith("fold.")
    }
    for moment in moments[:12]:
        world.crash([moment], "fold")


# -- the power of these tests: planted faults are found


class EagerPosition(SqliteStore):
    """Commits the feed's position in a transaction of its own, before what was decided."""

    def commit(self, batch: Batch) -> int:
        with self._file.transaction("meta"):
            self._file.write("save_position", batch.positions.items())
        batch.positions = {}
        return super().commit(batch)


class EagerInbox(SqliteStore):
    """Acknowledges ingested events before what was decided is committed."""

    def commit(self, batch: Batch) -> int:
        with self._file.transaction("meta"):
            self._file.write("clear_inbox", [(batch.inbox_done,)])
        return super().commit(batch)


class ReadThenWrite(SqliteStore):
    """Takes from stock what it had read, and writes the rest back in a transaction of its own."""

    def commit(self, batch: Batch) -> int:
        rest, batch.resources = batch.resources, {}
        conflicts = super().commit(batch)
        with self._file.transaction("meta"):
            self._file.write("save_resource", rest.items())
        return conflicts


class RunKeys(SqliteStore):
    """Gives effects of a process that was started again other keys."""

    def commit(self, batch: Batch) -> int:
        if self.get_meta("starts") not in (None, str(os.getpid())):
            for effect in batch.effects:
                effect.key += "#again"
        elif self.get_meta("starts") is None:
            self.set_meta("starts", str(os.getpid()))
        return super().commit(batch)


class UnmarkedClaim(SqliteStore):
    """Hands deliveries out without marking them durably."""

    def claim(self, channels: Any, now: int, limit: int) -> list[Outgoing]:
        found = [item for item, _ in self.deliveries("pending") if item.channel in channels][:limit]
        self._file.fault("claim.after_commit")
        return found


class AckFirst(Outbox):
    """Settles deliveries as sent before they are on the wire."""

    def _send(self, channel: Any, items: Any) -> dict[str, int]:
        from engine.ports import Settlement

        self._store.settle([Settlement(item.key, "sent") for item in items])
        return super()._send(channel, items)


class SendFirst(pump.Pump):
    """Forgets that what was sending when the process died is in doubt."""

    def until_idle(self) -> pump.Done:
        from engine.ports import Settlement

        self.store.settle([Settlement(item.key, "retry") for item in self.store.stuck()])
        for channel in self.outbox._channels.values() if self.outbox else ():
            channel.written = lambda keys: set()  # type: ignore[attr-defined]
        return super().until_idle()


_TWO = ("meta.", "commit.")  # one transaction was made two
PLANTED: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("position outside the transaction", {"store_class": EagerPosition}, _TWO),
    ("inbox acknowledged before the commit", {"store_class": EagerInbox, "inbox": True}, _TWO),
    ("stock read and then written", {"store_class": ReadThenWrite}, _TWO),
    ("effect key with a run id", {"store_class": RunKeys}, _TWO),
    ("claim that is not durable", {"store_class": UnmarkedClaim}, ("claim.", "send.")),
    ("sent before it is sent", {"outbox_class": AckFirst}, ("settle.after", "send.before")),
    ("doubt forgotten", {"pump_class": SendFirst}, ("send.", "settle.before")),
]


@pytest.mark.parametrize(("name", "classes", "seams"), PLANTED, ids=[name for name, *_ in PLANTED])
def test_planted_fault_is_found(tmp_path: Path, name: str, classes: dict[str, Any], seams: tuple[str, ...]) -> None:
    """A fault of this kind in the engine makes the crash test fail, within the moments tried by default.

    Failure: kill.planted
    """
    world = World(tmp_path, count=60, **classes)
    order = at_the_seam(world.passes, 200, seams, seed=7)
    found = 0
    for moment in order:
        try:
            world.crash([moment], "planted")
        except AssertionError:
            found = moment
            break
    assert found, f"{len(order)} crashes did not find it: {name}"


class NumbersAgain(SqliteStore):
    """Gives numbers of the inbox again as soon as it is empty: a reader that goes on behind the last one misses events.

    The same happens where a transaction with a smaller number commits later: a sequence says nothing of commits.
    """

    def commit(self, batch: Batch) -> int:
        conflicts = super().commit(batch)
        if not self.inbox(0, 1):
            with self._file.transaction("meta"):
                self._file.db.execute("delete from sqlite_sequence where name = 'inbox'")
        return conflicts


@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "planted"])
def test_a_cursor_that_trusts_a_sequence_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: bool
) -> None:
    """A daemon that stays decides each event that comes by hand; with numbers that are used again it misses some.

    Failure: kill.planted — a cursor that trusts a sequence
    """
    life = Life(tmp_path)
    if planted:
        monkeypatch.setattr(daemon_kit, "SqliteStore", NumbersAgain)
    life.start()
    wanted = []
    for number in range(1, 6):  # one, then two, and so on: numbers behind the last one, and before it
        rows = [{"id": f"h{number}.{n}", "type": "user.signup", "user": f"u{number}.{n}"} for n in range(number)]
        text = "".join(json.dumps(row | {"time": format_instant(life.clocks.wall)}) + "\n" for row in rows)
        (tmp_path / "hand.jsonl").write_text(text, encoding="utf-8")
        assert life.store is not None
        Intake(life.store, life.clocks).take(wiring.read_records(tmp_path / "hand.jsonl"))
        wanted += [row["user"] for row in rows]
        life.pass_(SECOND)
    found = sorted(user for user, _ in life.texts())
    life.end()
    assert (found == sorted(wanted)) is not planted


def test_the_killer_kills(world: World) -> None:
    """A moment that is never reached kills nobody; the last one does."""
    with world.folder_for("never") as root:
        assert not world.killed(root, killer(len(world.passes) + 1_000))
    with world.folder_for("last") as root:
        assert world.killed(root, killer(len(world.passes)))
