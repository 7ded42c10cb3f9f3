"""Files that grow, are rotated and come anew, as live feeds of JSON lines.

Rule 1: a line counts when its newline is there. What is left without one counts when its file is given up.
Rule 2: a file that was renamed (logrotate) is read to its end, then its successor; one that is still written to after
that is gone back to. One that was copied and cut (copytruncate) is read to its end in the copy, if that stands beside.
Rule 3: a pattern is looked through again and again; a file that only got another name is no new one.
Rule 4: a quiet file is not held open; what became of it is found out by its trail (``trail.py``).
"""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, cast

from engine.core.model import MINUTE, SECOND
from engine.door import MAX_EVENT, read_many
from engine.feeds.files import BLOCK, MARK, JsonlFeed, is_blank, kept, split_lines
from engine.feeds.mapping import PayloadMap
from engine.feeds.receiving import read_record
from engine.feeds.trail import FOLLOWED, Held, Memory, Piece, Trail, find_copy, owner
from engine.ports import Feed, Lag, Record
from engine.site import Site

_AT_ONCE: Final = 500  #: records decoded together
_OLD_FILES: Final = 2  #: files held beside the newest: somebody may still write to them
_QUIET: Final = 5 * MINUTE  #: after which a file that was read to its end is not held open any more
_LOOK: Final = SECOND  #: between two looks through a pattern


def is_followed(name: str) -> bool:
    """Can a file of this name be followed? Compressed files and tables are read as they are, without rotation."""
    return not name.endswith((".gz", ".zst", ".csv", ".parquet"))


