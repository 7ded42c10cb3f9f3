"""Which files a name has stood for, so that a followed file may be renamed, replaced or cut.

Rule 1: positions of a name go on over all its files, as on a tape. The trail says which piece of the tape is which file
from which byte on.
Rule 2: a piece is written down before the first record of it is handed out. What lies behind the committed position
may be thrown away and laid anew; nothing of it was decided.
Rule 3: a file is known by its inode and its first bytes, under whatever name it is found; at its own path the first
bytes are enough (a restored disk has other inodes).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from engine.site import Notes

HEAD: Final = 1024  #: first bytes a file is known by; fewer while it has no more
FOLLOWED: Final = "tail:followed"  #: note that says: in this store names have trails
_KEPT: Final = 16  #: pieces of the trail that are remembered
_BLOCK: Final = 1 << 16


class Mark(msgspec.Struct, array_like=True, frozen=True):
    """What a file is known by."""

    inode: int
    length: int  #: of the first bytes
    digest: str  #: of them


class Memory:
    """Notes of a process that keeps none."""

    def __init__(self) -> None:
        self._notes: dict[str, str] = {}

    def get_meta(self, name: str) -> str | None:
        return self._notes.get(name)

    def set_meta(self, name: str, value: str) -> None:
        self._notes[name] = value


class Held:
    """A file held open: renamed or removed, it can still be read to its end. Closed when nobody has it any more."""

    def __init__(self, fd: int, mark: Mark | None = None) -> None:
        self.fd = fd
        found = os.fstat(fd)
        self.device, self.inode = found.st_dev, found.st_ino
        self.mark = mark
        self.sizes = (-1, -1)  #: the size at the last two looks

    @classmethod
    def open(cls, path: Path, mark: Mark | None = None) -> Held | None:
        """The file at a path; None where there is none, or not the one that is wanted."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        held = cls(fd, mark)
        if stat.S_ISREG(os.fstat(fd).st_mode) and (mark is None or held.begins_as(mark)):
            return held
        return None

    def __del__(self) -> None:
        os.close(self.fd)

    def size(self) -> int:
        """Bytes it has now."""
        return os.fstat(self.fd).st_size

    def is_gone(self) -> bool:
        """Has it no name any more, and did it not grow since the last look?"""
        found = os.fstat(self.fd)
        self.sizes = (self.sizes[1], found.st_size)
        return found.st_nlink == 0 and self.sizes[0] == self.sizes[1]

    def begins_as(self, mark: Mark) -> bool:
        """Are its first bytes those of a mark?"""
        return _digest(os.pread(self.fd, mark.length, 0)) == mark.digest

    def learn(self) -> Mark:
        """Its mark, by the bytes it has now."""
        head = os.pread(self.fd, HEAD, 0)
        self.mark = Mark(self.inode, len(head), _digest(head))
        return self.mark

    def lines_end(self, start: int) -> int:
        """Where the last whole line behind ``start`` ends; ``start`` when there is none."""
        end = self.size()
        while end > start:
            begin = max(start, end - _BLOCK)
            cut = os.pread(self.fd, end - begin, begin).rfind(b"\n")
            if cut >= 0:
                return begin + cut + 1
            end = begin
        return start


