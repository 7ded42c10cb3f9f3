"""What of an erasure PostgreSQL does in its own way: rows of events, and files that are written anew.

Rule 1: rows that are updated or deleted stay in the files of a table until it is written anew (``scrub``); while
anybody still looks at what was there before, they stay there even then, and ``scrub`` is due again.
Rule 2: the log of the server (WAL), its archive, replicas and backups are the operator's: what was written to them
stays there for as long as they are kept.
"""

from __future__ import annotations

from engine.ports import UNSCRUBBED
from engine.stores.sql.erasure import Erasure
from engine.stores.sql.postgres_file import PgFile


class PgErasure(Erasure):
    """Erasure in a schema."""

    _file: PgFile

    def erase(self, subject: str, at: int) -> None:
        write = self._file.send
        write("erase_ids", [(subject, at)])
        write("erase_old_ids", [(subject, at)])
        write("erase_heard", [(subject, at)])
        write("erase_events", [(subject, at)])
        write("erase_marks", [(subject,)])
        super().erase(subject, at)

    def scrub(self) -> None:
        """Write the tables anew without what was freed; each of them waits for whoever reads it."""
        self._file.alone("scrub_tables")
        self._file.alone("scrub_count")
        if not self._file.rows("dead_rows")[0][0]:
            with self._file.transaction("meta"):
                self._file.send("save_meta", [(UNSCRUBBED, "")])
