"""An empty SQLite file that takes a whole store as records; see :mod:`engine.stores.moving`.

All is written in one transaction: who is interrupted has an empty store again. The file is opened anew afterwards,
since whoever opened it before knows of nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import msgspec

from engine.core.model import Event
from engine.errors import StoreError
from engine.stores import codec
from engine.stores.moving import Row
from engine.stores.sql import sqlite_ledger
from engine.stores.sql.sqlite_events import BLOCK, names_of
from engine.stores.sql.sqlite_file import SqliteFile
from engine.stores.sql.sqlite_moving import SqliteMoving
from engine.stores.sql.sqlite_trail import ALL, SqliteTrail

_CHUNK = 1000
_MISSING, _IDS = (0, 0), 4  #: places in the trail, see ``sqlite_forgetting``

_SINGLE: Final[dict[str, tuple[str, Callable[[Row], Row]]]] = {
    "meta": ("save_meta", tuple),
    "clock": ("save_clock", tuple),
    "version": ("save_version", lambda row: (*row[:4], int(row[4]))),
    "erased": ("save_erased", tuple),
    "missing": ("mark_trail", lambda row: (row[0], *_MISSING)),
    "state": ("save_state", tuple),
    "inbox": ("add_inbox", tuple),
    "answer": ("save_answer", tuple),
    "grant": ("add_grant", tuple),
    "code": ("add_code", tuple),
    "resource": ("save_resource", tuple),
    "slot": ("save_slot", tuple),
    "decision": ("add_decision", lambda row: (row[0], row[2])),
    "goal": ("add_goal", lambda row: (*row[:3], int(row[3]), *row[4:])),
    "milestone": ("add_milestone", tuple),
    "rejected": ("add_rejected", tuple),
    "position": ("save_position", tuple),
    "counter": ("add_counter", tuple),
    "figure": ("add_figure", tuple),
}
"""Kind -> the statement that writes a record, and the values it takes."""


class SqliteTaking(SqliteMoving):
    """Writes records, and reads them back."""

    def __init__(self, file: SqliteFile) -> None:
        super().__init__(file)
        self._forgotten: dict[str, tuple[int, int]] = {}  #: log -> (until when, how many)
        self._ids_upto = 0  #: of events up to here no id is remembered

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Everything inside is written, or nothing; raises StoreError when the store is not empty."""
        if self._file.rows("whole_in_use")[0][0]:
            raise StoreError(f"store {self._file.place} is not empty", hint="name another file: sqlite:///new.db")
        with self._file.transaction("meta"):
            yield
            for log, (at, n) in self._forgotten.items():
                upto = {"events": n, "ids": self._ids_upto}.get(log, 0)
                self._file.write("save_forgotten", [(log, upto, at, n)])
            SqliteTrail(self._file).lay(ALL)

    def note(self, name: str, value: str) -> None:
        """Keep a word with what was written; inside ``whole``."""
        self._file.write("save_meta", [(name, value)])

    def take(self, kind: str, rows: Iterator[Row]) -> None:
        """Write the records of a kind; inside ``whole``."""
        if kind in _SINGLE:
            query, values = _SINGLE[kind]
            self._file.write(query, map(values, rows))
        else:
            getattr(self, f"_take_{kind}")(rows)

    def _take_forgotten(self, rows: Iterator[Row]) -> None:
        self._forgotten = {log: (at, n) for log, at, n in rows}

    def _take_id(self, rows: Iterator[Row]) -> None:
        """Ids; those whose events are gone in blocks of their own."""
        gone: list[Row] = []
        seq = 0
        while part := list(islice(rows, _CHUNK)):
            self._file.write("add_decided", [(codec.names(sorted(row[0] for row in part)).decode(),)])
            gone += [row for row in part if row[4]]
            while len(gone) >= BLOCK:
                seq = self._add_ids(seq, gone[:BLOCK])
                del gone[:BLOCK]
        if gone:
            self._add_ids(seq, gone)

    def _add_ids(self, seq: int, rows: Sequence[Row]) -> int:
        seq += len(rows)
        kept = [row[:3] for row in rows]
        self._file.write("add_id_block", [(seq, max(row[3] for row in rows), msgspec.json.encode(kept))])
        about = sorted({row[1] for row in rows if row[1] is not None})
        self._file.write("mark_trail", [(subject, _IDS, seq) for subject in about])
        return seq

    def _take_event(self, rows: Iterator[Row]) -> None:
        """Events in blocks. Of the first ones ids may be forgotten: no block holds both."""
        seq = self._forgotten.get("events", (0, 0))[1]
        forgetting = "ids" in self._forgotten
        block: list[Row] = []
        while part := list(islice(rows, _CHUNK)):
            ids = [row[1] for row in part if row[1]]
            known = self._known(ids) if forgetting else set(ids)
            for row in part:
                remembered = not row[1] or row[1] in known
                if forgetting and remembered and row[1]:
                    seq = self._add_events(seq, block)
                    block, forgetting, self._ids_upto = [], False, seq
                elif not forgetting and not remembered:  # a later one was forgotten first: it is remembered again
                    self._file.write("add_decided", [(codec.names([row[1]]).decode(),)])
                block.append(row)
                if len(block) == BLOCK:
                    seq = self._add_events(seq, block)
                    block = []
        seq = self._add_events(seq, block)
        if forgetting:
            self._ids_upto = seq

    def _add_events(self, seq: int, rows: Sequence[Row]) -> int:
        if not rows:
            return seq
        events: list[tuple[Event, int] | None] = [codec.decode_events(row[5])[0] for row in rows]
        also = sorted({name for row in rows for name in row[6]})
        seq += len(rows)
        self._file.write("add_block", [(seq, codec.encode_events(events))])
        self._file.write("add_block_subjects", [(seq, names_of(events, also))])
        return seq

    def _take_effect(self, rows: Iterator[Row]) -> None:
        seq = 0
        while part := list(islice(rows, _CHUNK)):
            numbered = [(seq + n, *row[:11], _carries(row[11])) for n, row in enumerate(part, 1)]
            seq += len(part)
            self._file.insert("whole_add_effect", numbered)
            self._file.insert("whole_add_place", sorted((row[1], row[0]) for row in numbered))
        self._file.write("save_placed", [(seq,)])

    def _take_entry(self, rows: Iterator[Row]) -> None:
        seq = 0
        while part := list(islice(rows, BLOCK)):
            seq += len(part)
            entries = [it for row in part for it in codec.decode_entries(row[5])]
            self._file.write("add_entries", [(seq, codec.encode_entries(entries))])
            self._file.write("add_entry_subjects", [(seq, sqlite_ledger.names_of(entries))])


def _carries(codes: Any) -> str | None:
    return None if codes is None else codec.names(list(codes)).decode()
