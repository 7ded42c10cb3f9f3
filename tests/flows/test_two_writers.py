"""Two processes on one store where the lock does not hold: who lost the right to write cannot commit.

``DRUMBEAT_WRITERS`` says how often a second one begins in the midst of the first (default 8).
"""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from crash_world import World, without_disk

from engine.errors import StoreHeld
from engine.stores.sqlite import SqliteStore

WRITERS = int(os.environ.get("DRUMBEAT_WRITERS", "8"))
FENCED = 7
SENDING = ("claim", "wire", "send", "settle")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


def begun(world: World, root: Path, passing: Callable[[str], object]) -> int:
    """The work in a child that pays no heed to the lock, with ``passing`` at every pass; FENCED: it was refused."""
    child = os.fork()
    if child == 0:
        fcntl.flock = lambda fd, how: None  # type: ignore[assignment]  # a file system without locks
        try:
            world.work(root, passing)
        except StoreHeld:
            os._exit(FENCED)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def test_a_second_writer_fences_the_first(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """A second process begins in the midst of the first, which waits for it, and no lock keeps it: one of them cannot
    commit any more, and everything is decided and sent once. While the first sends, see the next test.

    Semantics: store.fenced
    Failure: two.daemons — without a lock
    """
    world, rng, fenced = World(tmp_path), random.Random(3), 0
    for _ in range(WRITERS):
        with world.folder_for("two") as root:
            SqliteStore.open(root / "s.db").close()
            hear, tell = os.pipe()
            stay, go = os.pipe()
            passed, wanted, meets = count(1), rng.randrange(1, len(world.passes) // 2), [2, 1]

            def first_passes(point: str) -> None:
                """It waits at its moment until the second is on its way, and behind its next commit, where it holds no
                lock, until the second has committed too: however busy the machine is, they meet. Not while it sends:
                what is under way then may go out twice, as ``at_least_once`` says."""
                due = next(passed) >= wanted and not point.startswith(SENDING)  # noqa: B023 - called in this round alone
                if due and meets and (meets[-1] == 1 or point.endswith("after_commit")):  # noqa: B023
                    meets.pop()  # noqa: B023
                    os.write(tell, b"1")  # noqa: B023
                    os.read(stay, 1)  # noqa: B023

            def second_passes(point: str) -> None:
                if point.endswith("after_commit"):
                    os.write(tell, b"2")  # noqa: B023

            first = begun(world, root, first_passes)
            heard = os.read(hear, 1)
            second = begun(world, root, second_passes)
            os.write(go, b".")
            while b"2" not in heard:
                heard += os.read(hear, 1)
            os.write(go, b".")
            os.close(tell)
            while os.read(hear, 65_536):
                pass
            for end in (hear, stay, go):
                os.close(end)
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in (first, second)]
            assert set(codes) <= {0, FENCED}
            fenced += FENCED in codes
            world.work(root)
            world.check(root, 1)
    assert fenced > WRITERS // 2, "the second came too late: nothing was tried"
    record_property("writers", WRITERS)
    record_property("fenced", fenced)


def test_two_writers_at_any_moment(tmp_path: Path) -> None:
    """A second process begins at any moment of the first, also while it sends, and neither waits for the other:
    everything is decided and sent once.

    Semantics: store.fenced
    """
    world, rng = World(tmp_path), random.Random(3)
    for _ in range(WRITERS):
        with world.folder_for("any") as root:
            SqliteStore.open(root / "s.db").close()
            hear, tell = os.pipe()
            first = begun(world, root, lambda point: os.write(tell, b"."))  # noqa: B023 - called in this round alone
            heard, wanted = 0, rng.randrange(1, len(world.passes) // 2)
            while heard < wanted:
                heard += len(os.read(hear, wanted - heard))
            second = begun(world, root, lambda point: None)
            os.close(tell)
            while os.read(hear, 65_536):
                pass
            os.close(hear)
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in (first, second)]
            assert set(codes) <= {0, FENCED}
            world.work(root)
            world.check(root, 1)


def test_a_writer_that_counts_its_days_is_not_fenced(tmp_path: Path) -> None:
    """Counting an opening anew, as each day does, keeps the right to write."""
    store = SqliteStore.open(tmp_path / "s.db")
    store._file.count_epoch()
    store.set_meta("a", "b")
    store.close()
    again = SqliteStore.open(tmp_path / "s.db")
    assert again.get_meta("a") == "b"
    again.close()
