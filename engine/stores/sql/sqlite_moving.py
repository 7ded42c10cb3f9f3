"""A store in an SQLite file as records; see :mod:`engine.stores.moving`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from engine.core.model import Event
from engine.stores import codec
from engine.stores.moving import BLANK, STAYS, Row
from engine.stores.sql.sqlite_events import Kept, is_about
from engine.stores.sql.sqlite_file import SqliteFile

_BLOCKS = 50  #: blocks read at a time
_kept = msgspec.json.Decoder(list[Kept]).decode


class SqliteMoving:
    """Reads records; everything must stand at its place (``SqliteStore.fold``)."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def records(self, kind: str) -> Iterator[Row]:
        """The records of a kind."""
        if kind == "meta":
            return (row for row in self._file.pages("whole_meta") if row[0] not in STAYS)
        if kind == "version":
            return ((*row[:4], bool(row[4])) for row in self._file.pages("whole_version"))
        if kind == "goal":
            return ((*row[:3], bool(row[3]), *row[4:]) for row in self._file.pages("whole_goal"))
        if kind == "effect":
            return ((*row[:11], _carried(row[11])) for row in self._file.pages("whole_effect"))
        if kind in ("id", "event", "decision", "entry"):
            found: Iterator[Row] = getattr(self, f"_{kind}")()
            return found
        return self._file.pages(f"whole_{kind}")

    def _id(self) -> Iterator[Row]:
        for until, body in self._file.pages("whole_id_blocks", page=_BLOCKS):
            kept = _kept(body)
            known = self._known([id_ for id_, _, _ in kept])
            yield from ((id_, subject, time, until, True) for id_, subject, time in kept if id_ in known)
        forgotten = next((seq for (seq,) in self._file.rows("forgotten_upto", "ids")), 0)
        for seq, body in self._file.pages("whole_blocks", page=_BLOCKS):
            if seq <= forgotten:  # an id of these may have come again since
                continue
            events = [it for it in codec.decode_events(body) if it is not None]
            known = self._known([it.id for it, _ in events])
            for it, at in events:
                if it.id in known:
                    yield it.id, it.user or it.group, it.time, max(it.time, at), False

    def _known(self, ids: Sequence[str]) -> set[str]:
        return {id_ for (id_,) in self._file.rows("decided_ids", codec.names(list(ids)))}

    def _event(self) -> Iterator[Row]:
        hearers = groupby(self._file.pages("whole_hearers"), key=itemgetter(0))
        ahead = next(hearers, None)
        clock = 0
        for seq, body in self._file.pages("whole_blocks", page=_BLOCKS):
            while ahead is not None and ahead[0] < seq:
                ahead = next(hearers, None)
            names: list[str] = []
            if ahead is not None and ahead[0] == seq:
                names = sorted(name for _, name in ahead[1])
                ahead = next(hearers, None)
            for it in codec.decode_events(body):
                clock = clock if it is None else it[1]
                yield _event_row(it, clock, names)

    def _decision(self) -> Iterator[Row]:
        for subject, body in self._file.pages("whole_decision"):
            yield subject, codec.decision_from(body).time, body

    def _entry(self) -> Iterator[Row]:
        for (body,) in self._file.pages("whole_entries", page=_BLOCKS):
            for it in codec.decode_entries(body):
                yield it.key, it.subject, it.book, it.name, it.time, codec.encode_entries([it])


def _event_row(it: tuple[Event, int] | None, clock: int, names: Sequence[str]) -> Row:
    if it is None:
        return (*BLANK, clock, True, b"[null]", ())
    event, at = it
    heard = tuple(name for name in names if is_about(event, name))
    subject = event.user or event.group
    return subject, event.id, event.time, at, event.history, codec.encode_events([it]), heard


def _carried(text: Any) -> tuple[str, ...] | None:
    return None if text is None else tuple(msgspec.json.decode(text, type=list[str]))
