"""Whole files in the order of time: what ``simulate`` reads.

Rule 1: an id that comes again is dropped first (the first of the files stays), then the rest is ordered by time;
records of one instant keep the order of (file, line).
Rule 2: a single file that is in order is read as it comes, once. Otherwise ``ordering`` puts the files in order first,
with bounded memory, and the door reads the records when their turn comes. So files may be larger than the memory.
Rule 3: verdicts are exact. A hash only raises the suspicion that an id came before; then the records are read.

A record claims its id when the door accepts it: what is in quarantine makes no other record a duplicate, just as in
``run``. A record whose time can be read and lies after ``until`` is not read, whatever else it contains.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import lt
from pathlib import Path
from typing import Final

import msgspec

from engine.core.admission import EventTypes
from engine.core.instants import parse_instant
from engine.core.model import Event
from engine.door import NoSubject, read_many
from engine.errors import EventRejected
from engine.feeds.files import Layout, Source, is_blank, kept
from engine.feeds.ordering import Claim, Ordering
from engine.feeds.table import CsvMapping
from engine.ports import NotInOrder, Record
from engine.spill import BOUND

KEEP_REJECTED: Final = 1000
_MOST_IDS: Final = 2_000_000
"""Ids compared in memory while hoping; beyond that the careful way needs less of it."""


class _Time(msgspec.Struct, gc=False):
    time: str


_time: Final = msgspec.json.Decoder(_Time).decode


class Ids:
    """The ids that came so far, by their hashes, to see whether one comes again.

    While they ascend, as numbers given in turn do, none can have come before, and their hashes are only written down;
    of very many not even that. With the first that does not ascend they become a set, which takes ten times the memory.
    """

    def __init__(self) -> None:
        self._last = ""
        self._listed = array("q")
        self._forgotten = False  # there were more than are written down
        self._set: set[int] | None = None

    def add(self, ids: list[str]) -> bool:
        """Take ids in; False when one of them may have come before."""
        if self._set is None and ids[0] > self._last and all(map(lt, ids, islice(ids, 1, None))):
            self._last = ids[-1]
            if len(self._listed) > _MOST_IDS:
                self._forgotten = True
            else:
                self._listed.extend(map(hash, ids))
            return True
        known = self._known()
        before = len(known)
        known.update(map(hash, ids))
        return not self._forgotten and len(known) == before + len(ids) and len(known) <= _MOST_IDS

    def __contains__(self, id: str) -> bool:
        """May the id have come before?"""
        return self._forgotten or hash(id) in self._known()

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
    mapping: which columns mean what, for all CSV and Parquet files.
    layout: the same, a file at a time.
    types: whose schemas the data of events must keep; None: there are none.
    bound: bytes that may be held in memory to put records in order.

    The counts stand when ``chunks`` has ended; while it goes on they cover what was handed out.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        until: int | None = None,
        *,
        names: Sequence[str] | None = None,
        mapping: CsvMapping | None = None,
        layout: Callable[[Path], Layout] | None = None,
        types: EventTypes | None = None,
        bound: int = BOUND,
    ) -> None:
        self._reset()
        self._bound = bound
        self._until = until
        self._types = types if types is not None and types.checks else None
        every = Layout(mapping)
        self._sources = [
            Source(path, name, *(every if layout is None else layout(path)))
            for path, name in zip(paths, names or _names(paths), strict=True)
        ]

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
        chunk: list[Event] = []
        for event in self._events():
            chunk.append(event)
            if len(chunk) >= size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
        self.rejected.sort(key=self._place)

    def _events(self) -> Iterator[Event]:
        """The events in order; to be closed, as temporary files may be open."""
        until, sources = self._until, self._sources
        for it in Ordering(sources, self._odd, self._claim, self._bound):
            if until is not None and it.time > until:
                return
            self.read += 1
            if it.repeated:
                self.duplicate += 1
                continue
            source = sources[it.file]
            fallback = f"{source.name}:{it.line}"
            try:
                event = self._event(source, it.raw, fallback)
            except EventRejected as error:
                if isinstance(error, NoSubject):
                    self.end = error.time
                self._quarantine(source.name, it.line, it.raw, error)
                continue
            if event.id == fallback:
                self.assigned_ids = True
            self.accepted += 1
            self.end = event.time
            yield event

    def _odd(self, file: int, line: int, raw: bytes, first: bool) -> tuple[int, str | None] | None:
        """A line without a readable time or id: blank, refused by the door (counted once), or after the end."""
        source = self._sources[file]
        if is_blank(raw) or self._beyond(source, raw):
            return None
        try:
            event = self._event(source, raw, f"{source.name}:{line}")
        except EventRejected as error:
            if first:
                self.read += 1
                self._quarantine(source.name, line, raw, error)
            return None
        return event.time, event.id

    def _claim(self, file: int, line: int, raw: bytes) -> Claim | None:
        source = self._sources[file]
        try:
            return Claim(self._event(source, raw, f"{source.name}:{line}").id, True)
        except NoSubject as error:
            return Claim(error.id, False)
        except EventRejected:
            return None

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

    def _quarantine(self, name: str, number: int, raw: bytes, error: EventRejected) -> None:
        self.quarantined += 1
        self.reasons[error.reason] += 1
        if len(self.rejected) < KEEP_REJECTED:
            self.rejected.append(Record(name, number, kept(raw), reason=error.reason, message=error.message))


def _names(paths: Sequence[Path]) -> list[str]:
    """File names, so that ids do not depend on where the files lie; paths where two files have one name."""
    times = Counter(path.name for path in paths)
    return [path.name if times[path.name] == 1 else path.as_posix() for path in paths]
