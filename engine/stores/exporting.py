"""A store of any kind as an SQLite file: a backup, or a copy to try something on.

Rule 1: it is one moment of the store, and what was written is read back and compared.
Rule 2: a backup gets its name when it is on the disk, checked and marked; half of one never has the name of a whole
one.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.errors import StoreError
from engine.stores import moving
from engine.stores.sql.sqlite_copy import check, scratch, to_disk
from engine.stores.sqlite import SqliteStore

_BESIDE = ("", "-wal", "-shm", ".lock")


def write(store: Any, snapshot: Any, path: Path, marks: dict[str, str]) -> None:
    """Write a store into a new file.

    Parameters
    ----------
    snapshot: a context in which all that is read is of one moment.
    path: must not exist.
    marks: what the copy is to know of itself, by name.
    """
    with ExitStack() as closing:
        copy = SqliteStore.open(path, durable=False)
        closing.callback(copy.close)
        there = copy.moving()
        with snapshot, there.whole():
            read = moving.move(store.moving(), there)
            for name, value in marks.items():
                there.note(name, value)
        if wrong := moving.differing(read, moving.sums(copy.anew().moving())):
            raise StoreError(f"the copy {path} does not hold what the store holds: {', '.join(wrong)}")
        copy.shrink_log()


def backup(store: Any, snapshot: Any, target: Path, marks: dict[str, str]) -> int:
    """A backup of a store; its size in bytes. As ``sqlite_copy.copy``."""
    if target.exists():
        raise StoreError(f"{target} exists", hint="name a new file: a backup never overwrites another")
    half = target.with_name(target.name + ".half")
    _clear(half)
    try:
        write(store, snapshot, half, marks)
        check(half)
        to_disk(half)
        os.rename(half, target)
        to_disk(target.parent)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}") from error
    finally:
        _clear(half)
    return target.stat().st_size


def put_into(empty: Any, backup: Path) -> None:
    """Move a backup into an empty store, which sends nothing, as the backup; the backup itself is only read."""
    check(backup)
    with TemporaryDirectory(prefix="drumbeat-restore-") as folder, ExitStack() as closing:
        path = Path(folder) / "copy.db"
        scratch(backup, path)
        copy = SqliteStore.open(path, durable=False)
        closing.callback(copy.close)
        there = empty.moving()
        with there.whole():
            read = moving.move(copy.moving(), there)
            there.note(moving.HELD, copy.get_meta(moving.HELD) or "it was restored from a backup")
        if wrong := moving.differing(read, moving.sums(there)):
            raise StoreError(f"the store does not hold what {backup} holds: {', '.join(wrong)}")


def _clear(path: Path) -> None:
    for rest in _BESIDE:
        path.with_name(path.name + rest).unlink(missing_ok=True)
