"""A copy of a store file while it is written, and putting one back.

Rule 1: a copy is one moment of the store, whole: SQLite's own backup, in one step, from a connection that only reads.
Rule 2: it gets its name when it is on the disk, checked and marked; half a copy never has the name of a whole one.
Rule 3: a copy says that it is one: whoever opens it sends nothing until a person says so.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from engine.errors import StoreError
from engine.stores import wirefile
from engine.stores.sql.sqlite_file import WriterLock
from engine.stores.sql.sqlite_schema import Q, version_of


def copy(source: Path, target: Path, marks: dict[str, str]) -> int:
    """Copy a store; the bytes of the copy.

    Parameters
    ----------
    source: the file of a store; it may be written meanwhile.
    target: must not exist.
    marks: what the copy is to know of itself, by name.
    """
    if target.exists():
        raise StoreError(f"{target} exists", hint="name a new file: a backup never overwrites another")
    half = target.with_name(target.name + ".half")
    half.unlink(missing_ok=True)
    try:
        _copy(source, half)
        _mark(half, marks)
        to_disk(half)
        os.rename(half, target)
        to_disk(target.parent)
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy {source} to {target}: {error}") from error
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}") from error
    finally:
        half.unlink(missing_ok=True)
    return target.stat().st_size


def scratch(source: Path, target: Path) -> None:
    """A copy to try something on and to throw away: neither marked nor checked, and not on the disk for good."""
    try:
        _copy(source, target)
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy {source} to {target}: {error}") from error


def put_back(backup: Path, target: Path, aside: Path) -> None:
    """Make a backup the store; the store that was there goes aside, unless there was none.

    The marks of a backup stay: what it believes pending is held until a person releases it.
    """
    check(backup)
    lock = WriterLock(target)
    try:
        half = target.with_name(target.name + ".half")
        half.unlink(missing_ok=True)
        _copy(backup, half)
        to_disk(half)
        if target.exists():
            _empty_log(target)
            os.rename(target, aside)
        for rest in ("-wal", "-shm", ".wire"):
            target.with_name(target.name + rest).unlink(missing_ok=True)
        os.rename(half, target)
        to_disk(target.parent)
    except sqlite3.Error as error:
        raise StoreError(f"cannot put {backup} back: {error}") from error
    finally:
        lock.release()


def check(path: Path) -> None:
    """Raise StoreError unless a file is a whole store of ours."""
    if not path.exists():
        raise StoreError(f"there is no file {path}")
    try:
        db = _open(path, "ro")
        try:
            if version_of(db, path) == 0:
                raise StoreError(f"{path} is empty", hint="name a file that drumbeat backup wrote")
            verdict = db.execute("pragma integrity_check(1)").fetchone()[0]
        finally:
            db.close()
    except sqlite3.Error as error:
        raise StoreError(f"{path} is no store: {error}") from error
    if verdict != "ok":
        raise StoreError(f"{path} is damaged: {verdict}", hint="take an older backup")


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=10, isolation_level=None)


def _copy(source: Path, target: Path) -> None:
    read, written = _open(source, "ro"), _open(target, "rwc")
    try:
        read.backup(written, pages=-1)
    finally:
        written.close()
        read.close()


def _mark(path: Path, marks: dict[str, str]) -> None:
    db = _open(path, "rw")
    try:
        db.execute("pragma journal_mode = delete").fetchall()  # one file, complete in itself
        for name, value in {**marks, wirefile.ID: ""}.items():
            db.execute(Q["save_meta"], (name, value))
    finally:
        db.close()
    check(path)


def _empty_log(path: Path) -> None:
    """What stands in the write-ahead log goes into the file, before the file goes aside without it."""
    db = _open(path, "rw")
    try:
        db.execute("pragma wal_checkpoint(truncate)").fetchall()
    finally:
        db.close()


def to_disk(path: Path) -> None:
    """What was written to a file or folder survives the loss of power."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
