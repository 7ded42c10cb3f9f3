"""Two processes on one store where the lock does not hold: who lost the right to write cannot commit.

``DRUMBEAT_WRITERS`` says how often a second one begins in the midst of the first (default 8).
"""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crash_world import World, without_disk

from engine.errors import StoreHeld
from engine.stores.sqlite import SqliteStore

WRITERS = int(os.environ.get("DRUMBEAT_WRITERS", "8"))
FENCED = 7


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


def begun(world: World, root: Path, tell: int) -> int:
    """The work in a child that pays no heed to the lock and tells of every pass; FENCED: it was refused."""
    child = os.fork()
    if child == 0:
        fcntl.flock = lambda fd, how: None  # type: ignore[assignment]  # a file system without locks
        try:
            world.work(root, lambda point: os.write(tell, b"."))
        except StoreHeld:
            os._exit(FENCED)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def test_a_second_writer_fences_the_first(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """A second process begins at any moment of the first, and no lock keeps it: one of them cannot commit any more,
    and everything is decided and sent once.

    Semantics: store.fenced
    Failure: two.daemons — without a lock
    """
    world, rng, fenced = World(tmp_path), random.Random(3), 0
    for _ in range(WRITERS):
        with world.folder_for("two") as root:
            SqliteStore.open(root / "s.db").close()
            hear, tell = os.pipe()
            first = begun(world, root, tell)
            heard, wanted = 0, rng.randrange(1, len(world.passes) // 2)
            while heard < wanted:
                heard += len(os.read(hear, wanted - heard))
            second = begun(world, root, os.open(os.devnull, os.O_WRONLY))
            os.close(tell)
            while os.read(hear, 65_536):
                pass
            os.close(hear)
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in (first, second)]
            assert set(codes) <= {0, FENCED}
            fenced += FENCED in codes
            world.work(root)
            world.check(root, 1)
    assert fenced > WRITERS // 2, "the second came too late: nothing was tried"
    record_property("writers", WRITERS)
    record_property("fenced", fenced)


def test_a_writer_that_counts_its_days_is_not_fenced(tmp_path: Path) -> None:
    """Counting an opening anew, as each day does, keeps the right to write."""
    store = SqliteStore.open(tmp_path / "s.db")
    store._file.count_epoch()
    store.set_meta("a", "b")
    store.close()
    again = SqliteStore.open(tmp_path / "s.db")
    assert again.get_meta("a") == "b"
    again.close()
