"""Whole files in the order of time: what ``simulate`` reads.

Rule 1: an id that comes again is dropped first (the first of the files stays), then the rest is ordered by time;
records of one instant keep the order of (file, line).
Rule 2: a cheap first pass notes time, place and a hash of the id of every record, some 30 bytes each; the records
themselves are read by the door only when their turn comes. So the files may be larger than the memory.
Rule 3: verdicts are exact. A hash only raises the suspicion that an id came before; then the records are read.

A record claims its id when the door accepts it: what is in quarantine makes no other record a duplicate, just as in
``run``. A record whose time can be read and lies after ``until`` is not read, whatever else it contains.
"""

from __future__ import annotations

import heapq
import os
import shutil
import tempfile
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import lt
from pathlib import Path
from typing import BinaryIO, Final, cast

import msgspec

from engine.core.admission import EventTypes
from engine.core.instants import parse_instant
from engine.core.model import Event
from engine.door import NoSubject, read_many
from engine.errors import CannotRun, EventRejected
from engine.feeds.files import BLOCK, Batch, Source, is_blank, kept
from engine.feeds.mapping import PayloadMap
from engine.feeds.table import CsvMapping
from engine.ports import NotInOrder, Record

KEEP_REJECTED: Final = 1000
_SORTED_AT_ONCE: Final = 1 << 16  # bounds the memory of sorting


_MOST_IDS: Final = 2_000_000
"""Ids compared in memory while hoping; beyond that the careful way needs less of it."""


class _Head(msgspec.Struct, gc=False):
    """What the first pass needs; the door looks at the rest."""

    time: str
    id: str | None = None


class _Time(msgspec.Struct, gc=False):
    time: str


_head: Final = msgspec.json.Decoder(_Head).decode
_time: Final = msgspec.json.Decoder(_Time).decode


class Ids:
    """The ids that came so far, by their hashes, to see whether one comes again.

    While they ascend, as numbers given in turn do, none can have come before, and their hashes are only written down.
    With the first that does not ascend they become a set, which takes ten times the memory.
    """

    def __init__(self) -> None:
        self._last = ""
        self._listed = array("q")
        self._set: set[int] | None = None

    def add(self, ids: list[str]) -> bool:
        """Take ids in; False when one of them may have come before."""
        if self._set is None and ids[0] > self._last and all(map(lt, ids, islice(ids, 1, None))):
            self._last = ids[-1]
            self._listed.extend(map(hash, ids))
            return len(self._listed) <= _MOST_IDS
        known = self._known()
        before = len(known)
        known.update(map(hash, ids))
        return len(known) == before + len(ids) and len(known) <= _MOST_IDS

    def __contains__(self, id: str) -> bool:
        """May the id have come before?"""
        return hash(id) in self._known()

    def _known(self) -> set[int]:
        if self._set is None:
            self._set, self._listed = set(self._listed), array("q")
        return self._set


