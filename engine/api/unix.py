"""The Unix socket beside a store: where it is, and how it is listened on. Verbs use this too, so it imports little."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import CannotRun

_LONGEST = 100
"""Bytes a path of a Unix socket may have everywhere."""


def socket_path(store: Path) -> Path:
    """Where the daemon of a store listens for verbs."""
    return store.with_name(store.name + ".sock")


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name of a socket that is short enough for the system: a deep folder is named by a descriptor."""
    text = str(path)
    if len(os.fsencode(text)) <= _LONGEST:
        yield text
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not os.path.isdir(f"/proc/self/fd/{folder}"):
            raise CannotRun(f"the path of the socket {path} is too long", hint="put the store into a shorter folder")
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path) -> socket.socket:
    """A socket only its owner may open; what an earlier daemon left there is replaced.

    The caller holds the writer's lock of the store, so nobody else listens here. Raises CannotRun.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise CannotRun(f"{path} is in the way of the daemon's socket", hint="move that file elsewhere")
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(made.fileno(), stat.S_IRUSR | stat.S_IWUSR)  # before it has a name: nobody comes in between
        with short_name(path) as name:
            made.bind(name)
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        made.listen(64)
    except OSError as error:
        made.close()
        raise CannotRun(f"cannot listen on {path}: {error.strerror or error}") from error
    return made