class TailFeed:
    """One path, followed through everything that is done to it.

    Parameters
    ----------
    path: it may not exist yet.
    name: name of the feed; positions count the bytes ever read under it.
    site: the surroundings; ``site.notes`` keeps the trail.
    mapping: how payloads become events.
    """

    def __init__(self, path: Path, name: str, site: Site, mapping: PayloadMap | None = None) -> None:
        self.name = name
        self.path = path
        self._site = site
        self._mapping = mapping
        self._notes = site.notes if site.notes is not None else Memory()
        self._trail: Trail | None = None  #: None: nothing is held open
        self._at = 0  #: read up to here, blank lines included
        self._older: list[Held] = []  #: the oldest first
        self._newest: Held | None = None
        self._position: int | None = None  #: committed up to here, as far as this process knows
        self._asleep: tuple[int, int, int] | None = None  #: inode, size and mtime of a file read to its end
        self._asleep_at = 0  #: position of its end
        self._says = ""

    # ------------------------------------------------------------------ the feed

    def read(self, position: int, limit: int) -> Iterator[Record]:
        """At most ``limit`` records that stand after ``position``."""
        return islice(self._read(position), limit)

    def acknowledge(self, position: int) -> None:
        """Nothing to be told to a file."""
        self._position = max(self._position or 0, position)

    def lag(self) -> Lag:
        """Where the feed stands, in bytes."""
        trail, position = self._trail, self._position or 0
        try:
            if trail is None:
                behind = 0 if self._asleep is not None else None
            else:
                behind = sum(max(0, it.size() - trail.read_to(it, position)) for it in self._all())
        except OSError:  # let go of just now, by the thread that reads
            behind = None
        return Lag(position, None if behind is None else position + behind, behind, self._says)

    def close(self) -> None:
        """Let go of all files."""
        self._trail, self._newest, self._older = None, None, []

    def is_over(self) -> bool:
        """Is there nothing at the path, and nothing left to be read?"""
        return self._trail is None and not self.path.exists()

    # ------------------------------------------------------------------ reading

    def _read(self, position: int) -> Iterator[Record]:
        if self._position is None:
            self._position = position  # the first reader comes with the store's
        if self._sleeps(position):
            return
        trail = self._wake_up(position)
        trail.cut(position)
        self._look(trail, position)
        piece: Piece | None = trail.pieces[-1] if trail.pieces else None
        self._at = newest = max(position, piece.at if piece is not None else 0)
        while True:
            for record in self._records(piece):
                newest = record.position
                yield record
                if self._trail is not trail:
                    return  # closed meanwhile
            piece = self._turn(trail, self._at)
            if piece is None:
                break
        self._fall_asleep(trail, newest)

    def _records(self, piece: Piece | None) -> Iterator[Record]:
        """The records of a piece behind ``_at``, which goes along."""
        if piece is None or piece.held is None:
            return
        fd, shift, final = piece.held.fd, piece.at - piece.start, piece.last or self._site.final
        while True:
            start = self._at
            block = os.pread(fd, BLOCK, start - shift)
            cut = block.rfind(b"\n") + 1
            if cut:
                yield from self._decoded(block[: cut - 1].split(b"\n"), start, begins=start == shift)
                self._at = start + cut
                continue
            rest = io.BufferedReader(cast("io.RawIOBase", _From(fd, start - shift)))
            line = next(split_lines(rest, inside=start != shift), None)
            if line is None or not (line.finished or final):
                return
            self._at = start + line.end
            if not is_blank(line.raw):
                yield self._record(line.raw, self._at)

    def _decoded(self, lines: list[bytes], position: int, begins: bool) -> Iterator[Record]:
        """``begins``: with the first of these lines the file begins."""
        for begin in range(0, len(lines), _AT_ONCE):
            part = lines[begin : begin + _AT_ONCE]
            events = read_many(part) if self._mapping is None else None
            for place, line in enumerate(part):
                position += len(line) + 1
                if events is not None:
                    yield Record(self.name, position, line, events[place])
                else:
                    record = line.removeprefix(MARK) if begins and begin == place == 0 else line
                    if not is_blank(record):
                        yield self._record(record, position)

    def _record(self, raw: bytes, position: int) -> Record:
        raw = raw.rstrip(b"\r\n")
        record = read_record(self.name, raw, self._mapping)
        record.position = position
        if len(raw) > MAX_EVENT:
            record.raw = kept(raw)
        return record

    # ------------------------------------------------------------------ which file

    def _all(self) -> list[Held]:
        return [*self._older, *([self._newest] if self._newest is not None else [])]

    def _wake_up(self, position: int) -> Trail:
        """The trail; after a start it is read from the notes, and its files are looked for."""
        if self._trail is not None:
            return self._trail
        trail = self._trail = Trail(self.name, self.path, self._notes)
        trail.load(position)
        if not trail.pieces and position:
            self._adopt(trail, position)
        for held in [*(piece.held for piece in trail.pieces), *trail.seen]:
            if held is not None and held not in self._older:
                self._older.append(held)
        if trail.pieces and trail.pieces[-1].held is None:
            self._says = f"the file that was read up to {position} is not to be found any more"
        return trail

    def _adopt(self, trail: Trail, position: int) -> None:
        """A name without a trail was read as one file from its beginning; if that is shorter now it was replaced."""
        held = Held.open(self.path)
        if held is not None and held.size() >= position:
            trail.add(0, 0, held)

    def _look(self, trail: Trail, position: int) -> None:
        """What stands at the path now: the newest file, cut or not, or another one."""
        for held in self._all():
            self._see_cut(trail, held, position)
        newest = self._newest
        if newest is not None and newest.mark is None and newest.lines_end(0):
            trail.saw(newest)
        try:
            found = os.stat(self.path)
        except OSError:
            return
        if newest is not None and _is(newest, found):
            return
        known = next((it for it in self._older if _is(it, found)), None)
        if known is not None:
            self._older.remove(known)
        if newest is not None:
            self._older.append(newest)
        self._newest = newest = known if known is not None else Held.open(self.path)
        if newest is not None and newest.mark is None and newest.lines_end(0):
            trail.saw(newest)

    def _see_cut(self, trail: Trail, held: Held, position: int) -> None:
        """A file that is shorter than what was read of it, or begins otherwise, was cut: its rest is in a copy."""
        if held.mark is None or (held.size() >= trail.read_to(held, position) and held.begins_as(held.mark)):
            return
        copy = find_copy(self.path, held.mark)
        if copy is not None and copy.size() < trail.read_to(held, position):
            copy = None
        if copy is None:
            self._says = f"{self.path.name} was cut, and there is no copy of it beside: its last lines may be missing"
        else:
            trail.claim(copy, held.mark)
            self._older.append(copy)
        trail.replace(held, copy)
        held.mark = None  # from here on it is another file
        if held is not self._newest:
            self._older.remove(held)

    def _turn(self, trail: Trail, at: int) -> Piece | None:
        """The piece to go on with where a file is read to its end: another file that has a whole line."""
        last = trail.pieces[-1].held if trail.pieces else None
        for held in self._all():
            if held is last:
                continue
            start = trail.read_to(held, at)
            if held.lines_end(start) > start or (self._site.final and held.size() > start):
                return trail.add(at, start, held)
        return self._give_up(trail, at)

    def _give_up(self, trail: Trail, at: int) -> Piece | None:
        """Old files that are not waited for any longer; the rest of one may be a line without its newline."""
        for held in list(self._older):
            if len(self._older) <= _OLD_FILES and not (held.is_gone() and self._newest is not None):
                continue
            start = trail.read_to(held, at)
            self._older.remove(held)
            if held.size() > start:
                return trail.add(at, start, held, last=True)
            trail.replace(held, None)
        return None

    # ------------------------------------------------------------------ sleep

    def _sleeps(self, position: int) -> bool:
        """Was the file read to its end, and is it as it was?"""
        if self._asleep is None or position < self._asleep_at:
            self._asleep = None
            return False
        try:
            found = os.stat(self.path)
        except OSError:
            return not self._older
        if (found.st_ino, found.st_size, found.st_mtime_ns) == self._asleep:
            return True
        self._asleep = None
        return False

    def _fall_asleep(self, trail: Trail, at: int) -> None:
        """Let go of a file that was read to its end and has been quiet for long."""
        newest = self._newest
        if newest is None or self._older or trail.read_to(newest, self._at) != newest.size():
            return
        found = os.fstat(newest.fd)
        if self._site.now() - found.st_mtime_ns // 1000 >= _QUIET:
            self._asleep, self._asleep_at = (found.st_ino, found.st_size, found.st_mtime_ns), at
            self.close()