def _digest(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()[:32]


@dataclass
class Piece:
    """One piece of the tape; it ends where the next begins."""

    at: int  #: position of its first byte
    start: int  #: byte of the file that is
    mark: Mark
    held: Held | None  #: None: the file is not to be found
    last: bool = False  #: nothing more is waited for: what has no newline is a line too


class _Row(msgspec.Struct, array_like=True):
    at: int
    start: int
    mark: Mark


class Trail:
    """The pieces of one name.

    Parameters
    ----------
    name: of the feed.
    path: where its newest file stands.
    notes: where the trail is kept.
    """

    def __init__(self, name: str, path: Path, notes: Notes) -> None:
        self.name = name
        self.path = path
        self.pieces: list[Piece] = []
        self.seen: list[Held] = []  #: files that are in no piece yet, the oldest first
        self._notes = notes
        self._key = f"tail:{name}"

    def load(self, position: int) -> None:
        """Read the trail up to the committed position, and look for its files (rules 2 and 3)."""
        kept = self._notes.get_meta(self._key)
        rows, seen = msgspec.json.decode(kept, type=tuple[list[_Row], list[Mark]]) if kept else ([], [])
        found = {mark: find(self.path, mark) for mark in dict.fromkeys([*(row.mark for row in rows), *seen])}
        self.pieces = [Piece(row.at, row.start, row.mark, found[row.mark]) for row in rows]
        self.seen = [held for held in found.values() if held is not None]
        self.cut(position)

    def cut(self, position: int) -> None:
        """Throw away the pieces behind the committed position; written down, for the tape goes on otherwise now."""
        if len(self.pieces) > 1 and self.pieces[-1].at > position:
            while len(self.pieces) > 1 and self.pieces[-1].at > position:
                self._drop()
            self._keep()

    def add(self, at: int, start: int, held: Held, *, last: bool = False) -> Piece:
        """Go on with a file, from a byte on; written down before this returns."""
        piece = Piece(at, start, held.mark or held.learn(), held, last)
        if self.pieces and self.pieces[-1].at == at:
            self._drop()  # nothing was read of it
        self.pieces = [*self.pieces[1 - _KEPT :], piece]
        self.claim(held, piece.mark)
        self._keep()
        return piece

    def saw(self, held: Held) -> None:
        """A file is there: written down, so that it is found again should it be renamed before it is read."""
        self.seen = [*self.seen[1 - _KEPT :], held]
        self.claim(held, held.learn())
        self._keep()

    def _keep(self) -> None:
        rows = [_Row(it.at, it.start, it.mark) for it in self.pieces]
        read = {row.mark for row in rows}
        self.seen = [it for it in self.seen if it.mark is not None and it.mark not in read]
        if self._notes.get_meta(FOLLOWED) is None:
            self._notes.set_meta(FOLLOWED, "1")
        kept = (rows, [it.mark for it in self.seen])
        self._notes.set_meta(self._key, msgspec.json.encode(kept).decode())

    def _drop(self) -> None:
        held = self.pieces.pop().held
        if held is not None and held not in self.seen:
            self.seen.append(held)

    def claim(self, held: Held, mark: Mark) -> None:
        """Write down that a file is read under this name, whatever it is called later."""
        self._notes.set_meta(owner_key(held.inode), msgspec.json.encode((self.name, mark)).decode())

    def read_to(self, held: Held, position: int) -> int:
        """The byte up to which a file was read, when the tape was read up to a position."""
        end = position
        for piece in reversed(self.pieces):
            if piece.held is held:
                return piece.start + max(0, min(end, position) - piece.at)
            end = piece.at
        return 0

    def replace(self, old: Held, new: Held | None) -> None:
        """What was read of one file is from now on read of another."""
        for piece in self.pieces:
            if piece.held is old:
                piece.held = new


def owner_key(inode: int) -> str:
    """The note that says to which name a file belongs."""
    return f"tail:inode:{inode}"


def owner(notes: Notes, path: Path) -> str | None:
    """The name under which the file at a path was read, whatever it was called then."""
    held = Held.open(path)
    kept = notes.get_meta(owner_key(held.inode)) if held is not None else None
    if held is None or kept is None:
        return None
    name, mark = msgspec.json.decode(kept, type=tuple[str, Mark])
    return name if held.begins_as(mark) else None


def find(path: Path, mark: Mark) -> Held | None:
    """The file of a mark: at its own path, or renamed, or copied, beside it."""
    held = Held.open(path, mark)
    if held is not None:
        return held
    for beside in _beside(path):
        if beside.inode() == mark.inode:
            held = Held.open(Path(beside.path), mark)
            if held is not None:
                return held
    return find_copy(path, mark)


def find_copy(path: Path, mark: Mark) -> Held | None:
    """A file beside a path that begins with its name and with the bytes of a mark: the copy of one that was cut."""
    for beside in _beside(path):
        if beside.name.startswith(path.stem) and beside.name != path.name:
            held = Held.open(Path(beside.path), mark)
            if held is not None:
                return held
    return None


def _beside(path: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path.parent) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
