"""Where a store file may be written, and how: on a disk of this machine, and safe from a loss of power.

Rule 1: locks, the shared index of the log and syncing are promises of the kernel that holds the disk. Over a network
some of them are not kept, and nobody is told; so a store there is refused before a byte is written. Nothing turns that
off.
Rule 2: the kinds are named. A kind that is not on the list may be local, so it passes; where the machine keeps no table
of mounts (macOS), nothing can be said, and nothing is refused.
Rule 3: what was asked of SQLite is read back; less than ``synchronous = full`` and a write-ahead log is refused.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from engine.errors import StoreError

MOUNTS = Path("/proc/self/mounts")
"""The kernel's table of what this process sees mounted where."""

_REMOTE = (
    "nfs", "cifs", "smb", "ncp", "9p", "afs", "coda", "ceph", "gluster", "lustre", "gpfs", "beegfs", "orangefs",
    "pvfs2", "davfs", "gfs", "ocfs2",
)  # fmt: skip
"""How the names of file systems begin that are served by, or shared with, another machine."""

_REMOTE_FUSE = (
    "sshfs", "nfs", "smb", "cifs", "s3", "gcs", "blobfuse", "goofys", "geesefs", "rclone", "curlftpfs", "davfs",
    "mount.", "ceph", "gluster", "juicefs", "seaweedfs", "moosefs", "mfs", "hdfs", "gvfsd", "kio",
)  # fmt: skip
"""How the names of such programs begin that serve files of elsewhere through FUSE (``fuse.<name>``)."""

_OCTAL = re.compile(r"\\([0-7]{3})")


def kind_of(path: Path, mounts: str) -> str:
    """Kind of the file system that holds a path; "" where the table does not say.

    Parameters
    ----------
    path: absolute, without links.
    mounts: a table of mounts as the kernel writes it. Of two mounts on one place the later one counts.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        place = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), parts[1]))
        if path.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), parts[2]
    return kind


def is_remote(kind: str) -> bool:
    """Whether a kind of file system is one of another machine."""
    name = kind.lower()
    if name.startswith("fuse."):
        return name.removeprefix("fuse.").startswith(_REMOTE_FUSE)
    return name.startswith(_REMOTE)


def file_system(path: Path) -> str:
    """Kind of the file system a path is on, links followed; "" where the machine does not say."""
    try:
        mounts = MOUNTS.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    return kind_of(path.resolve(), mounts)


def refuse_remote(path: Path) -> None:
    """Raise ``StoreError`` where a store is to be written on a disk of another machine."""
    if is_remote(kind := file_system(path)):
        raise StoreError(
            f"store {path} is on {kind}, a network file system",
            hint="put it on a local disk: over a network, locks and syncing cannot be trusted. Copies of it may lie "
            "there (drumbeat backup)",
        )


SYNCED = 2
"""``synchronous = full``."""


def refuse_unsafe(db: sqlite3.Connection, path: Path) -> None:
    """Raise ``StoreError`` where SQLite keeps to less than was asked, which some builds do without a word."""
    (mode,), (level,) = (db.execute(it).fetchone() for it in ("pragma journal_mode", "pragma synchronous"))
    if mode != "wal" or level < SYNCED:
        raise StoreError(
            f"store {path} would not be safe: journal mode {mode}, synchronous {level}; wanted wal and {SYNCED}",
            hint="is it on a disk of this machine, and is SQLite built as usual?",
        )