class _From(io.RawIOBase):
    """A file from a byte on, without moving anybody's place in it."""

    def __init__(self, fd: int, offset: int) -> None:
        self._fd = fd
        self._offset = offset

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        count = os.preadv(self._fd, [cast("bytearray", target)], self._offset)
        self._offset += count
        return count


def _is(held: Held, found: os.stat_result) -> bool:
    return (held.device, held.inode) == (found.st_dev, found.st_ino)


class StillFeed(JsonlFeed):
    """A compressed file or a table in the daemon: read as it grows, not followed when it is renamed."""

    def acknowledge(self, position: int) -> None:
        """Nothing to be told to a file."""

    def lag(self) -> Lag:
        """Nobody knows how much is behind without reading it."""
        return Lag(0)


class TailFeeds:
    """The files of a pattern: each is a feed of its own, and new ones join.

    Parameters
    ----------
    pattern: as in the program, with ``*``.
    site: the surroundings.
    mapping: how payloads become events.
    still: makes the feed of a file that is not followed, by its name in the folder of the program.
    """

    def __init__(self, pattern: str, site: Site, mapping: PayloadMap | None, still: Callable[[str], StillFeed]) -> None:
        self.name = f"file:{pattern}"
        self._pattern = pattern
        self._site = site
        self._notes = site.notes if site.notes is not None else Memory()
        self._mapping = mapping
        self._still = still
        self._members: dict[str, TailFeed | StillFeed] = {}  #: by name
        self._elsewhere: dict[str, str] = {}  #: path -> the name its file is read under
        self._looked: int | None = None

    def members(self) -> list[Feed]:
        """The feeds of the files there are now, in order of their names."""
        now = self._site.now()
        if self._looked is None or not 0 <= now - self._looked < _LOOK or self._site.final:
            self._looked = now
            self._gather()
        return [self._members[name] for name in sorted(self._members)]

    def read(self, position: int, limit: int) -> Iterator[Record]:
        """Nothing of its own: the members are read."""
        return iter(())

    def acknowledge(self, position: int) -> None:
        """Nothing to be told to a file."""

    def lag(self) -> Lag:
        """All members together, in bytes."""
        lags = [it.lag() for it in list(self._members.values())]
        behind = sum(it.behind or 0 for it in lags)
        return Lag(0, None, behind, next((it.says for it in lags if it.says), ""))

    def close(self) -> None:
        """Let go of all files."""
        for member in self._members.values():
            member.close()

    def _gather(self) -> None:
        root = self._site.root
        found = glob.glob(self._pattern, root_dir=root, recursive=True)
        paths = {Path(it).as_posix() for it in found if (root / it).is_file()}
        named = set()
        for path in sorted(paths):
            name = f"file:{path}"
            if name not in self._members and (path not in self._elsewhere or not is_followed(path)):
                name = self._join(path)
            named.add(self._elsewhere.get(path, name))
        self._elsewhere = {path: name for path, name in self._elsewhere.items() if path in paths}
        for name, member in list(self._members.items()):
            if name not in named and isinstance(member, TailFeed) and member.is_over():
                del self._members[name]

    def _join(self, path: str) -> str:
        """A path that was not there before; the name its file is read under."""
        if not is_followed(path):
            self._members[f"file:{path}"] = self._still(path)
            return f"file:{path}"
        name = owner(self._notes, self._site.root / path) or f"file:{path}"
        if name != f"file:{path}":
            self._elsewhere[path] = name
        if name not in self._members:
            place = self._site.root / name.removeprefix("file:")
            self._members[name] = TailFeed(place, name, self._site, self._mapping)
        return name


def follow(pattern: str, site: Site, mapping: PayloadMap | None, still: Callable[[str], StillFeed]) -> Feed:
    """The feed of a path or a pattern that is followed; parameters as in ``TailFeeds``."""
    if glob.has_magic(pattern):
        return TailFeeds(pattern, site, mapping, still)
    if not is_followed(pattern):
        return still(pattern)
    return TailFeed(site.root / pattern, f"file:{Path(pattern).as_posix()}", site, mapping)


def is_due(site: Site) -> bool:
    """Are files to be followed here: in the daemon, and wherever it was before?"""
    return not site.final or (site.notes is not None and site.notes.get_meta(FOLLOWED) is not None)
