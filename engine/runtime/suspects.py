"""Finds the event, or the subject's wake-up, that kills the process, and sets it aside.

An exception while deciding is caught and its event put in quarantine (``pump``). A crash of the interpreter, a lack of
memory or an endless need of it cannot be caught: the process dies, comes back, and dies of the same event again.

Rule 1: it costs nothing while all goes well: one word says durably that a daemon is at work, and it is taken back when
it leaves in order. Found at the start, it says that the last one died.
Rule 2: after a death the first events are decided in small parts, each noted durably before it is tried. If the process
dies of a part, its events are tried alone; whoever was tried alone and died of is put in quarantine. Three deaths: with
the batch, with the part, alone.
Rule 3: wake-ups and slots are treated alike: a subject whose wake-up kills is looked at later, one that kills when a
slot comes to it is left out of that slot.
Rule 4: for events it ends when as many went well as a batch holds, for what is due when as many as a transaction may
look at, and for both when there is nothing more to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from engine.ports import Record, Store
from engine.runtime.rows import event_row
from engine.runtime.walk import Spot

PART = 64
"""Events tried together after a death."""

TRIES = 3
"""Deaths after which an event is put in quarantine."""

DUE = 5_000
"""Subjects one transaction of a slot, or of wake-ups, may look at."""

_log = logging.getLogger(__name__)

_UP, _TRIED = "daemon", "daemon.tried"


class Tried(msgspec.Struct, omit_defaults=True):
    """What was being decided when the mark was written."""

    names: list[str]
    deaths: int = 1  #: of the process, with these on hand, before this try


class Suspects:
    """Which events may have killed the last process.

    Parameters
    ----------
    store: where the marks are kept.
    batch: records a transaction holds.
    mask: how ids are named in logs.
    """

    def __init__(self, store: Store, batch: int, mask: Callable[[str], str]) -> None:
        self._store = store
        self._mask_id = mask
        self._batch = batch
        self._died = store.get_meta(_UP) == "up"
        self._mark = store.get_meta(_TRIED) or ""
        tried = msgspec.json.decode(self._mark, type=Tried) if self._died and self._mark else None
        #: the deaths each of them was on hand at
        self._deaths = dict.fromkeys(tried.names, tried.deaths + 1) if tried is not None else {}
        self._left = batch if self._died else 0  #: records still to be decided with care
        self._due_left = DUE if self._died else 0  #: subjects still to be woken or looked at with care
        if not self._died:
            store.set_meta(_UP, "up")

    @property
    def careful(self) -> bool:
        """Whether events are to be decided in small parts, noted before."""
        return self._left > 0

    @property
    def careful_when_due(self) -> bool:
        """Whether what is due is to be done in small parts, noted before."""
        return self._due_left > 0

    @property
    def died(self) -> bool:
        """Whether the last process died at work."""
        return self._died

    def part(self, names: Sequence[str]) -> int:
        """How many of the next ones are to be decided together."""
        for place, name in enumerate(names[:PART]):
            if self._deaths.get(name, 0) >= TRIES - 1:
                return place or 1  # alone
        return min(PART, len(names))

    def guilty(self, name: str) -> bool:
        """Whether the process died of it too often."""
        return self._deaths.get(name, 0) >= TRIES

    def judge(self, records: Sequence[Record]) -> list[Record]:
        """The records of a part: those of which the process died too often are no events any more."""
        return [self._set_aside(it) if self.guilty(name_of(it)) else it for it in records]

    def _set_aside(self, record: Record) -> Record:
        self.tell(name_of(record))
        raw = record.raw if record.raw or record.event is None else event_row(record.event)
        words = f"the process died {TRIES} times while deciding it"
        return Record(record.feed, record.position, raw, reason="poison", message=words)

    def tell(self, name: str) -> None:
        """Say what is set aside."""
        kind, _, id_ = name.partition(" ")
        _log.error("a %s killed %d processes and is set aside", kind, TRIES, extra={kind: self._mask_id(id_)})

    def trying(self, names: Sequence[str]) -> None:
        """Note durably that these are decided now."""
        accused = [name for name in names if name and not self.guilty(name)]
        if accused:
            tried = Tried(accused, max(self._deaths.get(name, 1) for name in accused))
            self._write(msgspec.json.encode(tried).decode())

    def went_well(self, names: Sequence[str], *, due: bool = False) -> None:
        """They are committed; ``due``: they are wake-ups or places in a slot."""
        for name in names:
            self._deaths.pop(name, None)
        if due:
            self._due_left -= len(names)
        else:
            self._left -= len(names)
        if self._left <= 0 and self._due_left <= 0:
            self.over()

    def over(self) -> None:
        """There is nobody left to suspect."""
        self._left = self._due_left = 0
        self._deaths.clear()
        self._write("")

    def leave(self) -> None:
        """The process ends in order."""
        self._write("")
        if self._left <= 0 and self._due_left <= 0:  # else the next process goes on being careful
            self._store.set_meta(_UP, "")

    def _write(self, mark: str) -> None:
        if mark != self._mark:
            self._store.set_meta(_TRIED, mark)
            self._mark = mark


def name_of(record: Record) -> str:
    """How the event of a record is called among the suspects; "" when it is none."""
    return f"event {record.event.id}" if record.event is not None else ""


def wake_of(subject: str) -> str:
    """How the wake-up of a subject is called."""
    return f"wake {subject}"


def slot_of(spot: Spot) -> str:
    """How the place of a subject in a slot is called."""
    schedule, instant, subject = spot
    return f"slot {instant} {schedule} {subject}"

