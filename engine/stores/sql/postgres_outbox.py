"""What of the outbox PostgreSQL does in its own way: claiming, for several workers at once."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from engine.ports import Outgoing, Settlement
from engine.stores.sql.outbox import DELIVERY, Outbox, outgoing


class PgOutbox(Outbox):
    """The outbox of a schema. Who claims takes nothing another session has claimed or claims at this moment."""

    def _claimed(self, channels: Sequence[str], now: int, limit: int) -> list[Any]:
        self._file.fault("claim.mark")
        return sorted(self._file.rows("claim", list(channels), now, limit), key=itemgetter(0))

    def _end(self, settlements: Sequence[Settlement]) -> None:
        rows = {}
        for it in settlements:
            status = DELIVERY[it.status]
            rows[it.key] = (status, it.next_at, it.reason, it.receipt, it.uncounted, it.untried, it.key)
        self._file.write("settle", [rows[key] for key in sorted(rows)])

    def _note(self, settlements: Sequence[Settlement]) -> None:
        passed_on = [it for it in settlements if it.channel is not None and it.receipt is not None]
        self._file.write("save_receipt", [(it.receipt, it.key) for it in passed_on])

    def claim_keys(self, keys: Sequence[str], now: int) -> list[Outgoing]:
        """As ``claim``, those of some keys that are pending, whatever their instants, in order of decision."""
        with self._file.transaction("claim"):
            self._file.fault("claim.mark")
            rows = sorted(self._file.rows("claim_keys", list(keys), now), key=itemgetter(0))
        return [outgoing(attempts, first or now, row) for _, attempts, first, *row in rows]
