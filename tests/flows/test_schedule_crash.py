"""A blast is killed at many moments and started again: each subject gets it exactly once.

``DRUMBEAT_CRASH_POINTS`` says at how many moments (default 8; a large number takes them all).
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_world import _ended, _live_and_die, at_the_seam, killer, spread, without_disk
from flow_program import lines_of, picture, run, sent_keys, simulated, write_feed
from schedule_program import write_schedules
from semantics_kit import event

from engine.core.slots import SlotTable
from engine.ports import Batch
from engine.runtime import walk
from engine.stores.sqlite import SqliteStore

MOMENTS = int(os.environ.get("DRUMBEAT_CRASH_POINTS", "8"))
USERS = 2_400
CHUNK = 200

BLAST = """\
playbook: blast
title: To all
trigger: {schedule: {cron: "0 10 2 1 *", audience: user.city != "杭州"}}
entry: {mode: parallel, limit: unlimited}
steps:
  - coupon: {pool: few, on_exhausted: skip}
    id: gift
  - points: 1
  - message: {template: hello, via: box, purpose: service}
"""
OWN = """\
playbook: own
title: In everybody's morning
trigger: {schedule: {cron: "30 9 2 1 *", zone: user, audience: user.city != "杭州"}}
entry: {mode: parallel, limit: unlimited}
steps:
  - points: 100
"""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "CHUNK", CHUNK)
        yield


class Blast:
    """The program, a crowd, and what an undisturbed run makes of them."""

    def __init__(self, folder: Path, store_class: type[SqliteStore] = SqliteStore, users: int = USERS) -> None:
        self.folder = folder
        self.store_class = store_class
        own = {"playbooks/daily.yaml": BLAST, "playbooks/own.yaml": OWN}
        own["lists/few.csv"] = "".join(f"F{n:04d}\n" for n in range(2_000))
        own["playbooks/catalog/catalog.yaml"] = (
            "coupons:\n  few: {value: {off: 5}, codes: {file: lists/few.csv}, limits: {per_user: 1, total: 1000}}\n"
            "points: {main: {}}\n"
        )
        self.program = write_schedules(folder / "program", **own)
        rng = random.Random(5)
        zones = ["America/New_York", "Asia/Tokyo", "Asia/Shanghai"]
        crowd = [
            event(f"e{n}", "user.signup", "2026-01-01T00:00:00Z", f"u{n:05d}", zone=rng.choice(zones),
                  city=rng.choice(["上海", "上海", "杭州"]))
            for n in range(users)
        ]  # fmt: skip
        self.base = folder / "before"
        self.base.mkdir()
        write_feed(self.base, lines_of(crowd))
        self.work(self.base)
        end = lines_of([event("end", "x", "2026-01-03T00:00:00Z", "last", city="杭州")])
        write_feed(self.base, lines_of(crowd) + end)
        self.passes: list[str] = []
        root = self.fresh()
        self.work(root, self.passes.append)
        self.wanted = picture(root)
        self.sent = Counter(sent_keys(root, "box"))
        self.simulated = simulated(self.program, root / "feed" / "a.jsonl")

    def fresh(self) -> Path:
        """A folder in which everybody has signed up, and the feed has gone on."""
        root = self.folder / f"run{len(list(self.folder.iterdir()))}"
        shutil.copytree(self.base, root)
        return root

    def work(self, root: Path, fault: Any = None) -> None:
        run(self.program, root, batch=1_000, fault=fault, store_class=self.store_class)

    def crash(self, moments: list[int]) -> None:
        root = self.fresh()
        for moment in moments:
            child = os.fork()
            if child == 0:
                _live_and_die(lambda moment=moment: self.work(root, killer(moment)), root)  # type: ignore[misc]
            _ended(child, root)
        self.work(root)
        found = picture(root)
        for part, value in self.wanted.items():
            assert found[part] == value, part
        assert Counter(sent_keys(root, "box")) == self.sent
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def blast(tmp_path_factory: pytest.TempPathFactory) -> Blast:
    return Blast(tmp_path_factory.mktemp("blast"))


def test_the_blast_is_worth_crashing(blast: Blast) -> None:
    """Thousands in several chunks and three zones, with codes that run out; a run equals the simulation."""
    assert blast.wanted["effects"] == blast.simulated
    entered = Counter(it.playbook for it in blast.simulated if it.kind == "points")
    assert entered["blast"] == entered["own"] > USERS // 2
    assert Counter(it.status for it in blast.simulated if it.kind == "coupon")["planned"] == 1_000
    assert blast.passes.count("commit.slots") > 3 * USERS // CHUNK


def test_killed_during_a_blast(blast: Blast) -> None:
    """Killed at moments of every kind while a slot is walked: each subject is entered and written to exactly once.

    Semantics: schedule.resumable
    Failure: slots.missed — killed
    """
    moments = [moment for chosen in spread(blast.passes, MOMENTS).values() for moment in chosen]
    for moment in random.Random(1).sample(moments, min(MOMENTS, len(moments))):
        blast.crash([moment])


@pytest.mark.parametrize("seed", range(max(2, MOMENTS // 20)))
def test_killed_again_and_again(blast: Blast, seed: int) -> None:
    """Killed several times at random moments of the blast, also while it goes on after a crash.

    Semantics: schedule.resumable
    """
    rng = random.Random(seed)
    blast.crash([rng.randint(1, len(blast.passes)) for _ in range(rng.randint(2, 4))])


# -- the power of these tests: planted faults are found


class LateCursor(SqliteStore):
    """Keeps the cursor of a walk in a transaction of its own, after what was decided."""

    def commit(self, batch: Batch) -> int:
        slots, batch.slots = batch.slots, {}
        conflicts = super().commit(batch)
        with self._file.transaction("meta"):
            self._file.write("save_slot", [(name, row) for name, row in slots.items() if row is not None])
        return conflicts


class EarlyCursor(SqliteStore):
    """Keeps the cursor before what was decided."""

    def commit(self, batch: Batch) -> int:
        with self._file.transaction("meta"):
            rows = [(name, row) for name, row in batch.slots.items() if row is not None]
            self._file.write("save_slot", rows)
        batch.slots = {}
        return super().commit(batch)


@pytest.mark.parametrize("planted", [LateCursor, EarlyCursor])
def test_a_cursor_of_its_own_is_found(tmp_path: Path, planted: type[SqliteStore]) -> None:
    """A cursor that is not committed with its chunk makes these tests fail."""
    blast = Blast(tmp_path, planted, users=600)
    moments = at_the_seam(blast.passes, 150, ("meta.", "commit.after_commit"), seed=2)
    for moment in moments:
        try:
            blast.crash([moment])
        except AssertionError:
            return
    pytest.fail(f"{len(moments)} crashes did not find it")


def test_a_cursor_that_is_forgotten_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that begins anew after a crash makes these tests fail."""
    blast = Blast(tmp_path, users=600)
    begin = SlotTable.begin

    def forgetful(self: SlotTable, clock: int) -> None:
        for row in self.rows.values():
            row.after = ""
        begin(self, clock)

    monkeypatch.setattr(SlotTable, "begin", forgetful)
    middle = [moment for moment, point in enumerate(blast.passes, 1) if point == "commit.after_commit"]
    with pytest.raises(AssertionError):
        blast.crash([middle[len(middle) // 2]])
