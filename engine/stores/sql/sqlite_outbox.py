"""What of the outbox an SQLite file does in its own way: claiming, for one process alone."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from itertools import islice
from typing import Any

import msgspec

from engine.ports import Outgoing
from engine.stores.sql.outbox import Outbox, outgoing


class SqliteOutbox(Outbox):
    """The outbox of an SQLite file."""

    stirred = 0
    """Grows with everything but ``settle`` by which a delivery may become pending: there is one writer."""

    def claim_keys(self, keys: Sequence[str], now: int) -> list[Outgoing]:
        """As ``claim``, those of some keys that are pending, whatever their instants, in order of decision."""
        with self._file.transaction("claim"):
            rows = sorted(row for key in keys for row in self._file.rows("pending_of_key", key))
            self._file.fault("claim.mark")
            self._file.write("claim", ((now, row[0]) for row in rows))
        return [outgoing(attempts, first or now, row) for _, attempts, first, *row in rows]

    def redrive(self, keys: Sequence[str]) -> int:
        self.stirred += 1
        return super().redrive(keys)

    def _claimed(self, channels: Sequence[str], now: int, limit: int) -> list[Any]:
        rows = self._claimable(channels, now, limit)
        self._file.fault("claim.mark")
        self._file.write("claim", ((now, row[0]) for row in rows))
        return rows

    def _claimable(self, channels: Sequence[str], now: int, limit: int) -> list[Any]:
        """Rows of what may be sent now, in order of decision over all these channels."""
        if len(channels) == 1:
            return self._file.rows("claimable", now, channels[0], limit)
        found = (self._file.rows("claimable_numbers", now, channel, limit) for channel in dict.fromkeys(channels))
        numbers = [row[0] for row in islice(merge(*found), limit)]
        return self._file.rows("claimable_rows", msgspec.json.encode(numbers)) if numbers else []
