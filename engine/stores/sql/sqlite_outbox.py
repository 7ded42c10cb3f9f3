"""The outbox in an SQLite file: what is claimed, and what people see and do with what stands there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from engine.ports import Delivery, Outgoing, Settlement
from engine.stores import codec, tally
from engine.stores.sql.sqlite_file import SqliteFile

_OPEN = ("sending", "dead", "unknown")


class SqliteOutbox:
    """Deliveries of a file. What changes them is called inside a transaction of the store."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def claimable(self, channels: Sequence[str], now: int, limit: int) -> list[Any]:
        """Rows of what may be sent now, in order of decision over all these channels."""
        if len(channels) == 1:
            return self._file.rows("claimable", now, channels[0], limit)
        found = (self._file.rows("claimable_numbers", now, channel, limit) for channel in dict.fromkeys(channels))
        numbers = [row[0] for row in islice(merge(*found), limit)]
        return self._file.rows("claimable_rows", codec.numbers(numbers)) if numbers else []

    def note(self, settlements: Sequence[Settlement]) -> None:
        """What a settlement says beside the status."""
        if receipts := [(it.receipt, it.key) for it in settlements if it.receipt is not None]:
            self._file.write("save_receipt", receipts)
        if uncounted := [(it.key,) for it in settlements if it.uncounted]:
            self._file.write("uncount", uncounted)

    def tries(self) -> list[int]:
        return [row[0] for row in self._file.rows("tries")]

    def standing(self, status: str) -> Iterator[Delivery]:
        """Deliveries in a status, in order of decision."""
        if status == "pending":
            rows = self._file.pages("outbox_pending")
        elif status in _OPEN:
            rows = self._file.pages("outbox_open", status)
        else:
            rows = self._file.pages("outbox_other", status)
        return map(_delivery, rows)

    def delivery(self, key: str) -> Delivery | None:
        rows = self._file.rows("delivery", key)
        return _delivery(rows[0]) if rows else None

    def redrive(self, keys: Sequence[str]) -> int:
        return self._file.write("redrive", ((key,) for key in dict.fromkeys(keys)))

    def drop(self, keys: Sequence[str]) -> int:
        return self._file.write("drop_delivery", ((key,) for key in dict.fromkeys(keys)))

    def by_receipt(self, channel: str, receipt: str) -> str | None:
        rows = self._file.rows("by_receipt", channel, receipt)
        return str(rows[0][0]) if rows else None


def outgoing(attempts: int, first: int | None, row: Sequence[Any]) -> Outgoing:
    """A delivery as its channel carries it, from (key, time, channel, body)."""
    key, time, channel, body = row
    effect = codec.effect_from(key, time, channel, body)
    return Outgoing(key, channel, tally.carried(effect, channel), attempts, first)


def _delivery(row: Sequence[Any]) -> Delivery:
    attempts, first, key, time, channel, body, *rest = row
    return Delivery(outgoing(attempts, first, (key, time, channel, body)), *rest)
