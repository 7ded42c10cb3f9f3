"""Retention in PostgreSQL: the oldest events, ids, verdicts and records in quarantine go.

Rule 1: events and verdicts are forgotten from their beginning, without gaps.
Rule 2: of whom events went is marked, so that nobody takes what is left for all there was.
Rule 3: a part of the table of events that is old as a whole goes as a whole, however much it holds: that costs no more
than a few of its rows.
Every method that changes anything is called inside a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.stores.sql.postgres_file import PgFile

KINDS = ("events", "ids", "decisions", "quarantine")
"""What can be forgotten, in this order."""


class PgForgetting:
    """Takes away what is older than an instant."""

    def __init__(self, file: PgFile) -> None:
        self._file = file

    def of(self, subject: str) -> int | None:
        """Until when events of a subject may be missing."""
        return next((int(at) for (at,) in self._file.rows("forgotten_of", subject)), None)

    def run(self, before: Mapping[str, int], limit: int) -> dict[str, int]:
        """Forget what is older than the instants, about so many of a kind at most; how many went."""
        how = zip(KINDS, (self._events, self._ids, self._decisions, self._quarantine), strict=True)
        counts = {}
        for kind, forget in how:
            self._file.fault("forget." + kind)
            if kind in before:
                counts[kind] = forget(before[kind], max(1, limit))
        return counts

    def _events(self, before: int, limit: int) -> int:
        for upto, newest, gone in self._file.rows("drop_old_part", before):
            if upto is not None:
                self._file.send("drop_heard", [(upto,)])
                return self._note("events", newest, gone)
        last, newest, n = self._file.rows("oldest_events", before, limit)[0]
        if n:
            for query in ("mark_forgotten", "drop_heard", "drop_events"):
                self._file.send(query, [(last,)])
            self._file.rows("drop_event_parts")
        return self._note("events", newest, n)

    def _ids(self, before: int, limit: int) -> int:
        newest, n = self._file.rows("drop_ids", before, limit)[0]
        return self._note("ids", newest, n)

    def _decisions(self, before: int, limit: int) -> int:
        last, newest, n = self._file.rows("oldest_decisions", before, limit)[0]
        if n:
            self._file.send("drop_decisions", [(last,)])
        return self._note("decisions", newest, n)

    def _quarantine(self, before: int, limit: int) -> int:
        rows = self._file.rows("oldest_rejected", limit)
        return self._file.write("drop_rejected", [(seq,) for seq, at in rows if at < before])

    def _note(self, log: str, newest: int | None, n: int) -> int:
        if n:
            self._file.send("save_forgotten", [(log, newest, n)])
        return n
