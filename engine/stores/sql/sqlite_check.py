"""What of the checks is about an SQLite file alone."""

from __future__ import annotations

from engine.stores.sql.check import Check
from engine.stores.sql.sqlite_states import SqliteStates


class SqliteCheck(Check):
    """Checks one file."""

    dialect = "sqlite"
    damaged = "SQLite finds the file damaged"

    _states: SqliteStates

    def _elsewhere(self) -> list[str]:
        return self._states.in_log()
