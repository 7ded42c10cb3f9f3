"""A file of some megabytes beside the store, that is given up when the disk is full.

SQLite cannot delete a row without writing its log, so on a disk without a free byte nothing could be cleaned up, and
nothing that is on its way could be settled.

Rule 1: its bytes are really on the disk: a file with holes would hold nothing.
Rule 2: whoever meets the full disk gives it up; only who works for good makes it again, when there is room for twice
as much.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

SIZE = 8 << 20
"""Bytes."""

MARGIN = SIZE
"""Bytes that stay free beside it when it is made: work that would stop at once need not go on."""

NOTHING = 256 << 10
"""Bytes on a disk below which it is called full, whatever else SQLite says about it."""

_PIECE = 1 << 20


def place(store: Path) -> Path:
    """Where the reserve of a store is."""
    return store.with_name(store.name + ".reserve")


def keep(store: Path) -> bool:
    """See that the reserve is there; False: there is no room for it."""
    path = place(store)
    with suppress(OSError):
        if path.stat().st_size >= SIZE:
            return True
    try:
        if shutil.disk_usage(store.parent).free < SIZE + MARGIN:
            return False
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _fill(file)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError:
        give(store)
        return False
    return True


def give(store: Path) -> bool:
    """Give the reserve up; whether there was one."""
    try:
        place(store).unlink()
    except OSError:
        return False
    return True


def nothing_left(store: Path) -> bool:
    """Whether the disk of a store has no room that would be worth a word."""
    try:
        return shutil.disk_usage(store.parent).free < NOTHING
    except OSError:
        return False


def _fill(file: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, SIZE)
        return
    for _ in range(SIZE // _PIECE):
        left = os.urandom(_PIECE)  # zeros may be kept as a hole, and what repeats may be packed
        while left:
            left = left[os.write(file, left) :]
