"""Retention in an SQLite file: the oldest blocks of events, ids, verdicts and records in quarantine go.

Rule 1: a log is forgotten from its beginning, without gaps; the newest row stays, so that no number is used twice.
Rule 2: ids that are remembered longer than their events move to blocks of their own when the events go.
Rule 3: of whom events went is marked, so that nobody takes what is left for all there was.
Every method that changes the file is called inside a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from engine.core.subjects import of_group
from engine.stores import codec
from engine.stores.sql.sqlite_events import BLOCK, Kept
from engine.stores.sql.sqlite_file import SqliteFile

KINDS = ("events", "ids", "decisions", "quarantine")
"""What can be forgotten, in this order: ids follow their events."""

_EVENT, _DECISION, _IDS = 1, 3, 4  #: numbers of logs in the trail
_MARK = (0, 0)  #: log and row of the mark of a subject of whom events are gone

_decode = msgspec.json.Decoder(list[Kept]).decode


class SqliteForgetting:
    """Takes away what is older than an instant."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def of(self, subject: str) -> int | None:
        """Until when events of a subject may be missing."""
        for (at,) in self._file.rows("forgotten_of", subject):
            return int(at)
        return None

    def run(self, before: Mapping[str, int], limit: int) -> dict[str, int]:
        """Forget what is older than the instants, about so many of a kind at most; how many went."""
        how = zip(KINDS, (self._events, self._ids, self._decisions, self._quarantine), strict=True)
        counts = {}
        for kind, forget in how:
            self._file.fault("forget." + kind)
            if kind in before:
                counts[kind] = forget(before[kind], limit)
        return counts

    def _upto(self, log: str) -> int:
        return int(next((seq for (seq,) in self._file.rows("forgotten_upto", log)), 0))

    def _events(self, before: int, limit: int) -> int:
        write, ids_gone, done = self._file.write, self._upto("ids"), 0
        for seq, body in self._file.rows("oldest_blocks", max(1, limit // BLOCK)):
            at = _newest(body, before)
            if at >= before:
                break
            kept = list(_kept(body))
            about = {subject for _, subject, _ in kept if subject is not None}
            subjects = set(about)
            subjects |= {of_group(it[0].group) for it in codec.decode_events(body) if it is not None and it[0].group}
            write("drop_block", [(seq,)])
            write("drop_block_subjects", [(seq,)])
            write("untrail", [(subject, _EVENT, seq) for subject in subjects])
            write("mark_trail", [(subject, *_MARK) for subject in subjects])
            if kept and seq > ids_gone:
                write("add_id_block", [(seq, at, msgspec.json.encode(kept))])
                write("mark_trail", [(subject, _IDS, seq) for subject in about])
            places = len(codec.decode_events(body))
            write("save_forgotten", [("events", seq, at, places)])
            done += places
        return done

    def _ids(self, before: int, limit: int) -> int:
        write, blocks, done = self._file.write, max(1, limit // BLOCK), 0
        apart = self._file.rows("oldest_id_blocks", blocks)
        for seq, until, body in apart:
            if until >= before:
                return done
            kept = _decode(body)
            write("drop_id_block", [(seq,)])
            write("untrail", [(subject, _IDS, seq) for subject in {it[1] for it in kept} if subject is not None])
            done += self._forget_ids(seq, until, kept)
        if len(apart) == blocks:
            return done
        for seq, body in self._file.rows("blocks_after", self._upto("ids"), blocks - len(apart)):
            at = _newest(body, before)
            if at >= before:
                break
            done += self._forget_ids(seq, at, list(_kept(body)))
        return done

    def _forget_ids(self, seq: int, at: int, kept: list[Kept]) -> int:
        self._file.write("forget_ids", [(codec.names([id_ for id_, _, _ in kept]).decode(),)])
        self._file.write("save_forgotten", [("ids", seq, at, len(kept))])
        return len(kept)

    def _decisions(self, before: int, limit: int) -> int:
        gone, last = [], 0
        for seq, subject, at in self._file.rows("oldest_decisions", max(1, limit)):
            if at is not None and at >= before:
                break
            gone.append((subject, _DECISION, seq))
            last = max(last, at or 0)
        if gone:
            self._file.write("untrail", [it for it in gone if it[0] is not None])
            self._file.write("drop_decisions", [(gone[-1][2],)])
            self._file.write("save_forgotten", [("decisions", gone[-1][2], last, len(gone))])
        return len(gone)

    def _quarantine(self, before: int, limit: int) -> int:
        rows = self._file.rows("oldest_rejected", max(1, limit))
        return self._file.write("drop_rejected", [(seq,) for seq, at in rows if at < before])


def _kept(body: bytes) -> Iterator[Kept]:
    """Id, subject and time of each event of a block."""
    for it in codec.decode_events(body):
        if it is not None:
            yield it[0].id, it[0].user or it[0].group, it[0].time


def _newest(body: bytes, before: int) -> int:
    """The newest instant of a block: at which an event of it happened, or was decided."""
    found = (max(it[0].time, it[1]) for it in codec.decode_events(body) if it is not None)
    return max(found, default=before - 1)
