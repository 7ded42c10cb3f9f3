"""Finds the event that kills the process, and sets it aside.

An exception while deciding is caught and its event put in quarantine (``pump``). A crash of the interpreter, a lack of
memory or an endless need of it cannot be caught: the process dies, comes back, and dies of the same event again.

Rule 1: it costs nothing while all goes well: one word says durably that a daemon is at work, and it is taken back when
it leaves in order. Found at the start, it says that the last one died.
Rule 2: after a death the first events are decided in small parts, each noted durably before it is tried. If the process
dies of a part, its events are tried alone; whoever was tried alone and died of is put in quarantine. Three deaths: with
the batch, with the part, alone.
Rule 3: it ends when as many records went well as a batch holds, or when the feeds hold no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.ports import Record, Store
from engine.runtime.rows import event_row

PART = 64
"""Events tried together after a death."""

TRIES = 3
"""Deaths after which an event is put in quarantine."""

_UP, _TRIED = "daemon", "daemon.tried"


class Tried(msgspec.Struct, omit_defaults=True):
    """What was being decided when the mark was written."""

    ids: list[str]
    deaths: int = 1  #: of the process, with these events on hand, before this try


class Suspects:
    """Which events may have killed the last process.

    Parameters
    ----------
    store: where the marks are kept.
    batch: records a transaction holds.
    """

    def __init__(self, store: Store, batch: int) -> None:
        self._store = store
        self._batch = batch
        self._died = store.get_meta(_UP) == "up"
        self._mark = store.get_meta(_TRIED) or ""
        tried = msgspec.json.decode(self._mark, type=Tried) if self._died and self._mark else None
        #: the deaths each event was on hand at
        self._deaths = dict.fromkeys(tried.ids, tried.deaths + 1) if tried is not None else {}
        self._left = batch if self._died else 0  #: records still to be decided with care
        if not self._died:
            store.set_meta(_UP, "up")

    @property
    def careful(self) -> bool:
        """Whether events are to be decided in small parts, noted before."""
        return self._left > 0

    @property
    def died(self) -> bool:
        """Whether the last process died at work."""
        return self._died

    def part(self, records: Sequence[Record]) -> int:
        """How many of the next records are to be decided together."""
        for place, record in enumerate(records[:PART]):
            if self._deaths.get(_id(record), 0) >= TRIES - 1:
                return place or 1  # alone
        return min(PART, len(records))

    def judge(self, records: Sequence[Record]) -> list[Record]:
        """The records of a part: those of which the process died too often are no events any more."""
        return [self._set_aside(it) if self._deaths.get(_id(it), 0) >= TRIES else it for it in records]

    def trying(self, records: Sequence[Record]) -> None:
        """Note durably that these are decided now."""
        ids = [it.event.id for it in records if it.event is not None]
        if ids:
            self._write(msgspec.json.encode(Tried(ids, max(self._deaths.get(id, 1) for id in ids))).decode())

    def went_well(self, records: Sequence[Record]) -> None:
        """They are committed."""
        for record in records:
            self._deaths.pop(_id(record), None)
        self._left -= len(records)
        if self._left <= 0:
            self.over()

    def over(self) -> None:
        """There is nobody left to suspect."""
        self._left = 0
        self._deaths.clear()
        self._write("")

    def leave(self) -> None:
        """The process ends in order."""
        self._write("")
        if not self._left:  # else the next process goes on being careful
            self._store.set_meta(_UP, "")

    def _write(self, mark: str) -> None:
        if mark != self._mark:
            self._store.set_meta(_TRIED, mark)
            self._mark = mark

    def _set_aside(self, record: Record) -> Record:
        raw = record.raw if record.raw or record.event is None else event_row(record.event)
        words = f"the process died {TRIES} times while deciding it"
        return Record(record.feed, record.position, raw, reason="poison", message=words)


def _id(record: Record) -> str:
    return record.event.id if record.event is not None else ""
