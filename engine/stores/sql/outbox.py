"""The outbox in a database: what is claimed, and what people see and do with what stands there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from engine.core.model import Event
from engine.ports import Delivery, Outgoing, Settlement
from engine.stores import codec, tally
from engine.stores.sql.filed import QueryFile

DELIVERY = {"sent": "sent", "retry": "pending", "dead": "dead", "unknown": "unknown", "cancelled": "cancelled"}
_OPEN = ("sending", "dead", "unknown")


class Outbox:
    """The part of the store that has to do with deliveries; the other part fills it."""

    _file: QueryFile

    def claim(self, channels: Sequence[str], now: int, limit: int) -> list[Outgoing]:
        with self._file.transaction("claim"):
            rows = self._claimed(channels, now, limit)
        return [outgoing(attempts, first or now, row) for _, attempts, first, *row in rows]

    def settle(self, settlements: Sequence[Settlement], events: Sequence[Event] = ()) -> None:
        with self._file.transaction("settle"):
            self._file.fault("settle.mark")
            self._end([it for it in settlements if it.channel is None])
            others = [(it.channel, it.reason, it.key) for it in settlements if it.channel is not None]
            self._file.write("pass_on", others)
            self._note(settlements)
            self._put("settle", events)

    def _end(self, settlements: Sequence[Settlement]) -> None:
        """What became of deliveries that stay with their channels."""
        self._file.write("settle", ((DELIVERY[it.status], it.next_at, it.reason, it.key) for it in settlements))

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
        return [(outgoing(attempts, first, row), outcome) for attempts, outcome, first, *row in rows]

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

    def _claimed(self, channels: Sequence[str], now: int, limit: int) -> list[Any]:
        """What may be sent now, in order of decision over all these channels, and is marked; as it was before:
        (number, tries, first try, key, time, channel, body)."""
        raise NotImplementedError

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


def outgoing(attempts: int, first: int | None, row: Sequence[Any]) -> Outgoing:
    """A delivery as its channel carries it, from (key, time, channel, body)."""
    key, time, channel, body = row
    effect = codec.effect_from(key, time, channel, body)
    return Outgoing(key, channel, tally.carried(effect, channel), attempts, first)


def _delivery(row: Sequence[Any]) -> Delivery:
    attempts, first, key, time, channel, body, *rest = row
    return Delivery(outgoing(attempts, first, (key, time, channel, body)), *rest)
