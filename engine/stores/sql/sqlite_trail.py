"""The trail in an SQLite file: which rows of the logs are about whom, noted for many rows at once.

An index kept at every commit would touch a page for nearly every row; later rows are few and found by looking.
"""

from __future__ import annotations

from engine.stores.sql.sqlite_events import NAMES_A_ROW
from engine.stores.sql.sqlite_file import SqliteFile

TRAIL_ROWS, GENTLE_ROWS = 400_000, 50_000
"""Log rows without a trail from which on the trail is laid; looking through so many takes some 80 ms. Of events, which
are found by lists of names, ``NAMES_A_ROW`` count as a row. The second is for a process that must hold little and keep
nobody waiting: it lays so many at a time."""

ALL = 1 << 62
"""More rows than there are."""


class SqliteTrail:
    """Lays the trail."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self.missing = self._look()  #: rows it does not hold yet

    def _look(self) -> int:
        return int(self._file.rows("untrailed", NAMES_A_ROW)[0][0])

    def added(self, events: int, rows: int) -> None:
        """So many events, and rows of the other logs, are durable."""
        self.missing += events // NAMES_A_ROW + rows

    def lay(self, most: int) -> None:
        """Take at most so many rows of each log in, the oldest first; called inside a transaction."""
        ends = tuple(upto for _, upto in self._file.rows("trail_ends", most))
        self._file.write("lay_trail", [ends])
        self._file.write("names_trailed", [ends[:1]])
        self._file.write("entries_trailed", [ends[3:]])
        self._file.write("trail_laid", [ends])

    def laid(self) -> None:
        """What ``lay`` took in is durable."""
        self.missing = self._look()
