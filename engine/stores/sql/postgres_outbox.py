"""What of the outbox PostgreSQL does in its own way: claiming, for several workers at once."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from engine.stores.sql.outbox import Outbox


class PgOutbox(Outbox):
    """The outbox of a schema. Who claims takes nothing another session has claimed or claims at this moment."""

    def _claimed(self, channels: Sequence[str], now: int, limit: int) -> list[Any]:
        self._file.fault("claim.mark")
        return sorted(self._file.rows("claim", list(channels), now, limit), key=itemgetter(0))
