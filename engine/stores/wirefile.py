"""What is about to go over a wire, noted beside a store: ``<store>.wire``.

A message is claimed before it is sent, and several are claimed at once. Of those that were claimed when a process died,
only what stands here was begun; the others provably were not, and may go out.

Rule 1: a note is on the disk before the first byte of its message leaves. How a message ended is noted as well, for
the process that dies before the store hears of it; lost with the power, that leaves the message in doubt.
Rule 2: a file tells about one session and is never shortened while that lasts; its id stands in the store as well.
Where the two differ (another file, a store put back, a start that broke off) nothing is known, and all is in doubt.
Rule 3: who opens a session puts a new file in the old one's place, and reads the old one only after that. Who still
writes to the old one looks, after each note, whether it is still in its place, and begins nothing when it is not.
Rule 4: a note that was cut off ends the file, and nothing was begun on it. With any other line that is not whole
nothing is known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from zlib import crc32

from engine.errors import StoreHeld
from engine.ports import Noted, Outgoing, Sent

FAULT_POINTS = ("wire.before_turn", "wire.turned", "wire.before_note", "wire.noted", "wire.after_note")
"""Names given to ``fault``: before and after a new file takes its place; before a note, after it, when it is safe."""

ID = "wire"
"""Name under which a store keeps the id of the file that is believed; empty: none is."""

LARGEST = 4 << 20
"""Bytes from which on a file is begun anew."""

_Try = tuple[str, int]  #: a key, and which of its tries


def place(store: Path) -> Path:
    """Where the notes of a store are."""
    return store.with_name(store.name + ".wire")


class WireFile:
    """The notes of one session.

    Parameters
    ----------
    path: the file.
    known: the id that the store has of it; None or empty: nothing that stands in it is believed.
    modes: how channels take a crash while sending, by name; notes are only worth something together with that.
    keep: called with the id of a new file, which the store is to know durably from then on.
    fault: called with each name of ``FAULT_POINTS`` as it is passed.

    Raises OSError when the file cannot be made.
    """

    def __init__(
        self,
        path: Path,
        known: str | None,
        modes: Mapping[str, str | None],
        keep: Callable[[str], None],
        fault: Callable[[str], object],
    ) -> None:
        self.path = path
        self._modes = dict(modes)
        self._keep = keep
        self._fault = fault
        self._writing = Lock()  #: guards what follows
        self._fd = -1
        self._written = 0  #: notes
        self._end = 0  #: bytes up to the last whole note
        self._syncing = Lock()  #: taken after ``_writing`` where both are
        self._synced = 0  #: notes that are on the disk
        old = _opened(path)
        try:
            self._turn()
            self.before = None if old is None else _read(old, known)
        finally:
            if old is not None:
                os.close(old)

    def settled(self) -> None:
        """Whatever the notes before told was acted upon: from now on this file is the one that counts."""
        self._keep(self._id)

    def begin(self, items: Iterable[Outgoing]) -> None:
        """Note durably that messages are about to be sent; raises OSError or StoreHeld when they must not be."""
        self._fault("wire.before_note")
        with self._writing:
            self._append(b"".join(_note("begun", item.key, item.attempts + 1) for item in items))
            mine = self._written
        self._fault("wire.noted")
        with self._syncing:
            if self._synced < mine:
                done = self._written  # what others have noted meanwhile is carried along
                os.fsync(self._fd)
                self._synced = max(self._synced, done)
            self._in_place()
        self._fault("wire.after_note")

    def ended(self, answers: Iterable[tuple[Outgoing, Sent]]) -> None:
        """Note how messages ended, for who comes after a crash."""
        known = [(item, answer) for item, answer in answers if not answer.unknown]
        lines = b"".join(
            _note("sent" if answer.ok else "not", item.key, item.attempts + 1, answer.receipt) for item, answer in known
        )
        with self._writing, suppress(OSError):  # without it they are in doubt, no more
            self._append(lines)

    def tidy(self, flying: Iterable[str]) -> None:
        """Begin a new file when this one is large; of the notes only those of messages under way are kept."""
        if self._end < LARGEST:
            return
        with self._writing, self._syncing:
            self._in_place()
            here = _read(self._fd, self._id)
            old, under_way = self._fd, set(flying)
            self._turn([] if here is None else _kept(here, under_way))
            os.close(old)
        self.settled()

    def close(self) -> None:
        """Note nothing more: whoever still wants to begin must not."""
        with self._writing, self._syncing:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def _turn(self, kept: Iterable[bytes] = ()) -> None:
        """A new file takes the place of what is there."""
        self._id = os.urandom(16).hex()
        head = _line(json.dumps({"wire": self._id, "modes": self._modes}, sort_keys=True))
        whole = head + b"".join(kept)
        half = self.path.with_name(self.path.name + ".half")
        fd = os.open(half, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            rest = memoryview(whole)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
            self._fault("wire.before_turn")
            os.rename(half, self.path)
            _sync(self.path.parent)
        except BaseException:
            os.close(fd)
            raise
        self._fault("wire.turned")
        found = os.fstat(fd)
        self._fd, self._file, self._end = fd, (found.st_dev, found.st_ino), len(whole)
        self._synced = self._written

    def _append(self, lines: bytes) -> None:
        if self._fd < 0:
            raise OSError("the notes are closed")
        try:
            done = os.write(self._fd, lines)
        except OSError:
            done = 0
            raise
        finally:
            if done != len(lines):  # half a line would become the head of the next one
                os.ftruncate(self._fd, self._end)
        if done != len(lines):
            raise OSError(28, "No space left on device")
        self._end += done
        self._written += 1

    def _in_place(self) -> None:
        """Raise StoreHeld when another session has begun: it has read what stood here, or will not believe it."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            raise StoreHeld(f"{self.path} was begun by another process since", hint="one process writes a store")


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None


def _line(text: str) -> bytes:
    raw = text.encode()
    return b"%08x %s\n" % (crc32(raw), raw)


def _read(fd: int, known: str | None) -> Noted | None:
    """What stands in a file; None when it is not the one that is known, or not whole."""
    data, place = b"", 0
    while piece := os.pread(fd, 1 << 20, place):
        data, place = data + piece, place + len(piece)
    lines = data.split(b"\n")[:-1]
    if not lines or not known or any(line[:9] != b"%08x " % crc32(line[9:]) for line in lines):
        return None
    head, *notes = [json.loads(line[9:]) for line in lines]  # what has the right sum was written by us
    if not isinstance(head, dict) or head["wire"] != known:
        return None
    begun: set[_Try] = set()
    sent: dict[_Try, str | None] = {}
    for what, key, number, receipt in notes:
        (begun.discard if what == "not" else begun.add)((key, number))
        if what == "sent":
            sent[key, number] = receipt
    return Noted(head["modes"], frozenset(begun), sent)


def _kept(noted: Noted, keys: set[str]) -> Iterator[bytes]:
    """The notes of some messages."""
    for key, number in noted.begun:
        if key in keys:
            done = (key, number) in noted.sent
            yield _note("sent" if done else "begun", key, number, noted.sent.get((key, number)))


def _note(what: str, key: str, number: int, receipt: str | None = None) -> bytes:
    return _line(json.dumps([what, key, number, receipt]))


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
