"""Killing ``run`` at a chosen moment, starting it again until it ends, and counting what became of everything.

A child is forked, so the compiled program is there at once. A moment is the number of a pass: fault points of the
store, the pump and the channels are counted together, in the order in which an undisturbed run passes them.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flow_program import (
    Wall,
    compiled,
    lines_of,
    make_events,
    picture,
    run,
    sent_keys,
    simulated,
    write_feed,
    write_program,
)

from engine import wiring
from engine.runtime.intake import Intake
from engine.stores.sql import sqlite_file, sqlite_place
from engine.stores.sqlite import SqliteStore

BATCH = 7
Fault = Callable[[str], object]


def feed_bytes(count: int, seed: int = 3) -> bytes:
    """A feed with everything a feed can hold: events, repeated ids, a broken line, an empty one, a closed type."""
    events = make_events(seed, count)
    lines = lines_of(events).splitlines(keepends=True)
    distant = lines[30].replace(b'"e', b'"x', 1).replace(b'"time": "2026', b'"time": "3026')
    lines[30:30] = [lines[3], b'{"id": "broken"\n', b"\n", lines[29], b"\xff\xfe\n", distant]
    return b"".join(lines)


class World:
    """One program, one feed, and what an undisturbed run makes of them.

    ``inbox``: the first half of the feed comes by ``ingest``, the rest from a file. ``batch``: events a transaction.
    """

    def __init__(
        self, folder: Path, *, inbox: bool = False, count: int = 150, batch: int = BATCH, **classes: Any
    ) -> None:
        self.folder = folder
        self.inbox = inbox
        self.batch = batch
        self.classes = classes
        self.program = compiled(write_program(folder / "program", others="closed"))
        content = feed_bytes(count)
        half = content.index(b"\n", len(content) // 2) + 1 if inbox else 0
        self.ingested, self.filed = content[:half], content[half:]
        whole = write_feed(folder / "program", content, "whole.jsonl")
        self.simulated = simulated(self.program, whole)
        self.passes: list[str] = []
        root = self.fresh("undisturbed")
        self.work(root, self.passes.append)
        self.wanted = picture(root)
        self.sent = {channel: Counter(sent_keys(root, channel)) for channel in ("ads", "box")}

    def fresh(self, name: str) -> Path:
        """A folder with the feed and nothing else."""
        root = Path(tempfile.mkdtemp(prefix=name.replace(".", "-"), dir=self.folder))
        write_feed(root, self.filed)
        if self.inbox:
            (root / "in.jsonl").write_bytes(self.ingested)
        return root

    def work(self, root: Path, fault: Fault | None = None) -> None:
        """All the work there is: what comes by hand goes into the inbox, then everything is decided and sent."""
        if self.inbox and not (root / "ingested").exists():
            store = SqliteStore.open(root / "s.db", fault=fault or _nothing)
            try:
                Intake(store, Wall(), known_types=self.program.known_types, batch=self.batch).take(
                    wiring.read_records(root / "in.jsonl")
                )
            finally:
                store.close()
            (root / "ingested").touch()
        run(self.program, root, batch=self.batch, fault=fault, **self.classes)

    # -- killing

    def killed(self, root: Path, fault: Fault) -> bool:
        """Do the work in a child; whether it was killed. A child that fails in any other way fails the test."""
        child = os.fork()
        if child == 0:
            _live_and_die(lambda: self.work(root, fault), root)
        return _ended(child, root)

    def killed_from_outside(self, root: Path, passes: int) -> bool:
        """As ``killed``, by this process as soon as it has heard of so many passes; the child goes on meanwhile."""
        hear, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(hear)
            _live_and_die(lambda: self.work(root, lambda point: os.write(tell, b".")), root)
        os.close(tell)
        heard = 0
        while heard < passes and (got := os.read(hear, passes - heard)):
            heard += len(got)
        os.kill(child, signal.SIGKILL)
        os.close(hear)
        return _ended(child, root)

    def crash(self, moments: Iterable[int], name: str = "crash") -> None:
        """Kill the work at each of these passes in turn, let it end, and check."""
        with self.folder_for(name) as root:
            kills = 0
            for moment in moments:
                kills += self.killed(root, killer(moment))
            self.work(root)
            self.check(root, kills)

    @contextmanager
    def folder_for(self, name: str) -> Iterator[Path]:
        """A fresh folder, removed when all went well."""
        root = self.fresh(name)
        yield root
        shutil.rmtree(root)

    # -- counting

    def check(self, root: Path, kills: int) -> None:
        """Nothing lost, nothing twice, whatever happened in the folder."""
        assert faults(root) == []
        found = picture(root)
        assert found["effects"] == self.wanted["effects"], "effects are lost, other or more"
        for part, value in self.wanted.items():
            if self.inbox and part in ("counts", "quarantine"):
                continue  # a file taken in again is counted again
            assert found[part] == value, part
        codes = [it.detail["code"] for it in found["effects"] if it.kind == "coupon" and it.status == "planned"]
        assert len(codes) == len(set(codes))
        got, want = Counter(sent_keys(root, "box")), self.sent["box"]
        assert got == want, f"at_least_once: lost {want - got}, and the file knows no doubles {got - want}"
        ads = Counter(sent_keys(root, "ads"))
        assert not ads - self.sent["ads"], "at_most_once: sent twice"
        waiting = parked(root)
        assert set((self.sent["ads"] - ads).elements()) <= waiting, "at_most_once: missing and not parked"
        assert len(waiting) <= kills * BATCH * 2


def faults(root: Path) -> list[Any]:
    """What ``fsck`` finds."""
    store = SqliteStore.open(root / "s.db", read_only=True)
    try:
        return list(store.check())
    finally:
        store.close()


def parked(root: Path) -> set[str]:
    """Keys of the messages that wait for a person."""
    store = SqliteStore.open(root / "s.db", read_only=True)
    try:
        assert store.deliveries("pending") == store.deliveries("sending") == store.deliveries("dead") == []
        return {item.key for item, _ in store.deliveries("unknown")}
    finally:
        store.close()


def killer(moment: int) -> Fault:
    """A fault that kills the process at its n-th pass, counted from 1."""
    left = moment

    def fault(point: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


def spread(passes: list[str], total: int, seed: int = 1) -> dict[str, list[int]]:
    """About ``total`` moments: of each point the first and the last pass, then others, fairly over the points."""
    rng = random.Random(seed)
    waiting: dict[str, list[int]] = {}
    for moment, point in enumerate(passes, 1):
        waiting.setdefault(point, []).append(moment)
    for moments in waiting.values():
        ends = moments[:1] + moments[-1:][: len(moments) - 1]
        middle = moments[1:-1]
        rng.shuffle(middle)
        moments[:] = ends + middle
    chosen: dict[str, list[int]] = {point: [] for point in waiting}
    while total > 0 and any(waiting.values()):
        for point, moments in waiting.items():
            if moments and total > 0:
                chosen[point].append(moments.pop(0))
                total -= 1
    return chosen


def at_the_seam(passes: list[str], total: int, seams: tuple[str, ...], seed: int) -> list[int]:
    """As many moments of ``spread``, in any order, but first those at points that begin with one of ``seams``: where
    a fault was planted. So a crash that finds it comes soon; all the others are tried when none does."""
    order = [moment for moments in spread(passes, total).values() for moment in moments]
    random.Random(seed).shuffle(order)
    return sorted(order, key=lambda moment: not passes[moment - 1].startswith(seams))


@contextmanager
def without_disk() -> Iterator[None]:
    """Nobody waits for the disk: what a killed process has written is in the hands of the system, flushed or not."""
    settings = tuple(it for it in sqlite_file._WRITER if "synchronous" not in it)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_file, "_WRITER", ("pragma synchronous = off", *settings))
        patch.setattr(sqlite_place, "SYNCED", 0)
        patch.setattr(os, "fsync", lambda fd: None)
        yield


def _live_and_die(work: Callable[[], None], root: Path) -> None:
    try:
        work()
    except BaseException:
        (root / "failure").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def _ended(child: int, root: Path) -> bool:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, (root / "failure").read_text()
    return False


def _nothing(point: str) -> None:
    """The fault that never happens."""