class Replay:
    """The events of files in the order of (time, file, line).

    Parameters
    ----------
    paths: the files; their order here is the order of files.
    until: last instant that is read, inclusive; None: all.
    names: how the files are called in ids and messages; by default the file names, or the paths where those repeat.
    mapping: for CSV.
    payload: which fields form an event, for JSON lines of other systems.
    types: whose schemas the data of events must keep; None: there are none.

    The counts stand when ``chunks`` has ended; while it goes on they cover what was handed out.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        until: int | None = None,
        *,
        names: Sequence[str] | None = None,
        mapping: CsvMapping | None = None,
        payload: PayloadMap | None = None,
        types: EventTypes | None = None,
    ) -> None:
        self._reset()
        self._until = until
        self._types = types if types is not None and types.checks else None
        self._sources = [
            Source(p, n, mapping, payload) for p, n in zip(paths, names or _names(paths), strict=True)
        ]
        self._without_id = [False] * len(paths)
        self._starts: list[int] = []  # index of the first record of each file
        self._times = array("q")
        self._offsets = array("q")
        self._sizes = array("i")
        self._lines = array("q")
        self._hashes = array("q")
        self._bits = bytearray()
        self._suspects = array("q")  # records whose id may have come before
        self._dropped = bytearray()  # 1 for duplicates; empty when there are none
        self._in_order = True

    def _reset(self) -> None:
        self.read = 0  #: records that are not blank lines
        self.accepted = 0
        self.duplicate = 0
        self.quarantined = 0
        self.reasons: Counter[str] = Counter()  #: reason -> records in quarantine
        self.rejected: list[Record] = []  #: the first of them; ``position`` is the line
        self.end: int | None = None  #: time of the last well-formed record, with subject or without; no duplicates
        self.assigned_ids = False  #: at least one event got its ``file:line`` as id

    def hopeful(self, size: int = 2000) -> Iterator[list[Event]]:
        """As ``chunks``, but read once and as it comes, in the hope that it is in order and repeats no id.

        Raises NotInOrder when that turns out to be wrong, maybe late: what was handed out is void then, and ``chunks``
        has to go the careful way.
        """
        try:
            yield from self._hopeful(size)
        except NotInOrder:
            self._reset()
            raise

    def _hopeful(self, size: int) -> Iterator[list[Event]]:
        source, until, latest = self._sources[0], self._until, -(1 << 62)
        if len(self._sources) > 1 or source.is_table:
            raise NotInOrder
        ids = Ids()
        for batch in source.batches():
            for begin in range(0, len(batch.lines), size):
                chunk = self._in_hope(source, batch.number + begin, batch.lines[begin : begin + size], ids)
                if not chunk:
                    continue
                times = [event.time for event in chunk]
                if times[0] < latest or times != sorted(times):
                    raise NotInOrder
                latest = times[-1]
                if until is not None and latest > until:
                    chunk = chunk[: bisect_right(times, until)]
                if not chunk:
                    continue  # what lies after the end is not read, but has to be in order all the same
                if not ids.add([event.id for event in chunk]):
                    raise NotInOrder
                self.read += len(chunk)
                self.accepted += len(chunk)
                self.end = max(self.end or chunk[-1].time, chunk[-1].time)
                yield chunk

    def _in_hope(self, source: Source, first: int, lines: list[bytes], ids: Ids) -> list[Event]:
        """The events of a few lines; those that hold none are dealt with when that is simple."""
        events = read_many(lines)
        if events is not None and not self._any_wrong(events):
            return events
        events = []
        for number, raw in enumerate(lines, first):
            if is_blank(raw):
                continue
            fallback = f"{source.name}:{number}"
            try:
                event = self._event(source, raw, fallback)
            except EventRejected as error:
                if self._until is not None or (isinstance(error, NoSubject) and error.id in ids):
                    raise NotInOrder from None
                if isinstance(error, NoSubject):
                    self.end = max(self.end or error.time, error.time)
                self.read += 1
                self._quarantine(source.name, number, raw, error)
                continue
            self.assigned_ids = self.assigned_ids or event.id == fallback
            events.append(event)
        return events

    def _any_wrong(self, events: Iterable[Event]) -> bool:
        """Does one of them not keep the schema of its type?"""
        types = self._types
        return types is not None and any(event.type in types.checks and types.wrong_data(event) for event in events)

    def _event(self, source: Source, raw: bytes, fallback: str | None) -> Event:
        """What the door makes of a line; raises EventRejected."""
        event = source.event(raw, fallback)
        if self._types is not None and (wrong := self._types.wrong_data(event)) is not None:
            raise EventRejected(*wrong)
        return event

    def chunks(self, size: int = 2000) -> Iterator[list[Event]]:
        """Lists of at most ``size`` events; to be called once."""
        self._index()
        self._drop_repeated()
        self._hashes = self._suspects = array("q")
        chunk: list[Event] = []
        fetch = _Fetch(self._sources, self._starts, self._offsets, self._sizes)
        try:
            for event in self._events(fetch):
                chunk.append(event)
                if len(chunk) >= size:
                    yield chunk
                    chunk = []
        finally:
            fetch.close()
        if chunk:
            yield chunk
        self.rejected.sort(key=self._place)

    def _beyond(self, source: Source, raw: bytes) -> bool:
        """Whether a record that is no event lies after the end, as far as can be told."""
        if self._until is None:
            return False
        try:
            return parse_instant(_time(source.json(raw)).time) > self._until
        except (ValueError, EventRejected, RecursionError):
            return False

    def _place(self, record: Record) -> tuple[int, int]:
        return next(i for i, source in enumerate(self._sources) if source.name == record.feed), record.position

    # -- the first pass

    def _index(self) -> None:
        weight = sum(_weight(source) for source in self._sources)
        self._bits = bytearray(1 << max(17, min(29, (weight >> 5).bit_length())))
        latest = -(1 << 62)
        for number, source in enumerate(self._sources):
            self._starts.append(len(self._times))
            for batch in source.batches():
                latest = self._note(number, batch, latest)
        self._bits = bytearray()

    def _note(self, file: int, batch: Batch, latest: int) -> int:
        """Note the records of a batch; the time of the last one."""
        source = self._sources[file]
        start, first, lines = batch
        times, bits, mask = self._times, self._bits, len(self._bits) * 8 - 1
        for number, raw in enumerate(lines, first):
            here, start = start, start + len(raw) + 1
            try:
                head = _head(source.json(raw))
                time, id = parse_instant(head.time), head.id
            except (ValueError, EventRejected, RecursionError):
                found = self._examine(source, number, raw)
                if found is None:
                    continue
                time, id = found
            if id is None:
                self._without_id[file] = True
                id = f"{source.name}:{number}"
            if time < latest:
                self._in_order = False
            latest = time
            # One bit says "perhaps seen"; whether it was this very id is found out afterwards, for the few.
            mark = hash(id)
            place = mark & mask
            if bits[place >> 3] >> (place & 7) & 1:
                self._suspects.append(len(times))
            else:
                bits[place >> 3] |= 1 << (place & 7)
            times.append(time)
            self._offsets.append(here)
            self._sizes.append(len(raw))
            self._lines.append(number)
            self._hashes.append(mark)
        return latest

    def _examine(self, source: Source, number: int, raw: bytes) -> tuple[int, str | None] | None:
        """A line without a readable time or id: blank, refused by the door, or after the end."""
        if is_blank(raw):
            return None
        if self._beyond(source, raw):
            return None
        try:
            event = self._event(source, raw, f"{source.name}:{number}")
        except EventRejected as error:
            self.read += 1
            self._quarantine(source.name, number, raw, error)
            return None
        return event.time, event.id

    def _quarantine(self, name: str, number: int, raw: bytes, error: EventRejected) -> None:
        self.quarantined += 1
        self.reasons[error.reason] += 1
        if len(self.rejected) < KEEP_REJECTED:
            self.rejected.append(Record(name, number, kept(raw), reason=error.reason, message=error.message))

    # -- repeated ids

    def _drop_repeated(self) -> None:
        """Mark the records whose id an earlier accepted record has."""
        again = self._repeated()
        if not again:
            return
        claimed: set[str] = set()
        fetch = _Fetch(self._sources, self._starts, self._offsets, self._sizes)
        try:
            for index in again:
                source, raw = fetch(index)
                try:
                    id, accepted = self._event(source, raw, self._fallback(index)).id, True
                except NoSubject as error:
                    id, accepted = error.id, False
                except EventRejected:
                    continue
                if id in claimed:
                    self._dropped = self._dropped or bytearray(len(self._times))
                    self._dropped[index] = 1
                elif accepted:
                    claimed.add(id)
        finally:
            fetch.close()

    def _repeated(self) -> array[int]:
        """Records whose whole hash occurs more than once, in order; all bearers of a repeated id are among them."""
        hashes = self._hashes
        wanted = {hashes[index] for index in self._suspects}
        if not wanted:
            return array("q")
        found = array("q", (index for index, mark in enumerate(hashes) if mark in wanted))
        if len(found) == len(wanted):  # every suspicion was about a bit, not about a whole hash
            return array("q")
        times = Counter(hashes[index] for index in found)
        return array("q", (index for index in found if times[hashes[index]] > 1))

    def _fallback(self, index: int) -> str | None:
        file = bisect_right(self._starts, index) - 1
        return f"{self._sources[file].name}:{self._lines[index]}" if self._without_id[file] else None

    # -- the second pass

    def _order(self) -> Iterable[int]:
        count, key = len(self._times), self._times.__getitem__
        if self._in_order:
            return range(count)
        parts = [
            array("q", sorted(range(begin, min(begin + _SORTED_AT_ONCE, count)), key=key))
            for begin in range(0, count, _SORTED_AT_ONCE)
        ]
        return heapq.merge(*parts, key=key)  # stable, as sorted is

    def _events(self, fetch: _Fetch) -> Iterator[Event]:
        times, dropped, until = self._times, self._dropped, self._until
        assigning = any(self._without_id)
        for index in self._order():
            if until is not None and times[index] > until:
                return
            self.read += 1
            if dropped and dropped[index]:
                self.duplicate += 1
                continue
            source, raw = fetch(index)
            fallback = self._fallback(index) if assigning else None
            try:
                event = self._event(source, raw, fallback)
            except EventRejected as error:
                if isinstance(error, NoSubject):
                    self.end = error.time
                self._quarantine(source.name, self._lines[index], raw, error)
                continue
            if event.id == fallback:
                self.assigned_ids = True
            self.accepted += 1
            self.end = event.time
            yield event


def _names(paths: Sequence[Path]) -> list[str]:
    """File names, so that ids do not depend on where the files lie; paths where two files have one name."""
    times = Counter(path.name for path in paths)
    return [path.name if times[path.name] == 1 else path.as_posix() for path in paths]


def _weight(source: Source) -> int:
    """About how many bytes of records a file holds."""
    try:
        size = source.path.stat().st_size
    except OSError:
        return 0  # opening it will say why
    return size * 12 if source.compression else size


class _Fetch:
    """Records by index; each file is read forward as long as the order allows."""

    def __init__(self, sources: Sequence[Source], starts: list[int], offsets: array[int], sizes: array[int]) -> None:
        self._windows = [_Window(source) for source in sources]
        self._starts = starts
        self._offsets = offsets
        self._sizes = sizes

    def __call__(self, index: int) -> tuple[Source, bytes]:
        windows = self._windows
        window = windows[0] if len(windows) == 1 else windows[bisect_right(self._starts, index) - 1]
        return window.source, window.get(self._offsets[index], self._sizes[index])

    def close(self) -> None:
        for window in self._windows:
            window.close()


class _Window:
    """Pieces of one file's content. A step back in a compressed file unpacks it once into a temporary one."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._file: BinaryIO | None = None
        self._packed = bool(source.compression)
        self._start = 0
        self._block = b""

    def get(self, offset: int, size: int) -> bytes:
        at = offset - self._start
        if at < 0 or at + size > len(self._block):
            self._load(offset, size)
            at = offset - self._start
        piece = self._block[at : at + size]
        if len(piece) < size:
            raise CannotRun(f"{self.source.name} became shorter while it was read", hint="simulate on a copy")
        return piece

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _load(self, offset: int, size: int) -> None:
        if self._file is None:
            self._file = self.source.open()
        if self._packed and offset < self._start:
            self._unpack()
        if self._packed:
            self._forward(self._file, offset, size)
            return
        ahead = offset - self._start
        near = 0 <= ahead <= len(self._block) + BLOCK  # else the order jumps about and reading ahead is waste
        self._block = os.pread(self._file.fileno(), max(size, BLOCK) if near else size, offset)
        self._start = offset

    def _forward(self, file: BinaryIO, offset: int, size: int) -> None:
        here = self._start + len(self._block)
        block = self._block[offset - self._start :] if offset < here else b""
        while here < offset:
            piece = file.read(min(BLOCK, offset - here))
            if not piece:
                break
            here += len(piece)
        self._block = block + file.read(max(size, BLOCK))
        self._start = offset

    def _unpack(self) -> None:
        self.close()
        spool = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed by close()
        try:
            with self.source.open() as packed:
                shutil.copyfileobj(packed, spool, BLOCK)
            spool.flush()
        except OSError as error:
            spool.close()
            raise CannotRun(f"{self.source.name} could not be unpacked to order it: {error}") from None
        self._file, self._packed, self._start, self._block = spool, False, 0, b""
