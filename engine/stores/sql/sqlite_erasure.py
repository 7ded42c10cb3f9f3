"""What of an erasure an SQLite file does in its own way: the trail, and bytes that are written over.

Rule 1: before the transaction that decides an erasure the log of states is folded, so that a state stands at one place.
Rule 2: from the first erasure on the connection writes over what it frees. What was freed before, and copies in the
write-ahead log, go with ``scrub``.
"""

from __future__ import annotations

from engine.ports import UNSCRUBBED
from engine.stores.sql.erasure import Erasure
from engine.stores.sql.sqlite_file import SqliteFile

_IN_MEMORY = 64 << 20
"""Bytes of a file up to which its copy is made in memory while it is written anew."""

_OVERWRITE = "pragma secure_delete = on"


class SqliteErasure(Erasure):
    """Erasure in an SQLite file."""

    _file: SqliteFile

    def overwrite(self) -> None:
        self._file.db.execute(_OVERWRITE)

    def _leave(self, subject: str, alias: str) -> None:
        self._file.write("move_trail", [(subject, alias)])
        self._file.write("drop_trail", [(subject,)])

    def scrub(self) -> None:
        """Write the file anew without what was freed, and empty the write-ahead log; a reader may be in the way."""
        self.overwrite()
        if self._file.room().size > _IN_MEMORY:
            self._file.run("pragma temp_store = file")
        try:
            self._file.run("vacuum")
        finally:
            self._file.run("pragma temp_store = memory")
        if self._file.checkpoint("truncate"):
            with self._file.transaction("meta"):
                self._file.write("save_meta", [(UNSCRUBBED, "")])
