"""The outbox in an SQLite file: what is claimed, and what people see and do with what stands there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

import msgspec

from engine.core.model import Event
from engine.ports import Delivery, Outgoing, Settlement
from engine.stores import codec, tally
from engine.stores.sql.sqlite_file import SqliteFile

_DELIVERY = {"sent": "sent", "retry": "pending", "dead": "dead", "unknown": "unknown", "cancelled": "cancelled"}
_OPEN = ("sending", "dead", "unknown")


class SqliteOutbox:
    """The part of the store that has to do with deliveries; the other part fills it."""

    _file: SqliteFile
    stirred = 0
    """Grows with everything but ``settle`` by which a delivery may become pending: there is one writer."""

    def claim(self, channels: Sequence[str], now: int, limit: int) -> list[Outgoing]:
        with self._file.transaction("claim"):
            rows = self._claimable(channels, now, limit)
            self._file.fault("claim.mark")
            self._file.write("claim", ((now, row[0]) for row in rows))
        return [_outgoing(attempts, first or now, row) for _, attempts, first, *row in rows]

    def claim_keys(self, keys: Sequence[str], now: int) -> list[Outgoing]:
        """As ``claim``, those of some keys that are pending, whatever their instants, in order of decision."""
        with self._file.transaction("claim"):
            rows = sorted(row for key in keys for row in self._file.rows("pending_of_key", key))
            self._file.fault("claim.mark")
            self._file.write("claim", ((now, row[0]) for row in rows))
        return [_outgoing(attempts, first or now, row) for _, attempts, first, *row in rows]

    def settle(self, settlements: Sequence[Settlement], events: Sequence[Event] = ()) -> None:
        with self._file.transaction("settle"):
            self._file.fault("settle.mark")
            ends = [it for it in settlements if it.channel is None]
            self._file.write("settle", ((_DELIVERY[it.status], it.next_at, it.reason, it.key) for it in ends))
            others = [(it.channel, it.reason, it.key) for it in settlements if it.channel is not None]
            self._file.write("pass_on", others)
            self._note(settlements)
            self._put("settle", events)

    def _put(self, verb: str, events: Sequence[Event]) -> None:
        """What the engine itself has to say goes into the inbox, once."""
        if events:
            self._take_in(verb, [(event, b"") for event in events])
        else:
            self._file.fault(verb + ".inbox")

    def stuck(self) -> list[Outgoing]:
        return [item for item, _ in self.deliveries("sending")]

    def deliveries(self, status: str) -> list[tuple[Outgoing, str | None]]:
        if status in _OPEN:
            rows = self._file.rows("open_deliveries", status)
        else:
            rows = self._file.rows("deliveries", status)
        return [(_outgoing(attempts, first, row), outcome) for attempts, outcome, first, *row in rows]

    def waits(self, channel: str, now: int) -> bool:
        return bool(self._file.rows("claimable_numbers", now, channel, 1))

    def tries(self) -> list[int]:
        return [row[0] for row in self._file.rows("tries")]

    def outbox(self, status: str) -> Iterator[Delivery]:
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
        self.stirred += 1
        with self._file.transaction("redrive"):
            self._file.fault("redrive.mark")
            return self._file.write("redrive", ((key,) for key in dict.fromkeys(keys)))

    def drop(self, keys: Sequence[str], events: Sequence[Event] = ()) -> int:
        with self._file.transaction("drop"):
            self._file.fault("drop.mark")
            dropped = self._file.write("drop_delivery", ((key,) for key in dict.fromkeys(keys)))
            self._put("drop", events)
        return dropped

    def by_receipt(self, channel: str, receipt: str) -> str | None:
        rows = self._file.rows("by_receipt", channel, receipt)
        return str(rows[0][0]) if rows else None

    def _claimable(self, channels: Sequence[str], now: int, limit: int) -> list[Any]:
        """Rows of what may be sent now, in order of decision over all these channels."""
        if len(channels) == 1:
            return self._file.rows("claimable", now, channels[0], limit)
        found = (self._file.rows("claimable_numbers", now, channel, limit) for channel in dict.fromkeys(channels))
        numbers = [row[0] for row in islice(merge(*found), limit)]
        return self._file.rows("claimable_rows", msgspec.json.encode(numbers)) if numbers else []

    def _note(self, settlements: Sequence[Settlement]) -> None:
        """What a settlement says beside the status."""
        if receipts := [(it.receipt, it.key) for it in settlements if it.receipt is not None]:
            self._file.write("save_receipt", receipts)
        if uncounted := [(it.key,) for it in settlements if it.uncounted]:
            self._file.write("uncount", uncounted)
        if untried := [(it.key,) for it in settlements if it.untried]:
            self._file.write("untry", untried)

    def _take_in(self, verb: str, events: Sequence[tuple[Event, bytes]]) -> tuple[int, int]:
        raise NotImplementedError


def _outgoing(attempts: int, first: int | None, row: Sequence[Any]) -> Outgoing:
    """A delivery as its channel carries it, from (key, time, channel, body)."""
    key, time, channel, body = row
    effect = codec.effect_from(key, time, channel, body)
    return Outgoing(key, channel, tally.carried(effect, channel), attempts, first)


def _delivery(row: Sequence[Any]) -> Delivery:
    attempts, first, key, time, channel, body, *rest = row
    return Delivery(_outgoing(attempts, first, (key, time, channel, body)), *rest)
