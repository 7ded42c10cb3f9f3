"""Power fails and disks fill: what is left of a store is always a whole number of its transactions.

``DRUMBEAT_TORN`` says how many damaged logs are tried (default 200), in the shares of the design: cut 4, flipped 3,
zeroed 2, overwritten 1.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from crash_world import BATCH, World, without_disk
from flow_program import Wall, picture, run

from engine.errors import StoreError
from engine.runtime.intake import Intake
from engine.stores.sqlite import SqliteStore
from engine.wiring import read_records

TORN = int(os.environ.get("DRUMBEAT_TORN", "200"))
PAGE = 4096


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("power"))


# ---------------------------------------------------------------- a torn write-ahead log


def digest(root: Path) -> str:
    """All that a crash must not change, and how far each delivery is."""
    store = SqliteStore.open(root / "s.db", read_only=True)
    statuses = ("pending", "sending", "sent", "dead", "unknown")
    deliveries = {it: sorted(item.key for item, _ in store.deliveries(it)) for it in statuses}
    store.close()
    found = picture(root)
    found.pop("positions")  # of files that the damaged copy does not have beside it
    return sha256(repr((found, deliveries)).encode()).hexdigest()


@pytest.fixture(scope="module")
def log(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, list[str]]:
    """The file and its log as they stood at the last commit, and what each committed moment looked like."""
    root = world.fresh("log")
    moments: list[str] = []
    files: list[bytes] = []

    def watch(point: str) -> None:
        if point.endswith(".after_commit") and not point.startswith("migrate"):
            moments.append(digest(root))
            files[:] = [(root / "s.db").read_bytes(), (root / "s.db-wal").read_bytes()]

    run(world.program, root, batch=BATCH, fault=watch)
    return files[0], files[1], [*moments, empty(tmp_path_factory.mktemp("empty"))]


def empty(root: Path) -> str:
    """A store nothing was committed to."""
    SqliteStore.open(root / "s.db").close()
    (root / "feed").mkdir()
    return digest(root)


def cut(raw: bytearray, rng: random.Random) -> None:
    """The log ends anywhere."""
    del raw[rng.randrange(len(raw)) :]


def flip(raw: bytearray, rng: random.Random) -> None:
    """One bit is another."""
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)


def zero(raw: bytearray, rng: random.Random) -> None:
    """A sector was never written."""
    start = rng.randrange(len(raw)) // 512 * 512
    raw[start : start + 512] = bytes(len(raw[start : start + 512]))


def overwrite(raw: bytearray, rng: random.Random) -> None:
    """A page holds something else."""
    start = rng.randrange(len(raw)) // PAGE * PAGE
    raw[start : start + PAGE] = rng.randbytes(len(raw[start : start + PAGE]))


WAYS: dict[Callable[[bytearray, random.Random], None], int] = {cut: 4, flip: 3, zero: 2, overwrite: 1}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_torn_log_leaves_a_whole_moment(
    log: tuple[bytes, bytes, list[str]],
    tmp_path: Path,
    way: Callable[[bytearray, random.Random], None],
    record_property: Callable[[str, object], None],
) -> None:
    """Whatever happens to the log, the store opens at a moment that was committed, and keeps every promise.

    Failure: power.torn
    """
    file, whole, moments = log
    rng = random.Random(f"torn {way.__name__}")
    seen = set()
    tries = max(4, TORN * WAYS[way] // 10)
    for number in range(tries):
        root = tmp_path / str(number)
        (root / "feed").mkdir(parents=True)
        raw = bytearray(whole)
        way(raw, rng)
        (root / "s.db").write_bytes(file)
        (root / "s.db-wal").write_bytes(raw)
        store = SqliteStore.open(root / "s.db")
        assert store.check() == []
        store.close()
        found = digest(root)
        assert found in moments, f"try {number}"
        seen.add(found)
        shutil.rmtree(root)
    record_property("torn", tries)
    assert len(seen) > 2, "all ended at the same moment: nothing was tried"


def test_a_torn_log_goes_on(world: World, log: tuple[bytes, bytes, list[str]]) -> None:
    """After the damage the work goes on from the moment that is left, to the same end.

    Failure: power.torn — and on
    """
    file, whole, _ = log
    rng = random.Random(7)
    for _ in range(6):
        root = world.fresh("on")
        (root / "s.db").write_bytes(file)
        (root / "s.db-wal").write_bytes(whole[: rng.randrange(len(whole))])
        run(world.program, root, batch=BATCH)
        found = picture(root)
        assert {name: found[name] for name in ("effects", "subjects", "resources", "quarantine", "positions")} == {
            name: world.wanted[name] for name in ("effects", "subjects", "resources", "quarantine", "positions")
        }


# ---------------------------------------------------------------- a full disk


class Tight(SqliteStore):
    """A store on a disk with room for a few pages more than it has."""

    room = 0

    @classmethod
    def open(cls, *args: Any, **more: Any) -> Any:
        store = super().open(*args, **more)
        db = store._file.db
        pages = db.execute("pragma page_count").fetchone()[0]
        db.execute(f"pragma max_page_count = {pages + cls.room}").fetchone()
        return store


def test_a_full_disk_ends_nothing(world: World) -> None:
    """Each run goes as far as there is room, says that the store cannot be written, and the next goes on from there.

    Failure: disk.full
    """
    root = world.fresh("full")
    full = 0
    for room in range(1, 400, 3):
        Tight.room = room
        try:
            run(world.program, root, batch=BATCH, store_class=Tight)
            break
        except StoreError as error:
            full += "full" in str(error)
            store = SqliteStore.open(root / "s.db", read_only=True)
            assert store.check() == []
            store.close()
    assert full >= 5, "there was room all the time: nothing was tried"
    world.check(root, full)


def test_what_was_told_accepted_is_stored(tmp_path: Path) -> None:
    """Taking in stops at the full disk; what was counted as taken in before is there, whole, and nothing else.

    Failure: disk.full — taking in
    """
    rest = f'"type": "a", "time": "2026-03-01T00:00:00Z", "data": {{"x": "{"y" * 300}"}}}}\n'
    lines = [f'{{"id": "e{n}", "user": "u{n}", {rest}' for n in range(3_000)]
    (tmp_path / "in.jsonl").write_text("".join(lines), encoding="utf-8")
    told, full = 0, 0
    for room in range(20, 2_000, 12):
        Tight.room = room
        store = Tight.open(tmp_path / "s.db")
        intake = Intake(store, Wall(), batch=100)
        try:
            intake.take(read_records(tmp_path / "in.jsonl"))
        except StoreError:
            full += 1
        told += intake.taken.accepted
        store.close()
        store = SqliteStore.open(tmp_path / "s.db")
        assert len(store.inbox(0, 10_000)) == told
        store.close()
        if told == len(lines):
            break
    assert (told, full >= 5) == (len(lines), True)
